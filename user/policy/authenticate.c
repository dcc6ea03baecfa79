/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request: its credentials are found, judged by the first provider of the route that accepts them, and
 * taken out. The hot path is a token seen before: one SHA-256, one row of the cache, one reference.
 */
#include "base/clock.h"
#include "policy/auth_priv.h"
#include "policy/credential_priv.h"
#include "policy/directory_priv.h"
#include "policy/identity_priv.h"

#include <openssl/crypto.h>

#define SL_CERT_CACHE_S 3600 /* and never beyond the certificate's own end */

struct sl_attempt {
    struct sl_authenticator *a;
    const struct sl_auth_again *again;
    struct sl_slice method;
    struct sl_arena *arena;
    uint64_t now;
    struct sl_slice hashed;  /* the credential that hash is of */
    unsigned char hash[32];  /* SHA-256 */
    unsigned tokens;         /* providers of the route that found a token */
    struct sl_slice claimed; /* the token that is one of a provider with keys, for good or bad */
    bool password_refused, directory_silent;
    bool any; /* some credential is there */
    const struct sl_client_cert *cert;
    const char *cert_error;
    enum sl_token_error error; /* of the provider that got furthest */
    struct sl_auth_outcome out;
};

static bool _sl_hash(struct sl_attempt *at, struct sl_slice credential)
{
    if (at->hashed.p == credential.p && at->hashed.n == credential.n)
        return true;
    at->hashed = credential;
    if (sl_jose_sha256(&at->a->jose, credential, at->hash) == 0)
        return true;
    at->hashed = SL_SLICE_NUL;
    return false;
}

/* ---- tokens */

/* With several token providers on a route, iss says whose the token claims to be: the others need not spend a
 * signature on it. Nothing else of the claims is used before they are verified. */
static bool _sl_is_for(const struct sl_attempt *at, const struct sl_provider *p, const struct sl_token *t)
{
    if (at->tokens < 2 || !p->cfg->jwt.issuer)
        return true;
    SL_JSON json_t *claims = sl_token_claims(t, at->arena);
    return sl_slice_eq(sl_json_string(claims, "iss"), sl_slice_str(p->cfg->jwt.issuer));
}

/* Time makes a token good (nbf) and memory comes back: all other refusals are for ever. */
static void _sl_remember_refusal(struct sl_attempt *at, const struct sl_provider *p, enum sl_token_error e)
{
    if (e == SL_TOKEN_NOT_YET || e == SL_TOKEN_MEMORY || e < SL_TOKEN_SIGNATURE)
        return;
    sl_cache_refuse(&at->a->cache, at->hash, sl_provider_id(p), at->now + SL_REFUSED_SECONDS, (uint8_t)e);
}

void sl_token_remember(struct sl_authenticator *a, const struct sl_provider *p, struct sl_slice token,
                       uint64_t now, struct sl_identity *id)
{
    const uint64_t cap = p->cfg->jwt.cache / SL_NS_PER_SEC, skew = p->cfg->jwt.clock_skew / SL_NS_PER_SEC;
    uint64_t until = now + cap;
    if (!cap)
        return;
    if (id->expires_wall_s)
        until = SL_MIN(until, id->expires_wall_s + skew);
    sl_cache_keep(&a->cache, token, sl_provider_id(p), now, until, id);
}

static enum sl_token_error _sl_verify(struct sl_attempt *at, const struct sl_provider *p,
                                      struct sl_slice text)
{
    struct sl_token t;
    uint64_t exp;
    bool checked = false;
    enum sl_token_error e = sl_token_parse(text, at->arena, &t);
    if (e == SL_TOKEN_OK && !_sl_is_for(at, p, &t))
        e = SL_TOKEN_ISSUER;
    if (e == SL_TOKEN_OK && !sl_token_is_type(&t, p->cfg->jwt.typ))
        e = SL_TOKEN_TYPE;
    if (e == SL_TOKEN_OK && !p->jwks.n)
        e = SL_TOKEN_NO_KEYS;
    if (e == SL_TOKEN_OK)
        e = sl_token_verify(&at->a->jose, &p->jwks, p->allowed, &t, &checked);
    at->out.verified |= checked;
    if (e != SL_TOKEN_OK)
        return e;
    SL_JSON json_t *claims = sl_token_claims(&t, at->arena);
    e = claims ? sl_token_check(p->cfg, claims, at->now, &exp) : SL_TOKEN_CLAIMS;
    if (e != SL_TOKEN_OK)
        return e;
    at->out.identity = sl_identity_of_token(at->a->snapshot, p->cfg, SL_TAKE_PTR(claims), at->hash, exp);
    if (!at->out.identity)
        return SL_TOKEN_MEMORY;
    sl_token_remember(at->a, p, text, at->now, at->out.identity);
    return SL_TOKEN_OK;
}

