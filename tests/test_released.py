"""Weights that authors released, from the file to a network that is trained on other images, by commands."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch

import spikformer
from spikformer import Spikformer, checkpoints, published
from tests import pictures, released
from tests.conftest import Run
from tests.helpers import calibrated

NAME = "spikformer_cifar10_2_256"
SMALL = "spikformer_small"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smallest published network at an eighth of its width, as config and checkpoint; and ten classes of images."""
    folder = tmp_path_factory.mktemp("theirs")
    published_config = published.config(NAME)
    (stage,) = published_config.stages
    narrow = dataclasses.replace(stage, embed_dim=32, mixer=dataclasses.replace(stage.mixer, num_heads=2))
    config = dataclasses.replace(published_config, stages=(narrow,), time_steps=1)
    (folder / f"{SMALL}.json").write_text(json.dumps(config.to_dict()))
    model, _ = calibrated(config)  # it fires in every layer
    released.write(model, "tiny_spikformer_cifar", folder / "released.pth")
    pictures.folders(folder / "images", classes=10, train=1, test=1, size=(32, 32))
    return folder


@pytest.fixture
def theirs(place: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """The options that name network and weights, in a folder where they lie."""
    monkeypatch.chdir(place)
    return "--network", f"{SMALL}.json", "--weights", "released.pth"


def test_they_are_evaluated_and_priced(theirs: tuple[str, ...], run_here: Run) -> None:
    """The layers that `inspect` prices add up to what `evaluate` says of all."""
    done = run_here("evaluate", *theirs, "--data-dir", "images", "--set", "workers=0", "--device", "cpu", "--json")
    assert done.returncode == 0, done.stderr
    (whole,) = json.loads(done.stdout)
    assert (whole["name"], whole["images"]) == (SMALL, 10)
    layers = json.loads(run_here("inspect", *theirs, "--data-dir", "images", "--json").stdout)["layers"]
    assert sum(layer["energy_mj"] for layer in layers) == pytest.approx(whole["energy_mj"], rel=1e-9)


def test_a_published_network_is_named(tmp_path: Path, run_here: Run) -> None:
    path = released.write(Spikformer(published.config(NAME)), "tiny_spikformer_cifar", tmp_path / "released.pth")
    done = run_here("inspect", "--network", NAME, "--weights", path.name, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"released.pth holds all weights of {NAME}" in done.stdout


def test_they_are_exported_and_trained_on_other_classes(theirs: tuple[str, ...], tmp_path: Path, run_here: Run) -> None:
    """The exported network is the released one; the error of other classes names the option that helps."""
    bundle = tmp_path / SMALL
    done = run_here("export", *theirs, "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    config = spikformer.load(bundle).config
    models = spikformer.load(bundle), checkpoints.load_official("released.pth", config)
    assert torch.equal(*(model(torch.ones(1, 3, 32, 32)) for model in models))
    pictures.folders(tmp_path / "three", classes=3, train=4, test=1, size=(32, 32))
    short = ("--epochs", "1", "--set", "batch_size=12", "--set", "workers=0", "--device", "cpu")
    train = ("train", SMALL, "--data-dir", "three", *short)
    assert "train --classes 3" in run_here(*train, cwd=tmp_path).stderr
    done = run_here(*train, "--classes", "3", "--in-channels", "1", "--set", "image_size=16")
    assert done.returncode == 0, done.stderr
    trained = Path("results/trained") / f"{SMALL}-3-classes-1-channels"
    assert done.stdout.splitlines()[-1].endswith(f"evaluate {trained} --data-dir three")
    config = spikformer.load(trained).config
    assert (config.head.num_classes, config.stem.in_channels, config.stem.image_size) == (3, 1, 16)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("evaluate", "released.pth"),
            "of weights that authors released give both: --network NAME --weights released.pth",
        ),
        (("evaluate", "--weights", "released.pth"), "--network NAME and --weights FILE go together"),
        (("train", NAME, "--network", NAME, "--weights", "released.pth"), "name two networks. Give only one of them"),
        (("evaluate", "--network", "spikformer_cifar10_4_256", "--weights", "released.pth"), "is not the network"),
        (("export", "--weights", "released.pth"), "--weights needs the published network"),
        (("inspect", "--network", NAME, "--weights", "x", "--rates", "0.1"), "does not read --rates"),
        (("inspect", "--network", NAME, "--weights", "none.pth"), "none.pth is not a file"),
    ],
)
def test_what_does_not_go_together_is_one_clear_error(
    arguments: tuple[str, ...], message: str, place: Path, run_here: Run
) -> None:
    """A file of others is left alone: no remedy is to remove it."""
    done = run_here(*arguments, cwd=place)
    assert done.returncode != 0
    assert message in done.stderr
    assert "emove" not in done.stderr
    assert "Traceback" not in done.stderr
