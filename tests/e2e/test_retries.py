# SPDX-License-Identifier: Apache-2.0
"""What is tried again, what never is, and how often at most."""
import os
import signal
import threading

import pytest
from harness.client import Closed
from harness.gateway import Gateway, children
from harness.load import Load
from harness.nginx import Nginx
from harness.origin import Origin, echo, response
from harness.policy import problem, serving, upstream
from harness.wait import until

P = 8080


@pytest.fixture
def two(lo):
    with Origin(lo) as a, Origin(lo) as b:
        yield a, b


def policy(*origins, timeouts=None, **retries):
    route = {"retries": retries, **({"timeouts": timeouts} if timeouts else {})}
    return serving(origins[0], P, upstreams={"origin": upstream(*origins)}, routes={"all": route})


def unavailable(r):
    return response(503, b"not now")


def count(o, method=None):
    return sum(1 for r in o.requests if method in (None, r.method))


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS"])
def test_a_status_is_tried_at_another_target(lo, two, method):
    two[0].answer = unavailable
    body = b"the same bytes" if method == "PUT" else None
    with Gateway(policy(*two, max=1, on=["503"]), lo) as g, g.client(P) as c:
        for i in range(8):
            r = c.request(method, f"/{i}", body=body)
            assert r.status == 200 and r.json()["target"] == f"/{i}" and r.json()["body"].encode() == (body or b"")
        assert [r.target for r in two[1].requests] == [f"/{i}" for i in range(8)]
        assert all(r.body == (body or b"") for r in two[0].requests + two[1].requests)
        assert g.metric("sluice_upstream_retries_total", upstream="origin") == count(two[0]) > 0


def test_a_post_is_tried_again_only_with_an_idempotency_key(lo, two):
    for o in two:
        o.answer = unavailable
    with Gateway(policy(*two, max=1, on=["503", "reset"]), lo) as g, g.client(P) as c:
        assert c.request("POST", "/pay", body=b"1").status == 503
        assert count(two[0]) + count(two[1]) == 1
        assert c.request("POST", "/pay", [("Idempotency-Key", "")], body=b"1").status == 503
        assert count(two[0]) + count(two[1]) == 2
        two[0].answer = two[1].answer = lambda r: echo(r) if len(r.conn.origin.requests) > 2 else unavailable(r)
        n = count(two[0]) + count(two[1])
        assert c.request("POST", "/pay", [("Idempotency-Key", "k1")], body=b"1").status in (200, 503)
        assert count(two[0]) + count(two[1]) == n + 2
        for o in two:
            o.answer = lambda r: None
        n = count(two[0]) + count(two[1])
        problem(c.request("POST", "/pay", body=b"1"), 502, "upstream_reset")
        assert count(two[0]) + count(two[1]) == n + 1


def test_a_reset_before_the_answer_is_tried_again(lo, two):
    two[0].answer = lambda r: r.conn.reset()
    with Gateway(policy(*two, on=["reset"]), lo) as g, g.client(P) as c:
        assert [c.request().status for _ in range(10)] == [200] * 10
        assert count(two[0]) > 0


def test_nothing_is_tried_again_once_the_answer_began(lo, two):
    for o in two:
        o.answer = lambda r: r.conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart")
    with Gateway(policy(*two, max=3, on=["reset", "timeout", "503"]), lo) as g:
        with g.client(P) as c, pytest.raises(Closed):
            c.request()
        assert count(two[0]) + count(two[1]) == 1


def test_a_body_that_is_not_kept_is_not_sent_again(lo, two):
    for o in two:
        o.answer = unavailable
    with Gateway(policy(*two, max=1, on=["503"]), lo) as g, g.client(P) as c:
        assert c.request("PUT", "/large", body=b"x" * 300000).status == 503
        assert count(two[0]) + count(two[1]) == 1
        assert c.request("PUT", "/small", body=b"x" * 3000).status == 503
        assert count(two[0]) + count(two[1]) == 3
        assert all(r.body == b"x" * 3000 for o in two for r in o.requests if r.target == "/small")


