/* SPDX-License-Identifier: Apache-2.0 */
/* A bundle through its sealed memfd, whole and damaged; slots that keep their names. */
#include "config_test.h"

#include <fcntl.h>
#include <sys/mman.h>

#define POLICY                                                                        \
    SL_OK "tiers: {t: {}}\nupstreams: {u: {targets: [{address: \"127.0.0.1:9\"}]}}\n" \
          "auth: {j: {type: jwt, algorithms: [ES256], jwks_file: keys.json}}\n"       \
          "consumers: {c: {keys: [{$env: KEY}]}, d: {}}\n"

static struct sl_result with_files(const char *text)
{
    struct sl_result x = {0};
    sl_diag_init(&x.diag);
    x.r = sl_bundle_from_text("dir/p.yaml", sl_slice_str(text), &x.diag, &x.bundle);
    assert_int_equal(x.r, 0);
    assert_int_equal(sl_bundle_put(x.bundle, false, "dir/keys.json", SL_S("{\"keys\":[]}")), 0);
    assert_int_equal(sl_bundle_put(x.bundle, true, "KEY",
                                   SL_S("00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff")),
                     0);
    assert_int_equal(sl_bundle_put(x.bundle, true, "KEY", SL_S("again")), -EEXIST);
    result_judge(&x);
    assert_string_equal(result_said(&x), "");
    return x;
}

static struct sl_result of_memfd(int fd)
{
    struct sl_result x = {0};
    sl_diag_init(&x.diag);
    assert_int_equal(sl_bundle_from_memfd(fd, &x.bundle), 0);
    result_judge(&x);
    return x;
}

static void test_memfd_holds_everything(void **state)
{
    (void)state;
    struct sl_result a = with_files(POLICY);
    struct sl_slots *slots = sl_slots_new();
    assert_non_null(slots);
    assert_int_equal(sl_bundle_accept(a.bundle, a.s, slots), 0);
    int fd = sl_bundle_to_memfd(a.bundle);
    assert_true(fd >= 0);
    assert_int_equal(fcntl(fd, F_GET_SEALS), F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE);
    struct sl_result b = of_memfd(fd);
    assert_string_equal(result_said(&b), "");
    assert_string_equal(a.s->hash, b.s->hash);
    assert_int_equal(a.s->version, b.s->version);
    assert_int_equal(a.s->workers, b.s->workers);
    assert_slice(b.s->auths[0].jwt.jwks.data, "{\"keys\":[]}");
    assert_string_equal(b.s->auths[0].jwt.jwks.path, "dir/keys.json");
    assert_int_equal(b.s->consumers[0].key_hashes.v[0].n, 32);
    assert_int_equal(b.s->consumers[1].slot, a.s->consumers[1].slot);
    assert_int_equal(b.s->consumers[1].slot, 2);
    assert_string_equal(sl_slots_name(sl_bundle_slots(b.bundle), SL_SLOT_CONSUMER, 2), "d");
    assert_string_equal(sl_slots_name(sl_bundle_slots(b.bundle), SL_SLOT_TIER, b.s->tiers[1].slot),
                        "default");
    close(fd);
    sl_slots_free(slots);
    result_free(&a);
    result_free(&b);
}

static void test_hash_is_of_all_bytes(void **state)
{
    (void)state;
    struct sl_result a = of_text(SL_OK), b = of_text(SL_OK "# a word\n"), c = of_text(SL_OK);
    assert_string_equal(a.s->hash, c.s->hash);
    assert_string_not_equal(a.s->hash, b.s->hash);
    result_free(&a);
    result_free(&b);
    result_free(&c);
}

static int sealed(const void *p, size_t n)
{
    int fd = sl_memfd_sealed("test", p, n);
    assert_true(fd >= 0);
    return fd;
}

static int read_back(const void *p, size_t n)
{
    struct sl_bundle *b = NULL;
    int fd = sealed(p, n);
    int r = sl_bundle_from_memfd(fd, &b);
    close(fd);
    if (r == 0) { /* damaged where only content stands: then it must still be safe to read */
        struct sl_diag diag;
        struct sl_snapshot *s = NULL;
        sl_diag_init(&diag);
        int judged = sl_snapshot_new(b, &diag, &s);
        assert_int_equal(judged == 0, s != NULL);
        sl_snapshot_unref(s);
        sl_diag_free(&diag);
        sl_bundle_free(b);
    } else {
        assert_null(b);
    }
    return r;
}

static struct sl_slice memfd_bytes(int fd)
{
    struct sl_slice all;
    assert_int_equal(sl_memfd_map(fd, &all), 0);
    return all;
}

static void test_cut_and_damaged(void **state)
{
    (void)state;
    struct sl_result a = with_files(POLICY);
    struct sl_slots *slots = sl_slots_new();
    assert_int_equal(sl_bundle_accept(a.bundle, a.s, slots), 0);
    int fd = sl_bundle_to_memfd(a.bundle);
    struct sl_slice all = memfd_bytes(fd);
    char *copy = malloc(all.n + 1);
    assert_non_null(copy);
    for (size_t n = 1; n < all.n; n++) /* cut anywhere: refused */
        assert_true(read_back(all.p, n) < 0);
    memcpy(copy, all.p, all.n);
    copy[all.n] = 'x';
    assert_int_equal(read_back(copy, all.n + 1), -EBADMSG); /* more than there should be */
    for (size_t i = 0; i < all.n; i++) {                    /* each byte wrong in turn: no crash, no leak */
        memcpy(copy, all.p, all.n);
        copy[i] = (char)(copy[i] ^ 0xff);
        (void)read_back(copy, all.n);
    }
    free(copy);
    (void)munmap((void *)(uintptr_t)all.p, all.n);
    close(fd);
    sl_slots_free(slots);
    result_free(&a);
}

