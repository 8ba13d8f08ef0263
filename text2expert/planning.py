"""What a run would do and cost, worked out before it: by counting, by teaching a sample for nothing, or from a preview.

Estimates of paid steps come from the steps themselves; where the run's ledger already holds replies (of a preview, or
of a run that was stopped), what those took stands in for what was assumed.
"""

import asyncio
import contextlib
import os
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import attrs

from text2expert.errors import BudgetExhausted, LedgerError, RunnerError
from text2expert.plan import SEEN, DocumentPlan, Plan, Preview, RentPlan, Shown, StepPlan, Steps
from text2expert.records import Chunk, Document
from text2expert.runners.local import Local
from text2expert.teaching import Lesson, lessons, teach_and_judge

if TYPE_CHECKING:
    from text2expert.llm import Estimate
    from text2expert.trainer import Trainer, TrainingPlan

SAMPLE_CHUNKS = 200
"""A plan teaches at most so many chunks, evenly spread over the text, where teaching is free."""

CHUNKS_PER_SECOND = 45.0
"""That the offline teacher and verifier get through on one core (benchmarks/yield_offline.py)."""

QUOTE_SECONDS = 30.0
"""For which a plan waits to be told what a machine costs."""

SPREAD = 1.25
"""The factor to each side of what replies took so far, within which the rest is expected."""

CHARACTERS_PER_PAIR = 260
"""Of question and answer, where nothing was taught yet (the mean of the labelled sample pairs)."""


async def plan(steps: Steps, inputs: list[Document], folder: Path) -> Plan:
    """The plan of a run of *steps* on *inputs* in *folder*. Writes nothing, and asks no step that is not known to be free."""
    sizes = {document.id: (0, 0) for document in inputs}
    for chunk in _chunks(steps, inputs):
        before, passed = sizes[chunk.document]
        sizes[chunk.document] = (before + 1, passed + chunk.char_count)
    chunks, characters = (sum(each) for each in zip(*sizes.values(), strict=True))
    free = is_free(steps.teacher)
    work = await _taught_free(steps, inputs, sizes) if free else _asked_for(steps, sizes)
    planned = step_plans(steps, folder, chunks, characters, items=work.items)
    examined = exam_plans(steps, chunks, characters, work.items)
    training = _with_notes(work.training, steps.trainer)
    rent = await rent_plan(steps.trainer, work.training, *_prompts(steps, chunks, characters, work.items))
    trains = rent.quote.seconds if rent is not None and rent.quote is not None else work.training.seconds or 0.0
    waiting = max((step.estimate.seconds for step in planned), default=0.0)  # teacher and verifier work side by side
    waiting += sum(step.estimate.seconds for step in examined)
    return Plan(
        documents=tuple(inputs),
        n_chars=sum(document.n_chars for document in inputs),
        chunks=chunks,
        by_document=_by_document(steps, inputs, sizes, work, planned) if len(inputs) > 1 else (),
        items=None if free and not planned else work.items,
        pairs=work.pairs,
        estimated=work.estimated,
        training=training,
        steps=(*planned, *examined),
        rent=rent,
        machine=machine_of(steps.trainer),
        holds=f"the base's folder, {SEEN}" if os.path.isdir(getattr(steps.trainer, "model", None) or "") else SEEN,
        unknown=tuple(
            type(step).__name__
            for step in (steps.teacher, steps.verifier)
            if not hasattr(step, "estimate") and not is_free(step)
        ),
        budget=_float(steps.budget),
        seconds=(chunks / CHUNKS_PER_SECOND if free else 0.0) + waiting + trains,
        folder=str(folder),
    )


def _with_notes(training: "TrainingPlan", trainer: "Trainer") -> "TrainingPlan":
    """*training* with what keeps the base from being trained where the runner is."""
    problem = trainer.problem() if hasattr(trainer, "problem") else ""
    return attrs.evolve(training, notes=(*training.notes, problem)) if problem else training


