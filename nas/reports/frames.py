"""Frames of recordings as pictures, two polarities in two colours."""

import html

import numpy as np

from nas.studies import ShownFrames

_GAP = 2  # between pictures, in places
_SHADES = 4
_POLARITIES = ("off", "on")  # 0 is darker, 1 is brighter


def svg(shown: ShownFrames) -> str:
    """One picture for each time step, side by side; the more events at a place, the stronger is its colour."""
    steps, _, side, _ = shown.counts.shape
    events = shown.counts[shown.counts > 0]
    strongest = float(np.quantile(events, 0.95, method="higher")) if events.size else 1.0
    shades = np.minimum(np.ceil(_SHADES * shown.counts / strongest), _SHADES).astype(int)  # [T, 2, side, side]
    width = steps * (side + _GAP) - _GAP
    label = html.escape(f"{steps} frames of a recording of class {shown.label}", quote=True)
    return (
        f'<svg class="frames" viewBox="0 0 {width} {side}" style="max-width: {6 * width}px" role="img" '
        f'aria-label="{label}">{"".join(_picture(shades[t], t * (side + _GAP)) for t in range(steps))}</svg>'
    )


def _picture(shades_PHW: np.ndarray[tuple[int, ...], np.dtype[np.int_]], left: int) -> str:
    side = shades_PHW.shape[-1]
    paths = [f'<rect x="{left}" width="{side}" height="{side}"/>']
    for name, shades_HW in zip(_POLARITIES, shades_PHW, strict=True):
        for shade in range(1, _SHADES + 1):
            places = np.argwhere(shades_HW == shade).tolist()
            if places:
                drawn = "".join(f"M{left + x} {y}h1v1h-1z" for y, x in places)
                paths.append(f'<path class="{name}" opacity="{shade / _SHADES:g}" d="{drawn}"/>')
    return "".join(paths)


def in_words(shown: ShownFrames) -> str:
    """What is seen."""
    added = f" A place is the sum of {shown.added} x {shown.added} pixels." if shown.added > 1 else ""
    return (
        "What networks are fed: frames of recordings to train on, at the fewest time steps of the space. Each row is a "
        "recording, and each picture is a time step, of which at most 24 are shown. Blue is polarity 1 (brighter) and "
        f"orange is polarity 0 (darker); the stronger the colour, the more events.{added}"
    )


__all__ = ["in_words", "svg"]
