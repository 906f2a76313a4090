/*
 * Server-sent events, read as EventSource reads them: comments, id:, retry: and events of another name
 * carry no text, and an event's data: lines are joined by newlines; and the chunks they come in.
 */
#include "load.h"
#include <ctype.h>
#include <string.h>

static void sse_line(stream *s, const char *p, int n, int64_t now) {
    if (n == 0) { /* the end of a block */
        if (s->has_data && !named_event(s, s->event)) on_payload(s, s->data.p, s->data.n, now);
        s->has_data = false;
        s->data.n = 0;
        s->event = EV_TEXT;
        s->id[0] = 0;
        return;
    }
    const char *colon = memchr(p, ':', (size_t)n), *v = colon ? colon + 1 : p + n, *end = p + n;
    int field = (int)(colon ? colon - p : n);
    if (v < end && *v == ' ') v++;
    if (field == 4 && !memcmp(p, "data", 4)) {
        if (s->has_data) buf_add(&s->data, "\n", 1);
        s->has_data = true;
        buf_add(&s->data, v, (int)(end - v));
    } else if (field == 5 && !memcmp(p, "event", 5))
        s->event = (uint8_t)event_name(v, (int)(end - v));
    else if (field == 2 && !memcmp(p, "id", 2) && end - v < (int)sizeof s->id) {
        memcpy(s->id, v, (size_t)(end - v));
        s->id[end - v] = 0;
    }
}
static void sse_bytes(stream *s, const char *p, int n, int64_t now) {
    const char *end = p + n;
    while (p < end && s->phase != CLOSED) {
        const char *q = p;
        if (s->cr && *p == '\n') p = ++q;
        s->cr = false;
        while (q < end && *q != '\n' && *q != '\r') q++;
        if (q == end) {
            buf_add(&s->part, p, (int)(end - p));
            return;
        }
        s->cr = *q == '\r';
        if (s->part.n) {
            buf_add(&s->part, p, (int)(q - p));
            int m = s->part.n;
            s->part.n = 0;
            sse_line(s, s->part.p, m, now);
        } else
            sse_line(s, p, (int)(q - p), now);
        p = q + 1;
    }
}

enum chunk_state { CH_SIZE, CH_EXT, CH_DATA, CH_CRLF, CH_TRAILER, CH_END };

void sse_body(stream *s, const char *p, int n, int64_t now) {
    body_bytes += (uint64_t)n;
    if (!s->chunked) {
        sse_bytes(s, p, n, now);
        return;
    }
    const char *end = p + n;
    while (p < end && s->phase != CLOSED) switch (s->chunk_state) {
        case CH_SIZE:
            if (isxdigit((unsigned char)*p)) {
                s->chunk_left = s->chunk_left * 16 + (*p <= '9' ? *p - '0' : (*p | 32) - 'a' + 10);
                if (s->chunk_left > 1 << 24) { fail(s, "chunk too long"); return; }
                p++;
                break;
            }
            s->chunk_state = CH_EXT;
            /* fall through */
        case CH_EXT:
            if (*p++ == '\n') s->chunk_state = s->chunk_left ? CH_DATA : CH_TRAILER;
            break;
        case CH_DATA: {
            int m = end - p < s->chunk_left ? (int)(end - p) : s->chunk_left;
            sse_bytes(s, p, m, now);
            if (s->phase == CLOSED) return;
            p += m;
            if (!(s->chunk_left -= m)) s->chunk_state = CH_CRLF;
            break;
        }
        case CH_CRLF:
            if (*p++ == '\n') s->chunk_state = CH_SIZE;
            break;
        case CH_TRAILER:
            if (*p == '\n') {
                if (!s->trailer_len) {
                    s->chunk_state = CH_END;
                    if (s->done) complete(s);
                    else fail(s, "body ended without [DONE]");
                    return;
                }
                s->trailer_len = 0;
            } else if (*p != '\r')
                s->trailer_len++;
            p++;
            break;
        default: fail(s, "bytes after the last chunk"); return;
        }
}
