# SPDX-License-Identifier: Apache-2.0
"""What listeners negotiate, staple and resume, as openssl s_client sees it; and what `check` says of a stapled answer."""
import datetime
import os
import re
import shlex
import signal

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp
from harness.gateway import Gateway
from harness.origin import Origin
from harness.pki import CA
from harness.policy import serving
from harness.wait import until

TLS, PLAIN = 8481, 8482


@pytest.fixture(scope="module")
def origin(lo):
    with Origin(lo) as o:
        yield o


def answer(ca, cert, path, status=ocsp.OCSPCertStatus.GOOD, by=None, since=-1, until=1):
    """An OCSP response about a certificate's file; since and until in days."""
    now = datetime.datetime.utcnow()
    with open(cert, "rb") as f:
        leaf = x509.load_pem_x509_certificate(f.read())
    revoked = now if status == ocsp.OCSPCertStatus.REVOKED else None
    b = ocsp.OCSPResponseBuilder().add_response(
        cert=leaf, issuer=ca._cert, algorithm=hashes.SHA1(), cert_status=status, this_update=now + datetime.timedelta(days=since),
        next_update=now + datetime.timedelta(days=until), revocation_time=revoked, revocation_reason=None)
    by = by or ca
    with open(path, "wb") as f:
        f.write(b.responder_id(ocsp.OCSPResponderEncoding.HASH, by._cert).sign(by._key, hashes.SHA256()).public_bytes(serialization.Encoding.DER))
    return str(path)


def chained(ca, *names):
    """A certificate's file with its issuer behind it, and the key."""
    cert, key = ca.issue(*names)
    with open(ca.cert) as f, open(cert, "a") as out:
        out.write(f.read())
    return cert, key


def policy(origin, ca, pair, **tls):
    certificate = {"cert": pair[0], "key": {"$file": pair[1]}, **({"ocsp": tls.pop("ocsp")} if "ocsp" in tls else {})}
    return serving(origin, port=PLAIN, listeners={"tls": {"bind": [f"127.0.0.1:{TLS}"], "tls": {"certificates": [certificate], **tls}}})


def s_client(host, *args):
    return host.run(["openssl", "s_client", "-connect", f"127.0.0.1:{TLS}", "-servername", "a.test", *args], timeout=20).stdout


def test_a_good_answer_is_stapled_and_ciphers_are_the_policys(lo, origin, ca, tmp):
    pair = chained(ca, "a.test")
    stapled = answer(ca, pair[0], f"{tmp}/a.ocsp")
    with Gateway(policy(origin, ca, pair, ocsp=stapled, ciphersuites=["TLS_CHACHA20_POLY1305_SHA256"], groups=["P-384"],
                        ciphers=["ECDHE-ECDSA-AES256-GCM-SHA384"]), lo):
        out = s_client(lo, "-status", "-CAfile", ca.cert)
        assert "OCSP Response Status: successful" in out and "Cert Status: good" in out
        assert "TLS_CHACHA20_POLY1305_SHA256" in out and "secp384r1" in out, out
        assert "ECDHE-ECDSA-AES256-GCM-SHA384" in s_client(lo, "-tls1_2")
        assert "Cipher is (NONE)" in s_client(lo, "-groups", "X25519")


@pytest.mark.parametrize("kind,says", [
    ("stale", "warning: .*out of date, and is not stapled"), ("future", "warning: .*from the future"), ("garbage", "error: .*no OCSP response in DER"),
    ("other", "error: .*about another certificate"), ("revoked", "error: .*is revoked"), ("forged", "error: .*not signed by the certificate's issuer")])
def test_check_judges_the_answer(lo, origin, ca, tmp, kind, says):
    pair = chained(ca, "a.test")
    path = f"{tmp}/a.ocsp"
    if kind == "garbage":
        with open(path, "w") as f:
            f.write("not DER")
    else:
        about = chained(ca, "b.test")[0] if kind == "other" else pair[0]
        answer(ca, about, path, by=CA(tmp, "test CA") if kind == "forged" else None,
               status=ocsp.OCSPCertStatus.REVOKED if kind == "revoked" else ocsp.OCSPCertStatus.GOOD,
               since={"stale": -3, "future": 1}.get(kind, -1), until={"stale": -1, "future": 2}.get(kind, 1))
    with Gateway(policy(origin, ca, pair), lo) as g:
        g.write(policy(origin, ca, pair, ocsp=path))
        rc, out = g.ctl("check", g.path)
        assert re.search(says, out), out
        assert (rc == 0) == says.startswith("warning"), out


def test_tickets_outlive_a_reload_and_a_workers_crash_and_open_at_every_worker(lo, origin, ca, tmp):
    get = "printf 'GET / HTTP/1.1\\r\\nHost: a.test\\r\\nConnection: close\\r\\n\\r\\n' | "
    base = ["openssl", "s_client", "-connect", f"127.0.0.1:{TLS}", "-servername", "a.test", "-ign_eof"]
    p = policy(origin, ca, ca.issue("a.test"))
    with Gateway({**p, "workers": 2}, lo) as g:
        def ask(*more):
            return lo.run(["sh", "-c", get + shlex.join([*base, *more])], timeout=20).stdout
        first = ask("-sess_out", f"{tmp}/s")
        assert first.count("New Session Ticket arrived") <= 1 and "New, TLSv1.3" in first

        def resumes():
            out = ask("-sess_in", f"{tmp}/s")
            assert "200 OK" in out and "Early data was not sent" in out, out
            return "Reused, TLSv1.3" in out
        assert all(resumes() for _ in range(6))
        assert g.apply({**p, "workers": 2, "correlation_id": {"echo": True}})[0] == 0
        assert all(resumes() for _ in range(6))
        worker = g.pids()["workers"][0]
        os.kill(worker, signal.SIGKILL)
        until(lambda: g.pids()["workers"][0] not in (0, worker) and g.admin("/readyz").status == 200, "another worker")
        assert all(resumes() for _ in range(6))
    with Gateway(policy(origin, ca, ca.issue("a.test"), session_tickets=False), lo):
        assert "New Session Ticket arrived" not in ask() and "New, TLSv1.3" in ask()
