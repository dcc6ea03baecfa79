# SPDX-License-Identifier: Apache-2.0
"""Whatever an operator gets wrong is said clearly, at once, and changes nothing."""
import json
import os
import re
import subprocess

import pytest
from harness.gateway import ROOT, SAN, SLUICECTL, SLUICED, Gateway
from harness.origin import Origin
from harness.policy import serving

P = 8080
GOOD = {"version": 1, "listeners": {"main": {"bind": [f"127.0.0.1:{P}"]}}, "upstreams": {"o": {"targets": [{"address": "127.0.0.1:9"}]}},
        "routes": {"r": {"upstream": "o", "auth": ["public"]}}}


def run(lo, *args, **kw):
    env = {**os.environ, "SLUICE_SOCKET": "/nonexistent/admin.sock"}
    env.pop("ASAN_OPTIONS", None)
    r = lo.run(list(args), env=env, **kw)
    assert r.returncode >= 0, f"{args}: killed by signal {-r.returncode}\n{r.stderr}"
    assert "Sanitizer" not in r.stderr and "runtime error" not in r.stderr, r.stderr
    return r


def check(lo, tmp, text, name="p.yaml"):
    path = f"{tmp}/{name}"
    with open(path, "wb") as f:
        f.write(text if isinstance(text, bytes) else text.encode())
    r = run(lo, SLUICECTL, "check", path)
    return r.returncode, r.stdout + r.stderr


@pytest.mark.parametrize("args", [["--nosuch"], [], ["--policy"], ["--policy", "x", "--log-level", "shouting"], ["--policy", "a", "extra"]])
def test_daemon_arguments(lo, args):
    r = run(lo, SLUICED, *args)
    assert r.returncode == 2 and re.search("usage|log-level is error, warning", r.stderr) and not r.stdout


@pytest.mark.parametrize("program", [SLUICED, SLUICECTL])
@pytest.mark.parametrize("arg,want", [("--help", "usage"), ("--version", r"\d+\.\d+\.\d+")])
def test_help_and_version(lo, program, arg, want):
    r = run(lo, program, arg)
    assert r.returncode == 0 and re.search(want, r.stdout.lower()) and not r.stderr


@pytest.mark.parametrize("args", [[], ["frobnicate"], ["deny"], ["deny", "1.2.3.4", "--for"], ["check"], ["--socket"], ["status", "extra"], ["forget", "nonsense"]])
def test_ctl_arguments(lo, args):
    r = run(lo, SLUICECTL, *args)
    assert r.returncode == 2 and r.stderr and not r.stdout


@pytest.mark.parametrize("verb", [["status"], ["top", "--once"], ["metrics"], ["penalties"], ["deny", "192.0.2.1"], ["apply"]])
def test_no_daemon_is_said(lo, verb):
    r = run(lo, SLUICECTL, *verb)
    assert r.returncode == 1 and "/nonexistent/admin.sock" in r.stderr and not r.stdout


@pytest.mark.parametrize("path", ["/nonexistent/policy.yaml", "/dev/null", "/proc/self/mem", "/"])
def test_policy_paths(lo, path, tmp):
    for args in ([SLUICECTL, "check", path], [SLUICED, "--policy", path, "--state", tmp]):
        r = run(lo, *args)
        assert r.returncode == 1 and r.stderr, (args, r)


def test_the_good_policy_is_good(lo, tmp):
    assert check(lo, tmp, json.dumps(GOOD)) [0] == 0


