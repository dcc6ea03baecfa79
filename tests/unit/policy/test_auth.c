/* SPDX-License-Identifier: Apache-2.0 */
/* Requests with tokens and keys as one route judges them: where they stand, which provider, what they may do,
 * and what the upstream gets to see. */
#include "auth_test.h"

/* ---- where they stand */

static void places_and_schemes(void **state)
{
    (void)state;
    const struct sl_slice t = token(&es, GOOD());
    static const char *const accepted[] = {"Bearer %s", "bearer %s", "BEARER   %s"};
    static const char *const none[] = {"%.0sBearer", "%.0sBearer ", "Bearer\t%s", "Token %s",
                                       "%s",         "Basic %s",    "Bearer%s"};
    for (size_t i = 0; i < SL_ARRAY_LEN(accepted); i++) {
        req = request("GET", "h", "/corp");
        add_header(&req.headers, "authorization",
                   sl_arena_printf(&arena, accepted[i], sl_arena_strdup(&arena, t)));
        assert_string_equal(judge(), "ok");
        assert_null(header(&req.headers, "Authorization"));
    }
    for (size_t i = 0; i < SL_ARRAY_LEN(none); i++) {
        req = request("GET", "h", "/corp");
        add_header(&req.headers, "Authorization",
                   sl_arena_printf(&arena, none[i], sl_arena_strdup(&arena, t)));
        assert_string_equal(judge(), "none");
        assert_string_equal(outcome.challenge, "Bearer realm=\"sluice\"");
    }
}

static void cookie_and_query(void **state)
{
    (void)state;
    const char *t = sl_arena_strdup(&arena, token(&es, GOOD()));
    req = request("GET", "h", "/corp");
    add_header(&req.headers, "Cookie", sl_arena_printf(&arena, "a=b; session=%s; c=d", t));
    assert_string_equal(judge(), "ok");
    assert_string_equal(header(&req.headers, "Cookie"), "a=b; c=d");
    req = request("GET", "h", "/corp");
    add_header(&req.headers, "Cookie", sl_arena_printf(&arena, "session=%s", t));
    assert_string_equal(judge(), "ok");
    assert_null(header(&req.headers, "Cookie"));
    req = request("GET", "h", sl_arena_printf(&arena, "/corp?x=1&access_token=%s&y=2", t));
    assert_string_equal(judge(), "ok");
    assert_slice(req.query, "x=1&y=2");
    req = request("GET", "h", sl_arena_printf(&arena, "/corp?access%%5ftoken=%s", t));
    assert_string_equal(judge(), "ok");
    assert_null(req.query.p);
    req = request("GET", "h", "/corp");
    add_header(&req.headers, "Cookie", "xsession=1; session_id=2; SESSION=3; session");
    assert_string_equal(judge(), "none");
    assert_string_equal(header(&req.headers, "Cookie"), "xsession=1; session_id=2; SESSION=3; session");
}

static void given_twice_is_refused(void **state)
{
    (void)state;
    const struct sl_slice t = token(&es, GOOD());
    const char *text = sl_arena_strdup(&arena, t);
    req = request("GET", "h", "/corp");
    bearer(t);
    bearer(t);
    assert_string_equal(judge(), "bad token");
    req = request("GET", "h", "/corp");
    add_header(&req.headers, "Authorization", "Basic eDp5");
    bearer(t);
    assert_string_equal(judge(), "bad token");
    req = request("GET", "h", "/corp");
    add_header(&req.headers, "Cookie", sl_arena_printf(&arena, "session=%s; session=x", text));
    assert_string_equal(judge(), "bad token");
    req = request("GET", "h", sl_arena_printf(&arena, "/corp?access_token=%s&access_token=x", text));
    assert_string_equal(judge(), "bad token");
    assert_non_null(strstr(outcome.detail, "more than once"));
}

/* The header is what is gone by, and the others are hidden all the same. */
static void all_places_are_hidden(void **state)
{
    (void)state;
    req = request("GET", "h", "/corp?access_token=q&z=1");
    bearer(token(&es, GOOD()));
    add_header(&req.headers, "Cookie", "session=c");
    assert_string_equal(judge(), "ok");
    assert_slice(req.query, "z=1");
    assert_null(header(&req.headers, "Cookie"));
    assert_null(header(&req.headers, "Authorization"));
}

static void forward_leaves_the_token(void **state)
{
    (void)state;
    const struct sl_slice t = token(&es2, "{'iss': 'https://other.test', 'exp': 1700000600}");
    assert_string_equal(ask("/other", t), "ok");
    assert_non_null(header(&req.headers, "Authorization"));
}