/* RFC 8705 section 3: stolen, it is worth nothing without the certificate's key. Asked each time, since the
 * same token may come over another connection. */
static enum sl_token_error _sl_bound(struct sl_attempt *at)
{
    const struct sl_identity *id = at->out.identity;
    if (!id->bound || (at->cert && at->cert->not_after >= at->now &&
                       CRYPTO_memcmp(at->cert->sha256, id->bound_to, sizeof(id->bound_to)) == 0))
        return SL_TOKEN_OK;
    sl_identity_unref(SL_TAKE_PTR(at->out.identity));
    at->out.cached = false;
    return SL_TOKEN_UNBOUND;
}

static bool _sl_is_verified(struct sl_attempt *at, const struct sl_provider *p, struct sl_slice key)
{
    struct sl_identity *known = sl_cache_verified(&at->a->cache, key, sl_provider_id(p), at->now);
    if (!known)
        return false;
    at->out.identity = sl_identity_ref(known);
    at->out.cached = true;
    return true;
}

/* What is known of it: true with *e, which is OK where there is an identity. */
static bool _sl_is_known(struct sl_attempt *at, const struct sl_provider *p, const struct sl_credential *c,
                         enum sl_token_error *e)
{
    *e = c->bad ? SL_TOKEN_DOUBLED : c->value.n > SL_TOKEN_MAX ? SL_TOKEN_TOO_LONG : SL_TOKEN_OK;
    if (*e != SL_TOKEN_OK)
        return true;
    if (_sl_is_verified(at, p, c->value)) {
        *e = _sl_bound(at);
        return true;
    }
    *e = _sl_hash(at, c->value)
             ? (enum sl_token_error)sl_cache_refused(&at->a->cache, at->hash, sl_provider_id(p), at->now)
             : SL_TOKEN_MEMORY;
    return *e != SL_TOKEN_OK;
}

static enum sl_token_error _sl_judge_token(struct sl_attempt *at, const struct sl_provider *p,
                                           const struct sl_credential *c)
{
    enum sl_token_error known;
    if (_sl_is_known(at, p, c, &known))
        return known;
    const enum sl_token_error e = _sl_verify(at, p, c->value);
    if (e == SL_TOKEN_OK)
        return _sl_bound(at);
    _sl_remember_refusal(at, p, e);
    return e;
}

/* ---- tokens that a server is asked about */

/* Whether what the request was parked for was this credential. */
static bool _sl_is_of(const struct sl_auth_again *v, const struct sl_provider *p,
                      const unsigned char hash[32])
{
    return v->provider == sl_provider_id(p) && CRYPTO_memcmp(v->hash, hash, 32) == 0;
}

static void _sl_want_errand(struct sl_attempt *at, const struct sl_provider *p, struct sl_slice credential,
                            const unsigned char hash[32])
{
    struct sl_auth_errand *e = at->out.errand || at->again->errands >= SL_AUTH_ERRANDS
                                   ? NULL
                                   : sl_arena_zalloc(at->arena, sizeof(*e));
    if (!e)
        return;
    *e = (struct sl_auth_errand){.auth = p->cfg, .credential = credential, .provider = sl_provider_id(p)};
    memcpy(e->hash, hash, sizeof(e->hash));
    at->out.errand = e;
}

static enum sl_token_error _sl_judge_opaque(struct sl_attempt *at, const struct sl_provider *p,
                                            const struct sl_credential *c)
{
    enum sl_token_error known;
    const struct sl_auth_again *v = at->again;
    if (_sl_is_known(at, p, c, &known))
        return known;
    if (v->errands && _sl_is_of(v, p, at->hash)) {
        at->out.identity = v->identity ? sl_identity_ref(v->identity) : NULL;
        return v->identity ? _sl_bound(at) : (enum sl_token_error)v->error;
    }
    _sl_want_errand(at, p, c->value, at->hash);
    return SL_TOKEN_UNAVAILABLE;
}

/* ---- keys */

static void _sl_judge_key(struct sl_attempt *at, const struct sl_provider *p, const struct sl_credential *c)
{
    struct sl_identity *id = NULL;
    if (!c->bad && c->value.n <= SL_TOKEN_MAX && _sl_hash(at, c->value))
        id = sl_keys_find(&p->keys, at->hash);
    if (id)
        at->out.identity = sl_identity_ref(id);
}

