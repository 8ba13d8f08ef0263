"""What every recipe does around its work: read its job, tell how far it is, choose threads, write ``done.json`` last.

A recipe is run in the job's folder as ``python lora.py stages/train/job.json``; the paths in its settings are relative
to that folder.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch


class Stage:
    """One stage of a job: its settings, and where its results go."""

    def __init__(self, job: str) -> None:
        data = Path(job).read_bytes()
        self.settings: dict[str, Any] = json.loads(data)
        self.job_sha256 = hashlib.sha256(data).hexdigest()
        self.folder = Path(job).parent
        self.started = time.monotonic()
        self.writes = os.environ.get("RANK", "0") == "0"
        """Whether this process writes files: of several that share a stage, the first one does."""
        if self.writes:
            (self.folder / "progress.jsonl").unlink(missing_ok=True)

    def progress(self, done: int, total: int, **more: float) -> None:
        """Append a line that says *done* of *total*, for the progress bar of whoever waits.

        Args:
            done: Steps done.
            total: Steps in all.
            **more: "loss", "tokens_per_second", "seconds_left", "memory_gb" (the most so far, in 10^9 bytes) and
                "validation" (share of its answers that are right) are shown beside the bar.
        """
        self._append({"done": done, "total": total, **more})

    def say(self, text: str) -> None:
        """Tell *text* to whoever waits, and to the log."""
        print(text, flush=True)
        self._append({"said": text})

    def _append(self, line: dict[str, Any]) -> None:
        if self.writes:
            with open(self.folder / "progress.jsonl", "a", encoding="utf-8") as file:
                file.write(json.dumps(line, ensure_ascii=False) + "\n")

    def finish(self, **results: object) -> None:
        """Write ``done.json``: from now on this stage is not run again for the same settings."""
        if not self.writes:
            return
        seconds = round(time.monotonic() - self.started, 3)
        write_json(self.folder / "done.json", {"job_sha256": self.job_sha256, "seconds": seconds, **results})


def write_json(path: Path, value: object) -> None:
    """Write *value* to *path*, whole or not at all."""
    temporary = path.with_name(f".{path.name}.tmp")
    with open(temporary, "w", encoding="utf-8") as file:
        json.dump(value, file, indent=2, sort_keys=True, ensure_ascii=False)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def read_jsonl(path: str) -> list[dict[str, Any]]:
    """The objects of a JSONL file; blank lines, and a byte order mark at its beginning, are passed over."""
    with open(path, encoding="utf-8-sig", newline="\n") as file:
        return [json.loads(line) for line in file if line.strip()]


def choose_threads(step: Callable[[], object]) -> int:
    """The number of threads with which *step*, a few representative calculations, is fastest here and now.

    One thread beats two by a factor of three while other programs keep the cores busy, and loses to two by a third
    when they do not, so it is measured: each count three times, its best time counts. ``OMP_NUM_THREADS`` decides
    without a measurement; a GPU makes the question moot.
    """
    if torch.cuda.is_available() or "OMP_NUM_THREADS" in os.environ:
        return int(torch.get_num_threads())
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    seconds: dict[int, float] = {}
    for threads in (count for count in (1, 2, 4, 8) if count <= cores):
        torch.set_num_threads(threads)
        first = _seconds(step)  # it also pays for memory and thread pools, which only matters when steps are short
        seconds[threads] = first if first > 2 else min(_seconds(step) for _ in range(3))
    best = min(seconds, key=lambda threads: seconds[threads])
    torch.set_num_threads(best)
    print(f"threads: {best} of {cores} cores (seconds a step: { {n: round(s, 3) for n, s in seconds.items()} })")
    return best


def _seconds(step: Callable[[], object]) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start
