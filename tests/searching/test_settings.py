"""Settings of a search: the keywords of `search` are the fields of one dataclass."""

import dataclasses
import typing
from typing import Any

import pytest

from nas.errors import StudyError
from nas.searching.settings import SearchKeywords, SearchSettings


def test_the_keywords_of_a_search_are_the_fields_of_its_settings() -> None:
    """Names and types: a type checker holds calls to the first, and the search reads the second."""
    assert typing.get_type_hints(SearchKeywords) == typing.get_type_hints(SearchSettings)


def test_settings_are_frozen_and_all_have_defaults() -> None:
    settings = SearchSettings()
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.seed = 1  # pyrefly: ignore[read-only]  # which is the point


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"patience": 0}, "patience 0 must be at least 1"),
        ({"sampler": "TPESampel"}, 'sampler "TPESampel" is unknown. Did you mean'),
        ({"seed": -1}, "seed -1 must be between 0 and 4294967295"),
        ({"energy_of": "both"}, 'energy_of "both" is unknown. Use proxy or target'),
        ({"rank_by": "energy+memoryy"}, 'rank_by "energy+memoryy" is unknown. Did you mean "energy+memory"'),
        ({"rank_by": "chip:loihi", "energy_of": "target"}, "rank_by chip:loihi prices the proxy itself. Leave out"),
        ({"target_image_size": 33}, "target_image_size 33 must be a multiple of 32"),
        ({"device": "tpu"}, 'device "tpu" is unknown. Use auto, cpu, cuda or cuda:1'),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused_when_it_is_made(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(StudyError) as caught:
        SearchSettings(**settings)
    assert message in str(caught.value)
