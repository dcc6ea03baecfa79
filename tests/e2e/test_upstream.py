# SPDX-License-Identifier: Apache-2.0
"""The exchange with the upstream: connections kept, phases timed, failures told apart."""
import socket
import struct
import threading
import time

import pytest
from harness import ns
from harness.client import Closed
from harness.gateway import Gateway
from harness.origin import Origin, echo, response
from harness.policy import problem, serving, upstream

P = 8080


@pytest.fixture
def origin(lo):
    with Origin(lo) as o:
        yield o


@pytest.fixture
def start(lo, origin):
    """start(**policy keys) -> a gateway in front of origin; stopped, and its exit checked, at the end."""
    made = []

    def start(**over):
        made.append(Gateway(serving(origin, P, **over), lo))
        return made[-1]
    yield start
    for g in made:
        g.__exit__(None, None, None)


def test_keep_alive_on_both_sides(start, origin):
    with start().client(P) as c:
        for i in range(100):
            assert c.request("GET", f"/{i}").json()["target"] == f"/{i}"
    assert len(origin.connections) == 1


def test_upstream_connections_are_shared_by_clients(start, origin):
    g = start()
    for _ in range(20):
        with g.client(P) as c:
            assert c.request().status == 200
    assert len(origin.connections) == 1


def test_connection_close_is_honoured(start):
    with start().client(P) as c:
        r = c.request("GET", "/", [("Connection", "close")])
        assert r.status == 200 and r.get("Connection").lower() == "close" and c.at_eof()


def test_http10_client(start):
    with start().client(P) as c:
        c.send(b"GET /old HTTP/1.0\r\nHost: gw.test\r\n\r\n")
        r = c.read_response()
        assert r.status == 200 and r.json()["target"] == "/old" and c.at_eof()


def test_http10_client_gets_no_chunks(start, origin):
    origin.answer = lambda r: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    with start().client(P) as c:
        c.send(b"GET / HTTP/1.0\r\nHost: gw.test\r\n\r\n")
        r = c.read_response()
        assert "Transfer-Encoding" not in r and r.body == b"abc" and c.at_eof()


def test_origin_that_closes_after_each_answer(start, origin):
    origin.answer = lambda r: response(headers=[("Connection", "close")])
    with start().client(P) as c:
        assert all(c.request().status == 200 for _ in range(10))
    assert len(origin.connections) == 10


def test_keepalive_requests_caps_a_connection(start, origin):
    g = start(upstreams={"origin": upstream(origin, keepalive={"idle": 8, "idle_timeout": "30s", "requests": 3})})
    with g.client(P) as c:
        assert all(c.request().status == 200 for _ in range(9))
    assert len(origin.connections) == 3


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_a_reused_connection_that_died_is_retried_once_and_free(start, origin, method):
    """The keep-alive race: the second request meets a connection that the origin closes unanswered."""
    def answer(r):
        if r.conn.number == 0 and len(origin.requests) > 1:
            return None
        return echo(r)
    origin.answer = answer
    with start().client(P) as c:
        assert c.request().status == 200
        r = c.request(method, "/again", body=b"" if method == "PUT" else None)
        assert r.status == 200 and r.json()["target"] == "/again"
    assert len(origin.connections) == 2


def test_idle_connections_that_the_origin_closed_cost_no_request(start, origin):
    g = start()
    with g.client(P) as c:
        for _ in range(5):
            assert c.request().status == 200
            origin.connections[-1].close()
            assert c.request("POST", "/p", body=b"x").status == 200


def test_a_post_that_was_sent_is_not_sent_again(start, origin):
    origin.answer = lambda r: None if r.method == "POST" else echo(r)
    with start().client(P) as c:
        assert c.request().status == 200
        problem(c.request("POST", "/pay", body=b"1"), 502, "upstream_reset")
    assert [r.method for r in origin.requests].count("POST") == 1


def test_a_fresh_connection_that_breaks_is_502(start, origin):
    origin.answer = lambda r: None
    with start().client(P) as c:
        problem(c.request(), 502, "upstream_reset")
        assert c.request().status == 502  # and the client's connection lives
    assert len(origin.requests) == 2


def test_reset_instead_of_an_answer_is_502(start, origin):
    origin.answer = lambda r: r.conn.reset()
    with start().client(P) as c:
        problem(c.request(), 502, "upstream_reset")


def test_refused_connection_is_502(lo):
    dead = f"127.0.0.1:{lo.free_port()}"
    with Gateway(serving(dead, P), lo) as g, g.client(P) as c:
        problem(c.request(), 502, "upstream_connect")
        assert g.metric("sluice_upstream_connect_failures_total", upstream="origin") >= 1


