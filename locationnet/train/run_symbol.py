"""What anybody's symbol answers to images, run by MXNet as it is.

Knows how a symbol and its parameters are bound; not what network they are.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from locationnet.errors import LocationNetError
from locationnet.train.backbones import resnet
from locationnet.train.compat import last_words, mx


def run_symbol(
    symbol: Path, params: Path, image: str, output: int, images: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return what a network answers.

    Parameters
    ----------
    symbol, params
        The two files.
    image
        What the symbol calls its input.
    output
        Number of the output among the symbol's.
    images
        Float32 ``(n, 3, height, width)``, run one at a time.

    Raises
    ------
    LocationNetError
        MXNet cannot read or run it.
    """
    try:
        return _run(mx.sym.load(str(symbol))[output], params, image, images)
    except (mx.MXNetError, RuntimeError, ValueError) as error:
        raise LocationNetError(f"{symbol}: MXNet cannot run it: {last_words(error)}") from error


def run_resnet_101(params: Path, images: NDArray[np.float32], classes: int) -> NDArray[np.float32]:
    """Return what our own ResNet-101 answers with parameters of its names; see `run_symbol`."""
    try:
        return _run(resnet(101, classes), params, "data", images)
    except (mx.MXNetError, RuntimeError, ValueError) as error:
        raise LocationNetError(f"{params}: MXNet cannot run it: {last_words(error)}") from error


def _run(
    symbol: mx.sym.Symbol, params: Path, image: str, images: NDArray[np.float32]
) -> NDArray[np.float32]:
    saved = mx.nd.load(str(params))
    named = {name.removeprefix("arg:").removeprefix("aux:"): saved[name] for name in saved}
    shape = (1, *images.shape[1:])
    # A label changes no answer, and its shape follows from the rest.
    executor = symbol.simple_bind(mx.cpu(), grad_req="null", **{image: shape})
    arguments = {name: named[name] for name in executor.arg_dict if name in named}
    auxiliary = {name: named[name] for name in executor.aux_dict if name in named}
    executor.copy_params_from(arguments, auxiliary)
    answers = [
        executor.forward(is_train=False, **{image: mx.nd.array(one[None])})[0].asnumpy()
        for one in images
    ]
    return np.asarray(np.concatenate(answers), np.float32)
