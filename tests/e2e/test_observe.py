# SPDX-License-Identifier: Apache-2.0
"""Metrics, health and the access log, also when somebody wants to forge or fill them."""
import json
import os
import re
import signal
import socket
import subprocess

import pytest
from harness import client, ns
from harness.gateway import Gateway, parse_metrics
from harness.origin import Origin
from harness.policy import serving
from harness.prometheus import Prometheus
from harness.wait import until

P, ADMIN = 8080, 9901


@pytest.fixture(scope="module")
def origin(lo):
    with Origin(lo) as o:
        yield o


@pytest.fixture
def gw(lo, origin, tmp):
    sock = f"{tmp}/admin.sock"
    p = serving(origin, P, admin={"bind": [f"unix:{sock}", f"127.0.0.1:{ADMIN}"]},
                observe={"access_log": {"format": "json", "path": "-", "sample": 1.0}, "metrics": {"labels": ["route", "code", "tier"], "max_series": 5000}},
                routes={"all": {"paths": ["/"]}, "api-v1": {"paths": ["/api"], "upstream": "origin", "auth": ["public"]}})
    with Gateway(p, lo, wait=False) as g:
        g.socket = sock
        g.wait_ready()
        yield g


def ask(gw, target="/", headers=(), raw=None):
    with gw.client(P) as c:
        if raw is not None:
            c.send(raw)
            return c.read_response()
        return c.request("GET", target, headers)


def tcp_admin(lo, target, method="GET"):
    with client.Client(lo.connect(("127.0.0.1", ADMIN))) as c:
        return c.request(method, target)


def test_metrics_are_prometheus_text(gw):
    for _ in range(5):
        assert ask(gw).status == 200
    assert ask(gw, "/api/x").status == 200
    until(lambda: gw.metric("sluice_listener_requests_total", listener="main") == 6, "6 requests counted")
    text = gw.metrics_text()
    families, last = {}, None
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name not in families, f"TYPE twice: {name}"
            families[name], last = kind, name
        elif line and not line.startswith("#"):
            name = re.split(r"[{ ]", line)[0]
            base = re.sub(r"_(bucket|sum|count)$", "", name) if families.get(last) == "histogram" else name
            assert base == last, f"{line!r} stands outside its family (# TYPE {last})"
            assert name.startswith("sluice_")
            assert families[last] != "counter" or name.endswith("_total"), name
    series = parse_metrics(text)
    for (name, labels), v in series.items():
        if name.endswith("_bucket") and dict(labels)["le"] == "+Inf":
            rest = tuple(l for l in labels if l[0] != "le")
            buckets = sorted((float(dict(l)["le"].replace("+Inf", "inf")), x) for (n, l), x in series.items()
                             if n == name and tuple(y for y in l if y[0] != "le") == rest)
            assert [b for _, b in buckets] == sorted(b for _, b in buckets), "buckets are cumulative"
            assert v == series[(name[:-7] + "_count", rest)]
    assert gw.admin("/metrics").get("Content-Type").startswith("text/plain; version=0.0.4")


def test_promtool_has_no_complaint(gw):
    ask(gw)
    r = subprocess.run(["promtool", "check", "metrics"], input=gw.metrics_text(), capture_output=True, text=True)
    assert r.returncode == 0, r.stdout + r.stderr


def test_a_real_prometheus_scrapes_it(gw, lo):
    for _ in range(3):
        assert ask(gw).status == 200
    with Prometheus(lo, f"127.0.0.1:{ADMIN}") as p:
        until(lambda: [v for _, v in p.query("up")] == [1.0], "the target is up", timeout=30)
        served = until(lambda: p.query("sluice_route_responses_total"), "a counter of ours")
        assert [v for labels, v in served if labels["route"] == "all" and labels["code"] == "2xx"] == [3.0]


def test_series_do_not_grow_with_paths(gw):
    ask(gw, "/api/1")
    ask(gw, "/none")
    n = len(gw.metrics())
    for i in range(200):
        ask(gw, f"/api/{os.urandom(8).hex()}")
    assert len(gw.metrics()) == n
    assert gw.metric("sluice_route_responses_total", route="api-v1", code="2xx") == 201


def test_health_and_readiness(gw, lo):
    for target in ("/healthz", "/readyz"):
        assert gw.admin(target).status == 200 and tcp_admin(lo, target).status == 200


