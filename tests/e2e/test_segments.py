# SPDX-License-Identifier: Apache-2.0
"""
What an exchange costs in segments and wake-ups: a connection is there for the gateway once its client has said something, the last
answer goes out with the FIN, a request is acknowledged by its answer, and who sends one in pieces is not kept waiting. A loaded machine lets timers of the kernel run out, so each is tried some times, and
one clean try is enough: without what is tested here no try is clean.
"""
import re
import socket
import struct

import pytest
from harness.client import tls_context
from harness.gateway import Gateway
from harness.origin import Origin
from harness.policy import serving
from harness.wait import until

P, TRIES = 8080, 20
SEGS_IN, DATA_SEGS_IN = 140, 152  # of struct tcp_info (linux/tcp.h)


@pytest.fixture
def gw(lo):
    with Origin(lo) as o, Gateway(serving(o), lo) as g:
        yield g


def rest(sock):
    data = b""
    while True:
        got = sock.recv(65536)
        if not got:
            return data
        data += got


def segments_in(sock, which=SEGS_IN):
    return struct.unpack_from("I", sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256), which)[0]


def delayed(gw):
    """Acknowledgements of the host that a timer sent."""
    names, values = re.findall(r"^TcpExt: (.*)$", gw.host.run(["cat", "/proc/net/netstat"], check=True).stdout, re.M)
    return int(dict(zip(names.split(), values.split()))["DelayedACKs"])


def accepted(gw):
    return gw.metric("sluice_listener_connections_total", listener="main")


def test_who_says_nothing_is_accepted_late(gw):
    before = accepted(gw)
    for tries in range(1, TRIES + 1):
        with gw.host.connect((gw.host.address, P)) as s:
            early = accepted(gw) - before
            s.sendall(b"GET / HTTP/1.1\r\nHost: gw.test\r\n\r\n")
            assert s.recv(65536).startswith(b"HTTP/1.1 200 ")
        assert accepted(gw) == before + tries
        if early == tries - 1:
            break
    else:
        pytest.fail("each was accepted before it had said anything")
    with gw.host.connect((gw.host.address, P)):
        until(lambda: accepted(gw) == before + tries + 1, "a connection on which nothing is said", timeout=10)


def test_the_last_answer_takes_the_fin_along(gw):
    seen = []
    for _ in range(TRIES):
        with gw.host.connect((gw.host.address, P)) as s:
            s.sendall(b"GET / HTTP/1.1\r\nHost: gw.test\r\nConnection: close\r\n\r\n")
            assert rest(s).startswith(b"HTTP/1.1 200 ")
            seen.append(segments_in(s))
        if seen[-1] == 2:  # the handshake's, and the answer
            return
    pytest.fail(f"segments: {seen}")


def test_the_ticket_goes_with_the_first_answer(lo, ca):
    cert, key = ca.issue("gw.test")
    tls = {"tls": {"certificates": [{"cert": cert, "key": {"$file": key}}]}}
    with Origin(lo) as o, Gateway(serving(o, listeners={"main": {"bind": [f"127.0.0.1:{P}"], **tls}}), lo) as g:
        seen = []
        for _ in range(TRIES):
            with tls_context(ca.cert).wrap_socket(g.host.connect(("127.0.0.1", P)), server_hostname="gw.test") as s:
                s.sendall(b"GET / HTTP/1.1\r\nHost: gw.test\r\n\r\n")
                assert s.recv(65536).startswith(b"HTTP/1.1 200 ")
                assert s.session.has_ticket
                seen.append(segments_in(s, DATA_SEGS_IN))
            if seen[-1] == 2:  # what the gateway says of itself, and the answer
                return
    pytest.fail(f"segments with data: {seen}")


def test_the_last_answer_reaches_who_goes_on_sending(gw):
    for _ in range(TRIES):
        with gw.host.connect((gw.host.address, P)) as s:
            s.sendall(b"GET / HTTP/1.1\r\nHost: gw.test\r\nConnection: close\r\n\r\n")
            try:
                s.sendall(b"x")
                assert rest(s).endswith(b"}")
            except ConnectionResetError:
                pass  # what was read before was all there was to read: the assertion has held or not been reached


@pytest.mark.parametrize("pieces", [(b"GET / HT", b"TP/1.1\r\nHost: gw.test\r\n\r\n"),
                                    (b"POST / HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 2\r\n\r\n", b"hi")], ids=["head", "body"])
def test_a_request_in_pieces_is_not_kept_waiting(gw, pieces):
    seen = []
    for _ in range(TRIES):
        with gw.host.connect((gw.host.address, P)) as s:
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 0)  # the second piece waits for the first one's acknowledgement
            before = delayed(gw)
            for piece in pieces:
                s.sendall(piece)
            assert s.recv(65536).startswith(b"HTTP/1.1 200 ")
            seen.append(delayed(gw) - before)
        if seen[-1] == 0:
            return
    pytest.fail(f"delayed acknowledgements: {seen}")
