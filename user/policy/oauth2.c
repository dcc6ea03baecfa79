/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/oauth2.h"

#include "base/buf.h"
#include "base/clock.h"
#include "http/uri.h"
#include "policy/claims_priv.h"
#include "policy/credential_priv.h"
#include "policy/form.h"
#include "policy/identity_priv.h"
#include "policy/password_priv.h"

#include <errno.h>
#include <openssl/crypto.h>

static const struct {
    const char *name;
    unsigned status;
} _sl_errors[SL_OAUTH2_ERROR_COUNT] = {{"", 200},
#define SL_X(e, name, status) {name, status},
                                       SL_OAUTH2_ERRORS(SL_X)
#undef SL_X
};

const char *sl_oauth2_error_name(unsigned e)
{
    return e < SL_OAUTH2_ERROR_COUNT ? _sl_errors[e].name : NULL;
}

unsigned sl_oauth2_error_status(enum sl_oauth2_error e)
{
    return _sl_errors[e].status;
}

/* ---- clients */

int sl_oauth2_clients_build(const struct sl_snapshot *s, struct sl_oauth2_clients *out)
{
    size_t n = 0;
    int r = 0;
    for (size_t i = 0; i < s->n_consumers; i++)
        n += s->consumers[i].n_oauth2;
    *out = (struct sl_oauth2_clients){.v = calloc(n + 1, sizeof(*out->v))};
    if (!out->v)
        return -ENOMEM;
    n = 0;
    for (size_t i = 0; r == 0 && i < s->n_consumers; i++)
        for (size_t k = 0; r == 0 && k < s->consumers[i].n_oauth2; k++) {
            const struct sl_oauth2_client *c = &s->consumers[i].oauth2[k];
            out->v[n] = (struct sl_oauth2_known){c, &s->consumers[i]};
            r = sl_map_add(&out->by_id, c->client_id, &out->v[n++]);
        }
    return r;
}

void sl_oauth2_clients_free(struct sl_oauth2_clients *c)
{
    sl_map_free(&c->by_id);
    free(c->v);
    *c = (struct sl_oauth2_clients){0};
}

struct sl_identity *sl_oauth2_identity(const struct sl_consumer *consumer)
{
    return sl_identity_of_nobody(consumer);
}

/* ---- a request */

struct sl_asking {
    struct sl_minter *minter;
    const struct sl_oauth2 *cfg;
    const struct sl_request *req;
    struct sl_arena *arena;
    struct sl_form form;
    struct sl_slice id, secret;
    const struct sl_oauth2_known *known;
    struct sl_strings scopes; /* granted */
    struct sl_oauth2_outcome *out;
};

/* All that judge a part of it return 0 where it is right, else -errno: -EINVAL with the error told. */
static int _sl_refuse(struct sl_asking *q, enum sl_oauth2_error e, const char *detail)
{
    q->out->error = e;
    q->out->detail = detail;
    return -EINVAL;
}

static bool _sl_is_form(const struct sl_request *req)
{
    const struct sl_header *h = sl_headers_get(&req->headers, SL_HDR_CONTENT_TYPE);
    if (!h)
        return false;
    struct sl_slice type = h->value;
    const ssize_t end = sl_slice_chr(type, ';');
    if (end >= 0)
        type.n = (size_t)end;
    return sl_slice_ieq(sl_slice_trim(type), SL_S("application/x-www-form-urlencoded"));
}

/* RFC 6749 section 3.2; section 2.3.1: parameters are never part of the URI. */
static int _sl_read_form(struct sl_asking *q, struct sl_slice body)
{
    if (q->req->query.n)
        return _sl_refuse(q, SL_OAUTH2_INVALID_REQUEST, "parameters stand in the body, not in the URI");
    if (!_sl_is_form(q->req))
        return _sl_refuse(q, SL_OAUTH2_INVALID_REQUEST, "the body is no application/x-www-form-urlencoded");
    switch (sl_form_parse(q->arena, body, &q->form)) {
    case 0:
        return 0;
    case -ENOMEM:
        return -ENOMEM;
    case -EEXIST:
        return _sl_refuse(q, SL_OAUTH2_INVALID_REQUEST, "a parameter stands in the body twice");
    case -E2BIG:
        return _sl_refuse(q, SL_OAUTH2_INVALID_REQUEST, "the body has too many parameters");
    default:
        return _sl_refuse(q, SL_OAUTH2_INVALID_REQUEST,
                          "the body is no form: a '%' is not followed by two "
                          "hexadecimal digits");
    }
}

