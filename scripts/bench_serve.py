"""Measures the service against loops without one, at full load, below it and beyond it.

Everything runs on loopback: a real ``locationnet serve``, and clients in a process of their own
that share the cores with it (`bench_serve_client`; what they cost is printed). Photos are those
that ship with scikit-image, as JPEGs of 1024 pixels.

1. Throughput and processor time a photo at 32 connections, against threads that decode and infer
   the same photos with the same bundle and no server; once more against threads that also work out
   the whole answers. Where others use the machine, the processor time is what to compare.
2. Latency at 80 % of that throughput: the 99th percentile against the median. Once with clients
   that each keep a pace of their own, as wrk2 has them, and once with arrivals at random, where
   bursts alone spread the latencies: beside it stands what the same arrivals meet at an ideal
   service, with as many servers as there are cores and all photos the same.
3. Four times that throughput: what is answered, how fast the refusals come, and how the server's
   memory moves over all requests of the run.
4. With ``--large``: ResNet-101 over 15,527 cells with random weights, end to end, against the code
   path of 2017: scikit-image and MXNet's Module, one photo at a time; and against threads without a
   server, as in 1. Its bfloat16 is **forced by this script**: a bundle allows a reduced precision
   only where its accuracy was measured.

::

    python scripts/bench_serve.py [--large] [--seconds 20] [--requests 20000]
"""

from __future__ import annotations

import argparse
import heapq
import io
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import cycle
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as the service has it

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from locationnet.model.answer import answer
from locationnet.model.locator import Locator, load_model

CONNECTIONS = 32
SIDE = 1024
SHIPPED = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")


def photos() -> list[bytes]:
    """Return JPEGs of different content and size."""
    found = []
    for name in SHIPPED:
        with Image.open(_shipped() / name) as image:
            scale = SIDE / max(image.size)
            size = (round(image.width * scale), round(image.height * scale))
            buffer = io.BytesIO()
            image.convert("RGB").resize(size).save(buffer, "JPEG", quality=85)
            found.append(buffer.getvalue())
    return found


def _shipped() -> Path:
    found = find_spec("skimage")
    assert found is not None and found.origin is not None  # noqa: S101 - it is installed
    return Path(found.origin).parent / "data"


# Without a server.


def loop(work: Callable[[bytes], object], threads: int, seconds: float) -> tuple[float, float]:
    """Return how many photos a second threads get through, and milliseconds of processor each."""
    jpegs = photos()
    work(jpegs[0])  # the first pays for what is made once
    before = time.process_time()
    until = time.perf_counter() + seconds

    def run(offset: int) -> int:
        count = 0
        order = cycle(jpegs[offset:] + jpegs[:offset])
        while time.perf_counter() < until:
            work(next(order))
            count += 1
        return count

    start = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        done = sum(pool.map(run, [index % len(jpegs) for index in range(threads)]))
    wall, used = time.perf_counter() - start, time.process_time() - before
    return done / wall, 1000 * used / done


def decode_and_infer(locator: Locator) -> Callable[[bytes], object]:
    """Return what a plain loop does with a photo."""
    return lambda photo: locator.predict(locator.prepare(photo)[None])


def whole_answer(locator: Locator) -> Callable[[bytes], object]:
    """Return the same, up to the JSON that the service gives."""
    prior = locator.prior()

    def work(photo: bytes) -> object:
        [prediction] = locator.predict(locator.prepare(photo)[None])
        return json.dumps(answer(locator.bundle, prediction, prior))

    return work


# The server.


