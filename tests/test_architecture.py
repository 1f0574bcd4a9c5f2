"""The house keeps its shape: imports point one way and go through doors; lint and types are clean."""

import ast
import functools
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# A module of spikformer imports only what stands above it; nas imports all of spikformer.
SPIKFORMER = (
    "errors",
    "files",
    "schema",
    "plugins",
    "fields",
    "identity",
    "kinds",
    "stem_config",
    "parts",
    "canonical",
    "config",
    "operands",
    "spiking_kernels",
    "spiking",
    "neurons",
    "layers",
    "stems",
    "token_mixers",
    "channel_mixers",
    "model",
    "fusion",
    "formats",
    "published_networks",
    "published_events",
    "published_protocols",
    "published_figures",
    "published",
    "official",
    "checkpoints",
    "transfer",
)
# A room of nas, or a module beside the rooms, imports only from what stands above it, and only what its door names.
ROOMS = (
    "version",
    "errors",
    "files",
    "typed",
    "settings",
    "lazy",
    "quiet",
    "stats",
    "costs",
    "spaces",
    "bundles",
    "events",
    "datasets",
    "searchers",
    "training",
    "progress",
    "studies",
    "engines",
    "searching",
    "replicates",
    "tables",
    "full_training",
    "reports",
    "exports",
    "doctor",
    "commands",
    "__main__",
)
# Where each big library may be imported: a module, or a room with a dot behind it.
DOORS = {
    "optuna": ("nas.studies.", "nas.searching.", "nas.replicates.runs", "nas.tables.objective"),
    "sqlalchemy": ("nas.studies.storage",),
    "orjson": ("nas.studies.journal",),
    "pandas": ("nas.reports.", "nas.studies.networks", "nas.tables.frames"),
    "plotly": ("nas.reports.page", "nas.reports.plots"),
    "matplotlib": ("nas.reports.figure", "nas.reports.evaluated", "nas.reports.proxies"),
    "spikingjelly": ("spikformer.neurons", "nas.full_training.build", "nas.events.spikingjelly_datasets"),
    "aedat": ("nas.events.aedat",),
    "ray": ("nas.engines.ray_engine",),
    "timm": ("nas.full_training.",),
    "onnx": ("spikformer.formats",),
    "onnxruntime": ("spikformer.formats",),
}
WITHOUT_TORCH = (
    "spikformer",
    "spikformer.config",
    "spikformer.published",
    "nas",
    "nas.settings",
    "nas.spaces",
    "nas.events",
)


def modules() -> dict[str, str]:
    """The source of each module, by its dotted name; of a package its `__init__`."""
    paths = [*(ROOT / "spikformer").rglob("*.py"), *(ROOT / "nas").rglob("*.py"), ROOT / "cli.py"]
    return {_dotted(path.relative_to(ROOT)): path.read_text() for path in paths}


def _dotted(path: Path) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def test_every_module_has_its_place() -> None:
    assert {name.split(".")[1] for name in modules() if name.startswith("spikformer.")} == set(SPIKFORMER)
    assert {name.split(".")[1] for name in modules() if name.startswith("nas.")} == set(ROOMS)


def test_every_module_has_tests() -> None:
    """In a file of its name, or in the one that `tested_elsewhere.toml` names with a reason."""
    elsewhere = tomllib.loads((ROOT / "tests" / "tested_elsewhere.toml").read_text())
    assert all((ROOT / path).exists() and entry["reason"] for path, entry in elsewhere.items())
    listed = [module for entry in elsewhere.values() for module in entry["modules"]]
    names = {name for name in modules() if name.count(".") == 2 or (name.count(".") == 1 and not _is_room(name))}
    own = {name for name in names if (ROOT / "tests" / _test_of(name)).exists()}
    assert sorted(listed) == sorted(names - own)


def _is_room(name: str) -> bool:
    return (ROOT / name.replace(".", "/")).is_dir()


