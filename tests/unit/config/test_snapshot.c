/* SPDX-License-Identifier: Apache-2.0 */
/* What a policy becomes: values as written, and the defaults of what is not. */
#include "base/clock.h"
#include "config_test.h"
#include "harness/ca.h"
#include "http/message.h"

#define MS SL_NS_PER_MS
#define S  SL_NS_PER_SEC

static void test_defaults(void **state)
{
    (void)state;
    struct sl_result x = accepted(SL_OK);
    const struct sl_snapshot *s = x.s;
    assert_true(s->workers >= 1);
    assert_null(s->user);
    assert_int_equal(s->n_listeners, 1);
    const struct sl_listener *l = &s->listeners[0];
    assert_string_equal(l->name, "w");
    assert_string_equal(l->pos.file, "p.yaml");
    assert_string_equal(l->pos.pointer, "/listeners/w");
    assert_int_equal(l->pos.line, 2);
    assert_int_equal(l->pos.column, 13);
    assert_false(l->tls.enabled);
    assert_int_equal(l->timeouts.handshake, 5 * S);
    assert_int_equal(l->timeouts.headers, 5 * S);
    assert_int_equal(l->timeouts.body, 30 * S);
    assert_int_equal(l->timeouts.idle, 60 * S);
    assert_int_equal(l->limits.connections, 20000);
    assert_int_equal(l->limits.connections_per_source, 0);
    assert_int_equal(l->limits.min_rate.count, 240);
    assert_int_equal(l->limits.headers, 32 << 10);
    assert_int_equal(l->limits.header_count, 100);
    assert_int_equal(l->limits.body, 8 << 20);
    assert_int_equal(s->kernel.mode, SL_KERNEL_OFF);
    assert_int_equal(s->admin.n_bind, 0);
    assert_int_equal(s->n_tiers, 1);
    assert_string_equal(s->tiers[0].name, "default");
    assert_int_equal(s->tiers[0].rate_limit.n_windows, 0);
    assert_ptr_equal(s->anonymous, &s->tiers[0]);
    assert_string_equal(s->correlation_id.header, "X-Correlation-Id");
    assert_true(s->correlation_id.trust && s->correlation_id.echo);
    assert_false(s->access_log.enabled);
    assert_true(s->metrics.by_route && s->metrics.by_code && s->metrics.by_tier);
    assert_int_equal(s->metrics.max_series, 5000);
    const struct sl_route *r = &s->routes[0];
    assert_int_equal(r->action, SL_ACTION_RESPOND);
    assert_int_equal(r->respond.status, 200);
    assert_int_equal(r->respond.body.n, 0);
    assert_true(r->is_public);
    assert_int_equal(r->n_auth, 0);
    assert_int_equal(r->methods, 0);
    assert_int_equal(r->timeouts.connect, 1 * S);
    assert_int_equal(r->timeouts.first_byte, 30 * S);
    assert_int_equal(r->timeouts.idle, 30 * S);
    assert_int_equal(r->timeouts.total, 0);
    assert_true(r->request_body == UINT64_MAX);
    assert_int_equal(strlen(s->hash), 64);
    result_free(&x);
}

