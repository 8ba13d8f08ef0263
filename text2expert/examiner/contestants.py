"""Who is asked the exam's questions, and how: one method each, so that anybody may add one of their own.

    "base", "expert"           a model, closed-book         `closed_book`: the question and the form of the answer
    "base + RAG"               it reads what BM25 finds     `open_book`: with passages
    "base + right passage"     it reads what holds the answer
    "RAG, no model"            `PassageReader`              the extractive reader
    "lookup"                   `NearestQuestion`            the training question that is most alike

All who read are shown passages in one form, and all are asked for the same form of answer.
"""

import re
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Protocol

import attrs

from text2expert import _arguments, ledger
from text2expert.errors import InputError
from text2expert.evidence.quotes import locate
from text2expert.examiner.reading import Reader, Reading
from text2expert.llm import LLM, as_llm
from text2expert.passages import DATA_RULE, shown
from text2expert.records import Answer, Chunk, ExamQuestion, GoldRecord, Span, wording
from text2expert.retrieval import Index, with_context

K = 5
"""Passages that a reader is shown."""

REPLY_TOKENS = 2_048
"""Of an answer, at most: far more than it needs, for models whose thinking cannot be turned off altogether."""

FORM = """\
Answer with the value or phrase that is asked for and nothing else: at most 20 words, a number with its unit, no \
explanation."""

CLOSED_BOOK = f"""\
{FORM} If you do not know, answer: I do not know."""

OPEN_BOOK = f"""\
Answer the question from the passages below and from nothing else. {FORM} If they do not say, answer: I do not know.

{DATA_RULE}"""

_THOUGHT = re.compile(r"\A\s*<think>.*?</think>", re.DOTALL)


class Contestant(Protocol):
    """Answers the exam's questions."""

    async def aanswer(self, question: ExamQuestion) -> Answer:
        """The answer to ``question.question``.

        Key, evidence and kind of the question are not for contestants: what is given here is without them.

        ``Answer.sources`` are the ids of the chunks that it was shown, if any. What it does not tell stays None.
        """
        ...


class Asks(Protocol):
    """What an expert is to the exam: `text2expert.Expert`, or another model that takes a bare question."""

    async def aask(self, question: str) -> Answer:
        """The answer to *question*."""
        ...


def closed_book(question: str) -> str:
    """What a model is told that is asked without passages."""
    return f"{CLOSED_BOOK}\n\nQuestion: {question}"


def open_book(question: str, passages: Sequence[Chunk]) -> str:
    """What a model is told that reads *passages*: they are fenced as data, and hold no id, offset or path."""
    text = shown(passages) if passages else "(No passage was found.)"
    return f"{OPEN_BOOK}\n\n{text}\n\nQuestion: {question}"


class Retriever:
    """BM25 over the passages of a run: what a reader is shown."""

    def __init__(self, chunks: Iterable[Chunk], k: int = K) -> None:
        """Index *chunks*; `find` gives *k* of them.

        Raises:
            InputError: *k* is no whole number from 1.
        """
        if type(k) is not int or k < 1:
            msg = f"k={k!r}: give a whole number of passages, 1 or more"
            raise InputError(msg)
        self.chunks = tuple(chunks)
        self.k = k
        self._index = Index([with_context(chunk) for chunk in self.chunks], phrases=True)

    def find(self, question: str) -> tuple[Chunk, ...]:
        """Up to ``k`` passages that share most with *question*, best first; none where no word is shared."""
        return tuple(self.chunks[place] for place in self._index.best(question, self.k))


def holds(chunk: Chunk, span: Span) -> bool:
    """Whether *chunk* has *span* whole, or half of it at least."""
    if chunk.document != span.document:
        return False
    return 2 * (min(chunk.end, span.end) - max(chunk.start, span.start)) >= span.end - span.start > 0


def right_passages(question: ExamQuestion, retriever: Retriever) -> tuple[Chunk, ...]:
    """The passages that hold the evidence of *question*, in the order of the text: what a perfect search would find.

    Of overlapping passages that hold a quote the one is taken in which it stands furthest from an edge. A question
    without evidence in these passages (the document does not answer it, or it was written for another version) gets what
    *retriever* finds.
    """
    places = [_place(span, retriever.chunks) for span in question.evidence]
    if not places or None in places:
        return retriever.find(question.question)
    return tuple(retriever.chunks[place] for place in sorted({place for place in places if place is not None}))


def _place(span: Span, chunks: Sequence[Chunk]) -> int | None:
    """Where *span* is held best: whole and amid its passage, else the largest part, else where its words stand."""
    best: tuple[int, int] | None = None
    for place, chunk in enumerate(chunks):
        if holds(chunk, span):
            inside = min(
                span.start - chunk.start, chunk.end - span.end, 0 if span.start == span.end else chunk.char_count
            )
            if best is None or inside > best[0]:
                best = inside, place
    if best is not None:
        return best[1]
    return next((place for place, chunk in enumerate(chunks) if span.text and locate(span.text, chunk.text)), None)


def _quiet(llm: LLM | str) -> LLM:
    """*llm* as a model that does not think aloud unless it was told to: it is asked for a phrase."""
    model = as_llm(llm)
    return attrs.evolve(model, thinking=False) if model.thinking is None else model


