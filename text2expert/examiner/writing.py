"""Exam questions by a model that never saw the training pairs: another prompt, and better another model, over the same text.

    passages drawn over the whole text ──▶ questions on one passage ───────────────▶ written_apart
    passages of different sections ──────▶ questions that need both ───────────────▶ across
    passages drawn ──────▶ near misses ──▶ does anything in the text answer them? ─▶ unanswerable

What a reply claims is looked up: a question stays only where its quotes stand in its passages, the free evidence check
finds nothing against its answer, and the mechanical grade can tell a right answer to it.
"""

import math
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import aclosing
from decimal import Decimal
from typing import Any, ClassVar

import attrs

from text2expert import _arguments, evidence, ledger, replies
from text2expert._progress import bar, say
from text2expert._sync import run
from text2expert._tasks import in_order
from text2expert.crossings import crossings
from text2expert.errors import AnswerLost, BudgetExhausted, InputError, ProviderUnavailable
from text2expert.evidence.tokens import content, tokens
from text2expert.examiner.grading import grade
from text2expert.exchange import Completion
from text2expert.llm import LLM, Estimate, as_llm, samples
from text2expert.passages import DATA_RULE, shown
from text2expert.records import Chunk, ExamQuestion, ExamRowName, Span, digest, fraction, wording
from text2expert.retrieval import Index
from text2expert.teacher.items import Item, read, stands_alone

__all__ = ["ACROSS", "CHECK", "INSTRUCTIONS", "UNANSWERABLE", "ExamWriter"]

INSTRUCTIONS = f"""\
You set a closed-book exam. Those who sit it have studied a document and do not have it before them. You are shown a part \
of the document, under its headings, and write questions that tell whoever knows it from whoever guesses.

{DATA_RULE}

A question
- asks what somebody who works by the document must have in mind: an amount, a limit, a deadline, who decides, what is done \
in a case, a condition or exception. Ask as a person would who has the problem and not the wording: in your own words, \
not in the sentence of the text with a gap;
- names the matter in full, with the organisation or document where the text or its headings name it, so that it can be \
understood by itself. It never speaks of "the passage", "this section" or "the text";
- has one right answer, which stands in the text, and which cannot be guessed by common sense or from the question.

Its answer
- "answer": one sentence that states it with its subject and every condition that belongs to it;
- "short_answer": only the value, name or term that is asked for, one to six words, as the text writes it, with its unit \
and comparator; it must be possible to mark another answer right or wrong by it alone. Do not ask for reasons, \
descriptions or long lists;
- "evidence": the words of the text that prove it, copied character by character, one quote or several;
- "difficulty": "easy", "medium" or "hard".

Write in the language of the text; the names of the fields and the levels of difficulty stay in English. Reply with JSON \
alone:
{{"items": [{{"evidence": ["..."], "question": "...", "answer": "...", "short_answer": "...", "difficulty": "medium"}}]}}
Where the text holds nothing worth asking, reply {{"items": []}}."""
"""What an exam's author is told."""

ACROSS = """\
You are shown parts of different sections. Ask only what needs at least two of them: a case in which the rule of one part \
meets a limit, exception, definition or next step that stands in another. Who knows one part alone must get it wrong. \
"evidence" has at least one quote from each part that is needed. Where nothing needs two parts, reply {"items": []}."""
"""What is added where passages are shown together."""

UNANSWERABLE = f"""\
You set a closed-book exam on a document, and you test whether those who sit it admit what the document does not say. You \
are shown a part of the document, under its headings. Write questions about its matter that sound as if the document \
answered them, and that it leaves open: another property of a thing that it names, a case that it does not regulate, a \
number that it does not give.

{DATA_RULE}

A question names its matter in full, is understood by itself, is of the kind that the document's readers ask, assumes \
nothing that the document says to be otherwise, and cannot be answered from general knowledge. "missing" names in one to \
four words what the document would have to tell.

Write in the language of the text. Reply with JSON alone: {{"items": [{{"question": "...", "missing": "..."}}]}}"""
"""What an author of questions without an answer is told."""

CHECK = f"""\
You are shown parts of a document and then a question. Say whether these parts answer the question, wholly or in part, or \
let the answer be concluded.

{DATA_RULE}

Reply with JSON alone: {{"answered": true}} or {{"answered": false}}"""
"""What is asked about a question that the text should not answer."""

