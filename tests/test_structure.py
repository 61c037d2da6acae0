"""The house keeps its rules: which way imports go, what a folder may know, how files are called."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "locationnet"
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
# From the ground up: a folder imports those of earlier rows, and those of its own row nowhere.
FLOORS = [
    ["geo"],
    ["tables", "net"],
    ["metadata", "pack", "model"],
    ["retrieval"],
    ["download", "train", "viz"],
    ["export", "evaluation", "locating", "library", "server"],
    ["aws", "calibrate", "importing"],
    ["cli"],
]
# What lies at the root and may know a folder.
ROOT_KNOWS = {
    "classes": {"geo"},
    "metrics": {"geo"},
    "__init__": {"geo", "model", "retrieval", "viz"},
}


def _imports(path: Path) -> Iterator[str]:
    """Yield the modules of the package that a file imports, wherever it does so."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in MODULES else node.module for name in inner]
        else:
            continue
        yield from (name for name in names if name.split(".")[0] == "locationnet")


def _folder(module: str) -> str:
    """Return the folder below the package that a module lies in, ``""`` for none."""
    parts = MODULES[module].relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else ""


def test_no_two_files_have_one_name() -> None:
    """But for a verb of the command line and what it is a verb of."""
    places = defaultdict(list)
    for path in MODULES.values():
        if path.name != "__init__.py":
            places[path.stem].append(path.relative_to(PACKAGE))
    for path in PACKAGE.rglob("*"):
        if path.is_dir() and any(path.glob("*.py")):
            places[path.name].append(path.relative_to(PACKAGE))
    verbs = {path.stem for path in (PACKAGE / "cli").glob("*.py")}
    twice = {
        name: found
        for name, found in places.items()
        if len(found) > 1 + (name in verbs and any(path.parts[0] == "cli" for path in found))
    }
    assert not twice


@pytest.mark.parametrize("module", MODULES)
def test_a_parent_never_imports_its_subfolder(module: str) -> None:
    path = MODULES[module]
    for name in _imports(path):
        other = MODULES[name]
        below = path.parent in other.parent.parents
        assert not below or path.parent == PACKAGE, f"{module} imports {name}"


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_one_way(module: str) -> None:
    mine = _folder(module)
    floors = {name: number for number, floor in enumerate(FLOORS) for name in floor}
    for name in _imports(MODULES[module]):
        other = _folder(name)
        if other in ("", mine):
            continue
        if mine:
            assert floors[other] < floors[mine], f"{module} imports {name}"
        else:
            knows = ROOT_KNOWS.get(MODULES[module].stem, set())
            assert other in knows, f"{module} imports {name}"


def test_every_folder_has_a_floor() -> None:
    folders = {_folder(module) for module in MODULES} - {""}
    assert folders == {name for floor in FLOORS for name in floor}


def test_only_training_and_exporting_know_mxnet() -> None:
    for module, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                names = [alias.name for alias in node.names]
                names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                if any(name.split(".")[0] == "mxnet" for name in names):
                    assert module.split(".")[1] in ("train", "export"), module
