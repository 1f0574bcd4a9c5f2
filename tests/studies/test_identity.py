"""What results depend on, as earlier versions wrote it: fields of a network that these did not know are at defaults."""

import optuna
import pytest

from nas.errors import StudyError
from nas.replicates import runs
from nas.spaces import completed
from nas.studies import storage as storages
from nas.tables.contents import Settings
from spikformer import SpikformerConfig
from spikformer.fields import PlainTable


def written(**stem: object) -> PlainTable:
    """An identity whose base network has these fields of the stem only, and all others."""
    base = SpikformerConfig().to_dict()
    return {"seed": 0, "space.base": base | {"stem": {"kind": "sps", "image_size": 32} | stem}}


TODAY = {"seed": 0, "space.base": SpikformerConfig().to_dict()}


def test_what_an_earlier_version_did_not_know_is_at_its_default() -> None:
    assert completed(written()) == TODAY
    assert completed(written(position="none")) != TODAY
    assert completed({"seed": 0}) == {"seed": 0}
    impossible = {"space.base": {"depth": "many"}}
    assert completed(impossible) == impossible


def test_tables_of_earlier_versions_compare() -> None:
    assert Settings("mine", written()).differences(Settings("mine", TODAY)) == ()
    assert Settings("mine", written(position="none")).differences(Settings("mine", TODAY)) == ("space.base",)


def test_trainings_beside_a_study_of_an_earlier_version_go_on() -> None:
    storage = optuna.storages.InMemoryStorage()
    with storages.quiet_optuna():
        runs.opened("mine", "proxies", storage, written())
        runs.opened("mine", "proxies", storage, TODAY)
    with storages.quiet_optuna(), pytest.raises(StudyError, match=r"other settings \(space.base differ\)"):
        runs.opened("mine", "proxies", storage, written(position="none"))
