"""A network as a picture: SVG, drawn from its config, narrow enough for a phone."""

from dataclasses import dataclass
from html import escape

from nas.training import mixer_name, mlp_name, stem_name
from spikformer.config import MixerConfig, SpikformerConfig, StageConfig

_WIDTH, _BOX, _HEIGHT, _GAP = 340, 220, 40, 16
_LEFT = (_WIDTH - _BOX) // 2 - 10


@dataclass(frozen=True)
class _Box:
    """A part: two lines of text, its class for colours, and whether a shortcut leads around it."""

    title: str
    detail: str
    kind: str
    residual: bool = False


def svg(config: SpikformerConfig, title: str, fed: str = "image") -> str:
    """The way of an image through a network, top to bottom; `title` is read out for those who cannot see it.

    Args:
        fed: what the network is shown, in a word: "image" or "frames".

    Colours are the page's: classes `stem`, `mixer`, `mlp`, `head`, `edge`, `frame`.
    """
    parts: list[str] = []
    y = 10
    stem = config.stem
    y = _text(parts, y, f"{fed} {stem.in_channels} x {stem.image_size} x {stem.image_size}, T = {config.time_steps}")
    y = _boxes(parts, y, [_Box("stem", f"{stem_name(stem)}, to {_tokens(config.grids[0])}", "stem")])
    for i, stage in enumerate(config.stages):
        boxes = _stage(config, stage)
        if i and stage.down.kind != "none":
            y = _boxes(parts, y, [_Box("downsampling", f"to {_tokens(config.grids[i])}", "stem")])
        if not stage.depth:
            continue
        top = y
        y = _boxes(parts, y + 20, boxes)
        parts.append(
            f'<rect class="frame" x="{_LEFT - 42}" y="{top + 2}" width="{_BOX + 94}" height="{y - top - 8}" rx="8"/>'
        )
        parts.append(
            f'<text class="times" x="{_LEFT - 34}" y="{top + 18}">{stage.depth} x, {stage.embed_dim} channels, '
            f"{escape(_residual(config.residual))}</text>"
        )
    head = "mean over tokens and time, linear" + (", neuron first" if config.head.neuron else "")
    y = _boxes(parts, y + 4, [_Box(f"{config.head.num_classes} classes", head, "head")])
    return (
        f'<svg class="network" viewBox="0 0 {_WIDTH} {y}" role="img" aria-label="{escape(title, quote=True)}" '
        f'xmlns="http://www.w3.org/2000/svg">{"".join(parts)}</svg>'
    )


def _tokens(grid: int) -> str:
    return f"{grid} x {grid} tokens"


def _residual(kind: str) -> str:
    return {"sew": "spikes added", "ms": "membranes added", "sew_iand": "spikes masked"}.get(kind, kind)


def _stage(config: SpikformerConfig, stage: StageConfig) -> list[_Box]:
    parts = (("local", stage.local), ("mixer", stage.mixer))
    boxes = [_Box(mixer_name(m), _mixer(m), "mixer", residual=True) for _, m in parts if m.kind != "identity"]
    hidden = f"{stage.mlp.ratio:g} x {stage.embed_dim} hidden"
    return [*boxes, _Box(mlp_name(stage.mlp), hidden, "mlp", residual=True)]


def _mixer(mixer: MixerConfig) -> str:
    heads = f"{mixer.num_heads} head{'s' * (mixer.num_heads > 1)}" if mixer.reads("num_heads") else ""
    place = "neuron on the map" if mixer.kind == "ssa" and mixer.neuron_on == "map" else ""
    return ", ".join(filter(None, (mixer.kind.rpartition(":")[2], heads, place)))


def _text(parts: list[str], y: int, words: str) -> int:
    parts.append(f'<text class="io" x="{_LEFT + _BOX // 2}" y="{y + 12}" text-anchor="middle">{escape(words)}</text>')
    return y + 20


def _boxes(parts: list[str], y: int, boxes: list[_Box]) -> int:
    centre = _LEFT + _BOX // 2
    for box in boxes:
        parts.append(f'<path class="edge" d="M{centre} {y}v{_GAP}m-4 -6l4 6l4 -6"/>')
        top = y + _GAP
        parts.append(f'<rect class="{box.kind}" x="{_LEFT}" y="{top}" width="{_BOX}" height="{_HEIGHT}" rx="6"/>')
        parts.append(f'<text class="part" x="{centre}" y="{top + 17}" text-anchor="middle">{escape(box.title)}</text>')
        parts.append(
            f'<text class="detail" x="{centre}" y="{top + 32}" text-anchor="middle">{escape(box.detail)}</text>'
        )
        if box.residual:
            right, sum_y = _LEFT + _BOX + 18, top + _HEIGHT + 6
            parts.append(f'<path class="edge" d="M{centre} {y + 5}H{right}V{sum_y}H{centre + 7}m5 -4l-5 4l5 4"/>')
            parts.append(f'<circle class="edge" cx="{centre}" cy="{sum_y}" r="6"/>')
            parts.append(f'<path class="edge" d="M{centre - 4} {sum_y}h8m-4 -4v8"/>')
            y = top + _HEIGHT + 12
        else:
            y = top + _HEIGHT
    return y + 4


__all__ = ["svg"]
