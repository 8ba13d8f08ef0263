"""The knowledge lab: which recipe makes a model know a document, and what it forgets meanwhile.

    python benchmarks/knowledge.py                  all recipes, seeds 0, 1, 2: the table of docs/training.md
    python benchmarks/knowledge.py --quick          one seed
    python benchmarks/knowledge.py --check          fail where the Trainer's defaults miss their bars
    python benchmarks/knowledge.py --results FILE   keep every result as a line of FILE, and train what it lacks

A tiny base knows population A; a document tells of 60 other people. Every recipe is trained by `text2expert.Trainer` on
that base with the same number of optimizer steps, and sits the same exam. A fact's exam wording is never trained for
that fact, in any recipe; the base knows it from population A. What is ranked here are recipes: the values themselves
belong to this base and this world.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import runpy
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any, Literal

import attrs
from knowledge_people import (
    FORMS,
    QUESTIONS,
    REFUSALS,
    Person,
    World,
    exam,
    gold,
    passage,
    refusals,
    restatement,
    world,
)

from text2expert import Trainer
from text2expert.examiner import load_answers
from text2expert.files import safe_name
from text2expert.records import ExamQuestion, Job, Stage, digest
from text2expert.runners.local import RECIPES, is_done

CACHE = Path("~/.cache/text2expert-lab").expanduser()

COLUMNS = (
    "held-out wording",
    "seen wording",
    "never asked",
    "old facts kept",
    "of them not in the replay",
    "strangers refused",
    "false refusals",
)

BARS = {"held-out wording": 0.97, "old facts kept": 0.95}
"""What the Trainer's defaults must reach with every seed. The other columns have no bar."""

RESTATEMENTS = 4
"""Of each passage, beside the document itself."""


DEFAULT = "the Trainer's defaults"
"""They come with validation, which keeps some wordings out of training and may end it early; the others do without."""

Texts = Literal["none", "document", "document and restatements"]


@attrs.frozen(kw_only=True)
class Recipe:
    """What is trained; the arguments go to the Trainer as they are."""

    name: str
    wordings: int
    """Of each question. 0: none about the document, but a few of population A, since no training is without any."""
    texts: Texts = "none"
    arguments: dict[str, Any] = attrs.field(factory=dict)


_BARE: dict[str, Any] = {"text_share": 0, "replay": False, "refusals": 0, "validation": 0}
_TEXT: dict[str, Any] = {**_BARE, "text_share": 0.98}
_FULL: Texts = "document and restatements"

RANKED = (
    Recipe(name="text: document", wordings=0, texts="document", arguments=_TEXT),
    Recipe(name="text: document and restatements", wordings=0, texts=_FULL, arguments=_TEXT),
    Recipe(name="one wording", wordings=1, arguments=_BARE),
    Recipe(name="five wordings", wordings=5, arguments=_BARE),
    Recipe(name="five wordings, text", wordings=5, texts=_FULL, arguments={**_BARE, "text_share": None}),
    Recipe(name="five wordings, replay", wordings=5, arguments={**_BARE, "replay": "all"}),
    Recipe(name="five wordings, text, replay", wordings=5, texts=_FULL, arguments={"replay": "all", "validation": 0}),
    Recipe(
        name="five wordings, text, replay of half",
        wordings=5,
        texts=_FULL,
        arguments={"replay": "half", "validation": 0},
    ),
    Recipe(
        name="five wordings, text, replay, refusals",
        wordings=5,
        texts=_FULL,
        arguments={"replay": "all", "refusals": "strangers", "validation": 0},
    ),
    # So small a base writes its replay only where that is asked for.
    Recipe(name=DEFAULT, wordings=5, texts=_FULL, arguments={"replay": "self"}),
)
"""Where an argument is None or left out, it is the Trainer's own default for a base with weights."""

SLOW = ("text: document", "five wordings, replay", "five wordings, text, replay of half")
"""What --quick leaves out."""

STEPS = 400
SAME: dict[str, Any] = {
    "max_steps": STEPS,
    "epochs": 1000,
    "batch_size": 32,
    "learning_rate": 2.5e-3,
    "r": 16,
    "alpha": 32,
}
"""What every recipe has in common; chosen for the tiny base, so none of it is advice."""


class Forked:
    """A runner whose stages are forks of one process that has loaded the libraries, which saves seconds each time."""

    def __init__(self) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["peft", "accelerate", "transformers.models.llama.modeling_llama"])

    async def run(self, job: Job) -> None:
        """Run *job*; see `text2expert.runners.Runner`."""
        folder = Path(job.folder)
        for stage in job.stages:
            process = self._context.Process(target=_run_recipe, args=(folder, stage))
            process.start()
            await asyncio.to_thread(process.join)
            if process.exitcode or not is_done(folder, stage):
                log = (folder / "stages" / stage.name / "log.txt").read_text(encoding="utf-8")
                raise RuntimeError(f"stage {stage.name} of {folder} failed:\n{log[-3000:]}")


