/* SPDX-License-Identifier: Apache-2.0 */
/* A line of the access log by a format of the operator's: text with $variables (base/access_fields.h). */
#ifndef SL_TELEMETRY_ACCESS_FORMAT_H
#define SL_TELEMETRY_ACCESS_FORMAT_H

#include "base/buf.h"

struct sl_access_record;
struct sl_access_format;

/* Compiles text, which must outlive it. 0, -ENOMEM, or -EINVAL: a variable that there is not. */
int sl_access_format_new(const char *text, struct sl_access_format **out) SL_MUST_CHECK;
void sl_access_format_free(struct sl_access_format *f);
/*
 * Appends one line. What is not known is "-". In values a quote, a backslash and every byte that is no
 * printable ASCII are written \xHH, so that a line is a line and a quoted value ends where its quote does,
 * whatever a client sent.
 */
int sl_access_format_line(struct sl_buf *b, const struct sl_access_format *f,
                          const struct sl_access_record *r) SL_MUST_CHECK;

#endif
