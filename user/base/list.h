/* SPDX-License-Identifier: Apache-2.0 */
/* An intrusive doubly linked list with a head node; a node that is in no list points to itself. */
#ifndef SL_BASE_LIST_H
#define SL_BASE_LIST_H

#include "base/macros.h"
#include <stdbool.h>

struct sl_list {
    struct sl_list *next, *prev;
};

static inline void sl_list_init(struct sl_list *l)
{
    l->next = l->prev = l;
}
static inline bool sl_list_empty(const struct sl_list *l)
{
    return l->next == l;
}
static inline void sl_list_insert_before(struct sl_list *at, struct sl_list *n)
{
    n->prev = at->prev;
    n->next = at;
    at->prev->next = n;
    at->prev = n;
}
static inline void sl_list_push_back(struct sl_list *head, struct sl_list *n)
{
    sl_list_insert_before(head, n);
}
static inline void sl_list_push_front(struct sl_list *head, struct sl_list *n)
{
    sl_list_insert_before(head->next, n);
}
/* Safe on a node that is in no list. */
static inline void sl_list_remove(struct sl_list *n)
{
    n->prev->next = n->next;
    n->next->prev = n->prev;
    sl_list_init(n);
}
#define SL_LIST_ENTRY(node, type, member) SL_CONTAINER_OF(node, type, member)
#define sl_list_for_each(it, head)        for (struct sl_list *it = (head)->next; it != (head); it = it->next)
#define sl_list_for_each_safe(it, head)                                         \
    for (struct sl_list *it = (head)->next, *_sl_next = it->next; it != (head); \
         it = _sl_next, _sl_next = it->next)

#endif
