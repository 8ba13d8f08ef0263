"""What goes over a rented machine's line is billed, both ways: it is counted, and checkpoints come home as far as it pays."""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from text2expert.records import Job, Stage
from text2expert.runners.machine import Remote, Seen
from text2expert.runners.remote import Work
from text2expert.runners.vast.box import Box
from text2expert.runners.vast.offers import CHECKPOINTS

_WIRE: Final = 1.05
"""Bytes on the line for a byte of a file: headers of packets, SSH's own, what is sent again."""

_TALK: Final = 4096
"""Bytes of opening and closing a channel."""


class Metered(Remote):
    """A machine whose traffic is counted.

    Args:
        remote: The way to it; not to be used beside this one.
        count: Is told how many bytes have gone over the line.
    """

    def __init__(self, remote: Remote, count: Callable[[int], None]) -> None:
        vars(self).update(vars(remote))  # whose connection it goes on with
        self._count = count

    async def command(self, script: str, words: str = "", *, seconds: float = 120.0) -> tuple[int, str]:
        """As `Remote.command`."""
        code, said = await super().command(script, words, seconds=seconds)
        self._count(len(script) + len(words) + len(said) + _TALK)
        return code, said

    async def read(self, name: str, at: int, most: int = 1 << 20) -> bytes:
        """As `Remote.read`."""
        block = await super().read(name, at, most)
        self._count(len(block))
        return block

    async def _put(self, name: str, path: Path, shown: Any) -> None:
        await super()._put(name, path, _Counted(shown, self._count))

    async def _get(self, name: str, place: Path, size: int, shown: Any) -> None:
        await super()._get(name, place, size, _Counted(shown, self._count))


class _Counted:
    """A progress bar that tells what has gone over the line, what was sent again included."""

    def __init__(self, shown: Any, count: Callable[[int], None]) -> None:
        self.n = shown.n
        self._shown = shown
        self._count = count

    def update(self, more: int) -> None:
        """So many bytes *more*; less than nothing where a lost connection made it begin again."""
        self.n += more
        self._shown.update(more)
        if more > 0:
            self._count(more)


class ThriftyWork(Work):
    """Brings checkpoints home on the way as long as their traffic is a small part of the rent.

    A large base saved every few minutes would cost more to carry than to train. Where they become too dear, the one that is
    the newest when the rent has grown is the next to come; the last one comes whatever it costs (`keep`, of a plain `Work`).
    """

    def __init__(self, remote: Remote, job: Job, box: Box, *, hub_token: str = "") -> None:
        super().__init__(remote, job, hub_token=hub_token)
        self._box = box

    async def _keep_checkpoint(self, stage: Stage, seen: Seen) -> None:
        box, name = self._box, f"stages/{stage.name}/{seen.checkpoint}"
        if not seen.checkpoint or (self.folder / name).exists() or not self._pays():
            return
        before = box.carried_gb
        await super()._keep_checkpoint(stage, seen)
        if (self.folder / name).exists():
            box.checkpoint_gb = max(box.checkpoint_gb, box.carried_gb - before)
            box.checkpoints_gb += box.carried_gb - before

    def _pays(self) -> bool:
        """Whether another checkpoint, as large as the largest so far, keeps them within their part of the rent."""
        box = self._box
        dollars = box.price_of(box.checkpoints_gb + box.checkpoint_gb)
        return dollars <= Decimal(str(CHECKPOINTS)) * (box.cost(box.now()) - box.price_of(box.gigabytes))


def metered(remote: Remote, box: Box) -> Metered:
    """*remote*, with its traffic counted in *box*."""

    def count(octets: int) -> None:
        box.carried_gb += octets * _WIRE / 1e9

    return Metered(remote, count)
