"""Answers as KML, which Google Earth and most maps open: a folder for each photo.

Knows nothing of files; names are whatever a stranger chose, and become plain text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from xml.sax.saxutils import escape

from locationnet.geo.geojson import Ring
from locationnet.model.features import features, place_rings
from locationnet.model.prediction import Prediction
from locationnet.model.summary import percent_text, times_text
from locationnet.names import printable

# Colours are opacity, blue, green, red: a sure answer's cells are seen, an abstained one's hardly.
START = """<?xml version="1.0" encoding="UTF-8"?>
<kml xmlns="http://www.opengis.net/kml/2.2">
<Document>
<name>Where the photos were probably taken</name>
<Style id="answer"><LineStyle><color>ff5b1955</color><width>1.5</width></LineStyle>\
<PolyStyle><color>664c33a2</color></PolyStyle></Style>
<Style id="abstained"><LineStyle><color>99737373</color><width>1</width></LineStyle>\
<PolyStyle><color>33b3b3b3</color></PolyStyle></Style>
"""
END = "</Document>\n</kml>\n"
# Noncharacters, which XML cannot hold.
_NO_TEXT = re.compile("[\ufffe\uffff]")


def document(answers: Iterable[tuple[str, Prediction]]) -> str:
    """Return the answers of several photos, each named, as a KML document."""
    return START + "".join(folder(photo, prediction) for photo, prediction in answers) + END


def folder(photo: str, prediction: Prediction) -> str:
    """Return one photo's answer; between `START` and `END` such folders are a document.

    Parameters
    ----------
    photo
        What to call the photo.
    prediction
        Its answer: a placemark for each place, with its point, its cell and the properties that
        GeoJSON has.
    """
    style = "abstained" if prediction.abstained else "answer"
    lines = [f"<Folder><name>{xml_text(photo)}</name>", tag("description", prediction.summary)]
    points = features(photo, prediction)[: len(prediction.places)]
    for place, point, rings in zip(prediction.places, points, place_rings(prediction), strict=True):
        name = place.name or f"cell {place.cell}"
        told = (
            f"{percent_text(place.probability)}, {times_text(place.lift)} more likely than without"
            " the photo"
        )
        fields = "".join(
            f'<Data name="{key}">{tag("value", _value(value))}</Data>'
            for key, value in point["properties"].items()
        )
        lines += [
            f"<Placemark>{tag('name', f'{place.rank}. {name}')}{tag('description', told)}",
            f"<styleUrl>#{style}</styleUrl><ExtendedData>{fields}</ExtendedData>",
            f"<MultiGeometry><Point><coordinates>{place.lng!r},{place.lat!r}</coordinates></Point>",
            *map(_polygon, rings),
            "</MultiGeometry></Placemark>",
        ]
    return "\n".join([*lines, "</Folder>\n"])


def _polygon(ring: Ring) -> str:
    points = " ".join(f"{lng!r},{lat!r}" for lng, lat in ring)
    return (
        "<Polygon><tessellate>1</tessellate><outerBoundaryIs><LinearRing><coordinates>"
        f"{points}</coordinates></LinearRing></outerBoundaryIs></Polygon>"
    )


def tag(name: str, text: str) -> str:
    """Return an element that holds a text."""
    return f"<{name}>{xml_text(text)}</{name}>"


def xml_text(text: str) -> str:
    """Return a text as XML holds it, whatever it is."""
    return escape(_NO_TEXT.sub("\ufffd", printable(text)))


def _value(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
