# SPDX-License-Identifier: Apache-2.0
"""Three gateways in three hosts hold one limit by way of Redis; without it each holds its own, and says so."""
import contextlib
import os
import re

import pytest
from harness.gateway import Gateway
from harness.load import Load
from harness.ns import Net
from harness.redis import Redis
from harness.wait import until

pytestmark = pytest.mark.root
P = 8080
SECONDS = float(os.environ.get("SLUICE_CLUSTER_SECONDS", "3"))
GATEWAYS = ("a", "b", "c")


@pytest.fixture
def net():
    with Net(*GATEWAYS, "redis") as n:
        yield n


@pytest.fixture
def redis(net):
    with Redis(net.redis) as r:
        yield r


def policy(host, redis, limit, **cluster):
    return {"workers": 2, "listeners": {"main": {"bind": [f"{host.address}:{P}"]}},
            "cluster": {"redis": redis.url, **cluster},
            "routes": {"all": {"auth": ["public"], "respond": {"status": 200, "body": "ok"},
                               "rate_limit": {"by": "header:X-Tenant", "policy": "cluster", **limit}}}}


def gateways(stack, net, redis, limit, names=GATEWAYS, **cluster):
    return [stack.enter_context(Gateway(policy(net[n], redis, limit, **cluster), net[n])) for n in names]


def ask(g, tenant="t"):
    with g.client(P) as c:
        r = c.request("GET", "/", [("X-Tenant", tenant)])
        return r.status, int(re.search(r"r=(\d+)", r.get("RateLimit")).group(1))


def shared(g):
    return g.metric("sluice_cluster_up") == 1


def test_three_hosts_admit_one_limit(net, redis):
    rate = 200
    with contextlib.ExitStack() as stack:
        all_ = gateways(stack, net, redis, {"second": rate})
        for g in all_:
            until(lambda: shared(g), "redis to answer")
        loads = [Load(g.host, g.host.address, P, connections=8, rate=300, seconds=SECONDS, headers=["X-Tenant: t"]) for g in all_]
        results = [l.result() for l in loads]
        admitted = sum(r["status"]["2xx"] for r in results)
        expected = rate + rate * SECONDS
        assert all(r.failed == 0 for r in results), results
        # two syncs' worth of the other two hosts at most, and then a twentieth
        assert expected * 0.95 - 0.2 * rate <= admitted <= expected * 1.05 + 0.2 * rate, (admitted, expected)
        print(f"cluster: {admitted} admitted by three hosts, {expected:.0f} asked for: {100 * admitted / expected - 100:+.1f} %")
        for g in all_:
            # one pipeline a sync, whatever the load
            assert g.metric("sluice_cluster_syncs_total") <= (g.metric("sluice_uptime_seconds") + 1) * 10 + 1
            assert g.metric("sluice_cluster_failures_total") == 0


def test_redis_gone_is_local_and_back_is_together(net, redis):
    with contextlib.ExitStack() as stack:
        a, b = gateways(stack, net, redis, {"hour": 1000}, ("a", "b"))
        until(lambda: shared(a) and shared(b), "redis to answer")
        for _ in range(100):
            assert ask(a)[0] == 200
        until(lambda: ask(b)[1] <= 899, "b to hear of what a admitted")
        load = Load(a.host, a.host.address, P, connections=4, rate=50, seconds=3, headers=["X-Tenant: under-load"])
        redis.kill()
        a.wait_log("cluster: redis .*: limits are this host's alone")
        until(lambda: not shared(a) and not shared(b), "the gauge to say so")
        assert "does not answer" in a.ctl("status")[1]
        before = ask(b)[1]
        for g in (a, b):  # nobody waits, and each counts for itself
            for _ in range(100):
                assert ask(g)[0] == 200
        assert ask(b)[1] >= before - 102
        redis.start()  # it has forgotten everything
        until(lambda: shared(a) and shared(b), "redis to answer again")
        # what both admitted alone is now owed by both, and what Redis knew before it was killed as well
        until(lambda: ask(a)[1] <= 700 and ask(b)[1] <= 700, "both to owe what both admitted")
        r = load.result()
        assert r.failed == 0 and r["status"]["2xx"] > 100, r


def test_a_password_and_a_reload(net):
    with Redis(net.redis, password="s3cret") as redis, contextlib.ExitStack() as stack:
        os.environ["SL_TEST_REDIS"] = "s3cret"
        stack.callback(os.environ.pop, "SL_TEST_REDIS")
        (g,) = gateways(stack, net, redis, {"hour": 10}, ("a",))
        g.wait_log("cluster: redis .*NOAUTH")
        assert [ask(g)[0] for _ in range(3)] == [200] * 3
        p = policy(g.host, redis, {"hour": 10}, password={"$env": "SL_TEST_REDIS"}, name="shop")
        rc, out = g.apply(p)
        assert rc == 0, out
        until(lambda: shared(g), "redis to answer")
        assert ask(g)[0] == 200
        until(lambda: b"shop:b:" in redis.ask("KEYS", "*"), "the bucket in redis")
        assert "s3cret" not in g.log() and "s3cret" not in g.ctl("status", "--json")[1]
        rc, out = g.apply({k: v for k, v in p.items() if k != "cluster"})
        assert rc == 1 and "policy: cluster" in out
        p["cluster"] = {"redis": "redis://redis.internal:6379"}
        rc, out = g.apply(p)
        assert rc == 1 and "no host name" in out
