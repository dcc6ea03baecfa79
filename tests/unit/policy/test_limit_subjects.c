/* SPDX-License-Identifier: Apache-2.0 */
/* Whose bucket it is: what is counted, by how many hosts and processes at once, and where there is no room.
 */
#include "base/share.h"
#include "limit_test.h"

#include <sched.h>
#include <sys/wait.h>

static void what_is_counted(void **state)
{
    (void)state;
    struct sl_rate_limit rl = limit_of(3600, 1, 1);
    struct sl_limit_set *l = set_of(&rl, "tier:a"), *other = set_of(&rl, "tier:b");
    struct sl_limit_subject s = who("acme"), nobody = who("");
    assert_true(take(l, &s, T0).admitted);
    assert_false(take(l, &s, T0).admitted);
    assert_true(take(other, &s, T0).admitted);  /* the limit's name is part of the key */
    assert_true(take(l, &nobody, T0).admitted); /* no consumer: by address */
    assert_false(take(l, &nobody, T0).admitted);
    assert_int_equal(sl_ip_parse(SL_S("192.0.2.2"), &nobody.ip), 0);
    assert_true(take(l, &nobody, T0).admitted);

    rl.by = SL_BY_CREDENTIAL;
    s.credential = 7;
    assert_true(take(l, &s, T0).admitted);
    s.credential = 8;
    assert_true(take(l, &s, T0).admitted);
    assert_false(take(l, &s, T0).admitted);

    struct sl_request req = request("GET", "h", "/");
    add_header(&req.headers, "x-tenant", "t1");
    rl.by = SL_BY_HEADER;
    rl.by_header = "X-Tenant";
    s.request = &req;
    assert_true(take(l, &s, T0).admitted);
    assert_false(take(l, &s, T0).admitted);
    req.headers.v[0].value = SL_S("t2");
    assert_true(take(l, &s, T0).admitted);
    req.headers.v[0].removed = true; /* without the header by address, whose bucket is spent */
    assert_false(take(l, &s, T0).admitted);
    sl_limit_set_free(l);
    sl_limit_set_free(other);
}

static void ipv6_is_counted_by_its_network(void **state)
{
    (void)state;
    struct sl_rate_limit rl = limit_of(3600, 1, 1);
    struct sl_limit_subject s = {0};
    rl.by = SL_BY_IP;
    struct sl_limit_set *l = set_of(&rl, "tier:a");
    assert_int_equal(sl_ip_parse(SL_S("2001:db8:0:1::1"), &s.ip), 0);
    assert_true(take(l, &s, T0).admitted);
    assert_int_equal(sl_ip_parse(SL_S("2001:db8:0:1:ffff::2"), &s.ip), 0);
    assert_false(take(l, &s, T0).admitted);
    assert_int_equal(sl_ip_parse(SL_S("2001:db8:0:2::1"), &s.ip), 0);
    assert_true(take(l, &s, T0).admitted);
    sl_limit_set_free(l);
}

/* Another seed, as after a restart that lost the header: other buckets. The same seed: the same. */
static void the_seed_names_the_buckets(void **state)
{
    (void)state;
    const struct sl_rate_limit rl = limit_of(3600, 1, 1);
    const struct sl_limit_subject s = who("acme");
    struct sl_limit_set *l = set_of(&rl, "tier:a");
    assert_true(take(l, &s, T0).admitted);
    sl_limit_set_free(l);
    l = set_of(&rl, "tier:a");
    assert_false(take(l, &s, T0).admitted);
    table.seed++;
    assert_true(take(l, &s, T0).admitted);
    sl_limit_set_free(l);
}

static void a_full_table_admits_and_says_so(void **state)
{
    (void)state;
    const struct sl_rate_limit rl = limit_of(60, 1, 1);
    struct sl_limit_set *l = set_of(&rl, "tier:a");
    for (size_t i = 0; i < SLOTS; i++) {
        table.slots[i].key = 12345 + i;
        table.slots[i].tat = T0 + 3600 * SL_NS_PER_SEC;
    }
    const struct sl_limit_subject s = who("acme");
    for (unsigned i = 0; i < 3; i++) {
        const struct sl_limit_verdict v = take(l, &s, T0);
        assert_true(v.admitted);
        assert_true(v.table_full);
        assert_int_equal(v.remaining[0][0], 1);
    }
    sl_limit_set_free(l);
}

