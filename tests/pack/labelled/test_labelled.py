"""Small copies of other people's layouts become tables of photos, labels and boxes."""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pyarrow import parquet
from typer.testing import CliRunner

from locationnet.cli import app
from locationnet.errors import InputError
from locationnet.pack.format import Pack
from locationnet.pack.labelled.detect import read_labelled
from locationnet.pack.labelled.flickrlogos import parse_boxes
from locationnet.pack.labelled.openimages import pick_classes
from locationnet.pack.recordio import read_offsets, read_record

SIZE = (200, 100)


def _photo(path: Path, size: tuple[int, int] = SIZE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (200, 30, 30)).save(path, "JPEG")


@pytest.fixture
def logos(tmp_path: Path) -> Path:
    """FlickrLogos-32 with three brands, one of which is spelt in two cases."""
    root = tmp_path / "FlickrLogos-v2"
    boxes = {
        "adidas/1.jpg": "x y width height\n20 10 100 50\n0 0 500 500\n",
        "HP/2.jpg": "x y width height\n1 1 10 10 \n300 1 10 10\n",
        "no-logo/3.jpg": None,
    }
    for name, text in boxes.items():
        _photo(root / "classes" / "jpg" / name)
        brand, photo = name.split("/")
        if text is not None:
            beside = root / "classes" / "masks" / brand.lower() / f"{photo}.bboxes.txt"
            beside.parent.mkdir(parents=True, exist_ok=True)
            beside.write_text(text)
    paths = [f"classes/jpg/{name}" for name in boxes]
    (root / "testset.relpaths.txt").write_text("\n".join([*paths, "classes/jpg/adidas/gone.jpg"]))
    (root / "trainset.relpaths.txt").write_text(f"{paths[0]}\n")
    return root


