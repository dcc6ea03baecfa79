# SPDX-License-Identifier: Apache-2.0
"""The guard on a real interface: what it drops, what it never touches, and what outlives whom."""
import hashlib
import json
import os
import re
import select
import signal
import socket
import subprocess
import time

import pytest
from harness.gateway import SLUICECTL, Gateway, alive
from harness.origin import Origin, response
from harness.policy import guarded
from harness.wait import until

pytestmark = pytest.mark.root
P, SSH = 8080, 2222


def policy(origin, kernel=None, **over):
    return guarded(origin, P, kernel, **over)


def get(host, address="10.77.0.1", port=P, headers=(), timeout=5):
    from harness.client import Client
    with Client(host.connect((address, port), timeout), timeout=timeout) as c:
        return c.request("GET", "/", headers)


def try_connect(host, n=1, address="10.77.0.1", port=P):
    socks = []
    for _ in range(n):
        s = host.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        s.setblocking(False)
        s.connect_ex((address, port))
        socks.append(s)
    return socks


def established(socks):
    _, w, _ = select.select([], socks, [], 0)
    return [s for s in w if s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0]


def close(socks):
    for s in socks:
        s.close()


def xdp_of(host, interface="eth0"):
    """How a program is attached, as the kernel says: None, "native" or "generic"."""
    link = json.loads(host.run(["ip", "-j", "link", "show", "dev", interface], check=True).stdout)[0]
    return {1: "native", 2: "generic"}.get(link.get("xdp", {}).get("mode"))


def pins():
    out = []
    for d, _, files in os.walk("/sys/fs/bpf/sluice"):
        out += [os.path.join(d, f) for f in files]
    return out


def link_ids():
    """Of what is pinned: other links of this kernel come and go."""
    return {p: json.loads(subprocess.run(["bpftool", "-j", "link", "show", "pinned", p], capture_output=True, text=True, check=True).stdout)["id"]
            for p in pins() if "/links/" in p}


def assert_denied(g, host, reason="deny_list", address="10.77.0.1", port=P):
    """The SYN is dropped and counted."""
    before = g.counted(reason)
    socks = try_connect(host, address=address, port=port)
    until(lambda: g.counted(reason) > before, f"a packet counted as {reason}")
    assert not established(socks)
    close(socks)


@pytest.mark.veth
def test_attaches_natively_and_serves(net, origin):
    with Gateway(policy(origin), net.gw) as g:
        assert xdp_of(net.gw) == "native"
        assert get(net.client).status == 200 and get(net.client, "fd77::1").status == 200
        assert g.counted("admitted") > 0
        assert g.metric("sluice_kernel_attach_mode", interface="eth0", mode="native") == 1


@pytest.mark.veth
def test_deny_list_drops_counts_and_touches_nobody_else(net, origin):
    kernel = {"deny": [f"{net.client.address}/32", f"{net.client.address6}/128"]}
    with Gateway(policy(origin, kernel), net.gw) as g:
        assert_denied(g, net.client)
        assert_denied(g, net.client, address="fd77::1")
        assert get(net.other).status == 200 and get(net.other, "fd77::1").status == 200
        of_main = {(unit, v): g.metric(f"sluice_kernel_listener_{unit}_total", listener="main", verdict=v)
                   for unit in ("packets", "bytes") for v in ("passed", "dropped", "would_drop")}
        assert of_main["packets", "dropped"] >= 2 and of_main["bytes", "dropped"] >= 54 + 74
        assert of_main["packets", "passed"] >= 6 and of_main["bytes", "passed"] > 54 * of_main["packets", "passed"]
        assert of_main["packets", "would_drop"] == of_main["bytes", "would_drop"] == 0


@pytest.mark.veth
def test_no_policy_locks_an_operator_out(net, origin):
    """Everything denied: another port, ICMP and ARP of the host work on, by XDP's own account too."""
    with Gateway(policy(origin, {"deny": ["0.0.0.0/0", "::/0"]}), net.gw) as g, Origin(net.gw, SSH, address="10.77.0.1"), Origin(net.gw, SSH, address="fd77::1"):
        assert_denied(g, net.client)
        net.client.run(["ip", "neigh", "flush", "dev", "eth0"], check=True)
        assert get(net.client, port=SSH).status == 200
        assert get(net.client, "fd77::1", port=SSH).status == 200
        assert g.counted("not_ours") > 0


def test_deny_beats_and_allow_skips(net, origin):
    kernel = {"per_source": {"new_connections": "10/m", "burst": 60}, "allow": [f"{net.other.address}/32"]}
    with Gateway(policy(origin, kernel), net.gw) as g:
        many = try_connect(net.client, 20)
        until(lambda: len(established(many)) == 10 and g.counted("source_connections") >= 10, "10 admitted, 10 dropped")
        allowed = try_connect(net.other, 50)
        until(lambda: len(established(allowed)) == 50, "all 50 of the allowed source")
        assert len(established(many)) <= 11 and g.counted("allow_list") >= 50
        close(many + allowed)


