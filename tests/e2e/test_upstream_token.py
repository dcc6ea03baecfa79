# SPDX-License-Identifier: Apache-2.0
"""Tokens for upstreams that an authorization server gives out: the gateway's own, and in exchange for the client's."""
import base64
import threading

import pytest
from harness import jose
from harness.gateway import Gateway
from harness.issuer import Form, Issuer
from harness.origin import Origin, response
from harness.policy import problem, serving, upstream
from harness.wait import until

P = 8080
KEY = jose.Key("ES256", kid="k")
URN = "urn:ietf:params:oauth:"


class Server(Issuer):
    """A token endpoint: gives tok-1, tok-2, …, or what answer says; go holds answers back."""

    def __init__(self, ca, lo):
        super().__init__(ca, host=lo)
        self.go, self.answer, self.lifetime = threading.Event(), None, 3600
        self.go.set()
        self.pages["/token"] = Form(self._answer)

    def _answer(self, form, head):
        n = len(self.forms)
        self.go.wait(20)
        return self.answer or (200, (), {"access_token": f"tok-{n}", "token_type": "Bearer", "expires_in": self.lifetime})


@pytest.fixture
def server(lo, ca):
    with Server(ca, lo) as s:
        yield s
        s.go.set()


@pytest.fixture(scope="module")
def origin(lo):
    with Origin(lo) as o:
        yield o


def policy(origin, server, ca, tmp_path, workers=1, routes=None, own=None, **more):
    secret = tmp_path / "secret"
    secret.write_text("s3:cret")
    both = {"token_uri": server.url("/token"), "client_id": "gw", "client_secret": {"$file": str(secret)}, "tls": {"ca": ca.cert}}
    corp = {"type": "jwt", "issuer": "https://corp", "algorithms": ["ES256"], "jwks": jose.jwks(KEY)}
    exchange = {"type": "token_exchange", "audience": "orders", **both}
    over = {"upstreams": {"origin": upstream(origin, upstream_auth={"type": "client_credentials", "scopes": ["a", "b"], **both, **(own or {})}),
                          "bare": upstream(origin)},
            "auth": {"corp": corp},
            "routes": {"exchange": {"paths": ["/exchange"], "upstream": "bare", "auth": ["corp"], "upstream_auth": exchange},
                       "none": {"paths": ["/none"], "upstream": "origin", "auth": ["public"], "upstream_auth": {"type": "none"}}, **(routes or {})}}
    return serving(origin, workers=workers, **over, **more)


def ask(gw, path="/", headers=(("Authorization", "Bearer the-client's"),)):
    with gw.client(P) as c:
        return c.request("GET", path, list(headers))


def shown(r, name="authorization"):
    assert r.status == 200, r
    return [h[1] for h in r.json()["headers"] if h[0].lower() == name]


def test_a_token_of_the_gateways_own_is_fetched_once_and_shown(lo, origin, server, ca, tmp_path):
    with Gateway(policy(origin, server, ca, tmp_path), lo) as gw:
        for _ in range(3):
            assert shown(ask(gw)) == ["Bearer tok-1"]
        assert shown(ask(gw, "/none")) == ["Bearer the-client's"]
        assert server.forms == [{"grant_type": "client_credentials", "scope": "a b"}]
        head = server.heads[0].decode()
        basic = next(line for line in head.split("\r\n") if line.startswith("Authorization: Basic ")).split()[-1]
        assert base64.b64decode(basic) == b"gw:s3%3Acret"
        assert gw.metric("sluice_errands_total", kind="client_credentials", provider="upstreams/origin", result="ok") == 1
        state = [s for s in gw.status()["auth_servers"] if s["kind"] == "client_credentials"]
        assert len(state) == 1 and state[0]["answered"] == 1 and state[0]["url"] == server.url("/token"), state
        assert gw.apply(policy(origin, server, ca, tmp_path, correlation_id={"echo": False}))[0] == 0
        assert shown(ask(gw)) == ["Bearer tok-1"]  # a reload asks for nothing
        assert gw.apply(policy(origin, server, ca, tmp_path, own={"header": "X-Token", "scopes": ["c"]}))[0] == 0
        r = ask(gw, headers=[("Authorization", "Bearer mine"), ("X-Token", "forged")])
        assert shown(r, "x-token") == ["tok-2"] and shown(r) == ["Bearer mine"]
        assert "tok-" not in gw.log() and "s3:cret" not in gw.log()
        code, out = gw.ctl("explain", f"GET http://127.0.0.1:{P}/")
        assert code == 0 and f"is shown a token of {server.url('/token')} in X-Token" in out, out


