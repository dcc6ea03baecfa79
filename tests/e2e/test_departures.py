# SPDX-License-Identifier: Apache-2.0
"""
Clients that leave while the gateway does not read from them (the upstream takes no more, a bandwidth holds them, there is no
connection yet): noticed all the same, and the upstream is free. One that only says that it has sent all is still served.
"""
import socket
import ssl
import struct
import threading

import pytest
from harness import h2
from harness.client import Client
from harness.gateway import Gateway
from harness.origin import Origin
from harness.pki import CA
from harness.policy import merge, serving, upstream
from harness.wait import until

P, SIZE, SOME = 8080, 64 << 20, 300000  # SOME: what the gateway takes seconds for, and its kernel takes at once
PLAIN, CHUNKED = f"Content-Length: {SIZE}", "Transfer-Encoding: chunked"


@pytest.fixture(scope="module", autouse=True)
def room(lo):
    lo.run(["sh", "-c", "echo 4096 1048576 6291456 > /proc/sys/net/ipv4/tcp_rmem"])


@pytest.fixture
def origin(lo):
    """Reads heads, and no body."""
    over = threading.Event()

    def on_head(r):
        over.wait(60)
        return False
    with Origin(lo, on_head=on_head) as o:
        yield o
        over.set()


def policy(origin, **over):
    """Where nothing but the client's leaving ends a request in time."""
    return merge(serving(origin, P, listeners={"main": {"protocols": ["h2", "http/1.1"], "timeouts": {"body": "10m"}, "limits": {"body": "1GiB"}}},
                         routes={"all": {"request": {"body": "1GiB"}, "timeouts": {"total": "10m", "first_byte": "10m", "idle": "10m", "connect": "10m"}}},
                         observe={"access_log": {"format": "json", "path": "-"}}), over)


def slowly(origin, rate="16KiB/s", **over):
    """Reads of a client come at least seconds apart: what it sends in the meantime is not seen by them."""
    return policy(origin, tiers={"anonymous": {"bandwidth": {"in": rate}}}, **over)


def head(framing):
    return f"POST /up HTTP/1.1\r\nHost: gw.test\r\n{framing}\r\n\r\n".encode() + (b"%x\r\n" % SIZE if framing == CHUNKED else b"")


def reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def noticed(g):
    """The client's leaving, and nothing of it left at the upstream."""
    lines = until(lambda: [l for l in g.access_log() if l.get("reason") == "client_gone"], "its line", 20)
    assert g.metric("sluice_upstream_active_connections", upstream="origin") == 0
    return lines[0]


@pytest.mark.parametrize("framing", [PLAIN, CHUNKED])
def test_a_reset_while_the_upstream_takes_no_more(lo, origin, framing):
    with Gateway(policy(origin), lo) as g, g.client(P) as c:
        c.send(head(framing))
        c.sock.settimeout(0.5)
        with pytest.raises(TimeoutError):
            for _ in range(SIZE >> 16):
                c.sock.sendall(b"y" * 65536)
        assert g.metric("sluice_upstream_active_connections", upstream="origin") == 1
        reset(c.sock)
        assert noticed(g)["detail"] == "the client closed its connection"


def tls_client(lo, ca):
    ctx = ssl.create_default_context(cafile=ca.cert)
    ctx.maximum_version = ssl.TLSVersion.TLSv1_2  # no ticket is left unread, which would make a reset of the FIN
    return Client(lo.connect(("127.0.0.1", P), 10), ctx, "api.test")


@pytest.mark.parametrize("framing", [PLAIN, CHUNKED])
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("leave", [socket.socket.close, reset], ids=["fin", "reset"])
def test_under_a_bandwidth(lo, origin, tmp, framing, tls, leave):
    ca = CA(tmp)
    cert, key = ca.issue("api.test")
    listener = {"tls": {"certificates": [{"cert": cert, "key": {"$file": key}}]}} if tls else {}
    with Gateway(slowly(origin, listeners={"main": listener}), lo) as g:
        c = tls_client(lo, ca) if tls else g.client(P)
        c.send(head(framing) + b"y" * SOME)
        origin.wait_connections(1)
        leave(c.sock)
        line = noticed(g)
        assert line["bytes_in"] < SOME, "it was not read to its end"


@pytest.mark.parametrize("leave", [socket.socket.close, reset], ids=["fin", "reset"])
def test_over_http2_under_a_bandwidth(lo, origin, leave):
    with Gateway(slowly(origin), lo) as g:
        c = h2.connect(g, P, address="127.0.0.1")
        c.until(lambda: c.acked, "SETTINGS")
        c.request("POST", "/up", body=b"y" * 200000, end=False)
        origin.wait_connections(1)
        leave(c.sock)
        assert noticed(g)["bytes_in"] < 200000, "it was not read to its end"


@pytest.mark.parametrize("leave", [socket.socket.close, reset], ids=["fin", "reset"])
def test_while_there_is_no_connection(lo, leave):
    full = lo.listen(0, backlog=0)
    waiting = [lo.socket() for _ in range(4)]
    for s in waiting:
        s.setblocking(False)
        s.connect_ex(full.getsockname())
    with Gateway(policy("127.0.0.1:%d" % full.getsockname()[1]), lo) as g:
        c = g.client(P)
        c.send(head(PLAIN) + b"y" * SOME)
        until(lambda: g.metric("sluice_upstream_pending", upstream="origin") == 1, "the request to wait")
        leave(c.sock)
        noticed(g)
        assert g.metric("sluice_upstream_pending", upstream="origin") == 0
    for s in [full, *waiting]:
        s.close()


def test_who_has_sent_all_is_served(lo):
    """The FIN behind a whole request is there while the request is held; others that have left are noticed meanwhile."""
    with Origin(lo, answer=lambda r: b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok") as o, Gateway(slowly(o, "160KiB/s"), lo) as g:
        with g.client(P, timeout=30) as c, g.client(P) as gone:
            c.send(head(f"Content-Length: {SOME}") + b"y" * SOME)
            c.sock.shutdown(socket.SHUT_WR)
            gone.send(head(PLAIN) + b"y" * SOME)
            gone.sock.close()
            assert c.read_response().body == b"ok"
            assert len(o.requests[0].body) == SOME
        until(lambda: [l for l in g.access_log() if l.get("reason") == "client_gone"], "the other's line")
