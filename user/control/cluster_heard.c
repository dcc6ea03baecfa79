/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Penalties that other hosts told, read from the stream and put in here by the supervisor.
 *
 * A page begins with the entry that was read last: where that is gone, Redis was emptied, or has trimmed more
 * than we read, and the stream is read from its start. What is read from the start is history: a revocation
 * in it takes back what it follows there, and nothing that came to this host otherwise.
 *
 * Invariant: each sync reads one page and asks the supervisor for a bounded number. Nothing that Redis holds
 * is believed: what is no such event, what this host protects, and an address from which another consumer
 * succeeds here (the NAT guard, as for our own) is refused and counted.
 */
#include "control/cluster_priv.h"
#include "telemetry/neighbours.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define SL_PAGE       512
#define SL_PAGE_TEXT  "512"
#define SL_ASK_RATE   500 /* a second: the supervisor takes twice as many of one process */
#define SL_ANSWER_NS  (10 * SL_NS_PER_SEC)
#define SL_SAY_NS     (10 * SL_NS_PER_SEC)
#define SL_WITHIN_MIN (10 * SL_NS_PER_SEC)

/* A page with Redis's time. What is too long for an event comes without its words: whoever writes there
 * cannot fill this process's memory. */
static const char _sl_script[] = "local t = redis.call('TIME') "
                                 "local page = redis.call('XRANGE', KEYS[1], ARGV[1], '+', 'COUNT', ARGV[2]) "
                                 "for _, entry in ipairs(page) do "
                                 "local n = 0 "
                                 "for _, word in ipairs(entry[2]) do n = n + #word end "
                                 "if n > 1024 then entry[2] = {} end "
                                 "end "
                                 "return {t[1], t[2], page}";

/* ---- one event */

static void _sl_revoked(struct sl_cluster_penalties *p, const struct sl_pending *what)
{
    const struct sl_cidr *c = &what->e.what.prefix;
    sl_pendings_revoke(&p->heard, c, p->replaying);
    sl_seen_revoke(p->seen, c);
    if (what->e.sender == p->sender || p->replaying)
        return;
    p->refused[SL_REFUSE_FULL] += !sl_pendings_push(&p->heard, what);
}

static void _sl_heard(struct sl_cluster_penalties *p, const struct sl_cluster_event *e, uint64_t ms)
{
    struct sl_pending what = {.e = *e};
    const uint64_t age = p->redis_ms > ms ? p->redis_ms - ms : 0;
    if (e->what.kind == SL_SHARED_REVOKED) {
        _sl_revoked(p, &what);
        return;
    }
    if (age >= e->what.left_ns / SL_NS_PER_MS)
        return; /* over */
    what.deadline_ns = p->at_ns + e->what.left_ns - age * SL_NS_PER_MS;
    const bool mine = e->sender == p->sender;
    const struct sl_seen *seen = sl_seen_find(p->seen, e->what.kind, &e->what.prefix, p->at_ns);
    if (mine || !seen || !seen->mine)
        sl_seen_put(p->seen, e, what.deadline_ns, mine);
    if (!mine)
        p->refused[SL_REFUSE_FULL] += !sl_pendings_push(&p->heard, &what);
}

/* ---- a page */

static bool _sl_is_text(const redisReply *r)
{
    return r->type == REDIS_REPLY_STRING || r->type == REDIS_REPLY_STATUS;
}

/* False: it is no entry of a stream. */
static bool _sl_entry(struct sl_cluster_penalties *p, const redisReply *r)
{
    struct sl_slice words[SL_EVENT_WORDS];
    struct sl_cluster_event e;
    uint64_t ms;
    if (r->type != REDIS_REPLY_ARRAY || r->elements != 2 || !_sl_is_text(r->element[0]) ||
        r->element[1]->type != REDIS_REPLY_ARRAY || r->element[0]->len >= sizeof(p->cursor) ||
        sl_cluster_id_parse(sl_slice(r->element[0]->str, r->element[0]->len), &ms) < 0)
        return false;
    (void)snprintf(p->cursor, sizeof(p->cursor), "%s", r->element[0]->str);
    const redisReply *fields = r->element[1];
    size_t n = 0;
    while (n < SL_MIN(fields->elements, (size_t)SL_EVENT_WORDS) && _sl_is_text(fields->element[n])) {
        words[n] = sl_slice(fields->element[n]->str, fields->element[n]->len);
        n++;
    }
    if (n == fields->elements && sl_cluster_event_parse(words, n, &e) == 0)
        _sl_heard(p, &e, ms);
    else
        p->refused[SL_REFUSE_MALFORMED]++;
    return true;
}

