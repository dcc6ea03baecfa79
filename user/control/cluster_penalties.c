/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Penalties of addresses, and operators' timed denies, told to the other hosts: each is an entry of a stream
 * in Redis, written when it is put in here, as is its revocation. Every host reads that stream to its end
 * once a sync (cluster_heard.c).
 *
 * Invariants: only what this host put in by itself is told, never what it heard. What could not be told waits
 * in a queue of fixed room; the stream has a fixed length; both lose what is oldest or newest, and count it.
 */
#include "control/cluster_priv.h"
#include "kernel/maps.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#define SL_STREAM_MOST "8192"
#define SL_TELL_ROOM   4096
#define SL_HEARD_ROOM  8192
#define SL_UNTOLD_MOST 256
#define SL_ALL_AGAIN   (10 * SL_NS_PER_SEC)
#define SL_ALL_AT_ONCE 3

/* ---- queues */

int sl_pendings_init(struct sl_pendings *q, size_t max)
{
    *q = (struct sl_pendings){.v = calloc(max, sizeof(*q->v)), .max = max};
    return q->v ? 0 : -ENOMEM;
}

struct sl_pending *sl_pendings_nth(const struct sl_pendings *q, size_t i)
{
    return &q->v[(q->at + i) % q->max];
}

bool sl_pendings_push(struct sl_pendings *q, const struct sl_pending *p)
{
    if (q->n == q->max)
        return false;
    *sl_pendings_nth(q, q->n++) = *p;
    return true;
}

void sl_pendings_pop(struct sl_pendings *q)
{
    q->at = (q->at + 1) % q->max;
    q->n--;
}

void sl_pendings_revoke(struct sl_pendings *q, const struct sl_cidr *c, bool as_revoked)
{
    size_t kept = 0;
    for (size_t i = 0; i < q->n; i++) {
        struct sl_pending p = *sl_pendings_nth(q, i);
        struct sl_ipc_shared *m = &p.e.what;
        if (m->kind != SL_SHARED_REVOKED && sl_cluster_revokes(c, m->kind, &m->prefix)) {
            if (!as_revoked)
                continue;
            *m = (struct sl_ipc_shared){.kind = SL_SHARED_REVOKED, .prefix = m->prefix};
        }
        *sl_pendings_nth(q, kept++) = p;
    }
    q->n = kept;
}

/* ---- telling */

void sl_cluster_penalties_complain(struct sl_cluster_penalties *p, const char *why)
{
    p->link->failures++;
    if (!p->complained)
        sl_warn("cluster: penalties are not shared: redis %s: %s", p->link->text, why);
    p->complained = true;
}

static void _sl_queue(struct sl_cluster_penalties *p, const struct sl_pending *what)
{
    p->lost += !sl_pendings_push(&p->tell, what);
}

struct sl_telling {
    struct sl_cluster_penalties *p;
    struct sl_pending what;
};

static void _sl_untellable(struct sl_cluster_penalties *p, const char *why)
{
    p->lost++;
    sl_cluster_penalties_complain(p, why);
}

static void _sl_was_told(struct sl_cluster_penalties *p, uint32_t kind)
{
    p->complained = false;
    p->told += kind != SL_SHARED_REVOKED;
    p->revocations_told += kind == SL_SHARED_REVOKED;
}

/* Where no answer comes it may have been written all the same: told twice, it is put in once. */
static void _sl_on_told(redisAsyncContext *a, void *reply_, void *arg)
{
    const redisReply *reply = reply_;
    SL_FREE struct sl_telling *t = arg;
    struct sl_cluster_penalties *p = t->p;
    (void)a;
    p->untold--;
    if (!reply)
        _sl_queue(p, &t->what);
    else if (reply->type == REDIS_REPLY_ERROR)
        _sl_untellable(p, reply->str);
    else
        _sl_was_told(p, t->what.e.what.kind);
}

static bool _sl_ripe(struct sl_pending *what, uint64_t now)
{
    if (what->e.what.kind == SL_SHARED_REVOKED)
        return true;
    if (what->deadline_ns <= now)
        return false;
    what->e.what.left_ns = what->deadline_ns - now;
    return true;
}

