/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Building the tree, and telling places in it.
 * Invariant: keys within a map differ; depth <= SL_TREE_DEPTH, so that walks may recurse.
 */
#include "config/tree_priv.h"

#include <errno.h>
#include <malloc.h>
#include <openssl/crypto.h>
#include <stdarg.h>
#include <stdio.h>

void sl_tree_init(struct sl_tree *t)
{
    *t = (struct sl_tree){0};
    sl_arena_init(&t->arena, 256u << 10);
}

static void _sl_wipe(struct sl_node *n)
{
    if (n->text.n)
        OPENSSL_cleanse((char *)(uintptr_t)n->text.p, n->text.n);
    for (struct sl_node *c = n->first; c; c = c->next)
        _sl_wipe(c);
}

void sl_tree_free(struct sl_tree *t)
{
    if (!t)
        return;
    if (t->root)
        _sl_wipe(t->root);
    free((void *)t->files);
    sl_arena_free(&t->arena);
#ifdef __GLIBC__ /* keeps what was freed, which here may be more than all else that the process ever needs \
                  */
    if (t->nodes > SL_TREE_LARGE)
        (void)malloc_trim(0);
#endif
    *t = (struct sl_tree){0};
}

void sl_builder_init(struct sl_builder *b, struct sl_tree *tree, struct sl_diag *diag, uint16_t source)
{
    *b = (struct sl_builder){.tree = tree, .diag = diag, .source = source};
}

void sl_builder_free(struct sl_builder *b)
{
    while (b->depth)
        sl_builder_close(b);
}

void sl_builder_error(struct sl_builder *b, unsigned line, unsigned column, const char *fmt, ...)
{
    struct sl_pos pos = {b->tree->files[b->source], "", line, column};
    SL_FREE char *text = NULL;
    va_list ap;
    va_start(ap, fmt);
    if (vasprintf(&text, fmt, ap) < 0)
        text = NULL;
    va_end(ap);
    sl_diag_error(b->diag, &pos, "%s", text ? text : "out of memory");
}

bool sl_builder_in_map(const struct sl_builder *b)
{
    return b->depth && b->frames[b->depth - 1].node->kind == SL_NODE_MAP;
}

static void _sl_doubled(struct sl_builder *b, const struct sl_node *first)
{
    struct sl_pos pos = sl_node_pos(b->tree, first, &b->tree->arena);
    pos.line = b->key_line;
    pos.column = b->key_column;
    sl_diag_error(b->diag, &pos, "\"" SL_SFMT "\" stands twice in one map: the first is at %u:%u",
                  SL_SARG(first->key), first->key_line, first->key_column);
}

static struct sl_slice _sl_text(struct sl_builder *b, struct sl_slice s)
{
    struct sl_slice *word = s.n <= SL_WORD_MAX ? &b->words[sl_hash(s.p, s.n, 0) % SL_WORDS] : NULL;
    if (word && word->p && sl_slice_eq(*word, s))
        return *word;
    const struct sl_slice copy = sl_arena_copy(&b->tree->arena, s);
    if (word)
        *word = copy;
    return copy;
}

int sl_builder_key(struct sl_builder *b, struct sl_slice key, unsigned line, unsigned column)
{
    const struct sl_node *first = sl_map_get(&b->frames[b->depth - 1].keys, key);
    b->key = _sl_text(b, key);
    b->key_line = line;
    b->key_column = column;
    b->key_doubled = first != NULL;
    if (first)
        _sl_doubled(b, first);
    return b->key.p ? 0 : -ENOMEM;
}

void sl_node_append(struct sl_node *parent, struct sl_node *n)
{
    n->next = NULL;
    n->parent = parent;
    n->index = parent->n++;
    if (parent->last)
        parent->last->next = n;
    else
        parent->first = n;
    parent->last = n;
}

static int _sl_attach(struct sl_builder *b, struct sl_node *n)
{
    if (!b->depth) {
        b->root = n;
        return 0;
    }
    struct sl_node *parent = b->frames[b->depth - 1].node;
    if (parent->kind == SL_NODE_MAP) {
        n->key = b->key;
        n->key_line = b->key_line;
        n->key_column = b->key_column;
        n->parent = parent;
        if (b->key_doubled)
            return 0;
        int r = sl_map_add(&b->frames[b->depth - 1].keys, n->key, n);
        if (r < 0)
            return r;
    }
    sl_node_append(parent, n);
    return 0;
}

static struct sl_node *_sl_node_new(struct sl_builder *b, enum sl_node_kind kind, unsigned line,
                                    unsigned column)
{
    struct sl_node *n = sl_arena_zalloc(&b->tree->arena, sizeof(*n));
    if (n) {
        n->kind = (uint8_t)kind;
        n->source = b->source;
        n->line = line;
        n->column = column;
    }
    return n;
}

static int _sl_count(struct sl_builder *b, unsigned line, unsigned column)
{
    if (b->tree->nodes++ < SL_TREE_NODES)
        return 0;
    sl_builder_error(b, line, column, "more than %u values in one policy", SL_TREE_NODES);
    return -EINVAL;
}

