"""What several tests need: small networks and random configs."""

import random
import signal
from collections.abc import Iterable
from typing import Any, get_args

import pytest
import torch

from nas.costs import contract
from nas.progress import Observer
from spikformer import Spikformer, SpikformerConfig
from spikformer.config import Residual

ATTENTIONS = ("ssa", "sdsa", "qkta", "qkca")
RESIDUALS: tuple[str, ...] = get_args(Residual)
PLACEMENTS: dict[str, dict[str, Any]] = {
    "published": {},
    "pool_first": {"pool_order": "before_neuron"},
    "map": {"neuron_on": "map"},
    "head": {"neuron": True},
}


def interruptible() -> None:
    """As `preexec_fn` of a child: SIGINT reaches it also where a shell ignores it for commands in the background."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Heard(Observer):
    """Keeps what a search said."""

    text = ""

    def notice(self, text: str) -> None:
        self.text += text + "\n"


def thinned(cases: Iterable[Any], every: int) -> list[Any]:
    """Cases of a test, marked so that one in `every` runs in CI, and the others before a release."""
    return [
        pytest.param(*_values(case), marks=[] if i % every == 0 else [pytest.mark.exhaustive])
        for i, case in enumerate(cases)
    ]


def _values(case: Any) -> tuple[Any, ...]:
    return case if isinstance(case, tuple) else (case,)


def small_config(
    residual: str = "sew",
    attention: str = "ssa",
    placement: str = "published",
    time_steps: int = 2,
    *,
    dim: int = 16,
    depth: int = 1,
    heads: int = 2,
    ratio: float = 2,
    neuron: str = "lif",
    shortcut: bool = True,
    image_size: int = 8,
    pool: tuple[bool, ...] = (False, False, False, True),
) -> SpikformerConfig:
    """A network of a few thousand parameters for 3 x 8 x 8 images; its neurons fire from the start."""
    moved = PLACEMENTS[placement]
    stem = {"image_size": image_size, "pool": list(pool), "shortcut": shortcut}
    mixer = {"kind": attention, "num_heads": heads, "threshold": 0.25, "scale": 1.0}
    return SpikformerConfig.from_dict(
        {
            "time_steps": time_steps,
            "residual": residual,
            "neuron": {"kind": neuron, "tau": 1.5, "threshold": 0.25, "surrogate": "atan"},
            "stem": stem | {k: v for k, v in moved.items() if k == "pool_order"},
            "stages": [
                {
                    "embed_dim": dim,
                    "depth": depth,
                    "mixer": mixer | {k: v for k, v in moved.items() if k == "neuron_on"},
                    "mlp": {"ratio": ratio},
                }
            ],
            "head": {"num_classes": 5} | {k: v for k, v in moved.items() if k == "neuron"},
        }
    )


def random_config(rng: random.Random) -> SpikformerConfig:
    """Anything of the core family at a small size."""
    return small_config(
        rng.choice(RESIDUALS),
        rng.choice(ATTENTIONS),
        rng.choice(list(PLACEMENTS)),
        rng.choice([1, 2, 4]),
        dim=rng.choice([8, 16, 24]),
        depth=rng.choice([1, 2]),
        heads=rng.choice([1, 2, 4]),
        ratio=rng.choice([1, 2, 3]),
        neuron=rng.choice(["lif", "plif"]),
        shortcut=rng.random() < 0.5,
        pool=(False, *(rng.random() < 0.5 for _ in range(2)), False),
    )


def calibrated(
    config: SpikformerConfig,
    seed: int = 0,
    device: torch.device = torch.device("cpu"),  # noqa: B008  # a constant
) -> tuple[Spikformer, torch.Tensor]:
    """A network in eval mode that fires in every layer, and images [3, C, H, W] for it; float32."""
    model, images = contract.calibrated(config, seed, device)
    return model.float(), images.float()
