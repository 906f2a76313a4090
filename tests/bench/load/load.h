/*
 * What the parts of the load generator share.  One thread, one epoll set, no dependencies.
 *
 * bytes up:    stream.c (sockets) -> http.c (head) -> sse.c or websocket.c (frames)
 *              -> payload.c (is it the next character?), by json.c where it is in JSON
 * on the side: text.c (what is sent), churn.c (streams that are cut, resumed, stopped),
 *              meter.c (the server's CPU and memory), histogram.c, report.c
 */
#ifndef LOAD_H
#define LOAD_H
#define _GNU_SOURCE
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---------------------------------------------------------------- options (main.c) */
struct options {
    const char *host, *path, *charset, *subprotocol;
    int port, streams, length, ramp_ms, timeout_s, sources, cpu, poll_us, readers, churn_s, window;
    bool ws, strict, first_only, completions;
    char extra[4096];
    int pids[64], npids;
};
extern struct options opt;
void die(const char *fmt, ...) __attribute__((noreturn, format(printf, 1, 2)));
void *xrealloc(void *p, size_t n);
int64_t now_ns(void);

/* ---------------------------------------------------------------- streams (stream.c) */
typedef struct { char *p; int n, cap; } buf;
void buf_add(buf *b, const char *p, int n);

enum phase { CLOSED, CONNECTING, HEAD, BODY };
enum event_name { EV_TEXT, EV_FAILED, EV_STOPPED, EV_ERROR, EV_OTHER };
/* churn.c: read to the end; cut and come back; leave for good; stop. STOPPER is the call that stops. */
enum fate { WHOLE, RESUME, LEAVE, STOP, STOPPER };

typedef struct stream {
    int fd, slot, number;          /* number: of this stream among all that were opened */
    uint8_t phase, fate, event;    /* event: the name of the SSE event being read */
    uint8_t chunk_state;
    bool chunked, done, has_data, cr, ended_early, resuming;
    int64_t asked_at, last_at;     /* ns */
    int32_t events, points, act_at; /* events and code points so far; churn acts after act_at events */
    int32_t chunk_left, trailer_len;
    uint32_t begin, expect, expect_end; /* byte offsets into text */
    char reply[64], id[96];        /* the reply's id; the event's id: */
    const char *out;               /* what still has to be sent */
    char *out_base;
    int out_left;
    buf part, data; /* partial line, frame or head; the event's data */
} stream;

extern stream *streams;
extern int opened, live, completed, failed, first_seen, first_done;
extern uint64_t events, points, bytes_in, body_bytes; /* body_bytes: without heads, with what chunking adds */
extern int64_t t_first, t_last;
extern struct reason { char why[80]; int n; } reasons[16];

void streams_start(void);
void streams_poll(int wait_ms); /* reads what has come */
bool can_open(int i);           /* false while a reader's reply isn't known yet */
void open_stream(int slot, int number);
void connect_stream(stream *s);
void queue_out(stream *s, const char *p, int n);
void close_stream(stream *s);
void complete(stream *s);
void fail(stream *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* ---------------------------------------------------------------- http.c, sse.c, websocket.c, payload.c, json.c */
void http_request(stream *s);
void http_head(stream *s, const char *p, int n, int64_t now);
bool ids_expected(void);

void sse_body(stream *s, const char *p, int n, int64_t now);
void ws_send(stream *s, int opcode, const char *p, int n);
void ws_bytes(stream *s, const char *p, int n, int64_t now);

int event_name(const char *p, int n);
bool named_event(stream *s, int name); /* true when the event carries no text */
void on_payload(stream *s, const char *p, int n, int64_t now);

int json_text(const char *p, int n, char *out, int cap, int *name, char *id, int id_cap);
int json_chunk(const char *p, int n, char *out, int cap);

/* ---------------------------------------------------------------- text.c */
extern char *text;
void make_text(void);
void choose_text(stream *s, int number, int length); /* sets begin, expect and expect_end */
bool known_charset(const char *name);
size_t json_message(char *out, const stream *s);
size_t longest_message(void);
int unit_length(uint32_t at); /* bytes of the character that begins at this offset */
uint32_t rng(void);

/* ---------------------------------------------------------------- meter.c, histogram.c */
typedef struct { double cpu_us, user_us, core_us; int64_t t; uint64_t events, points; } sample;
sample meter(void);
long rss_kib(void);
extern sample steady_a, steady_b, all_first; /* all streams run: from, to; every stream has its first character */

enum { SUB_BITS = 11, SUB = 1 << SUB_BITS, HIST = SUB * 34 };
typedef struct { uint64_t count[HIST], n; int64_t max; } hist; /* us, 0.05 % wide */
extern hist first_event, gaps;
void hist_add(hist *h, int64_t us);
double hist_ms(const hist *h, double q);

/* ---------------------------------------------------------------- churn.c, report.c */
void churn_choose(stream *s);                  /* a new stream's length and fate */
void churn_acts(stream *s);                    /* after each event */
void churn_turn(int64_t now, int64_t until);   /* between reads: replace what has ended */
extern int churn_count[5], churn_opened;

struct totals { sample a, b; long rss_start, rss_peak; bool timed_out; };
void report(const struct totals *t);
#endif
