"""From chunks to judged pairs: teacher and verifier at work side by side, results in the order of the text.

A lesson is one call of the teacher, about one passage or a few that belong together. Its pairs are judged as soon as
they exist, while other lessons are still being given. What a teacher says about places is not taken on trust: every
quote is looked up in its passages, and a pair whose quote is nowhere there is rejected before a verifier sees it.
"""

import contextlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import attrs

from text2expert._progress import bar
from text2expert._tasks import as_done
from text2expert.errors import (
    AnswerLost,
    AuthenticationFailed,
    BudgetExhausted,
    OutOfBalance,
    ProviderError,
    ProviderUnavailable,
    Text2ExpertError,
)
from text2expert.records import Chunk, Document, QAPair, Span, Verdict

if TYPE_CHECKING:
    from text2expert.golden import Gold

WINDOW = 16
"""Lessons under way at a time with steps that calculate instead of waiting: they do so for a whole window before Ctrl-C
gets through. Steps that wait for a provider say themselves how many (``concurrency``)."""

SHORT_CHUNK = 60
"""Characters; where chunks are shorter on average, their size is why nothing could be taught."""

HOPELESS = 20
"""Lessons that fail, with none that succeeds, before the run stops instead of trying the rest."""


class SupportsTeach(Protocol):
    """Writes questions and answers about passages."""

    async def ateach(self, passages: tuple[Chunk, ...], n: int) -> list[QAPair]:
        """At most *n* items (wordings not counted) about *passages*; evidence in document offsets.

        With several passages, only what needs more than one of them. ``BudgetExhausted`` ends the teaching, not the
        run.
        """
        ...


class SupportsVerify(Protocol):
    """Judges pairs against the passages that they were written from."""

    async def averify(self, pairs: tuple[QAPair, ...], passages: tuple[Chunk, ...]) -> list[Verdict]:
        """Verdicts by ``qa_id`` on all pairs of one lesson; a pair without a verdict counts as unverified."""
        ...


class Lesson(NamedTuple):
    """One call of the teacher."""

    place: int
    """Of its first passage among the chunks, from 0."""
    passages: tuple[Chunk, ...]

    @property
    def order(self) -> tuple[int, int]:
        """Sorts lessons as the text runs, a passage's own before those that it shares."""
        return self.place, len(self.passages)


@attrs.frozen(kw_only=True)
class Taught:
    """Pairs, what was said of them, and what became of the lessons."""

    pairs: list[QAPair] = attrs.field(factory=list)
    verdicts: list[Verdict] = attrs.field(factory=list)
    lessons: int = 0
    beyond_budget: int = 0
    """Lessons that a budget did not reach."""
    exhausted: str = ""
    """What the budget said to the first of them."""
    failed: int = 0
    """Lessons that the provider failed for good, this time."""
    failure: str = ""
    """Why the first of them failed."""

    def lessons_given(self) -> dict[str, Any]:
        """What became of the lessons, as JSON values."""
        return {
            "lessons": self.lessons,
            "beyond_budget": self.beyond_budget,
            "failed": self.failed,
            "failure": self.failure,
        }


class _Outcome(NamedTuple):
    lesson: Lesson
    pairs: list[QAPair]
    verdicts: list[Verdict]
    error: Text2ExpertError | None = None


def lessons(chunks: Iterable[Chunk], teacher: SupportsTeach, seed: int) -> Iterator[Lesson]:
    """The lessons that *teacher* gives about *chunks*.

    For a teacher that is paid (it has a ``budget``), spread over the text and densest first, so that money that does
    not reach everything has covered the whole; and with ``cross_section``, that share of the passages once more
    together with those that belong to them.
    """
    if not hasattr(teacher, "budget"):
        for place, chunk in enumerate(chunks):
            yield Lesson(place, (chunk,))
        return
    from text2expert import coverage
    from text2expert.crossings import crossings

    every = list(chunks)
    together = crossings(every, getattr(teacher, "cross_section", 0.0), seed)
    for place in coverage.spread([coverage.density(chunk) for chunk in every]):
        yield Lesson(place, (every[place],))
        if place in together:
            yield Lesson(place, tuple(every[other] for other in together[place]))


