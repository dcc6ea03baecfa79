# SPDX-License-Identifier: Apache-2.0
"""An issuer's HTTPS side: serves what the test says, counts what was asked, and can misbehave in every way that it is told."""
import json
import socket
import ssl
import threading
import urllib.parse

from . import jose, ns


def response(page, keep):
    """The bytes of (status, headers, body)."""
    status, headers, body = page
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} X", *(f"{n}: {v}" for n, v in headers), f"Content-Length: {len(body)}", *(() if keep else ["Connection: close"])]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Form:
    """A page that reads what was posted: f(form, head) gives (status, headers, body)."""

    def __init__(self, f):
        self.f = f


class Issuer:
    """
    pages: {path: (status, headers, body)}, body bytes or anything that json takes; or a callable(connection, path) that answers by itself.
    A Form has its body read; forms has what came. Answers close the connection, unless keep says otherwise; one that answers by itself
    returns whether it goes on. accepted counts connections. keys() puts a key set at /jwks.
    """

    def __init__(self, pki, *names, host=None, port=0, address="127.0.0.1", **issue):
        self.host = host or ns.here()
        cert, key = pki.issue(*(names or (address, "localhost")), **issue)
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(cert, key)
        self._socket = self.host.listen(port, address)
        self.address, self.port = address, self._socket.getsockname()[1]
        self.pages, self.asked, self.heads, self.forms = {}, [], [], []
        self.keep, self.accepted, self._open = False, 0, set()
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def url(self, path="", name=None):
        return f"https://{name or self.address}:{self.port}{path}"

    def keys(self, *keys, path="/jwks", headers=(), extra=None):
        self.pages[path] = (200, headers, {**jose.jwks(*keys), **(extra or {})})

    def count(self, path):
        with self._changed:
            return self.asked.count(path)

    def wait_asked(self, path, n, timeout=20):
        with self._changed:
            if not self._changed.wait_for(lambda: self.asked.count(path) >= n, timeout):
                raise AssertionError(f"{path} was asked for {self.asked.count(path)} times, not {n}: {self.asked}")

    def connected(self):
        """How many connections are open."""
        with self._changed:
            return len(self._open)

    def hang_up(self):
        """Ends all connections, as a host does that goes: without a word of TLS."""
        with self._changed:
            for c in self._open:
                socket.socket.shutdown(c, socket.SHUT_RDWR)

    def _accept(self):
        while True:
            try:
                c, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(c,), daemon=True).start()

    def _serve(self, raw):
        raw.settimeout(20)
        try:
            with self._tls.wrap_socket(raw, server_side=True) as c:
                with self._changed:
                    self.accepted += 1
                    self._open.add(c)
                try:
                    while self._exchange(c):
                        pass
                finally:
                    with self._changed:
                        self._open.remove(c)
        except OSError:
            pass
        finally:
            raw.close()

    def _exchange(self, c):
        """One request and its answer; whether another may follow."""
        head = b""
        while b"\r\n\r\n" not in head:
            more = c.recv(65536)
            if not more:
                return False
            head += more
        head, body = head.split(b"\r\n\r\n", 1)
        n = next((int(h.split(b":")[1]) for h in head.split(b"\r\n") if h.lower().startswith(b"content-length:")), 0)
        while len(body) < n:
            body += c.recv(65536)
        form = dict(urllib.parse.parse_qsl(body.decode(), keep_blank_values=True, strict_parsing=True)) if body else {}
        path = head.split(b" ")[1].decode()
        page = self.pages.get(path, (404, (), b"nothing here"))
        with self._changed:
            self.asked.append(path)
            self.heads.append(head)
            self.forms.append(form)
            self._changed.notify_all()
        if isinstance(page, Form):
            page = page.f(form, head)
        if callable(page):
            return page(c, path)
        c.sendall(response(page, self.keep))
        if not self.keep:
            c.unwrap()
        return self.keep

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self._socket.close()

