# SPDX-License-Identifier: Apache-2.0
"""Upstreams that fail: targets ejected and drained, the breaker, and what is said about it."""
import select
import threading

import pytest
from harness.gateway import Gateway
from harness.origin import Origin, echo, response
from harness.policy import problem, serving, upstream
from harness.wait import until

P = 8080


@pytest.fixture
def three(lo):
    with Origin(lo) as a, Origin(lo) as b, Origin(lo) as c:
        yield [a, b, c]


def policy(origins, workers=1, **keys):
    return {**serving(origins[0], P, upstreams={"origin": upstream(*origins, **keys)}), "workers": workers}


def counts(origins):
    return [len(o.requests) for o in origins]


def failing(status=500):
    return lambda r: response(status, b"no")


def states(g, name="origin"):
    """{target: state} of `status upstreams`"""
    u = next(u for u in g.ctl_json("status", "upstreams")["upstreams"] if u["name"] == name)
    return {t["target"]: t["state"] for t in u["targets"]}


# ---- ejection

def test_failures_in_a_row_eject_for_all_workers(lo, three):
    """Each request on a connection of its own, so that both workers see them: together they need no more failures than one."""
    bad = three[0]
    bad.answer = failing()
    p = policy(three, workers=2, health={"passive": {"failures": 4, "eject": "1h"}})
    with Gateway(p, lo) as g:
        got = []
        for _ in range(60):
            with g.client(P) as c:
                got.append(c.request().status)
        assert got.count(500) == 4 and got.count(200) == 56, got
        assert len(bad.requests) == 4
        assert states(g) == {bad.target: "ejected", three[1].target: "healthy", three[2].target: "healthy"}
        assert g.metric("sluice_upstream_ejections_total", upstream="origin") == 1
        assert g.metric("sluice_upstream_target_healthy", upstream="origin", target=bad.target) == 0
        assert g.metric("sluice_upstream_target_failures_total", target=bad.target) == 4
        g.wait_log(f"target {bad.target}: ejected for 3600000 ms after 4 failures in a row")
        out = g.ctl("status", "upstreams")[1]
        assert "ejected, " in out and bad.target in out
        # a reload keeps who is ejected
        assert g.apply({**p, "routes": {"all": {"upstream": "origin", "auth": ["public"], "timeouts": {"idle": "9s"}}}})[0] == 0
        with g.client(P) as c:
            assert all(c.request().status == 200 for _ in range(9))


def test_the_ejected_comes_back(lo, three):
    bad = three[0]
    bad.answer = failing(503)
    with Gateway(policy(three, health={"passive": {"failures": 1, "eject": "300ms"}}), lo) as g, g.client(P) as c:
        until(lambda: c.request().status == 503, "a failure")
        bad.answer = echo
        n = len(bad.requests)
        until(lambda: c.request().status == 200 and len(bad.requests) > n, "requests to it again")
        assert states(g)[bad.target] == "healthy"


def test_a_target_that_does_not_answer_is_ejected(lo, three):
    """Neither a status nor a connection: closed without an answer, and refused."""
    three[0].answer = lambda r: None
    dead = f"127.0.0.1:{lo.free_port()}"
    p = policy([three[0], dead, three[1], three[2]], health={"passive": {"failures": 2, "eject": "1h"}})
    with Gateway(p, lo) as g, g.client(P) as c:
        got = [c.request().status for _ in range(40)]
        assert got.count(502) == 2 and got.count(200) == 38, got  # refused connects go to another target
        assert states(g)[dead] == "ejected" and states(g)[three[0].target] == "ejected"
        before = g.metric("sluice_upstream_connect_failures_total", upstream="origin")
        assert all(c.request().status == 200 for _ in range(20))
        assert g.metric("sluice_upstream_connect_failures_total", upstream="origin") == before


def test_max_ejected_and_panic(lo, three):
    for o in three:
        o.answer = failing()
    half = policy(three, health={"passive": {"failures": 1, "eject": "1h"}})
    with Gateway(half, lo) as g, g.client(P) as c:
        for _ in range(12):
            assert c.request().status == 500
        assert sorted(states(g).values()) == ["ejected", "healthy", "healthy"]
        assert g.metric("sluice_upstream_panics_total", upstream="origin") == 0
    every = policy(three, health={"passive": {"failures": 1, "eject": "1h", "max_ejected": "100%"}})
    with Gateway(every, lo) as g, g.client(P) as c:
        for _ in range(12):
            assert c.request().status == 500
        assert list(states(g).values()) == ["ejected"] * 3
        assert g.metric("sluice_upstream_panics_total", upstream="origin") == 9
        every["upstreams"]["origin"]["health"]["panic"] = "0%"
        assert g.apply(every)[0] == 0
        problem(c.request(), 503, "upstream_unhealthy")


# ---- the breaker

BREAKER = {"min_requests": 5, "window": "60s", "open": "400ms"}


