/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tokens that an authorization server gave out for upstreams, kept until shortly before they end: a table of
 * fixed size, whose full row forgets the one that ends first. They outlive reloads, as their server does.
 */
#ifndef SL_GATEWAY_UPSTREAM_TOKEN_PRIV_H
#define SL_GATEWAY_UPSTREAM_TOKEN_PRIV_H

#include "base/slice.h"

#define SL_UPTOKEN_ROWS  1024
#define SL_UPTOKEN_WAYS  4
#define SL_UPTOKEN_BYTES (32 * 1024 * 1024) /* of their texts: past it one is used once and not kept */

struct sl_uptoken {
    uint64_t hash;
    uint64_t source;                         /* of the server; 0: free */
    uint64_t fetched_ns, refresh_ns, end_ns; /* CLOCK_MONOTONIC; a new one is sought from refresh_ns on */
    char *text;                              /* the client's token that it was given for, then itself */
    uint32_t n_subject, n;
};
struct sl_uptokens {
    struct sl_uptoken v[SL_UPTOKEN_ROWS * SL_UPTOKEN_WAYS];
    uint64_t seed;
    size_t bytes;
};

/* NULL: there is none that still holds. Until the next call of sl_uptokens_keep. */
struct sl_uptoken *sl_uptokens_find(struct sl_uptokens *t, uint64_t source, struct sl_slice subject,
                                    uint64_t now);
static inline struct sl_slice sl_uptoken_text(const struct sl_uptoken *e)
{
    return sl_slice(e->text + e->n_subject, e->n);
}
/* In the place of the former one, if there is one. It ends at end_ns, and is given up a little before. */
void sl_uptokens_keep(struct sl_uptokens *t, uint64_t source, struct sl_slice subject, struct sl_slice token,
                      uint64_t now, uint64_t end_ns);
void sl_uptokens_drop(struct sl_uptokens *t, struct sl_uptoken *e);
void sl_uptokens_free(struct sl_uptokens *t);

#endif
