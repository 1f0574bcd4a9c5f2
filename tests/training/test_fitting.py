"""The training loop: augmentation, normalisation, schedule, and that it learns the same way twice."""

import dataclasses
import math
from pathlib import Path

import pytest
import torch
from torch import nn

from nas.datasets.loaders import Split
from nas.settings import Recipe
from nas.training import fitting as training
from nas.training import measurement
from nas.training.augmentation import Normalise, augment
from nas.training.epoch import Epoch
from nas.training.execution import REFERENCE, ExecutionOptions, options_for
from nas.training.fitting import DivergedError
from nas.training.optimizer import parameter_groups
from spikformer import Spikformer
from spikformer.config import NeuronConfig
from spikformer.neurons import Neuron
from tests.helpers import small_config, thinned


def _split(n: int = 60, device: torch.device | str = "cpu") -> Split:
    """Five classes, told apart by the brightness of one channel."""
    labels = torch.arange(n) % 5
    images = torch.zeros(n, 3, 8, 8, dtype=torch.uint8)
    images[:, 0] = (50 * labels[:, None, None]).to(torch.uint8)
    return Split(images, labels).to(torch.device(device))


def _equal(found: list[Epoch], expected: list[Epoch], device: torch.device) -> bool:
    """To the last bit; on a GPU, where kernels sum in changing order, nearly."""
    losses, others = ([epoch.loss for epoch in history] for history in (found, expected))
    return found == expected if device.type == "cpu" else losses == pytest.approx(others, rel=2e-2)


def test_it_learns_and_does_so_twice_the_same(device: torch.device) -> None:
    histories = []
    config = dataclasses.replace(small_config(), neuron=NeuronConfig(threshold=0.5, surrogate="atan"))
    for _ in range(2):
        torch.manual_seed(0)
        model = Spikformer(config).to(device)
        recipe = Recipe(epochs=15, batch_size=12, learning_rate=2e-2, augment="none", label_smoothing=0)
        histories.append(training.fit(model, _split(device=device), recipe, seed=3))
    assert _equal(histories[0], histories[1], device)
    assert histories[0][-1].loss < 0.7 * histories[0][0].loss
    assert training.accuracy(model, _split(device=device), Normalise(_split(device=device))) > 0.5


@pytest.mark.parametrize(
    ("fast", "tolerance"),
    [
        (ExecutionOptions(channels_last=True), 1e-4),
        (ExecutionOptions(neurons="spikingjelly"), 1e-4),
        (ExecutionOptions(precision="bf16"), 0.1),
        (ExecutionOptions(precision="bf16", channels_last=True, neurons="auto", cuda_graph=True), 0.1),
    ],
)
@pytest.mark.parametrize("residual", ["sew", "ms"])
def test_levers_change_no_more_than_rounding(
    fast: ExecutionOptions, tolerance: float, residual: str, device: torch.device
) -> None:
    """The first epoch's loss, and weights of the usual format in the end."""
    config = dataclasses.replace(small_config(residual), neuron=NeuronConfig(threshold=0.5, surrogate="atan"))
    losses = []
    for options in (REFERENCE, fast):
        torch.manual_seed(0)
        model = Spikformer(config).to(device)
        (epoch,) = training.fit(model, _split(device=device), Recipe(epochs=1, batch_size=12), seed=3, options=options)
        assert all(parameter.is_contiguous() for parameter in model.parameters())
        losses.append(epoch.loss)
    assert losses[1] == pytest.approx(losses[0], abs=tolerance if device.type == "cpu" else 0.1)


def test_a_penalty_on_spikes_by_hand() -> None:
    """Its first step, at rate 0: the loss grows by the penalty times the spikes that plain hooks see per neuron."""
    losses, counts = [], [0.0, 0.0]
    for penalty in (0.0, 0.5):
        torch.manual_seed(0)
        model = Spikformer(dataclasses.replace(small_config(), neuron=NeuronConfig(threshold=0.5)))
        recipe = Recipe(epochs=1, batch_size=60, learning_rate=1e-9, spike_penalty=penalty)

        def see(_module: nn.Module, _inputs: object, spikes: torch.Tensor) -> None:
            counts[0] += spikes.sum().item()
            counts[1] += spikes.numel()

        hooks = [m.register_forward_hook(see) for m in model.modules() if isinstance(m, Neuron) and not penalty]
        losses.append(training.fit(model, _split(), recipe, seed=3, options=REFERENCE)[0].loss)
        for hook in hooks:
            hook.remove()
        assert not any(module._forward_hooks for module in model.modules())
    assert counts[0] > 0
    assert losses[1] - losses[0] == pytest.approx(0.5 * counts[0] / counts[1], rel=1e-4)


