/* SPDX-License-Identifier: Apache-2.0 */
/* The token endpoint's judgement: RFC 6749 sections 2.3, 3.2, 3.3, 4.4, 5; and what it issues, taken back. */
#include "signer_test.h"

#include "policy/json_priv.h"
#include "policy/oauth2.h"

#define NOW 1790000000ull

static struct sl_policy *issuing(void)
{
    struct sl_diag diag;
    /* printf %s SECRET | sha256sum, of "gX1fBat3bV" (RFC 6749 section 4.4.2's example) and "other" */
    struct sl_policy *p = signing_policy(
        signer_of("a", "", fresh_pem(SL_JOSE_EDDSA), NULL),
        "'upstreams': {'u': {'targets': [{'address': '127.0.0.1:9000'}]}},"
        "'auth': {'own': {'type': 'jwt', 'signer': 'a', 'algorithms': ['EdDSA'], 'audiences': ['orders']}},"
        "'consumers': {'acme': {'oauth2': [{'client_id': 's6BhdRkqt3', 'client_secret': "
        "'sha256:53f5da0aaa93d64cd5772c554cbf940f0539e689dddbeb8f923eec3f72c02ea9'}, {'client_id': 'few', "
        "'client_secret': 'd9298a10d1b0735837dc4bd85dac641b0f3cef27a47e5d53a54f2f3f5b2fcffa', 'scopes': "
        "['read']}]}},"
        "'routes': {'t': {'paths': ['=/token'], 'auth': ['public'], 'oauth2': {'signer': 'a', 'audiences': "
        "['orders'], 'scopes': ['read', 'write'], 'token_expiration': '1h'}}, 'r': {'paths': ['/r'], "
        "'upstream': 'u', 'auth': ['own']}}",
        &diag);
    if (!p)
        print_diag(&diag);
    assert_non_null(p);
    sl_diag_free(&diag);
    return p;
}

static struct sl_request form_request(const char *authorization)
{
    struct sl_request req = request("POST", "gw", "/token");
    add_header(&req.headers, "Content-Type", "Application/X-WWW-Form-Urlencoded; charset=UTF-8");
    if (authorization)
        add_header(&req.headers, "Authorization", authorization);
    return req;
}

static struct sl_oauth2_outcome asked(struct sl_policy *p, const struct sl_request *req, const char *form)
{
    struct sl_oauth2_outcome o;
    assert_int_equal(sl_oauth2_token(p->minter, &p->clients, &p->snapshot->routes[0].oauth2, req,
                                     sl_slice_str(form), &arena, NOW, &o),
                     0);
    json_t *j = json_loadb(o.body.p, o.body.n, 0, NULL);
    assert_non_null(j);
    assert_string_equal(o.error ? sl_oauth2_error_name(o.error) : "",
                        o.error ? json_string_value(json_object_get(j, "error")) : "");
    json_decref(j);
    return o;
}

#define FEW "client_id=few&client_secret=other&"

static void issued_and_taken_back(void **state)
{
    (void)state;
    struct sl_policy *p = issuing();
    struct sl_request req = form_request(NULL);
    const struct sl_oauth2_outcome o = asked(p, &req, FEW "grant_type=client_credentials&scope=read");
    assert_int_equal(o.error, SL_OAUTH2_OK);
    assert_string_equal(o.consumer->name, "acme");
    json_t *j = json_loadb(o.body.p, o.body.n, 0, NULL);
    assert_string_equal(json_string_value(json_object_get(j, "token_type")), "Bearer");
    assert_int_equal(json_integer_value(json_object_get(j, "expires_in")), 3600);
    assert_string_equal(json_string_value(json_object_get(j, "scope")), "read");

    struct sl_request use = request("GET", "gw", "/r");
    const char *token = json_string_value(json_object_get(j, "access_token"));
    add_header(&use.headers, "Authorization", sl_arena_printf(&arena, "Bearer %s", token));
    const struct sl_auth_again again = {0};
    struct sl_auth_outcome got =
        sl_authenticate(p->auth, &p->snapshot->routes[1], &use, &arena, NOW + 3600, &again);
    assert_int_equal(got.result, SL_AUTH_OK);
    assert_string_equal(got.identity->consumer->name, "acme");
    assert_int_equal(got.identity->scopes.n, 1);
    sl_identity_unref(got.identity);
    json_decref(j);
    sl_policy_free(p);
}

