/* SPDX-License-Identifier: Apache-2.0 */
/* One key, one consumer; and address ranges that two consumers claim. Hundred thousands of them: by hash. */
#include "config/reader_priv.h"

#include <errno.h>

struct sl_claim {
    const struct sl_node *node;
    const struct sl_consumer *consumer;
};
struct sl_claims {
    struct sl_map by_key;    /* struct sl_claim, by the hash of an API key */
    struct sl_map by_client; /* struct sl_claim, by client_id */
    struct sl_map by_range;  /* struct sl_claim, by struct sl_cidr as bytes */
    uint64_t lens[2][3];     /* prefix lengths in use, as bits: IPv4, IPv6 */
    struct sl_arena arena;
};

static struct sl_claim *_sl_claim_new(struct sl_reader *r, struct sl_claims *all, const struct sl_node *n,
                                      const struct sl_consumer *c)
{
    struct sl_claim *claim = sl_arena_zalloc(&all->arena, sizeof(*claim));
    if (!claim)
        r->oom = true;
    else
        *claim = (struct sl_claim){n, c};
    return claim;
}

static void _sl_key(struct sl_reader *r, struct sl_claims *all, const struct sl_node *n,
                    const struct sl_consumer *c, struct sl_slice hash)
{
    struct sl_claim *claim = hash.n ? _sl_claim_new(r, all, n, c) : NULL;
    int rc = claim ? sl_map_add(&all->by_key, hash, claim) : 0;
    if (rc == -ENOMEM)
        r->oom = true;
    if (rc != -EEXIST)
        return;
    const struct sl_claim *first = sl_map_get(&all->by_key, hash);
    sl_read_error(r, n, "this key is that of consumer \"%s\" already (%s): a key names one consumer",
                  first->consumer->name, sl_read_place(r, first->node));
}

static void _sl_client(struct sl_reader *r, struct sl_claims *all, const struct sl_node *n,
                       const struct sl_consumer *c, struct sl_slice client_id)
{
    struct sl_claim *claim = client_id.n ? _sl_claim_new(r, all, n, c) : NULL;
    int rc = claim ? sl_map_add(&all->by_client, client_id, claim) : 0;
    if (rc == -ENOMEM)
        r->oom = true;
    if (rc != -EEXIST)
        return;
    const struct sl_claim *first = sl_map_get(&all->by_client, client_id);
    sl_read_error(r, n, "this client_id is one of consumer \"%s\" already (%s): a client is of one consumer",
                  first->consumer->name, sl_read_place(r, first->node));
}

/* ---- ranges */

static struct sl_slice _sl_range_key(const struct sl_cidr *c, char out[18])
{
    out[0] = (char)c->ip.family;
    out[1] = (char)c->len;
    memcpy(out + 2, c->ip.addr.bytes, 16);
    return sl_slice(out, 18);
}

static void _sl_range(struct sl_reader *r, struct sl_claims *all, const struct sl_node *n,
                      const struct sl_consumer *c, const struct sl_cidr *cidr)
{
    char key[18], text[SL_IP_STRLEN];
    struct sl_claim *claim = cidr->ip.family ? _sl_claim_new(r, all, n, c) : NULL;
    if (!claim)
        return;
    struct sl_slice k = sl_arena_copy(&all->arena, _sl_range_key(cidr, key));
    int rc = k.p ? sl_map_add(&all->by_range, k, claim) : -ENOMEM;
    all->lens[cidr->ip.family == SL_AF_INET6][cidr->len / 64] |= 1ull << (cidr->len % 64);
    if (rc == -ENOMEM)
        r->oom = true;
    if (rc != -EEXIST)
        return;
    const struct sl_claim *first = sl_map_get(&all->by_range, k);
    if (first->consumer == c)
        sl_read_warn(r, n, "%s stands twice: the first is at %s", sl_read_known(n, sl_cidr_text(cidr, text)),
                     sl_read_place(r, first->node));
    else
        sl_read_warn(
            r, n, "%s is claimed by consumer \"%s\" too (%s): the kernel holds it to neither's limit",
            sl_read_known(n, sl_cidr_text(cidr, text)), first->consumer->name, sl_read_place(r, first->node));
}

