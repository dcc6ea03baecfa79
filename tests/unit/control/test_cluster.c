/* SPDX-License-Identifier: Apache-2.0 */
/* Penalties between hosts: what is told is read as it was written, what is no event is refused, and whose a
 * penalty is stays known in a table that cannot grow. */
#include "control/cluster_priv.h"

#include "base/clock.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct sl_cidr cidr(const char *text)
{
    struct sl_cidr c;
    assert_int_equal(sl_cidr_parse(sl_slice_str(text), &c), 0);
    return c;
}

static struct sl_cluster_event event(uint32_t kind, const char *prefix)
{
    struct sl_cluster_event e = {.what = {.kind = kind, .prefix = cidr(prefix)}, .sender = 0xfeed};
    (void)snprintf(e.host, sizeof(e.host), "gw-1");
    if (kind != SL_SHARED_REVOKED)
        e.what.left_ns = 90 * SL_NS_PER_SEC;
    if (kind == SL_SHARED_PENALTY) {
        e.what.effect = SL_PENALTY_CONNECT;
        e.what.level = 3;
        e.what.rejections = 200;
        (void)snprintf(e.what.consumer, sizeof(e.what.consumer), "acme & söhne");
        (void)snprintf(e.what.rule, sizeof(e.what.rule), "tier:partner");
    }
    return e;
}

static int round_trip(const struct sl_cluster_event *e, struct sl_cluster_event *out)
{
    char room[SL_EVENT_TEXT];
    struct sl_slice words[SL_EVENT_WORDS];
    sl_cluster_event_words(e, room, words);
    return sl_cluster_event_parse(words, SL_EVENT_WORDS, out);
}

static void what_is_told_is_what_is_read(void **state)
{
    (void)state;
    const struct sl_cluster_event all[] = {
        event(SL_SHARED_PENALTY, "192.0.2.1/32"), event(SL_SHARED_PENALTY, "2001:db8:0:1::/64"),
        event(SL_SHARED_DENY, "192.0.2.0/24"),    event(SL_SHARED_DENY, "2001:db8::/32"),
        event(SL_SHARED_REVOKED, "0.0.0.0/0"),    event(SL_SHARED_REVOKED, "2001:db8::7/128")};
    for (size_t i = 0; i < SL_ARRAY_LEN(all); i++) {
        struct sl_cluster_event e;
        assert_int_equal(round_trip(&all[i], &e), 0);
        assert_memory_equal(&e.what.prefix.ip, &all[i].what.prefix.ip, sizeof(e.what.prefix.ip));
        assert_int_equal(e.what.prefix.len, all[i].what.prefix.len);
        assert_int_equal(e.what.kind, all[i].what.kind);
        assert_int_equal(e.what.effect, all[i].what.effect);
        assert_int_equal(e.what.left_ns, all[i].what.left_ns);
        assert_int_equal(e.what.level, all[i].what.level);
        assert_int_equal(e.what.rejections, all[i].what.rejections);
        assert_string_equal(e.what.consumer, all[i].what.consumer);
        assert_string_equal(e.what.rule, all[i].what.rule);
        assert_string_equal(e.host, "gw-1");
        assert_int_equal(e.sender, 0xfeed);
    }
}

/* Kept names are cut at 31 bytes, wherever that is. */
static void a_name_that_was_cut_within_a_character_is_told_without_it(void **state)
{
    (void)state;
    struct sl_cluster_event e = event(SL_SHARED_PENALTY, "192.0.2.1/32"), out;
    memset(e.what.consumer, 'x', 30);
    memcpy(e.what.consumer + 30, "\xc3", 2);
    assert_int_equal(round_trip(&e, &out), 0);
    assert_int_equal(strlen(out.what.consumer), 30);
}