def test_a_penalty_on_spikes_makes_a_network_spike_less() -> None:
    rates = []
    for penalty in (0.0, 5.0):
        torch.manual_seed(0)
        model = Spikformer(dataclasses.replace(small_config(), neuron=NeuronConfig(threshold=0.5, surrogate="atan")))
        recipe = Recipe(epochs=10, batch_size=12, learning_rate=1e-2, augment="none", spike_penalty=penalty)
        training.fit(model, _split(), recipe, seed=3)
        found = measurement.measure(model, _split(), Normalise(_split()))
        rates.append(sum(found.firing_rates.values()))
    assert rates[1] < 0.7 * rates[0]


def test_the_levers_of_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """bfloat16 where the processor multiplies it, unless the recipe says; compiled neurons for a long training only."""
    cpu, short, long = torch.device("cpu"), 1000, 10**9
    for has_bf16, precision in ((True, "bf16"), (False, "fp32")):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda has=has_bf16: {"avx512_bf16": has}, raising=False)
        assert options_for(cpu, Recipe(), short) == ExecutionOptions(precision, True, "auto", False)
    assert options_for(cpu, Recipe(precision="bf16"), short).precision == "bf16"
    monkeypatch.setattr("shutil.which", lambda _name: "/usr/bin/g++")
    assert options_for(cpu, Recipe(), long).neurons == "compiled"
    monkeypatch.setattr("shutil.which", lambda _name: None)
    assert options_for(cpu, Recipe(), long).neurons == "auto"


def test_a_loss_that_is_no_number_is_reported() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 5))
    nn.init.constant_(model[1].weight, math.nan)  # pyrefly: ignore[bad-argument-type]
    with pytest.raises(DivergedError, match="nan in epoch 1"):
        training.fit(model, _split(), Recipe(epochs=2), seed=0)


