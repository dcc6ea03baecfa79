/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Invariant: what the thread writes of a job (ok) is read by the loop only after the job came back through
 * the mutex; all else of it belongs to the loop. The same credential is hashed once, however many ask.
 */
#include "gateway/hasher_priv.h"

#include "base/log.h"
#include "gateway/exchange_priv.h"

#include <crypt.h>
#include <errno.h>
#include <openssl/crypto.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>

struct sl_hash_job {
    struct sl_list node; /* of the queue, or of what is done */
    struct sl_list all;  /* of the loop's own list */
    struct sl_parking parking;
    struct sl_gw_config *config; /* one reference */
    struct sl_auth_again verdict;
    char setting[CRYPT_OUTPUT_SIZE];
    char password[SL_PASSWORD_MAX + 1];
    bool ok;
};
struct sl_hasher {
    struct sl_worker *w;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t more;
    struct sl_list queue, done; /* under the lock */
    bool stop;                  /* under the lock */
    struct sl_list all;
    unsigned n;
    int event;
    ev_io io;
};

/* ---- the thread */

static bool _sl_matches(const struct sl_hash_job *j, struct crypt_data *data)
{
    const char *hash = crypt_rn(j->password, j->setting, data, (int)sizeof(*data));
    const size_t n = strlen(j->setting);
    return hash && strlen(hash) == n && CRYPTO_memcmp(hash, j->setting, n) == 0;
}

static void *_sl_thread(void *arg)
{
    struct sl_hasher *h = arg;
    const uint64_t one = 1;
    struct crypt_data *data = calloc(1, sizeof(*data));
    (void)prctl(PR_SET_NAME, "passwords");
    (void)pthread_mutex_lock(&h->lock);
    while (!h->stop) {
        if (sl_list_empty(&h->queue)) {
            (void)pthread_cond_wait(&h->more, &h->lock);
            continue;
        }
        struct sl_hash_job *j = SL_LIST_ENTRY(h->queue.next, struct sl_hash_job, node);
        sl_list_remove(&j->node);
        (void)pthread_mutex_unlock(&h->lock);
        const bool ok = data && _sl_matches(j, data);
        (void)pthread_mutex_lock(&h->lock);
        j->ok = ok;
        sl_list_push_back(&h->done, &j->node);
        if (write(h->event, &one, sizeof(one)) < 0)
            continue; /* the counter is full: it is readable */
    }
    (void)pthread_mutex_unlock(&h->lock);
    if (data)
        OPENSSL_cleanse(data, sizeof(*data));
    free(data);
    return NULL;
}

/* ---- the loop's side */

static void _sl_job_free(struct sl_hasher *h, struct sl_hash_job *j)
{
    sl_list_remove(&j->all);
    h->n--;
    sl_gw_config_unref(j->config);
    OPENSSL_cleanse(j, sizeof(*j));
    free(j);
}

static void _sl_finish(struct sl_hasher *h, struct sl_hash_job *j)
{
    struct sl_worker *w = h->w;
    j->verdict.known = true;
    j->verdict.ok = j->ok;
    w->counters->passwords_hashed++;
    sl_authenticator_settle(j->config->policy->auth, &j->verdict, sl_loop_wall(&w->loop) / SL_NS_PER_SEC);
    for (struct sl_exchange *ex; (ex = sl_parking_take(&j->parking));) {
        sl_auth_again_tell(&ex->again, &j->verdict);
        sl_exchange_continue(ex);
    }
    _sl_job_free(h, j);
}

static void _sl_on_done(struct ev_loop *ev, ev_io *io, int events)
{
    (void)ev, (void)events;
    struct sl_hasher *h = io->data;
    uint64_t n;
    struct sl_list done;
    sl_list_init(&done);
    if (read(h->event, &n, sizeof(n)) < 0)
        return;
    (void)pthread_mutex_lock(&h->lock);
    while (!sl_list_empty(&h->done)) {
        struct sl_list *node = h->done.next;
        sl_list_remove(node);
        sl_list_push_back(&done, node);
    }
    (void)pthread_mutex_unlock(&h->lock);
    while (!sl_list_empty(&done)) {
        struct sl_hash_job *j = SL_LIST_ENTRY(done.next, struct sl_hash_job, node);
        sl_list_remove(&j->node);
        _sl_finish(h, j);
    }
}

