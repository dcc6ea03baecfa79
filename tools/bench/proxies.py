# SPDX-License-Identifier: Apache-2.0
"""
The upstream, nginx, HAProxy and as many gateways as are asked for, in one namespace with loopback only. All do the same
work: id and forwarding headers set, upstream connections kept, nothing logged.
"""
import os
import shutil
import signal
import subprocess

from harness import gateway, jose, nginx, pki
from harness.wait import until
from measure import LOAD_CPU, PROXY_CPU, pinned

HERE = os.path.dirname(os.path.abspath(__file__))
ANSWER = '{"ok":true,"pad":"' + "0123456789abcdef" * 12 + '"}\\n'
ALGS = {"rs256": "RS256", "es256": "ES256"}
# What a proxy does with a request, and the last two digits of the port that it does it on. Ours has one gateway for each kind,
# since what a route does is the policy's choice, not the port's.
PORTS = {"plain": 0, "tls": 1, "limited": 2, "rs256": 3, "es256": 4, "fulltls": 5, "bulk": 6, "windows": 7, "routes1": 10, "routes100": 11, "routes10000": 12}
TLS = ("tls", "fulltls", "bulk")  # the second gives no tickets and keeps no sessions, so that none is resumed
BASE = {"nginx": 8100, "haproxy": 8200, "sluice": 8300}


def _routes(n):
    """n of them on one host, by path."""
    return {f"r{i}": {"paths": [f"/v1/r{i}"], "upstream": "up", "auth": ["public"]} for i in range(n)}


class Proxies:
    def __init__(self, host, run):
        self.host, self.run, self.pids, self.procs, self.gateways = host, run, {}, {}, {}
        host.run(["sysctl", "-qw", "net.ipv4.ip_local_port_range=10000 65000", "net.ipv4.tcp_tw_reuse=1", "net.core.somaxconn=16384",
                  "net.ipv4.tcp_max_syn_backlog=16384"])
        self.keys = {n: jose.Key(a, kid=n) for n, a in ALGS.items()}
        self._files()
        self.upstream = nginx.Nginx(host, 9000, "location / { return 200 '%s'; } location = /10m { }" % ANSWER, address="127.0.0.1", prefix=pinned(LOAD_CPU))
        with open(f"{self.upstream.dir}/www/10m", "wb") as f:
            f.write(os.urandom(10 << 20))

    def _files(self):
        ca = pki.CA(self.run)
        cert, key = ca.issue("gw.test")
        shutil.copy(cert, f"{self.run}/cert.pem")
        shutil.copy(key, f"{self.run}/key.pem")
        with open(f"{self.run}/both.pem", "w") as f:
            f.write(open(cert).read() + open(key).read())
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
        for name, k in self.keys.items():
            with open(f"{self.run}/{name}.pub", "wb") as f:
                f.write(k.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
            with open(f"{self.run}/{name}.tokens", "w") as f:
                f.writelines(k.token(sub=f"user-{i}", roles=["a", "b"], jti=os.urandom(16).hex(), exp_in=86400) + "\n" for i in range(1000))

    def _conf(self, name):
        text = open(f"{HERE}/{name}").read().format(run=self.run, user="root")
        with open(f"{self.run}/{name}", "w") as f:
            f.write(text)
        return f"{self.run}/{name}"

    def _start_peer(self, name):
        cmd = {"nginx": lambda: [nginx.BINARY, "-p", self.run, "-c", self._conf("nginx.conf"), "-e", f"{self.run}/nginx.err"],
               "haproxy": lambda: ["/usr/sbin/haproxy", "-db", "-f", self._conf("haproxy.cfg")]}[name]()
        self.procs[name] = self.host.popen([*pinned(PROXY_CPU), *cmd], stdout=subprocess.DEVNULL)
        self.pids[name] = self.procs[name].pid

    def policy(self, kind):
        listener = {"bind": [f"127.0.0.1:{BASE['sluice'] + PORTS[kind]}"], "timeouts": {"idle": "300s"}}
        route = {"upstream": "up", "auth": ["public"]}
        policy = {"workers": 1, "upstreams": {"up": {"targets": [{"address": "127.0.0.1:9000"}], "keepalive": {"idle": 128, "requests": 1000000000}}},
                  "correlation_id": {"header": "X-Request-Id", "generator": "uuid", "trust": False, "echo": False}}
        if kind in TLS:
            listener["tls"] = {"certificates": [{"cert": f"{self.run}/cert.pem", "key": {"$file": f"{self.run}/key.pem"}}], "min_version": "1.3",
                               "session_tickets": kind != "fulltls"}
        if kind == "limited":
            route["rate_limit"] = {"second": 10, "by": "ip"}
        if kind == "windows":
            route["rate_limit"] = {**dict.fromkeys(("second", "minute", "hour", "day"), 1000000000), "by": "ip"}
        if kind in ALGS:
            policy["auth"] = {"jwt": {"type": "jwt", "algorithms": [ALGS[kind]], "jwks": jose.jwks(self.keys[kind])}}
            route["auth"] = ["jwt"]
        routes = _routes(int(kind[6:])) if kind.startswith("routes") else {"all": route}
        return {**policy, "listeners": {"main": listener}, "routes": routes}

    def start_sluice(self, kind, prefix=None, env=None):
        self.gateways[kind] = gateway.Gateway(self.policy(kind), self.host, prefix=pinned(PROXY_CPU) if prefix is None else prefix, env=env)
        return self.gateways[kind]

    def stop_sluice(self, kind):
        self.gateways.pop(kind).stop()

    def stop(self, proxy, kind):
        """So that the next ready() starts it anew; nothing where it does not run."""
        if proxy == "sluice" and kind in self.gateways:
            self.stop_sluice(kind)
        elif proxy != "sluice" and proxy in self.pids:
            os.kill(self.pids[proxy], signal.SIGTERM)
            self.procs.pop(proxy).wait(10)
            del self.pids[proxy]

    def port(self, proxy, kind):
        return BASE[proxy] + PORTS[kind]

    def ready(self, proxy, kind):
        """Starts what is not there yet. The process whose tree is the proxy, and its URL."""
        if proxy == "sluice" and kind not in self.gateways:
            self.start_sluice(kind)
        elif proxy != "sluice" and proxy not in self.pids:
            self._start_peer(proxy)
        port = self.port(proxy, kind)
        until(lambda: self.host.connect(("127.0.0.1", port)).close() or True, f"{proxy} to listen")
        pid = self.gateways[kind].proc.pid if proxy == "sluice" else self.pids[proxy]
        return pid, f"{'https' if kind in TLS else 'http'}://127.0.0.1:{port}/"

    def close(self):
        for kind in list(self.gateways):
            self.stop_sluice(kind)
        self.host.stop_procs()
        self.upstream.close()
