"""The exam split: which records are trained on, which are asked, and in which row.

The exam is split by fact and by wording, never by row of the file: no wording that is asked is trained on, under any item,
and every item asked in other words than those trained keeps at least one wording in training. Every choice is a function
of the seed and of content (`text2expert.records.digest`), so that order and concurrency change nothing.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import attrs

from text2expert.errors import InputError
from text2expert.golden.facts import Groups, question, with_facts
from text2expert.records import ExamQuestion, ExamRowName, GoldRecord, digest, drawn, wording

MIN_TEMPLATES = 4
"""A rule with fewer templates trains with all of them: holding one out would cost a third of its wordings or more."""


@attrs.frozen(kw_only=True)
class Split:
    """Records divided by `split_records`: to train on, to ask, and to do neither with."""

    records: tuple[GoldRecord, ...]
    exam: tuple[ExamQuestion, ...]
    kept_back: tuple[GoldRecord, ...]
    """Out of training because the exam asks their fact or template, and not asked because their row is full."""


def split_records(
    records: Sequence[GoldRecord],
    *,
    seed: int = 0,
    held_out: float = 1.0,
    never_asked: float = 0.05,
    questions: int = 100,
) -> Split:
    """Divide *records* into a training set and an exam of four rows (`text2expert.records.ExamRowName`).

    - ``never_asked``: facts drawn with probability *never_asked* are held out whole, never more than half of the records.
      Where the exam would ask nothing unseen, because no item has a second wording and no fact was drawn, one is held
      out that costs a tenth of the questions or less.
    - ``new_template``: of each rule with at least four templates (``kind`` is ``rule:template``) one template is held out.
    - ``held_out``: of items drawn with probability *held_out* one wording is held out; at least one stays in training.
      An item with a single wording trains fully.
    - ``taught``: training questions, one per item, as they are.

    Args:
        records: Duplicates and contradictions removed; items and facts are set here.
        seed: Of every draw.
        held_out: Share of items, 0 to 1.
        never_asked: Share of facts, 0 to 1.
        questions: At most so many are asked in each row; no more items or templates are held out than that takes.

    Raises:
        InputError: An argument is out of its range.
    """
    for name, share in (("held_out", held_out), ("never_asked", never_asked)):
        if not 0 <= share <= 1:
            msg = f"{name} must be a share from 0 to 1, got {share!r}"
            raise InputError(msg)
    if type(questions) is not int or questions < 0:
        msg = f"questions must be a whole number from 0 (no exam), got {questions!r}"
        raise InputError(msg)
    draw = _Draw(with_facts(with_ids(records)), seed=seed, limit=questions)
    draw.hold_out_facts(never_asked)
    draw.hold_out_templates()
    draw.hold_out_wordings(held_out)
    if never_asked and not draw.held:
        draw.hold_out_one_fact()
    return draw.split()


class _Draw:
    """Decides, wording by wording, what is kept out of training and under which row it is asked."""

    def __init__(self, records: Sequence[GoldRecord], *, seed: int, limit: int) -> None:
        self.records = records
        self.seed = seed
        self.limit = limit
        self.wordings = _wordings(records)
        self.held: dict[str, ExamRowName | None] = {}
        """Wordings out of training, and the row that may ask them; None: none may."""
        self.held_templates: set[str] = set()
        self.training: dict[str, set[str]] = defaultdict(set)
        """Item -> its wordings in training."""
        self.owners: dict[str, set[str]] = defaultdict(set)
        """Wording -> the items that have it."""
        for record, words in zip(records, self.wordings, strict=True):
            self.training[record.item].add(words)
            self.owners[words].add(record.item)

    def order(self, what: str, content: str) -> str:
        """Where *content* stands among its like: by digest, so that neither position nor neighbours matter."""
        return digest(str(self.seed), what, content)

    def hold_out(self, words: str, row: ExamRowName | None) -> None:
        self.held[words] = row
        for item in self.owners[words]:
            self.training[item].discard(words)

    def hold_out_facts(self, share: float) -> None:
        room = len(self.owners) // 2
        for fact, wordings in self._facts():
            if len(self.held) >= self.limit:
                break
            if len(wordings) <= room - len(self.held) and drawn(self.seed, f"never_asked {fact}", share):
                for words in wordings:
                    self.hold_out(words, "never_asked")

    def hold_out_one_fact(self) -> None:
        cheap = (wordings for _, wordings in self._facts() if 10 * len(wordings) <= len(self.owners))
        for words in next(cheap, ()) if self.limit else ():
            self.hold_out(words, "never_asked")

    def _facts(self) -> list[tuple[str, set[str]]]:
        """Facts and their wordings, in the order in which they are drawn."""
        facts: dict[str, set[str]] = defaultdict(set)
        for record, words in zip(self.records, self.wordings, strict=True):
            facts[record.fact].add(words)
        # A table may be one fact; it would fill the row alone, so it comes last.
        return sorted(
            facts.items(), key=lambda fact: (5 * len(fact[1]) > self.limit, self.order("never_asked", fact[0]))
        )

    def hold_out_templates(self) -> None:
        rules: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
        for record, words in zip(self.records, self.wordings, strict=True):
            rule, colon, _ = record.kind.partition(":")
            if colon and words not in self.held:
                rules[rule][record.kind].add(words)
        room = self.limit
        # Small rules first: the row then speaks of many rules and costs little training.
        for rule in sorted(rules, key=lambda rule: (sum(map(len, rules[rule].values())), rule)):
            templates = rules[rule]
            common = max(len(wordings) for wordings in templates.values())
            if room <= 0 or len(templates) < MIN_TEMPLATES:
                continue
            for kind in sorted(templates, key=lambda kind: self.order("template", kind)):
                alone = [words for words in templates[kind] if self._is_last(words, templates[kind])]
                # A rare template says little; one that is all that many items have would leave them untaught.
                if 2 * len(templates[kind]) < common or 20 * len(alone) > len(templates[kind]):
                    continue
                for words in templates[kind]:
                    self.hold_out(words, "new_template")
                self.held.update(dict.fromkeys(alone))
                self.held_templates.add(kind)
                room -= len(templates[kind])
                break

    def _is_last(self, words: str, template: set[str]) -> bool:
        """Whether an item would keep no wording in training without *template*."""
        return any(self.training[item] <= template for item in self.owners[words])

    def hold_out_wordings(self, share: float) -> None:
        room = self.limit
        for item in sorted(self.training, key=lambda item: self.order("held_out", item)):
            if room <= 0:
                break
            mine = [words for words in self.training[item] if len(self.owners[words]) == 1]
            if len(self.training[item]) > 1 and mine and drawn(self.seed, f"held_out {item}", share):
                self.hold_out(min(mine, key=lambda words: self.order("wording", words)), "held_out")
                room -= 1

    def split(self) -> Split:
        places: dict[str, int] = {}  # of a wording that several records have, the first is asked
        for place, words in enumerate(self.wordings):
            if self.held.get(words) != "new_template" or self.records[place].kind in self.held_templates:
                places.setdefault(words, place)
        rows: dict[ExamRowName, list[int]] = {"taught": [], "held_out": [], "new_template": [], "never_asked": []}
        for words, place in places.items():
            row = self.held.get(words, "taught")
            if row is not None:
                rows[row].append(place)
        asked = {row: self._asked(row, members) for row, members in rows.items()}
        answers: dict[str, dict[str, None]] = defaultdict(dict)
        for record in self.records:
            answers[record.item] |= dict.fromkeys((record.short_answer, record.output))
        exam = [
            _exam_question(self.records[place], row, answers[self.records[place].item])
            for row, members in asked.items()
            for place in members
        ]
        used = {place for row, members in asked.items() if row != "taught" for place in members}
        return Split(
            records=tuple(
                record for record, words in zip(self.records, self.wordings, strict=True) if words not in self.held
            ),
            exam=tuple(exam),
            kept_back=tuple(
                record
                for place, record in enumerate(self.records)
                if self.wordings[place] in self.held and place not in used
            ),
        )

    def _asked(self, row: ExamRowName, members: Sequence[int]) -> list[int]:
        """At most `limit` of *members*, first one of each item, so that a row speaks of as many items as it can."""
        earlier: Counter[str] = Counter()
        ranked: list[tuple[int, int, int]] = []
        for place in sorted(members, key=lambda place: self.order(row, self.wordings[place])):
            item = self.records[place].item
            ranked.append((earlier[item], len(ranked), place))
            earlier[item] += 1
        once = row == "taught"
        chosen = [place for rank, _, place in sorted(ranked) if not (once and rank)]
        return sorted(chosen[: self.limit])


_OPENER = re.compile(r'^\s*(?:\w+\s+){0,3}["“«][^"“”«»]{1,200}["”»]\s*,\s*')


def _wordings(records: Sequence[GoldRecord]) -> list[str]:
    """What stands for each record's wording, equal for those that are one wording when it comes to holding it out.

    Questions of one item that differ only in how they name the section (``Under "Suction", ...``, ``In "Suction", ...``) are
    one: to ask the one and train the other would make the exam look harder than it is.
    """
    groups = Groups()
    exact = [wording(question(record)) for record in records]
    for record, words in zip(records, exact, strict=True):
        groups.unite(words, f"~{record.item} {wording(_OPENER.sub('', question(record)))}")
    return [groups.root(words) for words in exact]


def _exam_question(record: GoldRecord, row: ExamRowName, answers: Iterable[str]) -> ExamQuestion:
    """*record* as a question; what its item's other wordings answer is as right."""
    aliases = dict.fromkeys((record.short_answer, *answers))
    return ExamQuestion(
        id=record.qa_id,
        row=row,
        question=question(record),
        answer=record.output,
        aliases=tuple(alias for alias in aliases if alias.strip() and alias != record.output),
        document=record.document,
        evidence=record.evidence,
        item=record.item,
        fact=record.fact,
        kind=record.kind,
    )


