"""The options of ``locationnet train`` as recipes and SageMaker write them, and as words.

Knows how an option is written in each of the three places; which options there are is the command
line's business.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping

from locationnet.errors import InputError

Value = str | bool | int | float | list[str | int | float]

# What the launch itself decides.
_OURS = {
    "hosts": "machines find each other",
    "out": "the run lies under the recipe's `out`",
    "resume": "a run that is in S3 is gone on with",
    "val": "name the pack under [data]",
}


def as_strings(options: Mapping[str, Value]) -> dict[str, str]:
    """Return options as SageMaker's hyperparameters are: names with hyphens, values as text.

    Raises
    ------
    InputError
        An option is given that the launch itself decides.
    """
    found = {}
    for name, value in options.items():
        plain = name.replace("_", "-")
        if plain in _OURS:
            raise InputError(f"[train] {name}: leave it out; {_OURS[plain]}")
        if isinstance(value, bool):
            found[plain] = "true" if value else "false"
        elif isinstance(value, list):
            found[plain] = " ".join(str(part) for part in value)
        else:
            found[plain] = str(value)
    return found


def as_words(strings: Mapping[str, str]) -> list[str]:
    """Return options as words of a command line; ``true`` and ``false`` are flags.

    Raises
    ------
    InputError
        A value has a quotation mark that is not closed.
    """
    words = []
    for name, value in sorted(strings.items()):
        option, text = name.replace("_", "-"), _plain(value)
        if text in ("true", "false"):
            words.append(f"--{option}" if text == "true" else f"--no-{option}")
        else:
            words += [f"--{option}", *_split(name, text)]
    return words


def _split(name: str, text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise InputError(f"{name} = {text!r}: cannot be split into words ({error})") from error


def _plain(value: str) -> str:
    """Return a value without the quotation marks that SageMaker's own library puts around it."""
    if value.startswith('"'):
        try:
            return str(json.loads(value))
        except ValueError:
            return value
    return "true" if value == "True" else "false" if value == "False" else value
