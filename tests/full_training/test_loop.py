"""Full training: the same weights however often it is killed and however many processes share it."""

import contextlib
import copy
import dataclasses
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
import torch.distributed as dist
from torch import Tensor, nn

import spikformer
from nas.bundles import bundle as bundles
from nas.bundles import recipe as recipes
from nas.errors import DataError, OutputError, TrainingError
from nas.full_training import checkpoint, criterion, evaluation, keeping, logger, loop, process_group
from nas.full_training.process_group import ProcessGroup, SynchronisedBatchNorm2d
from nas.full_training.training import Training
from spikformer import checkpoints, published, published_networks
from spikformer.config import HeadConfig, NeuronConfig
from spikformer.errors import CheckpointError
from spikformer.fields import names
from tests import pictures
from tests.conftest import Run
from tests.helpers import interruptible

ROOT = Path(__file__).parents[2]
_BOTH = ("whole", "out")
_ALONE = ProcessGroup(0, 1, torch.device("cpu"))


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return pictures.folders(tmp_path / "images")


@contextlib.contextmanager
def _saving_always() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keeping, "LEAST_LOST_S", 0.0)
        patch.setattr(keeping, "MOST_LOST_S", 0.0)
        yield


def _in_a_fork(work: Callable[[], object]) -> int:
    """How the process that did it ended: its exit code, or the negative signal."""
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            work()
            os._exit(0)
        os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _killed_after(steps: int, work: Callable[[], object]) -> Callable[[], object]:
    def run() -> None:
        step = Training.step

        def last(training: Training, *arguments: object) -> None:
            if training.done == steps:
                os.kill(os.getpid(), signal.SIGKILL)
            step(training, *arguments)  # pyrefly: ignore[bad-argument-type]

        Training.step = last  # pyrefly: ignore[bad-assignment, method-assign]  # in a process that dies
        work()

    return run


@pytest.mark.parametrize(
    "precision", ["fp32", *(pytest.param(p, marks=pytest.mark.exhaustive) for p in ("bf16", "fp16"))]
)
def test_killed_at_random_steps_it_ends_with_the_same_weights_and_log(
    images: Path, tmp_path: Path, precision: str
) -> None:
    """Held against an uninterrupted training, to the last bit; `kill -9`, thrice, the checkpoint sometimes older."""
    folder = pictures.bundle(tmp_path, own=pictures.recipe(precision=precision, accumulation=2))
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert loop.train(folder, images, whole) is not None
    generator = random.Random(precision)
    with _saving_always():
        assert _in_a_fork(_killed_after(3, lambda: loop.train(folder, images, killed))) == -signal.SIGKILL
    assert checkpoint.load(killed / checkpoint.FILE).steps == 3
    for steps in sorted(generator.sample(range(4, 12), 2)):  # of 3 epochs of 4 steps
        with _saving_always() if generator.random() < 0.7 else contextlib.nullcontext():
            assert _in_a_fork(_killed_after(steps, lambda: loop.train(folder, images, killed))) == -signal.SIGKILL
    assert loop.train(folder, images, killed) is not None
    assert (whole / "model.safetensors").read_bytes() == (killed / "model.safetensors").read_bytes()
    assert _losses(whole) == _losses(killed)


def _losses(folder: Path) -> list[float]:
    return [line["loss"] for line in logger.read(folder / logger.FILE) if "loss" in line]


def test_a_finished_training_is_not_trained_again(images: Path, tmp_path: Path) -> None:
    folder = pictures.bundle(tmp_path)
    first = loop.train(folder, images, tmp_path / "out")
    before = (tmp_path / "out" / "model.safetensors").read_bytes()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Training, "step", lambda *_: pytest.fail("it trains again"))
        assert loop.train(folder, images, tmp_path / "out") == first
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == before


