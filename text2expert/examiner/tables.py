"""An exam's result as text for a terminal: the table, and below it the verdict, what it costs and what to know."""

import math
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence

from text2expert.examiner.case import counted
from text2expert.examiner.results import NO_PRICE, ContestantCost, Economics, ExamResult, ExamScore, JudgeReport
from text2expert.records import ROW_TITLES

WIDTH = 100
"""Columns of a terminal that a table fits into: with many contestants, intervals are written shorter and names are broken."""

_REASONS = {"same_text": "the same words", "jaccard": "nearly the same words", "eight_grams": "the same phrases"}
_PROBES = {
    "gold": "right answers",
    "hedge": "hedges",
    "other_answer": "answers to other questions",
    "one_digit": "changed digits",
}


def table(result: ExamResult) -> str:
    """*result* as text for a terminal: per cent right, with 95 % intervals (Wilson), and the notes below."""
    lines = _whole(result) or _short(result)
    width = max(len(line) for line in lines)
    short = "±" in "".join(lines)
    legend = (
        "Right answers in per cent, ± the longer arm of the 95 % interval."
        if short
        else "Right answers in per cent, with 95 % intervals."
    )
    if result.share_taught is not None:
        legend += f" Taught: {100 * result.share_taught:.0f} % of the text."
    notes = [*result.notes, *_dropped(result)]
    return "\n".join([*lines, *_by_document(result), "", legend, *(textwrap.fill(note, width) for note in notes)])


def _by_document(result: ExamResult) -> Iterator[str]:
    """A line for each of several documents: the unseen questions about it."""
    groups = {(group.name, group.contestant): group for group in result.groups if group.by == "document"}
    names = dict.fromkeys(name for name, _ in groups)
    if not names:
        return
    title = "Unseen questions by document"
    parts = {name: textwrap.wrap(name, 9, break_long_words=True) for name in result.contestants}
    widths = {name: max(4, *map(len, broken)) for name, broken in parts.items()}
    left = max(len(title), *map(len, names))
    height = max(map(len, parts.values()))
    yield ""
    for place in range(-height, 0):
        shown = [
            f"{parts[name][place] if len(parts[name]) >= -place else '':>{width}}" for name, width in widths.items()
        ]
        yield "  ".join(
            [f"{title if place == -1 else '':<{left}}", *shown, f"{'n' if place == -1 else '':>5}"]
        ).rstrip()
    for document in names:
        mine = {name: groups[document, name] for name in widths if (document, name) in groups}
        cells = [
            f"{f'{100 * mine[name].right / mine[name].n:.0f}' if name in mine else '':>{width}}"
            for name, width in widths.items()
        ]
        yield "  ".join([f"{document:<{left}}", *cells, f"{max(each.n for each in mine.values()):>5,}"])


def _whole(result: ExamResult) -> list[str]:
    """Every interval in full; nothing where that is too wide."""
    widths = {name: max(len(name), len("100 [96-100]")) for name in result.contestants}
    lines = _lines(result, [[*widths]], widths, _cell)
    return lines if len(lines[0]) <= WIDTH else []


def _short(result: ExamResult) -> list[str]:
    """Names of contestants over several lines, and intervals by their longer arm; more contestants than fit go below."""
    names = {name: textwrap.wrap(name, 9, break_long_words=True) for name in result.contestants}
    widths = {name: max(len("100 ±99"), *map(len, parts)) for name, parts in names.items()}
    room = WIDTH - max(map(len, ROW_TITLES.values())) - 7
    blocks: list[list[str]] = [[]]
    for name, width in widths.items():
        if blocks[-1] and sum(widths[each] + 2 for each in blocks[-1]) + width + 2 > room:
            blocks.append([])
        blocks[-1].append(name)
    found: list[str] = []
    for block in blocks:
        height = max(len(names[name]) for name in block)
        head = [[*[""] * (height - len(names[name])), *names[name]] for name in block]
        found += [
            *([""] if found else []),
            *_lines(result, [*zip(*head, strict=True)], {name: widths[name] for name in block}, _arm),
        ]
    return found


def _lines(
    result: ExamResult,
    head: Sequence[Sequence[str]],
    widths: Mapping[str, int],
    cell: Callable[[ExamScore], str],
) -> list[str]:
    """The table of the contestants in *widths*, under the lines of *head*."""
    left = max(map(len, ROW_TITLES.values()))
    columns = [*widths.values()]
    lines = [
        "  ".join([" " * left, *(f"{part:>{width}}" for part, width in zip(parts, columns, strict=True)), " " * 5])
        for parts in head
    ]
    lines[-1] = lines[-1][:-5] + "    n"
    lines.append("-" * len(lines[-1]))
    for row, title in ROW_TITLES.items():
        scores = {name: score for name in widths if (score := result.score(row, name))}
        if scores:
            shown = [f"{cell(scores[name]) if name in scores else '':>{width}}" for name, width in widths.items()]
            n = max(score.n for score in scores.values())
            lines.append("  ".join([f"{title:<{left}}", *shown, f"{n:>5,}"]))
    return lines


