# SPDX-License-Identifier: Apache-2.0
"""A new policy under load, and a bad one."""
import contextlib
import os
import signal
import threading

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


@pytest.mark.veth
def test_a_reload_keeps_processes_connections_and_requests_in_flight(lo):
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

        until(lambda: refused(g, P), "the old address to be closed")


def refused(g, port):
    try:
        g.client(port).close()
    except ConnectionRefusedError:
        return True


def elsewhere(origin, n):
    """Like version_policy, but what listens is not main."""
    return version_policy(origin, n, listeners={"main": None, "two": {"bind": ["127.0.0.1:8081"]}})


def test_who_has_connected_before_a_listener_goes_may_ask(lo):
    with Origin(lo) as o, Gateway(version_policy(o, 1), lo) as g:
        silent = [g.client(P) for _ in range(8)]
        rc, out = g.apply(elsewhere(o, 2))
        assert rc == 0, out
        with g.client(8081) as c:
            assert c.request().get("X-Version") == "2"
        answers = [c.request() for c in silent]
        assert [(r.status, r.get("X-Version"), r.get("Connection")) for r in answers] == [(200, "1", "close")] * 8
        until(lambda: refused(g, P), "the old address to be closed")


def test_a_listener_may_come_back_before_it_is_gone(lo):
    with Origin(lo) as o, Gateway(version_policy(o, 1, listeners={"third": {"bind": ["127.0.0.1:8082"]}}), lo) as g:
        silent = [g.client(p) for p in (P, P, 8082, 8082)]
        for n, policy in enumerate((elsewhere(o, 2), version_policy(o, 3), elsewhere(o, 4), version_policy(o, 5))):
            rc, out = g.apply(policy)
            assert rc == 0, out
            silent.append(g.client(8081 if n % 2 == 0 else P))
        assert [c.request().status for c in silent] == [200] * 8
        until(lambda: refused(g, 8082) and refused(g, 8081), "the others to be closed")
        assert version_served(g) == "5"


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


@pytest.mark.veth
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


def version_served(g):
    with g.client(P) as c:
        return c.request().get("X-Version")


def trial(g):
    return g.status()["trial"]


def test_unconfirmed_the_policy_before_comes_back_even_without_its_controller(lo):
    with Origin(lo) as o, Gateway(version_policy(o, 1), lo) as g:
        with g.client(P) as kept:
            assert kept.request().get("X-Version") == "1"
            g.write(version_policy(o, 2))
            rc, out = g.ctl("apply", "--confirm", "3s")
            assert rc == 0 and "sluicectl confirm" in out, out
            os.kill(g.pids()["controller"], signal.SIGKILL)
            assert kept.request().get("X-Version") == "2"
            until(lambda: kept.request().get("X-Version") == "1", "the policy before, on the same connection", 20)
        until(lambda: g.status()["version"] == 3 and not trial(g)["waits"], "the new controller to know")
        g.wait_log("not confirmed in time")
        assert g.metric("sluice_policy_on_trial") == 0
        rc, out = g.ctl("rollback")  # there is one step only
        assert rc == 1 and "no policy to go back to" in out, out
        rc, out = g.ctl("apply")  # the file was left as it is
        assert rc == 0 and version_served(g) == "2", out


def test_confirmed_the_policy_stays_and_can_still_be_rolled_back(lo):
    with Origin(lo) as o, Gateway(version_policy(o, 1), lo) as g:
        assert g.ctl("confirm")[0] == 1
        g.write(version_policy(o, 2))
        assert g.ctl("apply", "--confirm", "1h")[0] == 0
        t = trial(g)
        assert t["waits"] and 0 < t["left_ms"] <= 3600000 and t["former"] == 1
        assert g.metric("sluice_policy_on_trial") == 1
        assert "policy 1 comes back in" in g.ctl("status")[1]
        rc, out = g.ctl("confirm")
        assert rc == 0 and "version 2 stays" in out, out
        assert not trial(g)["waits"] and version_served(g) == "2"
        rc, out = g.ctl("rollback")
        assert rc == 0 and "on disk stays" in out, out
        assert version_served(g) == "1" and g.status()["version"] == 3


def test_on_trial_nothing_else_is_applied(lo):
    with Origin(lo) as o, Gateway(version_policy(o, 1), lo) as g:
        g.write(version_policy(o, 2))
        assert g.ctl("apply", "--confirm", "1h")[0] == 0
        g.write(version_policy(o, 3))
        for args in (["apply"], ["apply", "--confirm", "5s"]):
            rc, out = g.ctl(*args)
            assert rc == 1 and "sluicectl confirm" in out and "sluicectl rollback" in out, out
        g.signal(signal.SIGHUP)
        g.wait_log("SIGHUP: the policy in force waits to be confirmed")
        assert version_served(g) == "2"
        rc, out = g.ctl("rollback")
        assert rc == 0 and not trial(g)["waits"], out
        assert version_served(g) == "1"
        rc, out = g.ctl("apply")
        assert rc == 0 and version_served(g) == "3", out


def test_a_stop_during_a_trial_just_stops_and_the_next_start_reads_the_file(lo):
    with Origin(lo) as o, Gateway(version_policy(o, 1), lo) as g:
        g.write(version_policy(o, 2))
        assert g.ctl("apply", "--confirm", "1h")[0] == 0
        g.stop()
        assert "was not confirmed: the next start reads it again" in g.log()
        g.start()
        assert version_served(g) == "2" and not trial(g)["waits"]


@pytest.mark.parametrize("span", ["0s", "500ms", "25h", "soon", "-5s"])
def test_a_trial_without_a_sound_time_is_refused_and_nothing_applied(lo, span):
    with Origin(lo) as o, Gateway(version_policy(o, 1), lo) as g:
        g.write(version_policy(o, 2))
        rc, out = g.ctl("apply", f"--confirm={span}")
        assert rc == 2 and "1s to 24h" in out, out
        assert version_served(g) == "1"


def test_apply_without_a_daemon_says_so(lo, tmp):
    r = lo.run([SLUICECTL, "--socket", f"{tmp}/none.sock", "apply"])
    assert r.returncode == 1 and f"{tmp}/none.sock" in r.stderr


@pytest.mark.parametrize("process,ask", [("worker", lambda g, c: c.request().status), ("controller", lambda g, c: g.admin("/healthz").status)],
                         ids=["requests", "the admin API"])
def test_what_is_asked_is_answered_while_a_large_policy_is_built(lo, process, ask):
    """With so many consumers that it takes long; the thread that builds it is there before an answer and after it."""
    crowd = {f"user-{i:06}": {} for i in range(100_000)}
    result = []

    def builds(pid):
        for t in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(FileNotFoundError), open(f"/proc/{pid}/task/{t}/comm") as f:
                if f.read() == "policy\n":
                    return t
        return None

    with Nginx(lo, 9000) as origin, Gateway(serving(origin.target, P), lo) as g, g.client(P) as c:
        pids = g.pids()
        pid = {"worker": pids["workers"][0], "controller": pids["controller"]}[process]
        apply = threading.Thread(target=lambda: result.append(g.apply(serving(origin.target, P, consumers=crowd))))
        apply.start()
        meanwhile = 0
        while apply.is_alive():
            before = builds(pid)
            assert ask(g, c) == 200
            meanwhile += before is not None and builds(pid) == before
        apply.join()
        assert result[0][0] == 0, result
        assert meanwhile > 0
