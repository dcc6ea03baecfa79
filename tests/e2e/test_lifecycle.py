# SPDX-License-Identifier: Apache-2.0
"""
The guard while daemons and interfaces come and go. A denied host's packets keep coming all the while, and are
counted where they would arrive: on the gateway's interface behind XDP.
"""
import hashlib
import json
import os
import signal
import socket
import struct
import subprocess
import threading

import pytest
from harness.client import Client
from harness.gateway import Gateway, alive
from harness.origin import Origin, response
from harness.policy import guarded, merge
from harness.wait import until

pytestmark = pytest.mark.root
P = 8080
ETH_P_IP = 0x0800


def policy(origin, **over):
    return merge(guarded(origin, P, listeners={"main": {"bind": [f"0.0.0.0:{P}"]}}), over)


def get(host, address="10.77.0.1"):
    with Client(host.connect((address, P), 5), timeout=5) as c:
        return c.request("GET", "/")


def xdp_of(host, interface="eth0"):
    """(mode, id of the program) as the kernel says, or None."""
    link = json.loads(host.run(["ip", "-j", "link", "show", "dev", interface], check=True).stdout)[0]
    x = link.get("xdp", {})
    return ({1: "native", 2: "generic"}[x["mode"]], x["prog"]["id"]) if x.get("mode") else None


def killed(g, how=signal.SIGKILL):
    pids = g.tree()
    g.signal(how)
    g.proc.wait(15)
    until(lambda: not [p for p in pids if alive(p)], "all processes to end")


def syn(source, port, to="10.77.0.1"):
    """IPv4 with a TCP SYN, for a raw socket (the kernel fills in length, id and IP checksum)."""
    tcp = struct.pack("!HHIIBBHHH", port, P, 1, 0, 5 << 4, 2, 1024, 0, 0)
    addresses = socket.inet_aton(source) + socket.inet_aton(to)
    return struct.pack("!BBHHHBBH", 0x45, 0, 0, 0, 0, 64, 6, 0) + addresses + tcp


class Flood:
    """SYNs from a host, some thousand a second, until the end; and how many of them came past XDP."""

    def __init__(self, frm, to, interface="eth0"):
        self.source = frm.address
        self._out = self._raw(frm, socket.AF_INET, socket.IPPROTO_RAW)
        self._in = self._raw(to, socket.AF_PACKET, socket.ntohs(ETH_P_IP))
        self._in.setsockopt(socket.SOL_SOCKET, 33, 1 << 24)  # SO_RCVBUFFORCE
        self._in.bind((interface, ETH_P_IP))
        self._in.setblocking(False)
        self.sent, self.seen, self._stop = 0, 0, threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @staticmethod
    def _raw(host, family, protocol):
        with host.enter():
            return socket.socket(family, socket.SOCK_RAW, protocol)

    def _run(self):
        while not self._stop.wait(0.0003):
            try:
                self._out.sendto(syn(self.source, 1024 + self.sent % 60000), ("10.77.0.1", 0))
                self.sent += 1
            except OSError:  # its interface, or its neighbour's, is away
                pass

    def more(self, n=200):
        want = self.sent + n
        until(lambda: self.sent >= want, f"{n} more packets", 30)

    def passed(self):
        n = 0
        while True:
            try:
                frame = self._in.recv(2048)
            except BlockingIOError:
                return n
            except OSError:  # said once after the interface was down
                continue
            self.seen += 1
            n += frame[26:30] == socket.inet_aton(self.source) and frame[23] == 6

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exc):
        self._stop.set()
        self._thread.join(10)
        self._out.close()
        self._in.close()


def test_the_flood_is_seen_where_nothing_guards(net, origin):
    """What the claims below rest on."""
    with Flood(net.client, net.gw) as f:
        f.more()
        until(lambda: f.passed() > 0, "a packet behind XDP")


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
def test_no_packet_passes_and_no_bucket_is_lost_while_the_daemon_is_replaced(net, origin, how):
    p = policy(origin, kernel={"deny": [f"{net.client.address}/32"]}, routes={"all": {"rate_limit": {"hour": 3, "by": "ip"}}})
    with Gateway(p, net.gw) as g, Flood(net.client, net.gw) as f:
        assert [get(net.other).status for _ in range(2)] == [200, 200]
        f.more()
        before, programs = f.sent, {xdp_of(net.gw)}
        for _ in range(3):
            killed(g, how)
            f.more()
            g.start()
            programs.add(xdp_of(net.gw))
        assert f.sent > before + 600 and f.passed() == 0
        assert len(programs) == 4, "each daemon has put its own program there"
        assert [get(net.other).status for _ in range(2)] == [200, 429], "the bucket knows of the two before"
        assert f.passed() == 0


