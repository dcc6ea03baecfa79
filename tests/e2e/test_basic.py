# SPDX-License-Identifier: Apache-2.0
"""Users and passwords: hashed once a minute, off the event loop, in a bounded queue; what is wrong is refused in every spelling."""
import base64
import json
import subprocess
import threading

import pytest
from harness.client import basic
from harness.gateway import SLUICECTL, Gateway
from harness.origin import Origin
from harness.policy import problem, serving
from harness.wait import until

P, OTHER = 8080, 8081
BCRYPT = "$2b$04$8AQKC0hbyiwQOZanlXXLqOn2g0.lXGAIug.vmVmjen5krFdVWFnwS"  # open sesame
YESCRYPT = "$y$j75$abcdefghijklmnop$dFOTGniyo0YtDSGdf6Y/3z8scnvBRF816uyLp8QZdW8"  # pass:word
SLOW = "$2b$11$C0Quunounab7zpMgTp8cKeAJ8YHekkJt9y1r.7rScEttAvmvd2ayW"  # slow


@pytest.fixture(scope="module")
def origin(lo):
    with Origin(lo) as o:
        yield o


def policy(origin, **over):
    return serving(origin, **{**dict(
        auth={"people": {"type": "basic", "realm": "the works"}, "uncached": {"type": "basic", "cache": "0s", "hide": False},
              "keys": {"type": "key"}},
        consumers={"acme": {"basic": {"alice": BCRYPT, "bob": YESCRYPT}, "groups": ["eu"]}, "globex": {"basic": {"carol": SLOW}}},
        routes={"all": {"auth": ["people"]}, "any": {"paths": ["/any"], "upstream": "origin", "auth": ["keys", "people"]},
                "uncached": {"paths": ["/uncached"], "upstream": "origin", "auth": ["uncached"]},
                "group": {"paths": ["/group"], "upstream": "origin", "auth": ["people"], "require": {"groups": ["eu"]}}}), **over})


@pytest.fixture(scope="module")
def gw(lo, origin):
    with Gateway(policy(origin), lo) as g:
        yield g


@pytest.fixture
def c(gw):
    with gw.client(P) as client:
        yield client


def hashed(gw):
    return gw.metric("sluice_passwords_hashed_total")


@pytest.mark.parametrize("user,password", [("alice", "open sesame"), ("bob", "pass:word")])
def test_a_password_is_hashed_once(gw, c, user, password):
    before = hashed(gw)
    for _ in range(20):
        r = c.request("GET", "/", basic(user, password))
        assert r.status == 200 and "authorization" not in [n.lower() for n, _ in r.json()["headers"]], r
    assert hashed(gw) == before + 1


