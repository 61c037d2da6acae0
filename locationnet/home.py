"""Where a user's own bundles and downloads live; knows nothing of what is in them."""

from __future__ import annotations

import os
from pathlib import Path

VARIABLE = "LOCATIONNET_HOME"


def home() -> Path:
    """Return the user's data directory: ``LOCATIONNET_HOME``, else where the system keeps such.

    It need not exist.
    """
    chosen = os.environ.get(VARIABLE)
    if chosen:
        return Path(chosen).expanduser().absolute()
    from platformdirs import user_data_path  # asked only where nobody has chosen

    return user_data_path("locationnet", appauthor=False)


def models_folder() -> Path:
    """Return where imported bundles are found by their names."""
    return home() / "models"


def downloads_folder() -> Path:
    """Return where what an import has fetched is kept; all of it can be fetched again."""
    return home() / "downloads"