static void refused(void **state)
{
    (void)state;
    static const struct {
        const char *authorization, *form;
        enum sl_oauth2_error error;
    } cases[] = {
        {NULL, "grant_type=client_credentials", SL_OAUTH2_INVALID_CLIENT},
        {NULL, "client_id=few&grant_type=client_credentials", SL_OAUTH2_INVALID_CLIENT},
        {NULL, "client_id=few&client_secret=Other&grant_type=client_credentials", SL_OAUTH2_INVALID_CLIENT},
        {NULL, "client_id=nobody&client_secret=other&grant_type=client_credentials",
         SL_OAUTH2_INVALID_CLIENT},
        /* the hash is not the secret */
        {NULL,
         "client_id=few&client_secret=d9298a10d1b0735837dc4bd85dac641b0f3cef27a47e5d53a54f2f3f5b2fcffa&grant_"
         "type=client_credentials",
         SL_OAUTH2_INVALID_CLIENT},
        {"Basic czZCaGRSa3F0MzpnWDFmQmF0M2JW", "grant_type=client_credentials",
         SL_OAUTH2_OK}, /* section 4.4.2 */
        {"Basic ZmV3Om90aGVy", "grant_type=client_credentials", SL_OAUTH2_OK},
        {"bAsIc  ZmV3Om90aGVy", "grant_type=client_credentials&client_id=few", SL_OAUTH2_OK},
        {"Basic ZmV3Om90aGVy", "grant_type=client_credentials&client_id=s6BhdRkqt3",
         SL_OAUTH2_INVALID_REQUEST},
        {"Basic ZmV3Om90aGVy", FEW "grant_type=client_credentials", SL_OAUTH2_INVALID_REQUEST},
        {"Basic ZmV3", "grant_type=client_credentials", SL_OAUTH2_INVALID_CLIENT},
        {"Basic", "grant_type=client_credentials", SL_OAUTH2_INVALID_CLIENT},
        {"Bearer ZmV3Om90aGVy", "grant_type=client_credentials", SL_OAUTH2_INVALID_CLIENT},
        {NULL, FEW "grant_type=password", SL_OAUTH2_UNSUPPORTED_GRANT},
        {NULL, FEW "scope=read", SL_OAUTH2_INVALID_REQUEST},
        {NULL, FEW "grant_type=client_credentials&scope=write", SL_OAUTH2_INVALID_SCOPE},
        {NULL, FEW "grant_type=client_credentials&scope=read+none", SL_OAUTH2_INVALID_SCOPE},
        {NULL, FEW "grant_type=client_credentials&scope=read&scope=read", SL_OAUTH2_INVALID_REQUEST},
        {NULL, FEW "grant_type=client_credentials&scope=%", SL_OAUTH2_INVALID_REQUEST},
        {NULL, FEW "grant_type=client_credentials&scope=+read++read+", SL_OAUTH2_OK},
    };
    struct sl_policy *p = issuing();
    for (size_t i = 0; i < SL_ARRAY_LEN(cases); i++) {
        struct sl_request req = form_request(cases[i].authorization);
        const struct sl_oauth2_outcome o = asked(p, &req, cases[i].form);
        if (o.error != cases[i].error)
            fail_msg("%s: %.*s", cases[i].form, (int)o.body.n, o.body.p);
        assert_int_equal(sl_oauth2_error_status(o.error), o.error == SL_OAUTH2_OK               ? 200
                                                          : o.error == SL_OAUTH2_INVALID_CLIENT ? 401
                                                                                                : 400);
    }
    sl_policy_free(p);
}

static void where_it_stands(void **state)
{
    (void)state;
    struct sl_policy *p = issuing();
    const char *form = FEW "grant_type=client_credentials";
    struct sl_request plain = request("POST", "gw", "/token");
    assert_int_equal(asked(p, &plain, form).error, SL_OAUTH2_INVALID_REQUEST);
    add_header(&plain.headers, "Content-Type", "application/x-www-form-urlencodedx");
    assert_int_equal(asked(p, &plain, form).error, SL_OAUTH2_INVALID_REQUEST);
    struct sl_request query = form_request(NULL);
    query.query = SL_S("client_id=few");
    assert_int_equal(asked(p, &query, form).error, SL_OAUTH2_INVALID_REQUEST);
    struct sl_request twice = form_request("Basic ZmV3Om90aGVy");
    add_header(&twice.headers, "Authorization", "Basic ZmV3Om90aGVy");
    assert_int_equal(asked(p, &twice, "grant_type=client_credentials").error, SL_OAUTH2_INVALID_REQUEST);
    sl_policy_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        unit_test_arena(issued_and_taken_back),
        unit_test_arena(refused),
        unit_test_arena(where_it_stands),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
