"""Data that are opened import no code and write nothing elsewhere; what the user names is imported."""

import contextlib
import json
import re
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import nas
import spikformer
from nas.bundles import bundle as bundles
from nas.exports import exporting as export
from nas.full_training import checkpoint
from nas.searching import opening
from nas.spaces import load_space
from nas.studies.study import Study
from spikformer import ConfigError, SpikformerConfig, TrustError, plugins
from tests.conftest import MICRO, Run
from tests.helpers import Heard
from tests.test_cli import _run

pytestmark = pytest.mark.usefixtures("trained_once")

KIND = "results.gift.payload:Mixer"
PAYLOAD = "from pathlib import Path\nPath({!r}).touch()\nfrom tests.test_trust import Mixer\n"
BLOCK = """
from torch import nn

from spikformer.layers import Unit, conv_bn, fed_by_stream
from spikformer.neurons import emitted, neuron


class Mixer(nn.Module):
    def __init__(self, dim, config):
        super().__init__()
        self.before = neuron(config) if config.residual == "ms" else nn.Identity()
        conv = conv_bn(dim, dim, 1, fed=fed_by_stream(config))
        self.conv = conv if config.residual == "ms" else Unit(conv, config)

    def forward(self, x):
        return self.conv(self.before(x))
"""


class Mixer(torch.nn.Module):
    """What the payload offers."""


def _search(folder: Path, **settings: Any) -> Study:
    (folder / "micro.toml").write_text(MICRO)
    space, results = folder / "micro.toml", folder / "results"
    usual: dict[str, Any] = {"space": space, "trials": 2, "observer": Heard(), "results_dir": results}
    return opening.search(**usual | settings)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of others: a journal, a database, a bundle and a checkpoint that name code."""
    folder = tmp_path_factory.mktemp("made")
    study, results = _search(folder), folder / "results"
    _search(folder, study="other", storage=f"sqlite:///{results}/studies.db")
    (bundle,) = export.export(study, "accuracy", results, export.Size(as_is=True))
    document = json.loads((bundle / "config.json").read_text())
    network = document["network"]
    network["stages"][0]["mixer"]["kind"] = KIND
    opened, nothing = bundles.read(bundle), torch.zeros(2)
    config = SpikformerConfig.from_dict(network)
    checkpoint.save(checkpoint.Checkpoint(config, opened.recipe, 0, nothing, {}, None, {}, None, (), ""), results)
    (bundle / "config.json").write_text(json.dumps(document | {"network": network, "proxy": network}))
    shutil.copy(bundle / "proxy.safetensors", bundle / "model.safetensors")
    bundle.rename(results / "bundle")
    journal = study.folder / "journal.log"
    journal.write_text(journal.read_text().replace('"ssa"', f'"{KIND}"'))
    with contextlib.closing(sqlite3.connect(results / "studies.db")) as database, database:
        for table in ("trial_user_attributes", "study_user_attributes"):
            database.execute(f"UPDATE {table} SET value_json = replace(value_json, '\"ssa\"', '\"{KIND}\"')")
        database.execute("UPDATE studies SET study_name = '../../../escaped'")
    return folder


@pytest.fixture
def hostile(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder, on the path, with them and their code, which leaves a file when it runs."""
    folder = tmp_path / "work"
    shutil.copytree(made, folder)
    (folder / "results" / "gift").mkdir()
    (folder / "results" / "gift" / "payload.py").write_text(PAYLOAD.format(str(folder / "ran")))
    monkeypatch.syspath_prepend(folder)
    monkeypatch.chdir(folder)
    yield folder
    for name in [name for name in sys.modules if name.startswith("results")]:
        sys.modules.pop(name)


def _assert_untouched(folder: Path, before: dict[Path, bytes]) -> None:
    assert not (folder / "ran").exists()
    assert not [name for name in sys.modules if name.startswith("results")]
    assert _outside(folder) == before


def _outside(folder: Path) -> dict[Path, bytes]:
    """Files beside the results; and that nothing lies above."""
    every = [path for path in folder.parent.rglob("*") if path.is_file() and folder / "results" not in path.parents]
    return {path: path.read_bytes() for path in every if "__pycache__" not in path.parts}


_REFUSED = re.compile(r"the module results\.gift\.payload was not imported.*--blocks results\.gift\.payload", re.DOTALL)
_DATABASE = ("--storage", "sqlite:///results/studies.db")


def test_the_payload_would_run_if_it_were_named(hostile: Path) -> None:
    """Else the tests below could not fail."""
    plugins.allow("results.gift.payload")
    with pytest.raises(spikformer.SpikformerError):
        spikformer.load(hostile / "results" / "bundle")
    assert (hostile / "ran").exists()


def test_opening_results_of_others_runs_none_of_their_code(hostile: Path, run_here: Run) -> None:
    """Commands that need the class are refused, with its module; the others do what they always do."""
    before = _outside(hostile)
    shown: list[tuple[str, ...]] = [
        ("report", "--study", "micro"),
        ("report", *_DATABASE),
        ("report", "--study", "micro", "--compare", "micro", "--memory", "--chip", "loihi", "--convention", "paper"),
        ("studies",),
        ("studies", *_DATABASE),
        ("studies", "--status", "--study", "micro"),
        ("inspect", "micro", "--trial", "0"),
    ]
    refused: list[tuple[str, ...]] = [
        ("confirm", "--study", "micro", "--seeds", "1"),
        ("confirm", *_DATABASE, "--seeds", "1", "--top", "2"),
        ("export", "--study", "micro", "--pick", "0"),
        ("export", "--study", "micro", "--pick", "0", "--as-is"),
        ("export", "--study", "micro", "--pick", "0", "--params", "1M"),
        ("export", "--study", *_DATABASE, "--pick", "0"),
        ("export", "--network", "results/bundle", "--format", "onnx"),
        ("inspect", "results/bundle"),
        ("inspect", "results/bundle/config.json", "--json"),
        ("inspect", "results/bundle", "--fused"),
        ("inspect", "results/bundle", "--rates", "0.1"),
        ("inspect", "results/bundle", "--check", "spike-driven"),
        ("inspect", "results/bundle", "--data-dir", "."),
        ("train", "results/bundle", "--dry-run"),
        ("evaluate", "results/bundle"),
        ("evaluate", f"results/{checkpoint.FILE}"),
    ]
    for command in (*shown, *refused):
        done = run_here(*command)
        assert "Traceback" not in done.stderr
        assert done.returncode == (1 if command in refused else 0), (command, done.stderr)
        assert command in shown or _REFUSED.search(done.stderr), (command, done.stderr)
        _assert_untouched(hostile, before)