WRONG = {
    "another password": basic("alice", "open sesamE"),
    "a password and more": basic("alice", "open sesame "),
    "no password": basic("alice", ""),
    "the hash": basic("alice", BCRYPT),
    "an unknown user": basic("mallory", "open sesame"),
    "no user": basic("", "open sesame"),
    "another's password": basic("bob", "open sesame"),
    "a NUL": basic(b"alice", b"open sesame\0"),
    "a NUL before": basic(b"alice\0", b"open sesame"),
    "no colon": [("Authorization", "Basic " + base64.b64encode(b"alice").decode())],
    "no base64": [("Authorization", "Basic !!!!")],
    "no padding": [("Authorization", basic("alice", "open sesame")[0][1].rstrip("=") + "A")],
    "url alphabet": [("Authorization", "Basic YWxpY2U6_-__")],
    "too long": basic("alice", "x" * 600),
    "much too long": basic("alice", "x" * 9000),
    "twice": basic("alice", "open sesame") + basic("alice", "open sesame"),
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_credentials(gw, c, what):
    r = c.request("GET", "/", WRONG[what])
    problem(r, 401, "invalid_password")
    assert r.get("WWW-Authenticate") == 'Basic realm="the works", charset="UTF-8"'


def test_what_is_wrong_costs_one_hash_as_well(gw, c):
    """An unknown user too: who is there must not be told by time."""
    for user in ("alice", "nobody"):
        before = hashed(gw)
        for _ in range(10):
            problem(c.request("GET", "/", basic(user, "guess for once")), 401, "invalid_password")
        assert hashed(gw) == before + 1


def test_no_credentials_and_other_schemes(c):
    r = c.request("GET", "/any")
    problem(r, 401, "no_credentials")
    assert r.get("WWW-Authenticate") == 'Key realm="sluice", Basic realm="the works", charset="UTF-8"'
    problem(c.request("GET", "/", [("Authorization", "Bearer abc")]), 401, "no_credentials")
    assert c.request("GET", "/any", basic("alice", "open sesame", scheme="bAsIc")).status == 200


def test_consumers_and_groups(c):
    assert c.request("GET", "/group", basic("alice", "open sesame")).status == 200
    problem(c.request("GET", "/group", basic("carol", "slow")), 403, "forbidden_group")


def test_without_a_cache_each_request_is_hashed_and_hide_is_a_choice(gw, c):
    before = hashed(gw)
    for _ in range(3):
        r = c.request("GET", "/uncached", basic("alice", "open sesame"))
        assert r.status == 200 and list(basic("alice", "open sesame")[0]) in r.json()["headers"]
    assert hashed(gw) == before + 3


def test_the_loop_goes_on_and_the_queue_is_bounded(lo, origin):
    """While slow passwords are hashed others are served; past the queue's end the answer is 503, and nobody waits for ever."""
    with Gateway(policy(origin, port=OTHER), lo) as gw:
        clients = [gw.client(OTHER, timeout=60) for _ in range(80)]
        try:
            with gw.client(OTHER) as c:
                assert c.request("GET", "/", basic("alice", "open sesame")).status == 200
                for i, other in enumerate(clients):
                    other.send(b"GET / HTTP/1.1\r\nHost: h\r\nAuthorization: %s\r\n\r\n" % basic("carol", f"guess {i}")[0][1].encode())
                for _ in range(50):  # known ones are not held up
                    assert c.request("GET", "/", basic("alice", "open sesame")).status == 200
                full = until(lambda: gw.metric("sluice_route_refusals_total", reason="auth_overloaded"), "the queue full")
                assert 80 - 66 <= full <= 80 - 64, full
        finally:
            for other in clients:
                other.close()
        assert gw.stop(timeout=60) == 0  # who asked has gone, and what is still in the queue is hashed for nobody


def test_one_client_on_many_connections_costs_one_hash(gw):
    before, results = hashed(gw), []

    def one():
        with gw.client(P, timeout=30) as c:
            results.append(c.request("GET", "/", basic("carol", "slow")).status)
    threads = [threading.Thread(target=one) for _ in range(16)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert results == [200] * 16 and hashed(gw) <= before + 1


def test_a_reload_takes_a_password_back(lo, origin):
    with Gateway(policy(origin, port=OTHER), lo) as gw:
        with gw.client(OTHER) as c:
            assert c.request("GET", "/", basic("alice", "open sesame")).status == 200
            assert gw.apply(policy(origin, port=OTHER, consumers={"acme": {"basic": {"alice": YESCRYPT}}}))[0] == 0
            problem(c.request("GET", "/", basic("alice", "open sesame")), 401, "invalid_password")
            assert c.request("GET", "/", basic("alice", "pass:word")).status == 200


@pytest.mark.parametrize("hash,why", [("secret", "no hash of crypt"), ("$argon2id$v=19$m=65536,t=3,p=4$c2FsdHNhbHQ$aGFzaA", "does not know argon2"),
                                      ("$1$abcdefgh$G0TRJ8hyVYv2gSNPRpvpb/", "long broken"), ("$2b$12$", "is not whole"), (BCRYPT[:-1], "is not whole"), ("$nosuch$abc$def", "does not know this hash"), ("ab01FAX.bQRSU", "long broken")])
def test_check_knows_the_systems_hashes(lo, origin, tmp_path, hash, why):
    path = tmp_path / "p.json"
    path.write_text(json.dumps({"version": 1, **policy(origin, consumers={"acme": {"basic": {"alice": hash}}})}))
    r = subprocess.run([SLUICECTL, "check", str(path)], capture_output=True, text=True)
    assert r.returncode == 1 and why in r.stderr and (len(hash) < 8 or hash not in r.stderr), r
