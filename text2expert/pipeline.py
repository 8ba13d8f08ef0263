"""Pipeline: the order of the steps, their overlap, and what is made again when something changed.

It knows no step's inside: chunks come from a chunker, pairs from whatever has ``ateach``, verdicts from whatever has
``averify``, the adapter from a trainer. What a run folder holds and what is stale is `text2expert.run`'s business.
"""

import asyncio
import hashlib
import json
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

import text2expert
from text2expert import _sync, documents, files
from text2expert._progress import bar, say
from text2expert.errors import InputError, NothingTaughtError
from text2expert.plan import Plan, duration
from text2expert.records import (
    ROW_TITLES,
    Chunk,
    Document,
    ExamQuestion,
    ExamResult,
    ExamRowName,
    GoldRecord,
    QAPair,
    Status,
    Verdict,
    digest,
    read_jsonl,
    to_dict,
    to_line,
    write_jsonl,
)
from text2expert.run import (
    CHUNKS,
    EXAM,
    EXAM_RESULT,
    EXPERT,
    GOLD,
    PAIRS,
    RECEIPT,
    REJECTED,
    SOURCE,
    VERDICTS,
    Run,
    RunFolder,
)
from text2expert.teaching import WINDOW, Judged, SupportsTeach, SupportsVerify, judge, teach_and_judge
from text2expert.trainer import Trainer

if TYPE_CHECKING:
    from text2expert.chunker import Chunker
    from text2expert.golden import Dataset, Gold

Source = str | Path | Document | Sequence[str | Path | Document]
"""Paths are read as files or folders; raw text is ``Document.from_text(...)``."""

HEADLINE_ROWS: tuple[ExamRowName, ...] = ("held_out", "hand_written", "taught")
"""The row of the exam that the closing line quotes: the first of these that has questions."""

QUESTIONS_PER_CHUNK = 5
"""Asked of a teacher that has no setting of its own."""

CHUNKS_PER_SECOND = 100.0
"""That the offline teacher and verifier get through on one core, roughly."""

SAMPLE_CHUNKS = 200
"""A plan teaches at most so many chunks, evenly spread over the text, to estimate what the whole will give."""


# The steps are imported where they are first needed: to import the pipeline must be quick.


def _default_chunker() -> "Chunker":
    from text2expert.chunker import Chunker

    return Chunker()


def _default_teacher() -> SupportsTeach:
    from text2expert.offline import RuleTeacher

    return RuleTeacher()


def _default_verifier() -> SupportsVerify:
    from text2expert.offline import EvidenceVerifier

    return EvidenceVerifier()


