/* SPDX-License-Identifier: Apache-2.0 */
/* An event of the stream, written and read. See cluster_event_priv.h. */
#include "control/cluster_event_priv.h"

#include "base/clock.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

static const char *const _sl_kinds[] = {"", "penalty", "deny", "revoked"};
static const char *const _sl_effects[] = {"none", "flow", "connect", "source"};

enum { KIND, SOURCE, EFFECT, LEFT, LEVEL, REJECTIONS, CONSUMER, RULE, HOST, SENDER };
static const char *const _sl_fields[SL_EVENT_FIELDS] = {
    "kind", "source", "effect", "left_ms", "level", "rejections", "consumer", "rule", "host", "sender"};

/* ---- writing */

struct sl_writing {
    char *at, *end;
    struct sl_slice *words;
    size_t n;
};

static void _sl_pair(struct sl_writing *w, const char *fmt, ...) SL_PRINTF(2, 3);
static void _sl_pair(struct sl_writing *w, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    const int n = vsnprintf(w->at, (size_t)(w->end - w->at), fmt, ap);
    va_end(ap);
    w->words[w->n] = sl_slice_str(_sl_fields[w->n / 2]);
    w->words[w->n + 1] = sl_slice(w->at, (size_t)n);
    w->n += 2;
    w->at += n;
}

/* Names are kept cut: not within a character. */
static int _sl_whole(const char *s)
{
    size_t n = strlen(s), whole = 0;
    for (size_t k; whole < n && (k = sl_slice_utf8(sl_slice(s + whole, n - whole))) > 0;)
        whole += k;
    return (int)whole;
}

void sl_cluster_event_words(const struct sl_cluster_event *e, char room[SL_EVENT_TEXT],
                            struct sl_slice words[SL_EVENT_WORDS])
{
    struct sl_writing w = {.at = room, .end = room + SL_EVENT_TEXT, .words = words};
    const struct sl_ipc_shared *m = &e->what;
    char prefix[SL_IP_STRLEN];
    _sl_pair(&w, "%s", _sl_kinds[m->kind]);
    _sl_pair(&w, "%s", sl_cidr_text(&m->prefix, prefix));
    _sl_pair(&w, "%s", _sl_effects[m->effect]);
    _sl_pair(&w, "%" PRIu64, (uint64_t)((m->left_ns + SL_NS_PER_MS - 1) / SL_NS_PER_MS));
    _sl_pair(&w, "%" PRIu32, m->level);
    _sl_pair(&w, "%" PRIu32, m->rejections);
    _sl_pair(&w, "%.*s", _sl_whole(m->consumer), m->consumer);
    _sl_pair(&w, "%.*s", _sl_whole(m->rule), m->rule);
    _sl_pair(&w, "%s", e->host);
    _sl_pair(&w, "%016" PRIx64, e->sender);
}

/* ---- reading */

static int _sl_choice(struct sl_slice s, const char *const *names, size_t n, uint32_t *out)
{
    for (size_t i = 0; i < n; i++)
        if (sl_slice_eq(s, sl_slice_str(names[i]))) {
            *out = (uint32_t)i;
            return 0;
        }
    return -EINVAL;
}

static int _sl_number(struct sl_slice s, uint64_t max, uint64_t *out)
{
    return sl_slice_u64(s, out) == 0 && *out <= max ? 0 : -EINVAL;
}

static int _sl_u32(struct sl_slice s, uint32_t *out)
{
    uint64_t v = 0;
    const int r = _sl_number(s, UINT32_MAX, &v);
    *out = (uint32_t)v;
    return r;
}

/* It is shown to operators, in JSON and on terminals: whole characters, and none that controls. */
static int _sl_text(struct sl_slice s, char *out, size_t room)
{
    if (s.n >= room)
        return -EINVAL;
    for (size_t i = 0, k; i < s.n; i += k) {
        k = sl_slice_utf8(sl_slice(s.p + i, s.n - i));
        if (k == 0 || (unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7f)
            return -EINVAL;
    }
    if (s.n)
        memcpy(out, s.p, s.n);
    out[s.n] = '\0';
    return 0;
}

static int _sl_hex(struct sl_slice s, uint64_t *out)
{
    *out = 0;
    if (s.n != 16)
        return -EINVAL;
    for (size_t i = 0; i < s.n; i++) {
        const char c = s.p[i];
        if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'f'))
            return -EINVAL;
        *out = *out << 4 | (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    return 0;
}

static int _sl_value(unsigned field, struct sl_slice s, struct sl_cluster_event *e)
{
    struct sl_ipc_shared *m = &e->what;
    switch (field) {
    case KIND:
        return _sl_choice(s, _sl_kinds, SL_ARRAY_LEN(_sl_kinds), &m->kind);
    case SOURCE:
        return sl_cidr_parse(s, &m->prefix) < 0 ? -EINVAL : 0;
    case EFFECT:
        return _sl_choice(s, _sl_effects, SL_ARRAY_LEN(_sl_effects), &m->effect);
    case LEFT:
        if (_sl_number(s, UINT64_MAX / SL_NS_PER_MS, &m->left_ns) < 0)
            return -EINVAL;
        m->left_ns *= SL_NS_PER_MS;
        return 0;
    case LEVEL:
        return _sl_u32(s, &m->level);
    case REJECTIONS:
        return _sl_u32(s, &m->rejections);
    case CONSUMER:
        return _sl_text(s, m->consumer, sizeof(m->consumer));
    case RULE:
        return _sl_text(s, m->rule, sizeof(m->rule));
    case HOST:
        return s.n ? _sl_text(s, e->host, sizeof(e->host)) : -EINVAL;
    default:
        return _sl_hex(s, &e->sender);
    }
}

int sl_cluster_event_parse(const struct sl_slice *words, size_t n, struct sl_cluster_event *out)
{
    *out = (struct sl_cluster_event){.sender = 0};
    if (n != SL_EVENT_WORDS)
        return -EINVAL;
    for (unsigned i = 0; i < SL_EVENT_FIELDS; i++)
        if (!sl_slice_eq(words[2 * i], sl_slice_str(_sl_fields[i])) ||
            _sl_value(i, words[2 * i + 1], out) < 0)
            return -EINVAL;
    return sl_ipc_shared_ok(&out->what) ? 0 : -EINVAL;
}

bool sl_cluster_revokes(const struct sl_cidr *c, uint32_t kind, const struct sl_cidr *prefix)
{
    if (prefix->len >= c->len)
        return sl_cidr_contains(c, &prefix->ip);
    return kind == SL_SHARED_PENALTY && sl_cidr_contains(prefix, &c->ip);
}

int sl_cluster_id_parse(struct sl_slice id, uint64_t *ms)
{
    uint64_t n;
    const ssize_t dash = sl_slice_chr(id, '-');
    if (dash <= 0 || sl_slice_u64(sl_slice(id.p, (size_t)dash), ms) < 0)
        return -EINVAL;
    return sl_slice_u64(sl_slice(id.p + dash + 1, id.n - (size_t)dash - 1), &n) < 0 ? -EINVAL : 0;
}
