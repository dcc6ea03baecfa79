# SPDX-License-Identifier: Apache-2.0
"""Tokens that an authorization server is asked about: who asks, how often, what its answers make of a request, and what a bad server cannot do."""
import base64
import os
import signal
import threading
import time

import pytest
from harness import jose
from harness.gateway import Gateway
from harness.issuer import Form, Issuer
from harness.origin import Origin
from harness.policy import problem, serving
from harness.wait import until

P = 8080
KEY = jose.Key("ES256", kid="k")
SECRET = "s:ecret/ ü"


@pytest.fixture(scope="module")
def origin(lo):
    with Origin(lo) as o:
        yield o


class Server(Issuer):
    """An authorization server: tokens is {token: claims}; hold() keeps answers back."""

    def __init__(self, ca, lo):
        super().__init__(ca, host=lo)
        self.tokens, self.go = {}, threading.Event()
        self.go.set()
        self.pages["/introspect"] = Form(self._answer)

    def _answer(self, form, head):
        self.go.wait(20)
        claims = self.tokens.get(form["token"])
        return 200, [("Content-Type", "application/json")], {"active": False} if claims is None else {"active": True, **claims}

    def asked_about(self, token):
        return sum(f.get("token") == token for f in self.forms)


@pytest.fixture
def server(lo, ca):
    with Server(ca, lo) as s:
        yield s
        s.go.set()


def policy(origin, server, ca, tmp_path, workers=1, routes=None, auth=None, **more):
    secret = tmp_path / "secret"
    secret.write_text(SECRET)
    opaque = {"type": "introspection", "uri": server.url("/introspect"), "client_id": "gw:1", "client_secret": {"$file": str(secret)},
              "tls": {"ca": ca.cert}, **more}
    return serving(origin, workers=workers, auth={"opaque": opaque, **(auth or {})}, consumers={"alice": {}, "svc": {}},
                   routes={"all": {"auth": ["opaque"]}, **(routes or {})})


def ask(gw, token, path="/", headers=()):
    with gw.client(P) as c:
        return c.request("GET", path, [("Authorization", f"Bearer {token}"), *headers])


def result(gw, name):
    return gw.metric("sluice_errands_total", kind="introspection", provider="opaque", result=name) or 0


def test_an_active_token_is_somebody_and_is_asked_about_once(lo, origin, server, ca, tmp_path):
    server.tokens["opaque-1"] = {"sub": "alice", "scope": "read write", "roles": ["ops"], "tenant": "t1", "exp": int(time.time()) + 60, "token_type": "bearer"}
    over = {"roles_claim": "roles", "claims_to_headers": {"tenant": "X-Tenant"}}
    routes = {"ops": {"paths": ["/ops"], "upstream": "origin", "auth": ["opaque"], "require": {"roles": ["ops"], "scopes": ["read"]}},
              "admin": {"paths": ["/admin"], "upstream": "origin", "auth": ["opaque"], "require": {"scopes": ["admin"]}}}
    with Gateway(policy(origin, server, ca, tmp_path, routes=routes, **over), lo) as gw:
        r = ask(gw, "opaque-1", headers=[("X-Tenant", "forged")])
        assert r.status == 200, r
        seen = [h for h in r.json()["headers"] if h[0].lower() in ("x-tenant", "authorization")]
        assert seen == [["X-Tenant", "t1"]], seen
        assert ask(gw, "opaque-1", "/ops").status == 200
        problem(ask(gw, "opaque-1", "/admin"), 403, "forbidden_scope")
        assert server.count("/introspect") == 1
        assert server.forms == [{"token": "opaque-1", "token_type_hint": "access_token"}]
        head = server.heads[0].decode()
        assert head.startswith("POST /introspect HTTP/1.1\r\n") and "\r\nContent-Type: application/x-www-form-urlencoded\r\n" in head
        basic = next(line for line in head.split("\r\n") if line.startswith("Authorization: Basic ")).split()[-1]
        assert base64.b64decode(basic).decode() == "gw%3A1:s%3Aecret%2F+%C3%BC"  # RFC 6749 section 2.3.1

        r = ask(gw, "nobody's")
        problem(r, 401, "invalid_token")
        assert r.get("WWW-Authenticate").startswith('Bearer realm="sluice", error="invalid_token"'), r
        problem(ask(gw, "nobody's"), 401, "not active")
        assert server.asked_about("nobody's") == 1
        assert result(gw, "ok") == 2 and gw.metric("sluice_errand_server_up", provider="opaque") == 1
        assert gw.metric("sluice_jwt_refused_reason_total", reason="inactive") == 2
        state = gw.status()["auth_servers"]
        assert len(state) == 1 and state[0]["answered"] == 2 and state[0]["failed"] == 0 and state[0]["error"] == "", state
        assert SECRET not in gw.log() and "opaque-1" not in gw.log()


