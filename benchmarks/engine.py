"""Softvote's engine beside torchvision's reference loop: the same network, images and protocol, turns taken, medians.

    python -m benchmarks.engine [FOLDER] [--images 24] [--rounds 5] [--network vgg16]

Both decode JPEGs, resize the smaller side to 256, take the centre crop of 224 and run the network in float32 on the
CPU. Without a folder the images are made (500 x 375 and 375 x 500, smooth random colours). Weights are random: speed
only.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torchvision
from PIL import Image
from torch.utils.data import DataLoader

from ensembles import engine
from ensembles.configurations import Architecture
from ensembles.datasets import scan_image_folder
from ensembles.images import image_files
from ensembles.networks import LoadedNetwork
from ensembles.protocols import PRESETS
from ensembles.specs import Preprocessing
from ensembles.vgg import VGG

CONFIGURATIONS = {"vgg11": "A", "vgg13": "B", "vgg16": "D", "vgg19": "E"}
CLASSES = 1000


def main() -> None:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--images", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--network", choices=CONFIGURATIONS, default="vgg16")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.folder or make_images(Path(scratch), arguments.images)
        compare(folder, arguments.network, arguments.images, arguments.rounds)


def compare(folder: Path, network_name: str, limit: int, rounds: int) -> None:
    """Time both loops in turns on the first `limit` images."""
    torch.manual_seed(0)
    reference = torchvision.models.get_model(network_name, weights=None).eval()
    ours = VGG(Architecture(CONFIGURATIONS[network_name], batch_norm=False, width=1.0, classes=CLASSES, crop=224))
    ours.load_state_dict(reference.state_dict())
    loaded = LoadedNetwork(network_name, ours, Preprocessing())
    images = image_files(folder, scan_image_folder(folder))[:limit]
    view = PRESETS["torchvision"].views(None, crop=224)
    loops: dict[str, Callable[[], object]] = {
        "torchvision reference loop": lambda: reference_loop(reference, folder, limit),
        "softvote engine": lambda: engine.predict([loaded], images, view),
    }
    seconds: dict[str, list[float]] = {name: [] for name in loops}
    for turn in range(rounds + 1):
        for name, loop in loops.items():
            started = time.perf_counter()
            loop()
            if turn:  # the first turn warms caches
                seconds[name].append(time.perf_counter() - started)
    n = len(images)
    print(f"{network_name}, {n} JPEGs, centre crop 224, float32, {torch.get_num_threads()} threads, {rounds} rounds")
    print(f"{platform.machine()}, torch {torch.__version__}, torchvision {torchvision.__version__}")
    for name, times in seconds.items():
        rates = sorted(n / t for t in times)
        print(f"  {name:<28} {statistics.median(rates):6.2f} images/s  ({rates[0]:.2f}-{rates[-1]:.2f})")
    ratios = [a / b for a, b in zip(*seconds.values(), strict=True)]
    print(f"  engine over the loop, median of pairs: {statistics.median(ratios):.2f}x")


def reference_loop(network: torch.nn.Module, folder: Path, limit: int) -> None:
    """The recipe of torchvision: ImageFolder, its transforms, a DataLoader with two processes, batches of 32."""
    transform = torchvision.transforms.Compose(
        [
            torchvision.transforms.Resize(256),
            torchvision.transforms.CenterCrop(224),
            torchvision.transforms.ToTensor(),
            torchvision.transforms.Normalize(Preprocessing().mean, Preprocessing().std),
        ]
    )
    dataset = torchvision.datasets.ImageFolder(str(folder), transform)
    subset = torch.utils.data.Subset(dataset, range(min(limit, len(dataset))))
    with torch.inference_mode():
        for pixels, _labels in DataLoader(subset, batch_size=32, num_workers=2):
            network(pixels).softmax(dim=1)


def make_images(root: Path, count: int) -> Path:
    """`count` smooth random JPEGs of ImageNet's commonest sizes, in two class folders."""
    rng = np.random.default_rng(0)
    for number in range(count):
        size = (500, 375) if number % 3 else (375, 500)
        coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
        path = root / f"class{number % 2}" / f"{number:04}.jpg"
        path.parent.mkdir(exist_ok=True)
        coarse.resize(size, Image.Resampling.BICUBIC).save(path, quality=90)
    return root


if __name__ == "__main__":
    main()