static void admitted_and_denied_are_counted(void **state)
{
    (void)state;
    const struct sl_rate_limit rl = limit_of(60, 3, 3);
    struct sl_limit_set *l = set_of(&rl, "tier:a");
    assert_int_equal(admitted(l, "acme", T0, 10), 3);
    unsigned used = 0;
    for (size_t i = 0; i < SLOTS; i++) {
        if (!table.slots[i].key)
            continue;
        used++;
        assert_int_equal(table.slots[i].admitted, 3);
        assert_int_equal(table.slots[i].denied, 7);
    }
    assert_int_equal(used, 1);
    sl_limit_set_free(l);
}

static void a_full_table_refuses_where_it_is_told_to(void **state)
{
    (void)state;
    const struct sl_rate_limit rl = limit_of(60, 1, 1), wide = limit_of(60, 100, 100);
    struct sl_limit_set *sets[] = {set_of(&wide, "route:r"), set_of(&rl, "tier:a")};
    struct sl_limit_subject s = who("acme");
    struct sl_limit_verdict v;
    sl_limits_take(&table, sets, 1, &s, T0, &v); /* the route's bucket is there */
    for (size_t i = 0; i < SLOTS; i++)
        if (!table.slots[i].key)
            table.slots[i] = (struct sl_bucket){.key = 12345 + i, .tat = T0 + 3600 * SL_NS_PER_SEC};
    s.full_refuses = true;
    sl_limits_take(&table, sets, 2, &s, T0, &v);
    assert_false(v.admitted);
    assert_true(v.table_full);
    assert_true(v.wait_ns > 0);
    assert_int_equal(v.remaining[0][0], 99); /* and what has a bucket is not debited */
    sl_limit_set_free(sets[0]);
    sl_limit_set_free(sets[1]);
}

/* Other hosts have moved its bucket far beyond its capacity: that is owed, and not cut back as a limit's that
 * was lowered would be. */
static void what_other_hosts_admitted_is_owed(void **state)
{
    (void)state;
    struct sl_rate_limit rl = limit_of(1, 100, 100);
    rl.cluster = true;
    struct sl_shares shares;
    assert_int_equal(sl_shares_new(SLOTS, &shares), 0);
    struct sl_bucket_table here = table;
    here.shares = &shares;
    struct sl_limit_set *l = set_of(&rl, "tier:a");
    sl_limit_set_share(l, 99);
    const struct sl_limit_subject s = who("acme");
    struct sl_limit_verdict v;
    sl_limits_take(&here, &l, 1, &s, T0, &v);
    assert_true(v.admitted);
    const size_t slot = sl_shares_next_dirty(&shares, 0);
    assert_true(slot < SLOTS);
    assert_int_equal(shares.v[slot].admitted, 1);
    assert_int_equal(shares.v[slot].key, table.slots[slot].key);
    assert_int_equal(shares.v[slot].interval_ns, SL_NS_PER_SEC / 100);
    assert_int_equal(sl_shares_next_dirty(&shares, 0), SLOTS);
    sl_share_advance(&table.slots[slot], T0 + 5 * SL_NS_PER_SEC);
    sl_share_advance(&table.slots[slot], T0); /* never back */
    sl_limits_take(&here, &l, 1, &s, T0 + SL_NS_PER_SEC, &v);
    assert_false(v.admitted);
    assert_int_equal(v.wait_ns, 3 * SL_NS_PER_SEC + SL_NS_PER_SEC / 100);
    assert_int_equal(sl_shares_next_dirty(&shares, 0), SLOTS); /* a refusal is nothing to tell */
    sl_limits_take(&here, &l, 1, &s, T0 + SL_NS_PER_SEC + v.wait_ns, &v);
    assert_true(v.admitted);
    here.seed++; /* of this host alone: other hosts' buckets have the same keys all the same */
    sl_limits_take(&here, &l, 1, &s, T0 + 5 * SL_NS_PER_SEC, &v);
    assert_int_equal(sl_shares_next_dirty(&shares, 0), slot);
    assert_int_equal(shares.v[slot].admitted, 3);
    sl_limit_set_free(l);
}

