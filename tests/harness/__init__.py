# SPDX-License-Identifier: Apache-2.0
"""What the tests that run processes share: hosts in network namespaces, keys, origins, clients, the gateway."""
