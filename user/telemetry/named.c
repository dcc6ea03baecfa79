/* SPDX-License-Identifier: Apache-2.0 */
#include "telemetry/named.h"

#include <errno.h>
#include <string.h>

#define SL_READ_TRIES 64 /* a write takes less than a microsecond, unless its process died in it */
#define SL_WORDS      (sizeof(struct sl_named_answer) / sizeof(uint64_t))

_Static_assert(sizeof(struct sl_named_answer) % sizeof(uint64_t) == 0, "it is copied by words");

bool sl_named_same(const struct sl_named_address *a, const struct sl_named_address *b)
{
    return a->family == b->family && a->port == b->port && memcmp(a->ip, b->ip, sizeof(a->ip)) == 0;
}

struct sl_sockaddr sl_named_sockaddr(const struct sl_named_address *a)
{
    struct sl_ip ip = {.family = a->family};
    memcpy(&ip.addr, a->ip, sizeof(a->ip));
    return sl_sockaddr_of(&ip, a->port);
}

static const struct sl_named_address *_sl_find(const struct sl_named_address *v, size_t n,
                                               const struct sl_named_address *a)
{
    for (size_t i = 0; i < n; i++)
        if (sl_named_same(&v[i], a))
            return &v[i];
    return NULL;
}

static void _sl_store(struct sl_shared_name *s, const struct sl_named_answer *a)
{
    uint64_t words[SL_WORDS];
    memcpy(words, a, sizeof(words));
    const uint32_t seq = __atomic_load_n(&s->seq, __ATOMIC_RELAXED) | 1;
    __atomic_store_n(&s->seq, seq, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_RELEASE);
    for (size_t i = 0; i < SL_WORDS; i++)
        __atomic_store_n(&s->answer[i], words[i], __ATOMIC_RELAXED);
    __atomic_store_n(&s->seq, seq + 1 ? seq + 1 : 2, __ATOMIC_RELEASE); /* 0 would say: never */
}

/* Those that stay, in their order; then those that are new, in rows that nobody has. */
static void _sl_merge(struct sl_shared_name *s, const struct sl_named_answer *old,
                      const struct sl_named_address *v, size_t n, struct sl_named_answer *out)
{
    uint32_t taken = 0, row = 0;
    for (uint32_t i = 0; i < old->n; i++) {
        const struct sl_named_address *a = _sl_find(v, n, &old->v[i]);
        if (!a)
            continue;
        out->v[out->n] = *a;
        out->v[out->n++].row = old->v[i].row;
        taken |= 1u << old->v[i].row;
    }
    for (size_t i = 0; i < n; i++) {
        if (_sl_find(old->v, old->n, &v[i]))
            continue;
        while (taken >> row & 1)
            row++;
        memset(&s->rows[row], 0, sizeof(s->rows[row]));
        out->v[out->n] = v[i];
        out->v[out->n++].row = (uint8_t)row++;
    }
}

bool sl_named_write(struct sl_shared_name *s, const struct sl_named_address *v, size_t n)
{
    struct sl_named_answer old, new = {0};
    memcpy(&old, s->answer, sizeof(old)); /* nobody else writes */
    old.n = SL_MIN(old.n, (uint32_t)SL_NAMED_MAX);
    for (uint32_t i = 0; i < old.n; i++)
        old.v[i].row %= SL_NAMED_MAX; /* a write that was cut short may have left anything */
    _sl_merge(s, &old, v, SL_MIN(n, (size_t)SL_NAMED_MAX), &new);
    const uint32_t seq = sl_named_seq(s);
    if (seq && !(seq & 1) && memcmp(&new, s->answer, sizeof(new)) == 0)
        return false;
    _sl_store(s, &new);
    return true;
}

int sl_named_read(const struct sl_shared_name *s, struct sl_named_answer *out, uint32_t *seq)
{
    uint64_t words[SL_WORDS];
    for (unsigned i = 0; i < SL_READ_TRIES; i++) {
        *seq = sl_named_seq(s);
        for (size_t k = 0; k < SL_WORDS; k++)
            words[k] = __atomic_load_n(&s->answer[k], __ATOMIC_RELAXED);
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        if (*seq & 1 || *seq != __atomic_load_n(&s->seq, __ATOMIC_RELAXED))
            continue;
        memcpy(out, words, sizeof(*out));
        return 0;
    }
    return -EAGAIN;
}

bool sl_named_copy(struct sl_shared_name *to, const struct sl_shared_name *from)
{
    struct sl_named_answer a;
    uint32_t seq;
    if (sl_named_read(from, &a, &seq) < 0)
        return false;
    if (!seq)
        return true;
    to->answered_ns = from->answered_ns;
    to->failing = from->failing;
    to->queries = from->queries;
    to->failures = from->failures;
    memcpy(to->rows, from->rows, sizeof(to->rows));
    _sl_store(to, &a);
    return true;
}
