"""The data card of a table: what it is, of which images, by which recipe, and on which machines it was trained.

It follows from what the table holds, so that equal contents have equal cards, whoever put them together.
"""

import datetime
from collections import Counter

from nas.tables.contents import Contents
from nas.training import Candidate
from spikformer.fields import PlainTable


def card(contents: Contents) -> PlainTable:
    """Plain values, as JSON has them."""
    settings, trainings = contents.settings, contents.trainings
    records = list(trainings.values())
    shares = Counter(key.share for key in trainings)
    seeds = Counter(key.seed for key in trainings if key.share == max(shares, default=1.0))
    days = sorted(filter(None, map(_day, records)))
    section = {key: value for key, value in settings.identity.items() if key.startswith(("data.", "recipe."))}
    return {
        "what": "Spiking transformers, each trained by one recipe on shares of its images, measured on held-out images "
        "with exact counts of operations. No test image was read.",
        "space": settings.space,
        "images": {key.removeprefix("data."): value for key, value in section.items() if key.startswith("data.")},
        "seed_of_split": settings.identity.get("seed", 0),
        "recipe": {key.removeprefix("recipe."): value for key, value in section.items() if key.startswith("recipe.")},
        "networks": len({key.config_id for key in trainings}),
        "trainings": len(trainings),
        "trainings_by_share": {f"{share:g}": shares[share] for share in sorted(shares)},
        "trainings_by_seed_at_last_share": {str(seed): seeds[seed] for seed in sorted(seeds)},
        "statuses": dict(sorted(Counter(record.status for record in records).items())),
        "hours": round(sum(record.provenance["wall_s"] for record in records) / 3600, 4),
        "first_day": days[0] if days else None,
        "last_day": days[-1] if days else None,
        "devices": _distinct(records, "device"),
        "processors": _distinct(records, "processor"),
        "commits": _distinct(records, "commit"),
        "versions": _versions(records),
    }


def _day(record: Candidate) -> str | None:
    text = record.provenance.get("finished_at")
    try:
        return datetime.datetime.fromisoformat(str(text)).date().isoformat()
    except ValueError:
        return None


def _distinct(records: list[Candidate], name: str) -> list[str]:
    return sorted({str(record.provenance[name]) for record in records if record.provenance.get(name) is not None})


def _versions(records: list[Candidate]) -> list[str]:
    """Such as "torch 2.9.0", of each package all that took part."""
    pairs = {pair for record in records for pair in record.provenance.get("versions", {}).items()}
    return sorted(f"{package} {version}" for package, version in pairs)


__all__ = ["card"]
