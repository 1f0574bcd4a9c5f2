"""Checkpoints as authors release them, made of networks of ours: their names, their shapes, what lies beside them."""

import argparse
from pathlib import Path

import torch

from spikformer import Spikformer, official
from tests.facts import points


def write(model: Spikformer, like: str, path: Path) -> Path:
    """A file of a parallel model's state_dict with the command line beside it, as their trainers write it.

    Args:
        like: a checkpoint of tests/data/official_checkpoints.json of the same family and depth, for names and axes.
    """
    shapes: dict[str, list[int]] = dict(points("official_checkpoints.json")[like]["keys"])
    family = official.family_of({name: torch.empty(0) for name in shapes})
    own, weights = model.state_dict(), {}
    for name, shape in shapes.items():
        if family.is_dead(name):
            weights[f"module.{name}"] = torch.ones(shape)
        else:
            tensor = own[family.our_name(name) or ""]
            weights[f"module.{name}"] = tensor.reshape(tensor.shape[: len(shape)])
    torch.save({"epoch": 299, "state_dict": weights, "args": argparse.Namespace(lr=5e-4, model="theirs")}, path)
    return path
