"""The exam in a run folder: what is written before training and after it, and how a finished run is examined again."""

import asyncio
import json
import math
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from text2expert import files
from text2expert._progress import say
from text2expert.errors import AuthenticationFailed, InputError, Text2ExpertError
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
    to_line,
    write_jsonl,
)
from text2expert.runfolder import CHUNKS, EXAM, EXAM_ANSWERS, EXAM_RESULT, GOLD, REPORT, RunFolder, read_json

if TYPE_CHECKING:
    from text2expert.examiner import Asked, Exam, Examiner, ExamResult, GivenAnswer, Money, Retriever
    from text2expert.llm import Estimate

TOY = "a toy made from the text"
"""What a receipt calls the base that a run makes."""

VERDICT, SHOWN, NEXT, DATASET = (
    "The exam's verdict: ", "Every question, answer and plot: ", "Next: text2expert ask ", "The golden dataset is ",
)  # fmt: skip
"""How the lines of a receipt begin that say what the exam came to, and where what is written lies."""

REMEMBERED = ("usd_per_hour", "questions_per_month", "updates_per_year")
"""What was said of a run's use when it was examined holds until something else is said."""

MAKING = ("teacher", "verifier", "training")
"""Scopes of the ledger: what is paid to make an expert. Its exam is apart."""

STAGES = {"base": "before", "expert": "after"}
"""The stage of a training in which each answers."""


async def make(
    examiner: "Examiner",
    folder: RunFolder,
    *,
    split: Sequence[ExamQuestion],
    own: Sequence[ExamQuestion],
    records: Sequence[GoldRecord],
    texts: Iterable[Path],
    embedded: bool,
    seed: int,
    configuration: Any,
) -> "Exam":
    """The exam of a run, written down before anything is trained; the one that is there, where it was made of just this.

    Args:
        examiner: Makes it.
        folder: Of the run.
        split: As in `Examiner.amake`, as are the next two.
        own: The user's.
        records: The training set.
        texts: The source texts, where they are there.
        embedded: Whether the base is the toy.
        seed: Of every draw.
        configuration: What else decides the exam, as JSON values.
    """
    from text2expert.examiner import making

    sources = list(texts)
    made_from = digest(
        "exam",
        *(to_line(each) for each in (*split, *own)),
        *(str(folder.sha256(name)) for name in (GOLD, CHUNKS)),
        *(files.sha256_file(path) for path in sources),
        making.PROBE if examiner.general else "",
        json.dumps([embedded, seed, configuration], sort_keys=True, default=str),
    )
    if not folder.fresh(EXAM, made_from):
        if added := folder.notes(EXAM).get("added"):
            say(
                f"{folder / EXAM} is made anew, without the "
                f"{'question that was' if len(added) == 1 else f'{len(added):,} questions that were'} added to it after "
                "training: give the file as exam= (--exam) to have them in it"
            )
        exam = await examiner.amake(
            split,
            records,
            own=own,
            chunks=chunks_of(folder),
            texts=(path.read_text("utf-8") for path in sources),
            embedded=embedded,
            seed=seed,
        )
        keep(exam, folder, made_from)
    return kept(folder)


def keep(exam: "Exam", folder: RunFolder, made_from: str, *, since: Mapping[str, Any] | None = None) -> None:
    """Write the exam, with what is known of how it was made.

    Args:
        exam: The exam.
        folder: Of the run.
        made_from: What decided it.
        since: What is noted of how the exam was frozen and what was added to it since; None: this freezes it.
    """
    write_jsonl(folder / EXAM, exam.questions)
    folder.record(
        EXAM,
        made_from,
        dropped=[to_dict(each) for each in exam.dropped],
        notes=list(exam.notes),
        **(since or {"frozen": _digests(exam.questions), "frozen_sha256": exam.sha256}),
    )


def _digests(questions: "Iterable[ExamQuestion]") -> dict[str, str]:
    """Question id -> digest of it and its key."""
    return {each.id: digest(to_line(each))[:16] for each in questions}


