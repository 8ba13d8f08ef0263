"""What an exam's answers come to: shares, paired tests, groups of questions, refusals.

Everything counts the grade without a judge (`GivenAnswer.grade`) and is a function of its arguments alone: neither the
order of questions nor that of answers changes a figure. Intervals of shares are Wilson's (`text2expert.records.wilson`).
"""

import math
import re
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from text2expert.errors import InputError
from text2expert.examiner.results import (
    EXPERT,
    ORACLE,
    RAG,
    READER,
    Comparison,
    ExamScore,
    GivenAnswer,
    Grade,
    Group,
    Refusals,
    Unseen,
)
from text2expert.records import ROW_TITLES, UNSEEN_ROWS, Chunk, ExamQuestion, ExamRowName, Span, digest

ALL: Literal["all"] = "all"
"""The row of a `Comparison` over all questions that `is_unseen`."""

ANSWERED = 0.95
"""Share of the unseen questions that the expert answered. Who answered fewer, for want of money or by choice, is measured by
others, and a share of two questions is no share."""

RESAMPLES = 2_000
"""Of the bootstrap: the ends of a 95 % interval then rest on 50 resamples each (Efron and Tibshirani, 1993, ask for 1,000)."""

UNKNOWN, KNOWN = "not known to the base", "known to the base"
"""Names of the groups by what the base knew before training."""

GREEDY_NOTE = (
    "What the base did not know is what it answered wrong when asked once, with its likeliest words; asked several times it "
    "would hit upon some of it."
)
"""To be said beside groups by `UNKNOWN` and `KNOWN`."""

_OF_THE_EXPERT = re.compile(rf"\s*{EXPERT}\b", re.IGNORECASE)
"""Names of contestants that ask the expert: with passages, several times, or otherwise."""

_MULTIHOP = frozenset(("multihop", "multi-hop", "multi_hop"))


def is_unseen(question: ExamQuestion) -> bool:
    """Whether *question* counts in the figures over all rows: it asks for what the document says, and was not trained on."""
    return question.row in UNSEEN_ROWS and question.answer is not None


def grades(exam: Iterable[ExamQuestion], answers: Iterable[GivenAnswer]) -> dict[str, dict[str, Grade]]:
    """Contestant -> question id -> grade, contestants in the order in which they first appear.

    Raises:
        InputError: An answer is to a question that *exam* does not have, or the second of one contestant to it.
    """
    known = {question.id for question in exam}
    given: dict[str, dict[str, Grade]] = {}
    for answer in answers:
        mine = given.setdefault(answer.contestant, {})
        if answer.question not in known:
            msg = (
                f"{answer.contestant!r} answered {answer.question!r}, which is not in this exam of {len(known)} questions: "
                "give the answers and the exam of the same run"
            )
            raise InputError(msg)
        if answer.question in mine:
            msg = f"{answer.contestant!r} answered {answer.question!r} twice: give one answer to a question"
            raise InputError(msg)
        mine[answer.question] = answer.grade
    return given


def scores(exam: Sequence[ExamQuestion], answers: Iterable[GivenAnswer]) -> tuple[ExamScore, ...]:
    """The cells of the exam table: every contestant on every row that it was asked.

    A contestant need not be asked every question (where the document says nothing there is no right passage to show);
    ``n`` is what it answered.
    """
    found = []
    for contestant, mine in grades(exam, answers).items():
        right: Counter[ExamRowName] = Counter()
        asked: Counter[ExamRowName] = Counter()
        for question in exam:
            if question.id in mine:
                asked[question.row] += 1
                right[question.row] += mine[question.id] == "right"
        found += [
            ExamScore(row=row, contestant=contestant, right=right[row], n=asked[row])
            for row in ROW_TITLES
            if asked[row]
        ]
    return tuple(found)


def unseen_share(exam: Iterable[ExamQuestion], mine: Mapping[str, Grade]) -> tuple[int, int]:
    """How many of the questions that `is_unseen` one contestant got right, and how many it answered."""
    asked = [mine[question.id] for question in exam if is_unseen(question) and question.id in mine]
    return asked.count("right"), len(asked)


def unseen(exam: Sequence[ExamQuestion], answers: Iterable[GivenAnswer]) -> tuple[Unseen, ...]:
    """`unseen_share` of every contestant that answered an unseen question."""
    shares = {name: unseen_share(exam, mine) for name, mine in grades(exam, answers).items()}
    return tuple(Unseen(contestant=name, right=right, n=n) for name, (right, n) in shares.items() if n)


