# SPDX-License-Identifier: Apache-2.0
"""PROXY protocol version 2 and Forwarded: believed from trusted proxies, and from nobody else."""
import socket
import ssl
import struct

import pytest
from harness.client import Client, Closed
from harness.gateway import Gateway
from harness.origin import Origin
from harness.pki import CA
from harness.policy import serving
from harness.wait import until

P = 8080
PROXY = "127.0.0.9"
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def header(source="203.0.113.9", port=4711, command=0x21, more=b""):
    if ":" in source:
        family, rest = 0x21, socket.inet_pton(socket.AF_INET6, source) + socket.inet_pton(socket.AF_INET6, "2001:db8::1")
    else:
        family, rest = 0x11, socket.inet_aton(source) + socket.inet_aton("192.0.2.1")
    rest += struct.pack("!HH", port, 443) + more
    return SIGNATURE + struct.pack("!BBH", command, family, len(rest)) + rest


@pytest.fixture(scope="module")
def origin(lo):
    with Origin(lo) as o:
        yield o


@pytest.fixture(scope="module")
def gw(lo, origin, tmp_path_factory):
    ca = CA(str(tmp_path_factory.mktemp("pki")))
    cert, key = ca.issue("api.test")
    tls = {"certificates": [{"cert": cert, "key": {"$file": key}}]}
    listeners = {"main": {"proxy_protocol": True}, "tls": {"bind": ["127.0.0.1:8443"], "proxy_protocol": True, "tls": tls},
                 "bare": {"bind": ["127.0.0.1:8082"]}}
    with Gateway(serving(origin, P, trusted_proxies=[f"{PROXY}/32"], listeners=listeners, observe={"access_log": {"format": "json", "path": "-"}},
                         routes={"all": {"request": {"headers": {"set": {"X-Client": "$client_ip"}}}}}), lo) as g:
        g.ca = ca
        yield g


def connect(gw, port=P, source=PROXY):
    return Client(gw.host.connect(("127.0.0.1", port), source=(source, 0)))


def fields(r):
    assert r.status == 200, r
    return {n.lower(): v for n, v in r.json()["headers"]}


@pytest.mark.parametrize("source", ["203.0.113.9", "2001:db8::77"])
@pytest.mark.parametrize("more", [b"", b"\x02\0\x08api.test\x04\0\0"], ids=["", "tlvs"])
def test_the_client_is_whom_the_proxy_names(gw, source, more):
    with connect(gw) as c:
        c.send(header(source, more=more))
        h = fields(c.request())
        assert h["x-client"] == source and h["x-forwarded-for"] == source
        assert fields(c.request())["x-client"] == source  # for all requests of the connection
        line = until(lambda: [l for l in gw.access_log() if l["client"] == source], "its line")[0]
        assert line["peer"] == PROXY, line


def test_byte_by_byte_and_all_at_once(gw):
    with connect(gw) as c:
        for b in header():
            c.send(bytes([b]))
        assert fields(c.request())["x-client"] == "203.0.113.9"
    with connect(gw) as c:
        c.send(header() + b"GET / HTTP/1.1\r\nHost: gw.test\r\n\r\n" * 2)
        assert fields(c.read_response())["x-client"] == fields(c.read_response())["x-client"] == "203.0.113.9"


def test_before_tls(gw):
    sock = gw.host.connect(("127.0.0.1", 8443), source=(PROXY, 0))
    sock.sendall(header())
    with Client(sock, ssl.create_default_context(cafile=gw.ca.cert), "api.test") as c:
        h = fields(c.request())
        assert h["x-client"] == "203.0.113.9" and h["x-forwarded-proto"] == "https"


def test_a_proxy_that_speaks_for_itself(gw):
    with connect(gw) as c:
        c.send(header(command=0x20))
        assert fields(c.request())["x-client"] == PROXY


def test_a_proxy_behind_a_proxy(gw):
    """Whom the header names is a trusted proxy itself: what it says in HTTP is believed too."""
    with connect(gw) as c:
        c.send(header(PROXY))
        assert fields(c.request(headers=[("X-Forwarded-For", "198.51.100.3")]))["x-client"] == "198.51.100.3"
    with connect(gw) as c:
        c.send(header("203.0.113.9"))
        h = fields(c.request(headers=[("X-Forwarded-For", "198.51.100.3"), ("Forwarded", "for=198.51.100.3")]))
        assert h["x-client"] == h["x-forwarded-for"] == "203.0.113.9" and "forwarded" not in h


@pytest.mark.parametrize("sent", [b"GET / HTTP/1.1\r\nHost: gw.test\r\n\r\n", b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\nGET / HTTP/1.1\r\n\r\n",
                                  header()[:13] + b"\x12" + header()[14:], header(command=0x22), header(more=b"\x01\0\5abc"),
                                  SIGNATURE + b"\x21\x11\xff\xff" + b"x" * 100, b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + b"x" * 50],
                         ids=["http", "version 1", "udp", "command", "tlv past the end", "too long", "tls"])
def test_what_is_no_header_closes(gw, origin, sent):
    n, before = len(origin.requests), gw.metric("sluice_listener_proxy_malformed_total", listener="main") or 0
    with connect(gw) as c:
        c.send(sent)
        with pytest.raises((Closed, ConnectionResetError)):
            c.read_response()
    assert len(origin.requests) == n
    assert gw.metric("sluice_listener_proxy_malformed_total", listener="main") == before + 1
    gw.wait_log("proxy_malformed")


def test_from_nobody_else(gw, origin):
    n = len(origin.requests)
    with pytest.raises((Closed, ConnectionError)), connect(gw, source="127.0.0.8") as c:
        c.send(header() + b"GET / HTTP/1.1\r\nHost: gw.test\r\n\r\n")
        c.read_response()
    assert len(origin.requests) == n and gw.metric("sluice_listener_proxy_untrusted_total", listener="main") >= 1
    gw.wait_log("proxy_untrusted")


def test_not_where_the_listener_does_not_expect_it(gw):
    with connect(gw, 8082) as c:
        c.send(header())
        assert c.read_response().status == 400


def test_silence_is_bounded(lo, origin):
    p = serving(origin, 8090, trusted_proxies=[f"{PROXY}/32"], listeners={"main": {"proxy_protocol": True, "timeouts": {"headers": "300ms"}}})
    with Gateway(p, lo) as g, connect(g, 8090) as c:
        c.send(header()[:20])
        assert c.at_eof()


@pytest.mark.parametrize("value,client", [("for=198.51.100.3", "198.51.100.3"), ('for="[2001:db8::5]:99";proto=https', "2001:db8::5"),
                                          (f"for=6.6.6.6, for=198.51.100.3;by=x, for={PROXY}", "198.51.100.3"), ("for=unknown", PROXY),
                                          ("for=6.6.6.6, for=_hidden", PROXY), ('for=6.6.6.6;x="', PROXY)])
def test_forwarded_of_a_trusted_proxy(gw, value, client):
    with connect(gw, 8082) as c:
        h = fields(c.request(headers=[("Forwarded", value)]))
        assert h["x-client"] == client and h["forwarded"] == f"{value}, for={PROXY}"


def test_forwarded_of_anybody_else_is_removed(gw):
    with connect(gw, 8082, "127.0.0.8") as c:
        h = fields(c.request(headers=[("Forwarded", "for=6.6.6.6")]))
        assert h["x-client"] == "127.0.0.8" and "forwarded" not in h