async def teach_and_judge(
    plan: Iterable[Lesson],
    total: int | None,
    teacher: SupportsTeach,
    verifier: SupportsVerify | None,
    questions: int,
    what: str = "Teaching",
) -> Taught:
    """Pairs of all the lessons in *plan* (*total* of them), at most *questions* items each, and verdicts on them.

    *what* is written before the bar. Pairs are numbered ``<id of the first chunk>_qa_<n>`` in the order of the text.

    Raises:
        AuthenticationFailed: A key was not accepted. What was answered is in the ledger.
        OutOfBalance: An account is empty.
        ProviderError: The first `HOPELESS` lessons failed, or all that a budget reached.
        ProviderUnavailable: The same, for want of an answer.
        AnswerLost: The same.
    """
    outcomes: list[_Outcome] = []
    failed: list[Text2ExpertError] = []
    exhausted: list[str] = []
    work = (_give(number, lesson, teacher, verifier, questions) for number, lesson in enumerate(plan))
    with bar(total, what, unit="chunk" if total is None or not hasattr(teacher, "budget") else "call") as progress:
        live = _Live(teacher, verifier, total=total)
        async with contextlib.aclosing(as_done(work, _window(teacher))) as given:
            async for outcome in given:
                outcomes.append(outcome)
                if isinstance(outcome.error, BudgetExhausted):
                    exhausted.append(str(outcome.error))
                elif outcome.error is not None:
                    failed.append(outcome.error)
                    # What a budget ends before it was asked says nothing of the provider.
                    if len(failed) == HOPELESS == len(outcomes) - len(exhausted):
                        raise outcome.error
                progress.set_postfix(live.seen(outcome.pairs, outcome.verdicts), refresh=False)
                progress.update()
    if failed and len(failed) == len(outcomes) - len(exhausted):
        raise failed[0]
    outcomes.sort(key=lambda outcome: outcome.lesson.order)
    pairs, verdicts = _numbered(outcomes)
    return Taught(
        pairs=pairs,
        verdicts=verdicts,
        lessons=len(outcomes),
        beyond_budget=len(exhausted),
        exhausted=exhausted[0] if exhausted else "",
        failed=len(failed),
        failure=str(failed[0]) if failed else "",
    )


async def judge(pairs: Iterable[QAPair], chunks: Mapping[str, Chunk], verifier: SupportsVerify | None) -> list[Verdict]:
    """Verdicts on pairs that were taught before, with their *chunks* by id."""
    of_lesson: dict[tuple[str, ...], list[QAPair]] = defaultdict(list)
    for pair in pairs:
        of_lesson[pair.sources].append(pair)
    work = (
        _judged(number, some, tuple(chunks[source] for source in sources), verifier)
        for number, (sources, some) in enumerate(of_lesson.items())
    )
    found: dict[int, list[Verdict]] = {}
    live = _Live(verifier)
    with bar(len(of_lesson), "Judging", unit="call") as progress:
        async for number, some in as_done(work, _window(verifier)):
            found[number] = some
            progress.set_postfix(live.seen(verdicts=some), refresh=False)
            progress.update()
    return [verdict for number in sorted(found) for verdict in found[number]]


async def rewrite(chunks: Iterable[Chunk], total: int, teacher: Any) -> tuple[list[dict[str, str]], bool]:
    """Restatements of *chunks*, ``teacher.rewrites`` of each, as far as it goes; and whether all were asked for."""
    missing = 0

    async def one(place: int, chunk: Chunk) -> tuple[int, list[dict[str, str]]]:
        nonlocal missing
        try:
            texts = await teacher.arewrite(chunk, teacher.rewrites)
        except (AuthenticationFailed, OutOfBalance):
            raise
        except (BudgetExhausted, ProviderError, ProviderUnavailable, AnswerLost) as error:
            missing += not isinstance(error, BudgetExhausted)
            return place, []
        return place, [{"chunk": chunk.id, "key": chunk.key, "text": text, "model": teacher.name} for text in texts]

    made: dict[int, list[dict[str, str]]] = {}
    live = _Live(teacher)
    with bar(total, "Rewriting", unit="chunk") as progress:
        async for place, some in as_done((one(*each) for each in enumerate(chunks)), _window(teacher)):
            made[place] = some
            progress.set_postfix(live.seen(), refresh=False)
            progress.update()
    return [each for place in sorted(made) for each in made[place]], not missing


