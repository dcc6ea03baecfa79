# SPDX-License-Identifier: Apache-2.0
"""
An origin that keeps every byte of every connection and answers as the test says.

answer(request) returns the bytes of a response, or None to close without one; it may also use request.conn to send
piecemeal. Each connection has a thread. Tests await wait_requests() and wait_connections(), never time.
"""
import json
import socket
import struct
import threading
import time

from .client import parse_head


def response(status=200, body=b"ok\n", headers=(), reason="OK"):
    if isinstance(body, str):
        body = body.encode()
    head = [f"HTTP/1.1 {status} {reason}", *(f"{n}: {v}" for n, v in headers), f"Content-Length: {len(body)}"]
    return "\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + body


def echo(request):
    """The request as JSON, for tests that look from the client's side."""
    return response(body=json.dumps({"method": request.method, "target": request.target, "headers": request.headers,
                                     "body": request.body.decode("latin-1"), "connection": request.conn.number}).encode(),
                    headers=[("Content-Type", "application/json")])


class Request:
    def __init__(self, conn, head):
        self.conn, self.head = conn, head
        line, self.headers = parse_head(head)
        self.method, self.target, self.version = (line.split(" ") + ["", ""])[:3]
        self.body, self.trailers = b"", []

    def all(self, name):
        return [v for n, v in self.headers if n.lower() == name.lower()]

    def get(self, name, default=None):
        v = self.all(name)
        return v[0] if v else default


class _Eof(Exception):
    pass


class Connection:
    def __init__(self, origin, sock, peer, number):
        self.origin, self.sock, self.peer, self.number = origin, sock, peer, number
        self.received = bytearray()
        self._at = 0
        self.closed = threading.Event()

    def _fill(self):
        data = self.sock.recv(262144)
        if not data:
            raise _Eof
        self.received += data

    def read_until(self, mark):
        while True:
            i = self.received.find(mark, self._at)
            if i >= 0:
                out = bytes(self.received[self._at:i])
                self._at = i + len(mark)
                return out
            self._fill()

    def read_exactly(self, n):
        while len(self.received) - self._at < n:
            self._fill()
        out = bytes(self.received[self._at:self._at + n])
        self._at += n
        return out

    def read_head(self):
        return Request(self, self.read_until(b"\r\n\r\n"))

    def read_body(self, r):
        if (r.get("Transfer-Encoding") or "").lower() == "chunked":
            while True:
                n = int(self.read_until(b"\r\n").split(b";")[0], 16)
                if n == 0:
                    while line := self.read_until(b"\r\n"):
                        name, _, value = line.decode("latin-1").partition(":")
                        r.trailers.append((name, value.strip()))
                    return r
                r.body += self.read_exactly(n)
                self.read_exactly(2)
        r.body = self.read_exactly(int(r.get("Content-Length") or 0))
        return r

    def send(self, data):
        self.sock.sendall(data)

    def reset(self):
        """Closes with RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self):
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.sock.close()
        self.closed.set()


class Origin:
    def __init__(self, host, port=0, answer=echo, address=None, on_head=None, tls=None):
        """on_head(request): called before the body is read; returning False ends the connection's thread there."""
        self.host, self.answer, self.on_head, self._tls = host, answer, on_head, tls
        self._listen = host.listen(port, address)
        self.address, self.port = self._listen.getsockname()[:2]
        self.connections, self.requests = [], []
        self._cond = threading.Condition()
        self._open = True
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def target(self):
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"

    def _accept(self):
        while self._open:
            try:
                s, peer = self._listen.accept()
            except OSError:
                return
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._serve, args=(s, peer), daemon=True).start()

    def _serve(self, s, peer):
        if self._tls:
            try:
                s = self._tls.wrap_socket(s, server_side=True)
            except OSError:
                return
        with self._cond:
            c = Connection(self, s, peer, len(self.connections))
            self.connections.append(c)
            self._cond.notify_all()
        try:
            while True:
                r = c.read_head()
                if self.on_head and self.on_head(r) is False:
                    return
                c.read_body(r)
                with self._cond:
                    self.requests.append(r)
                    self._cond.notify_all()
                out = self.answer(r)
                if out is None:
                    return
                c.send(out)
        except (_Eof, OSError):
            pass
        finally:
            if not getattr(c, "keep", False):
                c.close()

    def _wait(self, what, n, timeout):
        end = time.monotonic() + timeout
        with self._cond:
            while len(what) < n:
                left = end - time.monotonic()
                assert left > 0, f"origin {self.target}: {len(what)} of {n} after {timeout} s"
                self._cond.wait(left)
            return what[n - 1]

    def wait_requests(self, n, timeout=10):
        return self._wait(self.requests, n, timeout)

    def wait_connections(self, n, timeout=10):
        return self._wait(self.connections, n, timeout)

    def clear(self):
        with self._cond:
            self.requests.clear()

    def last(self):
        with self._cond:
            return self.requests[-1]

    def stop_listening(self):
        self._open = False
        # shutdown wakes the accept() that close() would leave holding the port
        try:
            self._listen.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._listen.close()

    def close(self):
        self.stop_listening()
        for c in list(self.connections):
            c.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()
