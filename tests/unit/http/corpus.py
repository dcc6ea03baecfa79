#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
The public corpora as records for test_corpus.c, on standard output:

    KIND NAME-LENGTH BYTES-LENGTH WANT-LENGTH\n NAME BYTES WANT

corpus.py desync DIR   KIND is the tier; BYTES what a client would send, its body a request that must never be seen
corpus.py llhttp DIR   KIND is the type of the case; WANT is "!" where llhttp reports an error, else one line
                       "METHOD TARGET BODY-LENGTH" for each message that it saw whole, or "…" after the last one

Where PyYAML or the folder is missing it says so on standard error and exits 77. tests/http uses desync_cases() too.
"""
import glob
import os
import re
import sys

HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: hidden.test\r\n\r\n"


def _encodings(case):
    """YAML's escapes name code points; what a client sends is bytes: as UTF-8, and as Latin-1 where that differs."""
    yield "utf-8"
    text = "".join(f"{h['name']}{h['value']}" for h in case["headers"] or []) + f"{case['uri']}{case['method']}"
    if any(0x7f < ord(c) < 0x100 for c in text):
        yield "latin-1"


def _body(headers):
    """The body that a client means which sends these fields, whatever it does to their names."""
    bare = lambda n: re.sub("[^a-z]", "", n.lower())
    if any(bare(n) == "transferencoding" for n, _ in headers):
        return b"%x\r\n%s\r\n0\r\n\r\n" % (len(HIDDEN), HIDDEN)
    lengths = [v.strip() for n, v in headers if bare(n) == "contentlength"]
    if lengths and lengths[0].isdigit() and int(lengths[0]) < 1 << 23:
        n = int(lengths[0])
        return (HIDDEN + b"x" * n)[:n]
    return HIDDEN if lengths else b""


def _request(case, encoding):
    headers = [(str(h["name"]), str(h["value"])) for h in case["headers"] or []]
    line = " ".join(p for p in (case["method"], case["uri"], case["version"]) if p)
    if not any(n.lower() == "host" for n, _ in headers):
        headers.insert(0, ("Host", "corpus.test"))
    head = line + "\r\n" + "".join(f"{n}: {v}\r\n" for n, v in headers) + "\r\n"
    return head.encode(encoding, "replace") + _body(headers)


def desync_cases(root):
    """(tier, name, bytes) of each case in each encoding that matters."""
    import yaml
    for path in sorted(glob.glob(f"{root}/http1-desync/*.yaml")):
        with open(path, encoding="utf-8") as f:
            cases = yaml.safe_load(f) or []
        for case in cases:
            for encoding in _encodings(case):
                name = f"{os.path.basename(path)}: {case['name']}" + (" (latin-1)" if encoding == "latin-1" else "")
                yield case["expected"]["tier"], name, _request(case, encoding)


def _unescape(text):
    """As llhttp's own runner reads its fixtures."""
    text = re.sub(r"\n\Z", "", text)
    text = re.sub(r"\\\n", "", text)
    text = text.replace("\n", "\r\n")
    for esc, c in (("\\r", "\r"), ("\\n", "\n"), ("\\t", "\t"), ("\\f", "\f")):
        text = text.replace(esc, c)
    data = text.encode("utf-8")
    data = re.sub(rb"\\x([0-9a-fA-F]{2})", lambda m: bytes([int(m[1], 16)]), data)
    return re.sub(rb"\\([0-7]{1,3})", lambda m: bytes([int(m[1], 8) & 255]), data)


def _want(log):
    """What llhttp saw: messages with their method, target and body length."""
    if re.search(r"^off=\d+ error code=(?!2[123] )", log, re.M):
        return "!"
    messages = []
    for line in log.splitlines():
        span = re.match(r"off=\d+ len=(\d+) span\[(\w+)\]=\"(.*)\"$", line)
        if line.endswith("message begin"):
            messages.append({"method": "", "url": "", "body": 0, "whole": False})
        elif line.endswith("message complete"):
            messages[-1]["whole"] = True
        elif span and span[2] in ("method", "url"):
            messages[-1][span[2]] += span[3]
        elif span and span[2] == "body":
            messages[-1]["body"] += int(span[1])
    return "".join(f"{m['method']} {m['url']} {m['body']}\n" if m["whole"] else "…\n" for m in messages)


def llhttp_cases(root):
    """(type, name, bytes, want)"""
    for path in sorted(glob.glob(f"{root}/http1-llhttp/*.md")):
        with open(path, encoding="utf-8") as f:
            text = f.read()
        seen = {}
        for m in re.finditer(r"^#+ ([^\n]+)\n((?:(?!^#+ ).)*?)<!-- meta=\{\s*\"type\":\s*\"([^\"]+)\"[^>]*-->\s*```http\n(.*?)^```\n(?:(?!^#).)*?```log\n(.*?)```", text, re.M | re.S):
            if "skipBody" in m[0]:  # about a callback of llhttp's interface
                continue
            name = f"{os.path.basename(path)}: {m[1].strip()}"
            seen[name] = seen.get(name, 0) + 1
            if seen[name] > 1:
                name += f" ({seen[name]})"
            yield m[3], name, _unescape(m[4]), _want(m[5])


def main():
    kind, root = sys.argv[1:]
    if not os.path.isdir(f"{root}/http1-{kind}"):
        print(f"{root}/http1-{kind}: not there", file=sys.stderr)
        return 77
    out = sys.stdout.buffer
    try:
        for record in (desync_cases if kind == "desync" else llhttp_cases)(root):
            tier, name, data, want = (*record, "")[:4]
            name, want = name.encode(), want.encode()
            out.write(b"%s %d %d %d\n%s%s%s" % (tier.encode(), len(name), len(data), len(want), name, data, want))
    except ImportError as e:
        print(e, file=sys.stderr)
        return 77
    return 0


if __name__ == "__main__":
    sys.exit(main())
