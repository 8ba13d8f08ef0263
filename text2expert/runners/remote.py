"""A job on another machine: carried there, started so that it outlives the connection, followed, and fetched.

A connection that is lost, and a process here that is killed, change nothing there: whoever comes back goes on with what
runs, or with the last checkpoint.
"""

import asyncio
import contextlib
import json
import os
import shutil
import signal
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Final

from text2expert import files
from text2expert._progress import say
from text2expert.errors import RunnerError
from text2expert.records import Job, Stage
from text2expert.runners import receiving
from text2expert.runners.local import RECIPES, ProgressBar, failure, is_done, printable, tail
from text2expert.runners.machine import ARRIVING, BLOCK, MOST_WORDS, Remote, Seen

LARGEST_NUMBER: Final = 10**12
"""Of steps, tokens and seconds; NaN and infinity are no numbers here."""

LONGEST_SAID: Final = 500
"""Characters of what a stage says while it runs."""

LAST_WORDS: Final = 20_000
"""Bytes of the end of a log that is longer than that."""

POLL_SECONDS: Final = 1.0
"""How often a stage that runs elsewhere is looked at."""


class Mirror:
    """A file that grows there, followed here: printable text, whole lines, and never more than `MOST_WORDS`."""

    def __init__(self, remote: Remote, name: str, here: Path, keep: Callable[[str], str | None]) -> None:
        self._remote = remote
        self._name = name
        self._here = here
        self._keep = keep
        self._read = 0
        self._rest = b""
        here.write_bytes(b"")

    async def update(self, size: int) -> None:
        """Append what is new in whole lines, of the *size* bytes that the machine says there are."""
        until = min(size, MOST_WORDS)
        while self._read < until and (block := await self._block(until)):
            *lines, self._rest = (self._rest + block).split(b"\n")
            self._append(lines)

    async def _block(self, until: int) -> bytes:
        block = await self._remote.read(self._name, self._read, min(BLOCK, until - self._read))
        self._read += len(block)
        return block

    async def finish(self, size: int) -> None:
        """Append the rest of a file that grows no more; of one that is too long, its last words."""
        await self.update(size)
        if size > self._read:
            self._read = max(self._read, size - LAST_WORDS)
            self._append([self._rest, b"(and so on)"])
            self._rest = await self._block(size)
        self._append(self._rest.removesuffix(b"\n").split(b"\n") if self._rest else [])
        self._rest = b""

    def _append(self, lines: list[bytes]) -> None:
        kept = [self._keep(line.decode("utf-8", "replace")) for line in lines]
        try:
            with open(self._here, "a", encoding="utf-8") as file:
                file.writelines(f"{line}\n" for line in kept if line is not None)
        except OSError as error:
            raise files.cannot_write(self._here, error) from error