def _rows(found: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = found.table.to_pylist()
    return rows


def test_flickrlogos_gives_a_row_for_each_box(logos: Path) -> None:
    found = read_labelled(logos, part="testset")
    boxes = {
        (row["id"], row["label"]): tuple(row[side] for side in ("x_min", "y_min", "x_max", "y_max"))
        for row in _rows(found)
    }
    assert boxes == {
        ("1.jpg#0", "adidas"): (0.1, 0.1, 0.6, 0.6),
        ("1.jpg#1", "adidas"): (0, 0, 1, 1),
        ("2.jpg#0", "HP"): (0.005, 0.01, 0.055, 0.11),
        ("3.jpg#0", "no-logo"): (0, 0, 1, 1),
    }
    assert found.left_out == {
        "its box lies outside the photo": 1,
        "its photo is missing or cannot be read": 1,
    }
    assert [row["path"] for row in _rows(read_labelled(logos))] == ["classes/jpg/adidas/1.jpg"] * 2


def test_flickrlogos_can_be_whole_and_of_some_brands(logos: Path) -> None:
    rows = _rows(read_labelled(logos, part="testset", names=["adidas"], crop=False))
    assert [row["id"] for row in rows] == ["1.jpg", "gone.jpg"]
    assert "x_min" not in rows[0]
    with pytest.raises(InputError, match="no photos of 'nike'"):
        read_labelled(logos, part="testset", names=["nike"])
    with pytest.raises(InputError, match="no list 'valset'; there are testset, trainset"):
        read_labelled(logos, part="valset")


@pytest.mark.parametrize(
    "line", ["classes/jpg/../../secret.jpg", "/etc/passwd", "adidas,1.jpg", "classes/jpg/1.jpg"]
)
def test_a_list_that_leads_elsewhere_is_refused(logos: Path, line: str) -> None:
    (logos / "testset.relpaths.txt").write_text(f"{line}\n")
    with pytest.raises(InputError, match="line 1: expected classes/jpg/BRAND/PHOTO"):
        read_labelled(logos, part="testset")


@given(st.lists(st.tuples(*[st.integers(0, 5000)] * 4)), st.booleans())
def test_boxes_are_read_as_written(boxes: list[tuple[int, int, int, int]], header: bool) -> None:
    lines = [" ".join(map(str, box)) for box in boxes]
    text = "\n".join([*(["x y width height"] if header else []), *lines])
    assert parse_boxes(text, "here") == boxes


@given(st.text(max_size=60))
def test_no_text_of_boxes_crashes(text: str) -> None:
    try:
        parse_boxes(text, "here")
    except InputError as error:
        assert str(error).startswith("here: line ")


DESCRIPTIONS = {
    "/m/0": "Entity",
    "/m/v": "Vehicle",
    "/m/c": "Car",
    "/m/t": "Taxi",
    "/m/d": "Dog",
    "/m/w": "Wheel",
}
TREE = {
    "LabelName": "/m/0",
    "Subcategory": [
        {
            "LabelName": "/m/v",
            "Subcategory": [
                {"LabelName": "/m/c", "Subcategory": [{"LabelName": "/m/t"}]},
            ],
            "Part": [{"LabelName": "/m/w"}],
        },
        {"LabelName": "/m/d"},
    ],
}


def test_a_class_stands_for_all_kinds_of_it_but_not_for_its_parts() -> None:
    assert pick_classes(DESCRIPTIONS, TREE, ["vehicle", "Dog"]) == {
        "/m/v": "Vehicle",
        "/m/c": "Vehicle",
        "/m/t": "Vehicle",
        "/m/d": "Dog",
    }
    nearest = pick_classes(DESCRIPTIONS, TREE, ["Vehicle", "Car"])
    assert nearest == {"/m/v": "Vehicle", "/m/c": "Car", "/m/t": "Car"}
    assert pick_classes(DESCRIPTIONS, None, ["Dog", "Car"]) == {"/m/d": "Dog", "/m/c": "Car"}
    with pytest.raises(InputError, match="'Ca' is not a class of Open Images; there are car"):
        pick_classes(DESCRIPTIONS, TREE, ["Ca"])


@pytest.fixture
def open_images(tmp_path: Path) -> Path:
    folder = tmp_path / "open-images"
    folder.mkdir()
    (folder / "class-descriptions-boxable.csv").write_text(
        "".join(f"{label},{name}\n" for label, name in DESCRIPTIONS.items())
    )
    (folder / "bbox_labels_600_hierarchy.json").write_text(json.dumps(TREE))
    boxes = [
        ("aa", "/m/c", 0.1, 0.6, 0.2, 0.7, 0),
        ("aa", "/m/d", 0, 1, 0, 1, 0),
        ("aa", "/m/w", 0, 1, 0, 1, 0),
        ("bb", "/m/t", 0, 0.5, 0, 0.5, 1),
        ("bb", "/m/d", 0.5, 0.5, 0, 0.5, 0),
        ("bb", "/m/d", 0.5, 1.2, 0, 0.5, 0),
        ("cc", "/m/d", 0, 1, 0, 1, 0),
        ("dd", "/m/d", 0, 1, 0, 1, 0),
    ]
    (folder / "train-annotations-bbox.csv").write_text(
        "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsGroupOf\n"
        + "".join(
            f"{image},xclick,{label},1,{x0},{x1},{y0},{y1},0,{group}\n"
            for image, label, x0, x1, y0, y1, group in boxes
        )
    )
    (folder / "train-images-boxable-with-rotation.csv").write_text(
        "ImageID,Subset,OriginalURL,OriginalLandingURL,License,AuthorProfileURL,Author,Title,"
        "OriginalSize,OriginalMD5,Thumbnail300KURL,Rotation\n"
        + "".join(
            f"{image},train, http://example.org/{image}.jpg\t,http://example.org/page/{image},"
            f"https://creativecommons.org/licenses/by/2.0/,http://example.org/by/{image},Ann,"
            f'"One, two",10,x,,{rotation}\n'
            for image, rotation in (("aa", "0.0"), ("bb", ""), ("cc", "90.0"), ("zz", "0.0"))
        )
    )
    return folder


def test_open_images_gives_boxes_of_classes_and_their_kinds(open_images: Path) -> None:
    found = read_labelled(open_images, names=["Vehicle", "Dog"])
    rows = {row["id"]: row for row in _rows(found)}
    assert {name: (row["label"], row["url"]) for name, row in rows.items()} == {
        "aa#0": ("Vehicle", "http://example.org/aa.jpg"),
        "aa#1": ("Dog", "http://example.org/aa.jpg"),
        "bb#0": ("Dog", "http://example.org/bb.jpg"),
        "cc#0": ("Dog", "http://example.org/cc.jpg"),
    }
    assert {row["box_pixels"] for row in rows.values()} == {"stored"}
    first, last = rows["aa#0"], rows["bb#0"]
    assert [first[side] for side in ("x_min", "y_min", "x_max", "y_max")] == [0.1, 0.2, 0.6, 0.7]
    assert last["x_max"] == 1.0
    assert first["uploader"] == "http://example.org/by/aa"
    assert first["attribution"].startswith('"One, two" by Ann, http://example.org/page/aa, https:')
    assert found.left_out == {
        "a box around a group": 1,
        "a box without an area": 1,
        "its photo has no URL": 1,
    }
    whole = _rows(read_labelled(open_images, names=["Vehicle", "Dog"], crop=False))
    assert [(row["id"], row["label"]) for row in whole] == [
        ("aa", "Dog"), ("aa", "Vehicle"), ("bb", "Dog"), ("cc", "Dog"),
    ]  # fmt: skip


def test_open_images_says_what_is_missing(open_images: Path) -> None:
    with pytest.raises(InputError, match="at least two classes"):
        read_labelled(open_images, names=["Dog"])
    with pytest.raises(InputError, match="contains no test-annotations-bbox"):
        read_labelled(open_images, part="test", names=["Dog", "Car"])
    images = open_images / "train-images-boxable-with-rotation.csv"
    images.write_text("ImageID,OriginalURL\naa,x\n")
    with pytest.raises(InputError, match=r"rotation\.csv: .*OriginalLandingURL"):
        read_labelled(open_images, names=["Dog", "Car"])
    (open_images / "bbox_labels_600_hierarchy.json").write_text("[")
    with pytest.raises(InputError, match="not JSON"):
        read_labelled(open_images, names=["Dog", "Car"])


def test_open_images_with_one_class_under_two_names_is_refused(open_images: Path) -> None:
    with pytest.raises(InputError, match="at least two classes"):
        read_labelled(open_images, names=["Vehicle", "vehicle"])


def test_a_photo_of_open_images_that_is_there_twice_is_named(open_images: Path) -> None:
    images = open_images / "train-images-boxable-with-rotation.csv"
    lines = images.read_text().splitlines()
    images.write_text("\n".join([*lines, lines[1]]))
    with pytest.raises(InputError, match=r"rotation\.csv: the ImageID 'aa' is there twice"):
        read_labelled(open_images, names=["Vehicle", "Dog"])


@pytest.mark.parametrize("below", [["/m/v"], "/m/v", [{"LabelName": 5}], None])
def test_a_hierarchy_of_something_else_than_classes_is_refused(
    open_images: Path, below: object
) -> None:
    tree = {"LabelName": "/m/0", "Subcategory": [{"LabelName": "/m/v", "Subcategory": below}]}
    (open_images / "bbox_labels_600_hierarchy.json").write_text(json.dumps(tree))
    with pytest.raises(InputError, match=r"hierarchy\.json: expected one object"):
        read_labelled(open_images, names=["Vehicle", "Dog"])


@pytest.mark.parametrize("name", [" cat", "cat ", "c\nt"])
def test_a_folder_whose_name_can_be_no_label_is_refused(name: str, tmp_path: Path) -> None:
    _photo(tmp_path / "dog" / "1.jpg")
    _photo(tmp_path / name / "1.jpg")
    with pytest.raises(InputError) as caught:
        read_labelled(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path}: {name!r} cannot be a label")
    assert len(_rows(read_labelled(tmp_path, names=["dog"]))) == 1


@pytest.mark.parametrize("name", [b"caf\xe9/1.jpg", b"cafe/\xe9.jpg"])
def test_a_name_that_is_not_utf_8_is_left_out_and_counted(name: bytes, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    _photo(folder / os.fsdecode(name))
    command = ["labels", str(folder), "-o", str(tmp_path / "out.csv")]
    answer = CliRunner().invoke(app, command)
    assert answer.exit_code == 1
    assert str(answer.exception).endswith("labels; 1 left out: a name that is not UTF-8")
    assert not (tmp_path / "out.csv").exists()
    _photo(folder / "cafe" / "tab\t, line\n and \r.jpg")
    answer = CliRunner().invoke(app, command)
    assert answer.exit_code == 0, answer.output
    assert "  left out                1  a name that is not UTF-8" in answer.stdout
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        assert [row["path"] for row in csv.DictReader(file)] == ["cafe/tab\t, line\n and \r.jpg"]


def test_a_folder_of_labels_is_listed(tmp_path: Path) -> None:
    root = tmp_path / "set"
    for name in ("cat/1.jpg", "cat/more/2.JPEG", "dog/1.png", ".hidden/1.jpg"):
        _photo(root / name)
    for name in ("cat/notes.txt", "cat/clip.MOV", "dog/.DS_Store", "dog/more.txt", "README"):
        (root / name).touch()
    found = read_labelled(root)
    assert [(row["path"], row["label"]) for row in _rows(found)] == [
        ("cat/1.jpg", "cat"), ("cat/more/2.JPEG", "cat"), ("dog/1.png", "dog"),
    ]  # fmt: skip
    assert found.left_out == {
        "no photo by its name (.txt)": 2,
        "no photo by its name (.mov)": 1,
        "no photo by its name (hidden)": 1,
        "in no folder of a label": 1,
    }
    assert len(_rows(read_labelled(root, names=["dog"]))) == 1
    with pytest.raises(InputError, match="contains no folder 'cow'"):
        read_labelled(root, names=["cow"])
    with pytest.raises(InputError, match="has no part 'train'"):
        read_labelled(root, part="train")
    with pytest.raises(InputError, match="no such folder"):
        read_labelled(tmp_path / "missing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="contains no photos"):
        read_labelled(tmp_path / "empty")


def test_boxes_are_cropped_when_they_are_packed(logos: Path, tmp_path: Path) -> None:
    half = Image.new("RGB", SIZE, (0, 0, 255))
    half.paste((255, 0, 0), (0, 0, 100, 100))
    half.save(logos / "classes" / "jpg" / "adidas" / "1.jpg", "JPEG", quality=95)
    boxes = logos / "classes" / "masks" / "adidas" / "1.jpg.bboxes.txt"
    boxes.write_text("x y width height\n10 10 80 80\n110 10 80 60\n")
    table = tmp_path / "table.parquet"
    listed = CliRunner().invoke(app, ["labels", str(logos), "--part", "testset", "-o", str(table)])
    assert listed.exit_code == 0, listed.output
    assert parquet.read_table(table).num_rows == 4
    words = ["pack", str(table), "--images", str(logos), "--label-column", "label",
             "-o", str(tmp_path / "pack"), "--processes", "1"]  # fmt: skip
    packed = CliRunner().invoke(app, words)
    assert packed.exit_code == 0, packed.output
    pack = Pack.open(tmp_path / "pack")
    assert (tmp_path / "pack" / "labels.txt").read_text() == "HP\nadidas\nno-logo\n"
    assert pack.counts.tolist() == [1, 2, 1]
    found = []
    for offset in read_offsets(pack.shards[0])[:2]:
        label, data = read_record(pack.shards[0], int(offset))
        (tmp_path / "one.jpg").write_bytes(data)
        with Image.open(tmp_path / "one.jpg") as image:
            found.append((label, image.size, image.getpixel((20, 20))))
    assert [(label, size) for label, size, _ in found] == [(1, (80, 80)), (1, (80, 60))]
    assert found[0][2][0] > 200 > 60 > found[0][2][2]  # type: ignore[index]
    assert found[1][2][2] > 200 > 60 > found[1][2][0]  # type: ignore[index]


def test_labels_of_another_set_keep_their_classes(tmp_path: Path) -> None:
    root = tmp_path / "set"
    for name in ("cat/1.jpg", "dog/1.jpg", "cow/1.jpg"):
        _photo(root / name)
    table = tmp_path / "table.csv"
    assert CliRunner().invoke(app, ["labels", str(root), "-o", str(table)]).exit_code == 0
    (tmp_path / "labels.txt").write_text("dog\nbird\ncat\n")
    words = ["pack", str(table), "--images", str(root), "--label-column", "label", "--labels",
             str(tmp_path / "labels.txt"), "-o", str(tmp_path / "pack")]  # fmt: skip
    answer = CliRunner().invoke(app, words)
    assert answer.exit_code == 0, answer.output
    assert "its label is not one of the classes" in answer.output
    summary = json.loads((tmp_path / "pack" / "pack.json").read_text())
    assert summary["counts_per_class"] == [1, 0, 1]
    for wrong in ([], ["--grid", "x", "--label-column", "label"], ["--labels", "x"]):
        words = ["pack", str(table), "--images", str(root), "-o", str(tmp_path / "other"), *wrong]
        assert CliRunner().invoke(app, words).exit_code == 2


def _turned(path: Path, turn: int) -> None:
    """A photo of 300 x 200 stored pixels, red where columns 30 to 90 meet rows 120 to 180."""
    stored = Image.new("RGB", (300, 200), (0, 0, 250))
    stored.paste((250, 0, 0), (30, 120, 90, 180))
    exif = Image.Exif()
    exif[0x0112] = turn
    path.parent.mkdir(parents=True, exist_ok=True)
    stored.save(path, "JPEG", quality=95, subsampling=0, exif=exif)


def _packed_colours(table: Path, images: Path, out: Path) -> list[tuple[str, tuple[int, ...]]]:
    """Pack a table; return the label and mean colour of each record."""
    words = ["pack", str(table), "--images", str(images), "--label-column", "label", "-o", str(out)]
    answer = CliRunner().invoke(app, words)
    assert answer.exit_code == 0, answer.output
    pack, names = Pack.open(out), (out / "labels.txt").read_text().splitlines()
    found = []
    for offset in read_offsets(pack.shards[0]):
        label, jpeg = read_record(pack.shards[0], int(offset))
        mean = np.asarray(Image.open(io.BytesIO(jpeg))).mean(axis=(0, 1))
        found.append((names[label], tuple(mean.round().astype(int).tolist())))
    return found


@pytest.mark.parametrize("turn", range(1, 9))
def test_a_box_of_flickrlogos_is_turned_with_its_photo(
    logos: Path, tmp_path: Path, turn: int
) -> None:
    _turned(logos / "classes" / "jpg" / "adidas" / "1.jpg", turn)
    _photo(logos / "classes" / "jpg" / "HP" / "2.jpg")
    masks = logos / "classes" / "masks"
    (masks / "adidas" / "1.jpg.bboxes.txt").write_text("x y width height\n30 120 60 60\n")
    (masks / "hp" / "2.jpg.bboxes.txt").write_text("x y width height\n0 0 10 10\n")
    table = tmp_path / "table.csv"
    words = ["labels", str(logos), "--part", "testset", "-o", str(table)]
    answer = CliRunner().invoke(app, words)
    assert answer.exit_code == 0, answer.output
    assert "outside" not in answer.stdout
    colours = dict(_packed_colours(table, logos, tmp_path / "pack"))
    red, green, blue = colours["adidas"]
    assert red > 235
    assert max(green, blue) < 15


@pytest.mark.parametrize("turn", range(1, 9))
def test_a_box_of_open_images_is_of_the_stored_pixels(
    open_images: Path, tmp_path: Path, turn: int
) -> None:
    boxes = open_images / "train-annotations-bbox.csv"
    lines = boxes.read_text().splitlines()[:1]
    for image, label in (("aa", "/m/c"), ("cc", "/m/d")):
        lines.append(f"{image},xclick,{label},1,0.1,0.3,0.6,0.9,0,0")
    boxes.write_text("\n".join(lines) + "\n")
    rows = _rows(read_labelled(open_images, names=["Vehicle", "Dog"]))
    assert [row["id"] for row in rows] == ["aa#0", "cc#0"]
    images = tmp_path / "photos"
    for row in rows:
        row["path"] = Path(row["url"]).name
        _turned(images / row["path"], turn)
    table = tmp_path / "table.csv"
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    for _, (red, green, blue) in _packed_colours(table, images, tmp_path / "pack"):
        assert red > 235
        assert max(green, blue) < 15


def test_what_a_box_is_a_share_of_is_one_of_two_words(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text(
        "path,label,x_min,y_min,x_max,y_max,box_pixels\n"
        "a.jpg,cat,0,0,1,1,stored\nb.jpg,dog,0,0,1,1,\nc.jpg,dog,0,0,1,1,exif\n"
    )
    answer = CliRunner().invoke(
        app, ["pack", str(table), "--images", str(tmp_path), "--label-column", "label",
              "-o", str(tmp_path / "pack")],
    )  # fmt: skip
    assert answer.exit_code == 1
    said = f"{table}: row 3: box_pixels is stored or upright, not 'exif'"
    assert str(answer.exception) == said
