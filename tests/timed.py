"""How the time of a piece of work is taken where a test compares two sizes of it."""

import gc
import time
from collections.abc import Callable


def cpu_seconds(work: Callable[[], object], turns: int = 3) -> float:
    """The least CPU time of a few turns, in seconds.

    Without the garbage collector: what it looks through is whatever the tests before have left, not the work.
    """
    times = []
    gc.collect()
    gc.disable()
    try:
        for _ in range(turns):
            started = time.process_time()
            work()
            times.append(time.process_time() - started)
    finally:
        gc.enable()
    return min(times)
