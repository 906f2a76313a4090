/* The report: one JSON object on stdout. */
#include "load.h"
#include <stdio.h>
#include <sys/resource.h>

static void number(const char *name, double v, bool known) {
    if (known) printf(",\"%s\":%.3f", name, v);
    else printf(",\"%s\":null", name);
}
static void quantiles(const char *name, const hist *h) {
    printf(",\"%s\":{\"p50\":%.3f,\"p99\":%.3f,\"p999\":%.3f,\"max\":%.3f}", name, hist_ms(h, .5), hist_ms(h, .99),
           hist_ms(h, .999), (double)h->max / 1e3);
}
void report(const struct totals *t) {
    const sample *a = &t->a, *b = &t->b;
    int asked = opt.churn_s ? churn_opened : opt.streams;
    double wall = (double)(t_last - a->t) / 1e9, all = events ? (double)events : 1;
    bool metered = opt.npids > 0, core = opt.cpu >= 0;
    bool steady = steady_a.t && steady_b.t - steady_a.t > 300000000 && steady_b.events > steady_a.events;
    double some_points = steady ? (double)(steady_b.points - steady_a.points) : 1;
    double some = steady ? (double)(steady_b.events - steady_a.events) : 1;
    struct rusage me;
    getrusage(RUSAGE_SELF, &me);

    printf("{\"mode\":\"%s\",\"streams\":%d,\"length\":%d,\"opened\":%d,\"completed\":%d,\"failed\":%d,\"timed_out\":%s",
           opt.ws ? "ws" : "sse", opt.streams, opt.length, asked, completed,
           opt.churn_s ? failed : opt.streams - completed, t->timed_out ? "true" : "false");
    printf(",\"events\":%llu,\"bytes\":%llu", (unsigned long long)events, (unsigned long long)bytes_in);
    printf(",\"points\":%llu,\"body_bytes\":%llu", (unsigned long long)points, (unsigned long long)body_bytes);
    number("wall_s", wall, true);
    number("events_per_s", all / wall, true);
    number("steady_events_per_s", some / ((double)(steady_b.t - steady_a.t) / 1e9), steady);
    number("steady_points_per_s", some_points / ((double)(steady_b.t - steady_a.t) / 1e9), steady);
    number("steady_events", some, steady);
    quantiles("first_event_ms", &first_event);
    quantiles("gap_ms", &gaps);
    number("cpu_us_per_event", (b->cpu_us - a->cpu_us) / all, metered);
    number("steady_cpu_us_per_event", (steady_b.cpu_us - steady_a.cpu_us) / some, metered && steady);
    number("steady_cpu_us_per_point", (steady_b.cpu_us - steady_a.cpu_us) / some_points, metered && steady);
    number("steady_user_us_per_event", (steady_b.user_us - steady_a.user_us) / some, metered && steady);
    number("steady_core_us_per_event", (steady_b.core_us - steady_a.core_us) / some, core && steady);
    number("setup_cpu_us_per_stream", (all_first.cpu_us - a->cpu_us) / opt.streams, metered && all_first.t);
    number("setup_events_per_stream", (double)all_first.events / opt.streams, all_first.t);
    printf(",\"rss_start_kib\":%ld,\"rss_peak_kib\":%ld", t->rss_start, t->rss_peak);
    number("rss_kib_per_stream", (double)(t->rss_peak - t->rss_start) / opt.streams, metered);
    number("client_cpu_s", (double)me.ru_utime.tv_sec + (double)me.ru_stime.tv_sec +
           (double)(me.ru_utime.tv_usec + me.ru_stime.tv_usec) / 1e6, true);
    printf(",\"ended\":{\"whole\":%d,\"resumed\":%d,\"left\":%d,\"stopped\":%d}", churn_count[WHOLE],
           churn_count[RESUME], churn_count[LEAVE], churn_count[STOP]);
    printf(",\"reasons\":{");
    for (int i = 0; i < 16 && reasons[i].n; i++) printf("%s\"%s\":%d", i ? "," : "", reasons[i].why, reasons[i].n);
    printf("}}\n");
}
