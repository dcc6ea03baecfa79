# SPDX-License-Identifier: Apache-2.0
"""Upstreams that speak HTTP/2: many requests on one connection, flow control tied to the client, failures told apart."""
import socket
import ssl
import threading

import pytest
from h2.settings import SettingCodes
from harness.client import Closed
from harness.gateway import Gateway
from harness.origin import Origin
from harness.origin_h2 import OriginH2
from harness.pki import CA
from harness.policy import merge, problem, serving, upstream
from harness.wait import until

P = 8080


def policy(origin, upstream_keys=None, **over):
    base = serving(origin, P, upstreams={"origin": upstream(origin, protocol="h2", **(upstream_keys or {}))}, observe={"access_log": {"format": "json", "path": "-"}})
    return merge(base, over)


@pytest.fixture
def origin(lo):
    with OriginH2(lo) as o:
        yield o


@pytest.fixture
def start(lo, origin):
    made = []

    def start(**over):
        made.append(Gateway(policy(origin, **over), lo))
        return made[-1]
    yield start
    for g in made:
        g.__exit__(None, None, None)


def test_a_request_and_its_answer(start, origin):
    def answer(r):
        r.head(201, [("server", "h2"), ("x-two", "1"), ("x-two", "2"), ("content-length", "5")])
        r.data(b"hello")
    origin.answer = answer
    with start().client(P) as c:
        for i in range(20):
            r = c.request("POST", f"/a%20b?q={i}", [("X-Mixed-Case", "v"), ("Connection", "X-Hop"), ("X-Hop", "1")], body=b"body")
            assert r.status == 201 and r.body == b"hello" and r.all("x-two") == ["1", "2"] and r.get("content-length") == "5"
    q = origin.requests[0]
    assert (q.get(":method"), q.get(":scheme"), q.get(":path"), q.get(":authority")) == ("POST", "http", "/a%20b?q=0", "gw.test")
    assert q.get("x-mixed-case") == "v" and q.get("content-length") == "4" and q.get("x-forwarded-for") == "127.0.0.1" and q.body == b"body"
    assert not {n for n, _ in q.headers} & {"host", "connection", "x-hop", "te", "transfer-encoding"}, q.headers
    assert len(origin.connections) == 1 and len(origin.requests) == 20


@pytest.mark.parametrize("method,status", [("HEAD", 200), ("GET", 204), ("GET", 304)])
def test_answers_without_a_body(start, origin, method, status):
    def answer(r):
        r.head(status, [("content-length", "77")] if status != 204 else [], end=True)
    origin.answer = answer
    with start().client(P) as c:
        r = c.request(method)
        assert r.status == status and r.get("content-length") == (None if status == 204 else "77")
        origin.answer = lambda r: b"next"
        assert c.request().body == b"next"


def test_trailers_and_interim_answers_both_ways(start, origin):
    def answer(r):
        r.head(103, [("link", "</a>")])
        r.head()
        r.data(b"abc", end=False)
        r.trailers([("x-sum", "7"), ("content-type", "evil")])
    origin.answer = answer
    with start().client(P) as c:
        c.send(b"POST / HTTP/1.1\r\nHost: gw.test\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Up: 1\r\n\r\n")
        assert c.read_response(interim=True).get("link") == "</a>"
        r = c.read_until(b"\r\n\r\n")
        assert r.startswith(b"HTTP/1.1 200") and b"Transfer-Encoding: chunked" in r
        assert c.read_until(b"\r\n\r\n") == b"3\r\nabc\r\n0\r\nx-sum: 7"
    q = origin.requests[0]
    assert q.get("te") == "trailers" and q.trailers_got == [("x-up", "1")] and q.body == b"hi"


