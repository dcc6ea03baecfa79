# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.1 and HTTP/2 on either side: what one says means the same on the other, and ends where it ends."""
import pytest
from harness import h2
from harness.client import Closed
from harness.gateway import Gateway
from harness.origin import Origin, response
from harness.origin_h2 import OriginH2
from harness.policy import serving, upstream
from harness.wait import until

P = 8080


class Plain:
    """An origin of HTTP/1.1 that takes the same script as OriginH2: steps of ("head", status, fields), ("data", bytes), ("trailers", fields), ("reset",)."""

    def __init__(self, lo):
        self.script, self.origin = [], Origin(lo, answer=self._answer)
        self.target = self.origin.target

    def _answer(self, r):
        chunked = False
        for step, *args in self.script:
            if step == "head":
                chunked = args[0] >= 200 and args[0] not in (204, 304) and "content-length" not in dict(args[1])
                fields = "".join(f"{n}: {v}\r\n" for n, v in args[1]) + ("Transfer-Encoding: chunked\r\n" if chunked else "")
                r.conn.send(f"HTTP/1.1 {args[0]} X\r\n{fields}\r\n".encode())
            elif step == "data":
                r.conn.send(b"%x\r\n%s\r\n" % (len(args[0]), args[0]) if chunked else args[0])
            elif step == "trailers":
                r.conn.send(b"0\r\n" + "".join(f"{n}: {v}\r\n" for n, v in args[0]).encode() + b"\r\n")
                chunked = False
            elif step == "reset":
                return r.conn.reset()
            elif step == "wait":
                return None if r.conn.sock.recv(1) == b"" else None
        if chunked:
            r.conn.send(b"0\r\n\r\n")
        return b""

    def seen(self, n):
        r = self.origin.wait_requests(n)
        return r.method, r.target, {k.lower(): v for k, v in r.headers}, r.body

    def close(self):
        self.origin.close()


class Two:
    def __init__(self, lo):
        self.script, self.origin = [], OriginH2(lo, answer=self._answer)
        self.target = self.origin.target

    def _answer(self, r):
        for i, (step, *args) in enumerate(self.script):
            last = i == len(self.script) - 1
            if step == "head":
                r.head(args[0], args[1], end=last)
            elif step == "data":
                r.data(args[0], end=last)
            elif step == "trailers":
                r.trailers(args[0])
            elif step == "reset":
                r.reset()

    def seen(self, n):
        r = self.origin.wait_requests(n)
        return r.get(":method"), r.get(":path"), dict(r.headers), r.body

    def close(self):
        self.origin.__exit__()


