"""GPX tracks as points in time; knows nothing of photos.

Parsed as a stream by what expands no entities, so that a hostile or a huge file costs no memory.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from xml.etree.ElementTree import ParseError

import numpy as np
from numpy.typing import NDArray

from locationnet.errors import InputError, MissingExtraError

_POINTS = frozenset({"trkpt", "wpt", "rtept"})


@dataclass(frozen=True)
class Track:
    """Where somebody was.

    Parameters
    ----------
    utc
        float64 ``(n,)``: seconds since 1970, ascending.
    lat, lng
        float64 ``(n,)``: degrees.
    """

    utc: NDArray[np.float64]
    lat: NDArray[np.float64]
    lng: NDArray[np.float64]


def read_gpx(path: Path) -> Track:
    """Read the points of a GPX file that have a time.

    Raises
    ------
    InputError
        It is no GPX file, or none of its points has a time.
    MissingExtraError
        The part that reads it safely is not installed.
    """
    try:
        from defusedxml.common import DefusedXmlException
        from defusedxml.ElementTree import iterparse
    except ImportError as error:
        raise MissingExtraError("reading GPX", "library") from error
    rows: list[tuple[float, float, float]] = []
    try:
        with path.open("rb") as file:
            root = None
            for event, element in iterparse(file, events=("start", "end"), forbid_dtd=True):
                name = _local(element.tag)
                if root is None:
                    root = element
                    if name != "gpx":
                        raise InputError(f"{path}: not a GPX file")
                if event == "end" and name in _POINTS:
                    row = _row(element)
                    if row is not None:
                        rows.append(row)
                    element.clear()
    except (ParseError, DefusedXmlException, ValueError, LookupError) as error:
        raise InputError(f"{path}: not a GPX file that can be read ({error})") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
    if not rows:
        raise InputError(f"{path}: no point of the track has a time and a place")
    table = np.array(sorted(rows), np.float64)
    return Track(table[:, 0], table[:, 1], table[:, 2])


def _row(point: object) -> tuple[float, float, float] | None:
    """Return a point's time, latitude and longitude, None where one is absent or wrong."""
    text = next((child.text for child in point if _local(child.tag) == "time"), None)  # type: ignore[attr-defined]
    try:
        when = datetime.fromisoformat((text or "").strip())
        lat, lng = float(point.get("lat")), float(point.get("lon"))  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        return None
    if not (math.isfinite(lat) and abs(lat) <= 90 and math.isfinite(lng) and abs(lng) <= 180):
        return None
    # GPX times are UTC, whether they say so or not.
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp(), lat, lng


def _local(tag: object) -> str:
    return str(tag).rpartition("}")[2]
