/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hosts of a cluster meet at a Redis: every `sync` each tells what its shared buckets have admitted and
 * hears what they owe all together. All commands of a sync are one pipeline, and the next begins only when it
 * is answered.
 *
 * Invariant: no request waits for any of this. Where Redis is gone, buckets go on as they stand, each host by
 * itself, and what it admits meanwhile is told when Redis is back.
 */
#include "control/cluster_priv.h"

#include <errno.h>
#include <hiredis/adapters/libev.h>
#include <string.h>

#define SL_RETRY_NS    (500 * SL_NS_PER_MS)
#define SL_PATIENCE_NS (2 * SL_NS_PER_SEC) /* for a connection, and for an answer */

/* ---- how it stands */

void sl_cluster_down(struct sl_cluster_link *l, const char *why)
{
    l->up = false;
    l->all = true;
    if (!l->warned)
        sl_warn("cluster: redis %s: %s: limits are this host's alone until it answers", l->text, why);
    l->warned = true;
}

static void _sl_up(struct sl_cluster_link *l)
{
    if (!l->up)
        sl_info("cluster: redis %s answers: limits are shared", l->text);
    l->up = true;
    l->warned = false;
}

bool sl_cluster_answered(struct sl_cluster_link *l, const redisReply *reply)
{
    l->outstanding--;
    if (reply && reply->type != REDIS_REPLY_ERROR) {
        _sl_up(l);
        return true;
    }
    l->failures++;
    sl_cluster_down(l, reply ? reply->str : "the connection is lost");
    return false;
}

void sl_cluster_on_answer(redisAsyncContext *a, void *reply, void *arg)
{
    (void)arg;
    (void)sl_cluster_answered(a->data, reply);
}

/* ---- connecting */

static void _sl_on_connect(const redisAsyncContext *a, int status)
{
    struct sl_cluster_link *l = a->data;
    l->connected = status == REDIS_OK;
    if (l->connected)
        return;
    l->redis = NULL; /* hiredis frees it when this returns */
    sl_cluster_down(l, a->errstr);
}

static void _sl_on_disconnect(const redisAsyncContext *a, int status)
{
    struct sl_cluster_link *l = a->data;
    if (status != REDIS_OK)
        sl_cluster_down(l, a->errstr);
    l->redis = NULL;
    l->connected = false;
}

/* Answered before anything that is queued later, so that a refusal here is told as such. */
static void _sl_greet(struct sl_cluster_link *l)
{
    const struct sl_slice password = l->config->password.data;
    if (password.n &&
        redisAsyncCommand(l->redis, sl_cluster_on_answer, NULL, "AUTH %b", password.p, password.n) == 0)
        l->outstanding++;
    if (l->config->db &&
        redisAsyncCommand(l->redis, sl_cluster_on_answer, NULL, "SELECT %u", l->config->db) == 0)
        l->outstanding++;
}

static void _sl_connect(struct sl_cluster_link *l)
{
    const struct sl_ip ip = sl_sockaddr_ip(&l->config->redis);
    char text[SL_IP_STRLEN];
    l->asked_at = sl_now_ns();
    l->retry_at = l->asked_at + SL_RETRY_NS;
    redisAsyncContext *a = redisAsyncConnect(sl_ip_text(&ip, text), sl_sockaddr_port(&l->config->redis));
    if (!a || a->err) {
        sl_cluster_down(l, a ? a->errstr : "out of memory");
        if (a)
            redisAsyncFree(a);
        return;
    }
    a->data = l;
    l->redis = a;
    l->connected = false;
    l->outstanding = 0;
    l->all = true;
    if (redisLibevAttach(l->control->loop, a) != REDIS_OK ||
        redisAsyncSetConnectCallback(a, _sl_on_connect) != REDIS_OK ||
        redisAsyncSetDisconnectCallback(a, _sl_on_disconnect) != REDIS_OK) {
        l->redis = NULL;
        redisAsyncFree(a);
        return;
    }
    _sl_greet(l);
}

