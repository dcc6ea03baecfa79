# SPDX-License-Identifier: Apache-2.0
"""Listeners and TLS as clients that are not ours see them: curl, openssl s_client, Python's ssl."""
import json
import re
import ssl

import pytest
from harness.client import Client, Closed, tls_context
from harness.gateway import Gateway
from harness.origin import Origin
from harness.pki import CA, alone
from harness.policy import problem, serving, upstream
from harness.wait import until

TLS, TLS13, PLAIN, IMPATIENT = 8443, 8444, 8080, 8445


@pytest.fixture(scope="module")
def origin(lo):
    with Origin(lo) as o:
        yield o


@pytest.fixture(scope="module")
def gw(lo, origin, ca):
    def pair(*names, **kw):
        cert, key = ca.issue(*names, **kw)
        return {"cert": cert, "key": {"$file": key}}
    first, second, wild = pair("api.test"), pair("b.test", key="rsa"), pair("*.wild.test")
    with Gateway(serving(origin, listeners={
            "tls": {"bind": [f"127.0.0.1:{TLS}", f"[::1]:{TLS}"], "tls": {"certificates": [first, second, wild]}},
            "tls13": {"bind": [f"127.0.0.1:{TLS13}"], "tls": {"certificates": [first], "min_version": "1.3"}},
            "impatient": {"bind": [f"127.0.0.1:{IMPATIENT}"], "tls": {"certificates": [first]}, "timeouts": {"handshake": "200ms"}},
    }), lo) as g:
        yield g


def s_client(host, port, *args):
    return host.run(["openssl", "s_client", "-connect", f"127.0.0.1:{port}", *args], timeout=20)


@pytest.mark.veth
@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_curl_by_each_version_verifies_and_is_served(lo, gw, ca, version):
    r = lo.run(["curl", "-sS", "--fail", f"--tlsv{version}", "--tls-max", version, "--cacert", ca.cert, "--resolve", f"api.test:{TLS}:127.0.0.1",
                "-w", "\n%{http_version} %{ssl_verify_result}", f"https://api.test:{TLS}/a?b=c"], check=True)
    body, tail = r.stdout.rsplit("\n", 1)
    assert json.loads(body)["target"] == "/a?b=c"
    assert tail == "2 0"


@pytest.mark.veth
def test_ipv6_listener(lo, gw, ca):
    r = lo.run(["curl", "-sS", "--fail", "--cacert", ca.cert, "--resolve", f"api.test:{TLS}:::1", f"https://api.test:{TLS}/"], check=True)
    assert json.loads(r.stdout)["method"] == "GET"


@pytest.mark.parametrize("sni,subject", [("api.test", "api.test"), ("b.test", "b.test"), ("B.TEST", "b.test"), ("x.wild.test", "*.wild.test"),
                                         ("nobody.test", "api.test"), ("deep.x.wild.test", "api.test"), (None, "api.test")])
def test_sni_picks_the_certificate_and_the_first_is_the_default(lo, gw, sni, subject):
    r = s_client(lo, TLS, *(["-servername", sni] if sni else ["-noservername"]))
    assert re.search(r"subject=CN ?= ?" + re.escape(subject) + "$", r.stdout, re.M), r.stdout + r.stderr


@pytest.mark.parametrize("port,flag,ok", [(TLS, "-tls1_2", True), (TLS, "-tls1_3", True), (TLS, "-tls1_1", False),
                                          (TLS13, "-tls1_3", True), (TLS13, "-tls1_2", False)])
def test_min_version(lo, gw, port, flag, ok):
    # security level 0 lets the client offer TLS 1.1 at all
    r = s_client(lo, port, flag, "-cipher", "DEFAULT@SECLEVEL=0") if flag != "-tls1_3" else s_client(lo, port, flag)
    assert ("Cipher is (NONE)" not in r.stdout and r.returncode == 0) == ok, r.stdout + r.stderr


def test_alpn_that_is_not_spoken_ends_the_handshake(lo, gw):
    assert "ALPN protocol: http/1.1" in s_client(lo, TLS, "-alpn", "http/1.1").stdout
    assert "ALPN protocol" not in s_client(lo, TLS, "-alpn", "h3").stdout