def test_asked_to_stop_it_saves_the_step_that_it_is_at_and_goes_on_there(
    images: Path, tmp_path: Path, device: torch.device
) -> None:
    """With the learning rates and, but for kernels that sum in changing order, the losses of a whole training."""
    folder = pictures.bundle(tmp_path, own=pictures.recipe(log_every_steps=1))
    loop.train(folder, images, tmp_path / "whole", device=str(device))
    step = Training.step

    def interrupted(training: Training, *arguments: object) -> None:
        step(training, *arguments)  # pyrefly: ignore[bad-argument-type]
        if training.done == 5:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Training, "step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            loop.train(folder, images, tmp_path / "out", device=str(device))
    assert checkpoint.load(tmp_path / "out" / checkpoint.FILE).steps == 5
    loop.train(folder, images, tmp_path / "out", device=str(device))
    lines = [[line for line in logger.read(tmp_path / name / logger.FILE) if "loss" in line] for name in _BOTH]
    assert len(lines[0]) == 12
    rates, losses = ([[line[key] for line in found] for found in lines] for key in ("learning_rate", "loss"))
    assert rates[0] == rates[1]
    assert losses[0] == (losses[1] if device.type == "cpu" else pytest.approx(losses[1], rel=2e-2))


@pytest.mark.slow
def test_ctrl_c_reaches_the_readers_too_and_loses_nothing(images: Path, tmp_path: Path) -> None:
    """As a terminal sends it, to the whole group of processes, after the first line of the log."""
    folder, out = pictures.bundle(tmp_path, own=pictures.recipe(epochs=2000, workers=2)), tmp_path / "out"
    command = [sys.executable, str(ROOT / "cli.py"), "train", str(folder), "--data-dir", str(images), "--out", str(out)]
    running = subprocess.Popen(
        command, start_new_session=True, stderr=subprocess.PIPE, text=True, preexec_fn=interruptible
    )
    while not _losses(out):
        assert running.poll() is None
        time.sleep(0.1)
    os.killpg(running.pid, signal.SIGINT)
    said = running.communicate(timeout=60)[1]
    assert running.returncode == 130, said
    assert "Interrupted. Nothing is lost" in said
    assert "Traceback" not in said
    assert checkpoint.load(out / checkpoint.FILE).steps >= 2


def test_other_settings_do_not_go_on_with_a_training(images: Path, tmp_path: Path) -> None:
    """But how it runs may change."""
    folder, out = pictures.bundle(tmp_path), tmp_path / "out"
    with _saving_always():
        assert _in_a_fork(_killed_after(3, lambda: loop.train(folder, images, out))) == -signal.SIGKILL
    with pytest.raises(TrainingError, match=r"learning_rate 0\.002 then, 0\.003 now.*another --out"):
        loop.train(folder, images, out, settings=("learning_rate=3e-3",))
    with pytest.raises(TrainingError, match="the training images differ"):
        loop.train(folder, pictures.folders(tmp_path / "others", train=9), out)
    assert loop.train(folder, images, out, settings=("log_every_steps=1", "workers=1")) is not None


@pytest.mark.exhaustive
def test_two_processes_train_as_one_with_the_same_batch(images: Path, tmp_path: Path) -> None:
    """Losses to 1e-4 and kernels to 1e-3 of their size, after 12 steps: sums are taken in another order."""
    one, two = _losses_of_one_and_two(images, tmp_path)
    assert len(one) == len(two) == 12
    assert two == pytest.approx(one, rel=1e-4)
    weights = [safetensors.torch.load_file(tmp_path / name / "model.safetensors") for name in ("one", "two")]
    for name, expected in weights[0].items():
        if expected.ndim < 2:
            continue  # biases in front of a batch norm have no gradient but rounding, which AdamW makes large
        torch.testing.assert_close(weights[1][name], expected, rtol=1e-3, atol=1e-3 * expected.abs().max().item())


@pytest.mark.exhaustive
def test_with_batch_norm_of_each_process_on_its_own_they_would_not(images: Path, tmp_path: Path) -> None:
    """Losses differ a hundred times as much."""
    one, two = _losses_of_one_and_two(images, tmp_path, "--set", "sync_norm=false")
    assert max(abs(a / b - 1) for a, b in zip(two, one, strict=True)) > 1e-2


def _losses_of_one_and_two(images: Path, place: Path, *settings_of_two: str) -> tuple[list[float], list[float]]:
    """Of one process, and of two that share each batch."""
    own = pictures.recipe(**pictures.PLAIN, log_every_steps=1)
    folder = pictures.bundle(place, pictures.network(neuron=NeuronConfig("multispike")), own)
    assert loop.train(folder, images, place / "one") is not None
    _torchrun(2, "train", str(folder), "--data-dir", str(images), "--out", str(place / "two"), *settings_of_two)
    return _losses(place / "one"), _losses(place / "two")


