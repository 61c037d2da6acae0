"""What `bench_serve` measures a large network with: random weights, and the code of 2017.

Knows MXNet, which the service itself does not; see `bench_serve` for what is measured.
"""

from __future__ import annotations

import io
import json
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import numpy as np
from skimage import io as skimage_io
from skimage import transform

from locationnet.export.write_bundle import export_bundle
from locationnet.geo import s2
from locationnet.geo.grid import Grid
from locationnet.model.manifest import write_manifest
from locationnet.train.backbones import resnet
from locationnet.train.compat import mx

LARGE_CLASSES = 15_527
SIZE = 224
_EPOCH = 12
_MEAN = np.array([123.68, 116.779, 103.939])
_Batch = namedtuple("_Batch", ["data"])


def random_checkpoint(folder: Path) -> Path:
    """Write a checkpoint of random weights; return its prefix."""
    module = mx.mod.Module(resnet(101, LARGE_CLASSES, SIZE), label_names=["softmax_label"])
    module.bind([("data", (1, 3, SIZE, SIZE))], [("softmax_label", (1,))], for_training=False)
    mx.random.seed(0)
    module.init_params(mx.init.Xavier(rnd_type="gaussian", factor_type="in", magnitude=2))
    prefix = folder / "random"
    module.save_checkpoint(str(prefix), _EPOCH)
    return prefix


def random_bundle(prefix: Path, out: Path) -> Path:
    """Export the checkpoint as a bundle that offers bfloat16 although nothing was measured."""
    export_bundle(prefix, _EPOCH, _grid(), out)
    fields = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    del fields["files"]
    fields["precisions"] = {
        "bf16": {
            "runtime": "openvino", "allowed": True, "photos": 1, "top1_agreement": 0.0,
            "metric_change": {},
        }
    }  # fmt: skip
    write_manifest(out, fields)
    return out


def _grid() -> Grid:
    """Return the committed grid, with as many cells cut in four as are missing."""
    grid = Grid.read(Path(__file__).parents[1] / "grids.txt")
    cut = np.flatnonzero(grid.levels < 20)[: (LARGE_CLASSES - len(grid)) // 3]
    lowest = grid.ids[cut] & (~grid.ids[cut] + np.uint64(1))
    step = lowest >> np.uint64(2)
    children = np.concatenate(
        [grid.ids[cut] - lowest + step + np.uint64(2 * child) * step for child in range(4)]
    )
    ids = np.sort(np.concatenate([np.delete(grid.ids, cut), children]))
    return Grid(ids, *s2.centers(ids))


def code_of_2017(prefix: Path) -> Callable[[bytes], object]:
    """Return what the notebook of 2017 did with a photo: decode, crop, resize, forward, sort."""
    symbol, arguments, states = mx.model.load_checkpoint(str(prefix), _EPOCH)
    module = mx.mod.Module(symbol, label_names=None)
    module.bind([("data", (1, 3, SIZE, SIZE))], for_training=False)
    module.set_params(arguments, states, allow_missing=True)
    grid = _grid()

    def work(photo: bytes) -> object:
        image = skimage_io.imread(io.BytesIO(photo))
        side = min(image.shape[:2])
        top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
        square = image[top : top + side, left : left + side]
        small = transform.resize(
            square, (SIZE, SIZE), order=1, mode="constant", anti_aliasing=False
        )
        pixels = (small * 256 - _MEAN).transpose(2, 0, 1)[None]
        module.forward(_Batch([mx.nd.array(pixels)]), is_train=False)
        probabilities = module.get_outputs()[0].asnumpy()[0]
        best = np.argsort(probabilities)[::-1][:5]
        return [(grid.lat[cell], grid.lng[cell], probabilities[cell]) for cell in best]

    return work
