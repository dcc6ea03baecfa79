# SPDX-License-Identifier: Apache-2.0
"""WebSocket over HTTP/2 (RFC 8441) on either side of the gateway: offered where a route takes it, translated, and ended as each protocol ends it."""
import asyncio
import shutil
import signal
import ssl
import threading

import pytest
import websockets
from harness import h2
from harness.gateway import Gateway
from harness.origin import Origin, response
from harness.origin_h2 import OriginH2
from harness.pki import CA
from harness.policy import upstream
from harness.wait import until
from harness.websocket import EchoH2, EchoServer, WebSocketH2, accept_of, connect, echoing, policy, switch

P = 8080


def to_h2(origin, **over):
    return policy(origin, {"protocol": "h2"}, **over)


def ws(lo, **kw):
    return WebSocketH2(lo.connect(("127.0.0.1", P), 30), **kw)


def line_of(g, status):
    return until(lambda: [l for l in g.access_log() if l["status"] == status], f"a line with {status}")[0]


@pytest.fixture(scope="module")
def echo(lo):
    with EchoServer(lo) as e:
        yield e


@pytest.fixture(scope="module")
def echo_h2(lo):
    with EchoH2(lo) as e:
        yield e


@pytest.fixture
def raw(lo):
    with Origin(lo, answer=echoing) as o:
        yield o


MESSAGES = ("hello", "é" * 100, b"\0\xff" * 50000, "", b"x" * (1 << 20))


@pytest.mark.parametrize("tls", [False, True], ids=["prior knowledge", "tls"])
def test_to_a_server_of_http1(lo, echo, tmp, tls):
    ca = CA(tmp)
    cert, key = ca.issue("api.test")
    listener = {"tls": {"certificates": [{"cert": cert, "key": {"$file": key}}]}} if tls else {}
    ctx = ssl.create_default_context(cafile=ca.cert)
    ctx.set_alpn_protocols(["h2"])
    with Gateway(policy(echo, listeners={"main": listener}), lo) as g:
        with ws(lo, tls=ctx if tls else None, sni="api.test" if tls else None) as c:
            assert c.announced
            assert c.open("/chat?x=1", [("sec-websocket-protocol", "chat")]) == 200
            assert c.get("sec-websocket-protocol") == "chat"
            for m in MESSAGES:
                c.send(m)
                assert c.recv() == m
            c.ping()
            assert g.metric("sluice_listener_active_tunnels", listener="main") == 1
            c.close()
        line = line_of(g, 200)
        assert "reason" not in line and line["protocol"] == "HTTP/2" and line["method"] == "GET" and line["bytes_in"] > 1 << 20 < line["bytes_out"], line
        assert g.metric("sluice_listener_tunnels_total", listener="main") == 1
        assert g.metric("sluice_listener_active_tunnels", listener="main") == 0


def test_to_a_server_of_http2(lo, echo_h2):
    """One connection to it for two of ours; that it may, the gateway has to be told first."""
    with Gateway(to_h2(echo_h2), lo) as g:
        with ws(lo) as a, ws(lo) as b:
            for c in (a, b):
                assert c.open("/chat", [("sec-websocket-key", "made up")]) == 200
                assert c.get("sec-websocket-protocol") == "chat"
            for m in MESSAGES:
                for c in (a, b):
                    c.send(m)
                    assert c.recv() == m
            b.ping()
            a.close()
            b.close()
        assert len(echo_h2.connections) == 1
        r = echo_h2.heads[0]
        assert (r.get(":method"), r.get(":protocol"), r.get(":scheme"), r.get(":path")) == ("CONNECT", "websocket", "http", "/chat")
        assert r.get("sec-websocket-version") == "13" and r.get("sec-websocket-key") is None and r.get("x-forwarded-for") == "127.0.0.1"


