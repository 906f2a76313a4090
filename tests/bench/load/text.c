/* The texts: one random text, and for every stream another window of it. */
#include "load.h"
#include <stdio.h>
#include <string.h>

/* text holds WINDOW + length characters back to back; a stream's message starts at one of the first WINDOW. */
enum { WINDOW = 4096 };
char *text;
static uint32_t *unit_at;  /* byte offset of each character, plus the end */
static uint8_t *unit_size; /* by byte offset: the size of the character that begins there */

static uint64_t rng_state = 88172645463325252ull;
uint32_t rng(void) {
    rng_state ^= rng_state << 13;
    rng_state ^= rng_state >> 7;
    rng_state ^= rng_state << 17;
    return (uint32_t)(rng_state >> 32);
}

static const char *const charsets[] = {"ascii", "utf8", "emoji", "all"}; /* each holds the ones before */
bool known_charset(const char *name) {
    for (size_t i = 0; i < sizeof charsets / sizeof *charsets; i++)
        if (!strcmp(name, charsets[i])) return true;
    return false;
}

/* No two neighbours here join into one grapheme cluster, so a character stays one wherever it stands. */
void make_text(void) {
    static const char *const wide[] = {"\xc3\xa9", "\xc3\xb1", "\xd0\x96", "\xe4\xb8\xad", "\xe6\x96\x87",
                                       "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\xf0\x9f\x8e\x89"};
    static const char *const clusters[] = {
        "\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x92\xbb", "\xf0\x9f\x91\x8d\xf0\x9f\x8f\xbd", "e\xcc\x81",
        "\xf0\x9f\x91\xa8\xe2\x80\x8d\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x91\xa7"};
    int n = WINDOW + opt.length, level = 0;
    while (strcmp(opt.charset, charsets[level])) level++;
    size_t room = (size_t)n * (level ? 18 : 1) + 1;
    text = xrealloc(NULL, room);
    unit_size = xrealloc(NULL, room);
    memset(unit_size, 0, room);
    unit_at = xrealloc(NULL, ((size_t)n + 1) * sizeof *unit_at);
    uint32_t at = 0;
    for (int i = 0; i < n; i++) {
        char one[2] = {(char)(' ' + rng() % 95), 0};
        const char *u = one;
        if (level >= 1 && rng() % 4 == 0) u = wide[rng() % 8];
        if (level >= 2 && rng() % 8 == 0) u = clusters[rng() % 4];
        if (level >= 3 && rng() % 8 == 0) u = rng() % 4 ? "\n" : "\t";
        unit_at[i] = at;
        unit_size[at] = (uint8_t)strlen(u);
        memcpy(text + at, u, strlen(u));
        at += (uint32_t)strlen(u);
    }
    unit_at[n] = at;
}
void choose_text(stream *s, int number, int length) {
    int first = (int)((uint32_t)number * 131u % WINDOW);
    s->begin = s->expect = unit_at[first];
    s->expect_end = unit_at[first + length];
}
int unit_length(uint32_t at) { return unit_size[at]; }

size_t longest_message(void) { return (size_t)opt.length * (strcmp(opt.charset, "ascii") ? 18 : 2) + 256; }

size_t json_message(char *out, const stream *s) {
    static uint64_t run_key; /* makes the keys of one run differ from another's */
    if (!run_key) run_key = (uint64_t)now_ns();
    char *o = out + sprintf(out, opt.completions ? "{\"model\":\"m\",\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\""
                                                 : "{\"message\":\"");
    for (const char *p = text + s->begin, *end = text + s->expect_end; p < end; p++) {
        if (*p == '"' || *p == '\\' || *p == '\n' || *p == '\t') *o++ = '\\';
        *o++ = *p == '\n' ? 'n' : *p == '\t' ? 't' : *p;
    }
    if (opt.subprotocol) o += sprintf(o, "\",\"key\":\"load-%llx-%d", (unsigned long long)run_key, s->number);
    o += sprintf(o, opt.completions ? "\"}]}" : "\"}");
    return (size_t)(o - out);
}
