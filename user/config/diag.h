/* SPDX-License-Identifier: Apache-2.0 */
/* Errors and warnings of one policy, collected, so that one run reports all of them with their positions. */
#ifndef SL_CONFIG_DIAG_H
#define SL_CONFIG_DIAG_H

#include "base/arena.h"
#include "base/buf.h"

/* Where something stands: line and column count from 1; pointer is RFC 6901. */
struct sl_pos {
    const char *file;    /* as given; "" where there is no file */
    const char *pointer; /* "/routes/orders/auth/0" */
    unsigned line, column;
};

enum sl_severity { SL_SEV_ERROR, SL_SEV_WARNING };

struct sl_diag_entry {
    struct sl_pos pos;
    enum sl_severity severity;
    const char *text;
};

struct sl_diag {
    struct sl_arena arena;
    struct sl_diag_entry *v;
    size_t n, cap;
    unsigned errors, warnings;
};

void sl_diag_init(struct sl_diag *d);
void sl_diag_free(struct sl_diag *d);
/* text: what is wrong and what would be right. pos is copied; NULL where there is no place. */
void sl_diag_error(struct sl_diag *d, const struct sl_pos *pos, const char *fmt, ...) SL_PRINTF(3, 4);
void sl_diag_warn(struct sl_diag *d, const struct sl_pos *pos, const char *fmt, ...) SL_PRINTF(3, 4);
/* One line each, in file and line order: "file:line:column: error: /pointer: text\n". 0 or -ENOMEM. */
int sl_diag_print(const struct sl_diag *d, struct sl_buf *out) SL_MUST_CHECK;

#endif
