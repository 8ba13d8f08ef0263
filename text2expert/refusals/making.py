"""Choosing which questions are turned, how many, and how they are refused; reading a user's own."""

import math
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import attrs

from text2expert.errors import InputError, RecordError
from text2expert.records import GoldRecord, digest, drawn, fraction, from_dict, read_json_lines, wording
from text2expert.refusals import attributes, entities
from text2expert.refusals.frames import parse
from text2expert.refusals.texts import Texts
from text2expert.refusals.turning import Kind, Pools, Turned
from text2expert.refusals.wordings import NAMED, WORDINGS
from text2expert.retrieval import Index

SHARES: dict[Kind, float] = {"entity": 0.5, "attribute": 0.35, "topic": 0.15}
"""How the three kinds are mixed: most of what is asked in vain is of something that is not there."""


@attrs.frozen(kw_only=True)
class Refusal:
    """A question that the documents do not answer, the refusal that is trained, and the answerable twin beside it.

    Written as JSONL it has the form of the golden dataset, with ``twin``.
    """

    instruction: str
    input: str = ""
    output: str
    kind: str = ""
    """``entity``, ``attribute`` or ``topic``; "" for one that a user wrote."""
    missing: str = ""
    """What of the question the texts do not hold."""
    twin: str = ""
    """The item of the answerable question that is most alike; `twin_question` is one of its wordings."""
    twin_question: str = ""
    document: str = ""


def near_misses(
    records: Sequence[GoldRecord],
    texts: Iterable[str],
    *,
    share: float,
    seed: int,
    epochs: int = 1,
    asked: Iterable[str] = (),
) -> list[Refusal]:
    """Questions that *texts* do not answer, each a near miss of one of *records*, with a refusal.

    There may be fewer than asked for, and none: a question that could be answered, or that would not read as English, is
    not made. The result is a function of the arguments but not of the order of *records*; nothing is drawn one after
    another.

    Args:
        records: The golden dataset; every record whose question is plain English may become a twin.
        texts: All that the expert is to know, documents or chunks; read once, one by one.
        share: The part of all rows, gold and refusals together, that refusals are (0 up to but not 1). Refusals are
            about as long as other rows, so it is near their share of the tokens.
        seed: Decides what is put in and which are taken.
        epochs: How many passes over the golden dataset shall see refusals that are new.
        asked: Questions of an exam or a validation set, which are not to be trained on.

    Raises:
        InputError: *share* or *epochs* is out of its range.
    """
    if not 0 <= share < 1:
        msg = f"share is {share}: give a number from 0 up to but not 1, say 0.06"
        raise InputError(msg)
    if epochs < 1:
        msg = f"epochs is {epochs}: give 1 or more"
        raise InputError(msg)
    count = round(share / (1 - share) * len(records) * epochs)
    if not count:
        return []
    known = Texts(texts, (record.instruction for record in records))
    if known.foreign:
        return []
    never = {wording(question) for question in asked}
    pools = Pools(known)
    made: dict[str, list[tuple[Refusal, bool]]] = defaultdict(list)
    seen = set(never)
    for record in sorted(records, key=lambda record: digest(str(seed), record.document, record.instruction)):
        for name, turned in _turned(record, pools, seed):
            if (words := wording(turned.question)) not in seen:
                seen.add(words)
                made[name].append((_refusal(record, turned, seed), turned.far))
    return _mixed(made, count, seed)


def _turned(record: GoldRecord, pools: Pools, seed: int) -> Iterator[tuple[str, Turned]]:
    frame = parse(record.instruction)
    if record.input:  # a passage to answer from: another task
        return
    for way in (*entities.WAYS, *attributes.WAYS):
        turned = way(record.instruction, frame, pools, fraction(seed, f"{way.__name__} {record.instruction}"))
        if turned:
            yield way.__name__, turned


def _refusal(record: GoldRecord, turned: Turned, seed: int) -> Refusal:
    names = turned.kind != "attribute" and drawn(seed, f"named {turned.question}", 0.4)
    pool = NAMED if names else WORDINGS
    text = pool[int(fraction(seed, f"refusal {turned.question}") * len(pool))]
    return Refusal(
        instruction=turned.question,
        output=text.replace("{missing}", turned.missing),
        kind=turned.kind,
        missing=turned.missing,
        twin=item_of(record),
        twin_question=record.instruction,
        document=record.document,
    )


def _mixed(made: Mapping[str, Sequence[tuple[Refusal, bool]]], count: int, seed: int) -> list[Refusal]:
    """*count* of them: kinds by their shares, ways within a kind in turn, each thing and each twin as seldom as can be."""
    ranked: dict[str, list[tuple[bool, int, str, Refusal]]] = {kind: [] for kind in SHARES}
    for way in made.values():
        uses: Counter[str] = Counter()
        for refusal, far in way:
            counted = (f"missing {refusal.missing}", f"twin {refusal.twin}")
            rank = max(uses[each] for each in counted)
            uses.update(counted)
            ranked[refusal.kind].append((far, rank, digest(str(seed), refusal.instruction), refusal))
    queues = {}
    for kind, mine in ranked.items():
        mine.sort(key=lambda each: each[:3])
        if kind == "topic":  # the easiest to tell from what is known: rather fewer in all than many of them
            del mine[math.ceil(2 * SHARES["topic"] * count) :]
        queues[kind] = deque(refusal for *_, refusal in mine)
    taken: list[Refusal] = []
    got: Counter[str] = Counter()
    while len(taken) < count and any(queues.values()):
        kind = min((kind for kind in SHARES if queues[kind]), key=lambda kind: got[kind] / SHARES[kind])
        taken.append(queues[kind].popleft())
        got[kind] += 1
    return taken


def item_of(record: GoldRecord) -> str:
    """The item of *record*; where it names none, the digest that `text2expert.golden` gives it."""
    question = "\n".join(part for part in (record.instruction, record.input) if part)
    return record.item or digest("item", record.document, wording(question), wording(record.output))[:16]


def load(path: Path | str, records: Sequence[GoldRecord] = (), *, seed: int = 0) -> list[Refusal]:
    """A user's own questions without an answer: JSONL, the question in ``instruction``.

    Where a line has no ``output``, one of `WORDINGS` is drawn; where it has no ``twin``, the record with the nearest
    question (BM25) is its twin.

    Raises:
        RecordError: A line is damaged or its question is blank; the message names file and line.
        InputError: The file is missing, cannot be read, or holds no question.
    """
    found: list[Refusal] = []
    index: Index | None = None
    for number, value in read_json_lines(path):
        line = {"output": "", **value}
        try:
            refusal = from_dict(line, Refusal)
        except InputError as error:
            msg = f"{path}, line {number}: not a question to refuse: {error}; mend or delete that line"
            raise RecordError(msg) from error
        if not refusal.instruction.strip():
            msg = f"{path}, line {number}: 'instruction' is blank: write the question there or delete that line"
            raise RecordError(msg)
        if not refusal.output.strip():
            text = WORDINGS[int(fraction(seed, f"refusal {refusal.instruction}") * len(WORDINGS))]
            refusal = attrs.evolve(refusal, output=text)
        if not refusal.twin and records:
            index = index or Index([record.instruction for record in records])
            scores = index.scores(refusal.instruction)
            nearest = records[max(range(len(scores)), key=scores.__getitem__)]
            refusal = attrs.evolve(refusal, twin=item_of(nearest), twin_question=nearest.instruction)
        found.append(refusal)
    if not found:
        msg = f'{path} holds no question: give lines like {{"instruction": "a question that the documents do not answer"}}'
        raise InputError(msg)
    return found
