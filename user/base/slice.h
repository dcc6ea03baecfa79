/* SPDX-License-Identifier: Apache-2.0 */
/* A borrowed run of bytes: pointer and length, never owned, never NUL-terminated by promise. */
#ifndef SL_BASE_SLICE_H
#define SL_BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>

struct sl_slice {
    const char *p;
    size_t n;
};

#define SL_S(lit)    ((struct sl_slice){("" lit), sizeof(lit) - 1})
#define SL_SFMT      "%.*s"
#define SL_SARG(s)   (int)(s).n, (s).p
#define SL_SLICE_NUL ((struct sl_slice){NULL, 0})

static inline struct sl_slice sl_slice(const char *p, size_t n)
{
    return (struct sl_slice){p, n};
}

static inline struct sl_slice sl_slice_str(const char *s)
{
    return (struct sl_slice){s, s ? strlen(s) : 0};
}

static inline bool sl_slice_eq(struct sl_slice a, struct sl_slice b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static inline char sl_lower(char c)
{
    return (char)(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
}

/* The first and the last bytes of the n at p, as many as fit; n of one and the same length always loads the
 * same places. */
static inline uint64_t sl_load_ends(const char *p, size_t n)
{
    uint32_t a, b;
    if (n >= 4) {
        memcpy(&a, p, 4);
        memcpy(&b, p + n - 4, 4);
        return (uint64_t)b << 32 | a;
    }
    return n ? (uint64_t)(unsigned char)p[0] | (uint64_t)(unsigned char)p[n / 2] << 8 |
                   (uint64_t)(unsigned char)p[n - 1] << 16
             : 0;
}

/* Whether x, with its letters in lower case, is lower: eight bytes of lower-case letters, digits and what has
 * no bit 0x40, as '-'. */
static inline bool sl_is_lower8(uint64_t x, uint64_t lower)
{
    const uint64_t letters = lower & 0x4040404040404040ull;
    return (x | letters >> 1) == lower;
}

/* Whether a byte of it is a control character of ASCII, which names and header values may not hold. */
bool sl_slice_has_control(struct sl_slice s);
/* Whether s is `lower` but for the case of letters; lower is of lower-case letters, digits and '-' only. */
static inline bool sl_slice_is(struct sl_slice s, struct sl_slice lower)
{
    uint64_t x, y;
    size_t i = 0;
    if (s.n != lower.n)
        return false;
    for (; i + 8 < s.n; i += 8) {
        memcpy(&x, s.p + i, 8);
        memcpy(&y, lower.p + i, 8);
        if (!sl_is_lower8(x, y))
            return false;
    }
    return sl_is_lower8(sl_load_ends(s.p + i, s.n - i), sl_load_ends(lower.p + i, s.n - i));
}

/* ASCII case only, as HTTP wants it (RFC 9110 section 5.1). */
bool sl_slice_ieq(struct sl_slice a, struct sl_slice b);
bool sl_slice_starts(struct sl_slice s, struct sl_slice prefix);
/* Without spaces and tabs at both ends (OWS of RFC 9110 section 5.6.3). */
static inline struct sl_slice sl_slice_trim(struct sl_slice s)
{
    while (s.n && (s.p[0] == ' ' || s.p[0] == '\t'))
        s.p++, s.n--;
    while (s.n && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
        s.n--;
    return s;
}
/* Without the end of its last line, if that is there: files of secrets have that of the editor or `echo` that
 * wrote them. */
static inline struct sl_slice sl_slice_chomp(struct sl_slice s)
{
    if (s.n && s.p[s.n - 1] == '\n')
        s.n--;
    if (s.n && s.p[s.n - 1] == '\r')
        s.n--;
    return s;
}
/* Position of c, or -1. */
ssize_t sl_slice_chr(struct sl_slice s, char c);
/* Takes the part before `sep` off *rest (all of it where there is none); false once *rest is used up. */
bool sl_slice_next(struct sl_slice *rest, char sep, struct sl_slice *part);
/* Length of the UTF-8 sequence that s begins with (RFC 3629: nothing overlong, no surrogates); 0 where there
 * is none. */
size_t sl_slice_utf8(struct sl_slice s);
/* Decimal digits only, no sign, no overflow: 0, or -EINVAL, -ERANGE. */
int sl_slice_u64(struct sl_slice s, uint64_t *out);
#define SL_U64_DIGITS 20
/* Writes v in decimal digits, SL_U64_DIGITS at the most. Behind them. */
char *sl_put_u64(char *p, uint64_t v);

#endif
