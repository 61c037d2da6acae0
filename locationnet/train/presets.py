"""Where a run's settings come from: a preset, a checkpoint to start from, an earlier run.

Knows names and numbers only; what they mean is `locationnet.train.config`'s business.
"""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

from locationnet.errors import InputError
from locationnet.train.checkpoints import read_run_fields
from locationnet.train.config import Augmentation, Settings

# What the options stand at unless given; everything else stays as in `Settings`.
PRESETS: dict[str, dict[str, Any]] = {
    # The 2017 run: ResNet-101, twelve epochs on sixteen GPUs, with what MXNet's example for
    # ImageNet used then. The rate follows the batch, so fewer devices need no other preset.
    "2017": {},
    # A few thousand photos from scratch on one machine.
    "small": {
        "network": "resnet-18",
        "image_size": 112,
        "epochs": 30,
        "rate": 0.05,
        "schedule": "cosine",
        "warmup": 1.0,
        "every_minutes": 10.0,
        "weight_decay": 5e-4,
    },
    # A few hundred photos on top of a network that has seen many.
    "fine-tune": {
        "epochs": 20,
        "rate": 0.01,
        "body_rate": 0.1,
        "schedule": "cosine",
        "warmup": 1.0,
        "every_minutes": 10.0,
        "smooth_km": 0.0,
    },
}


def settings_of(out: Path, preset: str, given: dict[str, Any], varied: dict[str, Any]) -> Settings:
    """Combine a preset, what a checkpoint to start from records, and what was asked for.

    Parameters
    ----------
    out
        The run's folder.
    preset
        One of `PRESETS`.
    given
        Settings by name, ``train`` and ``validation`` among them.
    varied
        Parts of the `Augmentation` by name.

    Raises
    ------
    InputError
        There is no such preset, or a value is out of range.
    """
    if preset not in PRESETS:
        raise InputError(f"{preset!r} is not a valid preset; expected {', '.join(PRESETS)}")
    recorded = {} if given.get("init") is None else _recorded(given["init"])
    return Settings(
        out=out,
        augmentation=Augmentation(**varied),
        **{**PRESETS[preset], **recorded, **given},
    )


def resumed(run: Path, given: dict[str, Any], varied: dict[str, Any]) -> Settings:
    """Return the settings of an earlier run, with what was asked for this time.

    Raises
    ------
    LocationNetError
        The folder contains no run, or what was asked for would make it another run.
    """
    earlier = Settings.from_json(read_run_fields(run)["settings"], out=run)
    augmentation = dataclasses.replace(earlier.augmentation, **varied)
    settings = dataclasses.replace(earlier, **{**given, "augmentation": augmentation})
    for name in settings.differing(earlier):
        raise InputError(
            f"{run}: its {name.replace('_', ' ')} is {getattr(earlier, name)}, not"
            f" {getattr(settings, name)}; a resumed run keeps it"
        )
    return settings


def _recorded(init: Path) -> dict[str, Any]:
    """Return image size, mean and std of the run that wrote a checkpoint, where it is known."""
    prefix = re.sub(r"-\d{4,}\.params$", "", init.name)
    fields_file = init.with_name(f"{prefix}-run.json")
    if prefix == init.name or not fields_file.is_file():
        return {}
    try:
        how = json.loads(fields_file.read_text(encoding="utf-8"))["preprocessing"]
        return {
            "image_size": int(how["size"]),
            "mean": tuple(map(float, how["mean"])),
            "std": tuple(map(float, how["std"])),
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{fields_file}: does not say how photos were prepared") from error
