/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A terminal in raw-enough mode for `top`, given back as it was however we end: signals are taken off their
 * default action and read through a signalfd, so there is one way out and no handler.
 */
#include "ctl/term_priv.h"

#include "base/clock.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>

#define SL_ENTER "\x1b[?1049h\x1b[?25l" /* the alternate screen, no cursor */
#define SL_LEAVE "\x1b[?25h\x1b[?1049l"

static void _sl_write(const char *s, size_t n)
{
    while (n) {
        ssize_t w = write(STDOUT_FILENO, s, n);
        if (w < 0 && errno == EAGAIN) { /* a slow terminal on a non-blocking descriptor */
            (void)poll(&(struct pollfd){.fd = STDOUT_FILENO, .events = POLLOUT}, 1, 1000);
            continue;
        }
        if (w < 0 && errno != EINTR)
            return; /* gone: the next read says so */
        if (w > 0) {
            s += w;
            n -= (size_t)w;
        }
    }
}

static void _sl_raw(const struct sl_term *t)
{
    struct termios raw = t->saved;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO); /* ISIG stays: Ctrl-C and Ctrl-Z are signals */
    raw.c_cc[VMIN] = 0;
    raw.c_cc[VTIME] = 0;
    (void)tcsetattr(STDIN_FILENO, TCSADRAIN, &raw);
    _sl_write(SL_ENTER, sizeof(SL_ENTER) - 1);
}

static void _sl_cooked(const struct sl_term *t)
{
    _sl_write(SL_LEAVE, sizeof(SL_LEAVE) - 1);
    (void)tcsetattr(STDIN_FILENO, TCSADRAIN, &t->saved);
}

int sl_term_enter(struct sl_term *t)
{
    static const int taken[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGWINCH, SIGCONT};
    *t = (struct sl_term){.signals = -1};
    if (tcgetattr(STDIN_FILENO, &t->saved) < 0)
        return -errno;
    sigset_t set;
    (void)sigemptyset(&set);
    for (size_t i = 0; i < SL_ARRAY_LEN(taken); i++)
        (void)sigaddset(&set, taken[i]);
    if (sigprocmask(SIG_BLOCK, &set, &t->mask) < 0)
        return -errno;
    t->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (t->signals < 0) {
        int r = -errno;
        (void)sigprocmask(SIG_SETMASK, &t->mask, NULL);
        return r;
    }
    _sl_raw(t);
    return 0;
}

void sl_term_leave(struct sl_term *t)
{
    if (t->signals < 0)
        return;
    _sl_cooked(t);
    close(t->signals);
    t->signals = -1;
    (void)sigprocmask(SIG_SETMASK, &t->mask, NULL);
}

void sl_term_size(unsigned *columns, unsigned *rows)
{
    struct winsize w = {0};
    bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col && w.ws_row;
    *columns = known ? w.ws_col : 80;
    *rows = known ? w.ws_row : 24;
}

void sl_term_draw(struct sl_slice text)
{
    struct sl_buf SL_BUF out = {0};
    struct sl_slice line;
    unsigned columns, rows, y = 0;
    sl_term_size(&columns, &rows);
    /* each line is overwritten and cleared to its end, so nothing flickers; no newline after the last row */
    int r = sl_buf_append(&out, "\x1b[H", 3);
    while (r == 0 && y < rows && sl_slice_next(&text, '\n', &line)) {
        if (y++)
            r = sl_buf_append(&out, "\r\n", 2);
        if (r == 0)
            r = sl_buf_append(&out, line.p, sl_ctl_cut(line, columns));
        if (r == 0)
            r = sl_buf_append(&out, "\x1b[K", 3);
    }
    if (r == 0)
        r = sl_buf_append(&out, "\x1b[J", 3);
    if (r == 0)
        _sl_write(sl_buf_data(&out), sl_buf_len(&out));
}

static enum sl_term_event _sl_signal(struct sl_term *t)
{
    struct signalfd_siginfo s;
    if (read(t->signals, &s, sizeof(s)) != (ssize_t)sizeof(s))
        return SL_TERM_TICK;
    if (s.ssi_signo == SIGTSTP) {
        _sl_cooked(t);
        (void)raise(SIGSTOP);
        _sl_raw(t);
        return SL_TERM_REDRAW;
    }
    return s.ssi_signo == SIGWINCH || s.ssi_signo == SIGCONT ? SL_TERM_REDRAW : SL_TERM_QUIT;
}

static enum sl_term_event _sl_key(void)
{
    char c[64];
    ssize_t n = read(STDIN_FILENO, c, sizeof(c));
    if (n <= 0) /* readable and empty: the terminal is gone */
        return n < 0 && errno == EINTR ? SL_TERM_REDRAW : SL_TERM_QUIT;
    return c[0] == 'q' || c[0] == 'Q' || c[0] == 0x04 ? SL_TERM_QUIT : SL_TERM_REDRAW;
}

enum sl_term_event sl_term_wait(struct sl_term *t, uint64_t until_ns)
{
    for (;;) {
        uint64_t now = sl_now_ns();
        struct pollfd p[] = {{.fd = t->signals, .events = POLLIN}, {.fd = STDIN_FILENO, .events = POLLIN}};
        if (now >= until_ns)
            return SL_TERM_TICK;
        int r = poll(p, 2, (int)SL_MIN((until_ns - now) / SL_NS_PER_MS + 1, (uint64_t)60000));
        if (r < 0 && errno != EINTR)
            return SL_TERM_QUIT;
        if (r > 0 && p[0].revents)
            return _sl_signal(t);
        if (r > 0 && p[1].revents)
            return _sl_key();
    }
}
