# SPDX-License-Identifier: Apache-2.0
"""One number, two enforcers: who keeps asking over the limit meets the kernel, and nobody else does."""
import hashlib
import os
import signal
import socket
import time

import pytest
from harness.client import Client, Closed
from harness.gateway import Gateway
from harness.load import Load, nobody_notices
from harness.nginx import Nginx
from harness.ns import Net
from harness.policy import guarded, merge
from harness.wait import until

pytestmark = pytest.mark.root
P = 8080
KEYS = {"abuser": "abuser-key-000000", "good": "good-key-00000000", "second": "second-key-0000000"}


@pytest.fixture
def net(bpffs):
    with Net("gw", "bad", "good") as n:
        yield n


@pytest.fixture
def origin(net):
    with Nginx(net.gw, 9000, address="127.0.0.1") as o:
        yield o


def policy(origin, escalate, limit=None, **over):
    base = guarded(origin.target, P, workers=2,
                   auth={"keys": {"type": "key", "names": ["apikey"], "in": ["header"], "hide": True}},
                   tiers={"partner": {"rate_limit": limit or {"second": 20, "by": "consumer"}, "kernel": {"headroom": 4, "escalate": escalate}},
                          "free": {"rate_limit": {"second": 100000, "by": "consumer"}}},
                   consumers={n: {"tier": "free" if n == "good" else "partner", "keys": [hashlib.sha256(k.encode()).hexdigest()]} for n, k in KEYS.items()},
                   routes={"all": {"auth": ["keys"]}})
    return merge(base, over)


ESCALATE = {"rejections": 20, "within": "10s", "penalty": "3s", "max_penalty": "1m"}


def flood(host, who, seconds=3.0, connections=4, rate=0):
    return Load(host, "10.77.0.1", P, connections=connections, rate=rate, seconds=seconds, headers=[f"apikey: {KEYS[who]}"])


def penalties(g):
    return g.penalties()["penalties"]


def drops(g):
    return sum(g.metric("sluice_kernel_packets_total", reason=r) for r in ("penalty_flow", "penalty_connect", "penalty_source"))


def test_the_abuser_is_answered_then_dropped_then_forgiven(net, origin):
    with Gateway(policy(origin, ESCALATE), net.gw) as g:
        load = flood(net.bad, "abuser")
        p = until(lambda: penalties(g), "a penalty")[0]
        assert p["consumer"] == "abuser" and p["source"].startswith(net.bad.address) and p["effect"] in ("flow", "connect", "source")
        until(lambda: drops(g) > 0, "kernel drops")
        r = load.result()
        assert r["status"]["4xx"] >= ESCALATE["rejections"], "it was told first"
        assert 0 < r["status"]["2xx"] <= 20 + 20 * 4
        until(lambda: not penalties(g), "the penalties to run out", timeout=60, every=0.2)

        def served():
            with Client(net.bad.connect(("10.77.0.1", P), 1), timeout=1) as c:
                return c.request("GET", "/", [("apikey", KEYS["abuser"])]).status == 200
        until(served, "the abuser to be served again", timeout=20)


def until_closed(c, who="abuser"):
    """Asks until the gateway cuts the connection; the statuses on the way."""
    seen = []
    try:
        while len(seen) < 1000:
            seen.append(c.request("GET", "/", [("apikey", KEYS[who])]).status)
    except OSError:
        return seen
    raise AssertionError(f"still open after {len(seen)} requests")


@pytest.mark.veth
def test_the_ladder_is_climbed_rung_by_rung(net, origin):
    """Four connections opened before, each used until it is cut: flow first, then new connections, then the source."""
    with Gateway(policy(origin, {"rejections": 10, "within": "10s", "penalty": "30s", "max_penalty": "1h"}, limit={"minute": 20, "by": "consumer"}), net.gw) as g:
        held = [Client(net.bad.connect(("10.77.0.1", P)), timeout=3) for _ in range(4)]
        for expected in (["flow"], ["connect", "flow"], ["flow", "source"]):
            statuses = until_closed(held.pop())
            assert statuses.count(429) in (9, 10), statuses  # the tenth is answered, then the connection is reset
            until(lambda: sorted({p["effect"] for p in penalties(g)}) == expected, f"penalties {expected}")
            if "connect" in expected:  # new connections are dropped while the others live
                with net.bad.socket() as s:
                    s.setblocking(False)
                    s.connect_ex(("10.77.0.1", P))
                    until(lambda: g.metric("sluice_kernel_packets_total", reason="penalty_connect") > 0, "a SYN dropped")
        before = g.metric("sluice_kernel_packets_total", reason="penalty_source")
        held[0].send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        until(lambda: g.metric("sluice_kernel_packets_total", reason="penalty_source") > before, "packets of the last connection dropped")
        assert_served(net.good)


