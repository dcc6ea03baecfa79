# SPDX-License-Identifier: Apache-2.0
"""
Everything at once for SOAK_SECONDS (a few in CI, `make soak` for long): kept and new connections, HTTP/2, WebSocket over
either protocol, uploads, uploads that are left, slow clients, resets, malformed requests, with reloads in between. Nobody who behaves sees an
error; memory and descriptors are flat; under a sanitizer there is no report (Gateway.stop asserts it).
"""
import contextlib
import os
import random
import re
import statistics
import threading
import time

from harness import h2, load
from harness.gateway import SAN, Gateway
from harness.nginx import Nginx
from harness.ns import Thread
from harness.origin import Origin
from harness.policy import serving, upstream
from harness.websocket import echoing

P, H2 = 8080, 8081  # over HTTP/1.1, and over either
SECONDS = int(os.environ.get("SOAK_SECONDS", "6"))
RATE = int(os.environ.get("SOAK_RATE", "50" if SAN else "200"))  # requests a second of each load that is paced
BODY = b"u" * 300000
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
MALFORMED = [b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", b"GET / HTTP/1.1\nHost: a\n\n", b"\x16\x03\x01\x00\x05hello", b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
             b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"GET / HTTP/9.9\r\nHost: a\r\n\r\n",
             b"GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n", b"A" * 40000]


def status_line(s):
    out = b""
    while b"\r\n\r\n" not in out:
        data = s.recv(65536)
        assert data, f"closed after {out!r}"
        out += data
    return out


class Actors:
    """Threads that each do one thing again and again until the end."""

    def __init__(self, lo):
        self.lo, self.over, self.done, self._threads = lo, threading.Event(), {}, []

    def start(self, fn, port=P, pause=0.01):
        def run():
            n, r = 0, random.Random(fn.__name__)
            while not self.over.wait(pause):
                with self.lo.connect(("127.0.0.1", port), 30) as s:
                    fn(s, r)
                n += 1
            self.done[fn.__name__] = n
        self._threads.append(Thread(run))

    def stop(self):
        self.over.set()
        for t in self._threads:
            t.join(90)


