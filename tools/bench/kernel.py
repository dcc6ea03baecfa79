# SPDX-License-Identifier: Apache-2.0
"""
What a packet costs at XDP: ours, xdp-filter (xdp-tools), nftables at netdev ingress and an empty program, each on a veth
pair of its own, all fed true xdp_frames by live.c on one CPU. The figure is CPU nanoseconds from sending a frame until it
is dropped; where it passes, until the stack drops it, since it carries another host's MAC address.
"""
import os
import re
import socket
import statistics
import struct
import subprocess

from harness import gateway
from harness.client import Client
from harness.wait import until
import measure
from measure import PROXY_CPU, ROUNDS, pinned, say

HERE = os.path.dirname(os.path.abspath(__file__))
SLICES = 5  # a round is as many short ones: on a machine with neighbours a short one is more often left alone
COUNT = int(os.environ.get("PACKETS", 1_000_000)) // SLICES
SLICE_ROUNDS = SLICES * ROUNDS
PORT = 8080
PAIRS = {"ours": 1, "xdp-filter": 2, "nftables": 3, "empty": 4}
SYN, ACK = 0x02, 0x10
LIMITLESS = {"new_connections": "1000000000/s", "packets": "1000000000/s", "bytes": "100000MiB/s", "burst": 2}


def ip(pair, host):
    return f"10.88.{PAIRS[pair]}.{host}"


def interface(pair):
    return f"{pair[:4]}0"


class Bench:
    def __init__(self, net, run):
        self.net, self.run = net, run
        for pair in PAIRS:
            self._pair(pair)
        subprocess.run(["clang", "-O2", "-g", "-target", "bpf", *self._include(), "-c", f"{HERE}/gen.bpf.c", "-o", f"{run}/gen.o"], check=True)
        subprocess.run(["gcc", "-O2", "-o", f"{run}/live", f"{HERE}/live.c", "-lbpf"], check=True)
        self._peers()

    @staticmethod
    def _include():
        """Debian keeps asm/ beside the compiler's triplet."""
        triplet = subprocess.run(["gcc", "-print-multiarch"], capture_output=True, text=True).stdout.strip()
        return [f"-I/usr/include/{triplet}"] if triplet else []

    def _pair(self, pair):
        gw, client, name = self.net.gw, self.net.client, interface(pair)
        subprocess.run(["ip", "-n", client.ns, "link", "add", f"to{name}", "type", "veth", "peer", "name", name, "netns", gw.ns], check=True)
        for host, dev, n in ((client, f"to{name}", 2), (gw, name, 1)):
            host.run(["ip", "addr", "add", f"{ip(pair, n)}/24", "dev", dev], check=True)
            host.run(["ip", "link", "set", dev, "up"], check=True)
            host.run(["ethtool", "-K", dev, "tx", "off", "tso", "off", "gso", "off", "gro", "on"])

    def _peers(self):
        gw = self.net.gw
        gw.run(["xdp-filter", "load", "-m", "native", "-p", "allow", "-f", "all", interface("xdp-filter")], check=True)
        for i in range(10):
            gw.run(["xdp-filter", "ip", "-m", "src", ip("xdp-filter", 60 + i)], check=True)
        with open(f"{self.run}/empty.c", "w") as f:
            f.write('struct xdp_md;\n__attribute__((section("xdp"), used)) int empty(struct xdp_md *c) { return 2; }\n'
                    'char l[] __attribute__((section("license"), used)) = "GPL";\n')
        subprocess.run(["clang", "-O2", "-g", "-target", "bpf", "-c", f"{self.run}/empty.c", "-o", f"{self.run}/empty.o"], check=True)
        gw.run(["ip", "link", "set", "dev", interface("empty"), "xdpdrv", "obj", f"{self.run}/empty.o", "sec", "xdp"], check=True)
        gw.run(["nft", "table netdev bench { set sources { type ipv4_addr; size 65535; flags dynamic; }; chain in { "
                f"type filter hook ingress device {interface('nftables')} priority 0; "
                "tcp flags & (syn|ack) == syn update @sources { ip saddr limit rate over 1000/second } drop; }; }"], check=True)

    def frame(self, pair, host, flags, port=PORT):
        """To the gateway's address on that pair, but to nobody's MAC: what passes ends where the stack begins."""
        tcp = struct.pack("!HHIIBBHHH", 40000, port, 1, 1, 5 << 4, flags, 1024, 0, 0)
        head = lambda check: struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(tcp), 1, 0, 64, 6, check, socket.inet_aton(ip(pair, host)), socket.inet_aton(ip(pair, 1)))
        total = sum(struct.unpack("!10H", head(0)))
        total = (total & 0xffff) + (total >> 16)
        path = f"{self.run}/{interface(pair)}-{host}-{flags}-{port}"
        with open(path, "wb") as f:
            f.write(b"\x02" * 6 + b"\x04" * 6 + b"\x08\x00" + head(~((total & 0xffff) + (total >> 16)) & 0xffff) + tcp + bytes(6))
        return path

    def cost(self, pair, host, flags, sources=1, port=PORT, turn=0):
        """turn: the how manieth slice; sources go on where the one before ended."""
        r = self.net.client.run([*pinned(PROXY_CPU), f"{self.run}/live", f"{self.run}/gen.o", self.frame(pair, host, flags, port),
                                 f"to{interface(pair)}", str(COUNT), str(sources), str(turn * COUNT % sources)], check=True)
        return float(r.stdout)

    def compare(self, title, cases):
        """Medians of the interleaved cases: name → (pair, host, flags[, sources[, port]])."""
        costs = {name: [] for name in cases}
        for r in range(SLICE_ROUNDS):
            if r % SLICES == 0:
                measure.gate()
            for name, case in cases.items():
                costs[name].append(self.cost(*case, turn=r))
            say(f"kernel {title}: {r + 1} of {SLICE_ROUNDS}: " + "  ".join(f"{name} {c[-1]:.0f} ns" for name, c in costs.items()))
        return {name: statistics.median(c) for name, c in costs.items()}


