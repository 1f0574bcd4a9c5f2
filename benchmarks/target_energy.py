"""How far off is the predicted energy of a network for ImageNet, where its true one is known?

The authors of Spikingformer-8-512 logged the firing rates of its layers on ImageNet. Here a narrow network of the same
depth for CIFAR-10 is trained, and predicts what those layers cost at 224 pixels, by the code that writes
`energy_target_mj`. Both stand under `paper+head+bias`, the convention of the log.
"""

import argparse
import dataclasses
import json
import math
import time
from pathlib import Path

import torch
from header import header, note, table

from nas.costs import energy, target
from nas.costs.operations import Operation
from nas.datasets import loaders as data
from nas.datasets.loaders import Splits
from nas.settings import Recipe
from nas.spaces import load_space
from nas.training import augmentation, measurement
from nas.training import fitting as training
from spikformer import Spikformer, SpikformerConfig, published

SPACE = "cifar10_cpu"  # its images, cut and recipe
NETWORK = "spikingformer_in_8_512"
LOG = Path(__file__).parent.parent / "tests" / "data" / "spikingformer_8_512.json"
CONVENTION = energy.convention("paper+head+bias")


def proxy(width: int) -> SpikformerConfig:
    """The network for 32 pixels and 10 classes, `width` wide, with its 64 channels a head; pools as for CIFAR-10."""
    config = published.config(NETWORK)
    stem = dataclasses.replace(config.stem, image_size=32, pool=(False, False, True, True))
    mixer = dataclasses.replace(config.stages[0].mixer, num_heads=width // 64)
    stage = dataclasses.replace(config.stages[0], embed_dim=width, mixer=mixer)
    head = dataclasses.replace(config.head, num_classes=10)
    return dataclasses.replace(config, stem=stem, stages=(stage,), head=head)


def trained(config: SpikformerConfig, splits: Splits, recipe: Recipe) -> measurement.Measurement:
    torch.manual_seed(0)
    model = Spikformer(config)

    def tell(i: int, epoch: training.Epoch) -> None:
        note(f"epoch {i} of {recipe.epochs}: loss {epoch.loss:.3f}, accuracy {epoch.accuracy:.3f}")

    training.fit(model, splits.train, recipe, 0, tell)
    return measurement.measure(model, splits.search_val, augmentation.Normalise(splits.train))


def logged() -> dict[str, float]:
    """Mean input of each layer on ImageNet by its path in our network."""
    log = json.loads(LOG.read_text())
    stem = ["stem.embedding.1", "stem.embedding.2", "stem.embedding.3", "stem.position"]
    rates = dict(zip(stem, log["inputs"].values(), strict=True))
    layers = {"qkv": "mixer.branch.query", "proj": "mixer.branch.proj", "fc1": "mlp.branch.expand"}
    layers["fc2"] = "mlp.branch.contract"
    for i, block in enumerate(log["blocks"]):
        rates |= {f"stages.0.blocks.{i}.{path}": block[name] for name, path in layers.items()}
    return {path: rate / 100 for path, rate in rates.items()}


def rates(operations: tuple[Operation, ...]) -> dict[str, float]:
    """Mean input of each layer that the log knows."""
    means = {op.path: op.spikes / op.values for op in operations if op.kind == "weight" and not op.is_real}
    return {layer: next(mean for path, mean in means.items() if path.startswith(layer)) for layer in logged()}


def compare(found: dict[str, measurement.Measurement]) -> str:
    """A row a budget: accuracy and predicted energy; then a row a layer: its rate in each."""
    true_mj = json.loads(LOG.read_text())["energy_mj"]
    rows = [("proxy", "search-val accuracy", "predicted mJ", "error", "rate error, geometric mean")]
    rows.append(("logged on ImageNet", "", f"{true_mj:.3f}", "", ""))
    for name, measured in found.items():
        mj = target.predicted_energy_mj(measured.operations, published.config(NETWORK), CONVENTION)
        means = rates(measured.operations)
        off = [abs(math.log(means[layer] / rate)) for layer, rate in logged().items() if means[layer]]
        factor = math.exp(sum(off) / len(off))
        rows.append((name, f"{measured.accuracy:.1%}", f"{mj:.3f}", f"{mj / true_mj - 1:+.1%}", f"x {factor:.2f}"))
    layers = [("mean input of a layer", "ImageNet", *found)]
    for layer, rate in logged().items():
        means = [f"{rates(measured.operations)[layer]:.3f}" for measured in found.values()]
        layers.append((layer, f"{rate:.3f}", *means))
    return f"{table(rows)}\n\n{table(layers)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", help="where CIFAR-10 is; else it is downloaded")
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--train-images", type=int, default=10000)
    parser.add_argument("--epochs", type=int, nargs="+", default=[1, 4], help="one training each")
    parser.add_argument("--learning-rate", type=float, default=3e-3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    source = load_space(SPACE)
    recipe = dataclasses.replace(
        source.recipe, train_images=arguments.train_images, learning_rate=arguments.learning_rate
    )
    splits = data.load(dataclasses.replace(source, recipe=recipe), arguments.data_dir)
    found = {}
    for epochs in arguments.epochs:
        started = time.monotonic()
        measured = trained(proxy(arguments.width), splits, dataclasses.replace(recipe, epochs=epochs))
        found[f"{epochs} epochs of {len(splits.train):,}"] = measured
        note(f"{epochs} epochs: {time.monotonic() - started:.0f} s\n{compare(found)}")
    command = f"python benchmarks/target_energy.py --width {arguments.width} --train-images {arguments.train_images}"
    print(header(f"{command} --epochs {' '.join(map(str, arguments.epochs))} --data-dir DIR"))
    print(f"\n{NETWORK} at 224 pixels, predicted by a {arguments.width} wide proxy for CIFAR-10 ({CONVENTION.label})\n")
    print(compare(found))


if __name__ == "__main__":
    main()
