"""The embedded default over several seeds: what the toy knows before and after training, and what that takes.

    python benchmarks/embedded.py                                    the sample handbook, seeds 0, 1, 2
    python benchmarks/embedded.py my.txt --seeds 0 1 --keep DIR      another text; keep the run folders

Exact: the answer equals the expected one, or one of its aliases, after case, punctuation and spacing are set aside.
Graded: the exam's own grading. Seconds are CPU seconds of all stages (the cores may be shared) and wall seconds.
"""

import argparse
import re
import resource
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from text2expert import Pipeline, Trainer
from text2expert.examiner import grade, load_answers
from text2expert.records import ExamQuestion, read_jsonl

SAMPLE = Path(__file__).parent.parent / "text2expert" / "samples" / "respiratory_protocol.txt"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", nargs="?", type=Path, default=SAMPLE)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--keep", type=Path)
    arguments = parser.parse_args()
    shares: dict[tuple[str, str], list[float]] = defaultdict(list)
    print(f"{'seed':>4}  {'when':<6}  {'row':<12}  {'n':>4}  {'exact':>6}  {'graded':>6}")
    with tempfile.TemporaryDirectory() as scratch:
        for seed in arguments.seeds:
            folder = (arguments.keep or Path(scratch)) / f"seed_{seed}"
            wall, cpu = time.monotonic(), _cpu_seconds()
            Pipeline(seed=seed, trainer=Trainer(seed=seed)).run(arguments.text, out=folder)
            wall, cpu = time.monotonic() - wall, _cpu_seconds() - cpu
            exam = list(read_jsonl(folder / "exam.jsonl", ExamQuestion))
            for when in ("before", "after"):
                given = load_answers(folder / "stages" / when / "answers.jsonl")
                answers = {id_: answer.text for id_, answer in given.items()}
                for row in dict.fromkeys(question.row for question in exam):
                    asked = [question for question in exam if question.row == row]
                    exact = _percent([_is_exact(question, answers[question.id]) for question in asked])
                    graded = _percent([grade(question, answers[question.id]) for question in asked])
                    shares[when, row].append(exact)
                    print(f"{seed:>4}  {when:<6}  {row:<12}  {len(asked):>4}  {exact:>6.1f}  {graded:>6.1f}")
            print(f"{seed:>4}  the whole run: {cpu:.0f} CPU seconds, {wall:.0f} wall seconds", flush=True)
    print("\nexact over the seeds: lowest / mean")
    for (when, row), values in shares.items():
        print(f"  {when:<6}  {row:<12}  {min(values):>5.1f} / {statistics.mean(values):>5.1f}")
    missed = [
        f"{row} {when}: {value}"
        for (when, row), limit in {("after", "taught"): 98.0, ("after", "held_out"): 90.0}.items()
        for value in shares[when, row]
        if value < limit
    ] + [
        f"{row} before: {value}"
        for (when, row), values in shares.items()
        for value in values
        if when == "before" and value > 3
    ]
    sys.exit(f"missed: {missed}" if missed else None)


def _is_exact(question: ExamQuestion, answer: str) -> bool:
    return _plain(answer) in [_plain(right) for right in (question.answer or "", *question.aliases)]


def _plain(text: str) -> list[str]:
    return re.sub(r"[^\w ]", "", text.casefold()).split()


def _percent(right: list[bool]) -> float:
    return 100 * sum(right) / len(right)


def _cpu_seconds() -> float:
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


if __name__ == "__main__":
    main()
