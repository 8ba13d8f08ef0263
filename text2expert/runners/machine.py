"""A folder on another machine: commands, files and stages there, over a connection that may be lost and made again.

Every operation may be repeated, so that the work goes on where it was. The other machine is trusted with what is sent
to it and with nothing else: what comes back goes through `receiving`, and its words are made printable before anyone
sees them.
"""

import asyncio
import contextlib
import json
import re
import shlex
import shutil
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final, TypeVar

import attrs

from text2expert import files
from text2expert._progress import bar, say
from text2expert.errors import RunnerError
from text2expert.records import Stage
from text2expert.runners import receiving
from text2expert.runners.local import printable

if TYPE_CHECKING:
    import asyncssh

T = TypeVar("T")

BLOCK: Final = 4 << 20
"""Bytes asked for at a time; the SSH library has many requests of it under way."""

MOST_WORDS: Final = 16 << 20
"""Bytes of output of one command, and of a stage's log, that are read; a stranger could go on for ever."""

STALL_SECONDS: Final = 120.0
"""For which a block may be on its way; then the connection is taken for lost."""

ARRIVING: Final = ".arriving-"
"""How the name of a folder begins where files wait until all of them are there and were looked at."""

_HASHES: Final = """
import hashlib, json, os, sys
found = {}
for name in json.load(sys.stdin):
    if os.path.islink(name):
        continue
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

_ALIVE: Final = """
cd {folder}/{place} 2>/dev/null || exit 0
alive() {{ [ -s pid ] && [ -e lock ] && ! flock -n lock true; }}
"""
"""Whether the stage runs: it holds a lock, which the kernel frees when the last of its processes has ended, however that
came about. A process number alone is given to others after a while, and after a restart."""

_START: Final = """
cd {folder} || exit 90
mkdir -p {place} || exit 91
mkdir {place}/started-{token} 2>/dev/null || exit 0
IFS= read -r line; [ -z "$line" ] || export HF_TOKEN="$line"
exec 9>{place}/lock
flock -n 9
case $? in 0) ;; 1) exit 0 ;; *) exit 93 ;; esac
rm -f {place}/exit {place}/pid {place}/progress.jsonl {place}/log.txt
setsid nohup sh -c {inner} </dev/null >/dev/null 2>&1 &
for _ in 1 2 3 4 5 6 7 8 9 10; do [ -s {place}/pid ] && exit 0; sleep 1; done
exit 92
"""
"""Starts a stage in a session of its own. The token makes sure that a start whose answer was lost is not done twice, the
lock that it does not run twice at a time."""

_LOOK: Final = (
    _ALIVE
    + """
if [ -s exit ]; then echo "how exit $(cat exit)"
elif alive; then echo "how alive"
elif [ -s exit ]; then echo "how exit $(cat exit)"
elif [ -e pid ]; then echo "how gone"
fi
[ -e log.txt ] && echo "log $(wc -c < log.txt)"
[ -e progress.jsonl ] && echo "progress $(wc -c < progress.jsonl)"
for each in checkpoint-*; do case $each in *[!0-9a-z-]*) ;; *) newest=$each ;; esac; done
[ -z "$newest" ] || echo "checkpoint $newest"
exit 0
"""
)

_STOP: Final = (
    _ALIVE
    + """
