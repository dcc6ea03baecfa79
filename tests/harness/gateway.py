# SPDX-License-Identifier: Apache-2.0
"""
The daemon under test. Its policy is a dict, written as YAML (JSON is YAML) into a directory of its own; start returns
once /readyz answers 200, and stop() demands a clean exit, no child left, and no report of a sanitizer.
"""
import ctypes
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading

from . import client, ns
from .wait import patience, until

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SLUICED = os.environ.get("SLUICED", f"{ROOT}/build/sluiced")
SLUICECTL = os.environ.get("SLUICECTL", os.path.join(os.path.dirname(SLUICED), "sluicectl"))
SAN = os.environ.get("SLUICE_SAN") == "1"
_SAN_REPORT = re.compile(r"ERROR: (Address|Leak)Sanitizer|runtime error:|SUMMARY: \w+Sanitizer")


def become_subreaper():
    """PR_SET_CHILD_SUBREAPER: a process whose parent ends becomes our child."""
    assert _libc.prctl(36, 1, 0, 0, 0) == 0


def children(pid):
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as f:
            return [int(p) for p in f.read().split()]
    except FileNotFoundError:
        return []


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def proc_status(pid):
    with open(f"/proc/{pid}/status") as f:
        return dict((k, v.strip()) for k, _, v in (l.partition(":") for l in f))


LIVING = set()
_libc = ctypes.CDLL(None, use_errno=True)


class Adopted:
    """A supervisor that took over: its parent ends, and this process (a subreaper) becomes its parent."""

    def __init__(self, pid):
        self.pid, self.returncode = pid, None

    def poll(self):
        if self.returncode is None:
            try:
                done, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:  # not ours yet
                return None if alive(self.pid) else -1
            if done:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout=60):
        try:
            until(lambda: self.poll() is not None, f"the end of pid {self.pid}", timeout)
        except AssertionError:
            raise subprocess.TimeoutExpired("sluiced", timeout) from None
        return self.returncode

    def send_signal(self, sig):
        os.kill(self.pid, sig)

    def kill(self):
        self.send_signal(signal.SIGKILL)

    terminate = kill


