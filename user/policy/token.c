/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "policy/auth.h"
#include "policy/b64_priv.h"
#include "policy/jwt.h"
#include "policy/token_priv.h"

#include <errno.h>

#define SL_NUMERIC_DATE_MAX (1ll << 53) /* beyond it other parsers read another number */
#define SL_KEYS_TRIED       4           /* for a token without kid: a bound on what one request may cost */

const char *sl_token_error_text(enum sl_token_error e)
{
    static const char *const texts[] = {[SL_TOKEN_OK] = "",
#define SL_X(e, name, text) [SL_TOKEN_##e] = (text),
                                        SL_TOKEN_ERRORS(SL_X)
#undef SL_X
    };
    return texts[e];
}

const char *sl_auth_token_reason(unsigned reason)
{
    static const char *const names[] = {[SL_TOKEN_OK] = "other",
#define SL_X(e, name, text) [SL_TOKEN_##e] = (name),
                                        SL_TOKEN_ERRORS(SL_X)
#undef SL_X
    };
    return reason < SL_ARRAY_LEN(names) ? names[reason] : NULL;
}

/* ---- the header */

static bool _sl_split(struct sl_slice text, struct sl_slice parts[3])
{
    for (unsigned i = 0; i < 2; i++) {
        const ssize_t dot = sl_slice_chr(text, '.');
        if (dot < 0)
            return false;
        parts[i] = sl_slice(text.p, (size_t)dot);
        text = sl_slice(text.p + dot + 1, text.n - (size_t)dot - 1);
    }
    parts[2] = text;
    /* More dots are no base64url, and are refused as such. An empty payload is a JWS, if no JWT. */
    return parts[0].n && parts[2].n;
}

static enum sl_token_error _sl_read_type(const json_t *h, struct sl_arena *a, struct sl_token *out)
{
    const json_t *typ = json_object_get(h, "typ");
    struct sl_slice text = sl_json_string(h, "typ");
    if (typ && !json_is_string(typ))
        return SL_TOKEN_HEADER;
    if (text.n > 12 && sl_slice_ieq(sl_slice(text.p, 12), SL_S("application/")))
        text = sl_slice(text.p + 12, text.n - 12);
    return typ && !(out->typ = sl_arena_copy(a, text)).p ? SL_TOKEN_MEMORY : SL_TOKEN_OK;
}

bool sl_token_is_type(const struct sl_token *t, const char *want)
{
    return !want || (t->typ.p && sl_slice_ieq(t->typ, sl_slice_str(want)));
}

/* jwk, jku, x5u, x5c and x5t are never looked at: keys come from the policy alone. */
static enum sl_token_error _sl_read_header(const json_t *h, struct sl_arena *a, struct sl_token *out)
{
    const json_t *kid = json_object_get(h, "kid");
    if (!json_is_string(json_object_get(h, "alg")) || (kid && !json_is_string(kid)))
        return SL_TOKEN_HEADER;
    if (json_object_get(h, "crit") || json_object_get(h, "b64"))
        return SL_TOKEN_CRITICAL;
    if (json_object_get(h, "enc") || json_object_get(h, "zip"))
        return SL_TOKEN_ENCRYPTED;
    out->alg = sl_jose_alg_from(sl_json_string(h, "alg"));
    if (out->alg == SL_JOSE_ALG_COUNT)
        return SL_TOKEN_ALGORITHM;
    if (kid && !(out->kid = sl_arena_copy(a, sl_json_string(h, "kid"))).p)
        return SL_TOKEN_MEMORY;
    return _sl_read_type(h, a, out);
}

enum sl_token_error sl_token_parse(struct sl_slice text, struct sl_arena *a, struct sl_token *out)
{
    struct sl_slice parts[3], raw;
    *out = (struct sl_token){.text = text};
    if (text.n > SL_TOKEN_MAX)
        return SL_TOKEN_TOO_LONG;
    if (!_sl_split(text, parts))
        return SL_TOKEN_MALFORMED;
    const int h = sl_b64_decode_arena(a, parts[0], &raw), s = sl_b64_decode_arena(a, parts[2], &out->sig);
    if (h < 0 || s < 0)
        return h == -ENOMEM || s == -ENOMEM ? SL_TOKEN_MEMORY : SL_TOKEN_MALFORMED;
    out->payload = parts[1];
    out->input = sl_slice(text.p, parts[0].n + 1 + parts[1].n);
    SL_JSON json_t *header = sl_json_object(raw);
    return header ? _sl_read_header(header, a, out) : SL_TOKEN_HEADER;
}

/* ---- the signature */

/* A kid is an opaque name: compared, never looked up anywhere. Keys without a kid fit every token. */
static bool _sl_fits(const struct sl_jwk *k, const struct sl_token *t)
{
    return (k->algs & SL_JOSE_BIT(t->alg)) && (!k->kid.p || !t->kid.p || sl_slice_eq(k->kid, t->kid));
}

enum sl_token_error sl_token_verify(struct sl_jose *j, const struct sl_jwks *keys, uint32_t allowed,
                                    const struct sl_token *t, bool *checked)
{
    unsigned tried = 0;
    if (!(allowed & SL_JOSE_BIT(t->alg)))
        return SL_TOKEN_ALGORITHM;
    for (size_t i = 0; i < keys->n && tried < SL_KEYS_TRIED; i++) {
        if (!_sl_fits(&keys->v[i], t))
            continue;
        tried++;
        *checked = true;
        if (sl_jwk_verify(j, &keys->v[i], t->alg, t->input, t->sig))
            return SL_TOKEN_OK;
    }
    return tried ? SL_TOKEN_SIGNATURE : SL_TOKEN_KEY;
}

