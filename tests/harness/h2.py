# SPDX-License-Identifier: Apache-2.0
"""
An HTTP/2 client that sends exactly the frames it is given (hyperframe, hpack: not ours) and says what became of them.
It answers SETTINGS and PING, and gives no credit that it is not told to.
"""
import ssl
import time

import hpack
from hyperframe.frame import (ContinuationFrame, DataFrame, Frame, GoAwayFrame, HeadersFrame, PingFrame, RstStreamFrame, SettingsFrame,
                              WindowUpdateFrame)

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
NO_ERROR, PROTOCOL, INTERNAL, FLOW_CONTROL, SETTINGS_TIMEOUT, STREAM_CLOSED, FRAME_SIZE, REFUSED, CANCEL, COMPRESSION, CONNECT, CALM = range(12)


class Ended(ConnectionError):
    """The peer has closed: .goaway is the error code of its last GOAWAY, or None."""

    def __init__(self, goaway):
        super().__init__(f"closed, GOAWAY {goaway}")
        self.goaway = goaway


class Answer:
    """What came on one stream: headers of the last head, interim heads, body, trailers; reset: an error code."""

    def __init__(self):
        self.headers, self.interim, self.body, self.trailers = None, [], b"", None
        self.ended, self.reset = False, None

    @property
    def status(self):
        return int(self.get(":status")) if self.headers else None

    def all(self, name):
        return [v for n, v in self.headers if n == name]

    def get(self, name, default=None):
        v = self.all(name)
        return v[0] if v else default

    def __repr__(self):
        return f"<{self.headers} {self.body[:200]!r} trailers {self.trailers} reset {self.reset} ended {self.ended}>"


class H2:
    def __init__(self, sock, tls=None, sni=None, timeout=20, settings=None, start=True, window=1 << 30):
        sock.settimeout(timeout)
        self.sock = tls.wrap_socket(sock, server_hostname=sni) if tls else sock
        self.timeout = timeout
        self.enc, self.dec = hpack.Encoder(), hpack.Decoder()
        self.buf, self.frames, self.streams = b"", [], {}
        self.goaway = None  # (code, last stream)
        self.settings, self.acked, self.pings = {}, 0, []
        self.received = 0  # bytes of DATA
        self.next_id = 1
        self.polite = True  # answers SETTINGS and PING
        self._block = None
        if start:
            self.start(settings, window)

    def start(self, settings=None, window=1 << 30):
        """The preface; credit for answers is given in advance, unless window is 0."""
        first = {4: min(window, 2**31 - 1), **(settings or {})} if window else (settings or {})
        self.send_raw(PREFACE)
        self.send(SettingsFrame(settings=first))
        if window:
            self.send(WindowUpdateFrame(0, window_increment=window))

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def close(self):
        self.sock.close()

    # ---- out
    def send_raw(self, data):
        try:
            self.sock.sendall(data)
        except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
            pass  # what was said before is still to be read

    def send(self, *frames):
        self.send_raw(b"".join(f if isinstance(f, bytes) else f.serialize() for f in frames))

    def block(self, headers):
        return self.enc.encode(headers, huffman=False)

    def headers_of(self, method="GET", path="/", extra=(), authority="gw.test", scheme="http"):
        return [(":method", method), (":scheme", scheme), (":authority", authority), (":path", path), *extra]

    def id(self):
        self.next_id += 2
        return self.next_id - 2

    def head(self, stream, headers, end=True, flags=("END_HEADERS",)):
        f = HeadersFrame(stream, self.block(headers))
        f.flags |= set(flags) | ({"END_STREAM"} if end else set())
        return f

    def data(self, stream, payload=b"", end=False):
        f = DataFrame(stream, payload)
        if end:
            f.flags.add("END_STREAM")
        return f

    def request(self, method="GET", path="/", extra=(), body=None, end=True, **kw):
        """Sends a request on a new stream; its number."""
        s = self.id()
        frames = [self.head(s, self.headers_of(method, path, extra, **kw), end=end and body is None)]
        if body is not None:
            frames += [self.data(s, body[i:i + 16384]) for i in range(0, len(body), 16384)] or [self.data(s)]
            if end:
                frames[-1].flags.add("END_STREAM")
        self.send(*frames)
        return s

    # ---- in
    def _recv(self):
        try:
            got = self.sock.recv(65536)
        except (ConnectionResetError, BrokenPipeError, ssl.SSLEOFError):
            got = b""
        if not got:
            raise Ended(self.goaway and self.goaway[0])
        self.buf += got

    def read(self):
        """One frame, taken note of and returned; Ended at the end."""
        while len(self.buf) < 9:
            self._recv()
        f, n = Frame.parse_frame_header(memoryview(self.buf[:9]))
        while len(self.buf) < 9 + n:
            self._recv()
        f.parse_body(memoryview(self.buf[9:9 + n]))
        self.buf = self.buf[9 + n:]
        self.frames.append(f)
        self._note(f, n)
        return f

    def answer(self, stream):
        return self.streams.setdefault(stream, Answer())

    def _note(self, f, n):
        if isinstance(f, (HeadersFrame, ContinuationFrame)):
            self._block = (self._block or b"") + f.data
            if isinstance(f, HeadersFrame):
                self._ends = "END_STREAM" in f.flags
            if "END_HEADERS" in f.flags:
                headers = self.dec.decode(self._block)
                self._block = None
                self._head(self.answer(f.stream_id), [(str(a), str(b)) for a, b in headers])
        elif isinstance(f, DataFrame):
            a = self.answer(f.stream_id)
            a.body += f.data
            a.ended |= "END_STREAM" in f.flags
            self.received += n
        elif isinstance(f, RstStreamFrame):
            self.answer(f.stream_id).reset = f.error_code
        elif isinstance(f, GoAwayFrame):
            self.goaway = (f.error_code, f.last_stream_id)
        elif isinstance(f, SettingsFrame):
            if "ACK" in f.flags:
                self.acked += 1
            else:
                self.settings.update(f.settings)
                if self.polite:
                    self.send(SettingsFrame(flags=["ACK"]))
        elif isinstance(f, PingFrame):
            if "ACK" in f.flags:
                self.pings.append(bytes(f.opaque_data))
            elif self.polite:
                self.send(PingFrame(0, f.opaque_data, flags=["ACK"]))

    def _head(self, a, headers):
        if a.headers is not None:
            a.trailers = headers
        elif headers[0][0] == ":status" and headers[0][1].startswith("1"):
            a.interim.append(headers)
        else:
            a.headers = headers
        a.ended |= self._ends

    def until(self, probe, what="it"):
        """Reads until probe() is true."""
        end = time.monotonic() + self.timeout
        while not probe():
            assert time.monotonic() < end, f"{what} did not come: {self.frames[-20:]}"
            self.read()

    def wait(self, stream):
        """The answer on a stream once it is whole, or reset."""
        a = self.answer(stream)
        self.until(lambda: a.ended or a.reset is not None, f"the answer on {stream}")
        return a

    def ask(self, *args, **kw):
        return self.wait(self.request(*args, **kw))

    def sync(self):
        """Everything sent so far has been taken: a PING came back."""
        mark = b"sync%04d" % len(self.pings)
        self.send(PingFrame(0, mark))
        self.until(lambda: mark in self.pings, "the PING's answer")

    def end(self):
        """Reads to the end: the error code of GOAWAY, None without."""
        try:
            while True:
                self.read()
        except Ended as e:
            return e.goaway


