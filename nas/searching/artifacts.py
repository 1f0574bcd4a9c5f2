"""What a trial leaves for optuna-dashboard to show: a card in words, and its learning curve as a picture."""

import math
import tempfile
from pathlib import Path

import optuna
from optuna.artifacts import FileSystemArtifactStore, upload_artifact

from nas.progress import summary
from nas.training import Candidate, Epoch, in_words

FOLDER = "artifacts"
_WIDTH, _HEIGHT, _MARGIN = 360, 200, 34


def keep(trial: optuna.Trial, candidate: Candidate, folder: Path) -> None:
    """Store card and curve of a running trial; one that has ended takes none any more (Optuna 5).

    Args:
        folder: of the study; they lie in `artifacts/` within.

    Raises:
        OSError: no room.
    """
    place = folder / FOLDER
    place.mkdir(parents=True, exist_ok=True)
    store = FileSystemArtifactStore(str(place))
    with tempfile.TemporaryDirectory() as made:
        files = {"card.md": card(candidate)}
        history = tuple(epoch for epoch in candidate.history if math.isfinite(epoch.loss))
        if history:
            files["curve.svg"] = curve(history)
        for name, text in files.items():
            path = Path(made) / name
            path.write_text(text, encoding="utf-8")
            kind = "image/svg+xml" if path.suffix == ".svg" else "text/markdown"
            upload_artifact(artifact_store=store, file_path=str(path), study_or_trial=trial, mimetype=kind)


def card(candidate: Candidate) -> str:
    """In words: what it is, what it reached, what it costs."""
    silent = f"\nNever fired: {', '.join(candidate.silent_layers)}.\n" if candidate.silent_layers else ""
    seen = f"{candidate.images_seen:,} images, seed {candidate.seed}"
    return f"# {in_words(candidate)}\n\n{summary(candidate)}\n\n{seen}, config {candidate.config_id}\n{silent}"


def curve(history: tuple[Epoch, ...]) -> str:
    """Training loss, blue and falling, and training accuracy, orange, by epoch."""
    losses, accuracies = [epoch.loss for epoch in history], [epoch.accuracy for epoch in history]
    most = max(losses) or 1.0
    lines = [
        _line([loss / most for loss in losses], "#0072b2", f"loss, up to {most:.2f}", 14),
        _line(accuracies, "#e69f00", f"training accuracy, at last {100 * accuracies[-1]:.1f} %", 28),
    ]
    axes = f"M{_MARGIN} {_MARGIN}V{_HEIGHT - _MARGIN}H{_WIDTH - 8}"
    words = f'<text x="{_WIDTH - 8}" y="{_HEIGHT - 12}" text-anchor="end" font-size="11">{len(history)} epochs</text>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}" font-family="sans-serif">'
        f'<rect width="100%" height="100%" fill="white"/><path d="{axes}" fill="none" stroke="#888"/>'
        f"{''.join(lines)}{words}</svg>"
    )


def _line(shares: list[float], color: str, label: str, y: int) -> str:
    across, up = _WIDTH - 8 - _MARGIN, _HEIGHT - 2 * _MARGIN
    step = across / max(1, len(shares) - 1)
    points = " ".join(
        f"{_MARGIN + i * step:.1f},{_HEIGHT - _MARGIN - share * up:.1f}" for i, share in enumerate(shares)
    )
    dot = f'<circle cx="{_MARGIN}" cy="{_HEIGHT - _MARGIN - shares[0] * up:.1f}" r="3" fill="{color}"/>'
    return (
        f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="2"/>{dot}'
        f'<text x="{_MARGIN}" y="{y}" font-size="11" fill="{color}">{label}</text>'
    )


__all__ = ["FOLDER", "card", "curve", "keep"]
