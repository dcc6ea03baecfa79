# SPDX-License-Identifier: Apache-2.0
"""What is dropped, seen: samples in lines, in JSON and as a file that tcpdump reads."""
import ctypes
import json
import os
import re
import signal
import subprocess
import time

import pytest
from harness.gateway import SLUICECTL, Gateway
from harness.policy import guarded
from harness.wait import until

pytestmark = pytest.mark.root
P = 8080


def policy(origin, **kernel):
    return guarded(origin, P, kernel)


def knock(host, n=1):
    """n SYNs, from ports that are told."""
    socks = [host.socket() for _ in range(n)]
    for s in socks:
        s.setblocking(False)
        s.connect_ex(("10.77.0.1", P))
    ports = [s.getsockname()[1] for s in socks]
    for s in socks:
        s.close()
    return ports


def samples(g, after=0):
    return g.admin(f"/v1/samples?after={after}").json()


def capture(g, drop, *args):
    """sluicectl capture with --count, while drop() goes on until it has enough: its output and what it said."""
    p = g.host.popen([SLUICECTL, "--socket", g.socket, "capture", *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    until(lambda: drop() is not None and p.poll() is not None, "the capture to have all that it wants", 30)
    out, said = p.communicate()
    assert p.returncode == 0, said
    return out, said.decode()


def tcpdump(path):
    r = subprocess.run(["tcpdump", "-nn", "-tt", "--nano", "-r", path], capture_output=True, text=True, timeout=30)
    assert r.returncode == 0, r.stderr
    return r.stdout.splitlines(), r.stderr


def tshark(path, *fields):
    """Each packet's fields, as tshark dissects it."""
    r = subprocess.run(["tshark", "-n", "-r", path, "-T", "fields", *(a for f in fields for a in ("-e", f))], capture_output=True, text=True, timeout=60)
    assert r.returncode == 0, r.stderr
    return [line.split("\t") for line in r.stdout.splitlines()]


def test_capture_writes_what_tcpdump_and_tshark_read(net, origin, tmp):
    with Gateway(policy(origin, deny=[f"{net.client.address}/32"]), net.gw) as g:
        ports = []
        start = time.time_ns()
        _, said = capture(g, lambda: ports.extend(knock(net.client)) or 1, "--count", "3", "--reason", "deny_list", "--reason", "malformed", "--write", f"{tmp}/drops.pcapng")
        assert "3 samples, 0 missed" in said
        lines, what = tcpdump(f"{tmp}/drops.pcapng")
        assert "link-type EN10MB" in what and len(lines) == 3
        for line in lines:
            m = re.fullmatch(r"(\d+)\.(\d{9}) IP (\S+)\.(\d+) > 10\.77\.0\.1\.8080: Flags \[S\].*, length 0", line)
            assert m, line
            assert m[3] == net.client.address and int(m[4]) in ports
            assert start - 10**9 < int(m[1]) * 10**9 + int(m[2]) < time.time_ns() + 10**9
        for source, port, syn, interface, comment in tshark(f"{tmp}/drops.pcapng", "ip.src", "tcp.dstport", "tcp.flags.syn", "frame.interface_name", "frame.comment"):
            assert (source, port, interface) == (net.client.address, "8080", "eth0") and syn in ("1", "True")
            assert comment.startswith("deny_list listener=main")
        with open(f"{tmp}/drops.pcapng", "rb") as f:
            raw = f.read()
        assert raw.count(b"deny_list listener=main") == 3 and raw.count(b"\x02\x00\x04\x00eth0") == 1


def test_capture_in_lines_in_json_and_through_a_pipe(net, origin, tmp):
    with Gateway(policy(origin, deny=[f"{net.client.address}/32"]), net.gw) as g:
        out, _ = capture(g, lambda: knock(net.client), "--count", "2")
        for line in out.decode().splitlines():
            assert re.fullmatch(rf"\S+Z deny_list eth0 {re.escape(net.client.address)}:\d+ > 10\.77\.0\.1:8080 tcp S(EC)? \d+ B", line), line
        out, _ = capture(g, lambda: knock(net.client), "--count", "2", "--json")
        for line in out.decode().splitlines():
            s = json.loads(line)
            assert (s["reason"], s["source"], s["destination_port"], s["listener"], s["passed"]) == ("deny_list", net.client.address, P, "main", False)
            assert len(s["data"]) == 2 * min(s["length"], 128)
        out, _ = capture(g, lambda: knock(net.client), "--count", "1", "--write", "-")
        with open(f"{tmp}/piped", "wb") as f:
            f.write(out)
        assert len(tcpdump(f"{tmp}/piped")[0]) == 1


def test_a_capture_of_another_reason_sees_nothing(net, origin):
    with Gateway(policy(origin, deny=[f"{net.client.address}/32"]), net.gw) as g:
        p = g.host.popen([SLUICECTL, "--socket", g.socket, "capture", "--reason", "malformed", "--for", "1s"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        until(lambda: knock(net.client) and p.poll() is not None, "the end of the capture", 20)
        assert p.returncode == 0 and p.communicate()[0] == b""
        assert samples(g)["counts"]["taken"] > 0
        code, said = g.ctl("capture", "--reason", "denylist")
        assert code == 2 and "deny_list" in said


def test_what_shadow_mode_lets_pass_is_marked(net, origin):
    with Gateway(policy(origin, shadow=True, deny=[f"{net.client.address}/32"]), net.gw) as g:
        out, _ = capture(g, lambda: knock(net.client), "--count", "1")
        assert b"Z would drop: deny_list " in out


def test_samples_are_held_to_their_rate_and_all_drops_accounted_for(net, origin):
    """2,000 denied SYNs, and one sample a second at most."""
    with Gateway(policy(origin, deny=[f"{net.client.address}/32"], samples_per_second=1), net.gw) as g:
        start = time.monotonic()
        for _ in range(100):
            knock(net.client, 20)
        j = samples(g)
        n, spent = j["counts"], time.monotonic() - start
        drops = g.counted("deny_list")
        assert 1 <= n["taken"] <= spent + 2 and n["lost"] == 0
        assert n["taken"] + n["skipped"] <= drops and drops >= 2000
        until(lambda: sum(samples(g)["counts"].values()) == g.counted("deny_list"), "all drops accounted for")


def test_off_says_so_and_a_reload_turns_it_on(net, origin):
    off = policy(origin, deny=[f"{net.client.address}/32"], samples_per_second=0)
    with Gateway(off, net.gw) as g:
        knock(net.client)
        until(lambda: g.counted("deny_list") > 0, "a drop")
        assert sum(samples(g)["counts"].values()) == 0
        code, said = g.ctl("capture", "--count", "1")
        assert code == 1 and "samples_per_second" in said
        assert g.apply(policy(origin, deny=[f"{net.client.address}/32"], samples_per_second=50))[0] == 0
        out, _ = capture(g, lambda: knock(net.client), "--count", "1")
        assert b"deny_list" in out


def test_samples_outlive_the_controller(net, origin):
    """Another one reads the same ring, and numbers go on."""
    with Gateway(policy(origin, deny=[f"{net.client.address}/32"]), net.gw) as g:
        knock(net.client)
        before = until(lambda: samples(g)["samples"], "a sample")[-1]["number"]
        old = g.pids()["controller"]
        os.kill(old, signal.SIGKILL)
        until(lambda: g.pids()["controller"] != old and g.status()["ready"], "another controller")
        knock(net.client)
        after = until(lambda: samples(g, before)["samples"], "a sample of now")
        assert after[0]["number"] > before


@pytest.mark.veth
def test_top_drops_says_why_and_whom(net, origin):
    with Gateway(policy(origin, deny=[f"{net.client.address}/32"]), net.gw) as g:
        knock(net.client, 5)
        until(lambda: samples(g)["samples"], "a sample")
        code, out = g.ctl("top", "drops", "--once", "--interval", "100ms")
        assert code == 0
        assert re.search(r"^deny_list +\S+ +0 +\d+ +0$", out, re.M), out
        assert re.search(rf"deny_list +{re.escape(net.client.address)}:\d+ +10\.77\.0\.1:8080 +tcp S(EC)? +main$", out, re.M), out
        j = g.ctl_json("top", "drops", "--once", "--interval", "100ms")
        assert j["reasons"]["deny_list"]["packets"] >= 5 and j["samples"][-1]["source"] == net.client.address


def flood(host, n):
    """n SYNs, some at a time."""
    for _ in range(n // 50):
        knock(host, 50)


def test_top_sources_names_who_floods(net, origin):
    """One host knocks a thousand times, the other ten times; one packet in sixteen is counted."""
    with Gateway(policy(origin, deny=[f"{net.client.address}/32", f"{net.other.address}/32"]), net.gw) as g:
        flood(net.client, 1000)
        knock(net.other, 10)
        drops = g.top()["kernel"]["deny_list"]["packets"]
        assert drops >= 1000
        j = g.ctl_json("top", "sources", "--once")
        assert j["counted"] == "dropped" and j["sources"][0]["source"] == f"{net.client.address}/32"
        # 63 counted ones stand for a thousand, +- 13 %; five of that, and retransmissions, are room enough
        assert 300 < j["sources"][0]["packets_at_most"] < 3 * drops
        code, out = g.ctl("top", "sources", "--once")
        assert code == 0 and out.splitlines()[2].startswith(f"{net.client.address}/32 ")
        code, out = g.ctl("top", "sources", "--prefix", "--once")
        assert code == 0 and out.splitlines()[2].startswith("10.77.0.0/24 ")
        assert "10.77.0" not in g.metrics_text()  # no series for each source


def test_top_sources_says_when_it_is_off(net, origin):
    with Gateway(policy(origin, top_sources="off", deny=[f"{net.client.address}/32"]), net.gw) as g:
        flood(net.client, 100)
        code, out = g.ctl("top", "sources", "--once")
        assert code == 1 and "kernel.top_sources" in out
        assert g.admin("/v1/top/sources").json()["sources"] == []
        assert g.ctl("top", "sources", "drops")[0] == 2 and g.ctl("top", "--prefix")[0] == 2 and g.ctl("top", "sorces")[0] == 2


@pytest.fixture
def bpf_stats():
    """What kernel.bpf_stats_enabled does, for as long as a descriptor is open (BPF_ENABLE_STATS of bpf(2))."""
    nr = {"x86_64": 321, "aarch64": 280, "ppc64le": 361}[os.uname().machine]
    run_time = ctypes.create_string_buffer(128)
    fd = ctypes.CDLL(None, use_errno=True).syscall(nr, 32, run_time, len(run_time))
    assert fd >= 0, os.strerror(ctypes.get_errno())
    yield
    os.close(fd)


@pytest.mark.veth
def test_fill_and_run_time_are_in_metrics_and_status(net, origin, bpf_stats):
    deny = [f"{net.client.address}/32", "203.0.113.0/24", "2001:db8:bad::/48"]
    with Gateway(policy(origin, deny=deny, table_size=4096), net.gw) as g:
        knock(net.client, 40)
        for kind, n in (("lists4", 2), ("lists6", 1)):
            until(lambda k=kind, n=n: g.metric("sluice_kernel_map_entries", map=k) == n, f"{n} in {kind}")
        assert g.metric("sluice_kernel_map_max_entries", map="buckets") == 8192  # room beside 4,096, a power of two
        assert g.metric("sluice_kernel_map_entries", map="listeners") > 0
        until(lambda: g.metric("sluice_kernel_program_runs_total", program="xdp_guard") >= 40, "the guard's runs")
        assert g.metric("sluice_kernel_program_seconds_total", program="xdp_guard") > 0
        until(lambda: sum(g.metric("sluice_kernel_samples_total", result=r) for r in ("taken", "lost", "over_rate")) >= 40, "40 drops accounted for")
        code, out = g.ctl("status")
        assert code == 0 and re.search(r"^  lists4 +2 +\d+ +0 %$", out, re.M) and re.search(r"^  xdp_guard +\d+ +\d+$", out, re.M), out
        assert {m["map"] for m in g.ctl_json("status")["kernel"]["maps"]} >= {"listeners", "lists4", "lists6", "buckets"}


def test_a_kernel_that_counts_no_run_time_gives_no_series(net, origin):
    with open("/proc/sys/kernel/bpf_stats_enabled") as f:
        if f.read().strip() != "0":
            pytest.skip("kernel.bpf_stats_enabled is 1 on this host")
    with Gateway(policy(origin), net.gw) as g:
        until(lambda: g.metric("sluice_kernel_map_entries", map="listeners") > 0, "the supervisor's word")
        assert 'program="' not in g.metrics_text()