def _test_of(module: str) -> str:
    *folders, name = module.split(".")
    return "/".join([*(folder for folder in folders if folder != "nas"), f"test_{name}.py"])


def test_imports_point_up_and_go_through_doors() -> None:
    assert list(wrong_imports(modules())) == []


def test_modules_of_a_room_do_not_import_each_other_in_circles() -> None:
    """Of spikformer the list says as much."""
    edges = {name: {t for t, _ in _imports(source)} for name, source in modules().items() if name.count(".") == 2}
    for name in edges:
        assert name not in _reached(name, edges), f"{name} is reached from itself"


def test_nobody_touches_the_privates_of_another_package() -> None:
    assert list(foreign_privates(modules())) == []


def test_one_module_touches_what_optuna_keeps_to_itself() -> None:
    for module, source in modules().items():
        for node in ast.walk(_parsed(source)):
            if isinstance(node, ast.Attribute) and node.attr in ("_storage", "_study_id", "_trial_id"):
                assert module == "nas.studies.handles" or ast.unparse(node.value) == "self", module


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("nas.full_training.loop", "import optuna"),
        ("nas.full_training.loop", "def later():\n    from optuna.trial import TrialState"),
        ("nas.studies.study", "from nas.searching import search"),
        ("nas.searching.loop", "from nas.studies.storage import opened"),
        ("nas.searching.loop", "import nas.studies.storage"),
        ("nas.searching.loop", "from nas.studies import Kept"),
        ("nas.stats.pareto", "from nas.progress import summary"),
        ("spikformer.config", "from spikformer.model import Spikformer"),
        ("spikformer.config", "from nas.spaces import SearchSpace"),
        ("nas.costs.energy", "import cli"),
        ("nas.reports.rows", "from plotly import graph_objects"),
    ],
)
def test_a_forbidden_import_is_found(module: str, line: str) -> None:
    sources = modules()
    assert list(wrong_imports(sources | {module: f"{sources[module]}\n{line}\n"})) != []


@pytest.mark.parametrize(
    "line", ["from nas.stats.pareto import _front", "from nas.stats import pareto\npareto._front()", "study._known = 0"]
)
def test_a_private_of_another_package_is_found(line: str) -> None:
    sources = modules()
    changed = sources | {"nas.reports.rows": f"{sources['nas.reports.rows']}\n{line}\n"}
    assert list(foreign_privates(changed)) != []


def wrong_imports(sources: dict[str, str]) -> Iterator[str]:
    """Every import that its module may not have, in words."""
    doors = {f"nas.{room}": _named(sources[f"nas.{room}"]) for room in ROOMS if f"nas.{room}." in " ".join(sources)}
    for module, source in sources.items():
        for target, name in _imports(source):
            if (reason := _reason_against(module, target, name, doors)) is not None:
                yield f"{module} imports {name or 'all'} from {target}: {reason}"


def _reason_against(module: str, target: str, name: str, doors: dict[str, set[str]]) -> str | None:
    library = target.split(".")[0]
    if library in DOORS:
        inside = any(module == door or (door.endswith(".") and module.startswith(door)) for door in DOORS[library])
        return None if inside else f"only {DOORS[library]} may"
    if library not in ("spikformer", "nas", "cli"):
        return None
    here, there = _place(module), _place(target if target != library else f"{target}.{name}")
    if here == ("nas", "commands") and target == "nas":  # the commands call what the contents page lists
        return None
    if here == there or module == "cli" or (library == "spikformer" and here[0] == "nas"):
        return _reason_against_depth(here, there, target, name, doors)
    if here[0] != there[0] or _rank(here) <= _rank(there):
        return "it does not stand above"
    return _reason_against_depth(here, there, target, name, doors)


def _reason_against_depth(
    here: tuple[str, str], there: tuple[str, str], target: str, name: str, doors: dict[str, set[str]]
) -> str | None:
    room = ".".join(there)
    if here == there or room not in doors:
        return None
    return None if target == room and name in doors[room] else f"{room} does not name it"


