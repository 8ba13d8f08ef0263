"""Expert: a trained adapter, asked through a child process that loads it once and lives as long as it is needed."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import attrs

from text2expert import files
from text2expert._progress import bar, say
from text2expert.confidence import ExamConfidences
from text2expert.errors import InputError, RunFolderError, RunnerError
from text2expert.records import (
    Answer,
    Chunk,
    Disagreement,
    ExamQuestion,
    ExamRowName,
    GoldRecord,
    Merged,
    fraction,
    read_jsonl,
)
from text2expert.runners.local import LEASH, RECIPES, check_installed, child_environment, tail
from text2expert.support import Passages

EXAM, GOLD, CHUNKS, RECEIPT = "exam.jsonl", "golden_dataset.jsonl", "chunks.jsonl", "run.json"

UNKNOWN = "I do not know."
"""What is said instead of an answer that is less sure than was asked for; see ``Answer.withheld``."""

MERGED = "merged.json"
"""What recipes/merge.py writes into the folder of a merged model, beside its weights."""

QUESTIONS = 200
"""Asked of an adapter and of what it was merged into, to compare, where no others are given."""

TAUGHT: tuple[ExamRowName, ...] = ("taught", "held_out", "new_template")
"""Rows of the exam that ask for facts of the golden dataset, in trained or in other words."""

MAY_DIFFER = 0.05
"""Share of these answers that rounding may change; a merge that is wrong changes nearly all of them.

