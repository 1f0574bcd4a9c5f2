"""How fast is a proxy trained, beside SpikingJelly's Spikformer and beside the same network without spikes?

    (o) the layout of the authors' CIFAR-10 code, tokens x channels through linear layers and BatchNorm1d, the image
        repeated T times, with SpikingJelly's neurons; images as for (b), float32: the step alone
    (a) SpikingJelly's Spikformer in a usual loop: images through PIL and a DataLoader, the loss read at every step
    (b) the same at its best: images on the device, gathered in one go, bfloat16, on CUDA its Triton neurons with
        float32 membranes and torch.compile
    (c) ours with a ReLU for each neuron, every lever on: the limit

and ours with all levers off, with each alone, and with all on. Contestants take turns, round after round, each in a
training of its own; the time is that of its second epoch: processor seconds on the CPU, wall seconds on CUDA.
"""

import argparse
import dataclasses
import math
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial

import torch
import torch.nn.functional as F
from header import header, note, table
from official_layout import OfficialLayout
from PIL import Image
from spikingjelly.activation_based import functional
from spikingjelly.activation_based.model.spikformer import Spikformer as SpikingJellySpikformer
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from nas.datasets.loaders import Split, Splits
from nas.settings import Recipe
from nas.training import evaluation
from nas.training import fitting as training
from nas.training.augmentation import Normalise, augment
from nas.training.execution import REFERENCE, ExecutionOptions, options_for
from spikformer import Spikformer, SpikformerConfig, published
from spikformer.neurons import Neuron

Seconds = float
Contestant = Callable[[Split, Recipe], Seconds]
"""Trains for two epochs and tells how long the second took."""


@dataclasses.dataclass(frozen=True)
class Shape:
    """Of a Spikformer for CIFAR-10."""

    embed_dim: int
    depth: int
    time_steps: int
    num_heads: int

    @property
    def name(self) -> str:
        return f"d{self.embed_dim} L{self.depth} T{self.time_steps}"

    def config(self) -> SpikformerConfig:
        base = published.config("spikformer_cifar10_4_384")
        mixer = dataclasses.replace(base.stages[0].mixer, num_heads=self.num_heads)
        stage = dataclasses.replace(base.stages[0], embed_dim=self.embed_dim, depth=self.depth, mixer=mixer)
        return dataclasses.replace(base, stages=(stage,), time_steps=self.time_steps)


SHAPES = {shape.name: shape for shape in (Shape(384, 4, 4, 12), Shape(128, 2, 4, 4), Shape(64, 2, 2, 4))}