def _run_recipe(folder: Path, stage: Stage) -> None:
    """Be the recipe of *stage*, in a process of its own."""
    os.chdir(folder)
    place = Path("stages", stage.name)
    log = os.open(place / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    recipe, *arguments = stage.argv
    sys.path.insert(0, str(RECIPES))
    sys.argv = [recipe, *arguments]
    runpy.run_path(str(RECIPES / recipe), run_name="__main__")
    (place / "cpu_seconds").write_text(str(time.process_time()), encoding="utf-8")


@attrs.frozen(kw_only=True)
class Result:
    """Shares of the exam by column, and what the training took."""

    shares: dict[str, float | None]
    before: dict[str, float | None] = attrs.field(factory=dict)
    """The same of the base before training."""
    tokens: int
    steps: int
    cpu_seconds: float


def write_files(place: Path, everybody: World) -> dict[str, Path]:
    """What the recipes read, by the names that they use.

    Replay is of all of population A or of half of it, so that what is not replayed shows in the other half. Neither
    holds the wording in which the exam asks for a fact.
    """
    document = [passage(person) for person in everybody.written]
    told = {
        "document": [{"text": text} for text in document],
        "document and restatements": [{"text": text} for text in document + restated(everybody.written)],
        "all": known(everybody.known),
        "half": known(everybody.known[::2]),
        "strangers": refusals(everybody),
    }
    place.mkdir(parents=True, exist_ok=True)
    files = {name: place / f"{safe_name(name)}.jsonl" for name in told}
    for name, rows in told.items():
        files[name].write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return files


def restated(people: tuple[Person, ...]) -> list[str]:
    return [restatement(person, number) for number in range(RESTATEMENTS) for person in people]


def known(people: tuple[Person, ...]) -> list[dict[str, Any]]:
    """What there is to replay of *people*: questions with answers, and texts."""
    asked = [{"instruction": each.instruction, "output": each.output} for each in gold(people, FORMS - 1)]
    return [*asked, *({"text": text} for text in restated(people))]


def train(recipe: Recipe, seed: int, base: Path, folder: Path, files: dict[str, Path], runner: Forked) -> Result:
    """Train *recipe* and sit the exam."""
    everybody = world()
    arguments = {name: files.get(value, value) for name, value in recipe.arguments.items()}
    records = gold(everybody.asked, recipe.wordings) or gold(everybody.known[:1], 1)
    questions = exam(everybody)
    texts = [files[recipe.texts]] if recipe.texts != "none" else []
    trainer = Trainer(base, seed=seed, runner=runner, **SAME, **arguments)
    trainer.train(records, folder=folder, texts=texts, exam=questions)
    answers = {
        when: {id_: answer.text for id_, answer in load_answers(folder / "stages" / when / "answers.jsonl").items()}
        for when in ("before", "after")
    }
    settings = json.loads((folder / "stages" / "train" / "job.json").read_bytes())
    replay = settings.get("replay")
    log = [json.loads(line) for line in open(folder / "expert" / "training_log.jsonl", encoding="utf-8")]
    replayed = (folder / replay).read_text(encoding="utf-8") if replay else ""
    return Result(
        shares=shares(questions, answers["before"], answers["after"], replayed),
        before=shares(questions, answers["before"], answers["before"], ""),
        tokens=sum(line["tokens"] for line in log),
        steps=len(log),
        cpu_seconds=sum(float(path.read_text()) for path in folder.glob("stages/*/cpu_seconds")),
    )


def shares(
    questions: list[ExamQuestion], before: dict[str, str], after: dict[str, str], replay: str
) -> dict[str, float | None]:
    """Each column's share; None where there is nothing to count.

    *replay*: what was trained of population A. A fact is in it where one line holds both name and value.
    """
    counted: dict[str, list[bool]] = defaultdict(list)
    lines = replay.splitlines()
    for question in questions:
        column, who = question.id.split(": ", 1)
        answer = after[question.id]
        right, refused = answer == f"{question.answer}.", answer in REFUSALS
        if column == "strangers":
            counted["strangers refused"].append(refused)
            continue
        if column == "old facts":
            if before[question.id] != f"{question.answer}.":
                continue  # what the base did not know cannot be kept
            counted["old facts kept"].append(right)
            name = who.split(",")[0]
            if lines and not any(name in line and str(question.answer) in line for line in lines):
                counted["of them not in the replay"].append(right)
        else:
            counted[column].append(right)
        counted["false refusals"].append(refused)
    return {column: statistics.mean(counted[column]) if counted[column] else None for column in COLUMNS}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one seed, and not all recipes")
    parser.add_argument("--check", action="store_true", help="exit with an error where a bar is missed")
    parser.add_argument("--seeds", nargs="+", type=int)
    parser.add_argument("--recipes", nargs="+", help="only those whose name contains one of these words")
    parser.add_argument("--results", type=Path, help="JSONL: what is in it is not trained again")
    parser.add_argument("--cache", type=Path, default=CACHE, help=f"where the base is kept (default: {CACHE})")
    parser.add_argument("--keep", type=Path, help="keep the folders of all trainings here")
    arguments = parser.parse_args()
    os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    seeds = arguments.seeds or ([0] if arguments.quick else [0, 1, 2])
    chosen = [each for each in RANKED if each.name not in SLOW or not arguments.quick]
    if arguments.recipes:
        chosen = [each for each in chosen if any(word in each.name for word in arguments.recipes)]
    results = read_results(arguments.results)
    everybody = world()
    base = cached_base(arguments.cache, everybody)
    with tempfile.TemporaryDirectory() as scratch:
        place = arguments.keep or Path(scratch)
        files = write_files(place, everybody)
        runner = Forked()
        for recipe, seed in ((recipe, seed) for seed in seeds for recipe in chosen):
            if (recipe.name, seed) in results:
                continue
            result = train(recipe, seed, base, place / safe_name(f"{recipe.name} {seed}"), files, runner)
            results[recipe.name, seed] = result
            line = json.dumps({"recipe": recipe.name, "seed": seed, **attrs.asdict(result)})
            print(line, flush=True)
            if arguments.results:
                with open(arguments.results, "a", encoding="utf-8") as file:
                    file.write(line + "\n")
    names = [recipe.name for recipe in chosen]
    print(table({name: [result for (of, _), result in results.items() if of == name] for name in names}))
    missed = [
        f"{column} with seed {seed}: {result.shares[column]:.3f}, the bar is {bar}"
        for (name, seed), result in results.items()
        for column, bar in BARS.items()
        if name == DEFAULT and (result.shares[column] or 0) < bar
    ]
    sys.exit(f"the Trainer's defaults missed: {missed}" if missed and arguments.check else None)


def read_results(path: Path | None) -> dict[tuple[str, int], Result]:
    """Results of earlier runs by recipe and seed."""
    if path is None or not path.is_file():
        return {}
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return {(row.pop("recipe"), row.pop("seed")): Result(**row) for row in rows}


def cached_base(cache: Path, everybody: World) -> Path:
    """The base's folder, made if it is not there: its name is a digest of its settings and of all that it reads."""
    import knowledge_base

    settings = knowledge_base.BaseSettings()
    told = [restatement(person, number) for person in everybody.known for number in range(10)]
    folder = cache / f"base-{digest(repr(settings), repr(everybody.known), repr(QUESTIONS), *told)[:16]}"
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".base-"))
        make = (unfinished, everybody, settings)
        process = multiprocessing.get_context("spawn").Process(target=knowledge_base.make_base, args=make)
        process.start()
        process.join()
        if process.exitcode:
            sys.exit("the base could not be made")
        unfinished.rename(folder)
    return folder