/* ---- the claims */

json_t *sl_token_claims(const struct sl_token *t, struct sl_arena *a)
{
    struct sl_slice raw;
    return sl_b64_decode_arena(a, t->payload, &raw) == 0 ? sl_json_object(raw) : NULL;
}

/* A whole number that every parser reads alike; NumericDate's fractions (RFC 7519 section 2) are refused,
 * since libraries round them differently. */
static bool _sl_numeric_date(const json_t *j, uint64_t *out)
{
    if (!json_is_integer(j) || json_integer_value(j) < 0 || json_integer_value(j) > SL_NUMERIC_DATE_MAX)
        return false;
    *out = (uint64_t)json_integer_value(j);
    return true;
}

static bool _sl_is_string(const json_t *j, struct sl_slice s)
{
    return json_is_string(j) && sl_slice_eq(sl_slice(json_string_value(j), json_string_length(j)), s);
}

static bool _sl_audience(const json_t *aud, struct sl_slice ours)
{
    size_t i;
    const json_t *item;
    if (!json_is_array(aud))
        return _sl_is_string(aud, ours);
    json_array_foreach(aud, i, item)
    {
        if (_sl_is_string(item, ours))
            return true;
    }
    return false;
}

static bool _sl_audiences(const json_t *claims, const struct sl_strings *ours)
{
    for (size_t i = 0; i < ours->n; i++)
        if (_sl_audience(json_object_get(claims, "aud"), ours->v[i]))
            return true;
    return ours->n == 0;
}

int sl_token_thumbprint(const json_t *claims, unsigned char out[32])
{
    const json_t *cnf = json_object_get(claims, "cnf"), *x5t = json_object_get(cnf, "x5t#S256");
    unsigned char text[SL_B64_MAX(43)];
    size_t n;
    if (cnf && !json_is_object(cnf))
        return -EINVAL;
    if (!x5t) /* other ways to confirm (RFC 7800 section 3.1) are the upstream's */
        return 0;
    const struct sl_slice b64 = sl_json_string(cnf, "x5t#S256");
    if (b64.n != 43 || sl_b64_decode(b64, text, &n) < 0 || n != sizeof(text))
        return -EINVAL;
    memcpy(out, text, sizeof(text));
    return 1;
}

enum sl_token_error sl_token_check(const struct sl_auth *provider, const json_t *claims, uint64_t now,
                                   uint64_t *exp)
{
    const uint64_t skew = provider->jwt.clock_skew / SL_NS_PER_SEC;
    const json_t *nbf = json_object_get(claims, "nbf");
    uint64_t from;
    *exp = 0;
    if (provider->jwt.issuer &&
        !_sl_is_string(json_object_get(claims, "iss"), sl_slice_str(provider->jwt.issuer)))
        return SL_TOKEN_FOREIGN;
    if (provider->jwt.verify_exp && (provider->type == SL_AUTH_JWT || json_object_get(claims, "exp"))) {
        if (!_sl_numeric_date(json_object_get(claims, "exp"), exp))
            return SL_TOKEN_NO_EXP;
        if (now >= *exp + skew)
            return SL_TOKEN_EXPIRED;
    }
    if (provider->jwt.verify_nbf && nbf) {
        if (!_sl_numeric_date(nbf, &from))
            return SL_TOKEN_BAD_NBF;
        if (now + skew < from)
            return SL_TOKEN_NOT_YET;
    }
    if (!_sl_audiences(claims, &provider->jwt.audiences))
        return SL_TOKEN_AUDIENCE;
    unsigned char thumbprint[32];
    return sl_token_thumbprint(claims, thumbprint) < 0 ? SL_TOKEN_BAD_CNF : SL_TOKEN_OK;
}

/* ---- for tools */

bool sl_jwt_is_algorithm(struct sl_slice name)
{
    return sl_jose_alg_from(name) < SL_JOSE_ALG_COUNT;
}

static const char *_sl_verify_text(struct sl_jose *j, struct sl_slice jwks, struct sl_slice token,
                                   uint32_t allowed, struct sl_diag *diag, struct sl_arena *a,
                                   struct sl_slice *payload)
{
    struct sl_token t;
    struct sl_jwks keys;
    bool checked = false;
    if (sl_jwks_parse(j, jwks, allowed, NULL, diag, &keys) < 0)
        return "the key set has no key for these algorithms";
    enum sl_token_error e = sl_token_parse(token, a, &t);
    if (e == SL_TOKEN_OK)
        e = sl_token_verify(j, &keys, allowed, &t, &checked);
    if (e == SL_TOKEN_OK && sl_b64_decode_arena(a, t.payload, payload) < 0)
        e = SL_TOKEN_MALFORMED;
    sl_jwks_free(&keys);
    return e == SL_TOKEN_OK ? NULL : sl_token_error_text(e);
}

const char *sl_jwt_verify_jwks(struct sl_slice jwks, struct sl_slice token,
                               const struct sl_strings *algorithms, struct sl_arena *a,
                               struct sl_slice *payload)
{
    struct sl_jose j;
    struct sl_diag diag;
    if (sl_jose_init(&j) < 0)
        return "OpenSSL lacks an algorithm";
    sl_diag_init(&diag);
    const char *wrong = _sl_verify_text(&j, jwks, token, sl_jose_mask(algorithms), &diag, a, payload);
    sl_diag_free(&diag);
    sl_jose_free(&j);
    return wrong;
}
