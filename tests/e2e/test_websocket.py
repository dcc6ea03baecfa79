# SPDX-License-Identifier: Apache-2.0
"""WebSocket (RFC 6455) through the gateway: only where the route allows it, only after 101, both ways at any pace."""
import asyncio
import socket
import ssl
import threading

import pytest
import websockets
from harness.gateway import Gateway
from harness.origin import Origin, response
from harness.pki import CA
from harness.policy import merge, problem, serving
from harness.wait import until
from harness.websocket import EchoServer, accept_of, echoing, switch

P = 8080
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ASK = [("Connection", "keep-alive, Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Key", KEY), ("Sec-WebSocket-Version", "13")]


def policy(origin, **over):
    return merge(serving(origin, P, routes={"all": {"upgrade": ["websocket"]}}, observe={"access_log": {"format": "json", "path": "-"}}), over)


@pytest.fixture
def raw(lo):
    """An origin that agrees at once, then sends back what comes."""
    with Origin(lo, answer=echoing) as o:
        yield o


def open_raw(c):
    c.send(b"GET /chat HTTP/1.1\r\nHost: gw.test\r\n" + "".join(f"{n}: {v}\r\n" for n, v in ASK).encode() + b"\r\n")
    return c.read_response()


@pytest.fixture(scope="module")
def echo(lo):
    with EchoServer(lo) as e:
        yield e


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_a_client_and_a_server_that_are_not_ours(lo, echo, tmp, tls):
    ca = CA(tmp)
    cert, key = ca.issue("api.test")
    listener = {"tls": {"certificates": [{"cert": cert, "key": {"$file": key}}]}} if tls else {}
    p = policy(echo, listeners={"main": listener})
    ctx = ssl.create_default_context(cafile=ca.cert) if tls else None

    async def talk():
        uri = f"{'wss' if tls else 'ws'}://api.test:{P}/chat?x=1"
        sock = lo.connect(("127.0.0.1", P), 20)
        sock.setblocking(False)
        async with websockets.connect(uri, sock=sock, ssl=ctx, server_hostname="api.test" if tls else None, subprotocols=["chat"], max_size=None, compression="deflate") as ws:
            assert ws.subprotocol == "chat"
            for message in ("hello", "é" * 100, b"\0\xff" * 50000, "", b"x" * (1 << 20)):
                await ws.send(message)
                assert await ws.recv() == message
            await asyncio.wait_for(await ws.ping(), 20)
        assert ws.close_code == 1000
    with Gateway(p, lo) as g:
        asyncio.run(talk())
        line = until(lambda: [l for l in g.access_log() if l["status"] == 101], "its line")[0]
        assert "reason" not in line and line["bytes_in"] > 0 and line["bytes_out"] > 0, line
        assert g.metric("sluice_listener_tunnels_total", listener="main") == 1
        until(lambda: g.metric("sluice_listener_active_tunnels", listener="main") == 0, "the gauge to fall")


def test_fields_of_both_handshakes(lo, raw):
    with Gateway(policy(raw), lo) as g, g.client(P) as c:
        r = open_raw(c)
        assert r.status == 101 and r.get("Upgrade") == "websocket" and r.get("Connection") == "upgrade"
        assert r.get("Sec-WebSocket-Accept") == accept_of(KEY) and "Content-Length" not in r and "Transfer-Encoding" not in r
        q = raw.wait_requests(1)
        assert q.all("Upgrade") == ["websocket"] and q.all("Connection") == ["upgrade"] and q.get("Sec-WebSocket-Key") == KEY
        assert q.get("X-Forwarded-For") == "127.0.0.1"
        c.send(b"any bytes\0\xff")
        assert c.read_exactly(11) == b"any bytes\0\xff"


@pytest.mark.parametrize("over", [{}, {"routes": {"all": {"upgrade": ["websocket"], "auth": ["keys"]}}, "auth": {"keys": {"type": "key", "names": ["k"], "in": ["header"]}}}],
                         ids=["the route does not allow it", "no credentials"])
