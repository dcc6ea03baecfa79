# SPDX-License-Identifier: Apache-2.0
"""Privileges, and what happens when a process is killed."""
import os
import pwd
import signal
import subprocess
import time

import pytest
from harness import load
from harness.client import Closed
from harness.gateway import Gateway, alive, proc_status
from harness.nginx import Nginx
from harness.origin import Origin
from harness.policy import serving
from harness.wait import until

P = 8080


@pytest.fixture
def gw(lo):
    with Origin(lo) as o, Gateway(serving(o, P, workers=2), lo) as g:
        yield g


def unprivileged_uid():
    try:
        return pwd.getpwnam("sluice").pw_uid
    except KeyError:
        return pwd.getpwnam("nobody").pw_uid


def test_a_start_at_which_a_worker_can_serve_nothing_ends(lo, ca, tmp_path):
    """OpenSSL fails in the worker alone, as where memory is out: there is no policy before to stay with."""
    shim = tmp_path / "shim.so"
    source = "int SSL_CTX_set_alpn_protos(void *c, const void *p, unsigned n) { (void)c, (void)p, (void)n; return 1; }"
    subprocess.run([os.environ.get("CC", "gcc"), "-shared", "-fPIC", "-x", "c", "-o", shim, "-"], input=source, text=True, check=True)
    policy = serving("127.0.0.1:9", P, upstreams={"origin": {"targets": [{"address": "127.0.0.1:9"}], "tls": {"ca": ca.cert}}})
    with pytest.raises(RuntimeError, match=r"(?s)exit 1\n.*upstream origin: tls: .*not started"):
        Gateway(policy, lo, env={"LD_PRELOAD": str(shim), "ASAN_OPTIONS": "verify_asan_link_order=0"})


@pytest.mark.veth
@pytest.mark.root
def test_controller_and_workers_have_no_privilege(gw):
    pids = gw.pids()
    for pid in [pids["controller"], *pids["workers"]]:
        s = proc_status(pid)
        for cap in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            assert int(s[cap], 16) == 0 or cap == "CapBnd", (cap, s[cap])
        assert s["NoNewPrivs"] == "1" and s["Seccomp"] == "2"
        assert s["Uid"].split() == [str(unprivileged_uid())] * 4
        assert "0" not in s["Gid"].split() and s["Groups"].split() in ([], [s["Gid"].split()[0]])


@pytest.mark.veth
@pytest.mark.root
def test_a_worker_can_open_no_file_and_run_no_program(gw):
    """From the outside: no descriptor of theirs is a file, the log apart."""
    for pid in gw.pids()["workers"]:
        for fd in os.listdir(f"/proc/{pid}/fd"):
            target = os.readlink(f"/proc/{pid}/fd/{fd}")
            assert target.startswith(("socket:", "anon_inode:", "/memfd:", "pipe:", "/dev/null")) or "bpf" in target, (fd, target)
        assert not [m for m in open(f"/proc/{pid}/maps") if "/key" in m]


def test_a_killed_worker_is_back_within_a_second_and_others_serve(gw):
    victim = gw.pids()["workers"][0]
    t0 = time.monotonic()
    os.kill(victim, signal.SIGKILL)

    def back():
        w = gw.pids()["workers"]
        return len(w) == 2 and victim not in w and all(alive(p) for p in w)
    until(back, "a new worker", timeout=5)
    assert time.monotonic() - t0 < 1.0
    for _ in range(20):
        with gw.client(P) as c:
            assert c.request().status == 200
    assert gw.metric("sluice_worker_restarts_total") >= 1


def test_while_a_worker_dies_its_neighbours_connections_live(gw):
    workers = gw.pids()["workers"]
    clients = [gw.client(P) for _ in range(16)]
    assert all(c.request().status == 200 for c in clients)
    os.kill(workers[1], signal.SIGKILL)
    until(lambda: workers[1] not in gw.pids()["workers"], "its replacement")
    lived = 0
    for c in clients:
        try:
            lived += c.request().status == 200
        except OSError:
            pass
        c.close()
    assert 0 < lived < 16, "reuseport spreads 16 connections over both workers"