def best_reader(exam: Sequence[ExamQuestion], answers: Sequence[GivenAnswer]) -> str | None:
    """The contestant to measure the expert by: of those that search for passages, that with most of the unseen right.

    It must have answered nearly all (`ANSWERED`) of the unseen questions that the expert did; where the expert was asked
    none, of all. Neither the expert with passages nor the base with the right one counts: the one needs the expert, and
    nobody has the other. So a contestant of one's own that asks the expert has a name that begins with the word "expert". Of
    equals, the first.
    """
    given = grades(exam, answers)
    shown = {answer.contestant for answer in answers if answer.passages} | {RAG, READER}
    unseen = {question.id for question in exam if is_unseen(question)}
    asked = unseen & given.get(EXPERT, {}).keys() or unseen
    readers: dict[str, float] = {}
    for name, mine in given.items():
        answered = [mine[each] for each in asked if each in mine]
        is_reader = name in shown and name != ORACLE and not _OF_THE_EXPERT.match(name)
        if is_reader and answered and len(answered) >= ANSWERED * len(asked):
            readers[name] = answered.count("right") / len(answered)
    return max(readers, key=lambda name: readers[name], default=None)


def mcnemar(only_one: int, only_other: int) -> float:
    """The exact two-sided p of McNemar's test (1947).

    The chance that, of the questions which only one of two contestants got right, the split between them is at least so
    uneven, were each as good as the other: a binomial test at one half.

    Args:
        only_one: Questions that only the first got right, 0 or more.
        only_other: Questions that only the second got right, 0 or more.
    """
    n, fewer = only_one + only_other, min(only_one, only_other)
    ways = term = 1
    for k in range(fewer):
        term = term * (n - k) // (k + 1)
        ways += term
    return min(1.0, 2 * ways / (1 << n))


def paired_bootstrap(
    differences: Sequence[float], clusters: Sequence[str], *, seed: int, resamples: int = RESAMPLES
) -> tuple[float, float]:
    """The 95 % percentile interval of the mean of *differences*, resampled by cluster.

    Questions about one fact are right or wrong together, so whole facts are drawn and not single questions (Cameron, Gelbach
    and Miller, 2008). One cluster says nothing of others: its interval is everything, -1 to 1.

    Args:
        differences: Of each question: 1 where only the first contestant was right, -1 where only the second, else 0.
        clusters: Of each question: equal for those that are drawn together.
        seed: Of the resamples.
        resamples: How many.
    """
    import numpy as np  # noqa: PLC0415 - a tenth of a second that only an exam should cost

    totals: dict[str, list[float]] = defaultdict(list)
    for difference, cluster in zip(differences, clusters, strict=True):
        totals[cluster].append(difference)
    if len(totals) < 2:
        return -1.0, 1.0
    members = [totals[cluster] for cluster in sorted(totals)]
    sums = np.array([math.fsum(each) for each in members])
    sizes = np.array([len(each) for each in members])
    generator = np.random.default_rng(seed)
    means = np.empty(resamples)
    block = max(1, 1_000_000 // len(members))  # so many draws at a time stay in a few megabytes
    for start in range(0, resamples, block):
        drawn = generator.integers(len(members), size=(min(block, resamples - start), len(members)))
        means[start : start + len(drawn)] = sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)


def comparisons(
    exam: Sequence[ExamQuestion], answers: Iterable[GivenAnswer], pairs: Iterable[tuple[str, str]]
) -> tuple[Comparison, ...]:
    """Each of *pairs* (one, other) on each row and on `ALL`, over the questions that both answered.

    A pair of which one was not asked a row is left out there.

    Raises:
        InputError: A contestant of *pairs* answered nothing, or see `grades`.
    """
    given = grades(exam, answers)
    found = []
    for one, other in pairs:
        for name in (one, other):
            if name not in given:
                msg = f"there is no contestant {name!r} to compare: there are {', '.join(map(repr, given)) or 'none'}"
                raise InputError(msg)
        for row in (*ROW_TITLES, ALL):
            comparison = _compare(row, exam, (one, given[one]), (other, given[other]))
            if comparison is not None:
                found.append(comparison)
    return tuple(found)


def compare(
    exam: Sequence[ExamQuestion], answers: Iterable[GivenAnswer], one: str, other: str, *, row: str = ALL
) -> Comparison | None:
    """*one* and *other* on one row, as in `comparisons`; None where there is no question that both answered."""
    given = grades(exam, answers)
    return _compare(row, exam, (one, given.get(one, {})), (other, given.get(other, {})))