@attrs.frozen(kw_only=True)
class Pipeline:
    """From texts to an expert: chunk, teach, verify, gather, train, examine.

    The defaults need no key, no GPU and no network. Every step can be replaced by your own.

    Args:
        chunker: Cuts the text.
        teacher: Anything with `SupportsTeach.ateach`.
        verifier: Anything with `SupportsVerify.averify`; None takes every pair as it comes, marked unverified.
        trainer: Trains the expert; its base model decides what comes out.
        questions_per_chunk: Asked of the teacher for each chunk; None leaves it to the teacher's own setting.
        seed: Decides every draw: exam split, samples, training order.
    """

    chunker: "Chunker" = attrs.field(factory=_default_chunker)
    teacher: SupportsTeach = attrs.field(factory=_default_teacher)
    verifier: SupportsVerify | None = attrs.field(factory=_default_verifier)
    trainer: Trainer = attrs.field(factory=Trainer)
    questions_per_chunk: int | None = attrs.field(default=None)
    seed: int = 0

    @questions_per_chunk.validator
    def _whole_and_positive(self, attribute: "attrs.Attribute[int | None]", value: int | None) -> None:
        if value is not None and (type(value) is not int or value < 1):
            msg = (
                f"{attribute.name} must be a whole number from 1, or None for the teacher's own setting; got {value!r}"
            )
            raise InputError(msg)

    def plan(self, source: Source, *, out: str | Path | None = None) -> Plan:
        """What `run` would do with *source*: sizes, cost, time, and who will see the text. Writes nothing.

        Raises:
            InputError: As in `run`.
        """
        return _sync.run(self._aplan(source, out))

    def run(
        self,
        source: Source | None = None,
        *,
        gold: str | Path | None = None,
        out: str | Path | None = None,
        exam: str | Path | None = None,
        fine_tune: bool = True,
    ) -> Run:
        """Make an expert of *source*, or of a golden dataset; the blocking form of `arun`.

        It works in scripts, under pytest and inside a running event loop (Jupyter) alike. Stopped at any moment, the
        same call goes on where it stopped; with other settings, only what they change is made again.

        Args:
            source: Path or paths of files or folders, or `Document` s. A string is always a path.
            gold: Train on this golden dataset (also one edited by hand, or merged) instead of a text.
            out: The run folder; by default ``expert_model_<name of the first input>`` in the working directory.
            exam: Your own questions (JSONL), asked beside those split from the dataset.
            fine_tune: False stops before training.

        Raises:
            InputError: An argument or a file cannot be used.
            NothingTaughtError: No pair was approved.
            RunFolderError: *out* is something else than a run folder, cannot be written, or is in use.
            RunnerError: Training failed.
            MissingExtraError: torch and its companions are not installed.
        """
        return _sync.run(self.arun(source, gold=gold, out=out, exam=exam, fine_tune=fine_tune))

    async def arun(
        self,
        source: Source | None = None,
        *,
        gold: str | Path | None = None,
        out: str | Path | None = None,
        exam: str | Path | None = None,
        fine_tune: bool = True,
    ) -> Run:
        """`run` for async code: same arguments, same result, same errors."""
        from text2expert import examiner, golden

        if (source is None) == (gold is None):
            raise InputError("give either a source (text files) or gold= (a golden dataset), and not both")
        if fine_tune:
            self.trainer.check()
        own_questions = examiner.load_exam(exam) if exam is not None else []
        inputs: list[Document] = []
        dataset: Dataset | None = None
        if source is not None:
            inputs = await asyncio.to_thread(documents.scan, source)
            name = _folder_name([document.id for document in inputs])
        else:
            assert gold is not None
            dataset = await asyncio.to_thread(golden.open_dataset, gold, seed=self.seed)
            name = _folder_name([_dataset_name(Path(gold))])
        started = time.monotonic()
        folder = RunFolder.create(Path(out) if out is not None else Path(name))
        with folder.locked():
            # The receipt says "finished": it goes first and comes back last.
            (folder / RECEIPT).unlink(missing_ok=True)
            if dataset is None:
                made = await self._teach_and_gather(inputs, folder, own_questions)
            else:
                made = await _adopt(dataset, folder, own_questions)
            result = await self._train_and_examine(made, folder) if fine_tune else None
            files.write_json(folder / RECEIPT, self._receipt(made, result, folder, time.monotonic() - started))
        run = Run.load(folder.path)
        say(f"\n{run}")
        return run

    async def _aplan(self, source: Source, out: str | Path | None) -> Plan:
        from text2expert import golden
        from text2expert.offline import RuleTeacher

        inputs = await asyncio.to_thread(documents.scan, source)
        chunks = sum(1 for document in inputs for _ in self.chunker.stream(document))
        stride = -(-chunks // SAMPLE_CHUNKS)
        training, pairs = None, 0
        if isinstance(self.teacher, RuleTeacher):  # free, so the sample is really taught
            every = (chunk for document in inputs for chunk in self.chunker.stream(document))
            sample = [chunk for number, chunk in enumerate(every) if number % stride == 0]
            taught, verdicts = await self._teach(sample, len(sample))
            gold = golden.gather(taught, verdicts, status=self._status, seed=self.seed)
            scale = chunks / max(1, len(sample))
            pairs = round(scale * len(gold.records))
            training = self.trainer.estimate(
                records=pairs,
                characters=round(scale * sum(len(each.instruction) + len(each.output) for each in gold.records)),
                facts=max(1, round(scale * gold.counts.facts)),
            )
        return Plan(
            documents=tuple(inputs),
            n_chars=sum(document.n_chars for document in inputs),
            chunks=chunks,
            pairs=pairs,
            estimated=stride > 1,
            training=training,
            usd=0.0,
            seconds=chunks / CHUNKS_PER_SECOND + ((training.seconds or 0.0) if training else 0.0),
            hosts=(),
            folder=str(out or _folder_name([document.id for document in inputs])),
        )

    # -- from text to golden dataset ---------------------------------------------------------------------------------

    async def _teach_and_gather(
        self, inputs: list[Document], folder: RunFolder, own_questions: list[ExamQuestion]
    ) -> "_Made":
        from text2expert import examiner, golden
        from text2expert.golden.split import reseat

        await _keep_sources(inputs, folder)
        chunks_from = _made_from("chunks", [document.text_sha256 for document in inputs], settings(self.chunker))
        if not folder.fresh(CHUNKS, chunks_from):
            await self._write_chunks(inputs, folder)
            folder.record(CHUNKS, chunks_from)
        pairs, verdicts = await self._pairs_and_verdicts(folder)
        gold_from = _made_from("gold", [folder.sha256(PAIRS), folder.sha256(VERDICTS)], [self.seed, self._status])
        gold = await asyncio.to_thread(golden.gather, pairs, verdicts, status=self._status, seed=self.seed)
        if not gold.records:
            raise NothingTaughtError(_nothing_taught(gold, inputs))
        _write_gold(gold, folder, gold_from)
        records = golden.load(folder / GOLD)
        # What was added to the training set by hand is no unseen question any more.
        fair = reseat(gold.exam, records) if folder.edited(GOLD) else gold.exam
        exam, left_out = _exam_of(fair, own_questions, {document.id for document in inputs})
        write_jsonl(folder / EXAM, exam)
        sources = tuple(folder / SOURCE / f"{document.id}.txt" for document in inputs)
        return _Made(
            documents=tuple(inputs),
            records=records,
            exam=exam,
            counts=to_dict(gold.counts),
            share_taught=examiner.share_taught(_texts(sources), records),
            sources=sources,
            notes=left_out,
        )

    async def _write_chunks(self, inputs: list[Document], folder: RunFolder) -> None:
        count = 0
        with (
            bar(sum(document.n_chars for document in inputs), "Chunking", unit="char") as progress,
            files.atomic(folder / CHUNKS) as file,
        ):
            for document in inputs:
                done = 0
                for chunk in self.chunker.stream(document, first=count + 1):
                    file.write(to_line(chunk) + "\n")
                    count += 1
                    progress.update(chunk.end - done)
                    done = chunk.end
                    if count % WINDOW == 0:
                        await asyncio.sleep(0)  # a place where Ctrl-C gets through

    async def _pairs_and_verdicts(self, folder: RunFolder) -> tuple[list[QAPair], list[Verdict]]:
        chunks_sha256 = folder.sha256(CHUNKS)
        pairs_from = _made_from("pairs", [chunks_sha256], [settings(self.teacher), self.questions_per_chunk])
        if not folder.fresh(PAIRS, pairs_from):
            pairs, verdicts = await self._teach(read_jsonl(folder / CHUNKS, Chunk), _lines(folder / CHUNKS))
            write_jsonl(folder / PAIRS, pairs)
            folder.record(PAIRS, pairs_from)
        else:
            pairs, verdicts = list(read_jsonl(folder / PAIRS, QAPair)), []
        verdicts_from = _made_from("verdicts", [folder.sha256(PAIRS), chunks_sha256], settings(self.verifier))
        if folder.fresh(VERDICTS, verdicts_from):
            return pairs, list(read_jsonl(folder / VERDICTS, Verdict))
        if not verdicts:
            verdicts = await judge(pairs, read_jsonl(folder / CHUNKS, Chunk), self.verifier)
        write_jsonl(folder / VERDICTS, verdicts)
        folder.record(VERDICTS, verdicts_from)
        return pairs, verdicts

    async def _teach(self, chunks: Iterable[Chunk], total: int) -> Judged:
        return await teach_and_judge(chunks, total, self.teacher, self.verifier, self._questions_per_chunk)

    @property
    def _questions_per_chunk(self) -> int:
        if self.questions_per_chunk is not None:
            return self.questions_per_chunk
        return int(getattr(self.teacher, "questions_per_chunk", QUESTIONS_PER_CHUNK))

    @property
    def _status(self) -> Status:
        """`GoldRecord.status` of an approved pair."""
        from text2expert.offline import EvidenceVerifier

        if self.verifier is None:
            return "unverified"
        return "evidence" if isinstance(self.verifier, EvidenceVerifier) else "model"

    # -- from golden dataset to expert -------------------------------------------------------------------------------

    async def _train_and_examine(self, made: "_Made", folder: RunFolder) -> ExamResult:
        from text2expert import examiner

        await self.trainer.atrain(folder / GOLD, folder=folder.path, texts=made.sources, exam=made.exam)
        answers = {
            "base": examiner.load_answers(folder / "stages" / "before" / "answers.jsonl"),
            "lookup": examiner.NearestQuestion(made.records).answers(made.exam),
            "expert": examiner.load_answers(folder / "stages" / "after" / "answers.jsonl"),
        }
        notes = [*made.notes, *([examiner.TOY_NOTE] if self.trainer.embedded else [])]
        result = examiner.Examiner().result(made.exam, answers, share_taught=made.share_taught, notes=notes)
        files.write_json(folder / EXAM_RESULT, to_dict(result))
        return result

    def _receipt(self, made: "_Made", result: ExamResult | None, folder: RunFolder, seconds: float) -> dict[str, Any]:
        written = (CHUNKS, PAIRS, VERDICTS, GOLD, REJECTED, EXAM, EXAM_RESULT, f"{EXPERT}/adapter_model.safetensors")
        return {
            "text2expert": text2expert.__version__,
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "documents": [to_dict(document) for document in made.documents],
            "settings": {name: settings(getattr(self, name)) for name in ("chunker", "teacher", "verifier", "trainer")}
            | {"questions_per_chunk": self.questions_per_chunk, "seed": self.seed},
            "models": {
                "teacher": getattr(self.teacher, "name", type(self.teacher).__qualname__),
                "verifier": getattr(self.verifier, "name", type(self.verifier).__qualname__),
                "base": self.trainer.model or "a toy made from the text",
            },
            "counts": {**made.counts, "questions": Counter(question.row for question in made.exam)},
            "share_taught": made.share_taught,
            "cost_usd": "0",
            "seconds": round(seconds, 1),
            "trained": result is not None,
            "files": {name: sha256 for name in written if (sha256 := folder.sha256(name))},
            "closing": self._closing(made, result, folder.path, seconds),
        }

    def _closing(self, made: "_Made", result: ExamResult | None, folder: Path, seconds: float) -> str:
        """What came of the run, and what to do next."""
        items = len({record.item or record.instruction for record in made.records})
        of = "" if made.share_taught is None else f"{100 * made.share_taught:.0f} % of the text is taught, in "
        lines = [f"{of}{len(made.records):,} pairs of {items:,} questions. It cost $0.00 and {duration(seconds)}."]
        if result is None:
            return "\n".join(
                [*lines, f"The golden dataset is {folder / GOLD}. Next: text2expert run --gold {folder / GOLD}"]
            )
        row = next((row for row in HEADLINE_ROWS if result.score(row, "expert")), None)
        if row is not None:
            shares = [
                f"{name} {100 * score.share:.0f} %" for name in result.contestants if (score := result.score(row, name))
            ]
            lines.append(f"On {ROW_TITLES[row]}: {', '.join(shares)}.")
        lines.append(f'Next: text2expert ask {folder} "..."')
        if self.trainer.embedded:
            lines.append(
                "For an expert to rely on, train a real base on a GPU: --base mistralai/Mistral-7B-Instruct-v0.3"
            )
        return "\n".join(lines)


@attrs.frozen(kw_only=True)
class _Made:
    """What the first half of a run hands to the second."""

    documents: tuple[Document, ...]
    records: list[GoldRecord]
    exam: list[ExamQuestion]
    counts: dict[str, Any]
    share_taught: float | None
    sources: tuple[Path, ...]
    notes: tuple[str, ...] = ()


def settings(step: Any) -> dict[str, Any]:
    """What distinguishes one configuration of a step from another, as JSON values: its class and its public fields."""
    fields = (
        attrs.asdict(step, recurse=False) if attrs.has(type(step)) else vars(step) if hasattr(step, "__dict__") else {}
    )
    plain = {name: value for name, value in fields.items() if _is_plain(value) and not name.startswith("_")}
    return {"class": f"{type(step).__module__}.{type(step).__qualname__}", **plain}


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float | bool)


