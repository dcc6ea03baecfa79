# SPDX-License-Identifier: Apache-2.0
"""Waiting for what has no event to wait on: polled with a deadline, and what was last seen is in the error."""
import os
import time

SLOW = float(os.environ.get("SLUICE_SLOW", "1"))  # how many times slower than any real machine this one is


def patience(seconds):
    """How long to wait here for what takes less than that elsewhere. Not for what must not come."""
    return seconds * SLOW


def until(probe, what, timeout=10.0, every=0.02):
    """The first true value of probe(); exceptions of it count as "not yet"."""
    timeout = patience(timeout)
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