def _compare(
    row: str,
    exam: Iterable[ExamQuestion],
    one: tuple[str, Mapping[str, Grade]],
    other: tuple[str, Mapping[str, Grade]],
) -> Comparison | None:
    (name_one, mine), (name_other, theirs) = one, other
    asked = [each for each in exam if (is_unseen(each) if row == ALL else each.row == row)]
    # By id, so that the order of the exam does not reach the sums or the seed.
    both = sorted((each for each in asked if each.id in mine and each.id in theirs), key=lambda each: each.id)
    if not both:
        return None
    differences = [(mine[each.id] == "right") - (theirs[each.id] == "right") for each in both]
    counts = Counter(differences)
    # Every pair of a row meets the same resamples; "one, other" is then exactly the mirror of "other, one".
    seed = int(digest("bootstrap", row, *(each.id for each in both))[:16], 16)
    clusters = [f"fact {each.fact}" if each.fact else f"question {each.id}" for each in both]
    by_fact: Counter[str] = Counter()
    for cluster, difference in zip(clusters, differences, strict=True):
        by_fact[cluster] += difference
    return Comparison(
        row=row,
        one=name_one,
        other=name_other,
        n=len(both),
        only_one=counts[1],
        only_other=counts[-1],
        p=mcnemar(counts[1], counts[-1]),
        difference=sum(differences) / len(both),
        interval=paired_bootstrap(differences, clusters, seed=seed),
        discordant_facts=sum(map(bool, by_fact.values())),
    )


class Places:
    """Where in a run's chunks the evidence of questions stands."""

    def __init__(self, chunks: Iterable[Chunk]) -> None:
        self._chunks: dict[str, list[Chunk]] = defaultdict(list)
        for chunk in chunks:
            self._chunks[chunk.document].append(chunk)
        self._starts: dict[str, list[int]] = {}
        self._titled = set()
        for document, mine in self._chunks.items():
            mine.sort(key=lambda chunk: (chunk.start, chunk.end))
            self._starts[document] = [chunk.start for chunk in mine]
            # A title over the whole document is a heading, too, and tells no two of its sections apart.
            if len({chunk.headings[:1] for chunk in mine if chunk.headings}) == 1:
                self._titled.add(document)

    def chunks(self, question: ExamQuestion) -> tuple[Chunk, ...]:
        """The chunks that hold the evidence of *question*, one for each span, none twice, in the order of the spans."""
        found = (self._chunk(span) for span in question.evidence)
        return tuple({chunk.id: chunk for chunk in found if chunk is not None}.values())

    def _chunk(self, span: Span) -> Chunk | None:
        """The chunk that has most of *span*; the first, where chunks that overlap have as much."""
        best, most = None, 0
        mine = self._chunks.get(span.document, [])
        for place in reversed(range(bisect_left(self._starts.get(span.document, []), span.end))):
            chunk = mine[place]
            if chunk.end <= span.start:
                break
            shared = min(chunk.end, span.end) - max(chunk.start, span.start)
            if shared >= most:
                best, most = chunk, shared
        return best

    def section(self, chunk: Chunk) -> str:
        """The name of the section that *chunk* is of; with several documents, after the document's."""
        depth = 1 if chunk.document in self._titled and len(chunk.headings) > 1 else 0
        name = chunk.headings[depth] if chunk.headings else "before the first heading"
        return f"{chunk.document}: {name}" if len(self._chunks) > 1 else name

    @property
    def sections(self) -> list[str]:
        """The names of all sections, in the order of the documents."""
        return list(dict.fromkeys(self.section(chunk) for mine in self._chunks.values() for chunk in mine))

    def hops(self, question: ExamQuestion) -> int | None:
        """Passages that the answer to *question* needs: those with its evidence; None where nothing tells.

        A row or a kind that says that it takes several counts as two at least, whatever its evidence.
        """
        several = question.row == "across" or question.kind.casefold() in _MULTIHOP
        least = 2 if several else 0
        return max(len(self.chunks(question)), least) or None


class Asked(NamedTuple):
    """How a contestant did on the unseen questions about one passage, by their ids."""

    asked: frozenset[str]
    right: frozenset[str]

    @property
    def failed(self) -> bool:
        """Half of the answers, or more, are not right; the one meaning of a failed passage, on the page and in the verdict."""
        return bool(self.asked) and 2 * len(self.right) <= len(self.asked)