Measured on the toy expert of a handbook: none of 100 in trained wordings, 3 of 200 in others, and 13 of 159 on what it
was never taught, all of which it was unsure of.
"""

MAY_SHIFT = 0.05
"""How far confidences may move on average. Rounding moves them by thousandths; an adapter merged at another scale may
give the same answers and is as sure of them as chance will have it."""

UNFINISHED = ".merging"
"""How the name of a folder ends in which a merge is under way; it begins with a dot."""

SHOWN = 5
"""Differing answers that an error spells out."""


class Expert:
    """A trained expert that answers questions.

    The model lives in a child process, which starts with the first question (seconds, to load it), then answers each
    in its own time, and ends with `close`, with the ``with`` block, or with this process.
    """

    def __init__(
        self,
        adapter: Path | None,
        base: str,
        revision: str | None = None,
        *,
        quantise: bool = True,
        min_confidence: float | None = None,
    ) -> None:
        self.adapter = adapter
        """None: the base itself is the expert, a merged model."""
        self.base = base
        self.revision = revision
        self.quantise = quantise
        """Whether the base may be held in 4 bits where a GPU's memory is short; else it is asked on the CPU there."""
        self.min_confidence = _checked(min_confidence)
        """Answers that are less sure are withheld; None: none is."""
        self._passages = Passages(adapter.absolute().parent / CHUNKS) if adapter is not None else None
        self._exam = ExamConfidences(adapter.absolute().parent) if adapter is not None else None
        self._guard = threading.Lock()
        self._child: _Child | None = None

    @classmethod
    def load(cls, folder: Path | str, min_confidence: float | None = None) -> Self:
        """The expert of a run folder, of its ``expert/`` folder, or of a merged model's; also after it was moved.

        Args:
            folder: The folder.
            min_confidence: Answers less sure than this (0 to 1) are withheld, where a question does not say otherwise.
                None: none is. `text2expert.examiner.calibration` suggests one from an exam's answers.

        Raises:
            InputError: *min_confidence* is no number from 0 to 1.
            RunFolderError: *folder* holds no expert, or the base it was trained on is gone or has been replaced.
            MissingExtraError: torch and its companions are not installed.
        """
        folder = Path(folder)
        if (folder / MERGED).is_file():
            check_installed()
            return cls(None, str(folder.absolute()), min_confidence=min_confidence)
        adapter = folder if (folder / "adapter_config.json").is_file() else folder / "expert"
        try:
            config = json.loads((adapter / "adapter_config.json").read_bytes())
            recorded = config["base_model_name_or_path"]
        except (OSError, ValueError, KeyError) as error:
            if not folder.exists():
                raise RunFolderError(
                    f"{folder} does not exist; give the folder that `text2expert run` made (expert_model_...)"
                ) from error
            if _stopped_before_training(folder):
                raise RunFolderError(
                    f"{folder} holds no expert: it was run with fine_tune=False (--no-fine-tune); run it again without"
                ) from error
            raise RunFolderError(
                f"{folder} holds no expert: give a run folder with expert/ in it, that folder itself, or a merged model "
                f"(adapter_config.json: {type(error).__name__})"
            ) from error
        check_installed()
        base = _find_base(adapter, recorded, _base_sha256(adapter))
        if not os.path.isabs(base):
            # Somebody else's adapter names what it likes: whoever loads it sees that before anything is fetched.
            say(f"The base of this expert is {base}, which is fetched from the Hugging Face hub where it is not here.")
        return cls(adapter, base, config.get("revision"), min_confidence=min_confidence)

    def ask(self, question: str, min_confidence: float | None = None) -> Answer:
        """The answer to *question*, with the passages of the run that support it, looked up after the fact.

        ``Answer.evidence`` are the sentences that do, ``Answer.sources`` the ids of their passages, and `passages` gives the
        texts of these; ``Answer.supported`` is False where a number of the answer stands in none of them. That is no proof
        that an answer is right. Without ``chunks.jsonl`` beside the expert, and for a merged model, there are none.
        ``Answer.as_sure`` says how many of the exam's answers that were about as sure were right.

        Args:
            question: The question.
            min_confidence: Below it (0 to 1) the answer's text becomes `UNKNOWN`, and ``Answer.withheld`` is what it would
                have said. None: as the expert was loaded.

        Raises:
            InputError: *question* is not a text, is empty, or is longer than the model can read; or *min_confidence* is
                no number from 0 to 1.
            RunnerError: The model cannot be loaded, or its process ended.
            RecordError: ``chunks.jsonl``, ``exam.jsonl`` or ``exam_answers.jsonl`` beside the expert is damaged.
        """
        return self.ask_many([question], min_confidence)[0]

    def ask_many(self, questions: Sequence[str], min_confidence: float | None = None) -> list[Answer]:
        """The answers to *questions*, in their order; faster than one by one. Arguments and errors as in `ask`."""
        least = self._least(min_confidence)
        answers = [future.result() for future in self._send(questions)]
        return self._judged(questions, answers, least)

    async def aask(self, question: str, min_confidence: float | None = None) -> Answer:
        """`ask` for async code."""
        return (await self.aask_many([question], min_confidence))[0]

    async def aask_many(self, questions: Sequence[str], min_confidence: float | None = None) -> list[Answer]:
        """`ask_many` for async code."""
        least = self._least(min_confidence)
        futures = await asyncio.to_thread(self._send, questions)
        answers = list(await asyncio.gather(*map(asyncio.wrap_future, futures)))
        return await asyncio.to_thread(self._judged, questions, answers, least)

    def passages(self, answer: Answer) -> tuple[Chunk, ...]:
        """The passages of the run that support *answer*: those of its ``sources``.

        Raises:
            RecordError: ``chunks.jsonl`` beside the expert is damaged.
        """
        return self._passages.chunks(answer.sources) if self._passages is not None else ()

    def merge(self, out: Path | str, questions: Sequence[str] | None = None) -> Merged:
        """Make a full model of adapter and base: a Hugging Face folder in bf16, which needs neither of them.

        Before it appears, a process of its own that loads it is asked the questions, and its answers are compared with
        this expert's. Rounding to bf16 may tip a word that was on the edge: up to `MAY_DIFFER` of the answers may
        differ, and the result names them. Everything happens on this machine, the merge itself on the CPU.

        Args:
            out: The folder to make; it must not exist yet.
            questions: Asked for the comparison. None: up to `QUESTIONS` of the exam and the golden dataset beside the
                expert, those on facts that it was taught.

        Questions of this expert that are under way elsewhere fail: its process ends first, to free its memory.

        Raises:
            InputError: There is no question to compare with, or this is a merged model already.
            RunFolderError: *out* exists, cannot be written, or another process is at work on it.
            RunnerError: The merge failed (no room, for instance), or too many answers differ. Nothing is left of it.
        """
        if self.adapter is None:
            raise InputError(f"{self.base} is a merged model already: there is no adapter to merge")
        asked = _questions(self.adapter, questions)
        self.close()
        with _placed(Path(out).absolute()) as folder, bar(3, "Merging", unit="step") as shown:
            _run_merge([*self._weights(), "--output", str(folder)], offline=os.path.isdir(self.base))
            shown.update()
            experts = (
                type(self)(self.adapter, self.base, self.revision, quantise=False),
                type(self)(None, str(folder), quantise=False),
            )
            answers = []
            for expert in experts:  # one after the other: memory may not hold both
                with expert:
                    answers.append(expert.ask_many(asked))
                shown.update()
            merged = _compare(str(out), asked, *answers)
            facts = json.loads((folder / MERGED).read_bytes())
            files.write_json(folder / MERGED, {**facts, **attrs.asdict(merged, filter=attrs.filters.exclude("path"))})
        return merged

    def close(self) -> None:
        """End the child process; the next question starts another."""
        with self._guard:
            if self._child is not None:
                self._child.close()
                self._child = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Expert({str(self.adapter)!r}, base={self.base!r})" if self.adapter else f"Expert({self.base!r})"

    def _send(self, questions: Sequence[str]) -> "list[Future[Answer]]":
        if isinstance(questions, str):
            raise InputError("ask_many takes a list of questions; for a single one there is ask")
        for number, question in enumerate(questions, 1):
            _check(question, "a question" if len(questions) == 1 else f"question {number} of {len(questions)}")
        with self._guard:
            if self._child is None or not self._child.alive:
                self._child = _Child(self._command(), offline=os.path.isdir(self.base))
            return self._child.send(questions)

    def _least(self, min_confidence: float | None) -> float:
        given = self.min_confidence if min_confidence is None else _checked(min_confidence)
        return given or 0.0

    def _judged(self, questions: Sequence[str], answers: Sequence[Answer], least: float) -> list[Answer]:
        """*answers* with what supports them, those less sure than *least* withheld."""
        judged = []
        for question, given in zip(questions, answers, strict=True):
            peers = self._exam.like(given.confidence or 0.0) if self._exam is not None else None
            answer = attrs.evolve(given, as_sure=peers and (peers.right, peers.n))
            if (answer.confidence or 0.0) < least:
                judged.append(attrs.evolve(answer, text=UNKNOWN, withheld=answer.text))
            elif self._passages is None:
                judged.append(answer)
            else:
                found = self._passages.support(question, answer.text)
                judged.append(
                    attrs.evolve(answer, sources=found.sources, supported=found.supported, evidence=found.evidence)
                )
        return judged

    def _command(self) -> list[str]:
        command = [sys.executable, "-u", str(RECIPES / "answer.py"), "--serve"]
        return [*command, *self._weights(), *([] if self.quantise else ["--no-quantisation"])]

    def _weights(self) -> list[str]:
        """Where the recipes find it."""
        options = ["--base", self.base]
        if self.adapter is not None:
            options += ["--adapter", str(self.adapter.resolve())]
        return options if self.revision is None else [*options, "--revision", self.revision]


