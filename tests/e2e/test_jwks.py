# SPDX-License-Identifier: Apache-2.0
"""Keys fetched from an issuer over HTTPS: how fresh, how often, handed on to whom, and what an issuer cannot do to us."""
import os
import re
import signal
import threading
import time

import pytest
from harness import jose, ns, pki
from harness.gateway import Gateway
from harness.issuer import Issuer
from harness.origin import Origin
from harness.policy import problem, serving
from harness.wait import until

P = 8080
OLD, NEW, THIRD = (jose.Key("ES256", kid=k) for k in ("old", "new", "third"))


@pytest.fixture(scope="module")
def origin(lo):
    with Origin(lo) as o:
        yield o


@pytest.fixture
def issuer(lo, ca):
    with Issuer(ca, host=lo) as i:
        i.keys(OLD)
        yield i


def policy(origin, idp, ca, workers=2, **auth):
    """One provider, and all routes are its."""
    return several(origin, ca, {"corp": {"jwks_uri": idp.url("/jwks"), **auth}}, workers)


def several(origin, ca, providers, workers=1):
    """A route for each provider, under its name; that of "corp" takes all others."""
    common = {"type": "jwt", "algorithms": ["ES256"], "tls": {"ca": ca.cert}}
    auth = {n: {k: v for k, v in {**common, **p}.items() if v is not None} for n, p in providers.items()}
    routes = {n: {"paths": [f"/{n}"], "upstream": "origin", "auth": [n]} for n in auth if n != "corp"}
    return serving(origin, workers=workers, auth=auth, routes={**routes, "all": {"auth": ["corp"]} if "corp" in auth else None})


def ask(gw, key, path="/", **claims):
    with gw.client(P) as c:
        return c.request("GET", path, [("Authorization", "Bearer " + key.token(sub="alice", **claims))])


def jwks(gw, provider="corp"):
    return next(j for j in gw.status()["jwks"] if j["provider"] == provider)


def test_keys_are_fetched_once_and_reach_every_worker(lo, origin, issuer, ca):
    with Gateway(policy(origin, issuer, ca), lo) as gw:
        for n in range(20):
            assert ask(gw, OLD, n=n).status == 200
        state = jwks(gw)
        assert issuer.count("/jwks") == 1 and state["keys"] == 1 and state["failed"] == 0 and state["error"] == "", state
        assert gw.metric("sluice_jwks_keys", provider="corp") == 1 and gw.metric("sluice_jwks_fetches_total", result="ok") == 1
        assert gw.metric("sluice_jwks_age_seconds", provider="corp") < 60
        assert b"Host: 127.0.0.1:" in issuer.heads[0] and b"Authorization" not in issuer.heads[0]


def test_localhost_needs_no_nameserver(lo, origin, issuer, ca):
    with Gateway(policy(origin, issuer, ca, jwks_uri=issuer.url("/jwks", name="localhost")), lo) as gw:
        assert ask(gw, OLD).status == 200


@pytest.fixture
def hosts(tmp_path):
    """Puts lines into this test's own /etc/hosts."""
    here = os.path.realpath("/etc/hosts")
    if not os.path.exists(here):
        pytest.skip("this host has no /etc/hosts to put another one over")
    (tmp_path / "hosts").write_text("127.0.0.1 keys.test\n")
    ns.mount(str(tmp_path / "hosts"), here, None, 0x1000)  # MS_BIND
    yield
    ns.umount(here)


def test_a_name_is_looked_up_in_hosts(lo, hosts, origin, ca):
    with Issuer(ca, "keys.test", host=lo) as idp:
        idp.keys(OLD)
        with Gateway(policy(origin, idp, ca, jwks_uri=idp.url("/jwks", name="keys.test")), lo) as gw:
            assert ask(gw, OLD).status == 200


def test_an_unknown_key_is_sought_once_and_the_request_waits_for_it(lo, origin, issuer, ca):
    with Gateway(policy(origin, issuer, ca, workers=1), lo) as gw:
        assert ask(gw, OLD).status == 200
        issuer.keys(OLD, NEW)
        with gw.client(P) as c:  # all of them before the answer: one fetch
            wire = b"".join(b"GET / HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer %s\r\n\r\n" % NEW.token(n=n).encode() for n in range(8))
            c.send(wire)
            assert [c.read_response().status for _ in range(8)] == [200] * 8
        assert issuer.count("/jwks") == 2 and gw.metric("sluice_jwt_waited_total") >= 1
        for n in range(5):  # within 30 s nobody is asked again
            problem(ask(gw, THIRD, n=n), 401, "no key of this provider")
        assert issuer.count("/jwks") == 2
        assert ask(gw, OLD).status == 200


