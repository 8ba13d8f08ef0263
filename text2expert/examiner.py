"""The exam: who is asked what, what counts as right, and one table that says who knew it.

Grading needs no judge: an answer is right when it says a canonical answer, and no other value beside it. What a model put
in other words may count as wrong; nothing wrong counts as right for being fluent.
"""

import re
import textwrap
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import attrs

from text2expert import files
from text2expert.errors import InputError, RecordError
from text2expert.evidence.quantities import Quantity, Unit, quantities, same_quantity, unit_of
from text2expert.evidence.statements import tokens
from text2expert.records import (
    ROW_TITLES,
    ExamQuestion,
    ExamResult,
    ExamScore,
    GoldRecord,
    Span,
    digest,
    from_dict,
    read_json_lines,
    to_line,
    wording,
)

TOY_NOTE = (
    "The embedded base is a toy made from the text itself: it proves that the pipeline trains, not that it is a good "
    "expert. Do not act on its answers."
)

LONGEST_ANSWER = 40
"""Words. A longer answer that contains the right one may contain the others too: only a literal match counts."""


# -- reading ---------------------------------------------------------------------------------------------------------


def load_exam(path: Path | str, *, documents: Collection[str] | None = None) -> list[ExamQuestion]:
    """Read an exam: ``exam.jsonl`` of a run folder, or one written by hand.

    A line written by hand needs ``question`` and ``answer``; ``id``, ``alternates`` (other right answers), ``value`` and
    ``unit``, ``doc`` (the file asked about), ``type`` and ``evidence`` may be given, and ``"answerable": false`` instead of
    an answer says that the right answer is that the text does not say.

    Args:
        path: A JSONL file.
        documents: Ids of the documents at hand: questions about others are left out.

    Raises:
        RecordError: A line is damaged; the message names file and line.
        InputError: The file is missing, cannot be read, is no regular file or holds no question.
    """
    if files.kind_of(path) == "folder":
        msg = f"{path} is a folder: give the JSONL file with the questions"
        raise InputError(msg)
    exam: list[ExamQuestion] = []
    lines: dict[str, int] = {}
    for number, line in read_json_lines(path):
        try:
            question = from_dict(line if "row" in line else _from_hand(line, number), ExamQuestion)
            _check(question, line, lines)
        except InputError as error:
            msg = f"{path}, line {number}: not an exam question: {error}; mend or delete that line"
            raise RecordError(msg) from error
        lines[question.id] = number
        exam.append(question)
    if not exam:
        msg = f'{path} holds no question: give lines like {{"question": "...", "answer": "..."}}'
        raise InputError(msg)
    if documents is None:
        return exam
    return [question for question in exam if not question.document or question.document in documents]


def _from_hand(line: Mapping[str, Any], number: int) -> dict[str, Any]:
    """A hand-written line in the form of `ExamQuestion`; values of a wrong type are left for its reader to refuse."""
    document = files.safe_name(Path(line["doc"]).stem) if isinstance(line.get("doc"), str) and line["doc"] else ""
    evidence = line.get("evidence") or []
    if not isinstance(evidence, list) or not all(isinstance(span, dict) for span in evidence):
        msg = f"'evidence' must be a list of objects with text, start and end, got {evidence!r:.60}"
        raise InputError(msg)
    return {
        "id": line.get("id") or f"hand_written_{number}",
        "row": "hand_written",
        "question": line.get("question"),
        "answer": line.get("answer") if line.get("answerable", True) else None,
        "aliases": line.get("alternates") or [],
        # "88-92" is a value too: it is read from the answer.
        "value": line.get("value") if not isinstance(line.get("value"), str) else None,
        "unit": line.get("unit"),
        "document": document,
        "evidence": [{"document": document, **span} for span in evidence],
        "kind": line.get("type") or "",
    }


def _check(question: ExamQuestion, line: Mapping[str, Any], lines: Mapping[str, int]) -> None:
    if not wording(question.question):
        raise InputError("'question' is blank")
    if type(line.get("answerable", True)) is not bool:
        msg = f"'answerable' must be true or false, got {line['answerable']!r}"
        raise InputError(msg)
    if question.answer is None and line.get("answerable", True) and "row" not in line:
        raise InputError("it has no 'answer'; where the text does not say, write \"answerable\": false")
    if question.answer is not None and not question.answer.strip():
        raise InputError("'answer' is blank")
    if question.id in lines:
        msg = f"its id {question.id!r} is that of line {lines[question.id]}"
        raise InputError(msg)