class Ask1:
    def __init__(self, g):
        self.g = g

    def __call__(self, method="GET", path="/", fields=(), body=None, abandon=False):
        with self.g.client(P) as c:
            lines = [f"{method} {path} HTTP/1.1", "Host: gw.test", *(f"{n}: {v}" for n, v in fields)]
            chunked = isinstance(body, list)
            if body is not None:
                lines.append("Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}")
            c.send("\r\n".join(lines).encode() + b"\r\n\r\n")
            for piece in body if chunked else [body or b""]:
                c.send(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
            if chunked:
                c.send(b"0\r\n\r\n")
            if abandon:
                return abandon()
            interim = []
            try:
                r = c.read_response(method, interim=True)
                while r.status < 200:
                    interim.append(r.status)
                    r = c.read_response(method, interim=True)
            except Closed:
                return None
            return r.status, {n.lower(): v for n, v in r.headers}, r.body, interim


class Ask2:
    def __init__(self, g):
        self.g = g

    def __call__(self, method="GET", path="/", fields=(), body=None, abandon=False):
        with h2.connect(self.g, P, address="127.0.0.1") as c:
            pieces = body if isinstance(body, list) else [body] if body else []
            length = [] if isinstance(body, list) or body is None else [("content-length", str(len(body)))]
            s = c.id()
            c.send(c.head(s, c.headers_of(method, path, [*((n.lower(), v) for n, v in fields), *length]), end=not pieces))
            for i, piece in enumerate(pieces):
                c.send(c.data(s, piece[:10000], end=i == len(pieces) - 1 and len(piece) <= 10000))
                if len(piece) > 10000:
                    c.send(c.data(s, piece[10000:], end=i == len(pieces) - 1))
            if abandon:
                return abandon()
            a = c.wait(s)
            if a.reset not in (None, h2.NO_ERROR):
                return None
            return a.status, dict(a.headers), a.body, [int(dict(h)[":status"]) for h in a.interim]


@pytest.fixture(scope="module", params=["1-1", "1-2", "2-1", "2-2"])
def pair(request, lo):
    client, up = request.param.split("-")
    o = (Plain if up == "1" else Two)(lo)
    p = serving(o.target, P, listeners={"main": {"protocols": ["http/1.1", "h2"]}},
                upstreams={"origin": upstream(o.target, protocol="http/1.1" if up == "1" else "h2")})
    with Gateway(p, lo) as g:
        yield (Ask1 if client == "1" else Ask2)(g), o, Counter(o)
    o.close()


class Counter:
    def __init__(self, o):
        self.o = o

    def next(self):
        return self.o.seen(len(self.o.origin.requests))


def test_requests_and_answers(pair):
    ask, o, seen = pair
    o.script = [("head", 201, [("x-a", "1"), ("content-length", "5")]), ("data", b"hello")]
    status, fields, body, _ = ask("POST", "/p?q=1", [("X-B", "2"), ("Cookie", "a=b; c=d")], b"some body")
    assert (status, body) == (201, b"hello") and fields["x-a"] == "1" and fields["content-length"] == "5"
    method, path, fields, body = seen.next()
    assert (method, path, body) == ("POST", "/p?q=1", b"some body")
    assert fields["x-b"] == "2" and fields["cookie"] == "a=b; c=d" and fields["content-length"] == "9" and "transfer-encoding" not in fields


def test_bodies_without_a_length(pair):
    ask, o, seen = pair
    o.script = [("head", 200, []), ("data", b"abc"), ("data", b"def" * 1000)]
    status, fields, body, _ = ask("POST", "/", [], [b"x" * 10, b"y" * 20000])
    assert status == 200 and body == b"abc" + b"def" * 1000 and "content-length" not in fields
    assert seen.next()[3] == b"x" * 10 + b"y" * 20000


def test_nothing_where_nothing_is(pair):
    ask, o, seen = pair
    for method, status, length in (("HEAD", 200, "7"), ("GET", 204, None), ("GET", 304, "7"), ("GET", 200, "0")):
        o.script = [("head", status, [("content-length", length)] if length else [])]
        got, fields, body, _ = ask(method)
        assert (got, body, fields.get("content-length")) == (status, b"", length), (method, status)


def test_interim_answers(pair):
    ask, o, _ = pair
    o.script = [("head", 103, [("link", "</a>")]), ("head", 200, [("content-length", "2")]), ("data", b"ok")]
    assert ask()[0::2] == (200, b"ok") and ask()[3] == [103]


def test_fields_of_one_hop_stay_there(pair):
    ask, o, seen = pair
    o.script = [("head", 200, [("content-length", "2"), ("x-kept", "1")]), ("data", b"ok")]
    ask("GET", "/", [("TE", "trailers"), ("X-Kept", "1")])
    _, _, fields, _ = seen.next()
    assert fields["te"] == "trailers" and fields["x-kept"] == "1"
    assert not {"upgrade", "keep-alive", "proxy-connection", "http2-settings"} & set(fields)


def test_an_answer_cut_short_does_not_look_whole(pair):
    ask, o, _ = pair
    o.script = [("head", 200, [("content-length", "10")]), ("data", b"half"), ("reset",)]
    got = ask("POST", "/", [], b"x")
    assert got is None or got[0] == 502, got


def test_a_client_that_leaves_is_not_worked_for(pair):
    ask, o, _ = pair
    o.script = [("wait",)]
    n = len(o.origin.requests)
    ask(abandon=lambda: o.seen(n + 1))

    def left():
        if isinstance(o, Two):
            return o.origin.requests[n].reset_code == 8
        return o.origin.requests[n].conn.closed.is_set()
    until(left, "the upstream to hear of it")