def _checked(min_confidence: float | None) -> float | None:
    value: object = min_confidence
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1):
        raise InputError(f"min_confidence={value!r}: give a number from 0 (answer always) to 1, or None")
    return min_confidence


def _check(question: object, name: str) -> None:
    if not isinstance(question, str) or not question.strip():
        raise InputError(f"{name} must be a text that is not empty, got {question!r:.80}")
    try:
        question.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(
            f"{name} is not a text that UTF-8 can write: character {error.start + 1} of {question!r:.80} is a lone "
            "surrogate, as bytes become that are not UTF-8; give it in UTF-8"
        ) from error


def _find_base(adapter: Path, recorded: str, sha256: str | None) -> str:
    """The base that the adapter was trained on.

    Run folders are moved and trained elsewhere, and then another run may lie where this one was. So a base is known by
    its weights (*sha256*), where they were recorded: the one beside the expert comes first, then the recorded path.
    Else the recorded path comes first.
    """
    if not os.path.isabs(recorded):  # a model of the hub
        return recorded
    beside = adapter.resolve().parent / "base"
    places = [beside, Path(recorded)] if sha256 else [Path(recorded), beside]
    there = [place for place in dict.fromkeys(places) if place.is_dir()]
    if not there:
        raise RunFolderError(
            f"the base of the expert in {adapter} is gone: it was {recorded}, and there is none in {beside} either; "
            "move it to one of these places"
        )
    for place in there:
        if sha256 is None or _is_base(place, sha256):
            return str(place)
    raise RunFolderError(
        f"the expert in {adapter} was trained on another base than the one in {' or '.join(map(str, there))} "
        f"(its model.safetensors should have the SHA-256 {sha256}): move the right one to {beside}, or train again"
    )


