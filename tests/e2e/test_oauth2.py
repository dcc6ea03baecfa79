# SPDX-License-Identifier: Apache-2.0
"""Access tokens by client credentials (RFC 6749 section 4.4, RFC 9068): for clients that others wrote, and taken by the gateway that issued them."""
import base64
import hashlib
import json
import time
from urllib.parse import urlencode

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from harness import h2, origin as origins
from harness.gateway import Gateway
from harness.origin import Origin
from harness.policy import merge, problem, serving
from harness.wait import until
from jwcrypto import jwk, jwt
from oauthlib.oauth2 import BackendApplicationClient, InvalidClientError, InvalidScopeError
from requests_oauthlib import OAuth2Session

P, SECOND = 8080, 8081
ISSUER = "https://gateway.test"
FORM = [("Content-Type", "application/x-www-form-urlencoded")]
SECRETS = {"acme-batch": "s3cr3t-of-acme-batch", "acme+%web": "s3cr3t: with + % & = and space", "globex": "s3cr3t-of-globex"}
GRANT = {"grant_type": "client_credentials"}


def sha256(s):
    return hashlib.sha256(s.encode()).hexdigest()


def client(name, **more):
    return {"client_id": name, "client_secret": sha256(SECRETS[name]), **more}


@pytest.fixture(scope="module")
def origin(lo):
    with Origin(lo, answer=origins.echo) as o:
        yield o


