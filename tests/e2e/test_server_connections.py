# SPDX-License-Identifier: Apache-2.0
"""Connections to servers that are asked about credentials: when one is used again, and when it must not be."""
import threading

import pytest
from harness import pki
from harness.gateway import Gateway
from harness.issuer import Form, Issuer, response
from harness.origin import Origin
from harness.policy import problem, serving
from harness.wait import until

P = 8080
IDLE = 8  # that are kept
ACTIVE = (200, (), {"active": True, "sub": "alice"})


@pytest.fixture(scope="module")
def origin(lo):
    with Origin(lo) as o:
        yield o


@pytest.fixture
def server(lo, ca):
    with Issuer(ca, host=lo) as s:
        s.keep = True
        s.pages["/introspect"] = ACTIVE
        yield s


@pytest.fixture
def gw(lo, origin, server, ca):
    with Gateway(policy(origin, server, ca), lo) as g:
        yield g


def policy(origin, server, ca, **more):
    opaque = {"type": "introspection", "uri": server.url("/introspect"), "client_id": "gw", "client_secret": "s3cret", "cache": "0s",
              "tls": {"ca": ca.cert}, **more}
    return serving(origin, auth={"opaque": opaque}, routes={"all": {"auth": ["opaque"]}})


def ask(gw, token="t"):
    with gw.client(P) as c:
        return c.request("GET", "/", [("Authorization", f"Bearer {token}")])


def open_now(gw):
    return gw.metric("sluice_errand_server_connections", kind="introspection", provider="opaque")


def opened(gw):
    return gw.metric("sluice_errand_server_connects_total", kind="introspection", provider="opaque")


def serves(gw, server, n):
    """n questions, all of them answered."""
    asked = server.count("/introspect")
    assert [ask(gw).status for _ in range(n)] == [200] * n
    assert server.count("/introspect") == asked + n


class Turns:
    """A page whose answers are by itself: first(c) for a connection's first question, later(c) for those that follow."""

    def __init__(self, first, later):
        self.first, self.later, self._seen = first, later, set()

    def __call__(self, c, path):
        f = self.later if c in self._seen else self.first
        self._seen.add(c)
        return f(c)


def says(*parts, goes_on=True):
    def page(c, path=None):
        for p in parts:
            c.sendall(p)
        return goes_on
    return page


def hangs_up(c, path=None):
    return False


def takes_leave(c, path=None):
    c.unwrap()


def until_the_end(c, path):
    c.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + BODY)
    c.unwrap()


ANSWER = response(ACTIVE, True)
BODY = ANSWER.split(b"\r\n\r\n")[1]


def test_questions_go_over_one_connection(gw, server):
    serves(gw, server, 10)
    assert server.accepted == 1 and open_now(gw) == 1 and opened(gw) == 1
    assert gw.status()["auth_servers"][0]["connections"] == 1
    assert all(b"\r\nConnection:" not in h for h in server.heads)


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)


@pytest.mark.parametrize("page", [says(CHUNKED), says(b"HTTP/1.1 100 Continue\r\n\r\n" + ANSWER), says(CHUNKED[:-4], CHUNKED[-4:]),
                                  (500, (), b"{}")], ids=["chunked", "interim", "in pieces", "an error"])
def test_a_whole_answer_leaves_a_connection_that_is_used_again(gw, server, page):
    server.pages["/introspect"] = page
    ask(gw, "first")
    server.pages["/introspect"] = ACTIVE
    serves(gw, server, 2)
    assert server.accepted == 1


@pytest.mark.parametrize("page", [says(response(ACTIVE, False)), says(b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY),
                                  until_the_end, says(ANSWER, goes_on=False), says(ANSWER + b"?"),
                                  says(ANSWER + ANSWER), says(ANSWER, ANSWER)],
                         ids=["close", "HTTP 1.0", "until the end", "closes unsaid", "a byte too many", "two answers", "another answer later"])
def test_a_connection_that_may_not_be_used_again_is_not(gw, server, page):
    server.pages["/introspect"] = page
    for n in range(1, 4):
        assert ask(gw).status == 200
        until(lambda: open_now(gw) == 0, "the connection's end")
        assert server.accepted == n == opened(gw)
    assert server.count("/introspect") == 3


