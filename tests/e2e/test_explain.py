# SPDX-License-Identifier: Apache-2.0
"""sluicectl explain and consumers: what would happen, and why, by the policy's lines and the daemon's state."""
import hashlib
import json
import re

import pytest
from harness.gateway import Gateway
from harness.policy import merge, serving

P = 8080
KEY = "acme-key-0000000000"


def policy(**over):
    return merge(serving("127.0.0.1:9", P, workers=1, trusted_proxies=["10.9.0.0/16"],
                         auth={"keys": {"type": "key", "names": ["apikey"], "in": ["header"]}},
                         limits={"in_flight": {"max": 7}},
                         tiers={"gold": {"rate_limit": {"hour": 5, "day": 50, "by": "consumer"}}, "anonymous": {"rate_limit": {"minute": 300, "by": "ip"}}},
                         consumers={"acme": {"tier": "gold", "keys": [hashlib.sha256(KEY.encode()).hexdigest()], "sources": ["198.51.100.0/28"]}, "o'n eil": {}},
                         routes={"all": {"paths": ["/v1"], "auth": ["keys"], "sources": {"deny": ["203.0.113.0/24"]}},
                                 "guests": {"paths": ["/guests"], "auth": ["keys"], "anonymous": "o'n eil", "respond": {"status": 204}},
                                 "live": {"paths": ["/live"], "auth": ["public"], "upstream": "origin", "upgrade": ["websocket"]},
                                 "own": {"paths": ["/own"], "auth": ["public"], "respond": {"status": 204}}}), over)


@pytest.fixture(scope="module")
def gw(lo):
    with Gateway(policy(), lo) as g:
        yield g


def explain(g, *args):
    j = g.ctl_json("explain", *args)
    return j["verdict"], " | ".join(f["says"] for f in j["because"]), j


def line_of(g, text):
    with open(g.path) as f:
        return next(i for i, l in enumerate(f, 1) if text in l)


def test_a_request_by_the_policys_lines(gw):
    verdict, why, j = explain(gw, f"GET http://api.test:{P}/v1/x", "-H", f"apikey: {KEY}")
    assert verdict == "goes to upstream origin, within limits", j
    assert "credentials are those of acme, tier gold" in why and "5 a hour, 50 a day by consumer" in why and "7 requests at once" in why
    taken = next(f for f in j["because"] if f["says"] == "route all takes it")
    assert taken["line"] == line_of(gw, '"all": {') and taken["file"] == gw.path
    assert explain(gw, f"GET http://api.test:{P}/v1/x")[0].startswith("401:")
    assert explain(gw, f"GET http://api.test:{P}/v1/x", "-H", "apikey: wrong")[0].startswith("401:")
    assert explain(gw, f"GET http://api.test:{P}/v2")[0].startswith("404:")
    assert explain(gw, f"GET http://api.test:{P}/own")[0] == "204, answered by route own itself"
    assert explain(gw, f"GET http://api.test:{P}/%00")[0].startswith("400:")
    assert explain(gw, "GET https://api.test/")[0].startswith("nobody listens")
    assert explain(gw, f"GET http://api.test:{P}/v1", "--from", "203.0.113.9")[0].startswith("403:")
    assert gw.ctl("explain", "GET ftp://x/")[0] == 2 and gw.ctl("explain")[0] == 2 and gw.ctl("explain", "x", "-H")[0] == 2


def test_what_becomes_of_an_upgrade(gw):
    upgrade = ("-H", "Connection: Upgrade", "-H", "Upgrade: websocket")
    verdict, why, _ = explain(gw, f"GET http://api.test:{P}/live", *upgrade)
    assert verdict == "goes to upstream origin, within limits" and "the route takes WebSockets: it becomes one where the upstream agrees" in why
    assert "the route takes WebSockets |" in explain(gw, f"GET http://api.test:{P}/live")[1]
    assert "the route takes no WebSockets: it goes on without Upgrade" in explain(gw, f"GET http://api.test:{P}/v1", "-H", f"apikey: {KEY}", *upgrade)[1]
    assert "WebSocket" not in explain(gw, f"GET http://api.test:{P}/v1", "-H", f"apikey: {KEY}")[1]


