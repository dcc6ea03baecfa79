# SPDX-License-Identifier: Apache-2.0
"""Requests at once, limits over all routes, limits in shadow mode, and a table of buckets that is full."""
import os
import signal
import threading

import pytest
from harness.gateway import Gateway
from harness.origin import Origin, response
from harness.policy import problem, serving
from harness.wait import until

P = 8080


class Held:
    """An origin whose answers wait until they are let go."""

    def __init__(self, host):
        self.go = threading.Event()
        self.origin = Origin(host, answer=self.answer)

    def answer(self, request):
        if request.target.startswith("/slow"):
            self.go.wait(30)
        return response()


@pytest.fixture
def held(lo):
    h = Held(lo)
    try:
        yield h
    finally:
        h.go.set()


def send(g, *targets):
    """Clients that have each sent a request and wait."""
    out = []
    for t in targets:
        c = g.client(P)
        c.send(f"GET {t} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        out.append(c)
    return out


def test_so_many_at_once_over_all_workers_and_no_more(lo, held):
    routes = {"all": {"in_flight": {"max": 3, "by": "ip", "message": "Busy"}, "rate_limit": {"hour": 100, "by": "ip"}}}
    with Gateway(serving(held.origin, P, workers=2, routes=routes), lo) as g:
        first = send(g, *["/slow"] * 3)
        held.origin.wait_requests(3)
        with g.client(P) as c:
            r = c.request("GET", "/")
            assert problem(r, 429, "in_flight")["detail"] == "Busy"
            assert r.all("Retry-After") == ["1"] and "RateLimit" not in r
        held.go.set()
        for c in first:
            assert c.read_response().status == 200
            c.close()
        with g.client(P) as c:
            r = until(lambda: (lambda r: r if r.status == 200 else None)(c.request("GET", "/")), "room for one more")
            # what was refused for being too many was not debited
            assert 'r=96' in r.get("RateLimit"), r
        assert g.metric("sluice_tier_in_flight_refused_total") >= 1
        assert g.metric("sluice_route_refusals_total", reason="in_flight") >= 1


def test_who_goes_away_gives_his_place_back(lo, held):
    with Gateway(serving(held.origin, P, workers=2, limits={"in_flight": {"max": 1, "by": "ip"}}), lo) as g:
        send(g, "/slow")[0].close()
        with g.client(P) as c:
            until(lambda: c.request("GET", "/").status == 200, "the place of a client that left")


@pytest.mark.root
def test_what_a_dead_worker_had_under_way_is_forgotten(lo, held):
    with Gateway(serving(held.origin, P, workers=2, tiers={"anonymous": {"in_flight": {"max": 4, "by": "ip"}}}), lo) as g:
        send(g, *["/slow"] * 4)
        held.origin.wait_requests(4)
        with g.client(P) as c:
            assert c.request("GET", "/").status == 429
        before = g.pids()["workers"]
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        until(lambda: not set(before) & set(g.pids()["workers"]) and all(g.pids()["workers"]), "new workers")
        g.wait_ready()
        held.go.set()
        with g.client(P) as c:
            assert c.request("GET", "/").status == 200


def test_a_limit_over_all_routes_and_its_reload(lo, held):
    two = {"a": {"paths": ["/a"], "upstream": "origin", "auth": ["public"]}, "b": {"paths": ["/b"], "upstream": "origin", "auth": ["public"]}, "all": None}
    policy = serving(held.origin, P, routes=two, limits={"rate_limit": {"hour": 3, "by": "ip"}})
    with Gateway(policy, lo) as g, g.client(P) as c:
        assert [c.request("GET", t).status for t in ("/a", "/b", "/a", "/b")] == [200, 200, 200, 429]
        policy["limits"]["rate_limit"]["shadow"] = True
        rc, out = g.apply(policy)
        assert rc == 0, out

        def shadowed():
            r = c.request("GET", "/a")
            return r.status == 200 and "RateLimit" not in r
        until(shadowed, "shadow mode")
        assert g.metric("sluice_tier_shadow_limited_total") >= 1
        policy["limits"] = {"rate_limit": {"hour": 3, "by": "everybody"}}
        rc, out = g.apply(policy)
        assert rc == 1 and "/limits/rate_limit/by" in out


def test_a_full_table_refuses_where_the_policy_says_so(lo, held):
    """1024 is the least that a policy can ask for: a few thousand headers fill what it gives."""
    policy = serving(held.origin, P, kernel={"mode": "off", "table_size": 1024}, limits={"table_full": "refuse"},
                     routes={"all": {"rate_limit": {"day": 1, "by": "header:X-Id"}}})
    with Gateway(policy, lo) as g, g.client(P) as c:
        for i in range(6000):
            r = c.request("GET", "/", [("X-Id", str(i))])
            if r.status != 200:
                break
        problem(r, 503, "limit_table_full")
        assert 1024 <= i, "the table holds what the policy asks for"
        assert g.metric("sluice_bucket_table_full_total") >= 1
        del policy["limits"]
        rc, out = g.apply(policy)
        assert rc == 0, out
        until(lambda: c.request("GET", "/", [("X-Id", str(i))]).status == 200, "the default: allow")