def test_repeats_double_the_deadline_up_to_the_cap(net, origin):
    with Gateway(policy(origin, {"rejections": 5, "within": "10s", "penalty": "1s", "max_penalty": "4s"}), net.gw) as g:
        load = flood(net.bad, "abuser", seconds=12, connections=2)
        until(lambda: [p for p in penalties(g) if p["level"] >= 1], "a doubled penalty", timeout=12)
        left = [p["left_ms"] for p in penalties(g)]
        assert all(ms <= 4000 for ms in left), left
        load.result()


def test_an_address_shared_with_a_good_consumer_is_never_boxed(net, origin):
    """NAT: the abuser's flows are dropped; its neighbour at the same address opens new connections all along."""
    with Gateway(policy(origin, {**ESCALATE, "penalty": "20s"}), net.gw) as g:
        def good():
            with Client(net.bad.connect(("10.77.0.1", P), 10), timeout=10) as c:  # less than the penalty
                assert c.request("GET", "/", [("apikey", KEYS["good"])]).status == 200
        good()
        load = flood(net.bad, "abuser", seconds=4, connections=8)
        n = 0
        while load.running():
            good()
            n += 1
        assert n > 20
        scopes = {p["effect"] for p in penalties(g)}
        assert scopes == {"flow"}, scopes
        load.result()


def test_a_flows_penalty_spares_who_was_given_its_ports_meanwhile(net, origin):
    """NAT: the supervisor is slow, and the abuser's ports are a neighbour's before the penalty is written."""
    with Gateway(policy(origin, {**ESCALATE, "rejections": 5, "penalty": "60s"}, limit={"minute": 5, "by": "consumer"}), net.gw) as g:
        os.kill(g.proc.pid, signal.SIGSTOP)
        try:
            s = net.bad.connect(("10.77.0.1", P))
            port = s.getsockname()[1]
            with Client(s, timeout=10) as c:
                assert until_closed(c).count(429) in (4, 5)
            s = net.bad.socket()
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.settimeout(10)
            s.bind(("", port))
            s.connect(("10.77.0.1", P))
        finally:
            os.kill(g.proc.pid, signal.SIGCONT)
        with Client(s, timeout=10) as c:
            until(lambda: g.metric("sluice_tier_penalties_total", tier="partner") == 1, "the penalty asked for")
            assert g.ctl("deny", "203.0.113.1", "--for", "1m")[0] == 0  # the supervisor has worked off what came before
            assert c.request("GET", "/", [("apikey", KEYS["good"])]).status == 200
        assert drops(g) == 0


def test_a_trusted_proxy_is_never_penalised(net, origin):
    with Gateway(policy(origin, ESCALATE, trusted_proxies=[f"{net.bad.address}/32"]), net.gw) as g:
        load = flood(net.bad, "abuser", seconds=2)
        r = load.result()
        assert r["status"]["4xx"] > 100 and r["refused"] == 0
        assert {p["effect"] for p in penalties(g)} <= {"flow"}
        assert not [p for p in penalties(g) if p["effect"] != "flow"]


def test_no_escalation_unless_written(net, origin):
    p = policy(origin, ESCALATE)
    del p["tiers"]["partner"]["kernel"]["escalate"]
    with Gateway(p, net.gw) as g:
        r = flood(net.bad, "abuser", seconds=2).result()
        assert r["status"]["4xx"] > 500 and r["broken"] == 0 and not penalties(g) and drops(g) == 0


def test_an_operator_can_forgive(net, origin):
    with Gateway(policy(origin, {**ESCALATE, "penalty": "60s"}), net.gw) as g:
        flood(net.bad, "abuser", seconds=3, connections=16).result()
        assert penalties(g)
        rc, out = g.ctl("penalties")
        assert rc == 0 and "abuser" in out and net.bad.address in out
        rc, out = g.ctl("forget", f"{net.bad.address}/32")
        assert rc == 0, out
        assert not penalties(g)
        with Client(net.bad.connect(("10.77.0.1", P))) as c:
            assert c.request("GET", "/", [("apikey", KEYS["second"])]).status == 200


def also_at(net, host, *addresses):
    """Gives a host more addresses, known to the gateway's host."""
    for a in addresses:
        host.run(["ip", "address", "add", f"{a}/32", "dev", "eth0"], check=True)
        net.gw.run(["ip", "route", "add", f"{a}/32", "via", host.address], check=True)


def assert_served(host, source=None):
    with Client(host.connect(("10.77.0.1", P), source=(source, 0) if source else None)) as c:
        assert c.request("GET", "/", [("apikey", KEYS["good"])]).status == 200


def assert_denied(g, host, source):
    before = g.counted("deny_list")
    with host.socket() as s:
        s.bind((source, 0))
        s.setblocking(False)
        s.connect_ex(("10.77.0.1", P))
        until(lambda: g.counted("deny_list") > before, f"the SYN of {source} dropped")


