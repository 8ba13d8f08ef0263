"""The exam's questions: read from a file, and a run's own joined with a user's; and what was answered to them."""

import difflib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import attrs

from text2expert import files
from text2expert.errors import InputError, RecordError
from text2expert.examiner.refusing import refuses
from text2expert.records import Answer, ExamQuestion, ExamRowName, from_dict, read_json_lines, wording


def load_exam(path: Path | str, *, documents: Collection[str] | None = None) -> list[ExamQuestion]:
    """Read an exam: ``exam.jsonl`` of a run folder, or one written by hand.

    A line written by hand needs ``question`` and ``answer``; ``id``, ``aliases`` (other right answers; or ``alternates``),
    ``value`` and ``unit``, ``doc`` (the file asked about; or ``document``), ``type`` and ``evidence`` may be given, and
    ``"answerable": false`` instead of an answer says that the right answer is that the text does not say. Other fields are
    left alone, unless they look like one of these that is not there.

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
    keys: dict[tuple[str, str], tuple[str | None, int]] = {}
    for number, line in read_json_lines(path):
        try:
            by_hand = not _is_of_a_run(line)
            question = from_dict(_from_hand(line, number) if by_hand else line, ExamQuestion)
            _check(question, line, lines, by_hand=by_hand)
            if by_hand:
                _check_key(question, number, keys)
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


def _is_of_a_run(line: Mapping[str, Any]) -> bool:
    """Whether a run wrote *line*: a line written by hand may have a field ``row`` of its own."""
    return "id" in line and "row" in line and ("fact" in line or line["row"] in get_args(ExamRowName))


def _from_hand(line: Mapping[str, Any], number: int) -> dict[str, Any]:
    """A hand-written line in the form of `ExamQuestion`; values of a wrong type are left for its reader to refuse."""
    _check_fields(line)
    named = line.get("doc") or line.get("document")
    document = files.safe_name(Path(named).stem) if isinstance(named, str) else ""
    evidence = line.get("evidence") or []
    if not isinstance(evidence, list) or not all(isinstance(span, dict) for span in evidence):
        msg = f"'evidence' must be a list of objects with text, start and end, got {evidence!r:.60}"
        raise InputError(msg)
    return {
        "id": line.get("id") or f"hand_written_{number}",
        "row": "hand_written",
        "question": line.get("question"),
        "answer": line.get("answer") if line.get("answerable", True) else None,
        "aliases": line.get("aliases") or line.get("alternates") or [],
        # "88-92" is a value too: it is read from the answer.
        "value": line.get("value") if not isinstance(line.get("value"), str) else None,
        "unit": line.get("unit"),
        "document": document,
        "evidence": [{"document": document, **span} for span in evidence],
        "kind": line.get("type") or "",
    }


_FIELDS = (
    "question", "answer", "answerable", "aliases", "alternates", "id", "value", "unit", "doc", "document", "type",
    "evidence",
)  # fmt: skip
"""Of a line written by hand."""

_MEANT = {
    "question": {"q", "query", "prompt", "instruction", "ask", "input"},
    "answer": {"a", "ans", "response", "output", "completion", "expected", "gold", "label", "target", "reference"},
}
"""What other formats call the two that a line cannot do without."""


def _check_fields(line: Mapping[str, Any]) -> None:
    """See whether a field that is not there is there under another name."""
    for name in line:
        if name in _FIELDS:
            continue
        bare = name.strip().casefold()
        meant = next((field for field, others in _MEANT.items() if bare in others), None)
        if meant is None and (alike := difflib.get_close_matches(bare, _FIELDS, n=1, cutoff=0.8)):
            meant = alike[0]
        if meant is not None and line.get(meant) is None and not (meant == "answer" and "answerable" in line):
            raise InputError(f"there is no field {name!r}: call it {meant!r}")
    if line.get("question") is None:
        has = ", ".join(map(repr, line)) or "none"
        msg = f"it has no 'question'; its fields are {has}. A line needs 'question' and 'answer'"
        raise InputError(msg)


def _check(question: ExamQuestion, line: Mapping[str, Any], lines: Mapping[str, int], *, by_hand: bool) -> None:
    if not wording(question.question):
        raise InputError("'question' is blank")
    if type(line.get("answerable", True)) is not bool:
        msg = f"'answerable' must be true or false, got {line['answerable']!r}"
        raise InputError(msg)
    if question.answer is None and line.get("answerable", True) and by_hand:
        raise InputError("it has no 'answer'; where the text does not say, write \"answerable\": false")
    dropped = line.get("answer") if question.answer is None else None
    if isinstance(dropped, str) and dropped.strip() and not refuses(dropped):
        msg = f"it has the 'answer' {dropped!r:.60}, and 'answerable' is false: leave out the one that is not so"
        raise InputError(msg)
    if question.answer is not None and not question.answer.strip():
        raise InputError("'answer' is blank")
    if question.id in lines:
        msg = f"its id {question.id!r} is that of line {lines[question.id]}"
        raise InputError(msg)


def _check_key(question: ExamQuestion, number: int, keys: dict[tuple[str, str], tuple[str | None, int]]) -> None:
    """See that a question which is there twice has one right answer."""
    answer, first = keys.setdefault((wording(question.question), question.document), (question.answer, number))
    if answer != question.answer:
        msg = (
            f"line {first} asks the same, and there {answer!r} is right, here {question.answer!r}: write the other one "
            "among the 'aliases' if both are"
        )
        raise InputError(msg)


def join_exam(
    split: Sequence[ExamQuestion], own: Sequence[ExamQuestion], *, rows: Mapping[str, ExamRowName] | None = None
) -> list[ExamQuestion]:
    """The exam of *split* and of a user's *own* questions, in this order.

    Own questions count as ``hand_written``, whatever row a run gave them, unless *rows* says otherwise (by id). One that
    *split* asks in the same words is left out, and one whose id is taken gets a number behind it: own questions may come
    from the ``exam.jsonl`` of a run.
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
        exam.append(attrs.evolve(question, id=fresh, row=(rows or {}).get(question.id, "hand_written")))
    return exam


@attrs.frozen
class _Line:
    """What every line of answers has."""

    id: str


def load_answers(path: Path | str) -> dict[str, Answer]:
    """Read ``answers.jsonl`` as a recipe wrote it: id -> answer.

    ``seconds`` is what the answer took alone, None where it was not timed so: in a batch nobody waits for one answer.

    Raises:
        RecordError: A line is damaged.
        InputError: The file is missing.
    """
    answers = {}
    for number, line in read_json_lines(path):
        try:
            answer = from_dict({**line, "seconds": line.get("seconds_alone")}, Answer)
            id_ = from_dict(line, _Line).id
        except InputError as error:
            msg = f"{path}, line {number}: an answer needs 'id' and 'text' ({error}); delete the file and run again"
            raise RecordError(msg) from error
        answers[id_] = answer
    return answers
