"""Verifying: a second model judges what the first one wrote, and is itself measured while it does.

    pairs ──evidence──▶ items ──sample──▶ calls of a few items ──LLM──▶ verdicts
                          └── controls ──▶ calls of their own ──LLM──▶ how far the verdicts can be trusted

    items      wordings of one question, the sample, what shares a call      (content alone decides)
    judging    the prompt, the schema, what a reply is taken to say          (asks no model)
    controls   known-bad and known-good items                                (never gold)
    measures   catch rate, false alarms, approval rate, with intervals

Money, replay and retry are the business of `text2expert.llm`.
"""

import logging
import math
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any, ClassVar, NamedTuple, TypeVar

import attrs

from text2expert import _arguments, ledger
from text2expert._progress import bar, say
from text2expert._sync import run
from text2expert._tasks import in_order
from text2expert.errors import AnswerLost, BudgetExhausted, InputError, ProviderUnavailable
from text2expert.evidence import Grounding
from text2expert.llm import LLM, Estimate, as_llm
from text2expert.records import Chunk, QAPair, Verdict, digest, drawn
from text2expert.verifier import controls as _controls
from text2expert.verifier.items import Item, check, gathered, grouped, sampled
from text2expert.verifier.judging import FORM, INSTRUCTIONS, SCHEMA, Judgement, judgements, question
from text2expert.verifier.measures import MECHANICAL, Approval, ControlReport, approval, control_report

__all__ = ["INSTRUCTIONS", "Approval", "ControlReport", "Verifier", "approval", "control_report"]

_Record = TypeVar("_Record", QAPair, Chunk)

_log = logging.getLogger(__name__)

REPLY_TOKENS = 2_048
"""Of a reply beside its verdicts, at most: for models whose thinking cannot be turned off altogether."""
VERDICT_TOKENS = 256
"""Of one verdict, at most."""

BATCH_REQUESTS = 10_000
"""Chunks under way where requests go in batches: few batches and large ones, and yet not a whole corpus in memory."""

CHARACTERS_PER_TOKEN = (4.0, 4 / 1.3)
"""Plans only: of English, and of English with the tokenizer of current Claude models, which counts 30 % more."""
ITEM_CHARACTERS = 700
"""Of one item in a prompt, about, in four wordings; plans only."""
VERDICT_TOKENS_RANGE = (45, 120)
"""Of one verdict as it is written, with a reason of a few words or of a long sentence; plans only."""


def _quiet(llm: LLM | str) -> LLM:
    """*llm* as a model that does not think aloud unless it was told to: a verdict needs a look, not an essay."""
    model = as_llm(llm)
    return attrs.evolve(model, thinking=False) if model.thinking is None else model


def _listed(name: str, given: Iterable[_Record], kind: type[_Record], which: str) -> list[_Record]:
    every = list(given) if isinstance(given, Iterable) and not isinstance(given, str) else [given]
    for each in every:
        if not isinstance(each, kind):
            msg = f"{name}: {each!r:.80} is no {kind.__name__}: give {which}"
            raise InputError(msg)
    return every


def _or_ours(prompt: str | None) -> str:
    return INSTRUCTIONS if prompt is None else prompt


class _Unjudged(NamedTuple):
    """Items of a call that have no verdict, and why."""

    items: int
    why: str
    by_budget: bool


_PROMPT = _arguments.words("what a judge is told, as text; leave it out for ours")


