"""Sends thousands of damaged photos to a server of its own; none may be answered with a 500.

Each input is made from a sound JPEG, PNG or WebP by flipping bits, cutting, splicing two files,
repeating a piece or overwriting header fields; the same seed makes the same inputs. Prints how
many were answered with what, and the worst answer's seed if one was not expected.

    python scripts/fuzz_serve.py --inputs 10000
"""

from __future__ import annotations

import argparse
import http.client
import io
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

_MAIN = "from locationnet.cli import main; main()"
EXPECTED = {200, 400, 413, 415}


def seeds() -> list[bytes]:
    """Return sound photos: formats, modes and options that take other paths through decoders."""
    noise = Image.effect_noise((96, 64), 80)
    rgb = Image.merge("RGB", [noise, noise.rotate(90), noise.rotate(180)])
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "a description"
    wanted: list[tuple[Image.Image, str, dict[str, object]]] = [
        (rgb, "JPEG", {"exif": exif}),
        (rgb, "JPEG", {"progressive": True, "icc_profile": bytes(range(256)) * 2}),
        (rgb.convert("CMYK"), "JPEG", {}),
        (noise, "JPEG", {"quality": 5, "comment": b"hello"}),
        (rgb, "PNG", {"exif": exif}),
        (rgb.convert("P"), "PNG", {"transparency": 3}),
        (rgb.convert("RGBA"), "PNG", {}),
        (noise.convert("I;16"), "PNG", {}),
        (noise.convert("1"), "PNG", {}),
        (rgb, "PNG", {"save_all": True, "append_images": [rgb.rotate(180)]}),
        (rgb, "WEBP", {"exif": exif}),
        (rgb.convert("RGBA"), "WEBP", {"lossless": True}),
        (rgb, "WEBP", {"save_all": True, "append_images": [rgb.rotate(180)]}),
    ]
    photos = []
    for image, form, options in wanted:
        buffer = io.BytesIO()
        image.save(buffer, form, **options)
        photos.append(buffer.getvalue())
    return photos


def damaged(photos: list[bytes], seed: int) -> bytes:
    """Return one damaged photo, always the same for a seed."""
    chance = random.Random(seed)  # noqa: S311 - no secrets here
    data = bytearray(chance.choice(photos))
    for _ in range(chance.choice((1, 1, 2, 4, 16))):
        # Headers decide what happens: half of the damage is done to them.
        span = min(len(data), 200) if chance.random() < 0.5 else len(data)
        at = chance.randrange(max(1, span))
        what = chance.randrange(7)
        if what == 0 and data:
            data[at % len(data)] ^= 1 << chance.randrange(8)
        elif what == 1:
            data[at : at + 4] = chance.choice((b"\xff" * 4, bytes(4), b"\x7f\xff\xff\xff"))
        elif what == 2:
            del data[at:]
        elif what == 3:
            other = chance.choice(photos)
            data[at:] = other[chance.randrange(len(other)) :]
        elif what == 4:
            data[at:at] = data[at : at + chance.randrange(1, 2000)] * chance.choice((1, 3, 20))
        elif what == 5:
            del data[at : at + chance.randrange(1, 50)]
        else:
            data[at:at] = chance.randbytes(chance.randrange(1, 50))
    return bytes(data)


class Sender:
    """Sends photos over one connection, and over a new one when the server ends it."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def status(self, photo: bytes) -> int:
        """Return the status of a photo's answer."""
        try:
            self._connection.request("POST", "/locate", photo, {"Content-Type": "image/jpeg"})
            response = self._connection.getresponse()
            response.read()
        except OSError:
            self._connection.close()
            raise
        return response.status

    def close(self) -> None:
        """End the connection."""
        self._connection.close()


def tally(port: int, numbers: range) -> Iterator[tuple[int, int]]:
    """Send one damaged photo for each number; yield the number and the status."""
    photos, sender = seeds(), Sender(port)
    try:
        for number in numbers:
            yield number, sender.status(damaged(photos, number))
    finally:
        sender.close()


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0, help="Of the first input.")
    parser.add_argument("--model", default="demo")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log.txt"
        command = [sys.executable, "-c", _MAIN, "serve", "--port", "0", "--no-fetch-urls"]
        with log.open("wb") as file:
            server = subprocess.Popen(
                [*command, "--model", chosen.model], stderr=file, env=dict(os.environ)
            )
        try:
            counts, bad = _run(server, log, chosen.seed, chosen.inputs)
        finally:
            server.terminate()
            code = server.wait(30)
        errors = [
            line for line in log.read_text("utf-8").splitlines() if '"level": "error"' in line
        ]
    print(f"{sum(counts.values())} inputs: {dict(sorted(counts.items()))}")
    print(f"unexpected: {len(bad)} {bad[:10]}; errors logged: {len(errors)}; exit code {code}")
    if bad or errors or code:
        print("\n".join(errors[:5]))
        sys.exit(1)


def _run(
    server: subprocess.Popen[bytes], log: Path, seed: int, inputs: int
) -> tuple[Counter[int], list[int]]:
    counts: Counter[int] = Counter()
    bad = []
    started = time.monotonic()
    for number, status in tally(_port(server, log), range(seed, seed + inputs)):
        counts[status] += 1
        if status not in EXPECTED:
            bad.append(number)
    print(f"{inputs / (time.monotonic() - started):.0f} a second")
    return counts, bad


def _port(server: subprocess.Popen[bytes], log: Path) -> int:
    for _ in range(1200):
        text = log.read_text("utf-8")
        found = re.search(r"running on http://127\.0\.0\.1:(\d+)", text)
        if found is not None and "startup complete" in text:
            return int(found[1])
        if server.poll() is not None:
            break
        time.sleep(0.05)
    sys.exit(f"the server did not start:\n{log.read_text('utf-8')}")


if __name__ == "__main__":
    main()
