"""Who draws answers: a floor above this one, which the package's front door names.

Knows what is asked of a presenter, and nothing of how pictures and pages are made.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from locationnet.model.prediction import Prediction


class Presenter(Protocol):
    """What `Prediction` hands on; `locationnet.viz.presentation` does it."""

    def show(self, prediction: Prediction) -> None:
        """Open the answer's card."""

    def save(self, prediction: Prediction, path: str | os.PathLike[str]) -> None:
        """Write the answer in the form that the file's ending names."""

    def plot(self, prediction: Prediction, axes: Any) -> Any:
        """Draw the answer's map on axes."""

    def html(self, prediction: Prediction) -> str:
        """Return what a notebook shows of an answer."""


_find: Callable[[], Presenter]


def use(find: Callable[[], Presenter]) -> None:
    """Name the presenter, by a function that imports it: who asks for no picture waits for none."""
    global _find
    _find = find


def presenter() -> Presenter:
    """Return the presenter that was named."""
    return _find()
