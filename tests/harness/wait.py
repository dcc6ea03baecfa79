# SPDX-License-Identifier: Apache-2.0
"""Waiting for what has no event to wait on: polled with a deadline, and what was last seen is in the error."""
import time


def until(probe, what, timeout=10.0, every=0.02):
    """The first true value of probe(); exceptions of it count as "not yet"."""
    end, last = time.monotonic() + timeout, None
    while True:
        try:
            last = probe()
            if last:
                return last
        except (OSError, ValueError, KeyError, AssertionError) as e:
            last = e
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {timeout} s; last seen: {last!r}")
        time.sleep(every)
