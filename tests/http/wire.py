# SPDX-License-Identifier: Apache-2.0
"""A gateway before an origin, and what a run of raw bytes through it does at both ends."""
import strict
from harness.gateway import Gateway
from harness.origin import Origin
from harness.policy import serving
from harness.wait import until

PORT = 8080
SENTINEL = b"GET /sentinel HTTP/1.1\r\nHost: sentinel.test\r\nConnection: close\r\n\r\n"
DEFAULT_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n"


class Wire:
    """send(bytes) → what came back and what the origin got for it. Bytes at the origin are compared as they are, so the
    sentinel, a last request on the same connection, tells when all before it has been dealt with."""

    def __init__(self, lo, **over):
        self.answer, self.answer_close = DEFAULT_ANSWER, False
        self.origin = Origin(lo, answer=self._answer)
        try:
            self.gateway = Gateway(serving(self.origin, PORT, **over), lo)
        except BaseException:
            self.origin.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        try:
            self.gateway.__exit__(*exc)
        finally:
            self.origin.close()

    def _answer(self, request):
        if request.target == "/sentinel":
            return DEFAULT_ANSWER
        if self.answer_close:
            request.conn.send(self.answer)
            return None
        return self.answer

    def exchange(self, *parts):
        """(bytes that the client got until the connection ended, bytes that the origin got, one run for each connection).
        Each further part is sent once the origin has got something."""
        before = {c: len(c.received) for c in list(self.origin.connections)}
        with self.gateway.client(PORT) as c:
            try:
                for i, part in enumerate(parts):
                    if i:
                        until(lambda: self._received() > sum(before.values()), "the first part at the origin")
                    c.send(part + (SENTINEL if i == len(parts) - 1 else b""))
            except (BrokenPipeError, ConnectionResetError):
                pass  # refused before it was all sent
            got = b""
            while True:
                try:
                    piece = c.sock.recv(65536)
                except ConnectionResetError:
                    break
                if not piece:
                    break
                got += piece
        return got, self._at_origin(before)

    def _received(self):
        return sum(len(c.received) for c in list(self.origin.connections))

    def _at_origin(self, before):
        """What arrived since; a request cut off by a refusal is seen whole once the gateway has closed its connection."""
        def settled():
            out = [bytes(c.received[before.get(c, 0):]) for c in list(self.origin.connections)]
            open_ones = [o for c, o in zip(list(self.origin.connections), out) if o and not c.closed.is_set()]
            for o in open_ones:
                strict.requests(o)
            return [o for o in out if o] or [b""]
        return [o for o in until(settled, "whole requests at the origin") if o]

    def reset(self):
        self.answer, self.answer_close = DEFAULT_ANSWER, False
