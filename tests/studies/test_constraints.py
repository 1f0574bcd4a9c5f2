"""Limits on networks, each against a figure that is had elsewhere."""

from pathlib import Path

import pytest

from nas.errors import SpaceError, StudyError
from nas.settings import Constraints
from nas.spaces import load_space
from nas.studies import constraints
from spikformer import Spikformer, published
from tests.helpers import small_config


def test_parameters_are_those_that_the_paper_prints() -> None:
    """Spikformer-8-512 has 29.68 M parameters (Zhou et al., 2023, table 1)."""
    config = published.config("spikformer_in_8_512")
    assert constraints.size_violations(config, Constraints(max_params=29_690_000))["max_params"] < 0
    assert constraints.size_violations(config, Constraints(max_params=29_670_000))["max_params"] > 0


def test_multiplications_are_those_of_the_authors_network() -> None:
    """33,436,192,768 at T = 4 and 224 x 224: their code on meta tensors."""
    config = published.config("spikformer_in_8_512")
    for limit, sign in ((33_436_192_768, 0), (33_436_192_767, 1), (33_436_192_769, -1)):
        excess = constraints.size_violations(config, Constraints(max_macs=limit))["max_macs"]
        assert (excess > 0) - (excess < 0) == sign


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max_params = -1", r"\[constraints\] max_params -1 must be positive"),
        ("min_accuracy = 90", r"min_accuracy 90\.0 must be a share below 1, such as 0\.9"),
        ("max_params = 1.5", r"line 2, \[constraints\] max_params: must be a whole number, not 1\.5"),
        ("max_energy_mj = inf", r"line 2, \[constraints\] max_energy_mj: must be finite, not inf"),
        ("max_parms = 1", r"max_parms: unknown key\. Did you mean \"max_params\""),
        ("max_macs = 1\n[hypervolume]\naccuracy = 0.8", r"line 3, \[hypervolume\] energy_mj is missing\. Give all of"),
        (
            "[hypervolume]\naccuracy = 80\nenergy_mj = 1",
            r"\[hypervolume\] accuracy 80\.0 of the .* such as 0\.8 for 80 %",
        ),
        ("[hypervolume]\naccuracy = 0.8\nenergy_mj = 0", r"\[hypervolume\] energy_mj 0\.0 of the .* must be positive"),
        ("[hypervolume]\naccurcy = 0.8", r"line 3, \[hypervolume\] accurcy: unknown key\. Did you mean \"accuracy\""),
    ],
)
def test_a_limit_that_cannot_be_meant_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "limits.toml"
    path.write_text(f"[constraints]\n{text}\n[axes]\ndepth = [1, 2]\n")
    with pytest.raises(SpaceError, match=message):
        load_space(path)


def test_limits_in_words() -> None:
    assert constraints.in_words(Constraints(max_params=16_000_000, min_accuracy=0.9)) == (
        "max_params 16,000,000, min_accuracy 0.9"
    )
    assert constraints.in_words(Constraints(max_latency_ms=0.5, fits="loihi")) == "max_latency_ms 0.5, fits loihi"
    assert constraints.in_words(Constraints()) == ""


def test_a_network_that_does_not_fit_is_named_with_the_layer() -> None:
    """Of Spikformer-8-512 at 224 x 224 a single layer has more neurons than Loihi's 128 cores."""
    config, asked = published.config("spikformer_in_8_512"), Constraints(fits="loihi")
    assert constraints.size_violations(config, asked) == {"fits": 1.0}
    reason = constraints.misfit(config, asked)
    assert reason is not None
    assert "but the chip has 128" in reason or "and a core has 4,096" in reason
    small = small_config("ms", "qkta")
    assert constraints.size_violations(small, asked) == {"fits": 0.0}
    assert constraints.misfit(small, asked) is constraints.misfit(config, Constraints()) is None


def test_a_limit_of_latency_needs_a_chip_of_the_program() -> None:
    with pytest.raises(StudyError, match=r"max_latency_ms 2 needs a chip\. Name one by fits"):
        constraints.check_chip(Constraints(max_latency_ms=2), "proxy")
    constraints.check_chip(Constraints(max_latency_ms=2), "chip:digital")
    constraints.check_chip(Constraints(max_latency_ms=2, fits="loihi"), "proxy")
    with pytest.raises(StudyError, match=r'fits "mine:model" is no chip of this program'):
        constraints.check_chip(Constraints(fits="mine:model"), "proxy")


def test_the_model_of_a_limit_is_the_model_that_is_trained() -> None:
    config = small_config("ms", "qkta")
    built = sum(p.numel() for p in Spikformer(config).parameters())
    assert constraints.size_violations(config, Constraints(max_params=built)) == {"max_params": 0}