async def rent_plan(trainer: "Trainer", training: "TrainingPlan", prompts: int = 0, tokens: int = 0) -> RentPlan | None:
    """What the machine costs that *trainer* trains on; None where it costs nothing. Its owner is asked, and sees no text.

    *prompts* of so many *tokens* in all are what base and expert are asked there.
    """
    runner = getattr(trainer, "runner", None)
    if not hasattr(runner, "quote"):
        return None
    budget = _float(getattr(runner, "budget", None))
    quote = trainer.aquote(training, prompts=prompts, tokens=tokens) if prompts else trainer.aquote(training)
    try:
        return RentPlan(quote=await asyncio.wait_for(quote, QUOTE_SECONDS), budget=budget)
    except TimeoutError:
        return RentPlan(quote=None, problem=f"no answer within {QUOTE_SECONDS:.0f} s", budget=budget)
    except Exception as error:  # noqa: BLE001 - a plan can do without, whatever somebody's own runner raises
        return RentPlan(quote=None, problem=f"{error!s:.300}" or type(error).__name__, budget=budget)


async def check_rent(trainer: Any, rent: RentPlan | None) -> None:
    """That the machine of *rent* can be paid for, asked of whoever is paid: before anything else of the run is.

    Raises:
        AuthenticationFailed: The key for it is not accepted.
        OutOfBalance: Too little is left in the account.
        BudgetExhausted: The budget for it is below what it is rented with at least.
        RunnerError: It cannot be asked, or there is no such machine.
    """
    afford = getattr(getattr(trainer, "runner", None), "afford", None)
    if afford is None or rent is None:
        return
    await afford(rent.quote)
    if rent.quote is None:
        raise RunnerError(f"no machine can be had for the training, so nothing else is paid for either: {rent.problem}")
    if rent.most < rent.least:
        raise BudgetExhausted(f"{rent.short}: nothing else is paid for before; raise it (--train-budget)")


def machine_of(trainer: Any) -> str:
    """The machine that *trainer* trains on, where it is not this one."""
    runner = getattr(trainer, "runner", None)
    if runner is None or isinstance(runner, Local):
        return ""
    return str(getattr(runner, "host", "") or f"wherever {type(runner).__name__} runs it")


class _Work(NamedTuple):
    """What the steps have to do for the whole text."""

    items: int
    pairs: int
    estimated: bool
    training: "TrainingPlan"
    by_document: dict[str, tuple[int, int]]
    """Items and pairs of each."""


_Sizes = dict[str, tuple[int, int]]
"""Document -> its chunks, and their characters."""


def _by_document(
    steps: Steps, inputs: list[Document], sizes: _Sizes, work: _Work, planned: tuple[StepPlan, ...]
) -> tuple[DocumentPlan, ...]:
    """What each document takes: of what the paid steps take for all, its share by their own estimates."""
    shares: dict[str, dict[str, float]] = {}
    for step in planned:
        alone = {
            document: _estimate(steps, step.step, *sizes[document], work.by_document[document][0]) for document in sizes
        }
        whole = sum(float(each.usd_high) or each.input_tokens for each in alone.values()) or 1.0
        shares[step.step] = {name: (float(each.usd_high) or each.input_tokens) / whole for name, each in alone.items()}
    return tuple(
        DocumentPlan(
            document=document.id,
            n_chars=document.n_chars,
            chunks=sizes[document.id][0],
            items=work.by_document[document.id][0],
            pairs=work.by_document[document.id][1],
            tokens=round(
                sum(
                    shares[step.step][document.id] * (step.estimate.input_tokens + sum(step.estimate.output_tokens) / 2)
                    for step in planned
                )
            ),
            usd_low=sum(shares[step.step][document.id] * float(step.estimate.usd_low) for step in planned),
            usd_high=sum(shares[step.step][document.id] * float(step.estimate.usd_high) for step in planned),
        )
        for document in inputs
    )


def _estimate(steps: Steps, step: str, chunks: int, characters: int, items: int) -> "Estimate":
    if step == "teacher":
        taught: Estimate = steps.teacher.estimate(chunks, characters, steps.questions)
        return taught
    judged: Estimate = steps.verifier.estimate(chunks, items, characters)
    return judged