def test_not_without_the_policys_leave(lo, raw, over):
    raw.answer = lambda r: response(426)
    with Gateway(serving(raw, P, **over), lo) as g, g.client(P) as c:
        r = open_raw(c)
        if over:
            problem(r, 401, "no_credentials")
            assert not raw.requests
        else:
            assert r.status == 426 and not raw.requests[0].all("Upgrade") and not raw.requests[0].all("Connection")
        assert c.request("GET", "/next", [("k", "x")]).status in (401, 426)  # the connection speaks HTTP still


@pytest.mark.parametrize("change", [("Sec-WebSocket-Version", "12"), ("Sec-WebSocket-Key", "short"), ("Upgrade", "h2c"), ("Upgrade", "websocket, h2c"), ("Connection", "keep-alive")])
def test_what_is_no_handshake_is_a_request(lo, raw, change):
    raw.answer = lambda r: response(400)
    fields = [f for f in ASK if f[0] != change[0]] + [change]
    with Gateway(policy(raw), lo) as g, g.client(P) as c:
        assert c.request("GET", "/", fields).status == 400
        assert not raw.requests[0].all("Upgrade")


@pytest.mark.parametrize("answer", [switch("c29tZXRoaW5nIGVsc2U="), switch(accept_of(KEY)).replace(b"WebSocket\r", b"h2c\r"),
                                    b"HTTP/1.1 101 X\r\n\r\n", switch(accept_of(KEY), f"Sec-WebSocket-Accept: {accept_of(KEY)}")],
                         ids=["another key", "another protocol", "bare", "accepted twice"])
def test_a_101_that_does_not_answer_the_handshake_opens_nothing(lo, raw, answer):
    """An origin that can be talked into any status must not make a tunnel past the routes."""
    raw.answer = lambda r: r.conn.send(answer)
    with Gateway(policy(raw), lo) as g, g.client(P) as c:
        c.send(b"GET /chat HTTP/1.1\r\nHost: gw.test\r\n" + "".join(f"{n}: {v}\r\n" for n, v in ASK).encode() + b"\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n")
        problem(c.read_response(), 502, "upstream_malformed")
        assert b"smuggled" not in bytes(raw.connections[0].received)


def test_bytes_before_101_wait_for_it(lo, raw):
    go = threading.Event()
    agree = raw.answer

    def later(r):
        assert go.wait(30)
        return agree(r)
    raw.answer = later
    with Gateway(policy(raw), lo) as g, g.client(P) as c:
        c.send(b"GET /chat HTTP/1.1\r\nHost: gw.test\r\n" + "".join(f"{n}: {v}\r\n" for n, v in ASK).encode() + b"\r\nearly")
        raw.wait_requests(1)
        assert not bytes(raw.connections[0].received).endswith(b"early")
        go.set()
        assert c.read_response().status == 101 and c.read_exactly(5) == b"early"


def test_after_another_answer_it_is_http_again(lo, raw):
    raw.answer = lambda r: response(403)
    with Gateway(policy(raw), lo) as g, g.client(P) as c:
        c.send(b"GET /chat HTTP/1.1\r\nHost: gw.test\r\n" + "".join(f"{n}: {v}\r\n" for n, v in ASK).encode() + b"\r\nGET /2 HTTP/1.1\r\nHost: gw.test\r\n\r\n")
        assert c.read_response().status == 403 and c.read_response().status == 403
        assert [r.target for r in raw.requests] == ["/chat", "/2"]


