# SPDX-License-Identifier: Apache-2.0
"""Active health checks: targets are asked how they do before a client finds out."""
import os
import signal
import ssl
import threading

import pytest
from harness.gateway import Gateway
from harness.origin import Origin, echo, response
from harness.pki import CA
from harness.policy import problem, serving, upstream
from harness.wait import until

P = 8080


@pytest.fixture
def two(lo):
    with Origin(lo) as a, Origin(lo) as b:
        yield a, b


def policy(*origins, tls=None, health=None, **active):
    active = {"interval": "100ms", "timeout": "1s", "failures": 2, "successes": 2, **active}
    keys = {"health": {"active": active, **(health or {})}, **({"tls": tls} if tls else {})}
    return serving(origins[0], P, upstreams={"origin": upstream(*origins, **keys)})


def state(g, target):
    return next(t["state"] for t in g.ctl_json("status", "upstreams")["upstreams"][0]["targets"] if t["target"] == target)


def becomes(g, target, wanted):
    until(lambda: state(g, target) == wanted, f"{target} {wanted}", 30)


def asked(o):
    """Requests that are no checks."""
    return [r for r in o.requests if r.target != "/healthz"]


def sick(how):
    return lambda r: how(r) if r.target == "/healthz" else echo(r)


def hang(r):
    r.conn.keep = True
    threading.Event().wait(20)


@pytest.mark.parametrize("how", [lambda r: response(500), lambda r: None, hang, lambda r: b"SSH-2.0-OpenSSH_9.2\r\n", lambda r: b"HTTP/1.1 20"],
                         ids=["status", "closes", "silent", "no http", "cut short"])
def test_a_target_that_fails_its_checks_gets_no_requests(lo, two, how):
    a, b = two
    with Gateway(policy(a, b, path="/healthz", timeout="200ms"), lo) as g, g.client(P) as c:
        until(lambda: a.requests and b.requests, "both are checked")
        r = a.requests[0]
        assert (r.method, r.target, r.get("Host")) == ("GET", "/healthz", a.target)
        a.answer = sick(how)
        becomes(g, a.target, "unhealthy")
        g.wait_log(f"target {a.target}: unhealthy after 2 checks")
        n = len(asked(a))
        assert [c.request().status for _ in range(10)] == [200] * 10
        assert len(asked(a)) == n and g.metric("sluice_upstream_target_healthy", target=a.target) == 0
        assert g.metric("sluice_health_checks_total", result="failed") >= 2
        a.answer = echo
        becomes(g, a.target, "healthy")
        assert [c.request().status for _ in range(10)] == [200] * 10
        assert len(asked(a)) == n + 5


def test_a_connection_is_enough_without_a_path(lo, two):
    """A target that nobody ever asked is known to be down, and known to be up again."""
    port = lo.free_port()
    target = f"127.0.0.1:{port}"
    with Gateway(policy(two[0], target), lo) as g, g.client(P) as c:
        becomes(g, target, "unhealthy")
        assert [c.request().status for _ in range(6)] == [200] * 6
        assert g.metric("sluice_upstream_connect_failures_total", upstream="origin") == 0
        with Origin(lo, port) as late:
            becomes(g, target, "healthy")
            assert [c.request().status for _ in range(6)] == [200] * 6
            assert len(late.requests) == 3


def test_checks_speak_tls(lo, tmp):
    ca, ctx = CA(tmp), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ctx.load_cert_chain(*ca.issue("origin.test"))
    with Origin(lo, tls=ctx) as o:
        with Gateway(policy(o, path="/healthz", tls={"ca": ca.cert, "sni": "origin.test"}), lo) as g:
            until(lambda: g.metric("sluice_health_checks_total", result="passed") >= 2, "passed checks")
            assert o.requests[0].get("Host") == "origin.test" and state(g, o.target) == "healthy"
            p = policy(o, path="/healthz", tls={"ca": ca.cert, "sni": "other.test"}, health={"panic": "0%"})
            assert g.apply(p)[0] == 0
            becomes(g, o.target, "unhealthy")
            with g.client(P) as c:
                problem(c.request(), 503, "upstream_unhealthy")


def test_a_reload_without_checks_forgets_what_they_said(lo, two):
    a, b = two
    a.answer = sick(lambda r: response(500))
    with Gateway(policy(a, b, path="/healthz"), lo) as g, g.client(P) as c:
        becomes(g, a.target, "unhealthy")
        assert g.apply(policy(a, b, path="/healthz", statuses=[500, 200]))[0] == 0
        becomes(g, a.target, "healthy")
        assert g.apply(policy(a, b, path="/healthz"))[0] == 0
        becomes(g, a.target, "unhealthy")
        assert g.apply(serving(a, P, upstreams={"origin": upstream(a, b)}))[0] == 0
        assert state(g, a.target) == "healthy"
        n = len(asked(a))
        assert [c.request().status for _ in range(10)] == [200] * 10 and len(asked(a)) == n + 5


def test_verdicts_outlive_the_controller(lo, two):
    a, b = two
    a.answer = sick(lambda r: response(500))
    with Gateway(policy(a, b, path="/healthz"), lo) as g, g.client(P) as c:
        becomes(g, a.target, "unhealthy")
        old = g.pids()["controller"]
        os.kill(old, signal.SIGKILL)
        n = len(asked(a))
        assert [c.request().status for _ in range(10)] == [200] * 10 and len(asked(a)) == n
        a.answer = echo

        def back():
            try:
                return g.pids()["controller"] != old and state(g, a.target) == "healthy"
            except (OSError, AssertionError, KeyError):
                return False
        until(back, "checks by the next controller", 30)
