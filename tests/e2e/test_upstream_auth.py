# SPDX-License-Identifier: Apache-2.0
"""What upstreams are shown of who asks: tokens of the gateway's own, judged by python3-jwcrypto, which this project did not write."""
import base64
import hashlib
import json
import re
import time

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from harness import jose, origin as origins
from harness.gateway import Gateway
from harness.load import Load
from harness.origin import Origin
from harness.origin_h2 import OriginH2
from harness.policy import merge, serving, upstream
from harness.wait import until
from jwcrypto import jwk, jwt

P, SECOND = 8080, 8081
ISSUER = "https://gateway.test"
KEYS = {"EC256": ec.generate_private_key(ec.SECP256R1()), "EC384": ec.generate_private_key(ec.SECP384R1()),
        "ED": ed25519.Ed25519PrivateKey.generate(), "RSA": rsa.generate_private_key(65537, 2048)}
ALGORITHMS = {"EC256": "ES256", "EC384": "ES384", "ED": "EdDSA", "RSA": "PS384"}
CORP = jose.Key("ES256", kid="corp")
API_KEY = "acme-key-000000000000"


def private(key):
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def public(key):
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def published(*keys):
    """Those keys as a verifier knows them that has never met the gateway."""
    found = jwk.JWKSet()
    for k in keys:
        found.add(jwk.JWK.from_pem(public(k).encode()))
    return found


def verify(token, keys, **check):
    """The claims of a token that holds for that audience; raises otherwise."""
    t = jwt.JWT(algs=list(ALGORITHMS.values()), check_claims={"iss": ISSUER, "exp": None, "nbf": None, "iat": None, "jti": None, **check})
    t.leeway = 0
    t.deserialize(token, keys)
    return json.loads(t.claims)


def head(token):
    return json.loads(base64.urlsafe_b64decode(token.split(".")[0] + "=="))


@pytest.fixture(scope="module")
def origin(lo):
    with Origin(lo, answer=origins.echo) as o:
        yield o


def sign(name, **more):
    return {"type": "sign", "signer": name.lower(), "audiences": ["orders"], **more}


@pytest.fixture(scope="module")
def policy(origin, tmp_path_factory):
    d = tmp_path_factory.mktemp("signers")
    signers = {}
    for name, key in KEYS.items():
        (d / name).write_text(private(key))
        signers[name.lower()] = {"issuer": ISSUER, "keys": [{"$file": str(d / name)}]}
    signers["rsa"]["rsa_algorithm"] = "PS384"
    claims = {"tenant": "$claim.tenant", "roles": "$claim.roles", "level": "$claim.level", "nothing": "$claim.none", "tier": "$tier", "via": "gw-$route"}
    routes = {"all": None,
              "corp": {"paths": ["/corp"], "upstream": "origin", "auth": ["corp"], "upstream_auth": sign("EC256", claims=claims)},
              "inherits": {"paths": ["/inherits"], "upstream": "shown", "auth": ["keys", "public"]},
              "split": {"paths": ["/split"], "split": {"shown": 1, "origin": 1}, "auth": ["keys"]},
              "none": {"paths": ["/none"], "upstream": "shown", "auth": ["public"], "upstream_auth": {"type": "none"}},
              "plain": {"paths": ["/plain"], "upstream": "origin", "auth": ["public"]},
              "jwks": {"paths": ["=/jwks/ec256"], "jwks": "ec256", "auth": ["public"]}}
    for name in KEYS:
        routes[name.lower()] = {"paths": [f"/{name.lower()}"], "upstream": "origin", "auth": ["keys"], "upstream_auth": sign(name)}
    routes["ec256"]["upstream_auth"]["audiences"] = ["orders", "billing"]
    return serving(origin, signers=signers, routes=routes, tiers={"gold": {}},
                   upstreams={"shown": upstream(origin, upstream_auth=sign("ED", header="X-Gateway-Token", lifetime="10s"))},
                   auth={"corp": {"type": "jwt", "algorithms": ["ES256"], "jwks": jose.jwks(CORP), "forward": True},
                         "keys": {"type": "key", "names": ["apikey"]}},
                   consumers={"acme": {"tier": "gold", "keys": [hashlib.sha256(API_KEY.encode()).hexdigest()]}})


@pytest.fixture(scope="module")
def gw(lo, policy):
    with Gateway(policy, lo) as g:
        yield g


@pytest.fixture
def c(gw):
    with gw.client(P) as client:
        yield client


def shown(response, name="authorization"):
    """What the upstream saw under that name."""
    assert response.status == 200, response
    return [v for n, v in response.json()["headers"] if n.lower().replace("_", "-") == name]


