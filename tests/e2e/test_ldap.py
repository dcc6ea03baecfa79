# SPDX-License-Identifier: Apache-2.0
"""Users of a directory, tried by a bind: OpenLDAP's slapd over TLS, and servers that lie. What is typed stays a value; what the directory cannot say is no 401."""
import base64
import os
import signal
import threading

import pytest
from harness import fake_ldap, pki
from harness import slapd as ldap
from harness.client import basic
from harness.gateway import Gateway
from harness.origin import Origin
from harness.policy import problem, serving
from harness.wait import until

P, OTHER = 8080, 8081
SESAME = "open sesame"
ODD = "o'Brien, \"Jim\" + #1 <x>;y\\z=(*)"  # each of them means something in a name or in a filter
LDIF = (ldap.person("alice", SESAME) + ldap.person("Bob", "pass:word") + ldap.person("jörg", "pässword") + ldap.person(ODD, SESAME)
        + ldap.person("carol", SESAME, alias=["caroline"]) + ldap.person("twin", SESAME) + ldap.person("twin", SESAME, ou=f"ou=partners,{ldap.BASE}")
        + ldap.person("dave", SESAME, ou=f"ou=closed,{ldap.BASE}") + ldap.entry(f"uid=nologin,{ldap.PEOPLE}", "inetOrgPerson", uid="nologin", cn="n", sn="n")
        + ldap.group("admins", "alice", ODD) + ldap.group("cn=x,dc=y", "alice") + ldap.group("others", "Bob", ldap.GATEWAY)
        + ldap.entry(f"cn=posix,{ldap.GROUPS}", "posixGroup", cn="posix", gidNumber="7", memberUid="Bob"))


@pytest.fixture(scope="module")
def origin(lo):
    with Origin(lo) as o:
        yield o


@pytest.fixture(scope="module")
def cert(ca):
    return ca.issue("127.0.0.1")


@pytest.fixture(scope="module")
def directory(lo, cert):
    with ldap.Slapd(lo, cert, LDIF) as s:
        yield s


def provider(uri, ca=None, **more):
    """Of ldap:// with an authority: start_tls; without one: insecure."""
    how = {"tls": {"ca": ca.cert}} if ca else {"insecure": True}
    if ca and uri.startswith("ldap:"):
        how["start_tls"] = True
    return {"type": "ldap", "uri": uri, "base_dn": ldap.PEOPLE, "realm": "staff", **how, **more}


def policy(origin, providers, port=P, **over):
    """A route for each provider, under its name, and one below it that only admins may use."""
    routes = {}
    shows = {"headers": {"set": {"X-Consumer": "$consumer", "X-Tier": "$tier"}}}
    for n in providers:
        routes[n] = {"paths": [f"/{n}"], "upstream": "origin", "auth": [n], "request": shows}
        routes[f"{n}-admins"] = {"paths": [f"/{n}/admins"], "upstream": "origin", "auth": [n], "require": {"groups": ["admins", "posix"]}}
    return serving(origin, port=port, **{"auth": providers, "routes": {**routes, "all": None}, "tiers": {"gold": {}},
                                         "consumers": {"alice": {"tier": "gold"}}, **over})


SERVICE = {"bind_dn": ldap.GATEWAY, "bind_password": "of the service"}
GROUPS = {"groups": {"base_dn": ldap.GROUPS}}


@pytest.fixture(scope="module")
def gw(lo, origin, directory, ca):
    plain, tls = directory.url, directory.tls_url
    providers = {
        "direct": provider(tls, ca, **GROUPS),
        "search": provider(plain, ca, **SERVICE, **GROUPS, filter="(objectClass=inetOrgPerson)"),
        "nobody": provider(plain, filter="(sn=*)", groups={"base_dn": ldap.GROUPS, "member": "member:2.5.13.1:"}),
        "posix": provider(plain, groups={"base_dn": ldap.GROUPS, "member": "memberUid"}),
        "whole": provider(plain, **SERVICE, base_dn=ldap.BASE, hide=False),
        "uncached": provider(plain, cache="0s"),
        "closed": provider(plain, base_dn=f"ou=closed,{ldap.BASE}"),
        "stranger": provider(tls, pki.CA(ca.dir, "another CA")),
        "misnamed": provider(f"ldaps://localhost:{directory.tls_port}", ca),
        "locked-out": provider(plain, bind_dn=ldap.GATEWAY, bind_password="not it"),
    }
    with Gateway(policy(origin, providers), lo) as g:
        yield g


@pytest.fixture
def c(gw):
    with gw.client(P) as client:
        yield client


