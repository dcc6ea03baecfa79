# SPDX-License-Identifier: Apache-2.0
"""Clients with certificates: who gets in, what is said of those who do not, what a session and a reload do to them."""
import shlex
import ssl

import pytest
from harness.client import Closed, tls_context
from harness.gateway import Gateway
from harness.origin import Origin
from harness.pki import CA
from harness.policy import serving
from harness.wait import until

MUST, MAY, RELOADED = 8461, 8462, 8463


@pytest.fixture(scope="module")
def origin(lo):
    with Origin(lo) as o:
        yield o


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    return CA(tmp_path_factory.mktemp("other"), "another CA")


def listeners(ca, authorities, must=MUST, may=MAY):
    cert, key = ca.issue("gw.test")
    tls = {"certificates": [{"cert": cert, "key": {"$file": key}}], "client_ca": authorities}
    return {"must": {"bind": [f"127.0.0.1:{must}"], "tls": tls},
            "may": {"bind": [f"127.0.0.1:{may}"], "tls": {**tls, "client_auth": "optional"}}}


@pytest.fixture(scope="module")
def gw(lo, origin, ca):
    with Gateway(serving(origin, listeners=listeners(ca, ca.cert)), lo) as g:
        yield g


def context(ca, pair=None, version=None):
    ctx = tls_context(ca.cert)
    if pair:
        ctx.load_cert_chain(*pair)
    if version:
        ctx.maximum_version = version
    return ctx


def status(gw, port, ctx):
    """Of a request; None: there was no connection. By TLS 1.3 a client hears of its refusal only when it reads."""
    try:
        with gw.client(port, tls=ctx, sni="gw.test") as c:
            return c.request().status
    except (ssl.SSLError, Closed, OSError):
        return None


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def test_a_certificate_that_verifies_gets_in_and_none_only_where_it_is_optional(gw, ca, version):
    with_one = context(ca, ca.issue("client.test"), version)
    assert status(gw, MUST, with_one) == status(gw, MAY, with_one) == 200
    without = context(ca, None, version)
    assert status(gw, MUST, without) is None
    assert status(gw, MAY, without) == 200


@pytest.mark.parametrize("kind,reason", [("none", "certificate_missing"), ("expired", "certificate_expired"),
                                         ("early", "certificate_not_yet_valid"), ("other", "certificate_unknown_issuer")])
def test_each_refusal_has_a_reason_a_counter_and_a_line(gw, ca, other, kind, reason):
    pair = {"none": None, "expired": ca.issue("old.test", days=-1), "early": ca.issue("early.test", from_days=2),
            "other": other.issue("foreign.test")}[kind]
    seen = {"listener": "must", "reason": reason}
    before, start = gw.metric("sluice_listener_tls_failures_total", **seen) or 0, len(gw.log_lines)
    assert status(gw, MUST, context(ca, pair)) is None
    until(lambda: gw.metric("sluice_listener_tls_failures_total", **seen) == before + 1, "counted by its reason")
    line = gw.wait_log(reason, start=start)
    assert "listener must" in line and "127.0.0.1" in line


def test_openssl_is_told_which_authorities_count(lo, gw, ca):
    cert, key = ca.issue("client.test")
    r = lo.run(["openssl", "s_client", "-connect", f"127.0.0.1:{MUST}", "-cert", cert, "-key", key, "-CAfile", ca.cert], timeout=20)
    assert "Acceptable client certificate CA names" in r.stdout and "test CA" in r.stdout, r.stdout
    assert "Verify return code: 0" in r.stdout


def test_a_session_is_resumed_with_its_identity_and_not_without_it(lo, gw, ca, tmp):
    cert, key = ca.issue("client.test")
    base = ["openssl", "s_client", "-CAfile", ca.cert, "-tls1_2", "-quiet"]
    get = "printf 'GET / HTTP/1.1\\r\\nHost: gw.test\\r\\nConnection: close\\r\\n\\r\\n' | "
    kept = f"{tmp}/session"

    def ask(port, *more):
        return lo.run(["sh", "-c", get + shlex.join([*base, "-connect", f"127.0.0.1:{port}", *more])], timeout=20)
    resumed = gw.metric("sluice_listener_resumed_total", listener="must")
    assert "200 OK" in ask(MUST, "-cert", cert, "-key", key, "-sess_out", kept).stdout
    assert "200 OK" in ask(MUST, "-sess_in", kept).stdout  # no certificate is sent: the session has it
    until(lambda: gw.metric("sluice_listener_resumed_total", listener="must") == resumed + 1, "resumed")
    anonymous = f"{tmp}/anonymous"
    assert "200 OK" in ask(MAY, "-sess_out", anonymous).stdout
    assert "200 OK" not in ask(MUST, "-sess_in", anonymous).stdout


def test_a_reload_with_other_authorities_ends_connections_and_sessions(lo, origin, ca, other):
    ours, theirs = context(ca, ca.issue("client.test")), context(ca, other.issue("client.test"))
    with Gateway(serving(origin, port=8091, listeners=listeners(ca, ca.cert, RELOADED, 8464)), lo) as g:
        idle = g.client(RELOADED, tls=ours, sni="gw.test")
        assert idle.request().status == 200
        assert status(g, RELOADED, theirs) is None
        g.apply(serving(origin, port=8091, listeners=listeners(ca, other.cert, RELOADED, 8464)))
        assert idle.at_eof()
        assert status(g, RELOADED, theirs) == 200
        assert status(g, RELOADED, ours) is None


def test_a_reload_that_changes_something_else_leaves_connections(lo, origin, ca):
    with Gateway(serving(origin, port=8091, listeners=listeners(ca, ca.cert, RELOADED, 8464)), lo) as g:
        kept = g.client(RELOADED, tls=context(ca, ca.issue("client.test")), sni="gw.test")
        assert kept.request().status == 200
        g.apply(serving(origin, port=8091, listeners={**listeners(ca, ca.cert, RELOADED, 8464), "main": {"timeouts": {"idle": "30s"}}}))
        assert kept.request().status == 200
