"""Photos with other labels than places go all the way: table, pack, run, bundle, answers."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

import locationnet
from locationnet.cli import app
from locationnet.errors import BundleError, InputError
from locationnet.evaluation.classification import count_answers
from locationnet.pack.format import Pack
from locationnet.train.init_weights import initial_weights

COLOURS = {"blue": (30, 30, 200), "green": (30, 200, 30), "red": (200, 30, 30)}


def _run(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def _done(*words: object) -> str:
    answer = _run(*words)
    assert answer.exit_code == 0, f"{answer.output} {answer.exception}"
    return answer.output


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for each colour."""
    folder = tmp_path_factory.mktemp("colours") / "photos"
    rng = np.random.default_rng(0)
    for label, colour in COLOURS.items():
        (folder / label).mkdir(parents=True)
        for number in range(40):
            pixels = np.clip(np.array(colour) + rng.normal(0, 25, (48, 64, 3)), 0, 255)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / label / f"{number}.jpg")
    return folder


@pytest.fixture(scope="module")
def bundle(
    photos: Path, make_network: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A bundle trained on them, as the documentation says."""
    folder = tmp_path_factory.mktemp("run")
    _done("labels", photos, "-o", folder / "photos.csv")
    _done("split", folder / "photos.csv", "-o", folder, "--val", 0.2, "--test", 0.2)
    common = ["--images", photos, "--label-column", "label", "--processes", 1]
    _done("pack", folder / "train.csv", *common, "-o", folder / "train")
    labels = folder / "train" / "labels.txt"
    _done("pack", folder / "val.csv", *common, "--labels", labels, "-o", folder / "val")
    said = _done(
        "train", folder / "train", "--val", folder / "val", "-o", folder / "run",
        "--init", make_network(classes=3), "--image-size", 32, "--batch-size", 8, "--epochs", 6,
        "--rate", 0.05, "--mean", *[127] * 3, "--std", *[64] * 3, "--threads", 1,
    )  # fmt: skip
    assert "the best is number" in said
    best = json.loads((folder / "run" / "best.json").read_text())
    assert "top1" in json.dumps(best)
    said = _done("export", folder / "run", "-o", folder / "bundle", "--validation", folder / "val")
    assert "top-1" in said
    assert "km" not in said
    return folder / "bundle"


def test_a_bundle_of_labels_holds_labels_and_no_places(bundle: Path) -> None:
    assert {path.name for path in bundle.iterdir()} == {
        "labels.txt", "manifest.json", "model.onnx", "prior.npy",
    }  # fmt: skip
    assert (bundle / "labels.txt").read_text() == "blue\ngreen\nred\n"
    assert "is whole" in _done("models", bundle, "--verify")


def test_a_classifier_answers_with_labels(bundle: Path, photos: Path) -> None:
    classifier = locationnet.load_classifier(bundle)
    names = [photos / label / "0.jpg" for label in COLOURS]
    answers = classifier.classify_many(names, top_k=2)
    assert [answer.best.label for answer in answers] == list(COLOURS)
    assert len(answers[0].labels) == 2
    assert answers[0].probabilities.sum() == pytest.approx(1)
    one = classifier.classify(names[2].read_bytes())
    assert one.best.probability == pytest.approx(answers[2].best.probability, abs=1e-5)


def test_classify_writes_every_format(bundle: Path, photos: Path) -> None:
    names = [photos / label / "1.jpg" for label in COLOURS]
    common = ["classify", *names, "--model", bundle, "--top-k", 2, "--format"]
    rows = list(csv.DictReader(io.StringIO(_done(*common, "csv"))))
    assert [row["label"] for row in rows if row["rank"] == "1"] == list(COLOURS)
    whole = json.loads(_done(*common, "json"))
    lines = [json.loads(line) for line in _done(*common, "jsonl").splitlines()]
    assert whole == lines
    assert lines[0]["predictions"][0]["label"] == "blue"
    assert lines[0]["model"]["name"] == "bundle"
    assert "green" in _done(*common, "table")
    answer = _run("classify", names[0], photos / "gone.jpg", "--model", bundle)
    assert answer.exit_code == 1
    assert "blue" in answer.output


def test_locate_and_classify_point_to_each_other(
    bundle: Path, tiny_bundle: Path, photos: Path
) -> None:
    photo = photos / "red" / "0.jpg"
    answer = _run("locate", photo, "--model", bundle)
    assert answer.exit_code == 1
    assert "use `locationnet classify`" in str(answer.exception)
    answer = _run("classify", photo, "--model", tiny_bundle)
    assert answer.exit_code == 1
    assert "use `locationnet locate`" in str(answer.exception)
    with pytest.raises(BundleError, match="classify"):
        locationnet.load_model(bundle)


def test_evaluate_measures_every_class(bundle: Path, photos: Path, tmp_path: Path) -> None:
    table = tmp_path / "test.csv"
    rows = [(f"{label}/{number}.jpg", label) for label in COLOURS for number in range(4)]
    rows += [("red/0.jpg", "purple"), ("gone.jpg", "red"), ("blue/0.jpg", "green")]
    with table.open("w", newline="") as file:
        csv.writer(file).writerows([("path", "colour"), *rows])
    said = _done(
        "evaluate", "--benchmark", table, "--images", photos, "--model", bundle, "--label-column",
        "colour", "-o", tmp_path / "report",
    )  # fmt: skip
    assert "1 rows have other labels" in said
    assert "taken for" in said
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert report["confusion"] == [[4, 0, 0], [1, 4, 0], [0, 0, 4]]
    assert [item["photos"] for item in report["classes"]] == [4, 5, 5]
    assert [item["recall"] for item in report["classes"]] == pytest.approx([1, 0.8, 0.8])
    assert [item["precision"] for item in report["classes"]] == pytest.approx([0.8, 1, 1])
    assert report["classes"][0]["f1"] == pytest.approx(8 / 9)
    assert report["accuracy"] == pytest.approx(12 / 14)
    assert report["problems"] == ["gone.jpg: cannot be opened"]
    confusion = (tmp_path / "report" / "confusion.csv").read_text().splitlines()
    assert confusion == ["label,blue,green,red,no answer", "blue,4,0,0,0", "green,1,4,0,0",
                         "red,0,0,4,1"]  # fmt: skip
    common = ["evaluate", "--benchmark", table, "-o", tmp_path / "other"]
    assert _run(*common, "--model", bundle, "--fetch").exit_code == 2
    assert _run(*common, "--model", "demo", "--label-column", "colour").exit_code == 2


def test_a_class_without_photos_or_answers_is_undefined() -> None:
    scores = count_answers(np.array([0, 0, 1]), np.array([0, 1, -1]), 3)
    assert scores.confusion.tolist() == [[1, 1, 0], [0, 0, 0], [0, 0, 0]]
    assert scores.photos.tolist() == [2, 1, 0]
    assert scores.precision.tolist()[:2] == [1, 0]
    assert np.isnan(scores.precision[2])
    assert np.isnan(scores.f1[2])
    assert scores.recall.tolist()[:2] == [0.5, 0]
    assert scores.macro_f1 == pytest.approx(1 / 3)


def test_places_cannot_be_asked_of_labels(bundle: Path, tmp_path: Path) -> None:
    folder = bundle.parent
    pack = Pack.open(folder / "train")
    with pytest.raises(InputError, match="its classes are labels"):
        _ = pack.grid
    words = ["train", folder / "train", "--val", folder / "val", "-o", tmp_path / "run"]
    for more, said in (
        (["--best-by", "geoscore"], "needs coordinates"),
        (["--smooth-km", "75"], "smoothed over places"),
    ):
        answer = _run(*words, "--preset", "small", "--image-size", 32, *more)
        assert answer.exit_code == 1
        assert said in str(answer.exception)


def test_photos_of_one_label_find_each_other(bundle: Path, photos: Path, tmp_path: Path) -> None:
    folder = bundle.parent
    words = [
        "train", folder / "train", "--val", folder / "val", "-o", tmp_path / "run", "--objective",
        "triplet", "--init", sorted((folder / "run").glob("*.params"))[-1], "--batch-size", 8,
        "--epochs", 1, "--threads", 1,
    ]  # fmt: skip
    answer = _run(*words, "--place-km", 1)
    assert answer.exit_code == 1
    assert "need coordinates" in str(answer.exception)
    assert not (tmp_path / "run").exists()
    _done(*words)
    best = json.loads((tmp_path / "run" / "best.json").read_text())
    assert best["by"] == "recall_at_1"
    assert best["value"] > 0.9
    _done("export", tmp_path / "run", "-o", tmp_path / "bundle")
    classifier = locationnet.load_classifier(tmp_path / "bundle")
    assert classifier.classify(photos / "red" / "0.jpg").best.label == "red"


def test_a_run_on_other_classes_gets_a_new_last_layer(bundle: Path) -> None:
    from locationnet.classes import LabelSet
    from locationnet.train.presets import settings_of

    run = bundle.parent / "run"
    last = sorted(run.glob("*.params"))[-1]
    given = {"init": last, "train": run, "validation": run}
    settings = settings_of(run, "small", given, {})
    same, other = LabelSet.read(run / "labels.txt"), LabelSet(("x", "y", "z"))
    assert initial_weights(settings, same).keeps_head
    assert not initial_weights(settings, other).keeps_head
