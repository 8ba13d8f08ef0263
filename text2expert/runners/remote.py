"""A job in a folder on another machine: carried there, started so that it outlives the connection, followed, fetched.

Every operation may be repeated, so that a lost connection is made again and the work goes on where it was. The other
machine is trusted with what is sent to it and with nothing else: what comes back goes through `receiving`, and its words
are made printable before anyone sees them.
"""

import asyncio
import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final, TypeVar

from text2expert import files
from text2expert._progress import bar
from text2expert.errors import RunnerError
from text2expert.records import Job, Stage
from text2expert.runners import receiving
from text2expert.runners.local import RECIPES, is_done, tail
from text2expert.runners.local import _Bar as ProgressBar
from text2expert.runners.local import _failure as failure

if TYPE_CHECKING:
    import asyncssh

T = TypeVar("T")

BLOCK: Final = 4 << 20
"""Bytes asked for at a time; the SSH library has many requests of it under way."""

MOST_WORDS: Final = 16 << 20
"""Bytes of output of one command, and of a stage's log, that are read; a stranger could go on for ever."""

POLL_SECONDS: Final = 1.0
"""How often a stage that runs elsewhere is looked at."""

_HASHES: Final = """
import hashlib, json, os, sys
found = {}
for name in json.load(sys.stdin):
    places = [name] if os.path.isfile(name) else sorted(
        os.path.join(at, each) for at, _, names in os.walk(name) for each in names
    )
    for place in places:
        if os.path.isfile(place) and not os.path.islink(place):
            with open(place, "rb") as file:
                found[place.replace(os.sep, "/")] = [os.path.getsize(place), hashlib.file_digest(file, "sha256").hexdigest()]
print(json.dumps(found))
"""
"""Run by the other machine's Python in the job's folder: sizes and SHA-256 of the files under the names on its input."""

_START: Final = """
cd {folder} || exit 90
mkdir -p {place} || exit 91
mkdir {place}/started-{token} 2>/dev/null || exit 0
IFS= read -r line; [ -z "$line" ] || export HF_TOKEN="$line"
rm -f {place}/exit {place}/pid {place}/progress.jsonl
setsid nohup sh -c {inner} </dev/null >/dev/null 2>&1 &
for _ in 1 2 3 4 5 6 7 8 9 10; do [ -s {place}/pid ] && exit 0; sleep 1; done
exit 92
"""
"""Starts a stage in a session of its own. The token makes sure that a start whose answer was lost is not done twice."""

_LOOK: Final = """
cd {folder} 2>/dev/null || exit 0
[ -s {place}/exit ] && printf 'exit %s\\n' "$(cat {place}/exit)" && exit 0
[ -s {place}/pid ] && kill -s 0 -- -"$(cat {place}/pid)" 2>/dev/null && echo alive && exit 0
[ -s {place}/exit ] && printf 'exit %s\\n' "$(cat {place}/exit)" && exit 0
[ -e {place}/pid ] && echo gone
exit 0
"""

_STOP: Final = """
cd {folder} 2>/dev/null || exit 0
[ -s {place}/pid ] || exit 0
kill -s TERM -- -"$(cat {place}/pid)" 2>/dev/null || exit 0
for _ in 1 2 3 4 5; do kill -s 0 -- -"$(cat {place}/pid)" 2>/dev/null || exit 0; sleep 1; done
kill -s KILL -- -"$(cat {place}/pid)" 2>/dev/null
exit 0
"""


