"""Each command prints the one that comes next, and it works as printed: the demo of the README, on a smaller space."""

import re
import shlex
import tomllib
from pathlib import Path

import optuna
import pytest

from nas.bundles import bundle
from nas.bundles import recipe as recipes
from nas.bundles.recipe import TrainingRecipe
from nas.commands import following
from nas.studies.study import Study
from tests.conftest import Run

pytestmark = pytest.mark.usefixtures("trained_once")

ROOT = Path(__file__).parent.parent


def _following(stdout: str) -> list[str]:
    """Arguments of the last command that was printed."""
    lines = [line for line in stdout.splitlines() if line.startswith("Next: ")]
    program, *arguments = shlex.split(lines[-1].removeprefix("Next: python "))
    assert program == "cli.py"
    return arguments


@pytest.mark.slow
def test_from_a_search_to_a_trained_network_by_what_is_printed(micro: Path, tmp_path: Path, run_here: Run) -> None:
    """Only the length of the training is added by hand; a trial has one number everywhere."""
    command, commands, front = ["search", "--space", str(micro), "--trials", "2"], list[str](), list[str]()
    while True:
        done = run_here(*command, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        commands.append(command[0])
        if command[0] == "evaluate":
            break
        if command[0] == "report":
            front = re.findall(r"^│ +(\d+) │", done.stdout, re.MULTILINE)
        if command[0] == "export":
            assert "the networks are written as they were searched" in done.stdout
        command = _following(done.stdout)
        if command[-1] == "--dry-run":
            command += ["--epochs", "1"]
    assert commands == ["search", "report", "export", "train", "train", "evaluate"]
    assert "of report-val" in done.stdout
    (number,) = re.findall(r"micro-trial(\d+)", command[1])
    assert number in front
    assert run_here("inspect", "micro", "--trial", number).returncode == 0
    assert f"micro-trial{number}\n" in run_here("export", "--study", "--pick", number).stdout


@pytest.mark.parametrize("path", ["README.md", *(str(p.relative_to(ROOT)) for p in (ROOT / "docs").glob("*.md"))])
def test_spaces_that_documents_name_are_shipped(path: str) -> None:
    """But for NAME, and those that the reader is told to write."""
    shipped = {p.stem for p in (ROOT / "search_spaces").glob("*.toml")}
    named = set(re.findall(r"--space ([\w./]+)", (ROOT / path).read_text()))
    assert named - {"NAME", "mine.toml"} <= shipped


def test_the_module_and_the_script_are_the_same_commands() -> None:
    """`python -m nas` and `spikformer-nas` of an installation, `cli.py` of a clone."""
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts == {following.SCRIPT: "nas.__main__:run"}
    import cli
    from nas import __main__ as commands

    assert cli.run is commands.run


@pytest.mark.parametrize(
    ("called", "printed"),
    [
        ("cli.py", "python cli.py"),
        ("../clone/cli.py", "python ../clone/cli.py"),
        ("/usr/bin/spikformer-nas", "spikformer-nas"),
        ("/site-packages/nas/__main__.py", "python -m nas"),
    ],
)
def test_the_next_command_is_called_as_this_one(
    called: str, printed: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("sys.argv", [called])
    (tmp_path / "python").touch(0o755)
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert following.program() == printed
    monkeypatch.setenv("PATH", "")
    monkeypatch.chdir(tmp_path.parent)  # an environment that is not active
    assert following.program() == printed.replace("python ", f"{tmp_path.name}/python ")
    assert following.program(here=False) == printed.replace("../clone/", "")  # as it is written into a file


def test_images_of_a_search_are_named_in_the_commands_that_read_them(tmp_path: Path) -> None:
    """The last search that was told where they are counts."""
    study = Study("x", tmp_path, optuna.create_study())
    assert study.data_dir is None
    for data_dir in ("first", "second", None):
        study.keep_data_dir(data_dir)
    assert following.images(study.data_dir) == ["--data-dir", "second"]


def test_a_shorter_training_keeps_its_shape() -> None:
    """By hand, of the recipe of CIFAR: 20, 10 and 200 of 300 epochs are 2, 1 and 20 of 30."""
    short = recipes.for_epochs(recipes.read("spikformer_cifar"), 30)
    assert (short.epochs, short.warmup_epochs, short.cooldown_epochs, short.mix_off_epoch) == (30, 2, 1, 20)
    assert recipes.for_epochs(TrainingRecipe(mix_off_epoch=0), 1).mix_off_epoch == 0
    assert recipes.for_epochs(TrainingRecipe(mix_off_epoch=10), 1).mix_off_epoch == 1
    assert recipes.for_epochs(short, 300).warmup_epochs == 20


def test_grey_images_take_the_mean_of_a_recipe_for_colours() -> None:
    """Of ImageNet, 0.449 and 0.226."""
    grey = recipes.for_channels(TrainingRecipe(), 1)
    assert (grey.mean, grey.std) == ((0.449,), (0.226,))
    assert recipes.for_channels(grey, 3) == grey
    assert bundle.read("spikformer_cifar10_2_256").for_images(in_channels=1).recipe.mean == (0.4734,)
