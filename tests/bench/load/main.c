/*
 * load - open many character streams at once (SSE or WebSocket), check every byte, measure.
 * Loopback only by design: it refuses any host outside 127.0.0.0/8, and it ends by itself (--timeout).
 *
 * Every stream sends its own message and must get the same characters back, in order, complete, followed
 * by the event "[DONE]" and a clean end of the body or WebSocket.  Anything else is a failed stream, with
 * its reason in the report.
 */
#include "load.h"
#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

static const char usage_text[] =
"usage: load --port P [options]\n"
"  --host A            server address, inside 127.0.0.0/8        (127.0.0.1)\n"
"  --port P            server port\n"
"  --mode sse|ws       POST + text/event-stream, or a WebSocket  (sse)\n"
"  --path PATH         request path                              (/api/chat, ws: /ws/chat,\n"
"                                                                 completions: /v1/chat/completions)\n"
"  --subprotocol NAME  ask for this WebSocket subprotocol; the request frame then has a unique \"key\"\n"
"  --streams N         streams opened                            (100)\n"
"  --length L          characters in each message                (100)\n"
"  --charset C         ascii | utf8 (1..4 byte code points) | emoji (adds ZWJ clusters) |\n"
"                      all (adds newlines and tabs)              (ascii)\n"
"  --strict            one character (grapheme cluster) an event, with the id of PROTOCOL.md section 3\n"
"  --readers R         of R streams the first starts a reply, and the others read it     (1)\n"
"  --completions       ask as OpenAI's clients do, and read chunks, of any number of code points\n"
"  --first-only        leave when every stream has its first character: what does setting up cost?\n"
"  --churn S           for S seconds replace every stream that ended; cut, resume, leave and stop some\n"
"  --window W          open a stream only while fewer than W are open    (0: no limit)\n"
"  --ramp MS           open the streams evenly over MS ms        (0)\n"
"  --timeout S         give up after S seconds                   (60)\n"
"  --sources K         spread over K source addresses 127.0.0.2+ (8)\n"
"  --extra-header H    add a request header line; may be repeated\n"
"  --pid PID           a server process to meter; may be repeated\n"
"  --poll US           look for events every US us instead of blocking in epoll_wait, so that\n"
"                      the server never pays for waking this process up (0: block)\n"
"  --cpu K             also meter all busy time of CPU K (catches softirq work)\n"
"The report is one JSON object on stdout. Exit status: 0 all streams complete, 1 some failed, 2 usage.\n"
"cpu_us_per_event counts from before the first connect to after the last byte;\n"
"steady_cpu_us_per_event only while all N streams were running at once (null if < 0.3 s);\n"
"setup_cpu_us_per_stream from before the first connect until every stream has its first character.\n"
"first_event_ms counts from connect (ws: from sending the request frame) to the first text.\n";

struct options opt = {.host = "127.0.0.1", .charset = "ascii", .streams = 100, .length = 100, .timeout_s = 60,
                      .sources = 8, .cpu = -1, .readers = 1};