def _torchrun(processes: int, *arguments: str) -> None:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*launcher, str(ROOT / "cli.py"), *arguments], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr


def test_batch_norm_of_a_team_is_torchs_over_the_whole_batch(tmp_path: Path) -> None:
    """Outputs, gradients and running statistics against nn.BatchNorm2d on all images, in float64; of two processes."""
    torch.manual_seed(0)
    whole = nn.BatchNorm2d(5).double()
    nn.init.normal_(whole.weight)
    images = torch.randn(6, 5, 3, 4, dtype=torch.float64, requires_grad=True)
    loss_of = torch.randn(6, 5, 3, 4, dtype=torch.float64)
    (whole(images) * loss_of).sum().backward()

    def half(rank: int) -> None:
        dist.init_process_group("gloo", init_method=f"file://{tmp_path}/meeting", rank=rank, world_size=2)
        ours = SynchronisedBatchNorm2d(5).double()
        ours.weight.data.copy_(whole.weight)
        own = images.detach()[3 * rank : 3 * rank + 3].requires_grad_()
        y = ours(own)
        (y * loss_of[3 * rank : 3 * rank + 3]).sum().backward()
        found = {"y": y.detach(), "dx": own.grad, "dw": ours.weight.grad, "db": ours.bias.grad}
        torch.save(found | ours.state_dict(), tmp_path / f"{rank}.pt")
        dist.destroy_process_group()

    other = os.fork()
    if other == 0:
        with contextlib.suppress(BaseException):
            half(1)
        os._exit(0)
    half(0)
    os.waitpid(other, 0)
    parts = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    expected = nn.functional.batch_norm(images, None, None, whole.weight, whole.bias, training=True)
    torch.testing.assert_close(torch.cat([part["y"] for part in parts]), expected)
    torch.testing.assert_close(torch.cat([part["dx"] for part in parts]), images.grad)
    torch.testing.assert_close(parts[0]["dw"] + parts[1]["dw"], whole.weight.grad)
    torch.testing.assert_close(parts[0]["db"] + parts[1]["db"], whole.bias.grad)
    for name in ("running_mean", "running_var", "num_batches_tracked"):
        torch.testing.assert_close(parts[1][name], getattr(whole, name))


def test_the_network_learns_and_its_folder_tells_how(images: Path, tmp_path: Path, device: torch.device) -> None:
    """Four colours, told apart after 20 epochs by most test images, where chance finds a quarter."""
    plain = pictures.PLAIN | {"crop_scale": [0.5, 1.0], "seed": 1}  # 32 images: with other seeds, half to all are right
    own = pictures.recipe(**plain, epochs=20, learning_rate=1e-2, evaluate_every_epochs=5)
    folder, out = pictures.bundle(tmp_path, own=own), tmp_path / "out"
    trained = loop.train(folder, images, out, device=str(device))
    assert trained is not None
    assert trained.scores.top1 > 0.6
    document = json.loads((out / "config.json").read_text())
    assert document["classes"] == [f"class{label:04}" for label in range(4)]
    assert document["training"]["test_top1"] == trained.scores.top1
    assert document["training"]["test_images"] == 12
    assert recipes.read(str(out / "recipe.toml")) == own
    assert "Nothing was chosen by test images" in (out / "card.md").read_text()
    (found,) = evaluation.evaluate([out], images, device=str(device))
    assert found.scores == trained.scores
    assert found.energy_mj is not None
    assert found.energy_mj > 0
    (saved,) = evaluation.evaluate([out / checkpoint.FILE], images, device=str(device))
    assert saved.scores == trained.scores
    model = spikformer.load(out)
    assert model.config == own.of(pictures.network())
    lines = logger.read(out / logger.FILE)
    assert [line["epoch"] for line in lines if "test_top1" in line] == [4, 9, 14]
    assert any((out / "tensorboard").iterdir())


def test_checkpointing_and_accumulation_change_nothing_but_rounding(images: Path, tmp_path: Path) -> None:
    """One step from the same weights; with accumulation, the batch norm of each part has its own statistics."""
    folder = pictures.bundle(tmp_path, own=pictures.recipe(epochs=1, batch_size=32))
    for name, settings in (("plain", ()), ("checkpointed", ("checkpointing=true",))):
        loop.train(folder, images, tmp_path / name, settings=settings)
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("plain", "checkpointed")]
    assert weights[0] == weights[1]