def test_nor_does_opening_them_in_python(hostile: Path) -> None:
    before = _outside(hostile)
    for study in (nas.load_study("micro"), nas.load_study(storage=_DATABASE[1])):
        assert {c.config.stages[0].mixer.kind for c in study.candidates.values()} > {KIND}
        assert study.front()
        assert study.space.base["stages"][0]["mixer"]["kind"] == KIND
        assert study.hypervolume() is not None
        with pytest.raises(TrustError, match="was not imported"):
            opening.search(study.space, 3, study="again", observer=Heard())
    for part in ("network", "proxy"):
        with pytest.raises(TrustError, match="was not imported"):
            spikformer.load("results/bundle", part)
    with pytest.raises(TrustError, match="was not imported"):
        _ = checkpoint.load(Path("results", checkpoint.FILE)).config.config_id
    _assert_untouched(hostile, before)


def test_a_study_of_any_name_is_exported_into_the_results_folder(hostile: Path, run_here: Run) -> None:
    before = _outside(hostile)
    done = run_here("export", "--study", *_DATABASE, "--pick", "1", "--as-is")
    assert done.returncode == 0, done.stderr
    assert _outside(hostile) == before


def test_modules_that_are_imported_already_need_a_name_too() -> None:
    """Or a config could call any class of the standard library."""
    with pytest.raises(TrustError, match="the module subprocess was not imported"):
        plugins.resolve("subprocess:Popen")


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Path]:
    """A space file and, beside it, on no path, the module of its block."""
    (tmp_path / "besides.py").write_text(BLOCK)
    text = MICRO.replace('attention = ["ssa", "sdsa"]', 'attention = ["besides:Mixer", "sdsa"]')
    text = text.replace("num_heads = [1, 2]\n", "").replace('attention = "ssa"', 'attention = "besides:Mixer"')
    (tmp_path / "own.toml").write_text(text)
    yield tmp_path
    sys.modules.pop("besides", None)


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.exhaustive)])
def test_a_space_file_names_the_modules_of_its_blocks(own: Path, workers: int) -> None:
    """Also to worker processes, and to a search that goes on."""
    path = list(sys.path)
    for networks in (2, 3):
        study = _search(own, space=own / "own.toml", trials=networks, workers=workers)
        assert len(study.candidates) >= networks
    kinds = {c.config.stages[0].mixer.kind for c in study.candidates.values()}
    assert "besides:Mixer" in kinds
    assert {c.status for c in study.candidates.values()} == {"complete"}
    assert sys.path == path


def test_results_with_blocks_are_used_by_naming_their_module(
    own: Path, run_here: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last command in a process of its own, to which nothing is left of the one before."""
    found = run_here("search", "--space", "own.toml", "--trials", "1", "--no-references", cwd=own)
    assert f"Next: python cli.py report --study own --blocks {own / 'besides.py'}" in found.stdout, found.stderr
    monkeypatch.setattr(plugins, "_named", {})
    done = run_here("export", "--study", "--pick", "0", "--as-is", cwd=own)
    assert done.returncode == 1
    assert "the module besides was not imported" in done.stderr
    done = _run("export", "--study", "--pick", "0", "--as-is", "--blocks", "besides.py", cwd=own)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].endswith(f"--dry-run --blocks {own / 'besides.py'}")


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ("no module", 'block "no module" is not a module'),
        ("missing.py", 'block "missing.py": there is no such file'),
        ("", 'block "" is not a module'),
    ],
)
def test_what_names_no_module_is_refused(block: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        plugins.allow(block)
    assert message in str(caught.value)


def test_of_two_modules_of_one_name_the_second_is_refused(own: Path, tmp_path: Path) -> None:
    plugins.allow(own / "besides.py")
    assert plugins.resolve("besides:Mixer").__name__ == "Mixer"
    (tmp_path / "more").mkdir()
    shutil.copy(own / "besides.py", tmp_path / "more")
    shutil.copy(own / "own.toml", tmp_path / "more")
    load_space(tmp_path / "more" / "own.toml")
    with pytest.raises(ConfigError, match="another module besides was imported before"):
        plugins.resolve("besides:Mixer")


def test_blocks_in_every_place_of_a_space_are_named_by_it(own: Path) -> None:
    text = (own / "own.toml").read_text()
    text = text.replace('neuron.surrogate = "atan"', 'neuron.surrogate = "atan"\nneuron.kind = "a.b:C"')
    text = text.replace('residual = ["sew", "ms"]\n', '"stages.*.mlp.kind" = ["mlp", "c:D"]\n')
    text = text.replace('residual = "sew", ', '"stages.*.local.kind" = "e:F", ')
    (own / "own.toml").write_text(text)
    load_space(own / "own.toml")
    assert set(plugins.named()) == {"a.b", "besides", "c", "e"}
    assert set(plugins.named().values()) == {str(own)}