static void a_shadow_counts_and_refuses_nothing(void **state)
{
    (void)state;
    struct sl_rate_limit wide = limit_of(60, 4, 4), shadow = limit_of(60, 2, 2);
    shadow.shadow = true;
    struct sl_limit_set *sets[] = {set_of(&shadow, "route:r"), set_of(&wide, "tier:t")};
    const struct sl_limit_subject s = who("acme");
    struct sl_limit_verdict v;
    for (unsigned i = 0; i < 4; i++) {
        sl_limits_take(&table, sets, 2, &s, T0, &v);
        assert_true(v.admitted);
        assert_int_equal(v.shadowed, i >= 2);
        assert_ptr_equal(v.set, sets[1]);
        assert_int_equal(v.remaining[1][0], 3 - i);
    }
    sl_limits_take(&table, sets, 2, &s, T0 + SL_NS_PER_SEC, &v);
    assert_false(v.admitted); /* by the other, and so not put to the shadow at all */
    assert_false(v.shadowed);
    sl_limits_take(&table, sets, 1, &s, T0 + 31 * SL_NS_PER_SEC, &v);
    assert_true(v.admitted && !v.shadowed); /* one has come back to it: none was debited twice */
    sl_limit_set_free(sets[0]);
    sl_limit_set_free(sets[1]);
}

/* ---- two processes at once */

struct race {
    unsigned ready, go; /* shared */
    uint64_t admitted[2], cas[2];
};

static void race_child(struct race *r, unsigned self, struct sl_limit_set *const *sets, unsigned tries)
{
    const struct sl_limit_subject s = who("acme");
    struct sl_limit_verdict v;
    (void)__atomic_add_fetch(&r->ready, 1, __ATOMIC_SEQ_CST);
    while (!__atomic_load_n(&r->go, __ATOMIC_SEQ_CST))
        (void)sched_yield();
    for (unsigned i = 0; i < tries; i++) {
        sl_limits_take(&table, sets, 2, &s, T0, &v);
        r->admitted[self] += v.admitted;
        r->cas[self] += v.cas_exhausted;
    }
    _exit(0);
}

static void race(struct sl_limit_set *const *sets, unsigned tries, struct race *r)
{
    for (unsigned i = 0; i < 2; i++) {
        const pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0)
            race_child(r, i, sets, tries);
    }
    while (__atomic_load_n(&r->ready, __ATOMIC_SEQ_CST) < 2)
        (void)sched_yield();
    __atomic_store_n(&r->go, 1, __ATOMIC_SEQ_CST);
    for (unsigned i = 0; i < 2; i++) {
        int status;
        assert_true(wait(&status) > 0);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
}

/* PITFALLS 1: at one moment exactly the limit is admitted, never one more, whoever asks. Of two sets the
 * narrower decides, and what the wider was debited for refused requests is given back. */
static void two_processes_admit_exactly_the_limit(void **state)
{
    (void)state;
    const struct sl_rate_limit wide = limit_of(3600, 1000000, 1000000), narrow = limit_of(3600, 20000, 20000);
    struct sl_limit_set *sets[] = {set_of(&wide, "route:r"), set_of(&narrow, "tier:t")};
    struct race *r = mmap(NULL, sizeof(*r), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(r != MAP_FAILED);
    race(sets, 30000, r);
    const uint64_t total = r->admitted[0] + r->admitted[1];
    /* a request that lost all its tries is refused and counted, so it may be missing */
    assert_in_range(total + r->cas[0] + r->cas[1], 20000, 20000 + r->cas[0] + r->cas[1]);
    assert_true(total <= 20000);
    struct sl_limit_verdict v;
    const struct sl_limit_subject s = who("acme");
    sl_limits_take(&table, sets, 1, &s, T0, &v);
    assert_int_equal(v.remaining[0][0], 1000000 - total - 1);
    (void)munmap(r, sizeof(*r));
    sl_limit_set_free(sets[0]);
    sl_limit_set_free(sets[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        unit_test_limit(what_is_counted),
        unit_test_limit(ipv6_is_counted_by_its_network),
        unit_test_limit(the_seed_names_the_buckets),
        unit_test_limit(a_full_table_admits_and_says_so),
        unit_test_limit(a_full_table_refuses_where_it_is_told_to),
        unit_test_limit(what_other_hosts_admitted_is_owed),
        unit_test_limit(a_shadow_counts_and_refuses_nothing),
        unit_test_limit(admitted_and_denied_are_counted),
        unit_test_limit(two_processes_admit_exactly_the_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