@pytest.mark.exhaustive
def test_a_network_is_compiled_once_whatever_batch_norms_first_steps(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its pieces by a compiler that only counts them: none in the first eleven steps, in which the momentum moves,
    all in the twelfth, none later, and none left to run as it is written."""
    pieces: list[int] = []
    steps: list[int] = []

    def counts(_graph: torch.fx.GraphModule, _inputs: list[Tensor]) -> Callable[..., object]:
        pieces.append(len(steps))
        return _graph.forward

    compiled, step = torch.compile, Training.step
    monkeypatch.setattr(torch, "compile", lambda model: compiled(model, backend=counts))

    def counted(training: Training, *arguments: object) -> None:
        steps.append(training.done)
        step(training, *arguments)  # pyrefly: ignore[bad-argument-type]

    monkeypatch.setattr(Training, "step", counted)
    torch._dynamo.reset()
    own = pictures.recipe(**pictures.PLAIN, epochs=4, compile=True)
    loop.train(pictures.bundle(tmp_path, own=own), images, tmp_path / "out")
    assert len(steps) > 14
    assert pieces
    assert set(pieces) == {12}
    torch._dynamo.reset()


@pytest.mark.exhaustive
def test_a_compiled_network_trains(images: Path, tmp_path: Path) -> None:
    own = pictures.recipe(**pictures.PLAIN, epochs=2)
    folder = pictures.bundle(tmp_path, own=own)
    for name, settings in (("plain", ()), ("compiled", ("compile=true",))):
        loop.train(folder, images, tmp_path / name, settings=settings)
    assert _losses(tmp_path / "compiled") == pytest.approx(_losses(tmp_path / "plain"), rel=0.05)


def test_a_number_that_is_none_stops_it_and_names_the_last_good_checkpoint(images: Path, tmp_path: Path) -> None:
    folder, out = pictures.bundle(tmp_path, own=pictures.recipe(log_every_steps=4)), tmp_path / "out"
    step = Training.step

    def poisoned(training: Training, *arguments: object) -> None:
        step(training, *arguments)  # pyrefly: ignore[bad-argument-type]
        if training.done == 6:
            training.model.head.linear.weight.data.fill_(float("nan"))

    with pytest.MonkeyPatch.context() as patch, _saving_always():
        patch.setattr(Training, "step", poisoned)
        with pytest.raises(TrainingError, match=rf"last good checkpoint is {out / checkpoint.FILE}, of step 5\. Use a"):
            loop.train(folder, images, out)
    assert checkpoint.load(out / checkpoint.FILE).steps == 5


def test_a_full_disk_costs_a_checkpoint_and_not_the_training(images: Path, tmp_path: Path) -> None:
    """No file may grow beyond 50 kB from step 6 on, less than a checkpoint: the one of step 5 stays whole."""
    folder, out = pictures.bundle(tmp_path), tmp_path / "out"

    def on_a_small_disk() -> None:
        step = Training.step

        def filling(training: Training, *arguments: object) -> None:
            if training.done == 5:
                resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
            if training.done == 9:
                os.kill(os.getpid(), signal.SIGKILL)
            step(training, *arguments)  # pyrefly: ignore[bad-argument-type]

        Training.step = filling  # pyrefly: ignore[bad-assignment, method-assign]  # in a process that dies
        loop.train(folder, images, out)

    with _saving_always():
        assert _in_a_fork(on_a_small_disk) == -signal.SIGKILL
    assert checkpoint.load(out / checkpoint.FILE).steps == 5
    assert not [path for path in out.iterdir() if "partial" in path.name and path.stat().st_size > 50_000]
    assert loop.train(folder, images, out) is not None


@pytest.mark.parametrize("damage", ["empty", "cut", "pickle", "other"])
def test_a_damaged_checkpoint_is_refused_and_runs_nothing(images: Path, tmp_path: Path, damage: str) -> None:
    folder, out = pictures.bundle(tmp_path), tmp_path / "out"
    with _saving_always():
        _in_a_fork(_killed_after(2, lambda: loop.train(folder, images, out)))
    path = out / checkpoint.FILE
    if damage == "pickle":
        torch.save({"format": 1, "model": _Evil(tmp_path / "ran")}, path)
    elif damage == "other":
        torch.save({"weights": torch.zeros(2)}, path)
    else:
        path.write_bytes(path.read_bytes()[: 0 if damage == "empty" else 3000])
    with pytest.raises(TrainingError, match=r"checkpoint\.pt (is not a checkpoint|holds more than)"):
        loop.train(folder, images, out)
    assert not (tmp_path / "ran").exists()


class _Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def test_two_trainings_do_not_share_a_folder_and_none_takes_anothers(images: Path, tmp_path: Path) -> None:
    folder, out = pictures.bundle(tmp_path), tmp_path / "out"
    out.mkdir()
    (out / "thesis.tex").write_text("years of work")
    with pytest.raises(OutputError, match="holds files that training did not write"):
        loop.train(folder, images, out)
    assert [path.name for path in out.iterdir()] == ["thesis.tex"]


def test_tampered_weights_and_unknown_keys_are_refused(images: Path, tmp_path: Path) -> None:
    folder, out = pictures.bundle(tmp_path, own=pictures.recipe(epochs=1)), tmp_path / "out"
    loop.train(folder, images, out)
    weights = out / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(bytes(content))
    with pytest.raises(CheckpointError, match="has changed since it was written: its SHA-256"):
        spikformer.load(out)
    config = out / "config.json"
    config.write_text(config.read_text().replace('"training"', '"trainng"'))
    with pytest.raises(CheckpointError, match=r'unknown key "trainng"\. Did you mean "training"'):
        spikformer.load(out)


def test_a_trained_bundle_is_the_start_of_another_training(images: Path, tmp_path: Path) -> None:
    """As of T = 1 and then T = 4: the first step of the second starts from the first's weights."""
    folder = pictures.bundle(tmp_path, own=pictures.recipe(epochs=1, time_steps=1))
    loop.train(folder, images, tmp_path / "first")
    first = spikformer.load(tmp_path / "first")
    assert first.config.time_steps == 1
    opened = bundles.read(tmp_path / "first")
    second = recipes.with_settings(opened.recipe, ("time_steps=4",))
    training = loop.prepared(opened, second, images, _ALONE)
    assert training.config.time_steps == 4
    assert all(torch.equal(a, b) for a, b in zip(training.model.parameters(), first.parameters(), strict=True))


def test_the_second_classifier_learns_from_the_teacher() -> None:
    """Cross-entropy by hand, equal shares: -log softmax of the class, of the label and of the teacher's choice."""
    own = pictures.recipe(label_smoothing=0, distillation=0.5, mixup=0, cutmix=0)
    aim = criterion.Criterion(own, 3, lambda images: torch.tensor([[0.0, 5.0, 0.0]]).expand(len(images), 3), 2)
    images = torch.zeros(2, 3, 4, 4)
    shown, targets = aim.prepared(images, torch.tensor([0, 2]), 0)
    first, second = torch.tensor([[1.0, 0.0, 2.0], [0.5, 0.0, 0.0]]), torch.tensor([[0.0, 3.0, 1.0], [2.0, 0.0, 0.0]])
    one = -(first[0].log_softmax(0)[0] + first[1].log_softmax(0)[2]) / 2
    two = -(second[0].log_softmax(0)[1] + second[1].log_softmax(0)[1]) / 2
    assert aim(torch.stack([first, second]), shown, targets).item() == pytest.approx((one + two).item() / 2)
    assert aim(first, shown, targets).item() == pytest.approx(
        (one - (first[0].log_softmax(0)[1] + first[1].log_softmax(0)[1]) / 2).item() / 2
    )


def test_a_timm_teacher_is_shown_its_own_normalisation(images: Path, tmp_path: Path) -> None:
    """A teacher without weights of timm's, from a file; fed pixels, it must say what it says alone."""
    import timm

    torch.manual_seed(0)
    alone = timm.create_model("test_resnet", num_classes=4).eval()
    safetensors.torch.save_file(alone.state_dict(), tmp_path / "teacher.safetensors")
    own = pictures.recipe(teacher="test_resnet", teacher_weights=str(tmp_path / "teacher.safetensors"), epochs=1)
    config = pictures.network(head=HeadConfig(4, neuron=True, time_mean="after", distillation=True))
    teacher = criterion.teacher_of(own, config, torch.device("cpu"))
    assert teacher is not None
    theirs_of = alone.pretrained_cfg
    assert isinstance(theirs_of, dict)
    pixels = torch.rand(2, 3, 64, 64)
    ours, theirs = (
        (pixels - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
        for mean, std in ((own.mean, own.std), (theirs_of["mean"], theirs_of["std"]))
    )
    with torch.no_grad():
        torch.testing.assert_close(teacher(ours), alone(theirs), rtol=1e-4, atol=1e-5)
    assert loop.train(pictures.bundle(tmp_path, config, own), images, tmp_path / "out") is not None
    with pytest.raises(TrainingError, match="teacher_weights"):
        criterion.teacher_of(recipes.with_settings(own, ("teacher_weights=nowhere",)), config, torch.device("cpu"))


def test_norms_and_biases_have_no_weight_decay() -> None:
    from nas.full_training.build import optimizer_of

    model = spikformer.Spikformer(pictures.network())
    for name in ("adamw", "lamb"):
        optimizer = optimizer_of(model, pictures.recipe(optimizer=name))
        for group in optimizer.param_groups:
            assert {parameter.ndim > 1 for parameter in group["params"]} == {group["weight_decay"] > 0}


def test_the_learning_rate_rises_falls_and_stays() -> None:
    """By hand, of 4 epochs of 10 steps: warm-up over 10, then 0.5 (1 + cos(pi t / 40)) between peak and least."""
    from nas.full_training.build import schedule_of

    own = pictures.recipe(epochs=4, cooldown_epochs=1, learning_rate=1.0, min_learning_rate=0.1)
    rate = schedule_of(recipes.with_settings(own, ("warmup_learning_rate=0.5",)), 10)
    for step, expected in ((0, 0.5), (5, 0.75), (20, 0.55), (40, 0.1), (49, 0.1)):
        assert rate(step) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("network", "pixels"),
    [
        pytest.param("spikingresformer_ti", 64, marks=pytest.mark.exhaustive),
        *(pytest.param(n, 32, marks=pytest.mark.exhaustive) for n in ("spikformer_in_8_384", "qkformer_in_10_384")),
        pytest.param("sdt3_base_t", 32, marks=pytest.mark.exhaustive),
    ],
)
@pytest.mark.slow
def test_published_networks_are_exported_and_tried(network: str, pixels: int, tmp_path: Path) -> None:
    _dry_run(network, pixels, tmp_path)


@pytest.mark.exhaustive
@pytest.mark.parametrize("network", [name for name in published_networks.POINTS if "cifar" not in name])
def test_every_published_imagenet_network_is_exported_and_tried(network: str, tmp_path: Path) -> None:
    _dry_run(network, 64, tmp_path)


def _dry_run(network: str, pixels: int, place: Path) -> None:
    """Parameters as `spikformer.load` builds them; two steps at a small image size."""
    from nas.exports import exporting as export
    from nas.full_training import dry_run

    folder = export.export_published(network, place)
    model = spikformer.load(folder)
    assert model.config == published.config(network)
    found = dry_run.run(folder, settings=(f"image_size={pixels}", "checkpointing=true"))
    assert found is not None
    assert found.parameters == sum(p.numel() for p in model.parameters())
    assert found.images_a_s > 0
    assert found.gpu_gb is not None
    assert found.gpu_checkpointed_gb is not None
    assert found.gpu_gb > found.gpu_checkpointed_gb > found.parameters * 16 / 1e9
    assert sorted(path.name for path in folder.iterdir()) == ["card.md", "config.json", "recipe.toml"]


@pytest.mark.parametrize(("name", "chosen"), [("cuda:1", [torch.device("cuda", 1)]), ("cpu", [])])
def test_a_process_alone_makes_its_gpu_its_own(
    name: str, chosen: list[torch.device], monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", found.append)
    with process_group.initialised(name):
        assert found == chosen


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory. Tried"), MemoryError()])
def test_memory_that_is_too_small_is_one_clear_error(
    error: Exception, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise error

    monkeypatch.setattr(Training, "step", full)
    with pytest.raises(TrainingError, match=r"cpu ran out of memory.*--set accumulation=4"):
        loop.train(pictures.bundle(tmp_path), images, tmp_path / "out")


def test_without_torchrun_there_is_one_process() -> None:
    with process_group.initialised("cpu") as alone:
        assert (alone.rank, alone.size, alone.is_main) == (0, 1, True)
    with pytest.raises(TrainingError, match='device "gpu" is unknown'), process_group.initialised("gpu"):
        pass


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("learning_rat=1",), 'unknown setting "learning_rat". Did you mean "learning_rate"'),
        (("epochs",), "write key=value"),
        (("epochs=many",), "epochs must be a whole number"),
        (("epochs=0",), "epochs 0 must be at least 1"),
        (("batch_size=1000",), "more than the 32 training images"),
        (("batch_size=9", "accumulation=2"), "Use a multiple of 2"),
        (("batch_size=7",), "Use an even batch_size"),
        (("image_size=18",), "image_size 18 is not a multiple of 4"),
        (("rand_augment=rand-x9",), r"unknown to timm|not a policy of timm"),
        (("rand_augment_ops=['Equalise']",), "Use timm's names"),
        (("teacher=no_such_model",), "cannot be loaded from timm"),
        (("teacher=local-dir:gift",), "is an address or a path, which a recipe must not name"),
        (("mean=[0.5]", "std=[0.5, 0.5]"), "must have equal length"),
        (("mean=[0.5, 0.5]", "std=[0.5, 0.5]"), "3 channels"),
    ],
)
def test_bad_settings_are_one_clear_error(
    images: Path, tmp_path: Path, settings: tuple[str, ...], message: str
) -> None:
    folder, out = pictures.bundle(tmp_path), tmp_path / "out"
    with pytest.raises(spikformer.SpikformerError, match=message):
        loop.train(folder, images, out, settings=settings)
    assert not out.exists()


