"""ResNets under torchvision's names, built and initialised as it does, without its import.

torchvision brings all that it has, and with it torch's compiler: as long as the import of torch itself.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

CLASSES = 1000  # of the published networks' classifier


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions around which the input is led (He et al., 2016).

    Args:
        inputs: channels that come in.
        planes: channels of both convolutions.
        stride: of the first one.
        downsample: makes the input as large as the output, where it is not.
        width_per_group: of bottlenecks; here there is none.
    """

    expansion = 1

    def __init__(
        self,
        inputs: int,
        planes: int,
        stride: int = 1,
        downsample: nn.Module | None = None,
        width_per_group: int = 64,
    ) -> None:
        super().__init__()
        self.conv1 = _conv(inputs, planes, side=3, stride=stride)
        self.bn1 = nn.BatchNorm2d(planes)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = _conv(planes, planes, side=3)
        self.bn2 = nn.BatchNorm2d(planes)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        """``(N, inputs, H, W)`` to ``(N, planes, H / stride, W / stride)``."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        y += x if self.downsample is None else self.downsample(x)
        return self.relu(y)


class Bottleneck(nn.Module):
    """A 3 x 3 convolution of few channels between two 1 x 1 ones, around which the input is led (He et al., 2016).

    The 3 x 3 convolution strides, as in torchvision (ResNet v1.5); in the paper the first one does.

    Args:
        inputs: channels that come in.
        planes: a quarter of the channels that come out.
        stride: of the 3 x 3 convolution.
        downsample: makes the input as large as the output, where it is not.
        width_per_group: channels of the 3 x 3 convolution for 64 planes; 128 makes a wide ResNet.
    """

    expansion = 4

    def __init__(
        self,
        inputs: int,
        planes: int,
        stride: int = 1,
        downsample: nn.Module | None = None,
        width_per_group: int = 64,
    ) -> None:
        super().__init__()
        inner = planes * width_per_group // 64
        self.conv1 = _conv(inputs, inner, side=1)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = _conv(inner, inner, side=3, stride=stride)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = _conv(inner, planes * self.expansion, side=1)
        self.bn3 = nn.BatchNorm2d(planes * self.expansion)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        """``(N, inputs, H, W)`` to ``(N, 4 * planes, H / stride, W / stride)``."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        y += x if self.downsample is None else self.downsample(x)
        return self.relu(y)


class ResNet(nn.Module):
    """A ResNet with its classifier; its state dict, and what its values begin with, are torchvision's.

    The layers are made in torchvision's order, since each takes its first values from torch's random numbers.

    Args:
        block: kind of residual block.
        layers: blocks of each of the four stages.
        classes: outputs of the classifier.
        width_per_group: of a bottleneck.
    """

    def __init__(
        self,
        block: type[BasicBlock | Bottleneck],
        layers: Sequence[int],
        classes: int = CLASSES,
        width_per_group: int = 64,
    ) -> None:
        super().__init__()
        self.inputs = 64  # channels of what is made so far; in the end of the pooled features
        self.conv1 = nn.Conv2d(3, self.inputs, kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(self.inputs)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool: nn.Module = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        self.layer1 = self._stage(block, 64, layers[0], 1, width_per_group)
        self.layer2 = self._stage(block, 128, layers[1], 2, width_per_group)
        self.layer3 = self._stage(block, 256, layers[2], 2, width_per_group)
        self.layer4 = self._stage(block, 512, layers[3], 2, width_per_group)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc: nn.Module = nn.Linear(512 * block.expansion, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def _stage(
        self, block: type[BasicBlock | Bottleneck], planes: int, blocks: int, stride: int, width_per_group: int
    ) -> nn.Sequential:
        outputs = planes * block.expansion
        downsample = None
        if stride != 1 or self.inputs != outputs:
            downsample = nn.Sequential(_conv(self.inputs, outputs, side=1, stride=stride), nn.BatchNorm2d(outputs))
        first = block(self.inputs, planes, stride, downsample, width_per_group)
        self.inputs = outputs
        others = [block(outputs, planes, width_per_group=width_per_group) for _ in range(1, blocks)]
        return nn.Sequential(first, *others)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, 3, H, W)`` to ``(N, classes)``, or to pooled features ``(N, D)`` where ``fc`` is the identity."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(torch.flatten(self.avgpool(x), 1))


def _conv(inputs: int, outputs: int, *, side: int, stride: int = 1) -> nn.Conv2d:
    """A convolution whose maps keep their size but for the stride."""
    return nn.Conv2d(inputs, outputs, kernel_size=side, stride=stride, padding=side // 2, bias=False)
