/* Requests, and the head of the answer. */
#include "load.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

bool ids_expected(void) { return opt.strict && (opt.ws ? opt.subprotocol != NULL : !strstr(opt.path, "ids=0")); }

static const char *leader_of(const stream *s) { return streams[s->slot - s->slot % opt.readers].reply; }

static int about_reply(char *out, const char *method, const char *reply, const char *action, const char *header) {
    int path = (int)strcspn(opt.path, "?");
    return sprintf(out,
                   "%s %.*s/%s%s%s HTTP/1.1\r\nHost: %s:%d\r\nAccept: text/event-stream\r\n%sContent-Length: 0\r\n%s\r\n",
                   method, path, opt.path, reply, action, opt.path + path, opt.host, opt.port, header, opt.extra);
}
void http_request(stream *s) {
    char *out = xrealloc(NULL, longest_message() + sizeof opt.extra + 4096);
    int n;
    if (opt.ws)
        n = sprintf(out,
                    "GET %s HTTP/1.1\r\nHost: %s:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n%s%s%s%s\r\n",
                    opt.path, opt.host, opt.port, opt.subprotocol ? "Sec-WebSocket-Protocol: " : "",
                    opt.subprotocol ? opt.subprotocol : "", opt.subprotocol ? "\r\n" : "", opt.extra);
    else if (s->fate == STOPPER)
        n = about_reply(out, "POST", s->reply, "/stop", "");
    else if (s->resuming) {
        char cursor[128];
        sprintf(cursor, "Last-Event-ID: %s:%d\r\n", s->reply, s->points);
        n = about_reply(out, "GET", s->reply, "", cursor);
    } else if (s->slot % opt.readers)
        n = about_reply(out, "GET", leader_of(s), "", "");
    else {
        char *body = xrealloc(NULL, longest_message());
        size_t m = json_message(body, s);
        n = sprintf(out,
                    "POST %s HTTP/1.1\r\nHost: %s:%d\r\nAccept: text/event-stream\r\n"
                    "Content-Type: application/json\r\nContent-Length: %zu\r\n%s\r\n",
                    opt.path, opt.host, opt.port, m, opt.extra);
        memcpy(out + n, body, m);
        n += (int)m;
        free(body);
    }
    queue_out(s, out, n);
    free(out);
}
static const char *header(const char *head, const char *name) { /* its value, up to the line's end */
    for (const char *line = head; (line = strstr(line, "\r\n"));) {
        line += 2;
        if (strncasecmp(line, name, strlen(name)) || line[strlen(name)] != ':') continue;
        line += strlen(name) + 1;
        return line + strspn(line, " \t");
    }
    return NULL;
}
static bool has_header(const char *head, const char *name, const char *value) { /* value, or value and parameters */
    const char *v = header(head, name);
    return v && !strncasecmp(v, value, strlen(value)) && strchr("\r ;", v[strlen(value)]);
}
static const char *head_fault(stream *s, const char *head) {
    static char why[40];
    int status = 0;
    sscanf(head, "HTTP/1.%*c %d", &status);
    if (s->fate == STOPPER && (status == 200 || status == 202)) return NULL;
    if (status != (opt.ws ? 101 : 200)) {
        snprintf(why, sizeof why, "HTTP status %d%s", status, s->fate == STOPPER ? " to a stop" : "");
        return why;
    }
    if (!opt.ws && !has_header(head, "content-type", "text/event-stream")) return "not text/event-stream";
    if (opt.ws && !has_header(head, "sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")) return "wrong Sec-WebSocket-Accept";
    if (opt.subprotocol && !has_header(head, "sec-websocket-protocol", opt.subprotocol)) return "subprotocol not accepted";
    return NULL;
}
void http_head(stream *s, const char *p, int n, int64_t now) {
    buf_add(&s->part, p, n);
    char *end = memmem(s->part.p, (size_t)s->part.n, "\r\n\r\n", 4);
    if (!end) {
        if (s->part.n > 65536) fail(s, "response head too long");
        return;
    }
    end[2] = 0; /* the head, as a string */
    int head_len = (int)(end + 4 - s->part.p);
    const char *fault = head_fault(s, s->part.p), *reply = header(s->part.p, "x-reply-id");
    if (fault) {
        fail(s, "%s", fault);
        return;
    }
    if (s->fate == STOPPER) {
        close_stream(s);
        return;
    }
    size_t reply_len = reply ? strcspn(reply, "\r ") : 0;
    if (reply_len && reply_len < sizeof s->reply) {
        memcpy(s->reply, reply, reply_len);
        s->reply[reply_len] = 0;
    }
    if (!s->reply[0] && (opt.readers > 1 || opt.churn_s) && !opt.ws) {
        fail(s, "no X-Reply-Id");
        return;
    }
    s->chunked = !opt.ws && has_header(s->part.p, "transfer-encoding", "chunked");
    buf head = s->part;
    s->part = (buf){0};
    s->phase = BODY;
    if (opt.ws) {
        char *message = xrealloc(NULL, longest_message());
        size_t m = json_message(message, s);
        s->asked_at = now_ns();
        ws_send(s, 1, message, (int)m);
        free(message);
    }
    if (s->phase == BODY && head.n > head_len) {
        if (opt.ws) ws_bytes(s, head.p + head_len, head.n - head_len, now);
        else sse_body(s, head.p + head_len, head.n - head_len, now);
    }
    free(head.p);
}
