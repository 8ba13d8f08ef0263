"""Many coroutines at a time: what becomes of the rest when one fails, or when nobody wants more."""

import asyncio
import contextlib

import pytest

from text2expert import _tasks
from text2expert._tasks import as_done, in_order


class Work:
    """Coroutines that take a moment, of which some fail, and what became of each."""

    def __init__(self, *, failing=(), seconds=0.02):
        self.failing, self.seconds = failing, seconds
        self.begun, self.ended, self.cancelled = [], [], []

    async def one(self, number):
        self.begun.append(number)
        if number in self.failing:
            raise ValueError(number)
        try:
            await asyncio.sleep(self.seconds)
        except asyncio.CancelledError:
            self.cancelled.append(number)
            raise
        self.ended.append(number)
        return number

    def all(self, count=20):
        return (self.one(number) for number in range(count))


both = pytest.mark.parametrize("loop", [in_order, as_done])


async def gathered(loop, work, window=5):
    return [result async for result in loop(work.all(), window)]


@both
def test_all_results_come_and_no_more_than_a_window_is_under_way(loop):
    work = Work()
    assert list(range(20)) == sorted(asyncio.run(gathered(loop, work)))
    assert [] == work.cancelled


@both
def test_when_one_fails_nothing_more_begins_and_what_is_under_way_may_end(loop):
    """A request that is cancelled was perhaps billed."""
    work = Work(failing=[0, 1])
    with pytest.raises(ValueError, match=r"0|1"):
        asyncio.run(gathered(loop, work))
    assert [0, 1, 2, 3, 4] == work.begun
    assert [] == work.cancelled
    assert [2, 3, 4] == work.ended


@both
def test_it_may_not_take_for_ever(loop, monkeypatch):
    monkeypatch.setattr(_tasks, "GRACE_S", 0.01)
    work = Work(failing=[0], seconds=60)
    with pytest.raises(ValueError, match="0"):
        asyncio.run(asyncio.wait_for(gathered(loop, work), 5))
    assert [1, 2, 3, 4] == sorted(work.cancelled)


@both
def test_a_loop_that_is_left_leaves_nothing_behind(loop):
    work = Work()

    async def story():
        async with contextlib.aclosing(loop(work.all(), 5)) as results:
            async for _ in results:
                break
        return asyncio.all_tasks() - {asyncio.current_task()}

    assert set() == asyncio.run(story())
    assert [] == work.cancelled


@both
def test_an_interrupt_cancels_at_once(loop):
    work = Work(seconds=60)

    async def story():
        task = asyncio.create_task(gathered(loop, work))
        await asyncio.sleep(0.02)
        task.cancel()
        await asyncio.wait([task])
        return task.cancelled()

    assert asyncio.run(asyncio.wait_for(story(), 2))
    assert [0, 1, 2, 3, 4] == sorted(work.cancelled)
