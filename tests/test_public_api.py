"""The public face: names, typing, and what starting up must not cost."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import locationnet

HEAVY = ("numpy", "onnxruntime", "fastapi", "PIL", "scipy", "skimage", "pyarrow", "mxnet")


def test_all_is_the_sorted_public_api() -> None:
    assert locationnet.__all__ == [
        "Bundle",
        "Classification",
        "Classifier",
        "Evidence",
        "Grid",
        "LocationNetError",
        "Locator",
        "Place",
        "Prediction",
        "Region",
        "available_models",
        "load_classifier",
        "load_model",
    ]
    assert locationnet.__all__ == sorted(locationnet.__all__)


@pytest.mark.parametrize("name", locationnet.__all__)
def test_every_public_name_is_there_and_documented(name: str) -> None:
    assert getattr(locationnet, name).__doc__
    assert name in dir(locationnet)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = locationnet.nothing


def test_the_version_is_the_packages_own() -> None:
    assert version("locationnet") == locationnet.__version__


def test_the_package_is_typed() -> None:
    assert (Path(locationnet.__file__).parent / "py.typed").is_file()


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["locate", "--help"]])
def test_starting_up_imports_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys; from locationnet.cli import main\n"
        f"sys.argv[1:] = {arguments!r}\n"
        "try:\n    main()\n"
        "except SystemExit as stop:\n    assert not stop.code\n"
        f"print('loaded:', sorted(set({HEAVY!r}) & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "loaded: []"


def test_inference_does_not_import_mxnet_or_torch() -> None:
    code = (
        "import sys, locationnet; locationnet.load_model()\n"
        "print(sorted({'mxnet', 'torch', 'onnx', 'pyarrow', 'skimage'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(("chosen", "expected"), [(None, "1"), ("0", "0")])
def test_the_runtime_tells_its_maker_nothing_unless_asked_to(
    chosen: str | None, expected: str
) -> None:
    environment = {name: value for name, value in os.environ.items() if "TELEMETRY" not in name}
    if chosen is not None:
        environment["ORT_DISABLE_TELEMETRY"] = chosen
    code = "import locationnet.model.sessions, os; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == expected
