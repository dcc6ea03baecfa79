/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* The one exception to "no global state": set once per process, then only read. */
static const char *_sl_who = "sluice";
static enum sl_log_level _sl_max = SL_LOG_INFO;
static int _sl_journal;

void sl_log_setup(const char *name, enum sl_log_level max)
{
    _sl_who = name;
    _sl_max = max;
    _sl_journal = getenv("JOURNAL_STREAM") != NULL;
}

static void _sl_emit(enum sl_log_level level, const char *fmt, va_list ap, const char *tail)
{
    static const char *const names[] = {[SL_LOG_ERROR] = "error",
                                        [SL_LOG_WARNING] = "warning",
                                        [SL_LOG_INFO] = "info",
                                        [SL_LOG_DEBUG] = "debug"};
    char line[2048];
    int n = _sl_journal ? snprintf(line, sizeof(line), "<%d>", level) : 0;
    n += snprintf(line + n, sizeof(line) - (size_t)n, "%s: %s: ", _sl_who, names[level]);
    size_t text = (size_t)n;
    n = vsnprintf(line + text, sizeof(line) - text - 1, fmt, ap);
    size_t end = n < 0 ? text : SL_MIN(text + (size_t)n, sizeof(line) - 2);
    if (tail && end < sizeof(line) - 2) {
        n = snprintf(line + end, sizeof(line) - end - 1, ": %s", tail);
        end = SL_MIN(end + (size_t)n, sizeof(line) - 2);
    }
    for (size_t i = text; i < end; i++) /* no log line is forged by what a client sent */
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
            line[i] = '?';
    line[end++] = '\n';
    ssize_t w = write(STDERR_FILENO, line, end);
    (void)w; /* a full disk under the log must not stop the gateway */
}

void sl_log(enum sl_log_level level, const char *fmt, ...)
{
    if (level > _sl_max)
        return;
    int saved = errno;
    va_list ap;
    va_start(ap, fmt);
    _sl_emit(level, fmt, ap, NULL);
    va_end(ap);
    errno = saved;
}

int sl_error_r(int r, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    _sl_emit(SL_LOG_ERROR, fmt, ap, strerror(-r));
    va_end(ap);
    return r;
}
