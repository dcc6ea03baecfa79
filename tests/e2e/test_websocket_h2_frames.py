# SPDX-License-Identifier: Apache-2.0
"""WebSocket over HTTP/2 (RFC 8441) frame by frame: what an extended CONNECT must be, and when it is offered."""
import pytest
from harness import h2
from harness.gateway import Gateway
from harness.origin import Origin, response
from harness.policy import serving
from harness.wait import until
from harness.websocket import connect, echoing, policy

P, FRAMES = 8080, 8081
CONNECT_PROTOCOL = 8  # SETTINGS_ENABLE_CONNECT_PROTOCOL
CASES = h2.Table()

CASES("8441 4", "an unknown protocol", h2.answered(501))(lambda c: connect(c, protocol="h2c"))
CASES("8441 4", "a protocol that is no token", h2.stream_error(h2.PROTOCOL))(lambda c: connect(c, protocol="web socket"))
CASES("8441 4", "an empty protocol", h2.stream_error(h2.PROTOCOL))(lambda c: connect(c, protocol=""))
CASES("8441 4", "a protocol with another method", h2.stream_error(h2.PROTOCOL))(lambda c: connect(c, method="GET"))
CASES("8441 4", "no scheme", h2.stream_error(h2.PROTOCOL))(lambda c: connect(c, drop=[":scheme"]))
CASES("8441 4", "no path", h2.stream_error(h2.PROTOCOL))(lambda c: connect(c, drop=[":path"]))
CASES("8441 4", "neither :authority nor host", h2.answered(400))(lambda c: connect(c, drop=[":authority"]))
CASES("8441 4", "host in the place of :authority", lambda c, s: (c.until(lambda: c.answer(s).status == 200), h2.goes_on(c)))(
    lambda c: connect(c, drop=[":authority"], extra=[("host", "api.test")]))
CASES("9113 8.3", "two protocols", h2.stream_error(h2.PROTOCOL))(lambda c: connect(c, extra=[(":protocol", "websocket")]))
CASES("9113 8.5", "CONNECT as it was", h2.answered(405))(lambda c: connect(c, drop=[":protocol", ":scheme", ":path"]))
CASES("9110 9.3.6", "a length", h2.stream_error(h2.PROTOCOL))(lambda c: connect(c, extra=[("content-length", "5")]))


@CASES("9113 8.5", "HEADERS inside a tunnel", lambda c, s: (c.until(lambda: c.answer(s).reset == h2.PROTOCOL), h2.goes_on(c)))
def _(c):
    s = connect(c)
    c.until(lambda: c.answer(s).status == 200)
    c.send(c.head(s, [("x", "y")]))
    return s


@CASES("8441 5", "DATA before the answer waits for it", lambda c, s: (c.until(lambda: c.answer(s).body == b"early"), h2.goes_on(c)))
def _(c):
    s = connect(c)
    c.send(c.data(s, b"early"))
    return s


@CASES("8441 5", "DATA and END_STREAM before the answer", lambda c, s: (c.until(lambda: c.answer(s).ended and c.answer(s).body == b"early"), h2.goes_on(c)))
def _(c):
    s = connect(c)
    c.send(c.data(s, b"early", end=True))
    return s


@CASES("8441 5", "END_STREAM with the request", lambda c, s: (c.until(lambda: c.answer(s).status == 200 and c.answer(s).ended), h2.goes_on(c)))
def _(c):
    return connect(c, end=True)


@CASES("8441 5", "a reset before the answer", h2.goes_on)
def _(c):
    s = connect(c)
    c.send(h2.frame(h2.RST_STREAM, 0, s, h2.CANCEL.to_bytes(4, "big")))
    return s


@pytest.fixture(scope="module")
def gw(lo):
    def answer(r):
        return echoing(r) if r.get("Upgrade") else response()
    with Origin(lo, answer=answer) as o, Gateway(policy(o, listeners={"main": {"bind": [f"127.0.0.1:{FRAMES}"]}}), lo) as g:
        yield g


@pytest.mark.parametrize("case", CASES, ids=repr)
def test_frame_by_frame(gw, case):
    h2.judge(gw, FRAMES, case)
    until(lambda: gw.metric("sluice_listener_active_tunnels", listener="main") == 0, "tunnels to end with their connection")


@pytest.fixture
def raw(lo):
    with Origin(lo, answer=echoing) as o:
        yield o


def test_it_is_offered_only_where_a_route_takes_it(lo, raw):
    with Gateway(serving(raw, P, listeners={"main": {"protocols": ["h2", "http/1.1"]}}), lo) as g:
        with h2.connect(g, P, address="127.0.0.1") as before:
            before.until(lambda: before.acked, "SETTINGS")
            assert CONNECT_PROTOCOL not in before.settings
            assert before.wait(connect(before)).reset == h2.PROTOCOL
            assert g.apply(policy(raw))[0] == 0
            assert before.wait(connect(before)).reset == h2.PROTOCOL  # it was not told
            with h2.connect(g, P, address="127.0.0.1") as after:
                after.until(lambda: after.acked, "SETTINGS")
                assert after.settings[CONNECT_PROTOCOL] == 1
                s = connect(after)
                after.until(lambda: after.answer(s).status == 200)
                assert g.apply(serving(raw, P, listeners={"main": {"protocols": ["h2", "http/1.1"]}}))[0] == 0
                after.send(after.data(s, b"still"))
                after.until(lambda: after.answer(s).body == b"still", "bytes after the reload")
                assert after.wait(connect(after)).status == 403
