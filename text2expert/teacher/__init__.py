"""Questions and answers from a model: passages in, pairs with their evidence out.

    passages ──prompts──▶ LLM ──replies──▶ items ──▶ one QAPair for each wording, quotes placed in the source

What a document says never gives orders here: it is shown inside fences (`text2expert.passages`), and of a reply only
questions and answers are read, item by item.
"""

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any, ClassVar

import attrs

from text2expert import _arguments, evidence, ledger, replies
from text2expert._progress import bar, say
from text2expert._sync import run
from text2expert._tasks import in_order
from text2expert.errors import BudgetExhausted, InputError
from text2expert.exchange import Completion
from text2expert.llm import LLM, Estimate, as_llm, samples
from text2expert.records import Chunk, QAPair, Span, digest
from text2expert.teacher import prompts
from text2expert.teacher.items import Item, read, restates

DEFAULT_MODEL = "deepseek/deepseek-flash"

SCOPE = "teacher"
"""What the costs are booked to."""

BYTES_PER_TOKEN = 4
"""Of UTF-8 text in any language, about: measured beside two vocabularies for English and Russian it errs high."""

FENCE_BYTES = 250
"""Of headings and fences around a passage, beside its text."""

ITEM_TOKENS = (110, 220)
"""An item takes in a reply, its rewordings not counted."""
WORDING_TOKENS = (18, 32)
"""A rewording takes."""
THINKING_TOKENS = (1_000, 3_000)
"""A model takes to think of five questions: with the items, about 3,000 completion tokens are reported for that."""
THINKING_QUESTIONS = 5
REWRITE_THINKING = 0.4
"""Thought about a restatement, beside that about five questions."""
REWRITE_LENGTH = (0.9, 1.5)
"""Of a restatement, beside the passage."""
BATCH_REQUESTS = 100_000
"""A batch holds at most (Anthropic's documentation)."""
PASSAGES_TOGETHER = 2.3
"""Passages in a cross-section call, on average."""


_NOTHING = re.compile(r"\s*(?:```\w*\s*)?\[\s*\]\s*(?:```\s*)?")
"""A reply that is an empty list: there is nothing to ask, said without the object around it."""


def _template(_: Any, attribute: "attrs.Attribute[str]", value: Any) -> None:
    prompts.checked(attribute.name, value)


_WORDS = _arguments.words("a few words, such as 'a clinician' or 'medical documentation'")


