"""A record says where, when and with what a network was trained."""

import importlib.metadata
import platform
import subprocess
import time
from pathlib import Path

import torch

from nas.training import provenance

ROOT = Path(__file__).parents[2]


def test_a_record_names_the_machine_the_libraries_and_the_code() -> None:
    """Versions as the packages tell them; the commit as git does."""
    record = provenance.of(torch.device("cpu"), time.monotonic())
    libraries = ("torch", "spikingjelly", "optuna", "numpy", "scikit-learn", "timm")
    expected = {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in libraries}
    assert expected.items() <= record["versions"].items()
    assert record["threads"] == torch.get_num_threads()
    assert len(record["processor"]) > 2
    if (ROOT / ".git").exists():
        command = ["git", "-C", str(ROOT), "rev-parse", "HEAD"]
        head = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert record["commit"].removesuffix("+") == head[:12]


def test_an_installed_package_has_its_version_where_a_clone_has_its_commit() -> None:
    versions = {"spikformer-nas": "0.1.0"}
    assert provenance.code_of({"commit": "0123456789ab+", "versions": versions}) == "commit 0123456789ab+"
    assert provenance.code_of({"commit": None, "versions": versions}) == "version 0.1.0"
    assert provenance.code_of({"commit": None, "versions": {}}) == "version not recorded"
