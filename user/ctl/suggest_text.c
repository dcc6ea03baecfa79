/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The proposals as a merge patch in YAML. What is not proposed stands as a comment behind it: a limit that
 * stays, and whatever too little was seen of.
 *
 * Invariant: whatever came from the daemon stands in a key, quoted where need be, or in a comment, without a
 * line's end: no name can make the patch say something else.
 */
#include "ctl/suggest_priv.h"

#include "base/arena.h"
#include "base/clock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- words */

/* Of words that one YAML or the other reads as no string. */
static bool _sl_reserved(const char *s)
{
    static const char *const words[] = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"};
    for (size_t i = 0; i < SL_ARRAY_LEN(words); i++)
        if (sl_slice_ieq(sl_slice_str(s), sl_slice_str(words[i])))
            return true;
    return false;
}

static bool _sl_plain(const char *s)
{
    if (_sl_reserved(s) || !((*s | 32) >= 'a' && (*s | 32) <= 'z'))
        return false;
    for (; *s; s++)
        if (!((*s | 32) >= 'a' && (*s | 32) <= 'z') && !(*s >= '0' && *s <= '9') && *s != '-' && *s != '_')
            return false;
    return true;
}

static int _sl_key(struct sl_buf *out, unsigned indent, const char *name)
{
    json_t *j = _sl_plain(name) ? NULL : json_string(name);
    char *quoted = j ? json_dumps(j, JSON_ENCODE_ANY) : NULL;
    const int r =
        j && !quoted ? -ENOMEM : sl_buf_printf(out, "%*s%s:", (int)indent, "", quoted ? quoted : name);
    json_decref(j);
    free(quoted);
    return r;
}

static int _sl_place(struct sl_buf *out, const json_t *limit)
{
    int r = 0;
    if (sl_ctl_num(limit, "line") > 0) {
        r = sl_buf_printf(out, "   # now at ");
        if (r == 0)
            r = sl_ctl_escape(out, sl_slice_str(sl_ctl_str(limit, "file")), false);
        if (r == 0)
            r = sl_buf_printf(out, ":%.0f", sl_ctl_num(limit, "line"));
    }
    return r < 0 ? r : sl_buf_append(out, "\n", 1);
}

/* "route orders", "the policy's limits" */
static int _sl_whose(struct sl_buf *out, const json_t *limit)
{
    const char *section = sl_ctl_str(limit, "section"), *name = sl_ctl_str(limit, "name");
    int r = *name ? sl_buf_printf(out, "%.*s ", (int)strlen(section) - 1, section)
                  : sl_buf_printf(out, "limits of all routes");
    return r < 0 ? r : sl_ctl_escape(out, sl_slice_str(name), false);
}

/* ---- the evidence of a window */

static int _sl_seen(struct sl_buf *out, const struct sl_suggest_limit *l, unsigned w)
{
    const struct sl_propose_evidence *e = &l->evidence[w];
    return sl_buf_printf(out, "peak %llu, p99 %llu in %llu %ss", (unsigned long long)e->peak,
                         (unsigned long long)e->p99, (unsigned long long)e->watched, sl_suggest_windows[w]);
}

static int _sl_bound(struct sl_buf *out, const struct sl_suggest_limit *l, unsigned w)
{
    const struct sl_propose_evidence *e = &l->evidence[w];
    int r = 0;
    if (e->shadow)
        r = sl_buf_printf(out, "in shadow");
    else if (e->bound)
        r = sl_buf_printf(out, "bound in %llu of %llu %ss%s", (unsigned long long)e->bound,
                          (unsigned long long)e->bound_of, sl_suggest_windows[w],
                          l->proposal[w].daily ? ": binds daily" : "");
    else
        r = sl_buf_printf(out, "never bound");
    if (r == 0 && l->capped[w])
        r = sl_buf_printf(out, "; the kernel admits no more");
    return r;
}

static int _sl_line(struct sl_buf *out, unsigned indent, const struct sl_suggest_limit *l, unsigned w)
{
    const struct sl_propose_evidence *e = &l->evidence[w];
    int r = sl_buf_printf(out, "%*s%s: %llu   # ", (int)indent, "", sl_suggest_windows[w],
                          (unsigned long long)l->proposal[w].limit);
    if (r == 0)
        r = _sl_seen(out, l, w);
    if (r == 0)
        r = e->limit ? sl_buf_printf(out, "; now %llu: ", (unsigned long long)e->limit)
                     : sl_buf_printf(out, "; now without a limit%s",
                                     l->capped[w] ? ", and the kernel admits no more" : "");
    if (r == 0 && e->limit)
        r = _sl_bound(out, l, w);
    return r < 0 ? r : sl_buf_append(out, "\n", 1);
}

