# SPDX-License-Identifier: Apache-2.0
"""A server that answers LDAP as a test says, in whole messages or not: bytes of BER by hand (RFC 4511)."""
import socket
import threading


def ber(tag, *content):
    body = b"".join(content)
    n = len(body)
    return bytes([tag]) + (bytes([n]) if n < 128 else b"\x84" + n.to_bytes(4, "big")) + body


def message(id, *op):
    return ber(0x30, ber(2, id.to_bytes(2, "big")), *op)


def _result(tag, id, code, *more):
    return message(id, ber(tag, ber(10, bytes([code])), ber(4), ber(4), *more))


def bound(id, code=0):
    return _result(0x61, id, code)


def searched(id, code=0):
    return _result(0x65, id, code)


def extended(id=1, code=0):
    return _result(0x78, id, code)


def farewell(name=b"1.3.6.1.4.1.1466.20036"):
    """The notice of disconnection (RFC 4511 section 4.4.1)."""
    return _result(0x78, 0, 52, ber(0x8a, name))


def found(id, dn, **attributes):
    parts = [ber(0x30, ber(4, n.encode()), ber(0x31, ber(4, v.encode()))) for n, v in attributes.items()]
    return message(id, ber(0x64, ber(4, dn.encode()), ber(0x30, *parts)))


class Message:
    """One of the client's: its id, whether it is a bind, and the how manieth of its connection."""

    def __init__(self, raw, n):
        self.n, at = n, 2 if raw[1] < 128 else 2 + (raw[1] & 127)
        size = raw[at + 1]
        self.id = int.from_bytes(raw[at + 2:at + 2 + size], "big")
        self.is_bind = raw[at + 2 + size] == 0x60


class Fake:
    """answer(message) is what is sent for each message; None ends the connection. trickle: a byte at a time."""

    def __init__(self, host, answer, trickle=False, address=None):
        self._trickle = trickle
        self._answer, self._heard, self.connections = answer, [], 0
        self._listener = host.listen(0, address)
        self._open, self._stop = [], False
        self.url = f"ldap://{address or host.address}:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def heard(self):
        """All bytes so far."""
        return b"".join(self._heard)

    def _accept(self):
        while True:
            try:
                s, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._open.append(s)
            threading.Thread(target=self._serve, args=(s,), daemon=True).start()

    def _serve(self, s):
        data, n = b"", 0
        try:
            while chunk := s.recv(65536):
                self._heard.append(chunk)
                data += chunk
                while len(data) >= 2 and len(data) >= (size := self._size(data)):
                    n += 1
                    answer = self._answer(Message(data, n))
                    data = data[size:]
                    if answer is None:
                        return
                    for part in [answer[i:i + 1] for i in range(len(answer))] if self._trickle else [answer]:
                        s.sendall(part)
        except (OSError, IndexError):
            pass  # what follows may be TLS, or the end
        finally:
            s.close()

    @staticmethod
    def _size(data):
        if data[1] < 128:
            return 2 + data[1]
        n = data[1] & 127
        return 2 + n + int.from_bytes(data[2:2 + n], "big")

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for s in self._open:
            s.close()
        self._thread.join(5)