def _made_from(step: str, inputs: Sequence[Any], configuration: Any) -> str:
    return digest(step, text2expert.__version__, json.dumps([list(inputs), configuration], sort_keys=True))


def _folder_name(ids: list[str]) -> str:
    more = f"_and_{len(ids) - 1}_more" if len(ids) > 1 else ""
    return f"expert_model_{files.safe_name(ids[0])}{more}"


async def _keep_sources(inputs: list[Document], folder: RunFolder) -> None:
    """The source texts as they were read: what every offset of the run refers to, whatever becomes of the files."""
    files.make_folder(folder / SOURCE)
    wanted = {f"{document.id}.txt": document for document in inputs}
    for stale in (folder / SOURCE).iterdir():
        if stale.name not in wanted:
            stale.unlink()
    for name, document in wanted.items():
        if folder.sha256(f"{SOURCE}/{name}") != document.text_sha256:
            with files.atomic(folder / SOURCE / name) as file:
                for block in documents.blocks(document):
                    file.write(block)
                    await asyncio.sleep(0)


def _texts(sources: Iterable[Path]) -> dict[str, str]:
    return {path.stem: path.read_text("utf-8") for path in sources}


def _write_gold(gold: "Gold", folder: RunFolder, made_from: str) -> None:
    """Write the dataset, unless somebody edited it by hand since it was made from just this."""
    lines = "".join(to_line(record) + "\n" for record in gold.records)
    if folder.sha256(GOLD) != hashlib.sha256(lines.encode()).hexdigest():
        if folder.edited(GOLD) and folder.made_from(GOLD) == made_from:
            say(f"{folder / GOLD} was edited by hand: training on it as it is")
            return
        if folder.edited(GOLD):
            kept = folder / "golden_dataset.edited.jsonl"
            (folder / GOLD).replace(kept)
            say(f"{folder / GOLD} was edited by hand and is made anew, since text or settings changed; yours is {kept}")
        files.write_text(folder / GOLD, lines)
    write_jsonl(folder / REJECTED, gold.rejected)
    folder.record(GOLD, made_from)