int sl_builder_scalar(struct sl_builder *b, enum sl_node_kind kind, struct sl_slice text, bool ambiguous,
                      unsigned line, unsigned column)
{
    int r = _sl_count(b, line, column);
    if (r < 0)
        return r;
    struct sl_node *n = _sl_node_new(b, kind, line, column);
    if (!n)
        return -ENOMEM;
    n->text = _sl_text(b, text);
    n->ambiguous = ambiguous;
    return n->text.p ? _sl_attach(b, n) : -ENOMEM;
}

int sl_builder_open(struct sl_builder *b, enum sl_node_kind kind, unsigned line, unsigned column)
{
    int r = _sl_count(b, line, column);
    if (r == 0 && b->depth == SL_TREE_DEPTH) {
        sl_builder_error(b, line, column, "nested deeper than %u levels", SL_TREE_DEPTH);
        r = -EINVAL;
    }
    if (r < 0)
        return r;
    struct sl_node *n = _sl_node_new(b, kind, line, column);
    if (!n || _sl_attach(b, n) < 0)
        return -ENOMEM;
    b->frames[b->depth].node = n;
    b->frames[b->depth].keys = (struct sl_map){0};
    b->depth++;
    return 0;
}

void sl_builder_close(struct sl_builder *b)
{
    sl_map_free(&b->frames[--b->depth].keys);
}

const struct sl_node *sl_node_get(const struct sl_node *map, const char *key)
{
    struct sl_slice k = sl_slice_str(key);
    for (const struct sl_node *c = map ? map->first : NULL; c; c = c->next)
        if (c->key.p && sl_slice_eq(c->key, k))
            return c;
    return NULL;
}

/* ---- places */

static size_t _sl_escaped_len(struct sl_slice s)
{
    size_t n = s.n;
    for (size_t i = 0; i < s.n; i++)
        n += s.p[i] == '~' || s.p[i] == '/';
    return n;
}

/* Writes the step of n so that it ends before `end`; returns where it begins. */
static char *_sl_step(const struct sl_node *n, char *end)
{
    if (!n->key.p) {
        char digits[16];
        int len = snprintf(digits, sizeof(digits), "/%u", n->index);
        return memcpy(end - len, digits, (size_t)len);
    }
    for (size_t i = n->key.n; i-- > 0;) {
        char c = n->key.p[i];
        *--end = (char)(c == '~' ? '0' : c == '/' ? '1' : c);
        if (c == '~' || c == '/')
            *--end = '~';
    }
    *--end = '/';
    return end;
}

const char *sl_node_pointer(const struct sl_node *n, struct sl_arena *a)
{
    size_t len = 1;
    for (const struct sl_node *i = n; i->parent; i = i->parent)
        len += i->key.p ? _sl_escaped_len(i->key) + 1 : 11;
    char *text = sl_arena_alloc(a, len);
    if (!text)
        return NULL;
    char *at = text + len;
    *--at = '\0';
    for (; n->parent; n = n->parent)
        at = _sl_step(n, at);
    return at;
}

struct sl_pos sl_node_pos(const struct sl_tree *t, const struct sl_node *n, struct sl_arena *a)
{
    return (struct sl_pos){t->files[n->source], sl_node_pointer(n, a), n->line, n->column};
}

struct sl_pos sl_node_key_pos(const struct sl_tree *t, const struct sl_node *n, struct sl_arena *a)
{
    struct sl_pos pos = sl_node_pos(t, n, a);
    if (n->key.p && n->key_line) {
        pos.line = n->key_line;
        pos.column = n->key_column;
    }
    return pos;
}

/* ---- back to JSON */

static int _sl_json_string(struct sl_slice s, struct sl_buf *out)
{
    int r = sl_buf_append(out, "\"", 1);
    if (r == 0)
        r = sl_buf_append_json(out, s);
    return r < 0 ? r : sl_buf_append(out, "\"", 1);
}

static int _sl_json_children(const struct sl_node *n, struct sl_buf *out)
{
    int r = sl_buf_append(out, n->kind == SL_NODE_MAP ? "{" : "[", 1);
    for (const struct sl_node *c = n->first; r == 0 && c; c = c->next) {
        if (c != n->first)
            r = sl_buf_append(out, ",", 1);
        if (r == 0 && n->kind == SL_NODE_MAP) {
            r = _sl_json_string(c->key, out);
            if (r == 0)
                r = sl_buf_append(out, ":", 1);
        }
        if (r == 0)
            r = sl_node_json(c, out);
    }
    return r < 0 ? r : sl_buf_append(out, n->kind == SL_NODE_MAP ? "}" : "]", 1);
}

int sl_node_json(const struct sl_node *n, struct sl_buf *out)
{
    switch (n->kind) {
    case SL_NODE_MAP:
    case SL_NODE_LIST:
        return _sl_json_children(n, out);
    case SL_NODE_STRING:
        return _sl_json_string(n->text, out);
    case SL_NODE_NULL:
        return sl_buf_append(out, "null", 4);
    default:
        return sl_buf_append_slice(out, n->text);
    }
}
