"""Pipeline: the order of the steps, their overlap, and what is made again when something changed.

It knows no step's inside: chunks come from a chunker, pairs from whatever has ``ateach``, verdicts from whatever has
``averify``, the adapter from a trainer. What a run folder holds and what is stale is `text2expert.run`'s business.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

import text2expert
from text2expert import _arguments, _sync, documents, examination, files
from text2expert._progress import bar, say
from text2expert.errors import InputError, NothingTaughtError
from text2expert.materials import adopt, by_hand, conflicts_of, dataset_name, keep_sources, texts_of, write_gold
from text2expert.plan import Plan, Preview
from text2expert.receipt import Made, models_of, notes_of, receipt, settings, teaching
from text2expert.records import (
    Chunk,
    Document,
    ExamQuestion,
    QAPair,
    Status,
    Verdict,
    digest,
    read_jsonl,
    to_dict,
    to_line,
    write_jsonl,
)
from text2expert.run import Run
from text2expert.runfolder import (
    CHUNKS,
    EXAM_RESULT,
    GOLD,
    PAIRS,
    RECEIPT,
    REWRITES,
    SOURCE,
    VERDICTS,
    RunFolder,
)
from text2expert.runners.named import at_hand
from text2expert.teaching import (
    WINDOW,
    Lesson,
    SupportsTeach,
    SupportsVerify,
    Taught,
    judge,
    lessons,
    nothing_taught,
    rewrite,
    teach_and_judge,
)
from text2expert.trainer import CLOUD_BASE, Trainer

if TYPE_CHECKING:
    from text2expert.chunker import Chunker
    from text2expert.examiner import Exam, Examiner, ExamResult
    from text2expert.golden import Dataset

Source = str | Path | Document | Sequence[str | Path | Document]
"""Paths are read as files or folders; raw text is ``Document.from_text(...)``."""

QUESTIONS_PER_CHUNK = 5
"""Asked of a teacher that has no setting of its own."""

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


def _default_examiner() -> "Examiner":
    from text2expert.examiner import Examiner

    return Examiner()


@attrs.frozen(kw_only=True)
class Pipeline:
    """From texts to an expert: chunk, teach, verify, gather, train, examine.

    The defaults need no key, no GPU and no network. Every step can be replaced by your own.

    Args:
        chunker: Cuts the text.
        teacher: Anything with `SupportsTeach.ateach`.
        verifier: Anything with `SupportsVerify.averify`; None takes every pair as it comes, marked unverified.
        trainer: Trains the expert; its base model decides what comes out. The default one has the pipeline's seed.
        examiner: Makes the exam, and grades it.
        questions_per_chunk: Asked of the teacher for each chunk; None leaves it to the teacher's own setting.
        budget: US dollars that all steps together may ever spend in one run folder; None for no limit but theirs.
        include_unverified: Train also on pairs that the verifier did not judge, marked as unverified.
        seed: Decides every draw, the exam split above all.
    """

    seed: int = attrs.field(default=0, validator=_arguments.whole(0))
    chunker: "Chunker" = attrs.field(factory=_default_chunker)
    teacher: SupportsTeach = attrs.field(factory=_default_teacher)
    verifier: SupportsVerify | None = attrs.field(factory=_default_verifier)
    trainer: Trainer = attrs.field(default=attrs.Factory(lambda self: Trainer(seed=self.seed), takes_self=True))
    examiner: "Examiner" = attrs.field(factory=_default_examiner)
    questions_per_chunk: int | None = attrs.field(default=None)
    budget: Decimal | float | None = attrs.field(default=None, validator=_arguments.dollars)
    include_unverified: bool = attrs.field(default=False)

    @chunker.validator
    @teacher.validator
    @verifier.validator
    @trainer.validator
    @examiner.validator
    def _can(self, attribute: "attrs.Attribute[Any]", value: object) -> None:
        method = {
            "chunker": "stream",
            "teacher": "ateach",
            "verifier": "averify",
            "trainer": "atrain",
            "examiner": "amake",
        }[attribute.name]
        optional = attribute.name == "verifier" and value is None
        if not optional and (isinstance(value, type) or not callable(getattr(value, method, None))):
            msg = f"{attribute.name} must be an object with a method {method!r}, got {value!r:.80}"
            if isinstance(value, type) and hasattr(value, method):
                msg += f": did you mean {value.__name__}()?"
            elif isinstance(value, str) and method in {"ateach", "averify"}:
                msg += f": did you mean {attribute.name.title()}({value!r})?"
            raise InputError(msg)

    @include_unverified.validator
    def _yes_or_no(self, attribute: "attrs.Attribute[bool]", value: object) -> None:
        if not isinstance(value, bool):
            raise InputError(f"{attribute.name} must be True or False, got {value!r}")

    @questions_per_chunk.validator
    def _whole_and_positive(self, attribute: "attrs.Attribute[int | None]", value: int | None) -> None:
        if value is not None and (type(value) is not int or value < 1):
            msg = (
                f"{attribute.name} must be a whole number from 1, or None for the teacher's own setting; got {value!r}"
            )
            raise InputError(msg)

    @classmethod
    def cloud(cls, *, budget: Decimal | float | None = None, **steps: Any) -> "Pipeline":
        """DeepSeek teaches, Claude verifies, a 7B instruct model is trained (`text2expert.trainer.CLOUD_BASE`).

        The teacher's model also writes exam questions, apart from what it taught.

        Teacher and verifier need a key (DEEPSEEK_API_KEY, ANTHROPIC_API_KEY) and cost money. Training is done on the CUDA
        GPU of this machine; without one, on an RTX 4090 that is rented from Vast.ai if VAST_API_KEY is set
        (`text2expert.runners.vast.Vast`, within the run's budget). Where there is neither, `run` says so before anything
        is paid; ``fine_tune=False`` stops before training.

        Args:
            budget: US dollars for everything; teacher, verifier and renting share it.
            steps: Any argument of `Pipeline`, instead of the preset's.
        """
        from text2expert.examiner import Examiner
        from text2expert.teacher import Teacher
        from text2expert.verifier import Verifier

        if "trainer" not in steps:
            steps["trainer"] = Trainer(CLOUD_BASE, seed=steps.get("seed", 0), runner=at_hand())
        steps.setdefault("teacher", Teacher())
        steps.setdefault("verifier", Verifier())
        if "examiner" not in steps:
            steps["examiner"] = Examiner(writer=getattr(steps["teacher"], "llm", None))
        return cls(budget=budget, **steps)

    @property
    def questions(self) -> int:
        """Asked of the teacher for each chunk."""
        if self.questions_per_chunk is not None:
            return self.questions_per_chunk
        return int(getattr(self.teacher, "questions_per_chunk", QUESTIONS_PER_CHUNK))

    @property
    def status(self) -> Status:
        """`GoldRecord.status` of an approved pair."""
        from text2expert.offline import EvidenceVerifier

        if self.verifier is None:
            return "unverified"
        return "evidence" if isinstance(self.verifier, EvidenceVerifier) else "model"

    def plan(self, source: Source, *, out: str | Path | None = None) -> Plan:
        """What `run` would do with *source*: sizes, cost, time, and who will see the text. Writes and spends nothing.

        Raises:
            InputError: As in `run`.
        """
        return _sync.run(self._aplan(source, out))

    def preview(self, source: Source, *, n: int = 3, out: str | Path | None = None) -> Preview:
        """Teach and judge *n* passages of *source*, those that `run` would begin with, and show what came of them.

        What it costs (a few cents) stands in the run folder's ledger: `run` with the same settings does not pay for it
        again. The plan that comes with it goes by these replies instead of by what is usual.

        Raises:
            InputError: *n* is no whole number from 1; otherwise as in `run`.
        """
        return _sync.run(self.apreview(source, n=n, out=out))

    async def apreview(self, source: Source, *, n: int = 3, out: str | Path | None = None) -> Preview:
        """`preview` for async code."""
        from text2expert import planning

        if type(n) is not int or n < 1:
            raise InputError(f"n must be a whole number of passages from 1, got {n!r}")
        inputs, place = await self._inputs(source, out)
        if planning.is_free(self.teacher) and planning.is_free(self.verifier):
            return await planning.preview(self, inputs, place, n)
        self._check_steps()
        folder = RunFolder.create(place)
        # Whoever looks at a preview waits for it; batches may take a day. The requests are the same ones.
        now = attrs.evolve(self, teacher=_unbatched(self.teacher), verifier=_unbatched(self.verifier))
        with folder.locked(), self._accounts(folder):
            return await planning.preview(now, inputs, place, n, planned=self)

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
            StarvedRunError: Training would cost money and teach next to nothing; what was taught is kept.
            RunFolderError: *out* is something else than a run folder, cannot be written, or is in use.
            RunnerError: Training failed, or its base is a large one and no GPU is here.
            BudgetExhausted: The budget does not cover renting a machine, or ended while it trained; its last checkpoint is
                kept.
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
        from text2expert import examiner, golden, report

        if (source is None) == (gold is None):
            raise InputError("give either a source (text files) or gold= (a golden dataset), and not both")
        if fine_tune:
            self.trainer.check()
        own_questions = examiner.load_exam(exam) if exam is not None else []
        inputs: list[Document] = []
        dataset: Dataset | None = None
        if source is not None:
            inputs, place = await self._inputs(source, out)
            named: dict[str, str | None] | set[str] = {document.id: document.path for document in inputs}
        else:
            assert gold is not None
            dataset = await asyncio.to_thread(golden.open_dataset, gold, seed=self.seed)
            place = Path(out) if out is not None else Path(_folder_name([dataset_name(Path(gold))]))
            named = {record.document for record in dataset.records} - {""}
        if fine_tune and isinstance(self.trainer, Trainer):
            self.trainer.check_documents(named)
        if gold is not None and place.resolve() in (Path(gold).resolve(), Path(gold).resolve().parent):
            msg = (
                f"{gold} lies in the run folder {place} itself: run on its text again, without gold= (--gold), and the "
                "dataset is trained on as it is, edited or not; or choose another folder with out= (--out)"
            )
            raise InputError(msg)
        if dataset is None:
            self._check_judging()
            if not (place / PAIRS).exists():  # what is stored needs no key
                self._check_steps()
        if fine_tune and not (place / EXAM_RESULT).exists():
            self.examiner.check()
        started = time.monotonic()
        folder = RunFolder.create(place)
        with folder.locked(), self._accounts(folder):
            # The receipt says "finished": it goes first and comes back last.
            (folder / RECEIPT).unlink(missing_ok=True)
            if dataset is None:
                made = await self._teach_and_gather(inputs, folder, own_questions, fine_tune=fine_tune)
            else:
                made = await adopt(dataset, gold, folder, own_questions)
            frozen = await self._make_exam(made, folder, fine_tune=fine_tune)
            made = attrs.evolve(made, exam=list(frozen.questions))
            result = await self._train_and_examine(made, frozen, folder) if fine_tune else None
            seconds = time.monotonic() - started
            said = receipt(self, made, result, folder, version=text2expert.__version__, seconds=seconds)
            files.write_json(folder / RECEIPT, said)
            report.attempt(folder.path)
        run = Run.load(folder.path)
        say(f"\n{run}")
        return run

    async def _aplan(self, source: Source, out: str | Path | None) -> Plan:
        from text2expert import planning

        inputs, place = await self._inputs(source, out)
        if isinstance(self.trainer, Trainer):
            self.trainer.check_documents({document.id: document.path for document in inputs})
        return await planning.plan(self, inputs, place)

    async def _inputs(self, source: Source, out: str | Path | None) -> tuple[list[Document], Path]:
        """The documents, and where their run folder is."""
        inputs = await asyncio.to_thread(documents.scan, source)
        _check_ids(inputs)
        return inputs, Path(out) if out is not None else Path(_folder_name([document.id for document in inputs]))

    @contextlib.contextmanager
    def _accounts(self, folder: RunFolder) -> Iterator[None]:
        """The folder's ledger, and the budget of the whole run over those of the steps."""
        from text2expert import ledger

        with ledger.Ledger(folder.path), ledger.budget("", self.budget):
            yield

    def _check_judging(self) -> None:
        """That a verifier that may judge nothing does not let everything be taught, and paid for, in vain."""
        for name in ("sample", "budget"):
            if _is_paid(self.verifier) and getattr(self.verifier, name, None) == 0 and not self.include_unverified:
                raise InputError(
                    f"the verifier's {name} is 0, so nothing would be judged and nothing trained on: raise it "
                    f"(--{name if name == 'sample' else 'verifier-budget'}), or take pairs as they come with "
                    "include_unverified=True (--include-unverified)"
                )

    def _check_steps(self) -> None:
        """Names, keys and prices, before anything is sent."""
        for step in (self.teacher, self.verifier):
            if _is_paid(step):
                step.llm.check()  # type: ignore[union-attr]

    # -- from text to golden dataset ---------------------------------------------------------------------------------

    async def _teach_and_gather(
        self, inputs: list[Document], folder: RunFolder, own_questions: list[ExamQuestion], *, fine_tune: bool
    ) -> Made:
        from text2expert import examiner, golden
        from text2expert.golden.split import reseat

        await keep_sources(inputs, folder)
        chunks_from = _made_from("chunks", [document.text_sha256 for document in inputs], settings(self.chunker))
        if not folder.fresh(CHUNKS, chunks_from):
            await self._write_chunks(inputs, folder)
            folder.record(CHUNKS, chunks_from)
        taught = await self._pairs_and_verdicts(folder, inputs if fine_tune else None)
        gold_from = _made_from(
            "gold", [folder.sha256(PAIRS), folder.sha256(VERDICTS)], [self.seed, self.status, self.include_unverified]
        )
        gold = await asyncio.to_thread(
            golden.gather,
            taught.pairs,
            taught.verdicts,
            status=self.status,
            include_unverified=self.include_unverified,
            seed=self.seed,
        )
        if not gold.records:
            per_chunk = sum(document.n_chars for document in inputs) / max(1, _lines(folder / CHUNKS))
            raise NothingTaughtError(
                nothing_taught(gold, taught, inputs, per_chunk, self.teacher.name if _is_paid(self.teacher) else None)  # type: ignore[attr-defined]
            )
        write_gold(gold, folder, gold_from)
        for conflict in (conflicts := conflicts_of(gold)):
            say(conflict)
        records = golden.load(folder / GOLD)
        # What was added to the training set by hand is no unseen question any more.
        fair = reseat(gold.exam, records) if folder.edited(GOLD) else gold.exam
        own, left_out = examination.fitting(own_questions, {document.id for document in inputs})
        sources = tuple(folder / SOURCE / f"{document.id}.txt" for document in inputs)
        return Made(
            documents=tuple(inputs),
            records=records,
            exam=list(fair),
            own=own,
            counts={**to_dict(gold.counts), **by_hand(gold, records)},
            share_taught=examiner.share_taught(texts_of(sources), records),
            sources=sources,
            notes=(*conflicts, *left_out),
            teaching=teaching(self, taught, folder),
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
                progress.update(document.n_chars - done)  # blank lines at the end are in no chunk

    async def _check_rent(self, inputs: list[Document], folder: RunFolder) -> None:
        """That a machine which is rented can be paid for, before teaching or judging is."""
        from text2expert import planning

        if hasattr(getattr(self.trainer, "runner", None), "afford"):
            await planning.check_rent(self.trainer, (await planning.plan(self, inputs, folder.path)).rent)

    async def _pairs_and_verdicts(self, folder: RunFolder, trained: list[Document] | None) -> Taught:
        """What is taught and judged, by now or before; *trained*: the documents, where an expert is trained on them."""
        chunks_sha256 = folder.sha256(CHUNKS)
        pairs_from = _made_from(
            "pairs", [chunks_sha256], [settings(self.teacher), self.questions_per_chunk, self.budget, self.seed]
        )
        taught: Taught | None = None
        if not folder.fresh(PAIRS, pairs_from):
            self._check_steps()
            if trained is not None and (_is_paid(self.teacher) or _is_paid(self.verifier)):
                await self._check_rent(trained, folder)
            taught = await self._teach(folder)
            write_jsonl(folder / PAIRS, taught.pairs)
            folder.record(PAIRS, pairs_from if not taught.failed else _UNFINISHED, **taught.lessons_given())
        await self._rewrite(folder, pairs_from)
        pairs = taught.pairs if taught else list(read_jsonl(folder / PAIRS, QAPair))
        verdicts_from = _made_from(
            "verdicts", [folder.sha256(PAIRS), chunks_sha256], [settings(self.verifier), self.budget]
        )
        if taught is None and folder.fresh(VERDICTS, verdicts_from):
            return Taught(pairs=pairs, verdicts=list(read_jsonl(folder / VERDICTS, Verdict)))
        if taught is None:
            if self.verifier is not None and _is_paid(self.verifier):
                self.verifier.llm.check()  # type: ignore[attr-defined]
                if trained is not None and not (folder / EXAM_RESULT).exists():
                    await self._check_rent(trained, folder)
            needed = {source for pair in pairs for source in pair.sources}
            chunks = {chunk.id: chunk for chunk in read_jsonl(folder / CHUNKS, Chunk) if chunk.id in needed}
            taught = Taught(pairs=pairs, verdicts=await judge(pairs, chunks, self.verifier))
        write_jsonl(folder / VERDICTS, taught.verdicts)
        judged = {verdict.qa_id for verdict in taught.verdicts}
        # What a paid verifier left unjudged, it may judge next time; what it did judge is not paid for again.
        whole = not _is_paid(self.verifier) or all(pair.qa_id in judged for pair in pairs)
        folder.record(VERDICTS, verdicts_from if whole else _UNFINISHED)
        return taught

    async def _teach(self, folder: RunFolder) -> Taught:
        chunks = _lines(folder / CHUNKS)
        plan: Iterable[Lesson] = lessons(read_jsonl(folder / CHUNKS, Chunk), self.teacher, self.seed)
        total = chunks
        if _is_paid(self.teacher):
            plan = list(plan)
            total = len(plan)
        return await teach_and_judge(plan, total, self.teacher, self.verifier, self.questions)

    async def _rewrite(self, folder: RunFolder, made_from: str) -> None:
        if getattr(self.teacher, "rewrites", 0) < 1:
            (folder / REWRITES).unlink(missing_ok=True)
        elif not folder.fresh(REWRITES, made_from):
            made, whole = await rewrite(read_jsonl(folder / CHUNKS, Chunk), _lines(folder / CHUNKS), self.teacher)
            files.write_text(folder / REWRITES, "".join(json.dumps(each, ensure_ascii=False) + "\n" for each in made))
            folder.record(REWRITES, made_from if whole else _UNFINISHED)

    # -- from golden dataset to expert -------------------------------------------------------------------------------

    async def _make_exam(self, made: Made, folder: RunFolder, *, fine_tune: bool) -> "Exam":
        """The exam, written before anything is trained."""
        # What is asked in vain can only be known where the text is there; an exam that nobody sits is not written for money.
        texts = () if made.share_taught is None else made.sources
        return await examination.make(
            self.examiner if fine_tune else attrs.evolve(self.examiner, writer=None),
            folder,
            split=made.exam,
            own=made.own,
            records=made.records,
            texts=texts,
            embedded=self.trainer.embedded,
            seed=self.seed,
            configuration=[text2expert.__version__, settings(self.examiner.writer), self.budget],
        )

    async def _train_and_examine(self, made: Made, exam: "Exam", folder: RunFolder) -> "ExamResult":
        texts = self._texts(made, folder)
        if isinstance(self.trainer, Trainer):
            self.trainer.check_fed(folder / GOLD, texts=texts, coverage=made.share_taught)
        sitting = examination.Sitting.of(self.examiner, exam, folder, embedded=self.trainer.embedded)
        # A trainer of somebody's own asks the bare questions.
        prompts = {"prompts": sitting.prompts} if isinstance(self.trainer, Trainer) else {}
        await self.trainer.atrain(folder / GOLD, folder=folder.path, texts=texts, exam=exam.questions, **prompts)
        return await examination.conclude(
            self.examiner,
            sitting,
            folder,
            made.records,
            share_taught=made.share_taught,
            notes=notes_of(self, made),
            models=models_of(self, made),
            toy=self.trainer.embedded,
        )

    def _texts(self, made: Made, folder: RunFolder) -> tuple[Path, ...]:
        """What the trainer is given of the text: the whole of it for the toy, passages and rewrites for other bases."""
        if self.trainer.embedded:
            return made.sources
        passages = [folder / name for name in (CHUNKS, REWRITES) if (folder / name).is_file()]
        # Of a dataset that came without its text there are the quotes in it: enough to make a toy of, and not the text,
        # so that what is missing in them may well be answered in it.
        only_quotes = made.dataset is not None and made.share_taught is None
        return tuple(passages) if passages or only_quotes else made.sources


_UNFINISHED = "unfinished"
"""Recorded for a file that is whole as a file but that another run may add to: it is made again, at no cost."""


def _is_paid(step: object) -> bool:
    # Somebody's own step may well have an `llm` that is none of ours.
    return callable(getattr(getattr(step, "llm", None), "check", None))


def _unbatched(step: Any) -> Any:
    if not _is_paid(step) or not getattr(step.llm, "batch", False):
        return step
    return attrs.evolve(step, llm=attrs.evolve(step.llm, batch=False))


def _made_from(step: str, inputs: Sequence[Any], configuration: Any) -> str:
    """The digest of what a file is made from: a *step* of this version, its *inputs* and its *configuration*."""
    return digest(step, text2expert.__version__, json.dumps([list(inputs), configuration], sort_keys=True))


def _check_ids(inputs: Iterable[Document]) -> None:
    """Ids become file names; those of files are safe, those of documents made by hand may not be."""
    for document in inputs:
        if document.id != files.safe_name(document.id):
            msg = f"document id {document.id!r} cannot be a file name: call it {files.safe_name(document.id)!r}, say"
            raise InputError(msg)


def _folder_name(ids: list[str]) -> str:
    more = f"_and_{len(ids) - 1}_more" if len(ids) > 1 else ""
    return f"expert_model_{files.safe_name(ids[0])}{more}"


def _lines(path: Path) -> int:
    with open(path, "rb") as file:
        return sum(1 for _ in file)
