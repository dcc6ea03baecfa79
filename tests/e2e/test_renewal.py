# SPDX-License-Identifier: Apache-2.0
"""Certificates that are renewed on the disk: taken over without an apply, in whole pairs only, and no client notices."""
import os
import shutil
import ssl
import threading
import time

import pytest
from harness.client import tls_context
from harness.gateway import Gateway
from harness.origin import Origin
from harness.pki import CA
from harness.policy import problem, serving, upstream
from harness.wait import until

TLS, PLAIN = 8491, 8492


@pytest.fixture(scope="module")
def origin(lo):
    with Origin(lo) as o:
        yield o


def put(pair, directory, which=("pem", "key")):
    """The pair as a.pem and a.key there, each replaced by rename as ACME clients do."""
    for ending, path in zip(("pem", "key"), pair):
        if ending in which:
            shutil.copy(path, f"{directory}/new")
            os.rename(f"{directory}/new", f"{directory}/a.{ending}")


def policy(origin, directory, **over):
    return serving(origin, port=PLAIN, listeners={"tls": {"bind": [f"127.0.0.1:{TLS}"], "tls": {
        "certificates": [{"cert": f"{directory}/a.pem", "key": {"$file": f"{directory}/a.key"}}]}}}, **over)


def der(pair):
    with open(pair[0]) as f:
        return ssl.PEM_cert_to_DER_cert(f.read())


def served(gw, ca):
    with gw.client(TLS, tls=tls_context(ca.cert), sni="a.test") as c:
        return c.sock.getpeercert(binary_form=True)


class Load:
    """New connections, and one that is kept, until told to stop; errors has what went wrong."""

    def __init__(self, gw, ca):
        self.gw, self.ctx, self.errors, self.done, self.seen = gw, tls_context(ca.cert), [], 0, set()
        self._stop = threading.Event()
        self.threads = [threading.Thread(target=self._run, args=(kept,)) for kept in (True, False, False)]

    def _run(self, keep):
        kept = None
        while not self._stop.is_set():
            try:
                c = kept or self.gw.client(TLS, tls=self.ctx, sni="a.test")
                assert c.request().status == 200
                self.seen.add(c.sock.getpeercert(binary_form=True))
                self.done += 1
                kept = c if keep else None
                if not keep:
                    c.close()
            except Exception as e:  # whatever a client may see
                self.errors.append(repr(e))

    def __enter__(self):
        for t in self.threads:
            t.start()
        return self

    def __exit__(self, *exc):
        self._stop.set()
        for t in self.threads:
            t.join()


def test_renewed_under_load_without_an_error(lo, origin, ca, tmp):
    pairs = [ca.issue("a.test") for _ in range(4)]
    put(pairs[0], tmp)
    with Gateway(policy(origin, tmp), lo) as g, Load(g, ca) as load:
        for p in pairs[1:]:
            before = load.done
            put(p, tmp)
            until(lambda: served(g, ca) == der(p), "the new certificate", timeout=30)
            until(lambda: load.done > before + 20, "some requests more", timeout=30)
    assert not load.errors, load.errors[:5]
    assert len(load.seen) > 1


def test_a_half_written_pair_keeps_the_old_one(lo, origin, ca, tmp):
    old, new = ca.issue("a.test"), ca.issue("a.test")
    put(old, tmp)
    with Gateway(policy(origin, tmp), lo) as g:
        version = g.status()["version"]
        put(new, tmp, which=("pem",))
        g.wait_log("the key is not that of the certificate", timeout=30)
        g.wait_log("changed files are not used as they are now")
        assert served(g, ca) == der(old) and g.status()["version"] == version
        put(new, tmp, which=("key",))
        until(lambda: served(g, ca) == der(new), "the new pair", timeout=30)


def test_nothing_else_of_the_policy_is_read_and_a_rollback_undoes_the_last_apply(lo, origin, ca, tmp):
    first, second = ca.issue("a.test"), ca.issue("a.test")
    put(first, tmp)
    with Gateway(policy(origin, tmp), lo) as g:
        assert g.apply(policy(origin, tmp, routes={"more": {"paths": ["/more"], "respond": {"status": 204}, "auth": ["public"]}}))[0] == 0
        g.write("what is being edited: is no policy")
        put(second, tmp)
        until(lambda: served(g, ca) == der(second), "the new certificate", timeout=30)
        assert g.client(PLAIN).request("GET", "/more").status == 204
        assert g.ctl("rollback")[0] == 0
        assert g.client(PLAIN).request("GET", "/more").status == 200  # the origin's


def test_secrets_that_are_mounted_by_symbolic_links(lo, origin, ca, tmp):
    pairs = [ca.issue("a.test"), ca.issue("a.test")]
    for i, p in enumerate(pairs):
        os.mkdir(f"{tmp}/{i}")
        put(p, f"{tmp}/{i}")
    os.symlink("0", f"{tmp}/..data")
    for ending in ("pem", "key"):
        os.symlink(f"..data/a.{ending}", f"{tmp}/a.{ending}")
    with Gateway(policy(origin, tmp), lo) as g:
        assert served(g, ca) == der(pairs[0])
        os.symlink("1", f"{tmp}/..new")
        os.rename(f"{tmp}/..new", f"{tmp}/..data")
        until(lambda: served(g, ca) == der(pairs[1]), "the new certificate", timeout=30)


def test_the_upstreams_authorities_too(lo, ca, tmp):
    ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ctx.load_cert_chain(*ca.issue("origin.test"))
    shutil.copy(CA(tmp).cert, f"{tmp}/up.pem")
    with Origin(lo, tls=ctx) as o, Gateway(serving(o, port=PLAIN, upstreams={
            "origin": upstream(o, tls={"ca": f"{tmp}/up.pem", "sni": "origin.test"})}), lo) as g:
        problem(g.client(PLAIN).request(), 502, "upstream_tls")
        shutil.copy(ca.cert, f"{tmp}/up.pem")
        until(lambda: g.client(PLAIN).request().status == 200, "trusted", timeout=30)


def test_expiry_is_a_metric_and_a_warning(lo, origin, ca, tmp):
    put(ca.issue("a.test", days=3), tmp)
    with Gateway(policy(origin, tmp), lo) as g:
        ends = g.metric("sluice_tls_certificate_expiry_timestamp_seconds", listener="tls", certificate=f"{tmp}/a.pem")
        assert 2 * 86400 < ends - time.time() <= 3 * 86400 + 60
        assert [c["left_s"] > 0 for c in g.status()["certificates"]] == [True]
        assert f"WARNING: certificate {tmp}/a.pem of listener tls ends in 2d" in g.ctl("status")[1]
        put(ca.issue("a.test", days=60), tmp)
        until(lambda: "WARNING" not in g.ctl("status")[1], "the warning is gone", timeout=30)