def test_rotation_and_revocation_under_load(lo, origin, issuer, ca):
    """Two keys take turns under load: no token of a published key is refused, and one of a key that is gone dies with the next refresh."""
    with Gateway(policy(origin, issuer, ca, jwks_refresh="1s"), lo) as gw:
        until(lambda: ask(gw, OLD).status == 200, "the first keys")
        good, stop, refused = [OLD], threading.Event(), []
        tokens = {k.kid: [k.token(n=n) for n in range(50)] for k in (OLD, NEW)}

        def load(seed):
            n = seed
            with gw.client(P) as c:
                while not stop.is_set():
                    key = good[0]
                    n += 1
                    r = c.request("GET", "/", [("Authorization", "Bearer " + tokens[key.kid][n % 50])])
                    if r.status != 200:
                        refused.append((key.kid, r.status, r.body))
        threads = [threading.Thread(target=load, args=(i,)) for i in range(4)]
        for t in threads:
            t.start()
        try:
            with gw.client(P) as c:
                token = OLD.token(n="revoked")
                assert c.request("GET", "/", [("Authorization", "Bearer " + token)]).status == 200
                issuer.keys(OLD, NEW)
                good[0] = NEW
                until(lambda: gw.metric("sluice_jwks_keys", provider="corp") == 2, "the new key")  # the load has gone over to it before
                issuer.keys(NEW)
                asked = issuer.count("/jwks")
                issuer.wait_asked("/jwks", asked + 2)  # the one that began now is answered
                until(lambda: c.request("GET", "/", [("Authorization", "Bearer " + token)]).status == 401, "the old key's end", timeout=5)
        finally:
            stop.set()
            for t in threads:
                t.join()
        assert not refused
        assert ask(gw, OLD).status == 401 and ask(gw, NEW).status == 200


def test_a_new_worker_and_a_new_policy_have_the_keys_at_once(lo, origin, issuer, ca):
    with Gateway(policy(origin, issuer, ca, workers=1), lo) as gw:
        assert ask(gw, OLD).status == 200
        waited = gw.metric("sluice_jwt_waited_total")
        pid = gw.pids()["workers"][0]
        os.kill(pid, signal.SIGKILL)
        until(lambda: gw.pids()["workers"][0] != pid and ask(gw, OLD).status == 200, "the next worker")
        assert gw.apply(policy(origin, issuer, ca, workers=1, clock_skew="5s"))[0] == 0
        assert ask(gw, OLD).status == 200
        assert issuer.count("/jwks") == 1 and gw.metric("sluice_jwt_waited_total") == waited
        pid = gw.pids()["controller"]
        os.kill(pid, signal.SIGKILL)
        assert ask(gw, OLD, n=2).status == 200  # workers need no controller
        issuer.wait_asked("/jwks", 2)
        # another URL is another source: what the first one said counts for nothing
        issuer.keys(NEW, path="/other")
        until(lambda: gw.ctl("apply")[0] == 0, "the next controller")
        assert gw.apply(policy(origin, issuer, ca, workers=1, jwks_uri=issuer.url("/other")))[0] == 0
        assert ask(gw, NEW).status == 200 and ask(gw, OLD).status == 401


def test_an_upgrade_and_a_new_controller_take_the_keys_over_with_their_end(lo, origin, ca):
    """The issuer is down from here on: nothing is waited for, and nobody is believed longer than before."""
    with Issuer(ca, host=lo) as idp:
        idp.keys(OLD)
        p = policy(origin, idp, ca, workers=2, jwks_refresh="2s", jwks_stale="8s")
        with Gateway({**p, "drain_timeout": "1s"}, lo) as gw:
            assert ask(gw, OLD).status == 200
            idp.pages["/jwks"] = (500, (), b"")
            old = gw.upgrade()
            for n in range(8):  # by both workers
                assert ask(gw, OLD, n=n).status == 200
            assert gw.metric("sluice_jwt_waited_total") == 0
            state = until(lambda: (lambda s: s if s["failed"] else None)(jwks(gw)), "the new controller to ask in vain")
            assert state["keys"] == 1 and state["age_seconds"] is not None and "500" in state["error"], state
            text = gw.ctl("status")[1]  # provider, keys, age, failed, url, error
            assert re.search(rf"corp +1 +\S+ +[1-9]\d* +{re.escape(idp.url('/jwks'))} +the answer's status is 500", text), text
            gw.wait_log("its keys cannot be fetched, and those from before serve until jwks_stale")
            assert old.wait(60) == 0
            pid = gw.pids()["controller"]
            os.kill(pid, signal.SIGKILL)
            until(lambda: gw.pids()["controller"] != pid and jwks(gw)["keys"] == 1, "the next controller to have them too")
            assert ask(gw, OLD).status == 200
            r = until(lambda: (lambda r: r if r.status != 200 else None)(ask(gw, OLD)), "their end", timeout=20)
            problem(r, 503, "keys_unavailable")
            assert jwks(gw)["keys"] == 0


