"""Items, facts and repetitions: which records ask the same, say the same, or contradict each other.

An item is one question in its wordings. A fact is items connected by evidence spans that overlap by half, or by a
question that they share. Knows records and nothing of teachers, verdicts or exams.
"""

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Literal

import attrs

from text2expert.evidence.wording import NEGATORS, OPPOSITES, concept, stem
from text2expert.records import GoldRecord, digest, wording

SAME_QUESTION = 0.8
"""Questions of two items are near-duplicates from this Jaccard index of their words on, answer and figures being equal."""

RESTATED = 0.5
"""Evidence of two items with one answer says the same from this Jaccard index of its stems on. A fact drawn too large costs
little: it is only kept out of training, or in it, as one."""

MANY = 60
"""Items with one answer that are compared with each other; more are too many to compare, and no restatement."""

_LITTLE_WORDS = frozenset(
    [
        "a",
        "an",
        "the",
        "this",
        "that",
        "these",
        "those",
        "is",
        "are",
        "was",
        "were",
        "be",
        "been",
        "being",
        "do",
        "does",
        "did",
        "has",
        "have",
        "had",
        "will",
        "would",
        "what",
        "which",
        "of",
        "in",
        "on",
        "at",
        "to",
        "for",
        "from",
        "by",
        "with",
        "it",
        "its",
        "their",
        "there",
        "s",
    ]
)
"""Words that come and go without changing what is asked."""


@attrs.frozen(kw_only=True)
class Repetition:
    """A record that should not be trained on beside the others, and why."""

    record: GoldRecord
    cause: Literal["duplicate", "contradictory"]
    reason: str
    between: tuple[str, ...] = ()
    """The two documents that contradict each other, in order."""


def question(record: GoldRecord) -> str:
    """What is asked: in hand-made datasets ``input`` is the material that ``instruction`` speaks of."""
    return f"{record.instruction}\n{record.input}" if record.input.strip() else record.instruction


def item_of(record: GoldRecord) -> str:
    """The record's item; one of its own where it names none."""
    return record.item or digest("item", record.document, wording(question(record)), wording(record.output))[:16]


class Groups:
    """Disjoint sets of strings; the least of a set stands for it."""

    def __init__(self) -> None:
        self._above: dict[str, str] = {}

    def root(self, member: str) -> str:
        """The string that stands for the set of *member*, which is its own set at first."""
        above = self._above
        above.setdefault(member, member)
        while above[member] != member:
            above[member] = member = above[above[member]]
        return member

    def unite(self, one: str, other: str) -> None:
        """Make one set of the two that *one* and *other* are in."""
        # The lesser string is the root, whatever the order of the calls.
        low, high = sorted((self.root(one), self.root(other)))
        self._above[high] = low


def with_facts(records: Sequence[GoldRecord]) -> list[GoldRecord]:
    """*records* with item and fact set.

    Items are one fact when their evidence overlaps by half of the shorter span, when they share a question, when a document
    says the same twice (in a rule and in its summary, say), or when they were said to be one before.
    """
    items = [item_of(record) for record in records]
    groups = Groups()
    spans: dict[tuple[str, int, int], str] = {}
    questions: dict[str, str] = {}
    known: dict[str, str] = {}
    for record, item in zip(records, items, strict=True):
        groups.unite(item, questions.setdefault(wording(question(record)), item))
        if record.fact:
            groups.unite(item, known.setdefault(record.fact, item))
        for span in record.evidence:
            if span.start < span.end:
                groups.unite(item, spans.setdefault((span.document, span.start, span.end), item))
    _unite_overlapping(spans, groups)
    _unite_restated(records, items, groups)
    members = defaultdict(set)
    for item in items:
        members[groups.root(item)].add(item)
    names = {root: digest("fact", *sorted(group))[:16] for root, group in members.items()}
    return [
        attrs.evolve(record, item=item, fact=names[groups.root(item)])
        for record, item in zip(records, items, strict=True)
    ]


def _unite_restated(records: Sequence[GoldRecord], items: Sequence[str], groups: Groups) -> None:
    """Unite items of one document with equal answers whose evidence has nearly the same words: one fact, said twice."""
    said: dict[tuple[str, str], dict[str, frozenset[str]]] = defaultdict(dict)
    for record, item in zip(records, items, strict=True):
        if record.evidence and item not in (known := said[record.document, _answer(record)]):
            evidence = wording(" ".join(span.text for span in record.evidence)).split()
            known[item] = frozenset(stem(word) for word in evidence if word not in _LITTLE_WORDS)
    for known in said.values():
        if len(known) > MANY:  # "yes" and "0" are answers to everything
            continue
        for (one, words), (other, others) in combinations(sorted(known.items()), 2):
            if len(words & others) >= RESTATED * len(words | others):
                groups.unite(one, other)