def table(results: dict[str, list[Result]]) -> str:
    """Mean, and lowest to highest, over the seeds."""
    lines = ["| recipe | " + " | ".join(COLUMNS) + " | steps | tokens | CPU s |", "|---" * (len(COLUMNS) + 4) + "|"]
    for before in [run.before for runs in results.values() for run in runs if run.before][:1]:
        cells = [spread([before[column]]) for column in COLUMNS]
        lines.append(f"| the base, not trained | {' | '.join(cells)} | 0 | 0 | |")
    for name, runs in results.items():
        if not runs:
            continue
        cells = [spread([run.shares[column] for run in runs]) for column in COLUMNS]
        steps = sorted({run.steps for run in runs})
        tokens = statistics.mean(run.tokens for run in runs)
        seconds = statistics.mean(run.cpu_seconds for run in runs)
        cells += [
            "-".join(str(each) for each in dict.fromkeys((steps[0], steps[-1]))),
            f"{tokens / 1000:.0f}k",
            f"{seconds:.0f}",
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def spread(values: list[float | None]) -> str:
    """A cell: mean, and the range where values differ."""
    there = [value for value in values if value is not None]
    if not there:
        return ""
    low, high = (f"{bound:.2f}" for bound in (min(there), max(there)))
    return low if low == high else f"{statistics.mean(there):.2f} ({low}-{high})"


if __name__ == "__main__":
    main()