def test_a_client_of_http1_to_a_server_of_http2(lo, echo_h2):
    async def talk():
        sock = lo.connect(("127.0.0.1", P), 20)
        sock.setblocking(False)
        async with websockets.connect(f"ws://api.test:{P}/chat", sock=sock, subprotocols=["chat"], max_size=None, compression=None) as c:  # checks the key's answer
            assert c.subprotocol == "chat"
            for m in MESSAGES:
                await c.send(m)
                assert await c.recv() == m
            await asyncio.wait_for(await c.ping(), 20)
        assert c.close_code == 1000
    with Gateway(to_h2(echo_h2), lo) as g:
        asyncio.run(talk())
        line = line_of(g, 101)
        assert "reason" not in line and line["protocol"] == "HTTP/1.1", line


NODE = """
const http2 = require('http2'), s = http2.connect('http://127.0.0.1:PORT');
s.once('remoteSettings', (settings) => {
  if (!settings.enableConnectProtocol) throw new Error('not announced');
  const r = s.request({':method': 'CONNECT', ':protocol': 'websocket', ':path': '/chat', 'sec-websocket-version': '13'});
  let got = Buffer.alloc(0);
  r.on('response', (h) => {
    if (h[':status'] !== 200) throw new Error('status ' + h[':status']);
    r.write(Buffer.from([0x81, 0x82, 0, 0, 0, 0, 0x68, 0x69]));  // "hi", masked with zeros
  });
  r.on('data', (d) => {
    got = Buffer.concat([got, d]);
    if (got.length === 4) r.write(Buffer.from([0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8]));  // close, 1000
  });
  r.on('end', () => { console.log(got.toString('hex')); r.end(); s.close(); });
});
"""


@pytest.mark.skipif(not shutil.which("node"), reason="no node")
def test_the_client_of_node(lo, echo):
    with Gateway(policy(echo), lo):
        out = lo.run(["node", "-e", NODE.replace("PORT", str(P))], timeout=60)
        assert out.stdout.strip() == "81026869" + "880203e8", (out.stdout, out.stderr)


def test_fields_of_both_handshakes(lo, raw):
    with Gateway(policy(raw), lo):
        keys = set()
        for _ in range(2):
            with ws(lo) as c:
                assert c.open("/chat?a=b", [("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="), ("sec-websocket-extensions", "permessage-deflate")]) == 200
                assert {n for n, _ in c.headers} == {":status", "x-correlation-id"}, c.headers
                keys.add(raw.requests[-1].get("Sec-WebSocket-Key"))
        q = raw.requests[0]
        assert (q.method, q.target, q.get("Host")) == ("GET", "/chat?a=b", "api.test")
        assert q.all("Upgrade") == ["websocket"] and q.all("Connection") == ["upgrade"] and q.get("Sec-WebSocket-Extensions") == "permessage-deflate"
        assert len(keys) == 2 and "dGhlIHNhbXBsZSBub25jZQ==" not in keys and all(len(k) == 24 for k in keys), "a fresh one for each"


REFUSED = [("route", "/plain", [], 403, "upgrade_not_allowed"), ("an answer of the gateway's own", "/own", [], 403, "upgrade_not_allowed"),
           ("credentials", "/closed", [], 401, "no_credentials"), ("no route", "/else", [], 404, "no_route"),
           ("version", "/chat", [("sec-websocket-version", "13")], 400, "bad_request")]


def test_what_the_policy_refuses(lo, raw):
    """Never 2xx, which would tell the client that its tunnel is open."""
    p = policy(raw, auth={"keys": {"type": "key", "names": ["k"], "in": ["header"]}},
               routes={"all": None, "chat": {"paths": ["/chat"], "upstream": "origin", "auth": ["public"], "upgrade": ["websocket"]},
                       "plain": {"paths": ["/plain"], "upstream": "origin", "auth": ["public"]}, "own": {"paths": ["/own"], "respond": {"status": 200}, "auth": ["public"]},
                       "closed": {"paths": ["/closed"], "upstream": "origin", "auth": ["keys"], "upgrade": ["websocket"]}})
    with Gateway(p, lo) as g:
        for what, path, fields, status, reason in REFUSED:
            with ws(lo) as c:
                assert c.open(path, fields) == status, what
                c.until(lambda: c.ended, "the answer's end")
                assert c.get("content-type") == "application/problem+json", c.headers
                assert (c.get("sec-websocket-version") == "13") == (what == "version")
                assert until(lambda: [l for l in g.access_log() if l.get("reason") == reason and l["path"] == path], what)
        assert not raw.requests and g.metric("sluice_listener_tunnels_total", listener="main") == 0