/* RFC 6749 section 2.3.1: both parts are form-encoded before they are put together. */
static int _sl_from_basic(struct sl_asking *q, struct sl_slice value)
{
    struct sl_slice text, user, password;
    if (!sl_credential_is_basic(value, &text))
        return _sl_refuse(q, SL_OAUTH2_INVALID_CLIENT, "clients show themselves by Basic, or in the body");
    int r = sl_basic_decode(q->arena, text, &user, &password);
    if (r == 0)
        r = sl_uri_decode(q->arena, user, true, &q->id);
    if (r == 0)
        r = sl_uri_decode(q->arena, password, true, &q->secret);
    return r == -EINVAL ? _sl_refuse(q, SL_OAUTH2_INVALID_CLIENT, "the Authorization header cannot be read")
                        : r;
}

/* RFC 6749 section 2.3: one way of showing oneself in a request, not two. */
static int _sl_read_client(struct sl_asking *q)
{
    const struct sl_header *h = NULL;
    for (uint32_t i = 0; i < q->req->headers.n; i++) {
        const struct sl_header *one = &q->req->headers.v[i];
        if (one->removed || one->id != SL_HDR_AUTHORIZATION)
            continue;
        if (h)
            return _sl_refuse(q, SL_OAUTH2_INVALID_REQUEST, "Authorization stands in the request twice");
        h = one;
    }
    q->id = sl_form_get(&q->form, SL_S("client_id"));
    q->secret = sl_form_get(&q->form, SL_S("client_secret"));
    if (!h)
        return 0;
    const struct sl_slice id = q->id;
    if (q->secret.n)
        return _sl_refuse(q, SL_OAUTH2_INVALID_REQUEST,
                          "the client shows itself in Authorization and in the body: once is right");
    const int r = _sl_from_basic(q, h->value);
    if (r == 0 && id.n && !sl_slice_eq(id, q->id))
        return _sl_refuse(q, SL_OAUTH2_INVALID_REQUEST, "client_id is not the one of Authorization");
    return r;
}

/* A client that nobody knows costs what a wrong secret does. */
static int _sl_judge_client(struct sl_asking *q, const struct sl_oauth2_clients *clients)
{
    static const unsigned char nobody[32];
    unsigned char hash[32];
    if (!q->id.n || !q->secret.n)
        return _sl_refuse(q, SL_OAUTH2_INVALID_CLIENT, "client_id and client_secret are needed");
    q->known = sl_map_get(&clients->by_id, q->id);
    int r = sl_minter_hash(q->minter, q->secret, hash);
    if (r < 0)
        return r;
    const void *want = q->known ? (const void *)q->known->client->secret_hash.p : nobody;
    const bool same = CRYPTO_memcmp(hash, want, sizeof(hash)) == 0;
    if (!same || !q->known)
        return _sl_refuse(q, SL_OAUTH2_INVALID_CLIENT, "the client is not known, or its secret is wrong");
    q->out->consumer = q->known->consumer;
    return 0;
}

static int _sl_judge_grant(struct sl_asking *q)
{
    const struct sl_slice grant = sl_form_get(&q->form, SL_S("grant_type"));
    if (!grant.n)
        return _sl_refuse(q, SL_OAUTH2_INVALID_REQUEST, "grant_type is missing");
    if (!sl_slice_eq(grant, SL_S("client_credentials")))
        return _sl_refuse(q, SL_OAUTH2_UNSUPPORTED_GRANT, "grant_type must be client_credentials");
    return 0;
}

static const struct sl_slice *_sl_listed(const struct sl_strings *list, struct sl_slice word)
{
    for (size_t i = 0; i < list->n; i++)
        if (sl_slice_eq(list->v[i], word))
            return &list->v[i];
    return NULL;
}

/* RFC 6749 section 3.3: all that is asked for, or nothing is given. */
static int _sl_judge_scope(struct sl_asking *q)
{
    struct sl_slice rest = sl_form_get(&q->form, SL_S("scope")), word;
    const struct sl_strings *own = &q->known->client->scopes;
    q->scopes.v = sl_arena_alloc(q->arena, (q->cfg->scopes.n + 1) * sizeof(*q->scopes.v));
    if (!q->scopes.v)
        return -ENOMEM;
    while (sl_slice_next(&rest, ' ', &word)) {
        const struct sl_slice *known = _sl_listed(&q->cfg->scopes, word);
        if (!word.n)
            continue;
        if (!known || (own->n && !_sl_listed(own, word)))
            return _sl_refuse(q, SL_OAUTH2_INVALID_SCOPE, "a scope is not known, or not this client's");
        if (!_sl_listed(&q->scopes, word))
            q->scopes.v[q->scopes.n++] = *known;
    }
    return q->cfg->mandatory_scope && !q->scopes.n
               ? _sl_refuse(q, SL_OAUTH2_INVALID_SCOPE, "a scope must be asked for")
               : 0;
}

