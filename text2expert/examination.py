"""The exam in a run folder: what is written before training and after it, and how a finished run is examined again."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import attrs

from text2expert import files
from text2expert.records import (
    Answer,
    Chunk,
    ExamPrompt,
    ExamQuestion,
    GoldRecord,
    digest,
    from_dict,
    read_jsonl,
    to_dict,
    write_jsonl,
)
from text2expert.runfolder import CHUNKS, EXAM, EXAM_ANSWERS, EXAM_RESULT, RunFolder

if TYPE_CHECKING:
    from text2expert.examiner import Asked, Exam, Examiner, ExamResult, GivenAnswer, Retriever

STAGES = {"base": "before", "expert": "after"}
"""The stage of a training in which each answers."""


def keep(exam: "Exam", folder: RunFolder) -> None:
    """Write the exam before anything is trained, with what is known of how it was made."""
    write_jsonl(folder / EXAM, exam.questions)
    folder.record(
        EXAM, digest("exam", exam.sha256), dropped=[to_dict(each) for each in exam.dropped], notes=list(exam.notes)
    )


def kept(folder: RunFolder) -> "Exam":
    """The exam of a run."""
    from text2expert.examiner import Dropped, Exam

    noted = folder.notes(EXAM)
    return Exam(
        questions=tuple(read_jsonl(folder / EXAM, ExamQuestion)),
        dropped=tuple(from_dict(each, Dropped) for each in noted.get("dropped", ())),
        notes=tuple(noted.get("notes", ())),
    )


def chunks_of(folder: RunFolder) -> list[Chunk]:
    """The run's passages; none where a dataset came without them."""
    return list(read_jsonl(folder / CHUNKS, Chunk)) if (folder / CHUNKS).is_file() else []


def stage_answers(folder: RunFolder) -> "dict[str, dict[str, Answer]]":
    """What base and expert answered where they were trained: who -> id of the prompt -> answer."""
    from text2expert.examiner import load_answers

    paths = {who: folder / "stages" / stage / "answers.jsonl" for who, stage in STAGES.items()}
    return {who: load_answers(path) for who, path in paths.items() if path.is_file()}


@attrs.frozen(kw_only=True)
class Sitting:
    """An exam, what base and expert are asked in it, and what readers read."""

    exam: "Exam"
    chunks: Sequence[Chunk]
    retriever: "Retriever | None"
    asked: "Sequence[Asked]"

    @classmethod
    def of(cls, examiner: "Examiner", exam: "Exam", folder: RunFolder, *, embedded: bool) -> "Sitting":
        """*exam* as the run in *folder* sits it; an *embedded* toy is shown no passages."""
        chunks = chunks_of(folder)
        retriever = examiner.retriever(chunks)
        asked = examiner.ask(exam, retriever, embedded=embedded)
        return cls(exam=exam, chunks=chunks, retriever=retriever, asked=asked)

    @property
    def prompts(self) -> tuple[ExamPrompt, ...]:
        """For the trainer."""
        return tuple(each.prompt for each in self.asked)


async def conclude(
    examiner: "Examiner",
    sitting: Sitting,
    folder: RunFolder,
    records: Sequence[GoldRecord],
    *,
    share_taught: float | None,
    notes: Iterable[str],
) -> "ExamResult":
    """Have the exam answered by everybody else too, grade it, and write down what came of it."""
    from text2expert.examiner import graded, sort

    answers = sort(sitting.asked, stage_answers(folder))
    more, failed = await examiner.aanswer(sitting.exam, records, sitting.retriever)
    given = graded(sitting.exam, {**answers, **more})
    given, result = await examiner.aconclude(
        sitting.exam, given, chunks=sitting.chunks, share_taught=share_taught, notes=[*notes, *failed]
    )
    write(folder, given, result)
    return result


def write(folder: RunFolder, given: "Iterable[GivenAnswer]", result: "ExamResult") -> None:
    """Write every answer and the result."""
    write_jsonl(folder / EXAM_ANSWERS, given)
    files.write_json(folder / EXAM_RESULT, to_dict(result))
