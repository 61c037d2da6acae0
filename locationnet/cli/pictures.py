"""What ``locate`` draws beside its answers: a card of each photo, and one page of them all.

Knows names of files; cards and pages are made elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import typer

from locationnet.cli.formats import Answer
from locationnet.cli.outputs import refuse_replacing, require_folder, require_new_folder
from locationnet.cli.photos import Source
from locationnet.cli.terminal import say
from locationnet.errors import LocationNetError
from locationnet.names import printable

if TYPE_CHECKING:  # the command line reads this module before it knows that it needs NumPy
    from locationnet.model.prediction import Prediction
    from locationnet.viz.html import MapItem

_CARD = ".png"
# What some file system or shell takes for something else.
_UNSAFE = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|]+')
_LONGEST = 80


class Pictures:
    """Draws answers as they come, and the page at the end.

    Parameters
    ----------
    sources
        The photos.
    card
        A file for the card of one photo, a folder for those of several; None for none.
    html
        The page; None for none.

    Raises
    ------
    typer.BadParameter
        They cannot be written there.
    MissingExtraError
        What draws cards is not installed.
    """

    def __init__(self, sources: Sequence[Source], card: Path | None, html: Path | None) -> None:
        require_folder(html)
        self._html, self._folder = html, card
        self._items: list[MapItem] = []
        self._drawn = 0
        self._paths = [] if card is None else _card_paths(sources, card)
        files = [Path(source.name) for source in sources if not source.is_url]
        refuse_replacing(files, html, *self._paths)
        if card is not None:
            from locationnet.viz.picture import new_figure

            new_figure()

    def add(self, number: int, answer: Answer) -> None:
        """Draw what belongs to the photo with this number, from 0."""
        prediction = answer.prediction
        if self._paths:
            self._write_card(self._paths[number], prediction)
        if self._html is not None:
            from locationnet.viz.html import MapItem, thumbnail

            small = None if prediction.photo is None else thumbnail(prediction.photo)
            self._items.append(MapItem(printable(answer.photo), prediction, thumbnail=small))

    def close(self, prior: Prediction | None) -> None:
        """Write the page, with the prior beside a demo's answers, and say what was written."""
        if self._drawn:
            say(f"card: {self._paths[0]}" if len(self._paths) == 1 else self._told(), error=True)
        if self._html is not None and self._items:
            from locationnet.viz.html import write_map

            write_map(self._html, self._items, prior=prior)
            say(f"map: {self._html}", error=True)

    def _told(self) -> str:
        return f"{self._drawn:,} cards in {self._folder}"

    def _write_card(self, path: Path, prediction: Prediction) -> None:
        from locationnet.files import write_bytes
        from locationnet.viz.card import card

        try:
            content = card(prediction, prediction.photo)
        except (LocationNetError, OSError):  # moved or gone since it was located
            content = card(prediction)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, content)
        self._drawn += 1


def _card_paths(sources: Sequence[Source], card: Path) -> list[Path]:
    """Return a file for each photo; no two of one name."""
    if len(sources) == 1 and not card.is_dir():
        if card.suffix.lower() != _CARD:
            raise typer.BadParameter(f"{printable(card)}: a card is a file that ends in {_CARD}")
        require_folder(card)
        return [card]
    if card.suffix.lower() == _CARD and not card.is_dir():
        raise typer.BadParameter(
            f"{printable(card)}: cards of several photos need a folder, not a file"
        )
    require_new_folder(card)
    taken: set[str] = set()
    paths = []
    for source in sources:
        name = stem = _stem(source)
        number = 1
        while name.lower() in taken:
            number += 1
            name = f"{stem}-{number}"
        taken.add(name.lower())
        paths.append(card / f"{name}-card{_CARD}")
    return paths


def _stem(source: Source) -> str:
    path = unquote(urlsplit(source.name).path) if source.is_url else source.name
    return _UNSAFE.sub("_", Path(path).stem)[:_LONGEST] or "photo"
