# SPDX-License-Identifier: Apache-2.0
"""RFC 9113 section 8, rule by rule, and the decoding errors of RFC 7541; and that nothing of a malformed request reaches the upstream."""
import pytest
from harness import h2
from harness.gateway import Gateway
from harness.h2 import (COMPRESSION, CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PROTOCOL, SETTINGS, Table, answered, connection_error, frame,
                        goes_on, stream_error)
from harness.origin import Origin, response
from harness.policy import serving

P = 8080
case, hpack_case = Table(), Table()


@pytest.fixture(scope="module")
def origin(lo):
    with Origin(lo, answer=lambda r: response(body=b"ok")) as o:
        yield o


@pytest.fixture(scope="module")
def gw(lo, origin):
    with Gateway(serving(origin, port=P, listeners={"main": {"protocols": ["h2"]}}), lo) as g:
        yield g


def sends(section, text, headers, want, end=True, body=None, trailers=None):
    """A case of one request, its fields given in full."""
    def act(c):
        c.send(c.head(1, headers, end=end and body is None and trailers is None))
        if body is not None:
            c.send(*[c.data(1, b) for b in body[:-1]], c.data(1, body[-1], end=trailers is None))
        if trailers is not None:
            c.send(c.head(1, trailers))
        return 1
    case.append(h2.Case(section, text, act, want))


GET = [(":method", "GET"), (":scheme", "http"), (":authority", "gw.test"), (":path", "/bad")]
POST = [(":method", "POST"), (":scheme", "http"), (":authority", "gw.test"), (":path", "/bad")]
bad = stream_error(PROTOCOL)


def without(name):
    return [f for f in GET if f[0] != name]


def with_(name, value):
    return [(n, value if n == name else v) for n, v in GET]


# ---- 8.1


@case("8.1", "trailers without END_STREAM", bad)
def _(c):
    c.send(c.head(1, POST, end=False), c.data(1, b"x"), c.head(1, [("x-sum", "1")], end=False))
    return 1


sends("8.1", "trailers are taken", [f for f in POST if f[0] != ":path"] + [(":path", "/")], answered(200), body=[b"x"], trailers=[("x-sum", "1")])
sends("8.1", "a pseudo-header field in trailers", POST, bad, body=[b"x"], trailers=[(":method", "GET")])
sends("8.1", "a field of the connection in trailers", POST, bad, body=[b"x"], trailers=[("connection", "close")])
sends("8.1", "Content-Length in trailers", POST, bad, body=[b"x"], trailers=[("content-length", "1")])
# ---- 8.1.1
sends("8.1.1", "Content-Length more than DATA", POST + [("content-length", "2")], bad, body=[b"x"])
sends("8.1.1", "Content-Length less than DATA", POST + [("content-length", "1")], bad, body=[b"xx"])
sends("8.1.1", "Content-Length less than many DATA", POST + [("content-length", "1")], bad, body=[b"x", b"x"])
sends("8.1.1", "Content-Length without DATA", POST + [("content-length", "1")], bad)
sends("8.1.1", "Content-Length that trailers cut short", POST + [("content-length", "9")], bad, body=[b"x"], trailers=[("x", "y")])
sends("8.1.1", "two Content-Length", POST + [("content-length", "1"), ("content-length", "1")], bad, body=[b"x"])
for _v in ("+1", "-1", "1x", "", "0x1", "1,1", "99999999999999999999"):
    sends("8.1.1", f"Content-Length {_v!r}", POST + [("content-length", _v)], bad, body=[b"x"])
# ---- 8.2.1
sends("8.2.1", "upper case in a name", GET + [("X-Upper", "1")], bad)
for _n in ("", " ", "a b", "a\0", "a:", "a\x7f", "a\x80", "a\r\n", "a(b"):
    sends("8.2.1", f"the name {_n!r}", GET + [(_n, "1")], bad)
for _v in ("a\0b", "a\rb", "a\nb", "a\r\nInjected: 1", " a", "a ", "\ta", "a\t"):
    sends("8.2.1", f"the value {_v!r}", GET + [("x-a", _v)], bad)