def test_no_packet_passes_while_policies_change(net, origin):
    deny = [f"{net.client.address}/32"]
    with Gateway(policy(origin, kernel={"deny": deny}), net.gw) as g, Flood(net.client, net.gw) as f:
        for n in range(20):
            rc, out = g.apply(policy(origin, kernel={"deny": [*deny, f"198.51.{n}.0/24"], "shadow": False, "per_source": {"new_connections": f"{n + 1}/s"}}))
            assert rc == 0, out
        f.more()
        assert f.passed() == 0


def attached(g):
    return {i["interface"]: i["xdp"] for i in g.status()["kernel"]["interfaces"]}


def ip(host, *args):
    host.run(["ip", *args], check=True)


def test_an_interface_goes_down_and_up(net, origin):
    with Gateway(policy(origin, kernel={"deny": [f"{net.client.address}/32"]}), net.gw) as g, Flood(net.client, net.gw) as f:
        program = xdp_of(net.gw)
        for _ in range(3):
            ip(net.gw, "link", "set", "eth0", "down")
            ip(net.gw, "link", "set", "eth0", "up")
            until(lambda: get(net.other).status == 200, "the way to be back", 20)
        assert xdp_of(net.gw) == program and f.passed() == 0
        f.seen = 0
        f.more()
        assert get(net.other).status == 200
        assert f.passed() == 0 and f.seen > 0, "others' packets are seen there"
        assert attached(g) == {"eth0": "native"}


def test_a_renamed_interface_stays_guarded_and_the_policy_may_follow(net, origin):
    deny = {"deny": [f"{net.client.address}/32"]}
    with Gateway(policy(origin, kernel=deny), net.gw) as g, Flood(net.client, net.gw) as f:
        program = xdp_of(net.gw)
        ip(net.gw, "link", "set", "eth0", "down")
        ip(net.gw, "link", "set", "eth0", "name", "wan0")
        ip(net.gw, "link", "set", "wan0", "up")
        g.wait_log("interface eth0 is called wan0 now: it stays guarded")
        assert xdp_of(net.gw, "wan0") == program
        f.more()
        rc, out = g.apply(policy(origin, kernel={**deny, "interfaces": ["wan0"]}))
        assert rc == 0, out
        assert attached(g) == {"wan0": "native"}
        killed(g)
        g.start()
        f.more()
        assert get(net.other).status == 200
        assert f.passed() == 0 and f.seen > 0 and attached(g) == {"wan0": "native"}


def replug(net, name="gw", port="p1"):
    """Deletes a host's interface and makes it anew, as Net does."""
    host, switch = net[name], f"{net._tag}sw"
    ip(host, "link", "del", "eth0")
    net._ip("-n", host.ns, "link", "add", "eth0", "type", "veth", "peer", "name", port, "netns", switch)
    net._ip("-n", switch, "link", "set", port, "master", "br0", "up")
    ip(host, "addr", "add", f"{host.address}/24", "dev", "eth0")
    ip(host, "link", "set", "eth0", "up")
    host.run(["ethtool", "-K", "eth0", "tx", "off", "tso", "off", "gso", "off", "gro", "on"])


@pytest.mark.veth
def test_an_interface_deleted_and_made_anew_is_guarded_again(net, origin):
    with Gateway(policy(origin, kernel={"deny": [f"{net.client.address}/32"]}), net.gw) as g:
        ip(net.gw, "link", "del", "eth0")
        g.wait_log("interface eth0 is gone")
        until(lambda: attached(g) == {"eth0": "none"}, "status to say so")
        net._ip("-n", net.gw.ns, "link", "add", "eth0", "type", "bridge")  # a name's first owner need not be the last
        g.wait_log("eth0 does not take native XDP")
        replug(net)
        until(lambda: attached(g) == {"eth0": "native"}, "the new interface to be guarded")
        assert xdp_of(net.gw)[0] == "native"
        with Flood(net.client, net.gw) as f:
            f.more()
            assert f.passed() == 0
        assert get(net.other).status == 200


@pytest.mark.veth
def test_a_second_interface_comes_by_reload_and_goes_by_reload(net, origin):
    deny = {"deny": [f"{net.client.address}/32"]}
    with Gateway(policy(origin, kernel=deny), net.gw) as g, Flood(net.client, net.gw) as f:
        first = xdp_of(net.gw)
        ip(net.gw, "link", "add", "eth1", "type", "veth", "peer", "name", "eth1p")
        ip(net.gw, "link", "set", "eth1", "up")
        rc, out = g.apply(policy(origin, kernel={**deny, "interfaces": ["eth0", "eth1"]}))
        assert rc == 0, out
        assert attached(g) == {"eth0": "native", "eth1": "native"}
        assert xdp_of(net.gw) == first and xdp_of(net.gw, "eth1")[1] == first[1]
        rc, out = g.apply(policy(origin, kernel=deny))
        assert rc == 0 and attached(g) == {"eth0": "native"}, out
        assert xdp_of(net.gw) == first and xdp_of(net.gw, "eth1") is None
        f.more()
        assert f.passed() == 0


