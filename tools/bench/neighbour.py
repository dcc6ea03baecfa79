# SPDX-License-Identifier: Apache-2.0
"""
A good consumer's p99 while a bad one sends fifty times its limit: requests, then new TLS connections, then SYNs. Each contender by
itself on its core, at the address of one host; good and bad client are hosts of their own. What is compared is the good one's p99 once
the bad one has been acted upon with its p99 before, of the same contender, a moment ago.
"""
import hashlib
import os
import shutil
import signal
import statistics
import subprocess
import time

import measure
from harness import gateway, load, nginx, ns, pki, spoof
from harness.wait import until
from measure import LOAD_CPU, PROXY_CPU, ROUNDS, SECONDS, pinned, say
from proxies import HERE

PORTS = {"http": 8080, "tls": 8443}
LIMIT = 20  # requests and, apart, new connections a second
BAD = 50 * LIMIT
GOOD_RPS = 500
LEAD = 3  # seconds: how long those who have no ladder get to act
KEYS = {"good": "good-key-00000000", "bad": "bad-key-000000000"}
CONTENDERS = ("nginx", "haproxy", "sluice")
ATTACKS = {"http": "requests", "tls": "new TLS connections", "syn": "SYNs"}
BAD_CPU = ["taskset", "-c", LOAD_CPU]  # the good client comes before it on the core that they share, see pinned()


def policy(run, origin):
    escalate = {"rejections": 50, "within": "10s", "penalty": "60s", "max_penalty": "10m"}
    return {"workers": 1, "upstreams": {"up": {"targets": [{"address": origin.target}], "keepalive": {"idle": 128, "requests": 1000000000}}},
            "listeners": {"plain": {"bind": [f"10.77.0.1:{PORTS['http']}"]},
                          "tls": {"bind": [f"10.77.0.1:{PORTS['tls']}"], "tls": {"certificates": [{"cert": f"{run}/cert.pem", "key": {"$file": f"{run}/key.pem"}}]}}},
            "auth": {"keys": {"type": "key", "names": ["apikey"], "in": ["header"]}},
            "tiers": {"limited": {"rate_limit": {"second": LIMIT, "by": "consumer"}, "kernel": {"headroom": 1, "escalate": escalate}}, "free": {}},
            "consumers": {who: {"tier": "free" if who == "good" else "limited", "keys": [hashlib.sha256(k.encode()).hexdigest()]} for who, k in KEYS.items()},
            "kernel": {"interfaces": ["eth0"], "mode": "native", "per_source": {"new_connections": f"{5 * LIMIT}/s", "burst": 2}},
            "routes": {"all": {"upstream": "up", "auth": ["keys"]}}}


class Contender:
    def __init__(self, name, net, run, origin):
        self.name, self.net, self.gateway, self.proc = name, net, None, None
        if name == "sluice":
            self.gateway = gateway.Gateway(policy(run, origin), net.gw, prefix=pinned(PROXY_CPU))
            return
        conf = f"{run}/neighbour-{name}"
        with open(f"{HERE}/neighbour-{name}") as f, open(conf, "w") as out:
            out.write(f.read().format(run=run, limit=LIMIT, good=net["good"].address))
        cmd = [nginx.BINARY, "-p", run, "-c", conf, "-e", f"{run}/nginx.err"] if name == "nginx" else ["/usr/sbin/haproxy", "-db", "-f", conf]
        self.proc = net.gw.popen([*pinned(PROXY_CPU), *cmd], stdout=subprocess.DEVNULL)
        until(lambda: net["good"].connect(("10.77.0.1", PORTS["tls"])).close() or True, f"{name} to listen")

    def acted(self, kind):
        """
        Once it does what it does against the bad client. Ours: the ladder has come past flows; who sends SYNs alone has nobody that could be
        penalised, and is held to his address's new connections, which leave a consumer room to go over his limit.
        """
        if self.gateway:
            reasons = ("source_connections",) if kind == "syn" else ("penalty_connect", "penalty_source")
            until(lambda: sum(self.gateway.metric("sluice_kernel_packets_total", reason=r) for r in reasons) > 0, "the kernel to drop", timeout=20)
        time.sleep(LEAD)

    def stop(self):
        if self.gateway:
            self.gateway.stop()
        else:
            self.proc.send_signal(signal.SIGTERM)
            self.proc.wait(10)


