"""Who sees a moving bar: a person at a terminal, and no file, whatever colours are asked for."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest

VERBS = """
from locationnet.cli.terminal import progress_bar
with progress_bar() as bar:
    bar.advance(bar.add_task("verb at work", total=2))
"""
TRAINING = """
import pathlib
from locationnet.train.log import RunLog
log = RunLog(pathlib.Path("run"))
with log.bar("verb at work", 2):
    log.advance()
"""


@pytest.mark.parametrize("code", [VERBS, TRAINING], ids=["verbs", "training"])
def test_a_bar_is_drawn_on_a_terminal_only(code: str) -> None:
    variables = {**os.environ, "FORCE_COLOR": "1", "TERM": "xterm-256color"}
    command = [sys.executable, "-c", code]
    piped = subprocess.run(command, env=variables, capture_output=True, check=True)
    assert piped.stdout + piped.stderr == b""
    ours, theirs = pty.openpty()
    try:
        subprocess.run(command, env=variables, stderr=theirs, check=True)
        assert b"verb at work" in os.read(ours, 10_000)
    finally:
        os.close(ours)
        os.close(theirs)