@pytest.fixture(scope="module")
def policy(origin, tmp_path_factory):
    d = tmp_path_factory.mktemp("signer")
    key = ec.generate_private_key(ec.SECP256R1())
    (d / "key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    issue = {"signer": "own", "audiences": ["orders"], "scopes": ["orders.read", "orders.write"], "token_expiration": "10m"}
    token = {"auth": ["public"], "oauth2": issue}
    routes = {"all": None,
              "token": {"paths": ["=/oauth2/token"], **token},
              "mandatory": {"paths": ["=/mandatory"], "auth": ["public"], "oauth2": {**issue, "mandatory_scope": True}},
              "limited": {"paths": ["=/limited"], **token, "rate_limit": {"minute": 3, "by": "ip"}},
              "small": {"paths": ["=/small"], **token, "request": {"body": "100B"}},
              "keys": {"paths": ["=/jwks"], "auth": ["public"], "jwks": "own"},
              "orders": {"paths": ["/orders"], "auth": ["own"], "upstream": "origin", "require": {"scopes": ["orders.read"]},
                         "upstream_auth": {"type": "sign", "signer": "own", "claims": {"client": "$claim.client_id"}}}}
    return serving(origin, routes=routes, signers={"own": {"issuer": ISSUER, "keys": [{"$file": str(d / "key")}]}},
                   auth={"own": {"type": "jwt", "signer": "own", "algorithms": ["ES256"], "audiences": ["orders"]}}, tiers={"gold": {}},
                   consumers={"acme": {"tier": "gold", "oauth2": [client("acme-batch"), client("acme+%web")]},
                              "globex": {"oauth2": [client("globex", scopes=["orders.read"])]}},
                   listeners={"main": {"protocols": ["http/1.1", "h2"]}}, observe={"access_log": {"format": "json", "path": "-"}})


@pytest.fixture(scope="module")
def gw(lo, policy):
    with Gateway(policy, lo) as g:
        yield g


@pytest.fixture
def c(gw):
    with gw.client(P) as client_:
        yield client_


def basic(name, secret=None, encode=True):
    both = f"{name}:{SECRETS.get(name) if secret is None else secret}"
    if encode:  # RFC 6749 section 2.3.1
        both = ":".join(urlencode({"": x})[1:] for x in both.split(":", 1))
    return [("Authorization", "Basic " + base64.b64encode(both.encode()).decode())]


def ask(c, form, headers=(), path="/oauth2/token", kind=FORM, method="POST"):
    body = form if isinstance(form, bytes) else urlencode(form).encode()
    return c.request(method, path, [*kind, *headers], body)


def granted(r):
    assert r.status == 200 and r.get("Content-Type") == "application/json", r
    assert r.get("Cache-Control") == "no-store" and r.get("Pragma") == "no-cache"
    return r.json()


def refused(r, error, status=400):
    assert r.status == status and r.get("Content-Type") == "application/json", r
    assert r.get("Cache-Control") == "no-store" and r.get("Pragma") == "no-cache"
    assert ("WWW-Authenticate" in r) == (status == 401) and (status != 401 or r.get("WWW-Authenticate").startswith("Basic realm="))
    j = r.json()
    assert j["error"] == error and set(j) == {"error", "error_description"}, j
    return j["error_description"]


def verify(c, token):
    """By the key set that the gateway publishes, with python3-jwcrypto."""
    t = jwt.JWT(algs=["ES256"], check_claims={"iss": ISSUER, "aud": "orders", "exp": None, "iat": None, "jti": None})
    t.deserialize(token, jwk.JWKSet.from_json(c.request("GET", "/jwks").body.decode()))
    return json.loads(t.header), json.loads(t.claims)


@pytest.mark.parametrize("how", ["basic", "body"])
@pytest.mark.parametrize("name", SECRETS)
def test_a_client_gets_a_token(c, name, how):
    form = {**GRANT, "scope": "orders.read"}
    shown = basic(name) if how == "basic" else []
    if how == "body":
        form |= {"client_id": name, "client_secret": SECRETS[name]}
    got = granted(ask(c, form, shown))
    assert set(got) == {"access_token", "token_type", "expires_in", "scope"}
    assert (got["token_type"], got["expires_in"], got["scope"]) == ("Bearer", 600, "orders.read")
    header, claims = verify(c, got["access_token"])
    assert header["typ"] == "at+jwt" and header["kid"]
    assert claims["sub"] == name.split("-")[0].split("+")[0] and claims["client_id"] == name and claims["scope"] == "orders.read"
    assert claims["exp"] == claims["iat"] + 600 and abs(claims["iat"] - time.time()) < 60


def test_the_gateway_takes_what_it_has_issued(gw, c):
    token = granted(ask(c, {**GRANT, "scope": "orders.write orders.read"}, basic("acme-batch")))["access_token"]
    r = c.request("GET", "/orders", [("Authorization", f"Bearer {token}")])
    assert r.status == 200, r
    shown = dict((n.lower(), v) for n, v in r.json()["headers"])["authorization"].removeprefix("Bearer ")
    inner = jwt.JWT(algs=["ES256"])
    inner.deserialize(shown, jwk.JWKSet.from_json(c.request("GET", "/jwks").body.decode()))
    assert json.loads(inner.claims)["sub"] == "acme" and json.loads(inner.claims)["client"] == "acme-batch"
    line = until(lambda: [x for x in gw.access_log() if x.get("route") == "orders"], "a line in the log")[0]
    assert line["consumer"] == "acme" and line["tier"] == "gold"
    problem(c.request("GET", "/orders", [("Authorization", f"Bearer {shown}")]), 401, "invalid_token")  # it is no access token
    none = granted(ask(c, GRANT, basic("acme-batch")))
    assert "scope" not in none and "scope" not in verify(c, none["access_token"])[1]
    problem(c.request("GET", "/orders", [("Authorization", f"Bearer {none['access_token']}")]), 403, "scope")


def test_no_two_tokens_are_the_same(c):
    tokens = [granted(ask(c, GRANT, basic("globex")))["access_token"] for _ in range(3)]
    assert len({verify(c, t)[1]["jti"] for t in tokens}) == 3


@pytest.mark.parametrize("form", [
    {}, {"scope": "orders.read"}, {"grant_type": ""}, b"grant_type=client_credentials&grant_type=client_credentials",
    b"grant_type=client_credentials&x=1&x=1", b"grant_type=client_credentials&scope=%4", b"grant_type=client_credentials&scope=%zz",
    b"grant_type=client_credentials&" + b"&".join(b"p%d=1" % i for i in range(40))], ids=range(8))
def test_invalid_request(c, form):
    refused(ask(c, form, basic("acme-batch")), "invalid_request")


def test_where_and_how_it_is_asked(c):
    shown = basic("acme-batch")
    refused(ask(c, json.dumps(GRANT).encode(), shown, kind=[("Content-Type", "application/json")]), "invalid_request")
    refused(ask(c, GRANT, shown, kind=[]), "invalid_request")
    refused(ask(c, GRANT, shown, path="/oauth2/token?grant_type=client_credentials"), "invalid_request")
    refused(ask(c, {**GRANT, "client_id": "acme-batch", "client_secret": SECRETS["acme-batch"]}, shown), "invalid_request")
    refused(ask(c, {**GRANT, "client_id": "globex"}, shown), "invalid_request")
    refused(ask(c, GRANT, [*shown, *shown]), "invalid_request")
    granted(ask(c, {**GRANT, "client_id": "acme-batch", "unknown": "1", "scope": ""}, shown, kind=[("Content-Type", "application/x-www-form-urlencoded; charset=UTF-8")]))
    got = c.request("GET", "/oauth2/token")
    assert got.status == 405 and got.get("Allow") == "POST"


@pytest.mark.parametrize("form,headers", [
    (GRANT, []), ({**GRANT, "client_id": "acme-batch"}, []), ({**GRANT, "client_secret": "x"}, []),
    ({**GRANT, "client_id": "acme-batch", "client_secret": "wrong"}, []), ({**GRANT, "client_id": "nobody", "client_secret": "wrong"}, []),
    (GRANT, basic("acme-batch", "wrong")), (GRANT, basic("acme-batch", SECRETS["globex"])), (GRANT, basic("nobody", "x")), (GRANT, basic("acme-batch", "")),
    (GRANT, basic("acme-batch", sha256(SECRETS["acme-batch"]))), (GRANT, [("Authorization", "Bearer abc")]), (GRANT, [("Authorization", "Basic !!!")])],
    ids=range(12))
def test_invalid_client(gw, c, form, headers):
    before = gw.metric("sluice_oauth2_refused_total", error="invalid_client")
    refused(ask(c, form, headers), "invalid_client", 401)
    assert gw.metric("sluice_oauth2_refused_total", error="invalid_client") == before + 1


def test_the_grant_and_the_scopes(gw, c):
    issued = gw.metric("sluice_oauth2_tokens_issued_total")
    for grant in ("password", "authorization_code", "refresh_token", "CLIENT_CREDENTIALS"):
        refused(ask(c, {"grant_type": grant}, basic("acme-batch")), "unsupported_grant_type")
    for scope in ("admin", "orders.read admin", "ORDERS.READ", "orders.read,orders.write", "orders.read\torders.write"):
        refused(ask(c, {**GRANT, "scope": scope}, basic("acme-batch")), "invalid_scope")
    refused(ask(c, {**GRANT, "scope": "orders.write"}, basic("globex")), "invalid_scope")  # not this client's
    refused(ask(c, GRANT, basic("acme-batch"), path="/mandatory"), "invalid_scope")
    assert granted(ask(c, {**GRANT, "scope": "orders.read  orders.read"}, basic("acme-batch"), path="/mandatory"))["scope"] == "orders.read"
    assert gw.metric("sluice_oauth2_tokens_issued_total") == issued + 1
    line = until(lambda: [x for x in gw.access_log() if x.get("route") == "mandatory"], "a line in the log")[0]
    assert line["consumer"] == "acme" and line["status"] == 400 and line["reason"] == "invalid_scope" and line["detail"]
    assert gw.metric("sluice_route_refusals_total", route="token", reason="unsupported_grant_type") >= 4


def test_guessing_is_limited_by_the_routes_own_rate_limit(c):
    for _ in range(3):
        refused(ask(c, GRANT, basic("acme-batch", "wrong"), path="/limited"), "invalid_client", 401)
    problem(ask(c, GRANT, basic("acme-batch"), path="/limited"), 429, "rate_limited")


def test_the_body_is_bounded(gw):
    form = urlencode({**GRANT, "client_id": "acme-batch", "client_secret": SECRETS["acme-batch"]}).encode()
    for path, pad in (("/small", 100), ("/oauth2/token", 17000)):
        for chunked in (False, True):
            with gw.client(P) as c:
                body = form + b"&pad=" + b"x" * pad
                head = f"POST {path} HTTP/1.1\r\nHost: gw.test\r\nContent-Type: application/x-www-form-urlencoded\r\n"
                if chunked:
                    c.send(head.encode() + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n" % (len(body), body))
                else:
                    c.send(head.encode() + b"Content-Length: %d\r\n\r\n" % len(body))
                problem(c.read_response(), 413, "body_too_large")


def test_a_body_in_pieces_on_a_connection_that_goes_on(c):
    form = urlencode({**GRANT, "client_id": "globex", "client_secret": SECRETS["globex"]}).encode()
    head = b"POST /oauth2/token HTTP/1.1\r\nHost: gw.test\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    for _ in range(3):
        c.send(head + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(form))
        assert c.read_response(interim=True).status == 100
        for i in range(len(form)):
            c.send(form[i:i + 1])
        granted(c.read_response())
        c.send(head + b"Transfer-Encoding: chunked\r\n\r\n" + b"".join(b"1\r\n%c\r\n" % x for x in form) + b"0\r\n\r\n" +
               b"GET /jwks HTTP/1.1\r\nHost: gw.test\r\n\r\n")
        granted(c.read_response())
        assert c.read_response().status == 200


def test_http_2(gw):
    """A body in pieces, its end alone, none at all, and one that is too long."""
    form = urlencode({**GRANT, "client_id": "globex", "client_secret": SECRETS["globex"]}).encode()
    with h2.connect(gw, P) as c:
        for end_alone in (False, True):
            st = c.request("POST", "/oauth2/token", [(n.lower(), v) for n, v in FORM], end=False)
            for i in range(0, len(form), 20):
                c.send(c.data(st, form[i:i + 20], end=not end_alone and i + 20 >= len(form)))
                c.sync()
            if end_alone:
                c.send(c.data(st, b"", end=True))
            a = c.wait(st)
            assert a.status == 200 and json.loads(a.body)["token_type"] == "Bearer", a.body
        a = c.ask("POST", "/oauth2/token", [(n.lower(), v) for n, v in FORM], b"")
        assert a.status == 401 and json.loads(a.body)["error"] == "invalid_client"
        a = c.ask("POST", "/oauth2/token", [(n.lower(), v) for n, v in FORM], form + b"&pad=" + b"x" * 17000)
        assert a.status == 413
        a = c.ask("POST", "/oauth2/token", [(n.lower(), v) for n, v in FORM], form)
        assert a.status == 200


def test_a_body_that_does_not_come(lo, policy):
    p = merge(policy, {"listeners": {"main": {"bind": [f"127.0.0.1:{SECOND}"], "timeouts": {"body": "200ms"}}}})
    with Gateway(p, lo) as g:
        with g.client(SECOND) as c:
            c.send(b"POST /oauth2/token HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 9\r\n\r\nx")
            problem(c.read_response(), 408, "request_timeout")
        with g.client(SECOND) as c:
            c.send(b"POST /oauth2/token HTTP/1.1\r\nHost: gw.test\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
            problem(c.read_response(), 400, "bad_request")
        with g.client(SECOND) as c:
            c.send(b"POST /oauth2/token HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 9\r\n\r\nx")
            c.sock.shutdown(1)
            assert c.at_eof()


def curl(lo, *args):
    return lo.run(["curl", "-sS", "--data", "grant_type=client_credentials", *args, f"http://127.0.0.1:{P}/oauth2/token"], check=True).stdout


@pytest.mark.parametrize("protocol", ["--http1.1", "--http2-prior-knowledge"])
def test_curl(lo, gw, protocol):
    got = json.loads(curl(lo, protocol, "-u", f"globex:{SECRETS['globex']}", "-d", "scope=orders.read"))
    assert got["scope"] == "orders.read"
    assert json.loads(curl(lo, protocol, "-u", "globex:wrong"))["error"] == "invalid_client"


def session(lo, gw, monkeypatch):
    """python3-requests-oauthlib in the gateway's own namespace, by the client of the harness."""
    import requests

    class Adapter(requests.adapters.BaseAdapter):
        def send(self, request, **kwargs):
            body = request.body.encode() if isinstance(request.body, str) else request.body
            with gw.client(P) as c:
                got = c.request(request.method, request.path_url, [x for x in request.headers.items() if x[0].lower() != "content-length"], body)
            r = requests.Response()
            r.status_code, r._content, r.request, r.url = got.status, got.body, request, request.url
            r.headers = requests.structures.CaseInsensitiveDict(got.headers)
            return r

        def close(self):
            pass
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")
    s = OAuth2Session(client=BackendApplicationClient(client_id="acme-batch", scope=["orders.read"]), scope=["orders.read"])
    s.mount("http://", Adapter())
    return s


@pytest.mark.parametrize("in_body", [False, True])
def test_a_client_library(lo, gw, monkeypatch, in_body):
    url = "http://gw.test/oauth2/token"
    s = session(lo, gw, monkeypatch)
    how = {"include_client_id": True} if in_body else {"auth": ("acme-batch", SECRETS["acme-batch"])}
    token = s.fetch_token(url, client_secret=SECRETS["acme-batch"], **how)
    assert token.scope == "orders.read" and s.get("http://gw.test/orders").status_code == 200
    with pytest.raises(InvalidClientError):
        s.fetch_token(url, auth=("acme-batch", "wrong"))
    s.scope = ["admin"]
    with pytest.raises(InvalidScopeError):
        s.fetch_token(url, auth=("acme-batch", SECRETS["acme-batch"]), scope=["admin"])


def test_explain(gw):
    code, out = gw.ctl("explain", f"POST http://gw.test:{P}/oauth2/token")
    assert code == 0 and "a token of signer own, where its client's secret is right, by route token" in out, out


def test_no_secret_is_shown(gw):
    seen = gw.log() + gw.metrics_text() + json.dumps(gw.status())
    assert not [s for s in SECRETS.values() if s in seen or sha256(s) in seen]
