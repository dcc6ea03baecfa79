# SPDX-License-Identifier: Apache-2.0
"""A body larger than the process: streamed both ways, and held back where the other side is slow."""
import os
import socket
import threading

import pytest
from harness.gateway import SAN, Gateway, proc_status
from harness.ns import Thread
from harness.origin import Origin
from harness.policy import serving
from harness.wait import until

P, GIB, GROWTH_KIB = 8080, 1 << 30, 64 << 10
BLOCK = os.urandom(1 << 20)


def kib(pid, field):
    return int(proc_status(pid)[field].split()[0])


@pytest.fixture
def gw(lo):
    def on_head(r):
        """/down sends a GiB; /up counts what comes; /stall reads nothing until told."""
        c = r.conn
        if r.target == "/down":
            c.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % GIB)
            for _ in range(GIB // len(BLOCK)):
                c.send(BLOCK)
            return False
        if r.target == "/up":
            n = len(c.received) - c._at
            buf = bytearray(1 << 20)
            while n < GIB:
                got = c.sock.recv_into(buf)
                if not got:
                    return False
                n += got
            c.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n%010d" % n)
            return False
        c.origin.stalled.set()
        c.origin.go.wait(30)
        total = len(c.received) - c._at
        want = int(r.get("Content-Length"))
        while total < want:
            total += len(c.sock.recv(1 << 20))
        c.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        return False
    with Origin(lo, on_head=on_head) as o:
        o.stalled, o.go = threading.Event(), threading.Event()
        with Gateway(serving(o, listeners={"main": {"limits": {"body": "2GiB"}}}, routes={"all": {"request": {"body": "2GiB"}}}), lo) as g:
            g.origin = o
            yield g


def worker(gw):
    return gw.pids()["workers"][0]


@pytest.mark.slow
@pytest.mark.parametrize("way", ["down", "up"])
def test_a_gib_through_64_mib(gw, way):
    pid = worker(gw)
    with gw.client(P) as warm:
        warm.send(b"GET /no HTTP/1.1\r\n\r\n")
    before = kib(pid, "VmRSS")
    with gw.client(P, timeout=60) as c:
        if way == "down":
            c.send(b"GET /down HTTP/1.1\r\nHost: gw.test\r\n\r\n")
            c.read_head()
            n, buf = len(c.buf), bytearray(1 << 20)
            while n < GIB:
                got = c.sock.recv_into(buf)
                assert got, f"closed after {n} bytes"
                n += got
            assert n == GIB
        else:
            c.send(b"POST /up HTTP/1.1\r\nHost: gw.test\r\nContent-Length: %d\r\n\r\n" % GIB)
            for _ in range(GIB // len(BLOCK)):
                c.send(BLOCK)
            assert c.read_response().body == b"%010d" % GIB
    grown = kib(pid, "VmHWM") - before
    assert grown < GROWTH_KIB, f"grew by {grown} KiB at its peak"


def stuck_at(sock):
    """How many bytes a sender gets rid of before it must wait."""
    sock.settimeout(1)
    n = 0
    try:
        while n < (200 << 20):
            n += sock.send(BLOCK)
    except (TimeoutError, socket.timeout):
        return n
    return n


def test_a_slow_origin_holds_the_client_back(gw):
    """The bound is socket buffers and ours, not the body."""
    total = 200 << 20
    pid = worker(gw)
    before = kib(pid, "VmRSS")
    with gw.client(P) as c:
        c.send(b"POST /stall HTTP/1.1\r\nHost: gw.test\r\nContent-Length: %d\r\n\r\n" % total)
        assert gw.origin.stalled.wait(10)
        sent = stuck_at(c.sock)
        assert sent < total // 2, f"{sent} bytes taken while the origin read nothing"
        if not SAN:
            assert kib(pid, "VmHWM") - before < 16 << 10
        gw.origin.go.set()
        c.sock.settimeout(30)
        left = total - sent
        while left:
            left -= c.sock.send(BLOCK[:min(left, len(BLOCK))])
        assert c.read_response().body == b"ok"


def test_a_slow_client_holds_the_origin_back_and_others_are_served(gw):
    pid = worker(gw)
    before = kib(pid, "VmRSS")
    s = gw.host.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    s.connect(("127.0.0.1", P))
    s.sendall(b"GET /down HTTP/1.1\r\nHost: gw.test\r\n\r\n")
    c = gw.origin.wait_connections(1)

    def unread():
        """Bytes that the origin's kernel still holds: it stays above zero once nobody takes them."""
        import array
        import fcntl
        import termios
        b = array.array("i", [0])
        fcntl.ioctl(c.sock.fileno(), termios.TIOCOUTQ, b)
        return b[0]
    seen = []

    def steady():
        seen.append(unread())
        return len(seen) > 20 and len(set(seen[-20:])) == 1 and seen[-1] > 0
    until(steady, "the origin to be held back")
    if not SAN:
        assert kib(pid, "VmHWM") - before < 16 << 10
    with gw.client(P) as other:  # while one client sleeps, others are served
        other.send(b"BAD\r\n\r\n")
        assert other.read_response().status == 400
    s.close()
    assert c.closed.wait(10), "the origin's side outlived its client"


def test_many_bodies_at_once_stay_whole(lo):
    """16 connections echo different bodies at the same time through one worker."""
    import hashlib

    def answer(r):
        from harness.origin import response
        return response(body=hashlib.sha256(r.body).hexdigest())
    with Origin(lo, answer=answer) as o, Gateway(serving(o), lo) as g:
        def one(i):
            with g.client(P) as c:
                for k in range(4):
                    body = os.urandom(300000 + 1000 * i + k)
                    assert c.request("POST", "/", body=body).body.decode() == hashlib.sha256(body).hexdigest()
        for t in [Thread(one, i) for i in range(16)]:
            t.join()
