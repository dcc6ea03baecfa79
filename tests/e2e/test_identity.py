# SPDX-License-Identifier: Apache-2.0
"""Tokens by every algorithm, the ways that they are wrong, keys, and what an identity may do."""
import base64
import hashlib
import json
import time

import pytest
from harness import jose
from harness.gateway import Gateway
from harness.origin import Origin
from harness.policy import problem, serving

P = 8080
PUBLIC = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
SECRET = ["HS256", "HS384", "HS512"]
KEYS = {a: jose.Key(a) for a in jose.ALGORITHMS}
SECOND = jose.Key("ES256", kid="second")
API_KEYS = {"acme": "acme-key-000000000000", "globex": "globex-key-111111111111"}


def sha256(s):
    return hashlib.sha256(s.encode()).hexdigest()


@pytest.fixture(scope="module")
def origin(lo):
    with Origin(lo) as o:
        yield o


@pytest.fixture(scope="module")
def gw(lo, origin, tmp_path_factory):
    d = tmp_path_factory.mktemp("keys")
    (d / "jwks.json").write_text(json.dumps(jose.jwks(*(KEYS[a] for a in PUBLIC))))
    common = {"type": "jwt", "issuer": "https://auth.test", "audiences": ["orders", "billing"], "clock_skew": "2s", "roles_claim": "roles",
              "scopes_claim": "scope", "claims_to_headers": {"sub": "X-User-Id"}}
    auth = {"corp": {**common, "algorithms": PUBLIC, "jwks_file": str(d / "jwks.json"),
                     "from": {"header": "Authorization", "cookie": "session", "query": "access_token"}},
            "plain": {"type": "jwt", "algorithms": ["ES256"], "jwks": jose.jwks(KEYS["ES256"]), "consumer_claim": "client_id", "forward": True},
            "access": {**common, "algorithms": ["ES256"], "jwks": jose.jwks(KEYS["ES256"]), "typ": "at+jwt"},
            "second": {**common, "issuer": "https://second.test", "algorithms": ["ES256"], "jwks": jose.jwks(SECOND), "claims_to_headers": {"sub": "X-Second"}},
            "keys": {"type": "key", "names": ["apikey", "X-Api-Key"], "in": ["header", "query"], "hide": True}}
    routes = {"all": None, "corp": {"paths": ["/corp"], "upstream": "origin", "auth": ["corp"]},
              "plain": {"paths": ["/plain"], "upstream": "origin", "auth": ["plain"]},
              "key": {"paths": ["/key"], "upstream": "origin", "auth": ["keys"]},
              "either": {"paths": ["/either"], "upstream": "origin", "auth": ["corp", "keys"]},
              "access": {"paths": ["/access"], "upstream": "origin", "auth": ["access"]},
              "issuers": {"paths": ["/issuers"], "upstream": "origin", "auth": ["corp", "second", "keys"]},
              "open": {"paths": ["/open"], "upstream": "origin", "auth": ["public"]},
              "mixed": {"paths": ["/mixed"], "upstream": "origin", "auth": ["keys", "public"]},
              "guests": {"paths": ["/guests"], "upstream": "origin", "auth": ["corp", "keys"], "anonymous": "guest", "require": {"methods": {"POST": {"groups": ["eu"]}}},
                         "request": {"headers": {"set": {"X-Consumer": "$consumer", "X-Tier": "$tier"}}}},
              "role": {"paths": ["/role"], "upstream": "origin", "auth": ["corp"], "require": {"roles": ["orders.read", "admin"]}},
              "scope": {"paths": ["/scope"], "upstream": "origin", "auth": ["corp"], "require": {"scopes": ["read"]}},
              "method": {"paths": ["/method"], "upstream": "origin", "auth": ["corp", "public"],
                         "require": {"methods": {"POST": {"scopes": ["write"]}, "DELETE": {"roles": ["admin"], "scopes": ["write"]}}}},
              "get": {"paths": ["/get"], "upstream": "origin", "auth": ["corp"], "require": {"scopes": ["any"], "methods": {"GET": {"roles": ["reader"]}}}},
              "group": {"paths": ["/group"], "upstream": "origin", "auth": ["keys"], "require": {"groups": ["eu"]}}}
    for a in SECRET:
        (d / a).write_bytes(KEYS[a].key)
        auth[a.lower()] = {**common, "algorithms": [a], "secret": {"$file": str(d / a)}}
        routes[a.lower()] = {"paths": [f"/{a.lower()}"], "upstream": "origin", "auth": [a.lower()]}
    consumers = {n: {"keys": [sha256(k)], "groups": ["eu"] if n == "acme" else ["us"]} for n, k in API_KEYS.items()}
    consumers["guest"] = {"tier": "guests"}
    tiers = {"guests": {"rate_limit": {"day": 4, "by": "consumer"}}}
    with Gateway(serving(origin, auth=auth, routes=routes, consumers=consumers, tiers=tiers), lo) as g:
        yield g


