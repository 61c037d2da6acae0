"""What only Linux has is not touched by asking for help, locating photos or answering requests."""

from __future__ import annotations

import http.client
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

# The standard library of other systems: no affinity, no file locks, no limits, fewer signals.
HIDE = """
import os, signal, sys
del os.sched_getaffinity, os.sched_setaffinity
for name in ("fcntl", "resource", "termios", "pwd", "grp"):
    sys.modules[name] = None
for name in ("SIGHUP", "SIGKILL", "SIGUSR1", "SIGUSR2", "SIGALRM"):
    delattr(signal, name)
from locationnet.cli import main
sys.argv = ["locationnet", *sys.argv[1:]]
main()
"""


def _run(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", HIDE, *map(str, words)], capture_output=True, text=True, check=False
    )


def test_help_is_given() -> None:
    for words in (["--help"], ["locate", "--help"], ["pack", "--help"], ["metadata", "--help"]):
        answer = _run(*words)
        assert answer.returncode == 0, answer.stderr
        assert "Usage: " in answer.stdout


def test_a_photo_is_located(
    tmp_path: Path, tiny_bundle: Path, make_photo: Callable[..., bytes]
) -> None:
    (tmp_path / "photo.jpg").write_bytes(make_photo((250, 250, 250)))
    answer = _run("locate", tmp_path / "photo.jpg", "--model", tiny_bundle, "--format", "json")
    assert answer.returncode == 0, answer.stderr
    assert "Oslo" in answer.stdout


def test_the_service_answers(tiny_bundle: Path, make_photo: Callable[..., bytes]) -> None:
    words = ["serve", "--port", "0", "--model", str(tiny_bundle)]
    with subprocess.Popen(
        [sys.executable, "-c", HIDE, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as service:
        try:
            assert service.stdout is not None
            said = ""
            for line in service.stdout:
                said += line
                if found := re.search(r"http://127\.0\.0\.1:(\d+)", line):
                    break
            else:
                raise AssertionError(said)
            connection = http.client.HTTPConnection("127.0.0.1", int(found[1]), timeout=60)
            headers = {"Content-Type": "image/jpeg"}
            connection.request("POST", "/locate", make_photo((250, 250, 250)), headers)
            answer = connection.getresponse()
            assert answer.status == 200
            assert b"Oslo" in answer.read()
            connection.close()
        finally:
            service.send_signal(signal.SIGTERM)
            service.stdout.read() if service.stdout else None
    assert service.returncode == 0
