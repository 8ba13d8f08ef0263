"""Who was right on how much, as a table of plain text that fits into a terminal."""

import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from text2expert.records import ROW_TITLES

WIDTH = 100
"""Columns of a terminal that a table fits into: with many contestants, intervals are written shorter and names are broken."""

_LEFT = max(map(len, ROW_TITLES.values()))


class Score(Protocol):
    """A cell: `text2expert.examiner.ExamScore`."""

    @property
    def n(self) -> int: ...  # noqa: D102
    @property
    def share(self) -> float: ...  # noqa: D102
    @property
    def interval(self) -> tuple[float, float]: ...  # noqa: D102


def grid(names: Mapping[str, str], rows: Mapping[str, Mapping[str, Score]], *, width: int = WIDTH) -> list[str]:
    """The lines of a table: per cent right, with 95 % intervals, and what it says.

    Args:
        names: The columns, and what each is called.
        rows: Title of the row -> name of the column -> its score; who was not asked has none.
        width: Of the terminal.
    """
    lines = _whole(names, rows, width) or _short(names, rows, width)
    legend = (
        "Right answers in per cent, ± the longer arm of the 95 % interval."
        if "±" in "".join(lines)
        else "Right answers in per cent, with 95 % intervals."
    )
    return [*lines, "", legend]


def _whole(names: Mapping[str, str], rows: Mapping[str, Mapping[str, Score]], width: int) -> list[str]:
    """Every interval in full; nothing where that is too wide."""
    widths = {name: max(len(shown), len("100 [96-100]")) for name, shown in names.items()}
    lines = _lines(rows, [[*names.values()]], widths, _cell)
    return lines if len(lines[0]) <= width else []


def _short(names: Mapping[str, str], rows: Mapping[str, Mapping[str, Score]], width: int) -> list[str]:
    """Names over several lines, and intervals by their longer arm; more columns than fit go below."""
    parts = {name: textwrap.wrap(shown, 9, break_long_words=True) for name, shown in names.items()}
    widths = {name: max(len("100 ±99"), *map(len, lines)) for name, lines in parts.items()}
    room = width - _LEFT - 7
    blocks: list[list[str]] = [[]]
    for name, wide in widths.items():
        if blocks[-1] and sum(widths[each] + 2 for each in blocks[-1]) + wide + 2 > room:
            blocks.append([])
        blocks[-1].append(name)
    found: list[str] = []
    for block in blocks:
        height = max(len(parts[name]) for name in block)
        head = [[*[""] * (height - len(parts[name])), *parts[name]] for name in block]
        found += [
            *([""] if found else []),
            *_lines(rows, [*zip(*head, strict=True)], {name: widths[name] for name in block}, _arm),
        ]
    return found


def _lines(
    rows: Mapping[str, Mapping[str, Score]],
    head: Sequence[Sequence[str]],
    widths: Mapping[str, int],
    cell: Callable[[Score], str],
) -> list[str]:
    """The table of the columns in *widths*, under the lines of *head*."""
    columns = [*widths.values()]
    lines = [
        "  ".join([" " * _LEFT, *(f"{part:>{width}}" for part, width in zip(parts, columns, strict=True)), " " * 5])
        for parts in head
    ]
    lines[:-1] = map(str.rstrip, lines[:-1])
    lines[-1] = lines[-1][:-5] + "    n"
    lines.append("-" * len(lines[-1]))
    for title, scores in rows.items():
        mine = {name: scores[name] for name in widths if name in scores}
        if mine:
            shown = [f"{cell(mine[name]) if name in mine else '':>{width}}" for name, width in widths.items()]
            n = max(score.n for score in mine.values())
            lines.append("  ".join([f"{title:<{_LEFT}}", *shown, f"{n:>5,}"]))
    return lines


def _cell(score: Score) -> str:
    low, high = score.interval
    return f"{100 * score.share:.0f} [{100 * low:.0f}-{100 * high:.0f}]"


def _arm(score: Score) -> str:
    low, high = score.interval
    return f"{100 * score.share:.0f} ±{math.ceil(100 * max(score.share - low, high - score.share)):<2}"