def test_normalised_images_have_mean_0_and_deviation_1_a_channel() -> None:
    images = torch.randint(256, (50, 3, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    normalised = Normalise(Split(images, torch.zeros(50, dtype=torch.int64)))(images).double()
    torch.testing.assert_close(normalised.mean((0, 2, 3)), torch.zeros(3).double(), atol=1e-5, rtol=0)
    torch.testing.assert_close(normalised.std((0, 2, 3), correction=0), torch.ones(3).double(), atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", ["none", "shift", "shift_flip"])
def test_augmented_images_are_shifted_and_mirrored_originals(kind: str) -> None:
    """Brute force: every result is one of the shifts (border repeated) and mirrorings that its kind allows."""
    random = torch.Generator().manual_seed(0)
    images = torch.randint(256, (40, 2, 16, 16), generator=random, dtype=torch.uint8)
    chosen = torch.randperm(40, generator=random)[:25]
    results = augment(images, chosen, kind, random)
    assert results.shape == (25, 2, 16, 16)
    reach = {"none": 0, "shift": 1, "shift_flip": 2}[kind]
    seen = set()
    for result, i in zip(results, chosen, strict=True):
        found = [
            (dy, dx, mirrored)
            for dy in range(-reach, reach + 1)
            for dx in range(-reach, reach + 1)
            for mirrored in ([False, True] if kind == "shift_flip" else [False])
            if torch.equal(result, _moved(images[i], dy, dx, mirrored))
        ]
        assert len(found) == 1
        seen.add(found[0])
    assert len(seen) > reach * 3


def _moved(image: torch.Tensor, dy: int, dx: int, mirrored: bool) -> torch.Tensor:
    size = image.shape[-1]
    rows = [min(max(y + dy, 0), size - 1) for y in range(size)]
    columns = [min(max(x + dx, 0), size - 1) for x in range(size)]
    moved = image[:, rows][:, :, columns]
    return moved.flip(-1) if mirrored else moved


def test_learning_rate_rises_linearly_then_falls_as_a_cosine() -> None:
    """100 steps, 20 of them warm-up, by hand: 1/20 at step 0, 1 at steps 19 and 20, 1/2 half way down, 0 at the end."""
    rate = training.schedule(Recipe(learning_rate=1.0, warmup=0.2), 100)
    assert rate(0) == pytest.approx(1 / 20)
    assert rate(19) == rate(20) == 1
    assert rate(60) == pytest.approx(0.5)
    assert rate(100) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("stopped", thinned([2, 1, 4], 3))
def test_an_interrupted_training_goes_on_to_the_same_weights(
    stopped: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: torch.device
) -> None:
    """Bit by bit on a CPU, with dropout of whole blocks, which draws from torch's own generator."""
    monkeypatch.setattr(training, "_SAVED_EVERY_S", 0.0)
    recipe = Recipe(epochs=5, batch_size=12, learning_rate=2e-2, augment="shift_flip")
    config = dataclasses.replace(small_config(depth=2), drop_path=0.3)

    def fresh() -> Spikformer:
        torch.manual_seed(0)
        return Spikformer(config).to(device)

    def stop(epoch: int, _found: Epoch) -> None:
        if epoch == stopped:
            raise KeyboardInterrupt

    whole, saved, train = fresh(), tmp_path / "saved.pt", _split(device=device)
    history = training.fit(whole, train, recipe, seed=3)
    with pytest.raises(KeyboardInterrupt):
        training.fit(fresh(), train, recipe, seed=3, on_epoch=stop, saved=saved)
    model = fresh()
    torch.rand(100)  # whatever else happened before it goes on
    heard: list[int] = []
    again = training.fit(
        model, train, recipe, seed=3, on_epoch=lambda number, _epoch: heard.append(number), saved=saved
    )
    assert _equal(again, history, device)
    assert heard == [1, 2, 3, 4, 5]
    for (name, weight), other in zip(model.state_dict().items(), whole.state_dict().values(), strict=True):
        assert device.type != "cpu" or torch.equal(weight, other), name


@pytest.mark.parametrize("content", ["pickle", "torn", "other network"])
def test_what_does_not_tell_how_far_a_training_came_is_not_used_nor_run(
    content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(training, "_SAVED_EVERY_S", 0.0)
    recipe, saved, ran = Recipe(epochs=2, batch_size=12, augment="none"), tmp_path / "saved.pt", tmp_path / "ran"

    class Hostile:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (ran,)  # pyrefly: ignore[bad-return]

    def trained(path: Path | None, dim: int = 16) -> tuple[Spikformer, list[Epoch]]:
        torch.manual_seed(0)
        model = Spikformer(small_config(dim=dim))
        return model, training.fit(model, _split(), recipe, seed=3, saved=path)

    if content == "pickle":
        torch.save({"history": [], "model": Hostile()}, saved)
    elif content == "torn":
        trained(saved)
        saved.write_bytes(saved.read_bytes()[:1000])
    else:
        trained(saved, dim=8)
    (model, history), (undisturbed, expected) = trained(saved), trained(None)
    assert history == expected
    assert all(map(torch.equal, model.state_dict().values(), undisturbed.state_dict().values()))
    assert "begins anew" in caplog.text
    assert not ran.exists()


def test_a_share_of_a_training_is_a_whole_training_of_as_many_steps() -> None:
    """Half of four epochs is two: the same schedule, images and weights to the last bit."""
    weights = []
    for epochs, share in ((4, 0.5), (2, 1.0)):
        torch.manual_seed(0)
        model = Spikformer(small_config())
        recipe = Recipe(epochs=epochs, batch_size=12, learning_rate=1e-2)
        assert len(training.fit(model, _split(), recipe, seed=3, share=share)) == 2
        weights.append(model.state_dict())
    for name, value in weights[0].items():
        torch.testing.assert_close(value, weights[1][name], rtol=0, atol=0)


def test_a_share_may_end_within_an_epoch() -> None:
    """By hand: 62 images in batches of 12 are 5 steps an epoch, 15 in all; 0.45 of them, 6.75, are 7, in 2 epochs."""
    recipe = Recipe(epochs=3, batch_size=12)
    assert training.steps_of(62, recipe) == 15
    assert training.steps_of(62, recipe, 0.45) == 7
    assert training.epochs_of(62, recipe, 0.45) == 2
    assert training.images_seen(62, recipe, 0.45) == 84
    assert training.steps_of(62, recipe, 1e-9) == 1
    seen: list[int] = []
    torch.manual_seed(0)
    training.fit(Spikformer(small_config()), _split(62), recipe, 3, lambda i, _epoch: seen.append(i), share=0.45)
    assert seen == [1, 2]


def test_a_few_steps_calibrate_batch_norm(device: torch.device) -> None:
    """After 5 steps at learning rate 0 the running mean and variance are the plain mean over the 5 batches."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(192, 5))
    split = _split(50)
    split.images[:, 1:] = torch.randint(256, (50, 2, 8, 8), dtype=torch.uint8)
    recipe = Recipe(epochs=1, batch_size=10, learning_rate=1e-12, augment="none")
    training.fit(model.to(device), split.to(device), recipe, seed=0)
    norm = model[0].cpu()
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    pixels = Normalise(split)(split.images)
    random = torch.Generator(device).manual_seed(0)
    order = torch.randperm(50, generator=random, device=device).cpu().split(10)
    variance = torch.stack([pixels[i].transpose(0, 1).flatten(1).var(1) for i in order]).mean(0)
    torch.testing.assert_close(norm.running_mean, pixels.mean((0, 2, 3)), atol=1e-5, rtol=0)
    torch.testing.assert_close(norm.running_var, variance)


def test_only_weights_of_layers_decay() -> None:
    plain, decayed = parameter_groups(Spikformer(small_config(neuron="plif")), 0.1)
    assert decayed["weight_decay"] == 0.1
    assert plain["weight_decay"] == 0
    assert all(p.ndim > 1 for p in decayed["params"])
    assert all(p.ndim <= 1 for p in plain["params"])
