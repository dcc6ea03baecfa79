# SPDX-License-Identifier: Apache-2.0
"""
Binary upgrades: another process takes sockets, locks, limits and counters over while clients are served. And the ends
of processes under load: what was under way is answered, or counted.
"""
import json
import os
import shutil
import signal
import socket
import subprocess
import threading

import pytest
from harness import h2, load
from harness.client import Client
from harness.gateway import SAN, SLUICED, Gateway, alive, become_subreaper, children
from harness.nginx import Nginx
from harness.ns import Net
from harness.origin import Origin, response
from harness.policy import guarded, merge, serving
from harness.wait import until

P = 8080
RATE = 100 if SAN else 400


def policy(origin, **over):
    return serving(origin, P, **{"workers": 2, "drain_timeout": "2s", **over})


def gone(*procs, timeout=60):
    for p in procs:
        assert p.wait(timeout) == 0


@pytest.fixture
def nginx(lo):
    with Nginx(lo, 9000) as o:
        yield o


@pytest.mark.slow
def test_ten_upgrades_under_load_without_an_error(lo, nginx):
    with Gateway(policy(nginx.target), lo) as g:
        kept = load.Load(lo, "127.0.0.1", P, connections=16, rate=RATE, seconds=8)
        fresh = load.Load(lo, "127.0.0.1", P, connections=16, rate=RATE, seconds=8, headers=["Connection: close"])
        old, pids = [], {g.proc.pid}
        for _ in range(10):
            old.append(g.upgrade())
            pids.add(g.proc.pid)
        assert len(pids) == 11
        results = kept.result(), fresh.result()
        for r in results:
            assert r.bad == 0 and r["refused"] == 0 and r["done"] == 8 * RATE, r
        gone(*old)
        until(lambda: g.metric("sluice_listener_requests_total", listener="main") >= 16 * RATE, "all counted, by whomever")
        assert g.metric("sluice_requests_lost_total") == 0


@pytest.mark.parametrize("before,after", [(1, 4), (4, 1), (3, 2)])
def test_another_count_of_workers(lo, nginx, before, after):
    """Sockets that were shared by so many are shared by others; none is closed with somebody in its queue."""
    with Gateway(policy(nginx.target, workers=before), lo) as g:
        fresh = load.Load(lo, "127.0.0.1", P, connections=32, rate=RATE, seconds=1, headers=["Connection: close"])
        g.write(policy(nginx.target, workers=after))
        old = g.upgrade()
        r = fresh.result()
        assert r.bad == 0 and r["refused"] == 0 and r["done"] == RATE, r
        assert len(g.pids()["workers"]) == after
        gone(old)
        g.apply(policy(nginx.target, workers=after, drain_timeout="3s"))
        for _ in range(20):  # every queue has its owner
            with g.client(P) as c:
                assert c.request().status == 200


def test_who_waits_in_a_queue_is_served_by_the_new_one(lo, nginx):
    """The old workers accept nothing any more, and nobody has yet begun to: these must not be reset."""
    with Gateway(policy(nginx.target, workers=4), lo) as g:
        for w in g.pids()["workers"]:
            os.kill(w, signal.SIGSTOP)
        stopped = g.pids()["workers"]
        waiting = [g.client(P) for _ in range(32)]
        for c in waiting:
            c.send(b"GET / HTTP/1.1\r\nHost: gw.test\r\n\r\n")
        g.write(policy(nginx.target, workers=1))
        old = g.upgrade()
        assert [c.read_response().status for c in waiting] == [200] * 32
        for w in stopped:
            os.kill(w, signal.SIGCONT)
        gone(old)


def test_sigusr2_upgrades_too(lo, nginx):
    with Gateway(policy(nginx.target), lo) as g:
        become_subreaper()
        before = set(children(g.proc.pid))
        g.signal(signal.SIGUSR2)
        g.wait_log("has taken over; draining")
        new = (set(children(g.proc.pid)) - before) or {int(open(f"{g.state}/sluiced.pid").read())}
        old = g.adopt(new.pop())
        g.wait_ready()
        gone(old)
        with g.client(P) as c:
            assert c.request().status == 200


