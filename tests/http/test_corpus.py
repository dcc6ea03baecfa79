# SPDX-License-Identifier: Apache-2.0
"""
The http1-desync corpus through the real gateway. No Severe request reaches the origin; of each other one the origin gets
at most one message, which has one meaning, and the request hidden in its body is never anything but its body.
SLUICE_DATA names the folder of corpora (default ../shared/data); where it is absent the test is skipped.
"""
import collections
import os
import sys

import pytest
import strict
import wire
from harness.gateway import ROOT

sys.path.insert(0, f"{ROOT}/tests/unit/http")
import corpus  # noqa: E402

DATA = os.path.join(ROOT, os.environ.get("SLUICE_DATA", "../shared/data"))
CASES = list(corpus.desync_cases(DATA)) if os.path.isdir(f"{DATA}/http1-desync") else []
tally = collections.Counter()


@pytest.fixture(scope="module")
def gateway(lo):
    with wire.Wire(lo, listeners={"main": {"timeouts": {"headers": "2s", "body": "2s", "idle": "2s"}}}) as w:
        yield w
    print("http1-desync:", dict(sorted(tally.items())))


@pytest.mark.skipif(not CASES, reason=f"no corpus at {DATA}/http1-desync (SLUICE_DATA)")
@pytest.mark.parametrize("tier,name,data", CASES, ids=[f"{t}: {n}" for t, n, _ in CASES])
def test_desync(gateway, tier, name, data):
    got, origin = gateway.exchange(data)
    forwarded = [m for o in origin for m in strict.requests(o)]
    seen = [m for m in forwarded if m.target != "/sentinel"]
    assert not any("hidden" in m.line + str(m.fields) for m in forwarded), forwarded
    assert len(seen) <= 1, seen
    if tier == "Severe":
        assert forwarded == [], forwarded
    answers = strict.responses(got, [m.method for m in seen] or [data.split(b" ")[0].decode("latin-1")])
    assert answers, "no answer"
    if seen:
        assert answers[0].status == 200, answers
    else:
        assert 400 <= answers[0].status < 600 and len(answers) == 1, answers
    tally[f"{tier} {'forwarded' if seen else 'refused'}"] += 1


@pytest.mark.skipif(not CASES, reason=f"no corpus at {DATA}/http1-desync (SLUICE_DATA)")
def test_every_tier_was_there():
    assert {t for t, _, _ in CASES} == {"Compliant", "Acceptable", "Ambiguous", "Severe"}