class Remote:
    """A folder on another machine, and whatever connection leads there just now.

    Args:
        connect: Makes a connection; called again when one is lost.
        folder: The job's folder there, relative to the home directory or absolute; made when it is missing.
        python: The interpreter there.
        patience: Seconds for which a lost connection is tried again before the work is given up.
        name: What the machine is called in messages.
    """

    def __init__(
        self,
        connect: "Callable[[], Awaitable[asyncssh.SSHClientConnection]]",
        folder: str,
        *,
        python: str = "python3",
        patience: float = 600.0,
        name: str = "the machine",
    ) -> None:
        self.folder = folder
        self.python = python
        self.name = name
        self._connect = connect
        self._patience = patience
        self._connection: asyncssh.SSHClientConnection | None = None
        self._guard = asyncio.Lock()

    # -- the connection ----------------------------------------------------------------------------------------------

    async def close(self) -> None:
        """Let the connection go; what runs there goes on."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
            with contextlib.suppress(Exception):
                await asyncio.wait_for(connection.wait_closed(), 5)

    async def _do(self, work: "Callable[[asyncssh.SSHClientConnection], Awaitable[T]]") -> T:
        """*work* over a living connection, again from its beginning when that is lost under it."""
        import asyncssh  # noqa: PLC0415 - of an extra

        lost = (OSError, asyncssh.DisconnectError, asyncssh.ChannelOpenError, asyncssh.SFTPConnectionLost, EOFError)
        until = time.monotonic() + self._patience
        pause = 0.5
        while True:
            try:
                async with self._guard:
                    if self._connection is None or self._connection.is_closed():
                        self._connection = await self._connect()
                    connection = self._connection
                return await work(connection)
            except asyncssh.HostKeyNotVerifiable:
                raise
            except lost as error:
                await self.close()
                if time.monotonic() + pause > until:
                    raise RunnerError(
                        f"the connection to {self.name} is lost and did not come back within {self._patience:.0f} s "
                        f"({type(error).__name__}: {error!s:.200}); run again to go on"
                    ) from error
                await asyncio.sleep(pause)
                pause = min(15.0, pause * 2)

    async def command(self, script: str, words: str = "", *, seconds: float = 120.0) -> tuple[int, str]:
        """Run a shell *script* with *words* on its standard input; its exit code and what it printed, errors included.

        Script and words travel on the standard input of a shell: neither is on a command line that others could list.
        """

        async def work(connection: "asyncssh.SSHClientConnection") -> tuple[int, str]:
            # A here-document, because a shell may read ahead of the script that it is given on its input.
            mark = f"end_{uuid.uuid4().hex}"
            async with connection.create_process("sh -s 2>&1", encoding=None) as process:
                process.stdin.write(f"(\n{script}\n) <<'{mark}'\n{words}\n{mark}\n".encode())
                process.stdin.write_eof()
                said = bytearray()
                while block := await process.stdout.read(1 << 16):
                    said += block
                    if len(said) > MOST_WORDS:
                        raise RunnerError(f"{self.name} printed more than {MOST_WORDS >> 20} MB for one command")
                await process.wait_closed()
                code = process.exit_status
                if code is None or code < 0:  # cut off, or killed with the connection
                    raise EOFError("the connection ended before the command did")
                return code, said.decode("utf-8", "replace")

        try:
            return await asyncio.wait_for(self._do(work), seconds + self._patience)
        except TimeoutError as error:
            raise RunnerError(f"{self.name} did not finish a command within {seconds:.0f} s") from error

    # -- files ---------------------------------------------------------------------------------------------------------

    async def hashes(self, names: Iterable[str]) -> dict[str, tuple[int, str]]:
        """Size and SHA-256 of the files there under *names* (files or folders of the job's folder)."""
        script = f"mkdir -p {shlex.quote(self.folder)} && cd {shlex.quote(self.folder)} && {shlex.quote(self.python)} -c {shlex.quote(_HASHES)}"
        code, said = await self.command(script, json.dumps(list(names)), seconds=600)
        try:
            found = json.loads(said)
            return {str(name): (int(size), str(sha256)) for name, (size, sha256) in found.items()}
        except (ValueError, TypeError, AttributeError) as error:
            raise RunnerError(
                f"{self.name} cannot list its files (exit code {code}): {printable(said)[-500:]}; "
                f"is there a Python 3.11 or newer called {self.python}?"
            ) from error

    async def send(self, sources: dict[str, Path]) -> None:
        """Bring files there, by their names in the job's folder; those that are there already are not sent again."""
        there = await self.hashes(sources)
        missing = {}
        for name, path in sources.items():
            known = there.get(name)
            if (
                known is None
                or known[0] != path.stat().st_size
                or known[1] != await asyncio.to_thread(files.sha256_file, path)
            ):
                missing[name] = path
        with bar(sum(path.stat().st_size for path in missing.values()), f"To {self.name}", unit="B") as shown:
            for name, path in missing.items():
                await self._do(lambda connection, name=name, path=path: self._put(connection, name, path))  # type: ignore[misc]
                shown.update(path.stat().st_size)

    async def _put(self, connection: "asyncssh.SSHClientConnection", name: str, path: Path) -> None:
        async with connection.start_sftp_client() as sftp:
            target = f"{self.folder}/{name}"
            await sftp.makedirs(str(PurePosixPath(target).parent), exist_ok=True)
            await sftp.put(str(path), f"{target}.part")
            await sftp.posix_rename(f"{target}.part", target)

    async def fetch(self, names: Sequence[str], into: Path) -> None:
        """Bring the files under *names* home into *into*: all of them, checked, or none.

        Raises:
            RunnerError: A file is not what may come back (`receiving`), or did not arrive as it was.
        """
        found = await self.hashes(names)
        if len(found) > receiving.MOST_FILES:
            raise RunnerError(f"{self.name} has {len(found):,} files for one stage: no stage makes so many")
        if (total := sum(size for size, _ in found.values())) > receiving.LARGEST_SUM:
            raise RunnerError(f"{self.name} has {total:,} bytes for one stage: more than may come back")
        wanted = [PurePosixPath(name) for name in names]
        for name, (size, _) in found.items():
            path = receiving.check_name(name)
            if not any(path == each or each in path.parents for each in wanted):
                raise RunnerError(f"{self.name} sent {name!r:.120}, which nobody asked for")
            receiving.check_size(name, size)
        waiting = into / f".arriving-{uuid.uuid4().hex[:8]}"
        try:
            with bar(total, f"From {self.name}", unit="B") as shown:
                for number, (name, (size, sha256)) in enumerate(found.items()):
                    place = waiting / str(number)
                    await self._do(
                        lambda connection, name=name, place=place, size=size: self._get(connection, name, place, size)  # type: ignore[misc]
                    )
                    if await asyncio.to_thread(files.sha256_file, place) != sha256:
                        raise RunnerError(f"{name} did not arrive from {self.name} as it was there; run again to go on")
                    await asyncio.to_thread(receiving.check_content, place, name)
                    shown.update(size)
            for number, name in enumerate(found):
                target = into / name
                files.make_folder(target.parent)
                (waiting / str(number)).replace(target)
        finally:
            await asyncio.to_thread(shutil.rmtree, waiting, ignore_errors=True)

    async def _get(self, connection: "asyncssh.SSHClientConnection", name: str, place: Path, size: int) -> None:
        files.make_folder(place.parent)
        async with connection.start_sftp_client() as sftp, sftp.open(f"{self.folder}/{name}", "rb") as source:
            with open(place, "wb") as file:  # noqa: ASYNC230 - the disk is faster than the line
                while (at := file.tell()) < size:
                    block = await source.read(min(BLOCK, size - at), at)
                    assert isinstance(block, bytes)  # the file is open in binary
                    if not block:
                        return  # shorter than it was said to be: its checksum will tell
                    file.write(block)

    async def read(self, name: str, at: int, most: int = 1 << 20) -> bytes:
        """What stands in a file there from byte *at* on, at most *most* bytes; nothing where there is none."""
        import asyncssh  # noqa: PLC0415 - of an extra

        async def work(connection: "asyncssh.SSHClientConnection") -> bytes:
            async with connection.start_sftp_client() as sftp:
                try:
                    async with sftp.open(f"{self.folder}/{name}", "rb") as file:
                        block = await file.read(most, at)
                        assert isinstance(block, bytes)  # the file is open in binary
                        return block
                except (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath):
                    return b""

        return await self._do(work)

    # -- stages ----------------------------------------------------------------------------------------------------------

    async def start(self, stage: Stage, *, hub_token: str = "") -> None:
        """Start *stage* there in a session of its own, whose end is written to a file."""
        recipe, *arguments = stage.argv
        run = shlex.join([self.python, "-u", f"recipes/{recipe}", *arguments])
        place = f"stages/{stage.name}"
        inner = (
            f"echo $$ > {place}/pid; {run} > {place}/log.txt 2>&1; echo $? > {place}/exit.part; "
            f"mv {place}/exit.part {place}/exit"
        )
        script = _START.format(
            folder=shlex.quote(self.folder), place=shlex.quote(place), token=uuid.uuid4().hex, inner=shlex.quote(inner)
        )
        code, said = await self.command(script, f"{hub_token}\n")
        if code != 0:
            raise RunnerError(
                f"{self.name} cannot start stage {stage.name!r} (exit code {code}): {printable(said)[-500:]}"
            )

    async def look(self, stage: Stage) -> str:
        """How *stage* stands there: ``"alive"``, ``"exit 0"``, ``"gone"`` (ended without a word), or ``""`` (never started)."""
        _, said = await self.command(_LOOK.format(folder=shlex.quote(self.folder), place=f"stages/{stage.name}"))
        return said.strip()

    async def stop(self, stage: Stage) -> None:
        """End *stage* there."""
        await self.command(_STOP.format(folder=shlex.quote(self.folder), place=f"stages/{stage.name}"))

    async def forget(self) -> None:
        """Remove the job's folder there."""
        await self.command(f"rm -rf {shlex.quote(self.folder)}")


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

    async def update(self) -> None:
        """Append what is new."""
        while self._read < MOST_WORDS and (block := await self._remote.read(self._name, self._read)):
            self._read += len(block)
            *lines, self._rest = (self._rest + block).split(b"\n")
            kept = [self._keep(line.decode("utf-8", "replace")) for line in lines]
            with open(self._here, "a", encoding="utf-8") as file:  # noqa: ASYNC230 - a few lines
                file.writelines(f"{line}\n" for line in kept if line is not None)


class Work:
    """The stages of a job, run one after another in a remote folder.

    Args:
        remote: Where.
        job: What.
        hub_token: For a gated base; goes there by the input of a shell, and only when it is given.
        on_poll: Called about every second while a stage runs there: a lease is renewed, a budget is looked at.
    """

    def __init__(
        self, remote: Remote, job: Job, *, hub_token: str = "", on_poll: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        self.remote = remote
        self.job = job
        self.folder = Path(job.folder)
        self._hub_token = hub_token
        self._on_poll = on_poll
        self._kept: set[str] = set()

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
        alive = [stage for stage in waiting if await self._is_ours(stage)]
        if not alive:
            for stage in waiting:  # of other settings, left by a run that nobody came back to
                await self.remote.stop(stage)
        await self.remote.send(cargo(self.job, waiting))
        for stage in waiting:
            if stage not in alive and not await self._is_done_there(stage):
                await self.remote.start(stage, hub_token=self._hub_token)
            await self._follow(stage)
            await self._collect(stage)

    async def keep(self) -> None:
        """Bring home the newest checkpoint of whatever runs there, so that the next machine goes on from it."""
        for stage in self.waiting:
            await self._keep_checkpoint(stage)

    async def stop(self) -> None:
        """End whatever of the job runs there."""
        for stage in self.waiting:
            await self.remote.stop(stage)

    async def _is_ours(self, stage: Stage) -> bool:
        """Whether *stage* runs there already with the very settings that lie here."""
        name = f"stages/{stage.name}/job.json"
        there = (await self.remote.hashes([name])).get(name)
        if there is None or there[1] != files.sha256_file(self.folder / name):
            return False
        return await self.remote.look(stage) == "alive"

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
            while (state := await self.remote.look(stage)) == "alive":
                await progress.update()
                await log.update()
                shown.update()
                await self._keep_checkpoint(stage)
                if self._on_poll is not None:
                    await self._on_poll()
                await asyncio.sleep(POLL_SECONDS)
            await progress.update()
            await log.update()
            shown.update()
        if state not in {"exit 0", ""}:
            code = int(state.removeprefix("exit ")) if re.fullmatch(r"exit \d{1,3}", state) else -signal.SIGKILL
            # A shell tells a signal by 128 more than its number.
            raise RunnerError(failure(stage.name, 128 - code if code > 128 else code, place / "log.txt"))

    async def _collect(self, stage: Stage) -> None:
        place = f"stages/{stage.name}"
        if not await self._is_done_there(stage):
            raise RunnerError(
                f"stage {stage.name!r} ended on {self.remote.name} without its results ({', '.join(stage.outputs)}); the "
                f"end of its log:\n{tail(self.folder / place / 'log.txt')}"
            )
        await self.remote.fetch(stage.outputs, self.folder)
        # Last, because it says that all the rest is here.
        await self.remote.fetch([f"{place}/done.json"], self.folder)
        for old in _checkpoints(self.folder, stage):
            shutil.rmtree(old, ignore_errors=True)

    async def _keep_checkpoint(self, stage: Stage) -> None:
        if not any(argument.endswith("lora.py") for argument in stage.argv):
            return
        place = f"stages/{stage.name}"
        script = f"cd {shlex.quote(self.remote.folder)}/{place} 2>/dev/null && ls -d checkpoint-* 2>/dev/null; true"
        _, said = await self.remote.command(script)
        names = sorted(name for name in said.split() if re.fullmatch(r"checkpoint-\d{1,12}", name))
        if not names or names[-1] in self._kept or (self.folder / place / names[-1]).exists():
            return
        older = _checkpoints(self.folder, stage)
        with contextlib.suppress(RunnerError):  # a newer one has taken its place meanwhile
            await self.remote.fetch([f"{place}/{names[-1]}"], self.folder)
            self._kept.add(names[-1])
            for old in older:
                shutil.rmtree(old, ignore_errors=True)


def printable(text: str) -> str:
    """*text* with whatever could move a terminal's cursor, or hide words, spelled out."""
    return "".join(
        c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape", "backslashreplace").decode() for c in text
    )


def progress_line(line: str) -> str | None:
    """A line of progress.jsonl as far as it is one: whole numbers of steps, and numbers beside them."""
    try:
        value: Any = json.loads(line)
        done, total = value["done"], value["total"]
        more = {str(k)[:40]: v for k, v in value.items() if type(v) in (int, float)}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return json.dumps(more) if type(done) is int and type(total) is int else None


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
