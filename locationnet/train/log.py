"""What a run says while it runs: lines for people, ``log.jsonl`` for programs, a moving bar.

Knows records and how they read; nothing of how the numbers came about.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from locationnet.errors import LocationNetError
from locationnet.files import write_text
from locationnet.metrics import summary_line
from locationnet.names import printable

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

LOG = "log.jsonl"
Record = Mapping[str, Any]


class RunLog:
    """Writes the records of one run.

    Parameters
    ----------
    run
        The run's folder; None for a worker that leaves the talking to another.
    """

    def __init__(self, run: Path | None) -> None:
        from rich.console import Console

        self._path = None if run is None else run / LOG
        self._console = Console(
            stderr=True,
            quiet=run is None,
            highlight=False,
            markup=False,
            emoji=False,
            soft_wrap=True,
        )
        self._bar: tuple[Progress, TaskID] | None = None

    def rewind(self, updates: int, epochs: int) -> None:
        """Keep the records of the first updates and epochs; a resumed run makes the rest again."""
        if self._path is None or not self._path.is_file():
            return
        kept = [
            json.dumps(record) + "\n"
            for record in read(self._path)
            if record["update"] <= updates
            and (record["kind"] == "batch" or record["epoch"] <= epochs)
        ]
        write_text(self._path, "".join(kept))

    def record(self, record: Record) -> None:
        """Append a record and say it in one line.

        Raises
        ------
        LocationNetError
            The file cannot be written.
        """
        if self._path is None:
            return
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        except OSError as error:
            raise LocationNetError(f"{self._path}: cannot be written ({error.strerror})") from error
        self.say(line(record))

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        self._console.print(printable(text))

    @contextmanager
    def bar(self, what: str, total: int, done: int = 0) -> Iterator[None]:
        """Show how far something is, on a terminal only; `advance` moves it."""
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
        from rich.progress import TimeRemainingColumn as Remaining

        progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            Remaining(),
            console=self._console,
            transient=True,
            # Not rich's is_terminal, which FORCE_COLOR makes true in notebooks too.
            disable=self._path is None or not sys.stderr.isatty(),
        )
        with progress:
            self._bar = progress, progress.add_task(what, total=total, completed=done)
            try:
                yield
            finally:
                self._bar = None

    def advance(self, what: str | None = None) -> None:
        """Move the bar by one, and say beside it what is going on."""
        if self._bar is not None:
            progress, task = self._bar
            progress.advance(task)
            if what is not None:
                progress.update(task, description=what)


def read(path: Path) -> list[dict[str, Any]]:
    """Return a log's records; a last line that was cut short by a kill is left out."""
    records = []
    for text in path.read_text(encoding="utf-8").splitlines():
        try:
            records.append(json.loads(text))
        except ValueError:
            break
    return records


def line(record: Record) -> str:
    """Return a record as one line."""
    if record["kind"] == "batch":
        return (
            f"epoch {record['epoch']} batch {record['batch']:,}/{record['batches']:,}"
            f"  loss {record['loss']:.4f}  {record['images_per_second']:,.1f} images/s"
            f"  rate {record['rate']:.3g}  {record['memory_mb']:,.0f} MB"
        )
    validation = record["validation"]
    found = summary_line(validation)
    if "recall_at_1" in validation:
        recall = "/".join(f"{validation[f'recall_at_{many}']:.1%}" for many in (1, 5, 10))
        near = validation.get("nearest_within_25_km")
        within = "" if near is None else f", the nearest within 25 km {near:.1%}"
        found = f"recall@1/5/10 {recall}{within}; classifier: {found}"
    else:
        found = f"loss {validation['loss']:.4f}, {found}"
    return (
        f"epoch {record['epoch']} done  loss {record['loss']:.4f}, top-1 {record['top1']:.1%}"
        f"  validation: {found}"
        f"  {record['images_per_second']:,.1f} images/s  {record['memory_mb']:,.0f} MB"
    )


def memory_mb() -> float:
    """Return the most memory that this process has held, MB."""
    import resource  # which not every system has

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024 if sys.platform != "darwin" else 1024**2)