@attrs.frozen
class Teacher:
    """Asks a model for questions, answers and reasoning about passages.

    Args:
        llm: A name such as ``"deepseek/deepseek-flash"``, or an `LLM`.
        questions_per_chunk: Questions asked for of each passage, each in all its wordings.
        budget: US dollars that teaching may cost over the ledger's lifetime; None: no cap.
        wordings: Ways in which each question is asked, all in one reply: one wording alone is not learned, and the exam
            holds another one out.
        cross_section: Share of the passages that are shown once more beside those that they refer to, for questions that
            need several.
        rewrites: Restatements of each passage, for training on text.
        audience: Who will ask, as in ``"a clinician"``.
        domain: What is taught, as in ``"medical documentation"``. The name of the document or of its house is welcome here
            where the headings do not say it: questions should carry it.
        prompt: The fixed part of the prompt. It may hold the fields ``{audience}``, ``{domain}``, ``{data_rule}`` (what a
            fence is), ``{wordings_rule}`` and ``{example}``. The passages in their fences and the number of questions follow
            it in any case.
        cross_prompt: What follows it where several passages are shown.
        rewrite_prompt: The same as *prompt* for restatements.
        tries: Requests for one passage, until a reply is whole and usable.

    Raises:
        InputError: An argument is not what it must be, or a prompt has a field that there is not.
    """

    form: ClassVar[str] = "1"
    """Raised whenever the same reply would be read as other pairs: those in a run folder are then made again, from the
    ledger, at no cost."""

    llm: LLM = attrs.field(factory=lambda: LLM(DEFAULT_MODEL), converter=as_llm)
    questions_per_chunk: int = attrs.field(default=5, kw_only=True, validator=_arguments.whole(1))
    budget: Decimal | float | None = attrs.field(default=None, kw_only=True, validator=_arguments.dollars)
    wordings: int = attrs.field(default=4, kw_only=True, validator=_arguments.whole(1))
    cross_section: float = attrs.field(default=0.1, kw_only=True, validator=_arguments.share)
    rewrites: int = attrs.field(default=1, kw_only=True, validator=_arguments.whole(0))
    audience: str = attrs.field(default="a practitioner", kw_only=True, validator=_WORDS)
    domain: str = attrs.field(default="professional reference documents", kw_only=True, validator=_WORDS)
    prompt: str = attrs.field(default=prompts.PROMPT, kw_only=True, repr=False, validator=_template)
    cross_prompt: str = attrs.field(default=prompts.CROSS_PROMPT, kw_only=True, repr=False, validator=_template)
    rewrite_prompt: str = attrs.field(default=prompts.REWRITE_PROMPT, kw_only=True, repr=False, validator=_template)
    tries: int = attrs.field(default=2, kw_only=True, validator=_arguments.whole(1))

    @property
    def name(self) -> str:
        """Of the model, as it is written to pairs."""
        return self.llm.name

    @property
    def concurrency(self) -> int:
        """Requests worth having under way: those that the model takes at a time, or that fill a batch."""
        return BATCH_REQUESTS if self.llm.batch else self.llm.concurrency

    async def ateach(self, passages: Sequence[Chunk], n: int | None = None) -> list[QAPair]:
        """At most *n* questions about *passages*, each in all its wordings; of several passages, what needs more than one.

        The wordings of a question share ``item`` and answer. A quote that is in none of the passages stays with its pair
        as a span of no length, which nothing that looks it up will find.

        Raises:
            BudgetExhausted: The budget does not allow the request.
            ProviderError: The provider refused it for good.
            ProviderUnavailable: It cannot answer now.
            AnswerLost: No whole answer came back, as often as it was asked.
        """
        most = self.questions_per_chunk if n is None else n
        if not passages or most < 1:
            return []
        with ledger.budget(SCOPE, self.budget):
            answers = await samples(
                self.llm,
                prompts.teaching(passages, most),
                system=self._system(len(passages)),
                schema=prompts.schema(self.wordings),
                usable=lambda completion: _is_answered(completion, "items", passages),
                tries=self.tries,
            )
        values = [value for completion in answers for value in replies.objects(completion.text).values]
        items = [item for item in read(values, passages) if len(passages) == 1 or not _needs_only_one(item, passages)]
        pairs = [pair for item in items[:most] for pair in self._pairs(item, passages)]
        return [attrs.evolve(pair, qa_id=f"{passages[0].id}_qa_{number}") for number, pair in enumerate(pairs)]

    async def arewrite(self, chunk: Chunk, n: int | None = None) -> list[str]:
        """At most *n* restatements of *chunk* as plain text: other sentences in another order, the same facts.

        One that lacks a number of the passage, or has one that is not there, is dropped.

        Raises:
            BudgetExhausted: The budget does not allow the request; others as in `ateach`.
        """
        most = self.rewrites if n is None else n
        if most < 1:
            return []
        with ledger.budget(SCOPE, self.budget):
            answers = await samples(
                self.llm,
                prompts.rewriting(chunk, most),
                system=self._rewrite_system(),
                schema=prompts.REWRITE_SCHEMA,
                usable=lambda completion: bool(_restatements(completion, chunk)),
                tries=self.tries,
            )
        found = dict.fromkeys(text for completion in answers for text in _restatements(completion, chunk))
        return list(found)[:most]

    def teach(self, chunks: Iterable[Chunk], n: int | None = None) -> list[QAPair]:
        """Pairs about each of *chunks*, in their order. Blocks; shows a bar.

        Where the budget ends, what was taught is returned, and how much is missing is said.

        Args:
            chunks: Passages, each taught by itself.
            n: Questions of each; None: ``questions_per_chunk``.

        Raises:
            InputError: *chunks* holds something else, or *n* is no whole number from 1 on.
        """
        if n is not None and (type(n) is not int or n < 1):
            msg = f"n={n!r}: must be a whole number of questions from 1 on, or None for questions_per_chunk"
            raise InputError(msg)
        return run(self._teach_all(_listed(chunks), n))

    def estimate(self, n_chunks: int, n_chars: int, n: int | None = None) -> Estimate:
        """What teaching *n_chunks* passages takes, with cross-section calls and restatements.

        Args:
            n_chunks: Passages.
            n_chars: Of all passages together; the bytes of their UTF-8 text where that is not mostly Latin.
            n: Questions of each; None: ``questions_per_chunk``.

        Prompts are measured, at `BYTES_PER_TOKEN`. Of replies a range is known: items by their parts, thinking by what
        is reported of such models; ``LLM(thinking=False)`` leaves it away.
        """
        questions = self.questions_per_chunk if n is None else n
        crossing = round(n_chunks * self.cross_section)
        restating = n_chunks if self.rewrites else 0
        calls = n_chunks + crossing + restating
        passage = n_chars / BYTES_PER_TOKEN / max(1, n_chunks)
        around = (FENCE_BYTES + _size(prompts.teaching((), questions))) / BYTES_PER_TOKEN
        shown = calls * around + passage * (n_chunks + crossing * PASSAGES_TOGETHER + restating)
        fixed = [
            (n_chunks, _size(self._system(1)) / BYTES_PER_TOKEN),
            (crossing, _size(self._system(2)) / BYTES_PER_TOKEN),
            (restating, _size(self._rewrite_system()) / BYTES_PER_TOKEN),
        ]
        return self.llm.estimate(
            calls,
            math.ceil(shown + sum(calls * tokens for calls, tokens in fixed)),
            (
                self._output(0, n_chunks + crossing, restating, questions, passage),
                self._output(1, n_chunks + crossing, restating, questions, passage),
            ),
            cached_tokens=math.floor(sum(max(0, calls - 1) * tokens for calls, tokens in fixed)),
        )

    def _output(self, end: int, asking: int, restating: int, questions: int, passage: float) -> int:
        """Tokens of all replies, at the low (0) or the high (1) end of what is assumed."""
        thinking = 0 if self.llm.thinking is False else THINKING_TOKENS[end]
        items = questions * (ITEM_TOKENS[end] + (self.wordings - 1) * WORDING_TOKENS[end])
        asked = asking * (items + thinking * max(1.0, questions / THINKING_QUESTIONS))
        restated = restating * (self.rewrites * REWRITE_LENGTH[end] * passage + REWRITE_THINKING * thinking)
        return round(asked + restated)

    def _system(self, passages: int) -> str:
        template = self.prompt if passages == 1 else f"{self.prompt}\n{self.cross_prompt}"
        return prompts.system(template, audience=self.audience, domain=self.domain, wordings=self.wordings)

    def _rewrite_system(self) -> str:
        return prompts.system(self.rewrite_prompt, audience=self.audience, domain=self.domain)

    async def _teach_all(self, chunks: Sequence[Chunk], n: int | None) -> list[QAPair]:
        self.llm.check()
        pairs: list[QAPair] = []
        beyond: list[BudgetExhausted] = []

        async def one(chunk: Chunk) -> list[QAPair]:
            try:
                return await self.ateach((chunk,), n)
            except BudgetExhausted as error:
                beyond.append(error)
                return []

        with bar(len(chunks), "Teaching", unit="chunk") as progress:
            async for taught in in_order((one(chunk) for chunk in chunks), 2 * self.concurrency):
                pairs += taught
                progress.set_postfix(pairs=len(pairs), refresh=False)
                progress.update()
        if beyond:
            say(f"{len(beyond):,} of {len(chunks):,} chunks were not taught: {beyond[0]}")
        return pairs

    def _pairs(self, item: Item, passages: Sequence[Chunk]) -> Iterator[QAPair]:
        key = digest("question", *(passage.text for passage in passages), item.question, item.answer)
        for question in (item.question, *item.wordings[: self.wordings - 1]):
            yield QAPair(
                qa_id="",
                question=question,
                answer=item.answer,
                short_answer=item.short_answer,
                reasoning=item.reasoning,
                difficulty=item.difficulty,
                sources=tuple(passage.id for passage in passages),
                evidence=tuple(_span(quote, passages) for quote in item.quotes),
                item=key,
                kind="question",
                model=self.name,
            )


