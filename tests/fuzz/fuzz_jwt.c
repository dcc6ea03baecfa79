/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tokens: the first byte says what the rest is. 't' a token, in a header, cookie and query; 'c' a header and
 * claims (split at a newline), which are signed here, so that the fuzzer gets behind the signature; 'k' a key
 * set; 'i' what an introspection endpoint answers, 'o' a token endpoint. What was not signed here must never
 * be accepted, and no header may carry a control byte.
 */
#include "config/config.h"
#include "harness/b64url.h"
#include "harness/ca.h"
#include "http/uri.h"
#include "policy/jose_priv.h"
#include "policy/oauth.h"
#include "policy/policy.h"

#include <openssl/evp.h>
#include <stdlib.h>

#define SECRET "0123456789abcdef0123456789abcdef"
#define NOW    1700000000ull

static struct sl_policy *policy;

static void must(bool ok)
{
    if (!ok)
        abort();
}

static const char text[] =
    "{\"version\": 1, \"listeners\": {\"m\": {\"bind\": [\"127.0.0.1:80\"]}}, \"auth\": {"
    "\"ec\": {\"type\": \"jwt\", \"issuer\": \"a\", \"algorithms\": [\"ES256\", \"RS256\"], \"cache\": "
    "\"0s\", \"jwks\":"
    "{\"keys\": [{\"kty\": \"EC\", \"crv\": \"P-256\", \"kid\": \"k\","
    "\"x\": \"04N0xi21hshyvBp7I167sbE_bXqyqkAPfefdklMO7wY\", \"y\": "
    "\"UI8exy-C06a7DUnjIdENkxeFtHM4-l_41LqEw9nVgmw\"}]},"
    "\"from\": {\"header\": \"Authorization\", \"cookie\": \"s\", \"query\": \"t\"}},"
    "\"hs\": {\"type\": \"jwt\", \"algorithms\": [\"HS256\"], \"secret\": {\"$env\": \"S\"}, \"cache\": "
    "\"0s\","
    "\"claims_to_verify\": [\"nbf\"], \"roles_claim\": \"r\", \"consumer_claim\": \"a.b\","
    "\"claims_to_headers\": {\"sub\": \"X-User-Id\", \"r\": \"X-Roles\", \"a.b\": \"X-A\"}},"
    "\"op\": {\"type\": \"introspection\", \"uri\": \"https://a/\", \"client_id\": \"c\", \"client_secret\": "
    "{\"$env\": \"S\"}, \"tls\": {\"ca\": \"" TEST_CA
    "\"}, \"roles_claim\": \"r\", \"consumer_claim\": \"a.b\","
    "\"claims_to_headers\": {\"sub\": \"X-User-Id\", \"r\": \"X-Roles\", \"a.b\": \"X-A\"}}},"
    "\"routes\": {\"r\": {\"respond\": {\"status\": 200}, \"auth\": [\"ec\", \"hs\"], \"require\": "
    "{\"roles\": [\"x\"]}}}}";

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    struct sl_diag diag;
    struct sl_bundle *bundle;
    struct sl_snapshot *s;
    sl_diag_init(&diag);
    must(sl_bundle_from_text("p.json", sl_slice_str(text), &diag, &bundle) == 0);
    must(sl_bundle_put(bundle, true, "S", SL_S(SECRET)) == 0);
    must(sl_snapshot_new(bundle, &diag, &s) == 0);
    must(sl_policy_new(s, &diag, &policy) == 0);
    sl_snapshot_unref(s);
    sl_bundle_free(bundle);
    sl_diag_free(&diag);
    return 0;
}

static enum sl_auth_result judge(struct sl_request *req, struct sl_arena *a)
{
    struct sl_auth_outcome o = sl_authenticate(policy->auth, &policy->snapshot->routes[0], req, a, NOW,
                                               &(struct sl_auth_again){.sought = true});
    must((o.identity == NULL) == (o.result != SL_AUTH_OK && o.result < SL_AUTH_FORBIDDEN_ROLE));
    for (size_t i = 0; o.identity && i < o.identity->headers.n; i++)
        must(sl_is_field_value(o.identity->headers.v[i].value));
    for (uint32_t i = 0; i < req->headers.n; i++)
        must(req->headers.v[i].removed || req->headers.v[i].id != SL_HDR_AUTHORIZATION);
    sl_identity_unref(o.identity);
    return o.result;
}

