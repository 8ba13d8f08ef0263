"""The training log as a picture: a small SVG for light and dark pages, made without a drawing library."""

import math
from collections.abc import Callable, Sequence
from typing import Any

WIDTH, HEIGHT = 720, 360
LEFT, RIGHT, TOP, BOTTOM = 56, 704, 44, 316
POINTS = 600
"""Of the curve at most, about one a pixel; a longer log is drawn as the means of stretches of it."""

STYLE = """
  text { font: 12px system-ui, sans-serif; fill: #52525b }
  .title { font-size: 14px; fill: #18181b }
  .grid { stroke: #e4e4e7 }
  .loss { fill: none; stroke: #2563eb; stroke-width: 1.5 }
  .share { fill: none; stroke: #c2410c; stroke-width: 1.5; stroke-dasharray: 4 3 }
  .dot { fill: #c2410c }
  @media (prefers-color-scheme: dark) {
    text { fill: #a1a1aa } .title { fill: #f4f4f5 } .grid { stroke: #3f3f46 }
    .loss { stroke: #60a5fa } .share { stroke: #fb923c } .dot { fill: #fb923c }
  }
"""


def loss_svg(lines: Sequence[dict[str, Any]]) -> str:
    """The loss of each step, and the share of validation answers that were right where it was asked.

    Args:
        lines: Lines of training_log.jsonl: "step", "loss", and in some "validation".
    """
    curve = thinned([(line["step"], line["loss"]) for line in lines])
    shares = [(line["step"], line["validation"]) for line in lines if "validation" in line]
    last = max(1, lines[-1]["step"] if lines else 1)
    unit = tick(max((loss for _, loss in curve), default=1.0) / 5)
    top = unit * max(1, math.ceil(max((loss for _, loss in curve), default=1.0) / unit - 1e-9))

    def x(step: float) -> float:
        return LEFT + (RIGHT - LEFT) * step / last

    def y(loss: float) -> float:
        return BOTTOM - (BOTTOM - TOP) * loss / top

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="training loss">',
        f"<style>{STYLE}</style>",
        f'<text class="title" x="{LEFT}" y="22">{title(lines)}</text>',
        *(horizontal(value * unit, y(value * unit)) for value in range(round(top / unit) + 1)),
        *(vertical(step, x(step)) for step in steps(last)),
        f'<text x="{(LEFT + RIGHT) / 2}" y="{HEIGHT - 8}" text-anchor="middle">step</text>',
        polyline("loss", curve, x, y),
    ]
    if shares:
        parts.append(polyline("share", shares, x, lambda share: y(share * top)))
        parts += [
            f'<circle class="dot" cx="{x(step):.1f}" cy="{y(share * top):.1f}" r="3">'
            f"<title>step {step}: {share:.1%} of the validation answers right</title></circle>"
            for step, share in shares
        ]
    return "\n".join([*parts, "</svg>", ""])


def title(lines: Sequence[dict[str, Any]]) -> str:
    """What the curves are and where they end."""
    if not lines:
        return "loss"
    asked = [line["validation"] for line in lines if "validation" in line]
    words = f"loss of the answers: {lines[-1]['loss']:.3g} after {lines[-1]['step']} steps"
    return f"{words}; dashed: validation, {max(asked):.0%} right at best (top line: 100%)" if asked else words


def thinned(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """*points* or, where there are too many, the means of equal stretches of them."""
    stretch = math.ceil(len(points) / POINTS) or 1
    cuts = [points[start : start + stretch] for start in range(0, len(points), stretch)]
    return [(cut[-1][0], sum(value for _, value in cut) / len(cut)) for cut in cuts]


def tick(least: float) -> float:
    """The smallest of 1, 2 and 5 times a power of ten that is not below *least*."""
    power = 10.0 ** math.floor(math.log10(max(least, 1e-9)))
    return next(power * digit for digit in (1, 2, 5, 10) if power * digit >= least * (1 - 1e-9))


def steps(last: int) -> list[int]:
    """Round numbers of steps along the axis."""
    unit = max(1, round(tick(last / 6)))
    return list(range(0, last + 1, unit))


def horizontal(value: float, y: float) -> str:
    """A grid line with its number."""
    return (
        f'<line class="grid" x1="{LEFT}" x2="{RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{value:.6g}</text>'
    )


def vertical(step: int, x: float) -> str:
    """The number of a step under the axis."""
    return f'<text x="{x:.1f}" y="{BOTTOM + 18}" text-anchor="middle">{step}</text>'


def polyline(
    name: str, points: list[tuple[float, float]], x: Callable[[float], float], y: Callable[[float], float]
) -> str:
    """A curve through *points*."""
    return f'<polyline class="{name}" points="{" ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in points)}"/>'
