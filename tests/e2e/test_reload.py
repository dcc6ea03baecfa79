# SPDX-License-Identifier: Apache-2.0
"""A new policy under load, and a bad one."""
import signal

import pytest
from harness import load
from harness.gateway import SLUICECTL, Gateway
from harness.nginx import Nginx
from harness.origin import Origin
from harness.policy import serving
from harness.wait import until

P = 8080


def version_policy(origin, n, **more):
    return serving(origin, P, workers=2, routes={"all": {"response": {"headers": {"set": {"X-Version": str(n)}}}}}, **more)


@pytest.mark.slow
def test_100_reloads_at_1000_rps_fail_no_request(lo):
    with Nginx(lo, 9000) as origin, Gateway(version_policy(origin.target, 0), lo) as g:
        # as long as 100 reloads may need; it ends with the last of them
        running = load.Load(lo, "127.0.0.1", P, connections=32, rate=1000, seconds=25)
        done = 0
        for n in range(1, 101):
            rc, out = g.apply(version_policy(origin.target, n))
            assert rc == 0, out
            assert running.running(), f"the load ended after {n} reloads"
            done = n
        r = running.result()
        assert done == 100 and r["done"] == 25000
        assert r.bad == 0, r
        assert r["refused"] == 0 and r["reconnects"] == 0, "connections were dropped"
        with g.client(P) as c:
            assert c.request().get("X-Version") == "100"
        assert len(g.pids()["workers"]) == 2


def test_a_reload_keeps_processes_connections_and_requests_in_flight(lo):
    import threading
    go = threading.Event()

    def answer(r):
        from harness.origin import response
        if r.target == "/held":
            go.wait(10)
        return response()
    with Origin(lo, answer=answer) as o, Gateway(version_policy(o, 1), lo) as g:
        before = g.pids()
        with g.client(P) as kept, g.client(P) as held:
            assert kept.request().get("X-Version") == "1"
            held.send(b"GET /held HTTP/1.1\r\nHost: gw.test\r\n\r\n")
            o.wait_requests(2)
            rc, out = g.apply(version_policy(o, 2))
            assert rc == 0, out
            until(lambda: kept.request().get("X-Version") == "2", "the new policy on the old connection")
            go.set()
            assert held.read_response().get("X-Version") == "1"  # begun under the old policy, ended under it
            assert held.request().get("X-Version") == "2"
        assert g.pids() == before


def test_listeners_come_and_go(lo):
    with Origin(lo) as o, Gateway(serving(o, P), lo) as g:
        with g.client(P) as c:
            assert c.request().status == 200
        rc, out = g.apply(serving(o, P, listeners={"main": None, "two": {"bind": ["127.0.0.1:8081"]}}))
        assert rc == 0, out
        with g.client(8081) as c:
            assert c.request().status == 200

        def refused():
            try:
                g.client(P).close()
            except ConnectionRefusedError:
                return True
        until(refused, "the old address to be closed")


BAD = """version: 1
listeners:
  main: { bind: ["127.0.0.1:8080"], tmeouts: { idle: 5s } }
upstreams:
  origin: { targets: [ { address: "not-an-address" } ] }
routes:
  a: { upstream: orign, auth: [public] }
  b: { upstream: origin }
"""


def check_errors(out, path):
    import re
    found = re.findall(re.escape(path) + r":(\d+):(\d+): error: (\S+): (.+)", out)
    lines = {int(l) for l, _, _, _ in found}
    assert {3, 5, 7, 8} <= lines, out  # all in one run
    assert all(int(col) > 1 for _, col, _, _ in found), out
    assert "timeouts" in out  # did you mean
    assert {p for _, _, p, _ in found} >= {"/listeners/main/tmeouts"}, out


def test_a_bad_policy_changes_nothing_and_says_where(lo):
    with Origin(lo) as o, Gateway(version_policy(o, 1), lo) as g:
        v = g.status()["version"]
        g.write(BAD)
        rc, out = g.ctl("apply")
        assert rc == 1
        check_errors(out, g.path)
        assert g.status()["version"] == v
        with g.client(P) as c:
            assert c.request().get("X-Version") == "1"


def test_sighup_applies_and_refuses_likewise(lo):
    with Origin(lo) as o, Gateway(version_policy(o, 1), lo) as g:
        g.write(version_policy(o, 2))
        g.signal(signal.SIGHUP)
        with g.client(P) as c:
            until(lambda: c.request().get("X-Version") == "2", "the policy of the first SIGHUP")
            at = len(g.log_lines)
            g.write(BAD)
            g.signal(signal.SIGHUP)
            g.wait_log(r":3:\d+: error: /listeners/main/tmeouts", start=at)
            assert c.request().get("X-Version") == "2"
            g.write(version_policy(o, 3))
            g.signal(signal.SIGHUP)
            until(lambda: c.request().get("X-Version") == "3", "a good policy after the bad one")


def test_a_bind_that_is_taken_refuses_the_policy(lo):
    with Origin(lo) as o, Gateway(version_policy(o, 1), lo) as g, lo.listen(8099) as _:
        rc, out = g.apply(serving(o, P, listeners={"more": {"bind": ["127.0.0.1:8099"]}}))
        assert rc == 1 and "8099" in out, out
        with g.client(P) as c:
            assert c.request().get("X-Version") == "1"


def test_a_certificate_that_is_bad_refuses_the_policy(lo, tmp, ca):
    cert, _ = ca.issue("a.test")
    _, other = ca.issue("b.test")
    with Origin(lo) as o, Gateway(version_policy(o, 1), lo) as g:
        for pair in ({"cert": cert, "key": {"$file": other}}, {"cert": f"{tmp}/none.pem", "key": {"$file": other}}, {"cert": g.path, "key": {"$file": other}}):
            rc, out = g.apply(serving(o, P, listeners={"tls": {"bind": ["127.0.0.1:8443"], "tls": {"certificates": [pair]}}}))
            assert rc == 1 and f"{g.path}:" in out, out
        with g.client(P) as c:
            assert c.request().get("X-Version") == "1"


def test_apply_without_a_daemon_says_so(lo, tmp):
    r = lo.run([SLUICECTL, "--socket", f"{tmp}/none.sock", "apply"])
    assert r.returncode == 1 and f"{tmp}/none.sock" in r.stderr
