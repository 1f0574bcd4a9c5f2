"""The whole road from Python, without the command line: space, search, more seeds, report, bundle, training."""

import importlib
import json
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import nas
from nas.exports import Size
from nas.progress import Observer
from nas.reports.layer_costs import Costs
from nas.reports.structure import Inspection
from tests import pictures
from tests.conftest import MICRO

ROOT = Path(__file__).parent.parent


@pytest.mark.exhaustive  # the tutorial goes the same way, and is run in CI
def test_from_a_space_to_a_trained_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each step takes what the one before returned; figures agree with the files that are left behind."""
    monkeypatch.chdir(tmp_path)
    Path("micro.toml").write_text(MICRO)
    study = nas.search("micro.toml", trials=3, observer=Observer())
    assert len(study.candidates) == 3
    again = nas.load_study("micro")
    assert again.candidates == study.candidates

    nas.confirm(study, seeds=1, observer=Observer())
    report = nas.report(study)
    assert {path.name for path in report.files} >= {"report.html", "front.svg", "trials.csv", "confirmed.csv"}
    assert set(report.front["trial"]) == set(study.front())

    best = max(study.front(), key=lambda number: study.front()[number].search_val_accuracy or 0.0)
    costs = nas.inspect(study, best)
    assert isinstance(costs, Costs)
    assert sum(layer["energy_mj"] for layer in costs.layers) == pytest.approx(study.front()[best].energy_mj)

    (folder,) = nas.export(study, str(best), size=Size(params=200_000))
    structure = nas.inspect(str(folder))
    assert isinstance(structure, Inspection)
    assert structure.config.head.num_classes == 1000

    images = pictures.folders(tmp_path / "images")
    settings = ("epochs=1", "batch_size=8", "image_size=32", "workers=0", "warmup_epochs=0", "cooldown_epochs=0")
    small = pictures.bundle(tmp_path)  # a network for ImageNet is too large for a test
    trained = nas.train(small, images, settings=settings, device="cpu")
    assert trained is not None
    (evaluation,) = nas.evaluate([str(trained.folder)], images, device="cpu")
    document = json.loads((trained.folder / "config.json").read_text())
    assert evaluation.scores.top1 == document["training"]["test_top1"]


@pytest.mark.exhaustive  # each name is called by a test of its own; this is about their order
def test_every_name_of_the_contents_page_can_be_called_after_every_module_was_imported() -> None:
    """A room of the name of a function would take its place."""
    program = (
        "import importlib, nas, pkgutil\n"
        "for module in pkgutil.walk_packages(nas.__path__, 'nas.'):\n"
        "    if not module.name.endswith('__main__'):\n"
        "        importlib.import_module(module.name)\n"
        "print([name for name in nas.__all__ if not callable(getattr(nas, name))])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_contents_page_is_complete_before_anything_is_loaded() -> None:
    program = (
        "import sys, nas; print(set(nas.__all__) <= set(dir(nas)), {'torch', 'optuna', 'pandas'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True set()"


def test_every_name_of_every_door_is_there() -> None:
    """Also those that are loaded when first used."""
    for room in pkgutil.iter_modules(nas.__path__, "nas."):
        module = importlib.import_module(room.name)
        for name in getattr(module, "__all__", ()):
            assert getattr(module, name, None) is not None or importlib.import_module(f"{room.name}.{name}")