def test_what_the_answer_must_hold(lo, origin, server, ca, tmp_path):
    now = int(time.time())
    good = {"sub": "alice", "iss": "https://as", "aud": ["orders", "x"]}
    bad = {"expired": {**good, "exp": now - 3600}, "not-yet": {**good, "nbf": now + 3600}, "foreign": {**good, "iss": "https://other"},
           "audience": {**good, "aud": "billing"}, "type": {**good, "token_type": "DPoP"}, "cnf": {**good, "cnf": {"x5t#S256": "x"}},
           "unbound": {**good, "cnf": {"x5t#S256": "A" * 42 + "E"}}, "fraction": {**good, "exp": now + 10.5}}
    server.tokens.update({"good": good, **bad})
    with Gateway(policy(origin, server, ca, tmp_path, issuer="https://as", audiences=["orders"]), lo) as gw:
        assert ask(gw, "good").status == 200
        for token in bad:
            problem(ask(gw, token), 401, "invalid_token")
        assert server.count("/introspect") == 1 + len(bad)


def test_the_same_question_is_asked_once_for_the_whole_host(lo, origin, server, ca, tmp_path):
    server.tokens["t"] = {"sub": "alice"}
    with Gateway(policy(origin, server, ca, tmp_path, workers=2), lo) as gw:
        server.go.clear()
        with gw.client(P) as gone:  # asks, and does not wait for the answer
            gone.send(b"GET / HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer t\r\n\r\n")
            server.wait_asked("/introspect", 1)
        clients = [gw.client(P) for _ in range(16)]
        for c in clients:
            c.send(b"GET / HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer t\r\n\r\n")
            server.go.set()
        assert [c.read_response().status for c in clients] == [200] * 16
        for c in clients:
            c.close()
        # a worker that had not asked by then asks the controller for itself, once
        assert server.count("/introspect") <= 2
        assert ask(gw, "t").status == 200


def test_a_jwt_goes_to_its_provider_and_another_token_to_the_server(lo, origin, server, ca, tmp_path):
    corp = {"type": "jwt", "issuer": "https://corp", "algorithms": ["ES256"], "jwks": jose.jwks(KEY)}
    other = KEY.token(sub="svc", iss="https://elsewhere")
    server.tokens.update({"opaque": {"sub": "alice"}, other: {"sub": "svc"}})
    for order in (["corp", "opaque"], ["opaque", "corp"]):
        with Gateway(policy(origin, server, ca, tmp_path, auth={"corp": corp}, routes={"all": {"upstream": "origin", "auth": order}}), lo) as gw:
            asked = server.count("/introspect")
            assert ask(gw, KEY.token(sub="alice", iss="https://corp")).status == 200
            problem(ask(gw, KEY.token(sub="alice", iss="https://corp", exp=1)), 401, "expired")
            assert server.count("/introspect") == asked
            assert ask(gw, "opaque").status == 200 and ask(gw, other).status == 200
            assert server.count("/introspect") == asked + 2
            problem(ask(gw, "unknown"), 401, "not active")


def test_cache_0s_and_a_reload(lo, origin, server, ca, tmp_path):
    server.tokens["t"] = {"sub": "alice"}
    with Gateway(policy(origin, server, ca, tmp_path, cache="0s"), lo) as gw:
        for n in range(3):
            assert ask(gw, "t").status == 200 and server.count("/introspect") == n + 1
        server.go.clear()
        with gw.client(P) as c:  # the policy it was asked under is gone when the answer comes
            c.send(b"GET / HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer t\r\n\r\n")
            server.wait_asked("/introspect", 4)
            assert gw.apply(policy(origin, server, ca, tmp_path, cache="1m"))[0] == 0
            server.go.set()
            assert c.read_response().status == 200
        asked = server.count("/introspect")
        for _ in range(3):
            assert ask(gw, "t").status == 200
        assert server.count("/introspect") == asked + 1
        del server.tokens["t"]
        assert gw.apply(policy(origin, server, ca, tmp_path, routes={"all": {"upstream": "origin", "auth": ["public"]}}))[0] == 0
        assert ask(gw, "t").status == 200  # nobody is asked where nobody is


