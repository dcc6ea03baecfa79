# SPDX-License-Identifier: Apache-2.0
"""Who a client is by its certificate, what the upstream is told, and tokens that are bound to one."""
import base64
import hashlib
import ssl

import pytest
from harness import jose
from harness.client import tls_context
from harness.gateway import Gateway
from harness.origin import Origin
from harness.policy import problem, serving
from harness.wait import until

TLS, PLAIN = 8471, 8472


@pytest.fixture(scope="module")
def origin(lo):
    with Origin(lo) as o:
        yield o


@pytest.fixture(scope="module")
def signer():
    return jose.Key("ES256")


@pytest.fixture(scope="module")
def gw(lo, origin, ca, signer):
    cert, key = ca.issue("gw.test")
    with Gateway(serving(
            origin, port=PLAIN,
            listeners={"tls": {"bind": [f"127.0.0.1:{TLS}"], "tls": {"certificates": [{"cert": cert, "key": {"$file": key}}],
                                                                     "client_ca": ca.cert, "client_auth": "optional"}}},
            auth={"cert": {"type": "mtls", "certificate_to_headers": {"certificate": "Client-Cert", "san_dns": "X-Client-Name"}},
                  "uri": {"type": "mtls", "consumer_from": "san_uri"},
                  "token": {"type": "jwt", "algorithms": ["ES256"], "jwks": jose.jwks(signer)}},
            observe={"access_log": {"path": "-"}},
            consumers={"acme.test": {"groups": ["eu"]}, "spiffe://td/acme": {}},
            routes={"all": {"auth": ["public"]}, "cert": {"paths": ["/cert"], "upstream": "origin", "auth": ["cert"]},
                    "eu": {"paths": ["/eu"], "upstream": "origin", "auth": ["cert"], "require": {"groups": ["eu"]}},
                    "uri": {"paths": ["/uri"], "upstream": "origin", "auth": ["uri"]},
                    "token": {"paths": ["/token"], "upstream": "origin", "auth": ["token"]}}), lo) as g:
        yield g


def client(gw, ca, pair=None):
    ctx = tls_context(ca.cert)
    if pair:
        ctx.load_cert_chain(*pair)
    return gw.client(TLS, tls=ctx, sni="gw.test")


def sent(r):
    assert r.status == 200, r
    return {n.lower(): v for n, v in r.json()["headers"]}


def der(pair):
    with open(pair[0]) as f:
        return ssl.PEM_cert_to_DER_cert(f.read())


def test_a_certificate_is_a_consumer_with_groups_and_a_line_in_the_log(gw, ca, origin):
    pair = ca.issue("Acme.test")
    with client(gw, ca, pair) as c:
        headers = sent(c.request("GET", "/eu"))
        assert headers["x-client-name"] == "acme.test"
        assert headers["client-cert"] == f":{base64.b64encode(der(pair)).decode()}:"
    until(lambda: any(l.get("consumer") == "acme.test" for l in gw.access_log()), "its name in the access log")
    with client(gw, ca, ca.issue("stranger.test")) as c:
        problem(c.request("GET", "/eu"), 403, "forbidden_group")
    with client(gw, ca, ca.issue("x.test", "spiffe://td/acme")) as c:
        assert c.request("GET", "/uri").status == 200


def test_without_one_or_without_the_name_there_is_no_way_in(gw, ca):
    with client(gw, ca) as c:
        problem(c.request("GET", "/cert"), 401, "no_credentials")
    with client(gw, ca, ca.issue("x.test")) as c:
        r = c.request("GET", "/uri")
        problem(r, 401, "invalid_certificate")
        assert r.get("WWW-Authenticate") == 'Certificate realm="sluice"'
    with gw.client(PLAIN) as c:
        problem(c.request("GET", "/cert"), 401, "no_credentials")


@pytest.mark.parametrize("path", ["/cert", "/"])
@pytest.mark.parametrize("name", ["Client-Cert", "client_cert", "Client-Cert-Chain", "X-Client-Name", "x_client_NAME"])
def test_what_a_client_says_of_a_certificate_never_reaches_the_upstream(gw, ca, path, name):
    with client(gw, ca, ca.issue("acme.test")) as c:
        headers = c.request("GET", path, headers=[(name, "forged")])
        assert "forged" not in sent(headers).values()
    with gw.client(PLAIN) as c:
        assert "forged" not in sent(c.request("GET", "/", headers=[(name, "forged")])).values()


def test_a_bound_token_needs_its_certificate(gw, ca, signer):
    mine, other = ca.issue("mine.test"), ca.issue("other.test")
    bound = signer.token(sub="acme.test", cnf={"x5t#S256": jose.b64u(hashlib.sha256(der(mine)).digest())})
    headers = [("Authorization", f"Bearer {bound}")]
    for _ in range(2):  # the second time it is known
        with client(gw, ca, mine) as c:
            assert c.request("GET", "/token", headers=headers).status == 200
        for pair in (other, None):
            with client(gw, ca, pair) as c:
                r = c.request("GET", "/token", headers=headers)
                problem(r, 401, "invalid_token")
                assert "belongs to a certificate" in r.get("WWW-Authenticate")
