"""Reading public objects of S3, or of any store that speaks its protocol, without an account.

Knows nothing of what the objects hold.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

from locationnet.errors import InputError, LocationNetError, MissingExtraError

SCHEME = "s3://"
_TRIES = 5
_PATIENCE = {"connect_timeout": 20, "read_timeout": 60}
_REGION = "us-east-1"


@dataclass(frozen=True)
class S3Object:
    """An object: where it is, its size in bytes and what its store says to distinguish versions."""

    bucket: str
    key: str
    size: int
    etag: str

    @property
    def name(self) -> str:
        """The address as a user would write it."""
        return f"{SCHEME}{self.bucket}/{self.key}"


def list_objects(address: str, endpoint_url: str | None = None) -> list[S3Object]:
    """List what an address names: the object, or all objects below it as a folder.

    Parameters
    ----------
    address
        ``s3://bucket/key``, ``s3://bucket/folder/`` or ``s3://bucket``.
    endpoint_url
        The store, where it is not Amazon's.

    Raises
    ------
    MissingExtraError
        boto3 is not installed.
    InputError
        The address is malformed, or nothing is there.
    LocationNetError
        The store cannot be asked.
    """
    bucket, _, key = address.removeprefix(SCHEME).partition("/")
    if not bucket:
        raise InputError(f"{address}: names no bucket; expected s3://bucket/key")
    client = anonymous_client(endpoint_url, _REGION, **_PATIENCE)
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        pages = client.get_paginator("list_objects_v2")
        listed = [
            S3Object(bucket, item["Key"], item["Size"], item["ETag"])
            for page in pages.paginate(Bucket=bucket, Prefix=key)
            for item in page.get("Contents", ())
        ]
    except (BotoCoreError, ClientError, ValueError) as error:
        raise LocationNetError(f"{address}: cannot be listed ({error})") from error
    # Stores hold empty objects instead of folders.
    listed = [item for item in listed if not item.key.endswith("/")]
    folder = f"{key.rstrip('/')}/" if key else ""
    found = [item for item in listed if item.key == key] or [
        item for item in listed if item.key.startswith(folder)
    ]
    if not found:
        raise InputError(f"{address}: nothing is there")
    return sorted(found, key=lambda item: item.key)


class S3Stream(io.RawIOBase):
    """The bytes of an object, once through; a connection that breaks is resumed where it broke.

    Raises
    ------
    LocationNetError
        On reading: the store refuses, the object has changed, or connections keep breaking.
    """

    def __init__(self, item: S3Object, endpoint_url: str | None = None) -> None:
        self._item = item
        self._client = anonymous_client(endpoint_url, _REGION, **_PATIENCE)
        self._position = 0
        self._body: Any = None

    def readable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return how many bytes have been read."""
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Read some bytes; 0 at the end."""
        from botocore.exceptions import BotoCoreError, ClientError

        view = memoryview(buffer).cast("B")
        count = min(len(view), self._item.size - self._position)
        if count <= 0:
            return 0
        cause: Exception | None = None
        for _ in range(_TRIES):
            try:
                if self._body is None:
                    self._body = self._client.get_object(
                        Bucket=self._item.bucket,
                        Key=self._item.key,
                        IfMatch=self._item.etag,
                        Range=f"bytes={self._position}-",
                    )["Body"]
                data = self._body.read(count)
                if data:
                    view[: len(data)] = data
                    self._position += len(data)
                    return len(data)
            except ClientError as error:
                raise LocationNetError(f"{self._item.name}: {error}") from error
            except (BotoCoreError, OSError) as error:
                cause = error
            self._body = None
        raise LocationNetError(
            f"{self._item.name}: the connection broke {_TRIES} times at byte {self._position}"
            f" ({cause or 'it ended early'}); run the same command to go on"
        )

    def close(self) -> None:
        """Hang up."""
        if self._body is not None:
            self._body.close()
            self._body = None
        super().close()


def anonymous_client(endpoint_url: str | None, region: str, **how: Any) -> Any:
    """Return a boto3 client that reads without an account.

    Parameters
    ----------
    endpoint_url
        The store, where it is not Amazon's.
    region
        Where its buckets are; a store names the right one itself, for one more request.
    how
        Options of botocore's ``Config``.

    Raises
    ------
    MissingExtraError
        boto3 is not installed.
    InputError
        The endpoint is not a valid URL.
    """
    try:
        import boto3
        from botocore import UNSIGNED
        from botocore.config import Config
    except ImportError as error:
        raise MissingExtraError("reading from S3", "aws") from error
    config = Config(signature_version=UNSIGNED, **how)
    try:
        return boto3.client("s3", endpoint_url=endpoint_url, region_name=region, config=config)
    except ValueError as error:
        raise InputError(f"{endpoint_url}: {error}") from error
