/* SPDX-License-Identifier: Apache-2.0 */
/* What upstreams are shown: what a token says of whom, and for how long one serves. */
#include "signer_test.h"

#include "policy/claims_priv.h"
#include "policy/identity_priv.h"
#include "policy/mint_priv.h"
#include "policy/token_priv.h"

#define NOW 1790000000ull

static const char *route_with(const char *auth)
{
    return sl_arena_printf(
        &arena,
        "'upstreams': {'u': {'targets': [{'address': '127.0.0.1:9000'}]}}, 'routes': {'r': "
        "{'upstream': 'u', 'auth': ['public'], 'upstream_auth': {'type': 'sign', 'signer': "
        "'a'%s}}}",
        auth);
}

static struct sl_policy *minting(const char *auth)
{
    struct sl_diag diag;
    struct sl_policy *p =
        signing_policy(signer_of("a", "", fresh_pem(SL_JOSE_ES256), NULL), route_with(auth), &diag);
    if (!p)
        print_diag(&diag);
    assert_non_null(p);
    sl_diag_free(&diag);
    return p;
}

static struct sl_identity *identity_of(const struct sl_policy *p, const char *name, const char *claims)
{
    struct sl_identity *id = sl_identity_new(NULL, (const unsigned char[32]){1});
    id->consumer_name = sl_slice_str(name);
    id->tier = p->snapshot->anonymous;
    id->claims = claims ? sl_json_object(quoted(claims)) : NULL;
    return id;
}

static const char *mint_at(struct sl_policy *p, const struct sl_identity *id, uint64_t now, bool *reused)
{
    struct sl_slice value;
    const struct sl_template_vars vars = {.route = SL_S("r"), .identity = id, .tier = SL_S("gold")};
    assert_int_equal(sl_mint(p->routes[0].mint, &vars, now, &arena, &value, reused), 0);
    return sl_arena_strdup(&arena, value);
}

/* The claims without what differs from one to the next. */
static const char *claims_of(const char *value)
{
    struct sl_token t;
    const struct sl_slice text = sl_slice_str(strncmp(value, "Bearer ", 7) == 0 ? value + 7 : value);
    assert_int_equal(sl_token_parse(text, &arena, &t), SL_TOKEN_OK);
    assert_true(sl_token_is_type(&t, "JWT"));
    json_t *c = sl_token_claims(&t, &arena);
    assert_non_null(c);
    const json_int_t iat = json_integer_value(json_object_get(c, "iat"));
    assert_int_equal(iat, json_integer_value(json_object_get(c, "nbf")));
    assert_int_equal(json_string_length(json_object_get(c, "jti")), SL_JTI_CHARS);
    json_object_set_new(c, "life", json_integer(json_integer_value(json_object_get(c, "exp")) - iat));
    for (size_t i = 0; i < 4; i++)
        json_object_del(c, (const char *const[]){"iat", "nbf", "exp", "jti"}[i]);
    char *out = json_dumps(c, JSON_COMPACT | JSON_SORT_KEYS);
    const char *kept = sl_arena_strdup(&arena, sl_slice_str(out));
    free(out);
    json_decref(c);
    return kept;
}

static void what_it_says(void **state)
{
    (void)state;
    bool reused;
    struct sl_policy *p =
        minting(", 'audiences': ['one', 'two'], 'lifetime': '1m', 'claims': {'tenant': "
                "'$claim.tenant', 'deep': '$claim.a', 'text': 'of $claim.a.n', 'no': '$claim.no', "
                "'null': '$claim.null', 'tier': '$tier', 'cost': '$$5'}");
    struct sl_identity *id =
        identity_of(p, "alice\\\"\x01", "{'tenant': 't', 'a': {'n': [1, true]}, 'null': null}");
    assert_string_equal(
        claims_of(mint_at(p, id, NOW, &reused)),
        "{\"aud\":[\"one\",\"two\"],\"cost\":\"$5\",\"deep\":{\"n\":[1,true]},\"iss\":\"https://"
        "gw.test\",\"life\":60,\"sub\":\"alice\\\\\\\"\",\"tenant\":\"t\",\"text\":\"of 1,true\","
        "\"tier\":\"gold\"}");
    assert_string_equal(
        claims_of(mint_at(p, NULL, NOW, &reused)),
        "{\"aud\":[\"one\",\"two\"],\"cost\":\"$5\",\"iss\":\"https://gw.test\",\"life\":60,\"text\":"
        "\"of \",\"tier\":\"gold\"}");
    sl_identity_unref(id);
    sl_policy_free(p);
}

static void serves_until_shortly_before_its_end(void **state)
{
    (void)state;
    bool reused;
    struct sl_policy *p = minting(", 'header': 'X-Token'");
    struct sl_identity *a = identity_of(p, "a", NULL), *b = identity_of(p, "b", NULL),
                       *again = identity_of(p, "a", NULL);
    const char *first = mint_at(p, a, NOW, &reused);
    assert_false(reused);
    assert_true(strncmp(first, "Bearer ", 7) != 0);
    assert_string_equal(mint_at(p, again, NOW + 269, &reused), first);
    assert_true(reused);
    assert_string_not_equal(mint_at(p, b, NOW, &reused), first);
    assert_false(reused);
    assert_string_not_equal(mint_at(p, a, NOW + 270, &reused), first);
    assert_false(reused);
    sl_identity_unref(a);
    sl_identity_unref(b);
    sl_identity_unref(again);
    sl_policy_free(p);

    p = minting(", 'lifetime': '10s'");
    a = identity_of(p, "a", NULL);
    first = mint_at(p, a, NOW, &reused);
    assert_true(strncmp(first, "Bearer ", 7) == 0);
    assert_string_equal(mint_at(p, a, NOW + 7, &reused), first);
    assert_string_not_equal(mint_at(p, a, NOW + 8, &reused), first);
    sl_identity_unref(a);
    sl_policy_free(p);
}

