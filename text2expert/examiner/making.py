"""The exam before training: its questions, kept apart from what is trained, and what base and expert are asked.

Everything is made here before a machine is rented, so that one rental answers all of it.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal

import attrs

from text2expert import refusals
from text2expert.errors import InputError
from text2expert.examiner.contestants import Retriever, closed_book, open_book, right_passages
from text2expert.examiner.decontamination import decontaminate
from text2expert.examiner.questions import join_exam, load_exam
from text2expert.examiner.results import BASE, EXPERT, EXPERT_RAG, ORACLE, RAG, Dropped
from text2expert.records import Answer, ExamPrompt, ExamQuestion, GoldRecord, digest, to_line, wording

UNANSWERABLE = 30
"""Questions that the text does not answer, at most: an interval of nine points to each side where nine in ten are refused."""

GENERAL = Path(__file__).parents[1] / "samples" / "general.jsonl"
"""The probe for what is forgotten: general knowledge, shipped with the package."""


PROBE = "general 1"
"""Raised whenever the probe changes."""


@attrs.frozen(kw_only=True, slots=False)
class Exam:
    """The questions of an exam, as they are asked of everybody."""

    questions: tuple[ExamQuestion, ...]
    dropped: tuple[Dropped, ...] = ()
    """What was left out because training has it too."""
    notes: tuple[str, ...] = ()

    @cached_property
    def sha256(self) -> str:
        """Of the questions with their keys, in their order: an exam that was changed is another one."""
        return digest(*map(to_line, self.questions))


def freeze(
    parts: Iterable[Sequence[ExamQuestion]],
    records: Sequence[GoldRecord],
    *,
    frozen: Sequence[ExamQuestion] = (),
    notes: Iterable[str] = (),
) -> Exam:
    """One exam of *parts*, in their order, without what is asked twice or is known from training (*records*).

    Questions of a later part that have an id of an earlier one get a number behind it. Those that are *frozen* come first and
    stay as they are: they were compared with training when they were frozen, and later rules do not change an exam.
    """
    questions = list(frozen)
    for part in parts:
        rows = {question.id: question.row for question in part}
        questions = join_exam(questions, part, rows=rows)
    new, dropped = decontaminate(questions[len(frozen) :], records)
    kept = [*frozen, *new]
    own, left = (Counter(each.row for each in some)["hand_written"] for some in (questions, kept))
    said = []
    if known := own - left:
        verb = "is" if known == 1 else "are"
        said = [
            f"{known:,} of the {own:,} hand-written questions {verb} trained on, in the same or nearly the same words: not asked."
        ]
    return Exam(questions=tuple(kept), dropped=dropped, notes=(*notes, *said))


def hand_written(own: Iterable[ExamQuestion]) -> list[ExamQuestion]:
    """A user's *own* questions, whatever row a run gave them: ``taught`` would let in what is trained on."""
    return [attrs.evolve(each, row="hand_written") for each in own]


def extended(exam: Exam, own: Sequence[ExamQuestion], records: Sequence[GoldRecord]) -> Exam:
    """*exam* with a user's *own* questions that it does not have, and that training (*records*) does not either.

    All questions of *exam* stay, whatever the rules of now would drop.
    """
    more = freeze([hand_written(own)], records, frozen=exam.questions)
    counts: Counter[Literal["same_text", "jaccard", "eight_grams"]] = Counter()
    for each in (*exam.dropped, *more.dropped):
        counts[each.reason] += each.n
    dropped = tuple(Dropped(reason=reason, n=n) for reason, n in counts.items())
    return Exam(questions=more.questions, dropped=dropped, notes=tuple(dict.fromkeys((*exam.notes, *more.notes))))


