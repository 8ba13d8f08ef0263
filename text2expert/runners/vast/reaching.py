"""The way to a machine that is starting: a key for it alone, its real SSH server, and the Python with torch on it."""

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final

import attrs

from text2expert._progress import say
from text2expert.errors import RunnerError
from text2expert.runners.local import printable
from text2expert.runners.machine import Remote
from text2expert.runners.ssh import connect
from text2expert.runners.vast.account import Account, Gone, Unclear
from text2expert.runners.vast.box import DEAD, Box, Lost, Over
from text2expert.runners.vast.journal import Journal, now
from text2expert.runners.vast.renting import Renting

if TYPE_CHECKING:
    import asyncssh

_HANDSHAKE: Final = 30.0
"""Seconds for one try to hear from an SSH server."""


async def reach(renting: Renting, box: Box, python: str | None) -> Remote:
    """Wait until the machine lets us in; the way to it.

    Args:
        renting: Whose machine it is.
        box: The machine.
        python: The interpreter there; None looks for the one that has torch.

    Raises:
        Lost: It does not become ready in time, or never will.
        Over: Budget or hours are used up.
    """
    machine, pace = box.rental.machine, renting.pace
    assert machine is not None
    way = _Way(renting.account, renting.journal, box)
    await way.take_key()
    until, beat = now() + pace.ready, 0.0
    say(f"machine {machine} starts; that may take some minutes, and up to {pace.ready / 60:.0f}")
    while now() < until:
        if renting.is_over(box):
            raise Over
        if now() - beat >= pace.heartbeat:
            beat = now()
            await renting.heartbeat(box)
        shown = await _shown(renting, box)
        status, words = shown.get("actual_status"), printable(str(shown.get("status_msg") or ""))[:300]
        if status in DEAD or (status == "created" and "OCI runtime create failed" in words):
            raise Lost(f"machine {machine} is {status} and will not start{f': {words}' if words else ''}")
        if status == "running":
            for address in _addresses(shown):
                if await way.leads_in(address):
                    remote = Remote(way.connect, box.place, name=f"machine {machine}", patience=pace.patience)
                    remote.python = python or await _interpreter(remote)
                    say(f"machine {machine} is ready")
                    return remote
        await asyncio.sleep(pace.poll)
    raise Lost(f"machine {machine} was not ready within {pace.ready / 60:.0f} minutes")


class _Way:
    """To one machine: with a key that no other has, and to the host key of the first login alone."""

    def __init__(self, account: Account, journal: Journal, box: Box) -> None:
        self._account = account
        self._journal = journal
        self._box = box
        self._address = ("", 0)

    async def take_key(self) -> None:
        """The key for this machine alone, made for it and let in by Vast."""
        import asyncssh  # noqa: PLC0415 - of an extra

        rental, known = self._box.rental, False
        assert rental.machine is not None
        with contextlib.suppress(OSError, asyncssh.KeyImportError):
            self._key = asyncssh.read_private_key(self._journal.key(rental))
            known = True
        if not known:
            self._key = asyncssh.generate_private_key("ssh-ed25519", comment=rental.label)
            self._journal.write_key(rental, self._key.export_private_key().decode())
        try:
            await self._account.attach(rental.machine, self._key.export_public_key().decode().strip())
        except (Gone, Unclear) as error:
            raise Lost(f"machine {rental.machine} takes no key: {error}") from error
        except RunnerError:
            if not known:  # else it may well have it already
                raise

    async def leads_in(self, address: tuple[str, int]) -> bool:
        """Whether a real login succeeds at *address*; the host key of the first one is the only one from then on."""
        import asyncssh  # noqa: PLC0415 - of an extra

        box, before = self._box, self._box.rental
        self._address = address
        try:
            if not before.host_key:
                async with asyncio.timeout(_HANDSHAKE):
                    seen = await asyncssh.get_server_host_key(*address, config=None)
                if seen is None:
                    return False
                box.rental = attrs.evolve(before, host_key=seen.export_public_key().decode().strip())
            connection = await self.connect()
        except (OSError, asyncssh.Error, TimeoutError, RunnerError):
            # Keys arrive late on Vast, and a port may still be another machine's: what it showed is not kept.
            box.rental = attrs.evolve(box.rental, host_key=before.host_key)
            return False
        connection.close()
        self._journal.write(box.rental)
        return True

    async def connect(self) -> "asyncssh.SSHClientConnection":
        """A connection to the machine, and to no other."""
        import asyncssh  # noqa: PLC0415 - of an extra

        host, port = self._address
        only = asyncssh.import_public_key(self._box.rental.host_key)
        return await connect(
            host, f"machine {self._box.rental.machine}", port=port, username="root", client_keys=[self._key],
            known_hosts=([only], [], []), config=None, agent_path=None,
        )  # fmt: skip


async def _shown(renting: Renting, box: Box) -> dict[str, Any]:
    machine, at = box.rental.machine, now()
    assert machine is not None
    try:
        shown = await renting.account.show(machine)
    except Unclear as error:
        raise Lost(f"machine {machine} cannot be looked at: {error}") from error
    if shown is None:
        raise Lost(f"machine {machine} is gone")
    ran = box.rental.running_since
    box.look(shown, at)
    if box.rental.running_since != ran:
        renting.journal.write(box.rental)
    return shown


def _addresses(shown: dict[str, Any]) -> list[tuple[str, int]]:
    """Where a machine's SSH server may be: its own port first, Vast's proxy second."""
    found = []
    with contextlib.suppress(KeyError, IndexError, TypeError, ValueError, AttributeError):
        found.append((str(shown["public_ipaddr"]).strip(), int(shown["ports"]["22/tcp"][0]["HostPort"])))
    with contextlib.suppress(KeyError, TypeError, ValueError):
        found.append((str(shown["ssh_host"]), int(shown["ssh_port"])))
    return [(host, port) for host, port in found if host and host != "None" and 0 < port < 65536]


async def _interpreter(remote: Remote) -> str:
    """The Python of the image that has torch: it is called differently from image to image."""
    script = (
        "for p in python3 python /venv/main/bin/python /opt/conda/bin/python /usr/bin/python3; do "
        "$p -c 'import importlib.util as u, sys; sys.exit(not u.find_spec(\"torch\"))' 2>/dev/null && echo $p && exit 0; "
        "done; exit 1"
    )
    code, said = await remote.command(script, seconds=300)
    lines = said.split()
    if code != 0 or not lines:
        raise Lost(f"{remote.name} has no Python with torch: give another image, or python=...")
    return lines[-1]
