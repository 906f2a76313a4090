/* Streams and their sockets: opening, sending, reading, ending. */
#include "load.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif

stream *streams;
int opened, live, completed, failed, first_seen, first_done;
uint64_t events, points, bytes_in, body_bytes;
int64_t t_first, t_last;
struct reason reasons[16];
static int ep;

void streams_start(void) {
    streams = calloc((size_t)opt.streams * 2, sizeof *streams); /* the second half stops the first (churn.c) */
    if (!streams || (ep = epoll_create1(EPOLL_CLOEXEC)) < 0) die("cannot start");
}
void buf_add(buf *b, const char *p, int n) {
    if (!n) return;
    if (b->n + n > b->cap) {
        b->cap = (b->n + n) * 2 + 32;
        b->p = xrealloc(b->p, (size_t)b->cap);
    }
    memcpy(b->p + b->n, p, (size_t)n);
    b->n += n;
}

/* ---------------------------------------------------------------- ending */
void close_stream(stream *s) {
    if (s->phase == CLOSED) return;
    close(s->fd);
    s->phase = CLOSED;
    s->resuming = false;
    live--;
    free(s->part.p);
    free(s->data.p);
    free(s->out_base);
    s->part = s->data = (buf){0};
    s->out_base = NULL;
    s->out_left = 0;
}
void fail(stream *s, const char *fmt, ...) {
    if (s->phase == CLOSED) return;
    char why[80] = {0};
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(why, sizeof why, fmt, ap);
    va_end(ap);
    for (int i = 0; i < 16; i++)
        if (!reasons[i].n || !strcmp(reasons[i].why, why)) {
            memcpy(reasons[i].why, why, sizeof why);
            reasons[i].n++;
            break;
        }
    failed++;
    close_stream(s);
}
void complete(stream *s) {
    if (s->phase == CLOSED) return;
    completed++;
    churn_count[s->fate]++;
    close_stream(s);
}
static void lost(stream *s, const char *call, const char *error) {
    if (opt.ws && s->done) complete(s); /* the server closed without waiting for our close frame */
    else fail(s, "%s: %s", call, error);
}

/* ---------------------------------------------------------------- sending */
static void watch(stream *s, uint32_t what, int op) {
    struct epoll_event e = {.events = what, .data.ptr = s};
    if (epoll_ctl(ep, op, s->fd, &e)) die("epoll_ctl: %s", strerror(errno));
}
static bool send_pending(stream *s) {
    while (s->out_left) {
        ssize_t n = send(s->fd, s->out, (size_t)s->out_left, MSG_NOSIGNAL);
        if (n < 0) {
            if (errno == EAGAIN) {
                watch(s, EPOLLIN | EPOLLOUT, EPOLL_CTL_MOD);
                return false;
            }
            lost(s, "send", strerror(errno));
            return false;
        }
        s->out += n;
        s->out_left -= (int)n;
    }
    return true;
}
void queue_out(stream *s, const char *p, int n) {
    char *b = xrealloc(NULL, (size_t)(s->out_left + n));
    if (s->out_left) memcpy(b, s->out, (size_t)s->out_left);
    memcpy(b + s->out_left, p, (size_t)n);
    free(s->out_base);
    s->out = s->out_base = b;
    s->out_left += n;
    send_pending(s);
}

/* ---------------------------------------------------------------- opening */
bool can_open(int i) {
    const stream *leader = &streams[i - i % opt.readers];
    return i % opt.readers == 0 || leader->reply[0] || leader->phase == CLOSED;
}
void open_stream(int slot, int number) {
    stream *s = &streams[slot];
    *s = (stream){.slot = slot, .number = number};
    choose_text(s, number - number % opt.readers, opt.length);
    if (opt.churn_s) churn_choose(s);
    s->asked_at = now_ns();
    connect_stream(s);
}
void connect_stream(stream *s) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)opt.port)},
                       from = {.sin_family = AF_INET};
    inet_pton(AF_INET, opt.host, &to.sin_addr);
    s->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (s->fd < 0) die("socket: %s (ulimit -n?)", strerror(errno));
    int one = 1;
    setsockopt(s->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    from.sin_addr.s_addr = htonl(0x7f000002u + (uint32_t)(s->slot % opt.sources));
    if (bind(s->fd, (struct sockaddr *)&from, sizeof from)) die("bind: %s", strerror(errno));
    live++;
    s->phase = CONNECTING;
    s->chunk_state = 0;
    s->chunk_left = s->trailer_len = 0;
    s->cr = s->has_data = false;
    if (connect(s->fd, (struct sockaddr *)&to, sizeof to) && errno != EINPROGRESS) {
        fail(s, "connect: %s", strerror(errno));
        return;
    }
    watch(s, EPOLLOUT, EPOLL_CTL_ADD);
}

/* ---------------------------------------------------------------- reading */
static void on_ready(stream *s, uint32_t what) {
    static char in[1 << 18];
    if (s->phase == CLOSED) return;
    if (s->phase == CONNECTING) {
        int err = 0;
        socklen_t len = sizeof err;
        getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &err, &len);
        if (err) {
            fail(s, "connect: %s", strerror(err));
            return;
        }
        s->phase = HEAD;
        watch(s, EPOLLIN, EPOLL_CTL_MOD);
        http_request(s);
        return;
    }
    if (what & EPOLLOUT) {
        if (send_pending(s)) watch(s, EPOLLIN, EPOLL_CTL_MOD);
        if (s->phase == CLOSED) return;
    }
    if (!(what & (EPOLLIN | EPOLLHUP | EPOLLERR))) return;
    ssize_t n = recv(s->fd, in, sizeof in, 0);
    if (n < 0) {
        if (errno != EAGAIN) lost(s, "recv", strerror(errno));
        return;
    }
    if (n == 0) {
        if (s->phase == BODY && !s->chunked && s->done) complete(s);
        else fail(s, "closed early");
        return;
    }
    bytes_in += (uint64_t)n;
    int64_t now = now_ns();
    if (s->phase == HEAD) http_head(s, in, (int)n, now);
    else if (opt.ws) ws_bytes(s, in, (int)n, now);
    else sse_body(s, in, (int)n, now);
}
void streams_poll(int wait_ms) {
    struct epoll_event ev[512];
    int n = epoll_wait(ep, ev, 512, opt.poll_us ? 0 : wait_ms);
    if (!n && opt.poll_us && wait_ms) usleep((useconds_t)opt.poll_us);
    for (int i = 0; i < n; i++) on_ready(ev[i].data.ptr, ev[i].events);
}
