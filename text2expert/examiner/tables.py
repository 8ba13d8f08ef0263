"""An exam's result as text for a terminal."""

import textwrap

from text2expert.examiner.results import ExamResult, ExamScore
from text2expert.records import ROW_TITLES


def table(result: ExamResult) -> str:
    """*result* as text for a terminal: per cent right, with 95 % intervals (Wilson), and the notes below."""
    left = max(map(len, ROW_TITLES.values()))
    widths = {name: max(len(name), len("100 [96-100]")) for name in result.contestants}
    lines = ["  ".join([" " * left, *(f"{name:>{width}}" for name, width in widths.items()), "    n"])]
    lines.append("-" * len(lines[0]))
    for row, title in ROW_TITLES.items():
        cells = [score for name in result.contestants if (score := result.score(row, name))]
        if cells:
            shown = [f"{_cell(score):>{widths[score.contestant]}}" for score in cells]
            lines.append("  ".join([f"{title:<{left}}", *shown, f"{cells[0].n:>5,}"]))
    lines += ["", "Right answers in per cent, with 95 % intervals."]
    if result.share_taught is not None:
        lines[-1] += f" Taught: {100 * result.share_taught:.0f} % of the text."
    return "\n".join([*lines, *(textwrap.fill(note, len(lines[0])) for note in result.notes)])


def _cell(score: ExamScore) -> str:
    low, high = score.interval
    return f"{100 * score.share:.0f} [{100 * low:.0f}-{100 * high:.0f}]"
