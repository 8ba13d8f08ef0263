"""The life of a rented machine: written down, rented, waited for, kept alive, paid, and given back on every path out."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterable
from decimal import ROUND_UP, Decimal
from typing import TYPE_CHECKING, Any, Final

import attrs

from text2expert import ledger
from text2expert._progress import say
from text2expert.errors import BudgetExhausted, RunnerError
from text2expert.exchange import Completion
from text2expert.runners.remote import Remote, printable
from text2expert.runners.ssh import connect
from text2expert.runners.vast import deadman
from text2expert.runners.vast.account import Account, Gone, Unclear
from text2expert.runners.vast.journal import Journal, Rental, new_token, now
from text2expert.runners.vast.offers import BASE_GB, IMAGE_GB, Offer

if TYPE_CHECKING:
    import asyncssh

SCOPE: Final = "training"
"""What rent is booked to."""

DEAD: Final = frozenset({"exited", "unknown", "offline", "stopped", "frozen"})
"""States of a machine that never becomes one that works (Vast's documentation)."""

_HOUR: Final = Decimal(3600)


class Lost(Exception):  # noqa: N818
    """The machine is of no use (any more); another one may be."""


@attrs.frozen(kw_only=True)
class Pace:
    """Seconds; tests have shorter ones."""

    poll: float = 10.0
    """Between looks at a machine that is starting."""
    ready: float = 1200.0
    """Until a machine that is not ready is given back."""
    lease: float = 900.0
    """Of silence after which the machine destroys itself."""
    heartbeat: float = 60.0
    """Between renewals of the lease."""
    grace: float = 300.0
    """Kept back of budget and hours, for the last checkpoint and for destroying."""
    destroy: float = 600.0
    """For which destroying is tried before it is given up, loudly."""
    look: float = 5.0
    """Between the machine's own looks at its lease."""
    patience: float = 300.0
    """For which a lost connection is tried again."""
    settle: float = 30.0
    """For which a rental whose answer was lost is looked for by its label."""


@attrs.define(kw_only=True)
class Box:
    """A rented machine and its money."""

    rental: Rental
    hold: ledger.Hold
    batch: int
    """Number in the ledger: holds of a batch outlive this process."""
    usd_per_hour: Decimal
    storage_per_hour: Decimal = Decimal(0)
    running_since: float | None = None
    address: tuple[str, int] | None = None
    host_key: Any = None
    gigabytes: Decimal = Decimal(str(IMAGE_GB + BASE_GB))
    kept: bool = False
    """It could not be given back: nothing else is rented while it may be there."""

    @property
    def place(self) -> str:
        """Our folder on the machine; unique, so that boxes never meet."""
        return f".text2expert/{self.rental.token}"

    def cost(self, until: float) -> Decimal:
        """Dollars from renting it *until* then, rounded up to a thousandth of a cent."""
        began, runs = self.rental.begun, self.running_since
        loading = Decimal(str(max(0.0, (until if runs is None else runs) - began)))
        running = Decimal(0) if runs is None else Decimal(str(max(0.0, until - runs)))
        rent = (loading * self.storage_per_hour + running * self.usd_per_hour) / _HOUR
        return _cents(rent + Decimal(self.rental.usd_per_gb) * self.gigabytes)


class Renting:
    """Rents for one job, books to one ledger, and writes to one journal."""

    def __init__(
        self, account: Account, journal: Journal, book: ledger.Ledger, *, job: str, folder: str, image: str,
        disk_gb: float, max_hours: float, budget: Decimal | None, pace: Pace,
    ) -> None:  # fmt: skip
        self.account = account
        self.journal = journal
        self.book = book
        self.job = job
        self.folder = folder
        self.image = image
        self.disk_gb = disk_gb
        self.max_hours = max_hours
        self.budget = budget
        self.pace = pace

    # -- renting -------------------------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def rented(self, offers: Iterable[Offer]) -> AsyncIterator[Box]:
        """One of *offers*, or the machine of an earlier run of this very job; given back when the block ends.

        Raises:
            RunnerError: None of them could be rented.
            BudgetExhausted: The budget does not cover the worst case of any.
        """
        boxes: list[Box] = []
        try:
            async with contextlib.AsyncExitStack() as stack:
                box = await self._adopted(stack, boxes)
                if box is None:
                    self._check_none_kept(boxes)
                    box = await self._first(offers, stack, boxes)
                yield box
        except Lost:
            self._check_none_kept(boxes)
            raise

    def _check_none_kept(self, boxes: list[Box]) -> None:
        """No second machine beside one that may still be there, and be paid."""
        for box in boxes:
            if box.kept:
                raise RunnerError(
                    f"machine {box.rental.machine} could not be given back, so no other one is rented for this job: run again "
                    "later, or destroy it first (text2expert vast sweep)"
                )

    async def _adopted(self, stack: contextlib.AsyncExitStack, boxes: list[Box]) -> Box | None:
        """A living machine that an earlier process rented for this job; others of this job are given back."""
        found: Box | None = None
        written = set()
        for rental in self.journal.rentals():
            written.add(_remote_id(rental.token))
            if rental.job != self.job or rental.url != self.account.url:
                continue
            if not stack.enter_context(self.journal.held(rental)):
                continue  # another living process is at work on it
            box = await self._taken_up(rental)
            if box is None:
                await self._clear(rental)
                continue
            boxes.append(box)
            stack.push_async_callback(self._give_back, box)
            if found is None and box.rental.machine is not None and await self._lives(box.rental.machine):
                found = box
                say(f"going on with machine {box.rental.machine}, which an earlier run has rented")
            else:
                await self._give_back(box)
        for batch in self.book.open_batches():
            if (batch.remote_id or "").startswith(_remote_id("")) and batch.remote_id not in written:
                self.book.close_batch(
                    batch.id
                )  # the journal is gone: nobody can say what it did cost, but the hold bounds it
        return found

    async def _clear(self, rental: Rental) -> None:
        """What is left of a rental that this ledger has settled, or never held: a machine that came up late."""
        machine = rental.machine if rental.machine is not None else await self._find(rental, patient=False)
        if machine is not None:
            rental = attrs.evolve(rental, machine=machine)
            if not await destroy(self.account, rental, seconds=self.pace.destroy, poll=min(self.pace.poll, 5.0)):
                return
        elif now() < rental.lease_until:
            return
        self.journal.forget(rental)

    async def _taken_up(self, rental: Rental) -> Box | None:
        """The box of a rental that is in this ledger; None where it is in another one, or was settled."""
        for batch in self.book.open_batches():
            if batch.remote_id == _remote_id(rental.token) and batch.holds:
                hold = await self.book.hold(batch.holds[0].key, batch.holds[0].usd, batch=True)
                if rental.machine is None and (machine := await self._find(rental)) is not None:
                    rental = attrs.evolve(rental, machine=machine)
                    self.journal.write(rental)
                rate = Decimal(rental.usd_per_hour)
                # Nobody saw since when it runs: the dearer case.
                return Box(rental=rental, hold=hold, batch=batch.id, usd_per_hour=rate, running_since=rental.begun)
        return None

    async def _lives(self, machine: int) -> bool:
        shown = await self.account.show(machine)
        return shown is not None and shown.get("actual_status") not in DEAD

    async def _first(self, offers: Iterable[Offer], stack: contextlib.AsyncExitStack, boxes: list[Box]) -> Box:
        refused = "nobody offers such a machine now"
        for offer in offers:
            try:
                return await self._rent(offer, stack, boxes)
            except (Gone, Lost) as error:
                self._check_none_kept(boxes)
                refused = str(error) or "it was just rented by somebody else"
        raise RunnerError(
            f"no machine could be rented ({refused}): try again later, or allow others (gpu, max_usd_per_hour, reliability)"
        )

    async def _rent(self, offer: Offer, stack: contextlib.AsyncExitStack, boxes: list[Box]) -> Box:
        token = new_token()
        rental = Rental(
            token=token, job=self.job, folder=self.folder, url=self.account.url, begun=now(),
            lease_until=now() + self.pace.lease, host=offer.machine, usd_per_hour=str(offer.usd_per_hour),
            usd_per_gb=str(offer.usd_per_gb),
        )  # fmt: skip
        if not stack.enter_context(self.journal.held(rental)):
            raise AssertionError(rental.token)  # a new token is nobody's
        self.journal.write(rental)  # before the hold: a hold without a line here could only be booked whole
        try:
            box = await self._set_aside(rental, offer)
        except BaseException:
            self.journal.forget(rental)
            raise
        # From here on there may be a machine, whatever happens.
        boxes.append(box)
        stack.push_async_callback(self._give_back, box)
        start = deadman.script(
            place=f"~/{box.place}", url=self.account.url, lease_s=self.pace.lease,
            limit_s=self.hours(box) * 3600 + self.pace.grace, look_s=self.pace.look,
        )  # fmt: skip
        try:
            machine: int | None = await self.account.create(
                offer.id, label=rental.label, image=self.image, disk_gb=self.disk_gb, onstart=start
            )
        except Unclear:
            machine = await self._find(rental)
            if machine is None:
                await self._give_back(box)
                raise Lost("the answer to renting was lost, and no machine of its label came up") from None
        except (Gone, RunnerError):
            await self._forget(box)
            raise
        box.rental = attrs.evolve(rental, machine=machine)
        self.journal.write(box.rental)
        say(f"rented {offer}; machine {machine}")
        return box

    async def _set_aside(self, rental: Rental, offer: Offer) -> Box:
        """Hold the worst case, or what the budget leaves of it if that is enough for the job."""
        rate = offer.usd_per_hour
        traffic = offer.usd_per_gb * Decimal(str(IMAGE_GB + BASE_GB))
        reserve = Decimal(str((self.pace.grace + self.pace.lease) / 3600)) * rate
        worst = _cents(rate * Decimal(str(self.max_hours)) + traffic + reserve)
        least = _cents(rate * Decimal(str(offer.hours)) + traffic + reserve)
        with ledger.budget(SCOPE, self.budget):
            usd = min(worst, self._room(worst))
            if usd < least:
                raise BudgetExhausted(
                    f"${usd:.2f} of the training budget is left, and the job is expected to need ${least:.2f} on the best "
                    f"offer ({offer}), ${reserve:.2f} of it kept back for giving the machine back: raise the budget and "
                    "run again to go on"
                )
            key = f"rent/{rental.token}"
            hold = await self.book.hold(key, usd, batch=True)
            batch = self.book.open_batch([key])
            self.book.name_batch(batch, _remote_id(rental.token))
        return Box(rental=rental, hold=hold, batch=batch, usd_per_hour=rate)

    def _room(self, most: Decimal) -> Decimal:
        """What all budgets around leave, at most *most*."""
        left = most
        for scope, cap in ledger.caps():
            spent = self.book.spent(scope)
            left = min(left, cap - spent.total - spent.held)
        return max(Decimal(0), left)

    def hours(self, box: Box) -> float:
        """For how long the machine may be used: the hold, less what giving it back may take, at its price."""
        reserve = Decimal(str((self.pace.grace + self.pace.lease) / 3600)) * box.usd_per_hour
        traffic = Decimal(box.rental.usd_per_gb) * box.gigabytes
        paid = float((box.hold.usd - traffic - reserve) / box.usd_per_hour) if box.usd_per_hour else self.max_hours
        return min(self.max_hours, paid)

    async def _find(self, rental: Rental, *, patient: bool = True) -> int | None:
        """The machine of a rental whose answer was lost, by its label; it may come up a little later."""
        until = now() + (self.pace.settle if patient else 0)
        while True:
            with contextlib.suppress(Unclear):
                for each in await self.account.listed():
                    if f"/{rental.token}/" in str(each.get("label")) and type(each.get("id")) is int:
                        return int(each["id"])
            if now() > until:
                return None
            await asyncio.sleep(min(self.pace.poll, 3.0))

    # -- being ready ---------------------------------------------------------------------------------------------------

    async def ready(self, box: Box, python: str | None) -> Remote:
        """Wait until the machine lets us in; the way to it.

        Raises:
            Lost: It does not become ready in time, or never will.
        """
        machine = box.rental.machine
        assert machine is not None
        key = await self._key(box)
        until = now() + self.pace.ready
        while now() < until:
            await self.heartbeat(box)
            shown = await self._shown(machine)
            status = shown.get("actual_status")
            words = printable(str(shown.get("status_msg") or ""))[:300]
            if status in DEAD or (status == "created" and "OCI runtime create failed" in words):
                raise Lost(f"machine {machine} is {status} and will not start: {words}")
            if status == "running":
                box.running_since = box.running_since or now()
                box.storage_per_hour = Decimal(str(shown.get("storage_total_cost") or 0))
                for address in _addresses(shown):
                    if await self._handshake(box, address, key):
                        remote = Remote(
                            lambda: self._connect(box, key),
                            box.place,
                            name=f"machine {machine}",
                            patience=self.pace.patience,
                        )
                        remote.python = python or await _interpreter(remote)
                        return remote
            await asyncio.sleep(self.pace.poll)
        raise Lost(f"machine {machine} was not ready within {self.pace.ready / 60:.0f} minutes")

    async def _shown(self, machine: int) -> dict[str, Any]:
        try:
            shown = await self.account.show(machine)
        except Unclear as error:
            raise Lost(f"machine {machine} cannot be looked at: {error}") from error
        if shown is None:
            raise Lost(f"machine {machine} is gone")
        return shown

    async def _key(self, box: Box) -> "asyncssh.SSHKey":
        """The key for this machine alone, made for it and let in by Vast."""
        import asyncssh  # noqa: PLC0415 - of an extra

        path = self.journal.key(box.rental)
        if path.exists():
            key = asyncssh.read_private_key(path)
        else:
            key = asyncssh.generate_private_key("ssh-ed25519", comment=box.rental.label)
            self.journal.write_key(box.rental, key.export_private_key().decode())
        assert box.rental.machine is not None
        try:
            await self.account.attach(box.rental.machine, key.export_public_key().decode().strip())
        except (Gone, Unclear) as error:
            raise Lost(f"machine {box.rental.machine} takes no key: {error}") from error
        return key

    async def _handshake(self, box: Box, address: tuple[str, int], key: "asyncssh.SSHKey") -> bool:
        """Whether a real login succeeds; the host key that is seen first is the only one from then on."""
        import asyncssh  # noqa: PLC0415 - of an extra

        try:
            if not box.rental.host_key:
                seen = await asyncio.wait_for(asyncssh.get_server_host_key(*address), 30)
                if seen is None:
                    return False
                box.rental = attrs.evolve(box.rental, host_key=seen.export_public_key().decode().strip())
            box.address = address
            connection = await self._connect(box, key)
        except (OSError, asyncssh.Error, TimeoutError, RunnerError):
            return False  # keys arrive late on Vast
        connection.close()
        self.journal.write(box.rental)
        return True

    async def _connect(self, box: Box, key: "asyncssh.SSHKey") -> "asyncssh.SSHClientConnection":
        import asyncssh  # noqa: PLC0415 - of an extra

        assert box.address is not None
        host, port = box.address
        known = asyncssh.import_known_hosts(f"[{host}]:{port} {box.rental.host_key}\n")
        return await connect(
            host, f"machine {box.rental.machine}", port=port, username="root", client_keys=[key], known_hosts=known,
            config=None, agent_path=None,
        )  # fmt: skip

    # -- keeping, paying, giving back --------------------------------------------------------------------------------

    async def heartbeat(self, box: Box, remote: Remote | None = None) -> None:
        """Renew the lease: in the journal, in the label that others read, and on the machine itself."""
        box.rental = attrs.evolve(box.rental, lease_until=now() + self.pace.lease)
        self.journal.write(box.rental)
        if remote is not None:
            await remote.command(deadman.renewal(place=f"~/{box.place}", lease_s=self.pace.lease))
        if box.rental.machine is not None:
            with contextlib.suppress(Unclear, Gone, RunnerError, TimeoutError):  # the journal and the machine know
                await asyncio.wait_for(self.account.rename(box.rental.machine, box.rental.label), self.pace.heartbeat)

    def is_over(self, box: Box) -> bool:
        """Whether giving it back has to begin, by the hold or by the hours."""
        return now() - box.rental.begun >= self.hours(box) * 3600

    async def _give_back(self, box: Box) -> None:
        """Destroy the machine, see that it is gone, and book what it did cost. Once; nothing stops it half-way."""
        if box.batch == 0:
            return
        await asyncio.shield(asyncio.ensure_future(self._destroyed(box)))

    async def _destroyed(self, box: Box) -> None:
        if box.rental.machine is None:
            with contextlib.suppress(RunnerError, Gone):
                machine = await self._find(box.rental)
                box.rental = attrs.evolve(box.rental, machine=machine)
        if box.rental.machine is None:
            # Should it come up all the same, its timer destroys it; until its lease has ended, the journal remembers it.
            self._settle(box, Decimal(0))
            return
        gone = await destroy(self.account, box.rental, seconds=self.pace.destroy, poll=min(self.pace.poll, 5.0))
        if gone:
            # One that was not seen for long has destroyed itself when its lease ended, or shortly after.
            self._settle(box, box.cost(min(now(), box.rental.lease_until + self.pace.grace)))
            self.journal.forget(box.rental)
        else:  # the hold stays open, and the next start takes both up again
            box.kept = True

    def _settle(self, box: Box, usd: Decimal) -> None:
        receipt = {**attrs.asdict(box.rental), "usd": str(usd), "until": now()}
        words = json.dumps(receipt, sort_keys=True)
        self.book.settle(
            box.hold, Completion(text=words, reasoning="", usage=None, finish="stop", model="vast", raw=words), usd
        )
        self.book.close_batch(box.batch)
        box.batch = 0

    async def _forget(self, box: Box) -> None:
        """Nothing was rented: nothing is paid."""
        self._settle(box, Decimal(0))
        self.journal.forget(box.rental)


async def destroy(account: Account, rental: Rental, *, seconds: float, poll: float) -> bool:
    """Destroy a machine and look until it is gone; where that cannot be done, say so as loudly as can be: False."""
    assert rental.machine is not None
    until = now() + seconds
    why: Exception | None = None
    while now() < until:
        try:
            await account.destroy(rental.machine)
            if await account.show(rental.machine) is None:
                return True
        except (Unclear, RunnerError) as error:
            why = error
        await asyncio.sleep(poll)
    say(
        f"\n!!! MACHINE {rental.machine} COULD NOT BE GIVEN BACK and costs ${Decimal(rental.usd_per_hour):.2f} an hour"
        f"{'' if why is None else f' ({why!s:.200})'}.\n!!! Destroy it yourself at {account.url}, or run: text2expert vast sweep\n"
        f"!!! Its own timer does so when its lease ends, at the latest in {max(0, rental.lease_until - now()) / 60:.0f} min.\n"
    )
    return False


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


def _remote_id(token: str) -> str:
    return f"vast/{token}"


def _cents(usd: Decimal) -> Decimal:
    """Rounded up to a thousandth of a cent, which is what a ledger can add."""
    return usd.quantize(Decimal("0.00001"), rounding=ROUND_UP)
