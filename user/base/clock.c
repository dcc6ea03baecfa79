/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"

#include <stdio.h>

void sl_wall_iso(uint64_t wall_ns, char out[SL_ISO_LEN])
{
    time_t t = (time_t)(wall_ns / SL_NS_PER_SEC);
    struct tm tm;
    (void)gmtime_r(&t, &tm);
    size_t n = strftime(out, SL_ISO_LEN, "%Y-%m-%dT%H:%M:%S", &tm);
    (void)snprintf(out + n, SL_ISO_LEN - n, ".%03uZ", (unsigned)(wall_ns / SL_NS_PER_MS % 1000));
}
