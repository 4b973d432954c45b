#!/usr/bin/env python3
"""Whether kshot embeds as PyTorch does, with weights that PyTorch saved: `pip install torch safetensors numpy`.

    cargo build --release
    python3 tests/in_pytorch.py target/release/kshot

FEAT's ResNet-12, torchvision's ResNet-18 and S2M2's WRN-28-10 of full width, with random weights and running statistics, saved by
`safetensors.torch.save_file`, once as half floats; loaded by `kshot train --init`; images embedded by `kshot embed`, and
labelled by `kshot predict`.
"""

import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import safetensors.torch
import torch
from torch import nn

MEAN, DEVIATION = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
CLASSES, EACH = 3, 4


def conv(before, width, size, stride=1):
    return nn.Conv2d(before, width, size, stride, size // 2, bias=False)


class Block(nn.Module):
    """A residual block under the names that FEAT's and torchvision's have."""

    def __init__(self, before, width, convolutions, stride=1, slope=0.0, pool=False, projected=True):
        super().__init__()
        self.count = convolutions
        for i in range(convolutions):
            setattr(self, f"conv{i + 1}", conv(width if i else before, width, 3, 1 if i else stride))
            setattr(self, f"bn{i + 1}", nn.BatchNorm2d(width))
        self.downsample = nn.Sequential(conv(before, width, 1, stride), nn.BatchNorm2d(width)) if projected else None
        self.activation = nn.LeakyReLU(slope)
        self.pool = nn.MaxPool2d(2) if pool else nn.Identity()

    def forward(self, x):
        z = x
        for i in range(1, self.count + 1):
            z = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(z))
            z = self.activation(z) if i < self.count else z
        return self.pool(self.activation(z + (self.downsample(x) if self.downsample else x)))


class ResNet12(nn.Module):
    """Four blocks of three convolutions, leaky ReLU and max-pooling, then the mean: FEAT's, without dropping."""

    def __init__(self):
        super().__init__()
        for i, (before, width) in enumerate([(3, 64), (64, 160), (160, 320), (320, 640)]):
            setattr(self, f"layer{i + 1}", nn.Sequential(Block(before, width, 3, slope=0.1, pool=True)))

    def forward(self, x):
        return self.layer4(self.layer3(self.layer2(self.layer1(x)))).mean((2, 3))


class ResNet18(nn.Module):
    """torchvision's, with its classifier, which kshot has no place for."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = conv(3, 64, 7, 2), nn.BatchNorm2d(64)
        for i, (before, width) in enumerate([(64, 64), (64, 128), (128, 256), (256, 512)]):
            first = Block(before, width, 2, stride=2 if i else 1, projected=i > 0)
            setattr(self, f"layer{i + 1}", nn.Sequential(first, Block(width, width, 2, projected=False)))
        self.fc = nn.Linear(512, 1000)

    def forward(self, x):
        z = nn.functional.max_pool2d(torch.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        return self.layer4(self.layer3(self.layer2(self.layer1(z)))).mean((2, 3))


class WideBlock(nn.Module):
    """Batch norm and ReLU before each of two convolutions, under S2M2's names."""

    def __init__(self, before, width, stride):
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(before), conv(before, width, 3, stride)
        self.bn2, self.conv2 = nn.BatchNorm2d(width), conv(width, width, 3)
        self.convShortcut = conv(before, width, 1, stride) if before != width else None

    def forward(self, x):
        z = torch.relu(self.bn1(x))
        shortcut = self.convShortcut(z) if self.convShortcut else x
        return shortcut + self.conv2(torch.relu(self.bn2(self.conv1(z))))


class WideResNet28(nn.Module):
    """Three stages of four such blocks, with a classifier."""

    def __init__(self):
        super().__init__()
        self.conv1 = conv(3, 16, 3)
        for i, (before, width) in enumerate([(16, 160), (160, 320), (320, 640)]):
            first = WideBlock(before, width, 2 if i else 1)
            layers = nn.Sequential(first, *[WideBlock(width, width, 1) for _ in range(3)])
            setattr(self, f"block{i + 1}", nn.ModuleDict({"layer": layers}))
        self.bn1, self.fc = nn.BatchNorm2d(640), nn.Linear(640, 200)

    def forward(self, x):
        z = self.conv1(x)
        for block in [self.block1, self.block2, self.block3]:
            z = block["layer"](z)
        return torch.relu(self.bn1(z)).mean((2, 3))


