"""The one way to import mxnet 1.9.1 today; every other module takes ``mx`` from here.

Knows what mxnet misses on a present Python and NumPy and which GPUs its builds hold code for; not
what mxnet is used for.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.metadata
import importlib.util
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from locationnet.errors import LocationNetError, MissingExtraError, install_command
from locationnet.processors import cores

if TYPE_CHECKING:
    import mxnet as mx

__all__ = ["check_gpus", "last_words", "mx", "onnx_exporter"]

# What NumPy 1.24 removed and mxnet reads while it is imported; afterwards only ``mx.np`` would,
# which nothing here uses. mxnet's other old names live on in NumPy 1.26, with warnings.
_REMOVED_ALIASES = {"bool": bool, "int": int}

# CUDA libraries as the dynamic loader names them when one is missing.
_CUDA_LIBRARY = re.compile(r"lib(?:cu\w+|nv\w+|nccl)\.so[.\d]*")

# Major compute capabilities that each wheel holds machine code for. No wheel has PTX, so nothing
# can be compiled for another GPU at run time. Code for x.y runs on x.z for every z >= y.
_ARCHITECTURES = {"mxnet-cu112": (5, 6, 7, 8), "mxnet-cu102": (3, 5, 6, 7)}


@contextmanager
def _as_mxnet_expects() -> Iterator[None]:
    """Restore the removed NumPy aliases and silence warnings, for the length of the block only.

    Other libraries tell NumPy's version by the presence of these names, so they must not stay.
    """
    added = [name for name in _REMOVED_ALIASES if name not in vars(np)]
    for name in added:
        setattr(np, name, _REMOVED_ALIASES[name])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name in added:
            delattr(np, name)


def _import(name: str) -> Any:
    if sys.version_info >= (3, 12) and "distutils" not in sys.modules:
        # Python 3.12 dropped distutils, which mxnet compares versions with; setuptools brings one.
        try:
            importlib.import_module("setuptools")
        except ModuleNotFoundError as error:
            raise MissingExtraError("training on Python 3.12", "train") from error
    try:
        with _as_mxnet_expects():
            return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name in ("mxnet", "onnx", "distutils"):
            raise MissingExtraError("training and exporting", "train") from error
        raise
    except (OSError, RuntimeError) as error:
        raise LocationNetError(_why_not_loaded(error)) from error


def _load_cuda() -> None:
    """Load the CUDA libraries that the extra ``gpu`` has installed as packages.

    They lie where the dynamic loader does not look; loaded once, it takes them from memory.
    """
    spec = importlib.util.find_spec("nvidia") if _installed_build() else None
    folders = (spec and spec.submodule_search_locations) or ()
    waiting = [path for folder in folders for path in Path(folder).glob("*/lib/lib*.so*")]
    # They need one another, in an order that only they know. What never loads, mxnet will name.
    while len(left := [path for path in waiting if not _loads(path)]) < len(waiting):
        waiting = left


def _loads(library: Path) -> bool:
    try:
        ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
    except OSError:
        return False
    return True


def _why_not_loaded(error: Exception) -> str:
    first_line = (str(error) or type(error).__name__).splitlines()[0]
    library = _CUDA_LIBRARY.search(first_line)
    if library is None:
        return f"mxnet is installed but cannot be loaded: {first_line}"
    build = _installed_build() or "a CUDA build of mxnet"
    missing = f"{build} is installed but {library.group()} is missing"
    cpu = f"the CPU build: {install_command('train')}"
    if library.group().startswith("libcuda.so"):
        return f"{missing}: install NVIDIA's driver, or {cpu}"
    if build.endswith("102"):
        return f"{missing}: install CUDA 10.2 with cuDNN and NCCL, or {cpu}"
    return f"{missing}: {install_command('gpu')} brings it; or {cpu}"


def _installed_build() -> str | None:
    """Return the name of the installed CUDA wheel, or None for the CPU's."""
    for name in _ARCHITECTURES:
        try:
            importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        return name
    return None


