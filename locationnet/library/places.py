"""Each photo of a library with its place and what state that is in, and the files it is given as.

Knows the catalog, and how CSV, GPX, KML and GeoJSON are written; nothing of how places are found.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from locationnet.files import csv_writer
from locationnet.library.catalog import Catalog, Photo, Proposal
from locationnet.model.kml import tag
from locationnet.names import valid_text

State = Literal["known", "proposed", "accepted", "left alone"]

Decisions = Mapping[int, tuple[float, float] | None]

COLUMNS = ("path", "lat", "lng", "radius_50_km", "state", "reasons")
# Centimetres.
_DECIMALS = 7


@dataclass(frozen=True)
class PlacedPhoto:
    """A photo of the library with its place.

    Parameters
    ----------
    photo
        The photo.
    state
        ``"known"`` from its file or a sidecar, ``"proposed"`` for acceptance, ``"accepted"``, or
        ``"left alone"``: not sure enough, rejected, or nothing says anything of its place.
    lat, lng
        Degrees; None where nothing is known.
    radius_50_km
        Of the circle that holds half of the probability; None where a person or a file says it.
    reasons
        In words.
    rejected
        Whether a person said no to the proposal.
    """

    photo: Photo
    state: State
    lat: float | None
    lng: float | None
    radius_50_km: float | None
    reasons: tuple[str, ...]
    rejected: bool = False


def placed_photos(catalog: Catalog) -> list[PlacedPhoto]:
    """Return all photos of a library that are there, by path."""
    proposals, decisions = catalog.proposals(), catalog.decisions()
    return [placed(it, proposals.get(it.number), decisions) for it in catalog.photos()]


def placed(photo: Photo, proposal: Proposal | None, decisions: Decisions) -> PlacedPhoto:
    """Return a photo with its place, by what is proposed and decided of it."""
    if photo.known:
        return PlacedPhoto(photo, "known", photo.facts.lat, photo.facts.lng, None, ())
    decided = decisions.get(photo.number)
    reasons = proposal.reasons if proposal else ()
    if decided is not None:
        return PlacedPhoto(photo, "accepted", *decided, None, reasons)
    rejected = photo.number in decisions
    if proposal is not None:
        state: State = "proposed" if proposal.offered and not rejected else "left alone"
        lat, lng, radius = proposal.lat, proposal.lng, proposal.radius_50_km
        return PlacedPhoto(photo, state, lat, lng, radius, reasons, rejected)
    why = "says no time" if photo.facts.taken is None else "no photo says a place"
    return PlacedPhoto(photo, "left alone", None, None, None, (why,), rejected)


def as_csv(photos: Sequence[PlacedPhoto]) -> str:
    """Return a row for each photo, also for those without a place."""
    file = io.StringIO()
    writer = csv_writer(file)
    writer.writerow(COLUMNS)
    writer.writerows(
        ["" if value is None else value for value in _fields(it).values()] for it in photos
    )
    return file.getvalue()


def as_geojson(photos: Sequence[PlacedPhoto]) -> str:
    """Return a point for each photo that has a place."""
    features = [
        {
            "type": "Feature",
            "geometry": {"type": "Point", "coordinates": [fields["lng"], fields["lat"]]},
            "properties": fields,
        }
        for fields in map(_fields, _with_place(photos))
    ]
    return json.dumps({"type": "FeatureCollection", "features": features}, ensure_ascii=False)


def as_gpx(photos: Sequence[PlacedPhoto]) -> str:
    """Return a waypoint for each photo that has a place."""
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        '<gpx xmlns="http://www.topografix.com/GPX/1/1" version="1.1" creator="LocationNet">',
    ]
    for it in _with_place(photos):
        fields = _fields(it)
        utc = it.photo.facts.utc
        lines += [
            f'<wpt lat="{fields["lat"]}" lon="{fields["lng"]}">'
            + ("" if utc is None else tag("time", _iso(utc)))
            + tag("name", it.photo.path.name)
            + tag("desc", _description(it))
            + "</wpt>"
        ]
    return "\n".join([*lines, "</gpx>\n"])


def as_kml(photos: Sequence[PlacedPhoto]) -> str:
    """Return a placemark for each photo that has a place, in a folder for each state."""
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        '<kml xmlns="http://www.opengis.net/kml/2.2">',
        "<Document><name>Photo library</name>",
    ]
    placed = _with_place(photos)
    for state in sorted({it.state for it in placed}):
        lines.append(f"<Folder>{tag('name', state)}")
        for it in placed:
            if it.state == state:
                fields = _fields(it)
                lines.append(
                    f"<Placemark>{tag('name', it.photo.path.name)}"
                    f"{tag('description', _description(it))}"
                    f"<Point><coordinates>{fields['lng']},{fields['lat']}</coordinates></Point>"
                    "</Placemark>"
                )
        lines.append("</Folder>")
    return "\n".join([*lines, "</Document></kml>\n"])


FORMATS: dict[str, Callable[[Sequence[PlacedPhoto]], str]] = {
    ".csv": as_csv,
    ".gpx": as_gpx,
    ".kml": as_kml,
    ".geojson": as_geojson,
}


def _with_place(photos: Sequence[PlacedPhoto]) -> list[PlacedPhoto]:
    return [it for it in photos if it.lat is not None]


def _fields(it: PlacedPhoto) -> dict[str, Any]:
    lat, lng = (None if part is None else round(part, _DECIMALS) for part in (it.lat, it.lng))
    radius = None if it.radius_50_km is None else float(f"{it.radius_50_km:.3g}")
    values = (valid_text(it.photo.path), lat, lng, radius, it.state, "; ".join(it.reasons))
    return dict(zip(COLUMNS, values, strict=True))


def _description(it: PlacedPhoto) -> str:
    fields = _fields(it)
    radius = fields["radius_50_km"]
    how_sure = "" if radius is None else f", half of the probability within {radius:g} km"
    return f"{it.state}{how_sure}" + (f": {fields['reasons']}" if it.reasons else "")


def _iso(utc: float) -> str:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=utc)
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
