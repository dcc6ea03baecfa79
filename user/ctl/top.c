/* SPDX-License-Identifier: Apache-2.0 */
/* `top`: samples the daemon's counters and shows what they did in between. The daemon keeps no state for it.
 */
#include "base/clock.h"
#include "ctl/ctl_priv.h"
#include "ctl/term_priv.h"
#include "ctl/top_priv.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#define SL_INTERVAL_MIN_MS 100

/* What is shown: the whole, why the kernel drops, or who sends most. */
struct sl_top_view {
    const char *more; /* path of what it wants beside /v1/top; or NULL */
    int (*text)(const struct sl_top_sample *, const struct sl_top_sample *, unsigned, struct sl_buf *);
    json_t *(*json)(const struct sl_top_sample *, const struct sl_top_sample *);
    bool now; /* no rates: one sample will do */
};
static const struct sl_top_view _sl_view_all = {NULL, sl_top_text, sl_top_json, false},
                                _sl_view_drops = {"/v1/samples?last=100", sl_top_drops_text,
                                                  sl_top_drops_json, false},
                                _sl_view_sources = {"/v1/top/sources", sl_top_sources_text,
                                                    sl_top_sources_json, true},
                                _sl_view_prefixes = {"/v1/top/sources", sl_top_prefixes_text,
                                                     sl_top_sources_json, true};

static void _sl_sample_free(struct sl_top_sample *s)
{
    json_decref(s->top);
    json_decref(s->status);
    json_decref(s->more);
    *s = (struct sl_top_sample){0};
}

/* 0, or -1; stderr is told unless the caller asked for quiet. */
static int _sl_sample(const struct sl_ctl *ctl, const struct sl_top_view *view, struct sl_top_sample *s)
{
    *s = (struct sl_top_sample){0};
    s->top = sl_ctl_call(ctl, "GET", "/v1/top", NULL);
    s->at_ns = sl_now_ns();
    s->status = s->top ? sl_ctl_call(ctl, "GET", "/v1/status", NULL) : NULL;
    s->more = s->status && view->more ? sl_ctl_call(ctl, "GET", view->more, NULL) : NULL;
    if (s->status && (s->more || !view->more))
        return 0;
    _sl_sample_free(s);
    return -1;
}

static void _sl_sleep_ms(uint64_t ms)
{
    struct timespec t = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};
    while (nanosleep(&t, &t) < 0 && errno == EINTR) {
    }
}

/* The rates over one interval, in text or JSON, once or (JSON) until it fails or is stopped. */
static int _sl_top_lines(const struct sl_ctl *ctl, const struct sl_top_view *view, uint64_t interval_ms,
                         bool once)
{
    struct sl_top_sample before, now;
    int r = SL_CTL_OK;
    if (_sl_sample(ctl, view, &before) < 0)
        return SL_CTL_FAILED;
    do {
        struct sl_buf SL_BUF out = {0};
        if (!view->now || !once)
            _sl_sleep_ms(interval_ms);
        if (_sl_sample(ctl, view, &now) < 0) {
            r = SL_CTL_FAILED;
            break;
        }
        if (ctl->json) {
            json_t *j = view->json(&before, &now);
            r = sl_ctl_print_json_line(j);
            json_decref(j);
        } else {
            r = view->text(&before, &now, 0, &out) < 0 ? SL_CTL_FAILED : sl_ctl_print(&out, stdout);
        }
        _sl_sample_free(&before);
        before = now;
    } while (r == SL_CTL_OK && !once);
    _sl_sample_free(&before);
    return r;
}

/* The two samples on the screen. A daemon that does not answer (a restart) leaves them standing, and is said.
 */
struct sl_screen {
    struct sl_ctl ctl; /* quiet: a message on the alternate screen would garble it, and vanish with it */
    const struct sl_top_view *view;
    struct sl_top_sample before, now;
    bool lost;
};

static void _sl_screen_sample(struct sl_screen *s)
{
    struct sl_top_sample next;
    s->lost = _sl_sample(&s->ctl, s->view, &next) < 0;
    if (s->lost)
        return;
    _sl_sample_free(&s->before);
    s->before = s->now;
    s->now = next;
}

