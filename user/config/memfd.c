/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bundle as bytes in a sealed memfd: a header, then records of a fixed head, a name and data. The reader
 * trusts nothing: each length is checked against what is left, names hold no NUL, and nothing may follow.
 */
#include "base/io.h"
#include "config/bundle_priv.h"

#include <errno.h>
#include <sys/mman.h>

#define SL_MEMFD_MAGIC 0x31304c444e424c53ull /* "SLBNDL01" */

struct sl_memfd_head {
    uint64_t magic, version;
    uint32_t cpus, records;
};
enum sl_record_kind { SL_REC_JSON = 1, SL_REC_YAML, SL_REC_FILE, SL_REC_ENV, SL_REC_SLOT, SL_REC_LIST };
struct sl_record {
    uint32_t kind; /* enum sl_record_kind */
    uint32_t slot; /* SL_REC_SLOT: enum sl_slot_kind */
    uint64_t name_len, data_len;
};

static int _sl_put(struct sl_buf *out, uint32_t kind, uint32_t slot, const char *name, struct sl_slice data)
{
    struct sl_record rec = {kind, slot, strlen(name), data.n};
    int r = sl_buf_append(out, &rec, sizeof(rec));
    if (r == 0)
        r = sl_buf_append(out, name, rec.name_len);
    return r < 0 ? r : sl_buf_append_slice(out, data);
}

/* Of a list the digest comes first, so that who needs no ranges need not touch the rest. */
static int _sl_put_file(struct sl_buf *out, const struct sl_bundle_file *f)
{
    struct sl_record rec = {SL_REC_LIST, 0, strlen(f->key + 1), sizeof(f->digest) + f->data.n};
    if (!f->list)
        return _sl_put(out, f->env ? SL_REC_ENV : SL_REC_FILE, 0, f->key + 1, f->data);
    int r = sl_buf_append(out, &rec, sizeof(rec));
    if (r == 0)
        r = sl_buf_append(out, f->key + 1, rec.name_len);
    if (r == 0)
        r = sl_buf_append(out, f->digest, sizeof(f->digest));
    return r < 0 ? r : sl_buf_append_slice(out, f->data);
}

static int _sl_put_slots(struct sl_buf *out, const struct sl_slots *slots, uint32_t *records)
{
    int r = 0;
    for (unsigned k = 0; slots && k < SL_SLOT_KINDS; k++)
        for (uint32_t i = 1; r == 0 && i < sl_slots_count(slots, k); i++, (*records)++)
            r = _sl_put(out, SL_REC_SLOT, k, sl_slots_name(slots, k, i), SL_SLICE_NUL);
    return r;
}

static int _sl_put_all(struct sl_buf *out, const struct sl_bundle *b)
{
    struct sl_memfd_head head = {SL_MEMFD_MAGIC, b->version, b->cpus, (uint32_t)(b->n_sources + b->n_files)};
    int r = sl_buf_append(out, &head, sizeof(head));
    for (size_t i = 0; r == 0 && i < b->n_sources; i++)
        r = _sl_put(out, b->sources[i].json ? SL_REC_JSON : SL_REC_YAML, 0, b->sources[i].name,
                    b->sources[i].text);
    for (size_t i = 0; r == 0 && i < b->n_files; i++)
        r = _sl_put_file(out, b->files[i]);
    if (r == 0)
        r = _sl_put_slots(out, b->slots, &head.records);
    if (r == 0)
        memcpy(sl_buf_data(out), &head, sizeof(head));
    return r;
}

int sl_bundle_to_memfd(const struct sl_bundle *b)
{
    struct sl_buf out = {0};
    int r = sl_buf_reserve(&out, b->bytes + (b->n_sources + b->n_files) * 256 + 65536);
    if (r == 0)
        r = _sl_put_all(&out, b);
    if (r == 0)
        r = sl_memfd_sealed("sluice-bundle", sl_buf_data(&out), sl_buf_len(&out));
    sl_buf_wipe(&out);
    return r;
}