def second(policy, **over):
    return merge(merge(policy, {"listeners": {"main": {"bind": [f"127.0.0.1:{SECOND}"]}}}), over)


def bearer(response):
    value, = shown(response)
    assert value.startswith("Bearer ")
    return value[len("Bearer "):]


KEY = [("apikey", API_KEY)]


@pytest.mark.parametrize("name", KEYS)
def test_each_kind_of_key(c, name):
    token = bearer(c.request("GET", f"/{name.lower()}", KEY))
    claims = verify(token, published(KEYS[name]), aud="orders")
    assert claims["sub"] == "acme" and claims["exp"] == claims["iat"] + 300 and claims["nbf"] == claims["iat"]
    assert abs(claims["iat"] - time.time()) < 60
    assert claims["aud"] == (["orders", "billing"] if name == "EC256" else "orders")
    assert head(token) == {"alg": ALGORITHMS[name], "typ": "JWT", "kid": thumb(KEYS[name])}
    with pytest.raises(Exception):
        verify(token, published(ec.generate_private_key(ec.SECP256R1())), aud="orders")


def test_claims_keep_their_types_and_what_is_not_there_is_left_out(c):
    who = CORP.token(sub="alice \"quoted\"", tenant="t1", roles=["a", "b"], level=7)
    claims = verify(bearer(c.request("GET", "/corp", [("Authorization", f"Bearer {who}")])), published(KEYS["EC256"]))
    assert {k: claims[k] for k in claims if k not in ("iat", "nbf", "exp", "jti")} == {
        "iss": ISSUER, "aud": "orders", "sub": "alice \"quoted\"", "tenant": "t1", "roles": ["a", "b"], "level": 7, "tier": "default", "via": "gw-corp"}


def test_the_clients_own_is_overwritten_in_every_spelling(c):
    for spelling in ("X-Gateway-Token", "x_gateway_token", "X_Gateway-TOKEN"):
        r = c.request("GET", "/inherits", [*KEY, (spelling, "forged"), (spelling, "twice")])
        token, = shown(r, "x-gateway-token")
        assert verify(token, published(KEYS["ED"]))["sub"] == "acme"
        assert shown(c.request("GET", "/plain", [(spelling, "forged")]), "x-gateway-token") == []
        assert shown(c.request("GET", "/none", [(spelling, "forged")]), "x-gateway-token") == []
    r = c.request("GET", "/ec256", [*KEY, ("Authorization", "Basic Zm9yZ2Vk"), ("authorization", "Bearer forged")])
    assert verify(bearer(r), published(KEYS["EC256"]))["sub"] == "acme"


def test_trailers_do_not_say_it_either(c, origin):
    c.send(f"POST /inherits HTTP/1.1\r\nHost: gw.test\r\napikey: {API_KEY}\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n"
           "X-Gateway-Token: forged\r\nx_gateway_token: forged\r\nX-Sum: 1\r\n\r\n".encode())
    assert len(shown(c.read_response(), "x-gateway-token")) == 1
    assert origin.last().trailers == [("X-Sum", "1")]


def test_who_is_nobody_has_no_subject(c):
    token, = shown(c.request("GET", "/inherits"), "x-gateway-token")
    assert "sub" not in verify(token, published(KEYS["ED"]))


def test_of_a_split_route_the_upstream_decides(c):
    counts = sorted(len(shown(c.request("GET", "/split", KEY), "x-gateway-token")) for _ in range(4))
    assert counts == [0, 0, 1, 1]


def test_one_token_serves_all_who_would_be_shown_the_same(gw, c):
    before = {n: gw.metric(f"sluice_upstream_tokens_{n}_total") for n in ("signed", "reused")}
    tokens = {bearer(c.request("GET", "/corp", [("Authorization", f"Bearer {CORP.token(sub='same', n=n)}")])) for n in range(5)}
    other = bearer(c.request("GET", "/corp", [("Authorization", f"Bearer {CORP.token(sub='other')}")]))
    assert len(tokens) == 1 and other not in tokens
    assert gw.metric("sluice_upstream_tokens_signed_total") == before["signed"] + 2
    assert gw.metric("sluice_upstream_tokens_reused_total") == before["reused"] + 4


def test_a_retry_takes_it_along(lo, policy):
    with Origin(lo, answer=lambda r: origins.response(503, b"not now")) as a, Origin(lo, answer=origins.echo) as b:
        p = second(policy, upstreams={"shown": upstream(a, b)}, routes={"inherits": {"retries": {"max": 1, "on": ["503"]}}})
        with Gateway(p, lo) as g, g.client(SECOND) as c:
            for _ in range(4):
                token, = shown(c.request("GET", "/inherits", KEY), "x-gateway-token")
                verify(token, published(KEYS["ED"]))
        assert a.requests and all(r.get("X-Gateway-Token") for r in a.requests)