@dataclass
class Server:
    """A running ``locationnet serve``."""

    process: subprocess.Popen[bytes]
    port: int

    def processor_s(self) -> float:
        """Return the processor time that its threads have taken, the kernel's part included."""
        stat = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="utf-8")
        user, system = stat.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def memory_mb(self) -> float:
        """Return what the process holds now."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8")
        found = re.search(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)
        assert found is not None  # noqa: S101 - the kernel always says it
        return int(found[1]) / 1024


@contextmanager
def serving(model: str, **environment: str) -> Iterator[Server]:
    """Run the service until the block ends."""
    code = "from locationnet.cli import main; main()"
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [sys.executable, "-c", code, "serve", "--port", "0", "--model", model],
            stderr=log, env={**os.environ, **environment},
        )  # fmt: skip
        try:
            yield Server(process, _port(process, log.fileno()))
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def _port(process: subprocess.Popen[bytes], log: int) -> int:
    while process.poll() is None:
        said = os.pread(log, 1 << 20, 0).decode()
        found = re.search(r"running on http://127\.0\.0\.1:(\d+)", said)
        if found:
            return int(found[1])
        time.sleep(0.05)
    raise SystemExit("the server did not start:\n" + os.pread(log, 1 << 20, 0).decode())


# The clients.


def arrivals(kind: str, rate: float, count: int) -> NDArray[np.float64]:
    """Return when requests come, seconds, by clients with a pace of their own or at random."""
    random = np.random.default_rng(0)
    if kind == "random":
        return np.cumsum(random.exponential(1 / rate, count))
    rounds = np.arange(-(-count // CONNECTIONS))[:, None] + random.uniform(size=CONNECTIONS)
    return np.sort(rounds.ravel() * CONNECTIONS / rate)[:count]


@dataclass
class Answers:
    """What came of requests.

    Parameters
    ----------
    status, seconds, in_time
        Of each: how it was answered, 0 if not at all; how long that took; whether before the end.
    client_ms
        Processor time of the client, a request.
    """

    status: NDArray[np.int64]
    seconds: NDArray[np.float64]
    in_time: NDArray[np.bool_]
    client_ms: float


def clients(server: Server, *words: object, due: NDArray[np.float64] | None = None) -> Answers:
    """Run `bench_serve_client` in another process."""
    script = Path(__file__).with_name("bench_serve_client.py")
    with tempfile.TemporaryDirectory() as folder:
        for index, photo in enumerate(photos()):
            (Path(folder) / f"{index}.jpg").write_bytes(photo)
        said = subprocess.run(
            [sys.executable, str(script), str(server.port), folder, *map(str, words)],
            check=True, stdout=subprocess.PIPE, text=True,
            input=None if due is None else json.dumps(due.tolist()),
        ).stdout  # fmt: skip
    found = json.loads(said)
    status, took, in_time = map(np.array, zip(*found["answers"], strict=True))
    return Answers(status, took, in_time, 1000 * found["processor_s"] / len(status))


# What is measured.


def throughput(
    locator: Locator, server: Server, seconds: float, old: Callable[[bytes], object] | None = None
) -> float:
    """Print photos a second and processor time a photo, of loops and at 32 connections.

    The client's own time is taken off nothing: it is printed. Photos a second depend on who else
    uses the machine; how much processor time one takes does so far less.
    """
    threads = len(os.sched_getaffinity(0))
    loops: dict[str, tuple[Callable[[bytes], object], int]] = {
        "plain loop, decode and infer": (decode_and_infer(locator), threads),
        "plain loop, whole answers": (whole_answer(locator), threads),
    }
    if old is not None:
        loops["2017: scikit-image, Module"] = (old, 1)  # MXNet has threads of its own
    service = f"the service, {CONNECTIONS} connections"
    rates: dict[str, list[float]] = {name: [] for name in (*loops, service)}
    costs: dict[str, list[float]] = {name: [] for name in rates}
    client_ms = []
    for _ in range(3):  # in turn, because machines do not run evenly
        for name, (work, count) in loops.items():
            a_second, each = loop(work, count, seconds / 3)
            rates[name].append(a_second)
            costs[name].append(each)
        before = server.processor_s()
        found = clients(server, "closed", CONNECTIONS, seconds / 3)
        assert (found.status == 200).all()  # noqa: S101 - a benchmark of errors would be none
        rates[service].append(found.in_time.sum() / (seconds / 3))
        costs[service].append(1000 * (server.processor_s() - before) / len(found.status))
        client_ms.append(found.client_ms)
    rate = {name: float(np.median(found)) for name, found in rates.items()}
    cost = {name: float(np.median(found)) for name, found in costs.items()}
    for name in rates:
        print(
            f"{name:30s} {rate[name]:8.1f} photos/s"
            f" (the service: {rate[service] / rate[name]:.2f}x),"
            f" {cost[name]:6.1f} ms of processor time a photo"
            f" (the service: {cost[service] / cost[name]:.2f}x)"
        )
    print(f"{'the client':30s} {np.median(client_ms):.2f} ms of processor time a photo")
    return rate[service]


def below(server: Server, rate: float, seconds: float) -> None:
    """Print latencies at 80 % of the throughput."""
    load, count = 0.8 * rate, int(0.8 * rate * seconds)
    for kind in ("paced", "random"):
        found = clients(server, "open", due=arrivals(kind, load, count))
        fine = found.status == 200
        print(f"at 80 % load, {kind:6s}: {_spread(found.seconds[fine])};"
              f" {(~fine).sum()} of {len(fine)} not answered with 200;"
              f" the client: {found.client_ms:.2f} ms a photo")  # fmt: skip
    print(f"an ideal service, random: {_spread(_ideal(arrivals('random', load, count), rate))}")


def _spread(took: NDArray[np.float64]) -> str:
    p50, p99 = np.percentile(1000 * took, [50, 99])
    return f"p50 {p50:.0f} ms, p99 {p99:.0f} ms, {p99 / p50:.1f}x"


def _ideal(due: NDArray[np.float64], rate: float) -> NDArray[np.float64]:
    """Return durations where each of several servers takes equally long for every request."""
    servers = len(os.sched_getaffinity(0))
    free, took = [0.0] * servers, []
    for when in due:
        end = max(float(when), heapq.heappop(free)) + servers / rate
        heapq.heappush(free, end)
        took.append(end - when)
    return np.array(took)


def beyond(server: Server, rate: float, count: int) -> None:
    """Print what comes of four times the throughput, and what it does to the memory."""
    before = server.memory_mb()
    first = clients(server, "open", due=arrivals("random", 4 * rate, count // 4))
    middle = server.memory_mb()
    rest = clients(server, "open", due=arrivals("random", 4 * rate, count - count // 4))
    statuses = np.concatenate([first.status, rest.status])
    took = np.concatenate([first.seconds, rest.seconds])
    counts = {int(status): int((statuses == status).sum()) for status in np.unique(statuses)}
    refused = 1000 * took[statuses == 503]
    print(f"at 4 x the load: {counts}, {len(took)} requests; 503 after p50"
          f" {np.percentile(refused, 50):.0f} ms, p99 {np.percentile(refused, 99):.0f} ms,"
          f" at most {refused.max():.0f} ms")  # fmt: skip
    print(f"memory: {before:.0f} MB before, {middle:.0f} MB after a quarter of them,"
          f" {server.memory_mb():.0f} MB at the end")  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--model", default="demo")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--large", action="store_true")
    chosen = parser.parse_args()
    if chosen.large:
        large(chosen.seconds)
        return
    with serving(chosen.model) as server:
        rate = throughput(load_model(chosen.model), server, chosen.seconds)
        below(server, rate, chosen.seconds)
        beyond(server, rate, chosen.requests)


# ResNet-101 over 15,527 cells.


def large(seconds: float) -> None:
    """Print the service with a network as large as that of 2017 against the code of 2017."""
    from bench_serve_2017 import LARGE_CLASSES, code_of_2017, random_bundle, random_checkpoint

    with tempfile.TemporaryDirectory() as folder:
        prefix = random_checkpoint(Path(folder))
        bundle = str(random_bundle(prefix, Path(folder) / "large"))
        print(f"ResNet-101, {LARGE_CLASSES} cells, random weights; bfloat16 FORCED by this script")
        with serving(bundle, LOCATIONNET_PRECISION="bf16") as server:
            locator = load_model(bundle, precision="bf16")
            throughput(locator, server, seconds, code_of_2017(prefix))


if __name__ == "__main__":
    main()