# ---- 8.2.2
for _n, _v in (("connection", "keep-alive"), ("connection", "close"), ("keep-alive", "timeout=5"), ("proxy-connection", "close"), ("transfer-encoding", "chunked"),
               ("upgrade", "h2c"), ("te", "gzip"), ("te", "trailers, deflate"), ("transfer_encoding", "chunked"), ("content_length", "5")):
    sends("8.2.2", f"{_n}: {_v}", GET + [(_n, _v)], bad)
sends("8.2.2", "TE: trailers is allowed", with_(":path", "/") + [("te", "trailers")], answered(200))
# ---- 8.3
sends("8.3", "an unknown pseudo-header field", GET + [(":test", "1")], bad)
sends("8.3", "a pseudo-header field of answers", GET + [(":status", "200")], bad)
sends("8.3", "a pseudo-header field after a regular one", GET[:3] + [("x-a", "1")] + GET[3:], bad)
for _n in (":method", ":scheme", ":path", ":authority"):
    sends("8.3", f"{_n} twice", GET[:1] + [(_n, dict(GET)[_n])] + GET[1:], bad)
# ---- 8.3.1
for _n in (":method", ":scheme", ":path"):
    sends("8.3.1", f"no {_n}", without(_n), bad)
    sends("8.3.1", f"{_n} empty", with_(_n, ""), bad)
for _v in ("bad", "http://gw.test/", "*", "?q", "\\x"):
    sends("8.3.1", f":path {_v!r}", with_(":path", _v), bad)
sends("8.3.1", "* for OPTIONS", [(":method", "OPTIONS"), (":scheme", "http"), (":authority", "gw.test"), (":path", "*")], answered(200))
for _v in ("/a b", "/a\r\nX: 1", "/%00", "/a%2fb", "/../..", "/#f", "/\x80"):
    sends("8.3.1", f":path {_v!r} is refused", with_(":path", _v), answered(400))
sends("8.3.1", "userinfo in :authority", with_(":authority", "user@gw.test"), bad)
sends("8.3.1", ":authority and another Host", GET + [("host", "other.test")], bad)
sends("8.3.1", "two Host", without(":authority") + [("host", "gw.test"), ("host", "gw.test")], bad)
sends("8.3.1", "neither :authority nor Host", without(":authority"), answered(400))
sends("8.3.1", "an :authority that is none", with_(":authority", "a b"), answered(400))
sends("8.3.1", "a scheme that is not HTTP's", with_(":scheme", "ftp"), answered(400))
sends("8.3.1", "a method that is no token", with_(":method", "G(T"), bad)
# ---- 8.5
sends("8.5", "CONNECT is refused", [(":method", "CONNECT"), (":authority", "gw.test:443")], answered(405))
sends("8.5", "CONNECT with a path", [(":method", "CONNECT"), (":authority", "gw.test:443"), (":scheme", "https"), (":path", "/")], bad)
sends("8.5", "CONNECT without an authority", [(":method", "CONNECT")], bad)


@case("8.7", "a request on a reset stream is not begun", goes_on)
def _(c):
    c.send(c.head(1, GET), frame(h2.RST_STREAM, 0, 1, b"\0\0\0\x08"))


@case("8.7", "nor one whose client has us reset it, by a window past all bounds", stream_error(h2.FLOW_CONTROL))
def _(c):
    c.send(c.head(1, GET), frame(h2.WINDOW_UPDATE, 0, 1, b"\x7f\xff\xff\xff"))
    return 1


@pytest.mark.parametrize("case", case, ids=repr)
def test_section(gw, origin, case):
    n = len(origin.requests)
    h2.judge(gw, P, case)
    assert not [r for r in origin.requests[n:] if r.target != "/" and r.target != "*"], origin.requests[n:]


# ---- RFC 7541

def raw(c, block, flags=END_HEADERS | END_STREAM, stream=1):
    c.send(frame(HEADERS, flags, stream, block))
    return stream


def fields(c):
    return c.block(c.headers_of())


