"""The job of a machine of EC2, as the launch writes it and the machine reads it.

Knows the names of things in S3; does none of them.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path

from locationnet.aws.transfer import Location
from locationnet.errors import InputError

RUN_TAG = "locationnet:run"
LAUNCH_TAG = "locationnet:launch"


@dataclass(frozen=True)
class Job:
    """A launch's work, the same for all of its machines.

    Parameters
    ----------
    name
        The run's.
    launch
        The launch's; later ones sort behind earlier ones.
    region
        Of AWS.
    out
        Where everything of the run lies: ``s3://…``.
    train, val, init
        Where packs and a network to start from lie; init may be None.
    options
        Of ``locationnet train``, as text by name.
    machines
        How many train together.
    max_hours
        How long after its boot the machine stops by itself.
    checkpoint_minutes
        Between two copies of the run to S3.
    """

    name: str
    launch: str
    region: str
    out: str
    train: str
    val: str
    init: str | None = None
    options: dict[str, str] = field(default_factory=dict)
    machines: int = 1
    max_hours: float = 24.0
    checkpoint_minutes: float = 10.0

    @classmethod
    def read(cls, path: Path) -> Job:
        """Read what `to_json` wrote.

        Raises
        ------
        InputError
            The file is not a valid job.
        """
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise InputError(f"{path}: not the job of a machine ({error})") from error

    def to_json(self) -> str:
        """Return it as JSON text of one line."""
        return json.dumps(asdict(self))

    @property
    def shutdown_minutes(self) -> int:
        """So many minutes after its boot a machine is cut off, whatever it does."""
        return shutdown_minutes(self.max_hours)

    @property
    def run(self) -> Location:
        """The run's folder."""
        return run_prefix(Location.parse(self.out))

    @property
    def package(self) -> Location:
        """Where what is installed lies."""
        return self._own / "package"

    @property
    def stop_mark(self) -> Location:
        """An object that asks the machines to stop by being there."""
        return self._own / "stop"

    def log(self, index: int) -> Location:
        """Return where the machine of an index among those of the launch puts what it says."""
        return self._own / f"machine-{index}.log"

    def ready_mark(self, index: int) -> Location:
        """Return an object that says that the machine of an index has all that it needs."""
        return self._own / "ready" / str(index)

    @property
    def _own(self) -> Location:
        return launches_prefix(Location.parse(self.out)) / self.launch


def shutdown_minutes(max_hours: float) -> int:
    """Return after how many minutes machines are cut off: what a stopped run may take is added."""
    return math.ceil(max_hours * 60) + 15


def run_prefix(out: Location) -> Location:
    """Return where the run's folder lies."""
    return out / "run"


def launches_prefix(out: Location) -> Location:
    """Return where each launch has a folder."""
    return out / "launches"
