# SPDX-License-Identifier: Apache-2.0
"""
Clients that make us work for nothing: each is told ENHANCE_YOUR_CALM and counted by its reason, while another client is
served without an error and the worker's memory stays where it was.
"""
import contextlib
import os
import socket
import threading
import time

import pytest
from harness import h2, load
from harness.gateway import SAN, Gateway, proc_status
from harness.h2 import CALM, CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, PRIORITY, RST_STREAM, SETTINGS, WINDOW_UPDATE, frame
from harness.nginx import Nginx
from harness.ns import Thread
from harness.origin import Origin, response
from harness.policy import serving
from harness.wait import until

P, MEASURED, NOBODY, GROWTH_KIB = 8080, 8081, 8082, 16 << 10
# Of a measurement: turns of half the attacks each, seconds, requests a second; and the seconds from one attack to the next, so that what an
# attack may hold up (a request or two of a thousand a second, while its frames are read) is less than one in a hundred, and an attack that
# goes on is more. Bytes of a replay: each at once, and in all (more than is read of any).
TURNS, WINDOW, RATE, APART = 8, 0.5, 1000, 0.25
PIECE, TAKEN = 1 << 16, 1 << 18
U32 = {n: n.to_bytes(4, "big") for n in (0, 1, 8, 0x7fffffff)}


@pytest.fixture(scope="module")
def gw(lo):
    def answer(r):
        if r.target == "/wait":
            r.conn.closed.wait(20)
            return None
        return response(body=b"x" * (1 << 20) if r.target == "/big" else b"ok")
    with Origin(lo, answer=answer) as o:
        with Gateway(serving(o, port=P, listeners={"main": {"protocols": ["h2", "http/1.1"], "timeouts": {"body": "2s"}}}), lo) as g:
            for _ in range(3):  # what a worker has once grown to is not the attack's
                with h2.connect(g, P, address="127.0.0.1") as c:
                    c.ask()
            yield g


class Neighbour(threading.Thread):
    """Asks one request after the other on a connection of its own."""

    def __init__(self, gw):
        super().__init__(daemon=True)
        self.c = h2.connect(gw, P, address="127.0.0.1")
        self.over, self.answers, self.error = threading.Event(), 0, None

    def run(self):
        try:
            while not self.over.is_set() or self.answers < 3:
                a = self.c.ask()
                assert a.status == 200 and a.body == b"ok", a
                self.answers += 1
        except Exception as e:  # for the test to see
            self.error = e

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *exc):
        self.over.set()
        self.join(30)
        self.c.close()
        assert self.error is None and not self.is_alive(), self.error


def streams(c, n, make):
    return b"".join(make(1 + 2 * i) for i in range(n))


def request(c, stream, path="/wait", end=True, extra=()):
    return c.head(stream, c.headers_of("GET" if end else "POST", path, extra), end=end).serialize()


def in_turns(c, make):
    """No more at once than are allowed to be open."""
    for first in range(1, 2000, 80):
        c.send(b"".join(make(first + 2 * i) for i in range(40)))
        try:
            c.sync()
        except h2.Ended:
            return


def rapid_reset(c):
    c.send(streams(c, 3000, lambda s: request(c, s) + frame(RST_STREAM, 0, s, U32[8])))


def provoked_by_windows(c):
    """MadeYouReset: the client gets us to reset, by raising a window past all bounds."""
    in_turns(c, lambda s: request(c, s) + frame(WINDOW_UPDATE, 0, s, U32[0x7fffffff]))


def provoked_by_malformed_requests(c):
    in_turns(c, lambda s: request(c, s, extra=[("X", "y")]))


def settings(c):
    c.send(frame(SETTINGS, 0, 0, b"\0\3\0\0\0\1") * 3000)


def pings(c):
    c.send(frame(PING, 0, 0, b"pingpong") * 3000)


def empty_data(c):
    c.send(request(c, 1, end=False), frame(DATA, 0, 1) * 3000)


def padded_empty_data(c):
    c.send(request(c, 1, end=False), frame(DATA, 8, 1, b"\5pad..") * 3000)


def empty_continuation(c):
    c.polite = False
    c.send(frame(HEADERS, END_STREAM, 1, b"\x82"), frame(CONTINUATION, 0, 1) * 3000)


