/* SPDX-License-Identifier: Apache-2.0 */
/* "Did you mean": the nearest name by edit distance, where it is near enough to be what was meant. */
#include "config/reader_priv.h"

#define SL_SUGGEST_LEN 48

void sl_suggest_init(struct sl_suggest *s, struct sl_slice word)
{
    *s = (struct sl_suggest){.word = word, .distance = word.n < 3 ? 2 : (unsigned)SL_MIN(word.n / 3 + 1, 4u)};
}

/* Optimal string alignment: insert, delete, replace, swap of neighbours; ASCII case costs nothing. */
static unsigned _sl_distance(struct sl_slice a, struct sl_slice b)
{
    unsigned rows[3][SL_SUGGEST_LEN + 1];
    unsigned *before = rows[0], *last = rows[1], *row = rows[2];
    for (unsigned k = 0; k <= b.n; k++)
        last[k] = k;
    memcpy(before, last, sizeof(rows[0]));
    for (unsigned i = 1; i <= a.n; i++) {
        row[0] = i;
        for (unsigned k = 1; k <= b.n; k++) {
            char x = sl_lower(a.p[i - 1]), y = sl_lower(b.p[k - 1]);
            row[k] = SL_MIN(SL_MIN(last[k], row[k - 1]) + 1, last[k - 1] + (x != y));
            if (i > 1 && k > 1 && x == sl_lower(b.p[k - 2]) && y == sl_lower(a.p[i - 2]))
                row[k] = SL_MIN(row[k], before[k - 2] + 1);
        }
        unsigned *free_row = before;
        before = last;
        last = row;
        row = free_row;
    }
    return last[b.n];
}

void sl_suggest_try(struct sl_suggest *s, struct sl_slice c)
{
    size_t apart = c.n > s->word.n ? c.n - s->word.n : s->word.n - c.n;
    if (c.n == 0 || c.n > SL_SUGGEST_LEN || s->word.n == 0 || s->word.n > SL_SUGGEST_LEN ||
        apart >= s->distance)
        return;
    unsigned d = _sl_distance(s->word, c);
    if (d < s->distance && d < SL_MAX(s->word.n, (size_t)2)) {
        s->distance = d;
        s->best = c;
    }
}

const char *sl_suggest_text(const struct sl_suggest *s, struct sl_arena *a)
{
    const char *text =
        s->best.p ? sl_arena_printf(a, "; did you mean \"" SL_SFMT "\"?", SL_SARG(s->best)) : "";
    return text ? text : "";
}
