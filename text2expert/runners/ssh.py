"""Training on a machine of yours that is reached by SSH."""

import asyncio
import contextlib
import importlib.util
import os
import re
import shlex
from typing import TYPE_CHECKING, Any, Final

import attrs

from text2expert._progress import say
from text2expert.errors import InputError, MissingExtraError, RunnerError
from text2expert.records import Job
from text2expert.runners.local import NEEDED, printable
from text2expert.runners.machine import Remote
from text2expert.runners.remote import Work

if TYPE_CHECKING:
    import asyncssh

TESTED: Final = {
    "accelerate": "1.15.0",
    "bitsandbytes": "0.50.2",
    "peft": "0.21.2",
    "safetensors": "0.8.0",
    "transformers": "5.23.0",
}
"""What is installed where it is missing; a torch with CUDA is what the machine, or its image, has to bring."""

_DESTINATION: Final = re.compile(
    r"(?:(?P<user>[^@\s]+)@)?(?P<host>[^@\s:\[\]]+|\[[0-9a-fA-F:]+\])(?::(?P<port>\d{1,5}))?"
)


@attrs.frozen
class SSH:
    """Runs the stages of a job on a machine of yours.

    The connection may be lost, and this process may be killed: what runs there goes on, and the same call again finds
    it. Ctrl-C ends it, and its last checkpoint is brought home, so that the same call goes on from there. Keys and
    passwords of this machine stay here.

    Args:
        destination: ``user@host``, ``host`` or ``user@host:2222``; also a name of your ``~/.ssh/config``.
        key: Private key file; None leaves it to the SSH agent, the configuration and the usual files.
        known_hosts: File with the host's key; None is your ``~/.ssh/known_hosts``. An unknown host is refused.
        python: The interpreter there, 3.11 or newer, with a torch for its GPU.
        folder: Where jobs are kept there, relative to the home directory or absolute.
        keep: Leave the job's folder there when the job is done.
        send_hub_token: Let HF_TOKEN of this environment go there, for a gated base.
        patience: Seconds for which a lost connection is tried again.
    """

    destination: str = attrs.field()
    key: str | os.PathLike[str] | None = attrs.field(default=None, kw_only=True)
    known_hosts: str | os.PathLike[str] | None = attrs.field(default=None, kw_only=True)
    python: str = attrs.field(default="python3", kw_only=True)
    folder: str = attrs.field(default=".text2expert", kw_only=True)
    keep: bool = attrs.field(default=False, kw_only=True)
    send_hub_token: bool = attrs.field(default=False, kw_only=True)
    patience: float = attrs.field(default=600.0, kw_only=True)

    @destination.validator
    def _is_destination(self, attribute: "attrs.Attribute[str]", value: object) -> None:
        if not isinstance(value, str) or not _DESTINATION.fullmatch(value):
            raise InputError(f"{attribute.name} must be like 'user@host' or 'user@host:2222', got {value!r:.80}")

    @patience.validator
    def _is_seconds(self, attribute: "attrs.Attribute[float]", value: object) -> None:
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
            raise InputError(f"{attribute.name} must be a number of seconds from 0, got {value!r}")

    @property
    def host(self) -> str:
        """Whose machine it is, for plans."""
        return self.destination

    def check(self) -> None:
        """Say now, not after an hour of teaching, what is missing here.

        Raises:
            MissingExtraError: asyncssh is not installed.
            InputError: The key file does not exist.
        """
        check_installed()
        for name in ("key", "known_hosts"):
            path = getattr(self, name)
            if path is not None and not os.path.isfile(os.path.expanduser(path)):
                raise InputError(f"{name} {os.fspath(path)!r} is not a file: give the path of one")

    async def run(self, job: Job) -> None:
        """Run *job*; see `text2expert.runners.Runner`.

        Raises:
            RunnerError: The machine cannot be reached or lacks something, a stage failed, or what came back is not what
                may come back.
            MissingExtraError: asyncssh is not installed; nothing was started.
        """
        self.check()
        remote = Remote(
            self._connect,
            f"{self.folder.rstrip('/')}/{job.id}",
            python=self.python,
            patience=self.patience,
            name=self.destination,
        )
        work = Work(remote, job, hub_token=os.environ.get("HF_TOKEN", "") if self.send_hub_token else "")
        if not work.waiting:
            return
        try:
            await remote.open()
            await prepare(remote)
            await work.run()
            if not self.keep:
                await remote.forget()
        except asyncio.CancelledError:
            # Who stops a run does not want it to go on elsewhere.
            with contextlib.suppress(RunnerError, TimeoutError):
                async with asyncio.timeout(60):
                    await _stop(work)
            raise
        finally:
            await remote.close()

    async def _connect(self) -> "asyncssh.SSHClientConnection":
        found = _DESTINATION.fullmatch(self.destination)
        assert found is not None  # validated
        options: dict[str, Any] = {}
        if found["user"]:
            options["username"] = found["user"]
        if found["port"]:
            options["port"] = int(found["port"])
        if self.key is not None:
            options["client_keys"] = [os.path.expanduser(self.key)]
        if self.known_hosts is not None:
            options["known_hosts"] = os.path.expanduser(self.known_hosts)
        return await connect(found["host"].strip("[]"), self.destination, **options)


