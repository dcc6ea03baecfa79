# SPDX-License-Identifier: Apache-2.0
"""What is left of limits outlives the daemon, stopped or killed; a damaged file is reported and ignored."""
import os
import re
import time

from harness.gateway import Gateway
from harness.policy import serving
from harness.wait import until

P = 8080


def policy():
    return serving("127.0.0.1:9", P, routes={"all": {"upstream": None, "respond": {"status": 200, "body": "ok"}, "rate_limit": {"hour": 10, "by": "ip"}}}, upstreams=None)


def left(g):
    with g.client(P) as c:
        return int(re.search(r"r=(\d+)", c.request("GET", "/").get("RateLimit")).group(1))


def test_over_a_stop_a_crash_and_a_damaged_file(lo):
    with Gateway(policy(), lo) as g:
        kept = f"{g.state}/limits.state"
        assert [left(g) for _ in range(3)] == [9, 8, 7]
        g.stop()
        assert os.stat(kept).st_mode & 0o777 == 0o600
        g.start()
        assert "go on as they were left" in g.log()
        assert left(g) == 6

        admitted = time.time()
        until(lambda: os.stat(kept).st_mtime > admitted, "the file to be written again")
        g.kill()
        g.start()
        assert left(g) == 5
        g.stop()

        whole = open(kept, "rb").read()
        for damaged, why in ((whole[:-1], "cut"), (whole[:60] + bytes([whole[60] ^ 1]) + whole[61:], "checksum"), (b"", "no such file"),
                             (whole[:8] + b"\x07" + whole[9:], "another version")):
            with open(kept, "wb") as f:
                f.write(damaged)
            lines = len(g.log_lines)
            g.start()
            g.wait_log(f"limits.state is not used: .*{why}.*limits begin full", start=lines)
            assert left(g) == 9
            g.stop()
