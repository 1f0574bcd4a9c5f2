"""The command line: quick help, one clear error for bad input, and the whole road."""

import errno
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import click
import pandas as pd
import pytest
from click.testing import CliRunner

import cli
from nas.commands import helping
from tests.conftest import MICRO, Run
from tests.helpers import interruptible

pytestmark = pytest.mark.usefixtures("trained_once")

ROOT = Path(__file__).parent.parent
COMMANDS = (
    "search",
    "report",
    "confirm",
    "validate-proxy",
    "table",
    "table run",
    "table export",
    "table merge",
    "table query",
    "table info",
    "export",
    "train",
    "shrink",
    "evaluate",
    "spaces",
    "inspect",
    "check-block",
    "doctor",
)


def _run(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "cli.py"), *arguments]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "160", "PATH": path}
    return subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, check=False, env=environment, stdin=subprocess.DEVNULL
    )


def test_help_is_readable_and_needs_no_torch(tmp_path: Path) -> None:
    """Importing torch takes seconds; help that stays without it answers in a fraction of one."""
    helps = "\n".join(f"{name} --help" for name in ("", *COMMANDS))
    done = _in_one_process(helps, tmp_path)
    assert done.returncode == 0, done.stderr
    shown = done.stdout.split("Usage:")[1:]
    assert len(shown) == len(COMMANDS) + 1
    assert all(len(text.splitlines()) > 5 for text in shown)


def test_help_lists_every_command_on_the_road_and_cuts_nothing_off() -> None:
    placed = [name for names in helping.ROAD.values() for name in names]
    assert sorted(placed) == sorted(cli.main.commands)
    shown = CliRunner().invoke(cli.main, ["--help"]).output
    assert [line.rstrip(":") for line in shown.splitlines() if line.endswith(":")][1:] == list(helping.ROAD)
    assert "..." not in shown.partition("Options:")[2]


def _command(name: str) -> click.Command:
    """Of a name such as "search" or "table run"."""
    first, *rest = name.split()
    command = cli.main.commands[first]
    for word in rest:
        assert isinstance(command, click.Group)
        command = command.commands[word]
    return command


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "table"])
def test_help_says_what_every_option_is_and_ends_with_an_example(name: str) -> None:
    """Sentences begin with a capital letter and end with a point; examples are parsed as they stand."""
    command = _command(name)
    for option in command.params:
        if isinstance(option, click.Option):
            sentence = (option.help or "").partition("  [default:")[0]
            assert re.fullmatch(r"[A-Z].*\.", sentence, re.DOTALL), (option.name, sentence)
    assert isinstance(command, helping.Command)
    examples = CliRunner().invoke(cli.main, [*name.split(), "--help"]).output.split("Example")[-1].splitlines()[1:]
    assert len(examples) == len(command.examples) > 0
    for example in command.examples:
        words, own = shlex.split(example), len(name.split())
        assert " ".join(words[:own]) == name
        command.make_context(name, words[own:])


REFUSED = """
search --space NOPE --trials 2
search --space spikformer_tiny
search --space spikformer_tiny --trials 0
search --space spikformer_tiny --trials 2 --budget 5x
search --space spikformer_tiny --trials 2 --sampler Nope
search --space spikformer_tiny --trials 2 --device tpu
search --space spikformer_tiny --trials 2 --workers 0
search --space spikformer_tiny --trials 2 --study ../x
search --space spikformer_tiny --trials 2 --proxy nowhere.toml
search --space spikformer_tiny --trials 2 --max-params x
report
report --convention nope
report --chip nope
confirm --study NOPE
confirm --top x
validate-proxy --space NOPE
validate-proxy --space spikformer_tiny --configs 1
validate-proxy --space spikformer_tiny --shares 2
validate-proxy --table NOPE
table run NOPE --networks 1
table run spikformer_tiny --networks 0
table run spikformer_tiny --networks 1 --device tpu
table export NOPE
table merge out NOPE
table query NOPE
table info NOPE
export --study NOPE
export --pick nope
export --network nope
train nope
train spikformer_cifar10_4_256 --recipe nope
train spikformer_cifar10_4_256 --set nope=1
train spikformer_cifar10_4_256 --device tpu
train spikformer_cifar10_4_256 --study NOPE
evaluate nope
evaluate spikformer_cifar10_4_256 --set nope=1
evaluate spikformer_cifar10_4_256 --convention nope
inspect nope
inspect NOPE --trial 1
inspect spikformer_cifar10_4_256 --image-size 33
inspect spikformer_cifar10_4_256 --rates -1
inspect spikformer_cifar10_4_256 --chip nope
check-block nope
nope
"""


