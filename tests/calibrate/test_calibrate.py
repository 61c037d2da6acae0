"""A bundle that is calibrated says what was measured, and its probabilities hold out."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from locationnet.calibrate import reduced
from locationnet.calibrate.calibrated_bundle import default_target
from locationnet.calibrate.fit import threshold
from locationnet.cli import app
from locationnet.export import quantize
from locationnet.model.bundle import Bundle
from locationnet.model.locator import Locator, load_model
from locationnet.model.sessions import can_run

PHOTOS = 240
TRUE_TEMPERATURE = 2.5


@pytest.fixture
def table(tmp_path: Path, tiny_locator: Locator, make_photo: Callable[..., bytes]) -> Path:
    """Photos whose places are as the tiny network says, had it the temperature 2.5."""
    rng = np.random.default_rng(4)
    folder = tmp_path / "photos"
    folder.mkdir()
    rows = ["path,lat,lng,uploader"]
    grid = tiny_locator.grid
    for photo in range(PHOTOS):
        colour = tuple(int(value) for value in rng.integers(40, 216, 3))
        path = folder / f"{photo}.png"
        path.write_bytes(make_photo(colour, form="PNG"))
        weights = tiny_locator.locate(path).probabilities ** (1 / TRUE_TEMPERATURE)
        cell = rng.choice(len(grid), p=weights / weights.sum())
        rows.append(f"{path.name},{grid.lat[cell]},{grid.lng[cell]},user{photo // 4}")
    (folder / "photos.csv").write_text("\n".join(rows) + "\n")
    return folder / "photos.csv"


def _run(*words: object) -> Result:
    return CliRunner().invoke(app, ["calibrate", *map(str, words)])


def test_the_temperature_that_the_truth_was_drawn_with_is_found(
    make_bundle: Callable[..., Path], table: Path
) -> None:
    bundle = make_bundle(calibrated=False)
    result = _run(bundle, "--benchmark", table)
    assert result.exit_code == 0, result.output
    manifest = Bundle.open(bundle).manifest
    assert manifest.calibrated
    assert manifest.temperature == pytest.approx(TRUE_TEMPERATURE, rel=0.25)
    measured = manifest.calibration
    assert measured is not None
    assert measured.error_after < measured.error_before
    assert measured.photos == PHOTOS
    assert measured.geoscore > measured.prior_geoscore
    assert (measured.photos_of, measured.clustered_by) == ("photos", "uploader")
    assert sum(rate.photos for rate in measured.hints) == PHOTOS
    for rate in measured.hints:
        assert (rate.country is None) == (rate.photos == 0)
        if rate.country is not None:
            assert rate.country.low <= rate.country.value <= rate.country.high
    # What the command says is what the manifest says.
    assert f"-> {manifest.temperature:.3f}" in result.output
    # The bundle is as whole as before, and answers with the new temperature.
    locator = load_model(bundle, verify=True)
    raw = locator.at_temperature(1.0).locate(table.parent / "0.png").probabilities
    powered = raw ** (1 / manifest.temperature)
    found = locator.locate(table.parent / "0.png").probabilities
    assert found == pytest.approx(powered / powered.sum(), rel=1e-5)
    # Anew it finds the same: it begins from the network's own probabilities.
    assert _run(bundle, "--benchmark", table).exit_code == 0
    again = Bundle.open(bundle).manifest
    assert again.temperature == pytest.approx(manifest.temperature, rel=1e-3)


@pytest.mark.skipif(not can_run("onnxruntime", "int8"), reason="takes a CPU with VNNI or AMX")
def test_a_reduced_precision_is_offered_once_it_is_measured(
    make_bundle: Callable[..., Path], table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = make_bundle()
    before = sorted(path.name for path in bundle.iterdir())
    result = _run(bundle, "--benchmark", table, "--precision", "int8")
    assert result.exit_code == 1
    assert f"{PHOTOS} photos can be read; measuring int8 takes at least 600" in str(
        result.exception
    )
    assert sorted(path.name for path in bundle.iterdir()) == before

    monkeypatch.setattr(reduced, "_FOR_ACTIVATIONS", 100)
    monkeypatch.setattr(quantize, "MIN_PHOTOS", 100)
    for _ in range(2):  # anew, it is measured anew
        result = _run(bundle, "--benchmark", table, "--precision", "int8")
        assert result.exit_code == 0, result.exception
    offer = load_model(bundle, verify=True).bundle.manifest.precisions["int8"]
    assert (offer.photos, offer.calibration_photos) == (PHOTOS - 100, 100)
    assert f"names the same cell for {offer.top1_agreement:.1%}" in result.output
    wanted = load_model(bundle, precision="int8" if offer.allowed else "f32")
    plain = load_model(bundle, precision="f32")
    photos = sorted(table.parent.glob("*.png"))
    same = [
        one.mode.cell == other.mode.cell
        for one, other in zip(wanted.locate_many(photos), plain.locate_many(photos), strict=True)
    ]
    assert np.mean(same) >= 0.9
    assert _run(bundle, "--undo").exit_code == 0
    assert sorted(path.name for path in bundle.iterdir()) == before
    assert not load_model(bundle, verify=True).bundle.manifest.precisions


def test_undo_gives_back_what_was_there(make_bundle: Callable[..., Path], table: Path) -> None:
    bundle = make_bundle(calibrated=False, temperature=1.5, abstain_below_bits=0.25)
    before = json.loads((bundle / "manifest.json").read_text())
    assert _run(bundle, "--benchmark", table).exit_code == 0
    assert json.loads((bundle / "manifest.json").read_text()) != before
    assert _run(bundle, "--undo").exit_code == 0
    assert json.loads((bundle / "manifest.json").read_text()) == before
    result = _run(bundle, "--undo")
    assert result.exit_code == 1
    assert isinstance(result.exception, Exception)
    assert "nothing to undo" in str(result.exception)


def test_a_copy_is_written_where_it_is_asked_for(
    make_bundle: Callable[..., Path], table: Path, tmp_path: Path
) -> None:
    bundle = make_bundle()
    before = (bundle / "manifest.json").read_bytes()
    out = tmp_path / "calibrated"
    assert _run(bundle, "--benchmark", table, "--out", out).exit_code == 0
    assert (bundle / "manifest.json").read_bytes() == before
    copied = load_model(out, verify=True)
    assert copied.bundle.manifest.calibration is not None
    # A folder of something else is left alone.
    other = tmp_path / "other"
    other.mkdir()
    (other / "letter.txt").write_text("dear")
    result = _run(bundle, "--benchmark", table, "--out", other)
    assert result.exit_code == 1
    assert "is not a bundle" in str(result.exception)
    assert sorted(path.name for path in other.iterdir()) == ["letter.txt"]


def test_what_may_not_be_written_to_is_copied_to_the_data_directory(
    make_bundle: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCATIONNET_HOME", str(tmp_path))
    assert default_target(Bundle.open("demo")) == tmp_path / "models" / "demo-calibrated"
    bundle = Bundle.open(make_bundle())
    assert default_target(bundle) == bundle.path
    manifest = bundle.path / "manifest.json"
    manifest.chmod(stat.S_IRUSR)
    if os.access(manifest, os.W_OK):  # root may write anything
        monkeypatch.setattr(os, "access", lambda *_: False)
    assert default_target(bundle) == tmp_path / "models" / "tiny"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ([], 2, "--benchmark"),
        (["--undo", "--benchmark", "x.csv"], 2, "no other option"),
        (["--benchmark", "absent.csv"], 1, "absent.csv"),
    ],
)
def test_what_is_wrong_is_one_line(
    tiny_bundle: Path, words: list[str], code: int, said: str
) -> None:
    result = _run(tiny_bundle, *words)
    assert result.exit_code == code
    assert said in (result.output if code == 2 else str(result.exception))


def test_photos_that_cannot_be_read_do_not_count(
    make_bundle: Callable[..., Path], table: Path
) -> None:
    (table.parent / "0.png").write_bytes(b"no photo")
    (table.parent / "1.png").unlink()
    bundle = make_bundle()
    result = _run(bundle, "--benchmark", table)
    assert result.exit_code == 0
    assert "2 photos could not be read" in result.output
    measured = Bundle.open(bundle).manifest.calibration
    assert measured is not None
    assert measured.photos == PHOTOS - 2
    for path in table.parent.glob("*.png"):
        path.write_bytes(b"no photo")
    before = (bundle / "manifest.json").read_bytes()
    result = _run(bundle, "--benchmark", table)
    assert result.exit_code == 1
    assert f"none of its {PHOTOS} photos can be read" in str(result.exception)
    assert (bundle / "manifest.json").read_bytes() == before


@given(
    st.lists(
        st.tuples(st.sampled_from([0.0, 0.1, 0.5, 2.0]), st.integers(-9, 9)),
        min_size=1,
        max_size=30,
    )
)
def test_answers_abstain_where_together_they_would_score_less(
    answers: list[tuple[float, int]],
) -> None:
    bits, gain = (np.array(values, float) for values in zip(*answers, strict=True))
    found = threshold(bits, gain)

    def total(least: float) -> float:
        return float(gain[bits >= least].sum())

    assert all(total(found) >= total(other) for other in (0.0, 0.1, 0.5, 2.0, 3.0))
    # The lowest of the equally good ones, and all where all are worth giving.
    lower = [other for other in (0.0, *bits) if other < found and total(other) == total(found)]
    assert not lower or total(found) <= 0
    assert found == 0 or found > bits.min()


def _answer(locator: Locator, **probabilities: float) -> Any:
    from dataclasses import replace

    names = [locator.bundle.names.city[index] for index in range(len(locator.grid))]
    weights = np.array([probabilities.get(name.replace(" ", ""), 0.0) for name in names])
    return replace(locator.prior(), probabilities=weights)


def test_the_strongest_hint_is_the_city_with_most_of_the_information(
    tiny_locator: Locator,
) -> None:
    # The prior: Oslo .4, Nairobi .2, San Francisco .3, Oakland .1, in some order.
    prior = dict(zip(tiny_locator.bundle.names.city, tiny_locator.bundle.prior, strict=True))
    hint = _answer(tiny_locator, Oslo=0.5, Nairobi=0.25, Oakland=0.25).hint
    assert hint is not None
    expected = {
        city: p * np.log2(p / prior[city])
        for city, p in {"Oslo": 0.5, "Nairobi": 0.25, "Oakland": 0.25}.items()
    }
    city = max(expected, key=lambda name: expected[name])
    assert hint.name.startswith(city)
    assert hint.lift == pytest.approx(hint.probability / prior[city])
    assert tiny_locator.bundle.names.city[hint.class_index] == city
    assert tiny_locator.prior().hint is None


def test_a_coarse_answer_hints_at_a_country(tiny_locator: Locator) -> None:
    hint = _answer(tiny_locator, Nairobi=1.0).coarse(500).hint
    assert hint is not None
    assert (hint.label, hint.name) == ("KE", "Kenya")
