/* SPDX-License-Identifier: Apache-2.0 */
/* Columns as wide as their longest cell. Cells are escaped when they enter, so the width is what the terminal
 * shows. */
#include "base/arena.h"
#include "ctl/ctl_priv.h"

#include <errno.h>
#include <string.h>

void sl_ctl_table_init(struct sl_ctl_table *t, struct sl_arena *arena, const char *const *titles, size_t n)
{
    *t = (struct sl_ctl_table){.arena = arena, .n = SL_MIN(n, (size_t)SL_CTL_COLUMNS)};
    for (size_t i = 0; i < t->n; i++) {
        t->columns[i].title = titles[i];
        t->columns[i].width = sl_ctl_width(sl_slice_str(titles[i])) - (titles[i][0] == '>');
    }
}

static int _sl_grow(struct sl_ctl_table *t)
{
    if (t->rows < t->cap)
        return 0;
    size_t cap = t->cap ? t->cap * 2 : 16;
    struct sl_slice *cells = reallocarray(t->cells, cap * t->n, sizeof(*cells));
    if (!cells)
        return -ENOMEM;
    t->cells = cells;
    t->cap = cap;
    return 0;
}

int sl_ctl_table_row(struct sl_ctl_table *t, const char *const *texts)
{
    struct sl_buf SL_BUF escaped = {0};
    int r = _sl_grow(t);
    for (size_t i = 0; r == 0 && i < t->n; i++) {
        struct sl_slice *cell = &t->cells[t->rows * t->n + i];
        escaped.start = escaped.end = 0;
        r = sl_ctl_escape(&escaped, sl_slice_str(texts[i] ? texts[i] : "-"), false);
        if (r < 0)
            break;
        *cell = sl_arena_copy(t->arena, sl_buf_slice(&escaped));
        if (!cell->p)
            r = -ENOMEM;
        t->columns[i].width = SL_MAX(t->columns[i].width, sl_ctl_width(*cell));
    }
    t->rows += r == 0;
    return r;
}

static int _sl_line(const struct sl_ctl_table *t, unsigned indent, const struct sl_slice *cells,
                    struct sl_buf *out)
{
    int r = sl_buf_printf(out, "%*s", (int)indent, "");
    for (size_t i = 0; r == 0 && i < t->n; i++) {
        bool right = t->columns[i].title[0] == '>';
        size_t width = sl_ctl_width(cells[i]);
        int pad = (int)(t->columns[i].width - width), after = i + 1 < t->n ? 2 : 0;
        if (right)
            r = sl_buf_printf(out, "%*s" SL_SFMT "%*s", pad, "", SL_SARG(cells[i]), after, "");
        else
            r = sl_buf_printf(out, SL_SFMT "%*s", SL_SARG(cells[i]), after ? pad + after : 0, "");
    }
    return r ? r : sl_buf_append(out, "\n", 1);
}

int sl_ctl_table_print(const struct sl_ctl_table *t, unsigned indent, struct sl_buf *out)
{
    struct sl_slice titles[SL_CTL_COLUMNS];
    for (size_t i = 0; i < t->n; i++)
        titles[i] = sl_slice_str(t->columns[i].title + (t->columns[i].title[0] == '>'));
    int r = _sl_line(t, indent, titles, out);
    for (size_t i = 0; r == 0 && i < t->rows; i++)
        r = _sl_line(t, indent, &t->cells[i * t->n], out);
    return r;
}

void sl_ctl_table_free(struct sl_ctl_table *t)
{
    free(t->cells);
    t->cells = NULL;
    t->rows = t->cap = 0;
}