def by_passage(exam: Iterable[ExamQuestion], mine: Mapping[str, Grade], places: Places) -> dict[str, Asked]:
    """Chunk id -> how one contestant did on the unseen questions whose evidence stands in it; others are left out.

    Args:
        exam: The questions.
        mine: Question id -> grade.
        places: Of the run's chunks.
    """
    asked: dict[str, set[str]] = defaultdict(set)
    for question in exam:
        if is_unseen(question) and question.id in mine:
            for chunk in places.chunks(question):
                asked[chunk.id].add(question.id)
    return {
        name: Asked(frozenset(ids), frozenset(each for each in ids if mine[each] == "right"))
        for name, ids in asked.items()
    }


def groups(
    exam: Sequence[ExamQuestion], answers: Iterable[GivenAnswer], chunks: Iterable[Chunk], *, base: str = "base"
) -> tuple[Group, ...]:
    """Every contestant by document, section, difficulty, number of hops, and by what the base knew, of the questions that `is_unseen`.

    - ``document``: only where there are several; a question that needs more than one counts in each of them.
    - A question of several sections counts in each of them; one whose evidence no chunk has, in none.
    - ``difficulty``: as it was given (``easy``, ``medium``, ``hard``), questions without one in no group.
    - ``hops``: ``1``, ``2`` or ``3+`` passages that the answer needs.
    - ``unknown_to_base``: `UNKNOWN` and `KNOWN`, of all contestants but the base itself. The base answers once and greedily,
      so it may know a little more than it shows; see `GREEDY_NOTE`.

    Args:
        exam: The questions.
        answers: Of all contestants.
        chunks: Of the run.
        base: The contestant that shows what was known before training; where there is none, there are no such groups.
    """
    given = grades(exam, answers)
    places = Places(chunks)
    right: Counter[tuple[str, str, str]] = Counter()
    asked: Counter[tuple[str, str, str]] = Counter()
    for question in filter(is_unseen, exam):
        memberships = _memberships(question, places, given.get(base, {}))
        for contestant, mine in given.items():
            if question.id not in mine:
                continue
            for by, name in memberships:
                if not (by == "unknown_to_base" and contestant == base):
                    asked[by, name, contestant] += 1
                    right[by, name, contestant] += mine[question.id] == "right"
    orders: dict[Literal["document", "section", "difficulty", "hops", "unknown_to_base"], list[str]] = {
        "document": _documents(asked),
        "section": places.sections,
        "difficulty": _ordered(asked, "difficulty", ("easy", "medium", "hard")),
        "hops": ["1", "2", "3+"],
        "unknown_to_base": [UNKNOWN, KNOWN],
    }
    return tuple(
        Group(by=by, name=name, contestant=contestant, right=right[by, name, contestant], n=n)
        for by, names in orders.items()
        for name in names
        for contestant in given
        if (n := asked[by, name, contestant])
    )


def _memberships(question: ExamQuestion, places: Places, base: Mapping[str, Grade]) -> list[tuple[str, str]]:
    """The groups that *question* is in: what they are by, and their names."""
    documents = {span.document for span in question.evidence if span.document} or {question.document} - {""}
    found = [("document", name) for name in sorted(documents)]
    found += [("section", name) for name in dict.fromkeys(map(places.section, places.chunks(question)))]
    if question.difficulty:
        found.append(("difficulty", question.difficulty))
    if hops := places.hops(question):
        found.append(("hops", "3+" if hops > 2 else str(hops)))
    if question.id in base:
        found.append(("unknown_to_base", KNOWN if base[question.id] == "right" else UNKNOWN))
    return found


def _documents(asked: Iterable[tuple[str, str, str]]) -> list[str]:
    """Documents by name; of one alone there is nothing to compare."""
    names = _ordered(asked, "document", ())
    return names if len(names) > 1 else []


def _ordered(asked: Iterable[tuple[str, str, str]], by: str, first: Sequence[str]) -> list[str]:
    names = {name for kind, name, _ in asked if kind == by}
    return [*(name for name in first if name in names), *sorted(names - set(first))]


def refusals(exam: Sequence[ExamQuestion], answers: Iterable[GivenAnswer]) -> tuple[Refusals, ...]:
    """How often each contestant refused: where the document does not answer (right), and where it does (wrong).

    ``general`` questions are neither: the document does not answer them, and knowing better is no fault.
    """
    found = []
    own = [question for question in exam if question.row != "general"]
    for contestant, mine in grades(exam, answers).items():
        silent = [mine[each.id] for each in own if each.id in mine and each.answer is None]
        spoken = [mine[each.id] for each in own if each.id in mine and each.answer is not None]
        found.append(
            Refusals(
                contestant=contestant,
                right=silent.count("right"),
                unanswerable=len(silent),
                wrong=spoken.count("refused"),
                answerable=len(spoken),
            )
        )
    return tuple(found)
