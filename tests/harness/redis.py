# SPDX-License-Identifier: Apache-2.0
"""Debian's redis-server in a host, that keeps nothing; killed and started again as a test says."""
import shutil
import signal
import subprocess
import tempfile

from .wait import until

BINARY = "/usr/bin/redis-server"


class Redis:
    def __init__(self, host, port=6379, address=None, password=None):
        self.host, self.port, self.address, self.password = host, port, address or host.address, password
        self.dir = tempfile.mkdtemp(prefix="sl-redis-")
        self.proc = None
        self.start()

    @property
    def url(self):
        return f"redis://{self.address}:{self.port}"

    def start(self):
        args = [BINARY, "--port", str(self.port), "--bind", self.address, "--save", "", "--appendonly", "no", "--dir", self.dir, "--protected-mode", "no"]
        if self.password:
            args += ["--requirepass", self.password]
        self.proc = self.host.popen(args, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
        until(self._up, f"redis on {self.address}:{self.port}")

    def _up(self):
        assert self.proc.poll() is None, f"redis-server: exit {self.proc.returncode}"
        return self.ask("PING") in (b"+PONG\r\n", b"-NOAUTH Authentication required.\r\n")

    def ask(self, *words):
        """The raw answer to one command (its first 64 KiB)."""
        with self.host.connect((self.address, self.port), 5) as s:
            cmds = [("AUTH", self.password)] if self.password and words != ("PING",) else []
            out = b""
            for w in [*cmds, words]:
                s.sendall(b"*%d\r\n" % len(w) + b"".join(b"$%d\r\n%s\r\n" % (len(x.encode()), x.encode()) for x in w))
                out = s.recv(65536)
            return out

    def kill(self):
        self.proc.send_signal(signal.SIGKILL)
        self.proc.wait()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        if self.proc.poll() is None:
            self.kill()
        shutil.rmtree(self.dir, ignore_errors=True)
