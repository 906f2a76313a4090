/*
 * Streams that don't just run to their end (--churn): N at once for so many seconds, each of another
 * length, each replaced when it has ended.  Of twenty, eleven are read to the end; four are cut and read
 * on from where they stood, in which not a character may be missing or come twice; two are left for good;
 * three are stopped, by a call on another connection, and must end as stopped.
 */
#include "load.h"
#include <string.h>

int churn_count[5], churn_opened;

void churn_choose(stream *s) {
    int length = 1 + (int)(rng() % (uint32_t)opt.length), dice = (int)(rng() % 20);
    choose_text(s, s->number, length);
    s->fate = dice < 11 ? WHOLE : opt.ws || dice >= 18 ? LEAVE : dice < 15 ? RESUME : STOP;
    s->act_at = 1 + (int)(rng() % (uint32_t)length);
}
static void stop(const stream *s) {
    stream *caller = &streams[s->slot + opt.streams];
    if (caller->phase != CLOSED) return;
    *caller = (stream){.slot = s->slot + opt.streams, .fate = STOPPER};
    memcpy(caller->reply, s->reply, sizeof s->reply);
    connect_stream(caller);
}
void churn_acts(stream *s) {
    if (s->events != s->act_at) return;
    if (s->fate == STOP) stop(s);
    if (s->fate == LEAVE) complete(s);
    if (s->fate == RESUME) {
        close_stream(s);
        s->resuming = true;
    }
}
void churn_turn(int64_t now, int64_t until) {
    for (int i = 0; i < opened; i++) {
        stream *s = &streams[i];
        if (s->phase != CLOSED) continue;
        if (s->resuming) connect_stream(s);
        else if (now < until) open_stream(i, churn_opened++);
    }
}