def test_an_anonymous_consumer(gw):
    verdict, why, j = explain(gw, f"GET http://api.test:{P}/guests")
    assert verdict.startswith("204") and "it has no credentials, and so is of consumer o'n eil, tier anonymous" in why
    said = next(f for f in j["because"] if f["says"] == "without credentials it is of consumer o'n eil")
    assert said["line"] == line_of(gw, '"guests": {')
    assert "credentials are those of acme" in explain(gw, f"GET http://api.test:{P}/guests", "-H", f"apikey: {KEY}")[1]
    assert explain(gw, f"GET http://api.test:{P}/guests", "-H", "apikey: wrong")[0].startswith("401:")
    assert "requests without credentials on route guests are its" in explain(gw, "o'n eil")[1]


def test_a_source(gw):
    verdict, why, _ = explain(gw, "203.0.113.9")
    assert verdict == "reaches the proxy, within limits" and "denies 203.0.113.0/24: 403" in why and "guard is off" in why and "300 a minute by address" in why
    assert "never penalised" in explain(gw, "10.9.1.1")[1]
    assert "sources of consumer acme" in explain(gw, "198.51.100.3")[1]


def test_without_a_daemon_lists_and_limits_of_the_kernel(lo, tmp_path):
    p = {"version": 1, **policy(kernel={"interfaces": ["eth0"], "deny": ["192.0.2.0/24", "2001:db8::/32"], "allow": ["192.0.2.7"], "per_source": {"new_connections": "1000/s"}})}
    path = tmp_path / "p.yaml"
    path.write_text(json.dumps(p, indent=1))
    from harness.gateway import SLUICECTL

    def ask(what):
        r = lo.run([SLUICECTL, "--socket", f"{tmp_path}/none.sock", "explain", "--policy", str(path), what])
        assert r.returncode == 0, r.stderr
        return r.stdout
    deny = path.read_text().split("\n").index('  "deny": [') + 1
    assert f"192.0.2.0/24 is denied  ({path}:{deny})" in ask("192.0.2.9") and "all its packets are dropped" in ask("192.0.2.9")
    assert "passes the kernel without limits" in ask("192.0.2.7")
    assert "2001:db8::/32 is denied" in ask("2001:db8::1")
    assert "1000 a second of new connections" in ask("192.0.3.1")
    path.write_text("version: 2\n")
    r = lo.run([SLUICECTL, "explain", "--policy", str(path), "acme"])
    assert r.returncode == 1 and "p.yaml:1:10: error" in r.stderr


def ask_gateway(g, n):
    with g.client(P) as c:
        return [c.request("GET", "/v1", [("apikey", KEY)]).status for _ in range(n)]


def usage(g, name="acme"):
    return {l["window"]: l for c in g.ctl_json("consumers", "usage", name)["consumers"] for l in c["limits"]}


def test_consumers_usage_and_reset(gw):
    assert ask_gateway(gw, 7)[5:] == [429, 429]
    u = usage(gw)
    assert u["hour"]["remaining"] == 0 and u["day"]["remaining"] == 45 and u["hour"]["admitted"] == 5 and u["hour"]["refused"] == 2, u
    assert 0 < u["hour"]["reset_ms"] <= 3600_000
    verdict, why, _ = explain(gw, "acme")
    assert verdict == "a consumer of tier gold" and "of tier:gold it has 0 of 5 a hour left" in why
    assert re.search(r"acme +gold +tier:gold +hour +5 +0 ", gw.ctl("consumers", "usage")[1])
    rc, out = gw.ctl("consumers", "reset", "acme")
    assert rc == 0 and "full again: 2" in out
    assert usage(gw)["hour"]["remaining"] == 5
    assert ask_gateway(gw, 1)[0] in (502, 503)  # admitted: there is no origin
    assert gw.ctl("consumers", "reset", "o'n eil")[0] == 0 and gw.ctl("consumers", "usage", "o'n eil")[0] == 0
    assert gw.ctl("consumers")[0] == 2
    assert explain(gw, "nobody")[0] == "not in the policy: tier anonymous"
    assert gw.admin("/v1/consumers?x=1").status == 400
