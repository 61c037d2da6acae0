"""Make the small ONNX backbones that tests/train/test_onnx_import.py imports into MXNet.

Knows PyTorch's exporter; run it with the dependency group `recipes`. Two networks with random
weights, one built like torchvision's ResNet and one like EfficientNet-Lite, exported as anybody
would: at opset 9 with BatchNorm kept apart, and at opset 17 with BatchNorm folded into the
convolutions. Beside each lies what PyTorch answers.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import nn

FIXTURES = Path(__file__).parents[1] / "tests" / "train" / "fixtures"
SIZE = 32
CLASSES = 5


class Module(nn.Module):  # type: ignore[misc]  # torch is not installed where types are checked
    """PyTorch's module."""


class Block(Module):
    """Two 3 × 3 convolutions beside a shortcut, as in torchvision."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, data: torch.Tensor) -> torch.Tensor:
        """Return float (n, outputs, height / stride, width / stride)."""
        branch = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(data)))))
        shortcut = data if self.downsample is None else self.downsample(data)
        return self.relu(branch + shortcut)


class SmallResNet(Module):
    """torchvision's ResNet with two stages of eight and sixteen filters."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = nn.Sequential(Block(8, 8, 1), Block(8, 8, 1))
        self.layer2 = nn.Sequential(Block(8, 16, 2))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(16, CLASSES)

    def features(self, data: torch.Tensor) -> torch.Tensor:
        """Return float (n, 16)."""
        data = self.maxpool(self.relu(self.bn1(self.conv1(data))))
        return torch.flatten(self.avgpool(self.layer2(self.layer1(data))), 1)

    def forward(self, data: torch.Tensor) -> torch.Tensor:
        """Return logits (n, CLASSES)."""
        return self.fc(self.features(data))


class InvertedBlock(Module):
    """Expand, filter each channel, project: EfficientNet-Lite's block, with ReLU6."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        wide = 4 * inputs
        self.expand_conv = nn.Conv2d(inputs, wide, 1, bias=False)
        self.bn0 = nn.BatchNorm2d(wide, eps=1e-3)
        # TensorFlow's SAME padding with stride 2 pads right and bottom only.
        self.pad = nn.ZeroPad2d((0, 1, 0, 1) if stride == 2 else (1, 1, 1, 1))
        self.depthwise_conv = nn.Conv2d(wide, wide, 3, stride, groups=wide, bias=False)
        self.bn1 = nn.BatchNorm2d(wide, eps=1e-3)
        self.project_conv = nn.Conv2d(wide, outputs, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs, eps=1e-3)
        self.relu6 = nn.ReLU6()
        self.residual = stride == 1 and inputs == outputs

    def forward(self, data: torch.Tensor) -> torch.Tensor:
        """Return float (n, outputs, height / stride, width / stride)."""
        wide = self.relu6(self.bn0(self.expand_conv(data)))
        wide = self.relu6(self.bn1(self.depthwise_conv(self.pad(wide))))
        narrow = self.bn2(self.project_conv(wide))
        return narrow + data if self.residual else narrow


class SmallLite(Module):
    """EfficientNet-Lite with three blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU6()
        )
        self.blocks = nn.ModuleList(
            [InvertedBlock(8, 8, 1), InvertedBlock(8, 12, 2), InvertedBlock(12, 12, 1)]
        )
        self.head = nn.Sequential(nn.Conv2d(12, 24, 1, bias=False), nn.BatchNorm2d(24), nn.ReLU6())
        self.dropout = nn.Dropout(0.2)
        self.fc = nn.Linear(24, CLASSES)

    def features(self, data: torch.Tensor) -> torch.Tensor:
        """Return float (n, 24)."""
        data = self.stem(data)
        for block in self.blocks:
            data = block(data)
        return self.head(data).mean([2, 3])

    def forward(self, data: torch.Tensor) -> torch.Tensor:
        """Return logits (n, CLASSES)."""
        features = self.features(data)
        # As EfficientNet's code says it: the exporter traces the size at run time.
        return self.fc(self.dropout(features.view(features.size(0), -1)))


def main() -> None:
    """Write the fixtures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("-o", "--out", type=Path, default=FIXTURES, help="folder to write into")
    folder = parser.parse_args().out
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    images = torch.randn(2, 3, SIZE, SIZE)
    for name, network in (("resnet", SmallResNet()), ("lite", SmallLite())):
        trained_looking(network)
        network.eval()
        with torch.no_grad():
            features = network.features(images).numpy()
        np.savez_compressed(folder / f"{name}.npz", images=images.numpy(), features=features)
        write(network, images, folder / f"{name}-opset9.onnx", opset=9, folded=False)
        write(network, images, folder / f"{name}-opset17.onnx", opset=17, folded=True)


def trained_looking(network: nn.Module) -> None:
    """Give every BatchNorm statistics and scales of its own, as training would."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.3)
            nn.init.normal_(module.running_mean, std=0.3)
            nn.init.uniform_(module.running_var, 0.5, 1.5)


def write(
    network: nn.Module, images: torch.Tensor, path: Path, *, opset: int, folded: bool
) -> None:
    """Export with the batch size free."""
    mode = torch.onnx.TrainingMode.EVAL if folded else torch.onnx.TrainingMode.PRESERVE
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter that knows opset 9 is the old one
        torch.onnx.export(
            network,
            (images,),
            path,
            input_names=["images"],
            output_names=["logits"],
            dynamic_axes={"images": {0: "n"}, "logits": {0: "n"}},
            opset_version=opset,
            training=mode,
            do_constant_folding=folded,
            dynamo=False,
        )
    print(f"{path.name}: {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
