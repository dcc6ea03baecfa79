# SPDX-License-Identifier: Apache-2.0
"""What one host of a cluster shuts out the others shut out too, as long and as it was named there; and forgive together."""
import contextlib
import hashlib
import os
import signal

import pytest
from harness.client import Client
from harness.gateway import SAN, Gateway, proc_status
from harness.ns import Net
from harness.redis import Redis
from harness.wait import until

pytestmark = pytest.mark.root
P = 8080
KEYS = {"abuser": "abuser-key-000000", "good": "good-key-00000000"}
STREAM = "sluice:penalties"
# each guard has pins of its own, as on a host of its own
OWN_PINS = ("unshare", "--mount", "--propagation", "private", "sh", "-c", 'mount -t bpf bpf /sys/fs/bpf && exec "$@"', "sh")


@pytest.fixture(scope="module")
def net():
    with Net("a", "b", "c", "redis", "bad") as n:
        yield n


@pytest.fixture
def redis(net):
    with Redis(net.redis) as r:
        yield r


def policy(host, redis, **over):
    return {"workers": 1, "listeners": {"main": {"bind": [f"{host.address}:{P}"]}},
            "kernel": {"interfaces": ["eth0"], "mode": "native"},
            "cluster": {"redis": redis.url, "penalties": True, "host": f"gw-{host.name}", "sync": "50ms"},
            "auth": {"keys": {"type": "key", "names": ["apikey"], "in": ["header"]}},
            "tiers": {"partner": {"rate_limit": {"minute": 5, "by": "consumer"},
                                  "kernel": {"escalate": {"rejections": 5, "within": "30s", "penalty": "5m", "max_penalty": "1h"}}},
                      "free": {}},
            "consumers": {n: {"tier": "free" if n == "good" else "partner", "keys": [hashlib.sha256(k.encode()).hexdigest()]} for n, k in KEYS.items()},
            "routes": {"all": {"auth": ["keys"], "respond": {"status": 200, "body": "ok"}}}, **over}


@contextlib.contextmanager
def gateways(net, redis, *names, **over):
    with contextlib.ExitStack() as stack:
        yield [started(stack, net, redis, n, **over) for n in names]


def started(stack, net, redis, name, **over):
    g = stack.enter_context(Gateway(policy(net[name], redis, **over), net[name], prefix=OWN_PINS))
    until(lambda: g.metric("sluice_cluster_up") == 1, "redis to answer")
    return g


def sources(g):
    """Penalties that are not of a flow, by their source."""
    return {p["source"]: p for p in g.penalties()["penalties"] if p["effect"] != "flow"}


def denies(g):
    return {d["source"]: d for d in g.penalties()["denies"]}


def refused(g, reason):
    return g.metric("sluice_cluster_penalties_refused_total", reason=reason)


def shared(g, event):
    return g.metric("sluice_cluster_penalties_total", event=event)


def abuse(net, g):
    """Up the ladder: each of three connections, opened before, is used until it is cut."""
    for c in [Client(net.bad.connect((g.host.address, P)), timeout=5) for _ in range(3)]:
        with contextlib.suppress(OSError):
            while True:
                c.request("GET", "/", [("apikey", KEYS["abuser"])])
    until(lambda: sources(g).get(net.bad.address, {}).get("effect") == "source", "a penalty of the address")


def syn_is_dropped(net, g):
    before = sum(g.counted(r) for r in ("penalty_connect", "penalty_source", "deny_list"))
    with net.bad.socket() as s:
        s.setblocking(False)
        s.connect_ex((g.host.address, P))
        until(lambda: sum(g.counted(r) for r in ("penalty_connect", "penalty_source", "deny_list")) > before, "the SYN dropped")


def ask(net, g, who="good"):
    with Client(net.bad.connect((g.host.address, P))) as c:
        return c.request("GET", "/", [("apikey", KEYS[who])]).status


def xadd(redis, **fields):
    e = {"kind": "penalty", "source": "203.0.113.9/32", "effect": "source", "left_ms": "60000", "level": "1", "rejections": "5", "consumer": "abuser",
         "rule": "tier:partner", "host": "gw-x", "sender": "00000000deadbeef", **fields}
    out = redis.ask("XADD", STREAM, "*", *(w for kv in e.items() for w in kv))
    assert out.startswith(b"$"), out


def xlen(redis):
    return int(redis.ask("XLEN", STREAM)[1:])