static int _sl_cut(struct sl_slice *rest, uint64_t n, struct sl_slice *out)
{
    if (n > rest->n)
        return -EBADMSG;
    *out = sl_slice(rest->p, (size_t)n);
    *rest = sl_slice(rest->p + n, rest->n - (size_t)n);
    return 0;
}

static int _sl_take_slot(struct sl_bundle *b, uint32_t kind, const char *name)
{
    if (kind >= SL_SLOT_KINDS)
        return -EBADMSG;
    if (!b->slots)
        b->slots = sl_slots_new();
    return b->slots ? sl_slots_add(b->slots, kind, name) : -ENOMEM;
}

static int _sl_take_list(struct sl_bundle *b, bool lean, const char *name, struct sl_slice data)
{
    struct sl_slice digest;
    if (_sl_cut(&data, SL_DIGEST, &digest) < 0)
        return -EBADMSG;
    return lean ? sl_bundle_add_list(b, name, 0, SL_SLICE_NUL, (const unsigned char *)digest.p)
                : sl_bundle_add_list(b, name, 0, data, NULL);
}

static int _sl_take(struct sl_bundle *b, bool lean, struct sl_slice *rest)
{
    struct sl_record rec;
    struct sl_slice head, name_bytes, data;
    int r = _sl_cut(rest, sizeof(rec), &head);
    if (r < 0)
        return r;
    memcpy(&rec, head.p, sizeof(rec));
    if (_sl_cut(rest, rec.name_len, &name_bytes) < 0 || _sl_cut(rest, rec.data_len, &data) < 0 ||
        memchr(name_bytes.p, '\0', name_bytes.n))
        return -EBADMSG;
    SL_FREE char *name = strndup(name_bytes.p, name_bytes.n);
    if (!name)
        return -ENOMEM;
    switch (rec.kind) {
    case SL_REC_JSON:
    case SL_REC_YAML:
        return sl_bundle_add_source(b, name, data, rec.kind == SL_REC_JSON);
    case SL_REC_FILE:
    case SL_REC_ENV:
        return sl_bundle_add_file(b, rec.kind == SL_REC_ENV, name, 0, data);
    case SL_REC_LIST:
        return _sl_take_list(b, lean, name, data);
    case SL_REC_SLOT:
        return data.n ? -EBADMSG : _sl_take_slot(b, rec.slot, name);
    default:
        return -EBADMSG;
    }
}

static int _sl_take_all(struct sl_bundle *b, bool lean, struct sl_slice rest)
{
    struct sl_memfd_head head;
    struct sl_slice bytes;
    int r = _sl_cut(&rest, sizeof(head), &bytes);
    if (r < 0)
        return r;
    memcpy(&head, bytes.p, sizeof(head));
    if (head.magic != SL_MEMFD_MAGIC || head.cpus == 0)
        return -EBADMSG;
    b->version = head.version;
    b->cpus = head.cpus;
    for (uint32_t i = 0; r == 0 && i < head.records; i++)
        r = _sl_take(b, lean, &rest);
    return r == 0 && rest.n ? -EBADMSG : r;
}

static int _sl_from_memfd(int fd, bool lean, struct sl_bundle **out)
{
    struct sl_slice bytes;
    int r = sl_memfd_map(fd, &bytes);
    if (r < 0)
        return r;
    struct sl_bundle *b = sl_bundle_new();
    r = b ? _sl_take_all(b, lean, bytes) : -ENOMEM;
    (void)munmap((void *)(uintptr_t)bytes.p, bytes.n);
    if (r < 0) {
        sl_bundle_free(b);
        return r;
    }
    *out = b;
    return 0;
}

int sl_bundle_from_memfd(int fd, struct sl_bundle **out)
{
    return _sl_from_memfd(fd, false, out);
}

int sl_bundle_from_memfd_lean(int fd, struct sl_bundle **out)
{
    return _sl_from_memfd(fd, true, out);
}