@pytest.fixture
def c(gw):
    with gw.client(P) as client:
        yield client


def bearer(token):
    return [("Authorization", f"Bearer {token}")]


def good(alg, **more):
    return KEYS[alg].token({"iss": "https://auth.test", "aud": "orders", "sub": "alice", **more})


def path_of(alg):
    return f"/{alg.lower()}" if alg in SECRET else "/corp"


@pytest.mark.parametrize("alg", jose.ALGORITHMS)
def test_a_good_token_of_each_algorithm(c, alg):
    r = c.request("GET", path_of(alg), bearer(good(alg)))
    assert r.status == 200, r
    assert dict((n.lower(), v) for n, v in r.json()["headers"])["x-user-id"] == "alice"


@pytest.mark.parametrize("alg", jose.ALGORITHMS)
def test_each_algorithm_from_the_cache_and_not(c, alg):
    for token in (good(alg, n=1), good(alg, n=2), good(alg, n=1)):
        for _ in range(3):
            assert c.request("GET", path_of(alg), bearer(token)).status == 200


def flip(token, part, at):
    """One bit of one decoded part."""
    parts = token.split(".")
    raw = bytearray(base64.urlsafe_b64decode(parts[part] + "=="))
    raw[at] ^= 1
    parts[part] = jose.b64u(bytes(raw))
    return ".".join(parts)


@pytest.mark.parametrize("alg", jose.ALGORITHMS)
def test_a_changed_signature_or_payload_is_refused_by_each(c, alg):
    token = good(alg)
    assert c.request("GET", path_of(alg), bearer(token)).status == 200  # cached now
    for bad in (flip(token, 2, 0), flip(token, 2, -1), flip(token, 1, 12), token[:-8], token.rsplit(".", 1)[0] + "."):
        r = c.request("GET", path_of(alg), bearer(bad))
        problem(r, 401, "invalid_token")
        assert "invalid_token" in r.get("WWW-Authenticate")


def other_key(alg="ES256"):
    return jose.Key(alg, kid=KEYS[alg].kid, fresh=True)


E = KEYS["ES256"]
BASE = {"iss": "https://auth.test", "aud": "orders", "sub": "alice"}
NOW = int(time.time())
REFUSED = {
    "expired": lambda: E.token(BASE, exp=int(time.time()) - 60),
    "no exp": lambda: E.token(BASE, exp=None),
    "exp as string": lambda: E.token(BASE, exp=str(NOW + 600)),
    "exp negative": lambda: E.token(BASE, exp=-1),
    "not yet": lambda: E.token(BASE, nbf=NOW + 3600),
    "nbf as string": lambda: E.token(BASE, nbf="0"),
    "wrong issuer": lambda: E.token(BASE, iss="https://evil.test"),
    "no issuer": lambda: E.token(BASE, iss=None),
    "wrong audience": lambda: E.token(BASE, aud="other"),
    "audience list without ours": lambda: E.token(BASE, aud=["x", "y"]),
    "no audience": lambda: E.token(BASE, aud=None),
    "another key, same kid": lambda: other_key().token(BASE),
    "unknown kid": lambda: E.token(BASE, header={"kid": "nobody"}),
    "kid is a path": lambda: E.token(BASE, header={"kid": "../../etc/passwd"}),
    "alg none": lambda: E.token(BASE, header={"alg": "none"}, signature=b""),
    "alg None": lambda: E.token(BASE, header={"alg": "NoNe"}, signature=b""),
    "alg not of the key": lambda: E.token(BASE, header={"alg": "ES384"}),
    "algorithm confusion": lambda: confusion(),
    "crit": lambda: E.token(BASE, header={"crit": ["exp"]}),
    "b64 false": lambda: E.token(BASE, header={"b64": False, "crit": ["b64"]}),
    "own key in the header": lambda: embedded(),
    "zero signature": lambda: E.token(BASE, signature=bytes(64)),
    "short signature": lambda: E.token(BASE, signature=b"\x01" * 63),
    "padding": lambda: E.token(BASE) + "=",
    "standard base64": lambda: E.token({**BASE, "x": "\u00ff\u00fe>>>???"}).replace("-", "+").replace("_", "/") + "+",
    "two parts": lambda: ".".join(E.token(BASE).split(".")[:2]),
    "four parts": lambda: E.token(BASE) + ".x",
    "empty": lambda: ".",
    "not a token": lambda: "hello",
}


