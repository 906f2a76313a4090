/* A JSON reader for one look at an object. Each returns where it stopped, NULL for bad JSON. */
#include "load.h"
#include <ctype.h>
#include <string.h>

static int put_utf8(char *o, uint32_t cp) {
    if (cp < 0x80) { o[0] = (char)cp; return 1; }
    int more = cp < 0x800 ? 1 : cp < 0x10000 ? 2 : 3;
    o[0] = (char)(0xff00 >> (more + 1) | cp >> (6 * more));
    for (int i = 1; i <= more; i++) o[i] = (char)(0x80 | (cp >> (6 * (more - i)) & 63));
    return more + 1;
}
static bool hex4(const char *p, const char *end, uint32_t *v) {
    *v = 0;
    for (int i = 0; i < 4; i++, p++) {
        if (p >= end || !isxdigit((unsigned char)*p)) return false;
        *v = *v * 16 + (uint32_t)(*p <= '9' ? *p - '0' : (*p | 32) - 'a' + 10);
    }
    return true;
}
static const char *json_space(const char *p, const char *end) {
    while (p < end && (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r')) p++;
    return p;
}
static const char *json_string(const char *p, const char *end, char *out, int cap, int *len) {
    int o = 0;
    if (p >= end || *p++ != '"') return NULL;
    while (p < end && *p != '"') {
        if (o + 4 > cap) return NULL;
        if (*p != '\\') {
            out[o++] = *p++;
            continue;
        }
        if (++p >= end) return NULL;
        uint32_t cp, low;
        switch (*p++) {
        case 'n': out[o++] = '\n'; break;
        case 't': out[o++] = '\t'; break;
        case 'r': out[o++] = '\r'; break;
        case 'b': out[o++] = '\b'; break;
        case 'f': out[o++] = '\f'; break;
        case 'u':
            if (!hex4(p, end, &cp)) return NULL;
            p += 4;
            if (cp >> 10 == 0x36 && end - p >= 6 && p[0] == '\\' && p[1] == 'u' && hex4(p + 2, end, &low)) {
                cp = 0x10000 + ((cp - 0xd800) << 10) + (low - 0xdc00);
                p += 6;
            }
            o += put_utf8(out + o, cp & 0x1fffff);
            break;
        default: out[o++] = p[-1];
        }
    }
    *len = o;
    return p < end ? p + 1 : NULL;
}
static const char *json_skip(const char *p, const char *end) { /* any value */
    bool in_string = false;
    for (int depth = 0; p < end; p++) {
        if (in_string) {
            if (*p == '\\') p++;
            else if (*p == '"') in_string = false;
        } else if (*p == '"') in_string = true;
        else if (*p == '{' || *p == '[') depth++;
        else if (*p == '}' || *p == ']') {
            if (!depth--) return p;
        } else if (*p == ',' && !depth) return p;
    }
    return NULL;
}
/* Takes the text out of {"data": "x"} and its like. Returns its length, -1 for a "done" object,
   -2 when the object isn't understood; *name is the event's, id its id or "". */
int json_text(const char *p, int n, char *out, int cap, int *name, char *id, int id_cap) {
    static const char *const keys[] = {"data", "char", "content", "text", "delta", "c", "token"};
    const char *end = p + n;
    int found = -2;
    *name = EV_TEXT;
    *id = 0;
    p = json_space(p + 1, end);
    while (p && p < end && *p == '"') {
        char key[64], word[64];
        int m, w;
        if (!(p = json_string(p, end, key, sizeof key - 1, &m))) break;
        key[m] = 0;
        p = json_space(p, end);
        if (p >= end || *p++ != ':') return -2;
        p = json_space(p, end);
        bool is_text = false;
        for (size_t k = 0; k < sizeof keys / sizeof *keys; k++) is_text |= !strcmp(key, keys[k]);
        if (!strcmp(key, "done") && end - p >= 4 && !memcmp(p, "true", 4)) return -1;
        if (p < end && *p == '"' && is_text && found < 0) p = json_string(p, end, out, cap, &found);
        else if (p < end && *p == '"' && !strcmp(key, "id")) {
            p = json_string(p, end, id, id_cap - 1, &w);
            id[p ? w : 0] = 0;
        } else if (p < end && *p == '"' && (!strcmp(key, "event") || !strcmp(key, "type"))) {
            p = json_string(p, end, word, sizeof word, &w);
            if (p && key[0] == 'e') *name = event_name(word, w);
            if (p && key[0] == 't' && w == 4 && !memcmp(word, "done", 4)) return -1;
        } else p = json_skip(p, end);
        if (!p) break;
        p = json_space(p, end);
        if (p < end && *p == ',') p = json_space(p + 1, end);
    }
    if (!p || p >= end || *p != '}') return -2;
    return found < 0 && *name != EV_TEXT ? 0 : found;
}
/* The start of a member's value in the object that begins at p; NULL where there is none. */
static const char *json_member(const char *p, const char *end, const char *name) {
    if (!p || p >= end || *p != '{') return NULL;
    for (p = json_space(p + 1, end); p < end && *p == '"'; p = json_space(p + 1, end)) {
        char key[64];
        int m;
        if (!(p = json_string(p, end, key, sizeof key - 1, &m))) return NULL;
        key[m] = 0;
        p = json_space(p, end);
        if (p >= end || *p++ != ':') return NULL;
        p = json_space(p, end);
        if (!strcmp(key, name)) return p;
        if (!(p = json_skip(p, end)) || *p != ',') return NULL;
    }
    return NULL;
}
/* Takes choices[0].delta.content out of a chunk. Returns its length, 0 where there is none or a null,
   -1 for a chunk with an error, -2 for one that isn't understood. */
int json_chunk(const char *p, int n, char *out, int cap) {
    const char *end = p + n, *choices = json_member(p, end, "choices");
    int length;
    const char *error = json_member(p, end, "error");
    if (error && *error != 'n') return -1;
    if (!choices || *choices != '[') return -2;
    const char *delta = json_member(json_space(choices + 1, end), end, "delta");
    const char *content = json_member(delta, end, "content");
    if (!content || *content == 'n') return 0;
    return json_string(content, end, out, cap, &length) ? length : -2;
}