/* The entry that was read last is the first one of a page, or something was lost. */
static bool _sl_goes_on(const struct sl_cluster_penalties *p, const redisReply *reply)
{
    const redisReply *first = reply->elements ? reply->element[0] : NULL;
    return first && first->type == REDIS_REPLY_ARRAY && first->elements && _sl_is_text(first->element[0]) &&
           strcmp(first->element[0]->str, p->cursor) == 0;
}

static void _sl_from_the_start(struct sl_cluster_penalties *p)
{
    p->cursor[0] = '\0';
    p->replaying = p->all = true;
    sl_seen_forget_mine(p->seen);
}

static void _sl_page(struct sl_cluster_penalties *p, const redisReply *reply)
{
    size_t i = 0;
    if (*p->cursor && !_sl_goes_on(p, reply)) {
        _sl_from_the_start(p);
        return; /* the next page is its first */
    }
    for (i = *p->cursor ? 1 : 0; i < reply->elements; i++)
        if (!_sl_entry(p, reply->element[i])) {
            p->refused[SL_REFUSE_MALFORMED]++;
            return;
        }
    if (reply->elements == SL_PAGE)
        return;
    p->replaying = false; /* to its end */
    if (p->all)
        sl_cluster_penalties_tell_all(p);
}

/* Redis refuses these where it is too old for streams, or the key is something else's: limits go on. */
static const redisReply *_sl_answer(struct sl_cluster_penalties *p, const redisReply *reply)
{
    if (reply && reply->type == REDIS_REPLY_ERROR) {
        p->link->outstanding--;
        sl_cluster_penalties_complain(p, reply->str);
        return NULL;
    }
    return sl_cluster_answered(p->link, reply) ? reply : NULL;
}

/* Redis's clock, as its TIME is. Without it nothing can be said of an end. */
static bool _sl_time(struct sl_cluster_penalties *p, const redisReply *s, const redisReply *us)
{
    uint64_t at, part;
    if (!_sl_is_text(s) || !_sl_is_text(us) || sl_slice_u64(sl_slice(s->str, s->len), &at) < 0 ||
        sl_slice_u64(sl_slice(us->str, us->len), &part) < 0 || at > UINT64_MAX / 1000000)
        return false;
    p->redis_ms = at * 1000 + part / 1000;
    p->at_ns = p->link->asked_at; /* not the answer's coming: its way would be added to each end */
    return true;
}

static void _sl_on_page(redisAsyncContext *a, void *reply_, void *arg)
{
    struct sl_cluster_penalties *p = arg;
    const redisReply *reply = _sl_answer(p, reply_);
    (void)a;
    if (!reply)
        return;
    if (reply->type == REDIS_REPLY_ARRAY && reply->elements == 3 &&
        reply->element[2]->type == REDIS_REPLY_ARRAY && _sl_time(p, reply->element[0], reply->element[1]))
        _sl_page(p, reply->element[2]);
    else
        p->refused[SL_REFUSE_MALFORMED]++;
    sl_cluster_put_in(p);
}

void sl_cluster_hear(struct sl_cluster_penalties *p)
{
    struct sl_cluster_link *l = p->link;
    if (l->redis && redisAsyncCommand(l->redis, _sl_on_page, p, "EVAL %s 1 %s:penalties %s " SL_PAGE_TEXT,
                                      _sl_script, l->config->name, *p->cursor ? p->cursor : "-") == REDIS_OK)
        l->outstanding++;
}

/* ---- putting in */

/* The longest in which a tier of this host counts refusals: whoever succeeded since then is a neighbour. */
static uint64_t _sl_within(const struct sl_snapshot *s)
{
    uint64_t within = SL_WITHIN_MIN;
    for (size_t i = 0; i < s->n_tiers; i++)
        if (s->tiers[i].escalate.enabled)
            within = SL_MAX(within, s->tiers[i].escalate.within);
    return within;
}

/* Whether somebody else succeeds from the address here. A name that was cut, and a credential without a name,
 * are nobody whom this host knows: whoever succeeds is another. */
static bool _sl_others_succeed(const struct sl_control *c, const struct sl_ipc_shared *m)
{
    const uint64_t seed = c->args->buckets.seed, source = sl_neighbours_source(&m->prefix.ip, seed);
    const struct sl_slice who = sl_slice_str(m->consumer);
    uint64_t(*all)[SL_SHARED_NEIGHBOURS_ROW] = c->args->counters.shared->neighbours;
    const uint64_t now = sl_now_ns(), within = _sl_within(c->snapshot);
    uint64_t identity = sl_neighbours_identity(who, seed);
    if (sl_slice_eq(who, SL_S("anonymous")))
        identity = SL_NEIGHBOURS_NOBODY;
    if (who.n && who.n < SL_NAME_LEN - 1)
        return sl_neighbours_succeed(all, source, identity, now, within);
    return sl_neighbours_succeed(all, source, identity, now, within) ||
           sl_neighbours_succeed(all, source, ~identity, now, within);
}

