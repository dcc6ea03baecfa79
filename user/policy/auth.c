/* SPDX-License-Identifier: Apache-2.0 */
/* Compiling the providers of a policy: keys prepared, tables filled, mistakes told with their places. */
#include "policy/auth_priv.h"
#include "policy/identity_priv.h"
#include "policy/signer.h"

#include <errno.h>
#include <stdio.h>
#include <sys/random.h>

/* What the policy's own signers publish. A key that is no key was told where the signer stands. */
static int _sl_own_keys(struct sl_authenticator *a, struct sl_provider *p, struct sl_diag *diag)
{
    struct sl_diag told;
    SL_BUF struct sl_buf text = {0};
    sl_diag_init(&told);
    int r = sl_signer_jwks(p->cfg->jwt.signer, &told, &text);
    sl_diag_free(&told);
    if (r == 0)
        r = sl_jwks_parse(&a->jose, sl_buf_slice(&text), p->allowed, &p->cfg->pos, diag, &p->jwks);
    return r;
}

static int _sl_provider_init(struct sl_authenticator *a, size_t i, struct sl_diag *diag)
{
    struct sl_provider *p = &a->providers[i];
    const struct sl_auth *cfg = &a->snapshot->auths[i];
    p->cfg = cfg;
    p->index = (uint16_t)i;
    if (cfg->type == SL_AUTH_MTLS || cfg->type == SL_AUTH_INTROSPECTION || cfg->type == SL_AUTH_LDAP)
        return 0;
    if (cfg->type == SL_AUTH_BASIC)
        return sl_users_build(a->snapshot, cfg, diag, &p->users);
    if (cfg->type == SL_AUTH_KEY)
        return sl_keys_build(a->snapshot, cfg, diag, &p->keys);
    p->allowed = sl_jose_mask(&cfg->jwt.algorithms);
    if (cfg->jwt.remote.source)
        return 0; /* until sl_authenticator_set_keys */
    if (cfg->jwt.signer)
        return _sl_own_keys(a, p, diag);
    if (cfg->jwt.jwks.data.n)
        return sl_jwks_parse(&a->jose, cfg->jwt.jwks.data, p->allowed, &cfg->jwt.jwks.pos, diag, &p->jwks);
    return sl_jwks_secret(&a->jose, &cfg->jwt.secret, p->allowed, diag, &p->jwks);
}

bool sl_auth_is_identity_header(const struct sl_authenticator *a, struct sl_slice name)
{
    for (size_t i = 0; i < a->n_identity_headers; i++)
        if (sl_slice_ieq(a->identity_headers[i], name))
            return true;
    return false;
}

static void _sl_identity_header(struct sl_authenticator *a, struct sl_slice name)
{
    if (sl_auth_is_identity_header(a, name))
        return;
    a->identity_headers[a->n_identity_headers++] = name;
    a->identity_lengths |= 1ull << SL_MIN(name.n, (size_t)63);
}

/* Where upstreams look for the gateway's word a client's must not stand, on no route. Authorization is the
 * client's own elsewhere. */
static void _sl_token_header(struct sl_authenticator *a, const struct sl_upstream_auth *u)
{
    if (u->header.n && !sl_upstream_auth_is_bearer(u))
        _sl_identity_header(a, u->header);
}

static bool _sl_asks_for_certificates(const struct sl_snapshot *s)
{
    for (size_t i = 0; i < s->n_listeners; i++)
        if (s->listeners[i].tls.client_auth != SL_CLIENT_AUTH_NONE)
            return true;
    return false;
}

static int _sl_identity_headers(struct sl_authenticator *a)
{
    const struct sl_snapshot *s = a->snapshot;
    size_t n = 0;
    for (size_t i = 0; i < s->n_auths; i++)
        n += s->auths[i].jwt.n_claims_to_headers + s->auths[i].mtls.n_headers;
    a->identity_headers = calloc(n + s->n_routes + s->n_upstreams + 2, sizeof(*a->identity_headers));
    if (!a->identity_headers)
        return -ENOMEM;
    for (size_t i = 0; i < s->n_auths; i++) {
        for (size_t k = 0; k < s->auths[i].jwt.n_claims_to_headers; k++)
            _sl_identity_header(a, sl_slice_str(s->auths[i].jwt.claims_to_headers[k].header));
        for (size_t k = 0; k < s->auths[i].mtls.n_headers; k++)
            _sl_identity_header(a, sl_slice_str(s->auths[i].mtls.headers[k].header));
    }
    for (size_t i = 0; i < s->n_routes; i++)
        _sl_token_header(a, &s->routes[i].upstream_auth);
    for (size_t i = 0; i < s->n_upstreams; i++)
        _sl_token_header(a, &s->upstreams[i].upstream_auth);
    if (_sl_asks_for_certificates(s)) { /* RFC 9440 section 2.4 */
        _sl_identity_header(a, SL_S("Client-Cert"));
        _sl_identity_header(a, SL_S("Client-Cert-Chain"));
    }
    return 0;
}