def join_exam(split: Sequence[ExamQuestion], own: Sequence[ExamQuestion]) -> list[ExamQuestion]:
    """The exam of *split* and of a user's *own* questions, in this order.

    Own questions count as ``hand_written``, whatever row a run gave them. One that *split* asks in the same words is left
    out, and one whose id is taken gets a number behind it: own questions may come from the ``exam.jsonl`` of a run.
    """
    asked = {wording(question.question) for question in split}
    taken = {question.id for question in split}
    exam = list(split)
    for question in own:
        if wording(question.question) in asked:
            continue
        fresh, number = question.id, 1
        while fresh in taken:
            number += 1
            fresh = f"{question.id}-{number}"
        taken.add(fresh)
        exam.append(attrs.evolve(question, id=fresh, row="hand_written"))
    return exam


def load_answers(path: Path | str) -> dict[str, str]:
    """Read ``answers.jsonl`` as a recipe wrote it: question id -> answer.

    Raises:
        RecordError: A line is damaged.
        InputError: The file is missing.
    """
    answers = {}
    for number, line in read_json_lines(path):
        if not isinstance(line.get("id"), str) or not isinstance(line.get("text"), str):
            msg = f"{path}, line {number}: an answer needs 'id' and 'text'; delete the file and run again"
            raise RecordError(msg)
        answers[line["id"]] = line["text"]
    return answers


# -- grading ---------------------------------------------------------------------------------------------------------

_REFUSAL = re.compile(
    r"\b(?:(?:do|does|did|can|could|is|are|was|were|has|have)(?: not|n['’]t)|cannot|can['’]t|not|never|no) "
    r"(?:\w+ ){0,3}?(?:know|say|says|state[ds]?|mention(?:ed|s)?|specif(?:y|ied|ies)|give[ns]?|cover(?:ed|s)?|contain(?:ed|s)?|"
    r"provide[ds]?|include[ds]?|answer(?:ed|able)?|found|available|sure|information|details?|record(?:ed)?|described?)\b"
    r"|\b(?:unknown|unanswerable|unspecified|unstated|silent on|no idea)\b",
    re.IGNORECASE,
)
_ARTICLES = frozenset(("a", "an", "the"))
_NEGATIONS = frozenset(("not", "no", "never", "nor", "neither", "cannot", "without"))
_CONTRACTION = re.compile(r"n['’]t\b", re.IGNORECASE)
_DENIALS = _NEGATIONS - {"no"}  # "No, 16 cmH2O"
_REFERENCES = frozenset(
    [
        "section",
        "sections",
        "clause",
        "clauses",
        "appendix",
        "annex",
        "schedule",
        "chapter",
        "paragraph",
        "article",
        "table",
        "figure",
        "rule",
        "entry",
        "§",
    ]
)


def refuses(answer: str) -> bool:
    """Whether *answer* says that it does not know, or that the text does not say."""
    return bool(_REFUSAL.search(answer))


def grade(question: ExamQuestion, answer: str) -> bool:
    """Whether *answer* is right, by these rules in turn:

    1. A question without an answer is answered right by a refusal, and by nothing else.
    2. The canonical answer or an alias, word for word (case, punctuation and articles aside), is right.
    3. Longer than 40 words, a refusal, the other one of yes and no, or a second value of the same kind: wrong.
    4. An answer with figures is right when it has them all, in their order, with equal values in convertible units, no
       opposite comparator and the canonical answer's other content words (they may stand in the question).
    5. One without figures is right when the canonical words stand in it one after another, not negated.
    """
    said = _plain(answer)
    if question.answer is None:
        return refuses(answer) or said in map(_plain, question.aliases)
    accepted = [each for each in (question.answer, *question.aliases) if wording(each)]
    if said in map(_plain, accepted):
        return True
    if (
        not accepted
        or not said
        or len(answer.split()) > LONGEST_ANSWER
        or refuses(answer)
        or _contradicts(said, accepted)
    ):
        return False
    key = _Key(question, accepted)
    found = _figures(answer)
    return not key.rivals(found) and any(key.matches(each, answer, found) for each in accepted)


