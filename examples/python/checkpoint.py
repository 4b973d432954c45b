"""A trained network of kshot's in PyTorch.

    kshot embed RUN IMAGES --out features.npz
    python checkpoint.py RUN features.npz          # needs torch, safetensors, pillow

Reads the weights of RUN/best.safetensors, whose names and shapes are PyTorch's, into a Conv4, embeds the images that
features.npz names, and says how far the two embeddings are apart.
"""

import json
import sys
from collections import OrderedDict

import numpy as np
import torch
from PIL import Image
from safetensors import safe_open
from torch import nn


def load(run):
    """The network of a run, and the description that its checkpoint has of itself."""
    with safe_open(f"{run}/best.safetensors", "pt") as file:
        description = json.loads(file.metadata()["kshot"])
        weights = {name: file.get_tensor(name) for name in file.keys() if name.startswith("block")}
    network = conv4(**description["setup"]["backbone"])
    network.load_state_dict(weights)
    return network.eval(), description


def conv4(kind, input, norm, options):
    """Blocks of 3×3 convolution, batch norm, ReLU and 2×2 max-pooling; or of stride 2, then the mean over the image."""
    assert kind == "conv4", f"this file knows conv4, not {kind}"
    channels, blocks, strided = input[0], OrderedDict(), options["pooling"] == "strided"
    for i in range(options["blocks"]):
        block = OrderedDict(conv=nn.Conv2d(channels, options["width"], 3, stride=2 if strided else 1, padding=1))
        block["norm"] = nn.BatchNorm2d(options["width"], track_running_stats=norm == "running")
        block["relu"] = nn.ReLU()
        if not strided:
            block["pool"] = nn.MaxPool2d(2)
        blocks[f"block{i}"], channels = nn.Sequential(block), options["width"]
    if strided:
        blocks["mean"] = nn.AdaptiveAvgPool2d(1)
    return nn.Sequential(blocks).append(nn.Flatten())


def images(files, input):
    """Values of 0–1, `[n, channels, height, width]`, stretched to size by a triangle filter."""
    channels, height, width = input
    values = []
    for file in files:
        image = np.asarray(Image.open(file).convert("L" if channels == 1 else "RGB"), float)
        planes = np.moveaxis(image.reshape(*image.shape[:2], channels), 2, 0)
        values.append(np.floor(triangle(planes.shape[1], height) @ planes @ triangle(planes.shape[2], width).T + 0.5))
    return torch.from_numpy(np.float32(values) / 255)


def triangle(size, to):
    """Weights `[to, size]` of a triangle filter as wide as the scale."""
    scale = size / to
    centres = (np.arange(to)[:, None] + 0.5) * scale - 0.5
    weights = np.maximum(0, 1 - abs(np.arange(size) - centres) / max(scale, 1))
    return weights / weights.sum(1, keepdims=True)


if __name__ == "__main__":
    network, description = load(sys.argv[1])
    features = np.load(sys.argv[2])
    with torch.no_grad():
        ours = network(images(features["name"], description["setup"]["backbone"]["input"])).numpy()
    apart = abs(ours - features["X"]).max() / abs(features["X"]).max()
    print(f"{len(ours)} images, {ours.shape[1]} features: at most {apart:.1e} of the largest value apart")
