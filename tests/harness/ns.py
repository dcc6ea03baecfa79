# SPDX-License-Identifier: Apache-2.0
"""
Hosts as network namespaces.

Everything lives in a mount namespace of the test process (isolate()): its own bpffs and its own /run/netns, so that
pins, links and namespaces end with the process, even one that was killed. A socket keeps the namespace that it was
made in, so a thread enters a host only for as long as it takes to make one; a child inherits the namespace of the
thread that forks it, so no `ip netns exec` (which would hide our bpffs) is needed.
"""
import contextlib
import ctypes
import os
import socket
import subprocess
import tempfile
import threading

from .wait import patience

CLONE_NEWNS, CLONE_NEWNET = 0x00020000, 0x40000000
MS_REC, MS_PRIVATE = 16384, 1 << 18
_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = [ctypes.c_char_p] * 3 + [ctypes.c_ulong, ctypes.c_char_p]
_state = {"isolated": False, "nets": 0}


def is_root():
    return os.geteuid() == 0


def _check(rc, what):
    if rc != 0:
        e = ctypes.get_errno()
        raise OSError(e, f"{what}: {os.strerror(e)}")


def mount(source, target, fstype, flags=0, data=None):
    enc = lambda s: None if s is None else s.encode()
    _check(_libc.mount(enc(source), enc(target), enc(fstype), flags, enc(data)), f"mount {fstype or ''} {target}")


def umount(target):
    _check(_libc.umount2(target.encode(), 2), f"umount {target}")


def isolate():
    """A mount namespace of our own; call it before any thread is started. Does nothing without root."""
    if _state["isolated"] or not is_root():
        return
    _check(_libc.unshare(CLONE_NEWNS), "unshare")
    mount("none", "/", None, MS_REC | MS_PRIVATE)
    os.makedirs("/run/netns", exist_ok=True)
    mount("tmpfs", "/run/netns", "tmpfs")
    mount("bpf", "/sys/fs/bpf", "bpf")
    _state["isolated"] = True


def fresh_bpffs():
    """Drops every pin of the test process, and with them links that only a pin held."""
    if _state["isolated"]:
        umount("/sys/fs/bpf")
        mount("bpf", "/sys/fs/bpf", "bpf")


