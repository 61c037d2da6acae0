"""A benchmark's results as one HTML file that needs nothing else: table, plots, notes.

Knows how a page is put together; the plots draw themselves.
"""

from __future__ import annotations

import base64
import html
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from locationnet.evaluation import plots
from locationnet.evaluation.published import published
from locationnet.evaluation.report import FIRST_ANSWER, Results, number, other_measures, share
from locationnet.files import write_text

if TYPE_CHECKING:
    import pyarrow as pa

_SHEET = 12
_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0; display: block; overflow-x: auto; }
th, td { padding: .25rem .75rem .25rem 0; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
thead th { border-bottom: 2px solid; } tbody tr { border-bottom: 1px solid #8886; }
small { opacity: .75; } figure { margin: 2rem 0; } img { max-width: 100%; background: #fff; }
figcaption { margin-top: .25rem; } .notice { border-left: 4px solid #e69f00; padding-left: .75rem; }
"""

_EXPLAINED = (
    "The most probable cell and the best point are the model's; the prior and anywhere need"
    " no photo; the oracle upper bound is what naming every true cell would be worth."
)
_EXPLAINED_ANSWERS = "The answers are those of the file; anywhere needs no photo."


def write_page(path: Path, results: Results, table: pa.Table) -> None:
    """Write the report.

    Parameters
    ----------
    path
        The .html file.
    results
        What was measured.
    table
        The answers, for the plots.

    Raises
    ------
    MissingExtraError
        matplotlib is not installed.
    LocationNetError
        The file cannot be written.
    """
    title = results.title
    parts = [f"<h1>{html.escape(title)}</h1>", tables_html(results), *_pictures(results, table),
             _notes(results)]  # fmt: skip
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
        f"<p>{len(benchmark):,} photos, {html.escape(str(benchmark.rule))}. In brackets: 95 %"
        f" intervals by bootstrap over {html.escape(results.clusters)}.</p>"
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
    return f"<h2>{head}</h2><table><tbody>{''.join(rows)}</tbody></table>"


def _pictures(results: Results, table: pa.Table) -> list[str]:
    truth = results.benchmark.lat, results.benchmark.lng
    # The model never stands alone.
    errors = results.errors_km(
        "most probable cell", "best point", FIRST_ANSWER, "prior: best point"
    )
    best = errors["best point" if "best point" in errors else FIRST_ANSWER]
    limits = results.benchmark.rule.thresholds_km
    figures = [
        (plots.error_distances(errors, limits), "Share of photos within each distance."),
        (plots.error_map(truth, best, limits), "Where the photos were taken, and how far off."),
    ]
    if "reliability" in results.measures:
        figures += [
            (
                plots.reliability_diagram(results.measures["reliability"]),
                "Honest probabilities lie on the line.",
            ),
            (
                plots.risk_curve(results.measures["risk_coverage"]),
                "What abstaining on photos with little information would buy.",
            ),
        ]
    there = np.array(table["problem"].is_null())
    there &= np.array([path.is_file() for path in results.benchmark.paths])
    order = np.flatnonzero(there)
    order = order[np.argsort(best[order], kind="stable")]
    sheets = ((order[:_SHEET], "The best answers."), (order[::-1][:_SHEET], "The worst answers."))
    for chosen, caption in sheets:
        if len(chosen):
            # The table's paths are text to read: a name that is not UTF-8 opens by itself alone.
            rows = [
                {**row, "path": results.benchmark.paths[index]}
                for index, row in zip(chosen.tolist(), table.take(chosen).to_pylist(), strict=True)
            ]
            figures.append((plots.photo_sheet(rows, best[chosen].tolist()), caption))
    return [_picture(plots.png(figure), caption) for figure, caption in figures]


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
