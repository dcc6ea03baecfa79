# SPDX-License-Identifier: Apache-2.0
"""gRPC through the gateway, with a client and a server of python3-grpcio: streams, trailers, statuses, deadlines."""
import json
import os
import subprocess
import sys

import pytest
from harness import h2
from harness.gateway import Gateway
from harness.origin_h2 import OriginH2
from harness.policy import serving, upstream
from harness.wait import until

P = 8080
PEER = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "harness", "grpc_peer.py")


@pytest.fixture(scope="module")
def server(lo):
    p = lo.popen([sys.executable, PEER, "server"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    p.port = int(p.stdout.readline())
    yield p
    p.stdin.close()
    p.wait(30)


@pytest.fixture(scope="module")
def gw(lo, server):
    p = serving(f"127.0.0.1:{server.port}", P, upstreams={"origin": upstream(f"127.0.0.1:{server.port}", protocol="h2"), "dead": upstream("127.0.0.1:9", protocol="h2")},
                listeners={"main": {"protocols": ["h2"], "limits": {"body": "64MiB"}}}, observe={"access_log": {"format": "json", "path": "-"}},
                auth={"keys": {"type": "key", "names": ["apikey"], "in": ["header"]}},
                routes={"all": {"paths": ["/t.S"]}, "limited": {"paths": ["/limited"], "upstream": "origin", "auth": ["public"], "rate_limit": {"minute": 1}},
                        "closed": {"paths": ["/closed"], "upstream": "origin", "auth": ["keys"]}, "dead": {"paths": ["/dead"], "upstream": "dead", "auth": ["public"]}})
    with Gateway(p, lo) as g:
        yield g


def call(lo, *calls):
    out = lo.run([sys.executable, PEER, "client", f"127.0.0.1:{P}", *calls], check=True).stdout
    got = [json.loads(l) for l in out.splitlines()]
    assert len(got) == len(calls)
    return got


def test_unary_with_metadata_both_ways(lo, gw):
    for size in (0, 10, 3 << 20):
        r, = call(lo, f"Echo,{size},x-in=hello")
        assert r["code"] == "OK" and r["same"] and r["size"] == size, r
        assert r["initial"]["x-initial"] == "hello" and r["trailing"]["x-trailing"] == "t" and "x-bin-bin" in r["trailing"], r


def test_streams(lo, gw):
    many, total, chat = call(lo, "Many,1000", "Sum,100000", "Chat,50")
    assert many["code"] == "OK" and many["got"] == [str(i) for i in range(1000)]
    assert total["got"] == "2000000"
    assert chat["got"] == [f"got {i}" for i in range(50)]  # each before the next was sent: nothing is held back


def test_statuses(lo, gw):
    failed, half, unknown = call(lo, "Fail,1", "Half,1", "Nothing,1")
    assert failed["code"] == "INVALID_ARGUMENT" and failed["details"] == "not 100 % of ä" and failed["trailing"]["x-why"] == "because", failed
    assert half["got"] == ["1", "2"] and half["code"] == "ABORTED" and half["details"] == "half way", half
    assert unknown["code"] == "UNIMPLEMENTED"


def test_a_deadline_holds_here_too(lo, gw, server):
    r, = call(lo, "Slow,1")
    assert r["code"] == "DEADLINE_EXCEEDED", r
    assert json.loads(server.stdout.readline())["slow ended"]  # the upstream hears that nobody waits
    line = until(lambda: [l for l in gw.access_log() if l["path"] == "/t.S/Slow"], "its line")[0]
    assert line.get("reason", "") in ("upstream_timeout", "client_gone", "upstream_reset", ""), line  # whose clock rang first


def test_a_deadline_that_only_the_gateway_keeps(lo):
    with OriginH2(lo, answer=lambda r: None) as o:
        p = serving(o.target, 8090, upstreams={"origin": upstream(o.target, protocol="h2")}, listeners={"main": {"protocols": ["h2"]}})
        with Gateway(p, lo) as g, h2.connect(g, 8090, address="127.0.0.1") as c:
            a = c.ask("POST", "/t.S/X", [("content-type", "application/grpc+proto"), ("te", "trailers"), ("grpc-timeout", "300m")], b"\0\0\0\0\0")
            assert (a.status, a.get("grpc-status"), a.get("content-type"), a.body) == (200, "4", "application/grpc", b""), a
            assert o.requests[0].get("grpc-timeout") == "300m" and o.requests[0].get("te") == "trailers"
            until(lambda: o.requests[0].reset_code == 8, "CANCEL at the upstream")


@pytest.mark.parametrize("path,code,reason", [("../dead/X", "UNAVAILABLE", "cannot be reached"), ("../closed/X", "UNAUTHENTICATED", "credentials"),
                                              ("../nowhere/X", "UNIMPLEMENTED", "no route")])
def test_refusals_are_statuses(lo, gw, path, code, reason):
    got = lo.run([sys.executable, "-c", f"""
import grpc, json
with grpc.insecure_channel("127.0.0.1:{P}", options=[("grpc.enable_retries", 0)]) as c:
    try:
        c.unary_unary("{path[2:]}")(b"x", timeout=30)
    except grpc.RpcError as e:
        print(json.dumps([e.code().name, e.details()]))
"""], check=True).stdout
    assert json.loads(got)[0] == code and reason in json.loads(got)[1], got


def test_the_limit_is_a_status(lo, gw):
    got = lo.run([sys.executable, "-c", f"""
import grpc
with grpc.insecure_channel("127.0.0.1:{P}", options=[("grpc.enable_retries", 0)]) as c:
    for _ in range(2):
        try:
            c.unary_unary("/limited/X")(b"x", timeout=30)
        except grpc.RpcError as e:
            print(e.code().name)
"""], check=True).stdout.split()
    assert got == ["UNIMPLEMENTED", "UNAVAILABLE"], got  # the server's own, then ours