static int _sl_start(struct sl_hasher *h)
{
    h->event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (h->event < 0)
        return -errno;
    return sl_loop_thread(&h->thread, _sl_thread, h);
}

static struct sl_hasher *_sl_hasher_new(struct sl_worker *w)
{
    struct sl_hasher *h = calloc(1, sizeof(*h));
    if (!h)
        return NULL;
    *h = (struct sl_hasher){.w = w, .event = -1};
    (void)pthread_mutex_init(&h->lock, NULL);
    (void)pthread_cond_init(&h->more, NULL);
    sl_list_init(&h->queue);
    sl_list_init(&h->done);
    sl_list_init(&h->all);
    const int r = _sl_start(h);
    if (r < 0) {
        (void)sl_error_r(r, "a thread for passwords");
        sl_closep(&h->event);
        free(h);
        return NULL;
    }
    ev_io_init(&h->io, _sl_on_done, h->event, EV_READ);
    h->io.data = h;
    ev_io_start(w->loop.ev, &h->io);
    return h;
}

void sl_hasher_close(struct sl_worker *w)
{
    struct sl_hasher *h = SL_TAKE_PTR(w->hasher);
    if (!h)
        return;
    (void)pthread_mutex_lock(&h->lock);
    h->stop = true;
    (void)pthread_cond_signal(&h->more);
    (void)pthread_mutex_unlock(&h->lock);
    (void)pthread_join(h->thread, NULL); /* at most one hash later */
    ev_io_stop(w->loop.ev, &h->io);
    sl_list_for_each_safe (it, &h->all)
        _sl_job_free(h, SL_LIST_ENTRY(it, struct sl_hash_job, all));
    (void)pthread_cond_destroy(&h->more);
    (void)pthread_mutex_destroy(&h->lock);
    sl_closep(&h->event);
    free(h);
}

static struct sl_hash_job *_sl_same(const struct sl_hasher *h, const struct sl_exchange *ex,
                                    const struct sl_password_job *job)
{
    sl_list_for_each (it, &h->all) {
        struct sl_hash_job *j = SL_LIST_ENTRY(it, struct sl_hash_job, all);
        if (j->config == ex->config && j->verdict.provider == job->provider &&
            CRYPTO_memcmp(j->verdict.hash, job->hash, sizeof(job->hash)) == 0)
            return j;
    }
    return NULL;
}

static struct sl_hash_job *_sl_queue(struct sl_hasher *h, struct sl_exchange *ex,
                                     const struct sl_password_job *job)
{
    struct sl_hash_job *j = h->n < SL_HASHER_QUEUE ? calloc(1, sizeof(*j)) : NULL;
    if (!j)
        return NULL;
    sl_list_init(&j->parking.waiting);
    sl_list_init(&j->node);
    j->config = sl_gw_config_ref(ex->config);
    j->verdict.provider = job->provider;
    j->verdict.user = job->user;
    memcpy(j->verdict.hash, job->hash, sizeof(job->hash));
    (void)snprintf(j->setting, sizeof(j->setting), "%s", job->setting);
    memcpy(j->password, job->password.p, job->password.n); /* at most SL_PASSWORD_MAX, without NUL */
    sl_list_push_back(&h->all, &j->all);
    h->n++;
    (void)pthread_mutex_lock(&h->lock);
    sl_list_push_back(&h->queue, &j->node);
    (void)pthread_cond_signal(&h->more);
    (void)pthread_mutex_unlock(&h->lock);
    return j;
}

bool sl_hasher_submit(struct sl_exchange *ex, const struct sl_password_job *job)
{
    struct sl_worker *w = ex->w;
    if (!w->hasher)
        w->hasher = _sl_hasher_new(w);
    struct sl_hasher *h = w->hasher;
    struct sl_hash_job *j = h ? _sl_same(h, ex, job) : NULL;
    if (!j && h)
        j = _sl_queue(h, ex, job);
    if (!j || j->parking.n == SL_PARKING_MAX)
        return false;
    sl_exchange_park_at(ex, &j->parking, SL_PASSWORD_NS);
    return true;
}
