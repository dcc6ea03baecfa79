# SPDX-License-Identifier: Apache-2.0
"""Limits, identities, bandwidth and escalation on connections that carry many requests: of one consumer, and of several."""
import hashlib
import time

import pytest
from harness import h2
from harness.gateway import Gateway
from harness.origin import Origin, response
from harness.policy import serving

P = 8080


@pytest.fixture(scope="module")
def gw(lo):
    def consumer(name, tier):
        return {"tier": tier, "keys": [hashlib.sha256(name.encode()).hexdigest()]}
    with Origin(lo, answer=lambda r: response(body=b"x" * int(r.target.rsplit("/", 1)[1] or 0) if "/bytes/" in r.target else b"ok")) as o:
        with Gateway(serving(o, port=P, listeners={"main": {"protocols": ["h2"]}},
                             auth={"keys": {"type": "key", "names": ["apikey"], "in": ["header"]}},
                             tiers={"strict": {"rate_limit": {"minute": 5, "by": "consumer"}, "kernel": {"escalate": {"rejections": 10, "within": "10s", "penalty": "1s", "max_penalty": "1s"}}},
                                    "free": {}, "slow": {"bandwidth": {"in": "256KiB/s", "out": "256KiB/s"}}},
                             consumers={"abuser": consumer("abuser", "strict"), "alone": consumer("alone", "strict"), "neighbour": consumer("neighbour", "free"),
                                        "slow": consumer("slow", "slow")},
                             routes={"all": {"auth": ["keys"]}}), lo) as g:
            yield g


def key(name):
    return [("apikey", name)]


def penalties(gw):
    return gw.metric("sluice_tier_penalties_total", tier="strict")


def test_a_limit_is_one_over_all_streams(gw):
    with h2.connect(gw, P, address="127.0.0.1") as c:
        streams = [c.request(extra=key("alone")) for _ in range(12)]
        got = sorted(c.wait(s).status for s in streams)
    assert got == [200] * 5 + [429] * 7
    assert all(c.answer(s).get("retry-after") for s in streams if c.answer(s).status == 429)


def test_who_is_alone_on_a_connection_loses_it(gw):
    before = gw.metric("sluice_listener_h2_ended_total", listener="main", reason="penalised")
    with h2.connect(gw, P, address="127.0.0.1") as c:
        c.send(*[c.head(1 + 2 * i, c.headers_of(extra=key("alone"))) for i in range(40)])
        assert c.end() in (None, h2.CALM)  # the reset may overtake what was said before it
    assert gw.metric("sluice_listener_h2_ended_total", listener="main", reason="penalised") == before + 1


def test_a_connection_that_several_share_is_bound_to_none(gw):
    before = penalties(gw)
    with h2.connect(gw, P, address="127.0.0.1") as c:
        assert c.ask(extra=key("neighbour")).status == 200
        for _ in range(6):
            streams = [c.request(extra=key("abuser")) for _ in range(10)]
            good = c.request(extra=key("neighbour"))
            assert c.wait(good).status == 200
            assert {c.wait(s).status for s in streams} <= {200, 429}
        assert c.ask(extra=key("abuser")).status == 429 and c.ask(extra=key("neighbour")).status == 200
    assert penalties(gw) == before


def test_two_that_ask_at_once_share_it_too(gw):
    """Nobody has succeeded when the abuser's refusals come: the neighbour's first request is on its way."""
    with h2.connect(gw, P, address="127.0.0.1") as c:
        c.send(c.head(1, c.headers_of(extra=key("neighbour"))), *[c.head(3 + 2 * i, c.headers_of(extra=key("abuser"))) for i in range(30)])
        assert c.wait(1).status == 200
        assert {c.wait(3 + 2 * i).status for i in range(30)} == {429}


def test_bandwidth_holds_over_streams(gw):
    n = 128 << 10
    with h2.connect(gw, P, address="127.0.0.1") as c:
        c.ask(path="/bytes/1", extra=key("slow"))
        began = time.monotonic()
        streams = [c.request(path=f"/bytes/{n}", extra=key("slow")) for _ in range(4)]
        for s in streams:
            assert len(c.wait(s).body) == n
        took = time.monotonic() - began
    assert took > 4 * n / (256 << 10) - 0.7, took  # less a tenth of a second of the rate, and a transfer


def test_bandwidth_holds_only_who_is_over_his(gw):
    """One connection: a consumer's downloads wait, and his next one; his neighbour's pass them, and are not even counted."""
    n, waits = 256 << 10, lambda tier: gw.metric("sluice_tier_bandwidth_waits_total", tier=tier)
    before = waits("slow")
    with h2.connect(gw, P, address="127.0.0.1") as c:
        slow = [c.request(path=f"/bytes/{n}", extra=key("slow")) for _ in range(2)]
        for _ in range(20):
            assert len(c.ask(path=f"/bytes/{n}", extra=key("neighbour")).body) == n
        assert not any(c.answer(s).ended for s in slow)
        late = c.request(path="/bytes/1", extra=key("slow"))
        assert len(c.ask(path="/bytes/1", extra=key("neighbour")).body) == 1
        assert not c.answer(late).ended
        for s in slow:
            assert len(c.wait(s).body) == n
        assert len(c.wait(late).body) == 1
    assert waits("slow") > before and waits("free") == 0


def test_bandwidth_holds_only_the_uploads_of_who_is_over_his(gw):
    size = 200 << 10
    with h2.connect(gw, P, address="127.0.0.1") as c:
        c.until(lambda: c.acked, "SETTINGS")
        c.sync()  # the windows of ours hold
        began = time.monotonic()
        slow = [c.request("POST", "/", key("slow"), body=b"y" * size) for _ in range(3)]
        for _ in range(20):
            assert c.ask("POST", "/", key("neighbour"), body=b"y" * 10000).status == 200
        assert not any(c.answer(s).ended for s in slow)
        for s in slow:
            assert c.wait(s).status == 200
        took = time.monotonic() - began
    assert took > 3 * size / (256 << 10) - 0.7, took
