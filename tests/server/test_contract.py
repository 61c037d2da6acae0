"""The answers are what /openapi.json says, whatever is sent."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

CHECKS = (
    "not_a_server_error", "status_code_conformance", "content_type_conformance",
    "response_schema_conformance", "response_headers_conformance",
)  # fmt: skip


def test_whatever_is_sent_the_answer_is_documented(
    start: Callable[..., Any], tiny_bundle: Path, tmp_path: Path
) -> None:
    # No URL is fetched: what is made up could name anybody.
    process = start("--model", str(tiny_bundle), "--no-fetch-urls")
    done = subprocess.run(
        [
            Path(sys.executable).with_name("schemathesis"), "run",
            f"http://127.0.0.1:{process.client.port}/openapi.json",
            "--checks", ",".join(CHECKS), "--phases", "examples,coverage,fuzzing",
            "--max-examples", "25", "--seed", "1", "--generation-database", "none",
            "--no-color", "--continue-on-failure",
        ],
        capture_output=True, text=True, cwd=tmp_path, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-1000:]
    assert "7 selected / 7 total" in done.stdout
    assert process.stop() == 0
    assert '"level": "error"' not in process.log
