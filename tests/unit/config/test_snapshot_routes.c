/* SPDX-License-Identifier: Apache-2.0 */
/* What upstreams and routes of a policy become. */
#include "base/clock.h"
#include "config_test.h"
#include "http/message.h"
#include "pki_test.h"

#define MS SL_NS_PER_MS
#define S  SL_NS_PER_SEC

static void test_upstreams(void **state)
{
    (void)state;
    EVP_PKEY *key = EVP_EC_gen("P-256");
    struct pem ca = pem_self_signed(&(struct pki_spec){.cn = "ca", .to_days = 9}, key);
    EVP_PKEY_free(key);
    struct sl_result x = {0};
    sl_diag_init(&x.diag);
    x.r = sl_bundle_from_text(
        "p.yaml",
        SL_S(SL_OK "upstreams:\n  u:\n    targets: [{address: \"10.0.0.1:80\", weight: 9}, {address: "
                   "\"[fd00::1]:81\"}]\n    balance: round_robin\n    tls: {sni: a.b}\n"
                   "    keepalive: {idle: 0, requests: 5}\n    max_pending: 3\n"
                   "  v: {targets: [{address: \"10.0.0.2:80\"}], balance: \"hash:header:X-Id\"}\n"),
        &x.diag, &x.bundle);
    assert_int_equal(sl_bundle_put(x.bundle, false, X509_get_default_cert_file(), sl_slice_str(ca.text)), 0);
    result_judge(&x);
    assert_string_equal(result_said(&x), "");
    const struct sl_upstream *u = &x.s->upstreams[0], *v = &x.s->upstreams[1];
    assert_int_equal(u->n_targets, 2);
    assert_string_equal(u->targets[0].text, "10.0.0.1:80");
    assert_int_equal(u->targets[0].weight, 9);
    assert_int_equal(u->targets[1].weight, 1);
    assert_int_equal(sl_sockaddr_port(&u->targets[1].address), 81);
    assert_true(u->tls.enabled);
    assert_string_equal(u->tls.sni, "a.b");
    assert_slice(u->tls.ca.data, ca.text); /* the system's, as the loader found them */
    assert_int_equal(u->keepalive.idle, 0);
    assert_int_equal(u->keepalive.idle_timeout, 55 * S);
    assert_int_equal(u->keepalive.requests, 5);
    assert_int_equal(u->max_pending, 3);
    assert_int_equal(u->balance, SL_BALANCE_ROUND_ROBIN);
    assert_int_equal(v->balance, SL_BALANCE_HASH_HEADER);
    assert_slice(v->hash_header, "X-Id");
    assert_false(v->tls.enabled);
    assert_int_equal(v->keepalive.idle, 64);
    assert_int_equal(v->keepalive.requests, 10000);
    assert_int_equal(v->max_pending, 1000);
    result_free(&x);
}

