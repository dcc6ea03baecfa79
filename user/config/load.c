/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads a policy off the disk: the file or directory, what it includes, then every file and variable that the
 * tree names. A file that cannot be read is kept as such, so that the checker tells it where the policy names
 * it, together with all other errors; a policy file that cannot be read or parsed ends the loading.
 */
#include "base/io.h"
#include "config/bundle_priv.h"
#include "config/schema_priv.h"

#include <dirent.h>
#include <errno.h>
#include <glob.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <sys/stat.h>

struct sl_loader {
    struct sl_bundle *b;
    struct sl_diag *diag;
    struct sl_parse parse;
    struct sl_map seen; /* real paths of the sources, so that none is read twice */
    struct sl_arena arena;
    unsigned depth;
};

static int _sl_load_file(struct sl_loader *l, const char *path, const struct sl_pos *from);

static int _sl_said(struct sl_loader *l, const struct sl_pos *pos, const char *path, const char *why)
{
    sl_diag_error(l->diag, pos, "cannot read \"%s\": %s", path, why);
    return -EINVAL;
}

/* Reads a policy file into the bundle's sources. */
static int _sl_add_source(struct sl_loader *l, const char *path, const struct sl_pos *from)
{
    struct sl_buf text = {0};
    int r = sl_read_file(path, SL_SOURCE_MAX, &text);
    if (r == 0)
        r = sl_bundle_add_source(l->b, path, sl_buf_slice(&text), sl_is_json(path, sl_buf_slice(&text)));
    sl_buf_wipe(&text);
    if (r == -EFBIG)
        return _sl_said(l, from, path, "a policy has at most 64 MiB in a file, 16384 files, 512 MiB in all");
    return r < 0 && r != -ENOMEM ? _sl_said(l, from, path, strerror(-r)) : r;
}

/* 0; -EINVAL with the error told where the file was read before. */
static int _sl_once(struct sl_loader *l, const char *path, const struct sl_pos *from)
{
    SL_FREE char *real = realpath(path, NULL);
    struct sl_slice key = sl_arena_copy(&l->arena, sl_slice_str(real ? real : path));
    char *first = sl_arena_strdup(&l->arena, sl_slice_str(path));
    int r = key.p && first ? sl_map_add(&l->seen, key, first) : -ENOMEM;
    if (r != -EEXIST)
        return r;
    sl_diag_error(l->diag, from,
                  "\"%s\" is read twice: include it once, and not beside the directory's own files", path);
    return -EINVAL;
}

/* ---- includes */

static int _sl_include_matches(struct sl_loader *l, const glob_t *found, const struct sl_pos *pos)
{
    int r = 0;
    for (size_t i = 0; i < found->gl_pathc && r != -ENOMEM; i++) {
        int one = _sl_load_file(l, found->gl_pathv[i], pos);
        r = one < 0 ? one : r;
    }
    return r;
}

/* A directory that is not there matches nothing; one that cannot be read is an error. */
static int _sl_glob_error(const char *path, int error)
{
    (void)path;
    errno = error;
    return error != ENOENT && error != ENOTDIR;
}

static int _sl_include(struct sl_loader *l, const char *file, const struct sl_node *n)
{
    struct sl_pos pos = sl_node_pos(l->parse.tree, n, &l->arena);
    SL_FREE char *pattern = sl_path_beside(file, n->text);
    glob_t found = {0};
    if (!pattern)
        return -ENOMEM;
    if (l->depth == SL_INCLUDE_DEEP) {
        sl_diag_error(l->diag, &pos, "includes nest deeper than %u files", SL_INCLUDE_DEEP);
        return -EINVAL;
    }
    int g = glob(pattern, 0, _sl_glob_error, &found); /* sorted by name */
    int r = 0;
    if (g == GLOB_NOSPACE)
        r = -ENOMEM;
    else if (g == GLOB_NOMATCH && strpbrk(pattern, "*?[") != NULL)
        sl_diag_warn(l->diag, &pos, "no file matches \"%s\"", pattern);
    else if (g == GLOB_NOMATCH)
        r = _sl_said(l, &pos, pattern, strerror(ENOENT));
    else if (g)
        r = _sl_said(l, &pos, pattern, strerror(errno ? errno : EIO));
    else
        r = _sl_include_matches(l, &found, &pos);
    globfree(&found);
    return r;
}