async def _taught_free(steps: Steps, inputs: list[Document], sizes: _Sizes) -> _Work:
    """By teaching, and checking against the evidence, up to `SAMPLE_CHUNKS` passages: that is free."""
    from text2expert import golden
    from text2expert.offline import EvidenceVerifier

    chunks = sum(n for n, _ in sizes.values())
    stride = -(-chunks // SAMPLE_CHUNKS)
    sample = [chunk for number, chunk in enumerate(_chunks(steps, inputs)) if number % stride == 0]
    plain = [Lesson(place, (chunk,)) for place, chunk in enumerate(sample)]
    verifier = steps.verifier if is_free(steps.verifier) else EvidenceVerifier()
    taught = await teach_and_judge(plain, len(plain), steps.teacher, verifier, steps.questions, what="Planning")
    gold = golden.gather(taught.pairs, taught.verdicts, status=steps.status, seed=steps.seed)
    whole = chunks / max(1, len(sample))
    taken = whole * _judged(steps)
    pairs = round(taken * len(gold.records))
    items = round(whole * len({pair.item or pair.qa_id for pair in taught.pairs}))
    owners = {chunk.id: chunk.document for chunk in sample}
    asked = Counter(owner for owner, _ in {(owners[pair.sources[0]], pair.item or pair.qa_id) for pair in taught.pairs})
    kept = Counter(record.document for record in gold.records)
    by_document = {name: (round(whole * asked[name]), round(taken * kept[name])) for name in sizes}
    characters = round(taken * sum(len(each.instruction) + len(each.output) for each in gold.records))
    training = _training(steps, pairs, characters, max(1, round(taken * gold.counts.facts)), by_document)
    return _Work(items, pairs, stride > 1 or not is_free(steps.verifier), training, by_document)


def _asked_for(steps: Steps, sizes: _Sizes) -> _Work:
    """As many questions as a teacher is asked for, each in all its wordings."""
    items = sum(n for n, _ in sizes.values()) * steps.questions
    taken = round(items * _judged(steps))
    pairs = taken * getattr(steps.teacher, "wordings", 1)
    wordings = getattr(steps.teacher, "wordings", 1)
    by_document = {
        name: (n * steps.questions, round(n * steps.questions * _judged(steps)) * wordings)
        for name, (n, _) in sizes.items()
    }
    training = _training(steps, pairs, pairs * CHARACTERS_PER_PAIR, max(1, taken), by_document)
    return _Work(items, pairs, estimated=True, training=training, by_document=by_document)


def _training(
    steps: Steps, pairs: int, characters: int, facts: int, by_document: dict[str, tuple[int, int]]
) -> "TrainingPlan":
    lengthened = getattr(steps.trainer, "lengthened", None)
    times = lengthened({name: n for name, (_, n) in by_document.items()}) if lengthened else 1.0
    return steps.trainer.estimate(records=round(times * pairs), characters=round(times * characters), facts=facts)


def _judged(steps: Steps) -> float:
    """The share of what is taught that is taken, as far as the verifier's sample decides."""
    return 1.0 if steps.include_unverified else float(getattr(steps.verifier, "sample", 1.0))


async def preview(
    steps: Steps, inputs: list[Document], folder: Path, n: int, *, planned: Steps | None = None
) -> Preview:
    """Teach and judge *n* passages, those that a run would begin with; a run in the same folder pays nothing for them.

    The plan beside them is of *planned*, where that is not the same as *steps*.
    """
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
        plan=await plan(planned or steps, inputs, folder),
        problem=taught.failure or taught.exhausted,
    )


def step_plans(
    steps: Steps, folder: Path, chunks: int, characters: int, *, items: int | None = None, measured: bool = True
) -> tuple[StepPlan, ...]:
    """What the paid steps would take for *chunks* passages of *characters* in all; by replies so far, if *measured*.

    The verifier gets *items* questions; None: as many as the teacher is asked for.
    """
    if items is None:
        items = chunks * steps.questions
    made = []
    if hasattr(steps.teacher, "estimate"):
        estimate = steps.teacher.estimate(chunks, characters, steps.questions)
        made.append(
            _step("teacher", steps.teacher, estimate, folder, _lessons(steps, chunks, characters), measured=measured)
        )
    if hasattr(steps.verifier, "estimate"):
        estimate = steps.verifier.estimate(chunks, items, characters)
        made.append(_step("verifier", steps.verifier, estimate, folder, measured=measured))
    return tuple(made)