async def connect(host: str, name: str, **options: Any) -> "asyncssh.SSHClientConnection":
    """A connection that notices within a minute when it is dead.

    Raises:
        RunnerError: The host is not the one that it should be, or does not take the key.
        OSError: It cannot be reached now.
    """
    import asyncssh  # noqa: PLC0415 - of an extra

    try:
        return await asyncssh.connect(
            host, **options, connect_timeout=15, login_timeout=30, keepalive_interval=15, keepalive_count_max=3
        )
    except asyncssh.HostKeyNotVerifiable as error:
        raise RunnerError(
            f"the host key of {name} is not the one that is known ({printable(str(error))[:200]}): nothing was sent. Connect with ssh "
            "once, to see and store the key; a key that has changed may mean another machine in its place"
        ) from error
    except asyncssh.PermissionDenied as error:
        raise RunnerError(
            f"{name} does not let this key in ({printable(str(error))[:200]}): check user and key, for instance with ssh"
        ) from error
    except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError) as error:
        raise RunnerError(
            f"the key for {name} cannot be read ({printable(str(error))[:200]}): a key with a passphrase goes into the agent (ssh-add), and "
            "key= is left out"
        ) from error
    except asyncssh.ConfigParseError as error:
        raise RunnerError(f"the SSH configuration cannot be read: {printable(str(error))[:300]}") from error


async def prepare(remote: Remote) -> None:
    """See that the machine has what the recipes import, and install what is missing beside its torch.

    Raises:
        RunnerError: It has no torch, or something cannot be installed.
    """
    modules = (*NEEDED, "bitsandbytes")
    probe = f"import importlib.util as u, sys; assert sys.version_info >= (3, 11), sys.version; print(*[n for n in {modules!r} if u.find_spec(n) is None])"
    python = remote.interpreter
    code, said = await remote.command(f"{python} -c {shlex.quote(probe)}")
    words = printable(said).strip()
    if code != 0:
        raise RunnerError(
            f"{remote.name} has no Python 3.11 or newer called {remote.python!r}: {words[-300:]}; give python=..."
        )
    missing = [name for name in words.splitlines()[-1].split() if name in modules] if words else []
    if "torch" in missing:
        raise RunnerError(
            f"{remote.name} has no torch for {remote.python}: install one that fits its GPU, or give python=..."
        )
    if missing:
        wanted = [f"{name}=={TESTED[name]}" for name in missing]
        say(f"{remote.name}: installing {', '.join(wanted)}")
        code, said = await remote.command(f"{python} -m pip install -q --no-input {shlex.join(wanted)}", seconds=1200)
        if code != 0:
            raise RunnerError(f"{remote.name} cannot install {', '.join(wanted)}:\n{printable(said)[-2000:]}")


async def _stop(work: Work) -> None:
    await work.stop()
    await work.keep()


def check_installed() -> None:
    """Look for what talks to other machines, without importing it.

    Raises:
        MissingExtraError: Something is missing; the message says how to install it.
    """
    missing = [name for name in ("asyncssh", "safetensors") if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingExtraError(
            f'training on another machine needs {", ".join(missing)}: pip install "text2expert[vast]" '
            "(without training: fine_tune=False, --no-fine-tune)"
        )
