/* SPDX-License-Identifier: Apache-2.0 */
/* The opening handshake: who asks for a WebSocket, by which protocol, and which answer is one to it. */
#include "http/websocket.h"
#include "http_test.h"

#define KEY    "dGhlIHNhbXBsZSBub25jZQ==" /* RFC 6455 section 1.3 */
#define ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

static void add(struct sl_headers *h, const char *name, const char *value)
{
    assert_int_equal(sl_headers_add(h, &arena, sl_slice_str(name), sl_slice_str(value)), 0);
}

static struct sl_request asking(const char *version)
{
    struct sl_request r = {.method = SL_METHOD_GET, .framing = SL_FRAMING_NONE, .upgrade = true};
    add(&r.headers, "Upgrade", "websocket");
    add(&r.headers, "Sec-WebSocket-Key", KEY);
    add(&r.headers, "Sec-WebSocket-Version", version);
    return r;
}

static void test_asked(void **state)
{
    (void)state;
    struct sl_request r = asking("13");
    assert_true(sl_websocket_asked(&r));
    r.method = SL_METHOD_POST;
    assert_false(sl_websocket_asked(&r));
    r = asking("8");
    assert_false(sl_websocket_asked(&r));
    r = asking("13");
    r.upgrade = false;
    assert_false(sl_websocket_asked(&r));
}

/* RFC 8441 section 5: :protocol stands for Upgrade, and there is no key. */
static void test_asked_by_extended_connect(void **state)
{
    (void)state;
    struct sl_request r = {.method = SL_METHOD_GET, .extended_connect = true, .upgrade = true};
    assert_false(sl_websocket_asked(&r));
    add(&r.headers, "sec-websocket-version", "13");
    assert_true(sl_websocket_asked(&r));
    add(&r.headers, "sec-websocket-version", "13");
    assert_false(sl_websocket_asked(&r));
}

static void test_accept(void **state)
{
    (void)state;
    struct sl_request r = asking("13");
    assert_slice(sl_websocket_accept(&r, &arena), ACCEPT);
    struct sl_response res = {.status = 101, .upgrade = true};
    add(&res.headers, "Upgrade", "websocket");
    add(&res.headers, "Sec-WebSocket-Accept", ACCEPT);
    assert_true(sl_websocket_agreed(&r, &res));
    add(&r.headers, "Sec-WebSocket-Key", KEY);
    assert_null(sl_websocket_accept(&r, &arena).p);
    assert_false(sl_websocket_agreed(&r, &res));
}

static void test_a_key_is_fresh(void **state)
{
    (void)state;
    char a[SL_WEBSOCKET_KEY_LEN], b[SL_WEBSOCKET_KEY_LEN];
    assert_int_equal(sl_websocket_key(a), 0);
    assert_int_equal(sl_websocket_key(b), 0);
    assert_memory_not_equal(a, b, sizeof(a));
    assert_memory_equal(a + sizeof(a) - 2, "==", 2);
    struct sl_request r = {.upgrade = true};
    assert_int_equal(sl_headers_add(&r.headers, &arena, SL_S("Sec-WebSocket-Key"), sl_slice(a, sizeof(a))),
                     0);
    assert_int_equal(sl_websocket_accept(&r, &arena).n, sizeof(ACCEPT) - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        unit_test_arena(test_asked),
        unit_test_arena(test_asked_by_extended_connect),
        unit_test_arena(test_accept),
        unit_test_arena(test_a_key_is_fresh),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