@pytest.mark.parametrize("answer,status,reason", [
    (lambda r: response(403, body="no"), 403, None), (lambda r: response(200), 502, "upstream_no_upgrade"),
    (lambda r: r.conn.send(switch("c29tZXRoaW5nIGVsc2U=")), 502, "upstream_malformed"), (lambda r: None, 502, "upstream_reset")],
    ids=["403", "200 without an upgrade", "the answer to another key", "nothing"])
def test_what_an_upstream_of_http1_refuses(lo, raw, answer, status, reason):
    raw.answer = answer
    with Gateway(policy(raw), lo) as g, ws(lo) as c:
        assert c.open() == status
        c.until(lambda: c.ended, "the answer's end")
        assert line_of(g, status).get("reason") == reason


def answering(*args, **kw):
    def early(r):
        r.head(*args, **kw)
    return early


@pytest.mark.parametrize("proto", ["h2", "http/1.1"])
@pytest.mark.parametrize("offers,early,status,reason", [(False, None, 502, "upstream_no_upgrade"), (True, answering(404, end=True), 404, None)],
                         ids=["not offered", "404"])
def test_what_an_upstream_of_http2_refuses(lo, proto, offers, early, status, reason):
    with OriginH2(lo, connect_protocol=offers, early=early) as o, Gateway(to_h2(o), lo) as g:
        for _ in range(2):  # before its SETTINGS have come, and after
            if proto == "h2":
                with ws(lo) as c:
                    assert c.open() == status
            else:
                with g.client(P) as c:
                    c.send(f"GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: {'A' * 22}==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode())
                    assert c.read_response().status == status
        assert all(r.get(":method") == "CONNECT" for r in o.heads) and len(o.heads) == (0 if not offers else 2)
        assert line_of(g, status).get("reason") == reason


# ---- at any pace, to any end



@pytest.mark.parametrize("kind", ["http/1.1", "h2"])
def test_a_client_that_does_not_read_is_waited_for(lo, kind):
    """Its window bounds what the gateway takes from the origin; a neighbour on the same connection of the origin's goes on."""
    size, piece = 32 << 20, b"x" * (1 << 20)
    poured = [0]

    def pour(r):
        r.conn.send(switch(accept_of(r.get("Sec-WebSocket-Key"))))
        while poured[0] < size:
            r.conn.send(piece[:65536])
            poured[0] += 65536

    with (Origin(lo, answer=pour) if kind == "http/1.1" else EchoH2(lo)) as o:
        if kind == "h2":
            asked = o.early

            def early(r):
                asked(r)
                if r.get(":path") == "/pour":
                    for _ in range(size >> 20):
                        r.data(piece, end=False)
            o.early = early
        with Gateway(policy(o, {"protocol": kind}, routes={"all": {"timeouts": {"idle": "60s"}}}), lo) as g, ws(lo) as c:
            c.credit, c.ws = False, None
            assert c.open("/pour") == 200
            c.until(lambda: c.held >= 65535, "the window to be full")
            if kind == "h2":
                with ws(lo) as other:
                    assert other.open() == 200
                    other.send("meanwhile")
                    assert other.recv() == "meanwhile"
                    other.close()
            else:
                last = [-1]

                def stuck():
                    was, last[0] = last[0], poured[0]
                    return was == poured[0]
                until(stuck, "the origin to be held", every=0.3)
                assert poured[0] < size / 2
            assert g.metric("sluice_worker_buffer_bytes") < (1 << 20)
            c.give_credit()
            c.until(lambda: c.bytes >= size, "all of it")


@pytest.mark.parametrize("kind", ["http/1.1", "h2"])
def test_an_origin_that_does_not_read_holds_the_client(lo, kind):
    go = threading.Event()

    def later(r):
        r.conn.send(switch(accept_of(r.get("Sec-WebSocket-Key"))))
        assert go.wait(60)
        got = 0
        while data := r.conn.sock.recv(1 << 20):
            got += len(data)
        r.conn.send(b"%d" % got)

    with (Origin(lo, answer=later) if kind == "http/1.1" else EchoH2(lo)) as o:
        if kind == "h2":
            o.credit, o.on_data = False, None
            o.answer = lambda r: r.data(b"%d" % len(r.body))
        with Gateway(policy(o, {"protocol": kind}), lo) as g, h2.connect(g, P, address="127.0.0.1") as c:
            c.until(lambda: c.acked, "SETTINGS")
            s = connect(c)
            c.until(lambda: c.answer(s).status == 200)
            credit, sent, piece = {"n": c.settings.get(4, 65535)}, 0, b"z" * 16384
            note = c._note

            def counting(f, n):
                note(f, n)
                if isinstance(f, h2.WindowUpdateFrame) and f.stream_id == s:
                    credit["n"] += f.window_increment
            c._note = counting

            def held():
                nonlocal sent
                before = sent
                while credit["n"] >= len(piece):
                    c.send(c.data(s, piece))
                    credit["n"] -= len(piece)
                    sent += len(piece)
                c.sync()
                assert sent < 64 << 20, "nobody holds the client"
                return sent == before and credit["n"] < len(piece)
            until(held, "no more credit", every=0.1)
            assert g.metric("sluice_worker_buffer_bytes") < (1 << 20)
            go.set()
            if kind == "h2":
                o.credit = True
                conn = o.connections[0]
                with conn.lock:
                    conn.h2.acknowledge_received_data(len(o.heads[0].body), o.heads[0].stream)
                    conn.flush()
            c.until(lambda: credit["n"] >= len(piece), "credit again")
            c.send(c.data(s, b"end", end=True))
            c.until(lambda: c.answer(s).ended, "the end")
            assert c.answer(s).body == b"%d" % (sent + 3)


@pytest.mark.parametrize("to", ["http/1.1", "h2"])
def test_the_server_closes(lo, echo, to):
    with EchoH2(lo) as o:
        if to == "h2":
            data = o.on_data

            def bye(r, got):
                data(r, got)
                if r.ws.close_sent is None:
                    r.ws.send_close(1001)
                    r.data(b"".join(r.ws.data_to_send()), end=False)
            o.on_data = bye
        with Gateway(policy(o if to == "h2" else echo, {"protocol": to}), lo) as g, ws(lo) as c:
            assert c.open() == 200
            c.send("bye")
            if to == "h2":
                assert c.recv() == "bye"
            c.recv(8)
            c.flush()
            c.until(lambda: c.ended, "END_STREAM")
            assert c.ws.close_code == 1001
            assert "reason" not in line_of(g, 200)


def test_ends_and_resets_reach_the_other_side(lo, raw):
    with EchoH2(lo) as o, Gateway(policy(raw, upstreams={"two": upstream(o, protocol="h2")},
                                         routes={"two": {"paths": ["/two"], "upstream": "two", "auth": ["public"], "upgrade": ["websocket"]}}), lo) as g:
        with ws(lo) as c:  # its END_STREAM is a FIN there, behind all bytes
            c.open()
            c.h2.send_data(c.stream, b"z" * 16000, end_stream=True)
            c._send()
            c.until(lambda: c.ended, "the origin's end")
            assert bytes(raw.connections[-1].received).endswith(b"z" * 16000)
        for path, gone in (("/chat", lambda: raw.connections[-1].closed.is_set()), ("/two", lambda: o.heads[-1].reset_code == h2.CANCEL)):
            with ws(lo) as c:  # its reset ends the origin's
                assert c.open(path) == 200
                c.h2.reset_stream(c.stream, h2.CANCEL)
                c._send()
                until(gone, "the origin's side to end")
            with ws(lo) as c:  # and so does the end of its connection
                assert c.open(path) == 200
                c.sock.close()
                until(lambda: raw.connections[-1].closed.is_set() if path == "/chat" else o.heads[-1].ended, "the origin's side to end")
        with ws(lo) as c:  # the origin's reset is one here
            assert c.open("/two") == 200
            conn = o.connections[-1]
            with conn.lock:
                o.heads[-1].reset(h2.INTERNAL)
                conn.flush()
            c.until(lambda: c.reset is not None, "the reset")
            assert c.reset == h2.CANCEL and not c.ended
        with ws(lo) as c:
            assert c.open("/two") == 200
            conn = o.connections[-1]
            with conn.lock:
                conn.h2.send_headers(o.heads[-1].stream, [("x", "y")], end_stream=True)
                conn.flush()
            c.until(lambda: c.reset is not None or c.ended, "trailers to end it (RFC 9113 section 8.5)")
            assert c.reset == h2.CANCEL and not c.ended
            until(lambda: [l for l in g.access_log() if l.get("reason") == "upstream_malformed"], "the reason in the log")
        until(lambda: g.metric("sluice_listener_active_tunnels", listener="main") == 0, "the gauge to fall")


def test_idle_it_ends_and_says_so(lo, raw):
    with Gateway(policy(raw, routes={"all": {"timeouts": {"idle": "300ms", "total": "300ms"}}}), lo) as g, ws(lo) as c:
        assert c.open() == 200
        c.until(lambda: c.ended, "END_STREAM")
        assert line_of(g, 200)["reason"] == "tunnel_idle"
        assert g.metric("sluice_route_refusals_total", route="all", reason="tunnel_idle") == 1


def test_a_stop_lets_it_end_until_the_deadline(lo, raw):
    """GOAWAY, and the tunnel goes on; one that ends is not waited for any longer, one that does not is cut."""
    with Gateway(policy(raw, drain_timeout="3s"), lo) as g:
        with h2.connect(g, P, address="127.0.0.1") as c, h2.connect(g, P, address="127.0.0.1") as stays:
            c.until(lambda: c.acked, "SETTINGS")
            stays.until(lambda: stays.acked, "SETTINGS")
            s, t = connect(c), connect(stays)
            c.until(lambda: c.answer(s).status == 200)
            stays.until(lambda: stays.answer(t).status == 200)
            g.signal(signal.SIGTERM)
            c.until(lambda: c.goaway, "GOAWAY")
            assert c.goaway[0] == h2.NO_ERROR
            c.send(c.data(s, b"still"))
            c.until(lambda: c.answer(s).body == b"still", "what was sent after it")
            c.send(c.data(s, b" here", end=True))
            c.until(lambda: c.answer(s).ended and c.answer(s).body == b"still here", "the end")
            assert c.end() == h2.NO_ERROR and stays.answer(t).reset is None
            stays.end()
            assert g.proc.wait(20) == 0
            assert sorted(l.get("reason", "") for l in g.access_log() if l["status"] == 200) == ["", "draining"]


def test_its_bytes_are_under_the_bandwidth(lo, raw):
    p = policy(raw, tiers={"anonymous": {"bandwidth": {"in": "1MiB/s", "out": "1MiB/s"}}})
    with Gateway(p, lo) as g, ws(lo) as c:
        assert c.open() == 200
        before = g.metric("sluice_tier_bandwidth_waits_total", tier="anonymous") or 0
        c.ws = None
        for _ in range(40):
            c.until(lambda: c.h2.local_flow_control_window(c.stream) >= 15000, "credit")
            c.h2.send_data(c.stream, b"x" * 15000)
            c._send()
        c.until(lambda: c.bytes == 600000, "all of it back")
        assert g.metric("sluice_tier_bandwidth_waits_total", tier="anonymous") > before
