# SPDX-License-Identifier: Apache-2.0
"""The sender spoof.c, compiled once a run: a bounded flood of SYNs from invented addresses."""
import atexit
import json
import os
import shutil
import subprocess
import tempfile

_built = []


def binary():
    if not _built:
        d = tempfile.mkdtemp(prefix="sl-spoof-")
        atexit.register(shutil.rmtree, d, True)
        src = os.path.join(os.path.dirname(os.path.abspath(__file__)), "spoof.c")
        subprocess.run([os.environ.get("CC", "gcc"), "-O2", "-Wall", "-Wextra", "-o", f"{d}/spoof", src], check=True)
        _built.append(f"{d}/spoof")
    return _built[0]


class Flood:
    """Runs beside the test from start to result(), which is the number of SYNs sent."""

    def __init__(self, host, to, port, network, count, rate):
        link = json.loads(to.run(["ip", "-j", "link", "show", "dev", "eth0"], check=True).stdout)[0]["address"]
        self.patience = count / rate + 120
        self.proc = host.popen([binary(), "eth0", link, to.address, str(port), network, str(count), str(rate)], stdout=subprocess.PIPE, text=True)

    def running(self):
        return self.proc.poll() is None

    def result(self):
        out, _ = self.proc.communicate(timeout=self.patience)
        assert self.proc.returncode == 0, out
        return int(out)
