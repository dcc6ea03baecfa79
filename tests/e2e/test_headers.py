# SPDX-License-Identifier: Apache-2.0
"""What the upstream and the client see of each other's header fields."""
import re

import pytest
from harness import jose
from harness.gateway import Gateway
from harness.origin import Origin, response
from harness.policy import serving

P = 8080
UUID = re.compile(r"^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$")
KEY = jose.Key("ES256")


def names(request):
    return [n.lower() for n, _ in request.headers]


@pytest.fixture(scope="module")
def origin(lo):
    def answer(r):
        extra = [("Server", "secret/1.0"), ("X-Old", "v"), ("X-Two", "1"), ("X-Two", "2"), ("Keep-Alive", "timeout=5"), ("Connection", "X-Hop"), ("X-Hop", "h")]
        return response(body=b"ok", headers=extra)
    with Origin(lo, answer=answer) as o:
        yield o


@pytest.fixture(scope="module")
def gw(lo, origin):
    policy = serving(origin, trusted_proxies=["127.0.0.9/32"], auth={
        "corp": {"type": "jwt", "algorithms": ["ES256"], "jwks": jose.jwks(KEY), "consumer_claim": "sub",
                 "claims_to_headers": {"sub": "X-User-Id", "roles": "X-User-Roles", "org.name": "X-Org"}}},
        routes={
            "all": {"request": {"headers": {
                "set": {"X-Set": "fixed", "X-Start": "$time_ms", "X-Client": "$client_ip", "X-Route": "$route", "X-Cid": "$correlation_id"},
                "add": {"X-Add": "added"}, "remove": ["X-Debug"], "rename": {"X-From": "X-To"}}},
                "response": {"headers": {"set": {"X-Resp": "r"}, "add": {"X-Two": "3"}, "remove": ["Server"], "rename": {"X-Old": "X-New"}}}},
            "who": {"paths": ["/who"], "upstream": "origin", "auth": ["corp"]},
        })
    with Gateway(policy, lo) as g:
        yield g


def ask(gw, origin, headers=(), target="/", source=None, raw=None):
    n = len(origin.requests)
    from harness.client import Client
    with Client(gw.host.connect(("127.0.0.1", P), source=source)) as c:
        if raw is not None:
            c.send(raw)
            r = c.read_response()
        else:
            r = c.request("GET", target, headers)
    assert r.status == 200, r
    return r, origin.wait_requests(n + 1)


def test_request_set_add_remove_rename(gw, origin):
    _, q = ask(gw, origin, [("X-Set", "client"), ("x-set", "again"), ("X-Add", "mine"), ("X-Debug", "1"), ("x-debug", "2"), ("X-From", "moved")])
    assert q.all("X-Set") == ["fixed"] and q.all("X-Add") == ["mine", "added"]
    assert not q.all("X-Debug") and not q.all("X-From") and q.all("X-To") == ["moved"]


def test_request_variables(gw, origin):
    r, q = ask(gw, origin)
    assert q.get("X-Client") == "127.0.0.1" and q.get("X-Route") == "all"
    assert re.fullmatch(r"\d{13}", q.get("X-Start"))
    assert q.get("X-Cid") == q.get("X-Correlation-Id") == r.get("X-Correlation-Id")


def test_response_set_add_remove_rename(gw, origin):
    r, _ = ask(gw, origin)
    assert r.all("X-Resp") == ["r"] and r.all("X-Two") == ["1", "2", "3"]
    assert "Server" not in r and "X-Old" not in r and r.all("X-New") == ["v"]


def test_correlation_id_is_made_or_kept(gw, origin):
    r1, _ = ask(gw, origin)
    r2, _ = ask(gw, origin)
    assert UUID.match(r1.get("X-Correlation-Id")) and r1.get("X-Correlation-Id") != r2.get("X-Correlation-Id")
    r3, q3 = ask(gw, origin, [("X-Correlation-Id", "from-the-client-7")])
    assert r3.all("X-Correlation-Id") == q3.all("X-Correlation-Id") == ["from-the-client-7"]


@pytest.mark.parametrize("bad", ["", "a b\tc\"<script>", "x" * 5000], ids=["empty", "markup", "long"])
def test_a_correlation_id_that_is_no_id_is_replaced(gw, origin, bad):
    r, q = ask(gw, origin, [("X-Correlation-Id", bad)])
    assert UUID.match(r.get("X-Correlation-Id")) and q.all("X-Correlation-Id") == r.all("X-Correlation-Id")


def test_correlation_id_untrusted_and_not_echoed(lo, origin):
    policy = serving(origin, port=8081, correlation_id={"header": "X-Request-Id", "generator": "uuid", "trust": False, "echo": False})
    with Gateway(policy, lo) as g, g.client(8081) as c:
        n = len(origin.requests)
        r = c.request("GET", "/", [("X-Request-Id", "mine")])
        q = origin.wait_requests(n + 1)
        assert len(q.all("X-Request-Id")) == 1 and UUID.match(q.get("X-Request-Id")) and "X-Request-Id" not in r


def test_hop_by_hop_fields_end_here_both_ways(gw, origin):
    r, q = ask(gw, origin, [("Connection", "keep-alive, X-Mine"), ("X-Mine", "1"), ("Keep-Alive", "timeout=9"), ("Proxy-Connection", "keep-alive"),
                            ("TE", "gzip"), ("Upgrade", "h2c"), ("Proxy-Authorization", "Basic eDp5"), ("X-Stays", "1")])
    assert not {"x-mine", "keep-alive", "proxy-connection", "upgrade", "proxy-authorization"} & set(names(q)), q.headers
    assert not q.all("TE") and q.get("X-Stays") == "1"
    assert "X-Hop" not in r and "Keep-Alive" not in r


