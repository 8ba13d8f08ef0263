"""What this user has rented: a file per machine, written before it is rented, so that no crash can forget one.

They lie in the user's state folder, private to the user; whether a run is alive is what the kernel says of a lock.
"""

import contextlib
import fcntl
import json
import os
import re
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import attrs

from text2expert import files
from text2expert.runners.vast.account import LABEL

STATE: Final = "XDG_STATE_HOME"

_OURS: Final = re.compile(LABEL + r"/([^/\s]{1,100})/([0-9a-f]{12})/([0-9]{1,12})")


@attrs.frozen(kw_only=True)
class Rental:
    """A machine that was, or was about to be, rented."""

    token: str
    """Tells it from every other; part of its label."""
    job: str
    """`Job.id`."""
    folder: str
    """The job's run folder, absolute: the same job may run in two."""
    url: str
    """Of the account."""
    begun: float
    """Seconds since 1970, when renting it began."""
    lease_until: float
    """Seconds since 1970; renewed while somebody is at work on it. After that it is anyone's to destroy."""
    machine: int | None = None
    """Vast's id of it; None: it is not known whether it was rented."""
    host: int | None = None
    """Vast's id of the hardware."""
    gpu: str = ""
    """As Vast calls it, with its number: ``1 x RTX 4090``."""
    where: str = ""
    """The region, in Vast's words."""
    usd_per_hour: str = "0"
    """What it costs while it exists, as a decimal."""
    usd_per_gb: str = "0"
    """Of traffic."""
    base_gb: float = 0.0
    """Downloaded there by the work; 0: it has not begun."""
    carried_gb: float = 0.0
    """Between here and there, as of the last renewal."""
    running_since: float | None = None
    """Seconds since 1970, at the earliest; None: it was not seen running."""
    ended: float | None = None
    """Seconds since 1970, when somebody who cannot book it has given it back."""
    settled: bool = False
    """Nothing of it is open in a ledger: it is remembered because it may still come up."""
    host_key: str = ""
    """Of the machine's SSH server, as it was at the first login."""

    @property
    def label(self) -> str:
        """As the machine is called at Vast: whose it is, and until when."""
        job = re.sub(r"[^\w.-]", "-", self.job)[:100]
        return f"{LABEL}/{job}/{self.token}/{int(self.lease_until)}"


def new_token() -> str:
    """Of a rental, unique."""
    return secrets.token_hex(6)


def token_of(label: str) -> tuple[str, str, float] | None:
    """Job, token and end of lease of a label; None where it is none of ours."""
    found = _OURS.fullmatch(label)
    return None if found is None else (found[1], found[2], float(found[3]))


class Journal:
    """The files of all rentals of this user."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = (
            folder or Path(os.environ.get(STATE) or Path.home() / ".local" / "state") / "text2expert" / "rentals"
        )

    def write(self, rental: Rental) -> None:
        """Keep *rental*, on the disk when it returns."""
        files.make_folder(self.folder)
        files.write_json(self._path(rental), attrs.asdict(rental))

    def forget(self, rental: Rental) -> None:
        """It is gone for certain."""
        for path in (self._path(rental), self.key(rental), self._lock(rental)):
            path.unlink(missing_ok=True)

    def rentals(self) -> list[Rental]:
        """All that is written, the oldest first."""
        found = []
        for path in self.folder.glob("*.json"):
            with contextlib.suppress(OSError, ValueError, TypeError):  # half of another version is better than none
                values: dict[str, Any] = json.loads(path.read_bytes())
                found.append(Rental(**values))
        return sorted(found, key=lambda rental: rental.begun)

    def key(self, rental: Rental) -> Path:
        """Where the private key for the machine lies."""
        return self.folder / f"{rental.token}.key"

    def write_key(self, rental: Rental, private_key: str) -> None:
        """Keep the key for the machine, for its owner alone."""
        files.make_folder(self.folder)
        files.write_text(self.key(rental), private_key)  # mode 0600

    @contextlib.contextmanager
    def held(self, rental: Rental) -> Iterator[bool]:
        """Hold *rental* for this process while the block runs; False: another living process has it."""
        files.make_folder(self.folder)
        handle = os.open(self._lock(rental), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                yield False
                return
            yield True
        finally:
            with contextlib.suppress(OSError):
                fcntl.flock(handle, fcntl.LOCK_UN)  # closing alone would not do while a forked child has it open too
            os.close(handle)

    def _path(self, rental: Rental) -> Path:
        return self.folder / f"{rental.token}.json"

    def _lock(self, rental: Rental) -> Path:
        return self.folder / f"{rental.token}.lock"


def now() -> float:
    """Seconds since 1970."""
    return time.time()