@pytest.mark.veth
def test_per_source_limits_are_per_source(net, origin):
    kernel = {"per_source": {"new_connections": "10/m", "burst": 60}}
    with Gateway(policy(origin, kernel), net.gw):
        a, b = try_connect(net.client, 15), try_connect(net.other, 5)
        until(lambda: len(established(a)) == 10 and len(established(b)) == 5, "10 of one, 5 of the other")
        close(a + b)


def test_a_listener_has_one_bucket_for_all(net, origin):
    with Gateway(policy(origin, {"per_listener": {"new_connections": "10/m", "burst": 60}}), net.gw) as g:
        a = try_connect(net.client, 8)
        until(lambda: len(established(a)) == 8, "the first 8")
        b = try_connect(net.other, 8) + try_connect(net.other, 8, address="fd77::1")
        until(lambda: len(established(b)) == 2 and g.counted("listener_connections") >= 14, "2 more of 16")
        close(a + b)


def test_packet_limit(net, origin):
    with Gateway(policy(origin, {"per_source": {"packets": "300/h", "burst": 3600}}), net.gw) as g:
        start = time.monotonic()
        socks = try_connect(net.client, 150)
        until(lambda: g.counted("source_packets") > 0, "packets over the limit")
        admitted = g.counted("admitted")
        assert 300 <= admitted <= 301 + 5 * (time.monotonic() - start)
        assert get(net.other).status == 200
        close(socks)


def test_byte_limit(net, origin):
    with Gateway(policy(origin, {"per_source": {"bytes": "20KiB/s", "burst": 1}}), net.gw) as g:
        s = net.client.connect(("10.77.0.1", P))
        s.setblocking(False)
        s.send(b"POST / HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 500000\r\n\r\n" + b"x" * 200000)
        until(lambda: g.counted("source_bytes") > 0, "bytes over the limit")
        assert get(net.other).status == 200
        s.close()


@pytest.mark.veth
def test_shadow_counts_and_drops_nothing(net, origin):
    with Gateway(policy(origin, {"deny": [f"{net.client.address}/32"], "shadow": True}), net.gw) as g:
        assert get(net.client).status == 200
        assert g.counted("deny_list", "would_drop_packets") > 0 and g.counted("deny_list") == 0


@pytest.mark.veth
def test_operator_deny_forget_and_expiry(net, origin):
    with Gateway(policy(origin), net.gw) as g:
        assert get(net.client).status == 200
        rc, out = g.ctl("deny", net.client.address, "--for", "60s")
        assert rc == 0, out
        assert_denied(g, net.client)
        assert get(net.other).status == 200
        rc, out = g.ctl("forget", net.client.address)
        assert rc == 0, out
        assert get(net.client).status == 200
        rc, out = g.ctl("deny", f"{net.client.address}/31", "--for", "1s")
        assert rc == 0, out
        until(lambda: get(net.client, timeout=1).status == 200, "the deny to run out by itself", timeout=15)


@pytest.mark.veth
def test_operator_allow_overrides_limits(net, origin):
    with Gateway(policy(origin, {"per_source": {"new_connections": "5/m", "burst": 60}}), net.gw) as g:
        rc, out = g.ctl("allow", net.client.address, "--for", "60s")
        assert rc == 0, out
        socks = try_connect(net.client, 30)
        until(lambda: len(established(socks)) == 30, "all of an allowed source")
        close(socks)


@pytest.mark.parametrize("args", [("deny", "not-an-address"), ("deny", "10.0.0.0/33"), ("deny",), ("deny", "10.0.0.1", "--for", "soon"), ("allow", "")])
def test_operator_mistakes_are_refused(net, origin, args):
    with Gateway(policy(origin, {"mode": "off"}), net.gw) as g:
        rc, out = g.ctl(*args)
        assert rc in (1, 2) and out


@pytest.mark.veth
def test_reload_keeps_links_and_counters_and_changes_lists(net, origin):
    with Gateway(policy(origin, {"deny": [f"{net.client.address}/32"]}), net.gw) as g:
        assert_denied(g, net.client)
        links = link_ids()
        assert links
        n = g.counted("deny_list")
        rc, out = g.apply(policy(origin, {"deny": [f"{net.other.address}/32"]}))
        assert rc == 0, out
        assert get(net.client).status == 200
        assert_denied(g, net.other)
        assert link_ids() == links and g.counted("deny_list") > n


