# SPDX-License-Identifier: Apache-2.0
"""RFC 9113 sections 3, 4 and 6, rule by rule: each case sends frames that break one (or just do not), made by hyperframe or by hand."""
import pytest
from harness import h2
from harness.h2 import (ACK, CALM, CONTINUATION, DATA, END_HEADERS, END_STREAM, FLOW_CONTROL, FRAME_SIZE, GOAWAY, HEADERS, NO_ERROR, PADDED, PING,
                        PRIO, PRIORITY, PROTOCOL, PUSH_PROMISE, RST_STREAM, SETTINGS, WINDOW_UPDATE, Table, answered, connection_error, frame,
                        goes_on, stream_error)
from harness.h2_rules import P, get, half, opened, serving_rules, u32
from hyperframe.frame import PingFrame

case = Table()


@pytest.fixture(scope="module")
def gw(lo):
    with serving_rules(lo) as g:
        yield g


# ---- 3 Starting

def test_3_4_a_preface_that_is_none(gw):
    for bad in [b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", b"INVALID CONNECTION PREFACE\r\n\r\n", b"\0" * 24]:
        with h2.connect(gw, P, address="127.0.0.1", start=False) as c:
            c.send_raw(bad)
            assert c.end() == PROTOCOL


def test_3_4_the_first_frame_is_settings_on_both_sides(gw):
    with h2.connect(gw, P, address="127.0.0.1", start=False) as c:
        c.polite = False
        c.send_raw(h2.PREFACE)
        assert type(c.read()).__name__ == "SettingsFrame"
        c.send(PingFrame(0, b"12345678"))
        assert c.end() == PROTOCOL


@case("4.1", "frames of unknown types are ignored", goes_on)
def _(c):
    c.send(frame(0x16, 0xff, 0, b"x" * 8), frame(0x16, 0, 77, b"x"))


@case("4.1", "undefined flags are ignored", goes_on)
def _(c):
    c.send(frame(PING, 0x16, 0, b"x" * 8))
    c.until(lambda: b"x" * 8 in c.pings, "the answer")


@case("4.1", "the reserved bit is ignored", goes_on)
def _(c):
    c.send(frame(PING, 0, 0x80000000, b"y" * 8))
    c.until(lambda: b"y" * 8 in c.pings, "the answer")


@case("4.2", "a frame of SETTINGS_MAX_FRAME_SIZE is taken", answered(200))
def _(c):
    s = c.request("POST", "/", end=False)
    c.send(frame(DATA, END_STREAM, s, b"x" * 16384))
    return s


@case("4.2", "DATA over SETTINGS_MAX_FRAME_SIZE", connection_error(FRAME_SIZE))
def _(c):
    c.send(frame(DATA, END_STREAM, half(c), b"x" * 16385))


@case("4.2", "HEADERS over SETTINGS_MAX_FRAME_SIZE", connection_error(FRAME_SIZE))
def _(c):
    c.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, b"x" * 16385))


@case("4.2", "SETTINGS over SETTINGS_MAX_FRAME_SIZE", connection_error(FRAME_SIZE))
def _(c):
    c.send(frame(SETTINGS, 0, 0, b"\0\5\0\0\x40\0" * 2731))


@case("4.3", "a field block that cannot be decoded", connection_error(h2.COMPRESSION))
def _(c):
    c.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\xff\xff\xff\xff\xff\xff"))


@case("4.3", "another stream's HEADERS inside a field block", connection_error(PROTOCOL))
def _(c):
    c.send(frame(HEADERS, END_STREAM, 1, get(c)), frame(HEADERS, END_STREAM | END_HEADERS, 3, get(c)))


@case("4.3", "PRIORITY inside a field block", connection_error(PROTOCOL))
def _(c):
    c.send(frame(HEADERS, END_STREAM, 1, get(c)), frame(PRIORITY, 0, 1, u32(0) + b"\xff"), frame(CONTINUATION, END_HEADERS, 1))


