# SPDX-License-Identifier: Apache-2.0
"""A consumer's bandwidth: one rate over all its connections and workers, nothing dropped, nobody else slowed."""
import hashlib
import threading
import time

import pytest
from harness.client import Client
from harness.gateway import Gateway
from harness.origin import Origin, response
from harness.policy import merge, serving

P = 8080
MIB = 1 << 20
KEYS = {"slow": "slow-key-000000", "fast": "fast-key-000000"}
TRANSFER = 80 * 1024  # at most what one connection moves at once: what is unsent to a side (64 KiB), and a read


def answer(r):
    return response(body=b"x" * int(r.get("X-Size", "0")), headers=[("X-Got", str(len(r.body or b"")))])


@pytest.fixture
def origin(lo):
    with Origin(lo, answer=answer) as o:
        yield o


def policy(origin, bandwidth, **over):
    base = serving(origin, P, workers=2, listeners={"main": {"limits": {"body": "64MiB"}}},
                   auth={"keys": {"type": "key", "names": ["apikey"], "in": ["header"], "hide": True}},
                   tiers={"limited": {"bandwidth": bandwidth} if bandwidth else {}, "free": {}},
                   consumers={n: {"tier": "free" if n == "fast" else "limited", "keys": [hashlib.sha256(k.encode()).hexdigest()]} for n, k in KEYS.items()},
                   routes={"all": {"auth": ["keys"], "request": {"body": "64MiB"}}})
    return merge(base, over)


def moved(g, who, n, down=0, up=0, done=None):
    """n connections at once, each with one request: how long until the last one is answered whole."""
    failures = []

    def one():
        try:
            with g.client(P, timeout=60) as c:
                r = c.request("POST", "/", [("apikey", KEYS[who]), ("X-Size", str(down))], body=b"y" * up)
                assert r.status == 200 and len(r.body) == down and r.get("X-Got") == str(up), (r.status, len(r.body))
        except Exception as e:  # told to the test, not to the thread
            failures.append(repr(e))
    threads = [threading.Thread(target=one) for _ in range(n)]
    start = time.monotonic()
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    took = time.monotonic() - start
    if done is not None:
        done.append(who)
    assert not failures, failures
    return took


def waits(g, tier="limited"):
    return g.metric("sluice_tier_bandwidth_waits_total", tier=tier)


@pytest.mark.parametrize("connections", [1, 4])
@pytest.mark.parametrize("way", ["out", "in"])
def test_a_rate_holds_over_all_connections(lo, origin, way, connections):
    """4 MiB at 2 MiB/s: no faster than the rate, save its tolerance (0.1 s) and one transfer of each connection."""
    rate, total = 2 * MIB, 4 * MIB
    with Gateway(policy(origin, {way: "2MiB/s"}), lo) as g:
        size = total // connections
        took = moved(g, "slow", connections, **({"down": size} if way == "out" else {"up": size}))
        assert total <= rate * (took + 0.1) + connections * TRANSFER, f"{total} bytes in {took:.2f} s"
        assert waits(g) > 0
        assert g.metric("sluice_proxy_requests_total", reason="request_timeout") in (0, None)


def test_who_has_no_bandwidth_limit_is_not_slowed(lo, origin):
    with Gateway(policy(origin, {"out": "1MiB/s"}), lo) as g:
        order = []
        slow = threading.Thread(target=moved, args=(g, "slow", 4, MIB, 0, order))
        slow.start()
        moved(g, "fast", 4, MIB, 0, order)
        assert order == ["fast"]
        slow.join()
        assert order == ["fast", "slow"] and waits(g) > 0 and waits(g, "free") == 0


def test_small_answers_are_held_to_it_too(lo, origin):
    """Requests one after the other on one connection, pipelined: the next one waits, none is refused."""
    with Gateway(policy(origin, {"out": "256KiB/s"}), lo) as g, g.client(P, timeout=30) as c:
        start = time.monotonic()
        one = f"GET / HTTP/1.1\r\nHost: x\r\napikey: {KEYS['slow']}\r\nX-Size: 8192\r\n\r\n".encode()
        c.send(one * 64)
        for _ in range(64):
            r = c.read_response()
            assert r.status == 200 and len(r.body) == 8192
        took = time.monotonic() - start
        assert 64 * 8192 <= 256 * 1024 * (took + 0.1) + TRANSFER, took
        assert waits(g) > 0


def test_waiting_for_its_turn_runs_into_no_timeout(lo, origin):
    """Six connections take turns of 16 KiB at 32 KiB/s, 3 s each: longer than the 1 s that a route waits for a side."""
    p = policy(origin, {"out": "32KiB/s"}, routes={"all": {"timeouts": {"idle": "1s"}}})
    with Gateway(p, lo) as g:
        moved(g, "slow", 6, down=40 * 1024)
        assert waits(g) > 0


def test_a_reload_changes_it_for_connections_that_live(lo, origin):
    with Gateway(policy(origin, {"out": "256KiB/s"}), lo) as g, g.client(P, timeout=30) as c:
        def get():
            r = c.request("GET", "/", [("apikey", KEYS["slow"]), ("X-Size", str(256 * 1024))])
            assert r.status == 200 and len(r.body) == 256 * 1024
        get()
        assert waits(g) > 0
        assert g.apply(policy(origin, None))[0] == 0
        get()  # the old rate may have held this one back once more, for what the first had taken
        before = waits(g)
        get()
        assert waits(g) == before
        assert g.apply(policy(origin, {"out": "256KiB/s"}, consumers={"slow": {"bandwidth": {"out": "1GiB/s"}}}))[0] == 0
        get()
        assert waits(g) == before, "its own takes the place of its tier's"
        assert g.apply(policy(origin, {"out": "256KiB/s"}))[0] == 0
        get()
        assert waits(g) > before
