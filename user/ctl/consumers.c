/* SPDX-License-Identifier: Apache-2.0 */
/* `sluicectl consumers usage|reset [NAME]`: what is left of their limits, and giving it back to them. */
#include "base/arena.h"
#include "ctl/ctl_priv.h"

#include <string.h>

static int _sl_rows(const json_t *consumer, struct sl_arena *a, struct sl_ctl_table *t)
{
    size_t i;
    json_t *l;
    int r = 0;
    json_array_foreach(json_object_get(consumer, "limits"), i, l)
    {
        char span[SL_CTL_UNIT];
        if (r == 0)
            r = sl_ctl_table_row(
                t, (const char *const[]){
                       sl_ctl_str(consumer, "consumer"), sl_ctl_str(consumer, "tier"), sl_ctl_str(l, "limit"),
                       sl_ctl_str(l, "window"), sl_arena_printf(a, "%.0f", sl_ctl_num(l, "quota")),
                       sl_arena_printf(a, "%.0f", sl_ctl_num(l, "remaining")),
                       sl_arena_strdup(a, sl_slice_str(sl_ctl_span(sl_ctl_num(l, "reset_ms") / 1000, span))),
                       sl_arena_printf(a, "%.0f", sl_ctl_num(l, "admitted")),
                       sl_arena_printf(a, "%.0f", sl_ctl_num(l, "refused"))});
    }
    return r;
}

static int _sl_text(const json_t *j, struct sl_buf *out)
{
    static const char *const titles[] = {"consumer",   "tier",     "limit",     "window",  ">quota",
                                         ">remaining", ">full in", ">admitted", ">refused"};
    struct sl_ctl_table t;
    struct sl_arena arena;
    size_t i;
    json_t *c;
    int r = 0;
    sl_arena_init(&arena, 0);
    sl_ctl_table_init(&t, &arena, titles, SL_ARRAY_LEN(titles));
    json_array_foreach(json_object_get(j, "consumers"), i, c) if (r == 0) r = _sl_rows(c, &arena, &t);
    if (r == 0)
        r = t.rows ? sl_ctl_table_print(&t, 0, out)
                   : sl_buf_printf(out, "no consumer has a limit of its own\n");
    if (r == 0 && sl_ctl_num(j, "left_out") > 0)
        r = sl_buf_printf(out, "and %.0f more: give a NAME\n", sl_ctl_num(j, "left_out"));
    sl_ctl_table_free(&t);
    sl_arena_free(&arena);
    return r;
}

/* "?name=" and the name, every byte but letters and digits escaped. */
int sl_ctl_consumers_path(const char *name, struct sl_buf *out)
{
    int r = sl_buf_printf(out, "/v1/consumers%s", name ? "?name=" : "");
    for (const char *p = name ? name : ""; r == 0 && *p; p++)
        r = (*p >= '0' && *p <= '9') || ((*p | 32) >= 'a' && (*p | 32) <= 'z')
                ? sl_buf_append(out, p, 1)
                : sl_buf_printf(out, "%%%02X", (unsigned char)*p);
    return r < 0 ? r : sl_buf_append(out, "", 1);
}

static int _sl_usage(const struct sl_ctl *ctl, const char *name)
{
    struct sl_buf SL_BUF path = {0};
    struct sl_buf SL_BUF text = {0};
    json_t *j =
        sl_ctl_consumers_path(name, &path) < 0 ? NULL : sl_ctl_call(ctl, "GET", sl_buf_data(&path), NULL);
    if (!j)
        return SL_CTL_FAILED;
    int r = ctl->json                ? sl_ctl_print_json(j)
            : _sl_text(j, &text) < 0 ? SL_CTL_FAILED
                                     : sl_ctl_print(&text, stdout);
    json_decref(j);
    return r;
}

static int _sl_reset(const struct sl_ctl *ctl, const char *name)
{
    json_t *body = json_pack("{s:s*}", "name", name);
    json_t *j = sl_ctl_call(ctl, "POST", "/v1/consumers/reset", body);
    char done[80];
    json_decref(body);
    if (!j)
        return SL_CTL_FAILED;
    (void)snprintf(done, sizeof(done), "buckets that are full again: %.0f", sl_ctl_num(j, "buckets"));
    return sl_ctl_finish(ctl, j, "refused; nothing was changed", done);
}

int sl_ctl_consumers(const struct sl_ctl *ctl, int argc, char **argv)
{
    const char *words[2] = {NULL, NULL};
    size_t n;
    if (sl_ctl_options(argv[0], argc, argv, NULL, 0, words, 2, &n))
        return SL_CTL_USAGE;
    if (n && strcmp(words[0], "usage") == 0)
        return _sl_usage(ctl, words[1]);
    if (n && strcmp(words[0], "reset") == 0)
        return _sl_reset(ctl, words[1]);
    return sl_ctl_usage(argv[0], "consumers: usage or reset?");
}
