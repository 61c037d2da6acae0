"""A real S3-compatible server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from urllib.request import Request, urlopen

import pytest


@pytest.fixture
def s3_server() -> Iterator[str]:
    """The address of an empty store."""
    pytest.importorskip("boto3", reason="needs the extra 'aws'")
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    # What it holds belongs to the process, and outlives it.
    urlopen(Request(f"{url}/moto-api/reset", method="POST")).close()
    yield url
    server.stop()


@pytest.fixture
def put(s3_server: str) -> Callable[[str, bytes], None]:
    """Put an object into the store's public bucket ``commons``."""
    import boto3

    client = boto3.client(
        "s3",
        endpoint_url=s3_server,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    client.create_bucket(Bucket="commons", ACL="public-read")

    def put(key: str, content: bytes) -> None:
        client.put_object(Bucket="commons", Key=key, Body=content, ACL="public-read")

    return put