static void test_listeners(void **state)
{
    char text[SL_SOCK_STRLEN];
    (void)state;
    struct sl_result x =
        accepted("version: 1\n"
                 "workers: 3\ndrain_timeout: 45s\nworker_memory: 1GiB\nuser: gate\ntrusted_proxies: "
                 "[10.9.0.0/16, \"2001:db8::1\"]\n"
                 "listeners:\n  w:\n    bind: [\"0.0.0.0:8080\", \"[::1]:8081\"]\n    protocols: [http/1.1]\n"
                 "    timeouts: {handshake: 500ms, idle: 2m}\n    limits: {headers: 1KiB, body: 0B, "
                 "header_count: 8, streams: 7}\n"
                 "  x: {bind: [\"0.0.0.0:81\"]}\n  y: {bind: [\"0.0.0.0:82\"], protocols: [http/1.1, h2]}\n"
                 "  z: {bind: [\"0.0.0.0:83\"], protocols: [h2]}\n"
                 "admin: {bind: [\"unix:/run/x.sock\", \"127.0.0.1:9901\"]}\n"
                 "routes: {r: {auth: [public], respond: {}}}\n");
    const struct sl_snapshot *s = x.s;
    assert_int_equal(s->workers, 3);
    assert_int_equal(s->drain_timeout, 45 * SL_NS_PER_SEC);
    assert_int_equal(s->worker_memory, 1 << 30);
    assert_string_equal(s->user, "gate");
    assert_int_equal(s->trusted_proxies.n, 2);
    assert_int_equal(s->trusted_proxies.v[0].len, 16);
    assert_int_equal(s->trusted_proxies.v[1].len, 128);
    assert_int_equal(s->listeners[0].n_bind, 2);
    assert_string_equal(sl_sockaddr_text(&s->listeners[0].bind[1], text), "[::1]:8081");
    assert_int_equal(s->listeners[0].timeouts.handshake, 500 * MS);
    assert_int_equal(s->listeners[0].timeouts.idle, 120 * S);
    assert_int_equal(s->listeners[0].timeouts.body, 30 * S);
    assert_int_equal(s->listeners[0].limits.headers, 1024);
    assert_int_equal(s->listeners[0].limits.body, 0);
    assert_int_equal(s->listeners[0].limits.streams, 7);
    assert_int_equal(s->listeners[1].limits.streams, 100);
    assert_true(s->listeners[0].protocols.http1 && !s->listeners[0].protocols.h2);
    assert_true(s->listeners[1].protocols.http1 && !s->listeners[1].protocols.h2);
    assert_true(s->listeners[2].protocols.http1 && s->listeners[2].protocols.h2);
    assert_false(s->listeners[2].protocols.h2_first);
    assert_true(!s->listeners[3].protocols.http1 && s->listeners[3].protocols.h2_first);
    assert_string_equal(sl_sockaddr_text(&s->admin.bind[0], text), "unix:/run/x.sock");
    assert_string_equal(sl_sockaddr_text(&s->admin.bind[1], text), "127.0.0.1:9901");
    result_free(&x);
}

static void test_kernel(void **state)
{
    (void)state;
    struct sl_result x =
        accepted(SL_OK "kernel:\n  interfaces: [eth0, veth-a]\n  shadow: true\n  mode: generic\n"
                       "  allow: [192.0.2.7]\n  deny: [203.0.113.0/24, \"2001:db8:bad::/48\"]\n"
                       "  per_source: {new_connections: 600/m, bytes: 100MiB/s}\n"
                       "  per_prefix: {new_connections: 9/s}\n  ipv6_prefix: 56\n"
                       "  per_listener: {new_connections: 50/s, burst: 3}\n"
                       "  fragments: pass\n  syn_cookies: always\n"
                       "  table_size: 1000000\n");
    const struct sl_kernel *k = &x.s->kernel;
    assert_int_equal(k->mode, SL_KERNEL_GENERIC);
    assert_int_equal(k->pos.line, 4);
    assert_true(k->shadow);
    assert_int_equal(k->interfaces.n, 2);
    assert_slice(k->interfaces.v[1], "veth-a");
    assert_int_equal(k->allow.v[0].len, 32);
    assert_int_equal(k->deny.v[1].ip.family, SL_AF_INET6);
    assert_int_equal(k->per_source.new_connections.count, 600);
    assert_int_equal(k->per_source.new_connections.per_ns, 60 * S);
    assert_int_equal(k->per_source.packets.count, 0);
    assert_int_equal(k->per_source.bytes.count, 100 << 20);
    assert_int_equal(k->per_source.bytes.per_ns, S);
    assert_int_equal(k->per_source.burst, 2);
    assert_int_equal(k->per_listener.new_connections.count, 50);
    assert_int_equal(k->per_listener.burst, 3);
    assert_int_equal(k->per_prefix.new_connections.count, 9);
    assert_int_equal(k->per_prefix.burst, 2);
    assert_int_equal(k->ipv6_prefix, 56);
    assert_int_equal(k->fragments, SL_FRAGMENTS_PASS);
    assert_int_equal(k->table_size, 1 << 21);
    assert_int_equal(k->syn_cookies, SL_SYN_COOKIES_ALWAYS);
    result_free(&x);
    x = accepted(SL_OK "kernel: {mode: off}\n");
    assert_int_equal(x.s->kernel.mode, SL_KERNEL_OFF);
    assert_int_equal(x.s->kernel.table_size, 1 << 19);
    assert_int_equal(x.s->kernel.syn_cookies, SL_SYN_COOKIES_AUTO);
    assert_int_equal(x.s->kernel.fragments, SL_FRAGMENTS_DROP);
    assert_int_equal(x.s->kernel.ipv6_prefix, 64);
    assert_int_equal(x.s->kernel.per_prefix.new_connections.count, 0);
    assert_int_equal(x.s->kernel.per_listener.new_connections.count, 0);
    assert_int_equal(x.s->kernel.samples, 100);
    assert_int_equal(x.s->kernel.top_sources, SL_TOP_COUNT_DROPPED);
    result_free(&x);
}

