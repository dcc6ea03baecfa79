/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of a snapshot are made of; see snapshot.h. */
#ifndef SL_CONFIG_SNAPSHOT_TYPES_H
#define SL_CONFIG_SNAPSHOT_TYPES_H

#include "base/hash.h"
#include "base/ip.h"
#include "config/diag.h"
#include "config/ranges.h"
#include <stdatomic.h>

/* The bytes of a file that the policy names, or a literal or environment value. Secrets are never printed. */
struct sl_blob {
    struct sl_slice data;
    const char *path; /* NULL: not from a file */
    bool secret;
    struct sl_pos pos;
};

struct sl_strings {
    struct sl_slice *v;
    size_t n;
};
struct sl_name_value {
    struct sl_slice name, value;
    struct sl_pos pos;
};
struct sl_name_values {
    struct sl_name_value *v;
    size_t n;
};
struct sl_cidrs {
    struct sl_cidr *v;
    size_t n;
};

struct sl_rate { /* units per second as count/period, exact; count 0: no limit */
    uint64_t count;
    uint64_t per_ns;
};

#endif