def _lines(path: Path) -> int:
    with open(path, "rb") as file:
        return sum(1 for _ in file)


def _dataset_name(gold: Path) -> str:
    """A name for what is trained on *gold*: a dataset in its run folder is called as the folder is."""
    folder = gold if gold.is_dir() else gold.parent
    if gold.is_dir() or gold.name == GOLD:
        return f"{folder.resolve().name.removeprefix('expert_model_')}_again"
    return gold.stem


def _exam_of(
    split: Iterable[ExamQuestion], own: Iterable[ExamQuestion], ids: set[str]
) -> tuple[list[ExamQuestion], tuple[str, ...]]:
    """The run's own questions and the user's about the documents *ids*, and what is left out."""
    own = list(own)
    fitting = [question for question in own if question.document in {"", *ids}]
    left_out = len(own) - len(fitting)
    notes = (f"{_count(left_out, 'question')} of your exam are about other documents and were not asked.",)
    return [*split, *fitting], notes if left_out else ()


def _nothing_taught(gold: "Gold", inputs: Sequence[Document]) -> str:
    names = ", ".join(document.path or document.id for document in inputs[:3]) + (", ..." if len(inputs) > 3 else "")
    advice = (
        "a text of rules, limits, definitions or steps is needed (see text2expert/samples), "
        "or a teacher that reads prose: Pipeline(teacher=...)"
    )
    if gold.counts.parsed:
        reasons = sorted({rejected.reason for rejected in gold.rejected})
        return f"{names}: none of the {gold.counts.parsed:,} pairs was approved ({reasons[0]}, ...); {advice}"
    return f"{names}: nothing was found that can be asked; {advice}"