def killed(g, how=signal.SIGKILL):
    pids = g.tree()
    g.signal(how)
    g.proc.wait(15)
    until(lambda: not [p for p in pids if alive(p)], "all processes to end")


@pytest.mark.veth
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
def test_the_guard_outlives_the_daemon_and_the_next_one_takes_over(net, origin, how):
    with Gateway(policy(origin), net.gw) as g:
        rc, out = g.ctl("deny", net.client.address)
        assert rc == 0, out
        assert_denied(g, net.client)
        n = g.counted("deny_list")
        killed(g, how)
        assert xdp_of(net.gw) == "native" and pins()
        g.start()
        assert xdp_of(net.gw) == "native"
        assert g.counted("deny_list") >= n, "counters start again"
        assert_denied(g, net.client)
        assert get(net.other).status == 200


@pytest.mark.veth
def test_limits_outlive_the_daemon(net, origin):
    """The bucket table is pinned: nobody gets a new hour's worth by a restart."""
    p = policy(origin, routes={"all": {"rate_limit": {"hour": 3, "by": "ip"}}})
    with Gateway(p, net.gw) as g:
        assert [get(net.client).status for _ in range(4)] == [200, 200, 200, 429]
        killed(g)
        g.start()
        assert get(net.client).status == 429 and get(net.other).status == 200


@pytest.mark.veth
def test_detach_with_and_without_the_daemon(net, origin):
    with Gateway(policy(origin, {"deny": [f"{net.client.address}/32"]}), net.gw) as g:
        assert_denied(g, net.client)
        rc, out = g.ctl("detach")
        assert rc == 0, out
        assert xdp_of(net.gw) is None
        assert get(net.client).status == 200
        until(lambda: [i["xdp"] for i in g.status()["kernel"]["interfaces"]] == ["none"], "status to say that nothing is attached")
        assert g.ctl("apply")[0] == 0
        assert xdp_of(net.gw) == "native"
        assert_denied(g, net.client)
    with Gateway(policy(origin), net.gw) as g:
        assert xdp_of(net.gw) == "native"
        killed(g)
        r = net.gw.run([SLUICECTL, "--socket", g.socket, "detach"])
        assert r.returncode == 0, r.stdout + r.stderr
        assert xdp_of(net.gw) is None and not pins(), pins()


def test_a_missing_interface_is_named_and_leaves_nothing_attached(net, origin):
    g = Gateway(policy(origin, {"interfaces": ["eth0", "nosuch0"]}), net.gw, wait=False)
    try:
        assert g.proc.wait(20) == 1
        g._reader.join(5)
        assert "nosuch0" in g.log()
        assert xdp_of(net.gw) is None
        assert "clsact" not in net.gw.run(["tc", "qdisc", "show", "dev", "eth0"]).stdout
    finally:
        g.kill()
        g._clean()
    with Gateway(policy(origin), net.gw) as g:
        rc, out = g.apply(policy(origin, {"interfaces": ["eth0", "nosuch0"]}))
        assert rc == 1 and "nosuch0" in out, out
        assert xdp_of(net.gw) == "native" and get(net.client).status == 200


def test_generic_mode_and_the_loud_fallback(net, origin):
    with Gateway(policy(origin, {"mode": "generic", "deny": [f"{net.client.address}/32"]}), net.gw) as g:
        assert xdp_of(net.gw) == "generic"
        assert_denied(g, net.client)
        g.detach()
    net.gw.run(["ip", "link", "add", "br9", "type", "bridge"], check=True)
    net.gw.run(["ip", "link", "set", "br9", "up"], check=True)
    with Gateway(policy(origin, {"mode": "auto", "interfaces": ["eth0", "br9"]}), net.gw) as g:
        assert xdp_of(net.gw) == "native" and xdp_of(net.gw, "br9") == "generic"
        assert re.search(r"br9.*generic", g.log(), re.I), g.log()
        assert g.metric("sluice_kernel_attach_mode", interface="br9", mode="generic") == 1
    g = Gateway(policy(origin, {"mode": "native", "interfaces": ["br9"]}), net.gw, wait=False)
    try:
        assert g.proc.wait(20) == 1
        g._reader.join(5)
        assert "br9" in g.log() and "native" in g.log()
    finally:
        g.kill()
        g._clean()


