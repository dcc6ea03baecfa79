# SPDX-License-Identifier: Apache-2.0
"""
Case files, tests/http/cases/*.http. Blocks of lines; "#" begins a comment, "==" a case and its name.

    == a bare LF ends the request line
    -> GET / HTTP/1.1\\n\\c           bytes that the client sends: CR LF is put behind each line unless it ends in \\c
    -> Host: a.test
    ->
    ->> 0                            from here on only once the origin has got something
    <- 400 close: ends in LF         what it gets: a status for each request; "close" where the connection ends after it,
                                     and a part of the problem's detail behind the colon
    <- Name: value / <- !Name / <- = body      on the response above: a field with this value, no such field, the body
    => nothing                       what the origin gets: nothing; or
    => cut                           a request that never ends (without "->>" perhaps nothing); or for each request
    => GET / HTTP/1.1                its request line; then fields that it has once with this value, or
    => !Name                         under no spelling that CGI takes for it; or
    => = body                        its body
    => + Name: value / <- + Name: value   a trailer; it has no others
    <= HTTP/1.1 200 OK               the origin's answer, in bytes as above; without any it says 200 and "ok"
    <= close                         the origin closes behind it

Escapes in bytes and bodies: \\r \\n \\t \\0 \\\\ \\xHH, \\c at the end of a line, and \\{N*TEXT} for N times TEXT.
"""
import dataclasses
import glob
import os
import re

HERE = os.path.dirname(os.path.abspath(__file__))
_SIMPLE = {"r": b"\r", "n": b"\n", "t": b"\t", "0": b"\0", "\\": b"\\"}


@dataclasses.dataclass
class Expected:
    line: str
    close: bool = False
    detail: str = ""
    fields: list = dataclasses.field(default_factory=list)
    absent: list = dataclasses.field(default_factory=list)
    body: bytes = None
    trailers: list = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Case:
    name: str
    where: str
    sent: list = dataclasses.field(default_factory=lambda: [b""])  # bytes, and more once the origin has got something
    answer: bytes = b""
    answer_close: bool = False
    responses: list = dataclasses.field(default_factory=list)
    requests: list = dataclasses.field(default_factory=list)
    nothing: bool = False
    cut: bool = False


def unescape(text):
    text = re.sub(r"\\\{(\d+)\*([^}]*)\}", lambda m: m[2] * int(m[1]), text)
    out, i = b"", 0
    while i < len(text):
        if text[i] != "\\":
            out += text[i].encode("utf-8")
            i += 1
        elif text[i + 1] == "x":
            out += bytes.fromhex(text[i + 2:i + 4])
            i += 4
        else:
            out += _SIMPLE[text[i + 1]]
            i += 2
    return out


def _line_bytes(text):
    return unescape(text[:-2]) if text.endswith("\\c") else unescape(text) + b"\r\n"


def _detail_of(list_, text, is_start, start):
    """One line of what is expected: the start of a message, or something about the last one."""
    if is_start(text):
        list_.append(start(text))
    elif text.startswith("!"):
        list_[-1].absent.append(text[1:])
    elif text.startswith("+ "):
        list_[-1].trailers.append(tuple(text[2:].split(": ", 1)))
    elif text.startswith("= ") or text == "=":
        list_[-1].body = (list_[-1].body or b"") + unescape(text[2:])
    else:
        name, _, value = text.partition(": ")
        assert value, f"expected what? {text!r}"
        list_[-1].fields.append((name, value))


def _response(text):
    m = re.match(r"(\d{3})( close)?(?:: (.*))?$", text)
    return Expected(m[1], bool(m[2]), m[3] or "")


def _take(case, mark, text):
    if mark == "->>":
        case.sent.append(b"")
    if mark in ("->", "->>"):
        case.sent[-1] += _line_bytes(text)
    elif mark == "<=":
        if text == "close":
            case.answer_close = True
        else:
            case.answer += _line_bytes(text)
    elif mark == "<-":
        _detail_of(case.responses, text, lambda t: re.match(r"\d{3}( close)?(:|$)", t), _response)
    elif text == "nothing":
        case.nothing = True
    elif text == "cut":
        case.cut = True
    else:
        _detail_of(case.requests, text, lambda t: t.endswith(" HTTP/1.1"), Expected)


def load(name):
    cases = []
    with open(f"{HERE}/cases/{name}.http", encoding="utf-8") as f:
        for number, line in enumerate(f, 1):
            line = line.rstrip("\n")
            if not line or line.startswith("#"):
                continue
            mark, _, text = line.partition(" ")
            if mark == "==":
                cases.append(Case(text, f"{name}.http:{number}"))
                continue
            assert mark in ("->", "->>", "<-", "=>", "<="), f"{name}.http:{number}: {line!r}"
            _take(cases[-1], mark, text)
    for c in cases:
        assert c.sent[0] and c.responses and (c.nothing or c.cut or c.requests), f"{c.where}: {c.name}: incomplete"
    names = [c.name for c in cases]
    assert len(names) == len(set(names)), f"{name}.http: a name twice"
    return cases


def files():
    return sorted(os.path.basename(p)[:-5] for p in glob.glob(f"{HERE}/cases/*.http"))