def _window(step: object) -> int:
    """Lessons under way: twice the requests, since while one part of them is taught another is judged."""
    return max(WINDOW, 2 * int(getattr(step, "concurrency", 0)))


async def _give(
    number: int, lesson: Lesson, teacher: SupportsTeach, verifier: SupportsVerify | None, questions: int
) -> _Outcome:
    try:
        taught = await teacher.ateach(lesson.passages, questions)
    except (AuthenticationFailed, OutOfBalance):
        raise
    except (BudgetExhausted, ProviderError, ProviderUnavailable, AnswerLost) as error:
        return _Outcome(lesson, [], [], error)
    sources = tuple(chunk.id for chunk in lesson.passages)
    # Numbers of the text's order are given at the end; no prompt holds them.
    pairs = [
        attrs.evolve(pair, qa_id=f"{number}_{each}", sources=sources, evidence=_placed(pair.evidence, lesson.passages))
        for each, pair in enumerate(taught)
    ]
    return _Outcome(lesson, pairs, await _judge(pairs, lesson.passages, verifier))


def _numbered(outcomes: Iterable[_Outcome]) -> tuple[list[QAPair], list[Verdict]]:
    pairs: list[QAPair] = []
    verdicts: list[Verdict] = []
    counts: dict[str, int] = defaultdict(int)
    for outcome in outcomes:
        ids = {}
        for pair in outcome.pairs:
            chunk = outcome.lesson.passages[0].id
            ids[pair.qa_id] = f"{chunk}_qa_{counts[chunk]}"
            counts[chunk] += 1
            pairs.append(attrs.evolve(pair, qa_id=ids[pair.qa_id]))
        verdicts += [attrs.evolve(each, qa_id=ids.get(each.qa_id, each.qa_id)) for each in outcome.verdicts]
    return pairs, verdicts


async def _judged(
    number: int, pairs: list[QAPair], passages: tuple[Chunk, ...], verifier: SupportsVerify | None
) -> tuple[int, list[Verdict]]:
    return number, await _judge(pairs, passages, verifier)


async def _judge(pairs: list[QAPair], passages: tuple[Chunk, ...], verifier: SupportsVerify | None) -> list[Verdict]:
    lost = [_lost(pair) for pair in pairs if not pair.evidence]
    placed = tuple(pair for pair in pairs if pair.evidence)
    if verifier is None or not placed:
        return lost
    return [*lost, *await verifier.averify(placed, passages)]


def _placed(spans: tuple[Span, ...], passages: tuple[Chunk, ...]) -> tuple[Span, ...]:
    """*spans* where they really are; none when one of them is nowhere, all passages whole when none was given."""
    if not spans:
        return tuple(
            Span(document=chunk.document, start=chunk.start, end=chunk.end, text=chunk.text) for chunk in passages
        )
    placed = []
    for span in spans:
        found = next((place for chunk in passages if (place := _place(span, chunk)) is not None), None)
        if found is None:
            return ()
        placed.append(found)
    return tuple(placed)


def _place(span: Span, chunk: Chunk) -> Span | None:
    from text2expert import evidence

    start = span.start - chunk.start
    if span.document == chunk.document and start >= 0 and span.text and chunk.text[start:].startswith(span.text):
        return attrs.evolve(span, end=span.start + len(span.text))
    if (found := evidence.locate(span.text, chunk.text)) is None:
        return None
    first, end = found
    return Span(document=chunk.document, start=chunk.start + first, end=chunk.start + end, text=chunk.text[first:end])