if not TYPE_CHECKING:
    # mxnet would announce on stderr that it fuses operators, once for each network.
    os.environ.setdefault("MXNET_SUBGRAPH_VERBOSE", "0")
    # mxnet takes every second processor for a hyper-thread and leaves it idle.
    os.environ.setdefault("OMP_NUM_THREADS", str(cores()))
    _load_cuda()
    mx = _import("mxnet")
    # At every ``mx.nd.array`` it would ask SciPy under a deprecated name whether the source is a
    # sparse matrix; without SciPy, for which it is prepared, it does not.
    for _module in ("mxnet.ndarray.utils", "mxnet.ndarray.sparse"):
        sys.modules[_module].spsp = None


@contextmanager
def onnx_exporter() -> Iterator[Any]:
    """Give mxnet's ``MXNetGraph``, its exporter, for the length of the block, without warnings.

    Raises
    ------
    MissingExtraError
        onnx is not installed.
    """
    _import("onnx")
    _import("mxnet.onnx")
    exporter = sys.modules["mxnet.onnx.mx2onnx._export_onnx"].MXNetGraph
    with _as_mxnet_expects():
        yield exporter


def last_words(error: BaseException) -> str:
    """Return the line of what MXNet threw that says most; above it are its own stacks."""
    lines = [part.strip() for part in str(error).splitlines() if part.strip()]
    return ([part for part in lines if "rror" in part] or lines or ["no reason given"])[-1]


def check_gpus(indices: Sequence[int]) -> None:
    """Make sure that mxnet can compute on these GPUs, before hours of preparation.

    Parameters
    ----------
    indices
        As in ``mx.gpu(index)``.

    Raises
    ------
    LocationNetError
        mxnet is built for CPUs, there is no driver or no such GPU, or the build contains no code
        for the GPU (a K80 or a Hopper with CUDA 11.2).
    """
    if not _built_for_cuda():
        raise LocationNetError(
            f"this mxnet computes on CPUs only: {install_command('gpu')} on a machine with"
            " NVIDIA GPUs, or train with --devices cpu:N"
        )
    gpus = _gpus()
    build = _installed_build()
    for index in indices:
        if not 0 <= index < len(gpus):
            raise LocationNetError(
                f"GPU {index} was asked for, but the NVIDIA driver shows {len(gpus)} GPUs"
                " (`nvidia-smi -L` lists them)"
            )
        name, major = gpus[index]
        if build is not None and major not in _ARCHITECTURES[build]:
            raise LocationNetError(f"GPU {index} ({name}): {_advice(build, major)}")


def _advice(build: str, major: int) -> str:
    others = [name for name, majors in _ARCHITECTURES.items() if major in majors]
    what = f"{build} contains no code for compute capability {major}.x"
    if others:
        return f"{what}; install {others[0]}==1.9.1, which does"
    return f"{what} and no build of mxnet 1.9.1 does; use an A100, A10G, L4, T4 or V100"


def _built_for_cuda() -> bool:
    return bool(mx.runtime.Features().is_enabled("CUDA"))


def _gpus() -> list[tuple[str, int]]:
    """Return name and major compute capability of each GPU that this process may use."""
    command = ["nvidia-smi", "--query-gpu=name,compute_cap", "--format=csv,noheader"]
    try:
        answer = subprocess.run(  # noqa: S603 - a constant command
            command, check=True, capture_output=True, text=True, timeout=60
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise LocationNetError(
            "the NVIDIA driver does not answer (`nvidia-smi` fails): install or repair it, or"
            " train with --devices cpu:N"
        ) from error
    gpus = []
    for line in answer.stdout.splitlines():
        name, _, capability = line.rpartition(",")
        gpus.append((name.strip(), int(capability.strip().partition(".")[0])))
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    if all(entry.strip().isdigit() for entry in visible):
        return [gpus[int(entry)] for entry in visible if int(entry) < len(gpus)]
    return gpus