/* What stands in one claim cannot pass for another's: the text that tokens are found by is JSON. */
static void no_name_is_mistaken_for_another(void **state)
{
    (void)state;
    bool reused;
    struct sl_policy *p = minting(", 'claims': {'x': '$claim.x'}");
    struct sl_identity *a = identity_of(p, "a\",\"x\":\"b", NULL), *b = identity_of(p, "a", "{'x': 'b'}");
    assert_string_not_equal(claims_of(mint_at(p, a, NOW, &reused)), claims_of(mint_at(p, b, NOW, &reused)));
    assert_false(reused);
    sl_identity_unref(a);
    sl_identity_unref(b);
    sl_policy_free(p);
}

static void too_much_to_say(void **state)
{
    (void)state;
    bool reused;
    struct sl_slice value;
    struct sl_policy *p = minting("");
    char *name = sl_arena_alloc(&arena, SL_TOKEN_MAX);
    memset(name, 'n', SL_TOKEN_MAX - 1);
    name[SL_TOKEN_MAX - 1] = '\0';
    struct sl_identity *id = identity_of(p, name, NULL);
    const struct sl_template_vars vars = {.identity = id};
    assert_int_equal(sl_mint(p->routes[0].mint, &vars, NOW, &arena, &value, &reused), -EMSGSIZE);
    sl_identity_unref(id);
    sl_policy_free(p);
}

/* More identities than there is room for: bounded, and each still gets its own. */
static void a_full_cache_forgets(void **state)
{
    (void)state;
    struct sl_minted_cache c = {0};
    const struct sl_mint *mint = (const struct sl_mint *)&c;
    unsigned found = 0;
    for (unsigned i = 0; i < 4 * SL_MINTED_ROWS * SL_MINTED_WAYS; i++) {
        const struct sl_slice says = sl_slice((const char *)&i, sizeof(i));
        assert_null(sl_minted_find(&c, mint, says, NOW).p);
        sl_minted_keep(&c, mint, says, says, NOW, NOW + 1);
        assert_memory_equal(sl_minted_find(&c, mint, says, NOW).p, &i, sizeof(i));
        assert_null(sl_minted_find(&c, mint, says, NOW + 1).p);
        assert_null(sl_minted_find(&c, NULL, says, NOW).p);
    }
    for (unsigned i = 0; i < 4 * SL_MINTED_ROWS * SL_MINTED_WAYS; i++)
        found += sl_minted_find(&c, mint, sl_slice((const char *)&i, sizeof(i)), NOW).p != NULL;
    assert_true(found > SL_MINTED_ROWS * SL_MINTED_WAYS / 2 && found <= SL_MINTED_ROWS * SL_MINTED_WAYS);
    assert_int_equal(c.bytes, (size_t)found * 2 * sizeof(unsigned));
    sl_minted_free(&c);
    assert_int_equal(c.bytes, 0);
}

static void what_is_of_one_request_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"$request_id",     "$path", "at $time_iso", "$client_ip",
                                      "$correlation_id", "$host", "$query"};
    for (size_t i = 0; i < SL_ARRAY_LEN(bad); i++) {
        struct sl_diag diag;
        const char *auth = sl_arena_printf(&arena, ", 'claims': {'x': '%s'}", bad[i]);
        assert_null(
            signing_policy(signer_of("a", "", fresh_pem(SL_JOSE_ES256), NULL), route_with(auth), &diag));
        assert_told(&diag, "a token serves many requests");
        assert_int_equal(diag.v[diag.n - 1].pos.line, 1);
        sl_diag_free(&diag);
    }
}

/* On no route may a client fill in what an upstream takes for the gateway's word. */
static void no_other_name_becomes_the_tokens(void **state)
{
    (void)state;
    struct sl_diag diag;
    assert_null(signing_policy(
        signer_of("a", "", fresh_pem(SL_JOSE_ES256), NULL),
        "'upstreams': {'u': {'targets': [{'address': '127.0.0.1:9000'}], 'upstream_auth': {'type': 'sign', "
        "'signer': 'a', 'header': 'X-Token'}}, 'v': {'targets': [{'address': '127.0.0.1:9000'}]}}, 'routes': "
        "{'r': "
        "{'upstream': 'v', 'auth': ['public'], 'request': {'headers': {'rename': {'X-Mine': 'x-token'}}}}}",
        &diag));
    assert_told(&diag, "\"X-Token\" tells an upstream who is calling");
    assert_int_equal(diag.errors, 1);
    sl_diag_free(&diag);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        unit_test_arena(what_it_says),
        unit_test_arena(serves_until_shortly_before_its_end),
        unit_test_arena(no_name_is_mistaken_for_another),
        unit_test_arena(too_much_to_say),
        unit_test_arena(a_full_cache_forgets),
        unit_test_arena(what_is_of_one_request_is_refused),
        unit_test_arena(no_other_name_becomes_the_tokens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