/* ---- passwords */

/* Under which a credential is remembered: salted, since what memory shows must not be tried out elsewhere. */
static bool _sl_password_hash(struct sl_attempt *at, struct sl_slice text, unsigned char out[32])
{
    const uint64_t salt = at->a->cache.seed;
    char *both = sl_arena_alloc(at->arena, sizeof(salt) + text.n);
    if (!both)
        return false;
    memcpy(both, &salt, sizeof(salt));
    memcpy(both + sizeof(salt), text.p, text.n);
    return sl_jose_sha256(&at->a->jose, sl_slice(both, sizeof(salt) + text.n), out) == 0;
}

static struct sl_slice _sl_as_key(const unsigned char hash[32])
{
    return sl_slice((const char *)hash, 32);
}

/* Who is unknown costs what a known one with a wrong password does, so that none can be told from the other.
 */
static void _sl_want_hash(struct sl_attempt *at, const struct sl_provider *p, const struct sl_user *user,
                          struct sl_slice password, const unsigned char hash[32])
{
    struct sl_password_job *job = sl_arena_zalloc(at->arena, sizeof(*job));
    if (!job || p->users.n == 0)
        return;
    *job = (struct sl_password_job){.setting = user ? user->hash : p->users.v[0].hash,
                                    .password = password,
                                    .user = user,
                                    .provider = sl_provider_id(p)};
    memcpy(job->hash, hash, sizeof(job->hash));
    at->out.job = at->out.job ? at->out.job : job;
}

static void _sl_judge_password(struct sl_attempt *at, const struct sl_provider *p,
                               const struct sl_credential *c)
{
    struct sl_slice name, password;
    unsigned char hash[32];
    at->password_refused = true;
    if (c->bad || sl_basic_decode(at->arena, c->value, &name, &password) < 0 ||
        !_sl_password_hash(at, c->value, hash))
        return;
    const struct sl_user *user = sl_users_find(&p->users, name);
    if (_sl_is_verified(at, p, _sl_as_key(hash)))
        return;
    const struct sl_auth_again *v = at->again;
    if (v->known && _sl_is_of(v, p, hash)) {
        if (v->ok && user)
            at->out.identity = sl_identity_ref(user->identity);
        return;
    }
    if (!sl_cache_refused(&at->a->cache, hash, sl_provider_id(p), at->now))
        _sl_want_hash(at, p, user, password, hash);
}

void sl_authenticator_settle(struct sl_authenticator *a, const struct sl_auth_again *v, uint64_t now)
{
    const struct sl_provider *p = &a->providers[v->provider & 0xffff];
    const struct sl_user *user = v->user;
    const uint64_t cap = p->cfg->basic.cache / SL_NS_PER_SEC;
    if (v->ok && user && cap)
        sl_cache_keep(&a->cache, _sl_as_key(v->hash), v->provider, now, now + cap, user->identity);
    if (!v->ok || !user)
        sl_cache_refuse(&a->cache, v->hash, v->provider, now + SL_REFUSED_SECONDS, 1);
}

/* ---- passwords that a directory is asked about */

static enum sl_directory_error _sl_ask_directory(struct sl_attempt *at, const struct sl_provider *p,
                                                 struct sl_slice question, const unsigned char hash[32])
{
    const struct sl_auth_again *v = at->again;
    if (_sl_is_verified(at, p, _sl_as_key(hash)))
        return SL_DIRECTORY_OK;
    if (v->errands && _sl_is_of(v, p, hash)) {
        at->out.identity = v->identity ? sl_identity_ref(v->identity) : NULL;
        return (enum sl_directory_error)v->error;
    }
    const uint8_t refused = sl_cache_refused(&at->a->cache, hash, sl_provider_id(p), at->now);
    if (refused)
        return (enum sl_directory_error)refused;
    _sl_want_errand(at, p, question, hash);
    return SL_DIRECTORY_SILENT;
}

static void _sl_judge_user(struct sl_attempt *at, const struct sl_provider *p, const struct sl_credential *c)
{
    struct sl_slice question;
    unsigned char hash[32];
    enum sl_directory_error e = SL_DIRECTORY_REFUSED;
    if (!c->bad && sl_directory_question(at->arena, c->value, &question) &&
        _sl_password_hash(at, c->value, hash))
        e = _sl_ask_directory(at, p, question, hash);
    at->password_refused |= e == SL_DIRECTORY_REFUSED;
    at->directory_silent |= e == SL_DIRECTORY_SILENT;
}

/* ---- certificates */

