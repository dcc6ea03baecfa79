/* SPDX-License-Identifier: Apache-2.0 */
/* Holding the bytes of a policy, and parsing them into one tree. */
#include "config/bundle_priv.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <sched.h>
#include <stdio.h>

/* CPUs that this process may run on: a container's share, not the host's number. */
static unsigned _sl_cpus(void)
{
    cpu_set_t set;
    int n = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;
    return n > 0 ? (unsigned)n : 1;
}

struct sl_bundle *sl_bundle_new(void)
{
    struct sl_bundle *b = calloc(1, sizeof(*b));
    if (b)
        b->cpus = _sl_cpus();
    return b;
}

static void _sl_wipe(struct sl_slice s)
{
    if (s.p)
        OPENSSL_cleanse((char *)(uintptr_t)s.p, s.n);
    free((char *)(uintptr_t)s.p);
}

void sl_bundle_free(struct sl_bundle *b)
{
    if (!b)
        return;
    for (size_t i = 0; i < b->n_sources; i++) {
        _sl_wipe(b->sources[i].text);
        free(b->sources[i].name);
    }
    for (size_t i = 0; i < b->n_files; i++) {
        _sl_wipe(b->files[i]->data);
        free(b->files[i]->key);
        free(b->files[i]);
    }
    free(b->sources);
    free((void *)b->files);
    sl_map_free(&b->by_key);
    sl_slots_free(b->slots);
    sl_tree_free(b->tree);
    free(b->tree);
    free(b);
}

void sl_bundle_renumber(struct sl_bundle *b, uint64_t version)
{
    b->version = version;
}

const struct sl_slots *sl_bundle_slots(const struct sl_bundle *b)
{
    return b->slots;
}

static int _sl_copy(struct sl_bundle *b, struct sl_slice from, struct sl_slice *to)
{
    if (b->bytes + from.n > SL_BUNDLE_MAX)
        return -EFBIG;
    char *p = malloc(from.n + 1);
    if (!p)
        return -ENOMEM;
    if (from.p && from.n)
        memcpy(p, from.p, from.n);
    p[from.n] = '\0';
    *to = sl_slice(p, from.n);
    b->bytes += from.n;
    return 0;
}

/* Room for one more in an array that doubles at powers of two. */
static int _sl_grow(void **v, size_t n, size_t size)
{
    if (n & (n - 1) || n == 1) /* n is between powers of two: there is room (1 shares the room of 2) */
        return 0;
    void *more = realloc(*v, (n ? n * 2 : 2) * size);
    if (!more)
        return -ENOMEM;
    *v = more;
    return 0;
}

int sl_bundle_add_source(struct sl_bundle *b, const char *name, struct sl_slice text, bool json)
{
    if (b->n_sources == SL_SOURCES_MAX || text.n > SL_SOURCE_MAX)
        return -EFBIG;
    int r = _sl_grow((void **)&b->sources, b->n_sources, sizeof(*b->sources));
    SL_FREE char *copy = strdup(name);
    struct sl_policy_text s = {.json = json};
    if (r < 0 || !copy)
        return -ENOMEM;
    r = _sl_copy(b, text, &s.text);
    if (r < 0)
        return r;
    s.name = SL_TAKE_PTR(copy);
    b->sources[b->n_sources++] = s;
    return 0;
}

static const struct sl_bundle_file *_sl_find(const struct sl_bundle *b, char kind, const char *name)
{
    SL_FREE char *key = NULL;
    if (asprintf(&key, "%c%s", kind, name) < 0) {
        key = NULL;
        return NULL;
    }
    return sl_map_get(&b->by_key, sl_slice_str(key));
}

const struct sl_bundle_file *sl_bundle_find(const struct sl_bundle *b, bool env, const char *name)
{
    return _sl_find(b, env ? 'e' : 'f', name);
}

const struct sl_bundle_file *sl_bundle_find_list(const struct sl_bundle *b, const char *name)
{
    return _sl_find(b, 'l', name);
}

/* from: what kind of file it is. */
static int _sl_add_file(struct sl_bundle *b, const struct sl_bundle_file *from, const char *name,
                        struct sl_slice data)
{
    if (b->n_files == SL_FILES_MAX)
        return -EFBIG;
    int r = _sl_grow((void **)&b->files, b->n_files, sizeof(struct sl_bundle_file *));
    SL_FREE struct sl_bundle_file *f = calloc(1, sizeof(*f));
    SL_FREE char *key = NULL;
    if (r < 0 || !f || asprintf(&key, "%c%s", from->list ? 'l' : from->env ? 'e' : 'f', name) < 0)
        return -ENOMEM;
    *f = *from;
    if (sl_map_get(&b->by_key, sl_slice_str(key)))
        return -EEXIST;
    r = _sl_copy(b, data, &f->data);
    if (r == 0)
        r = sl_map_add(&b->by_key, sl_slice_str(key), f);
    if (r < 0) {
        _sl_wipe(f->data);
        return r;
    }
    f->key = SL_TAKE_PTR(key);
    b->files[b->n_files++] = SL_TAKE_PTR(f);
    return 0;
}

int sl_bundle_add_file(struct sl_bundle *b, bool env, const char *name, int error, struct sl_slice data)
{
    return _sl_add_file(b, &(struct sl_bundle_file){.env = env, .error = error}, name, data);
}

int sl_bundle_replace(struct sl_bundle *b, const struct sl_bundle_file *file, struct sl_slice data)
{
    for (size_t i = 0; i < b->n_files; i++) {
        if (b->files[i] != file)
            continue;
        struct sl_slice old = b->files[i]->data, copy;
        int r = _sl_copy(b, data, &copy);
        if (r < 0)
            return r;
        b->files[i]->data = copy;
        b->files[i]->error = 0;
        b->bytes -= old.n;
        _sl_wipe(old);
    }
    return 0;
}