def test_over_http_2(lo, policy):
    with OriginH2(lo) as o:
        with Gateway(second(policy, upstreams={"origin": upstream(o, protocol="h2")}), lo) as g, g.client(SECOND) as c:
            assert c.request("GET", "/ec256", [*KEY, ("Authorization", "forged")]).status == 200
        value = o.requests[0].get("authorization")
        verify(value.removeprefix("Bearer "), published(KEYS["EC256"]))


def test_a_websocket_is_asked_for_with_it(lo, policy):
    def switch(r):
        key = base64.b64encode(hashlib.sha1((r.get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()).decode()
        return f"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {key}\r\n\r\n".encode()
    ask = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="), ("Sec-WebSocket-Version", "13")]
    with Origin(lo, answer=switch) as o:
        p = second(policy, upstreams={"origin": upstream(o)}, routes={"ec256": {"upgrade": ["websocket"]}})
        with Gateway(p, lo) as g, g.client(SECOND) as c:
            assert c.request("GET", "/ec256", [*KEY, *ask]).status == 101
        value, = o.last().all("authorization")
        verify(value.removeprefix("Bearer "), published(KEYS["EC256"]))


def keys_of(text):
    found = jwk.JWKSet.from_json(text)
    assert not [k for k in found["keys"] if k.has_private]
    return found


def test_the_key_set_on_a_route_and_on_the_admin_listener(gw, c):
    r = c.request("GET", "/jwks/ec256")
    assert r.status == 200 and r.get("Content-Type") == "application/jwk-set+json" and r.get("Cache-Control") == "public, max-age=300"
    admin = gw.admin("/jwks?signer=ec256")
    assert admin.status == 200 and admin.get("Content-Type") == "application/jwk-set+json" and admin.body == r.body
    for name in KEYS:
        token = bearer(c.request("GET", f"/{name.lower()}", KEY))
        assert verify(token, keys_of(gw.admin(f"/jwks?signer={name.lower()}").body.decode()))["sub"] == "acme"
    assert {k["use"] for k in json.loads(r.body)["keys"]} == {"sig"} and {k["alg"] for k in json.loads(r.body)["keys"]} == {"ES256"}
    head = c.request("HEAD", "/jwks/ec256")
    assert head.status == 200 and head.body == b"" and int(head.get("Content-Length")) == len(r.body)
    post = c.request("POST", "/jwks/ec256", body=b"")
    assert post.status == 405 and post.get("Allow") == "GET, HEAD"
    for query in ("", "?signer=", "?signer=none", "?x=ec256", "?signer=ec256&x"):
        assert gw.admin("/jwks" + query).status == 404  # of several, one must be named


def test_status_tells_the_keys(gw):
    signers = {s["signer"]: s for s in gw.status()["signers"]}
    assert signers["rsa"]["issuer"] == ISSUER and [k["signs"] for k in signers["rsa"]["keys"]] == [True]
    kid = thumb(KEYS["RSA"])
    assert any(line.split() == ["rsa", kid, "PS384", "signs"] for line in gw.ctl("status")[1].splitlines()), gw.ctl("status")


def rotated(policy, d, *names):
    return merge(policy, {"signers": {"rotates": {"issuer": ISSUER, "keys": [{"$file": str(d / n)} for n in names]}}})


def rotating(policy):
    return second(policy, workers=2, routes={
        "rotates": {"paths": ["/"], "upstream": "origin", "auth": ["public"], "upstream_auth": sign("rotates", claims={"via": "$route"})},
        "set": {"paths": ["=/set"], "auth": ["public"], "jwks": "rotates"}})


def thumb(key):
    return jwk.JWK.from_pem(public(key).encode()).thumbprint()


def test_keys_rotate_under_load_and_no_verifier_meets_an_unknown_one(lo, origin, policy, tmp_path):
    """As the upstream sees it: a verifier that asks for the key set every now and then verifies each token, through reloads that bring a key, make it
    the one that signs, and take the old one out."""
    keys = {n: ec.generate_private_key(ec.SECP256R1()) for n in ("old", "new")}
    for n, k in keys.items():
        (tmp_path / n).write_text(private(k))
    (tmp_path / "old.pub").write_text(public(keys["old"]))
    p = rotating(policy)
    with Gateway(rotated(p, tmp_path, "old"), lo) as g, g.client(SECOND) as c:
        load, kids = Load(lo, "127.0.0.1", SECOND, connections=8, rate=300, seconds=60), []
        for step in (["old"], ["old", "new"], ["new", "old.pub"], ["new"]):
            assert g.apply(rotated(p, tmp_path, *step))[0] == 0
            known = keys_of(c.request("GET", "/set").body.decode())
            for _ in range(5):
                token = bearer(c.request("GET", "/"))
                verify(token, known)
                kids.append(head(token)["kid"])
        load.stop()
        result = load.result()
        assert result.bad == 0 and result["status"]["2xx"] > 0, result
    assert kids == [thumb(keys["old"])] * 10 + [thumb(keys["new"])] * 10


def torn(key, other):
    """The key with the public half of another."""
    half, wrong = (k.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint) for k in (key, other))
    der = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return "-----BEGIN PRIVATE KEY-----\n" + base64.encodebytes(der.replace(half, wrong)).decode() + "-----END PRIVATE KEY-----\n"


def test_changed_files_of_keys_are_taken_over_under_load(lo, policy, tmp_path):
    old, new, gone = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))

    def put(name, text):
        (tmp_path / "next").write_text(text)
        (tmp_path / "next").replace(tmp_path / name)

    def published_are(*keys):
        return {k["kid"] for k in json.loads(c.request("GET", "/set").body)["keys"]} == {thumb(k) for k in keys}

    def signed_by():
        token = bearer(c.request("GET", "/"))
        verify(token, keys_of(c.request("GET", "/set").body.decode()))
        return head(token)["kid"]

    put("signs", private(old))
    put("other", public(gone))
    with Gateway(rotated(rotating(policy), tmp_path, "signs", "other"), lo) as g, g.client(SECOND) as c:
        load = Load(lo, "127.0.0.1", SECOND, connections=8, rate=300, seconds=120)
        assert published_are(old, gone) and signed_by() == thumb(old)
        put("other", public(new))
        until(lambda: published_are(old, new), "the new key is published", timeout=30)
        assert signed_by() == thumb(old)
        version = g.status()["version"]
        put("signs", torn(new, old))
        g.wait_log("changed files are not used as they are now", timeout=30)
        assert g.status()["version"] == version and signed_by() == thumb(old)
        put("other", public(old))
        put("signs", private(new))
        until(lambda: signed_by() == thumb(new), "the new key signs", timeout=30)
        assert published_are(new, old)
        assert keys_of(g.admin("/jwks?signer=rotates").body.decode()).get_key(thumb(new))
        load.stop()
        result = load.result()
        assert result.bad == 0 and result["status"]["2xx"] > 0, result