def _in_one_process(commands: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Commands, one a line, in one process, which tells the first that imports too much or ends with another code."""
    program = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "import cli\n"
        "for line in sys.stdin.read().strip().splitlines():\n"
        "    sys.argv = ['cli.py', *line.split()]\n"
        "    try:\n        cli.run()\n"
        "    except SystemExit as end:\n"
        "        names = ['torch', 'scipy', 'pandas', *(['optuna', 'rich'] if '--help' in line else [])]\n"
        "        heavy = [name for name in names if name in sys.modules]\n"
        "        lists = '--help' in line or line in ('spaces', 'studies', '--version')\n"
        "        assert bool(end.code) != lists and not heavy, (line, heavy)\n"
    )
    return subprocess.run(
        [sys.executable, "-c", program], cwd=folder, input=commands, capture_output=True, text=True, check=False
    )


def test_what_is_refused_or_listed_needs_no_torch(tmp_path: Path) -> None:
    done = _in_one_process(REFUSED + "spaces\nstudies\n--version\n", tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("Error:") == len(REFUSED.strip().splitlines())
    assert all(name in done.stdout for name in ("spikformer_tiny", "cifar10_cpu", "spikformer_small", "2,484"))


def test_every_command_is_here() -> None:
    listed = _run("--help").stdout
    assert all(name.split()[0] in listed for name in COMMANDS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["search", "--space", "spikformer_tny", "--trials", "2"], 'Did you mean "spikformer_tiny"'),
        (["search", "--space", "spikformer_tiny", "--trials", "0"], "trials 0 must be at least 1"),
        (["search", "--space", "spikformer_tiny", "--trials", "x"], "'x' is not a valid integer"),
        (["search", "--space", "spikformer_tiny"], "the length of the search is missing. Give --trials"),
        (["search", "--space", "spikformer_tiny", "--trials", "1", "--device", "cuda:99"], "torch sees"),
        (["search", "--space", "spikformer_tiny", "--budget", "2 days"], 'budget "2 days" is not an amount'),
        (["search", "--space", "spikformer_tiny", "--trials", "1", "--max-params", "many"], '"many" is not a number'),
        (["search", "--space", "spikformer_tiny", "--trials", "1", "--min-accuracy", "90"], "such as 0.9 for 90 %"),
        (["search", "--space", "spikformer_tiny", "--trials", "1", "--sampler", "Grid"], 'sampler "Grid" is unknown'),
        (["search", "--space", "cifar10_cpu", "--trials", "1", "--data-dir", "nowhere"], "does not exist"),
        (["search", "--space", "cifar10_cpu", "--trials", "1", "--data-dir", "."], "holds neither"),
        (["search", "--space", "spikformer_tiny", "--trials", "1", "--results-dir", "file"], "not a writable folder"),
        (["search", "--space", "spikformer_tiny", "--trials", "1", "--storage", "x://y"], "cannot be opened"),
        (["search", "--space", "spikformer_tiny", "--trials", "1", "--warm-start", "old"], "no study in results"),
        (["search", "--space", "spikformer_tiny", "--trials", "1", "--warm-start", "x.safetensors"], "cannot be read"),
        (["search", "--space", "spikformer_tiny", "--trials", "1", "--warm-start", "file.json"], "is no table of"),
        (["report"], "Run a search first"),
        (["report", "--study", "nothing"], "Run a search first"),
        (["export", "--study"], "Run a search first"),
        (["confirm"], "Run a search first"),
        (["confirm", "--top", "best"], '--top "best" must be front or a whole number'),
        (["confirm", "--spike-penalties", "0,x"], '--spike-penalties "0,x" must be a list of numbers'),
        (["validate-proxy", "--space", "spikformer_tny"], 'Did you mean "spikformer_tiny"'),
        (["validate-proxy", "--space", "spikformer_tiny", "--configs", "2"], "configs 2 must be at least 6"),
        (
            ["validate-proxy", "--space", "spikformer_tiny", "--shares", "0.5,2"],
            "must be rising numbers between 0 and 1",
        ),
        (["validate-proxy", "--space", "cifar10_cpu", "--data-dir", "nowhere"], "does not exist"),
        (
            ["search", "--space", "spikformer_tiny", "--trials", "1", "--proxy", "none.toml"],
            "no file none.toml",
        ),
        (["inspect", "spikformer_cifar10_4_38"], "Did you mean"),
        (["inspect", "missing.json"], "cannot be read"),
        (["inspect", "spikformer_cifar10_4_384", "--rates", "0.1", "--trial", "3"], "Give only one of them"),
        (["inspect", "spikformer_cifar10_4_384", "--rates", "-1"], "must be at least 0"),
        (["inspect", "x", "--trial", "3", "--fused"], "--fused and --image-size do not apply. Export the trial first"),
        (["inspect", ".", "--data-dir", "."], "has no proxy.safetensors"),
        (["inspect", "file.json"], "is not valid JSON"),
        (["inspect", "spikformer_cifar10_4_384", "--image-size", "30"], "image_size 30 is not a multiple of 4"),
        (["check-block", "nowhere:Block"], "cannot be imported"),
        (["check-block", "nowhere"], "is not a reference to a class"),
        (["check-block", "torch.nn:Linear"], "cannot be built as (dim, config)"),
        (["train", "spikformer_in_8_38"], 'Did you mean "spikformer_in_8_384"'),
        (["train", "spikformer_in_8_384"], "no --data-dir was given"),
        (["train", "spikformer_in_8_384", "--dry-run", "--set", "epoch=3"], 'Did you mean "epochs"'),
        (["train", "spikformer_in_8_384", "--recipe", "nothing"], "is neither a file nor one of the shipped recipes"),
        (["train", "spikformer_in_8_384", "--data-dir", "nowhere"], "does not exist"),
        (["train", "spikformer_in_8_384", "--study", "x"], "Run a search first"),
        (["evaluate", "spikformer_in_8_384", "--data-dir", "."], "has no weights to evaluate"),
        (["evaluate", "file.json"], "is not a checkpoint of a full training"),
        (["export", "--network", "spikformer_in_8_38"], "Did you mean"),
        (["export", "--network", "spikformer_in_8_384", "--as-is"], "--network exports a network unchanged"),
        (["export", "--network", "spikformer_in_8_384", "--pick", "knee"], "--network does not read --pick"),
        (["export", "--network", ".", "--format", "onnx", "--out", "x"], "and does not read --out"),
        (["train", "spikformer_in_8_384", "--dry-run", "--out", "x"], "does not read --out"),
        (["train", "spikformer_in_8_384", "--results-dir", "x"], "train does not read --results-dir"),
        (["inspect", "spikformer_in_8_384", "--results-dir", "x"], "inspect does not read --results-dir"),
        (["inspect", "spikformer_in_8_384", "--convention", "paper"], "no energies to price by --convention"),
        (["inspect", ".", "--data-dir", ".", "--image-size", "32"], "does not read --image-size"),
        (["inspect", "spikformer_in_8_384", "--check", "spike-driven", "--fused"], "does not read --fused"),
        (["evaluate", "x", "--time-steps", "1,0"], '--time-steps "1,0" must be a list of whole numbers of at least 1'),
        (
            ["evaluate", "x", "--image-sizes", "big"],
            '--image-sizes "big" must be a list of whole numbers of at least 1',
        ),
        (["serch"], "No such command"),
        (["studies", "--study", "NOPE"], "no study in results. Run a search first"),
        (
            ["search", "--space", "spikformer_tiny", "--trials", "1", "--workers", "1000000"],
            "1,000,000 workers are more",
        ),
        (["validate-proxy", "--space", "spikformer_tiny", "--workers", "1000000"], "1,000,000 workers are more"),
        (["train", "spikformer_in_8_384", "--set", "workers=1000000", "--dry-run"], "workers 1000000 must be at most"),
        (["shrink", ".", "--out", "x", "--workers", "1000000"], "workers is 1,000,000, more than"),
        (["search", "--space", "nope_block.toml", "--trials", "1"], "nopemod cannot be imported (No module named"),
        (["validate-proxy", "--space", "nope_block.toml"], "nopemod cannot be imported"),
        (["search", "--space", "deep.toml", "--trials", "1"], "is not valid TOML"),
    ],
)
def test_bad_input_is_one_clear_error(arguments: list[str], message: str, tmp_path: Path, run_here: Run) -> None:
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "file.json").write_text("no json")
    (tmp_path / "nope_block.toml").write_text(MICRO.replace('"ssa", "sdsa"', '"ssa", "nopemod:Cls"'))
    (tmp_path / "deep.toml").write_text(f"x = {'[' * 5000}")
    before = sorted(tmp_path.rglob("*"))
    done = run_here(*arguments, cwd=tmp_path)
    assert done.returncode != 0
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert sum(line.startswith("Error") for line in done.stderr.splitlines()) == 1
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    "arguments",
    [
        ["inspect", "{}"],
        ["inspect", "{}.json"],
        ["inspect", "spikformer_in_8_384", "--rates", "{}"],
        ["inspect", "x", "--trial", "0", "--results-dir", "{}"],
        ["inspect", "{}", "--data-dir", "."],
        ["evaluate", "{}"],
        ["evaluate", "x", "--data-dir", "{}"],
        ["report", "--results-dir", "{}"],
        ["report", "--unit-costs", "{}"],
        ["report", "--storage", "sqlite:///{}"],
        ["studies", "--results-dir", "{}"],
        ["confirm", "--results-dir", "{}"],
        ["export", "--study", "--results-dir", "{}"],
        ["export", "--network", "{}"],
        ["export", "--network", "spikformer_cifar10_4_256", "--out", "{}"],
        ["train", "{}", "--dry-run"],
        ["train", "{}"],
        ["train", "spikformer_in_8_384", "--data-dir", "{}"],
        ["train", "spikformer_in_8_384", "--recipe", "{}", "--dry-run"],
        ["train", "spikformer_in_8_384", "--study", "x", "--results-dir", "{}"],
        ["search", "--space", "{}", "--trials", "1"],
        ["search", "--space", "{}.toml", "--trials", "1"],
        ["search", "--space", "spikformer_tiny", "--trials", "1", "--results-dir", "{}"],
        ["search", "--space", "spikformer_tiny", "--trials", "1", "--proxy", "{}"],
        ["search", "--space", "spikformer_tiny", "--trials", "1", "--study", "{}"],
        ["search", "--space", "cifar10_cpu", "--trials", "1", "--data-dir", "{}"],
        ["search", "--space", "spikformer_tiny", "--trials", "1", "--warm-start", "{}"],
        ["search", "--space", "spikformer_tiny", "--trials", "1", "--warm-start", "x/{}"],
        ["search", "--space", "spikformer_tiny", "--trials", "1", "--warm-start", "{}.safetensors"],
        ["validate-proxy", "--space", "spikformer_tiny", "--results-dir", "{}"],
        ["shrink", "{}", "--out", "x"],
        ["check-block", "{}"],
        ["report", "--blocks", "{}.py"],
    ],
)
def test_a_long_path_is_one_clear_error(arguments: list[str], tmp_path: Path, run_here: Run) -> None:
    done = run_here(*(argument.format("a" * 5_000) for argument in arguments), cwd=tmp_path)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert sum(line.startswith("Error") for line in done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("redirection", "code", "message"),
    [
        (">/dev/full", 1, "Error: the output cannot be written: No space left on device. Free some space"),
        pytest.param(">&- 2>&- <&-", 0, "", marks=pytest.mark.exhaustive),
        pytest.param(">/dev/full 2>&1", 1, "", marks=pytest.mark.exhaustive),
        pytest.param(">&-", 0, "", marks=pytest.mark.exhaustive),
        pytest.param("| true", 0, "", marks=pytest.mark.exhaustive),
    ],
)
def test_an_output_that_takes_nothing_is_no_traceback(redirection: str, code: int, message: str) -> None:
    """A shell closes streams, or sends them to a disk that is full; nothing that is opened later takes their place."""
    command = f"{shlex.quote(sys.executable)} {shlex.quote(str(ROOT / 'cli.py'))} spaces {redirection}"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (code, "")
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr
    assert (message in done.stderr) if message else (done.stderr == "")


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (MemoryError(), 1, "Error: memory ran out"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes"), 1, "memory ran out"),
        (OSError(errno.EACCES, "Permission denied", "there"), 1, "Error: there: Permission denied. Correct the path"),
        (OSError(errno.EMFILE, "Too many open files", "there"), 1, "Error: too many open files. Raise the limit"),
        (click.Abort(), 130, "Interrupted. Nothing is lost"),
        (KeyboardInterrupt(), 130, "Interrupted. Nothing is lost"),
        (OSError(errno.ENOSPC, "No space left on device"), 1, "Error: the output cannot be written: No space left"),
    ],
)
def test_what_the_machine_or_the_user_stops_is_one_clear_line(
    error: BaseException, code: int, message: str, run_here: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_settings: object) -> None:
        raise error

    monkeypatch.setattr(cli.main, "main", refuse)
    done = run_here("spaces")
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (code, "", 1)
    assert message in done.stderr


def test_a_folder_without_permission_is_named(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    tmp_path.chmod(0o500)
    done = _run("search", "--space", "spikformer_tiny", "--trials", "1", cwd=tmp_path)
    assert done.returncode == 1
    assert "not a writable folder" in done.stderr


@pytest.mark.exhaustive
def test_rungs_limits_and_budget_from_the_command_line(
    micro: Path, tmp_path: Path, run_here: Run, usual_pace: None
) -> None:
    """12 networks see 50 of 200 images, 4 of them then all: 1,400 images, 200 less than allowed."""
    micro.write_text(micro.read_text().replace("rungs = [1]", "rungs = [0.25, 1]"))
    limits = ["--max-params", "10k", "--max-macs", "1G", "--max-energy", "1", "--min-accuracy", "0.01"]
    done = run_here("search", "--space", str(micro), "--trials", "12", "--budget", "1.6k", *limits, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (
        "12 networks to 50 images each, 4 of them to 200 images; 1,400 images in all. With as many images, random "
        "search would train 7 networks in full" in done.stderr
    )
    assert "MB on disk" in done.stderr
    assert "on 50 images" in done.stderr
    done = run_here("report", cwd=tmp_path)
    assert "8 stopped, 4 complete" in done.stdout
    assert "max_params 10000, max_macs 1,000,000,000, max_energy_mj 1, min_accuracy 0.01" in done.stdout


@pytest.mark.exhaustive  # in CI the next commands that are printed lead along it, and the tutorial in Python
def test_the_whole_road(micro: Path, tmp_path: Path, run_here: Run) -> None:
    """search, report, export, inspect, as the README has them."""
    done = run_here("search", "--space", str(micro), "--trials", "4", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "trial 0, Spikformer miniature" in done.stderr
    assert "Next: python cli.py report --study micro" in done.stdout
    done = run_here("report", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Pareto front of micro" in done.stdout
    assert (tmp_path / "results" / "micro" / "front.png").exists()
    assert "Next: python cli.py confirm --study micro" in done.stdout
    _reported_elsewhere(tmp_path, run_here)
    done = run_here("confirm", "--seeds", "2", "--top", "1", "--ann-twin", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Next: python cli.py report --study micro" in done.stdout
    done = run_here("report", "--latex", "--compare", "micro", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "More seeds:" in done.stdout
    assert (tmp_path / "results" / "micro" / "front.tex").exists()
    done = run_here("export", "--study", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Next: python cli.py train" in done.stdout
    folder = next((tmp_path / "results" / "micro" / "exports").iterdir())
    done = run_here("inspect", str(folder), "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["config"]["stem"]["image_size"] == 8
    assert run_here("export", "--study", "micro", "--pick", "best", cwd=tmp_path).returncode == 1
    _costs_by_layer(tmp_path, run_here)


@pytest.mark.exhaustive
def test_a_proxy_is_validated_and_its_recommendation_searched(micro: Path, tmp_path: Path, run_here: Run) -> None:
    settings = ["--configs", "6", "--replicates", "2", "--shares", "0.5"]
    done = run_here("validate-proxy", "--space", str(micro), *settings, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    following = done.stdout.splitlines()[-1]
    assert following.endswith("--proxy results/proxies/micro/proxy.toml --trials 200")
    recommended = ["--space", str(micro), "--proxy", "results/proxies/micro/proxy.toml"]
    done = run_here("search", *recommended, "--trials", "2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [row["name"] for row in json.loads(run_here("studies", "--json", cwd=tmp_path).stdout)] == ["micro"]


def test_an_error_shows_no_traceback() -> None:
    done = _run("report", "--study", "nothing", "--results-dir", "nowhere")
    assert done.returncode == 1
    assert done.stderr == "Error: no study in nowhere. Run a search first, or give --storage\n"


def _reported_elsewhere(folder: Path, run_here: Run) -> None:
    """With --out the study's folder stays as it is; the front is on the screen before a file is written."""

    def times() -> dict[str, int]:
        return {path.name: path.stat().st_mtime_ns for path in (folder / "results" / "micro").rglob("*")}

    before = times()
    done = run_here("report", "--out", "elsewhere/micro", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "wrote elsewhere/micro/report.html" in done.stdout
    assert {"report.html", "front.png", "trials.csv"} < {path.name for path in (folder / "elsewhere/micro").iterdir()}
    done = run_here("report", "--out", "elsewhere/micro/trials.csv", cwd=folder)
    assert done.returncode == 1
    assert "cannot be written" in done.stderr
    assert "Pareto front of micro" in done.stdout
    assert "wrote" not in done.stdout
    assert times() == before


def _costs_by_layer(folder: Path, run_here: Run) -> None:
    """Shares of the report's energy; the same study under another convention and other unit costs."""
    trials = pd.read_csv(folder / "results" / "micro" / "trials.csv").set_index("trial")
    found = json.loads(run_here("inspect", "micro", "--trial", "0", "--json", cwd=folder).stdout)
    assert sum(layer["energy_mj"] for layer in found["layers"]) == pytest.approx(trials["energy_mj"][0], rel=1e-9)
    assert found["energy_mj"]["measured"] == pytest.approx(trials["energy_mj"][0], rel=1e-9)
    assert "whole network" in run_here("inspect", "micro", "--trial", "0", cwd=folder).stdout
    done = run_here("report", "--convention", "paper+head", "--unit-costs", "45nm_int8", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "paper+head, 45nm_int8" in done.stdout
    for arguments, message in (
        (["report", "--convention", "papre"], 'Did you mean "paper"'),
        (["report", "--unit-costs", "45nm"], "no unit costs are named"),
        (["inspect", "micro", "--trial", "99"], "trial 99 of study micro does not exist"),
    ):
        done = run_here(*arguments, cwd=folder)
        assert done.returncode == 1
        assert message in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("network", "remaining", "code"),
    [
        ("sdt2_in_15M", ["stem.embedding.conv"], 0),
        ("spikingformer_cifar10_4_256", ["stem.embedding.0.conv.conv", "head.linear"], 1),
    ],
)
def test_what_multiplies_when_deployed_is_named(network: str, remaining: list[str], code: int, run_here: Run) -> None:
    """V2's claim to be spike-driven holds for the merged form; the classifier of Spikingformer reads membranes."""
    done = run_here("inspect", network, "--check", "spike-driven", "--json")
    assert [line.split(":")[0] for line in json.loads(done.stdout)] == remaining
    assert done.returncode == code


def test_inspect_gives_parameters_and_macs_as_json(run_here: Run) -> None:
    """Parameters of the authors' code; dense MACs as in tests/costs/test_counter.py."""
    found = json.loads(run_here("inspect", "spikformer_cifar10_4_384", "--json").stdout)
    assert (found["name"], found["parameters"], found["macs"]) == ("spikformer_cifar10_4_384", 9324730, 3710979840)
    for form, said in (((), "9,324,730"), (("--fused",), "9,295,978"), (("--rates", "0.1"), "at the rates given")):
        done = run_here("inspect", "spikformer_cifar10_4_384", *form)
        assert (done.returncode, done.stderr) == (0, "")
        assert said in done.stdout
    assert "3.71 G" in run_here("inspect", "spikformer_cifar10_4_384").stdout


def test_inspect_tells_what_is_printed_about_a_published_network(tmp_path: Path, run_here: Run) -> None:
    """A file of the same name is another network, of which nothing is printed."""
    name = "maxformer_cifar10dvs_256"
    shown = " ".join(run_here("inspect", name).stdout.split())
    assert "1,455,626" in shown
    assert "NeurIPS 2025. Printed accuracy: 84.2 % (official README or log). Of each class of CIFAR10-DVS" in shown
    assert "a mean of 82.54 % in the last ten." in shown
    assert json.loads(run_here("inspect", name, "--json").stdout)["figures"]["accuracy"] == 84.2
    (tmp_path / name).write_text("{}")
    assert json.loads(run_here("inspect", name, "--json", cwd=tmp_path).stdout)["figures"] is None
    assert "Printed" not in run_here("inspect", name, cwd=tmp_path).stdout


def test_children_of_tests_are_interrupted_also_in_the_background() -> None:
    """A shell that starts a command with & may ignore SIGINT for it and for all of its children."""
    program = "import signal; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        told = [
            subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, check=True, preexec_fn=start).stdout
            for start in (None, interruptible)
        ]
    finally:
        signal.signal(signal.SIGINT, before)
    assert told == [b"False\n", b"True\n"]