@pytest.mark.parametrize("who", ["supervisor", "controller", "worker"])
def test_penalties_and_operators_entries_outlive_each_process(net, origin, who):
    """A penalty of the ladder, a timed deny and a timed allow: cause, deadline and effect stand after a kill -9."""
    also_at(net, net.good, "203.0.113.7", "203.0.113.8")
    with Gateway(policy(origin, {**ESCALATE, "penalty": "600s", "max_penalty": "1h"}), net.gw) as g:
        flood(net.bad, "abuser", seconds=2, connections=16).result()
        before = {(p["source"], p["effect"]): p for p in penalties(g)}
        assert before and all(p["consumer"] == "abuser" and p["rule"] == "tier:partner" and p["rejections"] >= 20 for p in before.values()), before
        assert g.ctl("deny", "203.0.113.0/24", "--for", "10m")[0] == 0
        assert g.ctl("deny", net.good.address, "--for", "10m")[0] == 0
        assert g.ctl("allow", "203.0.113.7", "--for", "10m")[0] == 0
        assert_served(net.good, "203.0.113.7")
        pids = g.pids()
        if who == "supervisor":
            g.kill_supervisor()
            g.start()
        else:
            os.kill(pids[who] if who == "controller" else pids["workers"][0], signal.SIGKILL)

            def back():
                now = g.pids()
                return now["controller"] not in (0, None) and len([w for w in now["workers"] if w]) == 2 and now != pids
            until(back, f"the {who} to be back", timeout=20)
        after = {(p["source"], p["effect"]): p for p in penalties(g)}
        assert after.keys() == before.keys()
        for k, p in after.items():
            assert {x: p[x] for x in ("consumer", "rule", "rejections", "level")} == {x: before[k][x] for x in ("consumer", "rule", "rejections", "level")}
            assert 0 < p["left_ms"] <= before[k]["left_ms"]
        assert_denied(g, net.good, net.good.address)
        assert_denied(g, net.good, "203.0.113.8")
        assert_served(net.good, "203.0.113.7")  # the allow within what is denied
        assert g.ctl("forget", net.good.address)[0] == 0
        assert_served(net.good)


def test_a_consumers_sources_get_a_kernel_ceiling_from_its_limit(net, origin):
    """headroom 2 x 5/s: new connections of the consumer's own range are held to it in the kernel; the other host is not."""
    p = policy(origin, ESCALATE, limit={"second": 5, "by": "consumer"}, consumers={"abuser": {"sources": [f"{net.bad.address}/32"]}})
    p["tiers"]["partner"]["kernel"] = {"headroom": 2}
    with Gateway(p, net.gw) as g:
        import select
        def burst(host):
            socks = [host.socket() for _ in range(60)]
            for s in socks:
                s.setblocking(False)
                s.connect_ex(("10.77.0.1", P))
            return socks
        bad, good = burst(net.bad), burst(net.good)
        until(lambda: len(select.select([], good, [], 0)[1]) == 60, "all of the other host")
        until(lambda: g.metric("sluice_kernel_packets_total", reason="consumer_connections") > 0, "drops at the ceiling")
        for s in bad + good:
            s.close()


def noisy_neighbour(net, origin):
    """p99 of the good consumer at 500 rps undisturbed, and beside a flood from when the penalty holds; no error in either."""
    quiet_s, flood_s, after_s = 8, 10, 8
    p = policy(origin, {"rejections": 200, "within": "10s", "penalty": "60s", "max_penalty": "1h"}, limit={"second": 100, "by": "consumer"})
    with Gateway(p, net.gw) as g:
        load = Load(net.good, "10.77.0.1", P, connections=8, rate=500, seconds=quiet_s + flood_s + after_s, headers=[f"apikey: {KEYS['good']}"])
        start = time.monotonic()
        time.sleep(quiet_s)  # the undisturbed part of the measurement itself
        noise = flood(net.bad, "abuser", seconds=flood_s, connections=64)
        until(lambda: [x for x in penalties(g) if x["effect"] != "flow"] or len(penalties(g)) >= 32, "the penalty to hold", timeout=10)
        held = int(time.monotonic() - start) + 1
        noise.result()
        r = load.result()
        assert r.bad == 0 and r["refused"] == 0 and r["done"] == 500 * (quiet_s + flood_s + after_s), {k: v for k, v in r.items() if k != "windows"}
        assert drops(g) > 0
        # undisturbed is before the flood and after it, so that a machine that slows down meanwhile is not mistaken for it
        before, during = r.p99((1, quiet_s - 1), (quiet_s + flood_s + 1, quiet_s + flood_s + after_s)), r.p99((held, quiet_s + flood_s - 1))
        print(f"p99 undisturbed {before} us, beside the flood {during} us, penalty held after {held - quiet_s} s", r["windows"])
        return before, during


@pytest.mark.slow
def test_a_noisy_neighbour_is_not_heard(net, origin):
    """A flood over the limit, 64 connections, 10 s; another consumer at 500 rps: no error, p99 at most 1.5 x, once the penalty holds."""
    nobody_notices(lambda: noisy_neighbour(net, origin))
