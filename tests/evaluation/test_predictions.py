"""Anybody's answers are scored without a model: which photo, which rank, what is missing."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet
from typer.testing import CliRunner, Result

from locationnet.cli import app
from locationnet.errors import InputError
from locationnet.evaluation.benchmark_files import load_benchmark
from locationnet.evaluation.benchmarks import Benchmark
from locationnet.evaluation.predictions import (
    NO_PREDICTION,
    answers_table,
    predictions_for,
    predictions_with_truth,
)
from locationnet.evaluation.scores import best_km

# Paris, Tokyo, Sydney, San Francisco; the second's uploader has two.
TRUTH = """\
path,lat,lng,uploader
a/1.jpg,48.85,2.35,ann
a/2.jpg,35.68,139.69,ben
b/1.jpg,-33.86,151.2,ben
b/3.png,37.77,-122.42,cleo
"""
RIGHT = [
    "a/1.jpg,48.85,2.35",
    "a/2.jpg,35.68,139.69",
    "b/1.jpg,-33.86,151.2",
    "b/3.png,37.77,-122.42",
]


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    path = tmp_path / "four.csv"
    path.write_text(TRUTH)
    return path


@pytest.fixture
def benchmark(truth: Path) -> Benchmark:
    return load_benchmark(str(truth), need_photos=False)


def _answers(folder: Path, rows: list[str], header: str = "id,lat,lng") -> Path:
    path = folder / "answers.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def _run(*words: object) -> Result:
    return CliRunner().invoke(app, ["evaluate", *map(str, words)])


def _report(out: Path) -> dict[str, Any]:
    return dict(json.loads((out / "report.json").read_text()))


def test_answers_are_scored_without_photos_or_model(truth: Path, tmp_path: Path) -> None:
    path = _answers(tmp_path, [*RIGHT[:2], "b/1.jpg,-36.85,174.76", "nobody.jpg,1,2"])
    out = tmp_path / "new" / "report"
    result = _run("--predictions", path, "--benchmark", truth, "-o", out)
    assert result.exit_code == 0, result.output
    report = _report(out)
    assert report["benchmark"] == "four"
    assert report["photos"] == 4
    assert report["broken"] == 1
    assert report["model"]["predictions"] == "answers.csv"
    assert report["intervals"] == "95 %, bootstrap over 3 clusters by uploader"
    assert set(report["guesses"]) == {"first answer", "anywhere"}
    within = report["guesses"]["first answer"]["within_km"]
    assert [within[km][0] for km in ("1", "25", "200", "750", "2500")] == [0.5, 0.5, 0.5, 0.5, 0.75]
    score = report["guesses"]["first answer"]["geoscore"]
    assert 2500 < score[0] < 3000
    assert score[1] <= score[0] <= score[2]
    assert report["country"][0] == 0.5
    assert report["region"][0] == 0.5
    assert report["paired"] is None
    assert "1 photos have no prediction and count as wrong" in report["notes"]
    assert "1 predictions are for photos that are not in four" in report["notes"]
    assert report["problems"] == ["b/3.png: no prediction"]
    # Only a model could say.
    assert not {"information_bits", "reliability", "top1", "abstained"} & set(report)
    for text in ("first answer", "anywhere", "1 photos have no prediction", "country of first"):
        assert text in result.stdout
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "<title>answers on four</title>" in page
    assert page.count("data:image/png;base64,") == 2
    assert "have no prediction and count as wrong" in page
    assert "first answer" in page
    rows = parquet.read_table(out / "predictions.parquet").to_pylist()
    assert [row["id"] for row in rows] == ["a/1.jpg", "a/2.jpg", "b/1.jpg", "b/3.png"]
    assert [row["problem"] for row in rows] == [None, None, None, NO_PREDICTION]
    assert rows[2]["best_lat"] == -36.85
    assert rows[2]["mode_country"] == "NZ"


def test_a_photo_without_answer_is_as_wrong_as_can_be(benchmark: Benchmark, tmp_path: Path) -> None:
    found = predictions_for(_answers(tmp_path, RIGHT[:1]), benchmark)
    assert found.answered.tolist() == [True, False, False, False]
    assert (found.lat[1], found.lng[1]) == pytest.approx((-35.68, -40.31))
    assert "3 photos have no prediction and count as wrong" in found.notes
    table = answers_table(benchmark, found)
    assert table["mode_country"].to_pylist() == ["FR", "", "", ""]


@pytest.mark.parametrize(
    ("names", "order"),
    [
        (["a/1.jpg", "a/2.jpg", "b/1.jpg", "b/3.png"], [0, 1, 2, 3]),
        (["b/3", "a/2", "a/1", "b/1"], [3, 1, 0, 2]),
        (["/data/a/1.jpeg", "2.jpg", r"C:\x\b\1.jpg", "3"], [0, 1, 2, 3]),
    ],
)
def test_photos_are_known_with_or_without_folder_and_suffix(
    benchmark: Benchmark, tmp_path: Path, names: list[str], order: list[int]
) -> None:
    rows = [f"{name},{row},0" for row, name in enumerate(names)]
    found = predictions_for(_answers(tmp_path, rows), benchmark)
    assert found.answered.all()
    assert found.lat[order].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (["1.jpg,1,2"], r"row 1 \(line 2\): '1.jpg' may be 'a/1.jpg' and 'b/1.jpg' of four"),
        (["3.png,1,2", "x,y,z", "2.jpg,1,2"], r"row 2 \(line 3\): 'y' is not a valid latitude"),
        (["x,1,2", "y,3,4"], "none of its 2 rows is about a photo of four: 'x', expected such as"),
        ([*RIGHT, "3,1,2"], r"row 5 \(line 6\): the photo of row 4 \(line 5\) again; expected a"),
        ([RIGHT[0], RIGHT[0]], r"row 2 \(line 3\): the photo of row 1 \(line 2\) again"),
        ([RIGHT[0], "2.jpg,95,2"], r"row 2 \(line 3\): '95' is not a valid latitude"),
        ([RIGHT[0], "2.jpg,5,-181"], r"row 2 \(line 3\): '-181' is not a valid longitude"),
    ],
)
def test_what_cannot_be_sure_is_named(
    benchmark: Benchmark, tmp_path: Path, rows: list[str], said: str
) -> None:
    with pytest.raises(InputError, match=rf"answers\.csv: {said}"):
        predictions_for(_answers(tmp_path, rows), benchmark)


def test_a_photo_that_a_benchmark_has_twice_is_named(truth: Path, tmp_path: Path) -> None:
    truth.write_text(TRUTH + "a/1.jpg,1,2,ann\n")
    benchmark = load_benchmark(str(truth), need_photos=False)
    with pytest.raises(InputError, match=r"row 1 \(line 2\): 'a/1.jpg' stands in four twice"):
        predictions_for(_answers(tmp_path, RIGHT), benchmark)


RANKED = ["2.jpg,10,20,{},{}", "3.png,1,2,{},{}", "2.jpg,35,139,{},{}", "2.jpg,40,50,{},{}"]


@pytest.mark.parametrize(
    ("ranks", "order"),
    [
        ([2, 1, 1, 3, "", "", "", ""], [35, 10, 40]),
        ([2.0, 0, 0, 1, "", "", "", ""], [35, 40, 10]),
        (["", "", "", "", 0.2, 1, 0.7, 0.1], [35, 10, 40]),
        # The first of two that are equally probable stays first.
        (["", "", "", "", 0.2, 1, 0.2, 0.1], [10, 35, 40]),
        # A rank says it all.
        ([1, 1, 2, 3, 0.1, 1, 0.7, 0.2], [10, 35, 40]),
    ],
)
def test_answers_are_in_order(
    benchmark: Benchmark, tmp_path: Path, ranks: list[Any], order: list[float]
) -> None:
    rows = [row.format(ranks[index], ranks[index + 4]) for index, row in enumerate(RANKED)]
    path = _answers(tmp_path, rows, "id,lat,lng,rank,probability")
    found = predictions_for(path, benchmark)
    assert found.top_lat[1] == order
    assert found.lat[1] == order[0]
    assert found.top_lat[3] == [1]


@pytest.mark.parametrize(
    ("ranks", "said"),
    [
        ([1, 1, 1, 2], r"row 3 \(line 4\): the photo of row 1 \(line 2\) again with rank 1"),
        ([1, 1, "", 2], r"row 3 \(line 4\): no rank, and its photo has 3 answers"),
    ],
)
def test_ranks_that_do_not_tell_are_named(
    benchmark: Benchmark, tmp_path: Path, ranks: list[Any], said: str
) -> None:
    rows = [row.format(rank, "") for row, rank in zip(RANKED, ranks, strict=True)]
    path = _answers(tmp_path, rows, "id,lat,lng,rank,probability")
    with pytest.raises(InputError, match=rf"answers\.csv: {said}"):
        predictions_for(path, benchmark)


def test_the_nearest_of_five_is_measured_where_there_are_several(
    truth: Path, tmp_path: Path
) -> None:
    rows = ["2.jpg,0,0,0.5", "2.jpg,35.68,139.69,0.2", "2.jpg,1,1,0.1", "3,37.77,-122.42,1"]
    path = _answers(tmp_path, rows, "image_id,lat,lon,score")
    out = tmp_path / "report"
    assert _run("--predictions", path, "--benchmark", truth, "-o", out).exit_code == 0
    guesses = _report(out)["guesses"]
    assert guesses["first answer"]["within_km"]["1"][0] == 0.25
    assert guesses["nearest of five"]["within_km"]["1"][0] == 0.5


def test_an_id_that_is_none_gives_way_to_the_path(benchmark: Benchmark, tmp_path: Path) -> None:
    rows = [f"{number},{row}" for number, row in enumerate(RIGHT)]
    found = predictions_for(_answers(tmp_path, rows, "id,path,lat,lng"), benchmark)
    assert found.answered.all()


def test_the_file_may_hold_the_truth(tmp_path: Path) -> None:
    path = _answers(
        tmp_path,
        [
            "1.jpg,ann,48.85,48.86,2.35,2.36",
            "2.jpg,ann,35.68,0,139.69,0",
            "3.jpg,,1,1,2,2",
            "",
            "x,y",
        ],
        "img_id,author,gt_lat,predicted_lat,gt_long,predicted_long",
    )
    result = _run("--predictions", path, "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    report = _report(tmp_path / "out")
    assert report["benchmark"] == "answers"
    assert report["photos"] == 3
    assert report["intervals"] == "95 %, bootstrap over 2 clusters by uploader"
    assert report["guesses"]["first answer"]["within_km"]["25"][0] == pytest.approx(2 / 3)
    assert any("lines 5 and 6" in note for note in report["notes"])
    by_truth = _run("--predictions", path, "-o", tmp_path / "out", "--cluster", "gt_lat")
    assert by_truth.exit_code == 0
    assert "3 clusters" in _report(tmp_path / "out")["intervals"]


def test_the_benchmarks_truth_wins(truth: Path, tmp_path: Path) -> None:
    rows = [f"{row},0,0" for row in RIGHT]
    path = _answers(tmp_path, rows, "id,predicted_lat,predicted_lng,gt_lat,gt_lng")
    out = tmp_path / "out"
    assert _run("--predictions", path, "--benchmark", truth, "-o", out).exit_code == 0
    assert _report(out)["guesses"]["first answer"]["within_km"]["1"][0] == 1
    # What the file says of the truth is not even read.
    path.write_text(path.read_text().replace(",0,0", ",unknown,"))
    assert _run("--predictions", path, "--benchmark", truth, "-o", out).exit_code == 0


def test_truths_named_the_wrong_way_round_are_swapped(tmp_path: Path) -> None:
    rows = ["1,139.69,35.68,35.68,139.69", "2,151.2,-33.86,-33.86,151.2", "3,2.3,48.8,48.8,2.3"]
    header = "id,gt_lat,gt_long,pred_lat,pred_long"
    photos, found = predictions_with_truth(_answers(tmp_path, rows, header))
    assert photos.lat.tolist() == found.lat.tolist() == [35.68, -33.86, 48.8]
    assert "columns 'gt_lat' and 'gt_long' are named the wrong way round" in photos.notes[0]
    header = "id,pred_lat,pred_long,gt_lat,gt_long"
    photos, found = predictions_with_truth(_answers(tmp_path, rows, header))
    assert photos.lng.tolist() == found.lng.tolist() == [139.69, 151.2, 2.3]
    assert any("'pred_lat' and 'pred_long' are named the wrong" in note for note in found.notes)


def test_two_truths_of_a_photo_are_named(tmp_path: Path) -> None:
    rows = ["1,1,2,1,2,0.5", "1,1,2,1,2.5,0.4"]
    path = _answers(tmp_path, rows, "id,lat,lng,gt_lat,gt_lng,probability")
    with pytest.raises(
        InputError, match=r"row 2 \(line 3\): '1' was taken elsewhere than in row 1"
    ):
        predictions_with_truth(path)


def test_a_truth_at_0_0_is_left_out_and_counted(tmp_path: Path) -> None:
    path = _answers(tmp_path, ["1,1,2,1,2", "2,1,2,0,0"], "id,lat,lng,gt_lat,gt_lng")
    photos, found = predictions_with_truth(path)
    assert photos.ids == ("1",)
    assert "1 photos whose truth is 0, 0 are left out" in photos.notes
    assert found.answered.tolist() == [True]
    path = _answers(tmp_path, ["1,1,2,0,0"], "id,lat,lng,gt_lat,gt_lng")
    with pytest.raises(InputError, match="answers: contains no photos"):
        predictions_with_truth(path)


@pytest.mark.parametrize("name", ["im2gps", "im2gps3k", "yfcc4k", "yfcc26k"])
def test_a_published_benchmark_needs_its_table_alone(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    tables = {
        "im2gps": "im2gps_places365.csv",
        "im2gps3k": "im2gps3k_places365.csv",
        "yfcc4k": "yfcc4k.csv",
        "yfcc26k": "yfcc25600_places365.csv",
    }
    (folder / tables[name]).write_text(
        "name,AUTHOR,LON,LAT\n4/5/1.jpg,a@N00,48.85,2.35\n4/6/2.jpg,b@N00,35.68,139.69\n"
    )
    path = _answers(tmp_path, ["1.jpg,48.85,2.35", "x/2.jpg,35.68,139.69"])
    out = tmp_path / "out"
    result = _run("--predictions", path, "--benchmark", name, "--images", folder, "-o", out)
    assert result.exit_code == 0, result.output
    report = _report(out)
    assert report["guesses"]["first answer"]["within_km"]["1"][0] == 1
    assert report["published"]
    assert any("named the wrong way round" in note for note in report["notes"])


def test_placing_is_scored_by_its_own_rule(tmp_path: Path) -> None:
    (tmp_path / "mediaeval2016_test").write_text("1\tu\t7.5\t50.25\tx\tabc123def\n")
    path = _answers(tmp_path, ["abc123def.jpg,50.25,7.5"])
    words = ("--benchmark", "placing2016", "--images", tmp_path)
    assert _run("--predictions", path, *words, "-o", tmp_path / "out").exit_code == 0
    report = _report(tmp_path / "out")
    assert report["rule"] == "karney distance, <"
    assert report["guesses"]["first answer"]["within_km"]["0.01"][0] == 1


def test_answers_are_compared_with_others_of_either_kind(
    truth: Path, tiny_bundle: Path, tmp_path: Path, make_photo: Callable[..., bytes]
) -> None:
    for name in ("a/1.jpg", "a/2.jpg", "b/1.jpg", "b/3.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(make_photo())
    ours = tmp_path / "ours"
    model = _run("--benchmark", truth, "--model", tiny_bundle, "-o", ours)
    assert model.exit_code == 0, model.output
    path = _answers(tmp_path, RIGHT)
    words = ("--predictions", path, "--benchmark", truth)
    kept = ours / "predictions.parquet"
    assert _run(*words, "-o", tmp_path / "one", "--against", kept).exit_code == 0
    report = _report(tmp_path / "one")
    best = _report(ours)["guesses"]["best point"]
    assert report["paired"]["within_25_km"][0] == 1 - best["within_km"]["25"][0]
    page = (tmp_path / "one" / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == 2
    assert page.count("data:image/jpeg;base64,") == 4
    assert _run(*words, "-o", tmp_path / "two", "--against", path).exit_code == 0
    assert _report(tmp_path / "two")["paired"]["geoscore"] == [0, 0, 0]
    written = tmp_path / "two" / "predictions.parquet"
    assert _run(*words, "-o", tmp_path / "six", "--against", written).exit_code == 0
    assert _report(tmp_path / "six")["paired"]["geoscore"] == [0, 0, 0]
    # Answers that we have written ourselves are scored again as they were.
    for extra in ((), ("--benchmark", truth)):
        again = tmp_path / "again"
        assert _run("--predictions", kept, *extra, "-o", again).exit_code == 0
        assert _report(again)["guesses"]["first answer"] == best
        assert "3 clusters by uploader" in _report(again)["intervals"]


def test_what_locate_writes_is_scored(
    tiny_bundle: Path, tmp_path: Path, make_photo: Callable[..., bytes]
) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "oslo.jpg").write_bytes(make_photo((255, 255, 255)))
    words = ["locate", str(tmp_path / "photos"), "--model", str(tiny_bundle), "--format", "csv"]
    located = CliRunner().invoke(app, words)
    assert located.exit_code == 0
    (tmp_path / "located.csv").write_text(located.stdout)
    (tmp_path / "truth.csv").write_text("path,lat,lng\noslo.jpg,59.91,10.75\n")
    out = tmp_path / "out"
    given = ("--predictions", tmp_path / "located.csv", "--benchmark", tmp_path / "truth.csv")
    result = _run(*given, "-o", out)
    assert result.exit_code == 0, result.output
    assert _report(out)["guesses"]["first answer"]["within_km"]["1"][0] == 1


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_parquet_is_read_like_a_csv(truth: Path, tmp_path: Path, form: str) -> None:
    path = tmp_path / f"answers.{form}"
    columns = {"image_id": ["1.jpg", "2.jpg"], "latitude": [1.0, 35.68], "lon": [2, 139.69]}
    if form == "parquet":
        parquet.write_table(pa.table(columns), path)
    else:
        path.write_text("image_id;latitude;lon\n1.jpg;1.0;2\n2.jpg;35.68;139.69\n")
    truth.write_text(TRUTH.replace("b/1.jpg", "b/4.jpg"))
    assert _run("--predictions", path, "--benchmark", truth, "-o", tmp_path / "o").exit_code == 0
    assert _report(tmp_path / "o")["guesses"]["first answer"]["within_km"]["1"][0] == 0.25


@pytest.mark.parametrize(
    "words",
    [
        ("--model", "demo"),
        ("--fetch",),
        ("--train", "pack"),
        ("--neighbours", "pack"),
        ("--label-column", "label"),
    ],
)
def test_what_needs_a_model_does_not_go_with_answers(
    truth: Path, tmp_path: Path, words: tuple[str, ...]
) -> None:
    path = _answers(tmp_path, RIGHT)
    out = tmp_path / "out"
    result = _run("--predictions", path, "--benchmark", truth, "-o", out, *words)
    assert result.exit_code == 2
    assert f"drop {words[0]}" in " ".join(result.output.split())
    assert not out.exists()


def test_a_benchmark_or_answers_must_be_given(tmp_path: Path) -> None:
    result = _run("-o", tmp_path / "out")
    assert result.exit_code == 2
    assert "--benchmark" in result.output


def test_answers_are_not_written_over(truth: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    path = out / "predictions.parquet"
    parquet.write_table(pa.table({"id": ["a/1.jpg"], "lat": [1.0], "lng": [2.0]}), path)
    before = path.read_bytes()
    result = _run("--predictions", path, "--benchmark", truth, "-o", out)
    assert result.exit_code == 2
    assert "would replace" in " ".join(result.output.split())
    assert path.read_bytes() == before
    assert list(out.iterdir()) == [path]


def test_nothing_is_written_where_a_row_is_wrong(truth: Path, tmp_path: Path) -> None:
    path = _answers(tmp_path, ["a/1.jpg,x,2", *RIGHT[1:]])
    result = _run("--predictions", path, "--benchmark", truth, "-o", tmp_path / "out")
    assert isinstance(result.exception, InputError)
    assert not (tmp_path / "out").exists()


def test_no_network_is_loaded(truth: Path, tmp_path: Path) -> None:
    words = ["evaluate", "--predictions", _answers(tmp_path, RIGHT), "--benchmark", truth]
    code = (
        "import sys\n"
        "from typer.testing import CliRunner\n"
        "from locationnet.cli import app\n"
        f"found = CliRunner().invoke(app, {[*map(str, words), '-o', str(tmp_path / 'out')]!r})\n"
        "assert found.exit_code == 0, found.output\n"
        "loaded = {name.split('.')[0] for name in sys.modules}\n"
        "assert not loaded & {'onnxruntime', 'openvino', 'onnx', 'mxnet'}, loaded\n"
        "assert 'locationnet.model.locator' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_distances_are_those_that_others_publish(tmp_path: Path) -> None:
    # Of a table of answers that came with its distances, as its authors computed them.
    rows = np.array(
        [
            (32.325436, 26.193849, -64.764404, -77.825306, 1437.19),
            (40.807694, -35.311527, -73.962262, 149.063375, 16237.27),
            (43.642423, 43.642423 + 0.000945, -79.387153, -79.387124, 0.11),
        ]
    )
    text = [f"{n}.jpg,{a},{b},{c},{d}" for n, (a, b, c, d, _) in enumerate(rows.tolist())]
    path = _answers(tmp_path, text, "img_id,gt_lat,predicted_lat,gt_long,predicted_long")
    photos, found = predictions_with_truth(path)
    table = answers_table(photos, found)
    np.testing.assert_allclose(best_km(table, photos.rule), rows[:, 4], atol=0.006)
