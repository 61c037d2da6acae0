"""Makes a small Multimedia Commons: a bucket with shards of metadata and some of the photos.

The photos are those of `synthetic_world`, the rows those of `synthetic_commons`, and the bucket is
a moto server on 127.0.0.1 that answers as S3 does, until it is stopped. Made again with the same
arguments it is the same; what is there already is not made again.

::

    python scripts/synthetic_bucket.py world --rows 100000 --images 2000 --address world/address
"""

from __future__ import annotations

import argparse
import csv
import logging
import signal
import threading
from pathlib import Path

import boto3
from botocore.config import Config
from moto.server import ThreadedMotoServer
from synthetic_commons import Placed, make_commons, photo_url
from synthetic_world import make_world

from locationnet.commons import image_key, photo_hash

BUCKET = "multimedia-commons"
METADATA = "metadata"
# Written last: what is in the folder is whole.
WHOLE = "whole"
_FIRST_IMAGE = 1_000_000_000


def make(folder: Path, rows: int, images: int, size: int, shards: int) -> None:
    """Draw the photos and write the shards, unless they are there."""
    if (folder / WHOLE).is_file():
        return
    table = make_world(folder, images, size=size)
    with table.open(encoding="utf-8") as file:
        placed: list[Placed] = [
            (float(row["lat"]), float(row["lng"]), _FIRST_IMAGE + number)
            for number, row in enumerate(csv.DictReader(file))
        ]
    make_commons(folder / METADATA, rows, shards=shards, suffix=".gz", images=placed)
    (folder / WHOLE).touch()


def serve(folder: Path, address: Path) -> None:
    """Offer photos and metadata as a bucket until told to stop; write to `address` where it is."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # it would name every photo
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    client = boto3.client(
        "s3", endpoint_url=f"http://{host}:{port}", region_name="us-west-2",
        aws_access_key_id="none", aws_secret_access_key="none",  # noqa: S106 - moto asks for any
        config=Config(retries={"max_attempts": 1}),
    )  # fmt: skip
    client.create_bucket(
        Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "us-west-2"}
    )
    for number, photo in enumerate(sorted((folder / "photos").iterdir())):
        key = image_key(photo_hash(photo_url(_FIRST_IMAGE + number)))
        client.put_object(Bucket=BUCKET, Key=key, Body=photo.read_bytes(), ACL="public-read")
    for shard in (folder / METADATA).iterdir():
        client.upload_file(str(shard), BUCKET, f"{METADATA}/{shard.name}",
                           ExtraArgs={"ACL": "public-read"})  # fmt: skip
    part = address.with_suffix(".part")
    part.write_text(f"http://{host}:{port}\n", encoding="ascii")
    part.replace(address)
    stopped = threading.Event()
    for sign in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sign, lambda *_: stopped.set())
    stopped.wait()
    server.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--images", type=int, default=2_000)
    parser.add_argument("--size", type=int, default=96, help="side of each photo, pixels")
    parser.add_argument("--shards", type=int, default=4)
    parser.add_argument("--address", type=Path, required=True, help="file to write the address to")
    chosen = parser.parse_args()
    make(chosen.folder, chosen.rows, chosen.images, chosen.size, chosen.shards)
    serve(chosen.folder, chosen.address)
