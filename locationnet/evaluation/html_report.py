"""A benchmark's results as one HTML file that needs nothing else: table, plots, notes.

Knows how a page is put together; the plots draw themselves.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from locationnet.evaluation import plots
from locationnet.evaluation.published import published
from locationnet.evaluation.report import FIRST_ANSWER, Results, number, other_measures, share
from locationnet.evaluation.scores import Floats
from locationnet.evaluation.verdict import verdict
from locationnet.files import write_text
from locationnet.geo.country_names import country_name
from locationnet.geo.towns import Town, nearest_towns
from locationnet.model.summary import percent_text
from locationnet.progress import Progress

if TYPE_CHECKING:
    import pyarrow as pa
    from matplotlib.figure import Figure

_SHEET = 12
_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0; display: block; overflow-x: auto; }
th, td { padding: .25rem .75rem .25rem 0; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
thead th { border-bottom: 2px solid; } tbody tr { border-bottom: 1px solid #8886; }
small { opacity: .75; } figure { margin: 2rem 0; } img { max-width: 100%; background: #fff; }
figcaption { margin-top: .25rem; }
.words li { margin: .35rem 0; } .photos { display: grid; gap: 1rem; margin: 1rem 0;
  grid-template-columns: repeat(auto-fill, minmax(13rem, 1fr)); }
.photos figure { margin: 0; } .photos img { width: 100%; height: 9rem; object-fit: contain;
  background: #8882; } .photos figcaption { font-size: .85rem; overflow-wrap: anywhere; }
.photos b { font-size: .95rem; } .notice { border-left: 4px solid #e69f00; padding-left: .75rem; }
"""

_EXPLAINED = (
    "The most probable cell and the best point are the model's; the prior and anywhere need"
    " no photo; the oracle upper bound is what naming every true cell would be worth."
)
_TOLD = (
    "<p>A radius is honest where the truth lies inside the 50 % radius for half of the photos."
    " Information over the prior: how often the photo doubled the probability of the region that it"
    " is from; below 0 it led away. Expected calibration error: how far the probabilities are from"
    " how often they are right.</p>"
)
_NEARNESS = (
    "Share of photos within each distance: the higher a line, and the farther to the left it rises,"
    " the nearer the answers."
)
_WHERE = "Where the photos were taken; the darker a dot, the farther off the answer."
_SURENESS = (
    "Photos by how sure the model is of the cell it names first: honest probabilities lie on the"
    " line, below it the model is too sure. A dot at the lower edge stands for photos of which none"
    " is right."
)
_ABSTAINING = (
    "What abstaining would buy: to the left, only the photos are answered about which the model has"
    " most to say. Where the line falls to the left, it knows when it is right."
)
_EXPLAINED_ANSWERS = "The answers are those of the file; anywhere needs no photo."


def write_page(
    path: Path, results: Results, table: pa.Table, advance: Progress | None = None
) -> None:
    """Write the report.

    Parameters
    ----------
    path
        The .html file.
    results
        What was measured.
    table
        The answers, for the plots.
    advance
        Called with the pictures drawn and how many there are.

    Raises
    ------
    MissingExtraError
        matplotlib is not installed.
    LocationNetError
        The file cannot be written.
    """
    title = results.title
    words = "".join(f"<li>{html.escape(sentence)}</li>" for sentence in verdict(results))
    parts = [
        f'<h1>{html.escape(title)}</h1><ul class="words">{words}</ul>',
        tables_html(results),
        *_pictures(results, table, advance),
        _notes(results),
    ]
    write_text(
        path,
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head>"
        f"<body>{''.join(parts)}</body></html>\n",
    )


def tables_html(results: Results) -> str:
    """Return the report's tables alone, for a notebook to show: how near, and how honest."""
    return _introduction(results) + _guesses(results) + _measures(results)


def _introduction(results: Results) -> str:
    benchmark = results.benchmark
    text = (
        f"<p>{len(benchmark):,} photos. What is within a radius: {html.escape(str(benchmark.rule))}"
        f" it. In brackets: 95 % intervals by bootstrap over {html.escape(results.clusters)}.</p>"
    )
    if results.model.get("demo"):
        text += (
            '<p class="notice">This model is a demo: it was not trained on places. Read its'
            " metrics beside the prior's.</p>"
        )
    if results.broken:
        text += f"<p>{results.broken}; they are listed below.</p>"
    return text


def _guesses(results: Results) -> str:
    limits = results.benchmark.rule.thresholds_km
    head = "".join(f"<th>{limit:g} km</th>" for limit in limits)
    rows = [
        _row(name, [_stacked(share(one.within[limit], unit="")) for limit in limits]
             + [_stacked(number(one.median_km)), _stacked(number(one.geoscore))], safe=True)
        for name, one in results.guesses.items()
    ]  # fmt: skip
    others = [
        _row(
            f"{row.model}, {row.year}",
            [f"{100 * row.within[limit]:.1f}" if limit in row.within else "" for limit in limits]
            + ["", f"<small>seen in {html.escape(row.seen_in)}</small>"],
            safe=True,
        )
        for row in published(results.benchmark.name)
    ]
    return (
        f"<h2>How near</h2><table><thead><tr><th>% of photos within</th>{head}<th>median km</th>"
        f"<th>GeoScore</th></tr></thead><tbody>{''.join(rows + others)}</tbody></table>"
        f"<p>{_EXPLAINED_ANSWERS if FIRST_ANSWER in results.guesses else _EXPLAINED}</p>"
    )


