"""The verdict in words: use the expert, RAG, both, or do not fine-tune; why; and what to do next.

Only differences that chance does not explain count as differences (`is_better`), and where nothing is shown, RAG is the
answer: it can be read after, and it follows every change of the document. Every threshold is a constant, with its
reason, here, in `text2expert.examiner.case` and in `text2expert.examiner.next_steps`.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from text2expert.errors import InputError
from text2expert.examiner import statistics
from text2expert.examiner.case import (
    FEW,
    INDEPENDENT,
    LEARNED,
    MARGIN,
    REFUSES_TOO_MUCH,
    SHORT_TOKENS,
    Case,
    Share,
    counted,
    is_better,
    is_worse,
)
from text2expert.examiner.next_steps import next_steps
from text2expert.examiner.results import (
    BASE,
    EXPERT,
    EXPERT_RAG,
    LOOKUP,
    ORACLE,
    Comparison,
    ExamResult,
    GivenAnswer,
    Recommendation,
)
from text2expert.records import ROW_TITLES, UNSEEN_ROWS, Chunk, ExamQuestion, ExamRowName

GOOD = 0.7
"""Share of unseen questions. Who is wrong on nearly every third is relied on by nobody."""

FACTS_FOR_EQUALS = 60
"""Facts. Of fewer, even two that never differed may differ by `MARGIN`: 3/n, the 95 % bound after nothing in n (rule of three)."""

LEAST = 9
"""Questions. Of fewer, even who got all of them right may be right on less than `GOOD`: the 95 % interval of 8 in 8 begins at 68 %."""

_Use = Literal["expert", "rag", "both", "neither"]


def recommend(
    result: ExamResult,
    *,
    exam: Sequence[ExamQuestion],
    answers: Sequence[GivenAnswer],
    chunks: Sequence[Chunk] = (),
    n_tokens: int | None = None,
    updates_per_year: float | None = None,
    questions_per_month: float | None = None,
    toy: bool = False,
) -> Recommendation:
    """What to do, from the unseen questions (`text2expert.examiner.statistics.is_unseen`). The first of these that is so:

    1. do not fine-tune: the text is *too short* (4,000 tokens), so that it fits whole in a prompt;
    2. no verdict: of so few questions (8 or fewer) nothing can be said;
    3. do not fine-tune: it is *too volatile*: it changes before the expert has paid for itself;
    4. use both: the expert with passages is better than the expert and than RAG;
    5. do not fine-tune: *not learned*: the expert is no better than its base, or right on less than half, of all unseen
       questions or of an independent row (`text2expert.examiner.case.INDEPENDENT`);
    6. do not fine-tune, nor rely on RAG: neither is right on 70 %;
    7. use the one that is better, but not the expert where an independent row shows it worse; RAG where they are equals or it is
       not known which is, unless RAG is not right on 70 %, or the expert is shown to be as good within 5 points and pays for itself.

    Better is `is_better`, and for RAG against the expert the weaker `is_worse`. RAG is the best contestant that searches
    (`statistics.best_reader`). Where the advice is not to fine-tune, `use` says whether RAG is good enough to use instead.

    Args:
        result: With scores, economics and the share that is taught.
        exam: Its questions.
        answers: To them, of all contestants.
        chunks: Of the run, to say which passages are still failed and how many passages a question takes.
        n_tokens: Of the whole text (`text2expert.examiner.case.source_tokens`); None: not known, and taken for long.
        updates_per_year: How often the document changes; None: not known, and taken for static.
        questions_per_month: How much will be asked; None: not known.
        toy: Whether the base is the embedded toy: then the headline says what that proves.

    Raises:
        InputError: No contestant is the expert, a number is negative, or see `statistics.grades`.
    """
    for name, value in (
        ("n_tokens", n_tokens),
        ("updates_per_year", updates_per_year),
        ("questions_per_month", questions_per_month),
    ):
        if value is not None and not 0 <= value < math.inf:
            msg = f"{name} must be a number from 0 on, or None where it is not known, got {value!r}"
            raise InputError(msg)
    case = Case(
        result=result,
        exam=tuple(exam),
        answers=tuple(answers),
        places=statistics.Places(chunks),
        n_tokens=n_tokens,
        updates_per_year=updates_per_year,
        questions_per_month=questions_per_month,
        toy=toy,
    )
    if EXPERT not in case.grades:
        names = ", ".join(map(repr, case.grades)) or "none"
        msg = f"there is no contestant {EXPERT!r} to judge: there are {names}; let the expert answer the exam, too"
        raise InputError(msg)
    verdict = _verdict(case)
    because = tuple(_because(case))
    return Recommendation(
        use=verdict.use,
        headline=_toy_headline(case) if toy else verdict.headline,
        because=(f"By the figures alone: {verdict.headline}", *because) if toy else because,
        next=tuple(next_steps(case)),
        failed=case.failed,
    )


class _Verdict(NamedTuple):
    use: _Use
    headline: str


def _verdict(case: Case) -> _Verdict:
    if not case.expert.n:
        return _Verdict("neither", "No verdict: the exam has no question that the expert was not trained on.")
    reader, both = case.share(case.reader), case.share(EXPERT_RAG)
    if case.too_short:
        msg = f"Do not fine-tune: the whole text, about {case.n_tokens:,} tokens, fits in a prompt; put it there"
        return _Verdict(_rag_or_neither(reader), f"{msg}.")
    if case.expert.n < LEAST:
        figures = f"the expert was right on {_of(case.expert)}" + (f", RAG on {_of(reader)}" if reader else "")
        msg = (
            f"No verdict: {counted(case.expert.n, 'unseen question')} cannot show who is right often enough; {figures}."
        )
        return _Verdict("neither", msg)
    if case.too_volatile:
        msg = (
            f"Do not fine-tune: the text changes {_times(case.updates_per_year or 0)} a year, and between two changes the "
            f"expert does not pay for itself"
        )
        return _rather(case, msg)
    if case.both_are_better and both and both.share >= GOOD:
        msg = (
            f"Use both: the expert with RAG is right on {both.ranged}, the expert alone on {case.expert.ranged}, "
            f"RAG alone on {reader.ranged if reader else reader}."
        )
        return _Verdict("both", msg)
    if not case.learned:
        return _rather(case, _not_learned(case))
    if max(case.expert.share, reader.share if reader else 0.0) < GOOD:
        msg = f"Do not fine-tune: the expert is right on {case.expert.ranged} of the questions that it was not trained on, which is too little"
        return _rather(case, msg)
    if reader is None:
        return _Verdict(
            "expert", f"Use the expert: it is right on {case.expert.ranged} of unseen questions; RAG was not asked."
        )
    return _better_one(case, reader)


def _not_learned(case: Case) -> str:
    base = case.share(BASE)
    if base and base.share >= GOOD and not is_better(case.against_base):
        return f"Do not fine-tune: the base is right on {base.ranged} already, and training did not make it better"
    if case.expert.share >= LEARNED and (row := case.not_learned_row):
        return (
            f"Do not fine-tune: the expert has learned its own questions, not the text: it is right on {case.expert} in all, "
            f"on {case.row(EXPERT, row)} where others ask ({ROW_TITLES[row]})"
        )
    before = f", its base before training on {base.ranged}" if base else ""
    return f"Do not fine-tune: the expert has not learned the text; it is right on {case.expert.ranged}{before}"


def _rather(case: Case, reason: str) -> _Verdict:
    """Not the expert, for *reason*; RAG, if it is good enough."""
    reader = case.share(case.reader)
    use = _rag_or_neither(reader)
    if reader and use == "rag":
        return _Verdict(use, f"{reason}. Use RAG, which is right on {reader.ranged}.")
    if reader:
        return _Verdict(use, f"{reason}. Nor is RAG good enough: it is right on {reader.ranged}.")
    return _Verdict(use, f"{reason}. RAG was not asked.")


def _of(share: Share) -> str:
    return f"{share.right:,} of {share.n:,}"


def _rag_or_neither(reader: Share | None) -> Literal["rag", "neither"]:
    return "rag" if reader and reader.share >= GOOD else "neither"


def _better_one(case: Case, reader: Share) -> _Verdict:
    """The expert or RAG, of which at least one is good enough."""
    mine = case.against_reader
    figures = f"it is right on {case.expert.ranged} of the questions that it was not trained on, RAG on {reader.ranged}"
    if row := case.worse_row:
        msg = (
            f"the expert is right on {case.expert} in all, RAG on {reader}, but where others ask ({ROW_TITLES[row]}) the expert on "
            f"{case.row(EXPERT, row)} and RAG on {case.row(case.reader or '', row)}"
        )
        return (
            _Verdict("rag", f"Use RAG: {msg}.") if reader.share >= GOOD else _rather(case, f"Do not fine-tune: {msg}")
        )
    if is_better(mine):
        return _Verdict("expert", f"Use the expert: {figures}.")
    if is_worse(mine):
        return _Verdict("rag", f"Use RAG: it is right on {reader.ranged}, the expert on {case.expert.ranged}.")
    as_good = mine is not None and mine.interval[0] > -MARGIN and case.facts >= FACTS_FOR_EQUALS
    if as_good and case.expert_pays and case.expert.share >= GOOD:
        return _Verdict(
            "expert",
            f"Use the expert: it is as good as RAG ({case.expert.ranged}, RAG {reader.ranged}) and costs less to ask.",
        )
    if reader.share < GOOD:
        # Only one is good enough, and it is not worse.
        msg = f"Use the expert: it is right on {case.expert.ranged}; RAG, on {reader.ranged}, is not good enough"
        return _Verdict("expert", f"{msg}, though that the expert is better is not shown.")
    if as_good:
        msg = f"Use RAG: the expert is as good ({case.expert.ranged}, RAG {reader.ranged}), but is not shown to cost less to ask."
        return _Verdict("rag", msg)
    msg = f"Use RAG: it is right on {reader.ranged}, the expert on {case.expert.ranged}, and that the expert is as good is not shown."
    return _Verdict("rag", msg)


def _toy_headline(case: Case) -> str:
    """What a toy proves, and who won: where others ask, if the expert lost there, however it did on its own questions."""
    proof = "This run proves the pipeline, not the expert, whose base is a toy"
    reader = case.share(case.reader)
    if not case.expert.n or not reader:
        return f"{proof}; nothing that searches the text was asked the same."
    if lost := [row for row in (*INDEPENDENT, _NEVER) if is_worse(case.compared(EXPERT, case.reader, row))]:
        return f"{proof}; RAG won where others ask ({'; '.join(_won(case, row) for row in lost)})."
    figures = f"expert {case.expert}, RAG {reader}"
    if (row := case.not_learned_row) and case.expert.share >= LEARNED:
        return f"{proof}; it learned its own questions only ({_won(case, row)})."
    if is_better(case.against_reader):
        return f"{proof}; here the expert won: {figures}."
    if is_worse(case.against_reader):
        return f"{proof}; here RAG won: {figures}."
    return f"{proof}; here neither won beyond chance: {figures}."


_NEVER: ExamRowName = "never_asked"


def _won(case: Case, row: ExamRowName) -> str:
    theirs, mine = case.row(case.reader or "", row), case.row(EXPERT, row)
    return f"{ROW_TITLES[row]}: RAG {theirs}, expert {mine}"


# -- why -------------------------------------------------------------------------------------------------------------


def _because(case: Case) -> Iterator[str]:
    """The figures behind the verdict, with their intervals."""
    if not case.expert.n:
        return
    yield f"The expert, without the text at hand, was right on {case.expert.whole} that it was not trained on."
    if base := case.share(BASE):
        yield f"Its base, before training, was right on {base.whole}. {_beside(case.against_base, 'the expert', 'the base')}"
    if reader := case.share(case.reader):
        name = f"RAG ({case.reader!r})"
        yield f"{name} was right on {reader.whole}. {_beside(case.against_reader, 'the expert', 'RAG')}"
    if both := case.share(EXPERT_RAG):
        compared = case.compared(EXPERT_RAG, case.reader)
        yield f"The expert with RAG was right on {both.whole}. {_beside(compared, 'the expert with RAG', 'RAG')}".rstrip()
    rows = (*UNSEEN_ROWS, "never_asked")
    kinds = [f"{ROW_TITLES[row]} {_both(case, row)}" for row in ROW_TITLES if row in rows and case.row(EXPERT, row).n]
    if len(kinds) > 1:
        yield f"By kind of question: {', '.join(kinds)}."
    if oracle := case.share(ORACLE):
        yield f"The base with the right passage in sight, which is the best that a search can do, was right on {oracle.whole}."
    lookup = case.compared(EXPERT, LOOKUP)
    if lookup is not None and not is_better(lookup):
        share = case.share(LOOKUP)
        yield (
            f"To look up the answer of the likest training question is right on {share}: the expert is not shown to know more "
            "than that."
        )
    if case.too_short:
        yield f"The text has about {case.n_tokens:,} tokens; up to {SHORT_TOKENS:,} fit in a prompt beside the question."
    yield from _because_of_money(case)
    yield from _because_of_care(case)
    if case.expert.n < FEW:
        yield f"Only {counted(case.expert.n, 'question')} {'was' if case.expert.n == 1 else 'were'} unseen: read every interval before the figure in front of it."


def _both(case: Case, row: ExamRowName) -> str:
    """The expert's share of a row, and RAG's beside it."""
    theirs = case.row(case.reader or "", row)
    return f"{case.row(EXPERT, row)}" + (f" (RAG {theirs})" if theirs.n else "")


def _beside(comparison: Comparison | None, one: str, other: str) -> str:
    """A paired comparison, in words for someone who never heard of one."""
    if comparison is None:
        return ""
    if not comparison.only_one and not comparison.only_other:
        return f"{one[0].upper()}{one[1:]} and {other} were right and wrong on the same questions."
    low, high = (100 * end for end in comparison.interval)
    return (
        f"Of the questions that only one of them got right, {one} had {comparison.only_one} and {other} "
        f"{comparison.only_other}: a difference of {100 * comparison.difference:+.0f} points (95 % interval {low:+.0f} to "
        f"{high:+.0f}; p {_p(comparison.p)}, exact McNemar test)."
    )


def _p(p: float) -> str:
    return f"= {p:.2g}" if p >= 0.001 else "< 0.001"


def _because_of_money(case: Case) -> Iterator[str]:
    if case.break_even is None:
        if case.updates_per_year:
            yield "Whether the text changes too often is not known: the break-even of the expert was not measured."
        return
    other = case.result.economics.against if case.result.economics else None
    if case.break_even == math.inf:
        yield f"The expert never pays for itself against {other!r}: an answer of its costs as much or more."
    else:
        yield f"The expert has paid for itself against {other!r} after {counted(math.ceil(case.break_even), 'question')}."
    if case.between_updates is not None:
        yield (
            f"The text changes {_times(case.updates_per_year or 0)} a year: {_asked(case.between_updates)} asked "
            "between two changes, after each of which the expert is made again."
        )


def _because_of_care(case: Case) -> Iterator[str]:
    """What makes an expert unfit that the share of right answers does not show."""
    refused, wrongly = case.refusals
    if refused.n:
        yield (
            f"Of {counted(refused.n, 'question')} that the text does not answer, the expert said so for {refused.right} and made up an "
            f"answer for {refused.n - refused.right}."
        )
    if wrongly.n and wrongly.share > REFUSES_TOO_MUCH:
        yield f"It said that it does not know for {wrongly} of the questions that the text does answer."
    general = case.compared(EXPERT, BASE, "general")
    if general is not None:
        yield (
            f"Of {counted(general.n, 'general question')}, {general.only_other:,} were forgotten in training and {general.only_one:,} came "
            "to be right."
        )


def _asked(n: float) -> str:
    n = round(n)
    return f"{counted(n, 'question')} {'is' if n == 1 else 'are'}"


def _times(n: float) -> str:
    return "once" if n == 1 else "twice" if n == 2 else f"{n:,.4g} times"
