"""The package that machines install: a wheel and the locked versions of all that it needs.

Knows the folder that holds the two; nothing of machines.
"""

from __future__ import annotations

import re
from pathlib import Path

from locationnet.errors import InputError

_HOW = (
    "make both with: uv build --wheel -o {folder} && uv export --locked --no-emit-project"
    " --extra {extra} --extra aws -o {folder}/requirements.txt"
)


def package_files(folder: Path, *, gpus: bool) -> list[Path]:
    """Return the wheel and the requirements of a folder.

    Parameters
    ----------
    folder
        Such as ``dist``; other files in it do not matter.
    gpus
        Whether the machine trains on GPUs, which takes another build of MXNet.

    Raises
    ------
    InputError
        One is missing, there are several wheels, or the requirements are not those of a machine
        like this; the message says how to make them.
    """
    extra = "gpu" if gpus else "train"
    how = _HOW.format(folder=folder, extra=extra)
    wheels = sorted(folder.glob("locationnet-*.whl"))
    if len(wheels) != 1:
        found = ", ".join(wheel.name for wheel in wheels) or "none"
        raise InputError(f"{folder}: expected one wheel of locationnet, found {found}; {how}")
    requirements = folder / "requirements.txt"
    try:
        text = requirements.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{requirements}: cannot be read ({error.strerror}); {how}") from error
    needed = "mxnet-cu112" if gpus else "mxnet"
    for name in (needed, "boto3"):
        if not re.search(rf"^{name}==", text, re.MULTILINE):
            raise InputError(f"{requirements}: does not name {name}; {how}")
    if "--hash=" not in text:
        raise InputError(f"{requirements}: has no checksums; {how}")
    return [wheels[0], requirements]