def _place(module: str) -> tuple[str, str]:
    """Package, and room or module in it."""
    parts = [*module.split("."), ""]
    return parts[0], parts[1]


def _rank(place: tuple[str, str]) -> int:
    """From the top; the contents page `nas` stands below all rooms."""
    order = SPIKFORMER if place[0] == "spikformer" else ROOMS
    return order.index(place[1]) if place[1] in order else len(order)


def _named(source: str) -> set[str]:
    """What a door names: its `__all__`."""
    for node in _parsed(source).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return set(ast.literal_eval(node.value))
    return set()


@functools.cache  # a test changes one module, and looks at all
def _parsed(source: str) -> ast.Module:
    return ast.parse(source)


@functools.cache
def _imports(source: str) -> set[tuple[str, str]]:
    """(module, name) of all imports, also those within functions; those for type checkers only are left out."""
    tree = _parsed(source)
    guarded = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    pairs: set[tuple[str, str]] = set()
    for node in ast.walk(tree):
        if id(node) in guarded:
            continue
        if isinstance(node, ast.Import):
            pairs |= {(alias.name, "") for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            pairs |= {(node.module, alias.name) for alias in node.names}
    return pairs


def _reached(start: str, edges: dict[str, set[str]]) -> set[str]:
    """Modules that one imports, and what these import, within its room."""
    room = start.rpartition(".")[0]
    reached: set[str] = set()
    waiting = [start]
    while waiting:
        targets = {t for t in edges.get(waiting.pop(), set()) if t.startswith(f"{room}.")} - reached
        reached |= targets
        waiting += targets
    return reached


def foreign_privates(sources: dict[str, str]) -> Iterator[str]:
    """Private names that a module imports from another package, or reads of objects that its package does not make."""
    own: dict[tuple[str, str], set[str]] = {}
    for module, source in sources.items():
        own.setdefault(_package(module), set()).update(_defined(_parsed(source)))
    everywhere = set.union(*own.values())
    for module, source in sources.items():
        foreign = everywhere - own[_package(module)]
        for node in ast.walk(_parsed(source)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in ("nas", "spikformer"):
                privates = {alias.name for alias in node.names if _is_private(alias.name)}
                if _package(f"{node.module}.x") != _package(module):
                    yield from (f"{module} imports {name} from {node.module}" for name in privates)
            elif isinstance(node, ast.Attribute) and node.attr in foreign:
                yield f"{module} reads {ast.unparse(node)}"


def _package(module: str) -> tuple[str, str]:
    package, room = _place(module)
    return (package, room) if package == "nas" else (package, "")


def _defined(tree: ast.AST) -> set[str]:
    """Private functions, classes, attributes and variables that a module makes."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and ast.unparse(node.value) == "self":
            names.add(node.attr)
    return {name for name in names if _is_private(name)}


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name != "_"


@pytest.mark.parametrize("module", WITHOUT_TORCH)
def test_reading_configs_and_spaces_needs_no_torch(module: str) -> None:
    program = f"import sys, {module}; sys.exit('torch' in sys.modules or 'optuna' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 0


# Named, so that neither a configuration of the user's nor another Python on the path takes part.
TYPES = ["pyrefly", "check", "--config", "pyproject.toml", "--python-interpreter-path", sys.executable]


@pytest.mark.parametrize("command", [["ruff", "check", "."], ["ruff", "format", "--check", "."], TYPES])
def test_lint_and_types_are_clean(command: list[str]) -> None:
    pytest.importorskip(command[0], reason="development tools are not installed")
    settings = {name: value for name, value in os.environ.items() if not name.startswith("PYREFLY_")}
    process = [sys.executable, "-m", *command]
    done = subprocess.run(process, cwd=ROOT, env=settings, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
