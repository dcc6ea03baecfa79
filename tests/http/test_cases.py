# SPDX-License-Identifier: Apache-2.0
"""Raw bytes through the real gateway: the answers, and exactly what the origin got. The cases are in cases/*.http."""
import cases
import pytest
import strict
import wire

ALL = [c for name in cases.files() for c in cases.load(name)]


@pytest.fixture(scope="module")
def gateway(lo):
    limits = {"headers": "4KiB", "header_count": 20, "body": "64KiB"}
    timeouts = {"headers": "5s", "body": "5s", "idle": "5s"}
    with wire.Wire(lo, listeners={"main": {"limits": limits, "timeouts": timeouts}}) as w:
        yield w


def _same(message, want, where):
    for name, value in want.fields:
        assert message.all(name) == [value], f"{where}: {name} of {message}"
    for name in want.absent:
        assert message.all(name) == [], f"{where}: {name} in {message}"
    assert message.trailers == want.trailers, f"{where}: trailers of {message}"
    if want.body is not None:
        assert message.body == want.body, f"{where}: body of {message}"


def _methods(case):
    return [r.line.split(" ")[0] for r in case.requests]


def _check_responses(case, got):
    methods = _methods(case) if case.requests else [case.sent[0].split(b" ")[0].decode("latin-1")]
    seen = strict.responses(got, methods)
    close = case.responses[-1].close
    if not close:
        assert seen and seen[-1].status == 200 and seen[-1].body == b"ok\n", f"{case.where}: no answer to the sentinel: {seen}"
        seen.pop()
    assert [m.status for m in seen] == [int(r.line) for r in case.responses], f"{case.where}: {seen}"
    for m, want in zip(seen, case.responses):
        assert want.detail in m.body.decode("latin-1"), f"{case.where}: {m}"
        if want.detail:
            assert m.all("Content-Type") == ["application/problem+json"], f"{case.where}: {m}"
        _same(m, want, case.where)
    if close and seen[-1].status >= 200:
        assert seen[-1].all("Connection") == ["close"], f"{case.where}: {seen[-1]}"


def _check_origin(case, got):
    if case.cut:
        assert len(got) == 1 or (not got and len(case.sent) == 1), f"{case.where}: {got}"
        assert not any(b"sentinel" in g for g in got), f"{case.where}: {got}"
        if not got:
            return
        with pytest.raises(strict.Ambiguous, match="cut short|chunk size"):
            strict.requests(got[0])
        return
    if case.nothing:
        assert [g for g in got if strict.requests(g) and strict.requests(g)[0].target != "/sentinel"] == [], case.where
        return
    seen = [m for g in got for m in strict.requests(g) if m.target != "/sentinel"]
    assert [m.line for m in seen] == [r.line for r in case.requests], f"{case.where}: {seen}"
    for m, want in zip(seen, case.requests):
        _same(m, want, case.where)


@pytest.mark.parametrize("case", ALL, ids=[f"{c.where.split('.')[0]}: {c.name}" for c in ALL])
def test_case(gateway, case):
    gateway.reset()
    if case.answer:
        gateway.answer, gateway.answer_close = case.answer, case.answer_close
    got, origin = gateway.exchange(*case.sent)
    _check_responses(case, got)
    _check_origin(case, origin)