int sl_bundle_add_list(struct sl_bundle *b, const char *name, int error, struct sl_slice data,
                       const unsigned char *digest)
{
    struct sl_bundle_file f = {.list = true, .lean = digest != NULL, .error = error};
    if (digest)
        memcpy(f.digest, digest, sizeof(f.digest));
    else if (EVP_Digest(data.p ? data.p : "", data.n, f.digest, NULL, EVP_sha256(), NULL) != 1)
        return -ENOMEM;
    return _sl_add_file(b, &f, name, data);
}

int sl_bundle_put_list(struct sl_bundle *b, const char *path, struct sl_slice data)
{
    return sl_bundle_add_list(b, path, 0, data, NULL);
}

int sl_bundle_put(struct sl_bundle *b, bool env, const char *path, struct sl_slice data)
{
    return sl_bundle_add_file(b, env, path, 0, data);
}

char *sl_path_beside(const char *file, struct sl_slice path)
{
    const char *slash = strrchr(file, '/');
    char *out = NULL;
    if ((path.n && path.p[0] == '/') || !slash)
        return strndup(path.p, path.n);
    if (asprintf(&out, "%.*s" SL_SFMT, (int)(slash - file + 1), file, SL_SARG(path)) < 0)
        return NULL;
    return out;
}

bool sl_is_json(const char *name, struct sl_slice text)
{
    const char *dot = strrchr(name, '.');
    if (dot && strcmp(dot, ".json") == 0)
        return true;
    if (dot && (strcmp(dot, ".yaml") == 0 || strcmp(dot, ".yml") == 0))
        return false;
    size_t i = 0;
    while (i < text.n && strchr(" \t\r\n", text.p[i]) && text.p[i])
        i++;
    return i < text.n && text.p[i] == '{';
}

/* ---- to a tree */

int sl_parse_begin(struct sl_parse *p, const struct sl_bundle *b, struct sl_diag *diag)
{
    *p = (struct sl_parse){.bundle = b, .tree = malloc(sizeof(*p->tree))};
    if (!p->tree)
        return -ENOMEM;
    sl_tree_init(p->tree);
    sl_merge_init(&p->merge, p->tree, diag);
    p->tree->files = calloc(SL_SOURCES_MAX, sizeof(*p->tree->files));
    return p->tree->files ? 0 : -ENOMEM;
}

int sl_parse_source(struct sl_parse *p, size_t index, const struct sl_node **include)
{
    const struct sl_policy_text *s = &p->bundle->sources[index];
    struct sl_builder b;
    p->tree->files[index] = s->name;
    sl_builder_init(&b, p->tree, p->merge.diag, (uint16_t)index);
    int r = s->json ? sl_json_read(&b, s->text) : sl_yaml_read(&b, s->text);
    sl_builder_free(&b);
    *include = r == 0 && b.root && b.root->kind == SL_NODE_MAP ? sl_node_get(b.root, "include") : NULL;
    return r < 0 ? r : sl_merge_add(&p->merge, b.root);
}

int sl_parse_end(struct sl_parse *p, int r, struct sl_tree **out)
{
    if (!p->tree)
        return -ENOMEM;
    struct sl_diag *diag = p->merge.diag;
    sl_merge_free(&p->merge);
    if (r == 0 && !p->tree->root) {
        struct sl_pos pos = {p->bundle->n_sources ? p->bundle->sources[0].name : "", "", 0, 0};
        sl_diag_error(diag, &pos, "the policy is empty: it needs at least version, listeners and routes");
        r = -EINVAL;
    }
    if (r == 0) {
        *out = SL_TAKE_PTR(p->tree);
        return 0;
    }
    sl_tree_free(p->tree);
    free(SL_TAKE_PTR(p->tree));
    return r;
}

int sl_bundle_parse(const struct sl_bundle *b, struct sl_diag *diag, struct sl_tree **out)
{
    struct sl_parse p;
    const struct sl_node *include;
    int r = sl_parse_begin(&p, b, diag);
    for (size_t i = 0; i < b->n_sources && r == 0; i++)
        r = sl_parse_source(&p, i, &include);
    return sl_parse_end(&p, r, out);
}

static int _sl_no_includes(const struct sl_tree *t, struct sl_diag *diag)
{
    const struct sl_node *n = t ? sl_node_get(t->root, "include") : NULL;
    struct sl_arena a;
    if (!n)
        return 0;
    sl_arena_init(&a, 0);
    struct sl_pos pos = sl_node_key_pos(t, n, &a);
    sl_diag_error(diag, &pos, "a policy given as text includes no files");
    sl_arena_free(&a);
    return -EINVAL;
}

static int _sl_from_text(struct sl_bundle *b, const char *name, struct sl_slice text, struct sl_diag *diag)
{
    unsigned before = diag->errors;
    int r = sl_bundle_add_source(b, name, text, sl_is_json(name, text));
    if (r == -EFBIG) {
        sl_diag_error(diag, NULL, "%s: a policy file holds at most %u MiB", name, SL_SOURCE_MAX >> 20);
        r = -EINVAL;
    }
    if (r == 0)
        r = sl_bundle_parse(b, diag, &b->tree);
    b->flawed = diag->errors > before;
    return r < 0 ? r : _sl_no_includes(b->tree, diag);
}

int sl_bundle_from_text(const char *name, struct sl_slice text, struct sl_diag *diag, struct sl_bundle **out)
{
    struct sl_bundle *b = sl_bundle_new();
    int r = b ? _sl_from_text(b, name, text, diag) : -ENOMEM;
    if (r < 0) {
        sl_bundle_free(b);
        return r;
    }
    *out = b;
    return 0;
}
