/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an authorization server says of a token (RFC 7662 section 2.2). Nothing but a whole answer with
 * "active" true makes an identity; one that makes no sense is the server's failure and not the token's.
 */
#include "base/clock.h"
#include "policy/auth_priv.h"
#include "policy/directory_priv.h"
#include "policy/identity_priv.h"

static json_t *_sl_read(struct sl_slice said, bool *active)
{
    json_t *j = sl_json_object(said);
    const json_t *type = json_object_get(j, "token_type"), *is = json_object_get(j, "active");
    *active = json_is_true(is);
    if (json_is_boolean(is) && (!type || json_is_string(type)))
        return j;
    json_decref(j);
    return NULL;
}

bool sl_auth_is_introspection(struct sl_slice text)
{
    bool active;
    SL_JSON json_t *j = _sl_read(text, &active);
    return j != NULL;
}

/* Of another type (RFC 6749 section 7.1) than the one that we take it by, it proves nothing about who sent
 * it. */
static bool _sl_is_bearer(const json_t *claims)
{
    return !json_object_get(claims, "token_type") ||
           sl_slice_ieq(sl_json_string(claims, "token_type"), SL_S("Bearer"));
}

static enum sl_token_error _sl_judge(struct sl_authenticator *a, const struct sl_provider *p,
                                     struct sl_slice said, uint64_t now, struct sl_auth_again *out)
{
    bool active;
    uint64_t exp;
    SL_JSON json_t *claims = _sl_read(said, &active);
    if (!claims)
        return SL_TOKEN_UNAVAILABLE;
    if (!active)
        return SL_TOKEN_INACTIVE;
    if (!_sl_is_bearer(claims))
        return SL_TOKEN_TYPE;
    const enum sl_token_error e = sl_token_check(p->cfg, claims, now, &exp);
    if (e != SL_TOKEN_OK)
        return e;
    out->identity = sl_identity_of_token(a->snapshot, p->cfg, SL_TAKE_PTR(claims), out->hash, exp);
    return out->identity ? SL_TOKEN_OK : SL_TOKEN_MEMORY;
}

/* A refusal may be taken back, by a server that has not heard of the token yet: it is not believed for longer
 * than the contrary. */
static uint64_t _sl_refused_for(const struct sl_provider *p, enum sl_token_error e)
{
    if (e == SL_TOKEN_UNAVAILABLE || e == SL_TOKEN_MEMORY || e == SL_TOKEN_NOT_YET)
        return SL_UNHEARD_SECONDS;
    return SL_MAX(SL_UNHEARD_SECONDS, SL_MIN(SL_REFUSED_SECONDS, p->cfg->jwt.cache / SL_NS_PER_SEC));
}

void sl_authenticator_hear(struct sl_authenticator *a, struct sl_slice credential, enum sl_auth_said how,
                           struct sl_slice said, uint64_t now, struct sl_auth_again *out)
{
    const struct sl_provider *p = &a->providers[out->provider & 0xffff];
    enum sl_token_error e = how == SL_AUTH_SAID_NO ? SL_TOKEN_INACTIVE : SL_TOKEN_UNAVAILABLE;
    out->identity = NULL;
    if (p->cfg->type == SL_AUTH_LDAP) {
        sl_directory_hear(a, p, how, said, now, out);
        return;
    }
    if (how == SL_AUTH_SAID_SO)
        e = _sl_judge(a, p, said, now, out);
    out->ok = out->identity != NULL;
    out->error = (uint8_t)e;
    if (out->ok)
        sl_token_remember(a, p, credential, now, out->identity);
    else if (how != SL_AUTH_NOT_ASKED)
        sl_cache_refuse(&a->cache, out->hash, out->provider, now + _sl_refused_for(p, e), out->error);
}

void sl_auth_again_tell(struct sl_auth_again *to, const struct sl_auth_again *verdict)
{
    sl_auth_again_clear(to);
    to->errands += !verdict->known; /* else it was a hash */
    to->known |= verdict->known;
    to->user = verdict->user;
    to->ok = verdict->ok;
    to->error = verdict->error;
    to->provider = verdict->provider;
    memcpy(to->hash, verdict->hash, sizeof(to->hash));
    to->identity = verdict->identity ? sl_identity_ref(verdict->identity) : NULL;
}

void sl_auth_again_clear(struct sl_auth_again *again)
{
    sl_identity_unref(SL_TAKE_PTR(again->identity));
}
