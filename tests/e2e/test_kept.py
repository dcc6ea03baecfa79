# SPDX-License-Identifier: Apache-2.0
"""What is left of limits outlives the daemon, stopped or killed, and the host; a damaged file is reported and ignored."""
import contextlib
import ctypes
import json
import os
import re
import struct
import subprocess
import sys
import time
import uuid

import pytest
from harness.client import Client
from harness.gateway import SLUICECTL, SLUICED, Gateway
from harness.ns import Net
from harness.policy import guarded, merge, serving
from harness.wait import until

from test_kernel import assert_denied, get

P = 8080


def policy():
    return serving("127.0.0.1:9", P, routes={"all": {"upstream": None, "respond": {"status": 200, "body": "ok"}, "rate_limit": {"hour": 10, "by": "ip"}}}, upstreams=None)


def left(g):
    with g.client(P) as c:
        return int(re.search(r"r=(\d+)", c.request("GET", "/").get("RateLimit")).group(1))


def test_over_a_stop_a_crash_and_a_damaged_file(lo):
    with Gateway(policy(), lo) as g:
        kept = f"{g.state}/limits.state"
        assert [left(g) for _ in range(3)] == [9, 8, 7]
        g.stop()
        assert os.stat(kept).st_mode & 0o777 == 0o600
        g.start()
        assert "go on as they were left" in g.log()
        assert left(g) == 6

        admitted = time.time()
        until(lambda: os.stat(kept).st_mtime > admitted, "the file to be written again")
        g.kill()
        g.start()
        assert left(g) == 5
        g.stop()

        whole = open(kept, "rb").read()
        for damaged, why in ((whole[:-1], "cut"), (whole[:60] + bytes([whole[60] ^ 1]) + whole[61:], "checksum"), (b"", "no such file"),
                             (whole[:8] + b"\x07" + whole[9:], "another version")):
            with open(kept, "wb") as f:
                f.write(damaged)
            lines = len(g.log_lines)
            g.start()
            g.wait_log(f"limits.state is not used: .*{why}.*limits begin full", start=lines)
            assert left(g) == 9
            with open(f"{kept}.damaged", "rb") as f:
                assert f.read() == damaged  # what it was can still be looked at
            g.stop()


def table_kib(pid):
    """What a process has mapped of the bucket table's memory."""
    with open(f"/proc/{pid}/smaps") as f:
        mapping = f.read().split("sluice-buckets", 1)[1]
    return int(re.search(r"^Rss: +(\d+) kB", mapping, re.M).group(1))


def test_keeping_a_few_buckets_does_not_fill_the_table(lo):
    with Gateway(policy(), lo) as g:
        assert left(g) == 9
        until(lambda: os.path.exists(f"{g.state}/limits.state"), "the file to be written")
        assert 0 < table_kib(g.proc.pid) <= 2048  # a huge page at most, of 16 MiB


# ---- a reboot: another boot id, a monotonic clock that begins anew, and a wall clock that went on

QUOTAS = {"second": 1000, "minute": 600, "hour": 3600, "day": 8640}
LENGTH = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}
ASKED, AWAY = 100, 40


def all_left(g, n=1):
    with g.host.connect((g.address, P), 10) as s:
        s.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * n)
        text = b""
        while text.count(b"\r\n\r\nok") < n:
            more = s.recv(65536)
            assert more, text
            text += more
    return {w: int(r) for w, r in re.findall(r'"(\w+)";r=(\d+)', text.decode().rsplit("RateLimit: ", 1)[1].split("\r\n")[0])}


def off_for(path, seconds):
    """The file as if it had been written so much earlier: magic, version, checksum, wall_ns, seed, buckets, penalties; all in 8 bytes."""
    with open(path, "rb") as f:
        whole = f.read()
    h = list(struct.unpack("=7Q", whole[:56]))
    assert h[5] >= 3, "buckets of a minute, an hour and a day"
    h[3] -= seconds * 10**9
    xxh = ctypes.CDLL("libxxhash.so.0").XXH3_64bits_withSeed
    xxh.restype, xxh.argtypes = ctypes.c_uint64, [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint64]
    h[2] = xxh(whole[56:], len(whole) - 56, h[3] ^ h[4] ^ h[5])
    with open(path, "wb") as f:
        f.write(struct.pack("=7Q", *h) + whole[56:])


