/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What operators have denied and allowed, kept in a file of the state directory, since the guard's pins are
 * gone after a reboot. Text, so that it can be looked at where nothing runs: a line that says how many
 * follow, then one an entry, with its end as nanoseconds of the wall clock (0: none).
 *
 * Invariant: a file that is cut or that says what no operator can is said so and ignored, whole.
 */
#include "supervisor/supervisor_priv.h"

#include <errno.h>
#include <inttypes.h>

#define SL_LISTS_FILE "lists.state"
#define SL_LISTS_HEAD "sluice lists 1 "
#define SL_LISTS_MAX  (2 * SL_MAX_LIST_ENTRIES)
#define SL_LISTS_LINE 96 /* bytes, at the most */

static const char *const _sl_verdicts[] = {[SL_LIST_ALLOW] = "allow", [SL_LIST_DENY] = "deny"};

struct sl_operators {
    struct sl_kernel_operators *v;
    size_t n;
};
static void _sl_operators_free(struct sl_operators *o)
{
    free(o->v);
}

/* ---- writing */

static int _sl_now_in_force(const struct sl_kernel_guard *g, struct sl_operators *o)
{
    o->n = sl_kernel_list_operators(g, NULL, 0);
    o->v = calloc(SL_MAX(o->n, (size_t)1), sizeof(*o->v));
    if (!o->v)
        return -ENOMEM;
    (void)sl_kernel_list_operators(g, o->v, o->n);
    return 0;
}

static int _sl_write(const struct sl_operators *o, struct sl_buf *out)
{
    const uint64_t now = sl_now_ns(), wall = sl_wall_ns();
    char text[SL_IP_STRLEN];
    int r = sl_buf_printf(out, SL_LISTS_HEAD "%zu\n", o->n);
    for (size_t i = 0; r == 0 && i < o->n; i++) {
        const struct sl_kernel_operators *e = &o->v[i];
        const uint64_t end = e->deadline_ns ? wall + e->deadline_ns - now : 0;
        r = sl_buf_printf(out, "%s %s %" PRIu64 "\n", _sl_verdicts[e->verdict],
                          sl_cidr_text(&e->prefix, text), end);
    }
    return r;
}

/* Of what is in force, without what lies between its fields. */
static uint64_t _sl_fingerprint(const struct sl_operators *o)
{
    uint64_t h = o->n;
    for (size_t i = 0; i < o->n; i++) {
        const struct sl_kernel_operators *e = &o->v[i];
        const uint64_t rest[] = {e->prefix.ip.family, e->prefix.len, e->verdict, e->deadline_ns};
        h = sl_hash(&e->prefix.ip.addr, sizeof(e->prefix.ip.addr), h);
        h = sl_hash(rest, sizeof(rest), h);
    }
    return h | 1; /* 0: not written yet */
}

void sl_kept_lists_save(struct sl_supervisor *s)
{
    SL_CLEANUP(_sl_operators_free) struct sl_operators o = {0};
    struct sl_buf SL_BUF b = {0};
    if (sl_kernel_fds(s->guard).penalties < 0) /* off: what was kept is for when it is on again */
        return;
    int r = _sl_now_in_force(s->guard, &o);
    const uint64_t fingerprint = r == 0 ? _sl_fingerprint(&o) : 0;
    if (r == 0 && fingerprint == s->kept.lists)
        return;
    if (r == 0)
        r = _sl_write(&o, &b);
    if (r == 0)
        r = sl_kept_replace(s, SL_LISTS_FILE, &b, true);
    if (r == 0)
        s->kept.lists = fingerprint;
    else if (!s->kept.lists_failed)
        (void)sl_error_r(r, "what operators have denied and allowed cannot be kept in %s", s->kept_dir);
    s->kept.lists_failed = r < 0;
}

/* ---- reading */

static bool _sl_take_verdict(struct sl_slice word, struct sl_kernel_operators *e)
{
    for (unsigned v = SL_LIST_ALLOW; v <= SL_LIST_DENY; v++)
        if (sl_slice_eq(word, sl_slice_str(_sl_verdicts[v]))) {
            e->verdict = (enum sl_list_verdict)v;
            return true;
        }
    return false;
}

/* Its end is put on this boot's clock; 1 where it is still to come, else 0. -EINVAL: no such line. */
static int _sl_take(struct sl_slice line, struct sl_kernel_operators *e)
{
    const uint64_t now = sl_now_ns(), wall = sl_wall_ns();
    struct sl_slice verdict, prefix;
    uint64_t end = 0;
    if (!sl_slice_next(&line, ' ', &verdict) || !sl_slice_next(&line, ' ', &prefix) ||
        !_sl_take_verdict(verdict, e) || sl_cidr_parse(prefix, &e->prefix) < 0 ||
        sl_slice_u64(line, &end) < 0)
        return -EINVAL;
    e->deadline_ns = end > wall ? now + end - wall : 0;
    return !end || end > wall;
}

/* NULL, or what is wrong with the file. */
static const char *_sl_parse(struct sl_slice text, struct sl_operators *o)
{
    const struct sl_slice head = SL_S(SL_LISTS_HEAD);
    struct sl_slice line;
    uint64_t n = 0;
    if (!sl_slice_starts(text, head) || !sl_slice_next(&text, '\n', &line) ||
        sl_slice_u64(sl_slice(line.p + head.n, line.n - head.n), &n) < 0 || n > SL_LISTS_MAX)
        return "it is no such file";
    o->v = calloc(SL_MAX(n, (uint64_t)1), sizeof(*o->v));
    if (!o->v)
        return "memory is out";
    for (uint64_t i = 0; i < n; i++) {
        if (sl_slice_chr(text, '\n') < 0 || !sl_slice_next(&text, '\n', &line))
            return "it is cut";
        const int r = _sl_take(line, &o->v[o->n]);
        if (r < 0)
            return "it has a line that is no entry";
        o->n += (size_t)r;
    }
    return text.n ? "it has grown" : NULL;
}

/* Only into empty lists: where the pins outlived us they know better. */
void sl_kept_lists_load(struct sl_supervisor *s)
{
    SL_CLEANUP(_sl_operators_free) struct sl_operators o = {0};
    struct sl_buf SL_BUF b = {0};
    char path[300];
    if (sl_kernel_fds(s->guard).penalties < 0 || sl_kernel_list_operators(s->guard, NULL, 0))
        return;
    int r = sl_kept_read(s, SL_LISTS_FILE, SL_LISTS_MAX * SL_LISTS_LINE, NULL, 0, &b, path);
    if (r == -ENOENT)
        return;
    const char *wrong = r < 0 ? strerror(-r) : _sl_parse(sl_buf_slice(&b), &o);
    if (wrong) {
        sl_kept_lay_aside(s, SL_LISTS_FILE, wrong, "what operators have denied and allowed is forgotten");
        return;
    }
    r = sl_kernel_list_put(s->guard, o.v, o.n);
    if (r < 0)
        (void)sl_error_r(r, "what operators have denied and allowed, of %s, is not in force", path);
    else if (o.n)
        sl_info("%zu entries of operators are in force again", o.n);
}