def test_many_at_once_share_a_connection(start, origin):
    """100 wait at the same time; each gets its own answer."""
    go = threading.Event()
    waiting = []
    origin.answer = waiting.append
    g = start()
    clients = [g.client(P, timeout=30) for _ in range(100)]
    for i, c in enumerate(clients):
        c.send(f"GET /{i} HTTP/1.1\r\nHost: gw.test\r\n\r\n".encode())
    origin.wait_requests(100)
    assert len(origin.connections) == 1
    conn = origin.connections[0]
    with conn.lock:
        for r in reversed(waiting):
            r.head()
            r.data(r.get(":path").encode())
        conn.flush()
    for i, c in enumerate(clients):
        assert c.read_response().body == f"/{i}".encode()
        c.close()


def test_no_more_streams_than_the_upstream_takes(lo):
    with OriginH2(lo, settings={SettingCodes.MAX_CONCURRENT_STREAMS: 2}) as o, Gateway(policy(o), lo) as g:
        with g.client(P) as c:
            assert c.request().status == 200  # its settings are known from here on
        o.answer = lambda r: None
        clients = [g.client(P) for _ in range(6)]
        for c in clients:
            c.send(b"GET / HTTP/1.1\r\nHost: gw.test\r\n\r\n")
        o.wait_requests(7)  # those that find no room on the first wait for another, whose settings are not known yet
        assert sorted(o.connections[0].open) == [1, 3, 5] and len(o.connections) == 2
        for c in clients:
            c.close()