def _changed(exam: "Exam", folder: RunFolder) -> list[str]:
    """A note, where questions or keys of *exam* are not those that were frozen before training, or added since."""
    noted = folder.notes(EXAM)
    if "frozen" not in noted:  # of a version that did not note them
        return ["The exam was changed after training."] if folder.edited(EXAM) else []
    known, now = {**noted["frozen"], **noted.get("added", {})}, _digests(exam.questions)
    differ = sum(known.get(id_) != now.get(id_) for id_ in {*known, *now})
    if not differ:
        return []
    what = "question or key differs" if differ == 1 else "questions or keys differ"
    note = f"The exam was changed after training: {differ:,} {what} from those that were frozen"
    return [f"{note} (SHA-256 {noted['frozen_sha256'][:12]}...), so its figures prove less."]


def kept(folder: RunFolder) -> "Exam":
    """The exam of a run."""
    from text2expert.examiner import Dropped, Exam

    noted = folder.notes(EXAM)
    return Exam(
        questions=tuple(read_jsonl(folder / EXAM, ExamQuestion)),
        dropped=tuple(from_dict(each, Dropped) for each in noted.get("dropped", ())),
        notes=tuple(noted.get("notes", ())),
    )


def fitting(own: Sequence[ExamQuestion], ids: set[str]) -> tuple[tuple[ExamQuestion, ...], tuple[str, ...]]:
    """The user's questions that are about the documents *ids*, and a note on what is left out."""
    mine = tuple(question for question in own if question.document in {"", *ids})
    notes = (f"{len(own) - len(mine):,} of your exam's {len(own):,} questions are about other documents: not asked.",)
    return mine, notes if len(mine) < len(own) else ()


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
    models: Iterable[str],
    toy: bool,
) -> "ExamResult":
    """Have the exam answered by everybody else too, grade it, and write down what came of it."""
    from text2expert.examiner import graded, retimed, sort

    made_from = digest(
        "answers",
        sitting.exam.sha256,
        *(str(folder.sha256(f"stages/{stage}/answers.jsonl")) for stage in STAGES.values()),
        *(str(folder.sha256(name)) for name in (GOLD, CHUNKS)),
        str(examiner.k),
    )
    stored = _stored(folder) if folder.fresh(EXAM_ANSWERS, made_from) else []
    answers = sort(sitting.asked, stage_answers(folder))
    here, failed_here = await examiner.aanswer_here(sitting.exam.questions, records, sitting.retriever)
    own, failed = await examiner.aanswer_own(sitting.exam.questions, sitting.retriever)
    given, result = await examiner.aconclude(
        sitting.exam,
        retimed(graded(sitting.exam, {**answers, **here, **own}), stored),
        chunks=sitting.chunks,
        share_taught=share_taught,
        notes=[*notes, *failed_here, *failed],
        models=models,
        money=money(folder),
        toy=toy,
    )
    result = attrs.evolve(result, frozen_sha256=sitting.exam.sha256)
    _say_dropped(folder, result)
    write(folder, given, result, made_from)
    return result


def _say_dropped(folder: RunFolder, result: "ExamResult") -> None:
    """A line where somebody who was asked, or who judged, when this run was examined again is not in *result*."""
    from text2expert.examiner import ExamResult

    try:
        before = from_dict(read_json(folder / EXAM_RESULT), ExamResult)
    except Text2ExpertError:  # there was none, or it is damaged: it is written anew
        return
    gone = [name for name in before.contestants if name not in result.contestants]
    if before.judge is not None and result.judge is None:
        gone.append(f"the judge {before.judge.model}")
    if gone:
        say(
            f"The exam is made anew, without {', '.join(gone)}: examine the run again with them; "
            "what was paid for is not paid for twice"
        )


def _stored(folder: RunFolder) -> "list[GivenAnswer]":
    from text2expert.examiner import GivenAnswer

    return list(read_jsonl(folder / EXAM_ANSWERS, GivenAnswer)) if (folder / EXAM_ANSWERS).is_file() else []


