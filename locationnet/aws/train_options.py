"""The options of ``locationnet train`` as recipes and SageMaker write them, and as words.

Knows how an option is written in each of the three; which options there are is the command
line's business.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from locationnet.errors import InputError

Value = str | bool | int | float | list[str | int | float]

# What the launch itself decides.
_OURS = {
    "hosts": "machines find each other",
    "out": "the run lies under the recipe's `out`",
    "resume": "a run that is in S3 is resumed",
    "val": "name the pack under [data]",
}
# Options without a value, by how the opposite is written; without one, it is what is usual.
FLAGS = {"flip": "no-flip", "fp16": None}
# Options of several words.
TRIPLES = ("mean", "std")
_TRUE, _FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off")
_ABSENT = ("", "None", "null")


def as_strings(options: Mapping[str, object], where: str = "[train]") -> dict[str, str]:
    """Return options as SageMaker's hyperparameters are: names with hyphens, values as text.

    Values that say nothing (empty, ``None``, ``null``) are left out, and so is what SageMaker and
    its library add for themselves: ``_tuning_objective_metric``, ``sagemaker_program``, ….

    Parameters
    ----------
    options
        By name, with hyphens or underscores; values of a TOML file, or SageMaker's, which are text
        and may be JSON.
    where
        What the message of an error begins with.

    Raises
    ------
    InputError
        An option is given that the launch itself decides, or is given twice.
    """
    found: dict[str, str] = {}
    for name, value in options.items():
        text, plain = _text(name, value), _plain(name)
        if _is_foreign(name) or text in _ABSENT:
            continue
        if plain in _OURS:
            raise InputError(f"{where} {name}: leave it out; {_OURS[plain]}")
        if plain in found:
            raise InputError(f"{where} {name}: is given twice, with hyphens and with underscores")
        found[plain] = text
    return found


def as_words(strings: Mapping[str, str]) -> list[str]:
    """Return options as words of a command line.

    Parameters
    ----------
    strings
        As `as_strings` returns them, or hyperparameters as SageMaker writes them.
    """
    words = []
    for name, value in sorted(strings.items()):
        if _is_foreign(name):
            continue
        option, text = _plain(name), _text(name, value)
        if option in FLAGS and text == "true":
            words.append(f"--{option}")
        elif option in FLAGS and text == "false":
            opposite = FLAGS[option]
            words += [f"--{opposite}"] if opposite else []
        else:
            parts = re.split(r"[\s,]+", text) if option in TRIPLES else [text]
            words += [f"--{option}", *parts]
    return words


def _plain(name: str) -> str:
    return name.replace("_", "-")


def _is_foreign(name: str) -> bool:
    """Whether a hyperparameter is SageMaker's own and no option of anybody's program."""
    return name.startswith("_") or re.match(r"sagemaker[_-]", name) is not None


def _text(name: str, value: object) -> str:
    """Return what a value says, however it was written: ``true`` or ``false`` for flags."""
    option = _plain(name)
    parts = value if isinstance(value, list) else _listed(_unquoted(str(value)))
    text = (" " if option in TRIPLES else ",").join(_unquoted(str(part)) for part in parts)
    if option in FLAGS and text.lower() in (*_TRUE, *_FALSE):
        return "true" if text.lower() in _TRUE else "false"
    return text


def _listed(text: str) -> list[str]:
    """Return the parts of a list of JSON's or Python's, or the text itself."""
    bracketed = re.fullmatch(r"\[(.*)\]|\((.*)\)", text, re.DOTALL)
    return (bracketed[1] or bracketed[2] or "").split(",") if bracketed else [text]


def _unquoted(text: str) -> str:
    """Return text without blanks and the quotation marks that SageMaker's own library adds."""
    text = text.strip()
    while re.fullmatch(r'".*"', text, re.DOTALL):
        try:
            text = str(json.loads(text)).strip()
        except ValueError:
            break
    return text[1:-1] if re.fullmatch(r"'[^']*'", text) else text