def continuation(c):
    c.polite = False
    c.send(frame(HEADERS, END_STREAM, 1, b"\x82"), frame(CONTINUATION, 0, 1, b"\x00\x01x\x01y" * 1000) * 3000)


def priorities(c):
    c.send(frame(PRIORITY, 0, 1, U32[0] + b"\1") * 3000)


def unknown_frames(c):
    c.send(frame(0x77, 0, 0, b"x") * 3000)


def window_updates(c):
    c.send(frame(WINDOW_UPDATE, 0, 0, U32[1]) * 10000)


def frames_on_ended_streams(c):
    c.send(request(c, 1, "/"))
    c.wait(1)
    c.send(frame(WINDOW_UPDATE, 0, 1, U32[1]) * 10000)


def hpack_bomb(c):
    """A field of 3 KiB in the table, and then one byte for each use of it."""
    c.polite = False
    big = c.block([("x-bomb", "b" * 3000)])
    c.send(frame(HEADERS, END_STREAM, 1, c.block(c.headers_of()) + big), *[frame(CONTINUATION, END_HEADERS if i == 3 else 0, 1, b"\xbe" * 16000) for i in range(4)])


ATTACKS = [(rapid_reset, "reset_flood"), (provoked_by_windows, "reset_flood"), (provoked_by_malformed_requests, "reset_flood"), (settings, "settings_flood"),
           (pings, "ping_flood"), (empty_data, "empty_frame_flood"), (padded_empty_data, "empty_frame_flood"), (empty_continuation, None),
           (continuation, "header_block_flood"), (priorities, "priority_flood"), (unknown_frames, "priority_flood"), (window_updates, "window_update_flood"),
           (frames_on_ended_streams, "closed_stream_flood"), (hpack_bomb, "header_block_flood")]


@pytest.mark.parametrize("attack,reason", ATTACKS, ids=[a.__name__ for a, _ in ATTACKS])
def test_floods_end_in_calm_and_others_go_on(gw, attack, reason):
    labels = {"listener": "main", **({"reason": reason} if reason else {})}
    pid = gw.pids()["workers"][0]
    ended, before = gw.metric("sluice_listener_h2_ended_total", **labels), int(proc_status(pid)["VmRSS"].split()[0])
    with Neighbour(gw):
        for _ in range(3):
            with h2.connect(gw, P, address="127.0.0.1") as c:
                c.until(lambda: c.acked, "SETTINGS")
                attack(c)
                assert c.end() == CALM
    assert gw.metric("sluice_listener_h2_ended_total", **labels) == ended + 3
    if not SAN:
        assert int(proc_status(pid)["VmRSS"].split()[0]) - before < GROWTH_KIB


def test_who_reads_nothing_holds_little_and_is_let_go(gw):
    """A hundred answers of a MiB each, and not a byte of them taken."""
    pid = gw.pids()["workers"][0]
    before = int(proc_status(pid)["VmRSS"].split()[0])
    ended = gw.metric("sluice_listener_h2_ended_total", listener="main", reason="slow_reader")
    with Neighbour(gw):
        with h2.connect(gw, P, address="127.0.0.1") as c:
            c.send(streams(c, 100, lambda s: request(c, s, "/big")))
            until(lambda: gw.metric("sluice_listener_h2_ended_total", listener="main", reason="slow_reader") == ended + 1, "its end", 30)
            if not SAN:
                assert int(proc_status(pid)["VmRSS"].split()[0]) - before < 100 * 96 + GROWTH_KIB


def test_an_honest_crowd_is_no_flood(gw):
    """A page that is left: a hundred requests reset at once; then a long life of requests with PINGs and WINDOW_UPDATEs in between."""
    with h2.connect(gw, P, address="127.0.0.1") as c:
        c.send(streams(c, 100, lambda s: request(c, s)), streams(c, 100, lambda s: frame(RST_STREAM, 0, s, U32[8])))
        c.next_id = 201
        for i in range(300):
            assert c.ask().status == 200
            c.send(frame(WINDOW_UPDATE, 0, 0, U32[1]))
            if i % 10 == 0:
                c.sync()
        assert c.goaway is None


