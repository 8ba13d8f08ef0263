"""Teaching and verifying without a model and without a network: the embedded default.

`RuleTeacher` finds facts by rules of general English and asks for each in several wordings; `EvidenceVerifier` grounds
every answer in its passage mechanically. Same text, same pairs, byte for byte.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator

import attrs

from text2expert import evidence
from text2expert._sync import run
from text2expert.errors import InputError
from text2expert.offline import phrasings, rules
from text2expert.offline.lexicon import word_set
from text2expert.offline.statements import Fact
from text2expert.offline.units import lay_out, title
from text2expert.records import Chunk, Difficulty, QAPair, Span, Verdict, digest

VERSION = "4"
"""Raised whenever the rules give other pairs for the same text."""

MOST_PER_UNIT = 3
"""Facts asked for of one sentence; more would ask the same in other clothes."""

_RANK = {
    kind: rank
    for rank, kinds in enumerate(
        (
            word_set(
                "definition what-is list-ban list-which deadline ban frequency value required-value limit size label-value "
                "cell entry reference"
            ),
            word_set(
                "duration times manner recipient instrument lasting elapse offset moment measure condition condition-order "
                "label count count-subject abbreviation"
            ),
            word_set("when case exception until timing why by-whom place who duty treatment treatment-modal"),
            word_set("object order event term meaning subject"),
            word_set("permission cloze"),
        )
    )
    for kind in kinds
}
"""Kind -> how late it comes: exact figures first, yes and no last."""
_HARD = word_set("condition condition-order exception when case why")
_EASY = word_set("cell entry abbreviation label-value label permission")


class RuleTeacher:
    """Questions and answers by rules, offline and free.

    Args:
        questions_per_chunk: How many questions (items) at most a chunk gives; the wordings of one are not counted.
        cloze: Whether "complete the sentence" questions are added, as a kind of their own.

    Raises:
        InputError: *questions_per_chunk* is not a positive integer.
    """

    name = f"rules/{VERSION}"

    def __init__(self, *, questions_per_chunk: int = 100, cloze: bool = False) -> None:
        if type(questions_per_chunk) is not int or questions_per_chunk < 1:
            msg = f"questions_per_chunk={questions_per_chunk!r}: must be a whole number from 1 on"
            raise InputError(msg)
        self.questions_per_chunk = questions_per_chunk
        self.cloze = cloze

    async def ateach(self, passages: tuple[Chunk, ...], n: int) -> list[QAPair]:
        """At most *n* items about *passages*, best first, each in all its wordings."""
        items = [item for chunk in passages for item in self._items(chunk)]
        pairs = [pair for item in _consistent(items)[:n] for pair in item]
        first = passages[0].id if passages else ""
        return [attrs.evolve(pair, qa_id=f"{first}_qa_{number}") for number, pair in enumerate(pairs)]

    def teach(self, chunks: Iterable[Chunk]) -> list[QAPair]:
        """Pairs of all *chunks*; what two overlapping chunks both say is asked once, what has two answers never."""

        async def all_of() -> list[QAPair]:
            found: list[QAPair] = []
            for chunk in chunks:
                found.extend(await self.ateach((chunk,), self.questions_per_chunk))
            return found

        items: dict[str, list[QAPair]] = defaultdict(list)
        homes: dict[str, str] = {}
        for pair in run(all_of()):
            if homes.setdefault(pair.item, pair.sources[0]) == pair.sources[0]:
                items[pair.item].append(pair)
        return [pair for item in _consistent(list(items.values())) for pair in item]

    def _items(self, chunk: Chunk) -> list[list[QAPair]]:
        layout = lay_out(chunk.text, chunk.headings, chunk.context)
        per_place: dict[tuple[int, int], list[Fact]] = defaultdict(list)
        for fact in rules.facts(layout, cloze=self.cloze):
            per_place[fact.places[-1]].append(fact)
        ranked: list[tuple[int, int, int, Fact]] = []
        for place, facts in per_place.items():
            facts.sort(key=lambda fact: _RANK[fact.kind])
            most = len(facts) if facts[0].kind in {"cell", "entry"} else MOST_PER_UNIT
            ranked.extend((order, _RANK[fact.kind], place[0], fact) for order, fact in enumerate(facts[:most]))
        ranked.sort(key=lambda entry: entry[:3])
        built = (list(self._pairs(chunk, fact)) for *_, fact in ranked)
        return [pairs for pairs in built if pairs]

    def _pairs(self, chunk: Chunk, fact: Fact) -> Iterator[QAPair]:
        spans = tuple(
            Span(document=chunk.document, start=chunk.start + start, end=chunk.start + end, text=chunk.text[start:end])
            for start, end in _narrowed(fact, chunk.text)
        )
        slots = [f"{name}={value}" for name, value in sorted(fact.slots.items())]
        item = digest("rules", fact.kind, fact.short, *slots, *(span.text for span in spans))
        difficulty: Difficulty = "hard" if fact.kind in _HARD else "easy" if fact.kind in _EASY else "medium"
        quote = " ".join(chunk.text[slice(*fact.places[-1])].split())
        where = f'Section "{fact.section}" states' if fact.section else "The text states"
        topic = fact.topic or _topic(fact.section, chunk.text)
        for name, question in phrasings.questions(fact.kind, fact.slots, topic, anchored=fact.anchored):
            yield QAPair(
                qa_id="",
                question=question,
                answer=fact.answer,
                short_answer=fact.short,
                reasoning=f"{where}: {quote}",
                difficulty=difficulty,
                sources=(chunk.id,),
                evidence=spans,
                item=item,
                kind=f"{fact.kind}:{name}",
                model=self.name,
            )


def _narrowed(fact: Fact, text: str) -> tuple[tuple[int, int], ...]:
    """The places of a fact, the sentence cut down to the fact's quote where it has one."""
    if not fact.quote:
        return fact.places
    start, end = fact.places[-1]
    match = re.compile(r"\s+".join(map(re.escape, fact.quote.split()))).search(text, start, end)
    return ((match.start(), match.end()),) if match else fact.places


