# SPDX-License-Identifier: Apache-2.0
"""SYN cookies: who answers the guard's SYN-ACK is connected by the stack; who does not has cost nothing."""
import contextlib
import hashlib
import json
import random
import re
import socket
import struct
import subprocess
import time

import pytest
from harness.client import Client, Closed, tls_context
from harness.gateway import Gateway, proc_status
from harness.ns import Net, Thread
from harness.origin import Origin
from harness.policy import guarded
from harness.wait import until

pytestmark = pytest.mark.root
P, TLS = 8080, 8443
FLOOD = 20_000


@pytest.fixture
def net(bpffs):
    with Net("gw", "client") as n:
        n.wire("gw")
        syncookies(n.gw, 2)
        yield n


@pytest.fixture
def origin(net):
    with Origin(net.client, address=net.client.address) as o:  # the gateway's own stack counts nothing but clients
        yield o


def syncookies(host, value):
    host.run(["sysctl", "-qw", f"net.ipv4.tcp_syncookies={value}"], check=True)


def policy(origin, kernel=None, **over):
    return guarded(origin, P, {"syn_cookies": "always", **(kernel or {})}, **over)


def netstat(host, name):
    """A counter of the host's stack (TcpExt)."""
    names, values = [l.split() for l in host.run(["cat", "/proc/net/netstat"], check=True).stdout.splitlines() if l.startswith("TcpExt:")]
    return int(values[names.index(name)])


def checksum(b):
    b += b"\0" * (len(b) % 2)
    s = sum(struct.unpack(f"!{len(b) // 2}H", b))
    s = (s & 0xffff) + (s >> 16)
    return ~(s + (s >> 16)) & 0xffff


def syns(n, seed=1):
    """n whole SYNs for the listener, each of an invented source."""
    rnd = random.Random(seed)
    dst = socket.inet_aton("10.77.0.1")
    for _ in range(n):
        src = struct.pack("!I", rnd.randrange(0x0b000000, 0x0bffffff))
        tcp = struct.pack("!HHIIBBHHHBBH", rnd.randrange(1024, 65536), P, rnd.randrange(1 << 32), 0, 6 << 4, 2, 64240, 0, 0, 2, 4, 1460)
        tcp = tcp[:16] + struct.pack("!H", checksum(src + dst + struct.pack("!HH", 6, 24) + tcp)) + tcp[18:]
        yield struct.pack("!BBHHHBBH", 0x45, 0, 44, 1, 0, 64, 6, 0) + src + dst + tcp


def flood(host, n, seed=1):
    with host.enter():
        raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    for p in syns(n, seed):
        raw.sendto(p, ("10.77.0.1", 0))
    raw.close()


@pytest.mark.veth
@pytest.mark.parametrize("address", ["10.77.0.1", "fd77::1"])
def test_a_client_connects_by_a_cookie_and_keeps_its_connection(net, origin, address):
    with Gateway(policy(origin), net.gw) as g:
        with Client(net.client.connect((address, P))) as c:
            assert [c.request("GET", f"/{i}").status for i in range(5)] == [200] * 5
        assert g.counted("syn_cookie_sent") == 1 and g.counted("syn_cookie_failed") == 0
        assert netstat(net.gw, "SyncookiesRecv") == 1 and netstat(net.gw, "SyncookiesSent") == 0


def test_curl_and_large_bodies_over_tls(net, origin, ca):
    cert, key = ca.issue("api.test")
    p = policy(origin, listeners={"tls": {"bind": [f"10.77.0.1:{TLS}"], "tls": {"certificates": [{"cert": cert, "key": {"$file": key}}]}}})
    with Gateway(p, net.gw) as g:
        r = net.client.run(["curl", "-sS", "--fail", "--cacert", ca.cert, "--resolve", f"api.test:{TLS}:10.77.0.1",
                            f"https://api.test:{TLS}/a", f"https://api.test:{TLS}/b", "-w", "\n%{num_connects}\n"], check=True)
        assert [l for l in r.stdout.splitlines() if l.isdigit()] == ["1", "0"], r.stdout  # the second on the first's connection
        with Client(net.client.connect(("10.77.0.1", TLS)), tls_context(ca.cert), "api.test") as c:
            body = bytes(range(256)) * 2000
            assert c.request("POST", "/", body=body).status == 200
        assert g.counted("syn_cookie_sent") == 2
        assert netstat(net.gw, "SyncookiesRecv") == 2


def test_a_flood_of_invented_sources_leaves_nothing_behind(net, origin):
    with Gateway(policy(origin), net.gw) as g:
        flood(net.client, FLOOD)
        until(lambda: g.counted("syn_cookie_sent") >= FLOOD, "each SYN answered")
        assert net.gw.run(["ss", "-Htn", "state", "syn-recv"], check=True).stdout == ""
        assert netstat(net.gw, "SyncookiesSent") == 0
        with Client(net.client.connect(("10.77.0.1", P))) as c:
            assert c.request("GET", "/").status == 200


