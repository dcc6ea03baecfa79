/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shared buckets in Redis: one TAT each, in microseconds of Redis's own clock, so that the hosts' clocks do
 * not matter. A host says what its bucket admitted; Redis debits it and answers what all have left to pay;
 * the local TAT is moved on to that, with what was admitted since.
 *
 * Invariant: what a share counted is either in Redis or counted again: an answer that does not come gives it
 * back. It may then be debited twice, if Redis had it and only its answer was lost; never not at all.
 */
#include "control/cluster_priv.h"

#include "base/share.h"

#include <inttypes.h>
#include <stdio.h>

#define SL_BATCH     256   /* buckets of one command: Redis serves nobody else meanwhile */
#define SL_TELL_MOST 65536 /* buckets of one sync; what is beyond it is told by the next */
#define SL_WORD      96    /* the longest: a name of 64, and 16 digits */
#define SL_ARGS      3     /* of a bucket: cost, floor, ceiling; microseconds */

/* ARGV: cost, floor (this host's own debt before that: Redis may have been emptied), ceiling. Answers what is
 * left to pay. Doubles hold microseconds exactly until the year 2255. */
static const char _sl_script[] =
    "local t = redis.call('TIME') "
    "local now = t[1] * 1000000 + t[2] "
    "local out = {} "
    "for i, key in ipairs(KEYS) do "
    "local a = 3 * i - 2 "
    "local tat = math.max(tonumber(redis.call('GET', key) or 0), now + tonumber(ARGV[a + 1])) "
    "tat = math.min(tat + tonumber(ARGV[a]), now + tonumber(ARGV[a + 2])) "
    "redis.call('SET', key, string.format('%.0f', tat), 'PX', math.ceil((tat - now) / 1000) + 1000) "
    "out[i] = tat - now "
    "end "
    "return out";

struct sl_told_bucket {
    uint32_t slot;
    struct sl_share what; /* admitted: what was told */
};
struct sl_batch {
    struct sl_cluster_link *link;
    uint64_t sent_at;
    size_t n;
    struct sl_told_bucket v[SL_BATCH];
};
/* The words of one command. */
struct sl_command {
    const char *argv[3 + SL_BATCH * (1 + SL_ARGS)];
    size_t len[3 + SL_BATCH * (1 + SL_ARGS)];
    int argc;
    char *text;
    size_t used, room;
};

static uint64_t _sl_us(uint64_t ns)
{
    return (ns + 500) / 1000;
}

static struct sl_bucket *_sl_bucket(const struct sl_batch *b, const struct sl_told_bucket *t)
{
    struct sl_bucket *bucket = &b->link->control->args->buckets.slots[t->slot];
    return __atomic_load_n((uint64_t *)&bucket->key, __ATOMIC_ACQUIRE) == t->what.key ? bucket : NULL;
}

/* ---- the answer */

static void _sl_give_back(const struct sl_batch *b)
{
    const struct sl_shares *shares = b->link->control->args->buckets.shares;
    for (size_t i = 0; i < b->n; i++)
        if (_sl_bucket(b, &b->v[i]))
            sl_share_admitted(shares, b->v[i].slot, &b->v[i].what);
}

/* From the sending on, not the answer's coming: else each round trip would be paid for once more. */
static void _sl_move_on(const struct sl_batch *b, const struct sl_told_bucket *t, long long debt_us)
{
    const struct sl_share *share = &b->link->control->args->buckets.shares->v[t->slot];
    struct sl_bucket *bucket = _sl_bucket(b, t);
    if (!bucket || debt_us <= 0)
        return;
    const uint64_t since = __atomic_load_n(&share->admitted, __ATOMIC_RELAXED) * t->what.interval_ns;
    sl_share_advance(bucket, b->sent_at + (uint64_t)debt_us * 1000 + since);
}

static void _sl_on_debts(redisAsyncContext *a, void *reply_, void *arg)
{
    const redisReply *reply = reply_;
    struct sl_batch *b = arg;
    (void)a;
    const bool good =
        sl_cluster_answered(b->link, reply) && reply->type == REDIS_REPLY_ARRAY && reply->elements == b->n;
    if (!good)
        _sl_give_back(b);
    for (size_t i = 0; good && i < b->n; i++)
        if (reply->element[i]->type == REDIS_REPLY_INTEGER)
            _sl_move_on(b, &b->v[i], reply->element[i]->integer);
    free(b);
}

/* ---- the question */

