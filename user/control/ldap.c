/* SPDX-License-Identifier: Apache-2.0 */
/* Questions to a directory, and the connections that they are asked over; their way is in ldap_steps.c. */
#include "control/ldap_priv.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>

struct sl_ldap {
    struct sl_ldap_config config;
    struct sl_list idle, waiting; /* connections without a question, questions without a connection */
    unsigned open;
    bool pumping;
    struct sl_deferred later; /* pumps at the end of the turn */
    bool is_later, is_gone;
};

static void _sl_pump(struct sl_ldap *l);

/* ---- the end of a question */

static void _sl_free(struct sl_ldap_ask *q)
{
    OPENSSL_cleanse((void *)(uintptr_t)q->password.p, q->password.n);
    sl_buf_free(&q->groups);
    sl_arena_free(&q->arena);
    free(q);
}

static void _sl_finish(struct sl_ldap_ask *q, const struct sl_ldap_result *r)
{
    q->over = true;
    q->done(q->ctx, r);
    if (q->begun)
        _sl_free(q);
}

static void _sl_drop(struct sl_ldap_link *k)
{
    struct sl_ldap *l = k->pool;
    l->open--;
    if (k->ask)
        k->ask->link = NULL;
    k->ask = NULL;
    sl_ldap_link_close(k);
}

static void _sl_drop_idle(struct sl_ldap *l)
{
    sl_list_for_each_safe (it, &l->idle)
        _sl_drop(SL_LIST_ENTRY(it, struct sl_ldap_link, node));
}

static void _sl_rest(struct sl_ldap_link *k)
{
    struct sl_ldap *l = k->pool;
    k->ask->link = NULL;
    k->ask = NULL;
    k->served = true;
    sl_list_remove(&k->node);
    sl_list_push_front(&l->idle, &k->node);
    sl_ldap_link_rest(k);
}

/* The connection is as good as before. */
void sl_ldap_verdict(struct sl_ldap_link *k, const struct sl_ldap_result *r)
{
    struct sl_ldap *l = k->pool;
    struct sl_ldap_ask *q = k->ask;
    _sl_rest(k);
    _sl_finish(q, r);
    _sl_pump(l);
}

/* The connection goes as well: what state it is in is not worth finding out. */
void sl_ldap_fail(struct sl_ldap_link *k, bool unreachable, const char *what, const char *why)
{
    struct sl_ldap *l = k->pool;
    struct sl_ldap_ask *q = k->ask;
    (void)snprintf(q->why, sizeof(q->why), "%s%s%s", what, *what ? ": " : "", why);
    _sl_drop(k);
    _sl_finish(
        q, &(struct sl_ldap_result){.verdict = SL_LDAP_FAILED, .why = q->why, .unreachable = unreachable});
    _sl_pump(l);
}

/* ---- connections */

static void _sl_assign(struct sl_ldap_ask *q, struct sl_ldap_link *k)
{
    q->link = k;
    q->step = SL_STEP_BEGIN;
    q->dn = NULL;
    q->groups.start = q->groups.end = 0;
    k->ask = q;
    sl_list_remove(&k->node);
}

static void _sl_on_answer(struct sl_ldap_link *k, LDAPMessage *m)
{
    if (k->ask)
        sl_ldap_answer(k, m);
    else /* of what was answered already */
        _sl_drop(k);
}

/* A server may close a connection that has been idle, or be another one by now: asked once more, over a new
 * one. */
static bool _sl_may_retry(const struct sl_ldap_link *k)
{
    return k->served && !k->ask->retried;
}

static void _sl_on_lost(struct sl_ldap_link *k, const char *why)
{
    struct sl_ldap *l = k->pool;
    struct sl_ldap_ask *q = k->ask;
    if (q && !_sl_may_retry(k)) {
        sl_ldap_fail(k, true, k->ready ? "" : "connecting", why);
        return;
    }
    _sl_drop(k);
    if (!q)
        return;
    _sl_drop_idle(l); /* they are no younger */
    q->retried = true;
    sl_list_push_front(&l->waiting, &q->node);
    _sl_pump(l);
}

static const struct sl_ldap_link_events _sl_events = {
    .ready = sl_ldap_go_on, .answer = _sl_on_answer, .lost = _sl_on_lost};

