# SPDX-License-Identifier: Apache-2.0
"""sluicectl suggest: traffic that was driven is what is proposed of, and the patch is a policy once it is merged."""
import hashlib
import json
import os

import pytest
import yaml
from harness.gateway import Gateway
from harness.policy import merge, serving
from harness.wait import until

P = 8080
KEYS = {"acme": "acme-key-000000000000", "globex": "globex-key-111111111111", "no: limit": "other-key-2222222222"}


def policy():
    consumers = {n: {"keys": [hashlib.sha256(k.encode()).hexdigest()]} for n, k in KEYS.items()}
    consumers["acme"]["tier"] = "gold"
    consumers["globex"]["rate_limit"] = {"second": 1000000, "hour": 5000000}
    respond = {"status": 204}
    return serving("127.0.0.1:9", P, workers=2, tiers={"gold": {"rate_limit": {"second": 5, "by": "consumer"}}}, consumers=consumers,
                   auth={"keys": {"type": "key", "names": ["apikey"], "in": ["header"]}},
                   routes={"all": None, "api": {"paths": ["/api"], "auth": ["keys"], "respond": respond},
                           "open": {"paths": ["/open"], "auth": ["public"], "respond": respond, "rate_limit": {"second": 900000, "by": "ip"}},
                           "idle": {"paths": ["/idle"], "auth": ["public"], "respond": respond, "rate_limit": {"minute": 7, "by": "header:X-Tenant"}}})


@pytest.fixture(scope="module")
def gw(lo):
    with Gateway(policy(), lo) as g:
        drive(g)
        yield g


def suggest(g, *args):
    """{section/name: {window: figures}} and the whole answer."""
    j = g.ctl_json("suggest", *args)
    return {f"{l['section']}/{l['name']}": {w["window"]: w for w in l["windows"]} for l in j["limits"]}, j


def drive(g):
    """So many seconds, each with some requests of everybody, that four whole ones are seen of each."""
    with g.client(P) as c:
        def some():
            for n, (name, key) in enumerate(KEYS.items()):
                for _ in range(20 - 8 * n):
                    assert c.request("GET", "/api", [("apikey", key)]).status in (204, 429)
            assert c.request("GET", "/open").status == 204
            by, _ = suggest(g)
            return all(by.get(k, {}).get("second", {}).get("busy", 0) >= 4 for k in ("tiers/gold", "consumers/globex", "consumers/no: limit", "routes/api", "routes/open"))
        until(some, "four seconds of evidence", 30)


def test_what_was_driven_is_what_is_seen(gw):
    by, j = suggest(gw)
    gold, own, route = by["tiers/gold"]["second"], by["consumers/globex"]["second"], by["routes/api"]["second"]
    assert gold["limit"] == 5 and gold["bound_of"] >= gold["bound"] >= 1 and gold["peak"] > 5, gold
    assert own["limit"] == 1000000 and own["bound"] == 0 and 0 < own["p99"] <= own["peak"], own
    assert route["limit"] == 0 and route["peak"] == gold["peak"], "of one asker, not of all of them"
    assert by["routes/open"]["second"]["bound"] == 0 and by["routes/idle"]["minute"]["busy"] == 0
    assert "consumers/acme" not in by, "its tier's limit holds it"
    assert j["watched_s"] >= 4 and 0 < j["since_s"] and j["without"] == 0
    assert gw.metric("sluice_evidence_lost_total") == 0 and gw.metric("sluice_evidence_series") >= 7


def test_too_little_is_said_and_proposes_nothing(gw):
    code, out = gw.ctl("suggest")
    assert code == 0 and yaml.safe_load(out) == {}, out
    assert "# tier gold: second: 5 stays: too little was seen" in out and "# route api: no limit: too little was seen" in out
    assert "# route idle: minute: 7 stays: what it counts by is not watched" in out


def lines_of(out):
    return [l.strip() for l in out.splitlines()]


def test_the_patch_says_why_and_merges_into_a_policy_that_check_takes(gw, tmp_path):
    code, out = gw.ctl("suggest", "--windows", "4", "--headroom", "2")
    assert code == 0
    patch = yaml.safe_load(out)
    by, j = suggest(gw, "--windows", "4", "--headroom", "2")
    assert patch["tiers"]["gold"]["rate_limit"]["second"] >= 2 * by["tiers/gold"]["second"]["peak"] > 10
    assert set(patch["consumers"]) == {"globex", "no: limit"} and patch["consumers"]["globex"]["rate_limit"]["second"] < 1000000
    assert patch["routes"]["api"]["rate_limit"] == {"second": patch["tiers"]["gold"]["rate_limit"]["second"]}
    assert patch["routes"]["open"]["rate_limit"]["second"] < 900000 and "idle" not in patch["routes"]
    higher = next(l for l in lines_of(out) if l.startswith("second:") and "now 5:" in l)
    assert "bound in " in higher and "peak " in higher and "p99 " in higher
    with open(gw.path) as f:
        written = f.read().split('"gold": {')[0].count("\n") + 2  # the line of its rate_limit
    assert f"rate_limit:   # now at {gw.path}:{written}" in lines_of(out)
    assert [l for l in lines_of(out) if "now 1000000: never bound" in l] and [l for l in lines_of(out) if "now without a limit" in l]
    code, text = gw.ctl("suggest", "--windows", "4", "--headroom", "2", "--format", "json")
    assert code == 0 and set(json.loads(text)) == {"tiers", "consumers", "routes"}
    merged = {"version": 1, **merge(policy(), patch)}
    path = tmp_path / "merged.json"
    path.write_text(json.dumps(merged))
    code, said = gw.ctl("check", str(path))
    assert code == 0, said


def test_a_wrong_call(gw):
    for args in (["--headroom", "0.5"], ["--headroom", "x"], ["--windows", "0"], ["--format", "toml"], ["more"]):
        assert gw.ctl("suggest", *args)[0] == 2, args


def test_evidence_outlives_a_reload_the_controller_an_upgrade_and_a_restart(gw):
    """What an earlier limit refused says nothing of the one in force; what was asked stays true."""
    _, before = suggest(gw)
    gw.apply(merge(gw.policy, {"tiers": {"gold": {"rate_limit": {"second": 6, "by": "consumer"}}}}))
    by, after = suggest(gw)
    assert by["tiers/gold"]["second"]["limit"] == 6 and by["tiers/gold"]["second"]["bound"] == 0 and by["tiers/gold"]["second"]["peak"] > 5
    os.kill(gw.pids()["controller"], 9)
    gw.wait_ready()
    assert suggest(gw)[0]["tiers/gold"]["second"]["busy"] >= 4
    old = gw.upgrade()
    assert suggest(gw)[0]["tiers/gold"]["second"]["busy"] >= 4
    assert old.wait(20) == 0
    gw.stop()
    gw.start()
    by, j = suggest(gw)
    assert by["tiers/gold"]["second"]["busy"] >= 4 and by["routes/api"]["second"]["peak"] > 5 and j["since_s"] == before["since_s"]
    gw.stop()
    with open(f"{gw.state}/evidence.state", "r+b") as f:
        f.seek(100)
        f.write(b"\xff\xff")
    gw.start()
    gw.wait_log("evidence.state is not used: its checksum is another")
    assert suggest(gw)[0]["tiers/gold"]["second"]["busy"] == 0
