"""The verb itself: photos in, metrics out, interrupted and broken ones included."""

from __future__ import annotations

import html
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyarrow import parquet
from rich.console import Console
from typer.testing import CliRunner, Result

from locationnet.cli import app
from locationnet.errors import InputError
from locationnet.evaluation import model_predictions, plots
from locationnet.evaluation.benchmark_files import load_benchmark
from locationnet.evaluation.evaluate import evaluate
from locationnet.evaluation.html_report import write_page
from locationnet.evaluation.report import print_report
from locationnet.geo.sphere import great_circle_km
from locationnet.model.locator import Locator

Photo = Callable[..., bytes]


@pytest.fixture
def photos(tmp_path: Path, make_photo: Photo) -> Path:
    """A table of seven photos by three uploaders; one is not a photo, one is not there."""
    folder = tmp_path / "photos"
    folder.mkdir()
    rows = ["path,lat,lng,uploader"]
    for index in range(7):
        rows.append(f"{index}.jpg,{10 * index - 30},{20 * index},{'abc'[index % 3]}")
        if index == 5:
            (folder / "5.jpg").write_bytes(b"<html>photo no longer available</html>")
        elif index != 6:
            (folder / f"{index}.jpg").write_bytes(make_photo())
    table = tmp_path / "small.csv"
    table.write_text("\n".join(rows) + "\n")
    return table


def _run(*words: object) -> Result:
    return CliRunner().invoke(app, ["evaluate", *map(str, words)])


def _report(out: Path) -> dict[str, Any]:
    return dict(json.loads((out / "report.json").read_text()))


