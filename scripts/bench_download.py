"""Times downloads from a store on this machine: one photo at a time against as many as pay.

    python scripts/bench_download.py [--photos 2000] [--latency 0.05]

The store answers each request after a fixed delay, as one far away does, and has its own process.
The baseline is the same code with one connection.
"""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image
from pyarrow import parquet

from locationnet.download.source import Source
from locationnet.download.to_folder import download_photos
from locationnet.download.transfers import Pace


def serve(latency_s: float) -> None:
    """Answer every request with a photo of its own, 500 x 375 pixels, after a delay."""
    pixels = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).resize((500, 375)).save(buffer, "JPEG", quality=90)
    photo = buffer.getvalue()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            time.sleep(latency_s)
            # Bytes behind the end of a JPEG tell photos apart and cost no encoding.
            body = photo + self.path.encode()
            head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n"
            self.wfile.write(head.encode() + body)

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 1024

    with Server(("127.0.0.1", 0), Handler) as server:
        print(server.server_port, flush=True)
        server.serve_forever()


def measure(
    table: Path, out: Path, endpoint_url: str, connections: int | None
) -> tuple[float, Pace]:
    """Download into an empty folder; return the seconds and how it went."""
    last = Pace()

    def advance(_done: int, _total: int, pace: Pace) -> None:
        nonlocal last
        last = replace(pace)

    began = time.perf_counter()
    download_photos(
        table, out, Source(endpoint_url=endpoint_url, connections=connections), advance=advance
    )
    return time.perf_counter() - began, last


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--photos", type=int, default=2000)
    parser.add_argument("--latency", type=float, default=0.05, help="seconds")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    words = parser.parse_args()
    if words.serve:
        serve(words.latency)
        return
    command = [sys.executable, __file__, "--serve", "--latency", str(words.latency)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as store:
        try:
            port = next(iter(store.stdout or ()))
            compare(words.photos, f"http://127.0.0.1:{port}".strip())
        finally:
            store.terminate()


def compare(photos: int, endpoint_url: str) -> None:
    """Download one at a time and as many as pay, and print both."""
    ways: dict[str, tuple[int, int | None]] = {
        "one at a time": (photos // 10, 1),
        "as many as pay": (photos, None),
    }
    baseline = None
    for name, (count, connections) in ways.items():
        with tempfile.TemporaryDirectory() as folder:
            table = Path(folder) / "photos.parquet"
            hashes = [f"{number:030x}" for number in range(count)]
            parquet.write_table(pa.table({"hash": hashes}), table)
            seconds, pace = measure(table, Path(folder) / "out", endpoint_url, connections)
        rate = pace.photos / seconds
        baseline = baseline or rate
        print(
            f"{name:<16} {rate:>8,.0f} photos/s {pace.bytes / seconds / 1e6:>7.1f} MB/s"
            f"  {rate / baseline:>5.1f}x  ended with {pace.connections} connections",
            flush=True,
        )


if __name__ == "__main__":
    main()