def _plain(text: str) -> list[str]:
    """The words of *text* without articles, unless there is nothing else ("A" is an answer)."""
    words = wording(_CONTRACTION.sub(" not", text)).split()
    return [word for word in words if word not in _ARTICLES] or words


def _contradicts(said: Sequence[str], accepted: Iterable[str]) -> bool:
    """Whether the answer opens with no where yes is right, or the other way round."""
    right = {_plain(each)[0] for each in accepted} & {"yes", "no"}
    return said[0] in {"yes", "no"} and bool(right) and said[0] not in right


class _Figure(NamedTuple):
    """A number in an answer."""

    quantity: Quantity
    beside: frozenset[str]
    """Content words right before and after it: "tier" of "tier 3"."""
    denied: bool
    reference: bool
    """It numbers a section, not the world."""


def _figures(text: str) -> list[_Figure]:
    line = tokens(text)
    found = []
    for place, token in enumerate(line):
        if token.quantity is None:
            continue
        before = line[max(0, place - 2) : place]
        neighbours = [*before[-1:], *line[place + 1 : place + 2]]
        found.append(
            _Figure(
                quantity=token.quantity,
                beside=frozenset(each.stem for each in neighbours if each.content),
                denied=not token.quantity.bound and any(each.stem in _DENIALS for each in before),
                reference=any(each.text.lower() in _REFERENCES for each in before[-1:]),
            )
        )
    return found


class _Key:
    """What is right for one question."""

    def __init__(self, question: ExamQuestion, accepted: Sequence[str]) -> None:
        self.asked = question.question
        self.figures = {each: _figures(each) for each in accepted}
        self.words = _content(self.asked).union(*map(_content, accepted))
        canonical = {_unit(figure) for figure in self.figures[accepted[0]]}
        canonical |= {unit_of(question.unit)} if question.unit else set()
        asked = {unit_of(word.strip("?.,;:()")) for word in self.asked.split()}
        others = {_unit(figure) for figures in self.figures.values() for figure in figures}
        self.units = (canonical - {None}) or ((asked | others) - {None})
        """Units that go without saying: 72 stands for "72 hours", but 3 does not stand for its alias "3 days"."""

    def rivals(self, found: Iterable[_Figure]) -> bool:
        """Whether an answer names a second value of a kind that the right answer has."""
        right = [figure.quantity for figures in self.figures.values() for figure in figures]
        known = [*right, *quantities(self.asked)]
        kinds = {_kind(quantity) for quantity in right}
        return any(
            _kind(figure.quantity) in kinds
            and not figure.reference
            and not any(same_quantity(figure.quantity, other) for other in known)
            for figure in found
        )

    def matches(self, right: str, answer: str, found: Sequence[_Figure]) -> bool:
        """Whether *answer*, whose figures are *found*, says what *right* says."""
        words, said = _plain(right), _plain(answer)
        if words in (["yes"], ["no"]):
            return said[0] == words[0]
        if not self.figures[right]:
            return _contains(said, words)
        upcoming = iter(found)
        if not all(any(self._agree(figure, other) for other in upcoming) for figure in self.figures[right]):
            return False
        needed = _content(right)
        # A sentence may turn on its "not"; for a bare value the comparator has been compared.
        if len(needed) > 2 and _negated(words) != _negated(said):
            return False
        return needed <= _content(answer) | _content(self.asked)

    def _agree(self, right: _Figure, said: _Figure) -> bool:
        """Whether a figure of the answer is the right one: value, unit and side, and not denied.

        A number without a unit must not number something else.
        """
        one, other = right.quantity, said.quantity
        if said.denied or not same_quantity(one, other) or (one.bound and other.bound and one.bound != other.bound):
            return False
        if one.unit and other.unit:
            return True
        if other.unit:
            return any(same_quantity(one._replace(unit=unit), other) for unit in self.units)
        return said.beside <= self.words and (one.unit is None or one.unit in self.units)


def _unit(figure: _Figure) -> Unit | None:
    return figure.quantity.unit


def _kind(quantity: Quantity) -> str:
    return quantity.unit.dimension if quantity.unit else ""


def _content(text: str) -> frozenset[str]:
    return frozenset(token.stem for token in tokens(text) if token.content)


def _negated(words: Iterable[str]) -> bool:
    return any(word in _NEGATIONS for word in words)


