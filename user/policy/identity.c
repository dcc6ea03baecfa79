/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Identities are made once, when a token is verified or a policy compiled, with their headers ready to set:
 * what a request costs after that is a reference.
 */
#include "policy/identity_priv.h"
#include "policy/token_priv.h"

struct sl_identity *sl_identity_new(const struct sl_auth *provider, const unsigned char hash[32])
{
    struct sl_identity *id = calloc(1, sizeof(*id));
    if (!id)
        return NULL;
    id->refs = 1;
    id->provider = provider;
    memcpy(&id->credential, hash, sizeof(id->credential));
    if (!id->credential) /* 0 says that there is none */
        id->credential = 1;
    sl_arena_init(&id->arena, 512);
    return id;
}

void sl_identity_unref(struct sl_identity *id)
{
    if (!id || --id->refs)
        return;
    json_decref((json_t *)id->claims);
    sl_arena_free(&id->arena);
    free(id);
}

static int _sl_headers_of_claims(struct sl_identity *id, const struct sl_auth *provider)
{
    const size_t n = provider->jwt.n_claims_to_headers;
    id->headers.v = sl_arena_zalloc(&id->arena, n * sizeof(*id->headers.v));
    if (!id->headers.v)
        return -1;
    for (size_t i = 0; i < n; i++) {
        const struct sl_claim_header *c = &provider->jwt.claims_to_headers[i];
        struct sl_slice text = sl_claim_text(sl_claim_get(id->claims, sl_slice_str(c->claim)), &id->arena);
        if (!text.p)
            return -1;
        text = sl_slice_trim(text);
        if (text.n)
            id->headers.v[id->headers.n++] =
                (struct sl_name_value){.name = sl_slice_str(c->header), .value = text};
    }
    return 0;
}

/* RFC 8705 section 3.1: what the token says of the certificate that it belongs to was read before. */
static void _sl_bind(struct sl_identity *id)
{
    id->bound = sl_token_thumbprint(id->claims, id->bound_to) > 0;
}

/* A string or a number; of control bytes none is dropped, or one name could be made to look like another. */
static bool _sl_consumer_name(const json_t *claim, struct sl_identity *id)
{
    struct sl_slice name = {"", 0};
    if (json_is_string(claim))
        name = sl_slice(json_string_value(claim), json_string_length(claim));
    else if (json_is_integer(claim))
        name = sl_claim_text(claim, &id->arena);
    if (sl_slice_has_control(name))
        return true;
    id->consumer_name = name;
    return name.p != NULL;
}

static int _sl_fill(struct sl_identity *id, const struct sl_snapshot *s, const struct sl_auth *provider)
{
    const json_t *c = id->claims;
    _sl_bind(id);
    const char *roles = provider->jwt.roles_claim, *scopes = provider->jwt.scopes_claim,
               *consumer = provider->jwt.consumer_claim;
    if (consumer && !_sl_consumer_name(sl_claim_get(c, sl_slice_str(consumer)), id))
        return -1;
    id->consumer = id->consumer_name.n ? sl_map_get(&s->consumers_by_name, id->consumer_name) : NULL;
    id->tier = id->consumer ? id->consumer->tier : s->anonymous;
    if (roles && sl_claim_words(sl_claim_get(c, sl_slice_str(roles)), &id->arena, &id->roles) < 0)
        return -1;
    if (scopes && sl_claim_words(sl_claim_get(c, sl_slice_str(scopes)), &id->arena, &id->scopes) < 0)
        return -1;
    return _sl_headers_of_claims(id, provider);
}

struct sl_identity *sl_identity_of_token(const struct sl_snapshot *s, const struct sl_auth *provider,
                                         json_t *claims, const unsigned char hash[32], uint64_t exp)
{
    struct sl_identity *id = sl_identity_new(provider, hash);
    if (!id) {
        json_decref(claims);
        return NULL;
    }
    id->claims = claims;
    id->expires_wall_s = exp;
    if (_sl_fill(id, s, provider) == 0)
        return id;
    sl_identity_unref(id);
    return NULL;
}

static struct sl_identity *_sl_of_consumer(struct sl_identity *id, const struct sl_consumer *consumer)
{
    if (!id)
        return NULL;
    id->consumer_name = sl_slice_str(consumer->name);
    id->consumer = consumer;
    id->tier = consumer->tier;
    return id;
}

struct sl_identity *sl_identity_of_key(const struct sl_auth *provider, const struct sl_consumer *consumer,
                                       const unsigned char hash[32])
{
    return _sl_of_consumer(sl_identity_new(provider, hash), consumer);
}

struct sl_identity *sl_identity_of_nobody(const struct sl_consumer *consumer)
{
    static const unsigned char none[32];
    struct sl_identity *id = _sl_of_consumer(sl_identity_new(NULL, none), consumer);
    if (id)
        id->credential = 0; /* so `by: credential` counts addresses */
    return id;
}

struct sl_slice sl_identity_claim(const struct sl_identity *id, struct sl_slice path, struct sl_arena *a)
{
    return id->claims ? sl_claim_text(sl_claim_get(id->claims, path), a) : SL_SLICE_NUL;
}