def test_images_of_other_classes_are_refused(images: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"have 4 classes .*but the network .* has 5\..*--classes 4"):
        loop.train(pictures.bundle(tmp_path, pictures.network(5)), images, tmp_path / "out")
    folder = pictures.bundle(tmp_path / "b", own=pictures.recipe(epochs=1))
    loop.train(folder, images, tmp_path / "trained")
    (images / "train" / "class0000").rename(images / "train" / "renamed")
    (images / "val" / "class0000").rename(images / "val" / "renamed")
    with pytest.raises(
        DataError, match=r"was trained on other classes: missing \['class0000'\], unknown \['renamed'\]"
    ):
        evaluation.evaluate([tmp_path / "trained"], images)


def test_evaluating_refuses_what_it_does_not_read(images: Path, tmp_path: Path) -> None:
    """Every setting of a recipe either is read, here by changing a result or its way, or is refused by its name."""
    loop.train(pictures.bundle(tmp_path, own=pictures.recipe(epochs=1)), images, tmp_path / "trained")
    values = {"time_steps": "4", "image_size": "32", "drop_path": "0.5", "ema_decay": "0.5", "epochs": "7"}
    for name in names(recipes.TrainingRecipe):
        if name not in recipes.EVALUATION:
            with pytest.raises(TrainingError, match=rf"--set {name}=.*: evaluate reads only mean, std, interpolation"):
                evaluation.evaluate([tmp_path / "trained"], images, settings=(f"{name}={values.get(name, '1')}",))
    (before,) = evaluation.evaluate([tmp_path / "trained"], images)
    for setting in ("mean=[0.1, 0.2, 0.3]", "std=[0.9, 0.9, 0.9]", "crop_pct=0.3"):
        (after,) = evaluation.evaluate([tmp_path / "trained"], images, settings=(setting,))
        assert after != before, setting
    near, smooth = (
        evaluation.evaluate([tmp_path / "trained"], images, settings=("crop_pct=0.3", f"interpolation={name}"))
        for name in ("bicubic", "bilinear")
    )
    assert near != smooth


