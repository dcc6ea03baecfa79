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
COUNT = int(os.environ.get("PACKETS", 1_000_000))
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

    def cost(self, pair, host, flags, sources=1, port=PORT):
        r = self.net.client.run([*pinned(PROXY_CPU), f"{self.run}/live", f"{self.run}/gen.o", self.frame(pair, host, flags, port),
                                 f"to{interface(pair)}", str(COUNT), str(sources)], check=True)
        return float(r.stdout)

    def compare(self, title, cases):
        """Medians of the interleaved cases: name → (pair, host, flags[, sources[, port]])."""
        costs = {name: [] for name in cases}
        for r in range(ROUNDS):
            say(f"kernel {title}: round {r + 1} of {ROUNDS}")
            for name, case in cases.items():
                measure.gate()
                costs[name].append(self.cost(*case))
                say(f"  {name:12} {costs[name][-1]:8.1f} ns")
        return {name: statistics.median(c) for name, c in costs.items()}


class Counted:
    """That the packets met the verdict that the row is about: a drop, or a pass, that was not reached costs nothing."""

    def __init__(self, gw, reason):
        self.gw, self.reason = gw, reason

    def _now(self):
        return self.gw.metric("sluice_kernel_packets_total", reason=self.reason)

    def __enter__(self):
        self.before = self._now()

    def __exit__(self, kind, value, trace):
        if kind is None:
            seen, sent = self._now() - self.before, ROUNDS * COUNT
            assert seen > 0.95 * sent, f"{self.reason}: {seen:.0f} packets of {sent}: the row measures something else"


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


def rows(net, run, row):
    b = Bench(net, run)
    with gateway.Gateway(policy(), net.gw) as g:
        with Counted(g, "not_ours"):
            m = b.compare("not ours", {"ours": ("ours", 2, ACK, 1, 22), "empty": ("empty", 2, ACK, 1, 22)})
        row("XDP not ours, on top of an empty program", m["ours"], m["empty"], 1.3)
        penalised(net, g, 70)
        with Counted(g, "deny_list"), Counted(g, "penalty_source"):
            m = b.compare("denied", {"deny": ("ours", 60, ACK), "penalty": ("ours", 70, ACK), "xdp-filter": ("xdp-filter", 60, ACK)})
        row("XDP deny list hit, 10 prefixes", m["deny"], m["xdp-filter"], 1.0)
        row("XDP penalty hit", m["penalty"], m["xdp-filter"], 1.0)
        with connected(net, 2) as c:  # its source has completed a handshake
            assert c.request("GET", "/").status == 204
        g.apply(policy(per_source=LIMITLESS))
        with Counted(g, "admitted"):
            m = b.compare("admitted", {"syn": ("ours", 2, SYN), "filter syn": ("xdp-filter", 2, SYN)})
        row("XDP admitted SYN, all limits", m["syn"], m["filter syn"], 2.0)
        with Counted(g, "admitted"):
            m = b.compare("admitted", {"data": ("ours", 2, ACK), "filter data": ("xdp-filter", 2, ACK)})
        row("XDP admitted data packet, all limits", m["data"], m["filter data"], 1.2)
        g.apply(policy(per_source={"new_connections": "1000/s"}))
        m = b.compare("over the limit", {"one": ("ours", 2, SYN), "many": ("ours", 100, SYN, 1_000_000), "nftables": ("nftables", 2, SYN)})
        row("XDP over the source's limit, dropped", m["one"], m["nftables"], 0.4)
        row("XDP the same, 1,000,000 sources", m["many"], m["one"], 1.2)