async def again(
    examiner: "Examiner",
    folder: RunFolder,
    own: Sequence[ExamQuestion],
    receipt: Mapping[str, Any],
    *,
    notes: Iterable[str] = (),
) -> "ExamResult":
    """Examine a finished run once more: *own* questions, and the contestants of *examiner*, are added to its exam.

    What is stored is graded anew. New questions are put to base and expert on this machine. *notes* go into the result.

    Raises:
        RunnerError: They cannot be asked here.
        Text2ExpertError: A file of the run is damaged.
    """
    from text2expert.examiner import ExamResult, extended, graded, regraded, retimed, sort, united

    before, records, toy = kept(folder), list(read_jsonl(folder / GOLD, GoldRecord)), is_toy(receipt)
    exam = extended(before, own, records)
    sitting = Sitting.of(examiner, exam, folder, embedded=toy)
    stored = _stored(folder)
    told = from_dict(read_json(folder / EXAM_RESULT), ExamResult)
    if not stored:  # a run of a version that did not keep them
        stored = graded(exam, sort(sitting.asked, stage_answers(folder)))
    answered = {each.question for each in stored}
    asked = [each for each in sitting.asked if each.question not in answered]
    answers = sort(asked, await _ask_here(asked, folder))
    here, failed_here = await examiner.aanswer_here(_unread(sitting, stored), records, sitting.retriever)
    # Who says the same of the same passages as before has answered before, with the seconds of then.
    known = {(each.contestant, each.question, each.text, each.passages) for each in stored}
    here = {
        name: {id_: each for id_, each in found.items() if (name, id_, each.text, each.sources) not in known}
        for name, found in here.items()
    }
    mine, failed = await examiner.aanswer_own(exam.questions, sitting.retriever)
    given, result = await examiner.aconclude(
        exam,
        united(exam, regraded(exam, stored), retimed(graded(exam, {**answers, **here, **mine}), stored)),
        chunks=sitting.chunks,
        share_taught=receipt.get("share_taught"),
        notes=[
            *_changed(before, folder),
            *receipt.get("notes", ()),
            *notes,
            *_other_k(examiner, stored, receipt),
            *failed_here,
            *failed,
        ],
        judge=told.judge,
        models=[name for name in receipt.get("models", {}).values() if isinstance(name, str)],
        money=money(folder),
        toy=toy,
    )
    noted, old = folder.notes(EXAM), {each.id for each in before.questions}
    frozen = noted.get("frozen_sha256") or told.frozen_sha256 or told.exam_sha256
    since = {
        **({"frozen": noted["frozen"]} if "frozen" in noted else {}),
        "frozen_sha256": frozen,
        "added": {**noted.get("added", {}), **_digests(each for each in exam.questions if each.id not in old)},
    }
    result = attrs.evolve(result, frozen_sha256=frozen)
    keep(exam, folder, digest("extended", exam.sha256), since=since)
    write(folder, given, result, digest("extended", exam.sha256))
    return result


def _unread(sitting: Sitting, stored: "Iterable[GivenAnswer]") -> list[ExamQuestion]:
    """The questions that were not looked up yet, or of which a reader was shown other passages than it is now."""
    from text2expert.examiner.results import LOOKUP, READER

    shown: dict[str, dict[str, tuple[str, ...]]] = {LOOKUP: {}, READER: {}}
    for each in stored:
        if each.contestant in shown:
            shown[each.contestant][each.question] = each.passages
    find = None if sitting.retriever is None else sitting.retriever.find
    return [
        each
        for each in sitting.exam.questions
        if each.row != "general"
        and (
            each.id not in shown[LOOKUP]
            or (find is not None and shown[READER].get(each.id) != tuple(chunk.id for chunk in find(each.question)))
        )
    ]


def _other_k(examiner: "Examiner", stored: "Iterable[GivenAnswer]", receipt: Mapping[str, Any]) -> list[str]:
    """A note, where readers keep the answers that they gave with another number of passages."""
    from text2expert.examiner.results import ORACLE, READER

    old = receipt.get("settings", {}).get("examiner", {}).get("k")
    names = dict.fromkeys(
        each.contestant
        for each in stored
        if each.passages and each.contestant not in {READER, ORACLE, *examiner.contestants}
    )
    if not names or old in (None, examiner.k):
        return []
    note = f"k={examiner.k} holds for what was asked this time and for {READER}"
    return [f"{note}; {', '.join(names)} keep the answers that they gave before, in the run with k={old}."]