@case("4.3", "an unknown frame inside a field block", connection_error(PROTOCOL))
def _(c):
    c.send(frame(HEADERS, END_STREAM, 1, get(c)), frame(0x16, 0, 1, b""))


# ---- 6.1 DATA

@case("6.1", "DATA on stream 0", connection_error(PROTOCOL))
def _(c):
    c.send(frame(DATA, END_STREAM, 0, b"x"))


@case("6.1", "padding as long as the payload", connection_error(PROTOCOL))
def _(c):
    c.send(frame(DATA, END_STREAM | PADDED, half(c), b"\6xxxxx"))


@case("6.1", "PADDED without a length", connection_error(FRAME_SIZE, PROTOCOL))
def _(c):
    c.send(frame(DATA, END_STREAM | PADDED, half(c), b""))


@case("6.1", "padding is taken off", answered(200))
def _(c):
    s = c.request("POST", "/", [("content-length", "2")], end=False)
    c.send(frame(DATA, END_STREAM | PADDED, s, b"\3okpad"))
    return s


# ---- 6.2 HEADERS

@case("6.2", "HEADERS on stream 0", connection_error(PROTOCOL))
def _(c):
    c.send(frame(HEADERS, END_STREAM | END_HEADERS, 0, get(c)))


@case("6.2", "padding longer than the payload", connection_error(PROTOCOL))
def _(c):
    b = get(c)
    c.send(frame(HEADERS, END_STREAM | END_HEADERS | PADDED, 1, bytes([len(b) + 1]) + b))


@case("6.2", "PADDED and PRIORITY in too little", connection_error(FRAME_SIZE, PROTOCOL))
def _(c):
    c.send(frame(HEADERS, END_STREAM | END_HEADERS | PADDED | PRIO, 1, b"\0\0\0"))


@case("6.2", "padding and priority are taken off", answered(200))
def _(c):
    c.send(frame(HEADERS, END_STREAM | END_HEADERS | PADDED | PRIO, 1, b"\2" + u32(0) + b"\1" + get(c) + b"\0\0"))
    return 1


# ---- 6.3 PRIORITY

@case("6.3", "PRIORITY on stream 0", connection_error(PROTOCOL))
def _(c):
    c.send(frame(PRIORITY, 0, 0, u32(0) + b"\1"))


@case("6.3", "a length other than 5", connection_error(FRAME_SIZE))
def _(c):
    c.send(frame(PRIORITY, 0, opened(c), u32(0)))


# ---- 6.4 RST_STREAM

@case("6.4", "RST_STREAM on stream 0", connection_error(PROTOCOL))
def _(c):
    c.send(frame(RST_STREAM, 0, 0, u32(8)))


@case("6.4", "a length other than 4", connection_error(FRAME_SIZE))
def _(c):
    c.send(frame(RST_STREAM, 0, opened(c), b"\0\0\0"))


@case("6.4", "an unknown error code is none special", goes_on)
def _(c):
    c.send(frame(RST_STREAM, 0, opened(c), u32(0xff00)))


# ---- 6.5 SETTINGS

@case("6.5", "ACK with a payload", connection_error(FRAME_SIZE))
def _(c):
    c.send(frame(SETTINGS, ACK, 0, b"\0\3\0\0\0\1"))


@case("6.5", "SETTINGS on a stream", connection_error(PROTOCOL))
def _(c):
    c.send(frame(SETTINGS, 0, 1, b"\0\3\0\0\0\1"))


@case("6.5", "a length that is no multiple of 6", connection_error(FRAME_SIZE))
def _(c):
    c.send(frame(SETTINGS, 0, 0, b"\0\3\0\0\0"))


@case("6.5.2", "ENABLE_PUSH of 2", connection_error(PROTOCOL))
def _(c):
    c.send(frame(SETTINGS, 0, 0, b"\0\2\0\0\0\2"))


@case("6.5.2", "INITIAL_WINDOW_SIZE over 2^31-1", connection_error(FLOW_CONTROL))
def _(c):
    c.send(frame(SETTINGS, 0, 0, b"\0\4\x80\0\0\0"))


