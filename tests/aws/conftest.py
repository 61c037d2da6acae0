"""A moto server for AWS, reset for each test, with one bucket."""

from __future__ import annotations

import logging
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer

from locationnet.aws.common import client
from tests.aws.servers import BUCKET, REGION, Proxy, spoiling_proxy

# A small world to train on.
from tests.train.conftest import make_network, packs, small_network, town_grid  # noqa: F401 - fixtures


@pytest.fixture(scope="session")
def moto_url() -> Iterator[str]:
    """Where moto listens."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def aws(moto_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """An empty AWS that boto3's own configuration points to, with one bucket; return its URL."""
    reset = urllib.request.Request(f"{moto_url}/moto-api/reset", method="POST")
    with urllib.request.urlopen(reset):
        pass
    for name, value in {
        "AWS_ENDPOINT_URL": moto_url,
        "AWS_ACCESS_KEY_ID": "AKIATESTTESTTESTTEST",
        "AWS_SECRET_ACCESS_KEY": "a-secret-that-nobody-may-read",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_MAX_ATTEMPTS": "1",
        "AWS_CONFIG_FILE": str(tmp_path / "no-config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "no-credentials"),
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    configuration = {"LocationConstraint": REGION}
    client("s3", REGION).create_bucket(Bucket=BUCKET, CreateBucketConfiguration=configuration)
    return moto_url


@pytest.fixture
def proxy(aws: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """A proxy in front of AWS, which boto3 uses from here on."""
    with spoiling_proxy(aws) as made:
        monkeypatch.setenv("AWS_ENDPOINT_URL", made.url)
        yield made


@pytest.fixture
def profile(aws: str) -> str:
    """An instance profile, as EC2 refuses machines with one that does not exist."""
    client("iam", REGION).create_instance_profile(InstanceProfileName="training")
    return "training"
