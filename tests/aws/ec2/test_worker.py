"""A machine's work: real training of a small world, with checkpoints in S3 and all ways to end."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from locationnet.aws.common import client
from locationnet.aws.ec2 import interruption, worker
from locationnet.aws.ec2.imds import Metadata
from locationnet.aws.job import LAUNCH_TAG, Job
from locationnet.aws.sync import listing, pull, push
from locationnet.aws.transfer import Location
from locationnet.errors import LocationNetError
from locationnet.pack.format import Pack
from locationnet.train.log import read
from tests.aws.servers import BUCKET, IMAGE, REGION, Answer, Asked, Proxy, metadata_service
from tests.waiting import PATIENCE, wait_until

OPTIONS = {
    "init": "small-0000.params", "image-size": "32", "batch-size": "16", "epochs": "9000",
    "rate": "0.05", "threads": "1", "std": "60 60 60", "every-minutes": "0", "log-every": "7",
}  # fmt: skip


@pytest.fixture
def job(aws: str, packs: tuple[Pack, Pack], small_network: Path) -> Job:
    """A job whose packs and network are in S3."""
    s3, base = client("s3", REGION), Location(BUCKET, "small")
    for name, folder in (
        ("train", packs[0].path), ("val", packs[1].path), ("init", small_network.parent),
    ):  # fmt: skip
        push(s3, folder, base / name)
    return Job(
        "town", "20260101T000000-abc", REGION, str(base / "out"), str(base / "train"),
        str(base / "val"), str(base / "init"), OPTIONS, checkpoint_minutes=0.05,
    )  # fmt: skip


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start `locationnet ec2 work`; what is left is ended with the test."""
    processes = []

    def start(job: Job, folder: Path, **variables: str) -> subprocess.Popen[str]:
        folder.mkdir(exist_ok=True)
        path = folder / "job.json"
        path.write_text(job.to_json())
        process = subprocess.Popen(
            [sys.executable, "-c", "from locationnet.cli import main; main()",
             "ec2", "work", str(path), "--folder", str(folder)],
            env={**os.environ, "OMP_NUM_THREADS": "1", **variables},
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def _wait_for_state(job: Job, process: subprocess.Popen[str]) -> None:
    """Wait until S3 holds a checkpoint from within the run."""
    s3 = client("s3", REGION)

    def there() -> bool:
        names = [n for n in listing(s3, job.run) if n.endswith("complete.json")]
        return any(not name.startswith("state-0000-0000000") for name in names)

    wait_until(there, process)


def test_a_spot_notice_stops_the_run_and_the_next_machine_resumes_it(
    job: Job, started: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    folder = tmp_path / "machine"
    with metadata_service(local_ipv4="127.0.0.1") as metadata:
        endpoint = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": metadata.url}
        first = started(job, folder, **endpoint)
        _wait_for_state(job, first)
        metadata.take_back()
        said = first.communicate(timeout=PATIENCE)[1]
    assert first.returncode == 128 + signal.SIGTERM, said
    assert "EC2 takes this spot machine back: asking the run to stop" in said
    stopped_at = re.findall(r"stopped at (epoch \d+, batch \d+)", said)[0]
    # The machine and its disk are gone; only S3 is left.
    shutil.rmtree(folder)
    # With patience the run comes to its end; without, a stop would race with it.
    second = started(replace(job, options={**OPTIONS, "patience": "1"}), folder)
    said = second.communicate(timeout=PATIENCE)[1]
    assert second.returncode == 0, said
    assert f"resuming at {stopped_at}" in said
    s3 = client("s3", REGION)
    kept = listing(s3, job.run)
    # Old states go from S3 as they go from the disk; what every machine said is there.
    assert len([name for name in kept if name.endswith("complete.json")]) == 2
    log = s3.get_object(**job.log(0).arguments)["Body"].read().decode()
    assert log.rstrip().endswith("training is done")
    fetched = tmp_path / "fetched"
    pull(s3, job.run, fetched)
    epochs = [
        record["epoch"] for record in read(fetched / "log.jsonl") if record["kind"] == "epoch"
    ]
    assert epochs == list(range(1, len(epochs) + 1))
    assert f"checkpoint-{len(epochs):04d}.params" in kept


def _launched(job: Job) -> tuple[str, str]:
    """Have EC2 describe two machines of a launch, with addresses that this machine has."""
    hosts = ("127.0.0.12", "127.0.0.7")
    ec2 = client("ec2", REGION)
    network = ec2.create_vpc(CidrBlock="127.0.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=network, CidrBlock="127.0.0.0/24")["Subnet"]["SubnetId"]
    for host in hosts:
        tags = {"ResourceType": "instance", "Tags": [{"Key": LAUNCH_TAG, "Value": job.launch}]}
        ec2.run_instances(
            ImageId=IMAGE, MinCount=1, MaxCount=1, SubnetId=subnet, PrivateIpAddress=host,
            TagSpecifications=[tags],
        )  # fmt: skip
    return hosts


def test_two_machines_find_each_other_train_together_and_stop_when_asked(
    job: Job, started: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    """Addresses of this machine stand for two, as EC2 describes them."""
    together = replace(job, machines=2, options={**OPTIONS, "devices": "cpu:1"})
    hosts = _launched(job)
    with metadata_service(local_ipv4=hosts[0]) as one, metadata_service(local_ipv4=hosts[1]) as two:
        machines = [
            started(together, tmp_path / f"machine-{index}",
                    AWS_EC2_METADATA_SERVICE_ENDPOINT=metadata.url)
            for index, metadata in enumerate((one, two))
        ]  # fmt: skip
        _wait_for_state(together, machines[0])
        client("s3", REGION).put_object(**together.stop_mark.arguments, Body=b"")
        words = [machine.communicate(timeout=PATIENCE)[1] for machine in machines]
    # Sorted as text, the first address leads.
    assert "machine 1 of 2: 127.0.0.12 of 127.0.0.12, 127.0.0.7" in words[0]
    assert "machine 2 of 2: 127.0.0.7 of" in words[1]
    assert machines[0].returncode == 128 + signal.SIGTERM, words[0]
    assert "batches of 32" in words[0]
    facts = client("s3", REGION).get_object(**(together.run / "checkpoint-run.json").arguments)
    assert json.loads(facts["Body"].read())["workers"] == 2
    for place in (0, 1):
        log = client("s3", REGION).get_object(**together.log(place).arguments)["Body"].read()
        assert f"machine {place + 1} of 2".encode() in log
    assert "`locationnet ec2 stop` was called" in "".join(words)


def test_a_machine_waits_for_its_like_and_says_when_they_do_not_come(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "_GATHER_S", 0.0)
    with metadata_service(local_ipv4="127.0.0.12") as metadata:
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", metadata.url)
        with pytest.raises(LocationNetError, match="only 0 of 2 machines appeared"):
            worker.work(replace(job, machines=2), tmp_path)
    # Whoever looks for the reason finds it without the machine.
    log = client("s3", REGION).get_object(**job.log(0).arguments)["Body"].read()
    assert log == b"error: only 0 of 2 machines appeared\n"


def test_a_machine_whose_like_do_not_get_ready_ends(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "_FETCH_S", 0.0)
    monkeypatch.setattr(worker, "_PEERS_S", 0.01)
    with metadata_service(local_ipv4=_launched(job)[0]) as metadata:
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", metadata.url)
        with pytest.raises(LocationNetError, match="only 1 of 2 machines fetched their packs"):
            worker.work(replace(job, machines=2), tmp_path)


class _NoChild:
    """Stands where training would begin."""

    def __init__(self, *_: object) -> None:
        pytest.fail("training began")


def _ask_to_stop(job: Job) -> None:
    client("s3", REGION).put_object(**job.stop_mark.arguments, Body=b"")


@pytest.mark.parametrize("wish", ["stop", "notice", "signal", "time"])
def test_a_machine_that_is_asked_to_end_fetches_no_further(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proxy: Proxy, wish: str
) -> None:
    """The wish comes while the first pack's files are fetched."""
    monkeypatch.setattr(worker, "Child", _NoChild)
    monkeypatch.setattr(interruption, "_NOTICE_S", 0.0)
    monkeypatch.setattr(interruption, "_MARK_S", 0.0)
    # Files come side by side, and a second signal would end this process.
    once = threading.Lock()

    def come(asked: Asked) -> None:
        wanted = asked.method == "GET" and "/small/train/" in asked.path
        if wanted and once.acquire(blocking=False):
            if wish == "stop":
                _ask_to_stop(job)
            elif wish == "notice":
                metadata.take_back()
            elif wish == "signal":
                os.kill(os.getpid(), signal.SIGTERM)

    proxy.rule = come
    with metadata_service(local_ipv4="127.0.0.1") as metadata:
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", metadata.url)
        spent = job.max_hours * 3600 if wish == "time" else 0.0
        assert worker.work(job, tmp_path, spent) == 128 + signal.SIGTERM
    assert not [asked for asked in proxy.asked if "/small/val/" in asked.path]
    log = client("s3", REGION).get_object(**job.log(0).arguments)["Body"].read().decode()
    assert "before training began; resume with the same `locationnet ec2 train`" in log
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("machines", [3, 2])
def test_a_machine_that_waits_for_its_like_ends_when_asked(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proxy: Proxy, machines: int
) -> None:
    """Of three, one does not appear; of two, one does not get ready. The group ends as a whole."""
    monkeypatch.setattr(worker, "Child", _NoChild)
    monkeypatch.setattr(worker, "_PEERS_S", 0.01)
    monkeypatch.setattr(interruption, "_NOTICE_S", 0.0)
    group = replace(job, machines=machines)
    with metadata_service(local_ipv4=_launched(job)[0]) as metadata:
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", metadata.url)

        def come(asked: Asked) -> None:
            gathering, ready = asked.action == "DescribeInstances", "/ready/" in asked.path
            if ready if machines == 2 else gathering:
                metadata.take_back()

        proxy.rule = come
        assert worker.work(group, tmp_path) == 128 + signal.SIGTERM
    assert any("/ready/" in asked.path for asked in proxy.asked) == (machines == 2)
    client("s3", REGION).head_object(**job.stop_mark.arguments)


def test_a_copy_to_s3_that_fails_is_tried_again(
    job: Job, proxy: Proxy, started: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    """The copies during the run and the log's fail; the last one, after it, does not."""
    done = tmp_path / "machine" / "run" / "training.png"
    proxy.rule = lambda asked: Answer(500) if asked.method == "PUT" and not done.exists() else None
    short = replace(job, checkpoint_minutes=0.005, options={**OPTIONS, "epochs": "9"})
    machine = started(short, tmp_path / "machine")
    said = machine.communicate(timeout=PATIENCE)[1]
    assert machine.returncode == 0, said
    assert "it is tried again later" in said
    assert "checkpoint-0009.params" in listing(client("s3", REGION), job.run)


class _TrainedAlready:
    """Training that ends well at once and leaves a file."""

    def __init__(self, words: list[str], *_: object) -> None:
        self._out = Path(words[words.index("--out") + 1])

    def wait(self, _: float) -> int:
        (self._out / "weights.params").write_bytes(b"weights")
        return 0

    def kill(self) -> None:
        pass


def _failing_copies(job: Job, failures: float) -> Callable[[Asked], Answer | None]:
    """Let S3 refuse the run's file so many times."""
    refused: list[str] = []

    def rule(asked: Asked) -> Answer | None:
        if asked.method == "PUT" and "/run/" in asked.path and len(refused) < failures:
            refused.append(asked.path)
            return Answer(503)
        return None

    return rule


def test_the_last_copy_is_tried_until_it_succeeds(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proxy: Proxy
) -> None:
    monkeypatch.setattr(worker, "Child", _TrainedAlready)
    monkeypatch.setattr(worker, "_RETRY_S", 0.01)
    monkeypatch.setattr(worker, "_RETRY_MOST_S", 0.02)
    proxy.rule = _failing_copies(job, 4)
    assert worker.work(job, tmp_path) == 0
    assert "weights.params" in listing(client("s3", REGION), job.run)
    log = client("s3", REGION).get_object(**job.log(0).arguments)["Body"].read().decode()
    assert log.count("the last copy is tried again in") == 4
    assert log.endswith("training is done\n")


def test_the_last_copy_is_given_up_only_when_the_machine_is_about_to_be_taken(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proxy: Proxy
) -> None:
    """Seconds are counted in sleeps, so that a spot machine's two minutes pass at once."""
    monkeypatch.setattr(worker, "Child", _TrainedAlready)
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        metadata.take_back()

    clock = time.monotonic
    monkeypatch.setattr(interruption, "_NOTICE_S", 0.0)
    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setattr(time, "monotonic", lambda: clock() + sum(slept))
    proxy.rule = _failing_copies(job, float("inf"))
    with metadata_service(local_ipv4="127.0.0.1") as metadata:
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", metadata.url)
        with pytest.raises(LocationNetError, match="AWS asked to slow down"):
            worker.work(job, tmp_path)
    # The notice came with the first pause.
    assert 60 <= sum(slept[1:]) <= 105


def test_packs_that_are_not_there_end_the_machine_with_the_reason(job: Job, tmp_path: Path) -> None:
    wrong = replace(job, train="s3://nobody-has-this/train")
    with pytest.raises(LocationNetError, match="s3://nobody-has-this/train: there is no such buck"):
        worker.work(wrong, tmp_path)


def test_without_a_metadata_service_there_is_no_spot_notice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:1")
    assert not Metadata().spot_notice()
    with pytest.raises(LocationNetError, match="does not answer"):
        Metadata().read("local-ipv4")