def test_one_training_is_evaluated_at_other_time_steps_and_sizes(images: Path, tmp_path: Path, run_here: Run) -> None:
    """Each as the network that is built so and given the weights."""
    trained = tmp_path / "trained"
    loop.train(pictures.bundle(tmp_path, own=pictures.recipe(epochs=1)), images, trained)
    options = ("--data-dir", str(images), "--time-steps", "1,2", "--image-sizes", "16,24")
    done = run_here("evaluate", str(trained), *options, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [(one["time_steps"], one["image_size"]) for one in found] == [(1, 16), (1, 24), (2, 16), (2, 24)]
    (own,) = evaluation.evaluate([trained], images)
    assert found[2] == own.to_dict()
    assert found[3]["energy_mj"] > found[2]["energy_mj"] > found[0]["energy_mj"]
    assert (tmp_path / "results" / "evaluated" / "trained.csv").read_text().count("\n") == 5
    stem = dataclasses.replace(own.config.stem, image_size=24)
    config = dataclasses.replace(own.config, time_steps=1, stem=stem)
    document = bundles.read(trained).document
    weights: dict[checkpoints.Part, bytes | Path] = {"network": trained / "model.safetensors"}
    other = bundles.read(trained).recipe
    bundles.write(tmp_path / "built", document | {"network": config.to_dict()}, other, "a card", weights)
    (built,) = evaluation.evaluate([tmp_path / "built"], images)
    assert found[1] == built.to_dict() | {"name": "trained"}
    (saved, _) = evaluation.evaluate([trained / checkpoint.FILE], images, time_steps=[1, 2], image_sizes=[24])
    assert saved.to_dict() | {"name": "trained"} == found[1]


@pytest.mark.parametrize(
    ("parts", "options", "message"),
    [
        ({"stem": dataclasses.replace(pictures.network().stem, position="learned")}, {"image_sizes": [24]}, "learned"),
        ({"neuron": NeuronConfig("psn")}, {"time_steps": [1]}, r"at T = 2 and 16 pixels, .*fit T = 1 and 16 pixels"),
        ({}, {"image_sizes": [18]}, "image_size 18 is not a multiple of 4"),
    ],
)
def test_weights_that_hold_for_one_form_only_are_told(
    parts: dict[str, Any], options: dict[str, Any], message: str, images: Path, tmp_path: Path
) -> None:
    folder = pictures.bundle(tmp_path, pictures.network(**parts), pictures.recipe(epochs=1))
    model = spikformer.load(folder)
    (folder / "model.safetensors").write_bytes(checkpoints.weights_of(model))
    with pytest.raises(spikformer.SpikformerError, match=message):
        evaluation.evaluate([folder], images, **options)


def test_mean_and_deviation_over_seeds() -> None:
    """By hand: of 60, 62 and 64, the mean is 62 and the deviation of a sample 2."""
    assert evaluation.mean_and_deviation([60.0, 62.0, 64.0]) == (62.0, 2.0)
    assert evaluation.mean_and_deviation([60.0]) == (60.0, None)


def test_an_untrained_bundle_is_not_evaluated(images: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="has no weights to evaluate"):
        evaluation.evaluate([pictures.bundle(tmp_path)], images)


def test_scores_are_counted_rightly() -> None:
    """Of three images: class first; class fifth; class sixth of six."""
    logits = torch.tensor([[9.0, 8, 7, 6, 5, 4], [9.0, 8, 7, 6, 5, 4], [9.0, 8, 7, 6, 5, 4]])
    counts: Tensor = evaluation._right(logits, torch.tensor([0, 4, 5]))
    assert counts.tolist() == [1, 2, 3]


def test_balanced_scores_are_the_mean_over_classes() -> None:
    """Two of three of class 0, one of one of class 1, none of class 2: 3 of 4, and (2/3 + 1) / 2 = 5/6."""
    logits = torch.tensor([[9.0, 0, 0], [9.0, 0, 0], [0.0, 9, 0], [0.0, 9, 0]])
    counts = evaluation._counted(logits, torch.tensor([0, 0, 0, 1]))
    assert dataclasses.astuple(evaluation._scores(counts)) == pytest.approx((0.75, 1.0, 4, 5 / 6))


def test_the_average_becomes_the_network(images: Path, tmp_path: Path) -> None:
    """With a decay of 0.9 warmed up, not the last weights."""
    folder = pictures.bundle(tmp_path, own=pictures.recipe(epochs=1))
    loop.train(folder, images, tmp_path / "out")
    saved = checkpoint.load(tmp_path / "out" / checkpoint.FILE)
    weights = spikformer.load(tmp_path / "out").state_dict()
    assert saved.ema is not None
    assert all(torch.equal(weights[name], saved.ema[name]) for name in weights)
    assert any(not torch.equal(weights[name], saved.model[name]) for name in weights)
    assert copy.deepcopy(saved.recipe) == saved.recipe