def test_a_penalty_of_one_host_is_the_others_and_its_revocation_too(net, redis):
    with gateways(net, redis, "a", "b", "c") as (a, b, c):
        assert ask(net, b, "abuser") == 200
        abuse(net, a)
        for g in (b, c):
            until(lambda: net.bad.address in sources(g), "the penalty of the other host")
            syn_is_dropped(net, g)
            until(lambda: sources(g)[net.bad.address]["effect"] == "source", "the last rung")
            before, there, after = (sources(x)[net.bad.address] for x in (a, g, a))
            for k in ("consumer", "rule", "rejections", "level", "effect"):
                assert there[k] == after[k], (k, there, after)
            assert there["consumer"] == "abuser" and there["rule"] == "tier:partner"
            assert there["from"] == "gw-a" and after["from"] == "" and not there["manual"]
            # the same end, but for the way of the message; a level more would be minutes
            assert after["left_ms"] - 1000 <= there["left_ms"] <= before["left_ms"] + 1000, (before, there, after)
            assert all(p["effect"] != "flow" for p in g.penalties()["penalties"]), "a flow is its host's alone"
            assert shared(g, "told") == 0 and shared(g, "taken") > 0, "what was heard is not told on"
        assert xlen(redis) == shared(a, "told")
        assert "gw-a" in b.ctl("penalties")[1]
        assert "from host gw-a" in b.ctl("explain", net.bad.address)[1]
        assert "as gw-b: 0 penalties told" in b.ctl("status")[1]

        os.kill(b.pids()["controller"], signal.SIGKILL)  # it learns anew whose the penalty is, and tells nobody
        until(lambda: sources(b).get(net.bad.address, {}).get("from") == "gw-a", "the origin to be known again")
        assert xlen(redis) == shared(a, "told")

        assert c.ctl("forget", f"{net.bad.address}/32")[0] == 0
        for g in (a, b, c):
            until(lambda: net.bad.address not in sources(g), "the penalty to be taken back")
            assert g.ctl("forget", f"{net.bad.address}/32")[0] == 0  # flows of it, at a
            assert ask(net, g) == 200
        os.kill(b.pids()["controller"], signal.SIGKILL)  # what is history does not come back
        assert a.ctl("deny", "198.51.100.7", "--for", "10m")[0] == 0
        until(lambda: "198.51.100.7/32" in denies(b), "what was told meanwhile")
        assert not sources(b)


def test_an_operators_deny_with_an_end_is_every_hosts(net, redis):
    with gateways(net, redis, "a", "b", trusted_proxies=["192.0.2.0/24"]) as (a, b):
        assert a.ctl("deny", "198.51.100.0/24")[0] == 0, "for ever: this host's alone"
        assert a.ctl("deny", "96.0.0.0/7", "--for", "10m")[0] == 0, "too wide"
        assert a.ctl("deny", f"{net.bad.address}/32", "--for", "10m")[0] == 0
        until(lambda: f"{net.bad.address}/32" in denies(b) if b.penalties() else False, "the deny at the other host")
        syn_is_dropped(net, b)
        assert denies(b).keys() == {f"{net.bad.address}/32"} and denies(b)[f"{net.bad.address}/32"]["from"] == "gw-a"
        assert denies(a)["198.51.100.0/24"]["left_ms"] is None
        assert "deny" in b.ctl("penalties")[1] and "denied by an operator" in b.ctl("explain", net.bad.address)[1]

        # what this host protects nobody else shuts out
        assert b.ctl("allow", "203.0.113.0/24")[0] == 0
        assert a.ctl("deny", "203.0.113.5", "--for", "10m")[0] == 0
        until(lambda: refused(b, "protected") == 1, "the allowed source to be refused")
        assert a.ctl("deny", "192.0.0.0/16", "--for", "10m")[0] == 0
        until(lambda: refused(b, "protected") == 2, "the trusted proxy to be refused")
        assert denies(b).keys() == {f"{net.bad.address}/32"}

        # an allow takes back elsewhere what is void here
        assert b.ctl("allow", f"{net.bad.address}/32", "--for", "10m")[0] == 0
        until(lambda: f"{net.bad.address}/32" not in denies(a), "the deny to be taken back")
        assert ask(net, a) == 200
        assert "198.51.100.0/24" in denies(a), "what has no end is its own operator's"


def test_a_neighbour_who_succeeds_here_is_not_shut_out_by_another_host(net, redis):
    with gateways(net, redis, "a", "b") as (a, b):
        assert ask(net, b, "good") == 200
        abuse(net, a)
        until(lambda: refused(b, "neighbours") > 0, "the penalty to be refused")
        assert not sources(b) and ask(net, b, "good") == 200


