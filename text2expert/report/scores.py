"""The verdict in words, and the tables of an exam."""

import re
from collections.abc import Iterable, Mapping, Sequence

from text2expert.examiner.economics import usd_text
from text2expert.examiner.results import EXPERT, Comparison, ExamResult, Group, JudgeReport, Recommendation
from text2expert.examiner.statistics import GREEDY_NOTE
from text2expert.legible import at, percent
from text2expert.records import ROW_TITLES
from text2expert.report import figures
from text2expert.report.findings import Findings, Share
from text2expert.report.markup import Child, Html, bullets, joined, more, said, table, tag

VERDICTS = {
    "expert": "Use the expert",
    "rag": "Use retrieval (RAG)",
    "both": "Use the expert together with retrieval",
    "neither": "Do not fine-tune",
}
ROWS = {str(row): title for row, title in ROW_TITLES.items()}

PROBES = {
    "gold": "the right answer",
    "hedge": "an answer that commits to nothing",
    "other_answer": "the answer to another question",
    "one_digit": "the right answer with one digit changed",
}
DROPPED = {
    "same_text": "the same words",
    "jaccard": "nearly the same words (Jaccard 0.7 or more)",
    "eight_grams": "half of their runs of eight words the same",
}
GROUPS = {
    "unknown_to_base": ("By what the base knew", f"What the base knew before training proves nothing. {GREEDY_NOTE}"),
    "document": ("By document", ""),
    "section": ("By section", ""),
    "difficulty": ("By difficulty", ""),
    "hops": ("By the number of passages that an answer needs", ""),
}


def verdict(found: Findings, passage: Mapping[str, Html]) -> Html:
    """What to do, first in a few large words.

    Args:
        found: What the folder holds.
        passage: Chunk id -> a link to it.
    """
    if found.result is None:
        return _untrained(found)
    advice = found.result.recommendation
    if advice is None:
        shares = [f"{name} {share.percent}" for name in found.contestants if (share := found.unseen(name))]
        return joined(
            tag("h1", "The exam is done, and no verdict was drawn from it"),
            tag("p", f"Right on unseen questions: {', '.join(shares)}." if shares else "No unseen question was asked.", class_="lede"),
            tag("p", "Examine the expert again for a verdict in words."),
        )  # fmt: skip
    title, lede = _split(advice)
    return joined(
        said(title, "h1", class_="long" if len(title) > 40 else None),
        said(_prose(lede), "p", class_="lede"),
        _listed("reasons", advice.because, passage),
        tag("h2", "What to do next") if advice.next else None,
        _listed("steps", advice.next, passage),
        _failed(advice.failed, passage),
    )


def _split(advice: Recommendation) -> tuple[str, str]:
    """The headline as a few large words and the rest of it; without a colon or semicolon, after what it comes to."""
    place = next((at for at, letter in enumerate(advice.headline) if letter in ":;"), None)
    if place is None or place > 100 or not (rest := advice.headline[place + 1 :].strip()):
        return f"{VERDICTS[advice.use]}.", advice.headline
    return f"{advice.headline[:place]}.", f"{rest[0].upper()}{rest[1:]}"


def _prose(text: str) -> str:
    """*text* whose numbers stay on the line of their per cent sign."""
    return text.replace(" %", "\u00a0%")


AT_ONCE = 3
"""Reasons, and steps to take, that are read before the table; the others are one click away."""

MOST_FAILED = 12


def _listed(what: str, texts: Sequence[str], passage: Mapping[str, Html]) -> Html:
    shown = [_linked(each, passage) for each in texts]
    rest = shown[AT_ONCE:]
    return joined(bullets(shown[:AT_ONCE]), more(f"{len(rest)} more {what}", bullets(rest)) if rest else None)


def _linked(text: str, passage: Mapping[str, Html]) -> Html:
    """*text* in which ids of chunks are links to them."""
    parts = re.split(r"(\bchunk_\d+\b)", _prose(text))
    return tag("span", *(passage.get(part, part) for part in parts), dir="auto")


def _failed(chunks: Sequence[str], passage: Mapping[str, Html]) -> Html:
    shown = [passage.get(each) or said(each) for each in chunks]
    if not shown:
        return Html()
    left = len(shown) - MOST_FAILED
    return tag(
        "p", f"{len(shown):,} passages still failed (half of the unseen questions about them wrong, or more), most wrong answers "
        "first: " if len(shown) > 1 else "1 passage still failed (half of the unseen questions about it wrong, or more): ",
        *_commas(shown[:MOST_FAILED]), f" and {left:,} more." if left > 0 else ".",
    )  # fmt: skip