/* The n characters that were written at the end of its text are its next word. */
static void _sl_word(struct sl_command *c, int n)
{
    c->argv[c->argc] = c->text + c->used;
    c->len[c->argc++] = (size_t)n;
    c->used += (size_t)n + 1;
}

static void _sl_number(struct sl_command *c, uint64_t v)
{
    _sl_word(c, snprintf(c->text + c->used, c->room - c->used, "%" PRIu64, v));
}

static void _sl_key(struct sl_command *c, const char *name, uint64_t key)
{
    _sl_word(c, snprintf(c->text + c->used, c->room - c->used, "%s:b:%016" PRIx64, name, key));
}

/* What this host owes by itself: told to a Redis that may not know it. */
static uint64_t _sl_floor(const struct sl_batch *b, const struct sl_told_bucket *t)
{
    const struct sl_bucket *bucket = _sl_bucket(b, t);
    const uint64_t tat = bucket ? __atomic_load_n((const uint64_t *)&bucket->tat, __ATOMIC_RELAXED) : 0,
                   own = b->sent_at + t->what.admitted * t->what.interval_ns;
    return b->link->all && tat > own ? tat - own : 0;
}

static int _sl_send(struct sl_batch *b)
{
    struct sl_command c = {.room = (2 + b->n * (1 + SL_ARGS)) * SL_WORD};
    SL_FREE char *text = malloc(c.room);
    c.text = text;
    if (!text)
        return -1;
    c.argv[0] = "EVAL";
    c.len[0] = 4;
    c.argv[1] = _sl_script;
    c.len[1] = sizeof(_sl_script) - 1;
    c.argc = 2;
    _sl_number(&c, b->n);
    for (size_t i = 0; i < b->n; i++)
        _sl_key(&c, b->link->config->name, b->v[i].what.key);
    for (size_t i = 0; i < b->n; i++) {
        const struct sl_share *w = &b->v[i].what;
        _sl_number(&c, _sl_us(w->admitted * w->interval_ns));
        _sl_number(&c, _sl_us(_sl_floor(b, &b->v[i])));
        _sl_number(&c, _sl_us(w->tolerance_ns + sl_share_slack(w->tolerance_ns) / 2));
    }
    if (redisAsyncCommandArgv(b->link->redis, _sl_on_debts, b, c.argc, c.argv, c.len) != REDIS_OK)
        return -1;
    b->link->outstanding++;
    b->link->told += b->n;
    return 0;
}

/* Takes what the slot has to tell; false: nothing, or it is another bucket's by now. */
static bool _sl_collect(struct sl_batch *b, size_t slot)
{
    struct sl_share *share = &b->link->control->args->buckets.shares->v[slot];
    struct sl_told_bucket *t = &b->v[b->n];
    *t = (struct sl_told_bucket){.slot = (uint32_t)slot, .what = *share};
    const struct sl_bucket *bucket = _sl_bucket(b, t);
    if (!bucket)
        return false;
    t->what.admitted = __atomic_exchange_n(&share->admitted, 0, __ATOMIC_RELAXED);
    return t->what.admitted || (b->link->all && bucket->tat > b->sent_at);
}

void sl_cluster_tell(struct sl_cluster_link *l)
{
    const struct sl_shares *shares = l->control->args->buckets.shares;
    if (!shares)
        return;
    if (l->all)
        sl_shares_all_dirty(shares);
    size_t slot = 0;
    for (size_t told = 0; slot < shares->n && told < SL_TELL_MOST;) {
        struct sl_batch *b = calloc(1, sizeof(*b));
        if (!b)
            return;
        b->link = l;
        b->sent_at = sl_now_ns();
        while (b->n < SL_BATCH && (slot = sl_shares_next_dirty(shares, slot)) < shares->n)
            b->n += _sl_collect(b, slot++);
        told += b->n;
        if (b->n && _sl_send(b) == 0)
            continue;
        _sl_give_back(b);
        free(b);
        if (slot < shares->n)
            return; /* no memory, or the link has ended: the rest stays dirty */
    }
    if (slot >= shares->n)
        l->all = false;
}

void sl_cluster_forget_bucket(struct sl_control *c, uint64_t key)
{
    struct sl_cluster_link *l = c->cluster;
    char text[SL_WORD];
    const int n = l ? snprintf(text, sizeof(text), "%s:b:%016" PRIx64, l->config->name, key) : 0;
    if (l && l->redis && l->connected &&
        redisAsyncCommand(l->redis, sl_cluster_on_answer, NULL, "DEL %b", text, (size_t)n) == REDIS_OK)
        l->outstanding++;
}
