/* SPDX-License-Identifier: Apache-2.0 */
/* Limits over the shared buckets: exact, also with two processes at once; rates that change; windows
 * together. */
#include "base/clock.h"
#include "base/share.h"
#include "policy_test.h"

#include <sched.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define SLOTS 4096
#define T0    (100000000 * SL_NS_PER_SEC) /* after the clock of any host */

static struct sl_bucket_table table;

static int setup(void **state)
{
    (void)with_arena(state);
    table = (struct sl_bucket_table){.n = SLOTS, .seed = 42};
    table.slots =
        mmap(NULL, SLOTS * sizeof(*table.slots), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return table.slots == MAP_FAILED ? -1 : 0;
}

static int teardown(void **state)
{
    (void)munmap(table.slots, SLOTS * sizeof(*table.slots));
    return drop_arena(state);
}

static struct sl_rate_limit limit_of(uint64_t seconds, uint64_t limit, uint64_t capacity)
{
    return (struct sl_rate_limit){.windows = {{seconds == 1    ? "second"
                                               : seconds == 60 ? "minute"
                                                               : "hour",
                                               seconds, limit, capacity}},
                                  .n_windows = 1,
                                  .by = SL_BY_CONSUMER,
                                  .status = 429};
}

static struct sl_limit_set *set_of(const struct sl_rate_limit *rl, const char *name)
{
    struct sl_limit_set *l;
    assert_int_equal(sl_limit_set_new(rl, name, &l), 0);
    assert_non_null(l);
    assert_ptr_equal(sl_limit_set_config(l), rl);
    return l;
}

static struct sl_limit_subject who(const char *consumer)
{
    struct sl_limit_subject s = {.consumer = sl_slice_str(consumer)};
    assert_int_equal(sl_ip_parse(SL_S("192.0.2.1"), &s.ip), 0);
    return s;
}

static struct sl_limit_verdict take(struct sl_limit_set *l, const struct sl_limit_subject *s, uint64_t now)
{
    struct sl_limit_verdict v;
    sl_limits_take(&table, &l, 1, s, now, &v);
    return v;
}

static unsigned admitted(struct sl_limit_set *l, const char *consumer, uint64_t now, unsigned tries)
{
    const struct sl_limit_subject s = who(consumer);
    unsigned n = 0;
    for (unsigned i = 0; i < tries; i++)
        n += take(l, &s, now).admitted;
    return n;
}

static void no_window_is_no_set(void **state)
{
    (void)state;
    const struct sl_rate_limit none = {0};
    struct sl_limit_set *l = (struct sl_limit_set *)&none;
    assert_int_equal(sl_limit_set_new(&none, "x", &l), 0);
    assert_null(l);
}

static void capacity_then_one_per_interval(void **state)
{
    (void)state;
    const struct sl_rate_limit rl = limit_of(1, 10, 10);
    struct sl_limit_set *l = set_of(&rl, "tier:a");
    assert_int_equal(admitted(l, "acme", T0, 50), 10);
    assert_int_equal(admitted(l, "acme", T0 + 99999999, 50), 0);
    assert_int_equal(admitted(l, "acme", T0 + 100000000, 50), 1);
    assert_int_equal(admitted(l, "acme", T0 + 350000000, 50), 2);
    assert_int_equal(admitted(l, "acme", T0 + 10 * SL_NS_PER_SEC, 50), 10);
    assert_int_equal(admitted(l, "other", T0, 50), 10);
    sl_limit_set_free(l);
}

static void burst_is_the_capacity(void **state)
{
    (void)state;
    const struct sl_rate_limit rl = limit_of(1, 100, 3);
    struct sl_limit_set *l = set_of(&rl, "tier:a");
    assert_int_equal(admitted(l, "acme", T0, 50), 3);
    assert_int_equal(admitted(l, "acme", T0 + 20 * SL_NS_PER_MS, 50), 2);
    sl_limit_set_free(l);
}

/* Limits that do not divide their window never admit more than they say (PITFALLS 2: remainders). */
static void no_window_admits_more_than_the_limit(void **state)
{
    (void)state;
    static const uint64_t limits[] = {1, 3, 7, 999, 1000001, 1000000000};
    for (size_t i = 0; i < SL_ARRAY_LEN(limits); i++) {
        const struct sl_rate_limit rl = limit_of(1, limits[i], 1);
        struct sl_limit_set *l = set_of(&rl, sl_arena_printf(&arena, "t%zu", i));
        const struct sl_limit_subject s = who("x");
        const struct sl_limit_verdict v = take(l, &s, T0);
        assert_true(v.admitted);
        assert_true(v.reset_ns[0][0] * limits[i] >= SL_NS_PER_SEC);
        sl_limit_set_free(l);
    }
}

static void what_is_told(void **state)
{
    (void)state;
    const struct sl_rate_limit rl = limit_of(60, 6, 6);
    struct sl_limit_set *l = set_of(&rl, "tier:a");
    const struct sl_limit_subject s = who("acme");
    for (unsigned i = 0; i < 6; i++) {
        const struct sl_limit_verdict v = take(l, &s, T0);
        assert_true(v.admitted);
        assert_ptr_equal(v.set, l);
        assert_int_equal(v.remaining[0][0], 5 - i);
        assert_int_equal(v.reset_ns[0][0], (i + 1) * 10 * SL_NS_PER_SEC);
        assert_int_equal(v.wait_ns, 0);
    }
    const struct sl_limit_verdict v = take(l, &s, T0 + SL_NS_PER_SEC);
    assert_false(v.admitted);
    assert_int_equal(v.remaining[0][0], 0);
    assert_int_equal(v.wait_ns, 9 * SL_NS_PER_SEC);
    assert_ptr_equal(v.set, l);
    /* who waits as told is admitted, and not a ns before */
    assert_false(take(l, &s, T0 + 10 * SL_NS_PER_SEC - 1).admitted);
    assert_true(take(l, &s, T0 + SL_NS_PER_SEC + v.wait_ns).admitted);
    sl_limit_set_free(l);
}

static void windows_hold_together(void **state)
{
    (void)state;
    struct sl_rate_limit rl = limit_of(1, 5, 5);
    rl.windows[rl.n_windows++] = (struct sl_window){"minute", 60, 8, 8};
    struct sl_limit_set *l = set_of(&rl, "tier:a");
    const struct sl_limit_subject s = who("acme");
    assert_int_equal(admitted(l, "acme", T0, 9), 5);
    assert_int_equal(admitted(l, "acme", T0 + SL_NS_PER_SEC, 9), 3); /* the minute's end */
    const struct sl_limit_verdict v = take(l, &s, T0 + SL_NS_PER_SEC);
    assert_false(v.admitted);
    assert_int_equal(v.window, 1);
    /* the second's bucket was not debited by what the minute's refused: 3 of 5 were taken, 2 are left */
    assert_int_equal(v.remaining[0][0], 2);
    sl_limit_set_free(l);
}

static void sets_hold_together(void **state)
{
    (void)state;
    const struct sl_rate_limit wide = limit_of(1, 100, 100), narrow = limit_of(60, 2, 2);
    struct sl_limit_set *sets[] = {set_of(&wide, "route:r"), NULL, set_of(&narrow, "tier:t")};
    const struct sl_limit_subject s = who("acme");
    struct sl_limit_verdict v;
    for (unsigned i = 0; i < 2; i++) {
        sl_limits_take(&table, sets, 3, &s, T0, &v);
        assert_true(v.admitted);
        assert_ptr_equal(v.set, sets[2]); /* the tightest */
    }
    sl_limits_take(&table, sets, 3, &s, T0, &v);
    assert_false(v.admitted);
    assert_ptr_equal(v.set, sets[2]);
    assert_int_equal(v.remaining[0][0], 98); /* refused requests cost the route's limit nothing */
    assert_int_equal(v.remaining[2][0], 0);
    sl_limit_set_free(sets[0]);
    sl_limit_set_free(sets[2]);
}

/* The same bucket twice in one decision: both look, the first takes the last request, and the second finds it
 * gone, as if another process had been quicker. Then all that was debited is given back. */
static void a_lost_race_costs_nothing(void **state)
{
    (void)state;
    const struct sl_rate_limit wide = limit_of(60, 100, 100), last = limit_of(60, 1, 1);
    struct sl_limit_set *sets[] = {set_of(&wide, "route:r"), set_of(&last, "tier:t"), NULL};
    const struct sl_limit_subject s = who("acme");
    struct sl_limit_verdict v;
    sets[2] = sets[1];
    sl_limits_take(&table, sets, 3, &s, T0, &v);
    assert_false(v.admitted);
    assert_int_equal(v.wait_ns, 60 * SL_NS_PER_SEC);
    assert_int_equal(v.remaining[0][0], 100);
    assert_int_equal(v.remaining[1][0], 1);
    sl_limits_take(&table, sets, 2, &s, T0, &v);
    assert_true(v.admitted);
    assert_int_equal(v.remaining[0][0], 99);
    sl_limit_set_free(sets[0]);
    sl_limit_set_free(sets[1]);
}

static void a_raised_limit_lets_in_at_once(void **state)
{
    (void)state;
    const struct sl_rate_limit slow = limit_of(3600, 2, 2), fast = limit_of(1, 100, 100);
    struct sl_limit_set *a = set_of(&slow, "tier:a");
    assert_int_equal(admitted(a, "acme", T0, 10), 2);
    sl_limit_set_free(a);
    /* the same name and window, so the same bucket, but 3600 requests an hour */
    const struct sl_rate_limit raised = limit_of(3600, 3600, 10);
    struct sl_limit_set *b = set_of(&raised, "tier:a");
    assert_int_equal(admitted(b, "acme", T0, 10), 0);
    assert_int_equal(admitted(b, "acme", T0 + SL_NS_PER_SEC, 10), 1);
    assert_int_equal(admitted(b, "acme", T0 + 11 * SL_NS_PER_SEC, 20), 10);
    sl_limit_set_free(b);
    struct sl_limit_set *c = set_of(&fast, "tier:a");
    assert_int_equal(admitted(c, "acme", T0, 200), 100); /* another window is another bucket */
    sl_limit_set_free(c);
}

static void a_lowered_limit_holds_from_the_next_request(void **state)
{
    (void)state;
    const struct sl_rate_limit high = limit_of(60, 600, 600), low = limit_of(60, 6, 6);
    struct sl_limit_set *a = set_of(&high, "tier:a"), *b = set_of(&low, "tier:a");
    assert_int_equal(admitted(a, "acme", T0, 300), 300); /* 30 s of its minute */
    assert_int_equal(admitted(b, "acme", T0, 10), 3);    /* 30 s are left, at 10 s each */
    sl_limit_set_free(a);
    sl_limit_set_free(b);
}

/* PITFALLS 2: a bucket that nobody used for a year, and the end of time. */
static void idle_for_long(void **state)
{
    (void)state;
    const struct sl_rate_limit rl = limit_of(1, 5, 5);
    struct sl_limit_set *l = set_of(&rl, "tier:a");
    assert_int_equal(admitted(l, "acme", T0, 9), 5);
    assert_int_equal(admitted(l, "acme", T0 + 365ull * 86400 * SL_NS_PER_SEC, 9), 5);
    assert_int_equal(admitted(l, "acme", 1ull << 62, 9), 5);
    assert_int_equal(admitted(l, "young", 1, 9), 5); /* just after boot */
    sl_limit_set_free(l);
}

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

#define unit_test_limit(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        unit_test_limit(no_window_is_no_set),
        unit_test_limit(capacity_then_one_per_interval),
        unit_test_limit(burst_is_the_capacity),
        unit_test_limit(no_window_admits_more_than_the_limit),
        unit_test_limit(what_is_told),
        unit_test_limit(windows_hold_together),
        unit_test_limit(sets_hold_together),
        unit_test_limit(a_lost_race_costs_nothing),
        unit_test_limit(a_raised_limit_lets_in_at_once),
        unit_test_limit(a_lowered_limit_holds_from_the_next_request),
        unit_test_limit(idle_for_long),
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