static void test_ldap(void **state)
{
    (void)state;
    static const char tls[] = "tls: {ca: \"" TEST_CA "\"}";
    struct sl_arena arena;
    sl_arena_init(&arena, 0);
    struct sl_result x = accepted(sl_arena_printf(
        &arena,
        SL_OK "auth:\n"
              "  a: {type: ldap, uri: 'ldaps://Dir.Example', %s, base_dn: 'dc=x'}\n"
              "  b:\n    type: ldap\n    uri: ldap://[::1]:1389\n    start_tls: true\n    %s\n    base_dn: "
              "ou=p,dc=x\n"
              "    attribute: cn\n    bind_dn: cn=gw,dc=x\n    bind_password: secret\n    filter: (a=b)\n"
              "    groups: {base_dn: 'ou=g,dc=x', attribute: ou, member: 'member:1.2.3:'}\n    timeout: 1s\n"
              "    connections: 7\n    realm: r\n    hide: false\n    cache: 0s\n"
              "  c: {type: ldap, uri: 'ldaps://Dir.Example', %s, base_dn: 'dc=x', filter: (a=b)}\n",
        tls, tls, tls));
    const struct sl_auth *a = &x.s->auths[0], *b = &x.s->auths[1], *c = &x.s->auths[2];
    assert_int_equal(a->type, SL_AUTH_LDAP);
    assert_string_equal(a->ldap.host, "dir.example");
    assert_int_equal(a->ldap.ip.family, 0);
    assert_int_equal(a->ldap.port, 636);
    assert_true(a->ldap.tls && b->ldap.tls && b->ldap.start_tls);
    assert_false(a->ldap.start_tls || a->ldap.search || a->ldap.insecure);
    assert_string_equal(a->ldap.attribute, "uid");
    assert_null(a->ldap.bind_dn);
    assert_null(a->ldap.groups.base_dn);
    assert_int_equal(a->ldap.timeout, 5 * S);
    assert_int_equal(a->ldap.connections, 4);
    assert_string_equal(a->basic.realm, "sluice");
    assert_true(a->basic.hide);
    assert_int_equal(a->basic.cache, 60 * S);
    assert_int_equal(b->ldap.ip.family, SL_AF_INET6);
    assert_int_equal(b->ldap.port, 1389);
    assert_true(b->ldap.search && c->ldap.search);
    assert_slice(b->ldap.bind_password.data, "secret");
    assert_true(b->ldap.bind_password.secret);
    assert_string_equal(b->ldap.groups.member, "member:1.2.3:");
    assert_int_equal(b->ldap.connections, 7);
    assert_false(b->basic.hide);
    assert_true(a->ldap.source && a->ldap.source != c->ldap.source);
    result_free(&x);
    sl_arena_free(&arena);
}

