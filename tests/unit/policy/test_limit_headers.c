/* SPDX-License-Identifier: Apache-2.0 */
/* What clients read about their limits: the IETF's form, Kong's, both, none; Retry-After on each refusal. */
#include "base/clock.h"
#include "policy_test.h"

#define T0 (100000000 * SL_NS_PER_SEC) /* after the clock of any host */

static struct sl_bucket slots[256];
static struct sl_bucket_table table = {.slots = slots, .n = SL_ARRAY_LEN(slots), .seed = 1};
static struct sl_headers out;
static struct sl_limit_subject subject = {.consumer = {"acme", 4}};

static int setup(void **state)
{
    memset(slots, 0, sizeof(slots));
    out = (struct sl_headers){0};
    return with_arena(state);
}

static struct sl_rate_limit limit_of(enum sl_limit_headers form, uint64_t second, uint64_t hour)
{
    struct sl_rate_limit rl = {.by = SL_BY_CONSUMER, .headers = form};
    if (second)
        rl.windows[rl.n_windows++] = (struct sl_window){"second", 1, second, second};
    if (hour)
        rl.windows[rl.n_windows++] = (struct sl_window){"hour", 3600, hour, hour};
    return rl;
}

/* The headers after n requests at once. */
static void ask(const struct sl_rate_limit *rl, const struct sl_rate_limit *beside, unsigned n)
{
    struct sl_limit_set *sets[2] = {0};
    struct sl_limit_verdict v;
    assert_int_equal(sl_limit_set_new(rl, "a", &sets[0]), 0);
    if (beside)
        assert_int_equal(sl_limit_set_new(beside, "b", &sets[1]), 0);
    for (unsigned i = 0; i < n; i++)
        sl_limits_take(&table, sets, 2, &subject, T0, &v);
    assert_int_equal(sl_limits_headers(sets, 2, &v, &out, &arena), 0);
    /* values of the policy's form live in the set: copy before it goes */
    for (uint32_t i = 0; i < out.n; i++)
        out.v[i].value = sl_arena_copy(&arena, out.v[i].value);
    sl_limit_set_free(sets[0]);
    sl_limit_set_free(sets[1]);
}

static void has(const char *name, const char *want)
{
    const char *got = header(&out, name);
    if (!got || strcmp(got, want) != 0)
        fail_msg("%s: %s, not %s", name, got ? got : "(none)", want);
}

static void ietf(void **state)
{
    (void)state;
    const struct sl_rate_limit rl = limit_of(SL_LIMIT_HEADERS_IETF, 500, 1000000);
    ask(&rl, NULL, 1);
    has("RateLimit-Policy", "\"second\";q=500;w=1, \"hour\";q=1000000;w=3600");
    has("RateLimit", "\"second\";r=499;t=1, \"hour\";r=999999;t=1");
    assert_int_equal(out.n, 2);
}

static void kong(void **state)
{
    (void)state;
    const struct sl_rate_limit rl = limit_of(SL_LIMIT_HEADERS_KONG, 500, 3);
    ask(&rl, NULL, 2);
    has("X-RateLimit-Limit-Second", "500");
    has("X-RateLimit-Remaining-Second", "498");
    has("X-RateLimit-Limit-Hour", "3");
    has("X-RateLimit-Remaining-Hour", "1");
    has("RateLimit-Limit", "3");
    has("RateLimit-Remaining", "1");
    has("RateLimit-Reset", "2400");
    assert_int_equal(out.n, 7);
}

static void both_and_off(void **state)
{
    (void)state;
    const struct sl_rate_limit both = limit_of(SL_LIMIT_HEADERS_BOTH, 5, 0),
                               off = limit_of(SL_LIMIT_HEADERS_OFF, 5, 0);
    ask(&both, NULL, 1);
    has("RateLimit", "\"second\";r=4;t=1");
    has("X-RateLimit-Remaining-Second", "4");
    out = (struct sl_headers){0};
    ask(&off, NULL, 1);
    assert_int_equal(out.n, 0);
}

static void a_refusal_says_when_to_come_again(void **state)
{
    (void)state;
    static const enum sl_limit_headers forms[] = {SL_LIMIT_HEADERS_IETF, SL_LIMIT_HEADERS_KONG,
                                                  SL_LIMIT_HEADERS_OFF};
    for (size_t i = 0; i < SL_ARRAY_LEN(forms); i++) {
        (void)setup(NULL);
        const struct sl_rate_limit rl = limit_of(forms[i], 0, 7);
        ask(&rl, NULL, 8);
        has("Retry-After", "515"); /* 3600 / 7 = 514.28… */
        (void)drop_arena(NULL);
    }
    (void)setup(NULL);
    const struct sl_rate_limit fast = limit_of(SL_LIMIT_HEADERS_IETF, 5, 0);
    ask(&fast, NULL, 6);
    has("Retry-After", "1");
    has("RateLimit", "\"second\";r=0;t=1");
}

/* Names must be unique: of two limits with the same window the tighter is told. */
static void two_limits(void **state)
{
    (void)state;
    const struct sl_rate_limit route = limit_of(SL_LIMIT_HEADERS_IETF, 50, 0),
                               tier = limit_of(SL_LIMIT_HEADERS_IETF, 500, 1000);
    ask(&route, &tier, 1);
    has("RateLimit-Policy", "\"second\";q=50;w=1, \"hour\";q=1000;w=3600");
    has("RateLimit", "\"second\";r=49;t=1, \"hour\";r=999;t=4");
    assert_int_equal(out.n, 2);
}

static void one_of_two_wants_to_be_told(void **state)
{
    (void)state;
    const struct sl_rate_limit route = limit_of(SL_LIMIT_HEADERS_OFF, 50, 0),
                               tier = limit_of(SL_LIMIT_HEADERS_IETF, 500, 0);
    ask(&route, &tier, 1);
    has("RateLimit-Policy", "\"second\";q=500;w=1");
    has("RateLimit", "\"second\";r=499;t=1");
    assert_int_equal(out.n, 2);
}

#define unit_test_headers(t) cmocka_unit_test_setup_teardown(t, setup, drop_arena)
int main(void)
{
    const struct CMUnitTest tests[] = {
        unit_test_headers(ietf),         unit_test_headers(kong),
        unit_test_headers(both_and_off), unit_test_headers(a_refusal_says_when_to_come_again),
        unit_test_headers(two_limits),   unit_test_headers(one_of_two_wants_to_be_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