def _measures(results: Results) -> str:
    rows = [_row(label, [text]) for label, text in other_measures(results)]
    for name, gain in (results.paired or {}).items():
        text = f"{gain.value:+.4g} [{gain.low:+.4g}, {gain.high:+.4g}]"
        rows.append(_row(f"against the other model, {name}", [text]))
    head = "How honest" if "reliability" in results.measures else "Where else it is right"
    told = _TOLD if "reliability" in results.measures else ""
    return f"<h2>{head}</h2><table><tbody>{''.join(rows)}</tbody></table>{told}"


def _pictures(results: Results, table: pa.Table, advance: Progress | None) -> list[str]:
    truth = results.benchmark.lat, results.benchmark.lng
    # The model never stands alone.
    errors = results.errors_km(
        "most probable cell", "best point", FIRST_ANSWER, "prior: best point"
    )
    best = errors["best point" if "best point" in errors else FIRST_ANSWER]
    limits = results.benchmark.rule.thresholds_km
    measures = results.measures
    drawn: list[tuple[str, Callable[[], Figure]]] = [
        (_NEARNESS, lambda: plots.error_distances(errors, limits)),
        (_WHERE, lambda: plots.error_map(truth, best, limits)),
    ]
    if "reliability" in measures:
        drawn += [
            (_SURENESS, lambda: plots.reliability_diagram(measures["reliability"])),
            (_ABSTAINING, lambda: plots.risk_curve(measures["risk_coverage"])),
        ]
    there = np.array(table["problem"].is_null())
    there &= np.array([path.is_file() for path in results.benchmark.paths])
    order = np.flatnonzero(there)
    order = order[np.argsort(best[order], kind="stable")]
    # No photo is among the best and the worst.
    size = min(_SHEET, -(-len(order) // 2))
    sheets = [("The best answers", order[:size]), ("The worst answers", order[size:][::-1][:size])]
    pages = []
    for caption, draw in drawn:
        pages.append(_picture(plots.png(draw()), caption))
        if advance is not None:
            advance(len(pages), len(drawn) + len(sheets))
    for heading, chosen in sheets:
        pages.append(_sheet(heading, results, table, chosen, best) if len(chosen) else "")
        if advance is not None:
            advance(len(pages), len(drawn) + len(sheets))
    return pages


def _sheet(
    heading: str, results: Results, table: pa.Table, chosen: NDArray[np.int64], km: Floats
) -> str:
    """Return photos beside each other, each with what was guessed and what was true."""
    rows = table.take(chosen).to_pylist()
    guessed, true = (
        nearest_towns(
            *(np.array([row[f"{which}{axis}"] for row in rows]) for axis in ("lat", "lng"))
        )
        for which in ("best_", "")
    )
    figures = []
    for index, row, guess, truth in zip(chosen.tolist(), rows, guessed, true, strict=True):
        # The table's paths are text to read: a name that is not UTF-8 opens by itself alone.
        small = plots.thumbnail(results.benchmark.paths[index])
        picture = "cannot be read"
        if small is not None:
            data = base64.b64encode(small).decode()
            picture = f'<img alt="{html.escape(row["path"])}" src="data:image/jpeg;base64,{data}">'
        confidence = row.get("mode_probability")
        figures.append(
            f"<figure>{picture}<figcaption><b>{km[index]:,.0f} km off</b><br>guessed"
            f" {_town(guess)},<br>was {_town(truth)}"
            + (
                ""
                if confidence is None
                else f"<br><small>confidence {percent_text(confidence)}</small>"
            )
            + "</figcaption></figure>"
        )
    return f'<h2>{heading}</h2><div class="photos">{"".join(figures)}</div>'


def _town(town: Town) -> str:
    """Return the town that a point is named by, as the cells are."""
    return html.escape(", ".join(part for part in (town.city, country_name(town.country)) if part))


def _notes(results: Results) -> str:
    notes = [*results.benchmark.notes, *results.notes, *results.problems]
    if not notes:
        return ""
    return "<h2>Notes</h2><ul>" + "".join(f"<li>{html.escape(n)}</li>" for n in notes) + "</ul>"


def _row(name: str, values: list[str], *, safe: bool = False) -> str:
    cells = "".join(f"<td>{value if safe else html.escape(value)}</td>" for value in values)
    return f"<tr><td>{html.escape(name)}</td>{cells}</tr>"


def _stacked(text: str) -> str:
    """Put the interval below its value, so that the table fits a page."""
    value, bracket, interval = text.partition(" [")
    return f"{value}<br><small>[{interval}</small>" if bracket else value


def _picture(picture: bytes, caption: str) -> str:
    data = base64.b64encode(picture).decode()
    return (
        f'<figure><img alt="{html.escape(caption)}" src="data:image/png;base64,{data}">'
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
    )
