"""A child process is listened to, asked, and ended with all that it started."""

from __future__ import annotations

import os
import time

import pytest

from locationnet.child import Child, locationnet_command, python


def _child(code: str, lines: list[str]) -> Child:
    return Child(python(code), lines.append, os.environ)


def test_what_it_says_is_passed_on_and_remembered() -> None:
    lines: list[str] = []
    child = _child("import sys\nfor n in range(50): print(n)\nsys.stderr.write('end')", lines)
    assert child.wait() == 0
    assert lines == [*map(str, range(50)), "end"]
    assert child.last_lines == (*map(str, range(21, 50)), "end")


def test_it_is_asked_to_end_and_says_why_it_did() -> None:
    lines: list[str] = []
    code = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))\n"
        "print('ready', flush=True)\ntime.sleep(600)"
    )
    child = _child(code, lines)
    while "ready" not in lines:
        time.sleep(0.01)
    assert child.poll() is None
    assert child.ended_s == 0
    assert child.wait(0.01) is None
    child.stop()
    assert child.wait() == 3
    time.sleep(0.01)
    assert child.ended_s > 0
    child.stop()  # nobody is there any more
    child.kill()
    assert child.poll() == 3


def test_what_it_started_ends_with_it() -> None:
    lines: list[str] = []
    code = (
        "import subprocess, sys, time\n"
        "grandchild = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "print(grandchild.pid, flush=True)\ntime.sleep(600)"
    )
    child = _child(code, lines)
    while not lines:
        time.sleep(0.01)
    child.kill()
    assert child.poll() == -9
    for _ in range(1000):
        try:
            os.kill(int(lines[0]), 0)
        except ProcessLookupError:
            break
        with open(f"/proc/{lines[0]}/stat") as file:  # noqa: PTH123 - it may go at any moment
            if file.read().rpartition(")")[2].split()[0] == "Z":  # nobody has asked for it yet
                break
        time.sleep(0.01)
    else:
        pytest.fail("it is still there")


def test_a_command_is_run_as_on_the_command_line() -> None:
    lines: list[str] = []
    assert Child(locationnet_command("--version"), lines.append, os.environ).wait() == 0
    assert lines[0].startswith("locationnet ")