@pytest.mark.parametrize("sends", [b"", b"\x16\x03\x01\x02\x00\x01"], ids=["nothing", "part of a ClientHello"])
def test_handshake_timeout_closes(lo, gw, sends):
    before = gw.metric("sluice_listener_timeouts_total", listener="impatient")
    s = lo.connect(("127.0.0.1", IMPATIENT))
    s.sendall(sends)
    with Client(s) as c:
        assert c.at_eof()
    until(lambda: gw.metric("sluice_listener_timeouts_total", listener="impatient") == before + 1, "one more timeout counted")
    assert gw.metric("sluice_listener_tls_failures_total", listener="impatient", reason="timeout") >= 1


def test_handshakes_under_way_have_a_limit_and_a_reason(lo, gw, origin, ca):
    cert, key = ca.issue("api.test")
    few = {"bind": ["127.0.0.1:8446"], "tls": {"certificates": [{"cert": cert, "key": {"$file": key}}]}, "limits": {"handshakes": 2},
           "timeouts": {"handshake": "60s"}}
    with Gateway(serving(origin, port=8091, listeners={"few": few}), lo) as g:
        def refused():
            return g.metric("sluice_listener_tls_failures_total", listener="few", reason="limit")
        done = [g.client(8446, tls=tls_context(ca.cert), sni="api.test") for _ in range(3)]  # those that are through do not count
        held = [lo.connect(("127.0.0.1", 8446)) for _ in range(2)]
        until(lambda: g.metric("sluice_listener_active_connections", listener="few") == 5, "two that say nothing")
        with Client(lo.connect(("127.0.0.1", 8446))) as c:
            assert c.at_eof()
        assert refused() == 1
        assert all(c.request().status == 200 for c in done)
        held.pop().close()
        until(lambda: g.metric("sluice_listener_active_connections", listener="few") == 4, "one less")
        assert g.client(8446, tls=tls_context(ca.cert), sni="api.test").request().status == 200
        assert g.metric("sluice_listener_tls_failures_total", listener="few", reason="closed") == 1
        held.pop().close()


def test_a_failed_handshake_is_counted_and_hurts_nobody(lo, gw, ca):
    other = gw.client(TLS, tls=tls_context(ca.cert), sni="api.test")
    before = gw.metric("sluice_listener_handshake_failures_total", listener="tls")
    s = lo.connect(("127.0.0.1", TLS))
    s.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    got = b""
    try:
        while chunk := s.recv(4096):
            got += chunk
    except ConnectionResetError:
        pass
    assert not got.startswith(b"HTTP/1.1 2"), got
    until(lambda: gw.metric("sluice_listener_handshake_failures_total", listener="tls") > before, "counted")
    assert other.request().status == 200


def test_close_notify_ends_the_connection(lo, gw, ca):
    c = gw.client(TLS, tls=tls_context(ca.cert), sni="api.test")
    assert c.request().status == 200
    c.sock.unwrap()  # raises unless the gateway answers close_notify with its own
    c.close()


def test_many_requests_in_tiny_records(lo, gw, ca):
    c = gw.client(TLS, tls=tls_context(ca.cert), sni="api.test")
    head = b"POST /x HTTP/1.1\r\nHost: api.test\r\nContent-Length: 5\r\n\r\nhello"
    for b in head:
        c.send(bytes([b]))  # a record each
    assert c.read_response().json()["body"] == "hello"


def test_large_bodies_over_tls(lo, gw, ca, origin):
    c = gw.client(TLS, tls=tls_context(ca.cert), sni="api.test")
    body = bytes(range(256)) * 4096
    r = c.request("POST", "/", body=body)
    assert r.json()["body"].encode("latin-1") == body


def upstream_certificate(tmp, ca, kind):
    if kind == "expired":
        return ca.issue("origin.test", days=-1)
    if kind == "early":
        return ca.issue("origin.test", from_days=2)
    if kind == "other":
        return CA(tmp, "another CA").issue("origin.test")
    if kind == "alone":
        return alone(tmp, "origin.test")
    return ca.issue({"name": "other.test", "address": "127.0.0.1"}.get(kind, "origin.test"))


@pytest.mark.parametrize("kind,reason", [("good", None), ("address", None), ("expired", "certificate_expired"), ("early", "certificate_not_yet_valid"),
                                         ("name", "certificate_name"), ("other", "certificate_unknown_issuer"), ("alone", "certificate_self_signed")])
