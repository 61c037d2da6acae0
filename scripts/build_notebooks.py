"""Runs the notebooks and keeps them with what they show, without what only this machine has.

Example: python scripts/build_notebooks.py locate
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import os
import re
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from PIL import Image

from locationnet.viz.picture import paletted

ROOT = Path(__file__).parents[1]
NOTEBOOKS = ROOT / "notebooks"
# Widgets need a server that runs: each has a picture beside it.
WIDGETS = "application/vnd.jupyter.widget"
TIMEOUT_S = 1800
# A larger picture is kept with a palette.
LARGE = 100_000


def main() -> None:
    """Run the notebooks that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    known = sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(known)}")
    for name in parser.parse_args().names or known:
        path = NOTEBOOKS / f"{name}.ipynb"
        notebook = nbformat.read(path, as_version=4)
        with tempfile.TemporaryDirectory() as scratch:
            run(notebook, Path(scratch))
        nbformat.write(notebook, path)
        print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1024:.0f} KiB")


def run(notebook: nbformat.NotebookNode, scratch: Path) -> None:
    """Execute a notebook in a kernel of its own, and keep of its outputs what `tidied` says."""
    variables = {name: value for name, value in os.environ.items() if name != "GOOGLE_API_KEY"}
    variables |= {"TMPDIR": str(scratch), "PYTHONDONTWRITEBYTECODE": "1"}
    client = NotebookClient(
        notebook,
        timeout=TIMEOUT_S,
        kernel_name="python3",
        record_timing=False,
        store_widget_state=False,
        resources={"metadata": {"path": str(NOTEBOOKS)}},
    )
    client.execute(env=variables)
    tidied(notebook, scratch)


def tidied(notebook: nbformat.NotebookNode, scratch: Path) -> None:
    """Take the widgets out of a notebook's outputs, and the folders of this machine."""
    folders = [f"{scratch.resolve()}/[\\w-]+", re.escape(str(ROOT))]
    folders += [re.escape(sysconfig.get_path("purelib")), re.escape(sys.prefix)]
    here = re.compile("|".join(folders))
    notebook.metadata = {
        "kernelspec": notebook.metadata.kernelspec,
        "language_info": {"name": "python"},
    }
    for cell in notebook.cells:
        cell.metadata = {}
        for output in cell.get("outputs", ()):
            for kind in [kind for kind in output.get("data", {}) if kind.startswith(WIDGETS)]:
                del output.data[kind]
            if len(output.get("data", {}).get("image/png", "")) > LARGE:
                output.data["image/png"] = smaller(output.data["image/png"])
        if cell.cell_type == "code":
            cell.outputs = [_without(output, here) for output in cell.outputs]


def smaller(picture: str) -> str:
    """Return a PNG, in base64 as it is given, with a palette."""
    with Image.open(io.BytesIO(base64.b64decode(picture))) as image:
        return base64.b64encode(paletted(image)).decode("ascii")


def _without(output: Any, here: re.Pattern[str]) -> nbformat.NotebookNode:
    text = json.dumps(output, ensure_ascii=False)
    # JSON escapes none of what these paths hold.
    return nbformat.from_dict(json.loads(here.sub("…", text)))  # type: ignore[no-any-return]


if __name__ == "__main__":
    main()