def test_what_is_under_way_ends_and_is_told_that_it_is_the_last(lo):
    go = threading.Event()

    def answer(r):
        if r.target == "/slow":
            go.wait(30)
        return response(body=b"whole")
    # one worker: what one client is told, the other's worker knows too
    with Origin(lo, answer=answer) as o, Gateway(policy(o, workers=1, drain_timeout="30s"), lo) as g:
        slow, idle = g.client(P), g.client(P)
        assert idle.request().status == 200
        slow.send(b"GET /slow HTTP/1.1\r\nHost: gw.test\r\n\r\n")
        o.wait_requests(2)
        old = g.upgrade()
        until(lambda: idle.request().get("Connection") == "close", "an idle client to be told")
        go.set()
        r = slow.read_response()
        assert r.body == b"whole" and r.get("Connection") == "close"
        gone(old)


def test_http2_is_told_by_goaway_and_what_is_open_finishes(lo):
    go = threading.Event()

    def answer(r):
        if r.target == "/slow":
            go.wait(30)
        return response(body=b"whole")
    with Origin(lo, answer=answer) as o:
        with Gateway(policy(o, drain_timeout="30s", listeners={"main": {"protocols": ["h2", "http/1.1"]}}), lo) as g:
            with h2.connect(g, P, address="127.0.0.1") as c:
                slow = c.request(path="/slow")
                o.wait_requests(1)
                old = g.upgrade()
                c.until(lambda: c.goaway and c.goaway[1] == slow, "GOAWAY that names the last stream")
                go.set()
                assert c.wait(slow).status == 200
                assert c.end() == h2.NO_ERROR
            gone(old)
            with h2.connect(g, P, address="127.0.0.1") as c:
                assert c.ask(path="/").status == 200


def test_the_drain_ends_at_its_deadline(lo):
    go = threading.Event()
    with Origin(lo, answer=lambda r: go.wait(60) and response()) as o, Gateway(policy(o, drain_timeout="500ms"), lo) as g:
        with g.client(P) as c:
            c.send(b"GET / HTTP/1.1\r\nHost: gw.test\r\n\r\n")
            o.wait_requests(1)
            gone(g.upgrade())
            go.set()