def _commas(items: Sequence[Html]) -> list[Child]:
    return [joined(", " if place else None, item) for place, item in enumerate(items)]


def _untrained(found: Findings) -> Html:
    gold = len(found.gold)
    if not gold:
        return joined(
            tag("h1", "Nothing is taught yet."), tag("p", "There is no golden dataset in this folder.", class_="lede")
        )
    items = len({record.item or record.instruction for record in found.gold})
    return joined(
        tag("h1", "Taught, not trained yet."),
        tag("p", f"The golden dataset has {gold:,} pairs of {items:,} questions. ",
            "Whether a model learns them is not known before it was trained and examined.", class_="lede"),
    )  # fmt: skip


def scores(found: Findings) -> Html:
    """The tables of the exam and its plots."""
    result = found.result
    assert result is not None
    shares = {name: share for name in found.contestants if (share := found.unseen(name))}
    notes = [note for note in result.notes if note != GREEDY_NOTE]  # said beside the groups that it is of
    return joined(
        tag("p", "Unseen questions ask for what the document says, in words that the expert was not trained on."),
        _overall(result, shares),
        figures.accuracy(shares),
        tag("aside", *(said(_prose(note), "p") for note in notes)) if notes else None,
        tag("h3", "By kind of question"),
        _matrix(result),
        figures.rows(result),
        _comparisons(result),
        _refusals(result),
        *(_groups(result, by) for by in GROUPS),
        _judge(result.judge),
        _dropped(result),
    )


def _overall(result: ExamResult, shares: Mapping[str, Share]) -> Html:
    costs = {cost.contestant: cost for cost in (result.economics.costs if result.economics else ())}
    rows = []
    for name in result.contestants:
        share, cost = shares.get(name), costs.get(name)
        cells: list[Child] = [
            named(name),
            joined(tag("strong", share.percent), tag("small", share.between)) if share else "–",
            f"{share.right:,} of {share.n:,}" if share else "–",
        ]
        if costs:
            cells += [seconds(cost.seconds_p50 if cost else None), dollars(cost.usd_per_1000 if cost else None)]
        rows.append(cells)
    head = [
        "Who",
        "Right, with 95\u00a0% interval",
        "Questions",
        *(["Seconds, median", "$ per 1,000"] if costs else []),
    ]
    return table("Right answers to unseen questions", head, rows)


def _matrix(result: ExamResult) -> Html:
    rows = []
    for row, title in ROW_TITLES.items():
        cells = [result.score(row, name) for name in result.contestants]
        if most := max((cell.n for cell in cells if cell), default=0):
            shown: list[Child] = [_cell(Share(right=cell.right, n=cell.n), most) if cell else "–" for cell in cells]
            rows.append([title, *shown, f"{most:,}"])
    return table(
        "Right answers by kind of question, with 95 % intervals",
        ["", *map(named, result.contestants), "Questions"],
        rows,
    )


def _cell(share: Share, asked: int | None = None) -> Html:
    of = f"of {share.n:,}; " if asked is not None and share.n != asked else ""
    return joined(share.percent, tag("small", f"{of}{share.between}"))


def _comparisons(result: ExamResult) -> Html:
    if not result.comparisons:
        return Html()
    order = {name: place for place, name in enumerate(result.contestants)}
    comparisons = sorted(result.comparisons, key=lambda each: (order.get(each.one, 0), order.get(each.other, 0)))
    first = [each for each in comparisons if each.row == "all"]
    rest = [each for each in comparisons if each.row != "all"]
    return joined(
        tag("h3", "Who is better on the same questions"),
        tag("p", "Each pair answered the same questions. p is the exact McNemar test: how often so uneven a split comes by "
            "chance from two that are equally good. The difference has a 95 % interval (bootstrap over facts)."),
        _compared("Paired comparisons on all unseen questions", first) if first else None,
        more("The same by kind of question", _compared("Paired comparisons by kind of question", rest)) if rest else None,
    )  # fmt: skip


