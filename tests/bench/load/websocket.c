/* WebSocket frames (RFC 6455), the client's side. */
#include "load.h"
#include <stdlib.h>
#include <string.h>

void ws_send(stream *s, int opcode, const char *p, int n) {
    char *f = xrealloc(NULL, (size_t)n + 14);
    int h = 0;
    uint8_t mask[4] = {(uint8_t)rng(), (uint8_t)rng(), (uint8_t)rng(), (uint8_t)rng()};
    f[h++] = (char)(0x80 | opcode);
    if (n < 126) f[h++] = (char)(0x80 | n);
    else if (n < 65536) { f[h++] = (char)(0x80 | 126); f[h++] = (char)(n >> 8); f[h++] = (char)n; }
    else {
        f[h++] = (char)(0x80 | 127);
        for (int k = 7; k >= 0; k--) f[h++] = k >= 4 ? 0 : (char)((uint32_t)n >> (k * 8));
    }
    memcpy(f + h, mask, 4);
    h += 4;
    for (int i = 0; i < n; i++) f[h + i] = (char)(p[i] ^ (char)mask[i & 3]);
    queue_out(s, f, h + n);
    free(f);
}
static void ws_close(stream *s) { ws_send(s, 8, "\x03\xe8", 2); } /* 1000; the server's answer or EOF completes it */

/* Returns the bytes used by one whole frame, 0 if it isn't whole yet. */
static int ws_frame(stream *s, const uint8_t *p, int n, int64_t now) {
    if (n < 2) return 0;
    int h = 2, op = p[0] & 15;
    int64_t len = p[1] & 127;
    if (p[1] & 128) { fail(s, "server masked a frame"); return 0; }
    if (len == 126) {
        if (n < 4) return 0;
        len = p[2] << 8 | p[3];
        h = 4;
    } else if (len == 127) {
        if (n < 10) return 0;
        len = 0;
        for (int k = 2; k < 10; k++) len = len << 8 | p[k];
        h = 10;
    }
    if (len < 0 || len > 1 << 24) { fail(s, "frame too long"); return 0; }
    if (n - h < len) return 0;
    if (op == 1 || op == 2) {
        if (!(p[0] & 0x80)) fail(s, "fragmented frame");
        else if (p[0] & 0x40) fail(s, "compressed frame");
        else {
            s->id[0] = 0;
            on_payload(s, (const char *)p + h, (int)len, now);
            if (s->done && s->phase != CLOSED) ws_close(s);
        }
    } else if (op == 9) ws_send(s, 10, (const char *)p + h, (int)len);
    else if (op == 8 && s->done) complete(s);
    else if (op == 8) fail(s, "closed by the server before [DONE]: %d", len < 2 ? 1005 : p[h] << 8 | p[h + 1]);
    return h + (int)len;
}
void ws_bytes(stream *s, const char *p, int n, int64_t now) {
    int m;
    if (s->part.n) {
        buf_add(&s->part, p, n);
        int at = 0;
        while (s->phase != CLOSED && (m = ws_frame(s, (uint8_t *)s->part.p + at, s->part.n - at, now))) at += m;
        if (s->phase != CLOSED) {
            memmove(s->part.p, s->part.p + at, (size_t)(s->part.n - at));
            s->part.n -= at;
        }
        return;
    }
    while (n && s->phase != CLOSED && (m = ws_frame(s, (const uint8_t *)p, n, now))) p += m, n -= m;
    if (s->phase != CLOSED && n) buf_add(&s->part, p, n);
}
