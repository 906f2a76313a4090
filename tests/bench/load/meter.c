/* What the server has used so far, from the kernel's accounting. */
#include "load.h"
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

sample steady_a, steady_b, all_first;

static double process_cpu_us(int pid) { /* all its threads, ended ones too, in ns steps */
    clockid_t clock;
    struct timespec t;
    if (clock_getcpuclockid(pid, &clock) || clock_gettime(clock, &t)) return 0;
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}
static double process_user_us(int pid, double tick_us) {
    char name[64], line[1024];
    snprintf(name, sizeof name, "/proc/%d/stat", pid);
    FILE *f = fopen(name, "r");
    if (!f) return 0;
    size_t n = fread(line, 1, sizeof line - 1, f);
    fclose(f);
    line[n] = 0;
    char *p = strrchr(line, ')');
    unsigned long long user;
    if (!p || sscanf(p + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu", &user) != 1) return 0;
    return (double)user * tick_us;
}
static double core_us(int cpu, double tick_us) { /* all that has kept a core busy, interrupts too */
    FILE *f = fopen("/proc/stat", "r");
    char line[512], want[16];
    double busy = 0;
    snprintf(want, sizeof want, "cpu%d ", cpu);
    while (f && fgets(line, sizeof line, f)) {
        unsigned long long u, ni, sy, id, io, irq, sirq;
        if (strncmp(line, want, strlen(want))) continue;
        if (sscanf(line + strlen(want), "%llu %llu %llu %llu %llu %llu %llu", &u, &ni, &sy, &id, &io, &irq, &sirq) == 7)
            busy = (double)(u + ni + sy + irq + sirq) * tick_us;
    }
    if (f) fclose(f);
    return busy;
}
sample meter(void) {
    sample s = {.t = now_ns(), .events = events, .points = points};
    double tick_us = 1e6 / (double)sysconf(_SC_CLK_TCK);
    for (int i = 0; i < opt.npids; i++) {
        s.cpu_us += process_cpu_us(opt.pids[i]);
        s.user_us += process_user_us(opt.pids[i], tick_us);
    }
    if (opt.cpu >= 0) s.core_us = core_us(opt.cpu, tick_us);
    return s;
}
long rss_kib(void) {
    long total = 0;
    for (int i = 0; i < opt.npids; i++) {
        char name[64];
        snprintf(name, sizeof name, "/proc/%d/statm", opt.pids[i]);
        FILE *f = fopen(name, "r");
        long size, resident;
        if (f && fscanf(f, "%ld %ld", &size, &resident) == 2) total += resident * (sysconf(_SC_PAGESIZE) / 1024);
        if (f) fclose(f);
    }
    return total;
}