def _cell(score: ExamScore) -> str:
    low, high = score.interval
    return f"{100 * score.share:.0f} [{100 * low:.0f}-{100 * high:.0f}]"


def _arm(score: ExamScore) -> str:
    low, high = score.interval
    return f"{100 * score.share:.0f} ±{math.ceil(100 * max(score.share - low, high - score.share)):<2}"


SHOWN = 2
"""Reasons, and steps to take, that a terminal shows, and lines of each; the report has them all, and whole."""


def verdict(result: ExamResult) -> str:
    """What *result* comes to, in a few lines: the recommendation, what answers cost and take, the judge."""
    return "\n".join([*_recommendation(result), *_costs(result.economics), *_judged(result.judge)])


def _recommendation(result: ExamResult) -> Iterator[str]:
    said = result.recommendation
    if said is None:
        return
    yield textwrap.fill(f"Verdict: {said.headline}", WIDTH, subsequent_indent="  ")
    yield from _bullets(said.because)
    if said.next:
        yield "What to do next:"
        yield from _bullets(said.next)


def _bullets(points: Sequence[str]) -> Iterator[str]:
    for each in points[:SHOWN]:
        yield textwrap.fill(f"- {each}", WIDTH, subsequent_indent="  ", max_lines=SHOWN, placeholder=" …")
    if (left := len(points) - SHOWN) > 0:
        yield f"- and {left} more in the report"


def _costs(economics: Economics | None) -> Iterator[str]:
    if economics is None:
        return
    if measured := [each for each in economics.costs if _is_known(each)]:
        left = max(len(each.contestant) for each in measured)
        yield ""
        yield f"{'':<{left}}  s p50  s p95  tokens in  tokens out  $ per 1,000 questions"
        for each in measured:
            cells = (
                _number(each.seconds_p50, 5),
                _number(each.seconds_p95, 5),
                _number(each.tokens_in, 9, 0),
                _number(each.tokens_out, 10, 0),
                _number(each.usd_per_1000, 21, 4),
            )
            yield "  ".join([f"{each.contestant:<{left}}", *cells])
    if economics.making_usd is not None and not any(NO_PRICE in note for note in economics.notes):
        made = f"Making the expert cost ${economics.making_usd:,.2f}."
        if economics.break_even is not None:
            made += f" Against {economics.against} it has paid for itself after {counted(math.ceil(economics.break_even), 'question')}."
        yield textwrap.fill(made, WIDTH)
    for note in economics.notes:
        yield textwrap.fill(note, WIDTH)


def _is_known(cost: ContestantCost) -> bool:
    return cost.seconds_p50 is not None or cost.usd_per_1000 is not None


def _number(value: float | None, width: int, digits: int = 2) -> str:
    if value is None:
        return f"{'-':>{width}}"
    if 0 < value < 10.0**-digits:
        return f"{f'<{10.0**-digits:.{digits}f}':>{width}}"
    return f"{value:>{width},.{digits}f}"


def _judged(judge: JudgeReport | None) -> Iterator[str]:
    if judge is None:
        return
    if not judge.judged:
        yield ""
        yield textwrap.fill(f"The judge, {judge.model}, gave no grade that can be used.", WIDTH)
        return
    said = (
        f"The judge, {judge.model}, agrees with the grades on {judge.agree:,} of {judge.judged:,} answers; it alone finds "
        f"{judge.judge_right_only:,} right and {judge.judge_wrong_only:,} wrong."
    )
    if judge.unjudged:
        said += f" {counted(judge.unjudged, 'answer')} {'has' if judge.unjudged == 1 else 'have'} no grade of it: {judge.why}."
    if judge.probes:
        said += f" Put to the test, it graded {', '.join(f'{_PROBES[each.name]} {each.passed} of {each.asked}' for each in judge.probes)}."
    yield ""
    yield textwrap.fill(said, WIDTH)


def _dropped(result: ExamResult) -> Iterator[str]:
    if total := sum(each.n for each in result.dropped):
        parts = ", ".join(f"{each.n:,} for {_REASONS[each.reason]}" for each in result.dropped)
        yield f"Left out of the exam, since training has the same: {counted(total, 'question')} ({parts})."