def servers(gw, name):
    return next(s for s in gw.status()["auth_servers"] if s["provider"] == name)


WAYS = ["direct", "search", "nobody"]


@pytest.mark.parametrize("way", WAYS)
def test_a_password_is_asked_about_once(gw, c, directory, way):
    before = directory.binds("uid=alice")
    for _ in range(20):
        r = c.request("GET", f"/{way}", basic("alice", SESAME))
        assert r.status == 200, r
        headers = {n.lower(): v for n, v in r.json()["headers"]}
        assert headers["x-consumer"] == "alice" and headers["x-tier"] == "gold" and "authorization" not in headers
    assert directory.binds("uid=alice") == before + 1


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("typed,name,password", [("ALICE", "alice", SESAME), ("bob", "Bob", "pass:word"), (" alice ", "alice", SESAME), ("JÖRG", "jörg", "pässword"), (ODD, ODD, SESAME)])
def test_one_user_is_one_consumer_however_he_types_it(c, way, typed, name, password):
    """The directory does not mind case and spaces: a limit by consumer must not be had twice for that."""
    r = c.request("GET", f"/{way}", basic(typed, password))
    assert r.status == 200, r
    assert dict((n.lower(), v) for n, v in r.json()["headers"])["x-consumer"].encode("latin-1").decode() == name


def test_of_several_names_the_one_that_was_meant(c):
    for name in ("carol", "Caroline"):
        r = c.request("GET", "/search", basic(name, SESAME))
        assert r.status == 200 and ["X-Consumer", name.lower()] in r.json()["headers"], r


WRONG = {
    "another password": basic("alice", "open sesamE"),
    "no password": basic("alice", ""),
    "no user": basic("", SESAME),
    "neither": basic("", ""),
    "an unknown user": basic("mallory", SESAME),
    "another's password": basic("bob", SESAME),
    "without a password of his own": basic("nologin", SESAME),
    "any user": basic("*", SESAME),
    "a user that begins so": basic("ali*", SESAME),
    "a filter": basic("alice)(uid=*", SESAME),
    "a filter that is always true": basic("*)(|(objectClass=*", SESAME),
    "a closed filter": basic("alice))(&(uid=bob", SESAME),
    "a name": basic("alice,ou=people,dc=example,dc=org", SESAME),
    "a name of two parts": basic("alice+cn=alice", SESAME),
    "the service's name": basic("x,cn=gateway", "of the service"),
    "escaped by himself": basic("\\61lice", SESAME),
    "a NUL": basic(b"alice\0", SESAME.encode()),
    "a NUL behind the password": basic(b"alice", SESAME.encode() + b"\0"),
    "no UTF-8": basic(b"al\xffice", SESAME.encode()),
    "no colon": [("Authorization", "Basic " + base64.b64encode(b"alice").decode())],
    "no base64": [("Authorization", "Basic !!!!")],
    "too long": basic("alice", "x" * 600),
    "much too long": basic("alice", "x" * 9000),
    "twice": basic("alice", SESAME) + basic("alice", SESAME),
}


@pytest.mark.parametrize("way", WAYS)
def test_wrong_credentials(c, way):
    for what, headers in WRONG.items():
        r = c.request("GET", f"/{way}", headers)
        assert r.status == 401, (what, r)
        problem(r, 401, "invalid_password")
        assert r.get("WWW-Authenticate") == 'Basic realm="staff", charset="UTF-8"'


@pytest.mark.parametrize("way", WAYS)
def test_an_empty_password_is_not_even_asked_about(c, directory, way):
    """A bind with it succeeds, as nobody (RFC 4513 section 5.1.2)."""
    before = directory.binds("uid=alice")
    problem(c.request("GET", f"/{way}", basic("alice", "")), 401, "invalid_password")
    assert directory.binds("uid=alice") == before


def test_a_wrong_password_is_asked_about_once(c, directory):
    before = directory.binds("uid=alice")
    for _ in range(10):
        problem(c.request("GET", "/search", basic("alice", "guess")), 401, "invalid_password")
    assert directory.binds("uid=alice") == before + 1


def test_a_name_that_two_have_is_nobodys(c):
    problem(c.request("GET", "/whole", basic("twin", SESAME)), 401, "invalid_password")


def test_hide_is_a_choice(c):
    headers = basic("alice", SESAME)
    r = c.request("GET", "/whole", headers)
    assert r.status == 200 and list(headers[0]) in r.json()["headers"], r