static void test_jwt(void **state)
{
    (void)state;
    struct sl_result x = accepted(
        SL_OK
        "auth:\n  a: {type: jwt, algorithms: [ES256, RS256], jwks: {keys: [{kty: EC, n: 1, d: null, e: "
        "true, k: \"\\\"\"}]}}\n"
        "  b:\n    type: jwt\n    algorithms: [HS256]\n    secret: 0123456789abcdef0123456789abcdefX\n"
        "    issuer: https://i\n    audiences: [o, p]\n    clock_skew: 0s\n    claims_to_verify: [nbf]\n"
        "    consumer_claim: client.id\n    roles_claim: realm.roles\n    scopes_claim: scp\n"
        "    claims_to_headers: {sub: X-User-Id, tenant: X-Tenant}\n    from: {cookie: sid}\n"
        "    forward: true\n    cache: 0s\n");
    const struct sl_auth *a = &x.s->auths[0], *b = &x.s->auths[1];
    assert_int_equal(a->type, SL_AUTH_JWT);
    assert_string_equal(a->name, "a");
    assert_slice(a->jwt.jwks.data,
                 "{\"keys\":[{\"kty\":\"EC\",\"n\":1,\"d\":null,\"e\":true,\"k\":\"\\\"\"}]}");
    assert_null(a->jwt.issuer);
    assert_int_equal(a->jwt.audiences.n, 0);
    assert_int_equal(a->jwt.clock_skew, 60 * S);
    assert_true(a->jwt.verify_exp && a->jwt.verify_nbf);
    assert_string_equal(a->jwt.consumer_claim, "sub");
    assert_null(a->jwt.roles_claim);
    assert_string_equal(a->jwt.scopes_claim, "scope");
    assert_string_equal(a->jwt.from_header, "Authorization");
    assert_null(a->jwt.from_cookie);
    assert_null(a->jwt.from_query);
    assert_false(a->jwt.forward);
    assert_int_equal(a->jwt.cache, 300 * S);
    assert_slice(b->jwt.secret.data, "0123456789abcdef0123456789abcdefX");
    assert_true(b->jwt.secret.secret);
    assert_string_equal(b->jwt.issuer, "https://i");
    assert_slice(b->jwt.audiences.v[1], "p");
    assert_int_equal(b->jwt.clock_skew, 0);
    assert_false(b->jwt.verify_exp);
    assert_true(b->jwt.verify_nbf);
    assert_int_equal(b->jwt.n_claims_to_headers, 2);
    assert_string_equal(b->jwt.claims_to_headers[1].claim, "tenant");
    assert_string_equal(b->jwt.claims_to_headers[1].header, "X-Tenant");
    assert_null(b->jwt.from_header);
    assert_string_equal(b->jwt.from_cookie, "sid");
    assert_true(b->jwt.forward);
    assert_int_equal(b->jwt.cache, 0);
    result_free(&x);
}

static void test_key(void **state)
{
    (void)state;
    struct sl_result x =
        accepted(SL_OK "auth: {a: {type: key}, b: {type: key, names: [k1, k2], in: [query], hide: false}}\n");
    const struct sl_auth *a = &x.s->auths[0], *b = &x.s->auths[1];
    assert_int_equal(a->type, SL_AUTH_KEY);
    assert_slice(a->key.names.v[0], "apikey");
    assert_true(a->key.in_header && !a->key.in_query && a->key.hide);
    assert_int_equal(b->key.names.n, 2);
    assert_true(!b->key.in_header && b->key.in_query && !b->key.hide);
    result_free(&x);
}

