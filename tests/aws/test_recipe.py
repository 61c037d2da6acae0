"""Recipes: what may stand in one, which machines can train, and how options are written."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.main import get_command

from locationnet.aws.instance_types import find_machine
from locationnet.aws.package import package_files
from locationnet.aws.recipe import EC2Recipe, SageMakerRecipe, cost, read_recipe
from locationnet.aws.train_options import FLAGS, TRIPLES, as_strings, as_words
from locationnet.cli import app
from locationnet.cli.options import check_train_options
from locationnet.errors import InputError

RECIPES = Path(__file__).parents[2] / "scripts" / "aws"
GOOD = """
name = "town"
region = "us-west-2"
out = "s3://bucket/out"
[data]
train = "s3://bucket/train"
val = "s3://bucket/val"
[train]
epochs = 3
[machine]
type = "g5.12xlarge"
ami = "ami-0123456789abcdef0"
instance_profile = "training"
max_hours = 2
"""


def _read(tmp_path: Path, text: str) -> EC2Recipe:
    path = tmp_path / "recipe.toml"
    path.write_text(text.replace("BUCKET", "bucket"))
    return read_recipe(path, EC2Recipe)


@pytest.mark.parametrize("name", ["p4d", "two-g5"])
def test_the_recipes_that_ship_are_read(name: str, tmp_path: Path) -> None:
    recipe = _read(tmp_path, (RECIPES / f"{name}.toml").read_text())
    options = recipe.options(find_machine(recipe.machine.type))
    assert options["gpus"] == "0-7"
    check_train_options(RECIPES / f"{name}.toml", options)
    assert recipe.machine.count * 8 * int(options["batch-size"]) == 512


def test_the_recipe_for_sagemaker_is_read(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    text = (RECIPES / "sagemaker.toml").read_text()
    path.write_text(text.replace("BUCKET", "bucket").replace("ACCOUNT", "000000000000"))
    recipe = read_recipe(path, SageMakerRecipe)
    assert recipe.options(find_machine(recipe.training.type))["gpus"] == "0-3"


def test_the_recipe_of_2017_says_why_it_does_not_run() -> None:
    with pytest.raises(InputError) as caught:
        read_recipe(RECIPES / "p2.toml", EC2Recipe)
    assert "[machine] type: p2.16xlarge: AWS has retired p2" in str(caught.value)
    assert "K80 needs mxnet-cu102" in str(caught.value)
    assert "use p4d, g5 or g6" in str(caught.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("max_hours", "max_ours"), "[machine] max_ours: there is no such key"),
        (('region = "us-west-2"', ""), "region: is missing"),
        (("name", "nome"), "nome: there is no such key"),
        (
            ('"s3://bucket/val"', '"bucket/val"'),
            "[data] val: 'bucket/val' is not a valid address in S3",
        ),
        (("g5.12xlarge", "p5.48xlarge"), "p5.48xlarge: a Hopper GPU"),
        (("g5.12xlarge", "ml.g5.12xlarge"), "[machine]: types of machines that begin with ml."),
        (("g5.12xlarge", "g5"), "[machine] type: 'g5' is not a valid type of machine"),
        (("epochs = 3", "init = 'a.onnx'"), "[data] init (a folder in S3) and [train] init"),
        (("max_hours = 2", "max_hours = 0"), "[machine] max_hours: Input should be greater than 0"),
        (("max_hours = 2", "max_hours = 2\nmax_price = 3"), "[machine]: max_price is a limit for"),
        (("max_hours = 2", 'max_hours = 2\ntags = {"aws:x" = "y"}'), "are not yours to give"),
        (("[data]", "[data"), "cannot be read"),
    ],
)
def test_a_wrong_key_is_named(tmp_path: Path, change: tuple[str, str], said: str) -> None:
    assert change[0] in GOOD
    with pytest.raises(InputError) as caught:
        _read(tmp_path, GOOD.replace(*change))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path / "recipe.toml"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"epoch": "3"}, "No such option: --epoch"),
        ({"epochs": "three"}, "'--epochs'"),
        ({"mean": "1 2"}, "'--mean'"),
        ({"preset": "a", "flip": "maybe so"}, "extra argument"),
    ],
)
def test_a_wrong_option_of_train_is_refused_before_a_machine_costs_money(
    tmp_path: Path, options: dict[str, str], said: str
) -> None:
    with pytest.raises(InputError) as caught:
        check_train_options(tmp_path / "recipe.toml", options)
    assert f"{tmp_path / 'recipe.toml'}: [train] " in str(caught.value)
    assert said in str(caught.value)


def test_the_cost_is_what_the_user_says_it_is(tmp_path: Path) -> None:
    table = _read(tmp_path, GOOD).machine
    assert cost(table) == "price: not given (price_per_hour in the recipe)"
    # With the quarter of an hour that a machine may take to end.
    assert cost(table, 2.5).startswith(
        "price, as given: 2.50 an hour for 1 x g5.12xlarge, at most 5.62 in 2.25 hours"
    )
    short = _read(tmp_path, GOOD.replace("max_hours = 2", "max_hours = 0.5")).machine
    assert "at most 1.88 in 0.75 hours" in cost(short, 2.5)


@pytest.mark.parametrize(
    ("name", "gpus"),
    [
        ("p4d.24xlarge", 8), ("g5.48xlarge", 8), ("ml.g5.12xlarge", 4), ("g4dn.xlarge", 1),
        ("g6e.48xlarge", 8), ("p3.16xlarge", 8), ("c7i.large", 0), ("ml.m5.xlarge", 0),
    ],
)  # fmt: skip
def test_machines_that_train(name: str, gpus: int) -> None:
    machine = find_machine(name)
    assert machine.gpus == gpus
    assert machine.default_options == ({"gpus": f"0-{gpus - 1}"} if gpus else {})


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("p2.xlarge", "retired p2"),
        ("p5.48xlarge", "Hopper"),
        ("p5en.48xlarge", "Hopper"),
        ("p6-b200.48xlarge", "not known to run on p6-b200"),
        ("g7e.2xlarge", "not known to run on g7e"),
        ("g4ad.xlarge", "AMD"),
        ("g5g.xlarge", "ARM"),
        ("trn1.2xlarge", "not known to run on trn1"),
        ("g5.32xlarge", "g5 has no size 32xlarge"),
        ("--help", "not a valid type of machine"),
    ],
)
def test_machines_that_cannot_train_are_refused_with_the_reason(name: str, said: str) -> None:
    with pytest.raises(InputError, match=re.escape(said)):
        find_machine(name)


def test_options_become_hyperparameters_and_words() -> None:
    options = tomllib.loads(
        'batch_size = 8\nmean = [127, 127.5, 1]\nfp16 = true\nflip = false\ninit = "a b.onnx"'
    )
    strings = as_strings({**options, "init": "a.onnx"})
    assert strings == {
        "batch-size": "8", "mean": "127 127.5 1", "fp16": "true", "flip": "false", "init": "a.onnx",
    }  # fmt: skip
    assert as_words(strings) == [
        "--batch-size", "8", "--no-flip", "--fp16", "--init", "a.onnx", "--mean", "127", "127.5",
        "1",
    ]  # fmt: skip


def test_hyperparameters_that_sagemakers_own_library_has_quoted_are_read() -> None:
    assert as_words({"preset": '"small"', "fp16": "True", "epochs": "3"}) == [
        "--epochs", "3", "--fp16", "--preset", "small",
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["False", "false", "FALSE", "0", "no", "off", '"False"', " no "])
def test_false_means_off_however_it_is_written(text: str) -> None:
    assert as_words({"fp16": text}) == []
    assert as_words({"flip": text}) == ["--no-flip"]
    assert as_strings({"fp16": text, "momentum": "0"}) == {"fp16": "false", "momentum": "0"}


@pytest.mark.parametrize("text", ["True", "true", "1", "yes", "on", '"true"', '"\\"True\\""'])
def test_true_means_on_however_it_is_written(text: str) -> None:
    assert as_words({"fp16": text, "flip": text}) == ["--flip", "--fp16"]


def test_what_sagemaker_adds_for_itself_is_left_out() -> None:
    added = {
        "_tuning_objective_metric": "validation:top1",
        "sagemaker_program": '"train.py"',
        "sagemaker_submit_directory": '"s3://bucket/code.tar.gz"',
        "sagemaker-region": "us-west-2",
    }
    assert as_strings({**added, "epochs": "3"}) == {"epochs": "3"}
    assert as_words({**added, "epochs": "3"}) == ["--epochs", "3"]


@pytest.mark.parametrize("value", ["", "None", "null", '""', '"null"', None, [], "[]", "  "])
def test_a_value_that_says_nothing_is_left_out(value: object) -> None:
    assert as_strings({"rate": value, "init": value, "epochs": "3"}) == {"epochs": "3"}


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("rate", '"0.1"', ["0.1"]),
        ("rate", 0.1, ["0.1"]),
        ("steps", [0.5, 0.75], ["0.5,0.75"]),
        ("steps", "[0.5, 0.75]", ["0.5,0.75"]),
        ("steps", '"[\\"0.5\\", \\"0.75\\"]"', ["0.5,0.75"]),
        ("steps", "0.5,0.75", ["0.5,0.75"]),
        ("gpus", "[0, 2]", ["0,2"]),
        ("mean", "127, 127.5, 1", ["127", "127.5", "1"]),
        ("mean", "(127, 127.5, 1)", ["127", "127.5", "1"]),
        ("std", ["60", "61", "62"], ["60", "61", "62"]),
        ("init", '"two words-0001.params"', ["two words-0001.params"]),
        ("init", "it's-0001.params", ["it's-0001.params"]),
        ("class_weights", "none", ["none"]),
    ],
)
def test_values_are_read_however_they_are_written(
    option: str, value: object, words: list[str]
) -> None:
    strings = as_strings({option: value})
    assert as_words(strings) == [f"--{option.replace('_', '-')}", *words]
    assert as_strings(dict(strings)) == strings
    check_train_options(Path("recipe.toml"), strings)


def test_an_option_given_twice_is_refused() -> None:
    with pytest.raises(InputError, match=r"\[train\] batch_size: is given twice"):
        as_strings({"batch-size": 8, "batch_size": 16})


def test_the_flags_and_the_triples_are_those_of_the_command() -> None:
    [command] = [it for name, it in get_command(app).commands.items() if name == "train"]  # type: ignore[attr-defined]
    options = {option.name.replace("_", "-"): option for option in command.params}
    flags = {name: it for name, it in options.items() if getattr(it, "is_flag", False)}
    assert set(flags) - {"resume", "help"} == set(FLAGS)
    for name, opposite in FLAGS.items():
        assert flags[name].secondary_opts == ([f"--{opposite}"] if opposite else [])
    assert {name for name, it in options.items() if it.nargs > 1} == set(TRIPLES)


def test_recipes_are_read_as_generously(tmp_path: Path) -> None:
    changed = 'epochs = 3\nfp16 = "False"\nflip = "off"\nsteps = [0.5, 0.75]\ninit = ""'
    recipe = _read(tmp_path, GOOD.replace("epochs = 3", changed))
    assert recipe.options(find_machine(recipe.machine.type)) == {
        "gpus": "0-3", "epochs": "3", "fp16": "false", "flip": "false", "steps": "0.5,0.75",
    }  # fmt: skip


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=20))
def test_any_hyperparameter_is_one_option_with_one_value(value: str) -> None:
    words = as_words({"preset": value})
    assert words[0] == "--preset"
    assert len(words) == 2
    assert json.dumps(words)


@pytest.mark.parametrize("name", ["out", "val", "resume", "hosts"])
def test_what_the_launch_decides_is_not_the_recipes(name: str) -> None:
    with pytest.raises(InputError, match=rf"\[train\] {name}: leave it out"):
        as_strings({name: "x"})


def test_a_package_must_be_whole_and_fit_the_machine(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"found none; make both with: uv build --wheel"):
        package_files(tmp_path, gpus=True)
    wheel = tmp_path / "locationnet-1.0-py3-none-any.whl"
    wheel.touch()
    with pytest.raises(InputError, match=r"requirements\.txt: cannot be read"):
        package_files(tmp_path, gpus=True)
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("boto3==1 --hash=sha256:0\nmxnet==1.9.1 --hash=sha256:0\n")
    with pytest.raises(InputError, match=r"does not name mxnet-cu112; .* --extra gpu --extra aws"):
        package_files(tmp_path, gpus=True)
    assert package_files(tmp_path, gpus=False) == [wheel, requirements]
    requirements.write_text("boto3==1\nmxnet==1.9.1\n")
    with pytest.raises(InputError, match="has no checksums"):
        package_files(tmp_path, gpus=False)
    (tmp_path / "locationnet-1.1-py3-none-any.whl").touch()
    with pytest.raises(InputError, match="expected one wheel"):
        package_files(tmp_path, gpus=False)
