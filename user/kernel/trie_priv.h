/* SPDX-License-Identifier: Apache-2.0 */
/* The ranges of files as the kernel program reads them; the shape is told at sl_trie_node in abi.h. */
#ifndef SL_KERNEL_TRIE_PRIV_H
#define SL_KERNEL_TRIE_PRIV_H

#include "config/snapshot.h"
#include "sluice/abi.h"

struct sl_trie {
    struct sl_trie_node *nodes;
    uint32_t n, cap;
};
/* 0; -ENOMEM; -ENOSPC: more than SL_TRIE_MAX_NODES. The caller frees it in each case. */
int sl_trie_build(const struct sl_ranges *r, struct sl_trie *out) SL_MUST_CHECK;
/* SL_LIST_ALLOW, SL_LIST_DENY or 0: what the program would say. */
uint32_t sl_trie_lookup(const struct sl_trie *t, const struct sl_ip *ip);
void sl_trie_free(struct sl_trie *t);

#endif