static int _sl_tell_one(struct sl_cluster_penalties *p, struct sl_telling *t)
{
    static const char *const head[] = {"XADD", NULL, "MAXLEN", "~", SL_STREAM_MOST, "*"};
    enum { HEAD = SL_ARRAY_LEN(head) };
    struct sl_slice words[SL_EVENT_WORDS];
    const char *argv[HEAD + SL_EVENT_WORDS];
    size_t len[HEAD + SL_EVENT_WORDS];
    char key[SL_CLUSTER_HOST_LEN + 16], text[SL_EVENT_TEXT];
    (void)snprintf(key, sizeof(key), "%s:penalties", p->link->config->name);
    sl_cluster_event_words(&t->what.e, text, words);
    for (size_t i = 0; i < SL_ARRAY_LEN(argv); i++) {
        const struct sl_slice w = i >= HEAD ? words[i - HEAD] : sl_slice_str(head[i] ? head[i] : key);
        argv[i] = w.p;
        len[i] = w.n;
    }
    return redisAsyncCommandArgv(p->link->redis, _sl_on_told, t, (int)SL_ARRAY_LEN(argv), argv, len) ==
                   REDIS_OK
               ? 0
               : -EIO;
}

static void _sl_flush(struct sl_cluster_penalties *p)
{
    const struct sl_cluster_link *l = p->link;
    while (l->redis && l->connected && p->tell.n && p->untold < SL_UNTOLD_MOST) {
        struct sl_telling *t = malloc(sizeof(*t));
        if (!t)
            return;
        *t = (struct sl_telling){.p = p, .what = *sl_pendings_nth(&p->tell, 0)};
        if (_sl_ripe(&t->what, sl_now_ns())) {
            if (_sl_tell_one(p, t) < 0) {
                free(t);
                return;
            }
            p->untold++;
        } else {
            free(t);
        }
        sl_pendings_pop(&p->tell);
    }
}

static const char *_sl_host(const struct sl_cluster_penalties *p)
{
    const char *named = p->link->config->host;
    return named ? named : p->link->control->args->host;
}

static struct sl_pending _sl_own(const struct sl_cluster_penalties *p, const struct sl_ipc_shared *m)
{
    struct sl_pending what = {.e = {.what = *m, .sender = p->sender},
                              .deadline_ns = sl_now_ns() + m->left_ns};
    (void)snprintf(what.e.host, sizeof(what.e.host), "%s", _sl_host(p));
    return what;
}

void sl_cluster_share(struct sl_control *c, const struct sl_ipc_shared *m)
{
    struct sl_cluster_penalties *p = c->cluster ? c->cluster->penalties : NULL;
    if (!p || !sl_ipc_shared_ok(m))
        return;
    const struct sl_pending what = _sl_own(p, m);
    if (m->kind == SL_SHARED_REVOKED) {
        sl_pendings_revoke(&p->tell, &m->prefix, false);
        sl_pendings_revoke(&p->heard, &m->prefix, false);
        sl_seen_revoke(p->seen, &m->prefix);
    } else {
        sl_seen_put(p->seen, &what.e, what.deadline_ns, true);
    }
    _sl_queue(p, &what);
    _sl_flush(p); /* not at the next sync: the others hear of it by theirs */
}

/* ---- telling all that is here: Redis is new, or we are */

static void _sl_tell_own(struct sl_cluster_penalties *p, const struct sl_ipc_shared *m)
{
    if (!sl_ipc_shared_ok(m) || sl_seen_find(p->seen, m->kind, &m->prefix, sl_now_ns()))
        return;
    const struct sl_pending what = _sl_own(p, m);
    sl_seen_put(p->seen, &what.e, what.deadline_ns, true);
    _sl_queue(p, &what);
}

static int _sl_on_penalty(const struct sl_penalty_key *k, const struct sl_penalty_value *v, void *arg)
{
    struct sl_cluster_penalties *p = arg;
    const uint64_t now = sl_now_ns();
    const struct sl_ip ip = {.family = k->family, .addr = k->addr};
    struct sl_ipc_shared m = {.prefix = sl_ip_source(&ip),
                              .kind = SL_SHARED_PENALTY,
                              .effect = v->effect,
                              .level = v->level,
                              .rejections = v->rejections,
                              .left_ns = v->deadline_ns > now ? v->deadline_ns - now : 0};
    memcpy(m.consumer, v->consumer, sizeof(m.consumer));
    memcpy(m.rule, v->rule, sizeof(m.rule));
    if (k->scope != SL_PENALTY_FLOW)
        _sl_tell_own(p, &m);
    return p->tell.n == p->tell.max;
}