static void a_header_of_its_own(void **state)
{
    (void)state;
    const struct sl_slice t = token(&hs, "{'sub': 'x'}"); /* claims_to_verify: [] */
    req = request("GET", "h", "/hs");
    add_header(&req.headers, "x-token", sl_arena_strdup(&arena, t));
    assert_string_equal(judge(), "ok");
    assert_null(header(&req.headers, "X-Token"));
    req = request("GET", "h", "/hs");
    bearer(t);
    assert_string_equal(judge(), "none");
    assert_non_null(header(&req.headers, "Authorization"));
    for (unsigned i = 0; i < 2; i++) { /* cache: 0s */
        req = request("GET", "h", "/hs");
        add_header(&req.headers, "X-Token", sl_arena_strdup(&arena, t));
        assert_string_equal(judge(), "ok");
        assert_false(outcome.cached);
    }
}

/* ---- several providers */

static void the_issuer_chooses(void **state)
{
    (void)state;
    assert_string_equal(ask("/any", token(&es, GOOD())), "ok");
    assert_string_equal(outcome.identity->provider->name, "corp");
    assert_string_equal(ask("/any", token(&es2, "{'iss': 'https://other.test', 'exp': 1700000600}")), "ok");
    assert_string_equal(outcome.identity->provider->name, "other");
    /* a key is only good for its own issuer's tokens */
    assert_string_equal(ask("/any", token(&es2, GOOD())), "bad token");
    assert_string_equal(ask("/any", token(&es, "{'iss': 'https://other.test', 'exp': 1700000600}")),
                        "bad token");
    assert_non_null(strstr(outcome.detail, "signature"));
    assert_string_equal(ask("/any", token(&es, "{'iss': 'https://third.test', 'exp': 1700000600}")),
                        "bad token");
    assert_non_null(strstr(outcome.detail, "issuer"));
    assert_false(outcome.verified);
    assert_string_equal(ask("/other", token(&es2, GOOD())), "bad token");
    assert_non_null(strstr(outcome.detail, "issuer"));
}

static void whichever_is_there(void **state)
{
    (void)state;
    req = request("GET", "h", "/any");
    add_header(&req.headers, "apikey", "acme-key");
    assert_string_equal(judge(), "ok");
    assert_string_equal(outcome.identity->provider->name, "keys");
    req = request("GET", "h", "/any");
    bearer(SL_S("x.y.z"));
    add_header(&req.headers, "apikey", "acme-key");
    assert_string_equal(judge(), "ok");
    req = request("GET", "h", "/any");
    assert_string_equal(judge(), "none");
    assert_string_equal(outcome.challenge, "Bearer realm=\"sluice\", Key realm=\"sluice\"");
    req = request("GET", "h", "/any");
    bearer(SL_S("x.y.z"));
    add_header(&req.headers, "apikey", "wrong");
    assert_string_equal(judge(), "bad token");
    assert_null(header(&req.headers, "apikey"));
}

/* Nothing said is a consumer's; what was said wrongly is told. */
static void no_credentials_are_the_anonymous_consumers(void **state)
{
    (void)state;
    req = request("GET", "h", "/guests");
    add_header(&req.headers, "X-User-Id", "root");
    assert_string_equal(judge(), "ok");
    assert_true(outcome.anonymous);
    assert_null(outcome.identity->provider);
    assert_slice(outcome.identity->consumer_name, "guest");
    assert_string_equal(outcome.identity->consumer->name, "guest");
    assert_string_equal(outcome.identity->tier->name, "gold");
    assert_int_equal(outcome.identity->credential, 0);
    assert_null(header(&req.headers, "X-User-Id"));
    assert_string_equal(ask("/guests", token(&es, GOOD())), "ok");
    assert_false(outcome.anonymous);
    assert_slice(outcome.identity->consumer_name, "alice");
}

static void wrong_credentials_are_never_anonymous(void **state)
{
    (void)state;
    assert_string_equal(ask("/guests", SL_S("x.y.z")), "bad token");
    assert_null(outcome.identity);
    req = request("GET", "h", "/guests");
    add_header(&req.headers, "apikey", "wrong");
    assert_string_equal(judge(), "bad key");
    req = request("GET", "h", "/guests?apikey=a&apikey=b");
    assert_string_equal(judge(), "bad key");
    const struct sl_client_cert cert = {.not_after = NOW - 1};
    req = request("GET", "h", "/guests");
    req.client_cert = &cert;
    assert_string_equal(judge(), "bad cert");
    assert_null(outcome.identity);
}

