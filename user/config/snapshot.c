/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bundle becomes a snapshot: parse, read by the table, check, freeze.
 * Invariant: a snapshot exists only of a policy without errors; nothing in it is changed afterwards but its
 * slots, before it is handed on.
 */
#include "config/reader_priv.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdio.h>

#define SL_SUGGESTIONS 200

struct sl_snapshot_own {
    struct sl_snapshot s;
    struct sl_secret *secrets;
};

struct sl_snapshot *sl_snapshot_ref(struct sl_snapshot *s)
{
    atomic_fetch_add(&s->refs, 1);
    return s;
}

void sl_snapshot_unref(struct sl_snapshot *s)
{
    if (!s || atomic_fetch_sub(&s->refs, 1) != 1)
        return;
    struct sl_snapshot_own *own = SL_CONTAINER_OF(s, struct sl_snapshot_own, s);
    for (const struct sl_secret *i = own->secrets; i; i = i->next)
        if (i->bytes.n)
            OPENSSL_cleanse((char *)(uintptr_t)i->bytes.p, i->bytes.n);
    sl_ranges_free(s->kernel.ranges);
    sl_map_free(&s->consumers_by_name);
    sl_arena_free(&s->arena);
    free(own);
}

/* ---- the hash of all bytes */

static bool _sl_digest(EVP_MD_CTX *md, const char *name, struct sl_slice data)
{
    uint64_t lengths[2] = {strlen(name), data.n}; /* so that no two bundles run together to the same bytes */
    return EVP_DigestUpdate(md, lengths, sizeof(lengths)) == 1 &&
           EVP_DigestUpdate(md, name, (size_t)lengths[0]) == 1 && EVP_DigestUpdate(md, data.p, data.n) == 1;
}

static int _sl_hash(const struct sl_bundle *b, char out[65])
{
    unsigned char sum[32];
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    bool ok = md && EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1;
    for (size_t i = 0; ok && i < b->n_sources; i++)
        ok = _sl_digest(md, b->sources[i].name, b->sources[i].text);
    for (size_t i = 0; ok && i < b->n_files; i++)
        ok = _sl_digest(md, b->files[i]->key,
                        b->files[i]->list ? sl_slice((const char *)b->files[i]->digest, SL_DIGEST)
                                          : b->files[i]->data);
    ok = ok && EVP_DigestFinal_ex(md, sum, NULL) == 1;
    EVP_MD_CTX_free(md);
    for (size_t i = 0; ok && i < sizeof(sum); i++)
        (void)snprintf(out + 2 * i, 3, "%02x", sum[i]);
    return ok ? 0 : -ENOMEM;
}

/* ---- reading */

static int _sl_reader_init(struct sl_reader *r, struct sl_snapshot_own *own, const struct sl_bundle *b,
                           const struct sl_tree *tree, struct sl_diag *diag)
{
    *r = (struct sl_reader){.s = &own->s,
                            .arena = &own->s.arena,
                            .diag = diag,
                            .bundle = b,
                            .tree = tree,
                            .secrets = &own->secrets,
                            .suggestions = SL_SUGGESTIONS};
    sl_arena_init(&r->scratch, 0);
    sl_tree_init(&r->defaults);
    r->defaults.files = calloc(1, sizeof(*r->defaults.files));
    r->files = sl_read_alloc(r, b->n_sources, sizeof(*r->files));
    if (!r->defaults.files || !r->files)
        return -ENOMEM;
    r->defaults.files[0] = "default";
    for (size_t i = 0; i < b->n_sources; i++)
        r->files[i] = sl_read_keep(r, sl_slice_str(b->sources[i].name), false).p;
    return r->oom ? -ENOMEM : 0;
}

static void _sl_reader_free(struct sl_reader *r)
{
    for (size_t i = 0; i < SL_NAMES_COUNT; i++)
        sl_map_free(&r->names[i]);
    sl_map_free(&r->default_nodes);
    sl_tree_free(&r->defaults);
    sl_arena_free(&r->scratch);
}

static int _sl_build(struct sl_snapshot_own *own, const struct sl_bundle *b, const struct sl_tree *tree,
                     struct sl_diag *diag)
{
    struct sl_reader r;
    unsigned before = diag->errors;
    int rc = _sl_reader_init(&r, own, b, tree, diag);
    if (rc == 0) {
        sl_read(&r, &sl_type_policy, tree->root, &own->s);
        if (!r.oom)
            sl_check_policy(&r, tree->root);
        rc = r.oom ? -ENOMEM : diag->errors > before || b->flawed ? -EINVAL : 0;
        own->s.consumers_by_name = r.names[SL_NAMES_CONSUMER];
        r.names[SL_NAMES_CONSUMER] = (struct sl_map){0};
    }
    _sl_reader_free(&r);
    return rc;
}

static int _sl_keep_file(struct sl_snapshot *s, const struct sl_bundle *b, const char *path,
                         struct sl_slice *out)
{
    const struct sl_bundle_file *f = sl_bundle_find(b, false, path);
    if (!f || f->error)
        return 0; /* as where the file is not there */
    *out = sl_arena_copy(&s->arena, f->data);
    return out->p ? 0 : -ENOMEM;
}

static int _sl_finish(struct sl_snapshot *s, const struct sl_bundle *b)
{
    int r = _sl_keep_file(s, b, SL_RESOLV_CONF, &s->resolv_conf);
    if (r == 0)
        r = _sl_keep_file(s, b, SL_HOSTS, &s->hosts);
    if (r == 0)
        r = _sl_hash(b, s->hash);
    if (r == 0 && b->slots)
        sl_slots_apply(b->slots, s);
    return r;
}

int sl_snapshot_new(struct sl_bundle *b, struct sl_diag *diag, struct sl_snapshot **out)
{
    struct sl_tree *tree = SL_TAKE_PTR(b->tree);
    int r = tree ? 0 : sl_bundle_parse(b, diag, &tree);
    if (r < 0)
        return r;
    struct sl_snapshot_own *own = calloc(1, sizeof(*own));
    if (own) {
        sl_arena_init(&own->s.arena, 64u << 10);
        atomic_init(&own->s.refs, 1);
        own->s.version = b->version;
        r = _sl_build(own, b, tree, diag);
    } else {
        r = -ENOMEM;
    }
    sl_tree_free(tree); /* the largest of all: before more is made */
    free(tree);
    if (r == 0)
        r = _sl_finish(&own->s, b);
    if (r == 0)
        *out = &own->s;
    else if (own)
        sl_snapshot_unref(&own->s);
    return r;
}