static void every_field_has_its_place_and_its_range(void **state)
{
    (void)state;
    static const struct {
        unsigned word;
        const char *instead;
    } bad[] = {{0, "kinds"},
               {1, "ban"},
               {1, ""},
               {3, "192.0.2.0/24"},
               {3, "192.0.2.1/24"},
               {3, ""},
               {3, "0.0.0.0/0"},
               {3, "2001:db8::1/128"},
               {5, "flow"},
               {5, "none"},
               {7, "0"},
               {7, "604800001"},
               {7, "18446744073710"},
               {7, "1e3"},
               {9, "0"},
               {9, "4294967296"},
               {11, "-1"},
               {13, "a\nb"},
               {13, "\xff"},
               {13, "aaaaaaaaaabbbbbbbbbbccccccccccdd"},
               {17, ""},
               {17, "\x7f"},
               {19, "feed"},
               {19, "000000000000FEED"}};
    char room[SL_EVENT_TEXT];
    struct sl_slice words[SL_EVENT_WORDS], good[SL_EVENT_WORDS];
    struct sl_cluster_event e = event(SL_SHARED_PENALTY, "192.0.2.1/32"), out;
    sl_cluster_event_words(&e, room, good);
    for (size_t i = 0; i < SL_ARRAY_LEN(bad); i++) {
        memcpy(words, good, sizeof(words));
        words[bad[i].word] = sl_slice_str(bad[i].instead);
        if (sl_cluster_event_parse(words, SL_EVENT_WORDS, &out) != -EINVAL)
            fail_msg("word %u: \"%s\" was taken", bad[i].word, bad[i].instead);
    }
    for (size_t n = 0; n < SL_EVENT_WORDS; n++)
        assert_int_equal(sl_cluster_event_parse(good, n, &out), -EINVAL);
}

static void ranges_of_what_is_shared(void **state)
{
    (void)state;
    struct sl_ipc_shared m = event(SL_SHARED_DENY, "10.0.0.0/8").what;
    assert_true(sl_ipc_shared_ok(&m));
    m.prefix = cidr("8.0.0.0/7");
    assert_false(sl_ipc_shared_ok(&m));
    m.prefix = cidr("2001:db8::/31");
    assert_false(sl_ipc_shared_ok(&m));
    m.prefix = cidr("192.0.2.0/24");
    m.left_ns = 367 * 86400 * SL_NS_PER_SEC;
    assert_false(sl_ipc_shared_ok(&m));
    m.left_ns = SL_NS_PER_SEC;
    m.prefix.ip.addr.bytes[3] = 1; /* host bits */
    assert_false(sl_ipc_shared_ok(&m));
    m.prefix = cidr("192.0.2.0/24");
    m.prefix.len = 33;
    assert_false(sl_ipc_shared_ok(&m));
    m.kind = 0;
    assert_false(sl_ipc_shared_ok(&m));
    m = event(SL_SHARED_REVOKED, "192.0.2.0/24").what;
    m.left_ns = 1;
    assert_false(sl_ipc_shared_ok(&m));
}

static void ids_of_a_stream(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "", "-", "1", "1-", "-1", "x-1", "1-x", "1-1-1", "99999999999999999999-0"};
    uint64_t ms = 0;
    assert_int_equal(sl_cluster_id_parse(SL_S("1764430000123-7"), &ms), 0);
    assert_int_equal(ms, 1764430000123);
    for (size_t i = 0; i < SL_ARRAY_LEN(bad); i++)
        if (sl_cluster_id_parse(sl_slice_str(bad[i]), &ms) != -EINVAL)
            fail_msg("\"%s\" was taken", bad[i]);
}

static void a_revocation_takes_back_what_lies_in_its_range(void **state)
{
    (void)state;
    static const struct {
        const char *range, *entry;
        uint32_t kind;
        bool want;
    } t[] = {
        {"192.0.2.0/24", "192.0.2.7/32", SL_SHARED_PENALTY, true},
        {"192.0.2.0/24", "192.0.3.7/32", SL_SHARED_PENALTY, false},
        {"192.0.2.7/32", "192.0.2.0/24", SL_SHARED_DENY, false},
        {"2001:db8::7/128", "2001:db8::/64", SL_SHARED_PENALTY, true}, /* its /64 is what was penalised */
        {"2001:db8::7/128", "2001:db8::/64", SL_SHARED_DENY, false},
        {"0.0.0.0/0", "2001:db8::/64", SL_SHARED_PENALTY, false}};
    for (size_t i = 0; i < SL_ARRAY_LEN(t); i++) {
        const struct sl_cidr range = cidr(t[i].range), entry = cidr(t[i].entry);
        assert_int_equal(sl_cluster_revokes(&range, t[i].kind, &entry), t[i].want);
    }
}