def test_bodies_of_many_windows(start, origin):
    size = 3 << 20
    origin.answer = lambda r: r.body
    with start(listeners={"main": {"limits": {"body": "8MiB"}}}).client(P, timeout=60) as c:
        body = bytes(range(256)) * (size // 256)
        r = c.request("POST", "/", body=body)
        assert r.status == 200 and r.body == body


def test_a_client_that_does_not_read_holds_its_stream_alone(start, origin):
    size = 16 << 20
    origin.answer = lambda r: b"x" * size if r.get(":path") == "/big" else b"small"
    g = start()
    with g.client(P, timeout=60) as slow, g.client(P) as quick:
        slow.send(b"GET /big HTTP/1.1\r\nHost: gw.test\r\n\r\n")
        origin.wait_requests(1)
        conn = origin.connections[0]
        last = [-1]

        def stuck():
            left = len(conn.waiting[1][0])
            was, last[0] = last[0], left
            return left < size and was == left
        until(stuck, "the stream to be held", every=0.3)
        assert last[0] > size - (12 << 20)  # what sockets hold
        for _ in range(20):
            assert quick.request().body == b"small"
        assert len(origin.connections) == 1
        slow.read_until(b"\r\n\r\n")  # in chunks: more comes than the body
        got = len(slow.buf)
        while got < size:
            got += len(slow.sock.recv(1 << 20))


def test_an_upstream_that_does_not_read_holds_the_client(start, origin):
    origin.credit = False
    g = start(listeners={"main": {"limits": {"body": "64MiB"}}})
    with g.client(P, timeout=5) as c:
        c.send(b"POST / HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 50000000\r\n\r\n")
        c.sock.settimeout(1)
        sent = 0
        with pytest.raises(TimeoutError):
            while sent < 50000000:
                sent += c.sock.send(b"x" * 65536)
        assert sent < 20000000 and g.metric("sluice_worker_buffer_bytes") < (1 << 20)
        origin.connections[0].close()  # else the stop would wait for a request that nobody takes


def test_a_client_that_leaves_resets_its_stream(start, origin):
    origin.answer = lambda r: None
    g = start()
    with g.client(P) as c:
        c.send(b"GET / HTTP/1.1\r\nHost: gw.test\r\n\r\n")
        r = origin.wait_requests(1)
        c.close()
    until(lambda: r.reset_code == 8, "CANCEL")
    origin.answer = lambda r: b"next"
    with g.client(P) as c:
        assert c.request().body == b"next"
    assert len(origin.connections) == 1


@pytest.mark.parametrize("method,code,tries", [("GET", 7, 2), ("POST", 7, 2), ("GET", 2, 2), ("POST", 2, 1)], ids=["refused", "refused post", "reset", "reset post"])
def test_what_was_not_processed_is_sent_again(start, origin, method, code, tries):
    """REFUSED_STREAM whatever the method (RFC 9113 section 8.7); another reset, on a connection that served before, where it is safe."""
    def answer(r):
        if r.get(":path") == "/" and len(origin.requests) == 2:
            r.reset(code)
            return None
        return b"ok"
    origin.answer = answer
    with start().client(P) as c:
        assert c.request("GET", "/first").status == 200
        r = c.request(method, "/", body=b"abc" if method == "POST" else None)
        if tries == 2:
            assert r.status == 200 and origin.requests[2].body == (b"abc" if method == "POST" else b"")
        else:
            problem(r, 502, "upstream_reset")
        assert len(origin.requests) == 1 + tries


def test_goaway_ends_what_it_covers_and_the_rest_goes_elsewhere(start, origin):
    waiting = []

    def answer(r):
        if len(origin.requests) == 1:
            waiting.append(r)
            return None
        if len(origin.requests) == 2:
            r.conn.h2.close_connection(last_stream_id=1)  # python3-h2 sends nothing afterwards
            frame = r.conn.h2.data_to_send()
            r.conn.sock.sendall(frame)
            return None
        return b"elsewhere"
    origin.answer = answer
    g = start()
    with g.client(P) as a, g.client(P) as b:
        a.send(b"POST /1 HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 1\r\n\r\nx")
        origin.wait_requests(1)
        b.send(b"POST /2 HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 1\r\n\r\nx")
        assert b.read_response().body == b"elsewhere"
        assert len(origin.connections) == 2
        origin.connections[0].close()
        problem(a.read_response(), 502, "upstream_reset")


def test_a_dead_connection_is_replaced_unseen(start, origin):
    with start().client(P) as c:
        assert c.request().status == 200
        origin.connections[0].close()
        for _ in range(3):
            assert c.request().status == 200
        assert len(origin.connections) == 2


@pytest.mark.parametrize("fields", [[("x", "a\r\nset-cookie: b")], [("x", "a\0b")], [("x y", "1")], [("transfer-encoding", "chunked")], [("connection", "close")],
                                    [("content-length", "1"), ("content-length", "2")], [("content-length", "+5")], [("X-Upper", "1")], [(":status", "200")],
                                    [(":path", "/")], [("x", "y" * 70000)], [("x", "1")] * 300],
                         ids=["crlf", "nul", "name", "te", "connection", "lengths", "length", "upper", "status twice", "pseudo", "large", "many"])
def test_answers_that_cannot_be_are_502(start, origin, fields):
    origin.answer = lambda r: r.head(200, fields, end=True) if r.get(":path") == "/" else b"ok"
    g = start()
    with g.client(P) as c:
        problem(c.request(), 502, "upstream_malformed")
        assert c.request("GET", "/next").body == b"ok"  # the client's connection goes on


@pytest.mark.parametrize("said,sent", [("5", b"hell"), ("3", b"hello")], ids=["less", "more"])
def test_a_length_that_is_not_kept_does_not_look_whole(start, origin, said, sent):
    def answer(r):
        r.head(200, [("content-length", said)])
        r.conn.h2._validate = False
        r.data(sent)
    origin.answer = answer
    with start().client(P) as c:
        try:
            r = c.request()
        except Closed:
            return
        problem(r, 502, "upstream")


def test_what_is_no_http2_is_told(lo):
    s, got = lo.listen(0), []

    def speak():
        c, _ = s.accept()
        with c:
            c.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n" * 10)
            while data := c.recv(65536):
                got.append(data)
    t = threading.Thread(target=speak)
    t.start()
    with Gateway(policy("%s:%d" % s.getsockname()[:2]), lo) as g, g.client(P) as c:
        problem(c.request("POST", body=b"x"), 502, "upstream_malformed")
        t.join(20)
        g.wait_log("no HTTP/2")
    s.close()
    assert b"".join(got).startswith(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")


def context(ca, *alpn):
    ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ctx.load_cert_chain(*ca.issue("origin.test"))
    if alpn:
        ctx.set_alpn_protocols(list(alpn))
    return ctx


def test_over_tls_by_alpn(lo, tmp):
    ca = CA(tmp)
    tls = {"ca": ca.cert, "sni": "origin.test"}
    with OriginH2(lo, tls=context(ca, "http/1.1", "h2")) as o, Gateway(policy(o, {"tls": tls}), lo) as g, g.client(P) as c:
        for _ in range(3):
            assert c.request(body=b"z" * 50000, method="POST").status == 200
        assert o.requests[0].get(":scheme") == "https" and len(o.connections) == 1
    with OriginH2(lo, tls=context(ca)) as o, Gateway(policy(o, {"tls": tls}), lo) as g, g.client(P) as c:
        problem(c.request(), 502, "upstream_tls")
        g.wait_log("does not agree to h2")


def test_a_reload_lets_requests_end_and_closes_the_rest(start, origin, lo):
    waiting = []
    origin.answer = waiting.append
    g = start()
    with g.client(P) as c:
        c.send(b"GET / HTTP/1.1\r\nHost: gw.test\r\n\r\n")
        origin.wait_requests(1)
        with Origin(lo) as plain:
            assert g.apply(serving(plain, P))[0] == 0
            with g.client(P) as other:
                assert other.request().status == 200
            conn = origin.connections[0]
            with conn.lock:
                waiting[0].head()
                waiting[0].data(b"late")
                conn.flush()
            assert c.read_response().body == b"late"
            assert conn.closed.wait(20)


def test_a_connection_that_has_gone_silent_gets_no_more_requests(start, origin):
    """A peer that vanished without a word: one request waits for nothing, the next one has a new connection."""
    g = start(routes={"all": {"timeouts": {"first_byte": "300ms"}}})
    with g.client(P) as c, g.client(P) as other:
        assert c.request().status == 200
        origin.answer = lambda r: None if r.conn is origin.connections[0] else b"new"
        problem(c.request(), 504, "upstream_timeout")
        assert other.request().body == b"new"
        assert origin.connections[0].closed.wait(20)


def test_an_upstream_that_takes_no_stream_costs_no_descriptors(lo):
    with OriginH2(lo, settings={SettingCodes.MAX_CONCURRENT_STREAMS: 0}, answer=lambda r: None) as o, \
            Gateway(policy(o, routes={"all": {"timeouts": {"first_byte": "200ms"}}}), lo) as g:
        for _ in range(5):
            with g.client(P) as c:
                assert c.request().status == 504
        until(lambda: sum(not k.closed.is_set() for k in o.connections) <= 1, "the connections to be closed")


def test_idle_connections_are_closed(start, origin):
    g = start(upstream_keys={"keepalive": {"idle_timeout": "300ms"}})
    with g.client(P) as c:
        assert c.request().status == 200
        assert origin.connections[0].closed.wait(20)
        assert c.request().status == 200


def test_a_connection_serves_so_many_requests(start, origin):
    g = start(upstream_keys={"keepalive": {"requests": 3}})
    with g.client(P) as c:
        for _ in range(7):
            assert c.request().status == 200
    assert len(origin.connections) == 3
    until(lambda: origin.connections[0].closed.is_set() and origin.connections[1].closed.is_set(), "the first two to be closed")


def test_frames_that_bring_nothing_are_not_taken_for_ever(start, origin):
    def answer(r):
        r.conn.sock.sendall(r.conn.h2.data_to_send())
        try:
            for _ in range(300):
                r.conn.sock.sendall(b"\0\0\x04\x08\0\0\0\0\0\0\0\0\x01" * 100)  # WINDOW_UPDATE
        except OSError:
            pass
        return None
    origin.answer = answer
    with start().client(P) as c:
        r = c.request("POST", body=b"x")
        problem(r, 502, "upstream")
        assert origin.connections[0].closed.wait(20)


def test_dead_at_the_start(lo):
    s = lo.listen(0)
    target = "%s:%d" % s.getsockname()[:2]
    s.close()
    with Gateway(policy(target), lo) as g, g.client(P) as c:
        for _ in range(3):
            problem(c.request(), 502, "upstream_connect")