def test_without_a_cache_each_request_is_a_bind(c, directory):
    before = directory.binds("uid=alice")
    for _ in range(3):
        assert c.request("GET", "/uncached", basic("alice", SESAME)).status == 200
    assert directory.binds("uid=alice") == before + 3


@pytest.mark.parametrize("way", WAYS)
def test_groups_of_the_directory(c, way):
    for user, password in (("alice", SESAME), (ODD, SESAME)):
        assert c.request("GET", f"/{way}/admins", basic(user, password)).status == 200
    problem(c.request("GET", f"/{way}/admins", basic("bob", "pass:word")), 403, "forbidden_group")


def test_groups_that_hold_user_names(c):
    assert c.request("GET", "/posix/admins", basic("BOB", "pass:word")).status == 200
    problem(c.request("GET", "/posix/admins", basic("alice", SESAME)), 403, "forbidden_group")


FAILING = {"stranger": "local issuer certificate", "misnamed": "mismatch", "closed": "cannot read his own entry", "locked-out": "bind_dn: Invalid credentials"}


@pytest.mark.parametrize("name", FAILING)
def test_what_the_directory_cannot_say_is_no_401(gw, c, directory, name):
    said = len(directory.said())
    r = c.request("GET", f"/{name}", basic("dave" if name == "closed" else "alice", SESAME))
    problem(r, 503, "auth_unavailable")
    assert r.get("WWW-Authenticate") is None
    assert FAILING[name] in servers(gw, name)["error"], servers(gw, name)
    if name in ("stranger", "misnamed"):
        assert "BIND" not in directory.said()[said:]  # of who could be anybody, nothing is asked


def test_no_credentials(c):
    r = c.request("GET", "/direct")
    problem(r, 401, "no_credentials")
    assert r.get("WWW-Authenticate") == 'Basic realm="staff", charset="UTF-8"'


def test_what_is_told_of_it(gw, c):
    assert c.request("GET", "/direct", basic("alice", SESAME)).status == 200
    problem(c.request("GET", "/direct", basic("alice", "told")), 401, "invalid_password")
    s = servers(gw, "direct")
    row = next(l for l in gw.ctl("status")[1].splitlines() if l.split()[:1] == ["direct"])
    assert row.split()[3:] == ["0", s["url"], "-"] and int(row.split()[1]) == s["answered"] > 0, row
    problem(c.request("GET", "/stranger", basic("alice", "told")), 503, "auth_unavailable")
    row = next(l for l in gw.ctl("status")[1].splitlines() if l.split()[:1] == ["stranger"])
    assert "certificate" in row, row
    assert s["kind"] == "ldap" and s["url"].startswith("ldaps://") and s["error"] == "" and 1 <= s["connections"] <= 4, s
    assert gw.metric("sluice_errands_total", provider="direct", result="ok") >= 1
    assert gw.metric("sluice_errands_total", provider="direct", result="refused") >= 1
    assert gw.metric("sluice_errand_server_connections", provider="direct") == s["connections"] <= gw.metric("sluice_errand_server_connects_total", provider="direct")
    code, out = gw.ctl("explain", f"GET http://127.0.0.1:{P}/direct", "-H", ": ".join(basic("alice", SESAME)[0]))
    assert "its password cannot be judged here: the daemon asks ldaps://" in out, out


def test_no_password_in_any_log(gw, c):
    """After all that was tried."""
    for way in WAYS:
        c.request("GET", f"/{way}", basic("alice", "a secret of hers"))
    told = "\n".join([gw.log(), gw.metrics_text(), str(gw.status()), gw.ctl("status")[1]])
    for secret in (SESAME, "of the service", "a secret of hers", *(base64.b64encode(s.encode()).decode().rstrip("=")[4:-4] for s in (SESAME, "a secret of hers"))):
        assert secret not in told, secret


# ---- servers that go and come

@pytest.fixture
def own(lo, cert):
    """A directory that a test may do anything to."""
    with ldap.Slapd(lo, cert, LDIF, port=3891, tls_port=6361) as s:
        yield s


def ask(gw, user, password, way="one"):
    with gw.client(OTHER, timeout=30) as c:
        return c.request("GET", f"/{way}", basic(user, password))


def test_killed_and_back_under_requests(lo, origin, own, ca):
    with Gateway(policy(origin, {"one": provider(own.tls_url, ca, **SERVICE)}, OTHER), lo) as gw:
        assert ask(gw, "alice", SESAME).status == 200
        own.kill()
        problem(ask(gw, "bob", "pass:word"), 503, "auth_unavailable")
        assert ask(gw, "alice", SESAME).status == 200  # she is known
        gw.wait_log(r"one: ldaps://\S+ cannot be asked")
        own.start()
        until(lambda: ask(gw, "bob", "pass:word").status == 200, "the directory found again")
        assert servers(gw, "one")["error"] == ""
        problem(ask(gw, "bob", "wrong"), 401, "invalid_password")


