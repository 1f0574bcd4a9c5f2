"""Each example runs as its header says, in this process, and shows what it promises."""

import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
import torch

import nas
from nas.__main__ import main
from spikformer import plugins

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the examples run, one after the other."""
    return tmp_path_factory.mktemp("examples")


@pytest.fixture(autouse=True)
def _there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    monkeypatch.setattr(sys, "path", [str(EXAMPLES), *sys.path])  # as of a script
    torch.set_num_threads(1)


def _run(name: str, capsys: pytest.CaptureFixture[str]) -> str:
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")
    return capsys.readouterr().out


def test_every_example_is_run_here_and_says_how() -> None:
    programs = {path.name for path in EXAMPLES.iterdir() if path.suffix in (".py", ".sh")}
    assert programs == {"own_data.py", "own_block.py", "own_cost_model.py", "slurm.sh", "table_samplers.py"}
    for name in programs:
        head = "\n".join((EXAMPLES / name).read_text().splitlines()[:10])
        assert f"examples/{name}" in head


def test_own_data(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Four fifths of 1,797 digits are 1,437, of which a fifth each is 287."""
    out = _run("own_data.py", capsys)
    assert out.startswith("<Study 'own_data': 5 networks, ")
    assert "Pareto front of own_data" in (folder / "front.html").read_text()
    study = nas.load_study("own_data")
    assert study.identity["data.dataset"] == "images"
    (candidate, *_) = study.front().values()
    assert (candidate.train_images, candidate.counted_images, candidate.report_val_images) == (863, 287, 287)


def test_own_cost_model(capsys: pytest.CaptureFixture[str]) -> None:
    """By hand from the records: 2 pJ an addition, of which 1e9 are 1 mJ."""
    out = _run("own_cost_model.py", capsys)
    assert "chip_latency_ms" in out
    study = nas.load_study("own_data")
    on_board = dict(study.to_dataframe(chip="own_cost_model:board")["chip_energy_mj"])
    for number, candidate in study.front().items():
        additions = [op.nonzero if op.is_real else op.events for op in candidate.operations]
        assert on_board[number] == pytest.approx(2e-9 * sum(additions) / candidate.counted_images)
        assert f"{on_board[number]:.6f}" in out


def test_own_block(capsys: pytest.CaptureFixture[str]) -> None:
    """Both kinds of mixers are among the networks, and the space file alone let the block be imported."""
    out = _run("own_block.py", capsys)
    assert "own_block:Shift" in out
    assert "ssa" in out
    assert plugins.named() == {"own_block": str(EXAMPLES)}
    assert len(nas.load_study("own_block").candidates) == 6


def test_table_samplers(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """On a table of two networks, of which a sampler may find both, one or none."""
    table = Path(__file__).parent / "data" / "schemas" / "table_1.safetensors"
    monkeypatch.setattr(sys, "argv", ["table_samplers.py", str(table), "2"])
    lines = _run("table_samplers.py", capsys).splitlines()
    assert lines[0].startswith("Table(")
    assert [line.split()[0] for line in lines[2:]] == ["RandomSampler", "TPESampler", "NSGAIISampler"]
    for line in lines[2:]:
        assert re.fullmatch(r"\w+ +([01]\.\d{3}(, )?){5} of it, with seeds 0 to 4", line), line
    assert "1.000" in "".join(lines)


def test_slurm() -> None:
    """The shell reads the script, and the command's own parser its options."""
    path = EXAMPLES / "slurm.sh"
    subprocess.run(["bash", "-n", str(path)], check=True)
    text = path.read_text().replace("\\\n", " ")
    (line,) = re.findall(r"^exec python -m nas (.*)$", text, flags=re.MULTILINE)
    name, *arguments = shlex.split(line)
    command = main.commands[name]
    context = command.make_context(name, arguments)
    assert isinstance(context, click.Context)
    assert context.params["space"] == "spikformer_small"
    assert context.params["trials"] == 500