def test_what_is_no_event_is_refused_and_counted(net, redis):
    bad = [{"kind": "ban"}, {"kind": "deny", "source": "0.0.0.0/0"}, {"kind": "deny", "source": "2001:db8::/31"}, {"source": "203.0.113.9/24"}, {"source": "203.0.113.0/24"},
           {"source": "x"}, {"source": "2001:db8::1/128"}, {"effect": "flow"}, {"effect": "none"}, {"left_ms": "0"}, {"left_ms": "604800001"},
           {"left_ms": "99999999999999999999999"}, {"left_ms": "-1"}, {"level": "0"}, {"rejections": "4294967296"}, {"consumer": "x" * 32}, {"consumer": "a\x1b[2J"},
           {"rule": "r" * 300}, {"host": ""}, {"host": "h" * 65}, {"sender": "DEADBEEFDEADBEEF"}, {"more": "1"}]
    with gateways(net, redis, "a") as (a,):
        for i, fields in enumerate(bad):
            xadd(redis, **fields)
            until(lambda: refused(a, "malformed") == i + 1, f"{fields} to be refused", timeout=5)
        redis.ask("XADD", STREAM, "*", "kind", "penalty")
        until(lambda: refused(a, "malformed") == len(bad) + 1, "half an event to be refused")
        memory = int(proc_status(a.pids()["controller"])["VmHWM"].split()[0])
        for _ in range(8):  # no more of it than the id comes here
            xadd(redis, rule="x" * (8 << 20))
        until(lambda: refused(a, "malformed") == len(bad) + 9, "what is too long to be refused")
        assert int(proc_status(a.pids()["controller"])["VmHWM"].split()[0]) < memory + 8192 or SAN, "KiB"
        xadd(redis)
        until(lambda: "203.0.113.9" in sources(a), "a whole one to be taken")
        assert sources(a)["203.0.113.9"]["from"] == "gw-x" and shared(a, "taken") == 1
        for i in range(600):  # more than a page, while nothing is read
            xadd(redis, source=f"203.0.{i >> 8}.{i & 255}/32", effect="connect")
        until(lambda: len(sources(a)) == 601, "all of them, over several syncs", timeout=20)
        redis.ask("DEL", STREAM)
        redis.ask("SET", STREAM, "garbage")
        a.wait_log("cluster: penalties are not shared: redis .*WRONGTYPE")
        assert a.metric("sluice_cluster_up") == 1, "limits are shared all the same"


def test_redis_gone_is_local_and_back_is_together(net, redis):
    with contextlib.ExitStack() as stack:
        a, b = (started(stack, net, redis, n) for n in "ab")
        assert a.ctl("deny", "198.51.100.1", "--for", "10m")[0] == 0
        until(lambda: "198.51.100.1/32" in denies(b), "the deny at the other host")
        redis.kill()
        until(lambda: a.metric("sluice_cluster_up") == 0 and b.metric("sluice_cluster_up") == 0, "both to know")
        abuse(net, a)
        assert b.ctl("deny", "198.51.100.2", "--for", "10m")[0] == 0
        assert not sources(b) and "198.51.100.2/32" not in denies(a)
        redis.start()  # it has forgotten everything
        until(lambda: net.bad.address in sources(b), "what a shut out meanwhile", timeout=20)
        until(lambda: "198.51.100.2/32" in denies(a), "what b's operator did meanwhile")
        c = started(stack, net, redis, "c")  # and who comes later hears all, also from before
        until(lambda: net.bad.address in sources(c) and {"198.51.100.1/32", "198.51.100.2/32"} <= denies(c).keys(), "all of it", timeout=20)
        assert sources(c)[net.bad.address]["from"] == "gw-a" and denies(c)["198.51.100.2/32"]["from"] == "gw-b"


def test_by_reload_and_only_where_the_policy_says(net, redis):
    with gateways(net, redis, "a", "b") as (a, b):
        p = policy(net.b, redis)
        p["cluster"] = {**p["cluster"], "penalties": False}
        assert b.apply(p)[0] == 0
        assert a.ctl("deny", "198.51.100.1", "--for", "10m")[0] == 0
        assert b.ctl("deny", "198.51.100.2", "--for", "10m")[0] == 0
        until(lambda: shared(a, "told") == 1, "a to tell")
        assert "198.51.100.1/32" not in denies(b) and xlen(redis) == 1
        assert b.apply(policy(net.b, redis))[0] == 0
        until(lambda: "198.51.100.1/32" in denies(b) and "198.51.100.2/32" in denies(a), "both to know both")