def clock_begins_anew():
    """Words before a command that give it a monotonic clock of a young boot; none where this kernel or container has no time namespaces."""
    words = ["unshare", "--time", f"--monotonic={100 - int(time.monotonic())}", "--"]
    r = subprocess.run([*words, sys.executable, "-c", "import time; print(time.monotonic())"], capture_output=True, text=True)
    return words if time.monotonic() > 200 and r.returncode == 0 and float(r.stdout) < 200 else []


ESCALATE = {"rejections": 5, "within": "30s", "penalty": "5m", "max_penalty": "1h"}


def penalties(g):
    return {p["source"]: p for p in g.penalties()["penalties"] if p["effect"] == "source"}


def penalise(net, g):
    """Another host over its limit, until all of it is dropped."""
    for c in [Client(net.other.connect((g.address, P)), timeout=5) for _ in range(3)]:
        with contextlib.suppress(OSError):
            while True:
                c.request("GET", "/")
    return until(lambda: penalties(g).get(net.other.address), "a penalty of the address")


def operators(g, what, family):
    return g.metric("sluice_kernel_list_entries", list=what, family=family, source="operator")


def another_boot(tmp_path):
    boot_id = tmp_path / "boot_id"
    boot_id.write_text(f"{uuid.uuid4()}\n")
    return ["unshare", "--mount", "--propagation", "private", "sh", "-c", f'mount --bind {boot_id} /proc/sys/kernel/random/boot_id && exec "$@"', "sh"]


@pytest.mark.root
@pytest.mark.parametrize("guard", [False, True], ids=["table in memory", "pinned table"])
def test_over_a_reboot_by_the_wall_clock(bpffs, tmp_path, guard):
    p = merge(policy(), {"routes": {"all": {"rate_limit": {**{"hour": None}, **QUOTAS}}}})
    with Net("gw", "other") as net:
        if guard:
            p = merge(p, {"listeners": {"main": {"bind": [f"{net.gw.address}:{P}"]}}, "kernel": {"interfaces": ["eth0"], "mode": "native"},
                          "tiers": {"anonymous": {"rate_limit": {"minute": 150, "by": "ip", "headers": "off"}, "kernel": {"escalate": ESCALATE}}}})
        with Gateway(p, net.gw) as g:
            g.address = net.gw.address if guard else "127.0.0.1"
            began = time.time()
            assert all_left(g, ASKED)["hour"] <= QUOTAS["hour"] - ASKED + 10
            penalty = penalise(net, g) if guard else None
            g.stop()
            stopped = time.time()
            off_for(f"{g.state}/limits.state", AWAY)
            # a guard reads the kernel's clock, which no namespace changes
            g._prefix = another_boot(tmp_path) + ([] if guard else clock_begins_anew())
            g.start()
            if guard:
                g.wait_log("state pinned at .* is of another boot: discarded")
                kept = {k: v for k, v in penalties(g)[net.other.address].items() if k != "left_ms"}
                assert kept == {k: v for k, v in penalty.items() if k != "left_ms"}
                assert penalties(g)[net.other.address]["left_ms"] <= penalty["left_ms"] - AWAY * 1000
            g.wait_log("go on as they were left")
            before = time.time()
            now = all_left(g)
            after = time.time()
            for w, quota in QUOTAS.items():
                rate = quota / LENGTH[w]
                least, most = (min(quota - 1, quota - ASKED - 1 + (AWAY + span) * rate) for span in (before - stopped, after - began))
                assert int(least) - 1 <= now[w] <= most + 1, (w, now, least, most)
            assert now["minute"] == QUOTAS["minute"] - 1 and now["second"] == QUOTAS["second"] - 1, "paid back while the host was off"
            assert now["hour"] < QUOTAS["hour"] - ASKED + AWAY + 30 and now["day"] < QUOTAS["day"] - ASKED + AWAY, now
            g.stop()


