"""What the steps take and give, as a user's type checker sees it. This file is checked and never run.

Both mypy and pyright read it (`make check`). A changed type of a public name is a change that users meet, so it fails here
before it is released.
"""

from decimal import Decimal
from pathlib import Path
from typing import Any, assert_type

from text2expert import (
    LLM,
    SSH,
    Adapter,
    Answer,
    Chunk,
    Chunker,
    Document,
    Estimate,
    EvidenceVerifier,
    Examiner,
    ExamResult,
    Expert,
    GoldRecord,
    Judge,
    Ledger,
    Local,
    Merged,
    ModelContestant,
    OpenBook,
    Pipeline,
    Plan,
    Preview,
    Price,
    QAPair,
    RuleTeacher,
    Run,
    Runner,
    Span,
    Teacher,
    Trainer,
    TrainingPlan,
    Vast,
    Verdict,
    Verifier,
)
from text2expert.examiner import ExamScore
from text2expert.testing import ScriptedProvider


def one_line() -> None:
    run = Pipeline().run("handbook.txt")
    assert_type(run, Run)
    assert_type(run.folder, Path)
    assert_type(run.receipt, dict[str, Any])
    assert_type(run.expert, Expert)
    assert_type(run.exam, ExamResult | None)
    assert_type(run.report(), Path)
    assert_type(run.examine(exam=Path("mine.jsonl"), judge="anthropic/claude-opus-5-5", budget=1.5), ExamResult)
    assert_type(Run.load("expert_model_handbook"), Run)


async def the_same_for_async_code() -> None:
    run = await Pipeline().arun(["a.txt", Path("b.md"), Document.from_text("Raw text.")])
    assert_type(run, Run)
    assert_type(await run.aexamine(), ExamResult)
    assert_type(await run.expert.aask("Who may start oxygen?"), Answer)
    assert_type(await run.expert.aask_many(("Who?", "When?")), list[Answer])
    assert_type(await Pipeline().apreview("a.txt"), Preview)


def a_pipeline_of_your_own() -> None:
    pipeline = Pipeline(
        chunker=Chunker(size=800, overlap=100),
        teacher=Teacher("deepseek/deepseek-flash", questions_per_chunk=5, budget=10.0),
        verifier=Verifier("anthropic/claude-sonnet-5-5", sample=0.5, budget=Decimal(5)),
        trainer=Trainer("mistralai/Mistral-7B-Instruct-v0.3", epochs=2, runner=Vast(gpu="RTX_4090", budget=20.0)),
        examiner=Examiner(
            contestants={
                "haiku": ModelContestant("anthropic/claude-haiku-5-5"),
                "haiku, reading": OpenBook("anthropic/claude-haiku-5-5", budget=1),
            },
            judge=Judge("openai/gpt-6.2-sol"),
        ),
        budget=40,
        seed=1,
    )
    assert_type(pipeline, Pipeline)
    assert_type(pipeline.plan("handbook.txt"), Plan)
    assert_type(pipeline.preview("handbook.txt", n=2), Preview)
    assert_type(pipeline.run(gold="golden_dataset.jsonl", fine_tune=False), Run)
    assert_type(Pipeline.cloud(budget=40), Pipeline)
    Pipeline(verifier=None)
    Pipeline(teacher=RuleTeacher(), verifier=EvidenceVerifier())


def where_it_trains() -> None:
    runners: list[Runner] = [Local(), Local(processes=2), SSH("me@gpubox"), Vast(budget=3)]
    assert_type([Trainer("some/model-7B", runner=each) for each in runners], list[Trainer])


def the_steps_alone(text: str) -> None:
    chunks = Chunker().split(text)
    assert_type(chunks, list[Chunk])
    assert_type(chunks[0].headings, tuple[str, ...])
    assert_type(text[chunks[0].start : chunks[0].end], str)

    pairs = RuleTeacher().teach(chunks)
    assert_type(pairs, list[QAPair])
    assert_type(pairs[0].evidence, tuple[Span, ...])
    assert_type(EvidenceVerifier().verify(pairs, chunks), list[Verdict])
    assert_type(Verifier().verify(pairs, chunks)[0].approved, bool)
    assert_type(Teacher().estimate(100, 80_000), Estimate)

    adapter = Trainer(max_steps=50).train("golden_dataset.jsonl", texts=["chunks.jsonl"])
    assert_type(adapter, Adapter)
    assert_type(Trainer().estimate(records=500, characters=60_000, facts=100), TrainingPlan)


def an_expert(records: list[GoldRecord]) -> None:
    with Expert.load(Trainer().train(records).path, min_confidence=0.5) as expert:
        assert_type(expert, Expert)
        answer = expert.ask("Who may start oxygen?")
        assert_type(answer, Answer)
        assert_type(answer.text, str)
        assert_type(answer.confidence, float | None)
        assert_type(expert.ask_many(["Who?", "When?"]), list[Answer])
        assert_type(expert.passages(answer), tuple[Chunk, ...])
        assert_type(expert.merge("merged"), Merged)


def an_exam(result: ExamResult) -> None:
    score = result.score("held_out", "expert")
    assert_type(score, ExamScore | None)
    if score is not None:
        assert_type(score.interval, tuple[float, float])
    if result.recommendation is not None:
        assert_type(result.recommendation.headline, str)


def money() -> None:
    provider = ScriptedProvider(lambda request: request.prompt.upper())
    llm = LLM("any-name", provider=provider, price=Price(input=0.1, output=0.4))
    with Ledger("a_run_folder") as ledger:
        Teacher(llm, budget=0.5).teach(Chunker().split("The pump is stopped after 20 minutes."))
        assert_type(ledger.spent("teacher").total, Decimal)
    assert_type(provider.requests[0].prompt, str)