@hpack_case("2.3.3", "an index past both tables", connection_error(COMPRESSION))
def _(c):
    raw(c, fields(c) + b"\xfe")


@hpack_case("2.3.3", "a name's index past both tables", connection_error(COMPRESSION))
def _(c):
    raw(c, fields(c) + b"\x7f\x80\x01\x01x")


@hpack_case("4.2", "a table size update that is not at the beginning", connection_error(COMPRESSION))
def _(c):
    raw(c, fields(c) + b"\x20")


@hpack_case("4.2", "table size updates at the beginning are taken", answered(200))
def _(c):
    c.enc.header_table_size = 0
    b = fields(c)
    c.enc.header_table_size = 4096
    return raw(c, b)


@hpack_case("5.1", "an integer without end", connection_error(COMPRESSION))
def _(c):
    raw(c, fields(c) + b"\xff" + b"\x80" * 20)


@hpack_case("5.1", "an integer that is cut", connection_error(COMPRESSION))
def _(c):
    raw(c, fields(c) + b"\xff\x80")


@hpack_case("5.2", "a string longer than the block", connection_error(COMPRESSION))
def _(c):
    raw(c, fields(c) + b"\x00\x05ab")


@hpack_case("5.2", "Huffman padding of 8 bits or more", connection_error(COMPRESSION))
def _(c):
    raw(c, fields(c) + b"\x00\x85\xf2\xb2\x4a\x84\xff\x84\x49\x50\x9f\xff")


@hpack_case("5.2", "Huffman padding of zeros", connection_error(COMPRESSION))
def _(c):
    raw(c, fields(c) + b"\x00\x85\xf2\xb2\x4a\x84\xff\x83\x49\x50\x90")


@hpack_case("5.2", "EOS in a Huffman string", connection_error(COMPRESSION))
def _(c):
    raw(c, fields(c) + b"\x00\x85\xf2\xb2\x4a\x84\xff\x87\x49\x51\xff\xff\xff\xfa\x7f")


@hpack_case("6.1", "index 0", connection_error(COMPRESSION))
def _(c):
    raw(c, fields(c) + b"\x80")


@hpack_case("6.3", "a table size over what SETTINGS allow", connection_error(COMPRESSION))
def _(c):
    raw(c, b"\x3f\xe1\x5f" + fields(c))


@hpack_case("6.3", "a table size over what SETTINGS allow, in CONTINUATION", connection_error(COMPRESSION))
def _(c):
    c.send(frame(HEADERS, END_STREAM, 1, b"\x3f"), frame(CONTINUATION, END_HEADERS, 1, b"\xe1\x5f" + fields(c)))


@hpack_case("2.3.2", "the dynamic table is shared by all requests of a connection, refused ones too", answered(200))
def _(c):
    c.send(c.head(1, GET[:3] + [("x-learnt", "kept"), ("X-Bad", "1")] + GET[3:]))
    c.wait(1)
    s = c.id() + 2
    c.send(c.head(s, c.headers_of(path="/", extra=[("x-learnt", "kept")])))
    return s


@hpack_case("4.2", "our encoder heeds the table size that the client's SETTINGS say", answered(200))
def _(c):
    c.dec.max_allowed_table_size = 0
    c.send(frame(SETTINGS, 0, 0, b"\0\1\0\0\0\0"))
    c.until(lambda: c.acked == 2, "the answer")
    c.ask()
    s = c.request()
    c.wait(s)
    assert len(c.dec.header_table.dynamic_entries) == 0
    return s


@pytest.mark.parametrize("case", hpack_case, ids=repr)
def test_rfc7541(gw, case):
    h2.judge(gw, P, case)


def test_data_is_bytes_of_the_message_not_frames(gw, origin):
    with h2.connect(gw, P, address="127.0.0.1") as c:
        s = c.id()
        c.send(c.head(s, c.headers_of("POST", "/joined", [("content-length", "3")]), end=False), *[frame(DATA, 0, s, bytes([b])) for b in b"abc"],
               frame(DATA, END_STREAM, s))
        assert c.wait(s).status == 200
    assert origin.last().body == b"abc" and origin.last().get("content-length") == "3"
