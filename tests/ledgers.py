"""What the tests of the ledger share."""

import asyncio
import functools

from text2expert.exchange import Completion, Usage

USAGE = Usage(input_tokens=10, cache_read_tokens=4, cache_write_tokens=2, output_tokens=7, reasoning_tokens=3)
ANSWER = Completion(text="yes", reasoning="because", usage=USAGE, finish="stop", model="m", raw='{"text": "yes"}')


def on_a_loop(test):
    """Run an async test on an event loop of its own."""

    @functools.wraps(test)
    def run(*args, **kwargs):
        return asyncio.run(test(*args, **kwargs))

    return run


async def waits(task):
    """Let everything that can happen happen; whether *task* still waits."""
    for _ in range(6):
        await asyncio.sleep(0)
    return not task.done()