class Recording:
    """A socket that keeps what is sent."""

    def __init__(self, sock):
        self.sock, self.said = sock, []

    def sendall(self, data):
        self.said.append(data)
        self.sock.sendall(data)

    def __getattr__(self, name):
        return getattr(self.sock, name)


def recorded(lo, attack):
    """What it sends until it is ended."""
    sock = Recording(lo.connect(("127.0.0.1", MEASURED)))
    with h2.H2(sock) as c:
        c.until(lambda: c.acked, "SETTINGS")
        attack(c)
        assert c.end() == CALM, attack.__name__
    return b"".join(sock.said)


def replay(lo, port, said, taken=lambda: None):
    """Sent piece by piece, until it is ended or over; taken() is called after each piece."""
    with lo.connect(("127.0.0.1", port)) as s, contextlib.suppress(ConnectionResetError, BrokenPipeError):
        s.settimeout(20)
        for at in range(0, len(said), PIECE):
            s.sendall(said[at:at + PIECE])
            taken()
        s.shutdown(socket.SHUT_WR)
        taken()
        while s.recv(PIECE):
            pass


def replay_to_nobody(lo, sink, said):
    """The same to one who takes all and does nothing: what an attacker takes of the machine, whomever he attacks."""
    with contextlib.ExitStack() as end:
        peer = []

        def taken():
            if not peer:
                peer.append(end.enter_context(sink.accept()[0]))
            with contextlib.suppress(BlockingIOError):
                while peer[0].recv(PIECE, socket.MSG_DONTWAIT):
                    pass
                end.close()
        replay(lo, NOBODY, said, taken)


def attacked(lo, g):
    """
    p99 of a client at RATE, beside attacks on nobody and beside attacks on the gateway, in turns that are short against what
    else goes on in the machine; no error in either. What attackers send was made before, and they give way to all others:
    they have a CPU of their own.
    """
    attacks = [recorded(lo, attack)[:TAKEN] for attack, _ in ATTACKS]
    ended = g.metric("sluice_listener_h2_ended_total", listener="main")
    good = load.Load(lo, "127.0.0.1", MEASURED, connections=8, rate=RATE, seconds=120, window_ms=int(WINDOW * 1000))
    start, spans = time.monotonic(), {True: [], False: []}

    def attack(turn, sink, gateway):
        os.sched_setscheduler(threading.get_native_id(), os.SCHED_IDLE, os.sched_param(0))
        for said in turn:
            replay(lo, MEASURED, said) if gateway else replay_to_nobody(lo, sink, said)
            time.sleep(APART)

    def measured(turn, sink, gateway):
        begin = time.monotonic() - start
        Thread(attack, turn, sink, gateway).join(60)
        end = time.monotonic() - start
        spans[gateway].append((int(begin / WINDOW) + 1, int(end / WINDOW) - 1))  # whole windows, and none that is half something else

    time.sleep(WINDOW)  # the client's connections
    with lo.listen(NOBODY, "127.0.0.1") as sink:
        for i in range(TURNS):
            for gateway in (i % 4 < 2, i % 4 >= 2):  # neither is always the first
                measured(attacks[i % 2::2], sink, gateway)
    good.stop()
    r = good.result()
    assert r.failed == 0 and r["status"]["2xx"] == r["done"] > 0, {k: v for k, v in r.items() if k != "windows"}
    n = TURNS * len(ATTACKS) // 2
    assert n == g.metric("sluice_listener_h2_ended_total", listener="main") - ended
    print(f"{n} attacks: p99 {r.p99(*spans[False])} us undisturbed, {r.p99(*spans[True])} us beside them, of {r['done']} requests")
    return r.p99(*spans[False]), r.p99(*spans[True])


@pytest.mark.slow
def test_others_do_not_feel_them(lo):
    """Each attack, on us and on nobody in turns; another client at 1000 rps: no error, p99 at most 1.5 x."""
    with Nginx(lo, 9000) as web, Gateway(serving(web.target, port=MEASURED, listeners={"main": {"protocols": ["h2", "http/1.1"]}}), lo) as g:
        load.nobody_notices(lambda: attacked(lo, g))
