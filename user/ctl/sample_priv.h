/* SPDX-License-Identifier: Apache-2.0 */
/* A sampled drop as /v1/samples gives it (ctl_priv.h): read without trust, printed escaped. */
#ifndef SL_CTL_SAMPLE_PRIV_H
#define SL_CTL_SAMPLE_PRIV_H

#include "ctl/ctl_priv.h"
#include "ctl/pcapng_priv.h"

#define SL_SAMPLE_ENDPOINT 80
#define SL_SAMPLE_KIND     20
/* "192.0.2.1:443", "[2001:db8::1]:443"; without a port where none was read. Not escaped. */
void sl_sample_endpoint(const json_t *s, bool source, char out[SL_SAMPLE_ENDPOINT]);
/* "tcp SA", "udp", "ip50" */
const char *sl_sample_kind(const json_t *s, char out[SL_SAMPLE_KIND]);
/* A line of text, escaped. 0 or -ENOMEM, as the next. */
int sl_sample_line(const json_t *s, struct sl_buf *out) SL_MUST_CHECK;
int sl_sample_pcapng(struct sl_pcapng *p, const json_t *s, struct sl_buf *out) SL_MUST_CHECK;

#endif
