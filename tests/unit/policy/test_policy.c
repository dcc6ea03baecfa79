/* SPDX-License-Identifier: Apache-2.0 */
/* A snapshot compiled whole: every fault is told in one run, and nothing of it is left behind. */
#include "policy_test.h"

static struct sl_diag diag;

static int setup(void **state)
{
    sl_diag_init(&diag);
    return with_arena(state);
}

static int teardown(void **state)
{
    sl_diag_free(&diag);
    return drop_arena(state);
}

static void all_parts(void **state)
{
    (void)state;
    struct sl_policy *p = policy_of(POLICY(
        "'tiers': {'gold': {'rate_limit': {'second': 5}}, 'free': {}},"
        "'consumers': {'a': {'tier': 'gold', 'rate_limit': {'hour': 7}}, 'b': {'tier': 'gold'}},"
        "'routes': {'r': {'paths': ['/'], 'upstream': 'u', 'auth': ['public'], 'rate_limit': {'minute': 3},"
        "  'request': {'headers': {'set': {'X-Route': '$route'}}}, 'response': {'headers': {'remove': "
        "['Server']}}},"
        " 'fixed': {'paths': ['/fixed'], 'respond': {'status': 204, 'headers': {'X-A': '$time_ms'}}, 'auth': "
        "['public']},"
        " 'go': {'paths': ['/go'], 'redirect': {'location': 'https://$host/'}, 'auth': ['public']}}"));
    const struct sl_snapshot *s = p->snapshot;
    assert_int_equal(s->n_routes, 3);
    for (size_t i = 0; i < s->n_routes; i++) {
        const struct sl_route_policy *r = &p->routes[i];
        assert_ptr_equal(r->route, &s->routes[i]);
        assert_int_equal(r->limits != NULL, !strcmp(r->route->name, "r"));
        assert_int_equal(r->request != NULL, !strcmp(r->route->name, "r"));
        assert_int_equal(r->response != NULL, !strcmp(r->route->name, "r"));
        assert_int_equal(r->respond != NULL, !strcmp(r->route->name, "fixed"));
        assert_int_equal(r->redirect != NULL, !strcmp(r->route->name, "go"));
    }
    for (size_t i = 0; i < s->n_tiers; i++) {
        assert_ptr_equal(p->tiers[i].tier, &s->tiers[i]);
        assert_int_equal(p->tiers[i].limits != NULL, !strcmp(s->tiers[i].name, "gold"));
    }
    for (size_t i = 0; i < s->n_consumers; i++)
        assert_int_equal(p->consumer_limits[i] != NULL, !strcmp(s->consumers[i].name, "a"));
    sl_policy_free(p);
    sl_policy_free(NULL);
}

static void respond_headers_are_templates(void **state)
{
    (void)state;
    struct sl_policy *p = policy_of(POLICY("'routes': {'fixed': {'respond': {'status': 200, 'headers': "
                                           "{'X-Route': 'at $route'}}, 'auth': ['public']}}"));
    struct sl_headers h = {0};
    const struct sl_template_vars vars = {.route = SL_S("fixed")};
    assert_int_equal(sl_transform_run(p->routes[0].respond, &vars, &h, &arena), 0);
    assert_string_equal(header(&h, "X-Route"), "at fixed");
    sl_policy_free(p);
}

static void all_faults_in_one_run(void **state)
{
    (void)state;
    struct sl_policy *p = NULL;
    struct sl_snapshot *s = snapshot_of(
        POLICY("'auth': {'j': {'type': 'jwt', 'algorithms': ['RS256'], 'jwks': {'keys': [{'kty': 'RSA', 'n': "
               "'AQAB',"
               "  'e': 'AQAB'}]}, 'claims_to_headers': {'sub': 'X-User-Id'}}},"
               "'routes': {'a': {'paths': ['~(', '/a'], 'upstream': 'u', 'auth': ['j'],"
               "  'request': {'headers': {'set': {'X-A': '$nope'}, 'rename': {'X-B': 'x-user-id'}}}},"
               " 'b': {'paths': ['/b'], 'redirect': {'location': '$hots'}, 'auth': ['public']}}"),
        &diag);
    assert_int_equal(sl_policy_new(s, &diag, &p), -EINVAL);
    assert_null(p);
    assert_told(&diag, "regular expression");
    assert_told(&diag, "less than 2048 bits");
    assert_told(&diag, "no key that can verify");
    assert_told(&diag, "unknown variable $nope");
    assert_told(&diag, "must not fill it in under another name");
    assert_told(&diag, "did you mean $host?");
    assert_int_equal(diag.errors, 5);
    for (size_t i = 0; i < diag.n; i++)
        assert_true(diag.v[i].pos.line > 0);
    sl_snapshot_unref(s);
}

/* Whether by a claim or by a certificate. */
static void no_rename_fills_in_who_is_calling(void **state)
{
    (void)state;
    struct sl_policy *p = NULL;
    struct sl_snapshot *s = snapshot_of(
        POLICY(
            "'auth': {'cert': {'type': 'mtls', 'certificate_to_headers': {'cn': 'X-Client'}}},"
            "'routes': {'a': {'upstream': 'u', 'auth': ['public'], 'request': {'headers': {'rename': {'X-B': "
            "'x-client', 'X-C': 'X-D'}}}}}"),
        &diag);
    assert_int_equal(sl_policy_new(s, &diag, &p), -EINVAL);
    assert_told(&diag, "must not fill it in under another name");
    assert_int_equal(diag.errors, 1);
    sl_snapshot_unref(s);
}

/* Policies come and go with reloads: a refused one leaves the snapshot as it was, with one reference. */
static void a_snapshot_outlives_a_refused_policy(void **state)
{
    (void)state;
    struct sl_policy *p = NULL;
    struct sl_snapshot *s =
        snapshot_of(POLICY("'routes': {'a': {'paths': ['~('], 'upstream': 'u', 'auth': ['public']}}"), &diag);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(sl_policy_new(s, &diag, &p), -EINVAL);
    assert_int_equal(atomic_load(&s->refs), 1);
    sl_snapshot_unref(s);
}

#define unit_test_policy(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        unit_test_policy(all_parts),
        unit_test_policy(respond_headers_are_templates),
        unit_test_policy(all_faults_in_one_run),
        unit_test_policy(no_rename_fills_in_who_is_calling),
        unit_test_policy(a_snapshot_outlives_a_refused_policy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
