# SPDX-License-Identifier: Apache-2.0
"""Debian's Prometheus, scraping one target five times a second, in a host."""
import json
import subprocess
import tempfile

from .client import Client
from .wait import until

BINARY = "/usr/bin/prometheus"
_CONF = """
global: {{ scrape_interval: 200ms, scrape_timeout: 200ms }}
scrape_configs: [{{ job_name: sluice, static_configs: [{{ targets: ["{target}"] }}] }}]
"""


class Prometheus:
    def __init__(self, host, target):
        self.host, self.port = host, host.free_port()
        self.dir = tempfile.TemporaryDirectory(prefix="sl-prometheus-")
        with open(f"{self.dir.name}/conf.yml", "w") as f:
            f.write(_CONF.format(target=target))
        self.log = open(f"{self.dir.name}/log", "w+")
        self.proc = host.popen([BINARY, f"--config.file={self.dir.name}/conf.yml", f"--storage.tsdb.path={self.dir.name}/data",
                                f"--web.listen-address=127.0.0.1:{self.port}"], stdout=self.log, stderr=subprocess.STDOUT)
        until(lambda: self._get("/-/ready").status == 200, "prometheus is ready", timeout=60)

    def _get(self, target):
        if self.proc.poll() is not None:
            self.log.seek(0)
            raise RuntimeError(f"prometheus: exit {self.proc.returncode}: {self.log.read()[-2000:]}")
        with Client(self.host.connect(("127.0.0.1", self.port))) as c:
            return c.request("GET", target)

    def query(self, name):
        """The latest values of a metric: [(labels, number)]."""
        r = json.loads(self._get(f"/api/v1/query?query={name}").body)
        assert r["status"] == "success", r
        return [(s["metric"], float(s["value"][1])) for s in r["data"]["result"]]

    def close(self):
        self.proc.terminate()
        self.proc.wait(30)
        self.log.close()
        self.dir.cleanup()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()
