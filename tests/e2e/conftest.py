# SPDX-License-Identifier: Apache-2.0
"""Hosts and an origin as most tests of the guard want them; a file with other needs has fixtures of the same name."""
import pytest
from harness.ns import Net
from harness.origin import Origin


@pytest.fixture
def net(bpffs):
    with Net("gw", "client", "other") as n:
        yield n


@pytest.fixture
def origin(net):
    """On the gateway's host: what is counted at its interface is of clients alone."""
    with Origin(net.gw, address="127.0.0.1") as o:
        yield o
