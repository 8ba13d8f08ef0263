"""Renting a GPU from Vast.ai for one job: searched for, rented, used, paid, and given back on every path out."""

import asyncio
import contextlib
import functools
import os
from collections.abc import Awaitable, Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs

from text2expert import _arguments, ledger
from text2expert._progress import say
from text2expert.errors import (
    AuthenticationFailed,
    BudgetExhausted,
    InputError,
    OutOfBalance,
    ProviderError,
    RunnerError,
)
from text2expert.records import Job, Quote
from text2expert.runners.local import is_done
from text2expert.runners.machine import Remote
from text2expert.runners.remote import Work
from text2expert.runners.ssh import check_installed as check_ssh
from text2expert.runners.ssh import prepare
from text2expert.runners.vast import offers
from text2expert.runners.vast.account import BILLING, Account, Gone, Unclear, check_installed
from text2expert.runners.vast.box import Box, Lost, Over, Pace
from text2expert.runners.vast.journal import Journal
from text2expert.runners.vast.offers import Offer
from text2expert.runners.vast.reaching import reach
from text2expert.runners.vast.renting import Renting
from text2expert.runners.vast.sweeping import Found, sweep, tidy
from text2expert.runners.vast.traffic import ThriftyWork, metered

__all__ = ["Found", "Offer", "Pace", "Vast", "sweep"]


