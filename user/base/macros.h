/* SPDX-License-Identifier: Apache-2.0 */
/* Ownership by cleanup attributes, and the few macros that C11 lacks. */
#ifndef SL_BASE_MACROS_H
#define SL_BASE_MACROS_H

#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

/* A cleanup attribute frees what its variable owns at the end of the scope; SL_TAKE_* hands ownership on, as
 * the last thing done, when nothing can fail any more. */
#define SL_CLEANUP(fn) __attribute__((cleanup(fn)))
#define SL_TAKE_PTR(p)                 \
    __extension__({                    \
        __typeof__(p) _sl_taken = (p); \
        (p) = NULL;                    \
        _sl_taken;                     \
    })
#define SL_TAKE_FD(fd)        \
    __extension__({           \
        int _sl_taken = (fd); \
        (fd) = -1;            \
        _sl_taken;            \
    })

static inline void sl_freep(void *pp)
{
    free(*(void **)pp);
}

static inline void sl_closep(const int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
}

#define SL_FREE  SL_CLEANUP(sl_freep)
#define SL_CLOSE SL_CLEANUP(sl_closep)

#define SL_MUST_CHECK         __attribute__((warn_unused_result))
#define SL_PRINTF(fmt, first) __attribute__((format(printf, fmt, first)))
#define SL_UNUSED             __attribute__((unused))
#define SL_UNLIKELY(x)        __builtin_expect(!!(x), 0)
#define SL_ARRAY_LEN(a)       (sizeof(a) / sizeof((a)[0]))
#define SL_CONTAINER_OF(p, type, member) \
    ((type *)(void *)((char *)(p)-offsetof(type, member))) /* NOLINT(bugprone-casting-through-void) */
#define SL_MIN(a, b)  ((a) < (b) ? (a) : (b))
#define SL_MAX(a, b)  ((a) > (b) ? (a) : (b))
#define SL_CACHE_LINE 64

#endif