/* ---- the answer */

static int _sl_join(const struct sl_asking *q, struct sl_slice *out)
{
    size_t n = 0;
    for (size_t i = 0; i < q->scopes.n; i++)
        n += q->scopes.v[i].n + 1;
    char *p = sl_arena_alloc(q->arena, n + 1), *to = p;
    if (!p)
        return -ENOMEM;
    for (size_t i = 0; i < q->scopes.n; i++) {
        if (i)
            *to++ = ' ';
        memcpy(to, q->scopes.v[i].p, q->scopes.v[i].n);
        to += q->scopes.v[i].n;
    }
    *out = sl_slice(p, (size_t)(to - p));
    return 0;
}

/* RFC 9068 section 2.2. sub is whom the gateway knows the token by: the consumer. */
static int _sl_claims(const struct sl_asking *q, struct sl_slice scope, uint64_t now, struct sl_buf *b)
{
    int r = sl_claims_begin(b, q->cfg->signer->issuer, &q->cfg->audiences);
    if (r == 0)
        r = sl_claims_text(b, SL_S("sub"), sl_slice_str(q->known->consumer->name));
    if (r == 0)
        r = sl_claims_text(b, SL_S("client_id"), q->known->client->client_id);
    if (r == 0 && scope.n)
        r = sl_claims_text(b, SL_S("scope"), scope);
    return r < 0 ? r : sl_claims_end(b, now, q->cfg->token_expiration / SL_NS_PER_SEC);
}

static int _sl_keep(struct sl_asking *q, const char *text)
{
    q->out->body = sl_slice_str(text);
    return text ? 0 : -ENOMEM;
}

/* RFC 6749 section 5.1. Scopes hold nothing that JSON would escape. */
static int _sl_give(struct sl_asking *q, uint64_t now)
{
    SL_BUF struct sl_buf claims = {0};
    struct sl_slice scope;
    int r = _sl_join(q, &scope);
    if (r == 0)
        r = _sl_claims(q, scope, now, &claims);
    if (r < 0)
        return r;
    const struct sl_slice token =
        sl_minter_access_token(q->minter, q->cfg->signer, sl_buf_slice(&claims), q->arena);
    if (!token.p)
        return -EIO;
    return _sl_keep(q, sl_arena_printf(q->arena,
                                       "{\"access_token\":\"" SL_SFMT
                                       "\",\"token_type\":\"Bearer\",\"expires_in\":%llu%s" SL_SFMT "%s}",
                                       SL_SARG(token),
                                       (unsigned long long)(q->cfg->token_expiration / SL_NS_PER_SEC),
                                       scope.n ? ",\"scope\":\"" : "", SL_SARG(scope), scope.n ? "\"" : ""));
}

/* RFC 6749 section 5.2 */
static int _sl_tell(struct sl_asking *q)
{
    return _sl_keep(q, sl_arena_printf(q->arena, "{\"error\":\"%s\",\"error_description\":\"%s\"}",
                                       sl_oauth2_error_name(q->out->error), q->out->detail));
}

int sl_oauth2_token(struct sl_minter *m, const struct sl_oauth2_clients *clients, const struct sl_oauth2 *cfg,
                    const struct sl_request *req, struct sl_slice form, struct sl_arena *a, uint64_t now_s,
                    struct sl_oauth2_outcome *out)
{
    struct sl_asking q = {.minter = m, .cfg = cfg, .req = req, .arena = a, .out = out};
    *out = (struct sl_oauth2_outcome){0};
    int r = _sl_read_form(&q, form);
    if (r == 0)
        r = _sl_read_client(&q);
    if (r == 0)
        r = _sl_judge_client(&q, clients);
    if (r == 0)
        r = _sl_judge_grant(&q);
    if (r == 0)
        r = _sl_judge_scope(&q);
    if (r == 0)
        r = _sl_give(&q, now_s);
    return r == -EINVAL ? _sl_tell(&q) : r;
}
