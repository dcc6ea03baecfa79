# SPDX-License-Identifier: Apache-2.0
"""sluicectl diff: what apply would change, value by value; exit 0 the same, 2 different, 1 cannot be told."""
import json
import os

import pytest
from harness.gateway import SLUICECTL, Gateway
from harness.origin import Origin
from harness.policy import merge, serving

P = 8080
NEW, OLD = "a-new-secret-that-is-long-enough-0123456789", "the-old-secret-that-is-long-enough-01234567"


@pytest.fixture
def origin(lo):
    with Origin(lo) as o:
        yield o


@pytest.fixture
def policy(origin, tmp):
    secret = f"{tmp}/secret"
    with open(secret, "w") as f:
        f.write(OLD)
    return serving(origin, P, tiers={"partner": {"rate_limit": {"second": 500, "by": "consumer"}}},
                   auth={"corp": {"type": "jwt", "algorithms": ["HS256"], "secret": {"$file": secret}}},
                   consumers={"acme": {"tier": "partner", "keys": ["5e" * 32]}, "gone": {"tier": "partner"}},
                   routes={"all": {"auth": ["corp"], "hosts": ["a.test", "b.test"]}})


def test_what_is_in_force_does_not_differ(lo, policy):
    with Gateway(policy, lo) as g:
        assert g.ctl("diff") == (0, "no difference: version 1 in force is this policy\n")
        assert g.ctl("diff", g.path)[0] == 0
        assert g.ctl_json("diff") == {"differs": False, "version": 1.0, "changes": []}


def test_each_change_is_told_with_its_place_and_apply_ends_it(lo, policy):
    with Gateway(policy, lo) as g:
        new = merge(policy, {"tiers": {"partner": {"rate_limit": {"second": 800}}}, "consumers": {"gone": None, "new": {"tier": "partner"}},
                             "routes": {"all": {"hosts": ["a.test", "c.test"]}}})
        g.write(new)
        rc, out = g.ctl("diff")
        assert rc == 2
        lines = [l.rsplit("  (", 1) for l in out.splitlines()]
        assert sorted(l[0] for l in lines) == sorted([
            "~ /tiers/partner/rate_limit/second: 500 -> 800", '+ /consumers/new/tier: "partner"', '- /consumers/gone/tier: "partner"',
            '~ /routes/all/hosts: ["a.test","b.test"] -> ["a.test","c.test"]'])
        second = next(l[1] for l in lines if "second" in l[0])
        text = open(g.path).read().splitlines()
        file, line, column = second.rstrip(")").rsplit(":", 2)
        assert file == g.path and text[int(line) - 1][int(column) - 1:].startswith('"second": 800')
        assert g.status()["version"] == 1, "diff applies nothing"
        assert g.ctl("apply")[0] == 0
        assert g.ctl("diff")[0] == 0


def test_secrets_differ_without_being_shown(lo, policy, tmp):
    with Gateway(policy, lo) as g:
        with open(f"{tmp}/secret", "w") as f:
            f.write(NEW)
        g.write(merge(policy, {"consumers": {"acme": {"keys": ["a7" * 32]}}}))
        rc, out = g.ctl("diff")
        j = g.host.run([*ctl(g), "diff", "--json"])
        assert rc == 2 and j.returncode == 2
        for text in (out, j.stdout, g.admin("/v1/policy").body.decode()):
            for hidden in (OLD, NEW, "5e5e", "a7a7"):
                assert hidden not in text
        assert "~ /consumers/acme/keys/0: (not shown) (its bytes differ)" in out
        assert f'~ /auth/corp/secret: {{"$file":"{tmp}/secret"}} (its bytes differ)' in out
        assert [(c["change"], c["pointer"]) for c in json.loads(j.stdout)["changes"]] == [
            ("changed", "/auth/corp/secret"), ("changed", "/consumers/acme/keys/0")]


def ctl(g):
    return [SLUICECTL, "--socket", g.socket]


def test_another_path_a_broken_one_and_none(lo, policy, tmp):
    with Gateway(policy, lo) as g:
        with open(f"{tmp}/other.json", "w") as f:
            json.dump({**g.policy, "workers": 2}, f)
        rc, out = g.ctl("diff", f"{tmp}/other.json")
        assert rc == 2 and out == f"~ /workers: 1 -> 2  ({tmp}/other.json:1:{out.rstrip(')' + chr(10)).rsplit(':', 1)[1]})\n"
        with open(f"{tmp}/bad.yaml", "w") as f:
            f.write("version: 1\nlisteners: {\n")
        rc, out = g.ctl("diff", f"{tmp}/bad.yaml")
        assert rc == 1 and f"{tmp}/bad.yaml:" in out and "error" in out
        rc, out = g.ctl("diff", f"{tmp}/absent.yaml")
        assert rc == 1 and "absent.yaml" in out and "No such file" in out
        assert g.ctl("diff", "a", "b")[0] == 2


def test_who_may_not_change_may_not_read_the_policy(lo, policy):
    with Gateway(policy, lo) as g:
        os.chmod(g.socket, 0o666)
        r = lo.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *ctl(g), "diff", g.path])
        assert r.returncode == 1 and "only root" in r.stderr