def test_a_connection_that_ends_while_idle_is_noticed(gw, server):
    for n in range(1, 4):
        serves(gw, server, 2)
        assert server.accepted == n
        server.hang_up()
        until(lambda: open_now(gw) == 0, "the connection's end")


@pytest.mark.parametrize("later", [hangs_up, takes_leave], ids=["without a word", "in order"])
def test_a_connection_that_ends_as_it_is_used_again_is_not_noticed_by_a_client(gw, server, later):
    server.pages["/introspect"] = Turns(says(ANSWER), later)
    assert [ask(gw).status for _ in range(4)] == [200] * 4
    assert server.accepted == 4 and server.count("/introspect") == 4 + 3
    assert gw.metric("sluice_errands_total", kind="introspection", result="ok") == 4


def test_what_is_asked_again_is_asked_once_again(gw, server):
    assert ask(gw).status == 200
    server.pages["/introspect"] = hangs_up
    problem(ask(gw, "u"), 503, "auth_unavailable")
    assert server.accepted == 2 and server.count("/introspect") == 1 + 2
    problem(ask(gw, "v"), 503, "auth_unavailable")  # over a new connection from the start
    assert server.accepted == 3 and server.count("/introspect") == 4


def test_an_answer_that_has_begun_is_not_asked_for_again(gw, server):
    server.pages["/introspect"] = Turns(says(ANSWER), says(ANSWER[:10], goes_on=False))
    assert ask(gw).status == 200
    problem(ask(gw, "u"), 503, "auth_unavailable")
    assert server.accepted == 1 and server.count("/introspect") == 2


def test_a_silent_connection_takes_those_beside_it_along(lo, origin, server, ca):
    with Gateway(policy(origin, server, ca, timeout="500ms"), lo) as gw:
        together(gw, server, 3)
        assert server.accepted == 3 and open_now(gw) == 3
        go = threading.Event()
        server.pages["/introspect"] = lambda c, path: go.wait(20) and None
        problem(ask(gw, "u"), 503, "auth_unavailable")
        assert server.count("/introspect") == 4
        until(lambda: open_now(gw) == 0, "all connections' end")
        go.set()
        server.pages["/introspect"] = ACTIVE
        serves(gw, server, 2)
        assert server.accepted == 4


def together(gw, server, n):
    """n questions at the same time."""
    all_there = threading.Barrier(n)
    server.pages["/introspect"] = Form(lambda form, head: all_there.wait(20) is None or ACTIVE)
    clients = [gw.client(P) for _ in range(n)]
    for i, c in enumerate(clients):
        c.send(b"GET / HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer t%d\r\n\r\n" % i)
    assert [c.read_response().status for c in clients] == [200] * n
    for c in clients:
        c.close()
    server.pages["/introspect"] = ACTIVE


def test_few_idle_ones_are_kept(gw, server):
    together(gw, server, 20)
    assert server.accepted == 20 and open_now(gw) == IDLE
    together(gw, server, IDLE)
    assert server.accepted == 20


def test_a_reload_with_another_ca_uses_no_former_connection(gw, server, origin, ca, tmp_path):
    serves(gw, server, 2)
    other = pki.CA(tmp_path / "other", "another CA")
    assert gw.apply(policy(origin, server, other))[0] == 0
    problem(ask(gw, "u"), 503, "auth_unavailable")
    assert server.count("/introspect") == 2 and open_now(gw) == 0
    assert gw.apply(policy(origin, server, ca))[0] == 0
    serves(gw, server, 2)
    assert server.accepted == 2


def test_the_count_goes_on_over_reloads_and_nothing_is_kept_past_the_policy(gw, server, origin, ca):
    serves(gw, server, 2)
    assert gw.apply(policy(origin, server, ca))[0] == 0
    serves(gw, server, 2)
    assert server.accepted == 2 == opened(gw)
    assert gw.apply(serving(origin))[0] == 0
    until(lambda: not server.connected(), "the last connection's end")
