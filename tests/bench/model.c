/*
 * model - a model's server for benchmarks of relays.  POST …/chat/completions answers with the last message of
 * the request, four code points to a token, one chunk of OpenAI's each GAP_MS from the request on, and at once
 * after the last one the finish and [DONE].  Each stream has its own schedule, to the microsecond, so a relay gets
 * the tokens of many streams one by one, as from many machines.  GET answers with the list of models.
 * Connections are kept for the next request.  A request needs a Content-Length; its text is sent on as it was
 * escaped.  It ends a connection whose peer takes nothing for so long that the kernel has no room.
 *
 *   cc -O2 -Wall -Wextra -o model model.c && ./model PORT GAP_MS      (GAP_MS 1 or more)
 */
#define _GNU_SOURCE
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { TOKEN = 4, LONGEST_REQUEST = 1 << 22, LONGEST_TOKEN = TOKEN * 12, ROOM = 1024 };

#define CHUNK "data: {\"id\":\"chatcmpl-b\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":"

typedef struct connection {
    struct connection *next; /* of those that stream, in the order in which they are due */
    int fd, have, cap, text_len, at;
    bool streaming;  /* it is among those; once its peer has left (fd < 0) it is freed at its turn */
    bool begun;      /* the head is sent */
    int64_t due;     /* ns */
    char *in, *text; /* the request's bytes so far; what is to be said, escaped as in JSON */
} connection;

static connection *head, *tail;
static int ep, timer;
static int64_t gap_ns, armed;

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}
static void push(connection *c) {
    c->next = NULL;
    if (head) tail->next = c;
    else head = c;
    tail = c;
}
static void drop(connection *c) {
    if (c->fd >= 0) close(c->fd);
    c->fd = -1;
    if (c->streaming) return; /* say_due comes to it */
    free(c->in);
    free(c->text);
    free(c);
}

