"""The user data of a launch, run for real: it installs a wheel that is built here, and trains.

Takes about a minute: packages come from uv's cache or from the package index.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from locationnet.aws.common import client
from locationnet.aws.ec2 import launch
from locationnet.aws.job import Job
from locationnet.aws.recipe import EC2Recipe
from locationnet.aws.sync import listing, push
from locationnet.aws.transfer import Location
from locationnet.errors import InputError
from locationnet.pack.format import Pack
from tests.aws.servers import BUCKET, IMAGE, REGION
from tests.waiting import PATIENCE, wait_until

ROOT = Path(__file__).parents[3]
UV = Path(sys.executable).parent / "uv"


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel and locked requirements, made as the page says."""
    if not UV.is_file():
        pytest.skip("uv is not beside this interpreter")
    folder = tmp_path_factory.mktemp("dist")
    for command in (
        ["build", "--quiet", "--wheel", "-o", str(folder)],
        ["export", "--quiet", "--locked", "--no-emit-project", "--extra", "train", "--extra",
         "aws", "-o", str(folder / "requirements.txt")],
    ):  # fmt: skip
        subprocess.run([UV, *command], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return folder


def test_the_user_data_of_a_launch_installs_trains_and_shuts_down(
    aws: str, profile: str, package: Path, packs: tuple[Pack, Pack], tmp_path: Path
) -> None:
    s3, ec2, base = client("s3", REGION), client("ec2", REGION), Location(BUCKET, "small")
    push(s3, packs[0].path, base / "train")
    push(s3, packs[1].path, base / "val")
    recipe = EC2Recipe.model_validate(
        {
            "name": "town",
            "region": REGION,
            "out": str(base / "out"),
            "data": {"train": str(base / "train"), "val": str(base / "val")},
            "train": {
                "network": "resnet-18", "image_size": 32, "batch_size": 4, "epochs": 500,
                "threads": 1,
            },
            "machine": {
                "type": "c7i.large", "ami": IMAGE,
                "instance_profile": profile, "max_hours": 1, "checkpoint_minutes": 0.05,
            },
        }
    )  # fmt: skip
    planned = launch.plan(recipe, package)
    machine = launch.launch(recipe, planned)[0]
    said = ec2.describe_instance_attribute(InstanceId=machine.id, Attribute="userData")
    script = tmp_path / "user-data"
    script.write_bytes(base64.b64decode(said["UserData"]["Value"]))
    process, shutdowns = _boot(script, tmp_path, aws)
    try:
        _wait_for_checkpoint(s3, planned.job, process)
        process.send_signal(signal.SIGTERM)
        words = process.communicate(timeout=PATIENCE)[0]
    finally:
        process.kill()
    assert process.returncode == 128 + signal.SIGTERM, words
    assert "signal 15: asking the run to stop" in words
    # Its boot took two minutes. The backstop first, then the end itself.
    assert shutdowns.read_text().splitlines() == ["-h +73", "-h now"]
    root = tmp_path / "root"
    installed = subprocess.run(
        [root / "venv" / "bin" / "locationnet", "--version"], capture_output=True, text=True
    )
    assert installed.stdout.startswith("locationnet ")
    log = s3.get_object(**planned.job.log(0).arguments)["Body"].read().decode()
    assert "resume with the same `locationnet ec2 train`" in log
    # What cloud-init starts at each boot leaves this boot alone, and ends every later one.
    again = tmp_path / "per-boot" / "locationnet"
    subprocess.run([again], check=True)
    assert shutdowns.read_text().count("\n") == 2
    this_boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    again.write_text(again.read_text().replace(this_boot, "another"))
    subprocess.run([again], check=True)
    assert shutdowns.read_text().splitlines() == ["-h +73", "-h now", "-h now"]
    # Nobody but its owner reads what lies there.
    assert root.stat().st_mode & 0o077 == 0


def test_a_machine_whose_package_is_missing_shuts_down_at_once(aws: str, tmp_path: Path) -> None:
    job = Job(
        "town", "20260101T000000-abc", REGION, f"s3://{BUCKET}/out", "s3://xyz/t", "s3://xyz/v"
    )
    script = tmp_path / "user-data"
    script.write_text(launch.user_data(job))
    process, shutdowns = _boot(script, tmp_path, aws)
    process.communicate(timeout=PATIENCE)
    assert process.returncode != 0
    assert shutdowns.read_text().splitlines() == ["-h +1453", "-h now"]


def _boot(script: Path, folder: Path, aws: str) -> tuple[subprocess.Popen[str], Path]:
    """Run a script as a machine would; `shutdown` only notes what it was asked."""
    shutdowns = folder / "shutdowns"
    shutdown = folder / "shutdown"
    shutdown.write_text(f'#!/bin/sh\necho "$@" >> {shutdowns}\n')
    shutdown.chmod(0o755)
    # How this machine reaches its package index is its own affair.
    ours = ("UV_", "SSL_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
    kept = {name: value for name, value in os.environ.items() if name.upper().startswith(ours)}
    cache = subprocess.run([UV, "cache", "dir"], capture_output=True, text=True, check=True)
    process = subprocess.Popen(
        ["bash", script],
        env={
            **kept,
            "PATH": f"{UV.parent}:/usr/bin:/bin",
            "HOME": str(folder),
            "UV_CACHE_DIR": cache.stdout.strip(),
            "LOCATIONNET_ROOT": str(folder / "root"),
            "LOCATIONNET_PER_BOOT": str(folder / "per-boot"),
            "LOCATIONNET_SHUTDOWN": str(shutdown),
            "LOCATIONNET_UPTIME": "121",
            "AWS_ENDPOINT_URL": aws,
            **{n: os.environ[n] for n in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")},
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return process, shutdowns


def _wait_for_checkpoint(s3: Any, job: Job, process: subprocess.Popen[str]) -> None:
    def there() -> bool:
        names = [name for name in listing(s3, job.run) if name.endswith("complete.json")]
        return any(not name.startswith("state-0000-0000000") for name in names)

    wait_until(there, process)


def test_user_data_that_is_too_long_is_refused() -> None:
    options = {f"option-{number}": "x" * 100 for number in range(200)}
    job = Job("a", "b", REGION, "s3://xyz", "s3://xyz/t", "s3://xyz/v", options=options)
    with pytest.raises(InputError, match="do not fit into the user data"):
        launch.user_data(job)


def test_a_place_with_quotation_marks_stays_data(tmp_path: Path) -> None:
    job = Job("a", "b", REGION, "s3://xyz/a\"b'c$(touch x)", "s3://xyz/t", "s3://xyz/v")
    text = launch.user_data(job)
    script = tmp_path / "user-data"
    script.write_text(text)
    assert subprocess.run(["bash", "-n", script]).returncode == 0
    python = text.split("<<'PYTHON'\n")[1].split("\nPYTHON\n")[0]
    tree = compile(python.split("s3 = ")[0], "user-data", "exec")
    found: dict[str, Any] = {}
    exec(tree, found)
    assert found["prefix"] == "a\"b'c$(touch x)/launches/b/package/"
    assert json.loads(text.split("<<'JOB'\n")[1].split("\nJOB\n")[0])["out"] == job.out
