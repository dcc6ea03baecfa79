# SPDX-License-Identifier: Apache-2.0
"""Targets by DNS: answers change under traffic, fail, and come late, and no request waits for or pays for any of it."""
import os
import signal
import socket
import threading

import pytest
from dnslib import AAAA, QTYPE, RCODE, RR, SRV, A, DNSRecord
from harness import ns
from harness.gateway import Gateway
from harness.load import Load
from harness.origin import Origin, response
from harness.policy import problem, serving, upstream
from harness.wait import until

P = 8080
NAME = "orders.internal"

pytestmark = pytest.mark.root


class Nameserver:
    """Answers what `zone` says of (name, type); rcode where set; nothing at all while `silent`."""

    def __init__(self, host):
        self.sock = host.socket(kind=socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.53", 53))
        self.zone, self.rcode, self.silent, self.asked = {}, 0, False, []
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def a(self, *addresses, name=NAME, ttl=0):
        self.zone = {**self.zone, (name, "A"): [(A(a), ttl) for a in addresses]}

    def _serve(self):
        while True:
            try:
                data, peer = self.sock.recvfrom(4096)
            except OSError:
                return
            if not peer:
                return
            q = DNSRecord.parse(data)
            name, kind = str(q.q.qname).rstrip("."), QTYPE[q.q.qtype]
            self.asked.append((name, kind, peer[1]))
            if self.silent:
                continue
            r = q.reply()
            r.header.rcode = self.rcode
            for rdata, ttl in [] if self.rcode else self.zone.get((name, kind), []):
                r.add_answer(RR(q.q.qname, q.q.qtype, rdata=rdata, ttl=ttl))
            self.sock.sendto(r.pack(), peer)

    def close(self):
        try:
            self.sock.shutdown(socket.SHUT_RDWR)  # wakes the thread, though nothing is connected
        except OSError:
            pass
        self.thread.join(10)
        self.sock.close()


@pytest.fixture
def dns(lo, tmp):
    with open(f"{tmp}/resolv.conf", "w") as f:
        f.write("nameserver 127.0.0.53\n")
    ns.mount(f"{tmp}/resolv.conf", os.path.realpath("/etc/resolv.conf"), None, 0x1000)  # MS_BIND
    s = Nameserver(lo)
    yield s
    s.close()
    ns.umount(os.path.realpath("/etc/resolv.conf"))


def three(lo):
    """Origins on one port of 127.0.0.2, .3 and .4, each of which says who it is."""
    port = lo.free_port()
    return [Origin(lo, port, address=f"127.0.0.{i}", answer=lambda r, i=i: response(body=b"%d" % i)) for i in (2, 3, 4)]


@pytest.fixture
def origins(lo):
    all = three(lo)
    yield all
    for o in all:
        o.close()


def policy(target, dns=None, **keys):
    return serving(target, P, upstreams={"origin": upstream(target, dns=dns or {"min_ttl": "100ms", "max_ttl": "1m"}, **keys)})


def target(g):
    return g.ctl_json("status", "upstreams")["upstreams"][0]["targets"][0]


def addresses(g):
    return sorted(a["address"] for a in target(g)["addresses"])


def who(c, n):
    rs = [c.request() for _ in range(n)]
    assert [r.status for r in rs] == [200] * n
    return sorted(int(r.body) for r in rs)


def test_addresses_change_under_traffic(lo, dns, origins):
    port = origins[0].port
    dns.a("127.0.0.2", "127.0.0.3")
    with Gateway(policy(f"dns:{NAME}:{port}", keepalive={"idle": 8}), lo) as g:
        until(lambda: len(addresses(g)) == 2, "the first answer")
        with g.client(P) as c:
            assert who(c, 4) == [2, 2, 3, 3]
        load = Load(lo, "127.0.0.1", P, connections=4, rate=200, seconds=30)
        try:
            for now in (["3", "4"], ["2"], ["2", "3", "4"], ["4"]) * 2:
                dns.a(*(f"127.0.0.{i}" for i in now))
                until(lambda now=now: addresses(g) == [f"127.0.0.{i}:{port}" for i in now], f"addresses {now}")
        finally:
            load.stop()
        r = load.result()
        assert r["status"]["2xx"] > 0 and r.bad == 0, r
        with g.client(P) as c:
            assert who(c, 4) == [4, 4, 4, 4]
        assert g.metric("sluice_upstream_dns_addresses", upstream="origin") == 1
        assert 0 <= g.metric("sluice_upstream_dns_age_seconds", upstream="origin") < 30
        n = len(dns.asked)
        ports = {p for _, _, p in dns.asked}
        assert len(ports) > n // 8, "each round is asked from a port of its own"
        text = g.ctl("status", "upstreams")[1]
        assert f"dns:{NAME}:{port}" in text and f"127.0.0.4:{port}" in text


def test_a_name_that_fails_keeps_its_last_answer(lo, dns, origins):
    dns.a("127.0.0.2")
    with Gateway(policy(f"dns:{NAME}:{origins[0].port}"), lo) as g, g.client(P) as c:
        until(lambda: target(g)["state"] == "healthy", "the first answer")
        failed = lambda: g.metric("sluice_upstream_dns_failures_total", upstream="origin")  # noqa: E731
        for break_ in (lambda: setattr(dns, "rcode", RCODE.NXDOMAIN), lambda: setattr(dns, "rcode", RCODE.SERVFAIL),
                       lambda: (setattr(dns, "rcode", 0), dns.a()), lambda: setattr(dns, "silent", True)):
            break_()
            n = failed()
            until(lambda n=n: failed() > n + 1 - dns.silent, "failures", 30)
            assert who(c, 2) == [2, 2]
        g.wait_log("cannot be resolved: .*; the last answer stays")
        assert g.metric("sluice_upstream_dns_failing", upstream="origin") > 0
        dns.a("127.0.0.3")
        dns.silent = False
        until(lambda: g.metric("sluice_upstream_dns_failing", upstream="origin") == 0, "an answer again", 30)
        assert who(c, 2) == [3, 3]


def test_a_name_that_nobody_knows_yet(lo, dns, origins):
    dns.rcode = RCODE.NXDOMAIN
    with Gateway(policy(f"dns:{NAME}:{origins[0].port}"), lo) as g, g.client(P) as c:
        g.wait_log("cannot be resolved: .*; it gets no requests")
        problem(c.request(), 503, "upstream_unresolved")
        assert target(g)["state"] == "unresolved" and g.metric("sluice_upstream_dns_age_seconds", upstream="origin") == -1
        dns.a("127.0.0.2")
        dns.rcode = 0
        until(lambda: target(g)["state"] == "healthy", "an answer")
        assert who(c, 2) == [2, 2]


def test_ttl_has_a_floor_and_a_ceiling(lo, dns, origins):
    """A TTL of an hour under max_ttl 200ms is asked about again; one of 0 above min_ttl 1h never."""
    asked = lambda name: [a for a in dns.asked if a[:2] == (name, "A")]  # noqa: E731
    dns.a("127.0.0.2", name="long.test", ttl=3600)
    dns.a("127.0.0.2", name="short.test", ttl=0)
    port = origins[0].port
    p = serving(origins[0], P, upstreams={
        "origin": upstream(f"dns:long.test:{port}", dns={"min_ttl": "100ms", "max_ttl": "200ms"}),
        "other": upstream(f"dns:short.test:{port}", dns={"min_ttl": "1h", "max_ttl": "1h"})})
    with Gateway(p, lo) as g, g.client(P) as c:
        until(lambda: len(asked("long.test")) >= 4, "questions")
        before = len(dns.asked)
        assert who(c, 20) == [2] * 20
        assert len(asked("short.test")) == 1
        assert len(dns.asked) - before <= 20, "no question for a request"


def test_srv_has_ports_and_weights(lo, dns):
    with Origin(lo, address="127.0.0.2", answer=lambda r: response(body=b"2")) as a, \
            Origin(lo, address="127.0.0.3", answer=lambda r: response(body=b"3")) as b, Origin(lo, address="127.0.0.4") as spare:
        dns.a("127.0.0.2", name="a.test")
        dns.a("127.0.0.3", name="b.test")
        dns.a("127.0.0.4", name="c.test")
        records = [(SRV(10, 3, a.port, "a.test"), 0), (SRV(10, 1, b.port, "b.test"), 0)]
        dns.zone["_http._tcp.orders.test", "SRV"] = [*records, (SRV(20, 9, spare.port, "c.test"), 0), (SRV(10, 5, 9, "gone.test"), 0)]
        with Gateway(policy("dns+srv:_http._tcp.orders.test"), lo) as g, g.client(P) as c:
            until(lambda: addresses(g) == sorted([a.target, b.target]), "two of the best priority that are there")
            assert who(c, 8).count(2) in (5, 6, 7)
            dns.zone["_http._tcp.orders.test", "SRV"] = records[1:]
            until(lambda: addresses(g) == [b.target], "one")
            assert who(c, 2) == [3, 3]
            dns.zone["_http._tcp.orders.test", "SRV"] = [(SRV(0, 0, 0, "."), 0)]
            until(lambda: g.metric("sluice_upstream_dns_failing") > 0, "a service that is not there")
            assert who(c, 2) == [3, 3] and not spare.requests


def test_health_and_drain_are_of_addresses_and_of_the_name(lo, dns, origins):
    """One of two addresses fails: it alone is ejected, and checked; drain takes the whole name."""
    dns.a("127.0.0.2", "127.0.0.3")
    origins[0].answer = lambda r: response(500)
    name = f"dns:{NAME}:{origins[0].port}"
    state = lambda i: {a["address"]: a["state"] for a in target(g)["addresses"]}[origins[i].target]  # noqa: E731
    with Gateway(policy(name, health={"passive": {"failures": 2, "eject": "10m", "statuses": [500]}}), lo) as g, g.client(P) as c:
        until(lambda: len(addresses(g)) == 2, "the first answer")
        until(lambda: [c.request().status] and state(0) == "ejected", "the ejection")
        assert who(c, 4) == [3] * 4 and state(1) == "healthy" and target(g)["state"] == "healthy"
        assert g.ctl("drain", name)[0] == 0
        problem(c.request(), 503, "upstream_drained")
        assert g.ctl("drain", name, "--off")[0] == 0
        assert who(c, 2) == [3, 3]
        checks = {"health": {"active": {"path": "/up", "interval": "100ms", "failures": 2, "successes": 1}}}
        origins[1].answer = lambda r: response(500)
        origins[0].answer = lambda r: response(body=b"2")
        assert g.apply(policy(name, **checks))[0] == 0
        until(lambda: state(1) == "unhealthy", "the verdict of the checks")
        dns.a("127.0.0.3", "127.0.0.4")
        until(lambda: len(addresses(g)) == 2 and state(2) == "healthy", "the new address")
        assert state(1) == "unhealthy" and who(c, 3) == [4] * 3


def test_answers_outlive_controller_and_upgrade(lo, dns, origins):
    dns.a("127.0.0.2")
    with Gateway(policy(f"dns:{NAME}:{origins[0].port}"), lo) as g:
        until(lambda: target(g)["state"] == "healthy", "the first answer")
        dns.silent = True
        old = g.pids()["controller"]
        os.kill(old, signal.SIGKILL)
        until(lambda: g.pids()["controller"] != old and target(g)["state"] == "healthy", "the next controller", 30)
        g.upgrade()
        with g.client(P) as c:
            assert who(c, 3) == [2] * 3


def test_both_families_and_an_address_without_a_route(lo, dns, origins):
    dns.a("127.0.0.2")
    dns.zone[NAME, "AAAA"] = [(AAAA("2001:db8::1"), 0)]
    with Gateway(policy(f"dns:{NAME}:{origins[0].port}"), lo) as g, g.client(P) as c:
        until(lambda: addresses(g) == [origins[0].target], "the one that can be reached")
        assert who(c, 3) == [2] * 3