/* ---- every sync */

static void _sl_on_sync(struct ev_loop *loop, ev_timer *t, int events)
{
    (void)loop, (void)events;
    struct sl_cluster_link *l = t->data;
    if (!l->redis) {
        if (sl_now_ns() >= l->retry_at)
            _sl_connect(l);
        return;
    }
    if (!l->connected || l->outstanding) { /* late: what is admitted meanwhile is told with the next */
        if (sl_now_ns() - l->asked_at > SL_PATIENCE_NS) {
            sl_cluster_down(l, "no answer");
            redisAsyncFree(l->redis);
            l->redis = NULL;
        }
        return;
    }
    l->asked_at = sl_now_ns();
    l->syncs++;
    sl_cluster_tell(l);
    sl_cluster_penalties_sync(l);
    /* also where there is nothing to tell: that Redis has gone is to be known before it matters */
    if (!l->outstanding && l->redis && redisAsyncCommand(l->redis, sl_cluster_on_answer, NULL, "PING") == 0)
        l->outstanding++;
}

/* ---- as the policy says */

static bool _sl_same_host(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool _sl_same(const struct sl_cluster *a, const struct sl_cluster *b)
{
    const struct sl_ip ip = sl_sockaddr_ip(&a->redis), other = sl_sockaddr_ip(&b->redis);
    return sl_ip_eq(&ip, &other) && sl_sockaddr_port(&a->redis) == sl_sockaddr_port(&b->redis) &&
           a->db == b->db && a->sync == b->sync && a->seed == b->seed && a->penalties == b->penalties &&
           strcmp(a->name, b->name) == 0 && _sl_same_host(a->host, b->host) &&
           sl_slice_eq(a->password.data, b->password.data);
}

void sl_cluster_stop(struct sl_control *c)
{
    struct sl_cluster_link *l = SL_TAKE_PTR(c->cluster);
    if (!l)
        return;
    ev_timer_stop(c->loop, &l->sync);
    l->warned = true; /* this end is wanted */
    if (l->redis)
        redisAsyncFree(l->redis); /* what has no answer yet is given back by its callbacks */
    sl_cluster_penalties_stop(l);
    sl_snapshot_unref(l->snapshot);
    free(l);
}

int sl_cluster_start(struct sl_control *c)
{
    const struct sl_cluster *config = &c->snapshot->cluster;
    struct sl_cluster_link *l = c->cluster;
    if (l && config->enabled && _sl_same(l->config, config)) {
        sl_snapshot_unref(l->snapshot);
        l->snapshot = sl_snapshot_ref(c->snapshot);
        l->config = config;
        return 0;
    }
    sl_cluster_stop(c);
    if (!config->enabled)
        return 0;
    l = calloc(1, sizeof(*l));
    if (!l)
        return -ENOMEM;
    *l = (struct sl_cluster_link){.control = c, .snapshot = sl_snapshot_ref(c->snapshot), .config = config};
    (void)sl_sockaddr_text(&config->redis, l->text);
    c->cluster = l;
    if (config->penalties && sl_cluster_penalties_start(l) < 0) {
        sl_cluster_stop(c);
        return -ENOMEM;
    }
    ev_timer_init(&l->sync, _sl_on_sync, 0, (double)config->sync / 1e9);
    l->sync.data = l;
    ev_timer_start(c->loop, &l->sync);
    return 0;
}

/* ---- what is told of it */

json_t *sl_cluster_json(const struct sl_control *c)
{
    const struct sl_cluster_link *l = c->cluster;
    if (!l)
        return NULL;
    json_t *j = json_pack("{s:s, s:b, s:I, s:I, s:I}", "redis", l->text, "up", l->up, "syncs",
                          (json_int_t)l->syncs, "failures", (json_int_t)l->failures, "sync_ms",
                          (json_int_t)(l->config->sync / SL_NS_PER_MS));
    if (l->penalties)
        (void)json_object_set_new(j, "penalties", sl_cluster_penalties_json(l->penalties));
    return j;
}