class Counted:
    """That the packets met the verdict that the row is about: a drop, or a pass, that was not reached costs nothing."""

    def __init__(self, gw, reason, cases=1):
        self.gw, self.reason, self.sent = gw, reason, cases * SLICE_ROUNDS * COUNT

    def _now(self):
        return self.gw.metric("sluice_kernel_packets_total", reason=self.reason)

    def __enter__(self):
        self.before = self._now()

    def __exit__(self, kind, value, trace):
        if kind is None:
            seen = self._now() - self.before
            assert seen > 0.95 * self.sent, f"{self.reason}: {seen:.0f} packets of {self.sent}: the row measures something else"


def policy(**kernel):
    """Ten denied prefixes; who asks more than once a day is penalised."""
    return {"workers": 1, "listeners": {"main": {"bind": [f"{ip('ours', 1)}:{PORT}"]}},
            "upstreams": {"up": {"targets": [{"address": "127.0.0.1:9000"}]}},
            "tiers": {"anonymous": {"rate_limit": {"day": 1, "by": "ip"},
                                    "kernel": {"escalate": {"rejections": 1, "within": "10s", "penalty": "1h", "max_penalty": "1h"}}}},
            "routes": {"all": {"respond": {"status": 204}, "auth": ["public"]}},
            "kernel": {"interfaces": [interface("ours")], "mode": "native", "deny": [f"{ip('ours', 60 + i)}/32" for i in range(10)], **kernel}}


def connected(net, host):
    return Client(net.client.connect((ip("ours", 1), PORT), source=(ip("ours", host), 0)))


def penalised(net, gw, host):
    """Up the ladder on connections made before: flow, new connections, source."""
    net.client.run(["ip", "addr", "add", f"{ip('ours', host)}/24", "dev", f"to{interface('ours')}"], check=True)
    served, *refused = [connected(net, host) for _ in range(4)]
    assert served.request("GET", "/").status == 204
    for c in refused:
        assert c.request("GET", "/").status == 429
    until(lambda: any(p["effect"] == "source" for p in gw.penalties()["penalties"]), "a penalty of the source")
    for c in (served, *refused):
        c.close()


def not_ours(b, g, row):
    with Counted(g, "not_ours"):
        m = b.compare("not ours", {"ours": ("ours", 2, ACK, 1, 22), "empty": ("empty", 2, ACK, 1, 22)})
    row("XDP not ours, on top of an empty program", m["ours"], m["empty"], 1.3)


def denied(b, g, row):
    penalised(b.net, g, 70)
    with Counted(g, "deny_list"), Counted(g, "penalty_source"):
        m = b.compare("denied", {"deny": ("ours", 60, ACK), "penalty": ("ours", 70, ACK), "xdp-filter": ("xdp-filter", 60, ACK)})
    row("XDP deny list hit, 10 prefixes", m["deny"], m["xdp-filter"], 1.0)
    row("XDP penalty hit", m["penalty"], m["xdp-filter"], 1.0)


def admitted(b, g, row):
    g.apply(policy(per_source=LIMITLESS))
    with connected(b.net, 2) as c:  # its source has completed a handshake and sent data
        assert c.request("GET", "/").status == 204
    with Counted(g, "admitted"):
        m = b.compare("admitted SYN", {"ours": ("ours", 2, SYN), "xdp-filter": ("xdp-filter", 2, SYN)})
    row("XDP admitted SYN, all limits", m["ours"], m["xdp-filter"], 2.0)
    with Counted(g, "admitted"):
        m = b.compare("admitted data", {"ours": ("ours", 2, ACK), "xdp-filter": ("xdp-filter", 2, ACK)})
    row("XDP admitted data packet, all limits", m["ours"], m["xdp-filter"], 1.2)


MANY = 1_000_000


def over_limit(b, g, row):
    """All of ours from sources that have shown nothing yet and have had the one connection that is theirs."""
    g.apply(policy(per_source={"new_connections": "60/h", "burst": 60}))
    for turn in range(-(-MANY // COUNT)):
        b.cost("ours", 100, SYN, MANY, turn=turn)
    with Counted(g, "source_connections", cases=2):
        m = b.compare("over the limit", {"one": ("ours", 3, SYN), "many": ("ours", 100, SYN, MANY), "nftables": ("nftables", 3, SYN)})
    row("XDP over the source's limit, dropped", m["one"], m["nftables"], 0.4)
    row("XDP the same, 1,000,000 sources", m["many"], m["one"], 1.2)


GROUPS = {f.__name__: f for f in (not_ours, denied, admitted, over_limit)}


def rows(net, run, row, only):
    """only: names of GROUPS, or none for all."""
    b = Bench(net, run)
    with gateway.Gateway(policy(), net.gw) as g:
        for name, group in GROUPS.items():
            if name in only or not only:
                group(b, g, row)
