"""How the documentation becomes a site: ``make docs``.

Nothing of the built site is loaded from elsewhere. Links to the repository's other files work where
the Markdown is read as it is, and lead to the repository from the site.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.ext.autodoc.mock import mock  # type: ignore[attr-defined]  # its public name
from sphinx.transforms import SphinxTransform

import locationnet

DOCS = Path(__file__).parent
ROOT = DOCS.parent
# Pages of the site that include a file from outside it.
INCLUDED = {ROOT / "MODEL_CARD.md": "model-card"}

_urls = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]
# "https://…/tree/main": folders lie there, files under "blob".
TREE = _urls["Documentation"].removesuffix("/docs")
_repository, _, _branch = TREE.partition("/tree/")

# Stands in for MXNet, which takes seconds to import, for as long as the build runs:
# `autodoc_mock_imports` does not cover the search for source lines, which imports again.
_without_mxnet = mock(["locationnet.train.compat"])
_without_mxnet.__enter__()

project = "LocationNet"
author = "The LocationNet authors"
project_copyright = author
version = release = locationnet.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "numpydoc"]
exclude_patterns = ["_build"]
myst_heading_anchors = 3

# One parameter a line where a signature is long.
maximum_signature_line_length = 88
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
numpydoc_show_class_members = False
# Names in docstrings become links where they are documented here, and stay plain where not.
default_role = "py:obj"
nitpick_ignore_regex = [("py:.*", ".*")]

html_theme = "furo"
html_title = f"LocationNet {release}"
html_favicon = "_static/icon.svg"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_theme_options = {
    "source_repository": _repository,
    "source_branch": _branch,
    "source_directory": "docs/",
    "top_of_page_buttons": ["view"],
}


class RepositoryLinks(SphinxTransform):
    """Leads links that leave the pages to the repository, or to the page that includes the file.

    Without it MyST would copy such files into the site, and not know what to do with folders.
    """

    default_priority = 400

    def apply(self, **_: Any) -> None:
        """Change the links of one page; those that lead nowhere stay, for MyST to complain."""
        for kind in (addnodes.pending_xref, addnodes.download_reference):
            for link in list(self.document.findall(kind)):
                if link["reftype"] == "myst":
                    _lead(link)


def _lead(link: nodes.Element) -> None:
    if link["refdomain"] == "doc":
        # MyST saw a Markdown file and took its ending away.
        path, fragment = DOCS / f"{link['reftarget']}.md", link["reftargetid"]
    else:
        # What is included starts from where it lies, not from the page.
        start = Path(link.source or DOCS / "index.md").parent
        target, _, fragment = link["reftarget"].partition("#")
        path = start / target
    path = path.resolve()
    page = INCLUDED.get(path)
    if page is None and path.is_relative_to(DOCS) and path.suffix == ".md":
        page = path.relative_to(DOCS).with_suffix("").as_posix()
    if page is not None:
        link.attributes |= {"refdomain": "doc", "reftarget": page, "reftargetid": fragment}
    elif path.is_relative_to(ROOT) and not path.is_relative_to(DOCS) and path.exists():
        tree = TREE if path.is_dir() else TREE.replace("/tree/", "/blob/")
        anchor = f"#{fragment}" if fragment else ""
        url = f"{tree}/{path.relative_to(ROOT).as_posix()}{anchor}"
        link.replace_self(nodes.reference("", "", *link.children, refuri=url))


def setup(app: Sphinx) -> None:
    """Register the transform."""
    app.add_transform(RepositoryLinks)
