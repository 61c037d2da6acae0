"""Which machines of AWS can train, and with how many GPUs; the others are refused with the reason.

Knows the names of instance types and what the wheels of MXNet 1.9.1 contain code for; asks nobody.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from locationnet.errors import InputError

_USE = "use p4d, g5 or g6, or two machines of those for 16 GPUs"
_ONE_TO_EIGHT = {
    "xlarge": 1, "2xlarge": 1, "4xlarge": 1, "8xlarge": 1, "16xlarge": 1,
    "12xlarge": 4, "24xlarge": 4, "48xlarge": 8,
}  # fmt: skip
# GPUs that mxnet-cu112 contains machine code for (compute capability 5.0 to 8.9), by size.
_GPUS = {
    "g3": ("M60", {"4xlarge": 1, "8xlarge": 2, "16xlarge": 4}),
    "g3s": ("M60", {"xlarge": 1}),
    "g4dn": (
        "T4",
        {"xlarge": 1, "2xlarge": 1, "4xlarge": 1, "8xlarge": 1, "16xlarge": 1,
         "12xlarge": 4, "metal": 8},
    ),
    "g5": ("A10G", _ONE_TO_EIGHT),
    "g6": ("L4", _ONE_TO_EIGHT),
    "g6e": ("L40S", _ONE_TO_EIGHT),
    "gr6": ("L4", {"4xlarge": 1, "8xlarge": 1}),
    "p3": ("V100", {"2xlarge": 1, "8xlarge": 4, "16xlarge": 8}),
    "p3dn": ("V100", {"24xlarge": 8}),
    "p4d": ("A100", {"24xlarge": 8}),
    "p4de": ("A100", {"24xlarge": 8}),
}  # fmt: skip
_NEWER = "mxnet-cu112 contains code for compute capability 5 to 8 and no build of MXNet 1.9.1 for"
_REFUSED = {
    "p2": "AWS has retired p2, and a K80 needs mxnet-cu102, as mxnet-cu112 contains no code for it",
    "p5": f"a Hopper GPU; {_NEWER} 9",
    "p5e": f"a Hopper GPU; {_NEWER} 9",
    "p5en": f"a Hopper GPU; {_NEWER} 9",
    "g4ad": "an AMD GPU, and MXNet computes on NVIDIA's",
    "g5g": "an ARM processor, and mxnet-cu112 is built for x86-64",
}
# Families with an accelerator: p3, g5, gr6, inf2, trn1, dl1, f2, vt1. What is not known of these
# cannot be promised; all other families compute on their processors.
_ACCELERATED = re.compile(r"(p|g|gr|inf|trn|dl|f|vt)\d")


@dataclass(frozen=True)
class Machine:
    """A type of machine.

    Parameters
    ----------
    name
        Such as ``g5.48xlarge``, without SageMaker's ``ml.``.
    gpus
        How many; 0 for a machine that trains on its processors.
    gpu
        What they are called; empty without any.
    """

    name: str
    gpus: int = 0
    gpu: str = ""

    @property
    def default_options(self) -> dict[str, str]:
        """Options of ``train`` that use all of its GPUs."""
        return {"gpus": f"0-{self.gpus - 1}"} if self.gpus else {}


def find_machine(name: str) -> Machine:
    """Look a type of machine up.

    Parameters
    ----------
    name
        As AWS writes it, for SageMaker with ``ml.`` before it.

    Raises
    ------
    InputError
        It is not a type of machine, or one whose GPUs MXNet cannot use; the message says why.
    """
    match = re.fullmatch(r"(?:ml\.)?([a-z][a-z0-9-]*)\.([a-z0-9-]+)", name)
    if match is None:
        raise InputError(f"{name!r} is not a valid type of machine; one is g5.48xlarge")
    family, size = match.groups()
    plain = f"{family}.{size}"
    if family in _GPUS:
        gpu, sizes = _GPUS[family]
        if size not in sizes:
            raise InputError(f"{name}: {family} has no size {size}; expected {', '.join(sizes)}")
        return Machine(plain, sizes[size], gpu)
    if family in _REFUSED:
        raise InputError(f"{name}: {_REFUSED[family]}; {_USE}")
    if _ACCELERATED.match(family):
        raise InputError(
            f"{name}: mxnet-cu112 is not known to run on {family} (it contains code for NVIDIA GPUs"
            f" of compute capability 5 to 8); {_USE}"
        )
    return Machine(plain)