void sl_cluster_penalties_tell_all(struct sl_cluster_penalties *p)
{
    const struct sl_control *c = p->link->control;
    const uint64_t now = sl_now_ns();
    size_t i;
    json_t *d;
    if (sl_bucket_take(&p->all_again, now, SL_ALL_AGAIN, SL_ALL_AT_ONCE * SL_ALL_AGAIN, NULL) != 1)
        return;
    p->all = false;
    if (c->args->kernel.penalties >= 0)
        (void)sl_maps_penalties(c->args->kernel.penalties, _sl_on_penalty, p);
    json_array_foreach(json_object_get(json_object_get(c->state, "kernel"), "denies"), i, d)
    {
        const uint64_t end = (uint64_t)json_integer_value(json_object_get(d, "deadline_ns"));
        struct sl_ipc_shared m = {.kind = SL_SHARED_DENY, .left_ns = end > now ? end - now : 0};
        if (sl_cidr_parse(sl_slice_str(json_string_value(json_object_get(d, "source"))), &m.prefix) == 0)
            _sl_tell_own(p, &m);
    }
    _sl_flush(p);
}

/* ---- its life */

int sl_cluster_penalties_start(struct sl_cluster_link *l)
{
    struct sl_cluster_penalties *p = calloc(1, sizeof(*p));
    if (!p)
        return -ENOMEM;
    *p = (struct sl_cluster_penalties){.link = l, .all = true, .replaying = true};
    l->penalties = p;
    p->seen = calloc(1, sizeof(*p->seen));
    int r = p->seen ? sl_pendings_init(&p->tell, SL_TELL_ROOM) : -ENOMEM;
    if (r == 0)
        r = sl_pendings_init(&p->heard, SL_HEARD_ROOM);
    if (r == 0 && (getrandom(&p->sender, sizeof(p->sender), 0) != sizeof(p->sender) ||
                   getrandom(&p->seen->seed, sizeof(p->seen->seed), 0) != sizeof(p->seen->seed)))
        r = -EIO;
    if (r < 0)
        sl_cluster_penalties_stop(l);
    return r;
}

void sl_cluster_penalties_stop(struct sl_cluster_link *l)
{
    struct sl_cluster_penalties *p = SL_TAKE_PTR(l->penalties);
    if (!p)
        return;
    free(p->tell.v);
    free(p->heard.v);
    free(p->seen);
    free(p);
}

void sl_cluster_penalties_sync(struct sl_cluster_link *l)
{
    struct sl_cluster_penalties *p = l->penalties;
    if (!p)
        return;
    _sl_flush(p);
    sl_cluster_hear(p);
}

/* ---- what is told of it */

const char *sl_cluster_origin(const struct sl_control *c, uint32_t kind, const struct sl_cidr *prefix)
{
    const struct sl_cluster_penalties *p = c->cluster ? c->cluster->penalties : NULL;
    const struct sl_seen *s = p ? sl_seen_find(p->seen, kind, prefix, sl_now_ns()) : NULL;
    /* of our own name: from before this process began */
    return s && !s->mine && strcmp(s->host, _sl_host(p)) != 0 ? s->host : "";
}

const char *sl_shared_refusal_name(enum sl_shared_refusal r)
{
    static const char *const names[] = {
#define SL_X(e, n) n,
        SL_SHARED_REFUSALS(SL_X)
#undef SL_X
    };
    return names[r];
}

json_t *sl_cluster_penalties_json(const struct sl_cluster_penalties *p)
{
    json_t *refused = json_object();
    for (unsigned i = 0; i < SL_REFUSE_COUNT; i++)
        (void)json_object_set_new(refused, sl_shared_refusal_name((enum sl_shared_refusal)i),
                                  json_integer((json_int_t)p->refused[i]));
    return json_pack("{s:s, s:I, s:I, s:I, s:o}", "host", _sl_host(p), "told", (json_int_t)p->told, "taken",
                     (json_int_t)p->taken, "lost", (json_int_t)p->lost, "refused", refused);
}
