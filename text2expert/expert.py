"""Expert: a trained adapter, asked through a child process that loads it once and lives as long as it is needed."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from text2expert import files
from text2expert.errors import InputError, RunFolderError, RunnerError
from text2expert.records import Answer
from text2expert.runners.local import RECIPES, check_installed, child_environment, tail


class Expert:
    """A trained expert that answers questions.

    The model lives in a child process, which starts with the first question (seconds, to load it), then answers each
    in its own time, and ends with `close`, with the ``with`` block, or with this process.
    """

    def __init__(self, adapter: Path, base: str, revision: str | None = None) -> None:
        self.adapter = adapter
        self.base = base
        self.revision = revision
        self._guard = threading.Lock()
        self._child: _Child | None = None

    @classmethod
    def load(cls, folder: Path | str) -> Self:
        """The expert of a run folder, or of its ``expert/`` folder; also after it was moved.

        Raises:
            RunFolderError: *folder* holds no expert, or the base it was trained on is gone or has been replaced.
            MissingExtraError: torch and its companions are not installed.
        """
        folder = Path(folder)
        adapter = folder if (folder / "adapter_config.json").is_file() else folder / "expert"
        try:
            config = json.loads((adapter / "adapter_config.json").read_bytes())
            recorded = config["base_model_name_or_path"]
        except (OSError, ValueError, KeyError) as error:
            raise RunFolderError(
                f"{folder} holds no expert: give a run folder with expert/ in it, or that folder itself "
                f"(adapter_config.json: {type(error).__name__})"
            ) from error
        check_installed()
        return cls(adapter, _find_base(adapter, recorded, _base_sha256(adapter)), config.get("revision"))

    def ask(self, question: str) -> Answer:
        """The answer to *question*.

        Raises:
            InputError: *question* is not a text, is empty, or is longer than the model can read.
            RunnerError: The model cannot be loaded, or its process ended.
        """
        return self.ask_many([question])[0]

    def ask_many(self, questions: Sequence[str]) -> list[Answer]:
        """The answers to *questions*, in their order; faster than one by one. Errors as in `ask`."""
        return [future.result() for future in self._send(questions)]

    async def aask(self, question: str) -> Answer:
        """`ask` for async code."""
        return (await self.aask_many([question]))[0]

    async def aask_many(self, questions: Sequence[str]) -> list[Answer]:
        """`ask_many` for async code."""
        futures = await asyncio.to_thread(self._send, questions)
        return list(await asyncio.gather(*map(asyncio.wrap_future, futures)))

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
        return f"Expert({str(self.adapter)!r}, base={self.base!r})"

    def _send(self, questions: Sequence[str]) -> "list[Future[Answer]]":
        if isinstance(questions, str):
            raise InputError("ask_many takes a list of questions; for a single one there is ask")
        for number, question in enumerate(questions, 1):
            _check(question, "a question" if len(questions) == 1 else f"question {number} of {len(questions)}")
        with self._guard:
            if self._child is None or not self._child.alive:
                self._child = _Child(self._command(), offline=os.path.isdir(self.base))
            return self._child.send(questions)

    def _command(self) -> list[str]:
        command = [sys.executable, "-u", str(RECIPES / "answer.py"), "--serve"]
        command += ["--base", self.base, "--adapter", str(self.adapter.resolve())]
        return command if self.revision is None else [*command, "--revision", self.revision]


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


def _base_sha256(adapter: Path) -> str | None:
    """What recipes/lora.py recorded of the base; None for an adapter that another tool made, and for large bases."""
    try:
        value = json.loads((adapter / "training_args.json").read_bytes()).get("base_sha256")
    except (OSError, ValueError, AttributeError):
        return None
    return value if isinstance(value, str) else None


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
            future.set_result(Answer(text=answer["text"], confidence=answer["confidence"], seconds=answer["seconds"]))
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