SCOPE = "exam_writer"
"""What the costs are booked to."""

PER_PASSAGE = 2
"""Questions asked for of one passage, where there are passages enough: an exam should be spread over the text."""
MOST_PER_PASSAGE = 5
"""Where there are few passages."""
SHORT_WORDS = 12
"""Of a short answer, at most: what is longer cannot be graded by its words."""
NEAREST = 3
"""Passages in which the answer to a question without one is looked for."""
BATCH_REQUESTS = 10_000
"""Passages under way where requests go in batches."""

CHARACTERS_PER_TOKEN = 4.0
"""Plans only."""
ITEM_TOKENS = (90, 180)
"""An item takes in a reply; plans only."""
NEAR_MISS_TOKENS = (30, 60)
"""A question without an answer takes; plans only."""
THINKING_TOKENS = (500, 2_000)
"""A model that thinks takes to think of a passage's questions; plans only."""
KEPT = 0.7
"""Of the questions written, about, are kept; plans only."""

_STRING = {"type": "string"}


def _listing(members: Mapping[str, Any]) -> dict[str, Any]:
    item = {"type": "object", "properties": dict(members), "required": list(members), "additionalProperties": False}
    return {
        "type": "object",
        "properties": {"items": {"type": "array", "items": item}},
        "required": ["items"],
        "additionalProperties": False,
    }


SCHEMA: Mapping[str, Any] = _listing(
    {
        "evidence": {"type": "array", "items": _STRING},
        "question": _STRING,
        "answer": _STRING,
        "short_answer": _STRING,
        "difficulty": {"type": "string", "enum": ["easy", "medium", "hard"]},
    }
)
NEAR_MISS_SCHEMA: Mapping[str, Any] = _listing({"question": _STRING, "missing": _STRING})
CHECK_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {"answered": {"type": "boolean"}},
    "required": ["answered"],
    "additionalProperties": False,
}

_Group = tuple[Chunk, ...]
_Write = Callable[[_Group, int], Coroutine[Any, Any, list[ExamQuestion]]]