@attrs.frozen
class Verifier:
    """A model that judges pairs against their passages, strictly, a few at a time.

    What the free evidence check rejects is rejected without a call. Of the rest a sample is judged, by item: one verdict
    holds for all wordings of a question, except for a wording that the verdict names as asking something else. Approved
    is only what a complete reply approves, once and without contradicting itself.

    Args:
        llm: The model, by name or as an `LLM`. Its thinking is turned down where the `LLM` does not say otherwise.
        sample: The share of items that is judged, 0 to 1, stratified by chunk. The rest has no verdict.
        budget: US dollars for all verifying ever booked in the ledger; None: no limit. Where it ends, verdicts end.
        pairs_per_call: Items of one lesson that share a call.
        controls: The share of judged items for which a known-bad and a known-good variant are judged as well.
        seed: Of all draws.
        prompt: What is asked of the judge; None: `INSTRUCTIONS`. The form of the reply, and that what it is shown is
            data, is always added.
        tries: How often a call is made until its replies have judged every item.

    Raises:
        InputError: An argument is out of its range.
    """

    form: ClassVar[str] = "1"
    """Raised whenever the same settings would show a judge something else, or take a reply for something else."""

    llm: LLM = attrs.field(factory=lambda: LLM("anthropic/claude-sonnet-5-5"), converter=_quiet)
    sample: float = attrs.field(default=1.0, kw_only=True, validator=_arguments.share)
    budget: Decimal | float | None = attrs.field(default=None, kw_only=True, validator=_arguments.dollars)
    pairs_per_call: int = attrs.field(default=5, kw_only=True, validator=_arguments.whole(1))
    controls: float = attrs.field(default=0.05, kw_only=True, validator=_arguments.share)
    seed: int = attrs.field(default=0, kw_only=True, validator=_arguments.whole(0))
    prompt: str = attrs.field(default=INSTRUCTIONS, kw_only=True, repr=False, converter=_or_ours, validator=_PROMPT)
    tries: int = attrs.field(default=2, kw_only=True, validator=_arguments.whole(1))

    @property
    def name(self) -> str:
        """What judges, for receipts."""
        return self.llm.name

    @property
    def concurrency(self) -> int:
        """Requests worth having under way: those that the model takes at a time, or that fill a batch."""
        return BATCH_REQUESTS if self.llm.batch else self.llm.concurrency

    async def averify(self, pairs: tuple[QAPair, ...], passages: tuple[Chunk, ...]) -> list[Verdict]:
        """Verdicts on *pairs*, which are those of one lesson about *passages*, and on the controls planted among them.

        A pair that has no verdict is unverified: not drawn, refused by the model, never judged plainly, or out of
        budget. What was judged before the budget ended is returned.

        Raises:
            AuthenticationFailed: The key is missing or was not accepted.
            OutOfBalance: The provider's account is empty.
            ProviderError: The provider refused a request for good.
            LedgerError: The ledger cannot be used.
        """
        verdicts, unjudged = await self._lesson(pairs, passages)
        for left in unjudged:
            # Where the budget ends, hundreds of calls end alike, and a run says so itself.
            level = logging.INFO if left.by_budget else logging.WARNING
            _log.log(level, "%d item(s) of %s are not judged: %s", left.items, passages[0].id, left.why)
        return verdicts

    async def _lesson(
        self, pairs: Sequence[QAPair], passages: Sequence[Chunk]
    ) -> tuple[list[Verdict], list[_Unjudged]]:
        grounded, verdicts = [], []
        unjudged: list[_Unjudged] = []
        for pair in pairs:
            found = check(pair, passages)
            if found.grounded and found.no_hallucination and found.complete:
                grounded.append(pair)
            else:
                verdicts.append(_mechanical(pair, found))
        items = gathered(grounded)
        lesson = digest("lesson", *(passage.key for passage in passages))
        chosen = sampled(items, self.sample, self.seed, lesson)
        with ledger.budget("verifier", self.budget):
            calls = [
                call
                for some in (chosen, await self._planted(chosen, items, passages, lesson))
                for group in grouped(some, self.pairs_per_call)
                for call in self._asked_before(group, passages)
            ]
            if calls:
                async for judged, left in in_order((self._judge(call, passages) for call in calls), len(calls)):
                    verdicts += judged
                    unjudged += left
        places = {pair.qa_id: place for place, pair in enumerate(pairs)}
        in_place = sorted(verdicts, key=lambda verdict: (places.get(verdict.qa_id, len(pairs)), verdict.qa_id))
        return in_place, unjudged

    def verify(self, pairs: Iterable[QAPair], chunks: Iterable[Chunk]) -> list[Verdict]:
        """Verdicts on *pairs*, judged by lesson: those that name the same *chunks* as their sources.

        Raises:
            InputError: A pair names no source or one that is not among *chunks*, or something else was given; and as in
                `averify`.
        """
        every = _listed("pairs", pairs, QAPair, "those that a teacher gave")
        shown = _listed("chunks", chunks, Chunk, "those that the pairs were taught from")
        return run(self._averify(every, {chunk.id: chunk for chunk in shown}))

    def estimate(self, lessons: int, items: int, passage_characters: int) -> Estimate:
        """What judging takes: *items* of *lessons* about passages of *passage_characters*, all of them together.

        The least is with a cached fixed part, few tokens to the word and short reasons; the most with none of these.
        """
        if not lessons or not items or not self.sample:
            return self.llm.estimate(0, 0, (0, 0))
        judged = items / lessons * self.sample
        fewer = math.floor(judged)  # some lessons give so many, the others one more
        calls = math.ceil(fewer / self.pairs_per_call) * (fewer + 1 - judged)
        calls += math.ceil((fewer + 1) / self.pairs_per_call) * (judged - fewer)
        calls = round(lessons * (calls + 1 - (1 - self.controls) ** judged))
        shown = items * self.sample * (1 + 2 * self.controls)
        fixed = calls * (len(self.prompt) + len(FORM))
        sent = fixed + calls * passage_characters / lessons + shown * ITEM_CHARACTERS
        most, least = CHARACTERS_PER_TOKEN
        low, high = (round(shown * tokens) for tokens in VERDICT_TOKENS_RANGE)
        # The fixed part is long enough for the prefix caches of most providers.
        cheap = self.llm.estimate(calls, round(sent / most), (low, low), cached_tokens=round(fixed / most))
        return attrs.evolve(self.llm.estimate(calls, round(sent / least), (low, high)), usd_low=cheap.usd_low)

    async def _averify(self, pairs: Sequence[QAPair], chunks: dict[str, Chunk]) -> list[Verdict]:
        lessons: dict[tuple[str, ...], list[QAPair]] = {}
        for pair in pairs:
            if not pair.sources:
                msg = f"{pair.qa_id}: it names no source, so there is nothing to judge it by; sources= takes ids of chunks"
                raise InputError(msg)
            if missing := [source for source in pair.sources if source not in chunks]:
                msg = f"{pair.qa_id}: its source {missing[0]!r} is not among the chunks; give the chunks it was taught from"
                raise InputError(msg)
            lessons.setdefault(pair.sources, []).append(pair)
        self.llm.check()
        verdicts: list[Verdict] = []
        unjudged: list[_Unjudged] = []
        work = (self._lesson(each, [chunks[source] for source in sources]) for sources, each in lessons.items())
        with bar(len(lessons), "Judging", unit="chunk") as progress:
            async for judged, left in in_order(work, self.concurrency):
                verdicts += judged
                unjudged += left
                progress.update()
        if unjudged:
            say(f"{sum(left.items for left in unjudged):,} questions were not judged: {unjudged[0].why}")
        return verdicts

    async def _planted(
        self, chosen: Sequence[Item], items: Sequence[Item], passages: Sequence[Chunk], lesson: str
    ) -> list[Item]:
        """Controls for those of *chosen* that content draws.

        They have calls of their own, so that none meets its origin, and so that what is judged in earnest is asked in the
        very same words however many controls there are: its replies are not paid for again.
        """
        origins = [item for item in chosen if drawn(self.seed, f"control {lesson} {item.content}", self.controls)]
        planted: list[Item] = []
        for item in origins:
            bad = _controls.bad(item, items, passages, self.seed)
            good = await _controls.good(item, origins, passages, self.seed)
            planted += [each for each in (bad, good) if each is not None]
        # Two items may be measured by the same known-good one. By content, so that neither kind always comes first.
        return sorted({each.content: each for each in planted}.values(), key=lambda each: each.content)

    def _asked_before(self, items: Sequence[Item], passages: Sequence[Chunk]) -> Iterator[Sequence[Item]]:
        """*items* as one call, or as calls that begin like earlier ones.

        A larger sample adds items to a lesson's last call. What that call judged is not asked, and paid for, again.
        """
        while items:
            sizes = range(len(items), 0, -1)
            known = (size for size in sizes if self.llm.answered(**self._question(items[:size], passages)))
            size = next(known, len(items))
            yield items[:size]
            items = items[size:]

    async def _judge(self, items: Sequence[Item], passages: Sequence[Chunk]) -> tuple[list[Verdict], list[_Unjudged]]:
        """Verdicts of one call, asked again while an item is not judged plainly; the first plain judgement counts."""
        found: dict[int, Judgement] = {}
        why: object = "no reply said plainly what it makes of them"
        asked = self._question(items, passages)
        try:
            for sample in range(self.tries):
                completion = await self.llm.complete(**asked, sample=sample)
                found = judgements(completion, items, asked["prompt"]) | found
                if completion.finish == "refusal":
                    why = f"{self.name} refused"
                    break
                if len(found) == len(items):
                    break
        except (BudgetExhausted, ProviderUnavailable, AnswerLost) as error:
            why = error
        verdicts = [verdict for number in sorted(found) for verdict in self._verdicts(items[number - 1], found[number])]
        left = len(items) - len(found)
        return verdicts, [_Unjudged(left, str(why), isinstance(why, BudgetExhausted))] if left else []

    def _question(self, items: Sequence[Item], passages: Sequence[Chunk]) -> dict[str, Any]:
        most = self.llm.max_tokens
        # Less is held of the budget than a reply of full length would take, unless the model was told to think.
        enough = most if self.llm.thinking else min(most, REPLY_TOKENS + VERDICT_TOKENS * len(items))
        return {
            "prompt": question(passages, items),
            "system": f"{self.prompt}\n\n{FORM}",
            "schema": SCHEMA,
            "max_tokens": enough,
        }

    def _verdicts(self, item: Item, judgement: Judgement) -> list[Verdict]:
        fits = judgement.grounded and judgement.no_hallucination and judgement.complete
        reason = judgement.reason
        if fits != judgement.approved:
            reason = f"contradictory (approved is {str(judgement.approved).lower()}): {reason}"
        if item.control:
            reason = f"{item.planted}: {reason}"
        verdicts = []
        for number, pair in enumerate(item.pairs, 1):
            astray = number in judgement.bad_wordings
            verdicts.append(
                Verdict(
                    qa_id=pair.qa_id,
                    grounded=judgement.grounded,
                    no_hallucination=judgement.no_hallucination,
                    # Where a judge approves of all three and yet not of the item, something is missing for it.
                    complete=judgement.complete and not astray and (judgement.approved or not fits),
                    reason=f"this wording is at fault: {reason}" if astray else reason,
                    by=self.name,
                    control=item.control,
                )
            )
        return verdicts


def _mechanical(pair: QAPair, found: Grounding) -> Verdict:
    return Verdict(
        qa_id=pair.qa_id,
        grounded=found.grounded,
        no_hallucination=found.no_hallucination,
        complete=found.complete,
        reason=found.reason,
        by=MECHANICAL,
    )