alive || exit 0
kill -s TERM -- -"$(cat pid)" 2>/dev/null || exit 0
for _ in 1 2 3 4 5; do alive || exit 0; sleep 1; done
kill -s KILL -- -"$(cat pid)" 2>/dev/null
exit 0
"""
)

_SEEN: Final = re.compile(
    r"^(?:how (?P<how>alive|gone|exit \d{1,3})|log +(?P<log>\d{1,15})|progress +(?P<progress>\d{1,15})"
    r"|checkpoint (?P<checkpoint>checkpoint-\d{1,12}))$",
    re.MULTILINE | re.ASCII,
)


@attrs.frozen(kw_only=True)
class Seen:
    """How a stage stands on the other machine."""

    how: str = ""
    """``alive``, ``exit 0``, ``gone`` (ended without a word), or nothing: never started."""
    log: int = 0
    progress: int = 0
    """Bytes of its files."""
    checkpoint: str = ""
    """Name of its newest one."""


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
        self._sftp: asyncssh.SFTPClient | None = None
        self._guard = asyncio.Lock()

    # -- the connection ----------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Make the first connection: what is wrong with it now is wrong for good, and waiting would not mend it.

        Raises:
            RunnerError: The machine cannot be reached.
        """
        import asyncssh  # noqa: PLC0415 - of an extra

        try:
            self._connection = await self._connect()
        except (OSError, asyncssh.DisconnectError) as error:
            raise RunnerError(
                f"{self.name} cannot be reached ({_words(error)}): check its name and port, and that it is on"
            ) from error

    async def close(self) -> None:
        """Let the connection go; what runs there goes on."""
        if self._connection is not None:
            await self._drop(self._connection)

    async def _drop(self, connection: "asyncssh.SSHClientConnection") -> None:
        if self._connection is connection:  # others may have noticed before, and made a new one
            self._connection = self._sftp = None
        connection.close()
        with contextlib.suppress(Exception):
            async with asyncio.timeout(5):  # not wait_for, which loses a cancellation now and then before Python 3.12
                await connection.wait_closed()

    async def _living(self) -> "asyncssh.SSHClientConnection":
        async with self._guard:
            if self._connection is None or self._connection.is_closed():
                self._connection, self._sftp = await self._connect(), None
            return self._connection

    async def _do(self, work: "Callable[[asyncssh.SSHClientConnection], Awaitable[T]]") -> T:
        """*work* over a living connection, again from its beginning when that is lost under it."""
        import asyncssh  # noqa: PLC0415 - of an extra

        lost = (OSError, asyncssh.DisconnectError, asyncssh.ChannelOpenError, asyncssh.SFTPConnectionLost, EOFError)
        until = pause = 0.0
        while True:
            began = time.monotonic()
            connection: asyncssh.SSHClientConnection | None = None
            try:
                connection = await self._living()
                return await work(connection)
            except asyncssh.HostKeyNotVerifiable:
                raise
            except lost as error:
                if connection is not None:
                    await self._drop(connection)
                if not until or time.monotonic() - began > self._patience:  # it had been at work for long: lost anew
                    say(f"the connection to {self.name} is lost; it is tried again for up to {self._patience:.0f} s")
                    until, pause = time.monotonic() + self._patience, 0.25
                pause = min(15.0, pause * 2)
                if time.monotonic() + pause > until:
                    raise RunnerError(
                        f"the connection to {self.name} is lost and did not come back within {self._patience:.0f} s "
                        f"({_words(error)}); run again to go on"
                    ) from error
                await asyncio.sleep(pause)
            except asyncssh.Error as error:
                raise RunnerError(f"{self.name} cannot do it: {_words(error)}") from error

    async def _with_files(self, work: "Callable[[asyncssh.SFTPClient], Awaitable[T]]") -> T:
        """*work* in the one SFTP session of a connection; as `_do`."""

        async def in_session(connection: "asyncssh.SSHClientConnection") -> T:
            async with self._guard:
                if self._sftp is None or self._connection is not connection:
                    async with asyncio.timeout(STALL_SECONDS):
                        self._sftp = await connection.start_sftp_client()
                sftp = self._sftp
            return await work(sftp)

        return await self._do(in_session)

    async def command(self, script: str, words: str = "", *, seconds: float = 120.0) -> tuple[int, str]:
        """Run a shell *script* with *words* on its standard input; its exit code and what it printed, errors included.

        Script and words travel on the standard input of a shell: neither is on a command line that others could list. What
        a login prints, and where its profile goes, makes no difference.
        """
        begins = f"begin_{uuid.uuid4().hex}"

        async def work(connection: "asyncssh.SSHClientConnection") -> tuple[int, str]:
            # A here-document, because a shell may read ahead of the script that it is given on its input.
            mark = f"end_{uuid.uuid4().hex}"
            async with connection.create_process("sh -s 2>&1", encoding=None) as process:
                process.stdin.write(
                    f"cd \"$HOME\" && echo {begins} && (\n{script}\n) <<'{mark}'\n{words}\n{mark}\n".encode()
                )
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
                before, begun, after = said.decode("utf-8", "replace").partition(f"{begins}\n")
                return code, after if begun else before

        try:
            async with asyncio.timeout(seconds + self._patience):
                return await self._do(work)
        except TimeoutError as error:
            raise RunnerError(f"{self.name} did not finish a command within {seconds:.0f} s") from error

    # -- files ---------------------------------------------------------------------------------------------------------

    async def hashes(self, names: Iterable[str]) -> dict[str, tuple[int, str]]:
        """Size and SHA-256 of the files there under *names* (files or folders of the job's folder)."""
        script = f"mkdir -p {shlex.quote(self.folder)} && cd {shlex.quote(self.folder)} && {self.interpreter} -c {shlex.quote(_HASHES)}"
        code, said = await self.command(script, json.dumps(list(names)), seconds=600)
        try:
            found = json.loads(said)
            return {str(name): (int(size), str(sha256)) for name, (size, sha256) in found.items()}
        except (ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
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
        if not missing:
            return
        folders = sorted({str(PurePosixPath(f"{self.folder}/{name}").parent) for name in missing})
        await self.command(f"mkdir -p {shlex.join(folders)}")
        with bar(sum(path.stat().st_size for path in missing.values()), f"To {self.name}", unit="B") as shown:
            for name, path in missing.items():
                await self._put(name, path, shown)

    async def _put(self, name: str, path: Path, shown: Any) -> None:
        target, before = f"{self.folder}/{name}", shown.n

        def show(_: bytes, __: bytes, done: int, ___: int) -> None:
            shown.update(before + done - shown.n)  # less than nothing where a lost connection made it begin again

        async def put(sftp: "asyncssh.SFTPClient") -> None:
            await sftp.put(str(path), f"{target}.part", progress_handler=show)
            await sftp.posix_rename(f"{target}.part", target)

        await self._with_files(put)

    async def fetch(
        self, names: Sequence[str], into: Path, *, check: Callable[[Path, str], None] = receiving.check_content
    ) -> None:
        """Bring the files under *names* home into *into*, in place of what lies there: all of them, checked, or none.

        Files of kinds that do not come back are left there, and that is said.

        Args:
            names: Files and folders of the job's folder.
            into: The job's folder here.
            check: Raises RunnerError for a file, at a place of its own yet, that may not land under its name.

        Raises:
            RunnerError: A file is missing, is not what may come back (`receiving`), or did not arrive as it was.
        """
        found = await self.hashes(names)
        receiving.check_names(found, names)
        left = receiving.left_there(found, names)
        if left:
            say(f"left on {self.name}, because such files may run code when they are opened: {', '.join(left[:20])}")
            found = {name: known for name, known in found.items() if name not in left}
            receiving.check_names(found, names)  # a folder of nothing else is not there
        sizes = {name: size for name, (size, _) in found.items()}
        receiving.check_sizes(sizes)
        waiting = into / f"{ARRIVING}{uuid.uuid4().hex[:8]}"
        try:
            with bar(sum(sizes.values()), f"From {self.name}", unit="B") as shown:
                for name, (size, sha256) in found.items():
                    place = waiting / name
                    files.make_folder(place.parent)
                    await self._get(name, place, size, shown)
                    if await asyncio.to_thread(files.sha256_file, place) != sha256:
                        raise RunnerError(f"{name} did not arrive from {self.name} as it was there; run again to go on")
                    await asyncio.to_thread(check, place, name)
            for name in names:
                target = into / name
                files.make_folder(target.parent)
                if target.is_dir():
                    shutil.rmtree(target)
                (waiting / name).replace(target)
        finally:
            await asyncio.to_thread(shutil.rmtree, waiting, ignore_errors=True)

    async def _get(self, name: str, place: Path, size: int, shown: Any) -> None:
        """Bring a file of *size* bytes to *place*, block by block; a lost connection goes on after the last one."""
        before = shown.n

        async def get(sftp: "asyncssh.SFTPClient") -> None:
            async with asyncio.timeout(STALL_SECONDS):
                source = await sftp.open(f"{self.folder}/{name}", "rb")
            at = _append(place, b"")
            while at < size:
                async with asyncio.timeout(STALL_SECONDS):
                    block = await _whole(source.read(min(BLOCK, size - at), at))
                assert isinstance(block, bytes)  # the file is open in binary
                if not block:
                    break  # shorter than it was said to be: its checksum will tell
                at = _append(place, block)
                shown.update(before + at - shown.n)
            async with asyncio.timeout(STALL_SECONDS):
                await source.close()

        await self._with_files(get)

    async def read(self, name: str, at: int, most: int = 1 << 20) -> bytes:
        """What stands in a file there from byte *at* on, at most *most* bytes; nothing where there is none."""
        import asyncssh  # noqa: PLC0415 - of an extra

        async def work(sftp: "asyncssh.SFTPClient") -> bytes:
            try:
                async with asyncio.timeout(STALL_SECONDS), sftp.open(f"{self.folder}/{name}", "rb") as file:
                    block = await _whole(file.read(most, at))
                    assert isinstance(block, bytes)  # the file is open in binary
                    return block[:most]
            except (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath):
                return b""

        return await self._with_files(work)

    # -- stages ----------------------------------------------------------------------------------------------------------

    @property
    def interpreter(self) -> str:
        """The Python there, as a word of its shell."""
        home, rest = ('"$HOME"/', self.python[2:]) if self.python.startswith("~/") else ("", self.python)
        return home + shlex.quote(rest)

    async def start(self, stage: Stage, *, hub_token: str = "") -> None:
        """Start *stage* there in a session of its own, whose end is written to a file."""
        recipe, *arguments = stage.argv
        place, token = f"stages/{stage.name}", uuid.uuid4().hex
        run = f"{self.interpreter} -u {shlex.join([f'recipes/{recipe}', *arguments])}"
        inner = (
            f"echo $$ > {place}/pid; {run} > {place}/log.txt 2>&1; echo $? > {place}/exit.part; "
            f"mv {place}/exit.part {place}/exit"
        )
        script = _START.format(folder=shlex.quote(self.folder), place=place, token=token, inner=shlex.quote(inner))
        code, said = await self.command(script, f"{hub_token}\n")
        if code != 0:
            raise RunnerError(
                f"{self.name} cannot start stage {stage.name!r} (exit code {code}): {printable(said)[-500:]}"
            )

    async def look(self, stage: Stage) -> Seen:
        """How *stage* stands there; what the machine says beside that is passed over."""
        _, said = await self.command(self._of(_LOOK, stage))
        words: dict[str, str] = {}
        for line in _SEEN.finditer(said):
            words |= {name: word for name, word in line.groupdict().items() if word is not None and name not in words}
        return Seen(
            how=words.get("how", ""),
            log=int(words.get("log", "0")),
            progress=int(words.get("progress", "0")),
            checkpoint=words.get("checkpoint", ""),
        )

    async def stop(self, stage: Stage) -> None:
        """End *stage* there."""
        await self.command(self._of(_STOP, stage))

    async def clear(self, stage: Stage) -> None:
        """End *stage* there and remove what it has left: it is of other settings."""
        await self.stop(stage)
        await self.command(f"rm -rf {shlex.quote(f'{self.folder}/stages/{stage.name}')}")

    async def forget(self) -> None:
        """Remove the job's folder there."""
        await self.command(f"rm -rf {shlex.quote(self.folder)}")

    def _of(self, script: str, stage: Stage) -> str:
        return script.format(folder=shlex.quote(self.folder), place=f"stages/{stage.name}")


async def _whole(reading: Awaitable[T]) -> T:
    """What *reading* gives; it is not stopped half-way, where asyncssh would leave its requests behind, each to complain."""
    task = asyncio.ensure_future(reading)
    task.add_done_callback(
        lambda done: done.cancelled() or done.exception()
    )  # it ends with the connection at the latest
    return await asyncio.shield(task)


def _words(error: Exception) -> str:
    """What went wrong; the other side may have written it."""
    return f"{type(error).__name__}: {printable(str(error))[:300]}"


def _append(place: Path, block: bytes) -> int:
    """Write *block* at the end of the file at *place*; its size then."""
    try:
        with open(place, "ab") as file:
            file.write(block)
            return file.tell()
    except OSError as error:
        raise files.cannot_write(place, error) from error
