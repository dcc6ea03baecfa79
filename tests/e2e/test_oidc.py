# SPDX-License-Identifier: Apache-2.0
"""
Tokens of an OpenID provider that this project did not write (oidc-provider, installed by tools/setup test into build/npm or $SLUICE_NPM): found
by discovery alone, verified, rotated.
"""
import base64
import json
import os
import shutil
import subprocess

import pytest
from harness.gateway import ROOT, Gateway
from harness.origin import Origin
from harness.policy import problem, serving
from harness.wait import until

P = 8080
MODULE = os.path.join(os.environ.get("SLUICE_NPM", f"{ROOT}/build/npm"), "node_modules/oidc-provider/lib/index.js")
pytestmark = pytest.mark.skipif(not shutil.which("node") or not os.path.exists(MODULE), reason=f"no oidc-provider at {MODULE} (tools/setup test)")


class Provider:
    def __init__(self, host, ca):
        self.host, self.ca, self.port = host, ca, host.free_port()
        self.issuer = f"https://127.0.0.1:{self.port}"
        cert, key = ca.issue("127.0.0.1")
        self.proc = host.popen(["node", f"{ROOT}/tests/harness/oidc.mjs", MODULE, str(self.port), cert, key], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True)
        self._line("ready")

    def _line(self, want=None):
        seen = []
        while True:  # the provider warns of what a production would want
            line = self.proc.stdout.readline()
            seen.append(line)
            assert line, f"the provider ended: {''.join(seen)}"
            if line.strip() == want or (want is None and line.startswith("k")):
                return line.split()

    def command(self, word):
        self.proc.stdin.write(word + "\n")
        self.proc.stdin.flush()
        return self._line()

    def post(self, path, **form):
        fields = [x for k, v in form.items() for x in ("-d", f"{k}={v}")]
        return self.host.run(["curl", "-sS", "--cacert", self.ca.cert, "-u", "svc:a-secret-of-this-test", *fields, self.issuer + path], check=True).stdout

    def token(self, **more):
        return json.loads(self.post("/token", grant_type="client_credentials", scope="orders.read", **more))["access_token"]


@pytest.fixture
def provider(lo, ca):
    p = Provider(lo, ca)
    yield p
    p.proc.stdin.close()
    p.proc.wait(20)


def header(token):
    return json.loads(base64.urlsafe_b64decode(token.split(".")[0] + "=="))


def test_discovery_rotation_and_an_end(lo, ca, provider):
    with Origin(lo) as origin:
        auth = {"sso": {"type": "jwt", "issuer": provider.issuer, "audiences": ["https://orders.test"], "algorithms": ["ES256"], "typ": "at+jwt",
                        "consumer_claim": "client_id", "claims_to_headers": {"client_id": "X-Client"}, "tls": {"ca": ca.cert}, "jwks_refresh": "2s"}}
        policy = serving(origin, auth=auth, consumers={"svc": {}}, routes={"all": {"auth": ["sso"], "require": {"scopes": ["orders.read"]}}})
        with Gateway(policy, lo) as gw:
            def ask(token):
                with gw.client(P) as c:
                    return c.request("GET", "/", [("Authorization", f"Bearer {token}")])
            first = provider.token()
            r = ask(first)
            assert r.status == 200 and ["X-Client", "svc"] in r.json()["headers"], r

            assert provider.command("rotate") == ["k2", "k1"]
            second = provider.token()
            assert header(second)["kid"] == "k2" and header(second)["typ"] == "at+jwt"
            assert ask(second).status == 200 and ask(first).status == 200

            assert provider.command("drop") == ["k2"]
            until(lambda: ask(first).status == 401, "the end of the first key", timeout=15)
            problem(ask(first), 401, "no key of this provider")
            assert ask(second).status == 200
            state = gw.status()["jwks"][0]
            assert state["keys"] == 1 and state["failed"] == 0 and state["url"] == provider.issuer


def test_an_opaque_token_is_introspected_beside_jwts_until_it_is_revoked(lo, ca, provider, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("of: the/gateway")
    trust = {"tls": {"ca": ca.cert}, "consumer_claim": "client_id", "claims_to_headers": {"client_id": "X-Client"}}
    auth = {"opaque": {"type": "introspection", "uri": f"{provider.issuer}/token/introspection", "client_id": "gw", "client_secret": {"$file": str(secret)},
                       "issuer": provider.issuer, "audiences": ["https://orders.test/opaque"], "cache": "0s", **trust},
            "sso": {"type": "jwt", "issuer": provider.issuer, "algorithms": ["ES256"], **trust}}
    with Origin(lo) as origin:
        policy = serving(origin, auth=auth, consumers={"svc": {}}, routes={"all": {"auth": ["opaque", "sso"], "require": {"scopes": ["orders.read"]}}})
        with Gateway(policy, lo) as gw:
            def ask(token):
                with gw.client(P) as c:
                    return c.request("GET", "/", [("Authorization", f"Bearer {token}")])
            token = provider.token(resource="https://orders.test/opaque")
            assert "." not in token
            r = ask(token)
            assert r.status == 200 and ["X-Client", "svc"] in r.json()["headers"], r
            assert gw.metric("sluice_errands_total", kind="introspection", result="ok") == 1
            assert ask(provider.token()).status == 200 and gw.metric("sluice_errands_total", kind="introspection", result="ok") == 1

            provider.post("/token/revocation", token=token)
            problem(ask(token), 401, "not active")


def test_an_upstream_is_shown_a_token_of_the_gateways_own(lo, ca, provider, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("a-secret-of-this-test")
    own = {"type": "client_credentials", "token_uri": f"{provider.issuer}/token", "client_id": "svc", "client_secret": {"$file": str(secret)},
           "scopes": ["orders.read"], "tls": {"ca": ca.cert}}
    with Origin(lo) as origin:
        with Gateway(serving(origin, upstreams={"origin": {"upstream_auth": own}}), lo) as gw:
            seen = []
            for _ in range(2):
                with gw.client(P) as c:
                    r = c.request("GET", "/", [("Authorization", "Bearer mine")])
                assert r.status == 200, r
                seen += [v.removeprefix("Bearer ") for n, v in r.json()["headers"] if n.lower() == "authorization"]
            assert len(seen) == 2 and seen[0] == seen[1] and header(seen[0])["typ"] == "at+jwt", seen
            claims = json.loads(base64.urlsafe_b64decode(seen[0].split(".")[1] + "=="))
            assert claims["iss"] == provider.issuer and claims["client_id"] == "svc" and claims["scope"] == "orders.read", claims