def _listed(chunks: Iterable[Chunk]) -> list[Chunk]:
    every = list(chunks) if isinstance(chunks, Iterable) and not isinstance(chunks, str) else [chunks]
    for each in every:
        if not isinstance(each, Chunk):
            msg = f"chunks: {each!r:.80} is no Chunk: give those of Chunker().split(text)"
            raise InputError(msg)
    return every


def _span(quote: str, passages: Sequence[Chunk]) -> Span:
    for passage in passages:
        if (found := evidence.locate(quote, passage.text)) is not None:
            start, end = found
            return Span(
                document=passage.document,
                start=passage.start + start,
                end=passage.start + end,
                text=passage.text[start:end],
            )
    return Span(document=passages[0].document, start=0, end=0, text=quote)


def _needs_only_one(item: Item, passages: Sequence[Chunk]) -> bool:
    """Whether one of the *passages* proves it all: then it is asked where that passage is taught by itself."""
    return bool(item.quotes) and any(
        all(evidence.locate(quote, passage.text) is not None for quote in item.quotes) for passage in passages
    )


def _is_answered(completion: Completion, listed: str, passages: Sequence[Chunk]) -> bool:
    """Whether asking again is of no use: the reply is whole and has items, or says that there are none, or refuses."""
    if completion.finish == "refusal":
        return True
    parsed = replies.objects(completion.text)
    if not completion.complete or not parsed.complete:
        return False
    none = any(isinstance(value, dict) and value.get(listed) == [] for value in parsed.values)
    return none or _NOTHING.fullmatch(completion.text) is not None or any(True for _ in read(parsed.values, passages))


def _restatements(completion: Completion, chunk: Chunk) -> list[str]:
    values = replies.holding(replies.objects(completion.text).values, "text")
    texts = (value["text"].strip() for value in values if isinstance(value["text"], str))
    return [text for text in texts if restates(text, chunk)]


def _size(text: str) -> int:
    return len(text.encode())
