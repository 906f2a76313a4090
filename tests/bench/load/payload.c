/*
 * Is this event the next character?  Every byte of every stream goes through on_payload().
 *
 * A payload is the bare text, or a JSON object with the text in it.  From any server it must be one or
 * more whole code points of what comes next.  With --strict it must be exactly one character (grapheme
 * cluster), and where the transport carries ids, its id must be <reply>:<code points so far>, and
 * <reply>:end at the end, all of one reply.  With --completions it is a chunk of OpenAI's, whose first
 * choice has the text; chunks without text are passed over, and an error in one fails the stream.
 */
#include "load.h"
#include <stdio.h>
#include <string.h>

int event_name(const char *p, int n) {
    static const char *const names[] = {"message", "failed", "stopped", "error"};
    for (int i = 0; i < 4; i++)
        if (n == (int)strlen(names[i]) && !memcmp(p, names[i], (size_t)n)) return i;
    return n ? EV_OTHER : EV_TEXT;
}
bool named_event(stream *s, int name) {
    static const char *const why[] = {"", "event: failed", "event: stopped", "event: error"};
    if (name == EV_TEXT) return false;
    if (name == EV_STOPPED && s->fate == STOP) s->ended_early = true;
    else if (name != EV_OTHER) fail(s, "%s", why[name]);
    return true;
}
static bool id_is(stream *s, const char *position) {
    const char *colon = strrchr(s->id, ':');
    size_t n = colon ? (size_t)(colon - s->id) : 0;
    if (!n || n >= sizeof s->reply) return false;
    if (!s->reply[0]) memcpy(s->reply, s->id, n); /* a WebSocket tells the reply's id here first */
    return strlen(s->reply) == n && !memcmp(s->reply, s->id, n) && !strcmp(colon + 1, position);
}
static void saw_done(stream *s) {
    if (s->expect != s->expect_end && !s->ended_early) {
        fail(s, "[DONE] before the last character");
        return;
    }
    if (ids_expected() && !id_is(s, "end")) {
        fail(s, "wrong id at the end");
        return;
    }
    s->done = true;
    if (!first_done++) steady_b = meter();
}
static bool is_next(const stream *s, const char *p, int n) {
    return n > 0 && (uint32_t)n <= s->expect_end - s->expect && !memcmp(text + s->expect, p, (size_t)n);
}
static bool starts_code_point(uint32_t at) { return (text[at] & 0xc0) != 0x80; }

static bool right_size(stream *s, int n) { /* of the next n bytes of the text */
    uint32_t after = s->expect + (uint32_t)n;
    if (after < s->expect_end && !starts_code_point(after)) {
        fail(s, "torn code point");
        return false;
    }
    if (!opt.strict) return true;
    int one = unit_length(s->expect);
    if (n == one) return true;
    fail(s, n < one ? "torn character" : "several characters in one event");
    return false;
}
static void took(stream *s, int64_t now) {
    events++;
    t_last = now;
    if (!s->events++) {
        hist_add(&first_event, (now - s->asked_at) / 1000);
        if (!t_first) t_first = now;
        if (++first_seen == opt.streams) {
            all_first = meter();
            if (!first_done) steady_a = all_first;
        }
    } else if (!s->resuming)
        hist_add(&gaps, (now - s->last_at) / 1000);
    s->resuming = false;
    s->last_at = now;
}
void on_payload(stream *s, const char *p, int n, int64_t now) {
    static char plain[1 << 16];
    if (s->done) {
        fail(s, "event after [DONE]");
        return;
    }
    if (opt.completions && n > 1 && p[0] == '{') {
        int m = json_chunk(p, n, plain, sizeof plain);
        if (m == 0) return;
        if (m < 0) {
            fail(s, m == -1 ? "error in a chunk" : "chunk not understood");
            return;
        }
        p = plain;
        n = m;
    } else if (!is_next(s, p, n) && n > 1 && p[0] == '{') {
        int name, m = json_text(p, n, plain, sizeof plain, &name, s->id, sizeof s->id);
        if (named_event(s, name)) return;
        if (m == -1) {
            saw_done(s);
            return;
        }
        if (m < 0) {
            fail(s, "JSON payload not understood");
            return;
        }
        p = plain;
        n = m;
    }
    if (n == 6 && !memcmp(p, "[DONE]", 6)) {
        saw_done(s);
        return;
    }
    if (!is_next(s, p, n)) {
        fail(s, n ? "wrong character" : "empty event");
        return;
    }
    if (!right_size(s, n)) return;
    int32_t before = s->points;
    for (uint32_t end = s->expect + (uint32_t)n; s->expect < end; s->expect++) s->points += starts_code_point(s->expect);
    points += (uint64_t)(s->points - before);
    if (ids_expected()) {
        char position[16];
        snprintf(position, sizeof position, "%d", s->points);
        if (!id_is(s, position)) {
            fail(s, s->id[0] ? "wrong id" : "no id");
            return;
        }
    }
    took(s, now);
    if (opt.churn_s) churn_acts(s);
}
