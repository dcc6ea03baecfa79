/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Several documents as one policy. Sections are joined one level deep: `consumers` of two files are one map,
 * but one consumer stands in one file. Names are kept in maps over all documents, so that a thousand files of
 * consumers cost no more than one.
 */
#include "config/tree_priv.h"

#include <errno.h>

struct sl_merge_section {
    struct sl_node *node;
    struct sl_map names; /* struct sl_node: filled when a second document comes */
    bool indexed;
};

void sl_merge_init(struct sl_merge *m, struct sl_tree *tree, struct sl_diag *diag)
{
    *m = (struct sl_merge){.tree = tree, .diag = diag};
    sl_arena_init(&m->arena, 0);
}

void sl_merge_free(struct sl_merge *m)
{
    for (size_t i = 0; i < m->sections.cap; i++)
        if (m->sections.entries[i].value)
            sl_map_free(&((struct sl_merge_section *)m->sections.entries[i].value)->names);
    sl_map_free(&m->sections);
    sl_arena_free(&m->arena);
}

static void _sl_twice(struct sl_merge *m, const struct sl_node *first, const struct sl_node *again)
{
    struct sl_pos pos = sl_node_key_pos(m->tree, again, &m->arena);
    struct sl_pos was = sl_node_key_pos(m->tree, first, &m->arena);
    sl_diag_error(m->diag, &pos, "\"" SL_SFMT "\" is given twice: the first is at %s:%u:%u; keep one of them",
                  SL_SARG(again->key), was.file, was.line, was.column);
}

static int _sl_index(struct sl_merge_section *s)
{
    for (struct sl_node *c = s->node->first; !s->indexed && c; c = c->next)
        if (sl_map_add(&s->names, c->key, c) < 0)
            return -ENOMEM;
    s->indexed = true;
    return 0;
}

static int _sl_join_maps(struct sl_merge *m, struct sl_merge_section *s, struct sl_node *more)
{
    int r = _sl_index(s);
    for (struct sl_node *c = more->first, *next; r == 0 && c; c = next) {
        next = c->next;
        r = sl_map_add(&s->names, c->key, c);
        if (r == 0)
            sl_node_append(s->node, c);
        else if (r == -EEXIST) {
            _sl_twice(m, sl_map_get(&s->names, c->key), c);
            r = 0;
        }
    }
    return r;
}

/* For their types to be checked; each keeps the index that it has in its own file. */
static void _sl_join_includes(struct sl_node *list, struct sl_node *more)
{
    if (!more->first)
        return;
    if (list->last)
        list->last->next = more->first;
    else
        list->first = more->first;
    list->last = more->last;
    list->n += more->n;
}

static int _sl_join(struct sl_merge *m, struct sl_merge_section *s, struct sl_node *more)
{
    if (s->node->kind == SL_NODE_MAP && more->kind == SL_NODE_MAP)
        return _sl_join_maps(m, s, more);
    if (sl_slice_eq(more->key, SL_S("include")) && s->node->kind == SL_NODE_LIST &&
        more->kind == SL_NODE_LIST)
        _sl_join_includes(s->node, more);
    else if (!sl_slice_eq(more->key, SL_S("version")) || !sl_slice_eq(more->text, s->node->text))
        _sl_twice(m, s->node, more);
    return 0;
}

static int _sl_add_section(struct sl_merge *m, struct sl_node *section)
{
    struct sl_merge_section *s = sl_map_get(&m->sections, section->key);
    if (s)
        return _sl_join(m, s, section);
    s = sl_arena_zalloc(&m->arena, sizeof(*s));
    if (!s)
        return -ENOMEM;
    s->node = section;
    sl_node_append(m->tree->root, section);
    return sl_map_add(&m->sections, section->key, s);
}

int sl_merge_add(struct sl_merge *m, struct sl_node *document)
{
    if (!document || document->kind == SL_NODE_NULL)
        return 0; /* a file of comments */
    if (document->kind != SL_NODE_MAP) {
        struct sl_pos pos = sl_node_pos(m->tree, document, &m->arena);
        sl_diag_error(m->diag, &pos, "a policy is a map of sections (version, listeners, routes …)");
        return -EINVAL;
    }
    if (!m->tree->root) {
        m->tree->root = sl_arena_zalloc(&m->tree->arena, sizeof(*m->tree->root));
        if (!m->tree->root)
            return -ENOMEM;
        *m->tree->root = (struct sl_node){.kind = SL_NODE_MAP,
                                          .source = document->source,
                                          .line = document->line,
                                          .column = document->column};
    }
    int r = 0;
    for (struct sl_node *c = document->first, *next; r == 0 && c; c = next) {
        next = c->next;
        r = _sl_add_section(m, c);
    }
    return r;
}