static int _sl_includes(struct sl_loader *l, const char *file, const struct sl_node *list)
{
    int r = 0;
    if (!list || list->kind != SL_NODE_LIST)
        return 0; /* another type is told by the checker */
    l->depth++;
    /* Behind this file's own ones, the list may go on with those of others: count them before. */
    const struct sl_node *c = list->first;
    for (uint32_t n = list->n; n && r != -ENOMEM; n--, c = c->next) {
        int one = c->kind == SL_NODE_STRING ? _sl_include(l, file, c) : 0;
        struct sl_pos pos = sl_node_pos(l->parse.tree, c, &l->arena);
        if (c->kind == SL_NODE_MAP)
            sl_diag_error(l->diag, &pos, "an include is written as it is, not by reference");
        r = one < 0 ? one : r;
    }
    l->depth--;
    return r;
}

static int _sl_load_file(struct sl_loader *l, const char *path, const struct sl_pos *from)
{
    const struct sl_node *include;
    int r = _sl_once(l, path, from);
    if (r == 0)
        r = _sl_add_source(l, path, from);
    if (r < 0)
        return r;
    size_t index = l->b->n_sources - 1;
    r = sl_parse_source(&l->parse, index, &include);
    return r < 0 ? r : _sl_includes(l, l->b->sources[index].name, include);
}

/* ---- a directory */

static int _sl_policy_name(const struct dirent *d)
{
    const char *dot = strrchr(d->d_name, '.');
    return d->d_name[0] != '.' && dot &&
           (strcmp(dot, ".json") == 0 || strcmp(dot, ".yaml") == 0 || strcmp(dot, ".yml") == 0);
}

static int _sl_by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name); /* not by locale: the same order on every host */
}

static int _sl_load_directory(struct sl_loader *l, const char *path)
{
    struct dirent **entries = NULL;
    int n = scandir(path, &entries, _sl_policy_name, _sl_by_name), r = 0;
    if (n < 0)
        return errno == ENOMEM ? -ENOMEM : _sl_said(l, NULL, path, strerror(errno));
    if (n == 0)
        r = _sl_said(l, NULL, path, "no *.json, *.yaml or *.yml in this directory");
    size_t slash = strlen(path);
    while (slash > 1 && path[slash - 1] == '/')
        slash--;
    for (int i = 0; i < n; i++) {
        SL_FREE char *file = NULL;
        if (asprintf(&file, "%.*s/%s", (int)slash, path, entries[i]->d_name) < 0) {
            file = NULL;
            r = -ENOMEM;
        }
        free(entries[i]);
        if (r == -ENOMEM)
            continue;
        int one = _sl_load_file(l, file, NULL);
        r = one < 0 ? one : r;
    }
    free(entries);
    return r;
}

/* ---- what the tree names */

/* The bytes of a file, or the errno that reading it gave: told by the checker, with its place. */
static int _sl_read_named(const char *path, size_t max, struct sl_buf *out)
{
    struct stat st;
    if (stat(path, &st) < 0)
        return errno;
    if (!S_ISREG(st.st_mode))
        return ENOTSUP;
    int r = sl_read_file(path, max, out);
    return r < 0 ? -r : 0;
}

static int _sl_add_file(struct sl_loader *l, bool list, const char *name, const char *path)
{
    struct sl_buf data = {0};
    int error = _sl_read_named(path, list ? SL_LIST_MAX : SL_FILE_MAX, &data);
    const struct sl_slice bytes = sl_slice(data.base, data.end);
    int r = error == ENOMEM ? -ENOMEM
            : list          ? sl_bundle_add_list(l->b, name, error, bytes, NULL)
                            : sl_bundle_add_file(l->b, false, name, error, bytes);
    sl_buf_wipe(&data);
    return r;
}