/* ---------------------------------------------------------------- answers */
static int code_point(const char *p, int left) { /* the bytes of the next one, as it stands in a JSON string */
    unsigned char c = (unsigned char)*p;
    int n = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
    if (c == '\\') n = left < 6 || p[1] != 'u' ? 2 : (p[2] | 32) == 'd' && strchr("89abAB", p[3]) ? 12 : 6;
    return n < left ? n : left;
}
static int in_chunk(char *out, const char *event, int n) { /* an HTTP chunk */
    int m = sprintf(out, "%x\r\n", n);
    memcpy(out + m, event, (size_t)n);
    memcpy(out + m + n, "\r\n", 2);
    return m + n + 2;
}
static bool say(connection *c) { /* the next token; false: the peer can't take it */
    char out[2 * ROOM], event[ROOM];
    int n = 0, m, from = c->at;
    if (!c->begun)
        n += sprintf(out, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
    c->begun = true;
    for (int i = 0; i < TOKEN && c->at < c->text_len; i++) c->at += code_point(c->text + c->at, c->text_len - c->at);
    if (c->at > from) {
        m = sprintf(event, CHUNK "[{\"index\":0,\"delta\":{\"content\":\"%.*s\"},\"logprobs\":null,\"finish_reason\":null}]}\n\n",
                    c->at - from, c->text + from);
        n += in_chunk(out + n, event, m);
    }
    if (c->at == c->text_len) {
        m = sprintf(event, CHUNK "[{\"index\":0,\"delta\":{},\"logprobs\":null,\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n");
        n += in_chunk(out + n, event, m);
        n += sprintf(out + n, "0\r\n\r\n");
        c->streaming = false;
    }
    return send(c->fd, out, (size_t)n, MSG_NOSIGNAL) == n;
}
static void list_models(connection *c) {
    static const char body[] = "{\"object\":\"list\",\"data\":[{\"id\":\"m\",\"object\":\"model\"}]}";
    char out[ROOM];
    int n = sprintf(out, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s", sizeof body - 1, body);
    send(c->fd, out, (size_t)n, MSG_NOSIGNAL);
}

/* ---------------------------------------------------------------- requests */
static bool begin(connection *c, char *body) { /* false: no message in it */
    char *at = NULL;
    for (char *p = body; (p = strstr(p, "\"content\"")); p++) at = p + 9;
    if (!at) return false;
    at += strspn(at, ": ");
    if (*at++ != '"') return false;
    int n = 0;
    while (at[n] && at[n] != '"') n += at[n] == '\\' && at[n + 1] ? 2 : 1;
    free(c->text);
    c->text = malloc((size_t)n + 1);
    memcpy(c->text, at, (size_t)n);
    c->text_len = n;
    c->at = 0;
    c->begun = false;
    c->streaming = true;
    c->due = now_ns() + gap_ns;
    push(c);
    return true;
}
static bool answer(connection *c) { /* the request that is whole by now, if any; false: it can't be answered */
    char *end = memmem(c->in, (size_t)c->have, "\r\n\r\n", 4);
    if (!end) return c->have < LONGEST_REQUEST;
    *end = 0;
    char *length = strcasestr(c->in, "\r\ncontent-length:");
    int body = length ? atoi(length + 17) : 0, whole = (int)(end + 4 - c->in) + body;
    bool post = !strncmp(c->in, "POST ", 5);
    *end = '\r';
    if (body < 0 || body > LONGEST_REQUEST || (post && !length)) return false;
    if (c->have < whole) return true;
    c->in[c->have] = 0;
    c->have = 0; /* nobody here sends the next request before the answer */
    if (post) return begin(c, end + 4);
    list_models(c);
    return true;
}
static void request(connection *c) {
    if (c->cap - c->have < 65536) c->in = realloc(c->in, (size_t)(c->cap = c->have + 131072));
    ssize_t n = recv(c->fd, c->in + c->have, (size_t)(c->cap - c->have - 1), 0);
    if (n > 0) c->have += (int)n;
    if (n <= 0 || c->streaming || !answer(c)) drop(c);
}

/* ---------------------------------------------------------------- time */
static void say_due(void) {
    while (head && (head->fd < 0 || head->due <= now_ns())) {
        connection *c = head;
        head = c->next;
        bool said = c->fd >= 0 && say(c), more = c->streaming;
        c->streaming = false;
        if (!said) drop(c);
        else if (more) {
            c->streaming = true;
            c->due += gap_ns;
            push(c);
        }
    }
    int64_t next = head ? head->due : 0;
    if (next == armed) return;
    struct itimerspec t = {.it_value = {next / 1000000000, next % 1000000000}};
    timerfd_settime(timer, TFD_TIMER_ABSTIME, &t, NULL);
    armed = next;
}
static void accept_all(int listener) {
    struct epoll_event e = {.events = EPOLLIN};
    for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0;) {
        connection *c = calloc(1, sizeof *c);
        c->fd = fd;
        e.data.ptr = c;
        epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
    }
}
int main(int argc, char **argv) {
    if (argc != 3 || atoi(argv[2]) < 1) {
        fputs("usage: model PORT GAP_MS\n", stderr);
        return 2;
    }
    gap_ns = atoi(argv[2]) * 1000000ll;
    signal(SIGPIPE, SIG_IGN);
    struct rlimit rl;
    getrlimit(RLIMIT_NOFILE, &rl);
    rl.rlim_cur = rl.rlim_max;
    setrlimit(RLIMIT_NOFILE, &rl);
    int one = 1, ls = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(ls, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    setsockopt(ls, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); /* inherited by the accepted ones */
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[1])),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (bind(ls, (struct sockaddr *)&a, sizeof a) || listen(ls, 4096)) {
        perror("listen");
        return 1;
    }
    ep = epoll_create1(0);
    timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = &ls};
    epoll_ctl(ep, EPOLL_CTL_ADD, ls, &e);
    e.data.ptr = &timer;
    epoll_ctl(ep, EPOLL_CTL_ADD, timer, &e);
    for (;;) {
        struct epoll_event ready[256];
        int n = epoll_wait(ep, ready, 256, -1);
        for (int i = 0; i < n; i++) {
            uint64_t fired;
            if (ready[i].data.ptr == &ls) accept_all(ls);
            else if (ready[i].data.ptr == &timer) { if (read(timer, &fired, sizeof fired) > 0) armed = 0; }
            else request(ready[i].data.ptr);
        }
        say_due();
    }
}