def _compared(caption: str, comparisons: Iterable[Comparison]) -> Html:
    rows = []
    for each in comparisons:
        low, high = each.interval
        of = None if each.row == "all" else tag("small", ROWS.get(each.row, each.row))
        rows.append(
            [
                joined(named(each.one), " against ", named(each.other), of),
                joined(signed(each.difference), tag("small", f"{signed(low)} to {signed(high)}")),
                "<\u00a00.001" if each.p < 0.001 else f"{each.p:.3f}",
                f"{each.only_one:,}",
                f"{each.only_other:,}",
                f"{each.n:,}",
            ]
        )
    head = [
        "One against the other",
        "Difference, points",
        "p",
        "Only the one right",
        "Only the other right",
        "Questions",
    ]
    return table(caption, head, rows)


def signed(share: float) -> str:
    """A difference of shares in whole points, with its sign."""
    points = round(100 * share)
    return f"+{points}" if points > 0 else f"−{-points}" if points < 0 else "0"


def _refusals(result: ExamResult) -> Html:
    rows = [
        [
            named(each.contestant),
            _of(each.right, each.unanswerable),
            _of(each.wrong, each.answerable),
        ]
        for name in result.contestants
        for each in result.refusals
        if each.contestant == name and (each.unanswerable or each.answerable)
    ]
    if not rows:
        return Html()
    head = ["Who", "Rightly: the document does not say", "Wrongly: the document says it"]
    return joined(tag("h3", "Saying that one does not know"), table("Refusals", head, rows))


def _of(right: int, n: int) -> Child:
    return joined(percent(right / n), tag("small", f"{right:,} of {n:,}")) if n else "–"


def _groups(result: ExamResult, by: str) -> Html:
    groups: list[Group] = [
        group for group in result.groups if group.by == by and group.n and group.contestant in result.contestants
    ]
    if not groups:
        return Html()
    title, why = GROUPS[by]
    cells = {(group.name, group.contestant): Share(right=group.right, n=group.n) for group in groups}
    asked = [name for name in result.contestants if any(name == contestant for _, contestant in cells)]
    names = dict.fromkeys(group.name for group in groups)
    rows = []
    for name in names:
        shown = [cells.get((name, contestant)) for contestant in asked]
        most = max(share.n for share in shown if share)
        rows.append([said(name), *(_cell(share, most) if share else "–" for share in shown), f"{most:,}"])
    made = table(f"Right answers {title[0].lower()}{title[1:]}", ["", *map(named, asked), "Questions"], rows)
    if by in ("unknown_to_base", "document"):
        return joined(tag("h3", title), tag("p", why) if why else None, made)
    return more(title, made)


def _judge(judge: JudgeReport | None) -> Html:
    if judge is None:
        return Html()
    rows = [
        [PROBES[probe.name], f"{probe.passed:,} of {probe.asked:,}", percent(probe.passed / probe.asked)]
        for probe in judge.probes
        if probe.asked
    ]
    return joined(
        tag("h3", "The second opinion of a model"),
        tag("p", "Figures on this page count the grade that is made without a model. ", said(judge.model),
            f" judged {judge.judged:,} answers as well, for ${judge.usd:,.2f}: it agrees on {judge.agree:,}, takes "
            f"{judge.judge_right_only:,} for right that are graded wrong, and {judge.judge_wrong_only:,} for wrong that are graded right."),
        tag("p", f"{judge.unjudged:,} more have no grade of it: ", said(judge.why), ".") if judge.unjudged else None,
        table("Answers whose grade is known, put to the judge", ["It was given", "Graded as it should", "Share"], rows) if rows else None,
    )  # fmt: skip


def _dropped(result: ExamResult) -> Html:
    total = sum(each.n for each in result.dropped)
    if not total:
        return Html()
    parts = ", ".join(f"{each.n:,} for {DROPPED[each.reason]}" for each in result.dropped if each.n)
    return tag("p", f"{total:,} questions were left out of the exam, because training had them too: {parts}.")


def named(contestant: str) -> Html:
    """A contestant's name; the expert's stands out, and a model at an address is called by its own name, above its host's."""
    model, host = at(contestant)
    if host:
        return tag("span", said(model), tag("small", said(host)), class_="at", title=contestant)
    return said(contestant, "strong" if contestant == EXPERT else "span")


def seconds(value: float | None) -> str:
    """Seconds as they are written, a dash where they were not measured."""
    if value is None:
        return "–"
    if value < 0.01:
        return "< 0.01"
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}"


def dollars(value: float | None) -> str:
    """US dollars as they are written, a dash where they are not known."""
    return "–" if value is None else usd_text(value)