/* Ranges of others that this one lies in, by the prefix lengths that occur at all. */
static void _sl_within(struct sl_reader *r, const struct sl_claims *all, const struct sl_node *n,
                       const struct sl_consumer *c, const struct sl_cidr *cidr)
{
    const uint64_t *lens = all->lens[cidr->ip.family == SL_AF_INET6];
    for (unsigned len = 0; cidr->ip.family && len < cidr->len; len++) {
        char key[18], text[SL_IP_STRLEN];
        if (!(lens[len / 64] >> (len % 64) & 1))
            continue;
        struct sl_cidr wider = {sl_ip_mask(cidr->ip, (uint8_t)len), (uint8_t)len};
        const struct sl_claim *claim = sl_map_get(&all->by_range, _sl_range_key(&wider, key));
        if (claim && claim->consumer != c)
            sl_read_warn(r, n, "lies within %s of consumer \"%s\" (%s): the narrower range counts",
                         sl_read_known(claim->node, sl_cidr_text(&wider, text)), claim->consumer->name,
                         sl_read_place(r, claim->node));
    }
}

typedef void (*sl_range_fn)(struct sl_reader *, struct sl_claims *, const struct sl_node *,
                            const struct sl_consumer *, const struct sl_cidr *);

static void _sl_each_range(struct sl_reader *r, struct sl_claims *all, const struct sl_node *n,
                           const struct sl_consumer *c, bool within)
{
    const struct sl_node *list = sl_node_get(n, "sources");
    size_t i = 0;
    if (!list || list->kind != SL_NODE_LIST || list->n != c->sources.n)
        return;
    for (const struct sl_node *e = list->first; e; e = e->next, i++)
        if (within)
            _sl_within(r, all, e, c, &c->sources.v[i]);
        else
            _sl_range(r, all, e, c, &c->sources.v[i]);
}

static void _sl_each_key(struct sl_reader *r, struct sl_claims *all, const struct sl_node *n,
                         const struct sl_consumer *c)
{
    const struct sl_node *list = sl_node_get(n, "keys");
    size_t i = 0;
    if (!list || list->kind != SL_NODE_LIST || list->n != c->key_hashes.n)
        return;
    for (const struct sl_node *e = list->first; e; e = e->next)
        _sl_key(r, all, e, c, c->key_hashes.v[i++]);
}

static void _sl_each_client(struct sl_reader *r, struct sl_claims *all, const struct sl_node *n,
                            const struct sl_consumer *c)
{
    const struct sl_node *list = sl_node_get(n, "oauth2");
    size_t i = 0;
    if (!list || list->kind != SL_NODE_LIST || list->n != c->n_oauth2)
        return;
    for (const struct sl_node *e = list->first; e; e = e->next)
        _sl_client(r, all, e, c, c->oauth2[i++].client_id);
}

void sl_check_consumers(struct sl_reader *r, const struct sl_node *root)
{
    const struct sl_node *consumers = sl_node_get(root, "consumers");
    const struct sl_consumer *c = r->s->consumers;
    struct sl_claims all = {0};
    if (!consumers || consumers->kind != SL_NODE_MAP || consumers->n != r->s->n_consumers)
        return;
    sl_arena_init(&all.arena, 64u << 10);
    for (const struct sl_node *n = consumers->first; n; n = n->next, c++) {
        _sl_each_key(r, &all, n, c);
        _sl_each_client(r, &all, n, c);
        _sl_each_range(r, &all, n, c, false);
    }
    c = r->s->consumers;
    for (const struct sl_node *n = consumers->first; n; n = n->next, c++)
        _sl_each_range(r, &all, n, c, true);
    sl_map_free(&all.by_key);
    sl_map_free(&all.by_client);
    sl_map_free(&all.by_range);
    sl_arena_free(&all.arena);
}
