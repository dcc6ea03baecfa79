# SPDX-License-Identifier: Apache-2.0
"""A certificate authority for one test run, and certificates of it as PEM files."""
import datetime
import ipaddress
import os
import re

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

_PEM = serialization.Encoding.PEM


def _name(cn):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, cn)])


def _san(n):
    if "://" in n:
        return x509.UniformResourceIdentifier(n)
    if "@" in n:
        return x509.RFC822Name(n)
    try:
        return x509.IPAddress(ipaddress.ip_address(n))
    except ValueError:
        return x509.DNSName(n)


def _new_key(kind):
    return rsa.generate_private_key(65537, 2048) if kind == "rsa" else ec.generate_private_key(ec.SECP256R1())


def _write(path, data, mode=0o644):
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(fd, "wb") as f:
        f.write(data)
    return str(path)


class CA:
    def __init__(self, directory, cn="test CA"):
        self.dir = str(directory)
        os.makedirs(self.dir, exist_ok=True)
        self._key = _new_key("ec")
        self._now = datetime.datetime.utcnow()
        self._cert = self._build(_name(cn), self._key.public_key(), _name(cn), [], True, 3650, -1)
        self.cert = _write(f"{self.dir}/ca-{os.urandom(4).hex()}.pem", self._cert.public_bytes(_PEM))

    def _build(self, subject, public, issuer, sans, ca, days, from_days):
        b = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(public)
        b = b.serial_number(x509.random_serial_number())
        b = b.not_valid_before(self._now + datetime.timedelta(days=from_days))
        b = b.not_valid_after(self._now + datetime.timedelta(days=days))
        b = b.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        if sans:
            b = b.add_extension(x509.SubjectAlternativeName(sans), critical=False)
        return b.sign(self._key, hashes.SHA256())

    def issue(self, *names, key="ec", days=30, from_days=-1):
        """(certificate path, key path) for DNS names, addresses, URIs and email addresses; days < 0: expired."""
        sans = [_san(n) for n in names]
        k = _new_key(key)
        c = self._build(_name(names[0]), k.public_key(), self._cert.subject, sans, False, days, min(from_days, days - 1))
        base = f"{self.dir}/{re.sub('[^A-Za-z0-9.-]', '_', names[0])}-{os.urandom(3).hex()}"
        pem = k.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        return _write(base + ".pem", c.public_bytes(_PEM)), _write(base + ".key", pem, 0o600)


def alone(directory, *names):
    """The same, signed by itself, and no authority."""
    ca = CA(directory, names[0])
    ca._cert = ca._build(_name(names[0]), ca._key.public_key(), _name(names[0]), [_san(n) for n in names], False, 30, -1)
    pem = ca._key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    base = f"{ca.dir}/alone-{os.urandom(3).hex()}"
    return _write(base + ".pem", ca._cert.public_bytes(_PEM)), _write(base + ".key", pem, 0o600)
