# SPDX-License-Identifier: Apache-2.0
"""What the rule by rule tests of RFC 9113 share: a gateway, and streams brought into a state."""
import contextlib

from .gateway import Gateway
from .h2 import RST_STREAM, frame
from .origin import Origin, response
from .policy import serving, upstream

P, STREAMS = 8080, 10


@contextlib.contextmanager
def serving_rules(lo):
    def answer(r):
        if r.target.startswith("/wait"):
            r.conn.closed.wait(20)
            return None
        return response(body=b"ok")
    with Origin(lo, answer=answer) as o:
        # a backlog that is full: connecting to it takes longer than a test does
        full = lo.listen(0, backlog=0)
        waiting = [lo.socket() for _ in range(4)]
        for s in waiting:
            s.setblocking(False)
            s.connect_ex(full.getsockname())
        name = "127.0.0.1:%d" % full.getsockname()[1]
        with Gateway(serving(o, port=P, listeners={"main": {"protocols": ["h2"], "limits": {"streams": STREAMS}}}, upstreams={"full": upstream(name)},
                             routes={"full": {"paths": ["/unreachable"], "upstream": "full", "auth": ["public"], "timeouts": {"connect": "30s"}}}), lo) as g:
            yield g
        for s in [full, *waiting]:
            s.close()


def get(c, **kw):
    return c.block(c.headers_of(**kw))


def u32(n):
    return n.to_bytes(4, "big")


def opened(c):
    """A stream that waits for its answer, half closed by us."""
    return c.request(path="/wait")


def half(c):
    """A stream that we may still send on."""
    return c.request("POST", "/wait", end=False)


def done(c):
    """A stream that has ended on both sides."""
    s = c.request()
    c.wait(s)
    return s


def reset(c):
    """A stream that we have reset."""
    s = half(c)
    c.send(frame(RST_STREAM, 0, s, u32(8)))
    return s