static void add(struct sl_headers *h, struct sl_arena *a, const char *name, const char *before,
                struct sl_slice value)
{
    const char *v = sl_arena_printf(a, "%s" SL_SFMT, before, SL_SARG(value));
    must(v && sl_headers_add(h, a, sl_slice_str(name), sl_slice_str(v)) == 0);
}

static void one_token(struct sl_slice data, struct sl_arena *a)
{
    struct sl_request req = {0}, cookie = {0}, query = {.query = data};
    add(&req.headers, a, "Authorization", "Bearer ", data);
    must(judge(&req, a) != SL_AUTH_OK);
    add(&cookie.headers, a, "Cookie", "a=b; s=", data);
    must(judge(&cookie, a) != SL_AUTH_OK);
    must(judge(&query, a) != SL_AUTH_OK);
}

static void signed_claims(struct sl_slice data, struct sl_arena *a)
{
    unsigned char mac[32];
    size_t n = sizeof(mac);
    const ssize_t line = sl_slice_chr(data, '\n');
    struct sl_slice head = line < 0 ? SL_S("{\"alg\":\"HS256\"}") : sl_slice(data.p, (size_t)line);
    const struct sl_slice claims = line < 0 ? data : sl_slice(data.p + line + 1, data.n - (size_t)line - 1);
    const struct sl_slice h = b64url(a, head), c = b64url(a, claims);
    const char *input = sl_arena_printf(a, SL_SFMT "." SL_SFMT, SL_SARG(h), SL_SARG(c));
    must(input && EVP_Q_mac(NULL, "HMAC", NULL, "SHA256", NULL, SECRET, sizeof(SECRET) - 1,
                            (const unsigned char *)input, strlen(input), mac, sizeof(mac), &n));
    const struct sl_slice sig = b64url(a, sl_slice((char *)mac, n));
    struct sl_request req = {0};
    add(&req.headers, a, "Authorization", "bearer ",
        sl_slice_str(sl_arena_printf(a, "%s." SL_SFMT, input, SL_SARG(sig))));
    (void)judge(&req, a);
}

static void key_set(struct sl_slice data)
{
    static struct sl_jose jose;
    struct sl_diag diag;
    struct sl_jwks set;
    if (!jose.hmac)
        must(sl_jose_init(&jose) == 0);
    sl_diag_init(&diag);
    if (sl_jwks_parse(&jose, data, 0xffffffffu, NULL, &diag, &set) == 0) {
        must(set.n > 0 && set.v[0].algs);
        for (unsigned alg = 0; alg < SL_JOSE_ALG_COUNT; alg++)
            (void)sl_jwk_verify(&jose, set.v, (enum sl_jose_alg)alg, data, SL_S("signature"));
        sl_jwks_free(&set);
    }
    sl_diag_free(&diag);
}

static void answer(struct sl_slice data)
{
    struct sl_auth_again verdict = {.provider = 2, .hash = {1}};
    sl_authenticator_hear(policy->auth, SL_S("opaque"), SL_AUTH_SAID_SO, data, NOW, &verdict);
    must(!verdict.identity || sl_auth_is_introspection(data));
    must((verdict.identity == NULL) == (verdict.error != 0));
    for (size_t i = 0; verdict.identity && i < verdict.identity->headers.n; i++)
        must(sl_is_field_value(verdict.identity->headers.v[i].value));
    sl_auth_again_clear(&verdict);
}

static void token_answer(struct sl_slice data, struct sl_arena *a)
{
    struct sl_oauth_token t = {0};
    if (!sl_oauth_read_token(data, a, &t))
        must(t.text.n && t.text.n <= SL_OAUTH_TOKEN_MAX && sl_is_field_value(t.text));
    (void)sl_oauth_blames_token(data);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sl_arena a;
    if (size == 0)
        return 0;
    const struct sl_slice rest = sl_slice((const char *)data + 1, size - 1);
    sl_arena_init(&a, 0);
    if (data[0] == 'c')
        signed_claims(rest, &a);
    else if (data[0] == 'k')
        key_set(rest);
    else if (data[0] == 'i')
        answer(rest);
    else if (data[0] == 'o')
        token_answer(rest, &a);
    else
        one_token(rest, &a);
    sl_arena_free(&a);
    return 0;
}