def _is_base(folder: Path, sha256: str) -> bool:
    try:
        return files.sha256_file(folder / "model.safetensors") == sha256
    except OSError:
        return False


def _stopped_before_training(folder: Path) -> bool:
    """Whether *folder* is that of a run which ended at its golden dataset."""
    with contextlib.suppress(OSError, ValueError):
        receipt = json.loads((folder / RECEIPT).read_bytes())
        return isinstance(receipt, dict) and receipt.get("trained") is False
    return False


def _base_sha256(adapter: Path) -> str | None:
    """What recipes/lora.py recorded of the base; None for an adapter that another tool made, and for large bases."""
    try:
        value = json.loads((adapter / "training_args.json").read_bytes()).get("base_sha256")
    except (OSError, ValueError, AttributeError):
        return None
    return value if isinstance(value, str) else None


def _questions(adapter: Path, given: Sequence[str] | None) -> list[str]:
    """What an adapter and its merged model are asked."""
    if isinstance(given, str):
        raise InputError("merge takes a list of questions, even of a single one")
    asked = _beside(adapter) if given is None else list(given)
    if not asked:
        nothing = f" (there is no {EXAM} or {GOLD} in {adapter.parent})" if given is None else ""
        raise InputError(
            f"merging {adapter} needs questions whose answers are compared{nothing}: give questions=[...], "
            "best some that it was trained on"
        )
    for number, question in enumerate(asked, 1):
        _check(question, f"question {number} of {len(asked)}")
    return asked


def _beside(adapter: Path) -> list[str]:
    """Up to `QUESTIONS` of the exam's and the golden dataset's questions, always the same ones.

    Of the exam those on what was taught: what an expert makes up otherwise, rounding makes up anew.
    """
    folder = adapter.absolute().parent
    asked = []
    if (folder / EXAM).is_file():
        asked += [each.question for each in read_jsonl(folder / EXAM, ExamQuestion) if each.row in TAUGHT]
    if (folder / GOLD).is_file():
        for record in read_jsonl(folder / GOLD, GoldRecord):
            asked.append("\n".join(part for part in (record.instruction, record.input) if part))
    return sorted(set(asked), key=lambda question: fraction(0, question))[:QUESTIONS]


@contextlib.contextmanager
def _placed(out: Path) -> Iterator[Path]:
    """An empty folder beside *out* that becomes it when the block ends, and goes when the block raises.

    Raises:
        RunFolderError: *out* exists, or cannot be made; or another process is about to make it.
    """
    if os.path.lexists(out):
        raise RunFolderError(f"{out} exists already, and nothing is overwritten: choose another folder, or remove it")
    folder = out.with_name(f".{out.name}{UNFINISHED}")
    files.make_folder(folder)
    with files.locked(folder):
        try:
            for entry in folder.iterdir():  # of a merge that was killed
                if entry.name != files.LOCK_NAME:
                    shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
            yield folder
            (folder / files.LOCK_NAME).unlink()
            try:
                folder.rename(out)
            except OSError as error:
                raise files.cannot_write(out, error) from error
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise


def _run_merge(options: list[str], *, offline: bool) -> None:
    """recipes/merge.py, which ends with this process."""
    command = [sys.executable, "-P", str(LEASH), str(RECIPES / "merge.py"), *options]
    with tempfile.NamedTemporaryFile(prefix="text2expert-", suffix=".log") as log:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and recipe
            command, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT,
            env=child_environment(None, offline=offline), start_new_session=True,
        )  # fmt: skip
        with process:
            try:
                code = process.wait()
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
        if code != 0:
            raise RunnerError(
                f"the merge ended with exit code {code}, and nothing is left of it; its last words:\n{tail(Path(log.name))}"
            )