def test_upstream_tls_verifies_chain_and_name(lo, ca, tmp, kind, reason):
    ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ctx.load_cert_chain(*upstream_certificate(tmp, ca, kind))
    tls = {"ca": ca.cert} if kind == "address" else {"ca": ca.cert, "sni": "origin.test"}
    with Origin(lo, tls=ctx) as o, Gateway(serving(o, port=8090, upstreams={"origin": upstream(o, tls=tls)}), lo) as g:
        r = g.client(8090).request("GET", "/")
        if not reason:
            assert r.status == 200
            return
        problem(r, 502, "upstream_tls")
        assert not o.requests
        assert g.metric("sluice_upstream_tls_failures_total", upstream="origin", reason=reason) >= 1
        assert "target 127.0.0.1" in g.wait_log(reason)


def test_upstream_that_says_nothing_of_tls_runs_into_its_deadline(lo, ca):
    with Origin(lo, on_head=lambda *a: None) as o:
        p = serving(o, port=8090, upstreams={"origin": upstream(o, tls={"ca": ca.cert})}, routes={"all": {"timeouts": {"connect": "200ms"}}})
        with Gateway(p, lo) as g:
            problem(g.client(8090).request(), 504, "upstream_timeout")
            assert g.metric("sluice_upstream_tls_failures_total", upstream="origin", reason="timeout") >= 1


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def test_sessions_with_upstreams_are_resumed(lo, ca, version):
    ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ctx.load_cert_chain(*ca.issue("origin.test"))
    ctx.maximum_version = version
    with Origin(lo, tls=ctx) as o:
        p = serving(o, port=8090, upstreams={"origin": upstream(o, tls={"ca": ca.cert, "sni": "origin.test"}, keepalive={"requests": 1})})
        with Gateway(p, lo) as g:
            with g.client(8090) as c:
                assert [c.request().status for _ in range(4)] == [200] * 4
            assert g.metric("sluice_upstream_handshakes_total", upstream="origin") == 4
            assert g.metric("sluice_upstream_resumed_total", upstream="origin") == 3


def test_upstream_tls_without_ca_trusts_what_the_system_trusts(lo, ca):
    ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ctx.load_cert_chain(*ca.issue("origin.test"))
    with Origin(lo, tls=ctx) as o:
        policy = serving(o, port=8090, upstreams={"origin": upstream(o, tls={"sni": "origin.test"})})
        with Gateway(policy, lo, env={"SSL_CERT_FILE": ca.cert}) as g:
            assert g.client(8090).request("GET", "/").status == 200
        with Gateway(policy, lo) as g:  # Debian's authorities did not sign it
            problem(g.client(8090).request("GET", "/"), 502, "upstream_tls")


def test_upstream_tls_sends_the_client_certificate(lo, ca):
    ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ctx.load_cert_chain(*ca.issue("origin.test"))
    ctx.load_verify_locations(ca.cert)
    ctx.verify_mode = ssl.CERT_REQUIRED
    cert, key = ca.issue("gateway.test")
    tls = {"ca": ca.cert, "sni": "origin.test", "cert": cert, "key": {"$file": key}}
    with Origin(lo, tls=ctx) as o, Gateway(serving(o, port=8090, upstreams={"origin": upstream(o, tls=tls)}), lo) as g:
        assert g.client(8090).request().status == 200
        peer = o.connections[-1].sock.getpeercert() if o.connections else None
        assert peer and ((("commonName", "gateway.test"),),) == peer["subject"]


def test_connection_limit_of_a_listener(lo, origin):
    with Gateway(serving(origin, port=8090, listeners={"main": {"limits": {"connections": 3}}}), lo) as g:
        held = [g.client(8090) for _ in range(3)]
        assert all(c.request().status == 200 for c in held)
        try:
            extra = g.client(8090)
            extra.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            refused = extra.read_response().status == 503
        except OSError:
            refused = True
        assert refused
        assert g.metric("sluice_listener_refused_total", listener="main") == 1
        held.pop().close()
        until(lambda: g.metric("sluice_listener_active_connections", listener="main") <= 2, "the place is free")
        assert g.client(8090).request().status == 200
