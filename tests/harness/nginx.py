# SPDX-License-Identifier: Apache-2.0
"""Debian's nginx as an origin: its own prefix, configuration and pid file, in a host."""
import os
import signal
import subprocess
import tempfile

from .wait import until

BINARY = "/usr/sbin/nginx"
_CONF = """
worker_processes 1; daemon off; pid {d}/pid; error_log stderr crit; worker_rlimit_nofile 8192; user {user};
events {{ worker_connections 4096; }}
http {{
  access_log off; server_tokens off; keepalive_timeout {keepalive}; keepalive_requests 1000000000; sendfile on;
  client_max_body_size 0; client_body_in_file_only off;
  client_body_temp_path {d}/1; proxy_temp_path {d}/2; fastcgi_temp_path {d}/3; uwsgi_temp_path {d}/4; scgi_temp_path {d}/5;
  root {d}/www; default_type application/octet-stream;
  server {{ listen {address}:{port} backlog=4096; {locations} }}
}}
"""


class Nginx:
    def __init__(self, host, port, locations='location / { return 200 "ok\\n"; }', address=None, keepalive="300s", prefix=()):
        self.host, self.port, self.address = host, port, address or host.address
        self.dir = tempfile.mkdtemp(prefix="sl-nginx-")
        os.chmod(self.dir, 0o755)
        os.mkdir(f"{self.dir}/www")
        with open(f"{self.dir}/conf", "w") as f:
            f.write(_CONF.format(d=self.dir, address=self.address, port=port, locations=locations, keepalive=keepalive,
                                 user="root" if os.geteuid() == 0 else "nobody"))
        self.proc = host.popen([*prefix, BINARY, "-p", self.dir, "-c", f"{self.dir}/conf", "-e", f"{self.dir}/err"], stderr=subprocess.PIPE)
        until(self._up, f"nginx on {self.target}")

    @property
    def target(self):
        return f"{self.address}:{self.port}"

    def _up(self):
        if self.proc.poll() is not None:
            raise RuntimeError(f"nginx: exit {self.proc.returncode}: {self.proc.stderr.read()!r}")
        self.host.connect((self.address, self.port)).close()
        return True

    def close(self):
        if self.proc.poll() is None:
            self.proc.send_signal(signal.SIGTERM)
            self.proc.wait(10)
        subprocess.run(["rm", "-rf", self.dir], check=False)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()
