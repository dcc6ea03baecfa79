# SPDX-License-Identifier: Apache-2.0
"""What a worker does before it runs out: who is idle goes first, then new connections are refused; slow clients go."""
import contextlib
import socket
import threading

import pytest
from harness.client import Closed
from harness.gateway import Gateway
from harness.ns import Thread
from harness.origin import Origin, response
from harness.policy import serving
from harness.wait import until
from test_processes import NOBODY

P = 8080


def refused(g, reason):
    return g.metric("sluice_listener_refused_reason_total", listener="main", reason=reason)


def answer_of(host, address=("127.0.0.1", P), source=None):
    """What a connection is told that sends nothing."""
    with host.connect(address, 10, source) as s:
        out = b""
        with contextlib.suppress(ConnectionResetError):
            while data := s.recv(4096):
                out += data
        return out


def idlers(g, stack, n):
    """Clients that have asked once, the oldest first. Who has said nothing is not accepted in the order in which he came."""
    clients = []
    for _ in range(n):
        clients.append(stack.enter_context(g.client(P)))
        assert clients[-1].request().status == 200
    return clients


def crowd(g, stack, why, most):
    """Clients with a request that the origin holds, one by one until the gateway refuses one for that reason."""
    clients = []
    while refused(g, why) == 0 and len(clients) < most:
        clients.append(stack.enter_context(g.client(P)))
        with contextlib.suppress(OSError):
            clients[-1].send(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
    return clients


def test_connections_of_one_address_over_all_workers(lo):
    with Origin(lo) as o:
        p = serving(o, P, workers=2, listeners={"main": {"limits": {"connections_per_source": 3}}})
        with Gateway(p, lo) as g, contextlib.ExitStack() as stack:
            mine = [stack.enter_context(g.client(P)) for _ in range(3)]
            assert [c.request().status for c in mine] == [200] * 3
            for _ in range(4):  # whichever worker has it
                told = answer_of(lo)
                assert told.startswith(b"HTTP/1.1 429 ") and b"urn:sluice:problem:connections_per_source" in told, told
            assert refused(g, "connections_per_source") == 4
            with lo.connect(("127.0.0.1", P), 10, ("127.0.0.9", 0)) as s:
                s.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                assert s.recv(100).startswith(b"HTTP/1.1 200 ")
            mine.pop().close()

            def back():
                with g.client(P) as c:
                    return c.request().status == 200
            until(back, "the place of the one that left")
            g.write(serving(o, P, workers=2, trusted_proxies=["127.0.0.1/32"], listeners={"main": {"limits": {"connections_per_source": 3}}}))
            assert g.ctl("apply")[0] == 0
            more = [stack.enter_context(g.client(P)) for _ in range(6)]
            assert [c.request().status for c in more] == [200] * 6, "a trusted proxy speaks for many"


def closed(c):
    c.sock.settimeout(5)
    try:
        return c.sock.recv(1) == b""
    except ConnectionResetError:
        return True


@pytest.mark.root
def test_when_descriptors_run_short_idle_ones_go_and_then_new_ones_are_told(lo, tmp):
    go = threading.Event()
    with Origin(lo, answer=lambda r: (r.target == "/wait" and go.wait(60), response())[1]) as o:
        import os
        os.mkdir(f"{tmp}/state")
        for path in (tmp, f"{tmp}/state"):
            os.chown(path, 65534, 65534)
        g = Gateway(serving(o, P, admin={"bind": [f"unix:{tmp}/a.sock"]}), lo, state=f"{tmp}/state",
                    prefix=["prlimit", "--nofile=160:160", *NOBODY], wait=False)
        g.socket = f"{tmp}/a.sock"
        with g, contextlib.ExitStack() as stack:
            g.wait_ready()
            idle = idlers(g, stack, 150)
            until(lambda: g.metric("sluice_listener_evicted_total", listener="main") > 0, "idle ones to go")
            assert g.metric("sluice_listener_refused_total", listener="main") == 0
            assert idle[-1].request().status == 200, "the newest stay"
            assert closed(idle[0]), "the oldest went"
            for c in idle:
                c.close()
            busy = crowd(g, stack, "descriptors", 150)
            told = answer_of(lo)
            assert told.startswith(b"HTTP/1.1 503 ") and b"urn:sluice:problem:descriptors" in told, told
            go.set()
            assert busy[0].read_response().status == 200, "who is in is served to the end"
            for c in busy:
                c.close()

            def again():
                with g.client(P) as c:
                    return c.request().status == 200
            until(again, "service as before")


def test_when_memory_runs_short_idle_ones_go_and_then_new_ones_are_told(lo):
    go = threading.Event()
    with Origin(lo, answer=lambda r: (r.target == "/wait" and go.wait(60), response())[1]) as o:
        with Gateway(serving(o, P, worker_memory="512KiB"), lo) as g, contextlib.ExitStack() as stack:
            idle = idlers(g, stack, 260)
            until(lambda: g.metric("sluice_listener_evicted_total", listener="main") > 0, "idle ones to go")
            assert idle[-1].request().status == 200 and refused(g, "memory") == 0
            for c in idle:
                c.close()
            until(lambda: g.metric("sluice_listener_active_connections", listener="main") == 0, "them to be gone")
            waiting = crowd(g, stack, "memory", 200)
            told = answer_of(lo)
            assert told.startswith(b"HTTP/1.1 503 ") and b"urn:sluice:problem:memory" in told, told
            go.set()
            assert waiting[0].read_response().status == 200


def test_over_the_listeners_limit_one_is_told(lo):
    with Origin(lo) as o, Gateway(serving(o, P, listeners={"main": {"limits": {"connections": 2}}}), lo) as g:
        with g.client(P) as a, g.client(P) as b:
            assert a.request().status == b.request().status == 200
            assert b"urn:sluice:problem:connections\"" in answer_of(lo)
            assert refused(g, "connections") == 1 == g.metric("sluice_listener_refused_total", listener="main")


@pytest.mark.slow
def test_clients_that_crawl_are_let_go_and_slow_upstreams_are_not_their_fault(lo):
    end = threading.Event()
    big = b"x" * (64 << 20)

    def answer(r):
        if r.target == "/big":
            return response(body=big)
        if r.target != "/drip":
            return response()
        r.conn.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        while not end.wait(0.2):
            r.conn.send(b".")
        return None
    with Origin(lo, answer=answer) as o, Gateway(serving(o, P), lo) as g:
        def sender():
            with g.client(P, timeout=60) as c:
                c.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n")
                c.sock.settimeout(0.3)
                while True:
                    try:
                        return c.sock.recv(4096)
                    except socket.timeout:
                        c.sock.sendall(b"z")

        def reader():
            with g.client(P, timeout=60) as c:
                c.send(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n")
                while not end.wait(0.3):
                    assert c.sock.recv(10)
        dripped = g.client(P, timeout=26)
        dripped.send(b"GET /drip HTTP/1.1\r\nHost: a\r\n\r\n")
        slow = [Thread(sender), Thread(reader)]
        until(lambda: g.metric("sluice_listener_too_slow_total", listener="main") == 2, "both to be let go", timeout=60)
        assert g.metric("sluice_route_refusals_total", reason="client_too_slow") == 2
        told = slow[0].join()
        assert told.startswith(b"HTTP/1.1 408 ") and b"client_too_slow" in told, told
        end.set()
        slow[1].join()
        assert dripped.read_response().body.count(b".") > 20
        dripped.close()
