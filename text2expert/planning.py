"""What a run would do and cost, worked out before it: by counting, by teaching a sample for nothing, or from a preview.

Estimates of paid steps come from the steps themselves; where the run's ledger already holds replies (of a preview, or
of a run that was stopped), what those took stands in for what was assumed.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from text2expert.plan import Plan, Preview, Shown, StepPlan, Steps
from text2expert.records import Chunk, Document
from text2expert.teaching import Lesson, Taught, lessons, teach_and_judge

if TYPE_CHECKING:
    from text2expert.llm import Estimate
    from text2expert.trainer import TrainingPlan

SAMPLE_CHUNKS = 200
"""A plan teaches at most so many chunks, evenly spread over the text, where teaching is free."""

CHUNKS_PER_SECOND = 45.0
"""That the offline teacher and verifier get through on one core (benchmarks/yield_offline.py)."""

SPREAD = 1.25
"""The factor to each side of what replies took so far, within which the rest is expected."""

CHARACTERS_PER_PAIR = 260
"""Of question and answer, where nothing was taught yet (the mean of the labelled sample pairs)."""


async def plan(steps: Steps, inputs: list[Document], folder: Path) -> Plan:
    """The plan of a run of *steps* on *inputs* in *folder*. Writes nothing."""
    chunks, characters = 0, 0
    for chunk in _chunks(steps, inputs):
        chunks += 1
        characters += chunk.char_count
    if hasattr(steps.teacher, "estimate"):
        return _paid_plan(steps, inputs, folder, chunks, characters)
    pairs, training = 0, None
    stride = -(-chunks // SAMPLE_CHUNKS)
    if not hasattr(steps.verifier, "estimate") and _is_free(steps.teacher):
        sample = [chunk for number, chunk in enumerate(_chunks(steps, inputs)) if number % stride == 0]
        plain = [Lesson(place, (chunk,)) for place, chunk in enumerate(sample)]
        taught = await teach_and_judge(
            plain, len(plain), steps.teacher, steps.verifier, steps.questions, what="Planning"
        )
        pairs, training = _training(steps, taught, chunks / max(1, len(sample)))
    return Plan(
        documents=tuple(inputs),
        n_chars=sum(document.n_chars for document in inputs),
        chunks=chunks,
        pairs=pairs,
        estimated=stride > 1,
        training=training,
        seconds=chunks / CHUNKS_PER_SECOND + ((training.seconds or 0.0) if training else 0.0),
        folder=str(folder),
    )


async def preview(steps: Steps, inputs: list[Document], folder: Path, n: int) -> Preview:
    """Teach and judge *n* passages, those that a run would begin with; a run in the same folder pays nothing for them."""
    every = list(_chunks(steps, inputs))
    first: list[Lesson] = []
    for lesson in lessons(every, steps.teacher, steps.seed):
        if len(lesson.passages) == 1:
            first.append(lesson)
        if len(first) == n:
            break
    taught = await teach_and_judge(first, len(first), steps.teacher, steps.verifier, steps.questions, what="Previewing")
    shown = tuple(
        Shown(
            chunk=lesson.passages[0],
            pairs=tuple(pair for pair in taught.pairs if pair.sources == (lesson.passages[0].id,)),
        )
        for lesson in sorted(first, key=lambda lesson: lesson.order)
    )
    return Preview(
        passages=shown,
        verdicts=tuple(taught.verdicts),
        plan=await plan(steps, inputs, folder),
        problem=taught.failure or taught.exhausted,
    )


def step_plans(
    steps: Steps, folder: Path, chunks: int, characters: int, *, measured: bool = True
) -> tuple[StepPlan, ...]:
    """What the paid steps would take for *chunks* passages of *characters* in all; by replies so far, if *measured*."""
    made = []
    items = chunks * steps.questions
    if hasattr(steps.teacher, "estimate"):
        made.append(
            _step(
                "teacher",
                steps.teacher,
                steps.teacher.estimate(chunks, characters, steps.questions),
                folder,
                measured=measured,
            )
        )
    if hasattr(steps.verifier, "estimate"):
        made.append(
            _step(
                "verifier",
                steps.verifier,
                steps.verifier.estimate(chunks, items, characters),
                folder,
                measured=measured,
            )
        )
    return tuple(made)


def _paid_plan(steps: Steps, inputs: list[Document], folder: Path, chunks: int, characters: int) -> Plan:
    items = chunks * steps.questions
    judged = 1.0 if steps.include_unverified else getattr(steps.verifier, "sample", 1.0)
    pairs = round(items * judged) * getattr(steps.teacher, "wordings", 1)
    planned = step_plans(steps, folder, chunks, characters)
    training = steps.trainer.estimate(
        records=pairs, characters=pairs * CHARACTERS_PER_PAIR, facts=max(1, round(items * judged))
    )
    waiting = max((step.estimate.seconds for step in planned), default=0.0)  # teacher and verifier work side by side
    return Plan(
        documents=tuple(inputs),
        n_chars=sum(document.n_chars for document in inputs),
        chunks=chunks,
        items=items,
        pairs=pairs,
        estimated=True,
        training=training,
        steps=planned,
        budget=steps.budget,
        seconds=waiting + (training.seconds or 0.0),
        folder=str(folder),
    )


def _step(name: str, step: Any, estimate: "Estimate", folder: Path, *, measured: bool) -> StepPlan:
    with _ledger(folder) as ledger:
        used = ledger.usage(name) if measured and ledger is not None else None
        measured = used is not None and bool(used.calls)
        if used is not None and measured:
            calls = estimate.calls
            estimate = step.llm.estimate(
                calls,
                round(calls * used.input_tokens),
                (round(calls * used.output_tokens / SPREAD), round(calls * used.output_tokens * SPREAD)),
                cached_tokens=round(calls * used.cached_tokens),
            )
    return StepPlan(step=name, model=step.name, estimate=estimate, budget=step.budget, measured=measured)


@contextlib.contextmanager
def _ledger(folder: Path) -> Iterator[Any]:
    """The run's ledger: the one that is open, or that on the disk; None where there is none yet."""
    from text2expert import ledger

    opened = ledger.opened()
    if opened is not None:
        yield opened
    elif (folder / ledger.FILE_NAME).is_file():
        with ledger.Ledger(folder) as mine:
            yield mine
    else:
        yield None


def _training(steps: Steps, taught: Taught, scale: float) -> "tuple[int, TrainingPlan]":
    from text2expert import golden

    gold = golden.gather(taught.pairs, taught.verdicts, status=steps.status, seed=steps.seed)
    pairs = round(scale * len(gold.records))
    return pairs, steps.trainer.estimate(
        records=pairs,
        characters=round(scale * sum(len(each.instruction) + len(each.output) for each in gold.records)),
        facts=max(1, round(scale * gold.counts.facts)),
    )


def _is_free(teacher: object) -> bool:
    from text2expert.offline import RuleTeacher

    return isinstance(teacher, RuleTeacher)


def _chunks(steps: Steps, inputs: list[Document]) -> Iterator[Chunk]:
    count = 0
    for document in inputs:
        for chunk in steps.chunker.stream(document, first=count + 1):
            count += 1
            yield chunk