def random_images(count: int, device: torch.device) -> Split:
    """32 x 32, of ten classes, without meaning: speed does not depend on it, spikes hardly."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (count, 3, 32, 32), generator=generator, dtype=torch.uint8)
    return Split(images, torch.randint(10, (count,), generator=generator)).to(device)


def ours(shape: Shape, speed: ExecutionOptions, *, relu: bool = False) -> Contestant:
    def run(train: Split, recipe: Recipe) -> Seconds:
        torch.manual_seed(0)
        model = Spikformer(shape.config()).to(train.labels.device)
        if relu:
            without_spikes(model)
        ends: list[float] = []
        training.fit(model, train, recipe, 0, lambda _i, _epoch: ends.append(_now(train)), speed)
        return ends[1] - ends[0]

    return run


def without_spikes(model: Spikformer) -> None:
    for path, module in list(model.named_modules()):
        if isinstance(module, Neuron):
            model.set_submodule(path, nn.ReLU())


def _now(train: Split) -> float:
    if train.labels.is_cuda:
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


def _library_model(shape: Shape) -> nn.Module:
    return SpikingJellySpikformer(
        T=shape.time_steps,
        img_size_h=32,
        img_size_w=32,
        patch_size=4,
        num_classes=10,
        embed_dims=shape.embed_dim,
        num_heads=shape.num_heads,
        depths=shape.depth,
    )


def usual_loop(shape: Shape, train: Split, recipe: Recipe) -> Seconds:
    device = train.labels.device
    workers = 16 if device.type == "cuda" else 0
    loader = DataLoader(_PilImages(train), recipe.batch_size, shuffle=True, drop_last=True, num_workers=workers)

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        for images, labels in loader:
            yield images.to(device), labels.to(device)

    precision = torch.float16 if device.type == "cuda" else torch.float32
    return _epochs(_library_model(shape).to(device), train, recipe, batches, precision, reads_loss=True)


def library_at_its_best(shape: Shape, train: Split, recipe: Recipe) -> Seconds:
    model = _library_model(shape).to(train.labels.device)
    if train.labels.is_cuda:
        model = _compiled_with_float32_membranes(model)
    return _epochs(model, train, recipe, _on_device(train, recipe), torch.bfloat16, reads_loss=False)


def official_layout(shape: Shape, train: Split, recipe: Recipe) -> Seconds:
    layout = OfficialLayout(shape.embed_dim, shape.depth, shape.time_steps, shape.num_heads)
    model = layout.to(train.labels.device)
    return _epochs(model, train, recipe, _on_device(train, recipe), torch.float32, reads_loss=False)


def _on_device(train: Split, recipe: Recipe) -> Callable[[], Iterator[tuple[Tensor, Tensor]]]:
    device = train.labels.device
    normalise, random = Normalise(train), torch.Generator(device).manual_seed(0)

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.randperm(len(train), generator=random, device=device)
        for chosen in order.split(recipe.batch_size):
            yield normalise(augment(train.images, chosen, recipe.augment, random)), train.labels[chosen]

    return batches


def _epochs(
    model: nn.Module,
    train: Split,
    recipe: Recipe,
    batches: Callable[[], Iterator[tuple[Tensor, Tensor]]],
    precision: torch.dtype,
    *,
    reads_loss: bool,
) -> Seconds:
    device = train.labels.device
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=not reads_loss)
    scaler = torch.amp.GradScaler(device.type, enabled=precision == torch.float16)
    model.train()
    ends = []
    for _ in range(recipe.epochs):
        for images, labels in batches():
            with torch.autocast(device.type, precision, enabled=precision != torch.float32):
                logits = model(images).mean(0)
            loss = F.cross_entropy(logits.float(), labels, label_smoothing=recipe.label_smoothing)
            optimizer.zero_grad()
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            functional.reset_net(model)
            if reads_loss:
                loss.item()
        ends.append(_now(train))
    return ends[1] - ends[0]


def _compiled_with_float32_membranes(model: nn.Module) -> nn.Module:
    """Without them SpikingJelly leaves its Triton kernel under autocast."""
    from spikingjelly.activation_based import precision

    config = precision.PrecisionConfig(mode="bf16", neuron_storage="fp32")
    prepared = precision.prepare_model_for_precision(model, "cuda", config)
    compiled: nn.Module = torch.compile(prepared.model)
    return compiled


class _PilImages(Dataset[tuple[Tensor, int]]):
    """As CIFAR-10 is usually read: an image, cut from a padded one, mirrored, to a tensor, normalised."""

    def __init__(self, split: Split) -> None:
        self.images = split.images.permute(0, 2, 3, 1).cpu().numpy()
        self.labels = split.labels.tolist()
        normalise = Normalise(split)
        mean, deviation = ((x.flatten().cpu() / 255).tolist() for x in (normalise.mean, normalise.deviation))
        self.transform = transforms.Compose(
            [
                transforms.RandomCrop(32, padding=4),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(mean, deviation),
            ]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.images[i])), self.labels[i]


def contestants(shape: Shape, device: torch.device) -> dict[str, Contestant]:
    best = dataclasses.replace(options_for(device, Recipe(), 10**12), precision="bf16")
    found: dict[str, Contestant] = {
        "(o) authors' layout, SpikingJelly's neurons": partial(official_layout, shape),
        "(a) SpikingJelly, usual loop": partial(usual_loop, shape),
        "(b) SpikingJelly at its best": partial(library_at_its_best, shape),
        "ours, every lever off": ours(shape, REFERENCE),
        "ours, SpikingJelly's neurons": ours(shape, ExecutionOptions(neurons="spikingjelly")),
    }
    for lever in dataclasses.fields(ExecutionOptions):
        value = getattr(best, lever.name)
        if value != getattr(REFERENCE, lever.name):
            found[f"ours, {lever.name} = {value}"] = ours(shape, dataclasses.replace(REFERENCE, **{lever.name: value}))
    found[f"ours, all: {best}"] = ours(shape, best)
    found["(c) ReLU for the neurons, all levers"] = ours(shape, best, relu=True)
    return found


def chosen(shape: Shape, device: torch.device, names: list[str]) -> dict[str, Contestant]:
    """The contestants whose name contains one of the texts; all without any.

    Raises:
        SystemExit: a text is in none.
    """
    found = contestants(shape, device)
    unknown = [text for text in names if not any(text in name for name in found)]
    if unknown:
        raise SystemExit(f"Error: no contestant is called {', '.join(unknown)}. There are: {'; '.join(found)}")
    return {name: run for name, run in found.items() if not names or any(text in name for text in names)}


def once(run: Contestant, train: Split, recipe: Recipe) -> tuple[Seconds, float]:
    """How long its second epoch took, and its peak of memory in MiB, 0 on the CPU."""
    device = train.labels.device
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    took = run(train, recipe)
    return took, torch.cuda.max_memory_allocated(device) / 2**20 if device.type == "cuda" else 0.0


def race(shape: Shape, batch: int, device: torch.device, steps: int, rounds: int, names: list[str], ends: float) -> str:
    """A table of medians; what was not begun before `ends`, on the clock `time.monotonic`, is named below it."""
    train, recipe = random_images(batch * steps, device), Recipe(epochs=2, batch_size=batch)
    seconds: dict[str, list[float]] = {}
    memory: dict[str, float] = {}
    left = []
    for i in range(rounds + 1):  # the first warms up
        for name, run in chosen(shape, device, names).items():
            if time.monotonic() > ends:
                left.append(f"round {i}: {name}")
                continue
            took, memory[name] = once(run, train, recipe)
            note(f"{shape.name}, batch {batch}, round {i} of {rounds}, {name}: {len(train) / took:,.0f} images / s")
            if i:
                seconds.setdefault(name, []).append(took)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    lines = [f"{shape.name}, batch {batch}", "", _medians(medians, memory, len(train))]
    return "\n".join([*lines, *(["", "not run within --limit:", *left] if left else [])])


def _medians(medians: dict[str, float], memory: dict[str, float], images: int) -> str:
    def of(letter: str) -> float:
        return next((s for name, s in medians.items() if name.startswith(f"({letter})")), math.nan)

    rows = [("contestant", "images / s", "x (o)", "x (a)", "x (b)", "time / (c)", "peak MiB")]
    for name, s in medians.items():
        ratios = (of("o") / s, of("a") / s, of("b") / s, s / of("c"))
        cells = ["-" if math.isnan(ratio) else f"{ratio:.2f}" for ratio in ratios]
        rows.append((name, f"{images / s:,.0f}", *cells, f"{memory[name]:,.0f}" if memory[name] else "-"))
    return table(rows)


def whole_candidate(shape: Shape, device: torch.device, images: int, epochs: int) -> str:
    """The second in a process, from fresh weights to its record: first costs of a process are told apart."""
    splits = Splits(*(random_images(n, device) for n in (images, images // 10, images // 10)), tuple("0123456789"), "")
    walls = []
    for _ in range(2):
        started = time.perf_counter()
        evaluation.evaluate(shape.config(), splits, Recipe(epochs=epochs, batch_size=128))
        walls.append(time.perf_counter() - started)
    return (
        f"a whole candidate, {shape.name}, {epochs} epochs of {images:,} images, trained, measured twice and recorded: "
        f"{walls[1]:.1f} s, the first of a process {walls[0]:.1f} s"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--shapes", nargs="+", choices=list(SHAPES), default=list(SHAPES))
    parser.add_argument("--batches", nargs="+", type=int, help="64 128 512 1024 on CUDA, 32 on a CPU")
    parser.add_argument("--rounds", type=int, default=5, help="Rounds after the first, which warms up; 5 by default.")
    parser.add_argument(
        "--contestants", nargs="+", default=[], metavar="TEXT", help="Only those whose name contains one of the texts."
    )
    parser.add_argument(
        "--limit",
        type=float,
        default=math.inf,
        metavar="SECONDS",
        help="Start no new measurement after this many seconds. Default: no limit.",
    )
    parser.add_argument(
        "--candidate", nargs=2, type=int, metavar=("IMAGES", "EPOCHS"), help="45000 10; on a CPU 2000 1"
    )
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    on_cuda, ends = device.type == "cuda", time.monotonic() + arguments.limit
    torch.set_num_threads(1)
    chosen(SHAPES[arguments.shapes[0]], device, arguments.contestants)
    print(header(f"python benchmarks/proxy_speed.py --device {device.type}"))
    if on_cuda:
        print(f"device    {torch.cuda.get_device_name(device)}")
    for name in arguments.shapes:
        for batch in arguments.batches or ((64, 128, 512, 1024) if on_cuda else (32,)):
            steps = 100 if on_cuda else 3
            told = race(SHAPES[name], batch, device, steps, arguments.rounds, arguments.contestants, ends)
            print(f"\n{told}", flush=True)
    if time.monotonic() > ends:
        print("\nnot run within --limit: a whole candidate")
        return
    images, epochs = arguments.candidate or ((45_000, 10) if on_cuda else (2000, 1))
    print(f"\n{whole_candidate(SHAPES['d128 L2 T4'], device, images, epochs)}")


if __name__ == "__main__":
    main()
