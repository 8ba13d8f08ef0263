"""Draws the floors of the package as import-linter's contract in pyproject.toml has them, for how_it_works.md."""

import textwrap
import tomllib
from itertools import pairwise
from pathlib import Path

STOREYS = {
    "__main__": "command line",
    "pipeline": "pipeline",
    "report": "report",
    "trainer": "steps",
    "support": "what steps use",
    "providers": "other machines",
    "ledger": "money",
    "exchange": "records",
    "runfolder": "disk, errors",
}
"""What the floors from this module down to the next one are called together."""

ROW, PAD, GAP = 23, 9, 8
"""Pixels: of a line of names, above and below them, and between storeys."""


def layers(pyproject: Path) -> list[list[str]]:
    """The floors from the top down, each with its modules."""
    contracts = tomllib.loads(pyproject.read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    (found,) = (each["layers"] for each in contracts if each.get("containers") == ["text2expert"])
    return [[name.strip(" ()") for name in layer.split("|")] for layer in found]


def storeys(floors: list[list[str]]) -> list[tuple[str, list[list[str]]]]:
    """The floors under the names of `STOREYS`.

    Raises:
        ValueError: A storey's first module is on no floor of its own any more: `STOREYS` wants mending.
    """
    begins = []
    for module in STOREYS:
        held = [number for number, floor in enumerate(floors) if module in floor]
        if not held:
            raise ValueError(f"docs/floors.py: no floor of pyproject.toml has {module!r} any more: mend STOREYS")
        begins += held
    if begins != sorted(set(begins)) or begins[0] != 0:
        raise ValueError("docs/floors.py: STOREYS are not in the order of pyproject.toml's floors: mend them")
    return [
        (title, floors[begin:end])
        for title, (begin, end) in zip(STOREYS.values(), pairwise([*begins, len(floors)]), strict=True)
    ]


def svg(house: list[tuple[str, list[list[str]]]], *, width: int, beside: int, kind: str) -> str:
    """The drawing.

    Args:
        house: Storeys with their floors.
        width: Of the drawing, in pixels.
        beside: Of a column for the storeys' names; 0: they stand above the floors.
        kind: Its class in the style sheet.
    """
    parts, y = [], 1
    for title, floors in house:
        top = y + (0 if beside else 20)
        rows = [
            (line, not number)
            for floor in floors
            for number, line in enumerate(textwrap.wrap(" · ".join(floor), (width - beside - 24) // 8))
        ]
        height = ROW * len(rows) + PAD
        parts.append(f'<rect x="{beside + 1}" y="{top}" width="{width - beside - 2}" height="{height}" rx="6"/>')
        if beside:
            parts.append(f'<text class="storey" x="{beside - 14}" y="{top + height / 2 + 5:.0f}">{title}</text>')
        else:
            parts.append(f'<text class="storey left" x="2" y="{top - 6}">{title}</text>')
        for number, (line, first) in enumerate(rows):
            base = top + PAD / 2 + ROW * number
            if number and first:
                parts.append(f'<path class="rule" d="M{beside + 12} {base:.1f}H{width - 12}"/>')
            parts.append(f'<text class="module" x="{beside + 14}" y="{base + 16:.1f}">{line}</text>')
        y = top + height + GAP
    parts.append(f'<path class="ground" d="M0 {y + 2}H{width}"/>')
    outside = ["recipes · samples", "beside the house: import nothing of it,", "are imported by nobody"]
    for number, line in enumerate([outside[0], " ".join(outside[1:])] if beside else outside):
        parts.append(
            f'<text class="{"how left" if number else "module"}" x="{beside + 14}" y="{y + 26 + 20 * number}">{line}</text>'
        )
    y += 50 if beside else 70
    said = "The floors from the top down: " + "; ".join(f"{title}: {_listed(floors)}" for title, floors in house)
    return "\n".join(
        [
            f'<svg class="drawing {kind}" viewBox="0 0 {width} {y + 6}" xmlns="http://www.w3.org/2000/svg" role="img">',
            f"<title>Floors of the package: imports go down only</title>\n<desc>{said}</desc>",
            *parts,
            "</svg>\n",
        ]
    )


def _listed(floors: list[list[str]]) -> str:
    return ", ".join(" beside ".join(floor) for floor in floors)


def draw(pyproject: Path, folder: Path) -> None:
    """Write ``floors.svg`` for wide pages and ``floors_tall.svg`` for phones into *folder*."""
    house = storeys(layers(pyproject))
    (folder / "floors.svg").write_text(svg(house, width=720, beside=132, kind="wide"), "utf-8")
    (folder / "floors_tall.svg").write_text(svg(house, width=340, beside=0, kind="tall"), "utf-8")
