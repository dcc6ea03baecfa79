/* SPDX-License-Identifier: Apache-2.0 */
/* The terminal of `top`: entered once, left always. Between the two, SIGINT, SIGTERM, SIGHUP and SIGQUIT are
 * events. */
#ifndef SL_CTL_TERM_PRIV_H
#define SL_CTL_TERM_PRIV_H

#include "ctl/ctl_priv.h"

#include <signal.h>
#include <termios.h>

struct sl_term {
    struct termios saved;
    sigset_t mask;
    int signals; /* signalfd; -1: not entered */
};
enum sl_term_event { SL_TERM_TICK, SL_TERM_REDRAW, SL_TERM_QUIT };

/* 0 or -errno; nothing is changed on failure. */
int sl_term_enter(struct sl_term *t) SL_MUST_CHECK;
/* Gives screen, modes and signals back; safe after a failed enter. */
void sl_term_leave(struct sl_term *t);
/* 80 x 24 where the terminal does not say. */
void sl_term_size(unsigned *columns, unsigned *rows);
/* Shows text from the top left, cut to the screen. text holds no control bytes but newlines. */
void sl_term_draw(struct sl_slice text);
/* Waits for the time (CLOCK_MONOTONIC), a key or a signal. Ctrl-Z is done within: the shell's screen comes
 * back. */
enum sl_term_event sl_term_wait(struct sl_term *t, uint64_t until_ns);

#endif
