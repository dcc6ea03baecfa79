/* SPDX-License-Identifier: Apache-2.0 */
/* A policy with all kinds of providers and keys, and one request after the other judged by it. */
#ifndef SL_TEST_AUTH_H
#define SL_TEST_AUTH_H

#include "sign_test.h"

#include <jansson.h>

#define NOW 1700000000ull

static struct signer rs = {.alg = SL_JOSE_RS256, .kid = "rs"}, es = {.alg = SL_JOSE_ES256, .kid = "es"},
                     es2 = {.alg = SL_JOSE_ES256, .kid = "es"}, ed = {.alg = SL_JOSE_EDDSA, .kid = "ed"},
                     hs = {.alg = SL_JOSE_HS256, .secret = {"0123456789abcdef0123456789abcdef", 32}};
static SL_UNUSED struct sl_policy *policy;

/* printf 'acme-key' | sha256sum */
static SL_UNUSED const char *hash_of(const char *key)
{
    unsigned char md[32];
    char *hex = sl_arena_alloc(&arena, 65);
    assert_int_equal(EVP_Q_digest(NULL, "SHA256", NULL, key, strlen(key), md, NULL), 1);
    for (unsigned i = 0; i < 32; i++)
        (void)sprintf(hex + 2 * i, "%02x", md[i]);
    return hex;
}

static SL_UNUSED const char *policy_text(void)
{
    return sl_arena_printf(
        &arena,
        POLICY(
            "'auth': {"
            "'corp': {'type': 'jwt', 'issuer': 'https://auth.test', 'audiences': ['orders', 'billing'],"
            "  'algorithms': ['RS256', 'ES256', 'EdDSA'], 'jwks': {'keys': [%s, %s, %s]}, 'clock_skew': "
            "'10s',"
            "  'roles_claim': 'realm.roles', 'claims_to_headers': {'sub': 'X-User-Id', 'realm.roles': "
            "'X-User-Roles'},"
            "  'from': {'header': 'Authorization', 'cookie': 'session', 'query': 'access_token'}},"
            "'other': {'type': 'jwt', 'issuer': 'https://other.test', 'algorithms': ['ES256'],"
            "  'jwks': {'keys': [%s]}, 'consumer_claim': 'client_id', 'forward': true},"
            "'hs': {'type': 'jwt', 'algorithms': ['HS256'], 'secret': {'$env': 'S'}, 'claims_to_verify': [],"
            "  'from': {'header': 'X-Token'}, 'cache': '0s'},"
            "'keys': {'type': 'key', 'names': ['apikey', 'X-Api-Key'], 'in': ['header', 'query']},"
            "'shown': {'type': 'key', 'names': ['shown'], 'hide': false},"
            "'cert': {'type': 'mtls', 'certificate_to_headers': {'certificate': 'Client-Cert', 'subject': "
            "'X-Subject', 'issuer': 'X-Issuer', 'serial': 'X-Serial', 'fingerprint': 'X-Print', 'san_dns': "
            "'X-Dns', 'san_uri': 'X-Uri', 'san_email': 'X-Mail', 'cn': 'X-Cn', 'not_after': 'X-Until'}},"
            "'uri': {'type': 'mtls', 'consumer_from': 'san_uri'}, 'mail': {'type': 'mtls', 'consumer_from': "
            "'san_email'},"
            "'cn': {'type': 'mtls', 'consumer_from': 'cn'}, 'print': {'type': 'mtls', 'consumer_from': "
            "'fingerprint'}},"
            "'tiers': {'gold': {'rate_limit': {'second': 5}}, 'anonymous': {'rate_limit': {'second': 1}}},"
            "'consumers': {'acme': {'tier': 'gold', 'groups': ['eu'], 'keys': ['%s']},"
            "  'globex': {'keys': ['%s', '%s']}, 'svc': {'tier': 'gold'},"
            "  'svc.test': {'tier': 'gold'}, 'spiffe://td/svc': {'tier': 'gold'},"
            "  'guest': {'tier': 'gold', 'groups': ['eu']}},"
            "'routes': {"
            "'corp': {'paths': ['/corp'], 'upstream': 'u', 'auth': ['corp']},"
            "'any': {'paths': ['/any'], 'upstream': 'u', 'auth': ['corp', 'other', 'keys']},"
            "'other': {'paths': ['/other'], 'upstream': 'u', 'auth': ['other']},"
            "'hs': {'paths': ['/hs'], 'upstream': 'u', 'auth': ['hs']},"
            "'keys': {'paths': ['/keys'], 'upstream': 'u', 'auth': ['keys']},"
            "'shown': {'paths': ['/shown'], 'upstream': 'u', 'auth': ['shown']},"
            "'cert': {'paths': ['/cert'], 'upstream': 'u', 'auth': ['cert']},"
            "'cert-or-key': {'paths': ['/both'], 'upstream': 'u', 'auth': ['uri', 'keys']},"
            "'uri': {'paths': ['/uri'], 'upstream': 'u', 'auth': ['uri']},"
            "'mail': {'paths': ['/mail'], 'upstream': 'u', 'auth': ['mail']},"
            "'cn': {'paths': ['/cn'], 'upstream': 'u', 'auth': ['cn']},"
            "'print': {'paths': ['/print'], 'upstream': 'u', 'auth': ['print']},"
            "'open': {'paths': ['/open'], 'upstream': 'u', 'auth': ['public']},"
            "'mixed': {'paths': ['/mixed'], 'upstream': 'u', 'auth': ['corp', 'keys', 'public']},"
            "'guests': {'paths': ['/guests'], 'upstream': 'u', 'auth': ['corp', 'keys', 'cert'], "
            "'anonymous': "
            "'guest',"
            "  'require': {'methods': {'POST': {'scopes': ['write']}, 'PUT': {'groups': ['eu']}}}},"
            "'role': {'paths': ['/role'], 'upstream': 'u', 'auth': ['corp'], 'require': {'roles': ['admin', "
            "'ops']}},"
            "'scope': {'paths': ['/scope'], 'upstream': 'u', 'auth': ['corp'], 'require': {'scopes': "
            "['read']}},"
            "'group': {'paths': ['/group'], 'upstream': 'u', 'auth': ['keys', 'corp'], 'require': {'groups': "
            "['eu']}}}"),
        jwk_of(&rs, "'alg': 'RS256'"), jwk_of(&es, NULL), jwk_of(&ed, NULL), jwk_of(&es2, NULL),
        hash_of("acme-key"), hash_of("globex-1"), hash_of("globex+2"));
}