def _lost(pair: QAPair) -> Verdict:
    return Verdict(
        qa_id=pair.qa_id, grounded=False, no_hallucination=False, complete=False, by="text2expert",
        reason="its evidence is nowhere in the passage that it was written from",
    )  # fmt: skip


class _Live:
    """What the line beside the bar says: dollars spent and projected, open requests, pairs and their approval (ok).

    Dollars are those of the whole run folder. They are projected only for a *total* that they are all spent on.
    """

    def __init__(self, *steps: object, total: int | None = None) -> None:
        models: list[Any] = [getattr(step, "llm", None) for step in steps]
        self._models = [model for model in models if hasattr(model, "in_flight")]  # an `llm` may be none of ours
        self._total = total
        self._done = self._pairs = self._approved = self._judged = 0

    def seen(self, pairs: Collection[QAPair] = (), verdicts: Iterable[Verdict] = ()) -> dict[str, Any]:
        """The line after one more is done, of which *pairs* and *verdicts* came."""
        self._done += 1
        self._pairs += len(pairs)
        real = [verdict for verdict in verdicts if not verdict.control]
        self._judged += len(real)
        self._approved += sum(verdict.approved for verdict in real)
        # Money first: the end is cut in a narrow terminal.
        line: dict[str, Any] = {}
        if self._models:
            from text2expert import ledger

            spent = ledger.current().spent()
            dollars = spent.settled + spent.lost
            line["spent"] = f"${dollars:.2f}"
            if self._total:
                line["spent"] += f"/~${dollars / self._done * self._total:.2f}"
            line["open"] = sum(model.in_flight for model in self._models)
        if self._judged:
            line["ok"] = f"{100 * self._approved / self._judged:.0f}%"
        if self._pairs:
            line["pairs"] = self._pairs
        return line


def nothing_taught(
    gold: "Gold", taught: Taught, inputs: Sequence[Document], chunks_of: float, model: str | None
) -> str:
    """Why no pair was approved, and what to do about it."""
    names = ", ".join(document.path or document.id for document in inputs[:3]) + (", ..." if len(inputs) > 3 else "")
    if sum(document.n_chars for document in inputs) < SHORT_CHUNK:
        return f"{names}: a text this short holds nothing that can be asked; give a longer one"
    if chunks_of < SHORT_CHUNK:
        return f"{names}: chunks of {chunks_of:.0f} characters hold no sentence; give a larger size (--chunk-size 800)"
    advice = (
        "a text of rules, limits, definitions or steps is needed (see text2expert/samples), "
        "or a teacher that reads prose: Pipeline(teacher=...)"
    )
    if taught.exhausted and not gold.counts.parsed:
        return f"{names}: nothing was taught, for want of money: {taught.exhausted}"
    if taught.failed and not gold.counts.parsed:
        return (
            f"{names}: nothing was taught: {taught.failed:,} of {taught.lessons:,} calls failed ({taught.failure}), and the "
            "others held no question that can be used"
        )
    if not gold.counts.parsed and model is not None:
        return (
            f"{names}: nothing was taught: no reply of {model} held a question that can be used; the replies are in the "
            "ledger and are not paid for again; try a stronger model, a larger LLM(max_tokens=...), or another text"
        )
    if gold.counts.unverified == gold.counts.parsed > 0:
        return (
            f"{names}: none of the {gold.counts.parsed:,} pairs was judged: either the verifier's budget, or the run's, "
            "was too small for a single call (--verifier-budget, --budget), or no reply of the verifier was a verdict: "
            "then try another model. include_unverified=True (--include-unverified) takes pairs as they come. What was "
            "taught is not paid for again"
        )
    if gold.counts.parsed:
        reasons = sorted({rejected.reason for rejected in gold.rejected})
        return f"{names}: none of the {gold.counts.parsed:,} pairs was approved ({reasons[0]}, ...); {advice}"
    return f"{names}: nothing was found that can be asked; {advice}"