def test_auto_connects_who_comes_past_the_listeners_limit(net, origin):
    kernel = {"syn_cookies": "auto", "per_listener": {"new_connections": "10/m", "burst": 60}}
    with Gateway(policy(origin, kernel), net.gw) as g:
        with contextlib.ExitStack() as held:
            for _ in range(40):
                c = held.enter_context(Client(net.client.connect(("10.77.0.1", P))))
                assert c.request("GET", "/").status == 200
        assert 30 - 10 <= g.counted("syn_cookie_sent") <= 30 and g.counted("listener_connections") == 0
        syncookies(net.gw, 1)
        rc, out = g.apply(g.policy)
        assert rc == 0, out
        assert re.search(r"SYN cookies \(auto\): MISSING: .*tcp_syncookies is 1", g.ctl("status")[1])
        assert g.wait_log("no SYN cookies: what comes past per_listener is dropped: .*sysctl -w")
        with pytest.raises(TimeoutError):
            for _ in range(15):
                net.client.connect(("10.77.0.1", P), timeout=1).close()
        assert g.counted("listener_connections") > 0


@pytest.mark.veth
def test_shadow_counts_what_would_be_answered(net, origin):
    with Gateway(policy(origin, {"shadow": True}), net.gw) as g:
        with Client(net.client.connect(("10.77.0.1", P))) as c:
            assert c.request("GET", "/").status == 200
        assert g.counted("syn_cookie_sent") == 0 and g.counted("syn_cookie_sent", "would_drop_packets") == 1
        assert netstat(net.gw, "SyncookiesSent") == 1, "the stack's own"


def test_always_is_refused_without_the_sysctl(net, origin):
    syncookies(net.gw, 1)
    g = Gateway(policy(origin), net.gw, wait=False)
    try:
        assert g.proc.wait(20) == 1
        g._reader.join(5)
        assert "sysctl -w net.ipv4.tcp_syncookies=2" in g.log()
    finally:
        g.kill()
        g._clean()
    with Gateway(policy(origin, {"syn_cookies": "auto"}), net.gw) as g:
        rc, out = g.apply(policy(origin))
        assert rc == 1 and "net.ipv4.tcp_syncookies is 1 and must be 2" in out, out
        assert g.status()["kernel"]["syn_cookies"] == {"policy": "auto", "state": "idle", "why": ""}
        syncookies(net.gw, 2)
        rc, out = g.apply(policy(origin))
        assert rc == 0, out
        assert g.metric("sluice_kernel_syn_cookies", state="on") == 1 and g.metric("sluice_kernel_syn_cookies") == 1
        rc, out = g.apply(policy(origin, {"syn_cookies": "off"}))
        assert rc == 0, out
        assert g.metric("sluice_kernel_syn_cookies", state="off") == 1
        with Client(net.client.connect(("10.77.0.1", P))) as c:
            assert c.request("GET", "/").status == 200
        assert g.counted("syn_cookie_sent") == 0


def test_a_sysctl_turned_later_is_said_and_taken_up(net, origin):
    with Gateway(policy(origin), net.gw) as g:
        assert "SYN cookies (always): on" in g.ctl("status")[1]
        syncookies(net.gw, 1)
        until(lambda: g.status()["kernel"]["syn_cookies"]["state"] == "missing", "the status to say so")
        assert re.search(r"SYN cookies \(always\): MISSING: .*tcp_syncookies is 1", g.ctl("status")[1])
        assert "no SYN cookies any more" in g.log()
        with Client(net.client.connect(("10.77.0.1", P))) as c:
            assert c.request("GET", "/").status == 200
        syncookies(net.gw, 2)
        until(lambda: g.status()["kernel"]["syn_cookies"]["state"] == "on", "the status to say so")
        assert "can be had again" in g.log()


# ---- the whole of it, under a flood

# Each source another; the checksum stays right, since what the address gains the sequence number loses.
FLOODER = """
import socket, struct, sys, time
n, seconds = int(sys.argv[1]), float(sys.argv[2])
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
p, end, i, to = bytearray(bytes.fromhex(sys.argv[3])), time.monotonic() + seconds, 0, ("10.77.0.1", 0)
while i < n and (i % 256 or time.monotonic() < end):
    a = 0x0b000000 + (i * 0x9e3779b1 & 0xffffff)
    struct.pack_into("!I", p, 12, a)
    struct.pack_into("!I", p, 24, 0xffffffff - a)
    try:
        raw.sendto(p, to)
    except BlockingIOError:
        continue
    i += 1
print(i)
"""