def confusion():
    """RS key's public part as an HMAC secret."""
    k = jose.Key("HS256", kid=KEYS["RS256"].kid)
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
    k.key = KEYS["RS256"].key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return k.token(BASE)


def embedded():
    k = other_key()
    return k.token(BASE, header={"jwk": k.jwk(), "kid": None})


@pytest.mark.parametrize("why", REFUSED)
def test_refused_tokens(c, why):
    r = c.request("GET", "/corp", bearer(REFUSED[why]()))
    problem(r, 401, "invalid_token")


@pytest.mark.parametrize("aud", ["billing", ["x", "orders"]])
def test_audience_as_string_or_list(c, aud):
    assert c.request("GET", "/corp", bearer(E.token(BASE, aud=aud))).status == 200


@pytest.mark.parametrize("typ,status", [("at+jwt", 200), ("AT+JWT", 200), ("application/at+jwt", 200), ("JWT", 401), ("at+jw", 401), (None, 401), ("", 401)])
def test_the_type_of_a_token(c, typ, status):
    r = c.request("GET", "/access", bearer(E.token(BASE, header={"typ": typ})))
    assert r.status == status
    if status == 401:
        problem(r, 401, "typ is not the one")


def test_of_several_providers_iss_chooses(gw, c):
    """Each is judged by its own keys, at the cost of one signature; a token of neither costs none."""
    checked = lambda: gw.metric("sluice_jwt_verified_total")
    before = checked()
    for key, iss, header in ((E, "https://auth.test", "x-user-id"), (SECOND, "https://second.test", "x-second")):
        r = c.request("GET", "/issuers", bearer(key.token(BASE, iss=iss, sub="carol", n=iss)))
        assert r.status == 200 and dict((n.lower(), v) for n, v in r.json()["headers"]).get(header) == "carol"
    assert checked() == before + 2
    problem(c.request("GET", "/issuers", bearer(E.token(BASE, iss="https://third.test"))), 401, "issuer is not")
    assert checked() == before + 2
    problem(c.request("GET", "/issuers", bearer(SECOND.token(BASE, iss="https://auth.test"))), 401, "no key of this provider")
    problem(c.request("GET", "/issuers", bearer(E.token(BASE, iss="https://second.test"))), 401, "no key of this provider")


def test_each_refusal_is_counted_by_its_reason(gw, c):
    counted = lambda why: gw.metric("sluice_jwt_refused_reason_total", reason=why)
    for why, name in (("expired", "expired"), ("algorithm confusion", "algorithm"), ("alg none", "malformed"), ("crit", "critical"), ("zero signature", "signature"), ("wrong issuer", "foreign"),
                      ("two parts", "malformed"), ("unknown kid", "key"), ("no exp", "no_exp"), ("wrong audience", "audience")):
        before = counted(name)
        r = c.request("GET", "/corp", bearer(REFUSED[why]()))
        problem(r, 401, "invalid_token")
        assert 'error="invalid_token"' in r.get("WWW-Authenticate")
        assert counted(name) == before + 1, why


