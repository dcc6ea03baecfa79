# SPDX-License-Identifier: Apache-2.0
"""A million consumers in the policy: how long until they are served, what they weigh, and what a reload of them does to requests."""
import re
import statistics
import time

import measure
from harness import gateway, load
from measure import LOAD_CPU, ROUNDS, SECONDS, pinned, say

N = 1_000_000
RPS = 500
MANY_MS = 600_000  # one window for all: its p99 is that of all requests


def pss_mib(pid):
    with open(f"/proc/{pid}/smaps_rollup") as f:
        return int(re.search(r"^Pss: +(\d+)", f.read(), re.M).group(1)) / 1024


def p99(r):
    if r.bad:
        raise SystemExit(f"bench: requests failed beside a reload: {r}")
    return r["windows"][0]["p99"]


def asking(p, seconds):
    return load.Load(p.host, "127.0.0.1", p.port("sluice", "plain"), connections=16, rate=RPS, seconds=seconds, window_ms=MANY_MS, prefix=pinned(LOAD_CPU))


def one(p):
    """(seconds, MiB, p99 alone, p99 during the reload) of one life of a gateway, which has both cores."""
    policy = {**p.policy("plain"), "tiers": {"free": {"rate_limit": {"second": 10}}}, "consumers": {f"user-{i:07}": {"tier": "free"} for i in range(N)}}
    measure.gate()
    g = gateway.Gateway(p.policy("plain"), p.host, name="policy.json")
    try:
        alone = p99(asking(p, SECONDS).result())
        g.write(policy)
        begun = time.monotonic()
        meanwhile = asking(p, 120)
        code, out = g.ctl("apply", timeout=120)
        took = time.monotonic() - begun
        meanwhile.stop()
        if code:
            raise SystemExit(f"bench: {N:,} consumers: {out}")
        result = took, max(pss_mib(pid) for pid in g.tree()), alone, p99(meanwhile.result())
    finally:
        g.stop()
    say("  {:.1f} s, {:.0f} MiB, p99 {:.0f} us alone, {:.0f} us meanwhile".format(*result))
    return result


def consumers(p, row):
    if "plain" in p.gateways:  # its port is wanted
        p.stop_sluice("plain")
    load.binary()
    lives = []
    for r in range(ROUNDS):
        say(f"{N:,} consumers: round {r + 1} of {ROUNDS}")
        lives.append(one(p))
    took, mib, alone, meanwhile = (statistics.median(x) for x in zip(*lives))
    row(f"{N:,} consumers: s until an apply of them is in force, of 5", took, 5, 1)
    row(f"{N:,} consumers: MiB of the largest process, of 500", mib, 500, 1)
    row(f"{N:,} consumers: p99 us during that apply, against before", meanwhile, alone, 2)
