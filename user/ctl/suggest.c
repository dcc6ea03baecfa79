/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `sluicectl suggest`: limits as the traffic of the last days would have them, as a merge patch (RFC 7396) of
 * the policy. The daemon has the evidence, policy/propose.h the rules; nothing is ever applied by this.
 */
#include "ctl/suggest_priv.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *const sl_suggest_windows[SL_PROPOSE_WINDOWS] = {"second", "minute", "hour", "day"};
static const double _sl_seconds[SL_PROPOSE_WINDOWS] = {1, 60, 3600, 86400};

enum { SL_SECOND, SL_MINUTE };

struct sl_suggest_options {
    struct sl_propose_rules rules;
    bool patch; /* as JSON, alone */
};

/* ---- the evidence */

static uint64_t _sl_u64(const json_t *j, const char *key)
{
    const double v = sl_ctl_num(j, key);
    return v > 0 && v < 1e15 ? (uint64_t)v : 0;
}

static void _sl_evidence(const json_t *j, bool shadow, struct sl_propose_evidence *e)
{
    *e = (struct sl_propose_evidence){.shadow = shadow,
                                      .limit = _sl_u64(j, "limit"),
                                      .peak = _sl_u64(j, "peak"),
                                      .p99 = _sl_u64(j, "p99"),
                                      .busy = _sl_u64(j, "busy"),
                                      .watched = _sl_u64(j, "watched"),
                                      .bound = _sl_u64(j, "bound"),
                                      .bound_of = _sl_u64(j, "bound_of"),
                                      .bound_days = _sl_u64(j, "bound_days"),
                                      .bound_days_of = _sl_u64(j, "bound_days_of")};
}

/* Askers are watched as `by: consumer` counts them, on this host; whom a limit counts in another way is not
 * told apart. */
static const char *_sl_blind(const json_t *j)
{
    const json_t *askers = json_object_get(j, "askers");
    bool addresses = false, others = false;
    size_t i;
    json_t *a;
    if (json_is_true(json_object_get(j, "cluster")))
        return "it holds for all hosts together, and this one watches what is asked of it alone";
    if (strcmp(sl_ctl_str(j, "by"), "consumer") == 0)
        return NULL;
    if (strcmp(sl_ctl_str(j, "by"), "ip") != 0)
        return "what it counts by is not watched: consumers and addresses are";
    json_array_foreach(askers, i, a)
    {
        const bool address = json_is_string(a) && strcmp(json_string_value(a), "address") == 0;
        addresses |= address;
        others |= !address;
    }
    return !others     ? NULL
           : addresses ? "it counts addresses, and consumers are among those who asked"
                       : "it counts addresses, and those who asked are consumers";
}

/* ---- what follows */

/* Without a limit: a minute's, which lets a burst through that a second's would not; a second's where minutes
 * tell too little yet. */
static void _sl_first(struct sl_suggest_limit *l)
{
    const unsigned w = l->proposal[SL_MINUTE].kind == SL_PROPOSAL_NEW ? SL_MINUTE : SL_SECOND;
    l->shown[l->proposal[w].kind == SL_PROPOSAL_NEW ? w : SL_MINUTE] = true;
}

/* `check` refuses a limit whose shortest window admits more than the kernel does. */
static void _sl_cap(struct sl_suggest_limit *l, double per_second)
{
    unsigned w = 0;
    while (w < SL_PROPOSE_WINDOWS && !l->shown[w])
        w++;
    if (w == SL_PROPOSE_WINDOWS || !(per_second > 0) || json_is_true(json_object_get(l->j, "shadow")))
        return;
    const double most = per_second * _sl_seconds[w];
    struct sl_proposal *p = &l->proposal[w];
    if ((double)p->limit <= most)
        return;
    l->capped[w] = true;
    p->limit = sl_propose_figure_below(most);
    if (p->limit <= l->evidence[w].limit)
        *p = (struct sl_proposal){SL_PROPOSAL_STAYS, l->evidence[w].limit, p->daily};
    if (!p->limit)
        p->kind = SL_PROPOSAL_NONE;
}

void sl_suggest_judge(const json_t *j, const struct sl_propose_rules *rules, double per_second,
                      struct sl_suggest_limit *l)
{
    const json_t *windows = json_object_get(j, "windows");
    bool written = false;
    *l = (struct sl_suggest_limit){.j = j, .blind = _sl_blind(j)};
    for (unsigned w = 0; w < SL_PROPOSE_WINDOWS; w++) {
        _sl_evidence(json_array_get(windows, w), json_is_true(json_object_get(j, "shadow")), &l->evidence[w]);
        l->proposal[w] = sl_propose(rules, w, &l->evidence[w]);
        l->shown[w] = l->evidence[w].limit > 0;
        written |= l->shown[w];
    }
    if (!written)
        _sl_first(l);
    _sl_cap(l, per_second);
}

/* ---- as JSON */

static json_t *_sl_member(json_t *o, const char *key)
{
    json_t *m = json_object_get(o, key);
    if (!m) {
        m = json_object();
        (void)json_object_set_new(o, key, m);
    }
    return m;
}