def test_tcp_admin_serves_only_metrics_and_health(gw, lo):
    assert tcp_admin(lo, "/metrics").status == 200
    for method, target in (("GET", "/v1/status"), ("GET", "/v1/top"), ("POST", "/v1/apply"), ("POST", "/v1/detach"), ("GET", "/"), ("GET", "/../v1/status")):
        r = tcp_admin(lo, target, method)
        assert r.status in (400, 403, 404, 405), (target, r)


@pytest.mark.root
def test_admin_changes_want_the_right_uid(gw):
    """The socket may be reached, but who is neither root, the daemon, nor its starter changes nothing."""
    os.chmod(gw.socket, 0o666)
    script = ("import socket,sys\ns=socket.socket(socket.AF_UNIX)\ns.connect(sys.argv[1])\n"
              "s.sendall(b'POST /v1/apply HTTP/1.1\\r\\nHost: a\\r\\nContent-Length: 0\\r\\nConnection: close\\r\\n\\r\\n')\nprint(s.recv(99).decode())\n")
    r = gw.host.run(["setpriv", "--reuid", "1234", "--regid", "1234", "--clear-groups", "/usr/bin/python3", "-c", script, gw.socket])
    assert r.stdout.startswith("HTTP/1.1 403") or "Permission" in r.stderr or "reset" in r.stderr, r


@pytest.mark.parametrize("raw", [b"\x00" * 100, b"GET / HTTP/1.1\r\n" + b"a" * 200000, b"POST /v1/deny HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n",
                                 b"POST /v1/deny HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n{{{{{", b"GET /v1/nothing HTTP/1.1\r\nHost: a\r\n\r\n"],
                         ids=["nul", "endless", "large body", "not json", "no such path"])
def test_garbage_on_the_admin_socket(gw, raw):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(5)
    with s:
        s.connect(gw.socket)
        try:
            s.sendall(raw)
            s.shutdown(socket.SHUT_WR)
            got = s.recv(65536)
        except (BrokenPipeError, ConnectionResetError):
            got = b""
    assert not got.startswith(b"HTTP/1.1 2")
    assert gw.admin("/healthz").status == 200


def test_access_log_line(gw):
    r = ask(gw, "/api/thing?secret=1", [("User-Agent", "curl/8"), ("X-Correlation-Id", "cid-42")])
    assert r.status == 200
    line = until(lambda: [l for l in gw.access_log() if l.get("correlation_id") == "cid-42"], "the line")[0]
    assert line["status"] == 200 and line["method"] == "GET" and line["route"] == "api-v1" and line["listener"] == "main"
    assert line["path"].startswith("/api/thing") and line["client"].startswith("127.0.0.1")
    assert "secret=1" not in json.dumps(line), "queries carry tokens"


def test_access_log_of_a_refusal_names_the_reason(lo, origin):
    p = serving(origin, 8081, observe={"access_log": {"format": "json", "path": "-", "sample": 1.0}}, routes={"all": {"paths": ["/only"]}})
    with Gateway(p, lo) as g:
        with g.client(8081) as c:
            assert c.request("GET", "/other").status == 404
        line = until(lambda: [l for l in g.access_log() if l["status"] == 404], "the line")[0]
        assert line["reason"] == "no_route"


@pytest.mark.parametrize("bad", [b"/%0a{\"status\":200,\"forged\":1}", b"/%1b[2J", b"/\"},{\"x\":\"", b"/\\u0000", b"/%e2%80%ae", b"/%ff%fe"])
def test_paths_cannot_forge_log_lines(gw, bad):
    before = len(gw.access_log())
    ask(gw, raw=b"GET " + bad + b" HTTP/1.1\r\nHost: gw.test\r\nUser-Agent: x\"y\\z\xff\xfe\r\nReferer: \xc3\x28\r\n\r\n")
    ask(gw, "/after", [("X-Correlation-Id", "after-" + bad.hex())])
    until(lambda: [l for l in gw.access_log() if l.get("correlation_id") == "after-" + bad.hex()], "the line after it")
    assert not [l for l in gw.access_log() if "forged" in l]
    assert len(gw.access_log()) - before <= 2
    with gw._log_cond:
        assert not any("\x1b" in l for l in gw.log_lines)


def test_sample_zero_logs_nothing(lo, origin):
    with Gateway(serving(origin, 8081, observe={"access_log": {"format": "json", "path": "-", "sample": 0.0}}), lo) as g:
        with g.client(8081) as c:
            for _ in range(50):
                assert c.request().status == 200
    assert not g.access_log()


