"""How the code is laid out, and what a proposal costs beside its training: two checkouts, side by side.

    python benchmarks/house.py ../before

prints figures of this checkout beside those of another one. Layout is read from the sources. The rest is counted while
a search of digits runs in a process of its own: project files that one proposal enters on its way from the space to the
storage, how often control passes from one file to another, configs built and looks at all trials of the storage; what a
training does is left out. Time between two trainings is that of searches whose trainings are answered from one record,
after so many trials of history. Start-up is the time until `--help` has been printed, in turns.
"""

import argparse
import ast
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from header import header, note, table

HERE = Path(__file__).parent.parent
_WORKER = Path(__file__).parent / "house_proposals.py"


def layout(checkout: Path) -> dict[str, str]:
    """Figures of the sources of nas/, spikformer/ and cli.py."""
    paths = [*(checkout / "nas").rglob("*.py"), *(checkout / "spikformer").rglob("*.py"), checkout / "cli.py"]
    sources = {str(path.relative_to(checkout)): path.read_text() for path in paths}
    trees = {name: ast.parse(source) for name, source in sources.items()}
    lines = sum(source.count("\n") for source in sources.values())
    anys = sum(len(re.findall(r"\bAny\b", source)) for source in sources.values())
    functions = [_length(f) for tree in trees.values() for f in ast.walk(tree) if isinstance(f, ast.FunctionDef)]
    classes = [
        (_length(c), f"{name}: {c.name}")
        for name, tree in trees.items()
        for c in ast.walk(tree)
        if isinstance(c, ast.ClassDef) and not _is_frozen(c)
    ]
    files = [(source.count("\n"), name) for name, source in sources.items() if not name.startswith("spikformer")]
    return {
        "lines": f"{lines:,}",
        "functions over 50 lines": str(sum(length > 50 for length in functions)),
        "median function, lines": f"{statistics.median(functions):.0f}",
        "largest class, lines": " in ".join(map(str, max(classes))),
        "largest file of nas/ and cli.py, lines": " in ".join(map(str, max(files))),
        "Any per thousand lines": f"{1000 * anys / lines:.1f}",
    }


def _length(node: ast.FunctionDef | ast.ClassDef) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def _is_frozen(node: ast.ClassDef) -> bool:
    """A frozen dataclass, whose fields need a line each."""
    return any("frozen=True" in ast.unparse(decorator) for decorator in node.decorator_list)


def proposals(checkout: Path, histories: list[int]) -> dict[str, str]:
    """Counted and timed by a process that imports that checkout."""
    environment = os.environ | {"PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(_WORKER), *map(str, histories)]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    figures: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return figures


def start_up(checkouts: list[Path], rounds: int) -> list[str]:
    """Seconds until `--help` has been printed, the least of several turns."""
    seconds: list[list[float]] = [[] for _ in checkouts]
    for _ in range(rounds):
        for checkout, taken in zip(checkouts, seconds, strict=True):
            began = time.perf_counter()
            subprocess.run([sys.executable, "cli.py", "--help"], cwd=checkout, capture_output=True, check=True)
            taken.append(time.perf_counter() - began)
    return [f"{min(taken):.2f}" for taken in seconds]


def rows(checkouts: list[Path], histories: list[int]) -> Iterator[tuple[str, ...]]:
    columns = []
    for checkout in checkouts:
        note(f"{checkout}")
        columns.append(layout(checkout) | proposals(checkout, histories))
    for key in columns[0]:
        yield key, *(column[key] for column in columns)
    yield "`--help`, seconds", *start_up(checkouts, 5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=Path, nargs="?", help="another checkout")
    parser.add_argument(
        "--histories", type=int, nargs="+", default=[10, 1000], help="trials before the timed trainings"
    )
    arguments = parser.parse_args()
    checkouts = ([arguments.other.resolve()] if arguments.other else []) + [HERE.resolve()]
    histories = " ".join(map(str, arguments.histories))
    print(header(f"python benchmarks/house.py{' OTHER' if arguments.other else ''} --histories {histories}"))
    titles = (["the other checkout"] if arguments.other else []) + ["this one"]
    print(f"\n{table([('', *titles), *rows(checkouts, arguments.histories)])}")


if __name__ == "__main__":
    main()
