"""The page of published accuracies and their protocols, from what the code lists about published networks."""

from collections.abc import Iterator

from tables import code, table

from spikformer import published
from spikformer.published_protocols import Protocol, dataset, of

_HEAD = """# Published numbers and their protocols

This page lists each accuracy that `published.figures(name)` gives, with its protocol: which images or recordings train
and which test, whether the best or the last epoch is printed, and how many seeds were run. The page is generated from
`spikformer/published_figures.py` and `spikformer/published_protocols.py` by `python docs/build.py --references`. Where
the code, the logs and the papers of the authors say nothing that was read, the page says "not known".

## What the best epoch means

In the code of all families, the network is tested after every epoch on the set whose accuracy the paper prints. The
checkpoint of the best epoch is kept. There is no third set on which an epoch could be chosen. A printed accuracy of
this kind is the maximum of as many test results as there are epochs, so it is higher than the accuracy to expect on
new images."""

_DIFFERENCES = (
    """{where} the best epoch is {low:.1f} to {high:.1f} percentage points above the last one ({count} logs)"""
)

_AFTER_LOGS = """A difference of this size between two networks may come from the choice of the epoch alone. No source
that was read says how many seeds were run. Full training here tests the last weights, once
([Full training](training.md)), so its accuracies are not comparable with a maximum over test epochs."""

_NO_ACCURACY = """## Networks without a printed accuracy

No accuracy of these networks is known: {names}."""


def page() -> str:
    """The page as Markdown."""
    names = published.names()
    lines = [_HEAD, "", _differences(names), "", *table(_LOG_COLUMNS, _logs(names)), "", _AFTER_LOGS]
    with_accuracy = [name for name in names if published.figures(name).accuracy is not None]
    for title in sorted({dataset(name) for name in with_accuracy}):
        lines += ["", *_section(title, [name for name in with_accuracy if dataset(name) == title])]
    without = ", ".join(code(name) for name in names if name not in with_accuracy)
    lines += ["", _NO_ACCURACY.format(names=without)]
    for name in names:
        if name not in with_accuracy and (protocol := published.figures(name).protocol):
            lines += ["", f"{code(name)}: {protocol}"]
    return "\n".join(lines) + "\n"


_COLUMNS = ("network", "printed accuracy (%)", "read in", "printed epoch", "seed", "further")
_LOG_COLUMNS = (
    "network",
    "printed (%)",
    "best (%)",
    "last (%)",
    "mean of last ten (%)",
    "best - last",
    "printed is best",
)


def _differences(names: list[str]) -> str:
    """By how much the best epoch exceeds the last one, apart for images and events, whose test sets are smaller."""
    logs = [(name, log) for name in names if (log := published.figures(name).log) is not None]
    are_of_events = {"For event cameras,": True, "For images,": False}
    sentences = []
    for where, of_events in are_of_events.items():
        gaps = [
            log.best - log.last for name, log in logs if (published.config(name).stem.in_channels != 3) == of_events
        ]
        sentences.append(_DIFFERENCES.format(where=where, low=min(gaps), high=max(gaps), count=len(gaps)))
    return f"By how much is known where the authors released a log. {'. '.join(sentences)}."


def _logs(names: list[str]) -> Iterator[tuple[str, ...]]:
    for name in names:
        figures = published.figures(name)
        if (log := figures.log) is not None:
            mean = "not read" if log.mean is None else f"{log.mean:g}"
            values = (f"{figures.accuracy}", f"{log.best:g}", f"{log.last:g}", mean, f"{log.best - log.last:.2f}")
            yield (code(name), *values, "yes" if log.is_best(figures.accuracy) else "no")


def _section(title: str, names: list[str]) -> Iterator[str]:
    """Splits of one data set, each with its networks if there are several, then a row for each printed accuracy."""
    protocols = {name: protocol for name in names if (protocol := of(name, published.figures(name).accuracy))}
    yield from (f"## {title}", "")
    splits = {protocol.split: "" for protocol in protocols.values()}
    for split in splits:
        of_it = [code(name) for name, protocol in protocols.items() if protocol.split == split]
        yield from (split if len(splits) == 1 else f"{', '.join(of_it)}: {split}", "")
    yield from dict.fromkeys(protocol.selection for protocol in protocols.values())
    yield ""
    yield from table(_COLUMNS, [_row(name, protocol) for name, protocol in protocols.items()])


def _row(name: str, protocol: Protocol) -> tuple[str, ...]:
    figures = published.figures(name)
    at = f" at {figures.image_size} x {figures.image_size} pixels" if figures.image_size else ""
    seed = "not known" if protocol.seed is None else str(protocol.seed)
    return code(name), f"{figures.accuracy}{at}", figures.source, protocol.epoch, seed, protocol.note


__all__ = ["page"]