/* Made once: what falls back to it costs a reference. */
static int _sl_anonymous(struct sl_authenticator *a)
{
    const struct sl_snapshot *s = a->snapshot;
    a->anonymous = calloc(s->n_routes + 1, sizeof(struct sl_identity *));
    if (!a->anonymous)
        return -ENOMEM;
    for (size_t i = 0; i < s->n_routes; i++)
        if (s->routes[i].anonymous && !(a->anonymous[i] = sl_identity_of_nobody(s->routes[i].anonymous)))
            return -ENOMEM;
    return 0;
}

/* jansson would open /dev/urandom for its hash seed, which a worker may not; a second call does nothing. */
static int _sl_seeds(struct sl_authenticator *a)
{
    struct {
        uint64_t cache;
        size_t json;
    } seed;
    if (getrandom(&seed, sizeof(seed), 0) != (ssize_t)sizeof(seed))
        return -EIO;
    json_object_seed(seed.json ? seed.json : 1);
    return sl_cache_init(&a->cache, seed.cache);
}

static void _sl_count_remote(const struct sl_snapshot *s, struct sl_diag *diag)
{
    size_t n = 0;
    for (size_t i = 0; i < s->n_auths; i++)
        if (s->auths[i].type == SL_AUTH_JWT && s->auths[i].jwt.remote.source && ++n == SL_REMOTE_MAX + 1)
            sl_diag_error(diag, &s->auths[i].pos, "more than %d auth providers fetch their keys",
                          SL_REMOTE_MAX);
}

static int _sl_providers(struct sl_authenticator *a, struct sl_diag *diag)
{
    const struct sl_snapshot *s = a->snapshot;
    int r = 0;
    if (s->n_auths > SL_PROVIDERS_OF_AUTH) {
        sl_diag_error(diag, &s->auths[0].pos, "more than %d auth providers", SL_PROVIDERS_OF_AUTH);
        return -EINVAL;
    }
    _sl_count_remote(s, diag);
    a->providers = calloc(s->n_auths + 1, sizeof(*a->providers));
    if (!a->providers)
        return -ENOMEM;
    for (size_t i = 0; r != -ENOMEM && i < s->n_auths; i++) {
        const int e = _sl_provider_init(a, i, diag);
        r = e < 0 ? e : r;
    }
    return r;
}

int sl_authenticator_new(const struct sl_snapshot *s, struct sl_diag *diag, struct sl_authenticator **out)
{
    struct sl_authenticator *a = calloc(1, sizeof(*a));
    if (!a)
        return -ENOMEM;
    a->snapshot = s;
    int r = sl_jose_init(&a->jose);
    if (r == 0)
        r = _sl_seeds(a);
    if (r == 0)
        r = _sl_identity_headers(a);
    if (r == 0)
        r = _sl_anonymous(a);
    if (r == 0)
        r = _sl_providers(a, diag);
    if (r < 0) {
        sl_authenticator_free(a);
        return r;
    }
    *out = a;
    return 0;
}

void sl_authenticator_free(struct sl_authenticator *a)
{
    if (!a)
        return;
    sl_cache_free(&a->cache);
    for (size_t i = 0; a->providers && i < a->snapshot->n_auths; i++) {
        sl_jwks_free(&a->providers[i].jwks);
        sl_keys_free(&a->providers[i].keys);
        sl_users_free(&a->providers[i].users);
    }
    for (size_t i = 0; a->anonymous && i < a->snapshot->n_routes; i++)
        sl_identity_unref(a->anonymous[i]);
    free(a->anonymous);
    free(a->providers);
    free(a->identity_headers);
    sl_jose_free(&a->jose);
    free(a);
}

/* ---- fetched keys */

static struct sl_provider *_sl_of_source(struct sl_authenticator *a, uint64_t source)
{
    for (size_t i = 0; i < a->snapshot->n_auths; i++)
        if (a->snapshot->auths[i].type == SL_AUTH_JWT && a->snapshot->auths[i].jwt.remote.source == source)
            return &a->providers[i];
    return NULL;
}

int sl_authenticator_set_keys(struct sl_authenticator *a, uint64_t source, struct sl_slice text)
{
    struct sl_provider *p = source ? _sl_of_source(a, source) : NULL;
    struct sl_jwks keys = {0};
    struct sl_diag diag;
    int r = 0;
    if (!p)
        return -ENOENT;
    sl_diag_init(&diag);
    if (text.n)
        r = sl_jwks_parse(&a->jose, text, p->allowed, NULL, &diag, &keys);
    sl_diag_free(&diag);
    if (r < 0)
        return r;
    sl_jwks_free(&p->jwks);
    p->jwks = keys;
    p->generation++;
    return 0;
}

size_t sl_auth_usable_keys(const struct sl_auth *provider, struct sl_slice text, char *why, size_t size)
{
    struct sl_jose j;
    struct sl_jwks keys = {0};
    struct sl_diag diag;
    sl_diag_init(&diag);
    int r = sl_jose_init(&j);
    if (r == 0) {
        r = sl_jwks_parse(&j, text, sl_jose_mask(&provider->jwt.algorithms), NULL, &diag, &keys);
        const size_t n = keys.n;
        sl_jwks_free(&keys);
        sl_jose_free(&j);
        if (r == 0) {
            sl_diag_free(&diag);
            return n;
        }
    }
    (void)snprintf(why, size, "%s", diag.n ? diag.v[diag.n - 1].text : strerror(-r));
    sl_diag_free(&diag);
    return 0;
}
