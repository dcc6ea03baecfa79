/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of supervisor/ share: a supervisor without children, and what a process does in a fork. */
#ifndef SL_TEST_SUPERVISOR_H
#define SL_TEST_SUPERVISOR_H

#include "supervisor/supervisor_priv.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

struct fixture {
    char dir[64];
    struct sl_supervisor_options options;
    struct sl_supervisor s;
    struct sl_child children[3];
    struct sl_diag diag;
    char text[4096]; /* of the diagnostics */
};

static SL_UNUSED int fixture_new(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    if (!f)
        return -1;
    (void)snprintf(f->dir, sizeof(f->dir), "/tmp/sl-supervisor-XXXXXX");
    if (!mkdtemp(f->dir))
        return -1;
    f->options.state = f->dir;
    f->options.policy = "/etc/sluice"; /* what runs names one always */
    f->s = (struct sl_supervisor){.options = &f->options,
                                  .lock = -1,
                                  .bundle_fd = -1,
                                  .former.fd = -1,
                                  .log_fd = -1,
                                  .children = f->children,
                                  .n_children = SL_ARRAY_LEN(f->children)};
    for (int i = 0; i < (int)SL_ARRAY_LEN(f->children); i++)
        f->children[i] = (struct sl_child){.s = &f->s, .index = i - 1, .ipc = -1};
    sl_diag_init(&f->diag);
    sl_log_setup("test", (enum sl_log_level)0);
    *state = f;
    return 0;
}

static SL_UNUSED int fixture_free(void **state)
{
    struct fixture *f = *state;
    char command[96];
    sl_sockets_close(&f->s);
    sl_snapshot_unref(f->s.snapshot);
    if (f->s.guard)
        sl_kernel_close(f->s.guard);
    sl_closep(&f->s.lock);
    sl_diag_free(&f->diag);
    (void)snprintf(command, sizeof(command), "rm -rf %s", f->dir);
    int r = system(command);
    free(f);
    return r;
}
#define with_fixture(t) cmocka_unit_test_setup_teardown(t, fixture_new, fixture_free)

/* The snapshot of a policy whose other sections are given as YAML. */
static SL_UNUSED struct sl_snapshot *snapshot_of(const char *sections)
{
    struct sl_diag diag;
    struct sl_bundle *bundle = NULL;
    struct sl_snapshot *s = NULL;
    struct sl_buf text = {0};
    sl_diag_init(&diag);
    assert_int_equal(sl_buf_printf(&text,
                                   "version: 1\nworkers: 2\n"
                                   "routes: {a: {paths: [/], auth: [public], respond: {status: 200}}}\n%s\n",
                                   sections),
                     0);
    int r = sl_bundle_from_text("policy.yaml", sl_buf_slice(&text), &diag, &bundle);
    if (r == 0)
        r = sl_snapshot_new(bundle, &diag, &s);
    for (size_t i = 0; r < 0 && i < diag.n; i++)
        print_error("%s: %s\n", diag.v[i].pos.pointer, diag.v[i].text);
    assert_int_equal(r, 0);
    sl_bundle_free(bundle);
    sl_buf_free(&text);
    sl_diag_free(&diag);
    return s;
}

/* All that was told so far. */
static SL_UNUSED const char *told(struct fixture *f)
{
    struct sl_buf out = {0};
    assert_int_equal(sl_diag_print(&f->diag, &out), 0);
    (void)snprintf(f->text, sizeof(f->text), "%.*s", (int)sl_buf_len(&out), sl_buf_data(&out));
    sl_buf_free(&out);
    return f->text;
}

/* A port that is free now: the kernel's choice. */
static SL_UNUSED unsigned free_port(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof(a);
    SL_CLOSE int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, n), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &n), 0);
    return ntohs(a.sin_port);
}

/* Runs fn in a process of its own and returns its exit code; -signal where it was killed. */
static SL_UNUSED int in_child(int (*fn)(void *), void *arg)
{
    int status;
    (void)fflush(NULL);
    pid_t pid = fork();
    if (pid == 0)
        _exit(fn(arg));
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

#define skip_unless_root()                                     \
    do {                                                       \
        if (geteuid() != 0) {                                  \
            print_message("needs root to give anything up\n"); \
            skip();                                            \
        }                                                      \
    } while (0)

#endif
