/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the controller has seen of who asks how much (telemetry/evidence.h), kept in a file of the state
 * directory: an hour's or a day's evidence takes longer than a daemon may run. The supervisor copies bytes
 * and looks at none of them: what they mean, the controller makes sure of.
 *
 * Invariant: a file that is cut, changed or of another shape is said so and ignored, whole.
 */
#include "supervisor/supervisor_priv.h"

#include <errno.h>

#define SL_EVIDENCE_FILE  "evidence.state"
#define SL_EVIDENCE_MAGIC 0x31766565636c7573ull /* "sulceev1" */
#define SL_EVIDENCE_EVERY (300 * SL_NS_PER_SEC)

/* As it stands in the file, in this host's byte order: it goes to no other. */
struct sl_kept_evidence {
    uint64_t magic;
    uint64_t shape;    /* of the figures behind it */
    uint64_t checksum; /* of those */
};

static uint64_t _sl_shape(void)
{
    const uint64_t sizes[] = {sizeof(struct sl_evidence), sizeof(struct sl_evidence_series),
                              sizeof(struct sl_evidence_span), offsetof(struct sl_evidence, series)};
    return sl_hash(sizes, sizeof(sizes), 0);
}

void sl_kept_evidence_save(struct sl_supervisor *s)
{
    struct sl_buf SL_BUF b = {0};
    const struct sl_evidence *e = &s->counters.shared->evidence;
    struct sl_kept_evidence h = {.magic = SL_EVIDENCE_MAGIC, .shape = _sl_shape()};
    const uint64_t now = sl_now_ns();
    if (!s->kept.evidence_ns) /* nothing is worth a file yet */
        s->kept.evidence_ns = now + SL_EVIDENCE_EVERY;
    if (now < s->kept.evidence_ns && !s->stopping)
        return;
    s->kept.evidence_ns = now + SL_EVIDENCE_EVERY;
    int r = sl_buf_append(&b, &h, sizeof(h));
    if (r == 0)
        r = sl_buf_append(&b, e, sl_evidence_bytes(e));
    if (r == 0) { /* of the copy: the controller goes on writing */
        h.checksum = sl_hash(sl_buf_data(&b) + sizeof(h), sl_buf_len(&b) - sizeof(h), h.shape);
        memcpy(b.base + b.start, &h, sizeof(h));
        r = sl_kept_replace(s, SL_EVIDENCE_FILE, &b, s->stopping);
    }
    if (r < 0)
        (void)sl_error_r(r, "what limits are proposed of cannot be kept in %s", s->kept_dir);
}

static const char *_sl_wrong(struct sl_slice s, const struct sl_kept_evidence *h)
{
    const size_t least = sizeof(*h) + offsetof(struct sl_evidence, series);
    if (s.n < least || h->magic != SL_EVIDENCE_MAGIC)
        return "it is no such file";
    if (h->shape != _sl_shape())
        return "it is of another version";
    if (s.n > sizeof(*h) + sizeof(struct sl_evidence) || (s.n - least) % sizeof(struct sl_evidence_series))
        return "it is cut, or has grown";
    if (h->checksum != sl_hash(s.p + sizeof(*h), s.n - sizeof(*h), h->shape))
        return "its checksum is another";
    return NULL;
}

void sl_kept_evidence_load(struct sl_supervisor *s)
{
    struct sl_buf SL_BUF b = {0};
    struct sl_kept_evidence h = {0};
    char path[300];
    const int r =
        sl_kept_read(s, SL_EVIDENCE_FILE, sizeof(h) + sizeof(struct sl_evidence), &h, sizeof(h), &b, path);
    if (r == -ENOENT)
        return;
    const struct sl_slice text = sl_buf_slice(&b);
    const char *wrong = r < 0 ? strerror(-r) : _sl_wrong(text, &h);
    if (r < 0 || wrong) {
        sl_warn("%s is not used: %s: evidence for `sluicectl suggest` begins anew", path, wrong);
        return;
    }
    struct sl_evidence *e = &s->counters.shared->evidence;
    const size_t n = text.n - sizeof(h);
    memcpy(e, text.p + sizeof(h), n);
    e->n = (uint32_t)((n - offsetof(struct sl_evidence, series)) / sizeof(e->series[0]));
}