def test_the_clients_token_is_exchanged_for_one_of_its_own(lo, origin, server, ca, tmp_path):
    alice, bob = KEY.token(sub="alice", iss="https://corp"), KEY.token(sub="bob", iss="https://corp")
    server.keep = True
    with Gateway(policy(origin, server, ca, tmp_path), lo) as gw:
        for token, want in ((alice, "tok-1"), (alice, "tok-1"), (bob, "tok-2"), (alice, "tok-1")):
            assert shown(ask(gw, "/exchange", [("Authorization", f"Bearer {token}")])) == [f"Bearer {want}"]
        assert server.forms[0] == {"grant_type": URN + "grant-type:token-exchange", "subject_token": alice, "audience": "orders",
                                   "subject_token_type": URN + "token-type:access_token", "requested_token_type": URN + "token-type:access_token"}
        problem(ask(gw, "/exchange", ()), 401, "no_credentials")
        carol = KEY.token(sub="carol", iss="https://corp")
        server.answer = (400, (), {"error": "invalid_request"})
        problem(ask(gw, "/exchange", [("Authorization", f"Bearer {carol}")]), 403, "upstream_auth_refused")
        server.answer = (400, (), {"error": "invalid_client"})
        problem(ask(gw, "/exchange", [("Authorization", f"Bearer {carol}")]), 503, "upstream_auth")
        assert len(server.forms) == 4 and server.accepted == 1
        assert gw.metric("sluice_errand_server_connects_total", kind="token_exchange", provider="routes/exchange") == 1


def test_requests_wait_together_and_a_refresh_makes_nobody_wait(lo, origin, server, ca, tmp_path):
    server.lifetime = 5
    with Gateway(policy(origin, server, ca, tmp_path), lo) as gw:
        server.go.clear()
        clients = [gw.client(P) for _ in range(8)]
        for c in clients:
            c.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        server.wait_asked("/token", 1)
        server.go.set()
        assert [shown(c.read_response()) for c in clients] == [["Bearer tok-1"]] * 8 and server.count("/token") == 1
        for c in clients:
            c.close()
        server.go.clear()

        def refreshes():
            assert shown(ask(gw)) == ["Bearer tok-1"]  # the old one, while the server thinks
            return server.count("/token") == 2
        until(refreshes, "a refresh ahead of the end", timeout=10)
        assert shown(ask(gw)) == ["Bearer tok-1"]
        server.go.set()
        until(lambda: shown(ask(gw)) == ["Bearer tok-2"], "the new one")


def test_a_token_that_the_upstream_refuses_is_forgotten(lo, server, ca, tmp_path):
    with Origin(lo, answer=lambda request: response(401, request.get("Authorization"))) as refuses:
        with Gateway(policy(refuses, server, ca, tmp_path), lo) as gw:
            r = ask(gw)
            assert r.status == 401 and r.body == b"Bearer tok-1", r  # the client sees the upstream's answer: nothing is tried again
            until(lambda: ask(gw).body == b"Bearer tok-2", "another token")
            asked = server.count("/token")
            for _ in range(10):  # and not one for each request
                assert ask(gw).status == 401
            assert server.count("/token") <= asked + 1


def test_a_dead_or_senseless_server_is_a_503_of_its_own(lo, origin, server, ca, tmp_path):
    answers = [(500, (), b""), (200, (), b"{}"), (200, (), b"<html>"), (200, (), {"access_token": "", "token_type": "Bearer"}),
               (200, (), {"access_token": "a b", "token_type": "Bearer"}), (200, (), {"access_token": "a\r\nX: y", "token_type": "Bearer"}),
               (200, (), {"access_token": "t", "token_type": "mac"}), (200, (), {"access_token": "t", "token_type": "Bearer", "expires_in": "soon"}),
               (200, (), {"access_token": "t" * 20000, "token_type": "Bearer"}), (302, [("Location", "https://127.0.0.1:1/")], b"")]
    with Gateway(policy(origin, server, ca, tmp_path), lo) as gw:
        for n, server.answer in enumerate(answers, 1):
            p = problem(ask(gw), 503, "upstream_auth")
            assert p["type"].endswith(":upstream_auth"), p
            assert gw.metric("sluice_errands_total", kind="client_credentials", result="failed") == n, (n, server.answer)
        server.answer = None
        assert shown(ask(gw)) == [f"Bearer tok-{len(answers) + 1}"]
        assert gw.metric("sluice_errand_server_up", kind="client_credentials") == 1


def test_an_exchange_needs_a_token_on_every_request(lo, origin, server, ca, tmp_path):
    with Gateway(policy(origin, server, ca, tmp_path), lo) as gw:
        exchange = policy(origin, server, ca, tmp_path)["routes"]["exchange"]["upstream_auth"]
        for who in ({"auth": ["corp", "public"]}, {"auth": ["corp"], "anonymous": "guest"}):
            code, out = gw.apply(policy(origin, server, ca, tmp_path, consumers={"guest": {}},
                                        routes={"exchange": {"paths": ["/exchange"], "upstream": "bare", "upstream_auth": exchange, **who}}))
            assert code != 0 and "not all of them have a token" in out, out