/* An answer may have been lost where this process was slow: what is old is not waited for. */
static size_t _sl_slot(const struct sl_cluster_penalties *p, uint64_t now)
{
    size_t i = 0;
    while (i < SL_ASKED_MOST && p->asked[i].id && now - p->asked[i].at_ns < SL_ANSWER_NS)
        i++;
    return i;
}

/* 0: asked for; -EAGAIN: not now. */
static int _sl_ask(struct sl_cluster_penalties *p, const struct sl_pending *what)
{
    struct sl_control *c = p->link->control;
    const uint64_t now = sl_now_ns();
    const size_t slot = _sl_slot(p, now);
    union sl_ipc m = {.shared = what->e.what};
    if (slot == SL_ASKED_MOST)
        return -EAGAIN;
    m.h = (struct sl_ipc_header){.type = SL_IPC_SHARED, .id = c->next_id++};
    if (sl_ipc_send(c->args->ipc_fd, &m, NULL, 0) < 0)
        return -EAGAIN;
    p->asked[slot].id = m.h.id;
    p->asked[slot].at_ns = now;
    p->asked[slot].p = *what;
    return 0;
}

/* What is over, or refused by this host itself, is asked of nobody: false. */
static bool _sl_wanted(struct sl_cluster_penalties *p, struct sl_pending *what)
{
    const uint64_t now = sl_now_ns();
    struct sl_ipc_shared *m = &what->e.what;
    if (m->kind == SL_SHARED_REVOKED)
        return true;
    if (what->deadline_ns <= now)
        return false;
    m->left_ns = what->deadline_ns - now;
    if (m->kind != SL_SHARED_PENALTY || !_sl_others_succeed(p->link->control, m))
        return true;
    p->refused[SL_REFUSE_NEIGHBOURS]++;
    return false;
}

void sl_cluster_put_in(struct sl_cluster_penalties *p)
{
    const double sync = (double)p->link->config->sync / 1e9;
    size_t budget = SL_MIN((size_t)(SL_ASK_RATE * sync) + 1, (size_t)SL_ASKED_MOST);
    while (!p->replaying && p->heard.n && budget) {
        struct sl_pending what = *sl_pendings_nth(&p->heard, 0);
        if (_sl_wanted(p, &what)) {
            if (_sl_ask(p, &what) < 0)
                return;
            budget--;
        }
        sl_pendings_pop(&p->heard);
    }
}

/* ---- what the supervisor answers */

static void _sl_say_protected(struct sl_cluster_penalties *p, const struct sl_pending *what)
{
    char text[SL_IP_STRLEN];
    const uint64_t now = sl_now_ns();
    if (p->said_ns && now - p->said_ns < SL_SAY_NS)
        return;
    p->said_ns = now;
    sl_info("cluster: %s, which host %s shuts out, is allowed here, or a trusted proxy: it is not",
            sl_cidr_text(&what->e.what.prefix, text), what->e.host);
}

static void _sl_done(struct sl_cluster_penalties *p, const struct sl_pending *what, int error)
{
    const bool revoked = what->e.what.kind == SL_SHARED_REVOKED;
    if (error == 0 && !revoked)
        sl_seen_put(p->seen, &what->e, what->deadline_ns, false);
    p->taken += error == 0 && !revoked;
    p->revocations_taken += error == 0 && revoked;
    if (error == 0 || error == -EEXIST)
        return;
    if (error == -EBUSY || error == -EAGAIN) { /* an upgrade is under way, or too much was asked for */
        p->refused[SL_REFUSE_FULL] += !sl_pendings_push(&p->heard, what);
        return;
    }
    p->refused[error == -EPERM ? SL_REFUSE_PROTECTED : error == -ENOSPC ? SL_REFUSE_FULL : SL_REFUSE_GUARD]++;
    if (error == -EPERM)
        _sl_say_protected(p, what);
}

bool sl_cluster_result(struct sl_control *c, const struct sl_ipc_result *m)
{
    struct sl_cluster_penalties *p = c->cluster ? c->cluster->penalties : NULL;
    for (size_t i = 0; p && i < SL_ASKED_MOST; i++)
        if (p->asked[i].id && p->asked[i].id == m->h.id) {
            p->asked[i].id = 0;
            _sl_done(p, &p->asked[i].p, m->error);
            return true;
        }
    return false;
}