class Work:
    """The stages of a job, run one after another in a remote folder.

    Args:
        remote: Where.
        job: What.
        hub_token: For a gated base; goes there by the input of a shell, and only when it is given.
    """

    def __init__(self, remote: Remote, job: Job, *, hub_token: str = "") -> None:
        self.remote = remote
        self.job = job
        self.folder = Path(job.folder)
        self._hub_token = hub_token
        self._refused: set[str] = set()

    @property
    def waiting(self) -> list[Stage]:
        """Stages without a result here."""
        return [stage for stage in self.job.stages if not is_done(self.folder, stage)]

    async def run(self) -> None:
        """Run what is waiting; each stage's results are here when the next one starts.

        Raises:
            RunnerError: A stage failed, or what came back is not what may come back.
        """
        waiting = self.waiting
        if not waiting:
            return
        for left in self.folder.glob(f"{ARRIVING}*"):
            shutil.rmtree(left, ignore_errors=True)
        running = await self._running(waiting)
        await self.remote.send(cargo(self.job, waiting))
        for stage in waiting:
            if stage not in running and not await self._is_done_there(stage):
                await self.remote.start(stage, hub_token=self._hub_token)
            await self._follow(stage)
            await self._collect(stage)

    async def keep(self) -> None:
        """Bring home the newest checkpoint of whatever runs there, so that the next machine goes on from it."""
        self._refused.clear()  # what a lost line has prevented is worth another try
        for stage in self.waiting:
            await self._keep_checkpoint(stage, await self.remote.look(stage))

    async def stop(self) -> None:
        """End whatever of the job runs there."""
        for stage in self.waiting:
            await self.remote.stop(stage)

    async def _running(self, waiting: list[Stage]) -> list[Stage]:
        """Those of the *waiting* stages that run there already; what is there of other settings is ended and removed."""
        names = {f"stages/{stage.name}/job.json": stage for stage in waiting}
        there = await self.remote.hashes(names)
        running = []
        for name, stage in names.items():
            if name not in there:
                continue
            if there[name][1] != files.sha256_file(self.folder / name):
                await self.remote.clear(stage)
            elif (await self.remote.look(stage)).how == "alive":
                running.append(stage)
        return running

    async def _is_done_there(self, stage: Stage) -> bool:
        done = await self.remote.read(f"stages/{stage.name}/done.json", 0)
        with contextlib.suppress(ValueError, AttributeError, RecursionError):
            settings = files.sha256_file(self.folder / "stages" / stage.name / "job.json")
            return bool(json.loads(done).get("job_sha256") == settings)
        return False

    async def _follow(self, stage: Stage) -> None:
        """Show how the stage goes until it has ended; a connection that is lost meanwhile is made again."""
        place = self.folder / "stages" / stage.name
        log = Mirror(self.remote, f"stages/{stage.name}/log.txt", place / "log.txt", printable)
        progress = Mirror(self.remote, f"stages/{stage.name}/progress.jsonl", place / "progress.jsonl", progress_line)
        with ProgressBar(stage.name, place / "progress.jsonl") as shown:
            while (seen := await self.remote.look(stage)).how == "alive":
                await progress.update(seen.progress)
                await log.update(seen.log)
                shown.update()
                await self._keep_checkpoint(stage, seen)
                await asyncio.sleep(POLL_SECONDS)
            await progress.finish(seen.progress)
            await log.finish(seen.log)
            shown.update()
        if seen.how not in {"exit 0", ""}:
            code = -signal.SIGKILL if seen.how == "gone" else int(seen.how.removeprefix("exit "))
            if code - 128 in set(signal.Signals):  # as a shell tells a signal
                code = 128 - code
            raise RunnerError(f"on {self.remote.name}, {failure(stage.name, code, place / 'log.txt')}")

    async def _collect(self, stage: Stage) -> None:
        place = f"stages/{stage.name}"
        if not await self._is_done_there(stage):
            raise RunnerError(
                f"stage {stage.name!r} ended on {self.remote.name} without its results ({', '.join(stage.outputs)}); the "
                f"end of its log:\n{tail(self.folder / place / 'log.txt')}"
            )
        await self.remote.fetch(stage.outputs, self.folder, check=partial(_check, trained=self._base(stage)))
        # Last, because it says that all the rest is here.
        await self.remote.fetch([f"{place}/done.json"], self.folder)
        if not is_done(self.folder, stage):
            raise RunnerError(f"{self.remote.name} sent another {place}/done.json than it had a moment ago")
        for old in _checkpoints(self.folder, stage):
            shutil.rmtree(old, ignore_errors=True)

    def _base(self, stage: Stage) -> tuple[str, str | None] | None:
        """The model of the hub that *stage* trains, and its revision; None for a folder, and for a stage without one."""
        settings = json.loads((self.folder / "stages" / stage.name / "job.json").read_bytes())
        base = settings.get("base")
        if not isinstance(base, str) or (self.folder / base).is_dir():
            return None
        return base, settings.get("revision")

    async def _keep_checkpoint(self, stage: Stage, seen: Seen) -> None:
        place = f"stages/{stage.name}"
        name = f"{place}/{seen.checkpoint}"
        if not seen.checkpoint or name in self._refused or (self.folder / name).exists():
            return
        older = _checkpoints(self.folder, stage)
        try:
            await self.remote.fetch([name], self.folder)
        except RunnerError as error:
            self._refused.add(name)  # not to be tried again every second: a newer one will come
            if (await self.remote.look(stage)).checkpoint == seen.checkpoint:  # else a newer one has taken its place
                say(f"{name} was not brought home: {error}")
            return
        for old in older:
            shutil.rmtree(old, ignore_errors=True)


def _check(place: Path, name: str, *, trained: tuple[str, str | None] | None) -> None:
    receiving.check_content(place, name)
    if trained is not None and PurePosixPath(name).name == "adapter_config.json":
        receiving.check_base(place, *trained)


def progress_line(line: str) -> str | None:
    """A line of progress.jsonl as far as it is one: words for whoever waits, or numbers of steps and numbers beside them."""
    try:
        value: Any = json.loads(line)
        if type(value.get("said")) is str:
            return json.dumps({"said": printable(value["said"])[:LONGEST_SAID]})
        done, total = value["done"], value["total"]
        more = {str(k)[:40]: v for k, v in value.items() if type(v) in (int, float) and abs(v) < LARGEST_NUMBER}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    steps = all(type(number) is int and 0 <= number < LARGEST_NUMBER for number in (done, total))
    return json.dumps(more) if steps else None


def cargo(job: Job, waiting: Iterable[Stage]) -> dict[str, Path]:
    """What the *waiting* stages of *job* need on another machine: recipes, settings, inputs, what earlier stages made.

    Raises:
        RunnerError: A file that is to go there is missing here.
    """
    folder = Path(job.folder)
    waiting = list(waiting)
    sources = {f"recipes/{path.name}": path for path in sorted(RECIPES.glob("*.py"))}
    made = {output for stage in waiting for output in stage.outputs}  # there, by the time a later stage reads it
    names = [f"stages/{stage.name}/job.json" for stage in waiting]
    names += [name for stage in waiting for name in stage.inputs if name not in made]
    names += [
        name
        for stage in job.stages
        if stage not in waiting
        for name in (*stage.outputs, f"stages/{stage.name}/done.json")
    ]
    names += [f"stages/{stage.name}/{each.name}" for stage in waiting for each in _checkpoints(folder, stage)[-1:]]
    for name in names:
        found = list(_files(folder, name))
        if not found:
            raise RunnerError(
                f"{folder / name} is missing: it belongs to the job and cannot be sent; run again from the start"
            )
        sources.update(found)
    return sources


def _files(folder: Path, name: str) -> Iterator[tuple[str, Path]]:
    path = folder / name
    if path.is_file():
        yield name, path
    for at, _, found in os.walk(path):
        for each in sorted(found):
            yield (Path(at) / each).relative_to(folder).as_posix(), Path(at) / each


def _checkpoints(folder: Path, stage: Stage) -> list[Path]:
    return sorted(
        each for each in (folder / "stages" / stage.name).glob("checkpoint-*") if not each.name.endswith(".tmp")
    )
