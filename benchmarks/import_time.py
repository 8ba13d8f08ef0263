"""What importing costs: wall and CPU seconds of fresh interpreters, the bare one taken off.

    python benchmarks/import_time.py [--runs 9]

Promise: ``from text2expert import Pipeline`` takes under 0.25 s. Exit code 1 when the median does not.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time

BAR = 0.25
ENTRIES = {
    "(bare interpreter)": "pass",
    "import text2expert": "import text2expert",
    "from text2expert import Pipeline": "from text2expert import Pipeline",
    "Pipeline()": "from text2expert import Pipeline; Pipeline()",
    "import text2expert.cli": "import text2expert.cli",
    "import torch (for scale)": "import torch",
}


def measure(code: str, runs: int) -> tuple[float, float]:
    """Median wall and CPU seconds of *runs* fresh interpreters, after one that warms the page cache."""
    walls, cpus = [], []
    for number in range(runs + 1):
        started = time.perf_counter()
        process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            return float("nan"), float("nan")
        if number:
            walls.append(time.perf_counter() - started)
            cpus.append(usage.ru_utime + usage.ru_stime)
    return statistics.median(walls), statistics.median(cpus)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=9)
    runs = parser.parse_args().runs
    base_wall, base_cpu = measure("pass", runs)
    print(f"{'entry':<36}{'wall s':>9}{'CPU s':>9}   (bare interpreter taken off, median of {runs})")
    taken = {}
    for name, code in ENTRIES.items():
        wall, cpu = measure(code, runs)
        taken[name] = wall - base_wall
        print(f"{name:<36}{wall - base_wall:>9.3f}{cpu - base_cpu:>9.3f}")
    return int(not taken["from text2expert import Pipeline"] < BAR)


if __name__ == "__main__":
    sys.exit(main())
