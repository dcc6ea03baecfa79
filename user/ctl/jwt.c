/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `sluicectl jwt verify`: one token against a key set, by the code that the gateway verifies with; needs no
 * daemon. A token is a secret for as long as it is valid, so it never stands in the arguments, which every
 * user of the host can read.
 */
#include "policy/jwt.h"
#include "base/io.h"
#include "ctl/ctl_priv.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define SL_JWT_INPUT  (64 * 1024) /* bytes of a token that are read: more is refused for its length anyway */
#define SL_JWKS_INPUT (1024 * 1024) /* of a key set: what sl_jwks_parse takes */

static int _sl_read_stdin(struct sl_buf *out)
{
    ssize_t n = 1;
    int r = sl_buf_reserve(out, SL_JWT_INPUT);
    while (r == 0 && n > 0 && sl_buf_len(out) < SL_JWT_INPUT) {
        n = read(STDIN_FILENO, out->base + out->end, SL_JWT_INPUT - sl_buf_len(out));
        if (n > 0)
            sl_buf_commit(out, (size_t)n);
        else if (n < 0 && errno == EINTR)
            n = 1;
        else if (n < 0)
            r = -errno;
    }
    return r;
}

static int _sl_read(const char *what, const char *path, size_t max, struct sl_buf *out)
{
    int r = strcmp(path, "-") == 0 ? _sl_read_stdin(out) : sl_read_file(path, max, out);
    return r < 0 ? sl_ctl_usage("jwt", "jwt: cannot read the %s %s: %s", what, path, strerror(-r)) : 0;
}

/* One line's end is the shell's, not the token's. */
static struct sl_slice _sl_line(struct sl_slice s)
{
    if (s.n && s.p[s.n - 1] == '\n')
        s.n--;
    if (s.n && s.p[s.n - 1] == '\r')
        s.n--;
    return s;
}

static int _sl_names(const char *list, struct sl_arena *a, struct sl_strings *out)
{
    struct sl_slice rest = sl_slice_str(list), name;
    out->v = sl_arena_alloc(a, (rest.n + 1) * sizeof(*out->v));
    if (!out->v)
        return sl_ctl_usage("jwt", "jwt: out of memory");
    while (sl_slice_next(&rest, ',', &name)) {
        if (!sl_jwt_is_algorithm(name))
            return sl_ctl_usage("jwt",
                                "jwt: \"" SL_SFMT "\" is no algorithm: RS256, ES256, EdDSA and so on are",
                                SL_SARG(name));
        out->v[out->n++] = name;
    }
    return 0;
}

static int _sl_accepted(const struct sl_ctl *ctl, struct sl_slice payload)
{
    SL_BUF struct sl_buf out = {0};
    if (ctl->json) {
        json_t *claims = json_loadb(payload.p, payload.n, JSON_REJECT_DUPLICATES, NULL);
        json_t *j = json_pack("{s:b, s:o*}", "verified", 1, "claims", claims);
        int r = sl_ctl_print_json(j);
        json_decref(j);
        return r;
    }
    if (sl_ctl_escape(&out, payload, true) < 0 || sl_buf_append(&out, "\n", 1) < 0)
        return SL_CTL_FAILED;
    return sl_ctl_print(&out, stdout);
}

static int _sl_refused(const struct sl_ctl *ctl, const char *why)
{
    if (ctl->json) {
        json_t *j = json_pack("{s:b, s:s}", "verified", 0, "reason", why);
        (void)sl_ctl_print_json(j);
        json_decref(j);
    } else {
        (void)fprintf(stderr, "sluicectl: refused: %s\n", why);
    }
    return SL_CTL_FAILED;
}

static int _sl_verify(const struct sl_ctl *ctl, const char *jwks, const char *token, const char *algorithms,
                      struct sl_arena *a)
{
    SL_BUF struct sl_buf keys = {0};
    SL_BUF struct sl_buf text = {0};
    struct sl_strings names = {0};
    struct sl_slice payload = SL_SLICE_NUL;
    int r = _sl_names(algorithms, a, &names);
    if (r == 0)
        r = _sl_read("key set", jwks, SL_JWKS_INPUT, &keys);
    if (r == 0)
        r = _sl_read("token", token, SL_JWT_INPUT, &text);
    if (r)
        return r;
    const char *wrong =
        sl_jwt_verify_jwks(sl_buf_slice(&keys), _sl_line(sl_buf_slice(&text)), &names, a, &payload);
    return wrong ? _sl_refused(ctl, wrong) : _sl_accepted(ctl, payload);
}

int sl_ctl_jwt(const struct sl_ctl *ctl, int argc, char **argv)
{
    const char *jwks = NULL, *token = NULL, *algorithms = SL_JWT_ALGORITHMS, *verb[1];
    size_t n;
    const struct sl_ctl_option options[] = {
        {"--jwks", &jwks, NULL}, {"--token", &token, NULL}, {"--algorithms", &algorithms, NULL}};
    if (sl_ctl_options(argv[0], argc, argv, options, SL_ARRAY_LEN(options), verb, 1, &n))
        return SL_CTL_USAGE;
    if (n == 0 || strcmp(verb[0], "verify") != 0)
        return sl_ctl_usage(argv[0],
                            "jwt: what is to be done with the token? jwt verify checks its signature");
    if (!jwks || !token)
        return sl_ctl_usage(argv[0], "jwt verify: %s is missing", jwks ? "--token" : "--jwks");
    if (strcmp(jwks, "-") == 0)
        return sl_ctl_usage(argv[0], "jwt verify: the key set is a file; standard input is the token's");
    struct sl_arena a;
    sl_arena_init(&a, 0);
    int r = _sl_verify(ctl, jwks, token, algorithms, &a);
    sl_arena_free(&a);
    return r;
}