BAD = {
    "empty": ("", None),
    "not a mapping": ("[1, 2]", ":1:1: error:"),
    "yaml syntax": ("version: 1\nroutes: {a: [}\n", ":2:"),
    "json syntax": ('{"version": 1,\n "routes": {,}}', ":2:"),
    "binary": (bytes(range(256)) * 40, "error"),
    "no version": ("listeners: {}\n", "version"),
    "wrong version": ("version: 7\n", ":1:10: error: /version"),
    "unknown key": ("version: 1\nlistners: {}\n", "did you mean"),
    "doubled key": ("version: 1\nlisteners: {}\nlisteners: {}\n", ":3:1: error:"),
    "key not built yet": ("version: 1\ncluster: { redis: \"redis://x\" }\n", "/cluster"),
    "unknown protocol": ("version: 1\nlisteners: {m: {bind: [\"127.0.0.1:1\"], protocols: [h3]}}\n", "/listeners/m/protocols/0"),
    "wrong type": ("version: 1\nlisteners: 7\n", ":2:12: error: /listeners"),
    "bad duration": ("version: 1\nlisteners:\n  m:\n    bind: [\"127.0.0.1:1\"]\n    timeouts: { idle: soon }\n", ":5:23: error: /listeners/m/timeouts/idle"),
    "bad size": ("version: 1\nlisteners:\n  m:\n    bind: [\"127.0.0.1:1\"]\n    limits: { body: 8Mib }\n", ":5:"),
    "bad address": ("version: 1\nlisteners:\n  m:\n    bind: [\"127.0.0.1:99999\"]\n", ":4:12: error: /listeners/m/bind/0"),
    "dangling upstream": (json.dumps({**GOOD, "routes": {"r": {"upstream": "nope", "auth": ["public"]}}}, indent=1), "nope"),
    "dangling auth": (json.dumps({**GOOD, "routes": {"r": {"upstream": "o", "auth": ["nope"]}}}, indent=1), "nope"),
    "route without auth": (json.dumps({**GOOD, "routes": {"r": {"upstream": "o"}}}, indent=1), "auth"),
    "two actions": (json.dumps({**GOOD, "routes": {"r": {"upstream": "o", "respond": {"status": 200}, "auth": ["public"]}}}, indent=1), "/routes/r"),
    "bad regex": (json.dumps({**GOOD, "routes": {"r": {"upstream": "o", "paths": ["~^/(a"], "auth": ["public"]}}}, indent=1), "/routes/r/paths/0"),
    "bad method": (json.dumps({**GOOD, "routes": {"r": {"upstream": "o", "methods": ["GE T"], "auth": ["public"]}}}, indent=1), "/routes/r/methods/0"),
    "header splitting": (json.dumps({**GOOD, "routes": {"r": {"upstream": "o", "auth": ["public"], "request": {"headers": {"set": {"X": "a\r\nY: b"}}}}}}, indent=1), "/routes/r/request"),
    "unknown variable": (json.dumps({**GOOD, "routes": {"r": {"upstream": "o", "auth": ["public"], "request": {"headers": {"set": {"X": "$nosuch"}}}}}}, indent=1), "nosuch"),
    "jwt without algorithms": (json.dumps({**GOOD, "auth": {"j": {"type": "jwt", "jwks": {"keys": []}}}}, indent=1), "algorithms"),
    "jwt alg none": (json.dumps({**GOOD, "auth": {"j": {"type": "jwt", "algorithms": ["none"], "jwks": {"keys": []}}}}, indent=1), "/auth/j/algorithms/0"),
    "negative limit": (json.dumps({**GOOD, "tiers": {"t": {"rate_limit": {"second": -1}}}}, indent=1), "/tiers/t/rate_limit/second"),
    "kernel ceiling under the limit": (json.dumps({**GOOD, "tiers": {"t": {"rate_limit": {"second": 5}, "kernel": {"headroom": 0.5}}}}, indent=1), "/tiers/t/kernel/headroom"),
    "missing env": (json.dumps({**GOOD, "auth": {"j": {"type": "jwt", "algorithms": ["HS256"], "secret": {"$env": "SL_NOT_SET_AT_ALL"}}}}, indent=1), "SL_NOT_SET_AT_ALL"),
    "bad cidr": (json.dumps({**GOOD, "kernel": {"interfaces": ["lo"], "deny": ["10.0.0.0/64"]}}, indent=1), "/kernel/deny/0"),
    "anchors that explode": ("version: 1\na: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(f"{c}: &{c} [" + ",".join(f"*{p}" for _ in range(9)) + "]\n" for p, c in zip("abcdefgh", "bcdefghi")), "error"),
    "deep nesting": ("version: 1\nroutes: " + "{a: " * 5000 + "1" + "}" * 5000, "error"),
    "deep json": ("[" * 100000, "error"),
    "huge scalar": ("version: 1\nuser: " + "u" * 2_000_000, "error"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_policies(lo, tmp, name):
    text, want = BAD[name]
    rc, out = check(lo, tmp, text, "p.json" if "json" in name else "p.yaml")
    assert rc == 1, out
    # nothing has a place in an empty file
    assert re.search(r"p\.(yaml|json)(:\d+:\d+)?: error: " if name == "empty" else r"p\.(yaml|json):\d+:\d+: error: ", out), out
    assert want is None or want in out, out
    assert len(out) < 200_000


def test_all_errors_in_one_run(lo, tmp):
    rc, out = check(lo, tmp, "version: 1\nx1: 1\nx2: 2\nlisteners: { m: { bind: [nonsense] } }\nroutes: { r: { upstream: u } }\n")
    assert rc == 1 and {int(n) for n in re.findall(r"p\.yaml:(\d+):\d+: error", out)} == {2, 3, 4, 5}, out


def test_includes_and_their_errors(lo, tmp):
    os.mkdir(f"{tmp}/more.d")
    with open(f"{tmp}/more.d/a.yaml", "w") as f:
        f.write("routes:\n  r: { upstream: o, auth: [public] }\n")
    with open(f"{tmp}/more.d/b.yaml", "w") as f:
        f.write("routes:\n  s: { upstream: nowhere, auth: [public] }\n")
    main = {k: v for k, v in GOOD.items() if k != "routes"}
    rc, out = check(lo, tmp, json.dumps({**main, "include": ["more.d/a.yaml"]}))
    assert rc == 0, out
    rc, out = check(lo, tmp, json.dumps({**main, "include": ["more.d/*.yaml"]}))
    assert rc == 1 and re.search(r"more\.d/b\.yaml:2:\d+: error: /routes/s/upstream", out), out
    rc, out = check(lo, tmp, json.dumps({**GOOD, "include": ["more.d/a.yaml"]}))
    assert rc == 1 and "p.yaml" in out and "more.d/a.yaml" in out, out  # the same name twice: both places
    with open(f"{tmp}/loop.yaml", "w") as f:
        f.write("include: [loop.yaml]\n")
    rc, out = check(lo, tmp, json.dumps({**GOOD, "include": ["loop.yaml"]}))
    assert rc == 1, out


def test_a_directory_is_merged_in_name_order(lo, tmp):
    d = f"{tmp}/d"
    os.mkdir(d)
    with open(f"{d}/10-main.json", "w") as f:
        json.dump({k: v for k, v in GOOD.items() if k != "routes"}, f)
    with open(f"{d}/20-routes.yml", "w") as f:
        f.write("routes:\n  r: { upstream: o, auth: [public] }\n")
    with open(f"{d}/README.txt", "w") as f:
        f.write("not a policy\n")
    assert run(lo, SLUICECTL, "check", d).returncode == 0


@pytest.mark.parametrize("what", ["no file", "not pem", "key of another", "expired", "empty"])
def test_bad_certificates(lo, tmp, ca, what):
    cert, key = ca.issue("a.test")
    if what == "no file":
        cert = f"{tmp}/none.pem"
    elif what == "not pem":
        cert = f"{tmp}/garbage.pem"
        with open(cert, "wb") as f:
            f.write(os.urandom(500))
    elif what == "key of another":
        key = ca.issue("b.test")[1]
    elif what == "empty":
        cert = f"{tmp}/empty.pem"
        open(cert, "w").close()
    elif what == "expired":
        cert, key = ca.issue("a.test", days=-2)
    p = {**GOOD, "listeners": {"tls": {"bind": ["127.0.0.1:8443"], "tls": {"certificates": [{"cert": cert, "key": {"$file": key}}]}}}}
    rc, out = check(lo, tmp, json.dumps(p, indent=1))
    if what == "expired":
        assert rc == 0 and "expired" in out.lower() and "warning" in out.lower(), out  # it serves, but says so
        return
    assert rc == 1 and re.search(r"p\.yaml:\d+:\d+: error: /listeners/tls/tls/certificates/0", out), out
    assert what != "no file" or cert in out


def test_a_busy_port_is_a_clear_end(lo):
    with Origin(lo) as o, lo.listen(8077):
        g = Gateway(serving(o, 8077), lo, wait=False)
        try:
            assert g.proc.wait(15) == 1
            g._reader.join(5)
            assert "8077" in g.log() and "in use" in g.log(), g.log()
        finally:
            g.kill()
            g._clean()


def test_a_state_directory_that_cannot_be(lo, tmp):
    open(f"{tmp}/file", "w").close()
    path = f"{tmp}/p.json"
    with open(path, "w") as f:
        json.dump(GOOD, f)
    r = run(lo, SLUICED, "--policy", path, "--state", f"{tmp}/file/state")
    assert r.returncode == 1 and f"{tmp}/file" in r.stderr


@pytest.mark.skipif(SAN, reason="says nothing about the daemon's memory")
def test_builds_without_btf(tmp):
    """The kernel programs come out of the minimal header, and load (tests/bpf proves what they do)."""
    r = subprocess.run(["make", "-s", "-C", ROOT, f"BUILD={tmp}/b", "BTF=/nonexistent", f"{tmp}/b/gen/xdp_guard.skel.h", f"{tmp}/b/gen/tc_meter.skel.h"],
                       capture_output=True, text=True)
    assert r.returncode == 0, r.stdout + r.stderr
    assert "vmlinux_min" in r.stdout + r.stderr
    if os.geteuid() == 0:
        for prog in ("xdp_guard", "tc_meter"):
            r = subprocess.run(["bpftool", "prog", "loadall", f"{tmp}/b/bpf/{prog}.bpf.o", f"/sys/fs/bpf/nobtf-{prog}"], capture_output=True, text=True)
            subprocess.run(["rm", "-rf", f"/sys/fs/bpf/nobtf-{prog}"])
            assert r.returncode == 0, r.stderr