static SL_UNUSED int setup_all(void **state)
{
    struct sl_bundle *bundle = NULL;
    struct sl_snapshot *s = NULL;
    struct sl_diag diag;
    (void)with_arena(state);
    rs.key = new_key(rs.alg);
    es.key = new_key(es.alg);
    es2.key = new_key(es2.alg);
    ed.key = new_key(ed.alg);
    sl_diag_init(&diag);
    int r = sl_bundle_from_text("p.json", quoted(policy_text()), &diag, &bundle);
    if (r == 0)
        r = sl_bundle_put(bundle, true, "S", hs.secret);
    if (r == 0)
        r = sl_snapshot_new(bundle, &diag, &s);
    if (r == 0)
        r = sl_policy_new(s, &diag, &policy);
    if (r)
        print_diag(&diag);
    sl_snapshot_unref(s);
    sl_bundle_free(bundle);
    sl_diag_free(&diag);
    (void)drop_arena(state);
    return r;
}

static SL_UNUSED int teardown_all(void **state)
{
    (void)state;
    sl_policy_free(policy);
    EVP_PKEY_free(rs.key);
    EVP_PKEY_free(es.key);
    EVP_PKEY_free(es2.key);
    EVP_PKEY_free(ed.key);
    return 0;
}

/* ---- one request */

static SL_UNUSED struct sl_request req;
static SL_UNUSED struct sl_auth_outcome outcome;

static SL_UNUSED const char *name_of(enum sl_auth_result r)
{
    static const char *const names[] = {"ok",           "none",    "bad token",   "bad key",
                                        "bad cert",     "no role", "no scope",    "no group",
                                        "bad password", "no keys", "unavailable", "wait"};
    return names[r];
}

/* Of a request made by request() and add_header(). */
static SL_UNUSED const char *judge_at(uint64_t now)
{
    uint32_t index = 0, methods;
    sl_identity_unref(outcome.identity);
    assert_int_equal(sl_router_match(policy->router, &req, &index, &methods), SL_ROUTE_FOUND);
    outcome = sl_authenticate(policy->auth, &policy->snapshot->routes[index], &req, &arena, now,
                              &(struct sl_auth_again){.sought = true});
    return name_of(outcome.result);
}

static SL_UNUSED const char *judge(void)
{
    return judge_at(NOW);
}

static SL_UNUSED void bearer(struct sl_slice t)
{
    add_header(&req.headers, "Authorization", sl_arena_printf(&arena, "Bearer " SL_SFMT, SL_SARG(t)));
}

static SL_UNUSED const char *ask_at(const char *target, struct sl_slice t, uint64_t now)
{
    req = request("GET", "h", target);
    bearer(t);
    return judge_at(now);
}

static SL_UNUSED const char *ask(const char *target, struct sl_slice t)
{
    return ask_at(target, t, NOW);
}

static SL_UNUSED int setup(void **state)
{
    outcome = (struct sl_auth_outcome){0};
    return with_arena(state);
}

static SL_UNUSED int teardown(void **state)
{
    sl_identity_unref(outcome.identity);
    return drop_arena(state);
}

/* Claims that /corp accepts, with more behind them: ", 'a': 1". */
#define GOOD(more) "{'iss': 'https://auth.test', 'aud': 'orders', 'sub': 'alice', 'exp': 1700000600" more "}"
#define HEAD_ES    "{'alg': 'ES256', 'kid': 'es'"

#define unit_test_auth(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

#endif
