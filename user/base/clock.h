/* SPDX-License-Identifier: Apache-2.0 */
/* Times are ns of CLOCK_MONOTONIC unless a name says wall. */
#ifndef SL_BASE_CLOCK_H
#define SL_BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>
#include <time.h>

#define SL_NS_PER_SEC 1000000000ull
#define SL_NS_PER_MS  1000000ull

static inline uint64_t sl_now_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * SL_NS_PER_SEC + (uint64_t)t.tv_nsec;
}

static inline uint64_t sl_wall_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * SL_NS_PER_SEC + (uint64_t)t.tv_nsec;
}

/* "2026-11-22T22:19:00.123Z" (RFC 3339, UTC) into out, which holds at least SL_ISO_LEN bytes. */
#define SL_ISO_LEN 25
void sl_wall_iso(uint64_t wall_ns, char out[SL_ISO_LEN]);

#endif
