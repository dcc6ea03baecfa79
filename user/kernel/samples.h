/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading the ring of sampled drops through an inherited descriptor: no privilege is needed to map it, and
 * none to say what was read (the consumer's page is written through the mapping; tried on 6.18 with
 * unprivileged_bpf_disabled=2).
 */
#ifndef SL_KERNEL_SAMPLES_H
#define SL_KERNEL_SAMPLES_H

#include "base/macros.h"
#include "sluice/abi.h"

struct sl_sample_ring;
/* The sample is gone when it returns. */
typedef void (*sl_sample_fn)(const struct sl_sample *s, void *arg);

/* 0 or -errno. The descriptor stays the caller's. */
int sl_samples_open(int fd, sl_sample_fn fn, void *arg, struct sl_sample_ring **out) SL_MUST_CHECK;
/* Readable when there are samples. */
int sl_samples_fd(const struct sl_sample_ring *r);
/* Hands all that there are to fn. */
void sl_samples_read(struct sl_sample_ring *r);
void sl_samples_close(struct sl_sample_ring *r);
/* Sums over the CPUs. 0 or -errno. */
int sl_samples_counts(int fd, struct sl_sample_counts *out);

#endif