def _positive(_: Any, attribute: "attrs.Attribute[Any]", value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise InputError(f"{attribute.name} must be a finite number above 0, got {value!r}")


def _share(_: Any, attribute: "attrs.Attribute[Any]", value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise InputError(f"{attribute.name} must be a share from 0 to 1 (0.97, not 97), got {value!r}")


def _name(_: Any, attribute: "attrs.Attribute[Any]", value: object) -> None:
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"{attribute.name} must be a name as Vast has it, such as 'RTX_4090', got {value!r}")


@attrs.frozen(kw_only=True)
class Vast:
    """Rents a machine of Vast.ai, runs the stages of a job on it, and gives it back.

    The machine destroys itself when nobody has renewed its lease for a quarter of an hour, so that a computer that dies
    here leaves no bill. Run again, the same call goes on with the machine if it is still there, else with the last
    checkpoint on another one. What was spent stands in the run's ledger.

    The machine belongs to a stranger, who could read what is on it: the golden dataset, the text that is trained on,
    and the expert. No key of yours goes there.

    Args:
        gpu: As Vast calls it, e.g. ``RTX_4090``.
        gpus: How many on one machine.
        budget: US dollars that renting may ever cost in one run folder. None: no limit but the run's and *max_hours*.
        max_hours: After which a machine is given back whatever it does.
        max_usd_per_hour: Dearer offers are not taken.
        reliability: The least share of time, 0 to 1, in which a machine was there.
        disk_gb: Room for image, base and checkpoints; it cannot grow later. A base that is known to need more gets more.
        image: Container image with torch and CUDA.
        python: The interpreter in it; None looks for the one that has torch.
        tries: Machines that may be rented, or asked for without an answer, one after another, for one call.
        api_key: None takes VAST_API_KEY, or the key that Vast's own command line has stored.
        send_hub_token: Let HF_TOKEN of this environment go to the stranger's machine, for a gated base.
        pace: Intervals and limits, in seconds.
    """

    gpu: str = attrs.field(default="RTX_4090", validator=_name)
    gpus: int = attrs.field(default=1, validator=_arguments.whole(1))
    budget: Decimal | float | None = attrs.field(default=None, validator=_arguments.dollars)
    max_hours: float = attrs.field(default=6.0, validator=_positive)
    max_usd_per_hour: float | None = attrs.field(default=None, validator=attrs.validators.optional(_positive))
    reliability: float = attrs.field(default=0.97, validator=_share)
    disk_gb: float = attrs.field(default=80.0, validator=_positive)
    image: str = "vastai/pytorch"
    python: str | None = None
    tries: int = attrs.field(default=3, validator=_arguments.whole(1))
    api_key: str | None = attrs.field(default=None, repr=False)
    send_hub_token: bool = False
    pace: Pace = attrs.field(factory=Pace, repr=False)

    def check(self) -> None:
        """Say now, not after an hour of teaching, what is missing here.

        Raises:
            MissingExtraError: vastai-sdk or asyncssh is not installed.
            AuthenticationFailed: There is no key.
        """
        check_ssh()
        check_installed()
        self._account()

    @property
    def host(self) -> str:
        """Whose machine it is, for plans."""
        return "a machine rented from Vast.ai"

    async def quote(self, job: Job) -> Quote:
        """What *job* would cost and take on the best offer of this moment, and at most, on the dearest ones.

        Raises:
            RunnerError: Nobody offers such a machine, or Vast.ai cannot be asked.
            MissingExtraError: vastai-sdk is not installed.
            AuthenticationFailed: There is no key.
        """
        try:
            found = await self.offers(job, limit=64)
        except Unclear as error:
            raise RunnerError(f"Vast.ai cannot be asked: {error}") from error
        if not found:
            raise RunnerError(await self._refusal(job))
        most = self.tries * max(map(self._worst, found))
        best = found[0]
        usd, least = float(best.usd), float(self._least(best))
        return Quote(usd=usd, seconds=best.hours * 3600, most=float(most), least=least)

    async def afford(self, quote: Quote | None) -> None:
        """Look at the account: whether its key is accepted, and its credit enough for what *quote* asks for at least.

        Asked before anything else is paid for the same run, so that no teaching is paid whose training cannot be.

        Raises:
            AuthenticationFailed: The key is missing or not accepted, or may not read the account.
            OutOfBalance: The credit does not cover it.
            RunnerError: Vast.ai cannot be asked, so that neither is known.
        """
        least = 0.0 if quote is None else quote.usd if quote.least is None else quote.least
        try:
            left = await self._account().credit()
        except Unclear as error:
            raise RunnerError(
                f"Vast.ai cannot be asked whether a machine can be paid for ({error}), so nothing else is paid for either: run "
                "again when it answers, train elsewhere (--runner ssh:user@host), or stop before training "
                "(fine_tune=False, --no-fine-tune)"
            ) from error
        if left is None:
            say(
                "Vast.ai does not say what is left in the account: whether the machine can be paid for shows when it is rented"
            )
        else:
            _check_covers(left, Decimal(str(least)))

    async def near(self, job: Job) -> list[str]:
        """Names of GPUs that *gpu* may have been meant for, where Vast has none of that name that can do *job*."""
        try:
            found = await self._offered(self._account(), job, gpu=None)
        except (Unclear, RunnerError, ProviderError):  # the names that are known here will do
            found = []
        return offers.near(self.gpu, (str(each.get("gpu_name") or "") for each in found))

    async def _refusal(self, job: Job) -> str:
        """That nobody offers what is looked for, and what to do."""
        names = await self.near(job)
        hint = f"Vast has names that are near: {', '.join(names)}; " if names else ""
        return f"nobody offers {self._wanted(job)} now: {hint}{_WIDER}"

    def _least(self, offer: Offer) -> Decimal:
        """Dollars without which *offer* is not rented."""
        return min(offers.least(offer, seconds=self.pace.grace + self.pace.lease), self._worst(offer))

    def _worst(self, offer: Offer) -> Decimal:
        """Dollars for a machine that is used up to the last of its hours and gives itself back."""
        return offers.worst(offer, hours=self.max_hours, seconds=self.pace.grace + self.pace.lease)

    async def offers(self, job: Job, *, limit: int = 10) -> list[Offer]:
        """The best offers for *job*, by dollars per expected finished job."""
        return (await self._search(self._account(), job, set()))[:limit]

    async def run(self, job: Job) -> None:
        """Run *job*; see `text2expert.runners.Runner`. Nothing is rented for one that is done.

        Raises:
            RunnerError: No machine could be rented, each one failed, a stage failed, or what came back may not.
            BudgetExhausted: The budget or the hours are used up; the last checkpoint is here, and the same call with a
                larger one goes on from it.
            MissingExtraError: vastai-sdk or asyncssh is not installed; nothing was rented.
        """
        self.check()
        account, journal = self._account(), Journal()
        with _book(job) as book:
            renting = Renting(
                account, journal, book, job=job.id, folder=job.folder, image=self.image,
                disk_gb=self._disk_gb(job), needs=job.needs, max_hours=self.max_hours,
                budget=None if self.budget is None else Decimal(str(self.budget)), pace=self.pace,
            )  # fmt: skip
            await tidy(account, journal, but=renting.takes_up)
            if all(is_done(Path(job.folder), stage) for stage in job.stages):
                await _clear(renting)
                return
            done = False
            try:
                await self._rent(account, renting, job)
                done = True
            except (Unclear, Gone) as error:
                raise RunnerError(f"Vast.ai does not answer as it should: {error}; run again to go on") from error
            finally:
                await renting.finish(done=done)

    async def _rent(self, account: Account, renting: Renting, job: Job) -> None:
        """Run *job* on one machine after another, until one has finished it or it is known that none will."""

        async def search() -> list[Offer]:
            found = await self._search(account, job, renting.excluded)
            if not found and not renting.excluded:
                raise RunnerError(await self._refusal(job))
            if found:
                await _check_credit(account, self._least(found[0]))
            return found

        for number in range(1, self.tries + 1):
            try:
                async with renting.rented(search) as box:
                    renting.excluded.add(box.rental.host or 0)
                    await self._work(renting, box, job)
                    return
            except Lost as error:
                say(f"{error}; machine {number} of at most {self.tries}")
                why = error
        raise RunnerError(
            f"{self.tries} machines were rented and none finished the job ({why}): all were given back; run again to go on, "
            "from the last checkpoint if there is one"
        )

    async def _work(self, renting: Renting, box: Box, job: Job) -> None:
        remote: Remote | None = None
        keep: Callable[[float], Awaitable[None]] = _nothing
        try:
            remote = metered(await reach(renting, box, self.python), box)
            token = os.environ.get("HF_TOKEN", "") if self.send_hub_token else ""
            work = ThriftyWork(remote, job, box, hub_token=token)
            keep = functools.partial(_keep, Work(remote, job))  # one that has tried nothing yet
            await renting.while_kept(box, remote, _stages(renting, box, remote, work))
        except Over:
            await keep(self.pace.grace)
            raise BudgetExhausted(
                f"renting has used up its budget or its {self.max_hours:g} hours (${box.cost(box.now()):.2f} for this machine): the "
                "last checkpoint is here and the machine is given back; raise budget or max_hours and run again to go on"
            ) from None
        except RunnerError as error:
            if remote is None or await _is_to_blame(renting, box, remote):
                raise Lost(f"machine {box.rental.machine} is gone: {error!s:.300}") from error
            raise
        except asyncio.CancelledError:
            await keep(min(30.0, self.pace.grace))
            raise
        finally:
            if remote is not None:
                await remote.close()

    def _wanted(self, job: Job) -> str:
        """What is looked for, in words."""
        below = "" if self.max_usd_per_hour is None else f", below ${self.max_usd_per_hour:g} an hour"
        return (
            f"{self.gpus} x {self.gpu} with {self._disk_gb(job):.0f} GB of disk, there {100 * self.reliability:g} % of the "
            f"time{below}"
        )

    def _account(self) -> Account:
        return Account(self.api_key)

    async def _search(self, account: Account, job: Job, excluded: set[int]) -> list[Offer]:
        return offers.rank(await self._offered(account, job, gpu=self.gpu), job.needs, excluded=excluded)

    async def _offered(self, account: Account, job: Job, *, gpu: str | None) -> list[dict[str, Any]]:
        """Machines that can do *job*; of any GPU where *gpu* is None."""
        query = offers.query(
            gpu=gpu, gpus=self.gpus, usd_per_hour=self.max_usd_per_hour, disk_gb=self._disk_gb(job),
            reliability=self.reliability, vram_gb=job.needs.vram_gb,
        )  # fmt: skip
        return await account.offers(query, disk_gb=self._disk_gb(job), limit=64 if gpu else 1000)

    def _disk_gb(self, job: Job) -> float:
        return max(self.disk_gb, offers.IMAGE_DISK_GB + job.needs.disk_gb)


_ROOM = "cd {folder} && head -c 1048576 /dev/zero > .room && rm .room"
"""Whether a megabyte more can be written there."""

_WIDER = (
    "allow others (gpu=, max_usd_per_hour=, reliability=; the names are Vast's, such as RTX_4090), or try again later"
)


async def _check_credit(account: Account, least: Decimal) -> None:
    """No machine is rented that the account cannot pay: Vast would stop it in the middle, and keep what was paid."""
    try:
        left = await account.credit()
    except (Unclear, AuthenticationFailed, RunnerError) as error:  # renting itself says what is wrong
        say(f"it is not known what is left in the account at Vast.ai: {error}")
        return
    if left is not None:
        _check_covers(left, least)


def _check_covers(left: Decimal, least: Decimal) -> None:
    if left <= 0 or left < least:
        needs = f"and the job is not begun with less than ${least:,.2f}" if least else "and renting costs money"
        raise OutOfBalance(
            f"the account at Vast.ai has ${left:,.2f} of credit left, {needs}: nothing was rented; add credit at {BILLING} and "
            "run again"
        )


async def _stages(renting: Renting, box: Box, remote: Remote, work: Work) -> None:
    try:
        await prepare(remote)
    except RunnerError as error:
        raise Lost(f"{error}") from error
    renting.fetches_base(box)
    await work.run()


async def _clear(renting: Renting) -> None:
    """Give back what earlier runs of a job that is done have left; that this cannot be done is said, and tried again."""
    try:
        await renting.clear()
    except (RunnerError, ProviderError, Unclear, Gone) as error:
        say(
            f"the job is done, and it is not known whether a machine of it is left: {error}; run again, or text2expert vast sweep"
        )


async def _keep(work: Work, seconds: float) -> None:
    """Bring the last checkpoint home, if that can be done in time."""
    with contextlib.suppress(RunnerError, TimeoutError, OSError):
        async with asyncio.timeout(seconds):
            await work.keep()


async def _nothing(_: float) -> None:
    """What can be kept of a machine that was never reached."""


async def _is_to_blame(renting: Renting, box: Box, remote: Remote) -> bool:
    """Whether a failure was the machine's and not the job's: it is gone, mute, or takes no more files."""
    try:
        if not await renting.lives(box):
            return True
        async with asyncio.timeout(renting.pace.lease / 3):
            code, _ = await remote.command(_ROOM.format(folder=remote.folder))
    except Exception:  # noqa: BLE001 - when even that cannot be said, another machine is worth a try
        return True
    return code != 0


@contextlib.contextmanager
def _book(job: Job) -> Iterator[ledger.Ledger]:
    """The ledger that is open, else that of the job's folder."""
    opened = ledger.opened()
    if opened is not None:
        yield opened
        return
    with ledger.Ledger(job.folder) as book:
        yield book