/* Its listener has verified it; what it says is kept beside the tokens, by its SHA-256. */
static void _sl_judge_certificate(struct sl_attempt *at, const struct sl_provider *p)
{
    const struct sl_slice key = sl_slice((const char *)at->cert->sha256, sizeof(at->cert->sha256));
    struct sl_identity *known = sl_cache_verified(&at->a->cache, key, p->index, at->now);
    at->any = true;
    if (at->cert->not_after < at->now) {
        at->cert_error = "the client's certificate has expired";
        return;
    }
    at->out.identity = known ? sl_identity_ref(known)
                             : sl_identity_of_cert(at->a->snapshot, p->cfg, at->cert, &at->cert_error);
    if (at->out.identity && !known)
        sl_cache_keep(&at->a->cache, key, p->index, at->now, at->now + SL_CERT_CACHE_S, at->out.identity);
}

/* ---- a route */

static void _sl_judge(struct sl_attempt *at, const struct sl_auth *auth, const struct sl_credential *c)
{
    const struct sl_provider *p = &at->a->providers[auth - at->a->snapshot->auths];
    if (auth->type == SL_AUTH_MTLS && at->cert)
        _sl_judge_certificate(at, p);
    if (!c->value.n && !c->bad)
        return;
    at->any = true;
    if (auth->type == SL_AUTH_KEY) {
        _sl_judge_key(at, p, c);
        return;
    }
    if (auth->type == SL_AUTH_BASIC) {
        _sl_judge_password(at, p, c);
        return;
    }
    if (auth->type == SL_AUTH_LDAP) {
        _sl_judge_user(at, p, c);
        return;
    }
    const bool opaque = auth->type == SL_AUTH_INTROSPECTION;
    const enum sl_token_error e = opaque ? _sl_judge_opaque(at, p, c) : _sl_judge_token(at, p, c);
    at->error = SL_MAX(at->error, e);
    if (at->out.identity)
        at->out.token = c->value;
    if (!opaque && e != SL_TOKEN_MALFORMED && e != SL_TOKEN_HEADER && e != SL_TOKEN_ISSUER)
        at->claimed = c->value;
    if (e == SL_TOKEN_KEY || e == SL_TOKEN_NO_KEYS) /* where they are fetched, its key may be there by now */
        at->out.source = at->out.source ? at->out.source : auth->jwt.remote.source;
}

/* A token that its own provider has keys for is not shown to another server, whatever was wrong with it. */
static bool _sl_is_opaque(const struct sl_attempt *at, const struct sl_auth *auth,
                          const struct sl_credential *c)
{
    return auth->type == SL_AUTH_INTROSPECTION && (!c->value.n || !sl_slice_eq(c->value, at->claimed));
}

/* false: memory is out. */
static bool _sl_try_providers(struct sl_attempt *at, const struct sl_route *route,
                              const struct sl_request *req)
{
    struct sl_credential *c = sl_arena_alloc(at->arena, route->n_auth * sizeof(*c));
    if (!c)
        return false;
    for (size_t i = 0; i < route->n_auth; i++) {
        c[i] = sl_credential_find(route->auth[i], req, at->arena);
        at->tokens += sl_auth_takes_tokens(route->auth[i]) && c[i].value.n;
    }
    for (size_t i = 0; i < route->n_auth && !at->out.identity; i++)
        if (route->auth[i]->type != SL_AUTH_INTROSPECTION)
            _sl_judge(at, route->auth[i], &c[i]);
    for (size_t i = 0; i < route->n_auth && !at->out.identity; i++)
        if (_sl_is_opaque(at, route->auth[i], &c[i]))
            _sl_judge(at, route->auth[i], &c[i]);
    return true;
}

/* Also where it is public: what was said wrongly is told, since falling back to nobody would hide the fault.
 */
static enum sl_auth_result _sl_result(const struct sl_attempt *at, const struct sl_route *route)
{
    if (at->out.identity)
        return sl_authorize(route, at->method, at->out.identity);
    if (at->any)
        return at->error == SL_TOKEN_NO_KEYS       ? SL_AUTH_NO_KEYS
               : at->error == SL_TOKEN_UNAVAILABLE ? SL_AUTH_UNAVAILABLE
               : at->directory_silent              ? SL_AUTH_UNAVAILABLE
               : at->error != SL_TOKEN_OK          ? SL_AUTH_INVALID_TOKEN
               : at->password_refused              ? SL_AUTH_INVALID_PASSWORD
               : at->cert_error                    ? SL_AUTH_INVALID_CERTIFICATE
                                                   : SL_AUTH_INVALID_KEY;
    return route->is_public && !sl_needs_identity(route, at->method) ? SL_AUTH_OK : SL_AUTH_NO_CREDENTIALS;
}