def attack(net, kind):
    """The bad client, until its stop() is called."""
    bad, seconds = net["bad"], 2 * LEAD + SECONDS + 30
    if kind == "http":
        return load.Load(bad, "10.77.0.1", PORTS["http"], connections=16, rate=BAD, seconds=seconds, headers=[f"apikey: {KEYS['bad']}"], prefix=BAD_CPU).proc
    if kind == "syn":
        flood = spoof.Flood(bad, net.gw, PORTS["http"], f"{bad.address}/32", BAD * seconds, BAD)
        os.sched_setaffinity(flood.proc.pid, {int(LOAD_CPU)})  # what it sends is the proxy's, what it costs to send is not
        return flood.proc
    return bad.popen([*BAD_CPU, "wrk", "-t1", "-c16", f"-d{seconds}s", "--timeout", "1s", "-H", "Connection: close", "-H", f"apikey: {KEYS['bad']}",
                      f"https://10.77.0.1:{PORTS['tls']}/"], stdout=subprocess.DEVNULL)


def good(net, kind):
    """(p99 in microseconds, requests that got no 2xx) of 500 requests a second on kept connections."""
    r = load.Load(net["good"], "10.77.0.1", PORTS["http"], connections=16, rate=GOOD_RPS, seconds=SECONDS, headers=[f"apikey: {KEYS['good']}"],
                  prefix=pinned(LOAD_CPU)).result()
    windows = sorted(w["p99"] for w in r["windows"])
    return statistics.median(windows), r.bad


def one(name, net, run, origin, kind):
    measure.gate()
    c = Contender(name, net, run, origin)
    bad = None
    try:
        alone, failed = good(net, kind)
        bad = attack(net, kind)
        c.acted(kind)
        beside, errors = good(net, kind)
    finally:
        if bad:
            bad.terminate()
            bad.wait()
        c.stop()
    say(f"  {name:8} p99 {alone:.0f} us alone, {beside:.0f} us beside; errors {failed}, {errors}")
    return alone, beside, failed + errors


def neighbour(_, row):
    load.binary(), spoof.binary()
    with ns.Net("gw", "good", "bad") as net:
        run = os.path.join(os.environ.get("TMPDIR", "/tmp"), f"sl-neighbour-{os.getpid()}")
        os.mkdir(run, 0o755)
        origin = nginx.Nginx(net.gw, 9000, address="127.0.0.1", prefix=pinned(LOAD_CPU))
        cert, key = pki.CA(run).issue("gw.test")
        shutil.copy(cert, f"{run}/cert.pem")
        shutil.copy(key, f"{run}/key.pem")
        with open(f"{run}/both.pem", "w") as f:
            f.write(open(cert).read() + open(key).read())
        try:
            for kind, what in ATTACKS.items():
                rows(net, run, origin, kind, what, row)
        finally:
            origin.close()
            shutil.rmtree(run, True)


def rows(net, run, origin, kind, what, row):
    """p99 beside against p99 alone; errors count only for us: what others do with the good client is theirs."""
    seen = {c: [] for c in CONTENDERS}
    for r in range(ROUNDS):
        say(f"noisy neighbour, {what}: round {r + 1} of {ROUNDS}")
        for c in CONTENDERS[r % 3:] + CONTENDERS[:r % 3]:
            seen[c].append(one(c, net, run, origin, kind))
    if any(errors for _, _, errors in seen["sluice"]):
        raise SystemExit(f"bench: noisy neighbour, {what}: the good client had errors")
    for c in CONTENDERS[::-1]:
        alone, beside = (statistics.median(x[i] for x in seen[c]) for i in (0, 1))
        row(f"noisy neighbour, {what}: p99 us beside it, against alone, {c}", beside, alone, 1.2 if c == "sluice" else None)
