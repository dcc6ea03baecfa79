/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fetched keys in a worker: they come from the controller through the supervisor, are given to the policy in
 * force and to each one after it, and are dropped on their deadline whoever is gone by then. A request whose
 * token names a key that is not known waits, for a bounded time and among a bounded number, until the
 * controller has looked for it.
 *
 * Invariant: a request waits at most once, and only while an answer to a question of ours is due.
 */
#include "base/io.h"
#include "base/log.h"
#include "gateway/exchange_priv.h"
#include "net/ipc.h"

#include <errno.h>
#include <sys/mman.h>

#define SL_ASK_NS (30 * SL_NS_PER_SEC) /* between two questions about one provider */

static struct sl_worker_keys *_sl_find(struct sl_worker *w, uint64_t source)
{
    sl_list_for_each (it, &w->keys) {
        struct sl_worker_keys *k = SL_LIST_ENTRY(it, struct sl_worker_keys, node);
        if (k->source == source)
            return k;
    }
    return NULL;
}

static struct sl_worker_keys *_sl_get(struct sl_worker *w, uint64_t source)
{
    struct sl_worker_keys *k = _sl_find(w, source);
    if (k || w->n_keys == 2 * SL_REMOTE_MAX) /* those of a policy and of the one before */
        return k;
    k = calloc(1, sizeof(*k));
    if (!k)
        return NULL;
    k->source = source;
    sl_list_init(&k->parking.waiting);
    sl_list_push_back(&w->keys, &k->node);
    w->n_keys++;
    return k;
}

static void _sl_wake(struct sl_worker_keys *k)
{
    for (struct sl_exchange *ex; (ex = sl_parking_take(&k->parking));)
        sl_exchange_continue(ex);
}

static void _sl_free(struct sl_worker *w, struct sl_worker_keys *k)
{
    _sl_wake(k);
    sl_list_remove(&k->node);
    w->n_keys--;
    free(k->text);
    free(k);
}

static void _sl_give(struct sl_gw_config *c, const struct sl_worker_keys *k)
{
    const int r = sl_authenticator_set_keys(c->policy->auth, k->source, sl_slice(k->text, k->n));
    if (r < 0 && r != -ENOENT)
        (void)sl_error_r(r, "keys that were fetched cannot be used");
}

void sl_worker_keys_apply(struct sl_worker *w, struct sl_gw_config *c)
{
    sl_list_for_each (it, &w->keys)
        if (SL_LIST_ENTRY(it, struct sl_worker_keys, node)->text)
            _sl_give(c, SL_LIST_ENTRY(it, struct sl_worker_keys, node));
}

static bool _sl_is_of(const struct sl_snapshot *s, uint64_t source)
{
    for (size_t i = 0; i < s->n_auths; i++)
        if (s->auths[i].type == SL_AUTH_JWT && s->auths[i].jwt.remote.source == source)
            return true;
    return false;
}

void sl_worker_keys_prune(struct sl_worker *w)
{
    sl_list_for_each_safe (it, &w->keys) {
        struct sl_worker_keys *k = SL_LIST_ENTRY(it, struct sl_worker_keys, node);
        if (!w->config || !_sl_is_of(w->config->snapshot, k->source))
            _sl_free(w, k);
    }
}

/* The same keys once more only move the deadline: what is known of tokens stays. */
static void _sl_store(struct sl_worker *w, struct sl_worker_keys *k, struct sl_slice text)
{
    if (sl_slice_eq(text, sl_slice(k->text, k->n)))
        return;
    char *own = malloc(text.n);
    if (!own)
        return;
    memcpy(own, text.p, text.n);
    free(k->text);
    k->text = own;
    k->n = text.n;
    if (w->config)
        _sl_give(w->config, k);
}

void sl_worker_keys_take(struct sl_worker *w, const struct sl_ipc_keys *m, int fd)
{
    struct sl_worker_keys *k = _sl_get(w, m->source);
    struct sl_slice text = SL_SLICE_NUL;
    if (!k)
        return;
    if (fd >= 0 && sl_memfd_map(fd, &text) == 0) {
        _sl_store(w, k, text);
        (void)munmap((void *)(uintptr_t)text.p, text.n);
    }
    if (k->text && m->deadline_ns)
        k->deadline = m->deadline_ns;
    k->asked = false;
    _sl_wake(k);
}

void sl_worker_keys_tick(struct sl_worker *w)
{
    sl_list_for_each (it, &w->keys) {
        struct sl_worker_keys *k = SL_LIST_ENTRY(it, struct sl_worker_keys, node);
        if (!k->text || w->loop.now < k->deadline)
            continue;
        free(k->text);
        k->text = NULL;
        k->n = 0;
        if (w->config)
            _sl_give(w->config, k);
    }
}

void sl_worker_keys_close(struct sl_worker *w)
{
    sl_list_for_each_safe (it, &w->keys)
        _sl_free(w, SL_LIST_ENTRY(it, struct sl_worker_keys, node));
}

/* ---- requests that wait */

static bool _sl_ask(struct sl_worker *w, struct sl_worker_keys *k)
{
    union sl_ipc m = {
        .wanted = {.h = {.type = SL_IPC_KEYS_UNKNOWN}, .source = k->source, .none = k->text == NULL}};
    if (k->asked)
        return w->loop.now < k->asked_at + SL_KEYS_NS; /* else the answer was lost */
    if (k->asked_at && k->asked_for_one == (k->text != NULL) &&
        w->loop.now < k->asked_at + (k->asked_for_one ? SL_ASK_NS : SL_NS_PER_SEC))
        return false;
    if (sl_ipc_send(w->args->ipc_fd, &m, NULL, 0) < 0)
        return false;
    k->asked = true;
    k->asked_for_one = k->text != NULL; /* else for any: the first ones are on their way */
    k->asked_at = w->loop.now;
    return true;
}

bool sl_worker_keys_wait(struct sl_exchange *ex, uint64_t source)
{
    struct sl_worker *w = ex->w;
    struct sl_worker_keys *k = _sl_get(w, source);
    if (!k || k->parking.n == SL_PARKING_MAX || w->config != ex->config || !_sl_ask(w, k))
        return false;
    w->counters->jwt_waited++;
    sl_exchange_park_at(ex, &k->parking, SL_KEYS_NS);
    return true;
}