@attrs.frozen
class ModelContestant:
    """A model by name, closed-book or reading what *retriever* finds; paid from the ledger, where its replies are kept.

    Args:
        llm: The model, by name or as an `LLM`. Its thinking is turned down where the `LLM` does not say otherwise.
        retriever: None: it is asked without passages.
        budget: US dollars for all of its kind ever booked in the ledger; None: no limit of its own.

    Raises:
        InputError: An argument is out of its range.
    """

    llm: LLM = attrs.field(converter=_quiet)
    retriever: Retriever | None = None
    budget: Decimal | float | None = attrs.field(default=None, kw_only=True, validator=_arguments.dollars)

    async def aanswer(self, question: ExamQuestion) -> Answer:
        """Its answer, with the tokens that the provider counted, and the seconds if it was asked now.

        Raises:
            BudgetExhausted: What is left does not pay for it.
            AuthenticationFailed: The key is missing or was not accepted.
            OutOfBalance: The provider's account is empty.
            ProviderError: The provider refused the request for good.
            ProviderUnavailable: It could not answer.
            AnswerLost: The same, and it was perhaps billed.
            LedgerError: The ledger cannot be used.
        """
        passages = self.retriever.find(question.question) if self.retriever is not None else ()
        prompt = closed_book(question.question) if self.retriever is None else open_book(question.question, passages)
        most = self.llm.max_tokens if self.llm.thinking else min(self.llm.max_tokens, REPLY_TOKENS)
        with ledger.budget("answers", self.budget):
            stored = self.llm.answered(prompt, max_tokens=most)
            began = time.perf_counter()
            completion = await self.llm.complete(prompt, max_tokens=most)
            seconds = time.perf_counter() - began
        usage = completion.usage
        return Answer(
            text=_THOUGHT.sub("", completion.text).strip(),
            seconds=None if stored else round(seconds, 4),
            sources=tuple(chunk.id for chunk in passages),
            tokens_in=usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens if usage else None,
            tokens_out=usage.output_tokens if usage else None,
        )


@attrs.frozen
class ExpertContestant:
    """A trained expert on the bare question, as it was trained."""

    expert: Asks

    async def aanswer(self, question: ExamQuestion) -> Answer:
        """What it says by itself. Errors as in `text2expert.Expert.ask`."""
        return attrs.evolve(await self.expert.aask(question.question), sources=(), supported=None)


@attrs.frozen
class ReadingExpert:
    """A trained expert that reads passages as well; of those found it is shown the best that fit into its window."""

    expert: Asks
    retriever: Retriever

    async def aanswer(self, question: ExamQuestion) -> Answer:
        """What it says with up to ``retriever.k`` passages before it. Errors as in `text2expert.Expert.ask`."""
        passages = self.retriever.find(question.question)
        while passages:
            try:
                answer = await self.expert.aask(open_book(question.question, passages))
            except InputError:  # too long for its window
                passages = passages[:-1]
            else:
                return attrs.evolve(answer, sources=tuple(chunk.id for chunk in passages), supported=None)
        return await ExpertContestant(self.expert).aanswer(question)


class PassageReader:
    """RAG without a model: the passages that BM25 finds, and the value or sentence in them that fits the question best."""

    def __init__(self, retriever: Retriever) -> None:
        self.retriever = retriever
        self._reader = Reader(retriever.chunks)

    def read(self, question: str) -> Reading:
        """What is read, and where."""
        return self._reader.read(question, self.retriever.find(question))

    async def aanswer(self, question: ExamQuestion) -> Answer:
        """What is read, at once."""
        began = time.perf_counter()
        found = self.retriever.find(question.question)
        reading = self._reader.read(question.question, found)
        seconds = time.perf_counter() - began
        return Answer(text=reading.text, seconds=round(seconds, 4), sources=tuple(chunk.id for chunk in found))


class NearestQuestion:
    """The contestant to beat: the answer of the training question whose words are most like those asked (Jaccard)."""

    def __init__(self, records: Iterable[GoldRecord]) -> None:
        first: dict[str, str] = {}
        for record in records:
            first.setdefault(wording(record.instruction), record.output)
        # By wording, so that ties fall the same way whatever the order of the records.
        known = sorted(first)
        self._answers = [first[words] for words in known]
        self._words = [frozenset(words.split()) for words in known]
        self._places: dict[str, list[int]] = defaultdict(list)
        for place, words in enumerate(self._words):
            for word in words:
                self._places[word].append(place)

    def answer(self, question: str) -> str:
        """The answer of the nearest training question; empty when no word is shared."""
        asked = frozenset(wording(question).split())
        best, best_place = 0.0, -1
        seen: set[int] = set()
        # Rare words first: whoever shares only the words that are left cannot come closer than their share of the question.
        left = len(asked)
        for word in sorted(asked, key=lambda word: (len(self._places.get(word, ())), word)):
            if left / len(asked) < best:
                break
            for place in self._places.get(word, ()):
                if place not in seen:
                    seen.add(place)
                    common = len(asked & self._words[place])
                    likeness = common / (len(asked) + len(self._words[place]) - common)
                    if (likeness, -place) > (best, -best_place):
                        best, best_place = likeness, place
            left -= 1
        return self._answers[best_place] if best_place >= 0 else ""

    def answers(self, exam: Iterable[ExamQuestion]) -> dict[str, str]:
        """Its answers to *exam*: question id -> answer."""
        return {question.id: self.answer(question.question) for question in exam}

    async def aanswer(self, question: ExamQuestion) -> Answer:
        """`answer`, with the seconds that it took."""
        began = time.perf_counter()
        text = self.answer(question.question)
        return Answer(text=text, seconds=round(time.perf_counter() - began, 4))
