"""How long tests wait for processes: long enough on a slow machine under load."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable

import pytest

# Only a process that hangs takes this long, on a machine however slow; in seconds.
PATIENCE = 900.0


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Return once a condition holds; fail where the process ends before, or hangs."""
    until = time.monotonic() + PATIENCE
    while not condition():
        if process.poll() is not None or time.monotonic() > until:
            process.kill()
            said = "".join(text for text in process.communicate() if text)
            pytest.fail(f"the process ended or hung before what was waited for:\n{said}")
        time.sleep(0.05)