def test_stale_keys_serve_up_to_their_ceiling(lo, origin, issuer, ca):
    with Gateway(policy(origin, issuer, ca, workers=1, jwks_refresh="1s", jwks_stale="2s"), lo) as gw:
        assert ask(gw, OLD).status == 200
        issuer.pages["/jwks"] = (500, (), b"")
        until(lambda: jwks(gw)["failed"] >= 1, "a failure", timeout=15)
        r = until(lambda: (lambda r: r if r.status != 200 else None)(ask(gw, OLD)), "the ceiling", timeout=20)
        problem(r, 503, "keys_unavailable")
        state = jwks(gw)
        assert state["keys"] == 0 and state["failed"] >= 1 and state["error"] == "the answer's status is 500"
        problem(ask(gw, OLD, exp=1, aud="x"), 503, "keys_unavailable")  # nothing can be said of any token
        issuer.keys(OLD)
        until(lambda: ask(gw, OLD).status == 200, "the keys again", timeout=20)


def test_cache_control_within_bounds(lo, origin, issuer, ca):
    """max-age shorter than jwks_refresh is honoured, one that is longer is not."""
    issuer.keys(OLD, headers=[("Cache-Control", "public, max-age=86400")])
    with Gateway(policy(origin, issuer, ca, workers=1, jwks_refresh="1s"), lo):
        issuer.wait_asked("/jwks", 3)


def test_discovery(lo, origin, issuer, ca):
    def publish(tenant, document):
        issuer.pages[f"/{tenant}/.well-known/openid-configuration"] = (200, (), document)
    good = {"issuer": issuer.url("/corp"), "jwks_uri": issuer.url("/jwks")}
    wrong = {"other": ({**good, "issuer": "https://other"}, "another issuer's"),
             "none": ({"issuer": issuer.url("/none")}, "names no jwks_uri"),
             "http": ({"issuer": issuer.url("/http"), "jwks_uri": "http://127.0.0.1/jwks"}, "no https URL"),
             "list": ([], "no JSON object"),
             "private": ({"issuer": issuer.url("/private"), "jwks_uri": f"https://127.0.0.1:{issuer.port + 1}/jwks"}, "does not name this host")}
    publish("corp", good)
    for tenant, (document, _) in wrong.items():
        publish(tenant, document)
    with Gateway(several(origin, ca, {t: {"issuer": issuer.url(f"/{t}")} for t in ["corp", *wrong]}), lo) as gw:
        assert ask(gw, OLD, iss=good["issuer"]).status == 200
        assert ask(gw, OLD, iss="https://other").status == 401
        for tenant, (_, why) in wrong.items():
            until(lambda: why in jwks(gw, tenant)["error"], f"{tenant}: {why}")
            problem(ask(gw, OLD, path=f"/{tenant}", iss=issuer.url(f"/{tenant}")), 503, "keys_unavailable")