def unanswerable(
    records: Sequence[GoldRecord], texts: Iterable[str], *, seed: int, asked: Iterable[str] = ()
) -> list[ExamQuestion]:
    """Up to `UNANSWERABLE` questions that *texts* do not answer, each a near miss of one that they do; by rule, no model.

    A training that refuses such questions is told of the exam's and leaves them out.

    Args:
        records: The training set.
        texts: All that the expert is to know.
        seed: Of what is put in, and of which are taken.
        asked: Questions that are in the exam already.
    """
    if not records:
        return []
    share = UNANSWERABLE / (UNANSWERABLE + len(records))
    apart = int(
        digest("exam", str(seed))[:8], 16
    )  # what training makes of the same questions is drawn by the plain seed
    made = refusals.near_misses(records, texts, share=share, seed=apart, asked=asked)
    return [
        ExamQuestion(
            id=f"unanswerable_{digest(wording(each.instruction))[:8]}",
            row="unanswerable",
            question=each.instruction,
            answer=None,
            document=each.document,
            kind=each.kind,
        )
        for each in made
    ]


def general() -> list[ExamQuestion]:
    """The questions of the shipped probe."""
    return [attrs.evolve(each, row="general") for each in load_exam(GENERAL)]


@attrs.frozen(kw_only=True)
class Asked:
    """A question put to the base or the expert."""

    prompt: ExamPrompt
    question: str
    """The question's id."""
    passages: tuple[str, ...] = ()
    """Ids of the chunks in the prompt."""


def ask(questions: Iterable[ExamQuestion], retriever: Retriever | None, *, embedded: bool) -> list[Asked]:
    """What base and expert are asked.

    The base is told the form of the answer; the expert gets the bare question that it was trained on. Both get the general
    questions in the same words, since what differs there must be what training did. With *retriever*, both are also asked
    with the passages found, and the base with the right ones. An *embedded* toy gets bare questions alone: its window holds
    no passage.

    Raises:
        InputError: An id is what another question's is called with passages.
    """
    asked: list[Asked] = []
    for each in questions:
        told = each.question if embedded else closed_book(each.question)
        bare = told if each.row == "general" else each.question
        asked += [_asked(BASE, "base", each, told), _asked(EXPERT, "expert", each, bare)]
        if embedded or retriever is None or each.row == "general":
            continue
        found, right = retriever.find(each.question), right_passages(each, retriever)
        reads = open_book(each.question, found)
        shown = tuple(chunk.id for chunk in found)
        asked += [
            _asked(RAG, "base", each, reads, shown),
            _asked(ORACLE, "base", each, open_book(each.question, right), tuple(chunk.id for chunk in right)),
            _asked(EXPERT_RAG, "expert", each, reads, shown),
        ]
    counts = Counter((each.prompt.to, each.prompt.id) for each in asked)
    if twice := [id_ for (_, id_), count in counts.items() if count > 1]:
        msg = f"two questions would be called {twice[0]!r} in this exam: give the one of that id another"
        raise InputError(msg)
    return asked


_PREFIXES = {RAG: "rag:", ORACLE: "oracle:", EXPERT_RAG: "rag:"}


def _asked(
    contestant: str, to: Literal["base", "expert"], each: ExamQuestion, text: str, passages: tuple[str, ...] = ()
) -> Asked:
    id_ = f"{_PREFIXES.get(contestant, '')}{each.id}"
    return Asked(
        prompt=ExamPrompt(id=id_, question=text, to=to, contestant=contestant), question=each.id, passages=passages
    )


def sort(asked: Iterable[Asked], answers: Mapping[str, Mapping[str, Answer]]) -> dict[str, dict[str, Answer]]:
    """The answers by contestant and question.

    Args:
        asked: What was asked.
        answers: ``base`` and ``expert`` -> id of the prompt -> answer; what was not answered is left out.
    """
    sorted_: dict[str, dict[str, Answer]] = {}
    for each in asked:
        answer = answers.get(each.prompt.to, {}).get(each.prompt.id)
        if answer is not None:
            sorted_.setdefault(each.prompt.contestant, {})[each.question] = attrs.evolve(answer, sources=each.passages)
    return sorted_