@pytest.mark.root
def test_a_full_disk_under_the_log_stops_nothing_and_is_counted(lo, origin, tmp):
    small = f"{tmp}/small"
    os.mkdir(small)
    ns.mount("tmpfs", small, "tmpfs", 0, "size=64k,mode=0777")
    try:
        p = serving(origin, 8081, observe={"access_log": {"format": "json", "path": f"{small}/access.log", "sample": 1.0}})
        with Gateway(p, lo) as g, g.client(8081) as c:
            n = 0

            def full():
                nonlocal n
                for _ in range(50):
                    n += 1
                    assert c.request("GET", "/" + "x" * 500).status == 200
                return g.metric("sluice_access_log_dropped_total") > 0
            until(full, "dropped lines to be counted", timeout=20)
            assert os.path.getsize(f"{small}/access.log") <= 65536
            for _ in range(50):
                assert c.request().status == 200
            for line in open(f"{small}/access.log").read().split("\n")[:-1]:
                json.loads(line)
            os.truncate(f"{small}/access.log", 0)
            until(lambda: c.request("GET", "/again").status == 200 and "/again" in open(f"{small}/access.log").read(), "lines again")
            g.wait_log("the access log is written again; [1-9][0-9]* lines were lost")
            assert g.log().count("cannot be written") == 1
    finally:
        ns.umount(small)


def test_a_format_is_taken_and_changed_by_reload_and_files_are_left_for_new_ones(lo, origin, tmp):
    """Control bytes never get through; a file that was moved away is left at SIGUSR1 and at SIGHUP."""
    path = f"{tmp}/access.log"
    log = {"path": path, "format": '$client [$time] "$method $path" $status "$user_agent" $consumer'}

    def policy(**more):
        return serving(origin, 8081, observe={"access_log": {**log, **more}})

    def lines(of=path):
        try:
            return open(of).read().splitlines()
        except FileNotFoundError:
            return []
    with Gateway(policy(), lo) as g, g.client(8081) as c:
        assert c.request("GET", "/one", [("User-Agent", 'a"b\\c')]).status == 200
        until(lambda: lines(), "a line")
        assert re.fullmatch(r'127\.0\.0\.1 \[20[-0-9T:.]+Z\] "GET /one" 200 "a\\x22b\\x5cc" -', lines()[0]), lines()
        for i, sig in enumerate([signal.SIGUSR1, signal.SIGHUP]):
            os.rename(path, f"{path}.{i}")
            g.signal(sig)
            until(lambda: os.path.exists(path), "a new file")
            until(lambda: c.request("GET", f"/new{i}").status == 200 and any(f"/new{i}" in l for l in lines()), "a line in it")
        assert g.apply(policy(format="json"))[0] == 0
        until(lambda: c.request("GET", "/json").status == 200 and any(l.startswith("{") for l in lines()), "JSON")
        code, out = g.apply(policy(format="$client $nobody"))
        assert code == 1 and "/observe/access_log/format" in out and "$user_agent" in out, out
        assert g.apply(policy(format="no variable"))[0] == 1


def test_status_says_what_runs(gw):
    s = gw.status()
    assert s["version"] >= 1 and len(s["workers"]) == 1
    rc, out = gw.ctl("status")
    assert rc == 0 and str(s["workers"][0]["pid"]) in out
    assert gw.ctl_json("status")["version"] == s["version"]


def test_metrics_verb_and_top_once(gw):
    ask(gw, "/api/1")
    rc, out = gw.ctl("metrics")
    assert rc == 0 and parse_metrics(out)
    rc, out = gw.ctl("top", "--once", "--interval", "200ms")
    assert rc == 0 and "main" in out and "api-v1" in out


def test_no_secret_is_printed(lo, origin, tmp):
    secret = "hunter2-" + os.urandom(8).hex()
    p = serving(origin, 8081, auth={"hs": {"type": "jwt", "algorithms": ["HS256"], "secret": {"$env": "TEST_HS_SECRET"}}}, routes={"all": {"auth": ["hs"]}})
    with Gateway(p, lo, env={"TEST_HS_SECRET": secret * 3}, args=["--log-level", "debug"]) as g:
        with g.client(8081) as c:
            assert c.request("GET", "/", [("Authorization", "Bearer a.b.c")]).status == 401
        for target in ("/v1/status", "/v1/top", "/metrics", "/v1/penalties"):
            assert secret not in g.admin(target).body.decode()
        rc, out = g.ctl("check", g.path)
        assert secret not in out
        assert secret not in g.log()