/* ---- the patch */

static bool _sl_changes(const struct sl_suggest_limit *l)
{
    bool some = false;
    for (unsigned w = 0; w < SL_PROPOSE_WINDOWS; w++)
        some |= sl_suggest_changes(l, w);
    return some;
}

static int _sl_limit(struct sl_buf *out, const struct sl_suggest_limit *l)
{
    const char *name = sl_ctl_str(l->j, "name");
    const unsigned indent = *name ? 4 : 2;
    int r = 0;
    if (*name && (r = _sl_key(out, 2, name)) == 0)
        r = sl_buf_append(out, "\n", 1);
    if (r == 0)
        r = _sl_key(out, indent, "rate_limit");
    if (r == 0)
        r = _sl_place(out, l->j);
    for (unsigned w = 0; r == 0 && w < SL_PROPOSE_WINDOWS; w++)
        if (sl_suggest_changes(l, w))
            r = _sl_line(out, indent + 2, l, w);
    return r;
}

/* true in *some where there is anything. */
static int _sl_patch(struct sl_buf *out, const struct sl_suggest_limit *v, size_t n, bool *some)
{
    const char *section = "";
    int r = 0;
    for (size_t i = 0; r == 0 && i < n; i++) {
        if (!_sl_changes(&v[i]))
            continue;
        *some = true;
        if (strcmp(section, sl_ctl_str(v[i].j, "section")) != 0) {
            section = sl_ctl_str(v[i].j, "section");
            r = _sl_key(out, 0, section);
            if (r == 0)
                r = sl_buf_append(out, "\n", 1);
        }
        if (r == 0)
            r = _sl_limit(out, &v[i]);
    }
    return r;
}

/* ---- what is not proposed */

static int _sl_stays(struct sl_buf *out, const struct sl_suggest_limit *l, unsigned w)
{
    const struct sl_propose_evidence *e = &l->evidence[w];
    const bool little = l->proposal[w].kind == SL_PROPOSAL_NONE;
    int r = sl_buf_printf(out, "# ");
    if (r == 0)
        r = _sl_whose(out, l->j);
    if (r == 0)
        r = e->limit ? sl_buf_printf(out, ": %s: %llu stays: ", sl_suggest_windows[w],
                                     (unsigned long long)e->limit)
                     : sl_buf_printf(out, ": no limit: ");
    if (r == 0)
        r = l->blind ? sl_buf_printf(out, "%s", l->blind)
            : little ? sl_buf_printf(out, "too little was seen: asked in %llu, of %llu %ss",
                                     (unsigned long long)e->busy, (unsigned long long)e->watched,
                                     sl_suggest_windows[w])
                     : _sl_seen(out, l, w);
    if (r == 0 && !little && e->limit && (!l->blind || e->bound))
        r = sl_buf_printf(out, "; ");
    if (r == 0 && !little && e->limit && (!l->blind || e->bound))
        r = _sl_bound(out, l, w);
    return r < 0 ? r : sl_buf_append(out, "\n", 1);
}

static int _sl_rest(struct sl_buf *out, const struct sl_suggest_limit *v, size_t n)
{
    int r = 0;
    for (size_t i = 0; i < n; i++)
        for (unsigned w = 0; r == 0 && w < SL_PROPOSE_WINDOWS; w++)
            if (v[i].shown[w] && !sl_suggest_changes(&v[i], w))
                r = _sl_stays(out, &v[i], w);
    return r;
}

int sl_suggest_yaml(const json_t *answer, const struct sl_suggest_limit *v, size_t n, double headroom,
                    struct sl_buf *out)
{
    char span[SL_CTL_UNIT], since[SL_ISO_LEN];
    bool some = false;
    sl_wall_iso((uint64_t)sl_ctl_num(answer, "since_s") * SL_NS_PER_SEC, since);
    int r = sl_buf_printf(
        out,
        "# Limits by what was asked for in %s that were watched since %.19sZ, with a headroom of "
        "%g.\n# Peak and p99 are requests of one consumer, or address, in one window. Nothing is applied by "
        "this:\n"
        "# merge it into the policy, then check and apply that.\n",
        sl_ctl_span(sl_ctl_num(answer, "watched_s"), span), since, headroom);
    if (r == 0 && sl_ctl_num(answer, "without") > 0)
        r = sl_buf_printf(
            out, "# There are more routes, tiers and consumers than are watched: some are missing.\n");
    if (r == 0)
        r = _sl_patch(out, v, n, &some);
    if (r == 0 && !some)
        r = sl_buf_printf(out, "{}\n");
    return r < 0 ? r : _sl_rest(out, v, n);
}