static void test_unsealed_is_refused(void **state)
{
    struct sl_bundle *b = NULL;
    (void)state;
    struct sl_result a = of_text(SL_OK);
    int fd = sl_bundle_to_memfd(a.bundle);
    struct sl_slice all = memfd_bytes(fd);
    int open_fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_int_equal(sl_write_all(open_fd, all.p, all.n), 0);
    assert_true(sl_bundle_from_memfd(open_fd, &b) < 0);
    assert_null(b);
    (void)munmap((void *)(uintptr_t)all.p, all.n);
    close(open_fd);
    close(fd);
    result_free(&a);
}

/* ---- slots */

static void accept_into(struct sl_slots *slots, const char *text, struct sl_result *out)
{
    *out = of_text(text);
    assert_int_equal(out->r, 0);
    assert_int_equal(sl_bundle_accept(out->bundle, out->s, slots), 0);
}

static void test_slots_hold_over_reloads(void **state)
{
    struct sl_result a, b;
    struct sl_slots *slots = sl_slots_new();
    (void)state;
    assert_non_null(slots);
    assert_string_equal(sl_slots_name(slots, SL_SLOT_ROUTE, 0), "other");
    assert_int_equal(sl_slots_count(slots, SL_SLOT_ROUTE), 1);
    accept_into(slots, SL_OK "tiers: {gold: {}, iron: {}}\n", &a);
    assert_int_equal(a.s->routes[0].slot, 1);
    uint32_t gold = a.s->tiers[0].slot, iron = a.s->tiers[1].slot;
    accept_into(slots, SL_OK "tiers: {tin: {}, iron: {}}\n", &b);
    assert_int_equal(b.s->tiers[1].slot, iron);
    assert_int_not_equal(b.s->tiers[0].slot, gold);
    assert_string_equal(sl_slots_name(slots, SL_SLOT_TIER, gold), "gold");
    assert_string_equal(sl_slots_name(slots, SL_SLOT_TIER, b.s->tiers[0].slot), "tin");
    assert_null(sl_slots_name(slots, SL_SLOT_TIER, 999));
    result_free(&a);
    result_free(&b);
    sl_slots_free(slots);
}

/* A refused policy names nothing. */
static void test_refused_policies_take_no_slots(void **state)
{
    struct sl_slots *slots = sl_slots_new();
    (void)state;
    struct sl_result x = of_text(SL_OK "tiers: {gold: {x: 1}}\n");
    assert_int_equal(x.r, -EINVAL);
    assert_int_equal(sl_slots_count(slots, SL_SLOT_TIER), 1);
    assert_int_equal(sl_slots_count(slots, SL_SLOT_ROUTE), 1);
    result_free(&x);
    sl_slots_free(slots);
}

static void test_past_the_cap_is_other(void **state)
{
    struct sl_buf SL_BUF text = {0};
    struct sl_slots *slots = sl_slots_new();
    struct sl_result x;
    (void)state;
    assert_int_equal(sl_buf_append(&text, SL_OK "tiers:\n", strlen(SL_OK "tiers:\n")), 0);
    for (unsigned i = 0; i < 1100; i++)
        assert_int_equal(sl_buf_printf(&text, "  t%u: {}\n", i), 0);
    assert_int_equal(sl_buf_append(&text, "", 1), 0);
    accept_into(slots, sl_buf_data(&text), &x);
    assert_int_equal(sl_slots_count(slots, SL_SLOT_TIER), 1024);
    assert_int_equal(x.s->tiers[1022].slot, 1023);
    assert_int_equal(x.s->tiers[1023].slot, 0);
    assert_int_equal(x.s->tiers[1099].slot, 0);
    result_free(&x);
    sl_slots_free(slots);
}

/* ---- many */

static void test_a_hundred_thousand_consumers(void **state)
{
    struct sl_buf SL_BUF text = {0};
    (void)state;
    assert_int_equal(sl_buf_printf(&text,
                                   "{\"version\":1,\"listeners\":{\"w\":{\"bind\":[\"127.0.0.1:80\"]}},"
                                   "\"routes\":{\"r\":{\"auth\":[\"public\"],\"respond\":{}}},"
                                   "\"tiers\":{\"t\":{}},\"consumers\":{"),
                     0);
    for (unsigned i = 0; i < 100000; i++)
        assert_int_equal(
            sl_buf_printf(&text,
                          "%s\"c%u\":{\"tier\":\"t\",\"sources\":[\"10.%u.%u.%u/32\"],\"keys\":[\"%064x\"]}",
                          i ? "," : "", i, i >> 16, i >> 8 & 255, i & 255, i + 1),
            0);
    assert_int_equal(sl_buf_append(&text, "}}", 2), 0);
    struct sl_result x = of_text_named("p.json", sl_buf_slice(&text));
    assert_string_equal(result_said(&x), "");
    assert_int_equal(x.s->n_consumers, 100000);
    const struct sl_consumer *c = sl_map_get(&x.s->consumers_by_name, SL_S("c99999"));
    assert_ptr_equal(c, &x.s->consumers[99999]);
    assert_ptr_equal(c->tier, &x.s->tiers[0]);
    result_free(&x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memfd_holds_everything),  cmocka_unit_test(test_hash_is_of_all_bytes),
        cmocka_unit_test(test_cut_and_damaged),         cmocka_unit_test(test_unsealed_is_refused),
        cmocka_unit_test(test_slots_hold_over_reloads), cmocka_unit_test(test_refused_policies_take_no_slots),
        cmocka_unit_test(test_past_the_cap_is_other),   cmocka_unit_test(test_a_hundred_thousand_consumers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