static struct sl_ldap_ask *_sl_first_waiting(struct sl_ldap *l)
{
    struct sl_ldap_ask *q = SL_LIST_ENTRY(l->waiting.next, struct sl_ldap_ask, node);
    sl_list_remove(&q->node);
    return q;
}

static void _sl_open(struct sl_ldap *l)
{
    struct sl_ldap_ask *q = _sl_first_waiting(l);
    struct sl_ldap_link *k = sl_ldap_link_new(l, &l->config, &_sl_events);
    if (!k) {
        _sl_finish(q, &(struct sl_ldap_result){.verdict = SL_LDAP_FAILED, .why = "out of memory"});
        return;
    }
    l->open++;
    _sl_assign(q, k);
    sl_ldap_link_connect(k);
}

/* Questions that wait get connections, as long as there are any, or may be. */
static void _sl_pump(struct sl_ldap *l)
{
    if (l->pumping) /* one that fails at once comes by here again */
        return;
    l->pumping = true;
    while (!sl_list_empty(&l->waiting)) {
        if (!sl_list_empty(&l->idle)) {
            struct sl_ldap_link *k = SL_LIST_ENTRY(l->idle.next, struct sl_ldap_link, node);
            _sl_assign(_sl_first_waiting(l), k);
            sl_ldap_go_on(k);
        } else if (l->open < l->config.auth->ldap.connections) {
            _sl_open(l);
        } else {
            break;
        }
    }
    l->pumping = false;
}

/* ---- questions */

/* At the end of the turn: whoever asks knows its address by then. */
static void _sl_begin(struct sl_deferred *d)
{
    struct sl_ldap_ask *q = SL_CONTAINER_OF(d, struct sl_ldap_ask, start);
    struct sl_ldap *l = q->pool;
    q->begun = true;
    if (q->over) {
        _sl_free(q);
        return;
    }
    sl_list_push_back(&l->waiting, &q->node);
    _sl_pump(l);
}

struct sl_ldap_ask *sl_ldap_ask(struct sl_ldap *l, struct sl_slice user, struct sl_slice password,
                                void (*done)(void *ctx, const struct sl_ldap_result *r), void *ctx)
{
    struct sl_ldap_ask *q = calloc(1, sizeof(*q));
    if (!q)
        return NULL;
    *q = (struct sl_ldap_ask){.pool = l, .done = done, .ctx = ctx};
    sl_list_init(&q->node);
    sl_arena_init(&q->arena, 2048);
    q->user = sl_arena_copy(&q->arena, user);
    q->password = sl_arena_copy(&q->arena, password);
    if (!q->user.n || !q->password.n) {
        _sl_free(q);
        return NULL;
    }
    sl_loop_defer(l->config.loop, &q->start, _sl_begin);
    return q;
}

static void _sl_on_later(struct sl_deferred *d)
{
    struct sl_ldap *l = SL_CONTAINER_OF(d, struct sl_ldap, later);
    l->is_later = false;
    if (l->is_gone)
        free(l);
    else
        _sl_pump(l);
}

/* The connection's place is given to another question once the turn is over: one that fails at once would be
 * answered from within this, and who cancels many goes through a list of them. */
void sl_ldap_cancel(struct sl_ldap_ask *q)
{
    struct sl_ldap *l = q->pool;
    q->over = true;
    if (q->link)
        _sl_drop(q->link);
    else if (q->begun)
        sl_list_remove(&q->node);
    if (q->begun)
        _sl_free(q);
    if (!l->is_later)
        sl_loop_defer(l->config.loop, &l->later, _sl_on_later);
    l->is_later = true;
}

/* ---- all of it */

struct sl_ldap *sl_ldap_new(const struct sl_ldap_config *config)
{
    struct sl_ldap *l = calloc(1, sizeof(*l));
    if (!l || setenv("LDAPNOINIT", "1", 1) < 0) { /* ldap.conf(5): what holds stands in the policy */
        free(l);
        return NULL;
    }
    l->config = *config;
    sl_list_init(&l->idle);
    sl_list_init(&l->waiting);
    return l;
}

void sl_ldap_free(struct sl_ldap *l)
{
    if (!l)
        return;
    _sl_drop_idle(l);
    l->is_gone = true;
    if (!l->is_later)
        free(l);
}

unsigned sl_ldap_connections(const struct sl_ldap *l)
{
    return l->open;
}
