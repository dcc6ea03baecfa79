# SPDX-License-Identifier: Apache-2.0
"""Which route a request takes, and the answers that the gateway gives by itself."""
import pytest
from harness.gateway import Gateway
from harness.origin import Origin
from harness.policy import problem, serving

P, R = 8080, 8081


def respond(body, **route):
    return {"respond": {"status": 200, "body": body}, "auth": ["public"], **route}


@pytest.fixture(scope="module")
def origin(lo):
    with Origin(lo) as o:
        yield o


@pytest.fixture(scope="module")
def gw(lo, origin):
    routes = {
        "all": None,
        "v1": respond("v1", hosts=["api.test"], paths=["/v1"]),
        "v1-orders": respond("v1-orders", hosts=["api.test"], paths=["/v1/orders"]),
        "exact": respond("exact", hosts=["api.test"], paths=["=/v1/exact"]),
        "regex": respond("regex", hosts=["api.test"], paths=["~^/r/[0-9]+$"]),
        "get-only": respond("get-only", hosts=["api.test"], paths=["/m"], methods=["GET"]),
        "post-only": respond("post-only", hosts=["api.test"], paths=["/m"], methods=["POST"]),
        "beta": respond("beta", hosts=["api.test"], paths=["/h"], headers={"Accept-Version": "2"}),
        "stable": respond("stable", hosts=["api.test"], paths=["/h"]),
        "wild": respond("wild", hosts=["*.wild.test"]),
        "wild-exact": respond("wild-exact", hosts=["x.wild.test"]),
        "teapot": {"hosts": ["api.test"], "paths": ["/teapot"], "auth": ["public"],
                   "respond": {"status": 418, "body": "short and stout", "headers": {"X-Kind": "teapot", "Content-Type": "text/plain"}}},
        "moved": {"hosts": ["api.test"], "paths": ["/old"], "auth": ["public"], "redirect": {"status": 308, "location": "https://new.test/"}},
        "strip": {"hosts": ["api.test"], "paths": ["/strip"], "auth": ["public"], "upstream": "origin", "rewrite": {"strip_prefix": "/strip"}},
    }
    with Gateway(serving(origin, listeners={"to-https": {"bind": [f"127.0.0.1:{R}"], "redirect_https": True}}, routes=routes), lo) as g:
        yield g


@pytest.fixture
def c(gw):
    with gw.client(P) as client:
        yield client


@pytest.mark.parametrize("host,target,want", [
    ("api.test", "/v1", "v1"), ("api.test", "/v1/", "v1"), ("api.test", "/v1/x", "v1"), ("API.Test", "/v1", "v1"), ("api.test:8080", "/v1", "v1"),
    ("api.test", "/v1/orders", "v1-orders"), ("api.test", "/v1/orders/7?q=1", "v1-orders"), ("api.test", "/v1/ordersx", "v1"),
    ("api.test", "/v1/exact", "exact"), ("api.test", "/v1/exact/more", "v1"),
    ("api.test", "/r/42", "regex"),
    ("a.wild.test", "/any", "wild"), ("x.wild.test", "/any", "wild-exact"),
    ("api.test", "/v1/a/../orders", "v1-orders"), ("api.test", "/v1/%6frders", "v1-orders"),
])
def test_the_most_specific_route_takes_it(c, host, target, want):
    r = c.request("GET", target, host=host)
    assert (r.status, r.body.decode()) == (200, want)


@pytest.mark.parametrize("host,target", [("api.test", "/"), ("api.test", "/v10"), ("api.test", "/r/4x"), ("other.test", "/v1"),
                                         ("wild.test", "/any"), ("xwild.test", "/any")])
def test_no_route_is_404(c, host, target):
    problem(c.request("GET", target, host=host), 404, "no_route")


@pytest.mark.parametrize("method,want", [("GET", "get-only"), ("POST", "post-only")])
def test_method_picks(c, method, want):
    assert c.request(method, "/m", host="api.test").body.decode() == want


