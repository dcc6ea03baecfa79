/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a schema before to ours. What operators and escalation put into the kernel, and what the buckets have
 * been debited, outlives an upgrade that changes a map's shape: our maps are filled from the old ones, then
 * our programs take the place of the old ones in their links (attach.c), and only then the old pins go. So no
 * packet passes unguarded; what the old program debits between the copy and the switch, some milliseconds, is
 * not carried.
 *
 * State of a schema that is not known, a newer one above all, is refused and left alone: a downgrade must not
 * throw an operator's entries away in the middle of an attack. `sluicectl detach` is how to give them up.
 *
 * Invariant: sl_state has the same shape in every schema, and so has a bucket.
 */
#include "base/log.h"
#include "kernel/guard_priv.h"
#include "kernel/maps.h"
#include "xdp_guard.skel.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>

#define SL_ENTRY_MAX 256 /* bytes of a key or a value, of any schema */

/* ---- schemas that were released; see HACKING.md, "a shared map" */

/*
 * Schema 1: penalties and list entries are as they are now. A source's own buckets are not carried: they are
 * full again within kernel.per_source.burst seconds, and which source was proven schema 1 did not know.
 */
#define SL_PENALTY_KEY_1   40
#define SL_PENALTY_VALUE_1 96
#define SL_LIST_VALUE_1    16
_Static_assert(sizeof(struct sl_penalty_key) == SL_PENALTY_KEY_1 &&
                   sizeof(struct sl_penalty_value) == SL_PENALTY_VALUE_1 &&
                   sizeof(struct sl_list_value) == SL_LIST_VALUE_1,
               "a shape changed: give schema 1 structs and copy functions of its own");

static int _sl_penalty_1(const void *key, const void *value, void *new_key, void *new_value)
{
    memcpy(new_key, key, SL_PENALTY_KEY_1);
    memcpy(new_value, value, SL_PENALTY_VALUE_1);
    return 1;
}

/* The operator's: the policy's are written anew. */
static int _sl_list_1(const void *value, void *new_value)
{
    struct sl_list_value v;
    memcpy(&v, value, sizeof(v));
    memcpy(new_value, &v, sizeof(v));
    return v.generation == 0;
}

static int _sl_list4_1(const void *key, const void *value, void *new_key, void *new_value)
{
    memcpy(new_key, key, sizeof(struct sl_lpm4_key));
    return _sl_list_1(value, new_value);
}

static int _sl_list6_1(const void *key, const void *value, void *new_key, void *new_value)
{
    memcpy(new_key, key, sizeof(struct sl_lpm6_key));
    return _sl_list_1(value, new_value);
}

static const struct sl_schema_map _sl_maps_1[] = {
    {"sl_penalties", "sl_penalties", SL_PENALTY_KEY_1, SL_PENALTY_VALUE_1, _sl_penalty_1},
    {"sl_lists4", "sl_lists4", sizeof(struct sl_lpm4_key), SL_LIST_VALUE_1, _sl_list4_1},
    {"sl_lists6", "sl_lists6", sizeof(struct sl_lpm6_key), SL_LIST_VALUE_1, _sl_list6_1},
};
static const struct sl_schema _sl_schemas[] = {{1, _sl_maps_1, SL_ARRAY_LEN(_sl_maps_1)}};

const struct sl_schema *sl_schema_released(unsigned number)
{
    for (size_t i = 0; i < SL_ARRAY_LEN(_sl_schemas); i++)
        if (_sl_schemas[i].number == number)
            return &_sl_schemas[i];
    return NULL;
}

__attribute__((weak)) const struct sl_schema *sl_schema_find(unsigned number)
{
    return sl_schema_released(number);
}

/* ---- what is there */

static int _sl_add(struct sl_kernel_guard *g, unsigned number, const char *dir)
{
    const struct sl_schema *schema = sl_schema_find(number);
    if (!schema)
        return sl_error_r(-EPROTONOSUPPORT,
                          "kernel: %s was left by a sluiced of schema %u, which this one (schema %s) cannot "
                          "read: start that version again, or give up its penalties, operator's lists and "
                          "limits by `sluicectl detach`",
                          dir, number, SL_ABI_SCHEMA_STR);
    if (g->n_before == SL_MAX_BEFORE)
        return sl_error_r(-E2BIG, "kernel: too many schemas under %s: `sluicectl detach`", sl_pin_root());
    struct sl_before *b = &g->before[g->n_before];
    *b = (struct sl_before){.schema = schema, .lock = sl_pins_lock(dir, g->handed)};
    if (b->lock < 0)
        return b->lock;
    (void)snprintf(b->dir, sizeof(b->dir), "%s", dir);
    g->n_before++;
    return 0;
}

int sl_before_open(struct sl_kernel_guard *g)
{
    const char *root = sl_pin_root();
    unsigned number;
    int r = 0;
    DIR *d = opendir(root);
    if (!d)
        return sl_error_r(-errno, "kernel: cannot read %s", root);
    for (const struct dirent *e = readdir(d); r == 0 && e; e = readdir(d)) {
        char dir[SL_PIN_PATH];
        if (sl_pins_schema_of(e->d_name, &number) && number != SL_ABI_SCHEMA &&
            snprintf(dir, sizeof(dir), "%s/%s", root, e->d_name) < SL_PIN_PATH - 64)
            r = _sl_add(g, number, dir);
    }
    (void)closedir(d);
    return r;
}

