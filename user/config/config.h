/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From files to a bundle: every policy file, every file and environment value that they name, as read at one
 * moment. The supervisor reads once, seals the bundle in a memfd and hands it to every process; each builds
 * its own snapshot of it (snapshot.h), so that no unprivileged process opens a file and all see the same
 * bytes.
 */
#ifndef SL_CONFIG_CONFIG_H
#define SL_CONFIG_CONFIG_H

#include "config/diag.h"
#include "config/snapshot.h"

/* Numbers of counters, stable over reloads: a name keeps its slot as long as the daemon lives. */
enum sl_slot_kind {
    SL_SLOT_LISTENER,
    SL_SLOT_ROUTE,
    SL_SLOT_TIER,
    SL_SLOT_UPSTREAM,
    SL_SLOT_CONSUMER,
    SL_SLOT_TARGET, /* named upstream/target */
    SL_SLOT_KINDS
};
struct sl_slots;
struct sl_slots *sl_slots_new(void);
void sl_slots_free(struct sl_slots *s);
/* Gives `to`, which is empty, the names and rows of another. 0 or -ENOMEM. */
int sl_slots_adopt(struct sl_slots *to, const struct sl_slots *from) SL_MUST_CHECK;
/* The name in a slot, or NULL. Slot 0 is "other": what found no room. */
const char *sl_slots_name(const struct sl_slots *s, enum sl_slot_kind kind, uint32_t slot);
size_t sl_slots_count(const struct sl_slots *s, enum sl_slot_kind kind);

/*
 * Reads path (a file, or a directory whose *.json, *.yaml and *.yml are merged in name order) with its
 * includes and every file that they name. Problems go to diag; 0 or -EINVAL, -ENOMEM. slots (NULL for a
 * check) gets the new names only once sl_bundle_accept is called, so a refused policy leaves nothing behind.
 */
int sl_bundle_load(const char *path, uint64_t version, struct sl_slots *slots, struct sl_diag *diag,
                   struct sl_bundle **out) SL_MUST_CHECK;
/*
 * A bundle of one policy text that never looks at the file system or the environment: for tests and for
 * fuzzing. JSON where name ends in ".json", else YAML. Files that the text names are given afterwards by
 * sl_bundle_put; those not given, and includes, are errors. 0 or -EINVAL, -ENOMEM. Text is copied.
 */
int sl_bundle_from_text(const char *name, struct sl_slice text, struct sl_diag *diag,
                        struct sl_bundle **out) SL_MUST_CHECK;
/* The bytes of a file (path as the policy resolves it: relative to the directory of name) or, where env, of
 * an environment variable. Copied. 0, -EEXIST or -ENOMEM. */
int sl_bundle_put(struct sl_bundle *b, bool env, const char *path, struct sl_slice data) SL_MUST_CHECK;
/* The same for a file of ranges that kernel.allow or kernel.deny names. */
int sl_bundle_put_list(struct sl_bundle *b, const char *path, struct sl_slice data) SL_MUST_CHECK;
/* Assigns slots to all names of the snapshot and writes them into the bundle and the snapshot. 0 or -ENOMEM.
 */
int sl_bundle_accept(struct sl_bundle *b, struct sl_snapshot *s, struct sl_slots *slots) SL_MUST_CHECK;
/* To and from a sealed memfd: fd or -errno; the reader checks every length. */
int sl_bundle_to_memfd(const struct sl_bundle *b) SL_MUST_CHECK;
int sl_bundle_from_memfd(int fd, struct sl_bundle **out) SL_MUST_CHECK;
/*
 * The policy as it is written, value by value in its order, for comparing two of them: appends
 * {"/json/pointer": {"file", "line", "column", "value": …, "sha256": …}, …}. A list of plain values is one
 * value. Secrets, and JSON within the policy, have no "value", only "sha256" of it; what names a file or a
 * variable has both, the digest that of the bytes there (absent where they could not be read). 0 or -ENOMEM,
 * -EINVAL.
 */
int sl_bundle_print_values(const struct sl_bundle *b, struct sl_buf *out) SL_MUST_CHECK;
/*
 * Reads a file that the policy names anew, in a bundle whose policy has not been parsed since it was made
 * (sl_bundle_from_memfd): 1 where its bytes are others now, 0 where they are the same or the bundle knows no
 * such file, or -errno with the bytes of before kept.
 */
int sl_bundle_reread(struct sl_bundle *b, const char *path) SL_MUST_CHECK;
/* The number under which an accepted policy comes into force once more. */
void sl_bundle_renumber(struct sl_bundle *b, uint64_t version);
/* The same without the bytes of lists, for processes that do not fill the kernel's maps: a snapshot of it has
 * the lists' names and no ranges. */
int sl_bundle_from_memfd_lean(int fd, struct sl_bundle **out) SL_MUST_CHECK;
void sl_bundle_free(struct sl_bundle *b);
/* Slot names as the bundle carries them, for readers that only merge counters. Owned by the bundle. */
const struct sl_slots *sl_bundle_slots(const struct sl_bundle *b);

/* The JSON Schema of the policy language, generated from the table that checks it. 0 or -ENOMEM. */
int sl_schema_print(struct sl_buf *out) SL_MUST_CHECK;

#endif