/* Only where nothing was said at all, and that consumer has what the route requires: else the client is asked
 * for credentials, which may have it. */
static void _sl_fall_back(struct sl_attempt *at, const struct sl_route *route)
{
    struct sl_identity *id = at->a->anonymous[route - at->a->snapshot->routes];
    if (!id || at->any || at->out.identity || sl_authorize(route, at->method, id) != SL_AUTH_OK)
        return;
    at->out.identity = sl_identity_ref(id);
    at->out.anonymous = true;
}

static void _sl_tell(struct sl_attempt *at, const struct sl_route *route)
{
    struct sl_auth_outcome *o = &at->out;
    if (o->result == SL_AUTH_INVALID_TOKEN) {
        o->detail = sl_token_error_text(at->error);
        o->token_reason = (uint8_t)at->error;
    }
    if (o->result == SL_AUTH_INVALID_KEY)
        o->detail = "the key is not known";
    if (o->result == SL_AUTH_INVALID_PASSWORD)
        o->detail = "the user or the password is wrong";
    if (o->result == SL_AUTH_NO_KEYS || o->result == SL_AUTH_UNAVAILABLE)
        o->detail = at->error == SL_TOKEN_NO_KEYS || at->error == SL_TOKEN_UNAVAILABLE
                        ? sl_token_error_text(at->error)
                        : "the directory cannot be asked now";
    if (o->result == SL_AUTH_INVALID_CERTIFICATE)
        o->detail = at->cert_error;
    if (o->result == SL_AUTH_INVALID_PASSWORD || o->result == SL_AUTH_INVALID_CERTIFICATE ||
        o->result == SL_AUTH_NO_CREDENTIALS || o->result == SL_AUTH_INVALID_TOKEN ||
        o->result == SL_AUTH_INVALID_KEY)
        o->challenge = sl_auth_challenge(route, o->result, o->detail, at->arena);
}

/* ---- what the upstream sees */

void sl_auth_clean(const struct sl_authenticator *a, struct sl_headers *h)
{
    bool some = false;
    for (uint32_t i = 0; i < h->n && !some; i++)
        some = a->identity_lengths >> SL_MIN(h->v[i].name.n, (size_t)63) & 1;
    for (size_t i = 0; some && i < a->n_identity_headers; i++)
        (void)sl_headers_remove(h, a->identity_headers[i]);
}

static bool _sl_clean(const struct sl_authenticator *a, const struct sl_route *route, struct sl_request *req,
                      struct sl_arena *arena)
{
    sl_auth_clean(a, &req->headers);
    for (size_t i = 0; i < route->n_auth; i++)
        if (sl_credential_hide(route->auth[i], req, arena) < 0)
            return false;
    return true;
}

static bool _sl_introduce(const struct sl_identity *id, struct sl_request *req, struct sl_arena *arena)
{
    for (size_t i = 0; i < id->headers.n; i++)
        if (sl_headers_add(&req->headers, arena, id->headers.v[i].name, id->headers.v[i].value) < 0)
            return false;
    return true;
}

struct sl_auth_outcome sl_authenticate(struct sl_authenticator *a, const struct sl_route *route,
                                       struct sl_request *req, struct sl_arena *arena, uint64_t now_wall_s,
                                       const struct sl_auth_again *again)
{
    struct sl_attempt at = {.a = a,
                            .arena = arena,
                            .now = now_wall_s,
                            .again = again,
                            .method = req->method_name,
                            .cert = req->client_cert};
    bool ok = _sl_try_providers(&at, route, req);
    if (again->sought)
        at.out.source = 0;
    if (again->known)
        at.out.job = NULL; /* hashed once, whatever it was */
    if (ok && !at.out.identity && (at.out.source || at.out.job || at.out.errand)) {
        at.out.result = SL_AUTH_WAIT;
        return at.out;
    }
    if (ok)
        _sl_fall_back(&at, route);
    at.out.result = _sl_result(&at, route);
    _sl_tell(&at, route);
    ok = ok && _sl_clean(a, route, req, arena);
    ok = ok && (!at.out.identity || _sl_introduce(at.out.identity, req, arena));
    if (!ok) { /* nothing may pass half cleaned */
        at.out.result = SL_AUTH_INVALID_TOKEN;
        at.out.detail = sl_token_error_text(SL_TOKEN_MEMORY);
        at.out.token_reason = SL_TOKEN_MEMORY;
    }
    return at.out;
}
