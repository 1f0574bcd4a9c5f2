"""What the results of a study depend on: a search goes on only with a study that was made with the same."""

import json

from nas.costs import IMAGE_SIZE
from nas.errors import StudyError
from nas.spaces import SearchSpace, completed
from nas.studies import handles, records
from nas.studies.study import Study
from nas.training import EnergyOf
from spikformer import schema
from spikformer.fields import PlainTable
from spikformer.identity import VERSION as IDS


def identity_of(space: SearchSpace, fingerprint: str, seed: int, energy_of: EnergyOf, image_size: int) -> PlainTable:
    """What results depend on, flat, so that a difference can be named; as JSON has it."""
    flat: PlainTable = {"data.images": fingerprint, "seed": seed}
    for section, values in space.identity().items():
        flat |= {f"{section}.{key}": value for key, value in values.items()}
    # Defaults leave no trace: studies that were made before these settings existed stay the same.
    flat |= {"energy_of": energy_of} if energy_of != "proxy" else {}
    flat |= {"target_image_size": image_size} if image_size != IMAGE_SIZE else {}
    return dict(json.loads(json.dumps(flat)))


def check_identity(study: Study, identity: PlainTable) -> None:
    """Hold a study to the settings of a search; a study that has not begun takes them.

    Raises:
        StudyError: the study was made with other settings, or by a version that names networks otherwise or is newer.
    """
    records.check_schema(study.name, handles.attributes_of(study.optuna))
    identity = identity | {"ids": IDS}
    stored = study.identity
    if not stored:
        _number(study)
        study.optuna.set_user_attr("identity", identity)
        return
    if stored.get("ids") != IDS:  # before ids had a version, a study did not say so
        raise StudyError(
            f"the network ids in study {study.name} were made by another version of this program: a search here would "
            "train the same networks again under new ids. Use that version, or start a new study with --study NAME. "
            "`report`, `confirm`, `inspect` and `export` work on this study"
        )
    stored, identity = completed(stored), completed(identity)
    changed = [key for key in sorted({*stored, *identity}) if stored.get(key) != identity.get(key)]
    if changed:
        listed = "; ".join(f"{key} {_short(stored.get(key))} -> {_short(identity.get(key))}" for key in changed[:3])
        raise StudyError(
            f"study {study.name} was made with other settings ({listed}). Its results would not be comparable. "
            "Restore the settings, or start a new study with --study NAME"
        )
    _number(study)


def _number(study: Study) -> None:
    """From here on a study has records of today's layout, whoever began it."""
    if handles.attributes_of(study.optuna).get(schema.KEY) != records.SCHEMA:
        study.optuna.set_user_attr(schema.KEY, records.SCHEMA)


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


__all__ = ["check_identity", "identity_of"]
