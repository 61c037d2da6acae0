"""Runs notebooks from a clean kernel that reaches this machine only."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import pytest
from matplotlib import font_manager
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]
NOTEBOOKS = ROOT / "notebooks"
# Of a single cell: training on a busy machine.
_TIMEOUT_S = 900


@dataclass
class Executed:
    """A notebook after its last cell."""

    notebook: nbformat.NotebookNode
    scratch: Path
    asked: list[str]

    def outputs(self, cell: str) -> list[Any]:
        """What a cell has shown, by the cell's id."""
        (found,) = (one for one in self.notebook.cells if one.id == cell)
        return list(found.outputs)

    def text(self, cell: str) -> str:
        """What a cell has printed."""
        return "".join(one.text for one in self.outputs(cell) if one.get("name") == "stdout")

    def shown(self, cell: str, kind: str) -> Any:
        """The one thing of a MIME type that a cell has shown."""
        (found,) = (one.data[kind] for one in self.outputs(cell) if kind in one.get("data", {}))
        return found

    def errors(self) -> str:
        """What all cells have written to stderr."""
        return "".join(
            one.text
            for cell in self.notebook.cells
            for one in cell.get("outputs", ())
            if one.get("name") == "stderr"
        )

    def widgets(self) -> dict[str, dict[str, Any]]:
        """The widgets as they are saved with the notebook: model name and state, by id."""
        saved = self.notebook.metadata.widgets["application/vnd.jupyter.widget-state+json"]
        return {
            name: {"model": one["model_name"], **one["state"]}
            for name, one in saved["state"].items()
        }


Run = Callable[..., Executed]


def read(name: str) -> nbformat.NotebookNode:
    """Read a notebook of ours."""
    notebook: nbformat.NotebookNode = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    return notebook


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Run a notebook in the folder of our notebooks, as JupyterLab does."""
    # A kernel that has to list the fonts says so on stderr.
    assert font_manager.fontManager.ttflist
    own = tmp_path_factory.mktemp("jupyter")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("CONFIG_DIR", "DATA_DIR", "RUNTIME_DIR"):
            patch.setenv(f"JUPYTER_{name}", str(own))
        patch.setenv("IPYTHONDIR", str(own))

        def execute(notebook: nbformat.NotebookNode, **variables: str) -> Executed:
            folder = tmp_path_factory.mktemp("notebook")
            log = folder / "network.log"
            client = NotebookClient(
                notebook,
                timeout=_TIMEOUT_S,
                kernel_name="python3",
                resources={"metadata": {"path": str(NOTEBOOKS)}},
            )
            kept = {key: value for key, value in os.environ.items() if key != "GOOGLE_API_KEY"}
            kept |= {
                "PYTHONPATH": str(Path(__file__).parent / "guard"),
                "PYTHONDONTWRITEBYTECODE": "1",
                "NETWORK_LOG": str(log),
                "TMPDIR": str(folder),
            }
            try:
                client.execute(env=kept | variables)
            finally:
                asked = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
            (scratch,) = folder.glob("locationnet-*") if "chdir" in str(notebook) else (folder,)
            return Executed(notebook, scratch, asked)

        yield execute