def _unite_overlapping(spans: Mapping[tuple[str, int, int], str], groups: Groups) -> None:
    """Unite the items of spans that overlap by half of the shorter one, in O(n log n).

    Spans are visited by their start. One that started earlier and reaches *end* overlaps ``[start, stop)`` by half of the
    shorter when its middle lies at or after *start*, or when its *end* lies at or after the middle of ``[start, stop)``. Of
    those united by the first condition only the one with the last middle matters from then on; of those united by the
    second, only the one with the last end.
    """
    document, last_middle, owner = "", -1.0, ""
    open_ends: list[tuple[int, str]] = []  # a heap by falling end
    for (where, start, stop), item in sorted(spans.items()):
        if where != document:
            document, last_middle, open_ends = where, -1.0, []
        middle = (start + stop) / 2
        if last_middle >= start:
            groups.unite(item, owner)
        reach = stop
        while open_ends and -open_ends[0][0] >= middle:
            end, other = heapq.heappop(open_ends)
            reach = max(reach, -end)
            groups.unite(item, other)
        heapq.heappush(open_ends, (-reach, item))
        if middle > last_middle:
            last_middle, owner = middle, item


def repetitions(records: Sequence[GoldRecord], *, duplicates: bool = True) -> Iterator[Repetition]:
    """Which of *records* contradict one another and, if *duplicates*, which say what an earlier one says.

    *records* have their facts (`with_facts`). Two answers to one question are both contradictory, whichever came first.
    """
    same: dict[str, list[GoldRecord]] = defaultdict(list)
    for record in records:
        same[wording(question(record))].append(record)
    single = []
    for group in same.values():
        first, *others = group
        if len({wording(record.output) for record in group}) > 1 and len({_answer(record) for record in group}) > 1:
            for record in group:
                rivals = [other for other in group if _answer(other) != _answer(record)]
                rival = next((other for other in rivals if other.document != record.document), rivals[0])
                apart = rival.document != record.document
                where = f" of document {rival.document!r}" if apart and rival.document else ""
                reason = (
                    f"contradictory: {rival.qa_id or 'another record'}{where} gives another answer to the same question"
                )
                between = tuple(sorted((record.document, rival.document))) if apart else ()
                yield Repetition(record=record, cause="contradictory", reason=reason, between=between)
            continue
        single.append(first)
        for record in others if duplicates else ():
            reason = f"the same question as {first.qa_id or 'an earlier record'}"
            yield Repetition(record=record, cause="duplicate", reason=reason)
    if duplicates:
        yield from _near_duplicates(single)


def _near_duplicates(records: Sequence[GoldRecord]) -> Iterator[Repetition]:
    """Records that ask in nearly the same words what an earlier record of another item asks.

    Of two questions that are one, the one has every concept of the other (see `_ask_the_same`), its rarest too. So each
    record is filed under its rarest concept and looked for under each of its own: work stays near linear, also where
    thousands of questions differ in one word. Records with evidence are filed under their fact, outside of which their
    like can only be without evidence and have the same concepts.
    """
    concepts = [_concepts(_words(record)) for record in records]
    frequency = Counter(each for own in concepts for each in own)
    rarest = [min(own, key=lambda each: (frequency[each], each), default="") for own in concepts]
    same = [(_answer(record), *sorted(_figures(record))) for record in records]
    filed: dict[tuple[str, str, tuple[str, ...]], list[int]] = defaultdict(list)
    for place, record in enumerate(records):
        filed[record.fact if record.evidence else "", rarest[place], same[place]].append(place)
    alike: dict[int, set[int]] = defaultdict(set)
    """Record -> the earlier ones that it repeats."""
    for place, record in enumerate(records):
        under = {("", rarest[place])}
        if record.evidence:
            under |= {(record.fact, each) for each in (*concepts[place], "")}
        for where, each in under:
            for other in filed.get((where, each, same[place]), ()):
                if other != place and concepts[other] <= concepts[place] and _ask_the_same(record, records[other]):
                    alike[max(place, other)].add(min(place, other))
    dropped: set[int] = set()
    for place in sorted(alike):
        kept = alike[place] - dropped
        if kept:
            dropped.add(place)
            reason = (
                f"nearly the same question as {records[min(kept)].qa_id or 'an earlier record'}, with the same answer"
            )
            yield Repetition(record=records[place], cause="duplicate", reason=reason)


def _ask_the_same(one: GoldRecord, other: GoldRecord) -> bool:
    """Whether two questions of different items, with the same answer and figures, are one question in nearly the same words.

    Nearly the same words prove nothing: "the dose for adults" is not "the dose for children", and a table's cells are asked
    about in the same words but one. So no word may stand against another, none may say no or turn a direction, and where
    one question says more than the other, both must stand on the same evidence.
    """
    words, others = _words(one), _words(other)
    if one.item == other.item or len(words & others) < SAME_QUESTION * len(words | others):
        return False
    if (words ^ others) & NEGATORS or any(stem(word) in OPPOSITES for word in words ^ others):
        return False
    more, less = _concepts(words - others), _concepts(others - words)
    if one.evidence and other.evidence:
        return one.fact == other.fact and (more <= less or less <= more)
    return more == less


def _words(record: GoldRecord) -> frozenset[str]:
    return frozenset(wording(question(record)).split())


def _figures(record: GoldRecord) -> Iterator[str]:
    return (word for word in _words(record) if any(letter.isdigit() for letter in word))


def _concepts(words: frozenset[str]) -> frozenset[str]:
    return frozenset(concept(stem(word)) for word in words - _LITTLE_WORDS)


def _answer(record: GoldRecord) -> str:
    return wording(record.short_answer) or wording(record.output)
