/* Times in microseconds, in buckets 0.05 % wide. */
#include "load.h"

hist first_event, gaps;

void hist_add(hist *h, int64_t us) {
    if (us < 0) us = 0;
    int at = (int)us;
    if (us >= SUB) {
        int shift = 63 - __builtin_clzll((uint64_t)us) - (SUB_BITS - 1);
        at = shift * (SUB / 2) + (int)(us >> shift);
    }
    if (at >= HIST) at = HIST - 1;
    h->count[at]++;
    h->n++;
    if (us > h->max) h->max = us;
}
double hist_ms(const hist *h, double q) {
    if (!h->n) return 0;
    uint64_t want = (uint64_t)(q * (double)h->n), seen = 0;
    if (want >= h->n) want = h->n - 1;
    for (int i = 0; i < HIST; i++) {
        seen += h->count[i];
        if (seen <= want) continue;
        if (i < SUB) return i / 1e3;
        int shift = i / (SUB / 2) - 1;
        return (double)((int64_t)(i - shift * (SUB / 2)) << shift) / 1e3;
    }
    return (double)h->max / 1e3;
}