def test_one_dead_target_of_two_costs_no_request(start, lo, origin):
    g = start(upstreams={"origin": upstream(f"127.0.0.1:{lo.free_port()}", origin)})
    with g.client(P) as c:
        assert [c.request().status for _ in range(20)] == [200] * 20


def test_weights_of_round_robin(start, lo, origin):
    with Origin(lo) as second:
        g = start(upstreams={"origin": {"targets": [{"address": origin.target, "weight": 3}, {"address": second.target, "weight": 1}]}})
        with g.client(P) as c:
            assert all(c.request().status == 200 for _ in range(40))
        assert (len(origin.requests), len(second.requests)) == (30, 10)


@pytest.mark.parametrize("bad", [b"HTTP/9.9 what\r\n\r\n", b"garbage\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
                                 b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc", b"HTTP/1.1 200 OK\r\nA b: c\r\nContent-Length: 0\r\n\r\n",
                                 b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n"])
def test_malformed_responses_are_502(start, origin, bad):
    origin.answer = lambda r: bad if r.target == "/bad" else echo(r)
    with start().client(P) as c:
        problem(c.request("GET", "/bad"), 502, "upstream_malformed")
        assert c.request("GET", "/good").status == 200


def test_a_response_head_without_end_is_502(start, origin):
    origin.answer = lambda r: b"HTTP/1.1 200 OK\r\n" + b"X-Pad: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n" * 8000 + b"\r\n"
    with start().client(P) as c:
        problem(c.request(), 502, "upstream_malformed")


def test_truncated_body_is_not_passed_off_as_whole(start, origin):
    origin.answer = lambda r: r.conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort")
    with start().client(P) as c, pytest.raises(Closed) as e:
        c.request()
    assert e.value.got == b"short"


def test_truncated_chunks_are_not_passed_off_as_whole(start, origin):
    origin.answer = lambda r: r.conn.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n")
    with start().client(P) as c, pytest.raises(Closed):
        c.request()


# ---- phases, each with a timeout of its own: the answer is the event that is awaited

def hold(r):
    r.conn.keep = True
    threading.Event().wait(20)


def test_first_byte_timeout_is_504(start, origin):
    origin.answer = hold
    g = start(routes={"all": {"timeouts": {"first_byte": "200ms"}}})
    with g.client(P) as c:
        problem(c.request(), 504, "upstream_timeout")


def test_connect_timeout_is_504_or_502(lo):
    """A listener whose backlog is full answers no SYN."""
    with lo.listen(0, backlog=0) as full:
        held = [lo.socket() for _ in range(8)]
        for s in held:
            s.setblocking(False)
            s.connect_ex(full.getsockname())
        target = "%s:%d" % full.getsockname()
        with Gateway(serving(target, P, routes={"all": {"timeouts": {"connect": "300ms"}}}), lo) as g, g.client(P) as c:
            r = c.request()
            assert r.status in (502, 504) and ("upstream_timeout" in r.body.decode() or "upstream_connect" in r.body.decode()), r
        for s in held:
            s.close()


def test_idle_timeout_in_the_middle_of_a_response_closes(start, origin):
    def answer(r):
        r.conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsome")
        hold(r)
    origin.answer = answer
    g = start(routes={"all": {"timeouts": {"idle": "200ms"}}})
    with g.client(P) as c, pytest.raises(Closed):
        c.request()


def test_total_timeout_ends_what_trickles(start, origin):
    def answer(r):
        r.conn.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            while not r.conn.closed.wait(0.02):
                r.conn.send(b"1\r\nx\r\n")
        except OSError:
            pass
    origin.answer = answer
    g = start(routes={"all": {"timeouts": {"total": "400ms", "idle": "10s"}}})
    with g.client(P) as c, pytest.raises(Closed):
        c.request()


def test_slow_headers_are_408_and_closed(start, origin):
    g = start(listeners={"main": {"timeouts": {"headers": "300ms"}}})
    with g.client(P) as c:
        c.send(b"GET / HTTP/1.1\r\nHost: gw.test\r\nX-Slow: ")
        feeding = threading.Event()

        def feed():  # a byte now and then must not hold the connection
            try:
                while not feeding.wait(0.05):
                    c.send(b"a")
            except OSError:
                pass
        t = ns.Thread(feed)
        try:
            got = c.read_response()
            assert got.status == 408
            assert c.at_eof()
        except Closed:
            pass
        finally:
            feeding.set()
            t.join()
    assert not origin.requests


def test_slow_body_is_408_or_closed(start, origin):
    g = start(listeners={"main": {"timeouts": {"body": "300ms"}}})
    with g.client(P) as c:
        c.send(b"POST / HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 100\r\n\r\npart")
        try:
            assert c.read_response().status == 408
        except Closed:
            pass
    assert not origin.requests


def test_idle_clients_are_closed(start):
    g = start(listeners={"main": {"timeouts": {"idle": "300ms"}}})
    with g.client(P) as c:
        assert c.request().status == 200
        assert c.at_eof()


# ---- bodies

def test_expect_continue_is_answered_before_the_body(start):
    with start().client(P) as c:
        c.send(b"POST / HTTP/1.1\r\nHost: gw.test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        assert c.read_response(interim=True).status == 100
        c.send(b"hello")
        r = c.read_response()
        assert r.json()["body"] == "hello" and not [h for h in r.json()["headers"] if h[0].lower() == "expect"]


def test_expect_on_a_refused_request_gets_no_100(start):
    with start().client(P) as c:
        c.send(b"POST / HTTP/1.1\r\nHost: gw.test\r\nExpect: 100-continue\r\nContent-Length: 999999999999\r\n\r\n")
        assert c.read_response(interim=True).status == 413


def test_curl_sends_a_body_with_expect(lo, start, tmp):
    start()
    with open(f"{tmp}/body", "wb") as f:
        f.write(b"z" * 200000)
    r = lo.run(["curl", "-sS", "--fail", "-H", "Expect: 100-continue", "--data-binary", f"@{tmp}/body", f"http://127.0.0.1:{P}/up"], check=True)
    assert r.stdout.count("z") >= 200000


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_over_the_route_limit_is_413(start, origin, chunked):
    g = start(routes={"all": {"request": {"body": "1KiB"}}})
    with g.client(P) as c:
        if chunked:
            c.send(b"POST / HTTP/1.1\r\nHost: gw.test\r\nTransfer-Encoding: chunked\r\n\r\n" + b"400\r\n" + b"x" * 1024 + b"\r\n1\r\nx\r\n0\r\n\r\n")
        else:
            c.send(b"POST / HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 1025\r\n\r\n" + b"x" * 1025)
        problem(c.read_response(), 413, "body_too_large")
    assert not origin.requests
    with g.client(P) as c:
        assert c.request("POST", "/", body=b"x" * 1024).status == 200


def test_listener_body_limit(start, origin):
    g = start(listeners={"main": {"limits": {"body": "1KiB"}}})
    with g.client(P) as c:
        assert c.request("POST", "/", body=b"x" * 1025).status == 413


def test_chunked_both_ways(start, origin):
    def answer(r):
        parts = [r.body[i:i + 7] for i in range(0, len(r.body), 7)]
        return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"".join(b"%x;ext=1\r\n%s\r\n" % (len(p), p) for p in parts) + b"0\r\nX-Trailer: t\r\n\r\n"
    origin.answer = answer
    with start().client(P) as c:
        c.send(b"POST / HTTP/1.1\r\nHost: gw.test\r\nTransfer-Encoding: chunked\r\n\r\n")
        for piece in (b"5;a=b\r\nhello\r\n", b"6\r\n wor", b"ld\r\n0\r", b"\nX-T: 1\r\n\r\n"):
            c.send(piece)
        r = c.read_response()
        assert r.status == 200 and r.body == b"hello world"
        assert c.request("POST", "/2", body=b"next").body == b"next"
    assert origin.requests[0].body == b"hello world"
    assert not origin.requests[0].all("Content-Length") and origin.requests[0].all("Transfer-Encoding") == ["chunked"]


def test_response_until_close(start, origin):
    origin.answer = lambda r: r.conn.send(b"HTTP/1.1 200 OK\r\n\r\nuntil the end")
    with start().client(P) as c:
        assert c.request().body == b"until the end"


def test_bytes_arrive_as_they_are_sent(start, origin):
    """An answer is streamed, not gathered: the first part is read before the second exists."""
    go = threading.Event()

    def answer(r):
        r.conn.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        assert go.wait(10)
        return b"6\r\nsecond\r\n0\r\n\r\n"
    origin.answer = answer
    with start().client(P) as c:
        c.send(b"GET / HTTP/1.1\r\nHost: gw.test\r\n\r\n")
        c.read_until(b"first")
        go.set()
        c.read_until(b"second")


def test_head_204_and_304_have_no_body(start, origin):
    def answer(r):
        if r.target == "/204":
            return b"HTTP/1.1 204 No Content\r\n\r\n"
        if r.target == "/304":
            return b"HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\nContent-Length: 10\r\n\r\n"
        return b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n" + (b"" if r.method == "HEAD" else b"0123456789")
    origin.answer = answer
    with start().client(P) as c:
        for _ in range(3):
            assert c.request("HEAD", "/").get("Content-Length") == "10"
            r = c.request("GET", "/204")
            assert (r.status, r.body) == (204, b"") and "Transfer-Encoding" not in r and "Content-Length" not in r
            assert c.request("GET", "/304").status == 304
            assert c.request("GET", "/").body == b"0123456789"


def test_interim_responses_of_the_origin(start, origin):
    origin.answer = lambda r: b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" + response(body=b"final")
    with start().client(P) as c:
        assert c.request().body == b"final"


def test_early_answer_to_an_unfinished_upload(start, origin):
    origin.on_head = lambda r: (r.conn.send(response(413, b"no", [("Connection", "close")], "Too Large")), False)[1]
    with start().client(P) as c:
        c.send(b"POST / HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 5000000\r\n\r\n" + b"x" * 1000)
        assert c.read_response().status in (413, 502)


def test_pipelined_requests_are_answered_in_order(start, origin):
    origin.answer = lambda r: (time.sleep(0.05) if r.target == "/0" else None, response(body=r.target))[1]
    with start().client(P) as c:
        c.send(b"".join(b"%s /%d HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 2\r\n\r\nhi" % (b"POST" if i % 2 else b"GET", i) for i in range(20)))
        assert [c.read_response().body for _ in range(20)] == [b"/%d" % i for i in range(20)]


def test_pipelined_after_close_are_not_served(start, origin):
    with start().client(P) as c:
        c.send(b"GET /1 HTTP/1.1\r\nHost: gw.test\r\nConnection: close\r\n\r\nGET /2 HTTP/1.1\r\nHost: gw.test\r\n\r\n")
        assert c.read_response().status == 200 and c.at_eof()
    assert [r.target for r in origin.requests] == ["/1"]


def test_a_client_that_leaves_frees_the_upstream(start, origin):
    gone = threading.Event()

    def answer(r):
        if r.target == "/slow":
            try:
                while r.conn.sock.recv(1):
                    pass
            finally:
                gone.set()
            return None
        return echo(r)
    origin.answer = answer
    g = start(routes={"all": {"timeouts": {"first_byte": "60s", "total": "60s"}}})
    c = g.client(P)
    c.send(b"GET /slow HTTP/1.1\r\nHost: gw.test\r\n\r\n")
    origin.wait_requests(1)
    # RST: it has left. (FIN alone may be a client that has sent all and waits.)
    c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    c.close()
    assert gone.wait(10), "the exchange with the origin outlived its client"
    with g.client(P) as c:
        assert c.request().status == 200


def test_a_client_that_half_closes_gets_its_answer(start, origin):
    with start().client(P) as c:
        c.send(b"GET /half HTTP/1.1\r\nHost: gw.test\r\n\r\n")
        c.sock.shutdown(socket.SHUT_WR)
        assert c.read_response().json()["target"] == "/half" and c.at_eof()


def test_max_pending_is_503(start, origin):
    """One connection per target may be opened? No such key: pending counts exchanges waiting to connect."""
    origin.answer = hold
    g = start(upstreams={"origin": upstream(origin, max_pending=1)}, routes={"all": {"timeouts": {"first_byte": "2s"}}})
    clients = [g.client(P) for _ in range(4)]
    for c in clients:
        c.send(b"GET / HTTP/1.1\r\nHost: gw.test\r\n\r\n")
    statuses = {c.read_response().status for c in clients}
    assert statuses <= {503, 504} and 504 in statuses
    for c in clients:
        c.close()


@pytest.mark.parametrize("raw,status", [
    (b"GET / HTTP/1.1\r\n\r\n", 400), (b"GET / HTTP/1.1\nHost: a\n\n", 400), (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
    (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400), (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    (b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", 405), (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 70000 + b"\r\n\r\n", 431),
    (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 200 + b"\r\n", 431), (b"GET / HTTP/1.1\r\nHost: a\r\nExpect: tea\r\n\r\n", 417),
], ids=["no host", "bare lf", "2.0", "two hosts", "cl and te", "connect", "large head", "many fields", "expect tea"])
def test_malformed_requests_are_refused_and_closed(start, origin, raw, status):
    g = start()
    with g.client(P) as c:
        c.send(raw)
        assert c.read_response().status == status
        assert c.at_eof()
    assert not origin.requests
    assert g.metric("sluice_listener_malformed_total", listener="main") == 1
