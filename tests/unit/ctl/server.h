/* SPDX-License-Identifier: Apache-2.0 */
/* An admin socket that takes one connection, keeps the request, and answers what the test gave it. */
#ifndef SL_TESTS_CTL_SERVER_H
#define SL_TESTS_CTL_SERVER_H

#include "base/ip.h"
#include "base/macros.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

struct server {
    char dir[32], path[64];
    int listener;
    pthread_t thread;
    const char *answer; /* NULL: never answers */
    char request[4096];
};

static void *_serve(void *arg)
{
    struct server *s = arg;
    int c = accept(s->listener, NULL, NULL);
    ssize_t n = recv(c, s->request, sizeof(s->request) - 1, 0);
    s->request[n > 0 ? n : 0] = '\0';
    for (const char *p = s->answer; p && *p; p++) /* a byte at a time: no read gets it whole */
        (void)send(c, p, 1, MSG_NOSIGNAL);
    if (!s->answer)
        (void)recv(c, s->request + n, 1, 0); /* until the client gives up */
    close(c);
    return NULL;
}

static void _server_start(struct server *s, const char *answer)
{
    *s = (struct server){.answer = answer};
    (void)snprintf(s->dir, sizeof(s->dir), "/tmp/sl-ctl-XXXXXX");
    assert_non_null(mkdtemp(s->dir));
    (void)snprintf(s->path, sizeof(s->path), "%s/admin.sock", s->dir);
    struct sl_sockaddr sa = {.len = sizeof(sa.un)};
    sa.un.sun_family = AF_UNIX;
    memcpy(sa.un.sun_path, s->path, strlen(s->path) + 1);
    s->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(s->listener, &sa.sa, sa.len), 0);
    assert_int_equal(listen(s->listener, 1), 0);
    assert_int_equal(pthread_create(&s->thread, NULL, _serve, s), 0);
}

static void _server_stop(struct server *s)
{
    pthread_join(s->thread, NULL);
    close(s->listener);
    unlink(s->path);
    rmdir(s->dir);
}

#endif