def drawn(network):
    """With statistics and affine parameters that training would have left, not those of the beginning."""
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.normal_(norm.running_mean, 0, 0.2)
            nn.init.uniform_(norm.running_var, 0.5, 2)
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.normal_(norm.bias, 0, 0.2)
    return network.eval()


def draw(root, side):
    """Images with a pattern for each class, as portable pixmaps."""
    drawing = np.random.default_rng(side)
    files = []
    for label in range(CLASSES):
        pattern = np.kron(drawing.uniform(0, 255, (4, 4, 3)), np.ones((side // 4, side // 4, 1)))
        for i in range(EACH):
            file = root / f"class{label}" / f"{i}.ppm"
            file.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.clip(pattern + drawing.normal(0, 30, (side, side, 3)), 0, 255).astype(np.uint8)
            file.write_bytes(b"P6 %d %d 255\n" % (side, side) + pixels.tobytes())
            files.append((str(file), pixels))
    return files


def normalised(files):
    x = torch.from_numpy(np.stack([pixels for _, pixels in files])).permute(0, 3, 1, 2).double() / 255
    return (x - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(DEVIATION).view(3, 1, 1)


def check(kshot, root, kind, network, side, prefix, half):
    """One network from its file to embeddings and labels."""
    root = root / f"{kind}-{'half' if half else 'float'}"
    files = draw(root / "images", side)
    network = (network.half() if half else network).float()
    weights = {prefix + name: value.half() if half and value.is_floating_point() else value
               for name, value in network.state_dict().items()}
    safetensors.torch.save_file(weights, root / "theirs.safetensors")
    with torch.no_grad():
        theirs = network.double()(normalised(files)).numpy()

    def run(*arguments):
        ran = subprocess.run([kshot, *map(str, arguments)], capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr
        return ran

    images = [f"folder.path={root / 'images'}", "folder.colour=rgb", "folder.normalise=imagenet", "folder.fractions=[1,0,0]"]
    settings = [word for key in [*images, f"backbone.kind={kind}"] for word in ["--set", key]]
    names = ["--names", f'{{strip = "{prefix}"}}'] if prefix else []
    ran = run("train", "--data", "folder", "--image-size", side, *settings, "--learner", "prototypical", "--steps", 0,
              "--init", root / "theirs.safetensors", *names, "--out", root / "run")
    assert "; none missing there; " in ran.stderr, ran.stderr

    run("embed", root / "run", root / "images", "--out", root / "ours.npz")
    ours = np.load(root / "ours.npz")
    assert list(ours["name"]) == [file for file, _ in files]
    # Of what tells the images apart, not of what they have in common.
    apart = np.linalg.norm(ours["X"] - theirs) / np.linalg.norm(theirs - theirs.mean(0))
    print(f"{kind}, {side}×{side}, {'float16' if half else 'float32'}: {apart:.1e} apart from PyTorch in float64")
    assert apart < 1e-4, apart

    run("predict", root / "run", "--support", root / "images", root / "images", "--csv", root / "labels.csv")
    right = sum(line.split(",")[1] in line.split(",")[0] for line in (root / "labels.csv").read_text().splitlines()[1:])
    assert right == CLASSES * EACH, f"{right} right"


def resnet18():
    """torchvision's where it is installed, which must have the names written out above."""
    written = ResNet18()
    try:
        from torchvision import models
    except ImportError:
        return written
    network = models.resnet18(weights=None)
    shapes = lambda network: {name: tuple(value.shape) for name, value in network.state_dict().items()}
    assert shapes(network) == shapes(written)
    written.load_state_dict(drawn(network).state_dict())
    x = torch.rand(2, 3, 64, 64)
    network.fc = nn.Identity()
    with torch.no_grad():
        assert torch.allclose(network(x), written.eval()(x), rtol=1e-4, atol=1e-5)
    return written


if __name__ == "__main__":
    torch.manual_seed(0)
    program = str(pathlib.Path(sys.argv[1]).resolve())
    with tempfile.TemporaryDirectory() as directory:
        for half in [False, True]:
            check(program, pathlib.Path(directory), "resnet12", drawn(ResNet12()), 84, "encoder.", half)
            check(program, pathlib.Path(directory), "resnet18", drawn(resnet18()), 224, "", half)
            check(program, pathlib.Path(directory), "wrn28-10", drawn(WideResNet28()), 80, "module.", half)
