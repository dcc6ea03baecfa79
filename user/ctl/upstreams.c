/* SPDX-License-Identifier: Apache-2.0 */
/* Targets of upstreams: how they do, and taking one out of service. */
#include "base/arena.h"
#include "ctl/ctl_priv.h"

#include <string.h>

static const char *_sl_state(struct sl_arena *a, const json_t *target)
{
    char span[SL_CTL_UNIT];
    const char *state = sl_ctl_str(target, "state");
    if (sl_ctl_num(target, "left_ms") <= 0)
        return state;
    return sl_arena_printf(a, "%s, %s left", state, sl_ctl_span(sl_ctl_num(target, "left_ms") / 1000, span));
}

static int _sl_target_row(struct sl_ctl_table *t, const json_t *upstream, const json_t *target)
{
    struct sl_arena *a = t->arena;
    const char *breaker = sl_ctl_str(upstream, "breaker");
    return sl_ctl_table_row(
        t,
        (const char *const[]){sl_ctl_str(upstream, "name"), sl_ctl_str(target, "target"),
                              sl_arena_printf(a, "%.0f", sl_ctl_num(target, "weight")), _sl_state(a, target),
                              sl_arena_printf(a, "%.0f", sl_ctl_num(target, "active")),
                              sl_arena_printf(a, "%.0f", sl_ctl_num(target, "requests")),
                              sl_arena_printf(a, "%.0f", sl_ctl_num(target, "failures")),
                              strcmp(breaker, "none") == 0 ? NULL : breaker,
                              sl_arena_printf(a, "%.0f", sl_ctl_num(upstream, "pending"))});
}

/* Of a target by DNS: an address a row, behind its own. */
static int _sl_address_rows(struct sl_ctl_table *t, const json_t *target)
{
    struct sl_arena *a = t->arena;
    size_t i;
    json_t *one;
    int r = 0;
    json_array_foreach(json_object_get(target, "addresses"), i, one)
    {
        if (r == 0)
            r = sl_ctl_table_row(
                t, (const char *const[]){NULL, sl_arena_printf(a, "  %s", sl_ctl_str(one, "address")), NULL,
                                         _sl_state(a, one), NULL, NULL, NULL, NULL, NULL});
    }
    return r;
}

int sl_ctl_upstreams_text(const json_t *list, struct sl_buf *out)
{
    static const char *const titles[] = {"upstream",  "target",    ">weight", "state",   ">active",
                                         ">requests", ">failures", "breaker", ">pending"};
    struct sl_ctl_table t;
    struct sl_arena arena;
    size_t i, k;
    json_t *u, *target;
    int r = 0;
    if (json_array_size(list) == 0)
        return sl_buf_printf(out, "no upstreams\n");
    sl_arena_init(&arena, 0);
    sl_ctl_table_init(&t, &arena, titles, SL_ARRAY_LEN(titles));
    json_array_foreach(list, i, u)
    {
        json_array_foreach(json_object_get(u, "targets"), k, target)
        {
            if (r == 0)
                r = _sl_target_row(&t, u, target);
            if (r == 0)
                r = _sl_address_rows(&t, target);
        }
    }
    if (r == 0)
        r = sl_ctl_table_print(&t, 0, out);
    sl_ctl_table_free(&t);
    sl_arena_free(&arena);
    return r;
}

int sl_ctl_drain(const struct sl_ctl *ctl, int argc, char **argv)
{
    const char *target[1];
    bool off = false;
    const struct sl_ctl_option options[] = {{"--off", NULL, &off}};
    size_t n;
    if (sl_ctl_options(argv[0], argc, argv, options, SL_ARRAY_LEN(options), target, 1, &n))
        return SL_CTL_USAGE;
    if (n == 0)
        return sl_ctl_usage(argv[0], "drain: which target? `sluicectl status upstreams` lists them");
    json_t *body = json_pack("{s:s, s:b}", "target", target[0], "off", off);
    json_t *j = sl_ctl_call(ctl, "POST", "/v1/drain", body);
    json_decref(body);
    if (!j)
        return SL_CTL_FAILED;
    char done[160];
    if (off)
        (void)snprintf(done, sizeof(done), "back in service: %.0f", sl_ctl_num(j, "targets"));
    else
        (void)snprintf(done, sizeof(done), "drained: %.0f, with %.0f requests still under way",
                       sl_ctl_num(j, "targets"), sl_ctl_num(j, "active"));
    return sl_ctl_finish(ctl, j, "refused; nothing was changed", done);
}
