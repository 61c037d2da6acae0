"""Cores are counted, not hyper-threads."""

from __future__ import annotations

import os
import subprocess
import sys

from locationnet.processors import cores


def test_a_process_has_at_least_one_core_and_no_more_than_its_processors() -> None:
    assert 1 <= cores() <= len(os.sched_getaffinity(0))


def test_mxnet_uses_all_of_them_unless_told_otherwise() -> None:
    script = "import os, locationnet.train.compat; print(os.environ['OMP_NUM_THREADS'])"
    plain = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    for variables, wanted in ((plain, str(cores())), ({**plain, "OMP_NUM_THREADS": "3"}, "3")):
        out = subprocess.run(
            [sys.executable, "-c", script], env=variables, capture_output=True, check=True
        )
        assert out.stdout.decode().strip() == wanted