def connect(gw, port, host=None, address=None, timeout=20, **kw):
    frm = host or gw.host
    return H2(frm.connect((address or gw.host.address, port), timeout), timeout=timeout, **kw)


# ---- conformance: what is sent, and what must come of it

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED, PRIO = 1, 1, 4, 8, 32


def frame(kind, flags=0, stream=0, payload=b"", length=None):
    """The bytes of a frame, sense or not."""
    n = len(payload) if length is None else length
    return n.to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


class Case:
    """section and text of a rule; act(c) breaks it (or just does not), and returns the stream it did so on."""

    def __init__(self, section, text, act, want):
        self.section, self.text, self.act, self.want = section, text, act, want

    def __repr__(self):
        return f"{self.section} {self.text}"


class Table(list):
    """Cases are functions: @table("6.1", "rule", want)."""

    def __call__(self, section, text, want):
        def keep(act):
            self.append(Case(section, text, act, want))
            return act
        return keep


def connection_error(*codes):
    """GOAWAY with one of the codes, then the end of the connection (RFC 9113 section 5.4.1)."""
    def check(c, stream):
        code = c.end()
        assert code in codes, f"GOAWAY {code}, want {codes}; {c.frames[-8:]}"
    return check


def stream_error(*codes):
    """RST_STREAM with one of the codes, and the connection goes on (section 5.4.2)."""
    def check(c, stream):
        a = c.wait(stream)
        assert a.reset in codes, f"{a}, want a reset with {codes}"
        assert a.status is None, a
        goes_on(c)
    return check


def answered(status):
    def check(c, stream):
        a = c.wait(stream)
        assert a.status == status and a.reset in (None, NO_ERROR), a
        goes_on(c)
    return check


def goes_on(c, stream=None):
    """Nothing came of it."""
    c.next_id = max(c.next_id, 101)
    a = c.ask()
    assert a.status == 200, a
    assert c.goaway is None, c.goaway


def judge(gw, port, case):
    with connect(gw, port, address="127.0.0.1") as c:
        c.until(lambda: c.acked, "SETTINGS and its answer")
        case.want(c, case.act(c))
