"""What the ledger costs: to book a request, to open a large one, to look a stored reply up.

    python benchmarks/ledger.py                     # 100,000 replies of 12 kB: 2.5 GB on the disk, a few minutes
    python benchmarks/ledger.py --replies 5000      # the same, quickly

Targets: 100,000 replies of 12 kB open within a second, and at least 15,000 are looked up per second, up to the
`Completion`; a hold and a settlement of a usual reply take well under 150 us of CPU together.

The look-ups go in random order through a ledger that another process has just written. Files that were written lately are
in the operating system's cache; `--cold` asks it to drop this file's pages first, where it can.
"""

import argparse
import asyncio
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from decimal import Decimal
from pathlib import Path

from text2expert.exchange import Completion, Usage
from text2expert.ledger import FILE_NAME, Ledger, budget
from text2expert.records import digest

USAGE = Usage(input_tokens=450, cache_read_tokens=300, output_tokens=3000, reasoning_tokens=2000)
HOLD, COST = Decimal("0.003735"), Decimal("0.00186825")
SMALL = 2_000
"""Characters of a reply with five questions."""


def words(draw: random.Random, n: int) -> str:
    """Text of *n* characters that looks like a reply: words, quotes, line breaks, a few characters outside ASCII."""
    vocabulary = ["".join(draw.choices("etaoinshrdlu", k=draw.randint(2, 9))) for _ in range(500)] + [
        '"',
        "\n",
        "°C",
        "≥",
    ]
    return " ".join(draw.choices(vocabulary, k=n // 4))[:n]


def replies(size: int) -> list[Completion]:
    """A hundred different replies of *size* characters, each with its body."""
    draw = random.Random(1)
    made = []
    for _ in range(100):
        text = words(draw, size)
        raw = json.dumps({"choices": [{"message": {"content": text}, "finish_reason": "stop"}], "model": "m"})
        made.append(Completion(text=text, usage=USAGE, finish="stop", model="m", raw=raw))
    return made


def cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def book(folder: Path, count: int, size: int) -> dict[str, float]:
    """Hold and settle *count* requests, 64 at a time as a run does; microseconds of CPU for each."""
    answers, held, settled = replies(size), 0.0, 0.0
    with Ledger(folder) as ledger, budget("", 10**6), budget("teacher", 10**5):
        for start in range(0, count, 64):
            began = cpu()
            numbers = range(start, min(start + 64, count))
            holds = [await ledger.hold(digest(str(n)), HOLD) for n in numbers]
            half = cpu()
            for hold, n in zip(holds, numbers, strict=True):
                ledger.settle(hold, answers[n % len(answers)], COST)
            held, settled = held + half - began, settled + cpu() - half
    return {"hold_us": held / count * 1e6, "settle_us": settled / count * 1e6}


def look_up(folder: Path, count: int, lookups: int) -> dict[str, float]:
    """Open the ledger and look replies up in random order."""
    draw = random.Random(2)
    keys = [digest(str(draw.randrange(count))) for _ in range(lookups)]
    with Ledger(folder) as ledger:
        began = time.perf_counter()
        spent = ledger.spent()
        opened = time.perf_counter() - began
        began, used = time.perf_counter(), cpu()
        found = sum(ledger.reply(key) is not None for key in keys)
        wall, used = time.perf_counter() - began, cpu() - used
    assert (lookups, count, COST * count) == (found, spent.replies, spent.settled)
    return {"open_s": opened, "per_second": lookups / wall, "per_cpu_second": lookups / used}


def in_a_process(*arguments: object) -> dict[str, float]:
    """The result of this script with *arguments*, in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, *map(str, arguments)], check=True, stdout=subprocess.PIPE, text=True
    )
    result: dict[str, float] = json.loads(done.stdout)
    return result


def drop(path: Path) -> None:
    """Ask the operating system to forget the pages of *path*."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replies", type=int, default=100_000)
    parser.add_argument("--size", type=int, default=12_000, help="characters of each stored reply")
    parser.add_argument("--lookups", type=int, default=30_000)
    parser.add_argument("--cold", action="store_true")
    parser.add_argument("--child", choices=["book", "look_up"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help="where to work; a temporary folder unless given")
    options = parser.parse_args()
    if options.child == "book":
        print(json.dumps(asyncio.run(book(options.folder, options.replies, options.size))))
        return
    if options.child == "look_up":
        print(json.dumps(look_up(options.folder, options.replies, options.lookups)))
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as temporary:
        small, large = Path(temporary, "small"), Path(temporary, "large")
        usual = in_a_process("--child", "book", "--folder", small, "--replies", 5000, "--size", SMALL)
        long = in_a_process("--child", "book", "--folder", large, "--replies", options.replies, "--size", options.size)
        if options.cold:
            drop(large / FILE_NAME)
        found = in_a_process(
            "--child", "look_up", "--folder", large, "--replies", options.replies, "--lookups", options.lookups
        )
        size = (large / FILE_NAME).stat().st_size
    print(f"| {options.replies:,} replies of {options.size:,} characters, {size / 1e9:.2f} GB | |")
    print("|---|---|")
    print(f"| opened in | {found['open_s']:.2f} s |")
    print(f"| look-ups per second | {found['per_second']:,.0f} ({found['per_cpu_second']:,.0f} per CPU second) |")
    print(f"| hold, CPU | {long['hold_us']:.0f} us |")
    print(f"| settle {options.size:,} characters and their body, CPU | {long['settle_us']:.0f} us |")
    print(
        f"| hold and settle {SMALL:,} characters and their body, CPU | {usual['hold_us'] + usual['settle_us']:.0f} us |"
    )


if __name__ == "__main__":
    main()