def test_a_token_of_many_dots_or_bytes_costs_no_more_than_a_short_one(gw, c):
    """Nothing of it is decoded, hashed or verified: no signature is checked, and what a request takes from memory does not grow."""
    before = gw.metric("sluice_jwt_verified_total"), gw.metric("sluice_jwt_refused_reason_total", reason="too_long")
    for token in ("." * 30000, "a" * 30000, E.token({**BASE, "pad": "x" * 15000})):
        problem(c.request("GET", "/corp", bearer(token)), 401, "longer than 16 KiB")
    assert gw.metric("sluice_jwt_refused_reason_total", reason="too_long") == before[1] + 3
    assert gw.metric("sluice_jwt_verified_total") == before[0]


def test_clock_skew(c):
    assert c.request("GET", "/corp", bearer(E.token(BASE, nbf=int(time.time()) + 1))).status == 200


def test_a_cached_token_ends_with_its_exp(gw, c):
    """skew 2 s: exp 3 s ago is refused though it was served from the cache before."""
    from harness.wait import until
    token = E.token(BASE, exp=int(time.time()) - 1)
    assert c.request("GET", "/corp", bearer(token)).status == 200
    until(lambda: c.request("GET", "/corp", bearer(token)).status == 401, "the token to expire", timeout=8, every=0.1)


def test_no_credentials_is_401_with_a_challenge(c):
    r = c.request("GET", "/corp")
    problem(r, 401, "no_credentials")
    assert r.get("WWW-Authenticate").startswith("Bearer")


@pytest.mark.parametrize("value", ["Bearer", "Bearer ", "Basic eDp5", "bearer\tx", "Token x"])
def test_authorization_that_is_no_bearer_token(c, value):
    assert c.request("GET", "/corp", [("Authorization", value)]).status == 401


def test_two_authorization_headers_are_refused(c):
    assert c.request("GET", "/corp", bearer(good("ES256")) + bearer("x.y.z")).status in (400, 401)


def test_a_huge_token_is_refused(c):
    r = c.request("GET", "/corp", bearer(E.token({**BASE, "pad": "x" * 24000})))
    assert r.status in (401, 431)


def test_token_in_cookie_and_query_is_found_and_hidden(c):
    token = good("ES256")
    r = c.request("GET", "/corp", [("Cookie", f"a=b; session={token}; c=d")])
    assert r.status == 200 and token not in r.body.decode()
    assert dict((n.lower(), v) for n, v in r.json()["headers"])["cookie"] == "a=b; c=d"
    r = c.request("GET", f"/corp?x=1&access_token={token}&y=2")
    assert r.status == 200 and r.json()["target"] == "/corp?x=1&y=2"


def test_forward_passes_the_token_on(c):
    token = E.token(client_id="svc")
    assert ["Authorization", f"Bearer {token}"] in c.request("GET", "/plain", bearer(token)).json()["headers"]


@pytest.mark.parametrize("place", ["header", "header2", "query"])
def test_api_key(c, place):
    k = API_KEYS["acme"]
    headers = {"header": [("apikey", k)], "header2": [("X-Api-Key", k)], "query": []}[place]
    r = c.request("GET", "/key?a=1" + (f"&apikey={k}" if place == "query" else ""), headers)
    assert r.status == 200 and k not in r.body.decode() and r.json()["target"] == "/key?a=1"


@pytest.mark.parametrize("headers,reason", [([], "no_credentials"), ([("apikey", "wrong")], "invalid_key"), ([("apikey", "")], "key"),
                                            ([("apikey", sha256(API_KEYS["acme"]))], "invalid_key")])
def test_wrong_api_keys(c, headers, reason):
    r = c.request("GET", "/key", headers)
    assert r.status == 401 and (reason in r.body.decode() or reason == "key" and "cred" in r.body.decode()), r


def test_any_of_the_providers_will_do(c):
    assert c.request("GET", "/either", bearer(good("ES256"))).status == 200
    assert c.request("GET", "/either", [("apikey", API_KEYS["globex"])]).status == 200
    assert c.request("GET", "/either").status == 401


def test_public_needs_nothing(c):
    assert c.request("GET", "/open").status == 200
    assert c.request("GET", "/mixed").status == 200
    assert c.request("GET", "/mixed", [("apikey", API_KEYS["acme"])]).status == 200


