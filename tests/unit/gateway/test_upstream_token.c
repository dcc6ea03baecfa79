/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens kept for upstreams: found by whom they were given for, refreshed ahead, bounded, and gone with their
 * time. */
#include "gateway/upstream_token_priv.h"

#include "base/clock.h"
#include "base/macros.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NOW (1000 * SL_NS_PER_SEC)

static struct sl_uptokens *tokens;

static int set_up(void **state)
{
    (void)state;
    tokens = calloc(1, sizeof(*tokens));
    return tokens ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    sl_uptokens_free(tokens);
    return 0;
}

static const char *found(uint64_t source, const char *subject, uint64_t now)
{
    static char text[64];
    struct sl_uptoken *e = sl_uptokens_find(tokens, source, sl_slice_str(subject), now);
    if (!e)
        return "none";
    (void)snprintf(text, sizeof(text), SL_SFMT, SL_SARG(sl_uptoken_text(e)));
    return text;
}

static void test_each_source_and_subject_has_its_own(void **state)
{
    (void)state;
    const uint64_t end = NOW + 100 * SL_NS_PER_SEC;
    sl_uptokens_keep(tokens, 1, SL_S(""), SL_S("own"), NOW, end);
    sl_uptokens_keep(tokens, 2, SL_S("alice"), SL_S("for-alice"), NOW, end);
    assert_string_equal(found(1, "", NOW), "own");
    assert_string_equal(found(2, "alice", NOW), "for-alice");
    assert_string_equal(found(2, "bob", NOW), "none");
    assert_string_equal(found(1, "alice", NOW), "none");
    sl_uptokens_keep(tokens, 1, SL_S(""), SL_S("newer"), NOW, end);
    assert_string_equal(found(1, "", NOW), "newer");
    sl_uptokens_drop(tokens, sl_uptokens_find(tokens, 1, SL_S(""), NOW));
    assert_string_equal(found(1, "", NOW), "none");
    assert_int_equal(tokens->bytes, strlen("alice") + strlen("for-alice"));
}

static void test_it_is_sought_anew_and_given_up_before_its_end(void **state)
{
    (void)state;
    sl_uptokens_keep(tokens, 1, SL_S(""), SL_S("t"), NOW, NOW + 100 * SL_NS_PER_SEC);
    struct sl_uptoken *e = sl_uptokens_find(tokens, 1, SL_S(""), NOW);
    assert_int_equal(e->refresh_ns, NOW + 80 * SL_NS_PER_SEC);
    assert_string_equal(found(1, "", NOW + 94 * SL_NS_PER_SEC), "t");
    assert_string_equal(found(1, "", NOW + 95 * SL_NS_PER_SEC), "none");
    sl_uptokens_keep(tokens, 1, SL_S(""), SL_S("short"), NOW, NOW + 10 * SL_NS_PER_SEC);
    assert_string_equal(found(1, "", NOW + 9 * SL_NS_PER_SEC - 1), "short");
    assert_string_equal(found(1, "", NOW + 9 * SL_NS_PER_SEC), "none");
    sl_uptokens_keep(tokens, 1, SL_S(""), SL_S("over"), NOW, NOW);
    assert_string_equal(found(1, "", NOW), "none");
}

static void test_it_has_bounds(void **state)
{
    (void)state;
    char subject[16];
    static char big[16384];
    memset(big, 'x', sizeof(big));
    size_t most = 0;
    for (unsigned i = 0; i < 20000; i++) {
        (void)snprintf(subject, sizeof(subject), "%u", i);
        sl_uptokens_keep(tokens, 1, sl_slice_str(subject), sl_slice(big, sizeof(big)), NOW,
                         NOW + (100 + i) * SL_NS_PER_SEC);
        most = SL_MAX(most, tokens->bytes);
    }
    assert_true(most > SL_UPTOKEN_BYTES / 2);
    assert_true(most <= SL_UPTOKEN_BYTES);
    for (size_t i = 0; i < SL_ARRAY_LEN(tokens->v); i++)
        sl_uptokens_drop(tokens, &tokens->v[i]);
    assert_int_equal(tokens->bytes, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_each_source_and_subject_has_its_own, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_it_is_sought_anew_and_given_up_before_its_end, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_it_has_bounds, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