def test_a_bundle_is_measured_beside_its_prior(
    photos: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    out = tmp_path / "report"
    result = _run("--benchmark", photos, "--images", photos.parent / "photos", "--model",
                  tiny_bundle, "-o", out)  # fmt: skip
    assert result.exit_code == 0, result.output
    for text in (
        "prior: best point",
        "anywhere",
        "oracle upper bound",
        "3 clusters by uploader",
        "2 photos could",
    ):
        assert text in result.stdout
    report = _report(out)
    assert report["photos"] == 7
    assert report["broken"] == 2
    assert report["rule"] == "haversine distance, <="
    assert set(report["guesses"]) >= {"most probable cell", "best point", "anywhere"}
    rows = parquet.read_table(out / "predictions.parquet").to_pylist()
    assert [row["id"] for row in rows] == [f"{index}.jpg" for index in range(7)]
    assert [row["problem"] is None for row in rows] == [True] * 5 + [False] * 2
    assert "no such file" in rows[6]["problem"].lower()
    assert not (out / "parts").exists()
    assert len(report["problems"]) == 2
    page = (out / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == 4
    # Each readable photo is among the best or among the worst.
    assert page.count("data:image/jpeg;base64,") == 5
    assert page.count("<br>guessed ") == page.count(",<br>was ") == 5
    assert "prior: best point" in page
    assert "over_prior" in report
    for sentence in verdict_of(result.stdout):
        assert html.escape(sentence) in page
    assert "6.jpg" in page
    # Nothing is fetched when the page is opened.
    assert not re.search(r'(src|href)="(?!data:)', page)


def verdict_of(printed: str) -> list[str]:
    """The three sentences before the last line."""
    *_, near, worth, honesty, wrote = printed.splitlines()
    assert "placed within" in near
    assert "GeoScore" in worth
    assert "circles" in honesty
    assert wrote.startswith("wrote ")
    return [near, worth, honesty]


def test_progress_is_told_for_each_photo_and_picture(
    photos: Path, tiny_locator: Locator, tmp_path: Path
) -> None:
    benchmark = load_benchmark(str(photos), photos.parent / "photos")
    told: list[tuple[Any, ...]] = []
    results, table = evaluate(
        tiny_locator, benchmark, tmp_path, advance=lambda *one: told.append(one)
    )
    assert told == [("locating", done, 7) for done in range(1, 8)]
    drawn: list[tuple[int, int]] = []
    write_page(tmp_path / "report.html", results, table, lambda *one: drawn.append(one))
    assert drawn == [(done, 6) for done in range(1, 7)]


def test_what_belongs_together_is_named_by_its_column(
    photos: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    table = photos.with_name("trips.csv")
    table.write_text(photos.read_text().replace("uploader", "trip"))
    words = ["--benchmark", table, "--images", photos.parent / "photos", "--model", tiny_bundle]
    result = _run(*words, "--cluster", "trip", "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "bootstrap over 3 clusters by trip" in result.stdout
    assert _report(tmp_path / "out")["intervals"].endswith("3 clusters by trip")
    assert "3 clusters by trip" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("width", [40, 80, 140, 10_000])
def test_a_terminal_of_any_width_shows_all_numbers_whole(
    photos: Path, tiny_locator: Locator, tmp_path: Path, width: int
) -> None:
    benchmark = load_benchmark(str(photos), photos.parent / "photos")
    results, _ = evaluate(tiny_locator, benchmark, tmp_path)
    screen = io.StringIO()
    print_report(results, Console(file=screen, width=width, soft_wrap=True))
    shown = screen.getvalue()
    assert "…" not in shown
    table = shown.partition("true cell named first")[0]
    assert max(map(len, table.splitlines())) <= width
    for one in results.guesses.values():
        values = [*(100 * share.value for share in one.within.values()), one.geoscore.value]
        for text in (*(f"{value:.1f}" for value in values[:-1]), f"{values[-1]:,.0f}"):
            assert text in table
    intervals = "[" in table
    assert intervals != (width == 80)
    assert intervals != ("wider terminal" in table)


def test_an_interrupted_call_goes_on_and_ends_the_same(
    photos: Path, tiny_locator: Locator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_predictions, "PART_ROWS", 2)
    benchmark = load_benchmark(str(photos), photos.parent / "photos")
    whole, _ = evaluate(tiny_locator, benchmark, tmp_path / "whole")
    asked: list[int] = []

    def stop(_: str, done: int, __: int) -> None:
        asked.append(done)
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(tiny_locator, benchmark, tmp_path / "again", advance=stop)
    prepared: list[Any] = []
    prepare = tiny_locator.prepare

    def counted(photo: Any) -> Any:
        prepared.append(photo)
        return prepare(photo)

    monkeypatch.setattr(tiny_locator, "prepare", counted)
    again, _ = evaluate(tiny_locator, benchmark, tmp_path / "again")
    assert len(prepared) == 3
    assert again.measures["mode"] == whole.measures["mode"]
    tables = [parquet.read_table(tmp_path / n / "predictions.parquet") for n in ("whole", "again")]
    assert tables[0].equals(tables[1])


def test_another_models_half_done_work_is_not_used(
    photos: Path, tiny_locator: Locator, tmp_path: Path
) -> None:
    parts = tmp_path / "out" / "parts"
    parts.mkdir(parents=True)
    (parts / "begun").write_text("of another model")
    (parts / "000000000.parquet").write_bytes(b"its answers")
    benchmark = load_benchmark(str(photos), photos.parent / "photos")
    results, _ = evaluate(tiny_locator, benchmark, tmp_path / "out")
    assert results.measures["broken"] == 2


def test_a_model_compared_with_itself_is_no_better(
    photos: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    words = ["--benchmark", photos, "--images", photos.parent / "photos", "--model", tiny_bundle]
    assert _run(*words, "-o", tmp_path / "one").exit_code == 0
    predictions = tmp_path / "one" / "predictions.parquet"
    result = _run(*words, "-o", tmp_path / "two", "--against", predictions)
    assert result.exit_code == 0, result.output
    assert _report(tmp_path / "two")["paired"]["geoscore"] == [0, 0, 0]
    strangers = tmp_path / "strangers.csv"
    strangers.write_text("path,lat,lng\nnobody.jpg,1,2\n")
    wrong = _run(*words, "-o", tmp_path / "three", "--against", strangers)
    assert isinstance(wrong.exception, InputError)
    assert "none of its 1 rows is about a photo of small" in str(wrong.exception)
    assert not (tmp_path / "three").exists()


def test_a_model_is_compared_with_any_table_of_answers(
    photos: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    answers = tmp_path / "others.csv"
    answers.write_text("img_id,predicted_lat,predicted_long\n0,-30,0\n3.jpg,0,60\nx,1,2\n")
    words = ["--benchmark", photos, "--images", photos.parent / "photos", "--model", tiny_bundle]
    result = _run(*words, "-o", tmp_path / "out", "--against", answers)
    assert result.exit_code == 0, result.output
    report = _report(tmp_path / "out")
    assert report["paired"]["within_1_km"][0] == pytest.approx(-2 / 7)
    assert (
        "of those compared with: 5 photos have no prediction and count as wrong" in report["notes"]
    )


def test_what_is_compared_with_is_not_written_over(
    photos: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    words = ["--benchmark", photos, "--images", photos.parent / "photos", "--model", tiny_bundle]
    assert _run(*words, "-o", out).exit_code == 0
    before = (out / "predictions.parquet").read_bytes()
    (tmp_path / "link.parquet").symlink_to(out / "predictions.parquet")
    for against in (out / "predictions.parquet", tmp_path / "link.parquet"):
        refused = _run(*words, "-o", out, "--against", against)
        assert refused.exit_code == 2
        assert "would replace" in refused.output
    assert (out / "predictions.parquet").read_bytes() == before


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("path,lat,lng\na.jpg,91,0\n", "row 1: '91' is not a valid latitude"),
        ("path,lat,lng\na.jpg,1,x\n", "row 1: 'x' is not a valid longitude"),
        ("path,lat,lng\na.jpg,1,2\n,1,2\n", "row 2: contains no path"),
        ("path,lat,lng\na.jpg,nan,2\n", "row 1: 'nan' is not a valid latitude"),
        ("path,lat\na.jpg,1\n", "no column of longitudes"),
        ("path,lat,lng\n", "contains no rows"),
    ],
)
def test_a_wrong_table_is_named(tmp_path: Path, text: str, said: str) -> None:
    table = tmp_path / "table.csv"
    table.write_text(text)
    with pytest.raises(InputError) as caught:
        load_benchmark(str(table))
    assert said in str(caught.value)
    assert str(table) in str(caught.value)


def test_photos_can_belong_together_by_any_column(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("path,lat,lng,trip\na.jpg,1,2,x\nb.jpg,1,2,x\nc.jpg,1,2,y\n")
    assert load_benchmark(str(table)).uploaders is None
    benchmark = load_benchmark(str(table), cluster_column="trip")
    assert benchmark.uploaders == ("x", "x", "y")
    assert benchmark.paths[0] == tmp_path / "a.jpg"


def test_the_plot_of_errors_shows_the_prior_beside_the_model(
    photos: Path, tiny_locator: Locator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    benchmark = load_benchmark(str(photos), photos.parent / "photos")
    results, table = evaluate(tiny_locator, benchmark, tmp_path / "out")
    prior = tiny_locator.prior().best
    errors = results.errors_km("best point", "prior: best point", "anywhere")
    expected = great_circle_km(benchmark.lat, benchmark.lng, prior.lat, prior.lng)
    np.testing.assert_allclose(errors["prior: best point"], expected)
    assert errors["best point"].shape == (7,)
    assert "anywhere" not in errors
    drawn: list[str] = []
    draw = plots.error_distances

    def noted(kilometres: Any, thresholds: Any) -> Any:
        drawn.extend(kilometres)
        return draw(kilometres, thresholds)

    monkeypatch.setattr(plots, "error_distances", noted)
    write_page(tmp_path / "report.html", results, table)
    assert drawn == ["most probable cell", "best point", "prior: best point"]