def exam_plans(steps: Steps, chunks: int, characters: int, items: int) -> tuple[StepPlan, ...]:
    """What the models of the exam take: one to write questions, contestants, a judge."""
    from text2expert.examiner import estimates

    found = estimates(
        steps.examiner,
        questions=_examined(steps, items),
        chunks=chunks,
        characters=characters,
        contestants=SHOWN_NO_PASSAGES if steps.trainer.embedded else READING,
    )
    budgets = {"exam writer": steps.examiner.writer, "judge": steps.examiner.judge, **steps.examiner.contestants}
    return tuple(
        StepPlan(
            step=name,
            model=steps.examiner.llms[name].name,
            estimate=estimate,
            budget=_float(getattr(budgets[name], "budget", None)),
        )
        for name, estimate in found.items()
    )


READING, SHOWN_NO_PASSAGES = 6, 3
"""Contestants of every exam that a judge grades, and of that of a toy."""


PROBE = 100
"""General questions, about."""


def _examined(steps: Steps, items: int) -> int:
    """Questions that an exam has, about: its rows are full, or as long as there are items."""
    from text2expert.examiner import making

    row = min(100, items)
    probe = PROBE if steps.examiner.general and not steps.trainer.embedded else 0
    writer = steps.examiner.writer
    written = 0 if writer is None else writer.questions + writer.across + writer.unanswerable
    return 3 * row + making.UNANSWERABLE + probe + written


def _prompts(steps: Steps, chunks: int, characters: int, items: int) -> tuple[int, int]:
    """What base and expert are asked where they are trained: prompts, and tokens of all."""
    from text2expert.examiner.estimating import asked_there

    probe = PROBE if steps.examiner.general else 0
    return asked_there(
        _examined(steps, items), probe, k=steps.examiner.k, chunks=chunks, characters=characters,
        embedded=steps.trainer.embedded,
    )  # fmt: skip


def _lessons(steps: Steps, chunks: int, characters: int) -> "Estimate | None":
    """What the teacher's lessons take without the restatements, which come after all of them; None: there are none."""
    if not attrs.has(type(steps.teacher)) or not getattr(steps.teacher, "rewrites", 0):
        return None
    estimate: Estimate = attrs.evolve(steps.teacher, rewrites=0).estimate(chunks, characters, steps.questions)
    return estimate


def _step(
    name: str, step: Any, estimate: "Estimate", folder: Path, first: "Estimate | None" = None, *, measured: bool
) -> StepPlan:
    """The plan of a step by *estimate*, scaled by the replies so far; *first* is what it takes until it does other work."""
    with _ledger(folder) as ledger:
        used = ledger.usage(name) if measured and ledger is not None else None
    if used is None or not used.calls:
        return StepPlan(step=name, model=step.name, estimate=estimate, budget=_float(step.budget))
    assumed = first if first is not None and used.calls <= first.calls else estimate
    sent = used.input_tokens * estimate.input_tokens * assumed.calls / max(1, assumed.input_tokens)
    written = used.output_tokens * sum(estimate.output_tokens) * assumed.calls / max(1, sum(assumed.output_tokens))
    cached = used.cached_tokens / used.input_tokens if used.input_tokens else 0.0
    by_replies = step.llm.estimate(
        estimate.calls,
        round(sent),
        (round(written / SPREAD), round(written * SPREAD)),
        cached_tokens=round(sent * cached),
    )
    return StepPlan(step=name, model=step.name, estimate=by_replies, budget=_float(step.budget), measured=True)


def _float(budget: Decimal | float | None) -> float | None:
    """Plans say about what something costs; exact dollars are the ledger's business."""
    return None if budget is None else float(budget)


@contextlib.contextmanager
def _ledger(folder: Path) -> Iterator[Any]:
    """The run's ledger: the one that is open, or that on the disk; None where there is none yet, or a run is using it."""
    from text2expert import ledger

    opened = ledger.opened()
    if opened is not None:
        yield opened
    elif (folder / ledger.FILE_NAME).is_file():
        with ledger.Ledger(folder) as mine:
            try:
                mine.spent()
            except LedgerError:  # a plan can do without, and a run will say what is wrong with it
                yield None
            else:
                yield mine
    else:
        yield None


def is_free(step: object) -> bool:
    """Whether it is known to calculate here and to send nothing anywhere."""
    from text2expert.offline import EvidenceVerifier, RuleTeacher

    return step is None or isinstance(step, RuleTeacher | EvidenceVerifier)


def _chunks(steps: Steps, inputs: list[Document]) -> Iterator[Chunk]:
    count = 0
    for document in inputs:
        for chunk in steps.chunker.stream(document, first=count + 1):
            count += 1
            yield chunk