def test_what_cannot_serve_leaves_the_old_one_serving(lo, tmp_path, nginx):
    program = tmp_path / "sluiced"

    def put(path=None, text=None):
        new = tmp_path / "new"
        if path:
            shutil.copy(path, new)
        else:
            new.write_text(text)
        new.chmod(0o755)
        new.replace(program)
    put(SLUICED)
    with Gateway(policy(nginx.target), lo, sluiced=str(program)) as g:
        traffic = load.Load(lo, "127.0.0.1", P, connections=8, rate=RATE // 2, seconds=2)
        before = g.pids()
        for what, why in [({"text": "no program"}, "cannot be run"), ({"text": "#!/bin/sh\nexit 3\n"}, "ended with code 3"),
                          ({"text": "#!/bin/sh\nkill -SEGV $$\n"}, "died of signal 11")]:
            put(**what)
            code, out = g.ctl("upgrade")
            assert code == 1 and why in out and "what ran goes on serving" in out, out
        put(SLUICED)
        g.write("version: 1\nlisteners: {}\nroutes: {}\nbogus: 1\n")
        code, out = g.ctl("upgrade")
        assert code == 1 and "bogus" in out and "policy.yaml:4" in out, out
        g.write({**policy(nginx.target), "listeners": {"main": {"bind": [f"127.0.0.1:{P}", "192.0.2.1:1"]}}})
        code, out = g.ctl("upgrade")
        assert code == 1 and "192.0.2.1:1" in out, out
        assert g.pids() == before
        g.write(policy(nginx.target))
        old = g.upgrade()
        r = traffic.result()
        assert r.bad == 0 and r["done"] == 2 * (RATE // 2), r
        gone(old)


@pytest.mark.root
def test_a_worker_that_cannot_serve_fails_the_upgrade_alone(bpffs, ca, tmp_path):
    """OpenSSL fails in the new worker, after all else has been taken, the guard too: it comes back whole."""
    flag = tmp_path / "fail"
    shim = tmp_path / "shim.so"
    source = ('#include <unistd.h>\nstatic int f;\n__attribute__((constructor)) static void i(void) { f = access("%s", 0) == 0; }\n'
              "int SSL_CTX_set_alpn_protos(void *c, const void *p, unsigned n) { (void)c, (void)p, (void)n; return f; }") % flag
    subprocess.run([os.environ.get("CC", "gcc").split()[-1], "-shared", "-fPIC", "-x", "c", "-o", shim, "-"], input=source, text=True, check=True)
    with Net("gw", "client") as net, Origin(net.gw, address="127.0.0.1") as o:
        p = merge(guarded(o, P), {"workers": 2, "drain_timeout": "1s", "upstreams": {"origin": {"tls": {"ca": ca.cert}}},
                                  "routes": {"all": {"upstream": None, "respond": {"status": 200, "body": "hi"}}}})
        with Gateway(p, net.gw, env={"LD_PRELOAD": str(shim), "ASAN_OPTIONS": "verify_asan_link_order=0"}) as g:
            def program():
                link = json.loads(net.gw.run(["ip", "-j", "link", "show", "dev", "eth0"], check=True).stdout)[0]
                return link["xdp"]["prog"]["id"]

            def served():
                with Client(net.client.connect(("10.77.0.1", P), 2), timeout=2) as c:
                    return c.request("GET", "/").status == 200
            before, own = g.pids(), program()
            flag.touch()
            code, out = g.ctl("upgrade")
            assert code == 1 and "not upgraded" in out, out
            assert g.pids() == before and program() == own and served()
            assert g.ctl("deny", "10.77.0.2/32")[0] == 0
            with pytest.raises(OSError):
                served()
            assert g.ctl("forget", "10.77.0.2/32")[0] == 0
            flag.unlink()
            gone(g.upgrade())
            assert program() != own and served()


def test_limits_counters_and_drained_targets_go_on(lo):
    with Origin(lo) as a, Origin(lo) as b:
        p = policy(a, upstreams={"origin": {"targets": [{"address": a.target}, {"address": b.target}]}},
                   tiers={"anonymous": {"rate_limit": {"hour": 10, "by": "ip"}}})
        with Gateway(p, lo) as g:
            with g.client(P) as c:
                for _ in range(6):
                    assert c.request().status == 200
            assert g.ctl("drain", b.target)[0] == 0
            old = g.upgrade()
            gone(old)
            seen = len(b.requests)
            with g.client(P) as c:
                assert [c.request().status for _ in range(5)] == [200] * 4 + [429]
            assert len(b.requests) == seen, "drained still"
            until(lambda: g.metric("sluice_listener_requests_total", listener="main") == 11, "eleven, over both")
            assert g.status()["version"] == 2


def test_a_resumed_session_after_an_upgrade(lo, ca):
    cert, key = ca.issue("gw.test")
    tls = {"certificates": [{"cert": cert, "key": {"$file": key}}]}
    with Origin(lo) as o, Gateway(policy(o, listeners={"main": {"tls": tls}}), lo) as g:
        sess = f"{g.dir}/session"
        args = ["openssl", "s_client", "-connect", f"127.0.0.1:{P}", "-CAfile", ca.cert, "-servername", "gw.test", "-ign_eof"]
        ask = "GET / HTTP/1.1\r\nHost: gw.test\r\nConnection: close\r\n\r\n"

        def s_client(*more):
            with lo.enter():
                return subprocess.run([*args, *more], input=ask, text=True, capture_output=True, timeout=30).stdout
        assert "200 OK" in s_client("-sess_out", sess)
        old = g.upgrade()
        assert "Reused, TLSv1.3" in s_client("-sess_in", sess)
        gone(old)


def test_refused_while_a_policy_is_on_trial_or_another_upgrade_runs(lo, nginx, tmp_path):
    program = tmp_path / "sluiced"
    shutil.copy(SLUICED, program)
    with Gateway(policy(nginx.target), lo, sluiced=str(program)) as g:
        g.write(policy(nginx.target, drain_timeout="3s"))
        assert g.ctl("apply", "--confirm", "1h")[0] == 0
        code, out = g.ctl("upgrade")
        assert code == 1 and "confirm" in out, out
        assert g.ctl("confirm")[0] == 0
        new = tmp_path / "new"
        new.write_text(f"#!/bin/sh\necho $$ >{tmp_path}/runs\nexec sleep 60\n")
        new.chmod(0o755)
        new.replace(program)
        with lo.enter():
            first = subprocess.Popen([os.path.join(os.path.dirname(SLUICED), "sluicectl"), "--socket", g.socket, "upgrade"],
                                     stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        pid = int(until(lambda: (tmp_path / "runs").read_text().strip(), "the new one"))
        for verb in (["upgrade"], ["apply"], ["rollback"]):
            code, out = g.ctl(*verb)
            assert code == 1 and "upgrade is under way" in out, out
        os.kill(pid, signal.SIGKILL)
        assert "died of signal 9" in first.communicate(timeout=30)[0] and first.returncode == 1
        assert g.ctl("apply")[0] == 0


def test_a_supervisor_that_is_stopped_takes_its_successor_along(lo, nginx, tmp_path):
    program = tmp_path / "sluiced"
    shutil.copy(SLUICED, program)
    with Gateway(policy(nginx.target), lo, sluiced=str(program)) as g:
        new = tmp_path / "new"
        new.write_text(f"#!/bin/sh\necho $$ >{tmp_path}/runs\nexec sleep 60\n")
        new.chmod(0o755)
        new.replace(program)
        g.signal(signal.SIGUSR2)
        pid = int(until(lambda: (tmp_path / "runs").read_text().strip(), "the new one"))
        g.stop()
        until(lambda: not alive(pid), "the end of the new one")


def test_systemd_is_told_who_is_the_main_process(lo, nginx, tmp_path):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    s.bind(str(tmp_path / "notify"))
    s.settimeout(60)
    with Gateway(policy(nginx.target), lo, env={"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "60000000"}) as g:
        assert s.recv(100) == b"READY=1"
        old = g.upgrade()
        assert s.recv(100) == f"MAINPID={g.proc.pid}".encode()
        assert s.recv(100) == b"READY=1"
        gone(old)
        assert int(open(f"{g.state}/sluiced.pid").read()) == g.proc.pid
    assert s.recv(100) == b"STOPPING=1"
    s.close()


@pytest.mark.veth
@pytest.mark.root
def test_the_guard_is_handed_on(bpffs):
    """Penalties and lists hold, packets are guarded all the while; and come back whole from a new one that fails late."""
    with Net("gw", "client") as net, Origin(net.gw, address="127.0.0.1") as o:
        base = merge(guarded(o, P), {"workers": 2, "drain_timeout": "1s"})
        with Gateway(base, net.gw) as g:
            assert g.ctl("deny", "192.0.2.0/24")[0] == 0
            gone(g.upgrade())
            operators = sum(x["operator"] for x in g.status()["kernel"]["lists"])
            assert operators == 1
            with Client(net.client.connect(("10.77.0.1", P), 5), timeout=5) as c:
                assert c.request("GET", "/").status == 200
            g.write(merge(base, {"listeners": {"main": {"bind": ["192.0.2.99:1"]}}}))
            assert g.ctl("upgrade")[0] == 1
            g.write(base)
            assert g.ctl("apply")[0] == 0
            assert g.ctl("deny", "10.77.0.2/32")[0] == 0
            assert g.ctl("forget", "10.77.0.2/32")[0] == 0
            with Client(net.client.connect(("10.77.0.1", P), 5), timeout=5) as c:
                assert c.request("GET", "/").status == 200
            gone(g.upgrade())


# ---- the ends of processes under load


def test_sigterm_under_load_breaks_nothing_that_was_asked(lo, nginx):
    with Gateway(policy(nginx.target), lo) as g:
        kept = load.Load(lo, "127.0.0.1", P, connections=16, rate=RATE, seconds=2)
        until(lambda: g.metric("sluice_listener_requests_total", listener="main") > RATE // 4, "traffic")
        g.signal(signal.SIGTERM)
        assert g.proc.wait(30) == 0
        r = kept.result()
        assert r["broken"] == 0 and r["status"]["5xx"] == 0 and r["done"] > 0, r


def stops_and_answers(g, silent):
    g.signal(signal.SIGTERM)
    g.wait_log("draining")
    assert [c.request().status for c in silent] == [200] * len(silent)
    for c in silent:
        c.close()
    assert g.proc.wait(30) == 0


def test_who_has_connected_before_a_stop_may_ask(lo, nginx):
    with Gateway(policy(nginx.target), lo) as g:
        silent = [g.client(P) for _ in range(4)]
        stops_and_answers(g, silent)


def without_main(origin):
    return policy(origin.target, listeners={"main": None, "two": {"bind": ["127.0.0.1:8081"]}})


def test_a_stop_lets_in_whom_a_reload_has_just_taken_the_listener_from(lo, nginx):
    with Gateway(policy(nginx.target), lo) as g:
        silent = [g.client(P) for _ in range(4)]
        assert g.apply(without_main(nginx))[0] == 0
        stops_and_answers(g, silent)


@pytest.mark.parametrize("back", [False, True], ids=["gone", "back"])
def test_an_upgrade_lets_in_whom_a_reload_has_just_taken_the_listener_from(lo, nginx, back):
    with Gateway(policy(nginx.target), lo) as g:
        silent = [g.client(P) for _ in range(4)]
        assert g.apply(without_main(nginx))[0] == 0
        if back:
            g.write(policy(nginx.target))
        old = g.upgrade()
        assert [c.request().status for c in silent] == [200] * 4
        gone(old)
        with g.client(P if back else 8081) as c:
            assert c.request().status == 200


@pytest.mark.slow
def test_a_worker_killed_every_second_fails_its_own_requests_alone_and_they_are_counted(lo):
    """Each answer takes a while, so that some are under way whenever one dies."""
    pause = threading.Event()

    def answer(r):
        pause.wait(0.02)
        return response()
    with Origin(lo, answer=answer) as o, Gateway(policy(o), lo) as g:
        running = load.Load(lo, "127.0.0.1", P, connections=16, rate=100, seconds=6)
        killed = 0
        while running.running() and killed < 5:
            pids = g.pids()["workers"]
            victim = pids[killed % 2]
            os.kill(victim, signal.SIGKILL)
            killed += 1
            until(lambda: victim not in g.pids()["workers"] and g.admin("/readyz").status == 200, "its successor", timeout=30)
            pause.wait(1)
        r = running.result()
        lost = g.metric("sluice_requests_lost_total")
        assert r["done"] + r["broken"] + r["unanswered"] + r["unsent"] + r["timeouts"] == 600, r
        assert r["status"]["5xx"] == 0 and r["timeouts"] == 0, r
        # one whose head the worker had not read yet is seen as its connection alone
        connections = g.metric("sluice_connections_lost_total")
        assert 0 < lost <= connections and r["broken"] <= connections <= 16 * killed, (r, lost, connections)
        assert g.metric("sluice_worker_restarts_total") == killed
