# SPDX-License-Identifier: Apache-2.0
"""HTTP/2 from clients that are not ours: what the upstream sees, what they get, and what holds one side when the other is slow."""
import json
import os
import signal
import threading

import pytest
from harness import h2
from harness.client import tls_context
from harness.gateway import SAN, Gateway
from harness.origin import Origin, response
from harness.policy import serving
from harness.wait import until
from hyperframe.frame import RstStreamFrame, WindowUpdateFrame

PLAIN, TLS, H2_ONLY, OLD, SHORT = 8080, 8443, 8081, 8444, 8082
BLOCK = os.urandom(1 << 16)


@pytest.fixture(scope="module")
def origin(lo):
    def answer(r):
        if r.target == "/echo":
            return response(body=r.body, headers=[("X-Length", str(len(r.body)))])
        if r.target.startswith("/bytes/"):
            n = int(r.target.split("/")[2])
            return response(body=(BLOCK * (n // len(BLOCK) + 1))[:n])
        if r.target == "/chunked":
            return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nX-Sum: 5\r\n\r\n"
        if r.target == "/204":
            return b"HTTP/1.1 204 No Content\r\n\r\n"
        if r.target == "/304":
            return b"HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n"
        if r.target == "/hints":
            return b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
        if r.target == "/hop":
            return b"HTTP/1.1 200 OK\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nX-UPPER: Kept\r\nContent-Length: 0\r\n\r\n"
        if r.target == "/silent":
            r.conn.origin.asked.set()
            r.conn.origin.go.wait(30)
        return response(body=json.dumps({"method": r.method, "target": r.target, "headers": r.headers}).encode())
    with Origin(lo, answer=answer) as o:
        o.asked, o.go = threading.Event(), threading.Event()
        yield o


@pytest.fixture(scope="module")
def gw(lo, origin, ca):
    cert, key = ca.issue("gw.test")
    tls = {"certificates": [{"cert": cert, "key": {"$file": key}}]}
    with Gateway(serving(origin, listeners={
            "main": {"protocols": ["http/1.1", "h2"], "limits": {"body": "64MiB", "headers": "4KiB", "header_count": 20, "streams": 50}},
            "tls": {"bind": [f"127.0.0.1:{TLS}"], "tls": tls},
            "old": {"bind": [f"127.0.0.1:{OLD}"], "tls": tls, "protocols": ["http/1.1"]},
            "only": {"bind": [f"127.0.0.1:{H2_ONLY}"], "protocols": ["h2"]},
            "short": {"bind": [f"127.0.0.1:{SHORT}"], "protocols": ["h2"], "timeouts": {"headers": "300ms", "idle": "300ms", "body": "300ms"}},
    }, routes={"all": {"request": {"body": "64MiB"}}}, observe={"access_log": {}}), lo) as g:
        yield g


def conn(gw, port=PLAIN, **kw):
    return h2.connect(gw, port, address="127.0.0.1", **kw)


def curl(lo, *args):
    return lo.run(["curl", "-sS", "--max-time", "20", *args], check=True)


# ---- which protocol is spoken

@pytest.mark.parametrize("port,flags,version", [(TLS, ["-k"], "2"), (TLS, ["-k", "--http1.1"], "1.1"), (TLS, ["-k", "--no-alpn"], "1.1"), (OLD, ["-k"], "1.1"),
                                                (PLAIN, [], "1.1"), (PLAIN, ["--http2-prior-knowledge"], "2"), (H2_ONLY, ["--http2-prior-knowledge"], "2"),
                                                (PLAIN, ["--http2"], "1.1")])
def test_curl_gets_the_protocol_that_listener_and_client_agree_on(lo, gw, port, flags, version):
    scheme = "https" if port in (TLS, OLD) else "http"
    r = curl(lo, *flags, "-w", "\n%{http_version}", f"{scheme}://127.0.0.1:{port}/x")
    body, got = r.stdout.rsplit("\n", 1)
    assert got == version and json.loads(body)["target"] == "/x"


@pytest.mark.parametrize("offer,chosen", [(["h2", "http/1.1"], "h2"), (["http/1.1", "h2"], "h2"), (["h2"], "h2"), (["http/1.1"], "http/1.1"), (None, None)])
def test_alpn_goes_by_the_order_of_the_policy(lo, gw, offer, chosen):
    with tls_context(alpn=offer).wrap_socket(lo.connect(("127.0.0.1", TLS))) as s:
        assert s.selected_alpn_protocol() == chosen


def test_http1_on_an_h2_only_listener_is_told_so_in_h2(lo, gw):
    with lo.connect(("127.0.0.1", H2_ONLY)) as s:
        c = h2.H2(s, start=False)
        c.send_raw(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert c.end() == h2.PROTOCOL


def test_a_preface_that_comes_byte_by_byte(gw):
    with conn(gw, start=False) as c:
        for i in range(len(h2.PREFACE)):
            c.send_raw(h2.PREFACE[i:i + 1])
        c.send_raw(b"\0\0\0\4\0\0\0\0\0")
        assert c.ask().status == 200


def test_a_request_that_begins_like_the_preface_is_http1(lo, gw):
    with gw.client(PLAIN) as c:
        c.send(b"PRI /x HTTP/1.1\r\nHost: a\r\n\r\n")
        assert c.read_response().status == 200


def test_nghttp_and_h2load_are_served(lo, gw):
    r = lo.run(["nghttp", "-nv", f"https://127.0.0.1:{TLS}/n"], check=True)
    assert ":status: 200" in r.stdout
    n = 200 if SAN else 2000
    r = lo.run(["h2load", "-n", str(n), "-c", "4", "-m", "16", f"https://127.0.0.1:{TLS}/bytes/100"], check=True)
    assert f"{n} succeeded, 0 failed, 0 errored, 0 timeout" in r.stdout, r.stdout


# ---- messages

def test_the_upstream_sees_the_request_as_if_by_http1(gw, origin):
    with conn(gw) as c:
        a = c.ask("GET", "/a/%7eb?q=1", [("cookie", "a=1"), ("x-two", "1"), ("cookie", "b=2"), ("x-two", "2"), ("te", "trailers"), ("cookie", "c=3")],
                  authority="Gw.Test:8080")
    q = json.loads(a.body)
    fields = q["headers"]

    def all(name):
        return [v for n, v in fields if n.lower() == name]
    assert (q["method"], q["target"]) == ("GET", "/a/~b?q=1")
    assert all("host") == ["Gw.Test:8080"] and all("cookie") == ["a=1; b=2; c=3"] and all("x-two") == ["1", "2"]
    assert all("te") == ["trailers"] and not [n for n, _ in fields if n.startswith(":")]
    assert all("x-correlation-id") == a.all("x-correlation-id")
    until(lambda: any(l["path"] == "/a/~b" and l["protocol"] == "HTTP/2" for l in gw.access_log()), "the line in the log")


def test_host_alone_names_the_authority(gw):
    with conn(gw) as c:
        s = c.id()
        c.send(c.head(s, [(":method", "GET"), (":scheme", "http"), (":path", "/"), ("host", "only.test")]))
        a = c.wait(s)
    assert ["host", "only.test"] in json.loads(a.body)["headers"]


@pytest.mark.parametrize("method,path,status,length", [("HEAD", "/bytes/77", 200, "77"), ("GET", "/204", 204, None), ("GET", "/304", 304, None),
                                                       ("GET", "/hop", 200, "0")])
def test_answers_without_a_body_end_with_their_head(gw, method, path, status, length):
    with conn(gw) as c:
        a = c.ask(method, path)
        assert (a.status, a.get("content-length"), a.body) == (status, length, b"")
        assert not [f for f in c.frames if type(f).__name__ == "DataFrame"]


def test_fields_of_the_connection_stay_behind_and_names_are_lower_case(gw):
    with conn(gw) as c:
        a = c.ask(path="/hop")
    names = [n for n, _ in a.headers]
    assert a.get("x-upper") == "Kept" and not {"connection", "keep-alive", "x-hop", "transfer-encoding"} & set(names)
    assert all(n == n.lower() for n in names)


def test_chunks_become_data_and_trailers_trailers(gw):
    with conn(gw) as c:
        a = c.ask(path="/chunked", extra=[("te", "trailers")])
        assert (a.body, a.trailers, a.get("content-length")) == (b"abcde", [("x-sum", "5")], None)
        a = c.ask(path="/chunked")
        assert (a.body, a.trailers) == (b"abcde", None)


def test_interim_answers_pass(gw):
    with conn(gw) as c:
        a = c.ask(path="/hints")
    assert a.status == 200 and dict(a.interim[0]) == {":status": "103", "link": "</a.css>"}


def test_expect_is_answered_before_the_body_is_sent(gw):
    with conn(gw) as c:
        s = c.request("POST", "/echo", [("expect", "100-continue"), ("content-length", "3")], end=False)
        c.until(lambda: c.answer(s).interim, "100")
        assert dict(c.answer(s).interim[0]) == {":status": "100"}
        c.send(c.data(s, b"abc", end=True))
        assert c.wait(s).body == b"abc"


def test_trailers_of_a_request_reach_the_upstream(gw, origin):
    with conn(gw) as c:
        s = c.request("POST", "/echo", end=False)
        c.send(c.data(s, b"abc"), c.head(s, [("x-sum", "3")]))
        assert c.wait(s).body == b"abc"
    assert origin.last().trailers == [("x-sum", "3")]


# ---- bodies and windows

@pytest.mark.parametrize("n", [0, 1, 16384, 3_000_000])
def test_bodies_of_any_length_both_ways(gw, n):
    body = (BLOCK * (n // len(BLOCK) + 1))[:n]
    with conn(gw) as c:
        s = c.request("POST", "/echo", end=False)
        sent, credit, whole, begun = 0, 65535, 65535, False
        while sent < n:
            grown = sum(f.window_increment for f in c.frames if isinstance(f, WindowUpdateFrame) and f.stream_id == s)
            all_grown = sum(f.window_increment for f in c.frames if isinstance(f, WindowUpdateFrame) and f.stream_id == 0)
            room = min(c.settings.get(4, 65535) + grown, whole + all_grown) - sent
            if room <= 0:
                c.read()
                continue
            piece = body[sent:sent + min(room, 16384)]
            c.send(c.data(s, piece))
            sent += len(piece)
        c.send(c.data(s, end=True))
        a = c.wait(s)
    assert a.status == 200 and a.body == body and a.get("x-length") == str(n)


def test_curl_uploads_and_downloads(lo, gw, tmp_path):
    f = tmp_path / "body"
    f.write_bytes(BLOCK * 64)
    out = tmp_path / "out"
    curl(lo, "-k", "--data-binary", f"@{f}", "-o", str(out), f"https://127.0.0.1:{TLS}/echo")
    assert out.read_bytes() == f.read_bytes()


def test_answers_wait_for_credit_and_others_go_on(gw):
    with conn(gw, window=0, settings={4: 10}) as c:
        big, small = c.request(path="/bytes/1000"), c.request(path="/bytes/10")
        c.wait(small)
        c.until(lambda: len(c.answer(big).body) == 10, "what there is credit for")
        c.sync()
        assert len(c.answer(big).body) == 10
        c.send(WindowUpdateFrame(big, window_increment=500))
        c.until(lambda: len(c.answer(big).body) == 510, "what there is credit for")
        c.send(WindowUpdateFrame(big, window_increment=5000))
        assert len(c.wait(big).body) == 1000


def test_many_streams_take_turns(gw):
    with conn(gw, window=0) as c:
        long, short = c.request(path="/bytes/400000"), c.request(path="/bytes/100")
        c.send(WindowUpdateFrame(0, window_increment=1 << 24), WindowUpdateFrame(long, window_increment=1 << 24))
        c.wait(short)
        assert len(c.wait(long).body) == 400000


def test_a_slow_upstream_holds_its_stream_and_no_other(gw, lo):
    """/stall reads nothing: its client's credit runs out at the stream's window, and other streams go on."""
    def on_head(r):
        if r.target == "/stall":
            r.conn.origin.go.wait(30)
        return True
    with Origin(lo, on_head=on_head) as o:
        o.go = threading.Event()
        with Gateway(serving(o, port=8090, listeners={"main": {"protocols": ["h2"], "limits": {"body": "64MiB"}}}, routes={"all": {"request": {"body": "64MiB"}}}), lo) as g:
            with h2.connect(g, 8090, address="127.0.0.1") as c:
                c.ask()
                s = c.request("POST", "/stall", end=False)
                sent, window = 0, lambda: c.settings[4] + sum(f.window_increment for f in c.frames if isinstance(f, WindowUpdateFrame) and f.stream_id == s)
                while sent < 32 << 20:
                    room = window() - sent
                    if room <= 0:
                        c.sync()
                        if window() - sent <= 0:
                            before = window()
                            c.sync()
                            if window() == before and c.ask().status == 200 and window() == before:
                                break
                        continue
                    piece = BLOCK[:min(room, 16384)]
                    c.send(c.data(s, piece))
                    sent += len(piece)
                assert sent < 32 << 20, "no limit to what is buffered"
                o.go.set()
                c.send(RstStreamFrame(s, h2.CANCEL))


def test_a_body_longer_than_allowed_is_refused_and_the_connection_goes_on(gw):
    with conn(gw) as c:
        a = c.ask("POST", "/echo", [("content-length", str(65 << 20))], end=False)
        assert a.status == 413 and b"body_too_large" in a.body
        assert a.reset in (None, h2.NO_ERROR)
        assert c.ask().status == 200


def test_an_early_answer_tells_the_client_to_stop(gw):
    with conn(gw) as c:
        s = c.request("POST", "/204", end=False)
        c.send(c.data(s, b"x" * 100))
        s2 = c.request("POST", "/a b", end=False)
        a = c.wait(s2)
        c.until(lambda: a.reset is not None, "RST_STREAM")
        assert a.status == 400 and a.reset == h2.NO_ERROR
        c.send(c.data(s2, b"late" * 1000))  # was under way
        assert c.ask().status == 200


def test_a_head_over_the_limits_is_answered(gw):
    with conn(gw) as c:
        for extra, in [([("x-big", "v" * 5000)],), ([(f"x-{i}", "1") for i in range(30)],), ([("cookie", "a")] * 30,)]:
            a = c.ask(extra=extra)
            assert a.status == 431, a
        assert c.ask().status == 200


# ---- the end

def test_reset_ends_the_exchange_and_the_log_tells(gw, origin):
    origin.asked.clear()
    with conn(gw) as c:
        s = c.request(path="/silent")
        assert origin.asked.wait(10)
        c.send(RstStreamFrame(s, h2.CANCEL))
        until(lambda: any(l.get("reason") == "client_gone" and l["path"] == "/silent" for l in gw.access_log()), "the line in the log")
        origin.go.set()
        assert c.ask().status == 200


def test_idle_connections_are_told_and_closed(gw):
    with conn(gw, SHORT) as c:
        assert c.ask().status == 200
        assert c.end() == h2.NO_ERROR
    assert gw.metric("sluice_listener_h2_ended_total", listener="short", reason="idle") >= 1


def test_a_head_that_does_not_end_is_given_up(gw):
    with conn(gw, SHORT) as c:
        c.polite = False
        c.send(c.head(1, c.headers_of(), flags=()))
        assert c.end() == h2.CALM
    with conn(gw, SHORT, start=False) as c:
        c.polite = False
        c.send_raw(h2.PREFACE)
        assert c.end() == h2.CALM
    assert gw.metric("sluice_listener_h2_ended_total", listener="short", reason="headers_timeout") == 2


def test_an_answer_without_credit_is_given_up_and_the_connection_goes_on(gw, lo, origin):
    with Gateway(serving(origin, port=8091, listeners={"main": {"protocols": ["h2"]}}, routes={"all": {"timeouts": {"idle": "300ms"}}}), lo) as g:
        with h2.connect(g, 8091, address="127.0.0.1", window=0, settings={4: 0}) as c:
            a = c.ask(path="/bytes/10")
            assert a.reset == h2.INTERNAL and a.status == 200
            assert c.ask("HEAD", "/bytes/10").status == 200


def test_a_stop_lets_what_is_open_finish(lo, origin):
    origin.asked.clear()
    origin.go.clear()
    with Gateway(serving(origin, port=8092, listeners={"main": {"protocols": ["h2"]}}), lo) as g:
        with h2.connect(g, 8092, address="127.0.0.1") as c:
            s = c.request(path="/silent")
            assert origin.asked.wait(10)
            g.signal(signal.SIGTERM)
            c.until(lambda: c.goaway, "GOAWAY")
            assert c.goaway == (h2.NO_ERROR, 2**31 - 1)
            c.until(lambda: c.goaway[1] != 2**31 - 1, "the second GOAWAY")
            assert c.goaway == (h2.NO_ERROR, s)
            origin.go.set()
            assert c.wait(s).status == 200
            assert c.end() == h2.NO_ERROR
        g.stop()


def test_metrics_and_reload(lo, origin):
    policy = serving(origin, port=8093, listeners={"main": {"protocols": ["h2", "http/1.1"], "limits": {"streams": 7}}})
    with Gateway(policy, lo) as g:
        with h2.connect(g, 8093, address="127.0.0.1") as c:
            assert c.ask().status == 200 and c.settings[3] == 7
        assert g.metric("sluice_listener_h2_connections_total", listener="main") == 1
        assert g.metric("sluice_listener_requests_total", listener="main") == 1
        policy["listeners"]["main"]["protocols"] = ["http/1.1"]
        assert g.apply(policy)[0] == 0
        with g.client(8093) as c:
            c.send(h2.PREFACE)
            assert c.read_response().status == 505