for _size in (16383, 1 << 24):
    @case("6.5.2", f"MAX_FRAME_SIZE of {_size}", connection_error(PROTOCOL))
    def _(c, size=_size):
        c.send(frame(SETTINGS, 0, 0, b"\0\5" + u32(size)))


@case("6.5.2", "unknown settings are ignored", goes_on)
def _(c):
    c.send(frame(SETTINGS, 0, 0, b"\0\xff\0\0\0\1"))


@case("6.5.3", "SETTINGS are answered", goes_on)
def _(c):
    n = c.acked
    c.send(frame(SETTINGS, 0, 0, b"\0\3\0\0\0\1"))
    c.until(lambda: c.acked == n + 1, "the answer")


# ---- 6.6 PUSH_PROMISE

@case("6.6", "PUSH_PROMISE from a client", connection_error(PROTOCOL))
def _(c):
    c.send(frame(PUSH_PROMISE, END_HEADERS, opened(c), u32(2) + get(c)))


# ---- 6.7 PING

@case("6.7", "PING is answered with what it carries", goes_on)
def _(c):
    c.send(frame(PING, 0, 0, b"whatever"))
    c.until(lambda: b"whatever" in c.pings, "the answer")


@case("6.7", "an answer that was not asked for is ignored", goes_on)
def _(c):
    c.send(frame(PING, ACK, 0, b"whatever"))
    c.sync()
    assert b"whatever" not in c.pings


@case("6.7", "PING on a stream", connection_error(PROTOCOL))
def _(c):
    c.send(frame(PING, 0, 1, b"whatever"))


@case("6.7", "a length other than 8", connection_error(FRAME_SIZE))
def _(c):
    c.send(frame(PING, 0, 0, b"whateve"))


# ---- 6.8 GOAWAY

@case("6.8", "GOAWAY on a stream", connection_error(PROTOCOL))
def _(c):
    c.send(frame(GOAWAY, 0, 1, u32(0) + u32(0)))


def _ends_quietly(c, stream):
    assert c.wait(stream).status == 200
    assert c.end() in (None, NO_ERROR)


@case("6.8", "after the client's GOAWAY its open streams are served, and then all ends", _ends_quietly)
def _(c):
    s = c.id()
    c.send(c.head(s, c.headers_of()), frame(GOAWAY, 0, 0, u32(0) + u32(0)))
    return s


# ---- 6.9 WINDOW_UPDATE

@case("6.9", "an increment of 0 on the connection", connection_error(PROTOCOL))
def _(c):
    c.send(frame(WINDOW_UPDATE, 0, 0, u32(0)))


@case("6.9", "an increment of 0 on a stream", connection_error(PROTOCOL))
def _(c):
    c.send(frame(WINDOW_UPDATE, 0, opened(c), u32(0)))


@case("6.9", "a length other than 4", connection_error(FRAME_SIZE))
def _(c):
    c.send(frame(WINDOW_UPDATE, 0, 0, b"\0\0\1"))


@case("6.9.1", "a connection's window over 2^31-1", connection_error(FLOW_CONTROL))
def _(c):
    c.send(frame(WINDOW_UPDATE, 0, 0, u32(0x7fffffff)))


@case("6.9.1", "a stream's window over 2^31-1", stream_error(FLOW_CONTROL))
def _(c):
    s = opened(c)
    c.send(frame(WINDOW_UPDATE, 0, s, u32(0x7fffffff)))
    return s