def slow(c, path):
    c.recv(1)


HOSTILE = {
    "status": (500, (), b"{}"), "redirect": (302, [("Location", "https://127.0.0.1:1/")], b""), "huge": (200, (), b'{"active": true, "x": "' + b"a" * 70000 + b'"}'),
    "garbage": (200, (), b"<html>"), "array": (200, (), b"[true]"), "word": (200, (), b'{"active": "true"}'), "one": (200, (), b'{"active": 1}'),
    "none": (200, (), b"{}"), "twice": (200, (), b'{"active": false, "active": true}'), "deep": (200, (), b'{"active": true, "x":' + b"[" * 99 + b"]" * 99 + b"}"),
    "created": (201, (), b'{"active": true}'), "client": (401, (), b'{"error": "invalid_client"}'), "http": lambda c, path: c.sendall(b"HTTP/0.9 yes\r\n\r\n"),
    "hangs-up": lambda c, path: None,
    "slow": slow,
}


def test_a_server_that_makes_no_sense_is_no_refusal(lo, origin, server, ca, tmp_path):
    with Gateway(policy(origin, server, ca, tmp_path, timeout="500ms"), lo) as gw:
        for n, kind in enumerate(HOSTILE, 1):
            server.pages["/introspect"] = HOSTILE[kind]
            p = problem(ask(gw, f"t-{kind}"), 503, "auth_unavailable")
            assert p["type"].endswith(":auth_unavailable"), (kind, p)
            assert result(gw, "failed") == n and gw.metric("sluice_errand_server_up", provider="opaque") == 0, kind
            state = gw.status()["auth_servers"][0]
            assert state["error"] and state["failed"] == n, (kind, state)
            server.tokens[f"u-{kind}"] = {"sub": "alice"}
            server.pages["/introspect"] = Form(server._answer)
            assert ask(gw, f"u-{kind}").status == 200 and gw.metric("sluice_errand_server_up", provider="opaque") == 1, kind


def test_a_token_whose_server_failed_is_not_asked_about_at_once_again(lo, origin, server, ca, tmp_path):
    server.pages["/introspect"] = HOSTILE["status"]
    with Gateway(policy(origin, server, ca, tmp_path), lo) as gw:
        with gw.client(P) as c:
            c.send(b"GET / HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer t\r\n\r\n" * 5)
            for _ in range(5):
                problem(c.read_response(), 503, "auth_unavailable")
        assert server.count("/introspect") < 5


def test_a_dead_server_is_left_alone_for_a_while(lo, origin, server, ca, tmp_path):
    server.pages["/introspect"] = (503, (), b"")
    server.tokens["back"] = {"sub": "alice"}
    with Gateway(policy(origin, server, ca, tmp_path), lo) as gw:
        for n in range(20):
            problem(ask(gw, f"t{n}"), 503, "auth_unavailable")
        assert 3 <= server.count("/introspect") < 20 and result(gw, "held") >= 1
        server.pages["/introspect"] = Form(server._answer)
        until(lambda: ask(gw, "back").status == 200, "its comeback", timeout=20)


def test_the_controller_dies(lo, origin, server, ca, tmp_path):
    server.tokens.update({"t": {"sub": "alice"}, "u": {"sub": "alice"}})
    with Gateway(policy(origin, server, ca, tmp_path, workers=2), lo) as gw:
        assert ask(gw, "t").status == 200
        server.go.clear()
        with gw.client(P) as c:
            c.send(b"GET / HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer u\r\n\r\n")
            server.wait_asked("/introspect", 2)
            os.kill(gw.pids()["controller"], signal.SIGKILL)
            problem(c.read_response(), 503, "controller_gone")
        server.go.set()
        until(lambda: ask(gw, "u").status == 200, "a new controller")


def test_a_worker_dies(lo, origin, server, ca, tmp_path):
    server.tokens.update({"t": {"sub": "alice"}, "u": {"sub": "alice"}})
    with Gateway(policy(origin, server, ca, tmp_path), lo) as gw:
        server.go.clear()
        with gw.client(P) as c:
            c.send(b"GET / HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer t\r\n\r\n")
            server.wait_asked("/introspect", 1)
            os.kill(gw.pids()["workers"][0], signal.SIGKILL)
        until(lambda: gw.metric("sluice_errands_active", provider="opaque") == 0, "its question forgotten")
        server.go.set()
        until(lambda: ask(gw, "u").status == 200, "its successor")
