# SPDX-License-Identifier: Apache-2.0
"""Who is here keeps being served while addresses that nobody has flood the listener."""
import hashlib
import json
import subprocess
import time

import pytest
from harness.client import Client
from harness.gateway import SAN, Gateway, proc_status
from harness.ns import Net
from harness.origin import Origin
from harness.policy import merge, serving
from harness.spoof import Flood
from harness.wait import until

pytestmark = pytest.mark.root
P = 8080
KEYS = {"abuser": "abuser-key-000000", "good": "good-key-00000000"}
SYNS, RATE = (200_000, 50_000) if SAN else (1_000_000, 100_000)


@pytest.fixture
def net(bpffs):
    with Net("gw", "client", "bad", "flood") as n:
        # answers to invented addresses go where nobody answers, as on the way out of a real network
        n.gw.run(["ip", "route", "add", "100.64.0.0/10", "via", "10.77.0.200", "dev", "eth0"], check=True)
        yield n


@pytest.fixture
def origin(net):
    with Origin(net.gw, address="127.0.0.1") as o:
        yield o


def policy(origin, **kernel):
    return merge(serving(origin, P, address="10.77.0.1", kernel={"interfaces": ["eth0"], "mode": "native"}), {"kernel": kernel})


def dropped(g, reason):
    return g.top()["kernel"].get(reason, {}).get("packets", 0)


def ask(host):
    with Client(host.connect(("10.77.0.1", P), 10), timeout=10) as c:
        return c.request("GET", "/").status


def proven():
    """The sources that the guard keeps, as the kernel lists them."""
    out = subprocess.run("bpftool -j map dump pinned $(ls -d /sys/fs/bpf/sluice/v*/maps/sl_sources)", shell=True, check=True, capture_output=True, text=True)
    return len(json.loads(out.stdout))


def memory(g):
    return sum(int(proc_status(p)["VmRSS"].split()[0]) for p in g.tree())


def look_once(g):
    """Tables that are first touched by who reads them, or by their first second, are no part of what a flood leaves."""
    dropped(g, "penalty_source")
    until(lambda: g.ctl_json("suggest")["watched_s"] >= 2, "two seconds of evidence")


def with_an_abuser(origin, kernel):
    """20 requests a minute, and the kernel for who keeps asking; the other consumer has room."""
    tiers = {"few": {"rate_limit": {"minute": 20, "by": "consumer"}, "kernel": {"escalate": {"rejections": 5, "within": "1m", "penalty": "1h", "max_penalty": "1h"}}},
             "many": {"rate_limit": {"second": 500, "by": "consumer"}}}
    return merge(policy(origin, **kernel),
                 {"auth": {"keys": {"type": "key", "names": ["apikey"], "in": ["header"], "hide": True}}, "tiers": tiers,
                  "consumers": {n: {"tier": "many" if n == "good" else "few", "keys": [hashlib.sha256(k.encode()).hexdigest()]} for n, k in KEYS.items()},
                  "routes": {"all": {"auth": ["keys"]}}})


def get(c, who):
    return c.request("GET", "/", [("apikey", KEYS[who])]).status


def abuse(g, host):
    """Climbs the ladder to its end: flow, new connections, source."""
    for c in [Client(host.connect(("10.77.0.1", P)), timeout=10) for _ in range(3)]:
        with pytest.raises(OSError):
            for _ in range(100):
                get(c, "abuser")
        c.close()
    until(lambda: "source" in [p["effect"] for p in g.penalties()["penalties"]], "the source's penalty")


def test_a_client_is_proven_by_its_first_connection(net, origin):
    with Gateway(policy(origin, per_source={"new_connections": "5/m", "burst": 60}), net.gw) as g:
        socks = [net.client.connect(("10.77.0.1", P)) for _ in range(2)]
        assert proven() == 0  # connected, and nothing said yet
        assert ask(net.client) == 200
        until(lambda: proven() == 1, "the end of a connection to prove its client")
        assert [ask(net.client) for _ in range(2)] == [200, 200]
        with pytest.raises(TimeoutError):  # what was used before the proof counts
            net.client.connect(("10.77.0.1", P), 1)
        assert dropped(g, "source_connections") > 0
        with Client(net.bad.connect(("10.77.0.1", P), 10), timeout=10) as c:
            assert [c.request("GET", "/").status for _ in range(2)] == [200, 200]
            assert proven() == 2  # by what followed the first request
        for s in socks:
            s.close()


@pytest.mark.veth
def test_a_prefix_has_one_bucket(net, origin):
    with Gateway(policy(origin, per_prefix={"new_connections": "6/m", "burst": 60}), net.gw) as g:
        socks = [h.connect(("10.77.0.1", P)) for h in (net.client, net.bad, net.flood) * 2]
        with pytest.raises(TimeoutError):
            net.client.connect(("10.77.0.1", P), 1)
        assert dropped(g, "prefix_connections") > 0
        for s in socks:
            s.close()


def test_one_address_is_held_to_its_limit(net, origin):
    with Gateway(policy(origin, per_source={"new_connections": "20/h", "burst": 3600}), net.gw) as g:
        flood = Flood(net.flood, net.gw, P, "100.64.0.1/32", 2000, 2000)
        assert flood.result() == 2000
        assert dropped(g, "source_connections") == 1980


def test_a_spoofed_flood_shuts_nobody_out(net, origin):
    """
    A million SYNs from as many addresses, ten times what the listener takes: of 20 new connections a second all succeed,
    a kept one is served all along, neither guard nor daemon keeps anything of it, and a penalised source stays out.
    """
    kernel = {"per_source": {"new_connections": "1000/s"}, "per_prefix": {"new_connections": "2000/s"}, "per_listener": {"new_connections": "10000/s"}, "syn_cookies": "off"}
    with Gateway(with_an_abuser(origin, kernel), net.gw) as g:
        kept = Client(net.client.connect(("10.77.0.1", P), 10), timeout=10)
        assert [get(kept, "good") for _ in range(2)] == [200, 200]  # the second one proves it
        abuse(g, net.bad)
        look_once(g)
        before, sources = memory(g), proven()
        assert sources == 2
        flood, served, asked, out = Flood(net.flood, net.gw, P, "100.64.0.0/10", SYNS, RATE), 0, 0, dropped(g, "penalty_source")
        until(lambda: dropped(g, "listener_connections") > 1000, "a flood past the listener's limit", timeout=60)
        knock = net.bad.socket()
        knock.setblocking(False)
        knock.connect_ex(("10.77.0.1", P))
        while flood.running():
            begun = time.monotonic()
            with Client(net.client.connect(("10.77.0.1", P), 30), timeout=30) as c:
                assert get(c, "good") == 200
            assert get(kept, "good") == 200
            served, asked = served + 1, asked + 1
            time.sleep(max(0, 0.05 - (time.monotonic() - begun)))
        assert flood.result() == SYNS
        refused = dropped(g, "listener_connections") + dropped(g, "prefix_connections")
        grown = memory(g) - before
        print(f"{SYNS} SYNs, {refused} refused; {served} connections and {asked} requests on a kept one, no error; memory +{grown} KiB")
        assert served >= 20, f"only {served} connections were tried during the flood"
        assert refused > SYNS * 0.3
        assert dropped(g, "penalty_source") > out
        with pytest.raises(BlockingIOError):
            knock.recv(1)
        assert proven() == sources
        assert SAN or grown < 2048, "KiB more than before the flood"
        knock.close()
        kept.close()
