/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/b64_priv.h"
#include "policy/identity_priv.h"
#include "policy/password_priv.h"

#include <errno.h>
#include <openssl/evp.h>

static int _sl_add(struct sl_users *out, const struct sl_auth *provider, const struct sl_consumer *c,
                   const struct sl_name_value *user, struct sl_diag *diag)
{
    struct sl_user *u = &out->v[out->n];
    unsigned char hash[32];
    if (EVP_Digest(user->name.p, user->name.n, hash, NULL, EVP_sha256(), NULL) != 1)
        return -ENOMEM;
    *u = (struct sl_user){.name = user->name, .hash = user->value.p};
    int r = sl_map_add(&out->by_name, u->name, u);
    if (r == -EEXIST) {
        const struct sl_user *first = sl_map_get(&out->by_name, u->name);
        sl_diag_error(diag, &c->pos,
                      "consumers \"%s\" and \"%s\" both have the user \"" SL_SFMT "\": which of them is it?",
                      first->identity->consumer->name, c->name, SL_SARG(u->name));
        return -EINVAL;
    }
    if (r < 0)
        return r;
    out->n++;
    u->identity = sl_identity_of_key(provider, c, hash);
    return u->identity ? 0 : -ENOMEM;
}

int sl_users_build(const struct sl_snapshot *s, const struct sl_auth *provider, struct sl_diag *diag,
                   struct sl_users *out)
{
    size_t n = 0;
    int r = 0;
    *out = (struct sl_users){0};
    for (size_t i = 0; i < s->n_consumers; i++)
        n += s->consumers[i].users.n;
    out->v = calloc(n + 1, sizeof(*out->v));
    if (!out->v)
        return -ENOMEM;
    for (size_t i = 0; r != -ENOMEM && i < s->n_consumers; i++)
        for (size_t k = 0; r != -ENOMEM && k < s->consumers[i].users.n; k++) {
            const int e = _sl_add(out, provider, &s->consumers[i], &s->consumers[i].users.v[k], diag);
            r = e < 0 ? e : r;
        }
    if (r < 0)
        sl_users_free(out);
    return r;
}

void sl_users_free(struct sl_users *u)
{
    for (size_t i = 0; i < u->n; i++)
        sl_identity_unref(u->v[i].identity);
    sl_map_free(&u->by_name);
    free(u->v);
    *u = (struct sl_users){0};
}

const struct sl_user *sl_users_find(const struct sl_users *u, struct sl_slice name)
{
    return sl_map_get(&u->by_name, name);
}

/* Base64 with padding (RFC 4648 section 4), in the alphabet that the strict decoder knows. */
static int _sl_decode(struct sl_arena *a, struct sl_slice text, struct sl_slice *out)
{
    char *copy = sl_arena_strdup(a, text);
    size_t n = text.n;
    if (!copy)
        return -ENOMEM;
    if (n == 0 || n % 4 || memchr(copy, '-', n) || memchr(copy, '_', n))
        return -EINVAL;
    for (unsigned i = 0; i < 2 && copy[n - 1] == '='; i++)
        n--;
    for (size_t i = 0; i < n; i++)
        copy[i] = copy[i] == '+' ? '-' : copy[i] == '/' ? '_' : copy[i];
    return sl_b64_decode_arena(a, sl_slice(copy, n), out);
}

int sl_basic_decode(struct sl_arena *a, struct sl_slice text, struct sl_slice *user,
                    struct sl_slice *password)
{
    struct sl_slice both;
    int r = text.n > 2048 ? -EINVAL : _sl_decode(a, text, &both);
    const ssize_t colon = r < 0 ? -1 : sl_slice_chr(both, ':');
    if (r < 0 || colon < 0)
        return r < 0 ? r : -EINVAL;
    *user = sl_slice(both.p, (size_t)colon);
    *password = sl_slice(both.p + colon + 1, both.n - (size_t)colon - 1);
    /* crypt(3) ends at a NUL: what stands behind one would not count */
    return memchr(both.p, '\0', both.n) || password->n > SL_PASSWORD_MAX ? -EINVAL : 0;
}
