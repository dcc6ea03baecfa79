# SPDX-License-Identifier: Apache-2.0
"""RFC 9113 section 5, rule by rule: what may come on a stream in which state, which numbers streams have, and priorities."""
import pytest
from harness import h2
from harness.h2 import (CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PRIO, PRIORITY, PROTOCOL, REFUSED, RST_STREAM, STREAM_CLOSED,
                        WINDOW_UPDATE, Table, answered, connection_error, frame, goes_on)
from harness.h2_rules import P, STREAMS, done, get, opened, reset, serving_rules, u32

case = Table()


@pytest.fixture(scope="module")
def gw(lo):
    with serving_rules(lo) as g:
        yield g


# ---- 5.1 Stream states

for _kind, _payload in [(DATA, b"x"), (RST_STREAM, u32(8)), (WINDOW_UPDATE, u32(1)), (CONTINUATION, b"\x82")]:
    @case("5.1", f"idle: frame of type {_kind}", connection_error(PROTOCOL))
    def _(c, kind=_kind, payload=_payload):
        c.send(frame(kind, END_HEADERS if kind == CONTINUATION else 0, 1, payload))


@case("5.1", "idle: PRIORITY is allowed", goes_on)
def _(c):
    c.send(frame(PRIORITY, 0, 5, u32(0) + b"\x0f"))


@case("5.1", "half closed (remote): DATA", connection_error(STREAM_CLOSED))
def _(c):
    c.send(frame(DATA, END_STREAM, opened(c), b"x"))


@case("5.1", "half closed (remote): HEADERS", connection_error(STREAM_CLOSED))
def _(c):
    s = opened(c)
    c.send(frame(HEADERS, END_STREAM | END_HEADERS, s, get(c)))


@case("5.1", "half closed (remote): CONTINUATION", connection_error(PROTOCOL))
def _(c):
    c.send(frame(CONTINUATION, END_HEADERS, opened(c), b"\x82"))


@case("5.1", "half closed (remote): WINDOW_UPDATE, PRIORITY and RST_STREAM are allowed", goes_on)
def _(c):
    s = opened(c)
    c.send(frame(WINDOW_UPDATE, 0, s, u32(1)), frame(PRIORITY, 0, s, u32(0) + b"\1"), frame(RST_STREAM, 0, s, u32(8)))


@case("5.1", "closed by our RST_STREAM: DATA", connection_error(STREAM_CLOSED))
def _(c):
    c.send(frame(DATA, END_STREAM, reset(c), b"x"))


@case("5.1", "closed by our RST_STREAM: HEADERS", connection_error(STREAM_CLOSED))
def _(c):
    s = reset(c)
    c.send(frame(HEADERS, END_STREAM | END_HEADERS, s, get(c)))


@case("5.1", "closed by our RST_STREAM: CONTINUATION", connection_error(PROTOCOL))
def _(c):
    c.send(frame(CONTINUATION, END_HEADERS, reset(c), b"\x82"))


@case("5.1", "closed by END_STREAM of both: DATA", connection_error(STREAM_CLOSED))
def _(c):
    c.send(frame(DATA, END_STREAM, done(c), b"x"))


@case("5.1", "closed by END_STREAM of both: HEADERS", connection_error(STREAM_CLOSED))
def _(c):
    s = done(c)
    c.send(frame(HEADERS, END_STREAM | END_HEADERS, s, get(c)))


@case("5.1", "closed by END_STREAM of both: CONTINUATION", connection_error(PROTOCOL))
def _(c):
    c.send(frame(CONTINUATION, END_HEADERS, done(c), b"\x82"))


@case("5.1", "closed: WINDOW_UPDATE, RST_STREAM and PRIORITY are ignored", goes_on)
def _(c):
    s = done(c)
    c.send(frame(WINDOW_UPDATE, 0, s, u32(1)), frame(RST_STREAM, 0, s, u32(8)), frame(PRIORITY, 0, s, u32(0) + b"\1"))


@case("5.1", "closed by the gateway's RST_STREAM: DATA that was under way is ignored", goes_on)
def _(c):
    s = c.request("POST", "/", [("connection", "close")], end=False)
    c.wait(s)
    c.send(frame(DATA, 0, s, b"x" * 1000), frame(DATA, END_STREAM, s, b"x" * 1000))


@case("5.1.1", "an even stream number", connection_error(PROTOCOL))
def _(c):
    c.send(frame(HEADERS, END_STREAM | END_HEADERS, 2, get(c)))


@case("5.1.1", "a number smaller than one before", connection_error(PROTOCOL))
def _(c):
    c.send(frame(HEADERS, END_STREAM | END_HEADERS, 5, get(c)), frame(HEADERS, END_STREAM | END_HEADERS, 3, get(c)))


@case("5.1.1", "numbers may be skipped", answered(200))
def _(c):
    c.send(frame(HEADERS, END_STREAM | END_HEADERS, 99, get(c)))
    return 99


@case("5.1.2", "more streams than SETTINGS_MAX_CONCURRENT_STREAMS", connection_error(PROTOCOL, REFUSED))
def _(c):
    for _ in range(STREAMS + 1):
        opened(c)


# ---- 5.3 Priorities are not heeded, but checked

@case("5.3", "HEADERS that depends on itself (RFC 7540 section 5.3.1)", connection_error(PROTOCOL))
def _(c):
    c.send(frame(HEADERS, END_STREAM | END_HEADERS | PRIO, 1, u32(1) + b"\xff" + get(c)))


@case("5.3", "PRIORITY that depends on itself (RFC 7540 section 5.3.1)", connection_error(PROTOCOL))
def _(c):
    c.send(frame(PRIORITY, 0, 1, u32(1) + b"\xff"))


@case("5.3", "HEADERS with a priority", answered(200))
def _(c):
    c.send(frame(HEADERS, END_STREAM | END_HEADERS | PRIO, 1, u32(0x80000000) + b"\xff" + get(c)))
    return 1


@pytest.mark.parametrize("case", case, ids=repr)
def test_section(gw, case):
    h2.judge(gw, P, case)