/* What the anonymous consumer may not do others may: the client is asked who it is. */
static void the_anonymous_consumer_has_its_groups_alone(void **state)
{
    (void)state;
    req = request("POST", "h", "/guests");
    assert_string_equal(judge(), "none");
    assert_false(outcome.anonymous);
    assert_null(outcome.identity);
    assert_non_null(outcome.challenge);
    req = request("PUT", "h", "/guests");
    assert_string_equal(judge(), "ok");
}

static void public_routes(void **state)
{
    (void)state;
    assert_string_equal(ask("/open", SL_S("whatever")), "ok");
    assert_null(outcome.identity);
    assert_non_null(header(&req.headers, "Authorization")); /* the upstream's own business */
    req = request("GET", "h", "/mixed");
    assert_string_equal(judge(), "ok");
    assert_null(outcome.identity);
    assert_string_equal(ask("/mixed", token(&es, GOOD())), "ok");
    assert_non_null(outcome.identity);
    assert_string_equal(ask("/mixed", SL_S("x.y.z")), "bad token");
    req = request("GET", "h", "/mixed");
    add_header(&req.headers, "apikey", "wrong");
    assert_string_equal(judge(), "bad key");
    req = request("GET", "h", "/mixed");
    add_header(&req.headers, "Authorization", "Basic eDp5");
    assert_string_equal(judge(), "ok");
    assert_string_equal(header(&req.headers, "Authorization"), "Basic eDp5");
}

/* What is said wrongly is told where a provider stands beside "public", so only those without one are open.
 */
static void open_routes(void **state)
{
    (void)state;
    for (size_t i = 0; i < policy->snapshot->n_routes; i++) {
        const struct sl_route *r = &policy->snapshot->routes[i];
        assert_int_equal(sl_route_is_open(r), !strcmp(r->name, "open"));
    }
}

/* ---- keys */

static void api_keys(void **state)
{
    (void)state;
    static const char *const names[] = {"apikey", "APIKEY", "X-Api-Key"};
    for (size_t i = 0; i < SL_ARRAY_LEN(names); i++) {
        req = request("GET", "h", "/keys?a=1");
        add_header(&req.headers, names[i], "acme-key");
        assert_string_equal(judge(), "ok");
        assert_string_equal(outcome.identity->consumer->name, "acme");
        assert_string_equal(outcome.identity->tier->name, "gold");
        assert_int_equal(count_headers(&req.headers), 0);
        assert_slice(req.query, "a=1");
    }
    const uint64_t acme = outcome.identity->credential;
    req = request("GET", "h", "/keys?a=1&apikey=globex-1");
    assert_string_equal(judge(), "ok");
    assert_slice(outcome.identity->consumer_name, "globex");
    assert_slice(req.query, "a=1");
    const uint64_t first = outcome.identity->credential;
    req = request("GET", "h", "/keys?apikey=globex%2B2");
    assert_string_equal(judge(), "ok");
    assert_slice(outcome.identity->consumer_name, "globex");
    assert_true(first != acme && first != outcome.identity->credential);
    req = request("GET", "h", "/shown");
    add_header(&req.headers, "shown", "acme-key");
    assert_string_equal(judge(), "ok");
    assert_string_equal(header(&req.headers, "shown"), "acme-key");
}

static void wrong_api_keys(void **state)
{
    (void)state;
    const char *const wrong[] = {"acme-kex", "acme-key ", "ACME-KEY", hash_of("acme-key"), "x"};
    for (size_t i = 0; i < SL_ARRAY_LEN(wrong); i++) {
        req = request("GET", "h", "/keys");
        add_header(&req.headers, "apikey", wrong[i]);
        assert_string_equal(judge(), "bad key");
        assert_string_equal(outcome.challenge, "Key realm=\"sluice\"");
    }
    req = request("GET", "h", "/keys?apikey=");
    add_header(&req.headers, "apikey", "");
    assert_string_equal(judge(), "none");
    req = request("GET", "h", "/keys?apikey=acme-key&apikey=globex-1");
    assert_string_equal(judge(), "bad key");
    req = request("GET", "h", "/keys");
    add_header(&req.headers, "apikey", "acme-key");
    add_header(&req.headers, "apikey", "acme-key");
    assert_string_equal(judge(), "bad key");
    req = request("GET", "h", "/shown?shown=acme-key"); /* in: [header] */
    assert_string_equal(judge(), "none");
}

/* ---- what it may do */

