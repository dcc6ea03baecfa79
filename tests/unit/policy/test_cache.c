/* SPDX-License-Identifier: Apache-2.0 */
/* The token caches: whose entry counts, until when, and that they are bounded. */
#include "policy/cache_priv.h"
#include "policy/identity_priv.h"
#include "policy_test.h"

#define NOW 1000

static struct sl_token_cache cache;
static const struct sl_consumer acme = {.name = "acme"};
static const struct sl_auth provider = {.name = "p"};
static struct sl_identity *id;

static int setup(void **state)
{
    static const unsigned char hash[32] = {1};
    id = sl_identity_of_key(&provider, &acme, hash);
    return with_arena(state) || sl_cache_init(&cache, 42) || !id;
}

static int teardown(void **state)
{
    sl_cache_free(&cache);
    assert_int_equal(id->refs, 1); /* all references of the cache are gone */
    sl_identity_unref(id);
    return drop_arena(state);
}

static void only_the_same_token_at_the_same_provider(void **state)
{
    (void)state;
    sl_cache_keep(&cache, SL_S("token-1"), 3, NOW, NOW + 10, id);
    assert_ptr_equal(sl_cache_verified(&cache, SL_S("token-1"), 3, NOW), id);
    assert_ptr_equal(sl_cache_verified(&cache, SL_S("token-1"), 3, NOW + 9), id);
    assert_null(sl_cache_verified(&cache, SL_S("token-1"), 3, NOW + 10));
    assert_null(sl_cache_verified(&cache, SL_S("token-1"), 2, NOW));
    assert_null(sl_cache_verified(&cache, SL_S("token-2"), 3, NOW));
    assert_null(sl_cache_verified(&cache, SL_S("token-"), 3, NOW));
    assert_null(sl_cache_verified(&cache, SL_S(""), 3, NOW));
}

/* The hash only finds: what has the same hash and another text is another token. */
static void a_hash_is_not_believed(void **state)
{
    (void)state;
    static const char *const texts[] = {"token-1X", "Xoken-12", "toke", "token-12token-12token-1"};
    for (size_t i = 0; i < SL_ARRAY_LEN(texts); i++) {
        struct sl_slice other = sl_slice_str(texts[i]);
        const uint64_t hash = sl_hash(other.p, other.n, cache.seed);
        sl_cache_keep(&cache, SL_S("token-12"), 0, NOW, NOW + 10, id);
        for (size_t k = 0; k < (size_t)SL_VERIFIED_ROWS * SL_CACHE_WAYS; k++) {
            if (!cache.verified[k].identity)
                continue;
            struct sl_verified *row = &cache.verified[(hash & (SL_VERIFIED_ROWS - 1)) * SL_CACHE_WAYS];
            struct sl_verified moved = cache.verified[k];
            cache.verified[k] = (struct sl_verified){0};
            moved.hash = hash;
            *row = moved;
            break;
        }
        assert_null(sl_cache_verified(&cache, other, 0, NOW));
        sl_cache_free(&cache);
        assert_int_equal(sl_cache_init(&cache, 42), 0);
    }
}

static void entries_and_bytes_are_bounded(void **state)
{
    (void)state;
    char token[16384];
    memset(token, 'x', sizeof(token));
    for (unsigned i = 0; i < 20000; i++) {
        memcpy(token, &i, sizeof(i));
        sl_cache_keep(&cache, sl_slice(token, sizeof(token)), 0, NOW, NOW + 10, id);
        assert_true(cache.bytes <= SL_VERIFIED_BYTES);
    }
    assert_true(cache.bytes > SL_VERIFIED_BYTES / 2);
    assert_int_equal(id->refs, 1 + cache.bytes / sizeof(token));
    unsigned held = 0;
    for (unsigned i = 0; i < 20000; i++) { /* small ones again find room once the large ones are over */
        const char *small = sl_arena_printf(&arena, "small-%u", i);
        sl_cache_keep(&cache, sl_slice_str(small), 0, NOW + 10, NOW + 20, id);
        held += sl_cache_verified(&cache, sl_slice_str(small), 0, NOW + 10) == id;
        sl_arena_reset(&arena);
    }
    assert_int_equal(held, 20000);
    assert_true(id->refs <= 1 + SL_VERIFIED_ROWS * SL_CACHE_WAYS);
}

/* What is asked for again and again stays, however many others pass through its row. */
static void what_is_used_stays(void **state)
{
    (void)state;
    unsigned lost = 0;
    sl_cache_keep(&cache, SL_S("hot"), 0, NOW, NOW + 10, id);
    for (unsigned i = 0; i < 3 * SL_VERIFIED_ROWS; i++) {
        const char *cold = sl_arena_printf(&arena, "cold-%u", i);
        sl_cache_keep(&cache, sl_slice_str(cold), 0, NOW, NOW + 10, id);
        lost += !sl_cache_verified(&cache, SL_S("hot"), 0, NOW);
        sl_arena_reset(&arena);
    }
    assert_int_equal(lost, 0);
}

static void refusals(void **state)
{
    (void)state;
    unsigned char hash[32] = {7, 7}, other[32] = {7, 7};
    other[31] = 1;
    assert_int_equal(sl_cache_refused(&cache, hash, 0, NOW), 0);
    sl_cache_refuse(&cache, hash, 0, NOW + SL_REFUSED_SECONDS, 5);
    assert_int_equal(sl_cache_refused(&cache, hash, 0, NOW), 5);
    assert_int_equal(sl_cache_refused(&cache, hash, 0, NOW + SL_REFUSED_SECONDS), 0);
    assert_int_equal(sl_cache_refused(&cache, hash, 1, NOW), 0);
    assert_int_equal(sl_cache_refused(&cache, other, 0, NOW), 0);
    for (unsigned i = 1; i < 100; i++) { /* all in one row: the newest are kept */
        memcpy(hash + 8, &i, sizeof(i));
        sl_cache_refuse(&cache, hash, 0, NOW + i + SL_REFUSED_SECONDS, 6);
        assert_int_equal(sl_cache_refused(&cache, hash, 0, NOW + i), 6);
    }
}

#define unit_test_cache(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        unit_test_cache(only_the_same_token_at_the_same_provider),
        unit_test_cache(a_hash_is_not_believed),
        unit_test_cache(entries_and_bytes_are_bounded),
        unit_test_cache(what_is_used_stays),
        unit_test_cache(refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
