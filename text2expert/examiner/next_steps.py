"""What to do after an exam: each step for a figure that asks for it, and none for the sake of advice."""

import math
from collections.abc import Iterator

from text2expert.examiner import statistics
from text2expert.examiner.case import FEW, LEARNED, MARGIN, REFUSES_TOO_MUCH, Case, Share, is_better, is_worse
from text2expert.examiner.results import BASE, EXPERT, ORACLE, RAG
from text2expert.records import ROW_TITLES

TAUGHT_ENOUGH = 0.8
"""Share of the text. What is not taught the expert cannot know; the rest of most documents is headings and filler."""

MEMORISED = 0.9
"""Share of the taught wordings. Who cannot repeat what it was trained on has trained too little."""

READS_WELL = 0.8
"""Share of unseen questions with the right passage in sight. A base that reads worse is too weak for this text."""

REFUSES_ENOUGH = 0.8
"""Share of the questions that the document does not answer."""

FORGOTTEN = 0.02
"""Share of general questions that training may cost."""


def next_steps(case: Case) -> Iterator[str]:
    """What to do, each step for a figure that asks for it."""
    if case.toy:
        yield (
            "Train a real base, a model of the Hugging Face hub: Trainer(model=...), or --base on the command line. Nothing "
            "else below matters as much."
        )
    if case.too_short:
        yield "Put the whole text into the prompt of a good model, and ask that the same exam."
    if case.too_volatile:
        yield "Fine-tune when the text has settled, or only the part of it that has."
    yield from _next_for_exam(case)
    yield from _next_for_learning(case)
    yield from _next_for_base(case)
    yield from _next_for_care(case)
    if case.failed:
        first = ", ".join(case.failed[:3])
        yield (
            f"Look at the {_passages(len(case.failed))} still failed, half of the unseen questions about each answered wrong, or "
            f"more (most wrong answers first: {first}): is what the exam asks of them taught at all, and is it right?"
        )


def _passages(n: int) -> str:
    return "passage that is" if n == 1 else f"{n:,} passages that are"


def _next_for_exam(case: Case) -> Iterator[str]:
    if case.reader is None:
        yield "Ask RAG the same exam, too: without it nobody knows what the expert is worth."
    if not case.expert.n:
        yield "Give an exam of your own, or train with several wordings of a question, of which one is held out to be asked."
        return
    if case.expert.n < FEW:
        yield (
            f"Ask more questions: {case.expert.n:,} {'says' if case.expert.n == 1 else 'say'} little; give an exam of your own (text2expert exam DIR --exam FILE) of {FEW} "
            "questions or more."
        )
        return
    compared = case.against_reader
    if compared is not None and not is_better(compared) and not is_worse(compared):
        half = (compared.interval[1] - compared.interval[0]) / 2
        if half > MARGIN:
            # The interval narrows with the square root of the number of questions.
            needed = math.ceil(compared.n * (half / MARGIN) ** 2 / 10) * 10
            yield (
                f"Ask more questions: {compared.n} cannot tell the expert from RAG (it may be {100 * half:.0f} points either way); "
                f"about {needed:,} would, to {100 * MARGIN:.0f} points."
            )


def _next_for_learning(case: Case) -> Iterator[str]:
    taught, unseen = case.row(EXPERT, "taught"), case.expert
    if taught.n and taught.interval[1] < MEMORISED:
        yield (
            f"Train longer, or with a larger rank: even of the taught wordings only {taught} are right. Look at the loss curve: "
            "while it still falls, more epochs help."
        )
    elif unseen.clearly_below(taught):
        yield (
            f"Teach more wordings of every question: the taught ones are right on {taught}, others on {unseen}, so that words "
            "were learned rather than facts."
        )
    share, never = case.result.share_taught, case.row(EXPERT, "never_asked")
    if share is not None and share < TAUGHT_ENOUGH:
        yield (
            f"Teach more of the text: {100 * share:.0f} % of it is taught. A higher questions_per_chunk, or a model as the "
            "teacher, asks for more."
        )
    elif never.n and never.interval[1] < LEARNED:
        yield (
            f"Train on the text itself, too (text_share): of facts that no training question asks for, {never} are right."
        )


def _next_for_base(case: Case) -> Iterator[str]:
    """Another base, where this one cannot read or combine; another search, where it only finds too little."""
    oracle = case.share(ORACLE)
    weak = oracle is not None and oracle.interval[1] < READS_WELL
    if weak:
        yield f"Take another base, or a larger one: even with the right passage in sight this one is right on {oracle} only."
    elif case.expert.n and not case.learned and not case.toy:
        yield from _next_for_not_learned(case)
    one, several = _hops(case)
    if several.clearly_below(one):
        yield (
            f"Take a larger base and teach questions across sections: the expert is right on {one} of the questions that take "
            f"one passage, and on {several} of those that take several."
        )
    if not weak and is_better(case.compared(ORACLE, RAG)):
        yield (
            f"Mend the search before the reader: with the right passage in sight the base is right on {oracle}, with those that "
            f"RAG finds on {case.share(RAG)}."
        )


def _next_for_not_learned(case: Case) -> Iterator[str]:
    base, row = case.share(BASE), case.not_learned_row
    if base and base.share >= LEARNED and not is_better(case.against_base):
        yield f"Ask the base as it is, with RAG: of the unseen questions it knew {base} before training. Train on what it does not know."
    elif row and case.expert.share >= LEARNED:
        own = case.row(EXPERT, "held_out", "new_template")
        yield (
            f"Teach in the words of those who ask, with a model as the teacher or with pairs of your own: of questions made as the "
            f"training pairs were the expert is right on {own}, of others ({ROW_TITLES[row]}) on {case.row(EXPERT, row)}."
        )
    else:
        yield "Try another base, or a larger one: this one did not take the text up."


def _hops(case: Case) -> tuple[Share, Share]:
    """Of the expert: unseen questions that take one passage, and those that take several."""
    mine = case.grades[EXPERT]
    asked: dict[bool, list[bool]] = {False: [], True: []}
    for question in filter(statistics.is_unseen, case.exam):
        hops = case.places.hops(question)
        if hops and question.id in mine:
            asked[hops > 1].append(mine[question.id] == "right")
    return Share(sum(asked[False]), len(asked[False])), Share(sum(asked[True]), len(asked[True]))


def _next_for_care(case: Case) -> Iterator[str]:
    refused, wrongly = case.refusals
    if refused.n and refused.interval[1] < REFUSES_ENOUGH:
        yield (
            f"Train refusals (refusals=...): of questions that the text does not answer, {refused} were refused; until then, "
            "min_confidence= keeps the least certain answers back."
        )
    if wrongly.n and wrongly.interval[0] > REFUSES_TOO_MUCH:
        yield f"Train fewer refusals, or lower min_confidence: {wrongly} of the answers that the text has were withheld."
    general = case.compared(BASE, EXPERT, "general")
    if is_better(general) and general is not None and general.difference > FORGOTTEN:
        yield (
            f"Replay general examples in training (replay=...): {100 * general.difference:.0f} points of general knowledge were "
            "lost."
        )