static void test_limits(void **state)
{
    (void)state;
    struct sl_result x = accepted(
        SL_OK "tiers:\n  p:\n    rate_limit: {day: 9000, second: 5, burst: 2, by: \"header:X-Org\", headers: "
              "off, status: 503, "
              "message: slow down}\n"
              "    kernel: {escalate: {rejections: 9, within: 10s, penalty: 2h}}\n"
              "  q: {rate_limit: {minute: 300, by: ip, headers: both}, kernel: {headroom: 7}}\n  z: {}\n");
    const struct sl_tier *p = &x.s->tiers[0], *q = &x.s->tiers[1], *z = &x.s->tiers[2];
    assert_int_equal(x.s->n_tiers, 4);
    assert_int_equal(p->rate_limit.n_windows, 2);
    assert_int_equal(p->rate_limit.pos.line, 6);
    assert_string_equal(p->rate_limit.windows[0].name, "second");
    assert_int_equal(p->rate_limit.windows[0].limit, 5);
    assert_int_equal(p->rate_limit.windows[0].capacity, 2);
    assert_int_equal(p->rate_limit.windows[1].seconds, 86400);
    assert_int_equal(p->rate_limit.windows[1].capacity, 9000);
    assert_int_equal(p->rate_limit.by, SL_BY_HEADER);
    assert_string_equal(p->rate_limit.by_header, "X-Org");
    assert_int_equal(p->rate_limit.headers, SL_LIMIT_HEADERS_OFF);
    assert_int_equal(p->rate_limit.status, 503);
    assert_string_equal(p->rate_limit.message, "slow down");
    assert_int_equal(p->headroom, 2);
    assert_true(p->escalate.enabled);
    assert_int_equal(p->escalate.rejections, 9);
    assert_int_equal(p->escalate.penalty, 7200 * S);
    assert_int_equal(p->escalate.max_penalty, 7200 * S); /* the default, 1h, would be below the first */
    assert_int_equal(q->rate_limit.windows[0].capacity, 300);
    assert_int_equal(q->rate_limit.by, SL_BY_IP);
    assert_int_equal(q->rate_limit.status, 429);
    assert_int_equal(q->headroom, 7);
    assert_false(q->escalate.enabled);
    assert_int_equal(z->rate_limit.n_windows, 0);
    assert_int_equal(z->headroom, 0);
    result_free(&x);
}

static void test_consumers(void **state)
{
    (void)state;
    struct sl_result x =
        accepted(SL_OK "tiers: {anonymous: {rate_limit: {minute: 1}}, p: {}}\nconsumers:\n"
                       "  a: {tier: p, sources: [198.51.100.0/28], groups: [eu, us], keys: [sha256:"
                       "00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF]}\n"
                       "  \"auth0|b\": {rate_limit: {second: 7}}\n");
    const struct sl_snapshot *s = x.s;
    const struct sl_consumer *a = sl_map_get(&s->consumers_by_name, SL_S("a"));
    const struct sl_consumer *b = sl_map_get(&s->consumers_by_name, SL_S("auth0|b"));
    assert_ptr_equal(a, &s->consumers[0]);
    assert_ptr_equal(a->tier, &s->tiers[1]);
    assert_ptr_equal(s->anonymous, &s->tiers[0]);
    assert_ptr_equal(b->tier, s->anonymous);
    assert_int_equal(a->sources.v[0].len, 28);
    assert_int_equal(a->groups.n, 2);
    assert_int_equal(a->key_hashes.v[0].n, 32);
    assert_memory_equal(a->key_hashes.v[0].p,
                        "\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff", 16);
    assert_null(a->rate_limit);
    assert_ptr_equal(sl_rate_limit_of(a, a->tier), &a->tier->rate_limit);
    assert_int_equal(b->rate_limit->windows[0].limit, 7);
    assert_ptr_equal(sl_rate_limit_of(b, b->tier), b->rate_limit);
    assert_string_equal(b->pos.pointer, "/consumers/auth0|b");
    result_free(&x);
}

