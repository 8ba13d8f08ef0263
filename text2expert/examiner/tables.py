"""An exam's result as text for a terminal: the table, and below it the verdict, what it costs and what to know."""

import math
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence

from text2expert.examiner.case import counted
from text2expert.examiner.grid import WIDTH
from text2expert.examiner.results import NO_PRICE, ContestantCost, Economics, ExamResult, JudgeReport

_REASONS = {"same_text": "the same words", "jaccard": "nearly the same words", "eight_grams": "the same phrases"}
_PROBES = {
    "gold": "right answers",
    "hedge": "hedges",
    "other_answer": "answers to other questions",
    "one_digit": "changed digits",
}


def summary(result: ExamResult, width: int = WIDTH) -> str:
    """All that a terminal shows of *result*: the verdict, who was right on how much, what it costs, and what to know.

    The verdict comes first, and in few words last: the one is read from the top of a page, the other from its end.
    """
    parts = [
        [*_recommendation(result, width)],
        _grid(result, width),
        [*_costs(result.economics, result.short_names, width)],
        [*_judged(result.judge, width)],
        _notes(result, width),
        [f"In short: {_first_clause(result.recommendation.headline)}."] if result.recommendation is not None else [],
    ]
    return "\n\n".join("\n".join(lines).strip("\n") for lines in parts if lines)


def _first_clause(headline: str) -> str:
    return re.split(r" \(|[;:.](?= |$)", headline, maxsplit=1)[0]


def table(result: ExamResult) -> str:
    """*result* as text for a terminal: per cent right, with 95 % intervals (Wilson), and the notes below."""
    return "\n".join([*_grid(result, WIDTH), *_notes(result, WIDTH)])


def _grid(result: ExamResult, width: int) -> list[str]:
    *lines, blank, legend = result.lines(width)
    if result.share_taught is not None:
        legend += f" Taught: {100 * result.share_taught:.0f} % of the text."
    return [*lines, *_by_document(result), blank, textwrap.fill(legend, width)]


def _by_document(result: ExamResult) -> Iterator[str]:
    """A line for each of several documents: the unseen questions about it."""
    groups = {(group.name, group.contestant): group for group in result.groups if group.by == "document"}
    names = dict.fromkeys(name for name, _ in groups)
    if not names:
        return
    title = "Unseen questions by document"
    parts = {name: textwrap.wrap(shown, 9, break_long_words=True) for name, shown in result.short_names.items()}
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


def _notes(result: ExamResult, width: int) -> list[str]:
    return [textwrap.fill(note, width) for note in (*result.notes, *_dropped(result))]


SHOWN = 2
"""Reasons, and steps to take, that a terminal shows, and lines of each; the report has them all, and whole."""


def verdict(result: ExamResult) -> str:
    """What *result* comes to, in a few lines: the recommendation, what answers cost and take, the judge."""
    costs, judged = _costs(result.economics, result.short_names, WIDTH), _judged(result.judge, WIDTH)
    return "\n".join([*_recommendation(result, WIDTH), *costs, *judged])


def _recommendation(result: ExamResult, width: int) -> Iterator[str]:
    said = result.recommendation
    if said is None:
        return
    yield textwrap.fill(f"Verdict: {said.headline}", width, subsequent_indent="  ")
    yield from _bullets(said.because, width)
    if said.next:
        yield "What to do next:"
        yield from _bullets(said.next, width)


def _bullets(points: Sequence[str], width: int) -> Iterator[str]:
    for each in points[:SHOWN]:
        yield textwrap.fill(f"- {each}", width, subsequent_indent="  ", max_lines=SHOWN, placeholder=" …")
    if (left := len(points) - SHOWN) > 0:
        yield f"- and {left} more in report.html"


def _costs(economics: Economics | None, names: Mapping[str, str], width: int) -> Iterator[str]:
    if economics is None:
        return
    if measured := [each for each in economics.costs if _is_known(each)]:
        left = max(len(names.get(each.contestant, each.contestant)) for each in measured)
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
            yield "  ".join([f"{names.get(each.contestant, each.contestant):<{left}}", *cells])
    if economics.making_usd is not None and not any(NO_PRICE in note for note in economics.notes):
        made = f"Making the expert cost ${economics.making_usd:,.2f}."
        if economics.break_even is not None:
            made += f" Against {economics.against} it has paid for itself after {counted(math.ceil(economics.break_even), 'question')}."
        yield textwrap.fill(made, width)
    for note in economics.notes:
        yield textwrap.fill(note, width)


def _is_known(cost: ContestantCost) -> bool:
    return cost.seconds_p50 is not None or cost.usd_per_1000 is not None


def _number(value: float | None, width: int, digits: int = 2) -> str:
    if value is None:
        return f"{'-':>{width}}"
    if 0 < value < 10.0**-digits:
        return f"{f'<{10.0**-digits:.{digits}f}':>{width}}"
    return f"{value:>{width},.{digits}f}"


def _judged(judge: JudgeReport | None, width: int) -> Iterator[str]:
    if judge is None:
        return
    if not judge.judged:
        yield ""
        yield textwrap.fill(f"The judge, {judge.model}, gave no grade that can be used.", width)
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
    yield textwrap.fill(said, width)


def _dropped(result: ExamResult) -> Iterator[str]:
    if total := sum(each.n for each in result.dropped):
        parts = ", ".join(f"{each.n:,} for {_REASONS[each.reason]}" for each in result.dropped)
        yield f"Left out of the exam, since training has the same: {counted(total, 'question')} ({parts})."