static void test_routes(void **state)
{
    (void)state;
    struct sl_result x = accepted(
        "version: 1\nlisteners: {w: {bind: [\"127.0.0.1:80\"]}}\n"
        "auth: {k: {type: key}, j: {type: jwt, algorithms: [ES256], jwks: {}, roles_claim: r}}\n"
        "upstreams: {u: {targets: [{address: \"10.0.0.2:80\"}]}}\n"
        "routes:\n  a:\n    hosts: [API.Example.com, \"*.x.org\"]\n    paths: [/v1, =/v1/e, "
        "\"~^/r[0-9]+$\"]\n"
        "    methods: [GET, PATCH, PURGE, TRACE]\n    headers: {Accept-Version: \"1\"}\n    upstream: u\n"
        "    rewrite: {strip_prefix: /v1}\n    auth: [j, k, public]\n    require: {roles: [x], scopes: [s], "
        "groups: [z]}\n"
        "    sources: {allow: [10.0.0.0/8], deny: [10.1.0.0/16]}\n    rate_limit: {second: 50}\n"
        "    timeouts: {total: 9s}\n    request: {body: 2MiB, headers: {set: {Host: h, A: \"$time_ms\"}, "
        "add: {B: \"\"}, "
        "remove: [C], rename: {D: E}}}\n    response: {headers: {remove: [Server]}}\n"
        "  b: {auth: [public], respond: {status: 418, body: \"x\\ny\", headers: {X-K: v}}}\n"
        "  c: {auth: [public], redirect: {location: \"https://$host/\"}}\n"
        "  d: {auth: [public], split: {u: 3}, retries: {on: [reset, 503, \"502\"], budget: 7%}}\n");
    const struct sl_retries *again = &x.s->routes[3].retries;
    assert_int_equal(again->max, 1);
    assert_int_equal(again->budget, 7);
    assert_int_equal(again->on.n, 3);
    assert_int_equal(again->on.v[0], SL_RETRY_RESET);
    assert_int_equal(again->on.v[1], 503);
    assert_int_equal(again->on.v[2], 502);
    assert_int_equal(x.s->routes[0].retries.max, 0);
    const struct sl_split *split = x.s->routes[3].split;
    assert_int_equal(x.s->routes[3].n_split, 1);
    assert_ptr_equal(split[0].upstream, &x.s->upstreams[0]);
    assert_int_equal(split[0].weight, 3);
    const struct sl_route *a = &x.s->routes[0], *b = &x.s->routes[1], *c = &x.s->routes[2];
    assert_slice(a->hosts.v[0], "api.example.com");
    assert_slice(a->hosts.v[1], "*.x.org");
    assert_int_equal(a->n_paths, 3);
    assert_int_equal(a->paths[0].kind, SL_PATH_PREFIX);
    assert_slice(a->paths[0].text, "/v1");
    assert_int_equal(a->paths[1].kind, SL_PATH_EXACT);
    assert_slice(a->paths[1].text, "/v1/e");
    assert_int_equal(a->paths[2].kind, SL_PATH_REGEX);
    assert_slice(a->paths[2].text, "^/r[0-9]+$");
    assert_int_equal(a->paths[2].pos.line, 8);
    assert_int_equal(a->paths[2].pos.column, 26);
    assert_string_equal(a->paths[2].pos.pointer, "/routes/a/paths/2");
    assert_int_equal(a->methods, 1u << SL_METHOD_GET | 1u << SL_METHOD_PATCH | 1u << SL_METHOD_TRACE);
    assert_int_equal(a->other_methods.n, 1);
    assert_slice(a->other_methods.v[0], "PURGE");
    assert_slice(a->headers.v[0].name, "Accept-Version");
    assert_slice(a->headers.v[0].value, "1");
    assert_int_equal(a->action, SL_ACTION_UPSTREAM);
    assert_ptr_equal(a->upstream, &x.s->upstreams[0]);
    assert_slice(a->strip_prefix, "/v1");
    assert_int_equal(a->n_auth, 2);
    assert_ptr_equal(a->auth[0], &x.s->auths[1]);
    assert_ptr_equal(a->auth[1], &x.s->auths[0]);
    assert_true(a->is_public);
    assert_slice(a->require_roles.v[0], "x");
    assert_slice(a->require_scopes.v[0], "s");
    assert_slice(a->require_groups.v[0], "z");
    assert_int_equal(a->sources_allow.v[0].len, 8);
    assert_int_equal(a->sources_deny.v[0].len, 16);
    assert_int_equal(a->rate_limit.windows[0].limit, 50);
    assert_int_equal(a->timeouts.total, 9 * S);
    assert_int_equal(a->timeouts.connect, 1 * S);
    assert_int_equal(a->request_body, 2 << 20);
    assert_int_equal(a->request_headers.set.n, 2);
    assert_slice(a->request_headers.set.v[1].value, "$time_ms");
    assert_slice(a->request_headers.add.v[0].value, "");
    assert_slice(a->request_headers.remove.v[0], "C");
    assert_slice(a->request_headers.rename.v[0].value, "E");
    assert_slice(a->response_headers.remove.v[0], "Server");
    assert_int_equal(b->respond.status, 418);
    assert_slice(b->respond.body, "x\ny");
    assert_slice(b->respond.headers.v[0].name, "X-K");
    assert_int_equal(b->rate_limit.pos.line, 0);
    assert_int_equal(c->action, SL_ACTION_REDIRECT);
    assert_int_equal(c->redirect.status, 302);
    assert_slice(c->redirect.location, "https://$host/");
    result_free(&x);
}

/* The bits of config/ are those of http/, which config/ may not include. */
static void test_method_bits(void **state)
{
    static const struct {
        const char *name;
        enum sl_method bit;
    } methods[] = {{"GET", SL_METHOD_GET},     {"HEAD", SL_METHOD_HEAD},       {"POST", SL_METHOD_POST},
                   {"PUT", SL_METHOD_PUT},     {"DELETE", SL_METHOD_DELETE},   {"OPTIONS", SL_METHOD_OPTIONS},
                   {"PATCH", SL_METHOD_PATCH}, {"CONNECT", SL_METHOD_CONNECT}, {"TRACE", SL_METHOD_TRACE}};
    (void)state;
    assert_int_equal(SL_ARRAY_LEN(methods), SL_METHOD_COUNT - 1);
    for (size_t i = 0; i < SL_ARRAY_LEN(methods); i++) {
        char text[256];
        (void)snprintf(text, sizeof(text),
                       "version: 1\nlisteners: {w: {bind: [\"127.0.0.1:80\"]}}\n"
                       "routes: {r: {auth: [public], respond: {}, methods: [%s]}}\n",
                       methods[i].name);
        struct sl_result x = accepted(text);
        assert_int_equal(x.s->routes[0].methods, 1u << methods[i].bit);
        result_free(&x);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_upstreams),
        cmocka_unit_test(test_routes),
        cmocka_unit_test(test_method_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
