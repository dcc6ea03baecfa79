# SPDX-License-Identifier: Apache-2.0
"""A stop that clients who do nothing cannot hold: those that have sent nothing, or only begun to. Who is about to speak is served."""
import signal
import ssl

import pytest
from harness.gateway import Gateway
from harness.origin import Origin
from harness.policy import serving
from harness.wait import until

P = 8443
STOPS = 30  # seconds, far below drain_timeout, in which a stop must be through


@pytest.fixture
def origin(lo):
    with Origin(lo, answer=lambda r: b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok") as o:
        yield o


@pytest.fixture
def gw(lo, origin, ca):
    cert, key = ca.issue("api.test")
    p = serving(origin, P, drain_timeout="10m", listeners={"main": {"protocols": ["h2", "http/1.1"], "timeouts": {"handshake": "3s", "headers": "10m", "idle": "10m"},
                                                                    "tls": {"certificates": [{"cert": cert, "key": {"$file": key}}]}}})
    with Gateway(p, lo) as g:
        yield g


def context(ca, alpn="http/1.1"):
    ctx = ssl.create_default_context(cafile=ca.cert)
    ctx.set_alpn_protocols([alpn])
    return ctx


class Hello:
    """A handshake in hand: what the client's side would send is taken out, and put in, by the test."""

    def __init__(self, lo, ca, alpn="http/1.1"):
        self.sock = lo.connect(("127.0.0.1", P), 20)
        self.to, self.fro = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context(ca, alpn).wrap_bio(self.to, self.fro, server_hostname="api.test")
        self.step(self.tls.do_handshake)
        self.first = self.fro.read()

    def step(self, what, *args):
        try:
            return what(*args)
        except ssl.SSLWantReadError:
            return None

    def finish(self):
        self.sock.sendall(self.first)
        while True:
            try:
                self.tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                data = self.sock.recv(65536)
                assert data, "closed in the handshake"
                self.to.write(data)
        self.sock.sendall(self.fro.read())

    def send(self, data):
        self.tls.write(data)
        self.sock.sendall(self.fro.read())

    def read(self):
        """What comes until the end."""
        out = b""
        while data := self.sock.recv(65536):
            self.to.write(data)
            while got := self.step(self.tls.read, 65536):
                out += got
        return out


def accepted(g, n):
    until(lambda: g.metric("sluice_listener_active_connections", listener="main") == n, f"{n} connections")


def test_who_has_sent_nothing_does_not_hold_it(lo, gw):
    socks = [lo.connect(("127.0.0.1", P), 20) for _ in range(3)]
    accepted(gw, 3)
    gw.signal(signal.SIGTERM)
    for s in socks:
        assert s.recv(1) == b""
    assert gw.proc.wait(STOPS) == 0


@pytest.mark.parametrize("part", [3, 100], ids=["a record's head", "half a ClientHello"])
def test_who_stops_within_its_handshake_holds_it_no_longer_than_that(lo, gw, ca, part):
    c = Hello(lo, ca)
    c.sock.sendall(c.first[:part])
    accepted(gw, 1)
    gw.signal(signal.SIGTERM)
    assert c.sock.recv(65536) == b""
    assert gw.proc.wait(STOPS) == 0


def test_who_was_about_to_speak_is_served(lo, gw, ca):
    c, d = Hello(lo, ca), Hello(lo, ca)
    accepted(gw, 2)
    gw.signal(signal.SIGTERM)
    c.finish()
    c.send(b"GET / HTTP/1.1\r\nHost: api.test\r\n\r\n")
    assert c.read().endswith(b"Connection: close\r\n\r\nok")
    assert d.read() == b""
    assert gw.proc.wait(STOPS) == 0


def test_a_handshake_that_ends_meanwhile_is_a_connection_that_does(lo, gw, ca):
    """Idle over HTTP/2 from then on: told to go, and gone; over HTTP/1.1 likewise, untold."""
    both = Hello(lo, ca, "h2"), Hello(lo, ca)
    accepted(gw, 2)
    gw.signal(signal.SIGTERM)
    for c in both:
        c.finish()
    both[0].send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")
    assert b"\0\0\x08\x07\0\0\0\0\0" in both[0].read(), "GOAWAY"
    assert both[1].read() == b""
    assert gw.proc.wait(STOPS) == 0