def drip(c, path):
    c.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{")
    try:
        for _ in range(600):
            c.sendall(b" ")
            time.sleep(0.05)
    except OSError:
        pass


def raw(data):
    return lambda c, path: c.sendall(data)


def redirect(to):
    return 302, [("Location", to)], b""


def private(idp):
    return redirect(f"https://127.0.0.2:{idp.port}/ok")


def private_name(idp):
    return redirect(idp.url("/ok", name="localhost"))


HOSTILE = {
    "a body over 1 MiB": ((200, (), b'{"keys": []' + b" " * (1 << 20) + b"}"), "longer than is taken"),
    "an endless body": (lambda c, path: [c.sendall(b"HTTP/1.1 200 OK\r\n\r\n")] + [c.sendall(b" " * 65536) for _ in range(100)], "longer than is taken"),
    "a body byte by byte": (drip, "takes too long"),
    "a head without end": (raw(b"HTTP/1.1 200 OK\r\n" + b"X: " + b"a" * 70000), "header block is too large"),
    "interim answers": (raw(b"HTTP/1.1 103 Hints\r\n\r\n" * 20), "nobody asked for"),
    "two lengths": (raw(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}"), "Content-Length"),
    "a truncated body": (raw(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{}"), "its answer"),
    "no HTTP": (raw(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), "status line"),
    "no JSON": ((200, (), b"<html>"), "no key set"),
    "doubled keys": ((200, (), b'{"keys": [], "keys": []}'), "no key set"),
    "no usable key": ((200, (), {"keys": [{"kty": "RSA", "n": "AQ", "e": "AQAB"}]}), "no key that can verify"),
    "a deep nest": ((200, (), b'{"keys":' + b"[" * 100000 + b"]" * 100000 + b"}"), "no key set"),
    "not found": ((404, (), b""), "status is 404"),
    "a redirect to http": (redirect("http://127.0.0.1/jwks"), "does not begin with https"),
    "a redirect to a file": (redirect("file:///etc/passwd"), "does not begin with https"),
    "a redirect to nowhere": ((302, (), b""), "names no place"),
    "a redirect to a private address": (private, "none of the Internet's"),
    "a redirect to a private address by name": (private_name, "none of the Internet's"),
    "a redirect to link-local": (redirect("https://169.254.169.254/latest/meta-data"), "none of the Internet's"),
    "redirects in a circle": (lambda c, path: c.sendall(f"HTTP/1.1 302 X\r\nLocation: {path}\r\nContent-Length: 0\r\n\r\n".encode()), "none is followed"),
}


def test_what_a_hostile_issuer_cannot_do(lo, origin, issuer, ca):
    """Each answer is refused within its bounds, told by its name, and the keys from before serve on."""
    issuer.keys(OLD, path="/ok")
    providers = {f"p{i}": {"jwks_uri": issuer.url(f"/jwks/{i}"), "jwks_refresh": "1s", "jwks_timeout": "2s"} for i in range(len(HOSTILE))}
    for i in range(len(HOSTILE)):
        issuer.keys(OLD, path=f"/jwks/{i}")
    with Gateway(several(origin, ca, providers), lo) as gw:
        for name in providers:
            assert ask(gw, OLD, path=f"/{name}").status == 200
        for i, (page, _) in enumerate(HOSTILE.values()):
            issuer.pages[f"/jwks/{i}"] = page(issuer) if page in (private, private_name) else page
        for i, (what, (_, why)) in enumerate(HOSTILE.items()):
            until(lambda: why in jwks(gw, f"p{i}")["error"], what, timeout=30)
        for name in providers:
            assert jwks(gw, name)["keys"] == 1 and ask(gw, OLD, path=f"/{name}", n=2).status == 200
        assert gw.metric("sluice_jwks_fetches_total", result="failed") >= len(HOSTILE)
        assert len(gw.pids()["workers"]) == 1 and gw.metric("sluice_worker_restarts_total") == 0


def test_redirects_that_are_followed(lo, origin, issuer, ca):
    issuer.keys(OLD, path="/ok")
    issuer.pages["/jwks"] = redirect("/there")
    issuer.pages["/there"] = redirect(issuer.url("/ok"))
    with Gateway(policy(origin, issuer, ca, workers=1), lo) as gw:
        assert ask(gw, OLD).status == 200
        issuer.pages["/jwks"] = redirect(issuer.url("/ok", name="localhost"))
        issuer.keys(NEW, path="/ok")
        assert gw.apply(policy(origin, issuer, ca, workers=1, jwks_uri=issuer.url("/jwks?2"), jwks_redirects="none"))[0] == 0
        issuer.pages["/jwks?2"] = issuer.pages["/jwks"]
        until(lambda: jwks(gw)["failed"] > 0, "a redirect refused")
        issuer.pages["/jwks?3"] = issuer.pages["/jwks"]
        assert gw.apply(policy(origin, issuer, ca, workers=1, jwks_uri=issuer.url("/jwks?3"), jwks_redirects="any"))[0] == 0
        assert ask(gw, NEW).status == 200


@pytest.mark.parametrize("what", ["another authority", "another name", "expired", "plain"])
def test_the_issuer_is_verified(lo, origin, ca, tmp_path, what):
    other = pki.CA(tmp_path / "other")
    signer = other if what == "another authority" else ca
    names = ["example.com"] if what == "another name" else []
    with Issuer(signer, *names, host=lo, **({"days": -2} if what == "expired" else {})) as i:
        i.keys(OLD)
        uri = i.url("/jwks")
        if what == "plain":
            uri = f"https://{origin.target}/jwks"
        with Gateway(policy(origin, i, ca, workers=1, jwks_uri=uri, jwks_timeout="1s"), lo) as gw:
            until(lambda: jwks(gw)["failed"] >= 1, "the failure")
            problem(ask(gw, OLD), 503, "keys_unavailable")
            assert "TLS handshake" in jwks(gw)["error"] and i.count("/jwks") == 0
            assert gw.log().count("its keys cannot be fetched") == 1