def _contains(said: Sequence[str], words: Sequence[str]) -> bool:
    """Whether *words* stand in *said* one after another, with no negation shortly before them."""
    size = len(words)
    return any(
        said[start : start + size] == words and not _negated(said[max(0, start - 3) : start])
        for start in range(len(said) - size + 1)
    )


# -- contestants -----------------------------------------------------------------------------------------------------


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


# -- result ----------------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Examiner:
    """Grades what every contestant answered to the same questions, and counts; `Trainer.job` has them asked."""

    def result(
        self,
        exam: Sequence[ExamQuestion],
        answers: Mapping[str, Mapping[str, str]],
        *,
        share_taught: float | None = None,
        notes: Iterable[str] = (),
    ) -> ExamResult:
        """Grade the contestants.

        Args:
            exam: The questions.
            answers: Contestant -> question id -> answer, contestants in the order of their columns.
            share_taught: Share of the text that was taught, 0 to 1, if known; see `share_taught`.
            notes: What a reader must know beside the numbers.

        Raises:
            InputError: A contestant did not answer every question.
        """
        scores = []
        for contestant, given in answers.items():
            if missing := [question.id for question in exam if question.id not in given]:
                msg = f"{contestant!r} did not answer {len(missing)} of {len(exam)} questions, {missing[0]!r} first: ask it all"
                raise InputError(msg)
            right = Counter(question.row for question in exam if grade(question, given[question.id]))
            asked = Counter(question.row for question in exam)
            scores += [
                ExamScore(row=row, contestant=contestant, right=right[row], n=asked[row])
                for row in ROW_TITLES
                if asked[row]
            ]
        return ExamResult(
            exam_sha256=digest(*map(to_line, exam)),
            contestants=tuple(answers),
            scores=tuple(scores),
            share_taught=share_taught,
            notes=(*notes, *_clusters(exam)),
        )


def _clusters(exam: Iterable[ExamQuestion]) -> list[str]:
    """Several questions about one fact are not independent, so an interval over them is too narrow: that must be said."""
    facts = Counter(question.fact for question in exam if question.row == "never_asked")
    if facts.total() == len(facts):
        return []
    return [
        f"The {facts.total()} questions on facts never asked are about {len(facts)} facts: read their interval as too narrow."
    ]


def table(result: ExamResult) -> str:
    """*result* as text for a terminal: per cent right, with 95 % intervals (Wilson), and the notes below."""
    left = max(map(len, ROW_TITLES.values()))
    widths = {name: max(len(name), len("100 [96-100]")) for name in result.contestants}
    lines = ["  ".join([" " * left, *(f"{name:>{width}}" for name, width in widths.items()), "    n"])]
    lines.append("-" * len(lines[0]))
    for row, title in ROW_TITLES.items():
        cells = [score for name in result.contestants if (score := result.score(row, name))]
        if cells:
            shown = [f"{_cell(score):>{widths[score.contestant]}}" for score in cells]
            lines.append("  ".join([f"{title:<{left}}", *shown, f"{cells[0].n:>5,}"]))
    lines += ["", "Right answers in per cent, with 95 % intervals."]
    if result.share_taught is not None:
        lines[-1] += f" Taught: {100 * result.share_taught:.0f} % of the text."
    return "\n".join([*lines, *(textwrap.fill(note, len(lines[0])) for note in result.notes)])


def _cell(score: ExamScore) -> str:
    low, high = score.interval
    return f"{100 * score.share:.0f} [{100 * low:.0f}-{100 * high:.0f}]"


def share_taught(texts: Mapping[str, str], records: Iterable[GoldRecord]) -> float:
    """The share of *texts* that is taught: of their characters, white space aside, those in the evidence of *records*.

    Documents of one text count once, and what is taught of one of them is taught of all.

    Args:
        texts: Document id -> source text.
        records: The training set.
    """
    spans: dict[str, list[Span]] = defaultdict(list)
    for record in records:
        for span in record.evidence:
            if span.document in texts:
                spans[texts[span.document]].append(span)
    taught = total = 0
    for text in dict.fromkeys(texts.values()):
        total += _solid(text)
        reached = 0
        for span in sorted(spans[text], key=lambda span: span.start):
            taught += _solid(text[max(span.start, reached) : span.end])
            reached = max(reached, span.end)
    return taught / total if total else 0.0


def _solid(text: str) -> int:
    return sum(map(len, text.split()))