@case("6.9.1", "DATA past the stream's window, which only an upstream that takes it opens", connection_error(FLOW_CONTROL))
def _(c):
    s = c.request("POST", "/unreachable", end=False)
    c.send(*[frame(DATA, 0, s, b"x" * 16384) for _ in range(c.settings[4] // 16384 + 1)])


def _sends_in_parts(c, stream):
    assert c.wait(stream).body == b"ok"
    sizes = [len(f.data) for f in c.frames if type(f).__name__ == "DataFrame" and f.stream_id == stream]
    assert sizes[0] == 1, sizes


@case("6.9.2", "a changed INITIAL_WINDOW_SIZE holds for open streams", _sends_in_parts)
def _(c):
    c.send(frame(SETTINGS, 0, 0, b"\0\4\0\0\0\1"))
    c.until(lambda: c.acked == 2, "the answer")
    s = c.request()
    c.until(lambda: len(c.answer(s).body) == 1, "one byte")
    c.send(frame(SETTINGS, 0, 0, b"\0\4\0\0\0\2"))
    return s


@case("6.9.2", "a window may become negative, and is made up for", _sends_in_parts)
def _(c):
    c.send(frame(SETTINGS, 0, 0, b"\0\4\0\0\0\1"))
    c.until(lambda: c.acked == 2, "the answer")
    s = c.request()
    c.until(lambda: len(c.answer(s).body) == 1, "one byte")
    c.send(frame(SETTINGS, 0, 0, b"\0\4\0\0\0\0"), frame(WINDOW_UPDATE, 0, s, u32(1)))
    c.sync()
    assert len(c.answer(s).body) == 1
    c.send(frame(WINDOW_UPDATE, 0, s, u32(1)))
    return s


@case("6.9.2", "SETTINGS that take an open stream's window over 2^31-1", connection_error(FLOW_CONTROL))
def _(c):
    s = opened(c)
    c.send(frame(SETTINGS, 0, 0, b"\0\4\0\0\0\1"), frame(WINDOW_UPDATE, 0, s, u32(0x7ffffff0)), frame(SETTINGS, 0, 0, b"\0\4\x7f\xff\xff\xff"))


# ---- 6.10 CONTINUATION

@case("6.10", "a field block in many frames", answered(200))
def _(c):
    b = get(c)
    c.send(frame(HEADERS, END_STREAM, 1, b[:5]), *[frame(CONTINUATION, 0, 1, b[i:i + 3]) for i in range(5, 20, 3)], frame(CONTINUATION, END_HEADERS, 1, b[20:]))
    return 1


@case("6.10", "CONTINUATION on another stream", connection_error(PROTOCOL))
def _(c):
    c.send(frame(HEADERS, END_STREAM, 1, get(c)), frame(CONTINUATION, END_HEADERS, 3, b"\x82"))


@case("6.10", "CONTINUATION on stream 0", connection_error(PROTOCOL))
def _(c):
    c.send(frame(HEADERS, END_STREAM, 1, get(c)), frame(CONTINUATION, END_HEADERS, 0, b"\x82"))


@case("6.10", "CONTINUATION after END_HEADERS", connection_error(PROTOCOL))
def _(c):
    c.send(frame(HEADERS, END_HEADERS, 1, get(c)), frame(CONTINUATION, END_HEADERS, 1, b"\x82"))


@case("6.10", "CONTINUATION after a CONTINUATION with END_HEADERS", connection_error(PROTOCOL))
def _(c):
    c.send(frame(HEADERS, 0, 1, get(c)), frame(CONTINUATION, END_HEADERS, 1), frame(CONTINUATION, END_HEADERS, 1, b"\x82"))


@case("6.10", "CONTINUATION after DATA", connection_error(PROTOCOL))
def _(c):
    c.send(frame(HEADERS, END_HEADERS, 1, get(c, method="POST")), frame(DATA, 0, 1, b"x"), frame(CONTINUATION, END_HEADERS, 1, b"\x82"))


@case("6.10", "DATA instead of CONTINUATION", connection_error(PROTOCOL))
def _(c):
    c.send(frame(HEADERS, 0, 1, get(c, method="POST")), frame(DATA, END_STREAM, 1, b"x"))


@case("10.5", "CONTINUATION without end", connection_error(CALM))
def _(c):
    c.send(frame(HEADERS, END_STREAM, 1, get(c)), *[frame(CONTINUATION, 0, 1, b"\x82")] * 64)


@pytest.mark.parametrize("case", case, ids=repr)
def test_section(gw, case):
    h2.judge(gw, P, case)