async def _adopt(dataset: "Dataset", folder: RunFolder, own_questions: list[ExamQuestion]) -> _Made:
    """Put a golden dataset that is there already, and what lies beside it, into the run folder."""
    from text2expert import examiner

    files.make_folder(folder / SOURCE)
    texts = {path.name: path.read_text("utf-8") for path in dataset.sources} or _own_texts(dataset.records)
    for stale in (folder / SOURCE).iterdir():
        if stale.name not in texts:
            stale.unlink()
    for name, text in texts.items():
        files.write_text(folder / SOURCE / name, text)
    for name in (PAIRS, VERDICTS, REJECTED, CHUNKS):
        if not (name == CHUNKS and dataset.chunks is not None):
            (folder / name).unlink(missing_ok=True)
    if dataset.chunks is not None:
        files.write_text(folder / CHUNKS, dataset.chunks.read_text("utf-8"))
    sources = tuple(folder / SOURCE / name for name in texts)
    ids = {path.stem for path in dataset.sources} | {record.document for record in dataset.records}
    exam, left_out = _exam_of(dataset.exam, own_questions, ids)
    write_jsonl(folder / GOLD, dataset.records)
    folder.record(GOLD, _made_from("adopted", [folder.sha256(GOLD)], None))
    write_jsonl(folder / EXAM, exam)
    for note in dataset.notes:
        say(note)
    return _Made(
        documents=(),
        records=list(dataset.records),
        exam=exam,
        counts={"gold": len(dataset.records)},
        share_taught=examiner.share_taught(_texts(sources), dataset.records) if dataset.sources else None,
        sources=sources,
        notes=(*dataset.notes, *left_out),
    )


def _own_texts(records: Iterable[GoldRecord]) -> dict[str, str]:
    """What a bare dataset quotes of its sources: the toy base is made from it."""
    quotes = dict.fromkeys(span.text for record in records for span in record.evidence)
    return {"quotes.txt": "\n\n".join(quotes) + "\n"} if quotes else {}


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