void die(const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
    exit(2);
}
void *xrealloc(void *p, size_t n) {
    p = realloc(p, n);
    if (!p) die("out of memory");
    return p;
}
int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}
static bool flag(const char *o) {
    if (!strcmp(o, "--strict")) opt.strict = true;
    else if (!strcmp(o, "--completions")) opt.completions = true;
    else if (!strcmp(o, "--first-only")) opt.first_only = true;
    else return false;
    return true;
}
static bool number(const char *o, const char *v) {
    static const struct { const char *name; int *to, least, most; } numbers[] = {
        {"--port", &opt.port, 1, 65535},        {"--streams", &opt.streams, 1, 100000},
        {"--length", &opt.length, 1, 1 << 18},  {"--ramp", &opt.ramp_ms, 0, 1 << 20},
        {"--timeout", &opt.timeout_s, 1, 7200}, {"--sources", &opt.sources, 1, 250},
        {"--poll", &opt.poll_us, 0, 100000},    {"--cpu", &opt.cpu, 0, 4095},
        {"--readers", &opt.readers, 1, 100000}, {"--churn", &opt.churn_s, 1, 7000},
        {"--window", &opt.window, 1, 100000},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (!strcmp(o, numbers[i].name)) {
            *numbers[i].to = atoi(v);
            if (*numbers[i].to < numbers[i].least || *numbers[i].to > numbers[i].most)
                die("%s takes %d to %d", o, numbers[i].least, numbers[i].most);
            return true;
        }
    return false;
}
static void parse_options(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        const char *o = argv[i];
        if (!strcmp(o, "--help") || !strcmp(o, "-h")) { fputs(usage_text, stdout); exit(0); }
        if (flag(o)) continue;
        if (i + 1 >= argc) die("%s needs a value\n%s", o, usage_text);
        const char *v = argv[++i];
        if (number(o, v)) continue;
        if (!strcmp(o, "--host")) opt.host = v;
        else if (!strcmp(o, "--path")) opt.path = v;
        else if (!strcmp(o, "--charset")) opt.charset = v;
        else if (!strcmp(o, "--subprotocol")) opt.subprotocol = v;
        else if (!strcmp(o, "--mode")) {
            opt.ws = !strcmp(v, "ws");
            if (!opt.ws && strcmp(v, "sse")) die("--mode is sse or ws");
        } else if (!strcmp(o, "--pid")) {
            if (opt.npids == 64) die("more than 64 processes");
            opt.pids[opt.npids++] = atoi(v);
        } else if (!strcmp(o, "--extra-header")) {
            if (strlen(opt.extra) + strlen(v) + 3 > sizeof opt.extra) die("too many headers");
            strcat(strcat(opt.extra, v), "\r\n");
        } else die("unknown option %s\n%s", o, usage_text);
    }
    if (!opt.path) opt.path = opt.ws ? "/ws/chat" : opt.completions ? "/v1/chat/completions" : "/api/chat";
    if (opt.completions && (opt.ws || opt.strict || opt.readers > 1 || opt.churn_s))
        die("--completions is for SSE, without --strict, --readers and --churn");
    if (opt.subprotocol && !opt.ws) die("--subprotocol needs --mode ws");
    if (opt.readers > 1 && (opt.ws || opt.churn_s)) die("--readers is for SSE, without --churn");
    if (!known_charset(opt.charset)) die("--charset is ascii, utf8, emoji or all");
    if (strlen(opt.path) > 1024 || (opt.subprotocol && strlen(opt.subprotocol) > 100)) die("a text option is too long");
    struct in_addr a;
    if (inet_pton(AF_INET, opt.host, &a) != 1 || ntohl(a.s_addr) >> 24 != 127) die("--host must be inside 127.0.0.0/8");
    if (!opt.port) die("--port is needed\n%s", usage_text);
}
static void open_due(int64_t since_start) {
    int due = opt.streams;
    if (opt.ramp_ms && since_start < opt.ramp_ms * 1000000ll)
        due = (int)(since_start * opt.streams / (opt.ramp_ms * 1000000ll)) + 1;
    for (int burst = 0; opened < due && burst < 64 && can_open(opened); burst++, opened++) {
        if (opt.window && live >= opt.window) break;
        open_stream(opened, opt.churn_s ? churn_opened++ : opened);
    }
}
static bool run(struct totals *t, int64_t deadline) { /* false: timed out */
    int64_t now, next_rss = t->a.t, churn_until = t->a.t + opt.churn_s * 1000000000ll;
    bool resuming = true; /* churn has something left to do between two streams */
    while (opened < opt.streams || live || (opt.churn_s && resuming)) {
        if ((now = now_ns()) > deadline) return false;
        if (now >= next_rss) {
            long r = rss_kib();
            if (r > t->rss_peak) t->rss_peak = r;
            next_rss = now + 200000000;
        }
        open_due(now - t->a.t);
        if (opt.churn_s) churn_turn(now, churn_until);
        resuming = live || now < churn_until;
        streams_poll(opened < opt.streams ? 1 : 50);
        if (opt.first_only && first_seen + failed >= opt.streams)
            for (int i = 0; i < opened; i++) complete(&streams[i]);
    }
    return true;
}
int main(int argc, char **argv) {
    parse_options(argc, argv);
    signal(SIGPIPE, SIG_IGN);
    struct rlimit rl;
    getrlimit(RLIMIT_NOFILE, &rl);
    rl.rlim_cur = rl.rlim_max;
    setrlimit(RLIMIT_NOFILE, &rl);
    make_text();
    streams_start();

    struct totals t = {.rss_start = rss_kib(), .a = meter()};
    t.rss_peak = t.rss_start;
    t.timed_out = !run(&t, t.a.t + opt.timeout_s * 1000000000ll);
    for (int i = 0; t.timed_out && i < 2 * opt.streams; i++)
        fail(&streams[i], streams[i].done ? "no clean end before the timeout" : "timeout");
    if (!t_last) t_last = now_ns();
    t.b = meter();
    long r = rss_kib();
    if (r > t.rss_peak) t.rss_peak = r;
    report(&t);
    return (opt.churn_s ? failed || t.timed_out : completed != opt.streams) ? 1 : 0;
}