def test_breaker_opens_probes_and_closes(lo, three):
    origin, probe, go = three[0], threading.Event(), threading.Event()
    origin.answer = failing()
    with Gateway(policy([origin], breaker=BREAKER), lo) as g, g.client(P) as c:
        assert [c.request().status for _ in range(5)] == [500] * 5
        r = c.request()
        problem(r, 503, "upstream_breaker")
        assert r.get("Retry-After") == "1" and len(origin.requests) == 5
        assert g.metric("sluice_upstream_breaker_opened_total", upstream="origin") == 1

        def held(r):  # the one probe: the others are refused while it is out
            probe.set()
            go.wait(20)
            return failing()(r)
        origin.answer = held
        with g.client(P) as one:
            def ask():
                one.send(b"GET /probe HTTP/1.1\r\nHost: gw.test\r\n\r\n")
                until(lambda: probe.is_set() or select.select([one.sock], [], [], 0)[0], "the probe, or a refusal")
                return probe.is_set() or one.read_response().status == 200
            until(ask, "the probe")
            assert len(origin.requests) == 6
            assert [c.request().status for _ in range(10)] == [503] * 10
            origin.answer = failing()
            go.set()
            assert one.read_response().status == 500
        problem(c.request(), 503, "upstream_breaker")  # the probe failed: open again
        origin.answer = echo
        until(lambda: c.request().status == 200, "closed again")
        assert all(c.request().status == 200 for _ in range(20))
        assert g.metric("sluice_upstream_breaker", upstream="origin", state="closed") == 1
        assert g.metric("sluice_upstream_breaker_refused_total", upstream="origin") == g.metric("sluice_route_refusals_total", reason="upstream_breaker")
        g.wait_log("the breaker is open for 400 ms")
        g.wait_log("the breaker is closed")


def test_a_probe_whose_client_left_is_given_again(lo, three):
    origin, probe = three[0], threading.Event()
    origin.answer = failing()
    with Gateway(policy([origin], breaker={**BREAKER, "open": "1s"}), lo) as g, g.client(P) as c:
        assert [c.request().status for _ in range(5)] == [500] * 5

        def held(r):
            probe.set()
            threading.Event().wait(20)
        origin.answer = held

        def ask():
            with g.client(P) as one:
                one.send(b"GET /probe HTTP/1.1\r\nHost: gw.test\r\n\r\n")
                return probe.wait(0.2)
        until(ask, "the probe")
        origin.answer = echo
        until(lambda: c.request().status == 200, "another probe")


def test_pending_has_a_reason_of_its_own(lo):
    with lo.listen(0, backlog=0) as full:
        held = [lo.socket() for _ in range(8)]
        for s in held:
            s.setblocking(False)
            s.connect_ex(full.getsockname())
        p = policy(["%s:%d" % full.getsockname()], breaker={"max_pending": 2})
        p["routes"]["all"]["timeouts"] = {"connect": "60s"}
        with Gateway(p, lo) as g:
            waiting = [g.client(P) for _ in range(2)]
            for n, w in enumerate(waiting, 1):
                w.send(b"GET / HTTP/1.1\r\nHost: gw.test\r\n\r\n")
                until(lambda: g.metric("sluice_upstream_pending", upstream="origin") == n, "it waits")
            with g.client(P) as c:
                problem(c.request(), 503, "upstream_overloaded")
            assert g.metric("sluice_upstream_overloaded_total", upstream="origin") == 1
            for w in waiting:
                w.close()
            until(lambda: g.metric("sluice_upstream_pending", upstream="origin") == 0, "nobody waits", 20)
        for s in held:
            s.close()


# ---- drain

def test_drain_and_back(lo, three):
    first, go = three[0], threading.Event()
    p = policy(three)
    with Gateway(p, lo) as g, g.client(P) as c:
        first.answer = lambda r: (go.wait(20), echo(r))[1]
        with g.client(P) as slow:
            slow.send(b"GET /slow HTTP/1.1\r\nHost: gw.test\r\n\r\n")
            first.wait_requests(1)
            code, out = g.ctl("drain", first.target)
            assert code == 0 and "drained: 1, with 1 requests still under way" in out, out
            assert states(g)[first.target] == "drained"
            assert all(c.request().status == 200 for _ in range(20))
            assert len(first.requests) == 1
            assert g.apply({**p, "routes": {"all": {"upstream": "origin", "auth": ["public"], "timeouts": {"idle": "9s"}}}})[0] == 0
            assert all(c.request().status == 200 for _ in range(6)) and len(first.requests) == 1
            go.set()
            assert slow.read_response().status == 200
        until(lambda: next(t for t in g.ctl_json("status", "upstreams")["upstreams"][0]["targets"] if t["target"] == first.target)["active"] == 0, "all done")
        assert g.metric("sluice_upstream_target_healthy", target=first.target) == 0
        assert g.ctl("drain", f"origin/{first.target}", "--off")[0] == 0
        n = len(first.requests)
        assert all(c.request().status == 200 for _ in range(6)) and len(first.requests) == n + 2


def test_all_drained_is_503(lo, three):
    with Gateway(policy(three[:2]), lo) as g, g.client(P) as c:
        for o in three[:2]:
            assert g.ctl("drain", o.target)[0] == 0
        problem(c.request(), 503, "upstream_drained")
        assert counts(three) == [0, 0, 0]
        code, out = g.ctl("drain", "192.0.2.1:1")
        assert code == 1 and "no such target" in out
        assert g.ctl("drain")[0] == 2
        assert g.admin("/v1/drain", "POST", {"target": three[0].target, "of": True}).status == 400
        assert g.ctl("drain", three[0].target, "--off")[0] == 0
        assert c.request().status == 200