def upload(s, _):
    s.sendall(b"POST /up HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY)
    assert status_line(s).startswith(b"HTTP/1.1 200 ")


def left(s, r):
    """An upload whose client closes in the middle, by FIN or by RST."""
    s.sendall(b"POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n" + BODY[:r.randrange(1, 299999)])
    if r.random() < 0.5:
        s.setsockopt(1, 13, b"\x01\0\0\0\0\0\0\0")


def malformed(s, r):
    with contextlib.suppress(ConnectionResetError, BrokenPipeError):  # the answer may be overtaken by what we still send
        s.sendall(r.choice(MALFORMED))
        out = s.recv(4096)
        assert re.match(rb"HTTP/1\.1 (4\d\d|505) ", out), out


def reset(s, r):
    s.sendall((b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" + b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n\r\nx")[:r.randrange(1, 90)])
    s.setsockopt(1, 13, b"\x01\0\0\0\0\0\0\0")  # SO_LINGER: closes with RST


def slow(s, r):
    for piece in (b"GET / HT", b"TP/1.1\r\nHo", b"st: a\r\nConnection: clo", b"se\r\n\r\n"):
        s.sendall(piece)
        time.sleep(r.random() / 10)
    assert status_line(s).startswith(b"HTTP/1.1 200 ")


def tunnel(s, r):
    s.sendall(b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + KEY.encode() + b"\r\n\r\n")
    assert status_line(s).startswith(b"HTTP/1.1 101 ")
    for _ in range(20):
        sent = r.randbytes(r.randrange(1, 20000))
        s.sendall(sent)
        got = b""
        while len(got) < len(sent):
            data = s.recv(65536)
            assert data
            got += data
        assert got == sent


def tunnel_h2(s, r):
    c = h2.H2(s, timeout=30)
    c.until(lambda: c.acked, "SETTINGS")
    stream, sent = c.id(), b""
    c.send(c.head(stream, [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"), (":authority", "a"), (":path", "/ws"),
                           ("sec-websocket-version", "13")], end=False))
    c.until(lambda: c.answer(stream).status == 200, "the tunnel")
    for _ in range(20):
        piece = r.randbytes(r.randrange(1, 16384))
        sent += piece
        c.send(c.data(stream, piece))
        c.until(lambda: len(c.answer(stream).body) >= len(sent), "what was sent")
    c.send(c.data(stream, end=True))
    assert c.wait(stream).body == sent


ACTORS = (upload, left, malformed, reset, slow, tunnel, tunnel_h2)


def resident(pid):
    with open(f"/proc/{pid}/statm") as f:
        return int(f.read().split()[1]) * 4096


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def test_everything_at_once(lo):
    with Nginx(lo, 9000) as web, Origin(lo, answer=echoing) as ws:
        late = {"connect": "30s", "first_byte": "60s", "total": "120s"}  # a machine that is busy otherwise is no error of ours
        p = serving(web.target, P, workers=2, drain_timeout="3s",
                    listeners={"main": {"bind": [f"127.0.0.1:{P}"], "timeouts": {"headers": "60s"}}, "h2": {"bind": [f"127.0.0.1:{H2}"], "protocols": ["h2", "http/1.1"]}},
                    upstreams={"origin": upstream(web.target, keepalive={"idle": 32}), "ws": upstream(ws)},
                    routes={"all": {"timeouts": late}, "ws": {"timeouts": late, "paths": ["/ws"], "upstream": "ws", "auth": ["public"], "upgrade": ["websocket"]}})
        with Gateway(p, lo) as g:
            pids, sizes = g.pids()["workers"], []
            before = [descriptors(pid) for pid in pids]
            actors = Actors(lo)
            loads = [load.Load(lo, "127.0.0.1", P, connections=16, rate=RATE, seconds=SECONDS),
                     load.Load(lo, "127.0.0.1", P, connections=8, rate=RATE // 2, seconds=SECONDS, headers=["Connection: close"])]
            h2load = lo.popen(["h2load", "-D", str(SECONDS), "-c", "4", "-m", "8", f"--rps={RATE}", f"http://127.0.0.1:{H2}/"], stdout=-1, stderr=-2, text=True)
            for fn in ACTORS:
                actors.start(fn, H2 if fn is tunnel_h2 else P)
            end, n = time.monotonic() + SECONDS, 0
            while time.monotonic() < end:
                actors.over.wait(0.25)
                n += 1
                sizes.append(sum(resident(pid) for pid in pids))
                if n % 8 == 4:
                    assert g.ctl("apply")[0] == 0
            actors.stop()
            out, _ = h2load.communicate(timeout=60)
            results = [l.result() for l in loads]
            assert g.pids()["workers"] == pids, "nobody died"
            assert set(actors.done) == {fn.__name__ for fn in ACTORS} and all(actors.done.values()), actors.done
            for r in results:
                assert r.bad == 0 and r["done"] > 0, r
            m = re.search(r"status codes: (\d+) 2xx, 0 3xx, 0 4xx, 0 5xx", out)
            assert m and int(m.group(1)) > 0 and re.search(r" 0 failed, 0 errored", out), out
            assert g.metric("sluice_requests_lost_total") == 0
            if SECONDS >= 60 and not SAN:
                quarter = len(sizes) // 4
                early, late = statistics.median(sizes[quarter:2 * quarter]), statistics.median(sizes[3 * quarter:])
                assert late < early * 1.05 + (2 << 20), f"workers grew from {early} to {late} bytes: {sizes[::max(1, quarter // 4)]}"
            requests = g.metric("sluice_listener_requests_total")
            print(f"{SECONDS} s: {requests:.0f} requests, by h2load {m.group(1)}, by load {[r['done'] for r in results]}, {actors.done}; workers' memory "
                  f"{[s >> 10 for s in sizes[::max(1, len(sizes) // 10)]]} KiB, descriptors {before} before, {[descriptors(pid) for pid in pids]} after")
            spare = 2 * 32 + 8  # kept connections to upstreams
            for pid, had in zip(pids, before):
                assert descriptors(pid) <= had + spare, (descriptors(pid), had)