def test_a_worker_that_is_killed_again_and_again_is_not_restarted_in_a_loop_that_burns(lo):
    with Origin(lo) as o, Gateway(serving(o, P, workers=2), lo) as g:
        for _ in range(5):
            w = g.pids()["workers"][0]
            os.kill(w, signal.SIGKILL)
            until(lambda: len(g.pids()["workers"]) == 2 and w not in g.pids()["workers"], "restart", timeout=30)
        with g.client(P) as c:
            assert c.request().status == 200


def test_a_killed_controller_is_back_and_traffic_never_noticed(lo):
    with Nginx(lo, 9000) as o, Gateway(serving(o.target, P, workers=2), lo) as g:
        running = load.Load(lo, "127.0.0.1", P, connections=8, rate=300, seconds=3)
        before = g.pids()
        os.kill(before["controller"], signal.SIGKILL)
        until(lambda: g.pids()["controller"] != before["controller"], "a new controller")
        assert g.pids()["workers"] == before["workers"]
        r = running.result()
        assert r.bad == 0 and r["done"] == 900
        assert g.metric("sluice_listener_requests_total", listener="main") >= 900  # counters are not the controller's


def test_counters_outlive_a_worker(gw):
    for _ in range(10):
        with gw.client(P) as c:
            assert c.request().status == 200
    until(lambda: gw.metric("sluice_listener_requests_total", listener="main") == 10, "10 counted")
    for w in gw.pids()["workers"]:
        os.kill(w, signal.SIGKILL)
    until(lambda: gw.admin("/readyz").status == 200 and gw.metric("sluice_listener_requests_total", listener="main") == 10, "still 10")


@pytest.mark.veth
def test_a_killed_supervisor_leaves_no_orphan(lo):
    with Origin(lo) as o, Gateway(serving(o, P, workers=2), lo) as g:
        assert len(g.tree()) == 4
        g.kill_supervisor()
        g.start()  # and the next one starts over what was left
        with g.client(P) as c:
            assert c.request().status == 200


def test_sigterm_lets_the_request_in_flight_end(lo):
    import threading
    go = threading.Event()

    def answer(r):
        from harness.origin import response
        go.wait(10)
        return response(body=b"whole")
    with Origin(lo, answer=answer) as o, Gateway(serving(o, P), lo) as g:
        c = g.client(P)
        c.send(b"GET / HTTP/1.1\r\nHost: gw.test\r\n\r\n")
        o.wait_requests(1)
        g.signal(signal.SIGTERM)

        def refused():
            try:
                g.client(P, timeout=2).close()
            except OSError:
                return True
        until(refused, "the listener to be closed")
        go.set()
        r = c.read_response()
        assert r.body == b"whole" and r.get("Connection") == "close"
        assert g.proc.wait(15) == 0


NOBODY = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--bounding-set=-all", "--inh-caps=-all"]


def as_nobody(lo, tmp, origin, **kernel):
    os.mkdir(f"{tmp}/state")
    for path in (tmp, f"{tmp}/state"):
        os.chown(path, 65534, 65534)
    g = Gateway(serving(origin, P, workers=2, kernel=kernel, admin={"bind": [f"unix:{tmp}/a.sock"]}), lo, state=f"{tmp}/state", prefix=NOBODY, wait=False)
    g.socket = f"{tmp}/a.sock"
    return g


@pytest.mark.veth
@pytest.mark.root
def test_mode_off_runs_without_root(lo, tmp):
    """As nobody: the same processes, nothing of BPF."""
    with Origin(lo) as o, as_nobody(lo, tmp, o, mode="off") as g:
        g.wait_ready()
        with g.client(P) as c:
            assert c.request().status == 200
        assert len(g.tree()) == 4
        for pid in g.pids()["workers"]:
            s = proc_status(pid)
            assert s["NoNewPrivs"] == "1" and s["Seccomp"] == "2"


@pytest.mark.root
def test_kernel_guard_without_root_is_a_clear_error(lo, tmp):
    with Origin(lo) as o:
        g = as_nobody(lo, tmp, o, interfaces=["lo"], mode="generic")
        try:
            assert g.proc.wait(15) == 1
            g._reader.join(5)
            assert "root" in g.log() or "CAP_" in g.log() or "mode: off" in g.log(), g.log()
        finally:
            g.kill()
            g._clean()
