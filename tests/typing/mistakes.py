"""Mistakes that a type checker must find before anything runs. This file is checked and never run.

Every line with an ``ignore`` is one. Both checkers report an ``ignore`` that was not needed, so a mistake that is no longer
found fails `make check`.
"""

from text2expert import (
    Answer,
    Chunk,
    Chunker,
    Completion,
    Examiner,
    Expert,
    Pipeline,
    QAPair,
    RuleTeacher,
    Run,
    Runner,
    Teacher,
    Trainer,
    Usage,
    Verdict,
    Verifier,
)


class Blocking:
    """Its methods are not async."""

    def ateach(self, passages: tuple[Chunk, ...], n: int) -> list[QAPair]:
        return []

    def run(self, job: object) -> None: ...

    def aanswer(self, question: str) -> Answer:
        return Answer(text=question)


class Forgetful:
    """Its verdicts do not come back."""

    async def averify(self, pairs: tuple[QAPair, ...], passages: tuple[Chunk, ...]) -> None: ...


# A class, a name or a wrong object where a step is meant.
Pipeline(teacher=RuleTeacher)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Pipeline(teacher="deepseek/deepseek-flash")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Pipeline(teacher=Blocking())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Pipeline(verifier=Forgetful())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Pipeline(verifier=Teacher())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Trainer(runner=Blocking())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Examiner(contestants={"mine": "openai/gpt-6.2-sol"})  # type: ignore[dict-item]  # pyright: ignore[reportArgumentType]
Examiner(contestants={"mine": Blocking()})  # type: ignore[dict-item]  # pyright: ignore[reportArgumentType]
runner: Runner = Blocking()  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]

# Arguments that do not exist, or are of another type.
Chunker(chunk_size=800)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
Chunker(size="800")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Teacher(budget="ten dollars")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Verifier(sample="half")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Trainer(epoch=2)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Trainer(precision="int3")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Pipeline().run(fine_tune="no")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Completion(text="Yes.", usage=Usage(input_tokens=9, output_tokens=2), finish="done")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

# Records are frozen and say what they hold.
verdict = Verdict(qa_id="chunk_000001_qa_0", grounded=True, no_hallucination=True, complete=True)
verdict.grounded = False  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
verdict.approved = True  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
Verdict(qa_id="chunk_000001_qa_0", grounded=True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def none_is_an_answer(run: Run, expert: Expert) -> None:
    """A run without training has no exam, and a contestant may not say how sure it is."""
    run.exam.score("taught", "expert")  # type: ignore[union-attr]  # pyright: ignore[reportOptionalMemberAccess]
    assert expert.ask("Who?").confidence > 0.5  # type: ignore[operator]  # pyright: ignore[reportOptionalOperand]
    if run.exam is not None:
        run.exam.score("held out", "expert")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    expert.ask(["Who?", "When?"])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
