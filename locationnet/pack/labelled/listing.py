"""The table of labelled photos that `download`, `split`, `pack` and `evaluate` read.

Knows columns; nothing of the layouts that fill them.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from locationnet.classes import is_label
from locationnet.errors import InputError
from locationnet.pack.rows import BOX_NAMES, BOX_PIXELS, Box

if TYPE_CHECKING:
    import pyarrow as pa

_OPTIONAL = (BOX_PIXELS, "url", "uploader", "licence", "attribution")


@dataclass(frozen=True)
class Labelled:
    """Labelled photos.

    Parameters
    ----------
    table
        Columns ``id``, ``path`` or ``url``, ``label``, and perhaps ``x_min``, ``y_min``, ``x_max``,
        ``y_max``, ``box_pixels``, ``uploader``, ``licence`` and ``attribution``.
    left_out
        What is not in it, by reason.
    """

    table: pa.Table
    left_out: dict[str, int]


@dataclass
class Builder:
    """Collects rows, and counts those that are left out.

    Parameters
    ----------
    source
        Where they come from, for messages.
    """

    source: Path
    rows: list[dict[str, Any]] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)

    def add(self, label: str, fields: dict[str, str], box: Box | None = None) -> None:
        """Add a photo; `fields` are its ``id``, its ``path`` or ``url``, and whose it is.

        Raises
        ------
        InputError
            The label is not one that a pack can have.
        """
        if not is_label(label):
            raise InputError(
                f"{self.source}: {label!r} cannot be a label, with blanks around it or characters"
                " that cannot be printed"
            )
        boxed = {} if box is None else dict(zip(BOX_NAMES, box, strict=True))
        self.rows.append({**fields, "label": label, **boxed})

    def labelled(self) -> Labelled:
        """Return what was collected."""
        import pyarrow as pa

        kinds = {name: pa.float64() for name in BOX_NAMES}
        names = ("id", "path", "label", *BOX_NAMES, *_OPTIONAL)
        there = [name for name in names if any(name in row for row in self.rows)]
        columns = {
            name: pa.array([row.get(name) for row in self.rows], kinds.get(name, pa.string()))
            for name in there
        }
        return Labelled(pa.table(columns), dict(sorted((+self.left_out).items())))