def check_keys(examiner: "Examiner", folder: RunFolder) -> None:
    """Look for the keys of the models of *examiner* before any work.

    Who answered or judged in this run before needs none for what is stored; what it is asked anew then fails, and is told.

    Raises:
        AuthenticationFailed: One is missing; the message names the variable.
    """
    from text2expert.examiner import ExamResult

    for name, llm in examiner.llms.items():
        try:
            llm.check()
        except AuthenticationFailed:
            before = from_dict(read_json(folder / EXAM_RESULT), ExamResult)
            judged = before.judge is not None and before.judge.model == llm.name
            if not (judged if name == "judge" else name in before.contestants):
                raise


def receipt_after(
    folder: RunFolder, receipt: Mapping[str, Any], result: "ExamResult", examiner: "Examiner"
) -> dict[str, Any]:
    """The *receipt* of a run that was examined again: costs, digests and verdict as they are now, and what was said of use."""
    settings = receipt.get("settings", {})
    said = {name: value for name in REMEMBERED if (value := getattr(examiner, name)) is not None}
    lines = [line for line in closing(receipt, folder.path).split("\n") if not line.startswith(VERDICT)]
    place = next((place for place, line in enumerate(lines) if line.startswith("Next: ")), len(lines))
    names = dict.fromkeys((*receipt["files"], EXAM, EXAM_ANSWERS, EXAM_RESULT))
    return {
        **receipt,
        **spent(),
        "settings": {**settings, "examiner": {**settings.get("examiner", {}), **said}},
        "exam_frozen_sha256": result.frozen_sha256,
        "counts": {**receipt["counts"], "questions": Counter(each.row for each in kept(folder).questions)},
        "files": {name: sha256 for name in names if (sha256 := folder.sha256(name))},
        "closing": "\n".join([*lines[:place], *verdict_lines(result), *lines[place:]]),
    }


def closing(receipt: Mapping[str, Any], folder: Path) -> str:
    """The last words of a *receipt*, with the paths of *folder* as it is called now: it may have been moved."""
    lines = receipt["closing"].split("\n")
    now = {
        SHOWN: f"{SHOWN}{folder / REPORT}",
        NEXT: f'{NEXT}{shlex.quote(str(folder))} "..."',
        DATASET: f"{DATASET}{folder / GOLD}.",
    }
    return "\n".join(next((new for old, new in now.items() if line.startswith(old)), line) for line in lines)


def verdict_lines(result: "ExamResult") -> list[str]:
    """What a receipt says of the exam."""
    return [] if result.recommendation is None else [f"{VERDICT}{result.recommendation.headline}"]


def spent() -> dict[str, Any]:
    """What the open ledger says was spent in this run folder so far, in US dollars as exact decimal strings."""
    from text2expert import ledger

    book = ledger.opened()
    if book is None or not (everything := book.spent()).calls:
        return {"cost_usd": "0"}
    rent = book.spent("training")
    return {
        "cost_usd": f"{everything.settled:f}",
        "lost_usd_at_most": f"{everything.lost:f}",
        **({"rent_held_usd_at_most": f"{rent.held:f}"} if rent.held else {}),
        "requests": everything.calls - rent.calls,
        **({"machines": rent.calls} if rent.calls else {}),
        **({"rented": rented} if (rented := _rented(book.replies("training"))) else {}),
        "costs": {
            scope: {"settled_usd": f"{part.settled:f}", "lost_usd_at_most": f"{part.lost:f}", "replies": part.replies}
            for scope in ("teacher", "verifier", "training", "exam")
            if (part := book.spent(scope)).calls
        },
    }


def is_toy(receipt: Mapping[str, Any]) -> bool:
    """Whether the run trained the toy."""
    return bool(receipt.get("toy", receipt.get("models", {}).get("base") == TOY))


