# SPDX-License-Identifier: Apache-2.0
"""The policies that the project ships are accepted by `sluicectl check`, with keys and certificates made here."""
import json
import os
import re
import pathlib
import shutil
import subprocess

import pytest
from harness import jose
from harness.gateway import ROOT, SLUICECTL
from harness.policy import yaml_1_2

POLICIES = pathlib.Path(ROOT, "policies")


@pytest.fixture(scope="module")
def shipped(ca, tmp_path_factory):
    """A copy of policies/ with the files beside it that full.yaml asks for."""
    d = tmp_path_factory.mktemp("policies") / "p"
    shutil.copytree(POLICIES, d)
    (d / "pki").mkdir()
    for name, names in (("api", ("api.example.com", "*.example.org")), ("gateway", ("gateway.internal",))):
        cert, key = ca.issue(*names)
        shutil.copy(cert, d / "pki" / f"{name}.pem")
        shutil.copy(key, d / "pki" / f"{name}.key")
    for name in ("internal-ca", "partners"):
        shutil.copy(ca.cert, d / "pki" / f"{name}.pem")
    (d / "pki" / "jwks.json").write_text(json.dumps(jose.jwks(jose.Key("RS256"), jose.Key("ES256"))))
    shutil.copy(d / "pki" / "api.key", d / "pki" / "internal.key")
    (d / "pki" / "introspection.secret").write_text("a secret")
    (d / "pki" / "session.key").write_bytes(os.urandom(32).hex().encode())
    return d


def check(path, *args):
    names = {name for f in POLICIES.rglob("*.yaml") for name in re.findall(r"\$env: (\w+)", f.read_text())}
    env = {**os.environ, **dict.fromkeys(names, "5e" * 32)}
    r = subprocess.run([SLUICECTL, "check", str(path), *args], env=env, capture_output=True, text=True, timeout=60)
    return r.returncode, r.stdout, r.stderr


@pytest.mark.parametrize("name", ["minimal.yaml", "full.yaml"])
def test_shipped_policy_is_accepted(shipped, name):
    rc, out, err = check(shipped / name)
    assert rc == 0 and err == "", err
    assert "ok" in out


def test_a_mistake_is_told_with_its_place(shipped, tmp_path):
    bad = tmp_path / "bad.yaml"
    bad.write_text((POLICIES / "minimal.yaml").read_text().replace("listeners:", "lisetners:"))
    line = 1 + bad.read_text().splitlines().index("lisetners:")
    rc, out, err = check(bad)
    assert rc == 1 and out == ""
    assert f'{bad}:{line}:1: error: /lisetners: unknown key "lisetners"; did you mean "listeners"?\n' in err


def test_json_is_the_same_policy(shipped, tmp_path):
    pytest.importorskip("yaml")
    p = tmp_path / "full.json"
    tree = yaml_1_2((shipped / "full.yaml").read_text())
    for d in ("pki", "consumers.d", "lists"):
        shutil.copytree(shipped / d, tmp_path / d)
    p.write_text(json.dumps(tree))
    rc, out, err = check(p, "--json")
    assert rc == 0, err
    assert json.loads(out)["warnings"] == 0


def test_the_published_schema_is_the_built_one():
    r = subprocess.run([SLUICECTL, "schema"], capture_output=True, text=True, timeout=60)
    assert r.returncode == 0
    assert r.stdout == (POLICIES / "schema.json").read_text()