def test_restarted_between_two_questions(lo, origin, own, ca):
    """Connections that were kept are another server's: nobody notices."""
    with Gateway(policy(origin, {"one": provider(own.url, ca, cache="0s")}, OTHER), lo) as gw:
        for _ in range(3):
            assert ask(gw, "alice", SESAME).status == 200
            own.kill()
            own.start()
        assert ask(gw, "alice", SESAME).status == 200
        assert gw.metric("sluice_errands_total", result="failed") == 0


def test_frozen(lo, origin, own, ca):
    """It takes what it is sent and answers nothing: a bounded time, a bounded number of connections, and it is found again."""
    with Gateway(policy(origin, {"one": provider(own.tls_url, ca, timeout="300ms", connections=2)}, OTHER), lo) as gw:
        assert ask(gw, "alice", SESAME).status == 200
        own.freeze()
        results = []
        threads = [threading.Thread(target=lambda n=n: results.append(ask(gw, f"user{n}", "x").status)) for n in range(8)]
        for t in threads:
            t.start()
        until(lambda: servers(gw, "one")["connections"] == 2, "both connections in use")
        for t in threads:
            t.join()
        assert results == [503] * 8
        own.freeze(False)
        until(lambda: ask(gw, "bob", "pass:word").status == 200, "the directory found again")


def test_many_at_once_are_one_bind(lo, origin, own, ca):
    """Over two workers: the answer is everybody's."""
    with Gateway(policy(origin, {"one": provider(own.tls_url, ca, timeout="20s")}, OTHER, workers=2), lo) as gw:
        own.freeze()
        results = []
        threads = [threading.Thread(target=lambda: results.append(ask(gw, "alice", SESAME).status)) for _ in range(16)]
        for t in threads:
            t.start()
        until(lambda: servers(gw, "one")["running"] == 1, "the question")
        own.freeze(False)
        for t in threads:
            t.join()
        assert results == [200] * 16 and own.binds("uid=alice") == 1


def test_a_changed_password_counts_after_the_cache(lo, origin, own, ca):
    with Gateway(policy(origin, {"one": provider(own.tls_url, ca, cache="1s")}, OTHER), lo) as gw:
        assert ask(gw, "alice", SESAME).status == 200
        own.set_password("alice", "another")
        assert ask(gw, "alice", "another").status == 200  # at once
        until(lambda: ask(gw, "alice", SESAME).status == 401, "the old password's end")


def test_a_reload_changes_whom_is_asked_what(lo, origin, own, ca):
    with Gateway(policy(origin, {"one": provider(own.tls_url, ca, **GROUPS)}, OTHER), lo) as gw:
        assert ask(gw, "alice", SESAME, "one/admins").status == 200
        assert gw.apply(policy(origin, {"one": provider(own.tls_url, ca)}, OTHER))[0] == 0
        problem(ask(gw, "alice", SESAME, "one/admins"), 403, "forbidden_group")
        assert gw.apply(policy(origin, {"one": provider(own.tls_url, ca, **SERVICE, **GROUPS, filter="(uid=bob)")}, OTHER))[0] == 0
        problem(ask(gw, "alice", SESAME), 401, "invalid_password")
        assert ask(gw, "bob", "pass:word").status == 200
        code, out = gw.apply(policy(origin, {"one": {**provider(own.url), "insecure": None}}, OTHER))
        assert code == 1 and "/auth/one/uri: passwords would cross the network readable" in out, out
        assert ask(gw, "bob", "pass:word").status == 200


def test_more_groups_than_are_taken(lo, origin, cert, ca):
    many = "".join(ldap.group(f"group {n}", "alice", *(["carol"] if n else [])) for n in range(513))
    with ldap.Slapd(lo, cert, LDIF.replace(ldap.group("admins", "alice", ODD), "") + many, port=3891, tls_port=6361) as own:
        with Gateway(policy(origin, {"one": provider(own.tls_url, ca, **GROUPS)}, OTHER), lo) as gw:
            assert ask(gw, "carol", SESAME).status == 200
            problem(ask(gw, "alice", SESAME), 503, "auth_unavailable")
            assert "no more" in servers(gw, "one")["error"]


# ---- servers that lie

