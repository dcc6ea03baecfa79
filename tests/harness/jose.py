# SPDX-License-Identifier: Apache-2.0
"""JSON Web Tokens as an issuer makes them (RFC 7515, 7518, 8037), and as attackers do: every part can be overridden."""
import base64
import hashlib
import hmac
import json
import os
import time

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "HS256", "HS384", "HS512"]
_HASH = {"256": hashes.SHA256, "384": hashes.SHA384, "512": hashes.SHA512}
_CURVE = {"ES256": ec.SECP256R1, "ES384": ec.SECP384R1, "ES512": ec.SECP521R1}
_rsa_cache = []


def b64u(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _uint(n, size=None):
    return b64u(n.to_bytes(size or (n.bit_length() + 7) // 8, "big"))


class Key:
    """A signing key of one algorithm. RSA keys of the run are made once, since making one takes long."""

    def __init__(self, alg, kid=None, fresh=False):
        self.alg, self.kid = alg, kid or f"k-{alg.lower()}"
        if alg[:2] in ("RS", "PS"):
            if fresh or not _rsa_cache:
                _rsa_cache.append(rsa.generate_private_key(65537, 2048))
            self.key = _rsa_cache[-1 if fresh else 0]
        elif alg[:2] == "ES":
            self.key = ec.generate_private_key(_CURVE[alg]())
        elif alg == "EdDSA":
            self.key = ed25519.Ed25519PrivateKey.generate()
        else:
            self.key = os.urandom(48).hex().encode()  # printable, so that it can stand in a file or variable

    def sign_bytes(self, data):
        h = _HASH.get(self.alg[2:])
        if self.alg[:2] == "RS":
            return self.key.sign(data, padding.PKCS1v15(), h())
        if self.alg[:2] == "PS":
            return self.key.sign(data, padding.PSS(padding.MGF1(h()), h.digest_size), h())
        if self.alg[:2] == "ES":
            r, s = decode_dss_signature(self.key.sign(data, ec.ECDSA(h())))
            n = (self.key.curve.key_size + 7) // 8
            return r.to_bytes(n, "big") + s.to_bytes(n, "big")
        if self.alg == "EdDSA":
            return self.key.sign(data)
        return hmac.new(self.key, data, getattr(hashlib, "sha" + self.alg[2:])).digest()

    def token(self, claims=None, header=None, signature=None, exp_in=600, **more):
        """exp is added unless claims or more has one (exp=None leaves it out)."""
        c = {"exp": int(time.time()) + exp_in, **(claims or {}), **more}
        c = {k: v for k, v in c.items() if v is not None}
        h = {"alg": self.alg, "typ": "JWT", "kid": self.kid, **(header or {})}
        h = {k: v for k, v in h.items() if v is not None}
        data = b64u(json.dumps(h).encode()) + "." + b64u(json.dumps(c).encode())
        sig = self.sign_bytes(data.encode()) if signature is None else signature
        return data + "." + b64u(sig)

    def jwk(self):
        j = {"kid": self.kid, "alg": self.alg, "use": "sig"}
        if self.alg[:2] in ("RS", "PS"):
            n = self.key.public_key().public_numbers()
            return {**j, "kty": "RSA", "n": _uint(n.n), "e": _uint(n.e)}
        if self.alg[:2] == "ES":
            n, size = self.key.public_key().public_numbers(), (self.key.curve.key_size + 7) // 8
            return {**j, "kty": "EC", "crv": f"P-{self.key.curve.key_size}", "x": _uint(n.x, size), "y": _uint(n.y, size)}
        if self.alg == "EdDSA":
            from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
            return {**j, "kty": "OKP", "crv": "Ed25519", "x": b64u(self.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))}
        return {**j, "kty": "oct", "k": b64u(self.key)}


def jwks(*keys):
    return {"keys": [k.jwk() for k in keys]}