static int _sl_screen_draw(const struct sl_screen *s)
{
    struct sl_buf SL_BUF out = {0};
    unsigned columns, rows;
    sl_term_size(&columns, &rows);
    int r = s->lost ? sl_buf_printf(&out, "sluiced does not answer on its socket; trying on. q quits\n") : 0;
    if (r == 0)
        r = s->view->text(&s->before, &s->now, rows - s->lost, &out);
    if (r == 0)
        sl_term_draw(sl_buf_slice(&out));
    return r;
}

static int _sl_screen_loop(struct sl_screen *s, uint64_t interval_ns)
{
    struct sl_term term;
    int r = sl_term_enter(&term);
    uint64_t due = sl_now_ns() + interval_ns / 4; /* the first rates come soon */
    for (enum sl_term_event e = SL_TERM_REDRAW; r == 0 && e != SL_TERM_QUIT;) {
        r = _sl_screen_draw(s);
        e = sl_term_wait(&term, due);
        if (e == SL_TERM_TICK) {
            _sl_screen_sample(s);
            due = sl_now_ns() + interval_ns;
        }
    }
    sl_term_leave(&term);
    return r;
}

static int _sl_top_screen(const struct sl_ctl *ctl, const struct sl_top_view *view, uint64_t interval_ms)
{
    struct sl_screen s = {.ctl = *ctl, .view = view};
    if (_sl_sample(ctl, view, &s.before) < 0)
        return SL_CTL_FAILED;
    s.ctl.quiet = true;
    s.now = (struct sl_top_sample){json_incref(s.before.top), json_incref(s.before.status),
                                   s.before.more ? json_incref(s.before.more) : NULL, s.before.at_ns};
    int r = _sl_screen_loop(&s, interval_ms * SL_NS_PER_MS);
    _sl_sample_free(&s.before);
    _sl_sample_free(&s.now);
    if (r < 0)
        (void)fprintf(stderr, "sluicectl: top: the terminal cannot be used: %s\n", strerror(-r));
    return r < 0 ? SL_CTL_FAILED : SL_CTL_OK;
}

static const struct sl_top_view *_sl_view(const char *name, bool prefix)
{
    if (!name)
        return prefix ? NULL : &_sl_view_all;
    if (strcmp(name, "drops") == 0)
        return prefix ? NULL : &_sl_view_drops;
    if (strcmp(name, "sources") == 0)
        return prefix ? &_sl_view_prefixes : &_sl_view_sources;
    return NULL;
}

/* Where nothing is counted, an empty table would be a wrong answer. */
static int _sl_counted(const struct sl_ctl *ctl, const struct sl_top_view *view)
{
    if (!view->now)
        return SL_CTL_OK;
    json_t *j = sl_ctl_call(ctl, "GET", view->more, NULL);
    const bool off = strcmp(sl_ctl_str(j, "counted"), "off") == 0;
    if (off)
        (void)fprintf(stderr,
                      "sluicectl: top: sources are not counted: the policy has no `kernel` section, or "
                      "kernel.top_sources is off\n");
    const int r = j && !off ? SL_CTL_OK : SL_CTL_FAILED;
    json_decref(j);
    return r;
}

int sl_ctl_top(const struct sl_ctl *ctl, int argc, char **argv)
{
    const char *interval = "1s";
    bool once = false, prefix = false;
    const struct sl_ctl_option options[] = {
        {"--once", NULL, &once}, {"--interval", &interval, NULL}, {"--prefix", NULL, &prefix}};
    const char *what = NULL;
    uint64_t ms = 0;
    size_t n;
    if (sl_ctl_options(argv[0], argc, argv, options, SL_ARRAY_LEN(options), &what, 1, &n))
        return SL_CTL_USAGE;
    const struct sl_top_view *view = _sl_view(what, prefix);
    if (!view && what && !prefix)
        return sl_ctl_usage(argv[0], "top: \"%s\" is none of drops, sources", what);
    if (!view)
        return sl_ctl_usage(argv[0], "top: --prefix goes with `top sources`");
    if (sl_ctl_duration_ms(interval, &ms) || ms < SL_INTERVAL_MIN_MS)
        return sl_ctl_usage(argv[0], "top: \"%s\" is no interval of 100ms or more, as 500ms, 1s or 1m",
                            interval);
    if (_sl_counted(ctl, view))
        return SL_CTL_FAILED;
    if (ctl->json || once || !isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
        return _sl_top_lines(ctl, view, ms, once || !ctl->json);
    return _sl_top_screen(ctl, view, ms);
}