def lying(lo, origin, server, ca=None, **more):
    return Gateway(policy(origin, {"one": provider(server.url, ca, timeout="500ms", **more)}, OTHER), lo)


def test_tls_that_is_refused_or_forged_is_the_end(lo, origin, ca):
    """start_tls: no password leaves without it, and what came before it counts for nothing."""
    for answer, error in ((fake_ldap.extended(code=2), "does not begin with TLS"), (fake_ldap.extended() + fake_ldap.bound(2), "says more than that"),
                          (b"", "takes too long"), (b"\x30\x84\xff\xff\xff\xff", "no LDAP"), (fake_ldap.bound(1), "does not begin with TLS")):
        with fake_ldap.Fake(lo, lambda m: answer) as f, lying(lo, origin, f, ca) as gw:
            problem(ask(gw, "alice", SESAME), 503, "auth_unavailable")
            assert error in servers(gw, "one")["error"], servers(gw, "one")
            assert SESAME.encode() not in f.heard() and b"alice" not in f.heard()


@pytest.mark.parametrize("what", ["garbage", "another's id", "an entry for a bind", "a bind for a search", "a farewell", "a farewell without a name", "an operation too long", "too much", "an end"])
def test_answers_that_make_no_sense(lo, origin, what):
    lies = {"garbage": lambda m: b"\xff" * 64, "another's id": lambda m: fake_ldap.bound(m.id + 1), "an entry for a bind": lambda m: fake_ldap.found(m.id, ldap.PEOPLE, uid="alice"),
            "a bind for a search": lambda m: fake_ldap.bound(m.id), "a farewell": lambda m: fake_ldap.farewell(), "a farewell without a name": lambda m: fake_ldap.farewell(b""),
            "an operation too long": lambda m: fake_ldap.bound(m.id).replace(b"\x61\x07", b"\x61\x55"),
            "too much": lambda m: b"\x30\x84\x7f\xff\xff\xff" + b"x" * 1000, "an end": lambda m: None}
    with fake_ldap.Fake(lo, lies[what]) as f, lying(lo, origin, f) as gw:
        problem(ask(gw, "alice", SESAME), 503, "auth_unavailable")
        assert servers(gw, "one")["error"], servers(gw, "one")


def honest(m):
    """Of whomever it is asked, that it is alice."""
    return fake_ldap.bound(m.id) if m.is_bind else fake_ldap.found(m.id, f"uid=alice,{ldap.PEOPLE}", uid="alice") + fake_ldap.searched(m.id)


def test_answers_that_come_byte_by_byte(lo, origin):
    with fake_ldap.Fake(lo, honest, trickle=True) as f, lying(lo, origin, f, cache="0s") as gw:
        for _ in range(3):
            assert ask(gw, "alice", SESAME).status == 200
        assert f.connections == 1


def test_a_connection_that_ends_under_a_question_is_asked_anew(lo, origin):
    """One that had been idle may end just as it is used."""
    with fake_ldap.Fake(lo, lambda m: honest(m) if m.n < 3 else None) as f, lying(lo, origin, f, cache="0s") as gw:
        for _ in range(4):
            assert ask(gw, "alice", SESAME).status == 200
        assert f.connections == 4


def test_a_worker_that_dies_with_questions_at_a_directory_that_is_gone(lo, origin):
    """All that it asked is forgotten at once; who gets the place that is free then fails at once, for want of a way there."""
    gone = ["ip", "route", "add", "unreachable", "127.9.9.9/32", "table", "local"]
    with fake_ldap.Fake(lo, lambda m: b"", address="127.9.9.9") as f:
        p = policy(origin, {"one": provider(f.url, timeout="30s", connections=1)}, OTHER, workers=1)
        with Gateway(p, lo) as gw:
            controller, clients = gw.pids()["controller"], [gw.client(OTHER) for _ in range(8)]
            for i, c in enumerate(clients):
                c.send(b"GET /one HTTP/1.1\r\nHost: h\r\nAuthorization: %s\r\n\r\n" % basic(f"user{i}", SESAME)[0][1].encode())
                until(lambda: f.heard() and gw.metric("sluice_errands_active", provider="one") == i + 1, "the first one to be asked, and the others to wait")
            lo.run(gone, check=True)
            try:
                os.kill(gw.pids()["workers"][0], signal.SIGKILL)
                until(lambda: gw.metric("sluice_errands_active", provider="one") == 0, "nothing to be under way")
                problem(ask(gw, "alice", SESAME), 503, "auth_unavailable")
            finally:
                lo.run([*gone[:2], "del", *gone[3:]], check=True)
            assert gw.pids()["controller"] == controller