def test_other_methods_are_405_with_allow(c):
    r = c.request("DELETE", "/m", host="api.test")
    problem(r, 405, "method_not_allowed")
    allowed = {m.strip() for m in r.get("Allow").split(",")}
    assert {"GET", "POST"} <= allowed and "DELETE" not in allowed


def test_header_match(c):
    assert c.request("GET", "/h", [("Accept-Version", "2")], host="api.test").body == b"beta"
    assert c.request("GET", "/h", [("Accept-Version", "1")], host="api.test").body == b"stable"
    assert c.request("GET", "/h", host="api.test").body == b"stable"


def test_respond(c):
    r = c.request("GET", "/teapot", host="api.test")
    assert (r.status, r.body, r.get("X-Kind"), r.all("Content-Type")) == (418, b"short and stout", "teapot", ["text/plain"])


def test_respond_to_head_has_the_length_and_no_body(c):
    r = c.request("HEAD", "/teapot", host="api.test")
    assert (r.status, r.body, r.get("Content-Length")) == (418, b"", "15")
    assert c.request("GET", "/teapot", host="api.test").status == 418  # and the connection is in step


def test_redirect(c):
    r = c.request("GET", "/old", host="api.test")
    assert (r.status, r.get("Location")) == (308, "https://new.test/")


def test_redirect_https_keeps_host_and_target(gw):
    with gw.client(R) as c:
        r = c.request("GET", "/a/b?c=d", host="api.test:8081")
        assert r.status in (301, 308) and r.get("Location") in ("https://api.test/a/b?c=d",), r


def test_redirect_https_cannot_be_split(gw):
    with gw.client(R) as c:
        r = c.request("GET", "/a%0d%0aSet-Cookie:x=1", host="api.test")
        assert "Set-Cookie" not in r and b"\r\nSet-Cookie" not in r.body


@pytest.mark.parametrize("target,want", [("/strip/a?x=y", "/a?x=y"), ("/strip", "/"), ("/strip/", "/"), ("/strip/strip/a", "/strip/a")])
def test_strip_prefix(c, target, want):
    assert c.request("GET", target, host="api.test").json()["target"] == want


def test_what_is_routed_is_what_is_forwarded(c):
    """Normalised once: the upstream gets the bytes that the router looked at."""
    assert c.request("GET", "/strip/a/./b/../c%41?q=%2e%2e", host="api.test").json()["target"] == "/a/cA?q=%2e%2e"


@pytest.mark.parametrize("target", ["/v1/%2e%2e%2fv2", "/v1/a%5cb", "/v1/%00", "/v1/..;/x", "/strip/%c0%ae%c0%ae/x"])
def test_ambiguous_paths_are_refused_or_decoded_never_passed_raw(c, origin, target):
    n = len(origin.requests)
    r = c.request("GET", target, host="api.test")
    for q in origin.requests[n:]:
        assert "%" not in q.target and ".." not in q.target, q.target
    assert r.status in (400, 404) or r.body == b"v1"


def test_keep_alive_over_many_answers_of_its_own(c):
    for _ in range(50):
        assert c.request("GET", "/teapot", host="api.test").status == 418
        assert c.request("GET", "/nowhere", host="api.test").status == 404


def test_source_rules(lo, origin):
    routes = {"all": None, "in": respond("in", paths=["/in"], sources={"allow": ["127.0.0.0/8"]}),
              "out": respond("out", paths=["/out"], sources={"allow": ["192.0.2.0/24"]}),
              "denied": respond("denied", paths=["/denied"], sources={"allow": ["127.0.0.0/8"], "deny": ["127.0.0.1"]})}
    with Gateway(serving(origin, port=8082, routes=routes), lo) as g, g.client(8082) as c:
        assert c.request("GET", "/in").status == 200
        problem(c.request("GET", "/out"), 403, "forbidden_source")
        problem(c.request("GET", "/denied"), 403, "forbidden_source")