def test_a_key_whose_halves_do_not_match_is_refused(gw, policy, tmp_path):
    (tmp_path / "torn").write_text(torn(KEYS["EC256"], ec.generate_private_key(ec.SECP256R1())))
    bad = merge(policy, {"signers": {"ec256": {"keys": [{"$file": str(tmp_path / "torn")}]}}})
    version = gw.status()["version"]
    code, out = gw.apply(bad)
    assert code == 1 and "the private and the public half of this key do not match" in out, out
    assert gw.status()["version"] == version
    code, out = gw.ctl("check", gw.path)
    told = r":\d+:\d+: error: /signers/ec256/keys/0: the private and the public half of this key do not match, .* openssl genpkey"
    assert code == 1 and re.search(re.escape(str(gw.path)) + told, out), out
    gw.write(policy)


def test_explain_says_what_is_shown(gw):
    out = gw.ctl("explain", f"GET http://gw.test:{P}/none")[1] + gw.ctl("explain", f"GET http://gw.test:{P}/inherits")[1]
    assert out.count("upstream shown is shown a token of signer ed in X-Gateway-Token") == 1, out


def test_what_is_wrong_is_told_with_its_place(gw, policy):
    def refused(**over):
        gw.write(merge(policy, over))
        code, out = gw.ctl("check", gw.path)
        assert code == 1, out
        return out
    wrong = refused(routes={"ec256": {"request": {"headers": {"set": {"authorization": "x"}}}}})
    assert 'error: /routes/ec256/request/headers/set/authorization: upstream_auth writes "Authorization"' in wrong
    wrong = refused(routes={"ec256": {"upstream_auth": {"claims": {"at": "$path"}}}})
    assert "error: /routes/ec256/upstream_auth/claims/at: a token serves many requests" in wrong
    weak = rsa.generate_private_key(65537, 1024)
    wrong = refused(signers={"rsa": {"keys": [private(weak)]}})
    assert "error: /signers/rsa/keys/0: an RSA key of less than 2048 bits is too weak" in wrong and "PRIVATE" not in wrong
    gw.write(policy)