def test_trailers_cannot_say_what_the_head_could_not(gw, origin):
    n = len(origin.requests)
    with gw.client(P) as c:
        c.send(b"POST / HTTP/1.1\r\nHost: gw.test\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nX-Sum: 7\r\nX_User_Id: root\r\n"
               b"X-Debug: 1\r\nX-From: 1\r\nx_set: mine\r\nX-Correlation-Id: mine\r\n\r\n")
        assert c.read_response().status == 200
    conn = origin.wait_requests(n + 1).conn
    assert bytes(conn.received).endswith(b"\r\n1\r\nx\r\n0\r\nX-Sum: 7\r\n\r\n"), bytes(conn.received)


def test_connection_cannot_take_away_what_others_rely_on(gw, origin):
    token = KEY.token(sub="alice")
    _, q = ask(gw, origin, [("Authorization", f"Bearer {token}"), ("Cookie", "a=b"),
                            ("Connection", "close, X-User-Id, X-User-Roles, Host, Authorization, Cookie, X-Correlation-Id, X-Forwarded-For")], target="/who")
    assert q.get("X-User-Id") == "alice" and q.get("Host") and q.get("Cookie") == "a=b"
    assert q.get("X-Correlation-Id") and q.get("X-Forwarded-For")


@pytest.mark.parametrize("name", ["X-User-Id", "x-user-id", "X_User_Id", "X-User_Id", "x_user_id", "X-USER-ID"])
def test_identity_headers_are_ours_in_every_spelling(gw, origin, name):
    token = KEY.token(sub="alice")
    _, q = ask(gw, origin, [(name, "root"), (name, "root2"), ("Authorization", f"Bearer {token}")], target="/who")
    spellings = [v for n, v in q.headers if n.lower().replace("_", "-") == "x-user-id"]
    assert spellings == ["alice"]


@pytest.mark.parametrize("name", ["X-User-Id", "X_User_Roles", "x-org"])
def test_identity_headers_are_stripped_on_public_routes_too(gw, origin, name):
    _, q = ask(gw, origin, [(name, "root")])
    assert not [n for n, _ in q.headers if n.lower().replace("_", "-") == name.lower().replace("_", "-")]


def test_a_claim_that_is_absent_leaves_no_header_behind(gw, origin):
    _, q = ask(gw, origin, [("X-User-Roles", "admin"), ("Authorization", f"Bearer {KEY.token(sub='bob')}")], target="/who")
    assert not q.all("X-User-Roles")


def test_claims_to_headers(gw, origin):
    token = KEY.token(sub="carol", roles=["a", "b"], org={"name": "acme"})
    _, q = ask(gw, origin, [("Authorization", f"Bearer {token}")], target="/who")
    assert (q.get("X-User-Id"), q.get("X-User-Roles"), q.get("X-Org")) == ("carol", "a,b", "acme")
    assert not q.all("Authorization")  # forward: false


@pytest.mark.parametrize("value", ["a\r\nX-Injected: 1", "a\nb", "a\x00b", "é"])
def test_a_claim_cannot_split_a_header(gw, origin, value):
    from harness.client import Client
    n = len(origin.requests)
    with Client(gw.host.connect(("127.0.0.1", P))) as c:
        r = c.request("GET", "/who", [("Authorization", f"Bearer {KEY.token(sub=value)}")])
    if r.status == 200:
        q = origin.wait_requests(n + 1)
        assert not q.all("X-Injected") and not any(ch in v for v in q.all("X-User-Id") for ch in "\r\n\x00")
    else:
        assert r.status in (400, 401, 403)


def test_forwarded_headers_are_ours_from_a_stranger(gw, origin):
    _, q = ask(gw, origin, [("X-Forwarded-For", "6.6.6.6"), ("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "evil.test"), ("Forwarded", "for=6.6.6.6")])
    assert q.all("X-Forwarded-For") == ["127.0.0.1"] and q.all("X-Forwarded-Proto") == ["http"]
    assert q.get("X-Client") == "127.0.0.1" and "6.6.6.6" not in str(q.headers) and "evil.test" not in str(q.headers)


def test_forwarded_for_is_believed_from_a_trusted_proxy_from_the_right(gw, origin):
    _, q = ask(gw, origin, [("X-Forwarded-For", "6.6.6.6, 198.51.100.7, 127.0.0.9")], source=("127.0.0.9", 0))
    assert q.get("X-Client") == "198.51.100.7"  # the first from the right that is not a trusted proxy
    assert q.get("X-Forwarded-For").endswith("127.0.0.9")


def test_garbage_in_forwarded_for_of_a_trusted_proxy_is_not_an_address(gw, origin):
    _, q = ask(gw, origin, [("X-Forwarded-For", "nonsense, 300.1.1.1")], source=("127.0.0.9", 0))
    assert q.get("X-Client") == "127.0.0.9"


def test_host_is_the_authority_of_an_absolute_target(gw, origin):
    _, q = ask(gw, origin, raw=b"GET http://gw.test/p HTTP/1.1\r\nHost: gw.test\r\n\r\n")
    assert q.target == "/p" and q.all("Host") == ["gw.test"]
