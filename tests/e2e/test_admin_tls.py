# SPDX-License-Identifier: Apache-2.0
"""The admin API over TCP with TLS: metrics for everybody, the rest for clients with a certificate."""
import json
import ssl

import pytest
from harness.client import Client, Closed, tls_context
from harness.gateway import Gateway
from harness.origin import Origin
from harness.pki import CA
from harness.policy import serving

PLAIN, ADMIN = 8495, 9495


@pytest.fixture(scope="module")
def origin(lo):
    with Origin(lo) as o:
        yield o


class Admin(Gateway):
    """With the admin API on TCP beside the socket that the harness speaks to."""

    def __init__(self, lo, origin, ca, authorities, **tls):
        self.origin, self.pair = origin, ca.issue("admin.test")
        super().__init__(self.with_tls(authorities, **tls), lo)

    def with_tls(self, authorities, **tls):
        cert, key = self.pair
        return serving(self.origin, port=PLAIN, admin={"bind": [f"127.0.0.1:{ADMIN}"], "tls": {
            "certificates": [{"cert": cert, "key": {"$file": key}}], "client_ca": authorities, **tls}})

    def write(self, policy):
        super().write({**policy, "admin": {**policy["admin"], "bind": [f"unix:{self.socket}", *policy["admin"]["bind"]]}})


def ask(host, ca, target, pair=None, method="GET"):
    """Status and body; None where there is no connection."""
    ctx = tls_context(ca.cert)
    if pair:
        ctx.load_cert_chain(*pair)
    try:
        with Client(host.connect(("127.0.0.1", ADMIN)), ctx, "admin.test") as c:
            r = c.request(method, target, body=b"" if method == "POST" else None)
            return r.status, r.body
    except (ssl.SSLError, Closed, OSError):
        return None


def test_the_whole_api_is_for_clients_with_a_certificate(lo, origin, ca):
    mine = ca.issue("operator.test")
    with Admin(lo, origin, ca, ca.cert, client_auth="optional") as g:
        assert ask(lo, ca, "/healthz")[0] == 200
        assert b"sluice_build_info" in ask(lo, ca, "/metrics")[1]
        assert ask(lo, ca, "/v1/status")[0] == 404
        assert ask(lo, ca, "/v1/apply", method="POST")[0] == 404
        status, body = ask(lo, ca, "/v1/status", mine)
        assert status == 200 and json.loads(body)["version"] == 1
        assert ask(lo, ca, "/metrics", mine)[1].endswith(b"\n")
        status, body = ask(lo, ca, "/v1/apply", mine, "POST")
        assert status == 200, body
        with Client(lo.connect(("127.0.0.1", ADMIN))) as plain:  # without TLS there is nothing
            plain.send(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
            with pytest.raises((Closed, ValueError)):
                plain.read_response()
        assert g.admin("/healthz").status == 200  # the unix socket is as it was


def test_required_lets_nobody_else_in_and_a_reload_changes_who_counts(lo, origin, ca, tmp):
    other = CA(tmp, "another CA")
    mine, theirs = ca.issue("operator.test"), other.issue("operator.test")
    with Admin(lo, origin, ca, ca.cert) as g:
        assert ask(lo, ca, "/healthz") is None
        g.wait_log("admin: TLS handshake failed: no certificate was given")
        assert ask(lo, ca, "/v1/status", theirs) is None
        ctx = tls_context(ca.cert)
        ctx.load_cert_chain(*mine)
        with Client(lo.connect(("127.0.0.1", ADMIN)), ctx, "admin.test") as kept:
            assert [kept.request("GET", "/v1/status").status for _ in range(3)] == [200] * 3
            assert g.apply(g.with_tls(other.cert))[0] == 0
            assert kept.at_eof()
        assert ask(lo, ca, "/v1/status", theirs)[0] == 200
        assert ask(lo, ca, "/v1/status", mine) is None
