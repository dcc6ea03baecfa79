# SPDX-License-Identifier: Apache-2.0
"""
How things are measured. The figure is CPU time (user + system) of all processes of a proxy per answered request: on a
machine with few cores it is what a proxy costs, where requests per second would also say what the load generator cost.
The proxy has one core, load and upstream the other; rounds are interleaved, so that a slow minute hits all alike.
"""
import json
import os
import re
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TICK_US = 1_000_000 // os.sysconf("SC_CLK_TCK")
PROXY_CPU, LOAD_CPU = "0", "1"
ROUNDS = int(os.environ.get("ROUNDS", 7))
SECONDS = int(os.environ.get("DUR", 4))  # wrk takes whole seconds
WARM = int(os.environ.get("WARM", 1))
CONNECTIONS = int(os.environ.get("CONNS", 64))
GATE_PERCENT = 15
GATE_WAIT = float(os.environ.get("GATE", 40))


def say(text):
    print(text, file=sys.stderr, flush=True)


def pinned(cpu):
    """The same niceness for all: it keeps other work of the machine from their cores."""
    return ["nice", "-n", "-10", "taskset", "-c", cpu]


def tree(pid):
    out, todo = [], [pid]
    while todo:
        p = todo.pop()
        out.append(p)
        try:
            for t in os.listdir(f"/proc/{p}/task"):
                todo += [int(c) for c in open(f"/proc/{p}/task/{t}/children").read().split()]
        except FileNotFoundError:
            pass
    return out


def cpu_us(pid):
    """By the scheduler's own sums (ns), which user and system time in ticks are derived from."""
    total = 0
    for p in tree(pid):
        try:
            for t in os.listdir(f"/proc/{p}/task"):
                total += int(open(f"/proc/{p}/task/{t}/schedstat").read().split()[0])
        except FileNotFoundError:
            continue
    return total // 1000


def _busy():
    f = open("/proc/stat").readline().split()
    return sum(int(f[i]) for i in (1, 2, 3, 6, 7, 8))


def gate():
    """Waits until the rest of the machine is nearly idle, but not for ever."""
    end = time.monotonic() + GATE_WAIT
    while True:
        a = _busy()
        time.sleep(0.5)
        percent = (_busy() - a) * TICK_US / 5000
        if percent <= GATE_PERCENT:
            return
        if time.monotonic() > end:
            say(f"the machine is still {percent:.0f} % busy with other work")
            return


def wrk_command(url, seconds, args=(), headers=(), connections=CONNECTIONS):
    cmd = [*pinned(LOAD_CPU), "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "4s", "-s", f"{HERE}/done.lua"]
    for h in headers:
        cmd += ["-H", h]
    return [*cmd, url, "--", *args]


def wrk_result(text):
    m = re.search(r"^RESULT (.*)$", text, re.M)
    if not m:
        raise SystemExit(f"bench: no result from wrk: {text}")
    return json.loads(m.group(1))


def wrk(host, url, seconds, args=(), headers=(), connections=CONNECTIONS):
    r = host.run(wrk_command(url, seconds, args, headers, connections), check=True, timeout=seconds + 60)
    return wrk_result(r.stdout + r.stderr)


def request_cost(host, name, pid, url, expect="2xx", args=(), headers=(), connections=CONNECTIONS):
    """One measured run: CPU microseconds per request. expect: "2xx", or "429" where nearly all are refused."""
    gate()
    if WARM:
        wrk(host, url, WARM, args, headers, connections)
    before = cpu_us(pid)
    r = wrk(host, url, SECONDS, args, headers, connections)
    cost = (cpu_us(pid) - before) / max(r["requests"], 1)
    good = r["requests"] > 0 and r["errors"] == 0
    good = good and (r["status"] == 0 if expect == "2xx" else r["status"] > 0.9 * r["requests"])
    say(f"  {name:8} {cost:7.2f} us  {r['requests'] / r['us'] * 1e6:7.0f} rps  p99 {r['p99_us']} us  not 2xx {r['status']}  errors {r['errors']}")
    if not good:
        raise SystemExit(f"bench: {name} {url}: expected {expect} answers and no error: {r}")
    return cost


def resident_kib(pid):
    """Of all processes of the tree, each page once."""
    total = 0
    for p in tree(pid):
        try:
            text = open(f"/proc/{p}/smaps_rollup").read()
        except (FileNotFoundError, ProcessLookupError):
            continue
        total += int(re.search(r"^Pss: +(\d+)", text, re.M).group(1))
    return total


def h2load(host, url, seconds):
    """10 connections of 32 streams; requests that succeeded, and the others."""
    cmd = [*pinned(LOAD_CPU), "h2load", "-t1", "-c10", "-m32", f"-D{seconds}", url]
    text = host.run(cmd, check=True, timeout=seconds + 60).stdout
    total, good = (int(re.search(rf"(\d+) {word}", text).group(1)) for word in ("done", "2xx"))
    return good, total - good


def h2_cost(host, name, pid, url):
    """One measured run over HTTP/2: CPU microseconds per request."""
    gate()
    if WARM:
        h2load(host, url, WARM)
    before = cpu_us(pid)
    good, bad = h2load(host, url, SECONDS)
    cost = (cpu_us(pid) - before) / max(good, 1)
    say(f"  {name:8} {cost:7.2f} us  {good / SECONDS:7.0f} rps  others {bad}")
    if not good or bad:
        raise SystemExit(f"bench: {name} {url}: {good} good answers and {bad} others")
    return cost


def saturation(host, url):
    """Requests a second that it answers at the most."""
    gate()
    r = wrk(host, url, SECONDS)
    return r["requests"] / r["us"] * 1e6


def latency(host, name, cmd):
    """One run of paced.c: its p99 in microseconds."""
    gate()
    r = json.loads(host.run(cmd, check=True, timeout=SECONDS + 60).stdout)
    say(f"  {name:8} p50 {r['p50_us']:7.0f} us  p99 {r['p99_us']:7.0f} us  requests {r['requests']}  errors {r['errors']}")
    if r["errors"] or not r["requests"]:
        raise SystemExit(f"bench: {name}: {r}")
    return r["p99_us"]