class Host:
    """One namespace; or, with ns None, the one that the test runs in."""

    def __init__(self, name, ns=None, address="127.0.0.1", address6="::1", interface="lo"):
        self.name, self.ns, self.interface = name, ns, interface
        self.address, self.address6 = address, address6
        self._procs = []

    @contextlib.contextmanager
    def enter(self):
        if self.ns is None:
            yield self
            return
        old = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        new = os.open(f"/run/netns/{self.ns}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _check(_libc.setns(new, CLONE_NEWNET), "setns")
            try:
                yield self
            finally:
                _check(_libc.setns(old, CLONE_NEWNET), "setns back")
        finally:
            os.close(old)
            os.close(new)

    def socket(self, family=socket.AF_INET, kind=socket.SOCK_STREAM):
        with self.enter():
            return socket.socket(family, kind)

    def listen(self, port, address=None, backlog=512):
        s = self.socket(socket.AF_INET6 if address and ":" in address else socket.AF_INET)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind((address or self.address, port))
        s.listen(backlog)
        return s

    def connect(self, address, timeout=10, source=None):
        s = self.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
        s.settimeout(timeout)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if source:
            s.bind(source)
        try:
            s.connect(address)
        except BaseException:
            s.close()
            raise
        return s

    def run(self, cmd, check=False, timeout=60, text=True, **kw):
        with self.enter():
            p = subprocess.Popen(cmd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=text, stdin=subprocess.DEVNULL, **kw)
        try:
            out, err = p.communicate(timeout=patience(timeout))
        except subprocess.TimeoutExpired:
            p.kill()
            out, err = p.communicate()
            raise AssertionError(f"{cmd}: not done after {patience(timeout)} s\n{out}\n{err}")
        if check and p.returncode != 0:
            raise AssertionError(f"{cmd}: exit {p.returncode}\n{out}\n{err}")
        return subprocess.CompletedProcess(cmd, p.returncode, out, err)

    def popen(self, cmd, **kw):
        with self.enter():
            p = subprocess.Popen(cmd, **kw)
        self._procs.append(p)
        return p

    def stop_procs(self):
        """TERM first: a master that is killed leaves its workers behind."""
        for p in self._procs:
            if p.poll() is None:
                p.terminate()
        for p in self._procs:
            try:
                p.wait(patience(5))
            except subprocess.TimeoutExpired:
                p.kill()
                p.wait()
        self._procs.clear()

    def free_port(self):
        with self.socket() as s:
            s.bind(("127.0.0.1", 0))
            return s.getsockname()[1]


def here():
    return Host("here")


class Net:
    """
    with Net("gw", "client", ...) as net: net.gw, net["client"]: hosts on one switch, 10.77.0.1, .2, … and fd77::1, ::2, …,
    each with an interface eth0. Native XDP works on eth0. A net of one host has loopback only.
    """

    def __init__(self, *names, mtu=1500, offload=False):
        _state["nets"] += 1
        self._tag = f"sl{os.getpid()}n{_state['nets']}"
        self._names, self._mtu, self._offload = names, mtu, offload
        self.hosts, self._made = {}, []

    @staticmethod
    def _ip(*args):
        subprocess.run(["ip", *args], check=True, capture_output=True, text=True)

    def _add_ns(self, name):
        ns = f"{self._tag}{name}"
        self._ip("netns", "add", ns)
        self._made.append(ns)
        self._ip("-n", ns, "link", "set", "lo", "up")
        return ns

    def _add_host(self, name, i, switch):
        ns = self._add_ns(name)
        if switch is None:
            self.hosts[name] = Host(name, ns)
            return
        port = f"p{i}"
        self._ip("-n", ns, "link", "add", "eth0", "mtu", str(self._mtu), "type", "veth", "peer", "name", port, "mtu", str(self._mtu), "netns", switch)
        self._ip("-n", switch, "link", "set", port, "master", "br0", "up")
        self._ip("-n", ns, "addr", "add", f"10.77.0.{i}/24", "dev", "eth0")
        self._ip("-n", ns, "addr", "add", f"fd77::{i:x}/64", "dev", "eth0", "nodad")
        self._ip("-n", ns, "link", "set", "eth0", "up")
        host = Host(name, ns, f"10.77.0.{i}", f"fd77::{i:x}", "eth0")
        if not self._offload:
            # partial checksums and superpackets are what no wire carries
            host.run(["ethtool", "-K", "eth0", "tx", "off", "tso", "off", "gso", "off", "gro", "on"])
        self.hosts[name] = host

    def __enter__(self):
        try:
            switch = None
            if len(self._names) > 1:
                switch = self._add_ns("sw")
                self._ip("-n", switch, "link", "add", "br0", "type", "bridge", "mcast_snooping", "0")
                self._ip("-n", switch, "link", "set", "br0", "up")
            for i, name in enumerate(self._names, 1):
                self._add_host(name, i, switch)
        except BaseException:
            self.close()
            raise
        return self

    def add_address(self, name, address):
        """A further address of a host: sources are cheap."""
        self._ip("-n", self.hosts[name].ns, "addr", "add", address, "dev", "eth0", *(["nodad"] if ":" in address else []))

    def wire(self, name):
        """
        Makes the switch's end of a host's link take what XDP sends back. A veth with NAPI alone (GRO) queues such frames,
        but veth_xdp_flush() wakes only a peer that has an XDP program: so one that passes everything.
        """
        switch, port = Host("switch", f"{self._tag}sw"), f"p{self._names.index(name) + 1}"
        pin = f"/sys/fs/bpf/{self._tag}{port}"
        src = '__attribute__((section("xdp"), used)) int wire(void *c) { return 2; }\n' \
              'char l[] __attribute__((section("license"), used)) = "GPL";\n'
        with tempfile.NamedTemporaryFile(suffix=".o") as o:
            subprocess.run(["clang", "-O2", "-g", "-target", "bpf", "-x", "c", "-c", "-", "-o", o.name], input=src, text=True, check=True)
            switch.run(["bpftool", "prog", "load", o.name, pin, "type", "xdp"], check=True)
        switch.run(["bpftool", "net", "attach", "xdp", "pinned", pin, "dev", port], check=True)
        os.unlink(pin)

    def __getitem__(self, name):
        return self.hosts[name]

    def __getattr__(self, name):
        try:
            return self.__dict__["hosts"][name]
        except KeyError:
            raise AttributeError(name) from None

    def close(self):
        for h in self.hosts.values():
            h.stop_procs()
        for ns in self._made:
            subprocess.run(["ip", "netns", "del", ns], capture_output=True)
        self._made.clear()
        self.hosts.clear()

    def __exit__(self, *exc):
        self.close()


class Thread(threading.Thread):
    """A thread whose exception is raised by join()."""

    def __init__(self, fn, *args, **kw):
        super().__init__(daemon=True)
        self._fn, self._args, self._kw = fn, args, kw
        self.result = self.error = None
        self.start()

    def run(self):
        try:
            self.result = self._fn(*self._args, **self._kw)
        except BaseException as e:  # handed to join()
            self.error = e

    def join(self, timeout=60):
        super().join(patience(timeout))
        assert not self.is_alive(), f"{self._fn} still runs after {patience(timeout)} s"
        if self.error:
            raise self.error
        return self.result