@attrs.frozen
class ExamWriter:
    """Writes an exam about passages, apart from whoever teaches them.

    Args:
        llm: A model, by name or as an `LLM`; best of another family than the teacher.
        questions: About one passage each, at most.
        across: That need passages of different sections, at most.
        unanswerable: That the text does not answer, at most.
        budget: US dollars for all writing ever booked in the ledger; None: no limit. Where it ends, the exam is shorter.
        tries: Requests for one passage, until a reply is whole and usable.

    Raises:
        InputError: An argument is out of its range.
    """

    form: ClassVar[str] = "1"
    """Raised whenever the same replies would be read as another exam."""

    llm: LLM = attrs.field(converter=as_llm)
    questions: int = attrs.field(default=60, kw_only=True, validator=_arguments.whole(0))
    across: int = attrs.field(default=15, kw_only=True, validator=_arguments.whole(0))
    unanswerable: int = attrs.field(default=15, kw_only=True, validator=_arguments.whole(0))
    budget: Decimal | float | None = attrs.field(default=None, kw_only=True, validator=_arguments.dollars)
    tries: int = attrs.field(default=2, kw_only=True, validator=_arguments.whole(1))

    @property
    def name(self) -> str:
        """Of the model, for receipts."""
        return self.llm.name

    @property
    def concurrency(self) -> int:
        """Requests worth having under way: those that the model takes at a time, or that fill a batch."""
        return BATCH_REQUESTS if self.llm.batch else self.llm.concurrency

    async def awrite(self, chunks: Iterable[Chunk], *, seed: int = 0) -> list[ExamQuestion]:
        """An exam about *chunks*, in the order of its rows; the same chunks, seed and replies give the same exam.

        Passages are drawn by content and spread over the text; more of them are asked about until there are questions
        enough, or no passage is left.

        Args:
            chunks: Passages, in the order of the text.
            seed: Of the draw.

        Raises:
            InputError: *chunks* holds something else.
            AuthenticationFailed: The key is missing or was not accepted.
            OutOfBalance: The provider's account is empty.
            ProviderError: The provider refused a request for good.
            LedgerError: The ledger cannot be used.
        """
        passages = _listed(chunks)
        self.llm.check()
        short: list[str] = []
        exam: list[ExamQuestion] = []
        asked: set[str] = set()
        singles, others = ([(chunk,) for chunk in spread(passages, each)] for each in (seed, seed + 1))
        near = _NearMisses(self, passages, short)
        plan: list[tuple[int, Sequence[_Group], _Write]] = [
            (self.questions, singles, self._writer("written_apart", short)),
            (self.across, self._groups(passages, seed), self._writer("across", short)),
            (self.unanswerable, others, near.write),
        ]
        with (
            ledger.budget(SCOPE, self.budget),
            bar(sum(most for most, _, _ in plan), "Writing", unit="question") as progress,
        ):
            for most, groups, write in plan:
                async with aclosing(self._until(most, groups, write, asked, short)) as written:
                    async for question in written:
                        exam.append(question)
                        progress.update()
        if short:
            say(f"{len(short):,} of the exam's requests were not answered: {short[0]}")
        return [attrs.evolve(each, id=f"exam_w_{number:04d}") for number, each in enumerate(exam, 1)]

    def write(self, chunks: Iterable[Chunk], *, seed: int = 0) -> list[ExamQuestion]:
        """As `awrite`, blocking; shows a bar."""
        return run(self.awrite(chunks, seed=seed))

    def estimate(self, n_chunks: int, n_chars: int) -> Estimate:
        """What an exam about *n_chunks* passages of *n_chars* characters, all of them together, takes.

        How many questions are dropped is assumed (`KEPT`); the least is without thinking, where the model may be told so.
        """
        passage = n_chars / max(1, n_chunks)
        kinds = (
            (self.questions, PER_PASSAGE, 1.0, len(INSTRUCTIONS), ITEM_TOKENS),
            (self.across, 1, 2.3, len(INSTRUCTIONS) + len(ACROSS), ITEM_TOKENS),
            (self.unanswerable, 1, 1.0, len(UNANSWERABLE), NEAR_MISS_TOKENS),
        )
        calls, sent, cached, low, high = 0, 0.0, 0.0, 0, 0
        thinks = self.llm.thinking is not False
        for most, each, together, fixed, item in kinds:
            made = math.ceil(most / each / KEPT) if n_chunks else 0
            made = min(made, n_chunks)
            items = min(math.ceil(most / KEPT), made * MOST_PER_PASSAGE)
            calls += made
            sent += made * (fixed + together * passage + 250)
            cached += max(0, made - 1) * fixed
            low += items * item[0] + made * thinks * THINKING_TOKENS[0]
            high += items * item[1] + made * thinks * THINKING_TOKENS[1]
        checks = math.ceil(self.unanswerable / KEPT) if n_chunks else 0
        calls += checks
        sent += checks * (len(CHECK) + NEAREST * passage + 250)
        low, high = low + checks * 8, high + checks * (8 + thinks * THINKING_TOKENS[1] // 4)
        return self.llm.estimate(
            calls,
            math.ceil(sent / CHARACTERS_PER_TOKEN),
            (low, high),
            cached_tokens=math.floor(cached / CHARACTERS_PER_TOKEN),
        )

    def _groups(self, passages: Sequence[Chunk], seed: int) -> list[_Group]:
        """Passages that belong together and stand in different sections, spread over the text."""
        if not self.across:
            return []
        # Many more than are needed: not all of them have a question that needs both.
        share = min(1.0, 6 * self.across / max(1, len(passages)))
        groups = {
            passages[place].key: tuple(passages[each] for each in places)
            for place, places in crossings(passages, share, seed).items()
        }
        apart = {key: group for key, group in groups.items() if len({_section(each) for each in group}) > 1}
        leads = [passage for passage in passages if passage.key in apart]
        return [apart[passage.key] for passage in spread(leads, seed)]

    async def _until(
        self, most: int, groups: Sequence[_Group], write: _Write, asked: set[str], short: Sequence[str]
    ) -> AsyncGenerator[ExamQuestion, None]:
        """Up to *most* questions about *groups* that are not in *asked*, in waves that ask for as many as are missing.

        Where nothing of a wave was answered (*short* says why), there is no next one.
        """
        left, missing = list(groups), most
        while left and missing > 0:
            each = min(MOST_PER_PASSAGE, max(PER_PASSAGE if missing > 1 else 1, math.ceil(missing / len(left))))
            wave, left = left[: math.ceil(missing / each)], left[math.ceil(missing / each) :]
            unanswered = len(short)
            async with aclosing(in_order((write(group, each) for group in wave), self.concurrency)) as done:
                async for questions in done:
                    for question in questions:
                        if missing and wording(question.question) not in asked:
                            asked.add(wording(question.question))
                            missing -= 1
                            yield question
            if len(short) - unanswered >= len(wave):
                return

    def _writer(self, row: ExamRowName, short: list[str]) -> _Write:
        """How questions of *row* are written; why a request was not answered is added to *short*."""
        system = INSTRUCTIONS if row == "written_apart" else f"{INSTRUCTIONS}\n\n{ACROSS}"

        async def write(passages: _Group, n: int) -> list[ExamQuestion]:
            asked = f"{shown(passages)}\n\nWrite {_counted(n)} by your rules. Reply with the JSON object alone."
            values = await self._values(asked, system, SCHEMA, short)
            # Once more than asked for is written, the first of them are as good as any.
            fit = (self._question(item, passages, row) for item in read(values, passages))
            return [question for question in fit if question is not None][:n]

        return write

    async def _values(self, prompt: str, system: str, schema: Mapping[str, Any], short: list[str]) -> list[Any]:
        """What the replies to *prompt* hold; nothing where there is none to be had."""
        try:
            answers = await samples(
                self.llm, prompt, system=system, schema=schema, usable=_is_answered, tries=self.tries
            )
        except (BudgetExhausted, ProviderUnavailable, AnswerLost) as error:
            short.append(str(error))
            return []
        return [value for answer in answers for value in replies.objects(answer.text).values]

    def _question(self, item: Item, passages: _Group, row: ExamRowName) -> ExamQuestion | None:
        """*item* as a question of the exam; None where it is not borne out, or where no answer to it could be graded."""
        spans = [_span(quote, passages) for quote in item.quotes]
        found = [span for span in spans if span is not None]
        if not found or len(found) < len(spans):
            return None
        if row == "across" and len({_section(passage) for _, passage in found}) < 2:
            return None
        short = item.short_answer
        polar = wording(short) in {"yes", "no"}
        if not polar and not _in_quotes(short, found):
            return None
        if not wording(short) or len(short.split()) > SHORT_WORDS or (not polar and _holds(item.question, short)):
            return None
        made = ExamQuestion(
            id="",
            row=row,
            question=item.question,
            answer=short,
            document=found[0][0].document,
            evidence=tuple(span for span, _ in found),
            item=digest("exam", *(passage.text for passage in passages), item.question, short),
            fact=digest("exam fact", *(span.text for span, _ in found)),
            kind=f"written:{self.name}",
            difficulty=item.difficulty,
        )
        # What the full answer says must be what the short one says, as far as the grader can tell.
        if not polar and not grade(made, item.answer):
            return None
        return made if _is_supported(made, item, passages) else None


class _NearMisses:
    """Questions that the text does not answer."""

    def __init__(self, writer: ExamWriter, passages: Sequence[Chunk], short: list[str]) -> None:
        self._writer = writer
        self._passages = passages
        self._short = short
        self._index: Index | None = None
        self._text = " ".join(wording(f"{each.context} {each.text}") for each in passages)

    async def write(self, passages: _Group, n: int) -> list[ExamQuestion]:
        asked = f"{shown(passages)}\n\nWrite {_counted(n)} by your rules. Reply with the JSON object alone."
        values = await self._writer._values(asked, UNANSWERABLE, NEAR_MISS_SCHEMA, self._short)  # noqa: SLF001 - a part of it
        found: list[ExamQuestion] = []
        for value in replies.holding(values, "question"):
            fields = {replies.member(name): each for name, each in value.items()}
            question, missing = (
                str(fields[name]).strip() if isinstance(fields.get(name), str) else ""
                for name in ("question", "missing")
            )
            if len(found) < n and self._may_be_open(question, missing) and await self._is_open(question):
                found.append(
                    ExamQuestion(
                        id="",
                        row="unanswerable",
                        question=question,
                        answer=None,
                        document=passages[0].document,
                        item=digest("exam", question),
                        fact=digest("exam fact", question),
                        kind=f"written:{self._writer.name}",
                    )
                )
        return found

    def _may_be_open(self, question: str, missing: str) -> bool:
        """Whether *question* stands alone, and what is missing is named and named nowhere in the text."""
        return (
            bool(wording(question))
            and bool(wording(missing))
            and question.isprintable()
            and stands_alone(question, self._passages)
            and f" {wording(missing)} " not in f" {self._text} "
        )

    async def _is_open(self, question: str) -> bool:
        """Whether the passages nearest to *question* do not answer it, says the model, plainly."""
        if self._index is None:
            self._index = Index([f"{' '.join(each.headings)} {each.text}" for each in self._passages])
        scores = self._index.scores(question)
        nearest = sorted(range(len(scores)), key=lambda place: (-scores[place], place))[:NEAREST]
        shown_here = shown([self._passages[place] for place in sorted(nearest)])
        asked = f"{shown_here}\n\nQuestion: {question}\n\nReply with the JSON object alone."
        values = await self._writer._values(asked, CHECK, CHECK_SCHEMA, self._short)  # noqa: SLF001 - as above
        said = [value.get("answered") for value in replies.holding(values, "answered")]
        return bool(said) and all(each is False for each in said)


def spread(chunks: Sequence[Chunk], seed: int) -> list[Chunk]:
    """*chunks* in an order of which every beginning is spread over the text: halves first, then quarters, and so on.

    Within a part the content draws, and what is drawn once is not drawn again.
    """
    drawn: dict[int, None] = {}
    ranks = [fraction(seed, f"exam {chunk.key}") for chunk in chunks]
    parts = 1
    while len(drawn) < len(chunks):
        for part in range(parts):
            places = range(len(chunks) * part // parts, len(chunks) * (part + 1) // parts)
            # A part that is represented waits for the finer division.
            if places and not any(place in drawn for place in places):
                drawn[min(places, key=lambda place: (ranks[place], place))] = None
        parts *= 2
    return [chunks[place] for place in drawn]


def _listed(chunks: Iterable[Chunk]) -> list[Chunk]:
    every = list(chunks) if isinstance(chunks, Iterable) and not isinstance(chunks, str) else [chunks]
    for each in every:
        if not isinstance(each, Chunk):
            msg = f"chunks: {each!r:.80} is no Chunk: give those of Chunker().split(text)"
            raise InputError(msg)
    return every


def _section(chunk: Chunk) -> tuple[str, ...]:
    """The section that *chunk* is of; without headings each passage is one by itself."""
    return (chunk.document, *(chunk.headings[:1] or (chunk.key,)))


def _counted(n: int) -> str:
    return "1 question" if n == 1 else f"{n} questions"


def _is_answered(completion: Completion) -> bool:
    """Whether asking again is of no use: a whole reply with the form that was asked for, or a refusal."""
    if completion.finish == "refusal":
        return True
    parsed = replies.objects(completion.text)
    keys = ("question", "answered")
    nothing = any(isinstance(value, dict) and value.get("items") == [] for value in parsed.values)
    return (
        completion.complete
        and parsed.complete
        and (nothing or any(replies.holding(parsed.values, key) for key in keys))
    )


def _span(quote: str, passages: _Group) -> tuple[Span, Chunk] | None:
    """Where *quote* stands, and in which passage; None where it does not."""
    for passage in passages:
        if (place := evidence.locate(quote, passage.text)) is not None:
            start, end = place
            span = Span(
                document=passage.document,
                start=passage.start + start,
                end=passage.start + end,
                text=passage.text[start:end],
            )
            return span, passage
    return None


def _holds(question: str, answer: str) -> bool:
    """Whether *question* gives its answer away."""
    return f" {wording(answer)} " in f" {wording(question)} "


def _in_quotes(short: str, found: Sequence[tuple[Span, Chunk]]) -> bool:
    """Whether half of the words of a short answer stand in the quotes; its numbers are looked up by the evidence check."""
    words = content(tokens(short))
    quoted = content(tokens(" ".join(span.text for span, _ in found)))
    return 2 * len(words & quoted) >= len(words)


def _is_supported(made: ExamQuestion, item: Item, passages: _Group) -> bool:
    text = "\n".join(passage.text for passage in passages)
    context = "\n".join(passage.context for passage in passages if passage.context)
    quotes = [span.text for span in made.evidence]
    return evidence.check(item.question, item.answer, text, quote=quotes, context=context).supported