def with_ids(records: Sequence[GoldRecord]) -> list[GoldRecord]:
    """*records* with unique ids: files written by hand or joined with ``cat`` have none, or the same ones twice."""
    names = Names()
    return [
        attrs.evolve(record, qa_id=names.unique(record.qa_id or f"pair_{number:06d}"))
        for number, record in enumerate(records, 1)
    ]


class Names:
    """Makes names unique: the second ``a`` is ``a-2``."""

    def __init__(self) -> None:
        self._count: Counter[str] = Counter()
        self._taken: set[str] = set()

    def unique(self, name: str) -> str:
        """*name*, with a number behind it where it was given out before."""
        self._count[name] += 1
        fresh = name if self._count[name] == 1 else f"{name}-{self._count[name]}"
        if fresh in self._taken:
            return self.unique(name)
        self._taken.add(fresh)
        return fresh


NOT_SPLIT: tuple[ExamRowName, ...] = ("written_apart", "across", "unanswerable", "general")
"""Rows that an examiner writes."""


def reseat(exam: Iterable[ExamQuestion], records: Sequence[GoldRecord]) -> list[ExamQuestion]:
    """*exam* as it stands to the training set *records*, which was edited or merged after the exam was split.

    A question that is trained on counts as taught, with the answer that is trained. One whose item is trained on in other
    words is held out; one whose fact is not trained on at all is never asked. What is none of these is left out. Your own
    questions (``hand_written``) stay as they are, and so do those that were not split from a dataset, unless they are trained on.
    """
    exam = list(exam)
    known = with_facts([*records, *(_as_record(each) for each in exam)])
    trained = {wording(question(record)): record for record in reversed(records)}
    items = {record.item for record in known[: len(records)]}
    facts = {record.fact for record in known[: len(records)]}
    kinds = {record.kind for record in records}
    seated = []
    for each, record in zip(exam, known[len(records) :], strict=True):
        words = wording(each.question)
        if each.row == "hand_written":
            seated.append(each)
        elif each.row in NOT_SPLIT:
            if words not in trained:
                seated.append(each)
        elif words in trained:
            answers = each.aliases if trained[words].output in (each.answer, *each.aliases) else ()
            seated.append(attrs.evolve(_exam_question(trained[words], "taught", answers), id=each.id))
        elif each.row != "taught" and record.item in items:
            row: ExamRowName = "new_template" if each.row == "new_template" and each.kind not in kinds else "held_out"
            seated.append(attrs.evolve(each, row=row))
        elif each.row == "never_asked" and record.fact not in facts:
            seated.append(each)
    return seated


def _as_record(each: ExamQuestion) -> GoldRecord:
    return GoldRecord(
        instruction=each.question,
        output=each.answer or "",
        item=each.item,
        fact=each.fact,
        kind=each.kind,
        document=each.document,
        evidence=each.evidence,
    )