async def _ask_here(asked: "Sequence[Asked]", folder: RunFolder) -> "dict[str, dict[str, Answer]]":
    """The answers of base and expert on this machine, who -> id of the prompt -> answer; nobody waited for one alone."""
    from text2expert.expert import Expert

    found: dict[str, dict[str, Answer]] = {}
    expert = Expert.load(folder.path) if asked else None
    for who in STAGES if expert is not None else ():
        mine = [each.prompt for each in asked if each.prompt.to == who]
        with expert if who == "expert" else Expert(None, expert.base, expert.revision) as model:  # type: ignore[union-attr]
            answers = await asyncio.gather(*(model.aask(each.question) for each in mine), return_exceptions=True)
        found[who] = {}
        for prompt, answer in zip(mine, answers, strict=True):
            if isinstance(answer, InputError):  # longer than its window
                found[who][prompt.id] = Answer(text="")
            elif isinstance(answer, BaseException):
                raise answer
            else:
                found[who][prompt.id] = attrs.evolve(answer, seconds=None, supported=None)
    return found


def estimates(examiner: "Examiner", folder: Path) -> "dict[str, Estimate]":
    """What the models of *examiner* would take to examine the run in *folder*."""
    from text2expert import examiner as exams
    from text2expert.examiner.judging import NOT_JUDGED

    here = RunFolder.existing(folder)
    chunks = chunks_of(here)
    columns = from_dict(read_json(here / EXAM_RESULT), exams.ExamResult).contestants
    return exams.estimates(
        examiner,
        questions=len(kept(here).questions),
        chunks=len(chunks),
        characters=sum(chunk.char_count for chunk in chunks),
        contestants=len([name for name in columns if name not in {*examiner.contestants, *NOT_JUDGED}]),
    )


def money(folder: RunFolder) -> "Money":
    """What was paid to make the expert and for the machine that was rented for it, and how long it was trained."""
    from text2expert import ledger
    from text2expert.examiner import Money

    book = ledger.opened()
    making = None if book is None else sum((book.spent(scope).total for scope in MAKING), Decimal(0))
    done = _done(folder)
    seconds = done.get("training_seconds")
    return Money(
        making_usd=None if making is None else float(making),
        own_machine=book is not None and not book.spent("training").calls,
        training_seconds=seconds if isinstance(seconds, int | float) and 0 <= seconds < math.inf else None,
        paid_per_hour=None if book is None else _paid_per_hour(book.replies("training")),
        on_gpu="cuda" in str(done.get("device", "")),
    )


def _rented(receipts: Iterable[str]) -> list[dict[str, Any]]:
    """The machines that were rented, by what the ledger keeps of them; not those that never came up."""
    found = []
    for receipt in receipts:
        try:
            said = json.loads(receipt)
            machine = {
                "instance": said["machine"],
                "gpu": said.get("gpu", ""),
                "where": said.get("where", ""),
                "hours": round(max(0.0, said["until"] - said["begun"]) / 3600, 3),
                "usd": said["usd"],
            }
        except (ValueError, KeyError, TypeError, AttributeError):  # no machine of Vast's
            continue
        if machine["instance"] is not None:
            found.append(machine)
    return found


def _paid_per_hour(receipts: Iterable[str]) -> float | None:
    """The price of the machine that was rented last, by what the ledger keeps of it."""
    found = None
    for receipt in receipts:
        try:
            found = float(json.loads(receipt)["usd_per_hour"])
        except (ValueError, KeyError, TypeError):  # no machine of Vast's
            continue
    return found


def _done(folder: RunFolder) -> dict[str, Any]:
    path = folder / "stages" / "train" / "done.json"
    said = read_json(path) if path.is_file() else {}
    return said if isinstance(said, dict) else {}


def write(folder: RunFolder, given: "Iterable[GivenAnswer]", result: "ExamResult", made_from: str) -> None:
    """Write every answer and the result."""
    write_jsonl(folder / EXAM_ANSWERS, given)
    folder.record(EXAM_ANSWERS, made_from)
    files.write_json(folder / EXAM_RESULT, to_dict(result))
