# SPDX-License-Identifier: Apache-2.0
"""
`sluicectl jwt verify` over vectors that others wrote, read in place from $SLUICE_DATA (default ../shared/data): every token that they call
invalid is refused, every valid one of an algorithm that we name is verified; the exceptions stand below by name.
"""
import glob
import json
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest
from harness import jose
from harness.gateway import ROOT, SLUICECTL

DATA = os.path.join(ROOT, os.environ.get("SLUICE_DATA", "../shared/data"))
WYCHEPROOF = f"{DATA}/jose-wycheproof/json_web_signature_test.json"
COOKBOOK = sorted(glob.glob(f"{DATA}/jose-cookbook/*.json"))
# Valid there, refused here: a '?' stands in the token, and a decoder that skips it would accept it. RFC 7515 section 5.2: decoded "following
# the restriction that no ... other additional characters have been used", else the token "MUST be rejected".
LAX = {"InvalidCharacterInsertedInHeader", "InvalidCharacterInsertedInPayload"}
# Invalid there, but letter for letter the token of tcId 357, which is valid: the padding that they are about (RFC 7515 section 2) got lost.
MISLABELLED = {"invalidBase64Padding", "invalidBase64PaddingInPayload"}


def verify(jwks, token, *args):
    return subprocess.run([SLUICECTL, "jwt", "verify", "--jwks", str(jwks), "--token", "-", *args], input=token.encode(), capture_output=True, timeout=60)


def vectors():
    with open(WYCHEPROOF) as f:
        for g in json.load(f)["testGroups"]:
            key = g.get("public") or g.get("private")
            # A key of "alg" PS256 (RFC 7517 section 4.4) that signs by PS384: "each key MUST be used with exactly one algorithm, and this MUST be
            # checked" (RFC 8725 section 3.1), so that it verifies only once it says nothing of itself.
            if g["comment"].startswith("rfc7520") and key.get("alg") == "PS256":
                key = {k: v for k, v in key.items() if k != "alg"}
            for t in g["tests"]:
                yield key, t


@pytest.mark.skipif(not os.path.exists(WYCHEPROOF), reason=f"no vectors at {DATA}/jose-wycheproof (SLUICE_DATA)")
def test_wycheproof(tmp_path):
    def judge(key, t):
        path = tmp_path / f"{t['tcId']}.json"
        path.write_text(json.dumps({"keys": [key]}))
        token = t["jws"] if isinstance(t["jws"], str) else json.dumps(t["jws"])
        r = verify(path, token)
        assert r.returncode in (0, 1), (t, r)
        assert r.returncode == 0 or b"refused: " in r.stderr, (t, r)
        valid = (t["result"] == "valid" and t["comment"] not in LAX) or t["comment"] in MISLABELLED
        return t, valid, r.returncode == 0
    with ThreadPoolExecutor(4) as pool:
        judged = list(pool.map(lambda v: judge(*v), vectors()))
    assert len(judged) > 300
    assert not [t for t, valid, verified in judged if valid != verified]


@pytest.mark.skipif(not COOKBOOK, reason=f"no examples at {DATA}/jose-cookbook (SLUICE_DATA)")
@pytest.mark.parametrize("path", COOKBOOK, ids=[os.path.basename(p) for p in COOKBOOK])
def test_cookbook(tmp_path, path):
    with open(path) as f:
        j = json.load(f)
    (tmp_path / "k").write_text(json.dumps({"keys": [j["input"]["key"]]}))
    compact = j.get("output", {}).get("compact")
    if compact is None:  # RFC 7797: b64=false, of which no compact form verifies
        r = verify(tmp_path / "k", f"{j['signing']['sig-input']}.{j['signing']['sig']}")
        assert r.returncode == 1, r
        return
    r = verify(tmp_path / "k", compact)
    assert r.returncode == 0 and r.stdout.decode() == j["input"]["payload"] + "\n", r
    flipped = compact[:-6] + ("A" if compact[-6] != "A" else "B") + compact[-5:]
    r = verify(tmp_path / "k", flipped)
    assert r.returncode == 1 and b"signature does not verify" in r.stderr, r


@pytest.fixture(scope="module")
def jwks(tmp_path_factory):
    path = tmp_path_factory.mktemp("jwks") / "jwks.json"
    path.write_text(json.dumps(jose.jwks(KEY)))
    return path


KEY = jose.Key("ES256")


def test_json_and_algorithms(jwks):
    r = verify(jwks, KEY.token(sub="alice") + "\n", "--json")
    assert r.returncode == 0 and json.loads(r.stdout)["claims"]["sub"] == "alice"
    r = verify(jwks, KEY.token(), "--json", "--algorithms", "RS256")
    assert r.returncode == 1 and "key set has no key" in json.loads(r.stdout)["reason"]


def test_called_wrongly(jwks, tmp_path):
    for args in (["verify"], ["verify", "--jwks", str(jwks)], ["--jwks", str(jwks), "--token", "-"], ["sign"],
                 ["verify", "--jwks", str(tmp_path / "none"), "--token", "-"], ["verify", "--jwks", "-", "--token", "-"],
                 ["verify", "--jwks", str(jwks), "--token", "-", "--algorithms", "none"]):
        r = subprocess.run([SLUICECTL, "jwt", *args], input=b"", capture_output=True, timeout=60)
        assert r.returncode == 2 and r.stderr, (args, r)


@pytest.mark.parametrize("token", ["." * 1000000, "a" * (1 << 20), KEY.token(pad="x" * (1 << 20))], ids=["dots", "letters", "signed"])
def test_what_is_too_long_is_not_looked_at(jwks, token):
    r = verify(jwks, token)
    assert r.returncode == 1 and b"longer than 16 KiB" in r.stderr, r