static void roles_and_scopes(void **state)
{
    (void)state;
    static const char *const tries[][3] = {
        {"/role", ", 'realm': {'roles': ['x', 'admin']}", "ok"},
        {"/role", ", 'realm': {'roles': 'ops'}", "ok"},
        {"/role", ", 'realm': {'roles': ['administrator']}", "no role"},
        {"/role", ", 'realm': {'roles': ['x admin']}", "no role"},
        {"/role", ", 'realm': {'roles': {'admin': true}}", "no role"},
        {"/role", ", 'roles': ['admin']", "no role"},
        {"/role", "", "no role"},
        {"/scope", ", 'scope': 'write read'", "ok"},
        {"/scope", ", 'scope': ['read']", "ok"},
        {"/scope", ", 'scope': 'reader'", "no scope"},
        {"/scope", ", 'scope': ''", "no scope"},
        {"/scope", "", "no scope"},
        {"/group", "", "no group"},
    };
    for (size_t i = 0; i < SL_ARRAY_LEN(tries); i++) {
        const char *claims = sl_arena_printf(&arena, GOOD("%s"), tries[i][1]);
        assert_string_equal(ask(tries[i][0], token(&es, claims)), tries[i][2]);
        assert_non_null(outcome.identity); /* known, if not allowed: for the log */
    }
}

static void groups(void **state)
{
    (void)state;
    req = request("GET", "h", "/group");
    add_header(&req.headers, "apikey", "acme-key");
    assert_string_equal(judge(), "ok");
    req = request("GET", "h", "/group");
    add_header(&req.headers, "apikey", "globex-1");
    assert_string_equal(judge(), "no group");
}

/* ---- what the upstream sees */

static void identity_headers_are_ours(void **state)
{
    (void)state;
    static const char *const targets[] = {"/corp", "/open", "/keys", "/mixed"};
    for (size_t i = 0; i < SL_ARRAY_LEN(targets); i++) {
        req = request("GET", "h", targets[i]);
        add_header(&req.headers, "X-User-Id", "root");
        add_header(&req.headers, "x_user_id", "root");
        add_header(&req.headers, "X-USER_roles", "admin");
        add_header(&req.headers, "X-User-Idx", "kept");
        add_header(&req.headers, "X-User-Id", "root");
        (void)judge();
        assert_int_equal(count_headers(&req.headers), 1);
        assert_string_equal(header(&req.headers, "X-User-Idx"), "kept");
    }
    req = request("GET", "h", "/corp");
    add_header(&req.headers, "X_User_Id", "root");
    bearer(token(&es, GOOD(", 'realm': {'roles': ['a', 'b,c']}")));
    assert_string_equal(judge(), "ok");
    assert_string_equal(header(&req.headers, "X-User-Id"), "alice");
    assert_string_equal(header(&req.headers, "X-User-Roles"), "a,b%2Cc");
    assert_int_equal(count_headers(&req.headers), 2);
}

static void claims_cannot_break_out_of_their_header(void **state)
{
    (void)state;
    static const char claims[] = "{'iss': 'https://auth.test', 'aud': 'orders', 'exp': 1700000600, "
                                 "'sub': 'a\\r\\nX-Admin: 1', 'realm': {'roles': ''}}";
    assert_string_equal(ask("/corp", token(&es, claims)), "ok");
    assert_string_equal(header(&req.headers, "X-User-Id"), "aX-Admin: 1");
    assert_null(header(&req.headers, "X-User-Roles")); /* empty claims set no header */
    assert_int_equal(count_headers(&req.headers), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        unit_test_auth(places_and_schemes),
        unit_test_auth(cookie_and_query),
        unit_test_auth(given_twice_is_refused),
        unit_test_auth(all_places_are_hidden),
        unit_test_auth(forward_leaves_the_token),
        unit_test_auth(a_header_of_its_own),
        unit_test_auth(the_issuer_chooses),
        unit_test_auth(whichever_is_there),
        unit_test_auth(public_routes),
        unit_test_auth(open_routes),
        unit_test_auth(no_credentials_are_the_anonymous_consumers),
        unit_test_auth(wrong_credentials_are_never_anonymous),
        unit_test_auth(the_anonymous_consumer_has_its_groups_alone),
        unit_test_auth(api_keys),
        unit_test_auth(wrong_api_keys),
        unit_test_auth(roles_and_scopes),
        unit_test_auth(groups),
        unit_test_auth(identity_headers_are_ours),
        unit_test_auth(claims_cannot_break_out_of_their_header),
    };
    return cmocka_run_group_tests(tests, setup_all, teardown_all);
}
