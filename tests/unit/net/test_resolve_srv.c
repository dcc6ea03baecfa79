/* SPDX-License-Identifier: Apache-2.0 */
/* SRV records of answers as nameservers write them, and of answers that are cut short or wrong in a byte. */
#include "net/resolve_priv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/* _a._tcp.x: three records (priority 10 twice, 20 once) behind a CNAME of a shorter TTL; hosts in full. */
#define NAME    2, '_', 'a', 4, '_', 't', 'c', 'p', 1, 'x', 0
#define HOST(c) 1, c, 1, 'x', 0
#define RECORD(priority, weight, port, ttl, c) \
    0xc0, 12, 0, 33, 0, 1, 0, 0, 0, ttl, 0, 11, 0, priority, 0, weight, port >> 8, (port)&255, HOST(c)
static const unsigned char message[] = {0x12,
                                        0x34,
                                        0x81,
                                        0x80,
                                        0,
                                        1,
                                        0,
                                        4,
                                        0,
                                        0,
                                        0,
                                        0,
                                        NAME,
                                        0,
                                        33,
                                        0,
                                        1, /* */
                                        RECORD(20, 9, 1, 90, 'z'),
                                        RECORD(10, 3, 8080, 60, 'a'),
                                        0xc0,
                                        12,
                                        0,
                                        5,
                                        0,
                                        1,
                                        0,
                                        0,
                                        0,
                                        30,
                                        0,
                                        2,
                                        0xc0,
                                        12,
                                        RECORD(10, 0, 8081, 50, 'b')};

static void those_of_the_best_priority(void **state)
{
    struct sl_srv v[SL_RESOLVED_MAX];
    uint32_t ttl;
    (void)state;
    assert_int_equal(sl_srv_parse(message, sizeof(message), v, &ttl), 2);
    assert_int_equal(ttl, 30);
    assert_string_equal(v[0].host, "a.x");
    assert_int_equal(v[0].port, 8080);
    assert_int_equal(v[0].weight, 3);
    assert_string_equal(v[1].host, "b.x");
    assert_int_equal(v[1].port, 8081);
    assert_int_equal(v[1].weight, 0);
}

static void a_service_that_is_said_not_to_be_there(void **state)
{
    static const unsigned char none[] = {0,  0, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0, NAME, 0, 33, 0, 1, 0xc0,
                                         12, 0, 33,   0,    1, 0, 0, 0, 9, 0, 7, 0, 0,    0, 0,  0, 0, 0};
    struct sl_srv v[SL_RESOLVED_MAX];
    uint32_t ttl;
    (void)state;
    assert_int_equal(sl_srv_parse(none, sizeof(none), v, &ttl), 0);
}

static void what_is_cut_short_has_none(void **state)
{
    struct sl_srv v[SL_RESOLVED_MAX];
    uint32_t ttl;
    (void)state;
    for (size_t n = 0; n < sizeof(message); n++) {
        unsigned char *cut = malloc(n + 1); /* of its own size, for the sanitizer */
        memcpy(cut, message, n);
        assert_int_equal(sl_srv_parse(cut, n, v, &ttl), 0);
        free(cut);
    }
}

static void no_byte_leads_astray(void **state)
{
    struct sl_srv v[SL_RESOLVED_MAX];
    uint32_t ttl;
    (void)state;
    for (size_t i = 0; i < sizeof(message); i++)
        for (unsigned byte = 0; byte < 256; byte++) {
            unsigned char wrong[sizeof(message)];
            memcpy(wrong, message, sizeof(message));
            wrong[i] = (unsigned char)byte;
            const size_t n = sl_srv_parse(wrong, sizeof(wrong), v, &ttl);
            assert_true(n <= 3);
            for (size_t k = 0; k < n; k++)
                assert_true(strlen(v[k].host) < sizeof(v[k].host));
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(those_of_the_best_priority),
        cmocka_unit_test(a_service_that_is_said_not_to_be_there),
        cmocka_unit_test(what_is_cut_short_has_none),
        cmocka_unit_test(no_byte_leads_astray),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
