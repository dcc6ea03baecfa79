# SPDX-License-Identifier: Apache-2.0
"""The rows of HTTP. Each group is a function that makes its rows; the contenders of a row take turns, round by round."""
import statistics
import subprocess
import sys

import measure
from measure import CONNECTIONS, LOAD_CPU, ROUNDS, SECONDS, pinned, say
from proxies import HERE

PEERS = ("nginx", "haproxy")
CLOSE = ("Connection: close",)
IDLE = 5000


def rounds(what, contenders, one):
    """Medians by name of one(name), taken in turns that begin with another one each round."""
    costs = {c: [] for c in contenders}
    for r in range(ROUNDS):
        say(f"{what}: round {r + 1} of {ROUNDS}")
        order = list(contenders)
        for c in order[r % len(order):] + order[:r % len(order)]:
            costs[c].append(one(c))
    return {c: statistics.median(v) for c, v in costs.items()}


def compare(p, row, name, kind, limit, peers=PEERS, path="", **load):
    """One row against the better of the peers."""
    at = {c: p.ready(c, kind) for c in (*peers, "sluice")}
    m = rounds(name, at, lambda c: measure.request_cost(p.host, c, at[c][0], at[c][1] + path, **load))
    row(name, m["sluice"], min(m[c] for c in peers), limit)


def keepalive(p, row):
    compare(p, row, "plain HTTP/1.1 keep-alive", "plain", 0.85)
    compare(p, row, "TLS 1.3 keep-alive", "tls", 0.85)


def h2(p, row):
    at = {c: p.ready(c, "tls") for c in (*PEERS, "sluice")}
    m = rounds("HTTP/2", at, lambda c: measure.h2_cost(p.host, c, *at[c]))
    row("HTTP/2 over TLS, 10 connections of 32 streams", m["sluice"], min(m[c] for c in PEERS), 0.85)


def connect(p, row):
    compare(p, row, "new plain connection per request", "plain", 0.9, headers=CLOSE)


def handshake(p, row):
    """wrk resumes what it is given tickets for: where there are none, each handshake is a full one."""
    compare(p, row, "new TLS 1.3 handshake per request, ECDSA P-256", "fulltls", 0.75, headers=CLOSE)
    compare(p, row, "resumed TLS 1.3 connection per request", "tls", 0.8, headers=CLOSE)


def bulk(p, row):
    compare(p, row, "10 MiB through TLS", "tls", 0.85, path="10m", connections=8)


def idle(p, row):
    """KiB of resident memory for each connection that has asked once and is kept."""
    def one(c):
        p.stop(c, "tls")  # memory that was given back is not seen as growth
        pid, url = p.ready(c, "tls")
        measure.wrk(p.host, url, 1)  # what is allocated once is there
        before = measure.resident_kib(pid)
        held = p.host.popen([*pinned(LOAD_CPU), sys.executable, f"{HERE}/idle.py", str(p.port(c, "tls")), str(IDLE)],
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if held.stdout.readline() != f"{IDLE}\n":
            raise SystemExit(f"bench: {c} did not answer on {IDLE} connections")
        kib = (measure.resident_kib(pid) - before) / IDLE
        held.communicate("\n")
        say(f"  {c:8} {kib:6.2f} KiB")
        return kib
    m = rounds(f"{IDLE:,} idle TLS connections", (*PEERS, "sluice"), one)
    row(f"KiB of memory of each of {IDLE:,} idle TLS connections", m["sluice"], min(m[c] for c in PEERS), 0.85)


def limited(p, row):
    compare(p, row, "429 on keep-alive", "limited", 0.9, expect="429")
    compare(p, row, "429 on a new connection", "limited", 0.9, expect="429", headers=CLOSE)


def routes(p, row):
    """Itself with one route and with many; requests go to all routes alike."""
    counts = {1: None, 100: 1.02, 10000: 1.05}
    at = {n: p.ready("sluice", f"routes{n}") for n in counts}
    m = rounds("routes", at, lambda n: measure.request_cost(p.host, f"{n:,}", *at[n], args=("routes", str(n))))
    for n, limit in counts.items():
        if limit:
            row(f"{n:,} routes against 1", m[n], m[1], limit)
        p.stop_sluice(f"routes{n}")


def latency(p, row):
    """p99 in microseconds, at half of the rate at which the first of the three is saturated."""
    at = {c: p.ready(c, "plain") for c in (*PEERS, "sluice")}
    paced = f"{p.run}/paced"
    subprocess.run(["gcc", "-O2", "-D_GNU_SOURCE", "-o", paced, f"{HERE}/paced.c", "-lm"], check=True)
    rate = 0.5 * min(measure.saturation(p.host, at[c][1]) for c in at)

    def one(c):
        cmd = [*pinned(LOAD_CPU), paced, str(p.port(c, "plain")), f"{rate:.0f}", str(SECONDS), str(CONNECTIONS)]
        return measure.latency(p.host, c, cmd)
    m = rounds(f"p99 at {rate:.0f} requests a second", at, one)
    row("p99 at half of saturation", m["sluice"], min(m[c] for c in PEERS), 1.0)


GROUPS = {f.__name__: f for f in (keepalive, h2, connect, handshake, bulk, idle, limited, routes, latency)}
