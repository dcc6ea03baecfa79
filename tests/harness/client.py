# SPDX-License-Identifier: Apache-2.0
"""An HTTP/1.1 client that sends exactly the bytes it is given and reads one response after the other."""
import base64
import json
import socket
import ssl


def basic(user, password, scheme="Basic"):
    """The header of RFC 7617; user may be bytes that are no UTF-8, and password is then bytes too."""
    raw = user + b":" + password if isinstance(user, bytes) else f"{user}:{password}".encode()
    return [("Authorization", f"{scheme} {base64.b64encode(raw).decode()}")]


class Closed(ConnectionError):
    """The peer closed before a whole response; .got has what came. Where something is awaited it counts as "not yet"."""

    def __init__(self, got):
        super().__init__(f"closed after {got[:400]!r}")
        self.got = got


class Response:
    def __init__(self, version, status, reason, headers, body):
        self.version, self.status, self.reason = version, status, reason
        self.headers, self.body = headers, body

    def all(self, name):
        return [v for n, v in self.headers if n.lower() == name.lower()]

    def get(self, name, default=None):
        v = self.all(name)
        return v[0] if v else default

    def __contains__(self, name):
        return bool(self.all(name))

    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"<{self.status} {self.reason} {self.headers} {self.body[:300]!r}>"


def parse_head(head):
    lines = head.decode("latin-1").split("\r\n")
    return lines[0], [(n, v.strip(" \t")) for n, _, v in (l.partition(":") for l in lines[1:] if l)]


class Client:
    """Over a connected socket; tls: an ssl.SSLContext, with sni as the name asked for."""

    def __init__(self, sock, tls=None, sni=None, timeout=10):
        sock.settimeout(timeout)
        self.sock = tls.wrap_socket(sock, server_hostname=sni) if tls else sock
        self.buf = b""
        self.host = sni or "gw.test"

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def close(self):
        self.sock.close()

    def send(self, data):
        self.sock.sendall(data)

    def _more(self):
        try:
            data = self.sock.recv(65536)
        except (ConnectionResetError, BrokenPipeError, ssl.SSLEOFError):
            data = b""
        if not data:
            raise Closed(self.buf)
        self.buf += data

    def read_until(self, mark):
        while mark not in self.buf:
            self._more()
        out, self.buf = self.buf.split(mark, 1)
        return out

    def read_exactly(self, n):
        while len(self.buf) < n:
            self._more()
        out, self.buf = self.buf[:n], self.buf[n:]
        return out

    def at_eof(self):
        """True once the peer has closed with nothing more sent; waits for it."""
        if self.buf:
            return False
        try:
            self._more()
        except Closed:
            return True
        return False

    def _chunked(self):
        body = b""
        while True:
            size = int(self.read_until(b"\r\n").split(b";")[0], 16)
            if size == 0:
                while self.read_until(b"\r\n"):
                    pass
                return body
            body += self.read_exactly(size)
            assert self.read_exactly(2) == b"\r\n"

    def read_head(self):
        line, headers = parse_head(self.read_until(b"\r\n\r\n"))
        version, status, reason = (line.split(" ", 2) + [""])[:3]
        return Response(version, int(status), reason, headers, b"")

    def read_response(self, method="GET", interim=False):
        """interim: return 1xx responses too."""
        r = self.read_head()
        while r.status < 200 and not interim and r.status != 101:
            r = self.read_head()
        if method == "HEAD" or r.status < 200 or r.status in (204, 304):
            return r
        if (r.get("Transfer-Encoding") or "").lower() == "chunked":
            r.body = self._chunked()
        elif "Content-Length" in r:
            r.body = self.read_exactly(int(r.get("Content-Length")))
        else:
            try:
                while True:
                    self._more()
            except Closed:
                r.body, self.buf = self.buf, b""
        return r

    def request(self, method="GET", target="/", headers=(), body=None, host=None):
        lines = [f"{method} {target} HTTP/1.1", f"Host: {host or self.host}"]
        headers = headers.items() if isinstance(headers, dict) else headers
        lines += [f"{n}: {v}" for n, v in headers]
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        self.send("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + (body or b""))
        return self.read_response(method)


def tls_context(ca=None, minimum=None, maximum=None, alpn=None):
    c = ssl.create_default_context(cafile=ca)
    if ca is None:
        c.check_hostname, c.verify_mode = False, ssl.CERT_NONE
    if minimum:
        c.minimum_version = minimum
    if maximum:
        c.maximum_version = maximum
    if alpn:
        c.set_alpn_protocols(alpn)
    return c


def get_unix(path, target, method="GET", body=None, timeout=10):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(timeout)
    with s:
        s.connect(path)
        return Client(s, timeout=timeout).request(method, target, [("Connection", "close")], body, host="admin")
