# SPDX-License-Identifier: Apache-2.0
"""
4 workers, 64 connections, 4 windows: of each window that binds, what is admitted is what it says, to 1 %; each 429 is right by its own
headers; and who comes when Retry-After is over is admitted. SLUICE_EXACT_SECONDS: how long the quick one takes.
"""
import asyncio
import hashlib
import os
import re
import time

import pytest
from harness.gateway import Gateway
from harness.policy import serving

P = 8080
SECONDS = float(os.environ.get("SLUICE_EXACT_SECONDS", "2"))
WIDE = {"second": 100000, "minute": 1000000, "hour": 10000000, "day": 100000000}
BINDS = {"second": 200, "minute": 600, "hour": 1200, "day": 500}
LONG = 30
LONG_BINDS = {"second": 200, "minute": 600, "hour": 1200, "day": 10000}  # a day's that comes back in seconds takes a while to use up
LENGTH = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}


class Seen:
    """first, last_refused: (sent, answered), between which the gateway decided."""

    def __init__(self):
        self.admitted, self.refused, self.first, self.last_refused, self.wrong, self.retry = [], 0, None, None, [], 0

    def admit(self, sent):
        now = time.monotonic()
        self.admitted.append(now)
        self.first = (min(self.first[0], sent), min(self.first[1], now)) if self.first else (sent, now)

    def refuse(self, sent, head):
        self.refused += 1
        self.last_refused = (sent, time.monotonic())
        self.retry = int(re.search(r"(?i)retry-after: (\d+)", head).group(1))
        return dict((n, int(r)) for n, r in re.findall(r'"(\w+)";r=(\d+)', re.search(r"(?im)^ratelimit: (.*)$", head).group(1)))

    def check(self, of, capacity):
        """capacity(t): what is admitted within t seconds of the first request, where as much as can be is asked for."""
        assert self.refused > 0, f"{of}: {len(self.admitted)} admitted, none refused: the machine is too slow to tell"
        assert not self.wrong, (of, self.wrong[0])
        least, most = capacity(self.last_refused[0] - self.first[1]), capacity(self.last_refused[1] - self.first[0])
        print(f"{of}: {len(self.admitted)} admitted of {len(self.admitted) + self.refused} in {self.last_refused[1] - self.first[0]:.1f} s, "
              f"{least:.1f} to {most:.1f} by the limit: {100 * (len(self.admitted) / ((least + most) / 2) - 1):+.2f} %")
        assert least * 0.99 <= len(self.admitted) <= most * 1.01, (of, len(self.admitted), least, most)


async def ask(streams, key):
    reader, writer = streams
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\napikey: " + key.encode() + b"\r\n\r\n")
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    length = re.search(r"(?i)content-length: (\d+)", head)
    await reader.readexactly(int(length.group(1)))
    return int(head[9:12]), head


async def connect(host):
    sock = host.connect(("127.0.0.1", P), 10)
    sock.setblocking(False)
    return await asyncio.open_connection(sock=sock)


async def client(host, key, window, seen, goes_on):
    streams = await connect(host)
    while goes_on():
        began = time.monotonic()
        status, head = await ask(streams, key)
        if status == 200:
            seen.admit(began)
            continue
        left = seen.refuse(began, head)
        used_up = {w for w in left if left[w] == 0}
        if status != 429 or not used_up or (window and used_up != {window}):
            seen.wrong.append(head)
    streams[1].close()


async def load(host, clients, seconds):
    """clients: (key, the window that binds, or None where each does in its turn, Seen). For so long, and on until each has met its limit: a
    build with sanitizers takes its time."""
    begin = time.monotonic()

    def goes_on():
        t = time.monotonic() - begin
        return t < seconds or (t < seconds + 30 and not all(s.refused for _, _, s in clients))
    await asyncio.gather(*(client(host, key, window, s, goes_on) for key, window, s in clients for _ in range(64 // len(clients))))


async def once_more(host, key, wait):
    await asyncio.sleep(wait)  # the thing under test is this very number
    streams = await connect(host)
    status, head = await ask(streams, key)
    streams[1].close()
    return status, head


async def after(host, keys, seen):
    """Each waits as long as it was last told, all at once; not where that is a day's, which is too long a wait."""
    return await asyncio.gather(*(once_more(host, keys[w], seen[w].retry) for w in seen if seen[w].retry <= 15))


def policy(keys, limits):
    route = {"all": {"auth": ["keys"], "upstream": None, "respond": {"status": 200, "body": "ok"}}}
    return serving("127.0.0.1:9", P, workers=4, upstreams=None, auth={"keys": {"type": "key", "names": ["apikey"], "in": ["header"]}}, routes=route,
                   tiers={w: {"rate_limit": {**limits[w], "by": "consumer"}} for w in keys},
                   consumers={w: {"tier": w, "keys": [hashlib.sha256(k.encode()).hexdigest()]} for w, k in keys.items()})


@pytest.mark.parametrize("seconds,binds", [(SECONDS, BINDS), pytest.param(LONG, LONG_BINDS, marks=pytest.mark.slow)], ids=["quick", "half a minute"])
def test_each_window_admits_what_it_says_and_each_refusal_says_why(lo, seconds, binds):
    """Four consumers of 16 connections; all have four windows, and of each another one binds."""
    keys = {w: f"key-of-the-{w}-000000" for w in binds}
    with Gateway(policy(keys, {w: {**WIDE, w: n} for w, n in binds.items()}), lo) as g:
        seen = {w: Seen() for w in binds}
        asyncio.run(load(lo, [(keys[w], w, seen[w]) for w in binds], seconds))
        for w, s in seen.items():
            s.check(w, lambda t: binds[w] * (1 + t / LENGTH[w]))
        asked = asyncio.run(after(lo, keys, seen))
        assert len(asked) >= 3 + (binds is LONG_BINDS)
        for status, head in asked:
            assert status == 200, head


def test_windows_of_one_consumer_bind_in_their_turn(lo):
    """One consumer of 64 connections: first the second's window is what it meets, then the minute's, the hour's and the day's."""
    limit, t = {"second": 200}, 0
    for narrow, wide in zip(list(LENGTH), list(LENGTH)[1:]):
        t += SECONDS / 4
        limit[wide] = int(limit[narrow] * (1 + t / LENGTH[narrow]) / (1 + t / LENGTH[wide]))
    keys = {"one": "key-of-the-one-0000000"}

    def capacity(t):
        return min(n * (1 + t / LENGTH[w]) for w, n in limit.items())
    with Gateway(policy(keys, {"one": limit}), lo) as g:
        seen = Seen()
        asyncio.run(load(lo, [(keys["one"], None, seen)], SECONDS))
        seen.check("all four", capacity)
        # on the way as well: nothing is admitted before it may be (an answer is seen after it was decided)
        for n, at in enumerate(sorted(seen.admitted), 1):
            assert n <= capacity(at - seen.first[0]) * 1.01 + 1, (n, at - seen.first[0])