SQUATTER = """#include <linux/bpf.h>
__attribute__((section("xdp"), used)) int squatter(struct xdp_md *c) { return XDP_PASS; }
char l[] __attribute__((section("license"), used)) = "GPL";
"""


def test_another_owner_is_named_with_its_id_at_a_reload_and_the_policy_stays(net, origin, tmp):
    with open(f"{tmp}/s.c", "w") as f:
        f.write(SQUATTER)
    include = subprocess.run(["gcc", "-print-multiarch"], capture_output=True, text=True).stdout.strip()
    subprocess.run(["clang", "-O2", "-g", "-target", "bpf", f"-I/usr/include/{include}", "-c", f"{tmp}/s.c", "-o", f"{tmp}/s.o"], check=True)
    ip(net.gw, "link", "add", "eth1", "type", "veth", "peer", "name", "eth1p")
    net.gw.run(["bpftool", "prog", "load", f"{tmp}/s.o", "/sys/fs/bpf/squatter"], check=True)
    net.gw.run(["bpftool", "net", "attach", "xdp", "pinned", "/sys/fs/bpf/squatter", "dev", "eth1"], check=True)
    owner = xdp_of(net.gw, "eth1")
    with Gateway(policy(origin), net.gw) as g:
        rc, out = g.apply(policy(origin, kernel={"interfaces": ["eth0", "eth1"]}))
        assert rc == 1, out
        g.wait_log(rf"eth1 already has the XDP program squatter \(id {owner[1]}\)")
        assert xdp_of(net.gw, "eth1") == owner and attached(g) == {"eth0": "native"}
        assert get(net.client).status == 200
    os.unlink("/sys/fs/bpf/squatter")


@pytest.mark.veth
def test_what_the_kernel_lacks_is_done_without_and_said(net, origin):
    metered = policy(origin, kernel={"deny": [f"{net.client.address}/32"]}, consumers={"acme": {"keys": [hashlib.sha256(b"acme-key-00000").hexdigest()]}})
    with Gateway(metered, net.gw, env={"SLUICE_WITHOUT": "tcx,syn_cookies"}) as g, Flood(net.client, net.gw) as f:
        features = {x["name"]: x["present"] for x in g.status()["kernel"]["features"]}
        assert features["xdp_link"] and not features["tcx"] and not features["syn_cookies"]
        assert g.metric("sluice_kernel_feature", feature="tcx") == 0 and g.metric("sluice_kernel_feature", feature="xdp_link") == 1
        assert g.status()["kernel"]["interfaces"][0]["tc"] == "clsact"
        rc, out = g.ctl("status")
        assert rc == 0 and "MISSING" in next(l for l in out.splitlines() if l.split()[:1] == ["tcx"]), out
        g.wait_log("this kernel has no tcx: the meter is attached by clsact")
        f.more()
        assert f.passed() == 0 and get(net.other).status == 200


@pytest.mark.veth
@pytest.mark.parametrize("without", ["", "tcx"], ids=["tcx", "clsact"])
def test_bytes_are_metered_however_the_meter_is_attached_and_once(net, origin, without):
    """Replaced by a daemon that attaches it the other way: still counted, and not twice."""
    key, size = "acme-key-00000", 300_000
    origin.answer = lambda r: response(body=b"x" * size)
    over = {"consumers": {"acme": {"keys": [hashlib.sha256(key.encode()).hexdigest()]}}, "routes": {"all": {"auth": ["keys"]}},
            "auth": {"keys": {"type": "key", "names": ["apikey"], "in": ["header"], "hide": True}}}
    with Gateway(policy(origin, **over), net.gw, env={"SLUICE_WITHOUT": without}) as g:
        def counted():
            return g.top()["consumers"].get("acme", {}).get("out", {}).get("bytes", 0)

        def use():
            at = counted()
            with Client(net.client.connect(("10.77.0.1", P), 5), timeout=5) as c:
                for _ in range(3):
                    assert c.request("GET", "/", [("apikey", key)]).status == 200
            until(lambda: counted() - at >= 2 * size, "two answers counted, the first may not be")
            assert counted() - at < 4 * size
        use()
        g._env = {"SLUICE_WITHOUT": "" if without else "tcx"}
        killed(g)
        g.start()
        use()