def test_another_xdp_program_is_named_never_displaced(net, origin, tmp):
    src = '#include <linux/bpf.h>\n__attribute__((section("xdp"), used)) int squatter(struct xdp_md *c) { return XDP_PASS; }\n' \
          'char l[] __attribute__((section("license"), used)) = "GPL";\n'
    with open(f"{tmp}/s.c", "w") as f:
        f.write(src)
    # without libbpf's types the section name alone makes it an XDP program
    include = subprocess.run(["gcc", "-print-multiarch"], capture_output=True, text=True).stdout.strip()
    subprocess.run(["clang", "-O2", "-g", "-target", "bpf", f"-I/usr/include/{include}", "-c", f"{tmp}/s.c", "-o", f"{tmp}/s.o"], check=True)
    net.gw.run(["bpftool", "prog", "load", f"{tmp}/s.o", "/sys/fs/bpf/squatter"], check=True)
    net.gw.run(["bpftool", "net", "attach", "xdp", "pinned", "/sys/fs/bpf/squatter", "dev", "eth0"], check=True)
    g = Gateway(policy(origin), net.gw, wait=False)
    try:
        assert g.proc.wait(20) == 1
        g._reader.join(5)
        assert "squatter" in g.log() and "eth0" in g.log(), g.log()
        assert "squatter" in net.gw.run(["bpftool", "net", "show"]).stdout or xdp_of(net.gw)
    finally:
        g.kill()
        g._clean()


def test_wildcard_listeners_follow_the_hosts_addresses(net, origin):
    p = policy(origin, {"deny": [f"{net.client.address}/32"]})
    p["listeners"]["main"]["bind"] = [f"0.0.0.0:{P}"]
    with Gateway(p, net.gw) as g:
        assert_denied(g, net.client)
        net.add_address("gw", "10.77.0.99/24")

        def denied():
            before = g.counted("deny_list")
            socks = try_connect(net.client, address="10.77.0.99")
            time.sleep(0.05)
            ok = g.counted("deny_list") > before and not established(socks)
            close(socks)
            return ok
        until(denied, "the new address to be guarded", every=0.2)
        assert get(net.other, "10.77.0.99").status == 200


def test_tc_counts_bytes_per_consumer(net, origin):
    key, size = "acme-key-00000", 700_000
    origin.answer = lambda r: response(body=b"x" * size)
    p = policy(origin, auth={"keys": {"type": "key", "names": ["apikey"], "in": ["header"], "hide": True}},
               consumers={"acme": {"keys": [hashlib.sha256(key.encode()).hexdigest()]}}, routes={"all": {"auth": ["keys"]}})
    with Gateway(p, net.gw) as g:
        from harness.client import Client
        with Client(net.client.connect(("10.77.0.1", P))) as c:
            for _ in range(3):
                r = c.request("POST", "/", [("apikey", key)], body=b"y" * 100_000)
                assert r.status == 200 and len(r.body) == size

        def consumer(way):
            return g.top()["consumers"].get("acme", {}).get(way, {}).get("bytes", 0)
        # the socket is known from the first answer on: what came before it is the connection's, not the consumer's
        until(lambda: consumer("out") >= 2 * size, "2 answers counted out")
        assert consumer("out") < 4 * size
        assert 2 * 100_000 <= consumer("in") < 400_000
        assert 2 * size <= g.metric("sluice_kernel_consumer_sent_bytes_total", consumer="acme") < 4 * size
        assert 2 * 100_000 <= g.metric("sluice_kernel_consumer_received_bytes_total", consumer="acme") < 400_000
        # what the proxy counts are bodies, to the byte
        until(lambda: g.metric("sluice_route_sent_bytes_total", route="all") == 3 * size, "3 bodies sent")
        assert g.metric("sluice_route_received_bytes_total", route="all") == 300_000
        assert g.top()["routes"]["all"]["bytes_out"] == 3 * size
        code, out = g.ctl("top", "--once")
        assert code == 0 and any(line.split()[:1] == ["acme"] for line in out.splitlines()), out


@pytest.mark.veth
def test_malformed_tcp_is_dropped(net, origin):
    """NULL, XMAS, SYN+FIN and SYN+RST by a raw socket of the client."""
    import struct
    with Gateway(policy(origin), net.gw) as g:
        def checksum(b):
            s = sum(struct.unpack(f"!{len(b) // 2}H", b))
            s = (s & 0xffff) + (s >> 16)
            return ~(s + (s >> 16)) & 0xffff
        with net.client.enter():
            raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)
        src, dst = socket.inet_aton(net.client.address), socket.inet_aton("10.77.0.1")
        for flags in (0x00, 0x29, 0x03, 0x06):
            before = g.counted("malformed")
            tcp = struct.pack("!HHIIBBHHH", 40000, P, 1, 0, 5 << 4, flags, 1024, 0, 0)
            tcp = tcp[:16] + struct.pack("!H", checksum(src + dst + struct.pack("!BBH", 0, 6, 20) + tcp)) + tcp[18:]
            raw.sendto(tcp, ("10.77.0.1", 0))
            until(lambda: g.counted("malformed") == before + 1, f"flags {flags:#x} dropped")
        raw.close()
