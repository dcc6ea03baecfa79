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

/* ASCII case only, as HTTP wants it (RFC 9110 section 5.1). */
bool sl_slice_ieq(struct sl_slice a, struct sl_slice b);
bool sl_slice_starts(struct sl_slice s, struct sl_slice prefix);
/* Without spaces and tabs at both ends (OWS of RFC 9110 section 5.6.3). */
struct sl_slice sl_slice_trim(struct sl_slice s);
/* Position of c, or -1. */
ssize_t sl_slice_chr(struct sl_slice s, char c);
/* Takes the part before `sep` off *rest (all of it where there is none); false once *rest is used up. */
bool sl_slice_next(struct sl_slice *rest, char sep, struct sl_slice *part);
/* Length of the UTF-8 sequence that s begins with (RFC 3629: nothing overlong, no surrogates); 0 where there
 * is none. */
size_t sl_slice_utf8(struct sl_slice s);
/* Decimal digits only, no sign, no overflow: 0, or -EINVAL, -ERANGE. */
int sl_slice_u64(struct sl_slice s, uint64_t *out);

#endif
