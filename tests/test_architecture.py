"""The house keeps its shape: imports point one way, lint and types are clean."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# What a module may import of the project: only what stands above it in its list, and `nas` all of `spikformer`.
SPIKFORMER = (
    "errors",
    "plugins",
    "fields",
    "identity",
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
    "published",
    "official",
    "checkpoints",
)
NAS = (
    "errors",
    "files",
    "pareto",
    "statistics",
    "twin",
    "budget",
    "space",
    "surrogate",
    "searcher",
    "cifar",
    "pictures",
    "splits",
    "data_account",
    "data",
    "speed",
    "augmentation",
    "device_memory",
    "graph",
    "step",
    "training",
    "free_operations",
    "scales",
    "custom_neurons",
    "cost",
    "energy",
    "rates",
    "memory",
    "chip",
    "target",
    "measurement",
    "provenance",
    "recording",
    "probing",
    "origins",
    "enumeration",
    "equivariance",
    "contract",
    "candidate",
    "constraints",
    "progress",
    "urls",
    "storage",
    "trials",
    "leases",
    "claims",
    "proposals",
    "study",
    "status",
    "engines",
    "processes",
    "ray_engine",
    "setup",
    "artifacts",
    "runs",
    "confirmation",
    "loop",
    "full_training.recipe",
    "full_training.memory",
    "bundle",
    "full_training.decoding",
    "full_training.shards",
    "full_training.images",
    "full_training.overlap",
    "full_training.shrinking",
    "full_training.team",
    "full_training.augmentation",
    "full_training.resident",
    "full_training.loading",
    "full_training.objective",
    "full_training.state",
    "full_training.journal",
    "full_training.stopping",
    "full_training.build",
    "full_training.evaluation",
    "full_training.outcome",
    "full_training.loop",
    "full_training.rehearsal",
    "full_training.attached",
    "inspection",
    "report.rows",
    "report.axes",
    "report.repeats",
    "report.findings",
    "report.methods",
    "report.contents",
    "report.charts",
    "report.drawing",
    "report.figure",
    "report.evaluated",
    "report.texts",
    "report.page",
    "scaling",
    "validation",
    "report.proxies",
    "export",
)
WITHOUT_TORCH = ("spikformer", "spikformer.config", "spikformer.published", "nas", "nas.space")


def test_every_module_has_its_place() -> None:
    for package, order in (("spikformer", SPIKFORMER), ("nas", NAS)):
        paths = [path.relative_to(ROOT / package).with_suffix("") for path in (ROOT / package).rglob("*.py")]
        assert {".".join(path.parts) for path in paths if path.stem != "__init__"} == set(order)


@pytest.mark.parametrize("module", [f"spikformer.{name}" for name in SPIKFORMER] + [f"nas.{name}" for name in NAS])
def test_imports_point_up(module: str) -> None:
    package, name = module.split(".", 1)
    order = SPIKFORMER if package == "spikformer" else NAS
    above = {f"{package}.{earlier}" for earlier in order[: order.index(name)]}
    for imported in _imports(ROOT / package / f"{name.replace('.', '/')}.py"):
        if imported.split(".")[0] == "spikformer" and package == "nas":
            continue
        if imported in ("nas.full_training", "nas.report"):
            continue
        if imported.split(".")[0] in ("spikformer", "nas", "cli"):
            assert imported in above, f"{module} imports {imported}, which does not stand above it"


def test_one_door_to_each_library() -> None:
    """optuna behind what keeps studies, pandas and matplotlib behind report, spikingjelly behind neurons and memopt."""
    keepers = ("artifacts", "storage", "leases", "trials", "claims", "proposals", "study", "status", "runs", "loop")
    doors = {
        "optuna": keepers,
        "pandas": ("rows", "axes", "repeats", "findings", "contents", "charts", "figure", "texts", "page", "proxies"),
        "matplotlib": ("figure", "evaluated", "proxies"),
        "plotly": ("charts", "page"),
        "spikingjelly": ("neurons", "formats", "build"),
    }
    doors |= {"ray": ("ray_engine",), "sqlalchemy": ("storage",)}
    doors |= dict.fromkeys(("onnx", "onnxruntime", "nir", "nirtorch"), ("formats",))
    doors |= {"timm": ("augmentation", "loading", "objective", "build")}
    for path in [*(ROOT / "spikformer").glob("*.py"), *(ROOT / "nas").rglob("*.py"), ROOT / "cli.py"]:
        for imported in _imports(path):
            door = doors.get(imported.split(".")[0])
            assert door is None or path.stem in door, f"{path.name} imports {imported}; only {door} may"


@pytest.mark.parametrize("module", WITHOUT_TORCH)
def test_reading_configs_and_spaces_needs_no_torch(module: str) -> None:
    program = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize("command", [["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy"]])
def test_lint_and_types_are_clean(command: list[str]) -> None:
    pytest.importorskip(command[0], reason="development tools are not installed")
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def _imports(path: Path) -> set[str]:
    """Modules of the project and of libraries; those for type checkers only are left out."""
    tree = ast.parse(path.read_text())
    guarded = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    found: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in guarded:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            is_package = node.module in ("nas", "nas.full_training", "nas.report", "spikformer")
            found |= {f"{node.module}.{alias.name}" for alias in node.names} if is_package else {node.module}
    return found