/* A hash of digits only is a number to YAML. */
static void test_key_hash_of_digits(void **state)
{
    char text[512];
    (void)state;
    static const char digits[] = "1234567890123456789012345678901234567890123456789012345678901234";
    (void)snprintf(text, sizeof(text), SL_OK "consumers: {a: {keys: [%s]}}\n", digits);
    struct sl_result x = accepted(text);
    assert_int_equal(x.s->consumers[0].key_hashes.v[0].n, 32);
    assert_memory_equal(x.s->consumers[0].key_hashes.v[0].p, "\x12\x34\x56\x78", 4);
    result_free(&x);
}

static void test_observe(void **state)
{
    (void)state;
    struct sl_result x =
        accepted(SL_OK "observe: {metrics: {labels: [code], max_series: 100}, access_log: {path: /var/log/x, "
                       "sample: 0.25}}\ncorrelation_id: {header: X-Id, trust: false, echo: false}\n");
    assert_true(x.s->metrics.by_code && !x.s->metrics.by_route && !x.s->metrics.by_tier);
    assert_int_equal(x.s->metrics.max_series, 100);
    assert_true(x.s->access_log.enabled);
    assert_string_equal(x.s->access_log.path, "/var/log/x");
    assert_true(x.s->access_log.sample == 0.25);
    assert_string_equal(x.s->correlation_id.header, "X-Id");
    assert_true(!x.s->correlation_id.trust && !x.s->correlation_id.echo);
    result_free(&x);
    x = accepted(SL_OK "observe: {access_log: {}}\n");
    assert_string_equal(x.s->access_log.path, "-");
    assert_true(x.s->access_log.sample == 1.0);
    result_free(&x);
}

/* One policy, two syntaxes. */
static void test_json_is_the_same(void **state)
{
    static const char json[] = "{\"version\": 1, \"listeners\": {\"w\": {\"bind\": [\"127.0.0.1:80\"]}},\n"
                               " \"routes\": {\"r\\u00e9\\ud83d\\ude00\": {}}}";
    static const char fine[] = "{\"version\": 1, \"listeners\": {\"w\": {\"bind\": [\"127.0.0.1:80\"]}},\n"
                               " \"routes\": {\"r\": {\"auth\": [\"public\"], \"respond\": {\"body\": "
                               "\"\\u00e9\\ud83d\\ude00\\n\\\"\\/\"}}}}";
    (void)state;
    struct sl_result x = of_text_named("p.json", sl_slice_str(json));
    assert_said(x, "p.json:2:13: error: /routes/r\xc3\xa9\xf0\x9f\x98\x80: ");
    result_free(&x);
    x = of_text_named("p.json", sl_slice_str(fine));
    assert_string_equal(result_said(&x), "");
    assert_slice(x.s->routes[0].respond.body, "\xc3\xa9\xf0\x9f\x98\x80\n\"/");
    result_free(&x);
}

static void test_references_are_counted(void **state)
{
    (void)state;
    struct sl_result x = accepted(SL_OK);
    struct sl_snapshot *again = sl_snapshot_ref(x.s);
    sl_snapshot_unref(x.s);
    x.s = NULL;
    assert_string_equal(again->listeners[0].name, "w"); /* the sanitizers watch */
    sl_snapshot_unref(again);
    sl_snapshot_unref(NULL);
    result_free(&x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_listeners),
        cmocka_unit_test(test_kernel),
        cmocka_unit_test(test_ldap),
        cmocka_unit_test(test_jwt),
        cmocka_unit_test(test_key),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_consumers),
        cmocka_unit_test(test_key_hash_of_digits),
        cmocka_unit_test(test_observe),
        cmocka_unit_test(test_json_is_the_same),
        cmocka_unit_test(test_references_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