def _compare(path: str, asked: Sequence[str], adapter: Sequence[Answer], merged: Sequence[Answer]) -> Merged:
    """How the answers of the merged model in *path* compare with the adapter's.

    Raises:
        RunnerError: More than `MAY_DIFFER` of them differ, or their confidences by more than `MAY_SHIFT` on average.
    """
    differing = tuple(
        Disagreement(question=question, adapter=mine.text, merged=its.text)
        for question, mine, its in zip(asked, adapter, merged, strict=True)
        if mine.text != its.text
    )
    if len(differing) > MAY_DIFFER * len(asked):
        more = f"\n    and {len(differing) - SHOWN} more" if len(differing) > SHOWN else ""
        raise RunnerError(
            f"the merged model answers {len(differing)} of {len(asked)} questions otherwise than the adapter, more than "
            f"the {MAY_DIFFER:.0%} that rounding may change, so nothing is left of it: serve the adapter on its base "
            "instead, or ask with questions=[...] what it was trained on\n    "
            + "\n    ".join(map(str, differing[:SHOWN]))
            + more
        )
    moved = [abs((mine.confidence or 0.0) - (its.confidence or 0.0)) for mine, its in zip(adapter, merged, strict=True)]
    shift = round(sum(moved) / len(moved), 4)
    if shift > MAY_SHIFT:
        raise RunnerError(
            f"the merged model answers as the adapter does, but its confidence differs by {shift:.2f} on average, more "
            f"than the {MAY_SHIFT} that rounding may change, so nothing is left of it: serve the adapter on its base instead"
        )
    agreed = len(asked) - len(differing)
    return Merged(path=path, asked=len(asked), agreed=agreed, differing=differing, confidence_shift=shift)


class _Child:
    """answer.py --serve: lines of questions in, lines of answers out, each to the future that waits for it."""

    def __init__(self, command: list[str], *, offline: bool) -> None:
        environment = child_environment(None, offline=offline)
        # Its words stay out of the way unless it fails. A file, because nobody would drain a pipe.
        self._log = tempfile.NamedTemporaryFile(prefix="text2expert-", suffix=".log")
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and recipe
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log,
            env=environment, start_new_session=True, encoding="utf-8",
        )  # fmt: skip
        assert self._process.stdin is not None
        self._stdin: IO[str] = self._process.stdin
        self._waiting: dict[int, Future[Answer]] = {}
        self._sent = 0
        self._guard = threading.Lock()
        # Thread and finalizer know the pieces and not this object, so that forgetting the expert ends its process.
        threading.Thread(
            target=_receive, args=(self._process, self._waiting, self._guard, Path(self._log.name)), daemon=True
        ).start()
        self._stop = weakref.finalize(self, _stop, self._process, self._log)

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def send(self, questions: Sequence[str]) -> "list[Future[Answer]]":
        futures: list[Future[Answer]] = []
        with self._guard:
            for question in questions:
                future: Future[Answer] = Future()
                self._waiting[self._sent] = future
                futures.append(future)
                line = json.dumps({"id": self._sent, "question": question.strip()})
                self._sent += 1
                with contextlib.suppress(BrokenPipeError):  # the receiving thread says what became of it
                    self._stdin.write(line + "\n")
            with contextlib.suppress(BrokenPipeError):
                self._stdin.flush()
        return futures

    def close(self) -> None:
        self._stop()


def _receive(
    process: "subprocess.Popen[str]", waiting: "dict[int, Future[Answer]]", guard: threading.Lock, log: Path
) -> None:
    """Hand each answer to the future that waits for it, and the process's end to those that are left."""
    assert process.stdout is not None
    for line in process.stdout:
        answer: dict[str, Any] = json.loads(line)
        if "id" not in answer:  # its greeting
            continue
        with guard:
            future = waiting.pop(answer["id"])
        if not future.set_running_or_notify_cancel():
            continue
        if "error" in answer:  # with this question; the others have their answers
            future.set_exception(InputError(answer["error"]))
        else:
            del answer["id"]
            future.set_result(Answer(**answer))
    words = tail(log)
    code = process.wait()
    process.stdout.close()
    with guard:
        left = list(waiting.values())
        waiting.clear()
    for future in left:
        if future.set_running_or_notify_cancel():
            future.set_exception(
                RunnerError(f"the expert's process ended with exit code {code}; its last words:\n{words}")
            )


def _stop(process: "subprocess.Popen[str]", log: IO[bytes]) -> None:
    """End it at once: it has nothing to save."""
    process.kill()
    process.wait()
    with contextlib.suppress(OSError):
        process.stdin.close()  # type: ignore[union-attr]
    log.close()