@pytest.mark.parametrize("who", ["client", "origin"])
def test_who_does_not_read_holds_the_other(lo, raw, who):
    """Bounded by what sockets and buffers hold, far below what is sent; then all of it comes."""
    size, sent, stop = 64 << 20, [0], threading.Event()
    agree = lambda r: r.conn.send(switch(accept_of(r.get("Sec-WebSocket-Key"))))

    def pour(send):
        piece = b"x" * 65536
        while sent[0] < size:
            send(piece)
            sent[0] += len(piece)

    def drain(sock, got=0):
        while got < size:
            n = len(sock.recv(1 << 20))
            assert n
            got += n

    def answer(r):
        agree(r)
        if who == "client":
            pour(r.conn.send)
        else:
            assert stop.wait(60)
            drain(r.conn.sock)
        r.conn.sock.recv(1)
    raw.answer = answer
    with Gateway(policy(raw, routes={"all": {"timeouts": {"idle": "60s"}}}), lo) as g, g.client(P, timeout=60) as c:
        assert open_raw(c).status == 101
        t = threading.Thread(target=pour, args=(c.send,)) if who == "origin" else None
        if t:
            t.start()
        last = [-1]

        def stuck():
            was, last[0] = last[0], sent[0]
            return sent[0] and was == sent[0]
        until(stuck, "the sender to be held", every=0.3)
        assert sent[0] < size / 2 and g.metric("sluice_worker_buffer_bytes") < (1 << 20)
        stop.set()
        if t:
            t.join(60)
        else:
            drain(c.sock, len(c.buf))


@pytest.mark.parametrize("who", ["client", "origin"])
def test_the_end_of_one_side_reaches_the_other_behind_all_bytes(lo, raw, who):
    def answer(r):
        r.conn.send(switch(accept_of(r.get("Sec-WebSocket-Key"))) + (b"y" * 300000 if who == "origin" else b""))
        if who == "origin":
            return None
        while data := r.conn.sock.recv(65536):
            r.conn.received += data
        r.conn.send(b"all: %d" % bytes(r.conn.received).count(b"z"))
        return None
    raw.answer = answer
    with Gateway(policy(raw), lo) as g, g.client(P) as c:
        assert open_raw(c).status == 101
        if who == "origin":
            assert c.read_exactly(300000) == b"y" * 300000
        else:
            c.send(b"z" * 300000)
            c.sock.shutdown(socket.SHUT_WR)
            assert c.read_exactly(11) == b"all: 300000"
        assert c.at_eof()
        until(lambda: [l for l in g.access_log() if l["status"] == 101 and "reason" not in l], "its line")


def test_idle_it_ends_and_says_so(lo, raw):
    with Gateway(policy(raw, routes={"all": {"timeouts": {"idle": "300ms", "total": "300ms"}}}), lo) as g, g.client(P) as c:
        assert open_raw(c).status == 101
        assert c.at_eof()
        line = until(lambda: [l for l in g.access_log() if l["status"] == 101], "its line")[0]
        assert line["reason"] == "tunnel_idle", line
        assert g.metric("sluice_route_refusals_total", route="all", reason="tunnel_idle") == 1


def test_a_client_that_vanishes_takes_the_upstream_along(lo, raw):
    with Gateway(policy(raw), lo) as g:
        c = g.client(P)
        assert open_raw(c).status == 101
        c.send(b"x")
        assert c.read_exactly(1) == b"x"
        c.close()
        assert raw.connections[0].closed.wait(20)
        with g.client(P) as again:
            assert open_raw(again).status == 101
            assert g.metric("sluice_listener_active_tunnels", listener="main") == 1


def test_its_bytes_are_under_the_bandwidth(lo, raw):
    p = policy(raw, tiers={"anonymous": {"bandwidth": {"in": "1MiB/s", "out": "1MiB/s"}}})
    with Gateway(p, lo) as g, g.client(P, timeout=30) as c:
        assert open_raw(c).status == 101
        before = g.metric("sluice_tier_bandwidth_waits_total", tier="anonymous") or 0
        c.send(b"x" * 600000)
        assert len(c.read_exactly(600000)) == 600000
        assert g.metric("sluice_tier_bandwidth_waits_total", tier="anonymous") > before


def test_a_reload_leaves_it_and_holds_for_the_next(lo, raw):
    with Gateway(policy(raw), lo) as g, g.client(P) as c:
        assert open_raw(c).status == 101
        assert g.apply(serving(raw, P))[0] == 0
        c.send(b"still")
        assert c.read_exactly(5) == b"still"
        raw.answer = lambda r: response(200)
        with g.client(P) as other:
            assert open_raw(other).status == 200