def _topic(section: str, text: str) -> str:
    """A section's title as it is named in a question: without number, capitals eased ("MAKING FAST" -> "Making fast")."""
    topic = title(section)
    if not re.search(r"[A-Za-z]{3}", topic) or len(topic) > 70:
        return ""
    if not topic.isupper():
        return topic
    eased = [
        word
        if re.search(rf"(?<![A-Z] )\b{re.escape(word.strip(',.'))}\b(?! [A-Z]{{2}})", text.replace(topic, ""))
        else word.lower()
        for word in topic.split()
    ]
    return eased[0][:1].upper() + " ".join(eased)[1:]


def _consistent(items: list[list[QAPair]]) -> list[list[QAPair]]:
    """Items without the question strings that have two different answers, and without repetitions."""
    answers: dict[str, set[str]] = defaultdict(set)
    for item in items:
        for pair in item:
            answers[pair.question.casefold()].add(pair.short_answer.casefold())
    asked: set[str] = set()
    kept = []
    for item in items:
        good = []
        for pair in item:
            question = pair.question.casefold()
            if len(answers[question]) == 1 and question not in asked:
                asked.add(question)
                good.append(pair)
        if good:
            kept.append(good)
    return kept


class EvidenceVerifier:
    """Approves a pair when its answer is grounded in its passage mechanically; free, no model, no network.

    A dropped condition or an incomplete answer is mostly beyond it: that is what a model verifier is for.
    """

    name = f"evidence/{VERSION}"

    async def averify(self, pairs: tuple[QAPair, ...], passages: tuple[Chunk, ...]) -> list[Verdict]:
        """One verdict for each of *pairs*."""
        chunks = {chunk.id: chunk for chunk in passages}
        return [self._verdict(pair, chunks) for pair in pairs]

    def verify(self, pairs: Iterable[QAPair], chunks: Iterable[Chunk]) -> list[Verdict]:
        """One verdict for each of *pairs*, judged against the chunks that they name as sources."""
        return run(self.averify(tuple(pairs), tuple(chunks)))

    def _verdict(self, pair: QAPair, chunks: dict[str, Chunk]) -> Verdict:
        sources = [chunks[source] for source in pair.sources if source in chunks]
        if not sources:
            return Verdict(
                qa_id=pair.qa_id,
                grounded=False,
                no_hallucination=False,
                complete=False,
                by=self.name,
                reason=f"none of its sources {', '.join(pair.sources)} is among the passages",
            )
        passage = "\n".join(chunk.text for chunk in sources)
        context = "\n".join(chunk.context for chunk in sources if chunk.context)
        quotes = [span.text for span in pair.evidence]
        found = evidence.check(pair.question, pair.answer, passage, quote=quotes, context=context)
        return Verdict(
            qa_id=pair.qa_id,
            grounded=found.grounded,
            no_hallucination=found.no_hallucination,
            complete=found.complete,
            reason=found.reason,
            by=self.name,
        )