static int _sl_map_of(const struct sl_before *b, const char *name)
{
    char path[SL_PIN_PATH];
    sl_pin_path(path, b->dir, "maps", "", name);
    return bpf_obj_get(path);
}

static bool _sl_header_of(const struct sl_before *b, struct sl_state_header *out)
{
    struct bpf_map_info info = {0};
    __u32 len = sizeof(info);
    const __u32 zero = 0;
    SL_CLOSE int fd = _sl_map_of(b, "sl_state");
    return fd >= 0 && bpf_obj_get_info_by_fd(fd, &info, &len) == 0 && info.value_size == sizeof(*out) &&
           bpf_map_lookup_elem(fd, &zero, out) == 0;
}

/* The newest with state of this boot, or NULL. */
static const struct sl_before *_sl_newest(const struct sl_kernel_guard *g, const __u8 boot[16],
                                          struct sl_state_header *out)
{
    const struct sl_before *newest = NULL;
    for (size_t i = 0; i < g->n_before; i++) {
        struct sl_state_header h;
        const struct sl_before *b = &g->before[i];
        if (!_sl_header_of(b, &h) || memcmp(h.boot_id, boot, sizeof(h.boot_id)) != 0) {
            sl_warn("kernel: the state pinned at %s is of another boot: discarded, buckets start full and "
                    "penalties are gone",
                    b->dir);
        } else if (!newest || b->schema->number > newest->schema->number) {
            newest = b;
            *out = h;
        }
    }
    return newest;
}

bool sl_before_state(const struct sl_kernel_guard *g, struct sl_state_header *header)
{
    struct sl_state_header was;
    const struct sl_before *b = _sl_newest(g, header->boot_id, &was);
    if (b)
        header->bucket_seed = was.bucket_seed;
    return b != NULL;
}

/* ---- copying */

static int _sl_copy_entries(const struct sl_schema_map *m, int from, int to, size_t *copied)
{
    unsigned char key[SL_ENTRY_MAX], value[SL_ENTRY_MAX], new_key[SL_ENTRY_MAX], new_value[SL_ENTRY_MAX];
    const void *at = NULL;
    int r = 0;
    while (r == 0 && bpf_map_get_next_key(from, at, key) == 0) {
        at = key;
        if (bpf_map_lookup_elem(from, key, value) < 0)
            continue;
        memset(new_key, 0, sizeof(new_key));
        memset(new_value, 0, sizeof(new_value));
        if (m->copy(key, value, new_key, new_value) == 0)
            continue;
        r = bpf_map_update_elem(to, new_key, new_value, BPF_ANY) < 0 ? -errno : 0;
        *copied += r == 0;
    }
    return r;
}

static int _sl_copy_map(const struct sl_kernel_guard *g, const struct sl_before *b,
                        const struct sl_schema_map *m)
{
    struct bpf_map_info info = {0}, mine = {0};
    __u32 len = sizeof(info);
    size_t copied = 0;
    const int to = bpf_object__find_map_fd_by_name(g->xdp->obj, m->to);
    SL_CLOSE int from = _sl_map_of(b, m->from);
    if (to < 0 || from < 0 || bpf_obj_get_info_by_fd(from, &info, &len) < 0 ||
        bpf_obj_get_info_by_fd(to, &mine, &len) < 0)
        return sl_error_r(-errno, "kernel: cannot look at %s of %s", m->from, b->dir);
    if (info.key_size != m->key_size || info.value_size != m->value_size ||
        SL_MAX(mine.key_size, mine.value_size) > SL_ENTRY_MAX)
        return sl_error_r(
            -EINVAL,
            "kernel: %s of %s is not of the shape that schema %u had: `sluicectl detach` gives it up",
            m->from, b->dir, b->schema->number);
    const int r = _sl_copy_entries(m, from, to, &copied);
    if (r < 0)
        return sl_error_r(r, "kernel: cannot carry %s of %s over", m->from, b->dir);
    sl_info("kernel: %zu entries of %s are carried over from schema %u", copied, m->from, b->schema->number);
    return 0;
}

int sl_before_copy(struct sl_kernel_guard *g, const struct sl_state_header *header)
{
    struct sl_state_header was;
    const struct sl_before *b = _sl_newest(g, header->boot_id, &was);
    int r = 0;
    for (size_t i = 0; b && r == 0 && i < b->schema->n_maps; i++)
        r = _sl_copy_map(g, b, &b->schema->maps[i]);
    SL_CLOSE int buckets = b ? _sl_map_of(b, "sl_buckets") : -1;
    return r < 0 || buckets < 0 ? r : sl_guard_carry_buckets(g, buckets);
}

/* ---- the end of it */

void sl_before_remove(struct sl_kernel_guard *g)
{
    for (size_t i = 0; i < g->n_before; i++) {
        sl_info("kernel: the guard of schema %u is taken over; its pins go", g->before[i].schema->number);
        (void)sl_pins_remove(g->before[i].dir);
    }
}

void sl_before_close(struct sl_kernel_guard *g)
{
    for (size_t i = 0; i < g->n_before; i++)
        sl_closep(&g->before[i].lock);
    g->n_before = 0;
}