@pytest.mark.root
@pytest.mark.parametrize("options,kept", [("mode=755", "/var/lib/sluice"), ("ro", "/run/sluice")], ids=["as it should be", "read-only"])
def test_without_a_state_directory_what_is_kept_goes_where_it_outlives_a_reboot(lo, tmp_path, options, kept):
    path = tmp_path / "policy.json"
    path.write_text(json.dumps({"version": 1, **policy()}))
    mounts = f'mount -t tmpfs -o mode=755 none /run && mount -t tmpfs -o {options} none /var/lib && exec "$@"'
    p = lo.popen(["unshare", "--mount", "sh", "-c", mounts, "sh", SLUICED, "--policy", str(path)], stderr=subprocess.PIPE, text=True)
    try:
        inside = f"/proc/{p.pid}/root"
        until(lambda: os.path.exists(f"{inside}{kept}/limits.state"), f"{kept}/limits.state")
        assert os.stat(f"{inside}{kept}").st_mode & 0o022 == 0
        assert os.path.exists(f"{inside}/run/sluice/sluiced.pid") and os.path.exists(f"{inside}/run/sluice/admin.sock")
        assert kept == "/run/sluice" or not os.path.exists(f"{inside}/run/sluice/limits.state")
    finally:
        p.terminate()
        said = p.communicate(timeout=30)[1]
    assert ("/var/lib/sluice cannot be used: Read-only file system" in said) == (options == "ro"), said


@pytest.mark.root
def test_what_operators_denied_and_allowed_outlives_a_reboot(bpffs, tmp_path, net, origin):
    with Gateway(guarded(origin, P, {"deny": ["203.0.113.0/24"]}), net.gw) as g:
        kept = f"{g.state}/lists.state"
        assert g.ctl("deny", net.client.address)[0] == 0
        assert g.ctl("deny", "198.51.100.0/24", "--for", "1h")[0] == 0
        assert g.ctl("deny", "2001:db8::/32", "--for", "1h")[0] == 0
        assert g.ctl("allow", "203.0.113.7")[0] == 0
        with open(kept) as f:
            head, *lines = f.read().splitlines()
        assert head == "sluice lists 1 4" and {line.rsplit(" ", 1)[0] for line in lines} == {
            f"deny {net.client.address}/32", "deny 198.51.100.0/24", "deny 2001:db8::/32", "allow 203.0.113.7/32"}
        assert os.stat(kept).st_mode & 0o777 == 0o600
        g.stop()
        with open(kept) as f:  # as if the host had been off for so long
            text = re.sub(r"(2001:db8::/32) \d+", rf"\1 {time.time_ns()}", f.read())
        with open(kept, "w") as f:
            f.write(text)
        g._prefix = another_boot(tmp_path)
        g.start()
        g.wait_log("3 entries of operators are in force again")
        assert_denied(g, net.client)
        assert get(net.other).status == 200
        assert [operators(g, what, family) for what in ("deny", "allow") for family in ("ipv4", "ipv6")] == [2, 0, 1, 0]
        left_ms = {d["source"]: d["left_ms"] for d in g.penalties()["denies"]}
        assert left_ms[f"{net.client.address}/32"] is None and 3500e3 < left_ms["198.51.100.0/24"] <= 3600e3, left_ms

        assert g.ctl("forget", net.client.address)[0] == 0
        g.kill()
        g.start()  # the pins know, and so does the file
        assert get(net.client).status == 200 and f"{net.client.address}/32" not in open(kept).read()
        g.stop()

        assert net.gw.run([SLUICECTL, "detach"]).returncode == 0  # the pins are gone, as after a reboot
        g.start()
        g.wait_log("2 entries of operators are in force again")
        g.stop()

        whole = open(kept).read()
        for damaged, why in ((whole[:-1], "cut"), (whole.replace("deny", "ban"), "no entry"), (whole + "deny 10.0.0.0/8 0\n", "grown"), ("", "no such file"),
                             (whole.replace("198.51.100.0/24", "198.51.100.1/24"), "no entry")):
            with open(kept, "w") as f:
                f.write(damaged)
            g._prefix = another_boot(tmp_path)
            lines = len(g.log_lines)
            g.start()
            g.wait_log(f"lists.state is not used: .*{why}.*is forgotten", start=lines)
            assert operators(g, "deny", "ipv4") == 0
            with open(f"{kept}.damaged") as f:
                assert f.read() == damaged
            g.stop()
