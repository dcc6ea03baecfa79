/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemon's own log, to standard error, one line each: what is wrong, where, and what would be right.
 * Under systemd each line carries the priority prefix of sd-daemon(3). Control bytes are escaped.
 */
#ifndef SL_BASE_LOG_H
#define SL_BASE_LOG_H

#include "base/macros.h"

enum sl_log_level { SL_LOG_ERROR = 3, SL_LOG_WARNING = 4, SL_LOG_INFO = 6, SL_LOG_DEBUG = 7 };

/* Called once by main before the fork: who speaks ("supervisor", "worker 0"), and how much. name is borrowed.
 */
void sl_log_setup(const char *name, enum sl_log_level max);
/* errno is kept. */
void sl_log(enum sl_log_level level, const char *fmt, ...) SL_PRINTF(2, 3);

#define sl_error(...) sl_log(SL_LOG_ERROR, __VA_ARGS__)
#define sl_warn(...)  sl_log(SL_LOG_WARNING, __VA_ARGS__)
#define sl_info(...)  sl_log(SL_LOG_INFO, __VA_ARGS__)
#define sl_debug(...) sl_log(SL_LOG_DEBUG, __VA_ARGS__)

/* Logs the message with the text of -r behind it, and returns r (a negative errno). */
int sl_error_r(int r, const char *fmt, ...) SL_PRINTF(2, 3);

#endif
