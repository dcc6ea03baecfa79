/* SPDX-License-Identifier: Apache-2.0 */
/* gRPC's own fields: which requests are gRPC, and how long their clients wait. */
#include "gateway/exchange_priv.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void test_timeouts(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t ns;
    } cases[] = {{"1S", SL_NS_PER_SEC},
                 {"250m", 250 * SL_NS_PER_MS},
                 {"3u", 3000},
                 {"7n", 7},
                 {"2M", 120 * SL_NS_PER_SEC},
                 {"1H", 3600 * SL_NS_PER_SEC},
                 {"99999999H", 99999999ull * 3600 * SL_NS_PER_SEC},
                 {"0S", 0},
                 {"100000000n", 0}, /* nine digits */
                 {"S", 0},
                 {"1", 0},
                 {"1s", 0},
                 {"-1S", 0},
                 {"1.5S", 0},
                 {"", 0}};
    for (size_t i = 0; i < SL_ARRAY_LEN(cases); i++)
        assert_int_equal(sl_grpc_timeout(sl_slice_str(cases[i].text)), cases[i].ns);
}

static void test_what_is_grpc(void **state)
{
    (void)state;
    static const struct {
        const char *type;
        bool is;
    } cases[] = {{"application/grpc", true},       {"Application/gRPC", true},
                 {"application/grpc+proto", true}, {"application/grpc;v=1", true},
                 {"application/grpc-web", false},  {"application/grpcx", false},
                 {"application/json", false},      {"", false}};
    for (size_t i = 0; i < SL_ARRAY_LEN(cases); i++) {
        struct sl_header h = {
            .name = SL_S("content-type"), .value = sl_slice_str(cases[i].type), .id = SL_HDR_CONTENT_TYPE};
        struct sl_exchange ex = {.req = {.headers = {.v = &h, .n = 1, .cap = 1}}};
        assert_int_equal(sl_grpc_is(&ex), cases[i].is);
    }
    struct sl_exchange none = {0};
    assert_false(sl_grpc_is(&none));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_timeouts), cmocka_unit_test(test_what_is_grpc)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
