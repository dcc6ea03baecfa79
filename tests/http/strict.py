# SPDX-License-Identifier: Apache-2.0
"""
HTTP/1.1 read the way a hostile origin or client might wish we had not: one grammar, no lenience. What the gateway sends,
to either side, must pass here; anything else raises Ambiguous.
"""
import re

TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_FIELD = re.compile(rb"(" + TOKEN + rb"): ?((?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?)\Z")
_REQUEST = re.compile(rb"(" + TOKEN + rb") (/[\x21-\x22\x24-\x7e]*|\*) HTTP/1\.1\Z")
_STATUS = re.compile(rb"HTTP/1\.1 ([1-5][0-9][0-9]) ([\t\x20-\x7e\x80-\xff]*)\Z")


class Ambiguous(AssertionError):
    pass


class Message:
    def __init__(self, line, fields):
        self.line, self.fields, self.body, self.trailers = line, fields, b"", []

    def all(self, name):
        """Values of every field that a CGI server takes for this name."""
        fold = lambda n: n.lower().replace("_", "-")
        return [v for n, v in self.fields if fold(n) == fold(name)]

    def __repr__(self):
        return f"<{self.line} {self.fields} {self.body[:200]!r}>"


def _head(data):
    head, mark, rest = data.partition(b"\r\n\r\n")
    if not mark:
        raise Ambiguous(f"head without end: {data[:300]!r}")
    lines = head.split(b"\r\n")
    for l in lines:
        if b"\r" in l or b"\n" in l or b"\0" in l:
            raise Ambiguous(f"bare CR, LF or NUL: {l!r}")
    fields = []
    for l in lines[1:]:
        m = _FIELD.match(l)
        if not m:
            raise Ambiguous(f"not a field: {l!r}")
        fields.append((m[1].decode(), m[2].decode("latin-1")))
    return lines[0], fields, rest


_NEVER_LATE = {"content-length", "transfer-encoding", "host", "connection", "te", "trailer", "authorization", "cookie", "expect", "upgrade",
               "forwarded", "x-forwarded-for", "content-type", "content-encoding"}


def _trailers(rest):
    fields = []
    while True:
        line, mark, rest = rest.partition(b"\r\n")
        m = _FIELD.match(line)
        if mark and not line:
            return fields, rest
        if not mark or not m or m[1].decode().lower().replace("_", "-") in _NEVER_LATE:
            raise Ambiguous(f"trailers cut short: {line[:80]!r}")
        fields.append((m[1].decode(), m[2].decode("latin-1")))


def _chunked(rest):
    body = b""
    while True:
        size, mark, rest = rest.partition(b"\r\n")
        if not mark or not re.match(rb"[0-9a-fA-F]{1,16}\Z", size):
            raise Ambiguous(f"chunk size {size[:80]!r}")
        n = int(size, 16)
        if n == 0:
            fields, rest = _trailers(rest)
            return body, fields, rest
        data, end, rest = rest[:n], rest[n:n + 2], rest[n + 2:]
        if len(data) != n or end != b"\r\n":
            raise Ambiguous("chunk cut short")
        body += data


def _framed(m, rest, none=False, until_eof=False):
    lengths, codings = m.all("Content-Length"), m.all("Transfer-Encoding")
    if len(lengths) + len(codings) > 1:
        raise Ambiguous(f"framed twice: {m}")
    if none:
        if codings and not until_eof:
            raise Ambiguous(f"coding on a message without body: {m}")
        return rest
    if codings:
        if codings != ["chunked"]:
            raise Ambiguous(f"coding: {m}")
        m.body, m.trailers, rest = _chunked(rest)
        return rest
    if not lengths:
        if until_eof:
            m.body, rest = rest, b""
        return rest
    if not re.match(r"(0|[1-9][0-9]*)\Z", lengths[0]):
        raise Ambiguous(f"length: {m}")
    n = int(lengths[0])
    if len(rest) < n:
        raise Ambiguous(f"body cut short: {m}")
    m.body = rest[:n]
    return rest[n:]


def requests(data):
    """All requests in data, which they fill exactly."""
    out = []
    while data:
        line, fields, data = _head(data)
        r = _REQUEST.match(line)
        if not r:
            raise Ambiguous(f"request line: {line!r}")
        m = Message(line.decode("latin-1"), fields)
        m.method, m.target = r[1].decode(), r[2].decode("latin-1")
        if len(m.all("Host")) != 1:
            raise Ambiguous(f"Host: {m}")
        data = _framed(m, data)
        out.append(m)
    return out


def responses(data, methods):
    """All responses in data to requests of these methods (further ones: GET), which they fill exactly."""
    out, methods = [], list(methods)
    while data:
        line, fields, data = _head(data)
        s = _STATUS.match(line)
        if not s:
            raise Ambiguous(f"status line: {line!r}")
        m = Message(line.decode("latin-1"), fields)
        m.status = int(s[1])
        method = "GET" if m.status < 200 or not methods else methods.pop(0)
        data = _framed(m, data, m.status < 200 or m.status in (204, 304) or method == "HEAD", until_eof=True)
        out.append(m)
    return out
