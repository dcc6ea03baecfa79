# SPDX-License-Identifier: Apache-2.0
"""
Fixtures of the tests that run processes. The whole run has a mount namespace of its own (harness/ns.py), so nothing
that a test pins, mounts or names outlives it.
"""
import os
import sys
import tempfile

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import gateway, ns, pki  # noqa: E402

ns.isolate()


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: measures, or takes more than ten seconds: runs alone, and not under sanitizers")
    config.addinivalue_line("markers", "veth: wants namespaces and veth alone, and no pace of the machine: also run on other kernels (tools/vm --e2e)")
    config.addinivalue_line("markers", "root: needs root (namespaces, BPF)")


def pytest_collection_modifyitems(config, items):
    for item in items:
        if item.get_closest_marker("root") and not ns.is_root():
            item.add_marker(pytest.mark.skip(reason="needs root"))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failure shows what every gateway that then ran had logged."""
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for g in list(gateway.LIVING):
            report.sections.append((f"log of sluiced --policy {g.path}", g.log()[-6000:]))


@pytest.fixture(scope="session", autouse=True)
def _binaries():
    for b in (gateway.SLUICED, gateway.SLUICECTL):
        if not os.access(b, os.X_OK):
            pytest.exit(f"{b} is not there: run make first, or set SLUICED", returncode=2)


@pytest.fixture(scope="session")
def ca(tmp_path_factory):
    return pki.CA(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def lo():
    """One host with loopback only, where any port is free; without root, the machine itself."""
    if not ns.is_root():
        yield ns.here()
        return
    with ns.Net("lo") as net:
        yield net.lo


@pytest.fixture
def bpffs():
    """No pins before, none after."""
    ns.fresh_bpffs()
    yield "/sys/fs/bpf"
    ns.fresh_bpffs()


@pytest.fixture
def tmp():
    with tempfile.TemporaryDirectory(prefix="sl-test-") as d:
        os.chmod(d, 0o755)
        yield d