static json_t *_sl_patch(const struct sl_suggest_limit *v, size_t n)
{
    json_t *patch = json_object();
    for (size_t i = 0; i < n; i++)
        for (unsigned w = 0; w < SL_PROPOSE_WINDOWS; w++) {
            if (!sl_suggest_changes(&v[i], w))
                continue;
            json_t *at = _sl_member(patch, sl_ctl_str(v[i].j, "section"));
            if (*sl_ctl_str(v[i].j, "name"))
                at = _sl_member(at, sl_ctl_str(v[i].j, "name"));
            (void)json_object_set_new(_sl_member(at, "rate_limit"), sl_suggest_windows[w],
                                      json_integer((json_int_t)v[i].proposal[w].limit));
        }
    return patch;
}

/* What follows, beside the evidence of each window. */
static void _sl_annotate(json_t *answer, const struct sl_suggest_limit *v, size_t n, double headroom)
{
    static const char *const kinds[] = {"too_little", "stays", "new", "lower", "higher"};
    for (size_t i = 0; i < n; i++)
        for (unsigned w = 0; w < SL_PROPOSE_WINDOWS; w++) {
            json_t *at = json_array_get(json_object_get(v[i].j, "windows"), w);
            const struct sl_proposal *p = &v[i].proposal[w];
            if (!at || !v[i].shown[w])
                continue;
            (void)json_object_set_new(at, "proposal", json_string(v[i].blind ? "blind" : kinds[p->kind]));
            (void)json_object_set_new(at, "daily", json_boolean(p->daily));
            if (sl_suggest_changes(&v[i], w))
                (void)json_object_set_new(at, "proposed", json_integer((json_int_t)p->limit));
        }
    (void)json_object_set_new(answer, "headroom", json_real(headroom));
    (void)json_object_set_new(answer, "patch", _sl_patch(v, n));
}

/* ---- the verb */

static int _sl_print(const struct sl_ctl *ctl, const struct sl_suggest_options *o, json_t *answer,
                     const struct sl_suggest_limit *v, size_t n)
{
    struct sl_buf SL_BUF text = {0};
    struct sl_buf SL_BUF shown = {0};
    if (ctl->json || o->patch) {
        _sl_annotate(answer, v, n, o->rules.headroom);
        return sl_ctl_print_json(ctl->json ? answer : json_object_get(answer, "patch"));
    }
    if (sl_suggest_yaml(answer, v, n, o->rules.headroom, &text) < 0 ||
        sl_ctl_escape(&shown, sl_buf_slice(&text), true) < 0)
        return SL_CTL_FAILED;
    return sl_ctl_print(&shown, stdout);
}

static int _sl_suggest(const struct sl_ctl *ctl, const struct sl_suggest_options *o)
{
    json_t *answer = sl_ctl_call(ctl, "GET", "/v1/suggest", NULL);
    const json_t *limits = json_object_get(answer, "limits");
    const size_t n = json_array_size(limits);
    if (!answer)
        return SL_CTL_FAILED;
    struct sl_suggest_limit *v = calloc(n + 1, sizeof(*v));
    const double most = sl_ctl_num(json_object_get(answer, "ceiling"), "per_second");
    for (size_t i = 0; v && i < n; i++)
        sl_suggest_judge(json_array_get(limits, i), &o->rules, most, &v[i]);
    const int r = v ? _sl_print(ctl, o, answer, v, n) : SL_CTL_FAILED;
    free(v);
    json_decref(answer);
    return r;
}

static bool _sl_number(const char *text, double least, double most, double *out)
{
    char *end = NULL;
    errno = 0;
    *out = text ? strtod(text, &end) : *out;
    return !text || (!errno && end != text && !*end && isfinite(*out) && *out >= least && *out <= most);
}

int sl_ctl_suggest(const struct sl_ctl *ctl, int argc, char **argv)
{
    const char *headroom = NULL, *windows = NULL, *format = "yaml";
    const struct sl_ctl_option options[] = {
        {"--headroom", &headroom, NULL}, {"--windows", &windows, NULL}, {"--format", &format, NULL}};
    struct sl_suggest_options o = {.rules = sl_propose_defaults};
    double least = 0;
    size_t n;
    if (sl_ctl_options(argv[0], argc, argv, options, SL_ARRAY_LEN(options), NULL, 0, &n))
        return SL_CTL_USAGE;
    if (!_sl_number(headroom, 1, 100, &o.rules.headroom))
        return sl_ctl_usage(argv[0], "suggest: --headroom is a number from 1 to 100");
    if (!_sl_number(windows, 1, 1e6, &least))
        return sl_ctl_usage(argv[0], "suggest: --windows is how many of each are enough, from 1 to 1000000");
    if (strcmp(format, "yaml") != 0 && strcmp(format, "json") != 0)
        return sl_ctl_usage(argv[0], "suggest: --format is yaml or json");
    for (unsigned w = 0; windows && w < SL_PROPOSE_WINDOWS; w++)
        o.rules.least[w] = (uint64_t)least;
    o.patch = strcmp(format, "json") == 0;
    return _sl_suggest(ctl, &o);
}