def test_without_credentials_a_request_is_the_anonymous_consumers(gw, c):
    """Its name, tier and limits; wrong credentials are told, and what it may not do asks who is calling."""
    sent = lambda r: {n.lower(): v for n, v in r.json()["headers"]}
    before = gw.metric("sluice_anonymous_requests_total")
    h = sent(c.request("GET", "/guests", [("X-User-Id", "root"), ("X_User_Id", "root"), ("X-Consumer", "acme")]))
    assert h["x-consumer"] == "guest" and h["x-tier"] == "guests" and "x-user-id" not in h and "x_user_id" not in h
    problem(c.request("GET", "/guests", [("apikey", "wrong")]), 401, "invalid_key")
    problem(c.request("GET", "/guests", bearer("x.y.z")), 401, "invalid_token")
    problem(c.request("POST", "/guests"), 401, "no_credentials")
    assert sent(c.request("POST", "/guests", [("apikey", API_KEYS["acme"])]))["x-consumer"] == "acme"
    assert [c.request("GET", "/guests").status for _ in range(4)] == [200, 200, 200, 429]  # four a day
    assert c.request("GET", "/guests", [("apikey", API_KEYS["globex"])]).status == 200
    assert gw.metric("sluice_anonymous_requests_total") == before + 5


@pytest.mark.parametrize("claims,status", [({"roles": ["orders.read"]}, 200), ({"roles": ["x", "admin"]}, 200), ({"roles": "admin"}, 200),
                                           ({"roles": ["orders"]}, 403), ({"roles": []}, 403), ({"roles": "orders.readx"}, 403), ({}, 403), ({"roles": {"admin": 1}}, 403)])
def test_roles(c, claims, status):
    r = c.request("GET", "/role", bearer(good("ES256", **claims)))
    assert r.status == status
    if status == 403:
        problem(r, 403, "forbidden_role")


@pytest.mark.parametrize("scope,status", [("read write", 200), (["read"], 200), ("reader", 403), ("", 403), (None, 403)])
def test_scopes(c, scope, status):
    r = c.request("GET", "/scope", bearer(good("ES256", scope=scope)))
    assert r.status == status
    if status == 403:
        problem(r, 403, "forbidden_scope")


@pytest.mark.parametrize("method,claims,reason", [
    ("GET", None, None), ("GET", {}, None), ("POST", None, "no_credentials"), ("POST", {}, "forbidden_scope"), ("POST", {"scope": "read write"}, None),
    ("DELETE", {"scope": "write"}, "forbidden_role"), ("DELETE", {"roles": ["admin"]}, "forbidden_scope"), ("DELETE", {"scope": "write", "roles": ["admin"]}, None)])
def test_what_a_method_needs(c, method, claims, reason):
    r = c.request(method, "/method", [] if claims is None else bearer(good("ES256", **claims)))
    if reason:
        problem(r, 401 if reason == "no_credentials" else 403, reason)
    else:
        assert r.status == 200, r


def test_a_method_needs_what_its_route_does_as_well_and_head_what_get_does(c):
    for method, claims, status in (("GET", {"roles": ["reader"]}, 403), ("GET", {"scope": "any"}, 403), ("GET", {"scope": "any", "roles": ["reader"]}, 200),
                                   ("HEAD", {"scope": "any"}, 403), ("HEAD", {"scope": "any", "roles": ["reader"]}, 200), ("POST", {"scope": "any"}, 200)):
        assert c.request(method, "/get", bearer(good("ES256", **claims))).status == status, (method, claims)


def test_groups(c):
    assert c.request("GET", "/group", [("apikey", API_KEYS["acme"])]).status == 200
    problem(c.request("GET", "/group", [("apikey", API_KEYS["globex"])]), 403, "forbidden_group")


def test_a_refusal_reaches_no_upstream(c, origin):
    n = len(origin.requests)
    for h in ([], bearer("x"), bearer(E.token(BASE, exp=1))):
        assert c.request("GET", "/corp", h).status == 401
    assert len(origin.requests) == n


def test_the_cache_saves_signatures_and_says_so(gw, c):
    token = good("RS256", once="only")
    before = gw.metrics()
    for _ in range(20):
        assert c.request("GET", "/corp", bearer(token)).status == 200
    after = gw.metrics()
    delta = lambda n: sum(v - before.get(k, 0) for k, v in after.items() if k[0] == n)
    assert delta("sluice_jwt_verified_total") == 1
    assert delta("sluice_jwt_cache_hits_total") == 19