def test_a_silent_target_is_left_within_the_total(lo, two):
    def hold(r):
        r.conn.keep = True
        threading.Event().wait(20)
    two[0].answer = hold
    p = policy(*two, on=["timeout"], timeouts={"first_byte": "200ms", "total": "30s"})
    with Gateway(p, lo) as g, g.client(P) as c:
        assert [c.request().status for _ in range(4)] == [200] * 4
        two[1].answer = hold
        n = count(two[0]) + count(two[1])
        problem(c.request(), 504, "upstream_timeout")
        assert count(two[0]) + count(two[1]) == n + 2
    p = policy(*two, max=10, on=["timeout"], timeouts={"first_byte": "300ms", "total": "500ms"})
    with Gateway(p, lo) as g, g.client(P) as c:
        n = count(two[0]) + count(two[1])
        problem(c.request(), 504, "upstream_timeout")  # total ends it, whatever max says
        assert count(two[0]) + count(two[1]) <= n + 3


def test_max_is_a_bound_and_the_last_answer_counts(lo, two):
    for o in two:
        o.answer = unavailable
    with Gateway(policy(*two, max=3, on=["503"]), lo) as g, g.client(P) as c:
        r = c.request()
        assert r.status == 503 and r.body == b"not now"
        assert (count(two[0]), count(two[1])) == (2, 2)
        assert c.request("GET", "/").status == 503


def test_a_connection_that_cannot_be_made(lo):
    """Even a POST: nothing of it was sent. To the only target there is, as often as max says."""
    dead = f"127.0.0.1:{lo.free_port()}"
    with Gateway(policy(dead, max=3, on=["connect"]), lo) as g, g.client(P) as c:
        problem(c.request("POST", "/", body=b"x"), 502, "upstream_connect")
        assert g.metric("sluice_upstream_connects_total", upstream="origin") == 4


def test_the_budget_bounds_a_storm(lo, two):
    for o in two:
        o.answer = unavailable
    with Gateway(policy(*two, max=3, on=["503"], budget="10%"), lo) as g, g.client(P) as c:
        for _ in range(100):
            assert c.request().status == 503
        again = count(two[0]) + count(two[1]) - 100
        # ten at once, and a tenth of the requests; those that came while the credit was full earned nothing
        assert 18 <= again <= 20, again
        assert g.metric("sluice_upstream_retries_total", upstream="origin") == again
        assert g.metric("sluice_upstream_retries_denied_total", upstream="origin") >= 80


def test_one_of_three_is_killed_and_back_under_load(lo):
    """Killed hard, with requests on their way: the client sees none of it."""
    ports = [lo.free_port() for _ in range(3)]
    servers = [Nginx(lo, p) for p in ports]
    p = policy(*[s.target for s in servers], max=2, on=["connect", "reset"], budget="100%")
    p["upstreams"]["origin"]["health"] = {"passive": {"failures": 3, "eject": "300ms"}}
    try:
        with Gateway(p, lo) as g:
            load = Load(lo, "127.0.0.1", P, connections=16, rate=800, seconds=30)

            def served(s):
                return g.metric("sluice_upstream_target_requests_total", target=s.target)
            for victim in (0, 1):
                s = servers[victim]
                until(lambda: served(s) > 20, "it serves")
                pids = [s.proc.pid, *children(s.proc.pid)]
                for pid in pids:
                    os.kill(pid, signal.SIGKILL)
                until(lambda: g.metric("sluice_upstream_target_failures_total", target=s.target) > 0, "it is missed")
                servers[victim] = Nginx(lo, ports[victim])
                s.close()
                n = served(s)
                until(lambda: served(s) > n + 20, "it serves again")
            assert load.running(), "the load ended before the servers were back"
            load.stop()
            r = load.result()
            assert r.bad == 0, dict(r, windows=None)
    finally:
        for s in servers:
            s.close()