static void queues_keep_their_room_and_their_order(void **state)
{
    (void)state;
    struct sl_pendings q;
    assert_int_equal(sl_pendings_init(&q, 4), 0);
    for (unsigned round = 0; round < 3; round++) { /* around the end */
        for (unsigned i = 0; i < 4; i++) {
            char text[32];
            (void)snprintf(text, sizeof(text), "192.0.2.%u/32", i);
            const struct sl_pending p = {.e = event(SL_SHARED_PENALTY, text), .deadline_ns = i + 1};
            assert_true(sl_pendings_push(&q, &p));
        }
        const struct sl_pending more = *sl_pendings_nth(&q, 0);
        assert_false(sl_pendings_push(&q, &more));
        const struct sl_cidr one = cidr("192.0.2.1/32"), two = cidr("192.0.2.2/31");
        sl_pendings_revoke(&q, &one, false);
        assert_int_equal(q.n, 3);
        sl_pendings_revoke(&q, &two, true);
        assert_int_equal(q.n, 3);
        assert_int_equal(sl_pendings_nth(&q, 0)->deadline_ns, 1);
        assert_int_equal(sl_pendings_nth(&q, 1)->e.what.kind, SL_SHARED_REVOKED);
        assert_int_equal(sl_pendings_nth(&q, 2)->e.what.prefix.len, 32);
        while (q.n)
            sl_pendings_pop(&q);
    }
    free(q.v);
}

static void whose_a_penalty_is(void **state)
{
    (void)state;
    struct sl_seen_table *t = calloc(1, sizeof(*t));
    assert_non_null(t);
    const struct sl_cluster_event e = event(SL_SHARED_PENALTY, "192.0.2.1/32"),
                                  mine = event(SL_SHARED_DENY, "192.0.2.1/32");
    sl_seen_put(t, &e, 100, false);
    sl_seen_put(t, &mine, 100, true);
    const struct sl_cidr c = cidr("192.0.2.1/32"), none = cidr("192.0.2.0/24"), all = cidr("0.0.0.0/0");
    assert_string_equal(sl_seen_find(t, SL_SHARED_PENALTY, &c, 99)->host, "gw-1");
    assert_true(sl_seen_find(t, SL_SHARED_DENY, &c, 99)->mine);
    assert_null(sl_seen_find(t, SL_SHARED_PENALTY, &c, 100)); /* over */
    assert_null(sl_seen_find(t, SL_SHARED_PENALTY, &none, 99));
    sl_seen_forget_mine(t);
    assert_null(sl_seen_find(t, SL_SHARED_DENY, &c, 99));
    assert_non_null(sl_seen_find(t, SL_SHARED_PENALTY, &c, 99));
    sl_seen_revoke(t, &all);
    assert_null(sl_seen_find(t, SL_SHARED_PENALTY, &c, 99));
    for (unsigned i = 0; i < 4 * SL_SEEN_ROWS * SL_SEEN_WAYS; i++) { /* what ends first gives way */
        char text[32];
        (void)snprintf(text, sizeof(text), "10.%u.%u.%u/32", i >> 16, i >> 8 & 255, i & 255);
        const struct sl_cluster_event many = event(SL_SHARED_PENALTY, text);
        sl_seen_put(t, &many, 1000 + i, false);
        assert_non_null(sl_seen_find(t, SL_SHARED_PENALTY, &many.what.prefix, 99));
    }
    free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_told_is_what_is_read),
        cmocka_unit_test(a_name_that_was_cut_within_a_character_is_told_without_it),
        cmocka_unit_test(every_field_has_its_place_and_its_range),
        cmocka_unit_test(ranges_of_what_is_shared),
        cmocka_unit_test(ids_of_a_stream),
        cmocka_unit_test(a_revocation_takes_back_what_lies_in_its_range),
        cmocka_unit_test(queues_keep_their_room_and_their_order),
        cmocka_unit_test(whose_a_penalty_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
