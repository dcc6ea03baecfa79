/* SPDX-License-Identifier: Apache-2.0 */
/* The table behind chars_priv.h. tests/unit/http/test_message.c derives it again from the RFCs' text and
 * compares. */
#include "http/chars_priv.h"

#ifdef __SSE2__
#include <emmintrin.h>
#else
#include <string.h>
#endif

/* Bytes from 0x80 on are in no class: obs-text is for values only. */
const uint8_t sl_chars[256] = {
    /* clang-format off */
    0x40, 0x40, 0x40, 0x40, 0x40, 0x40, 0x40, 0x40, 0x40, 0x00, 0x40, 0x40, 0x40, 0x40, 0x40, 0x40,
    0x40, 0x40, 0x40, 0x40, 0x40, 0x40, 0x40, 0x40, 0x40, 0x40, 0x40, 0x40, 0x40, 0x40, 0x40, 0x40,
    0x00, 0x23, 0x20, 0x21, 0x23, 0x21, 0x23, 0x23, 0x22, 0x22, 0x23, 0x23, 0x22, 0x2f, 0x2f, 0x20,
    0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x22, 0x22, 0x20, 0x22, 0x20, 0x20,
    0x22, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x2f, 0x2f, 0x2f, 0x2f, 0x2f, 0x2f, 0x2f, 0x2f, 0x2f,
    0x2f, 0x2f, 0x2f, 0x2f, 0x2f, 0x2f, 0x2f, 0x2f, 0x2f, 0x2f, 0x2f, 0x20, 0x20, 0x20, 0x21, 0x2f,
    0x21, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x2f, 0x2f, 0x2f, 0x2f, 0x2f, 0x2f, 0x2f, 0x2f, 0x2f,
    0x2f, 0x2f, 0x2f, 0x2f, 0x2f, 0x2f, 0x2f, 0x2f, 0x2f, 0x2f, 0x2f, 0x20, 0x21, 0x20, 0x2f, 0x40,
    /* clang-format on */
};

#ifdef __SSE2__

#define SL_STEP 16

/* Which of the 16 bytes at p no field value may hold, one bit each. */
static inline unsigned _sl_ctls(const char *p)
{
    const __m128i x = _mm_loadu_si128((const __m128i *)(const void *)p);
    const __m128i low = _mm_cmpeq_epi8(_mm_min_epu8(x, _mm_set1_epi8(0x1f)), x);
    const __m128i del = _mm_cmpeq_epi8(x, _mm_set1_epi8(0x7f)), tab = _mm_cmpeq_epi8(x, _mm_set1_epi8('\t'));
    return (unsigned)_mm_movemask_epi8(_mm_andnot_si128(tab, _mm_or_si128(low, del)));
}

static inline unsigned _sl_lfs(const char *p)
{
    const __m128i x = _mm_loadu_si128((const __m128i *)(const void *)p);
    return (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(x, _mm_set1_epi8('\n')));
}

#else

#define SL_STEP 8
#define SL_ONES (~(uint64_t)0 / 255)

/* The same of eight bytes. */
static inline unsigned _sl_ctls(const char *p)
{
    unsigned bits = 0;
    uint64_t x;
    memcpy(&x, p, 8);
    const uint64_t low = (x - SL_ONES * 0x20) & ~x, del = x ^ (SL_ONES * 0x7f);
    if (!((low | ((del - SL_ONES) & ~del)) & (SL_ONES * 0x80)))
        return 0; /* a tab does not come by here, nor a false suspect */
    for (unsigned i = 0; i < 8; i++)
        bits |= (sl_ch(p[i]) & SL_CH_CTL ? 1u : 0u) << i;
    return bits;
}

static inline unsigned _sl_lfs(const char *p)
{
    unsigned bits = 0;
    for (unsigned i = 0; i < 8; i++)
        bits |= (p[i] == '\n' ? 1u : 0u) << i;
    return bits;
}

#endif

const char *sl_find_ctl(const char *p, const char *end)
{
    for (; end - p >= SL_STEP; p += SL_STEP) {
        const unsigned bits = _sl_ctls(p);
        if (bits)
            return p + __builtin_ctz(bits);
    }
    while (p < end && !(sl_ch(*p) & SL_CH_CTL))
        p++;
    return p;
}

const char *sl_find_lf(const char *p, const char *end)
{
    for (; end - p >= SL_STEP; p += SL_STEP) {
        const unsigned bits = _sl_lfs(p);
        if (bits)
            return p + __builtin_ctz(bits);
    }
    while (p < end && *p != '\n')
        p++;
    return p < end ? p : NULL;
}