def template():
    """A SYN whose source address and sequence number add up to all ones."""
    src, dst = struct.pack("!I", 0x0b000000), socket.inet_aton("10.77.0.1")
    tcp = struct.pack("!HHIIBBHHHBBH", 40000, P, 0xffffffff - 0x0b000000, 0, 6 << 4, 2, 64240, 0, 0, 2, 4, 1460)
    tcp = tcp[:16] + struct.pack("!H", checksum(src + dst + struct.pack("!HH", 6, 24) + tcp)) + tcp[18:]
    return struct.pack("!BBHHHBBH", 0x45, 0, 44, 1, 0, 64, 6, 0) + src + dst + tcp


def mac(host):
    return json.loads(host.run(["ip", "-j", "link", "show", "dev", "eth0"], check=True).stdout)[0]["address"]


def sha256(headers):
    return hashlib.sha256(headers[0][1].encode()).hexdigest()


def memory(g):
    """Resident KiB of all processes."""
    return sum(int(proc_status(p)["VmRSS"].split()[0]) for p in g.tree())


def connects(host, done):
    """20 connections a second until done() is true: how many were made and served. Any error is raised."""
    n = 0
    while not done():
        with Client(host.connect(("10.77.0.1", P))) as c:
            assert c.request("GET", "/", GOOD).status == 200
        n += 1
        time.sleep(0.05)
    return n


def keeps_alive(host, done):
    n = 0
    with Client(host.connect(("10.77.0.1", P))) as c:
        while not done():
            assert c.request("GET", "/", GOOD).status == 200
            n += 1
            time.sleep(0.01)
    return n


GOOD, BAD = [("apikey", "good-key-00000000")], [("apikey", "bad-key-000000000")]


def penalised(g, host):
    """Asks over its limit until the kernel drops its new connections."""
    held = [Client(host.connect(("10.77.0.1", P)), timeout=3) for _ in range(3)]
    for c in held:
        try:
            while c.request("GET", "/", BAD).status:
                pass
        except OSError:
            c.close()
    until(lambda: [p for p in g.penalties()["penalties"] if p["effect"] != "flow"], "a penalty of the source")


@pytest.mark.slow
@pytest.mark.parametrize("kernel", [{"syn_cookies": "always"}, {"syn_cookies": "auto", "per_listener": {"new_connections": "1000/s"}}], ids=["always", "auto"])
def test_a_million_invented_sources_and_nobody_else_notices(bpffs, kernel):
    with Net("gw", "client", "bad") as net:
        net.wire("gw")
        syncookies(net.gw, 2)
        net.bad.run(["ip", "neigh", "replace", "10.77.0.1", "lladdr", mac(net.gw), "dev", "eth0"], check=True)
        with Origin(net.client, address=net.client.address) as o:
            p = policy(o, kernel, auth={"keys": {"type": "key", "names": ["apikey"], "in": ["header"]}},
                       tiers={"free": {"rate_limit": {"second": 1000, "by": "consumer"}},
                              "held": {"rate_limit": {"minute": 5, "by": "consumer"},
                                       "kernel": {"headroom": 2, "escalate": {"rejections": 5, "within": "10s", "penalty": "10m", "max_penalty": "1h"}}}},
                       consumers={"good": {"tier": "free", "keys": [sha256(GOOD)]}, "bad": {"tier": "held", "keys": [sha256(BAD)]}},
                       routes={"all": {"auth": ["keys"]}})
            with Gateway(p, net.gw) as g:
                penalised(g, net.bad)
                assert connects(net.client, iter([False] * 5 + [True]).__next__) == 5
                before, answers = memory(g), g.counted("syn_cookie_sent")
                flooder = net.bad.popen(["/usr/bin/python3", "-c", FLOODER, "1000000", "10", template().hex()], stdout=subprocess.PIPE, text=True)
                good = [Thread(f, net.client, lambda: flooder.poll() is not None) for f in (connects, keeps_alive)]
                dropped = g.counted("penalty_connect") + g.counted("penalty_source")
                with net.bad.socket() as s:
                    s.settimeout(2)
                    with pytest.raises(TimeoutError):
                        s.connect(("10.77.0.1", P))
                assert g.counted("penalty_connect") + g.counted("penalty_source") > dropped
                sent = int(flooder.communicate(timeout=60)[0])
                made, asked = [t.join() for t in good]
                until(lambda: g.counted("syn_cookie_sent") - answers >= sent // 2, "the flood, but what veth had no room for")
                print(f"{sent} SYNs, {g.counted('syn_cookie_sent') - answers} answered, {made} connections, {asked} requests, {memory(g) - before} KiB more")
                assert made > 0 and asked > 0 and g.counted("syn_cookie_failed") == 0
                assert net.gw.run(["ss", "-Htn", "state", "syn-recv"], check=True).stdout == ""
                assert memory(g) < before + 8192