static int _sl_system_ca(struct sl_loader *l)
{
    const char *name = X509_get_default_cert_file(), *path = getenv(X509_get_default_cert_file_env());
    if (!sl_schema_system_ca(l->b->tree->root) || sl_bundle_find(l->b, false, name))
        return 0;
    return _sl_add_file(l, false, name, path ? path : name);
}

static int _sl_name_files(struct sl_loader *l)
{
    static const char *const files[] = {SL_RESOLV_CONF, SL_HOSTS};
    int r = 0;
    for (size_t i = 0; r == 0 && sl_schema_asks_names(l->b->tree->root) && i < SL_ARRAY_LEN(files); i++)
        if (!sl_bundle_find(l->b, false, files[i]))
            r = _sl_add_file(l, false, files[i], files[i]);
    return r;
}

static int _sl_reference(void *ctx, const struct sl_reference *ref)
{
    struct sl_loader *l = ctx;
    SL_FREE char *name = ref->env ? strndup(ref->name.p, ref->name.n)
                                  : sl_path_beside(l->b->tree->files[ref->node->source], ref->name);
    if (!name)
        return -ENOMEM;
    const char *value = ref->env ? getenv(name) : NULL;
    if (ref->list && sl_bundle_find_list(l->b, name))
        return 0;
    if (!ref->list && (sl_bundle_find(l->b, ref->env, name) || (ref->env && !value)))
        return 0;
    return ref->env ? sl_bundle_add_file(l->b, true, name, 0, sl_slice_str(value))
                    : _sl_add_file(l, ref->list, name, name);
}

static int _sl_load(struct sl_loader *l, const char *path)
{
    struct stat st;
    int r = sl_parse_begin(&l->parse, l->b, l->diag);
    if (r == 0 && stat(path, &st) < 0)
        r = _sl_said(l, NULL, path, strerror(errno));
    else if (r == 0)
        r = S_ISDIR(st.st_mode) ? _sl_load_directory(l, path) : _sl_load_file(l, path, NULL);
    r = sl_parse_end(&l->parse, r, &l->b->tree);
    if (r == 0)
        r = sl_schema_references(l->b->tree->root, _sl_reference, l);
    if (r == 0)
        r = _sl_system_ca(l);
    if (r == 0)
        r = _sl_name_files(l);
    if (r == -EFBIG) {
        sl_diag_error(l->diag, NULL, "%s: the files that it names are more than %u, or 512 MiB in all", path,
                      SL_FILES_MAX);
        r = -EINVAL;
    }
    return r;
}

int sl_bundle_load(const char *path, uint64_t version, struct sl_slots *slots, struct sl_diag *diag,
                   struct sl_bundle **out)
{
    (void)slots; /* named when the policy is accepted, not before */
    struct sl_loader l = {.b = sl_bundle_new(), .diag = diag};
    unsigned before = diag->errors;
    if (!l.b)
        return -ENOMEM;
    l.b->version = version;
    sl_arena_init(&l.arena, 0);
    int r = _sl_load(&l, path);
    l.b->flawed = diag->errors > before;
    sl_map_free(&l.seen);
    sl_arena_free(&l.arena);
    if (r < 0) {
        sl_bundle_free(l.b);
        return r;
    }
    *out = l.b;
    return 0;
}

int sl_bundle_reread(struct sl_bundle *b, const char *path)
{
    const struct sl_bundle_file *f = sl_bundle_find(b, false, path);
    struct sl_buf data = {0};
    int r = f ? -_sl_read_named(path, SL_FILE_MAX, &data) : 0;
    if (f && r == 0 && (f->error || !sl_slice_eq(f->data, sl_buf_slice(&data)))) {
        r = sl_bundle_replace(b, f, sl_buf_slice(&data));
        r = r < 0 ? r : 1;
    }
    sl_buf_wipe(&data);
    return r;
}
