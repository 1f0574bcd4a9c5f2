"""What takes any network takes chains: fusing, ONNX files, counts from shapes, transfer, a dry run of a training."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from nas.bundles import bundle as bundles
from nas.bundles import recipe as recipes
from nas.costs import contract
from nas.costs.static import parts, static_operations, total_macs, weighted_macs
from nas.full_training import dry_run
from spikformer import Spikformer, SpikformerConfig, fuse
from spikformer.formats import write_onnx
from spikformer.transfer import transferred
from tests.costs.test_contract_chains import DOWNS, STEMS
from tests.facts import config_of, points
from tests.spikformer.test_formats import assert_mostly_equal, logits_of, needs_onnx
from tests.spikformer.test_fusion import assert_fuses, norms, trained

FACTS = points("event_parity.json")
MIXED: dict[str, Any] = {
    "stem": {"image_size": 32, "in_channels": 2, "position": "learned"} | STEMS["plain_after"],
    "stages": [
        {"embed_dim": 16, "depth": 1, "mixer": {"kind": "ssa", "num_heads": 2, "qkv_dim": 8}, "mlp": {"ratio": 1}},
        {"embed_dim": 32, "depth": 0, "down": DOWNS["chain_shortcut"]},
        {"embed_dim": 32, "depth": 1, "mixer": {"kind": "sdsa", "num_heads": 2, "erode": True}, "mlp": {"ratio": 1}},
        {"embed_dim": 48, "depth": 0, "down": DOWNS["chain"]},
    ],
}
NETWORKS = ("ev_qkformer_cifar10dvs_b1", "ev_maxformer_cifar10dvs", "mixed")


def network(name: str) -> SpikformerConfig:
    """For events of 32 x 32 pixels at two time steps, one block a stage where there are blocks."""
    if name == "mixed":
        return SpikformerConfig.from_dict(contract.small(time_steps=2, residual="sew_iand", **MIXED))
    config = config_of(FACTS[name]["config"])
    stages = tuple(dataclasses.replace(stage, depth=1) for stage in config.stages)
    stem = dataclasses.replace(config.stem, image_size=32)
    neuron = dataclasses.replace(config.neuron, threshold=0.25)
    return dataclasses.replace(config, time_steps=2, stages=stages, stem=stem, neuron=neuron)


def settled(name: str) -> tuple[Spikformer, Tensor]:
    """In float32."""
    model, images = contract.calibrated(network(name))
    return model.float(), images.float()


@pytest.mark.parametrize("name", NETWORKS)
def test_no_batch_norm_is_left_and_no_spike_is_lost(name: str) -> None:
    assert not norms(assert_fuses(*trained(network(name))))


@pytest.mark.parametrize("stem", [name for name in STEMS if name != "own"])
@pytest.mark.parametrize("down", ["chain", "chain_shortcut"])
def test_every_chain_fuses(stem: str, down: str) -> None:
    values = contract.small(time_steps=2, stem={"image_size": 16} | STEMS[stem])
    values["stages"].append(values["stages"][0] | {"embed_dim": 24, "down": DOWNS[down]})
    assert not norms(assert_fuses(*trained(SpikformerConfig.from_dict(values))))


@needs_onnx
@pytest.mark.exhaustive  # other networks are written and computed in CI, and chains are the same operations
@pytest.mark.parametrize("name", NETWORKS)
def test_onnx_files_compute_their_logits(name: str, tmp_path: Path) -> None:
    model, images = settled(name)
    assert write_onnx(model, tmp_path / "network.onnx") < 0.1
    with torch.no_grad():
        assert_mostly_equal(logits_of(tmp_path / "network.onnx", images), fuse(model)(images))


@pytest.mark.parametrize("name", NETWORKS)
def test_shapes_tell_what_they_multiply(name: str) -> None:
    """The count of fvcore; that of convolutions and linear layers leaves the products of attention out."""
    config = network(name)
    operations = static_operations(config)
    whole = parts(Spikformer(config))[0].dense_macs
    assert total_macs(config) == whole
    layers = sum(op.dense * op.repeats for op in operations if op.kind == "weight")
    classifier = config.stages[-1].embed_dim * config.head.num_classes  # which runs once, and is counted at each step
    assert weighted_macs(config) == layers + (config.time_steps - 1) * classifier
    assert layers <= whole
    assert static_operations(config, fused=True)[-1].dense == operations[-1].dense


@pytest.mark.parametrize("name", NETWORKS)
def test_weights_move_to_other_classes_and_channels(name: str) -> None:
    """All but the classifier; kernels for one channel are the sum of those for two."""
    model, images = settled(name)
    config = model.config
    stem, head = dataclasses.replace(config.stem, in_channels=1), dataclasses.replace(config.head, num_classes=3)
    moved = transferred(model, dataclasses.replace(config, stem=stem, head=head))
    grey = images[:, :1]
    features = [m.stages(m.stem(x[None])) for m, x in ((moved, grey), (model, grey.expand(-1, 2, -1, -1)))]
    torch.testing.assert_close(features[0], features[1])
    assert moved(grey).shape == (len(images), 3)


@pytest.mark.slow
def test_a_training_of_a_chain_is_tried(tmp_path: Path) -> None:
    """Steps on noise, with gradients through every part."""
    config = network(NETWORKS[1])
    config = dataclasses.replace(config, stem=dataclasses.replace(config.stem, in_channels=3))
    recipe = recipes.for_network(config)
    folder = bundles.write(tmp_path / "chain", {"network": config.to_dict()}, recipe, "a card", {})
    tried = dry_run.run(folder, settings=("batch_size=4", "image_size=32"))
    assert tried is not None
    assert tried.parameters == sum(p.numel() for p in Spikformer(config).parameters())
    assert tried.images_a_s > 0