class Gateway:
    def __init__(self, policy, host=None, state=None, args=(), env=None, wait=True, prefix=(), name="policy.yaml", sluiced=None):
        self.host = host or ns.here()
        self.dir = tempfile.mkdtemp(prefix="sl-gw-")
        os.chmod(self.dir, 0o755)
        self.socket = f"{self.dir}/admin.sock"
        self.state = state or f"{self.dir}/state"
        self.path = f"{self.dir}/{name}"
        self.log_lines, self._log_cond = [], threading.Condition()
        self._args, self._env, self._prefix = args, env, prefix
        self._sluiced = sluiced or SLUICED
        self.proc = None
        self.write(policy)
        LIVING.add(self)
        try:
            self.start(wait)
        except BaseException:
            self.explain()
            self._clean()
            raise

    # ---- life
    def write(self, policy):
        """The policy as it is (str) or with the admin socket added (dict)."""
        if isinstance(policy, dict):
            policy = {"version": 1, "admin": {"bind": [f"unix:{self.socket}"]}, **policy}
            self.policy = policy
            policy = json.dumps(policy, indent=1)
        with open(self.path, "w") as f:
            f.write(policy)

    def start(self, wait=True):
        os.makedirs(self.state, exist_ok=True)
        env = {**os.environ, **(self._env or {})}
        env.setdefault("ASAN_OPTIONS", "abort_on_error=0:detect_leaks=1:exitcode=99")
        self.proc = self.host.popen([*self._prefix, self._sluiced, "--policy", self.path, "--state", self.state, *self._args],
                                    stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env)
        self._reader = threading.Thread(target=self._read_log, args=(self.proc.stdout,), daemon=True)
        self._reader.start()
        if wait:
            try:
                self.wait_ready()
            except BaseException:
                self.kill()
                self._reader.join(2)
                raise
        return self

    def _read_log(self, stream):
        for line in stream:
            with self._log_cond:
                self.log_lines.append(line.decode("utf-8", "backslashreplace").rstrip("\n"))
                self._log_cond.notify_all()
        with self._log_cond:
            self._log_cond.notify_all()

    def wait_ready(self, timeout=60):
        """The verifier alone may take seconds on a busy machine. Of a supervisor killed before, the controller may still answer: it is not meant."""

        def probe():
            if self.proc.poll() is not None:
                self._reader.join(2)
                raise RuntimeError(f"sluiced: exit {self.proc.returncode}\n{self.log()}")
            return client.get_unix(self.socket, "/readyz", timeout=patience(2)).status == 200 and self.status()["supervisor"]["pid"] in self.tree()
        until(probe, "/readyz 200", timeout)

    def log(self):
        with self._log_cond:
            return "\n".join(self.log_lines)

    def wait_log(self, pattern, timeout=10, start=0):
        """The first log line from number start on that the pattern is found in."""
        rx = re.compile(pattern)

        def probe():
            with self._log_cond:
                return next((l for l in self.log_lines[start:] if rx.search(l)), None)
        return until(probe, f"log line /{pattern}/", timeout)

    def access_log(self):
        """The access log's lines (JSON objects with a status) so far, where it goes to standard output."""
        out = []
        with self._log_cond:
            lines = list(self.log_lines)
        for l in lines:
            if l.startswith("{"):
                try:
                    o = json.loads(l)
                except ValueError as e:
                    raise AssertionError(f"access log line is not JSON: {l!r}: {e}") from None
                if "status" in o:
                    out.append(o)
        return out

    def tree(self):
        """Pids of the supervisor and all below it."""
        out, todo = [], [self.proc.pid]
        while todo:
            p = todo.pop()
            if alive(p):
                out.append(p)
                todo += children(p)
        return out

    def pids(self):
        """{"supervisor": pid, "controller": pid, "workers": [pid by index]}"""
        s = self.status()
        return {"supervisor": s["supervisor"]["pid"], "controller": s["controller"]["pid"],
                "workers": [w["pid"] for w in sorted(s["workers"], key=lambda w: w["index"])]}

    def signal(self, sig):
        self.proc.send_signal(sig)

    def kill_supervisor(self):
        """Hard, and alone; its children have to see it by themselves."""
        pids = self.tree()
        self.proc.kill()
        self.proc.wait()
        until(lambda: not [p for p in pids if alive(p)], "no orphan")

    def kill(self):
        """For clean-up only: no claim about how it ends."""
        pids = self.tree()
        for p in pids:
            try:
                os.kill(p, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.proc.wait()
        self._reader.join(5)

    def adopt(self, pid):
        """pid has taken over; the process that started it is returned, and drains."""
        old, self.proc = self.proc, Adopted(pid)
        return old

    def upgrade(self):
        """`sluicectl upgrade`, or SIGUSR2's effect; the supervisor that handed over, which drains."""
        become_subreaper()

        def ask():  # /readyz may be a moment ahead of the supervisor, which refuses while it thinks that it reloads
            code, out = self.ctl("upgrade", "--json")
            assert code == 0 or "reload is under way" in out, out
            return code == 0 and json.loads(out)
        old = self.adopt(until(ask, "an upgrade", 60)["pid"])
        self.wait_ready()
        return old

    def check_log(self):
        report = _SAN_REPORT.search(self.log())
        assert not report, f"sanitizer report:\n{self.log()[-8000:]}"

    def stop(self, timeout=15):
        """SIGTERM; a clean exit in time, nothing left."""
        if self.proc.poll() is not None:
            self._reader.join(5)
            self.check_log()
            return self.proc.returncode
        pids = self.tree()
        self.proc.send_signal(signal.SIGTERM)
        try:
            rc = self.proc.wait(patience(timeout))
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"sluiced still runs {patience(timeout)} s after SIGTERM\n{self.log()[-4000:]}") from None
        self._reader.join(5)
        self.check_log()
        assert rc == 0, f"sluiced: exit {rc} after SIGTERM\n{self.log()[-4000:]}"
        left = [p for p in pids if alive(p)]
        assert not left, f"left behind: {left}"
        return rc

    def detach(self):
        return self.host.run([SLUICECTL, "--socket", self.socket, "detach"])

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        try:
            if kind is None:
                self.stop()
            else:
                self.explain()
                self.kill()
        finally:
            self._clean()

    def explain(self):
        """For the report of a test that failed: the log's end and every counter that is not zero."""
        print(f"---- {self.path}: log\n" + "\n".join(self.log().splitlines()[-60:]))
        try:
            print("---- counters\n" + "\n".join(l for l in self.metrics_text().splitlines() if not l.startswith("#") and not l.endswith(" 0")))
        except Exception as e:  # the daemon may be what failed
            print(f"---- no counters: {e!r}")

    def _clean(self):
        LIVING.discard(self)
        if self.uses_kernel():
            self.detach()
        shutil.rmtree(self.dir, ignore_errors=True)

    def uses_kernel(self):
        k = getattr(self, "policy", {}).get("kernel") or {}
        return bool(k) and k.get("mode") != "off"

    # ---- talking to it
    def ctl(self, *args, timeout=60):
        """(exit code, output) of sluicectl; output is both streams."""
        r = self.host.run([SLUICECTL, "--socket", self.socket, *args], timeout=timeout)
        return r.returncode, r.stdout + r.stderr

    def ctl_json(self, *args):
        r = self.host.run([SLUICECTL, "--socket", self.socket, *args, "--json"])
        assert r.returncode == 0, f"sluicectl {args}: exit {r.returncode}\n{r.stdout}{r.stderr}"
        return json.loads(r.stdout)

    def apply(self, policy):
        self.write(policy)
        return self.ctl("apply")

    def admin(self, target, method="GET", body=None):
        if isinstance(body, (dict, list)):
            body = json.dumps(body).encode()
        return client.get_unix(self.socket, target, method, body)

    def status(self):
        return self.admin("/v1/status").json()

    def top(self):
        return self.admin("/v1/top").json()

    def counted(self, reason, what="packets"):
        """What the guard has counted for a reason; what: would_drop_packets in shadow mode."""
        return self.top()["kernel"].get(reason, {}).get(what, 0)

    def penalties(self):
        return self.admin("/v1/penalties").json()

    def metrics_text(self):
        r = self.admin("/metrics")
        assert r.status == 200, r
        return r.body.decode()

    def metrics(self):
        """{(name, ((label, value), …)): float}; see metric()."""
        return parse_metrics(self.metrics_text())

    def metric(self, name, **labels):
        """The sum of the series of that name which have these labels."""
        want = set(labels.items())
        return sum(v for (n, l), v in self.metrics().items() if n == name and want <= set(l))

    def client(self, port, host=None, tls=None, sni=None, address=None, timeout=10):
        """A Client connected to the gateway, from a host (default: the gateway's own)."""
        frm = host or self.host
        return client.Client(frm.connect((address or self.host.address, port), timeout), tls, sni, timeout)


_SERIES = re.compile(r'^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)(?: \d+)?$')
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(?:,|$)')


def parse_metrics(text):
    """Prometheus text format 0.0.4, strictly: a malformed or doubled line is an error."""
    out = {}
    for line in text.split("\n"):
        if not line or line.startswith("#"):
            continue
        m = _SERIES.match(line)
        if not m:
            raise AssertionError(f"not a metric line: {line!r}")
        labels, at, src = [], 0, m.group(2) or ""
        while at < len(src):
            l = _LABEL.match(src, at)
            if not l:
                raise AssertionError(f"malformed labels: {line!r}")
            labels.append((l.group(1), l.group(2)))
            at = l.end()
        key = (m.group(1), tuple(sorted(labels)))
        if key in out:
            raise AssertionError(f"series twice: {line!r}")
        out[key] = float(m.group(3))
    return out
