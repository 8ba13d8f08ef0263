"""Steps of a user's own fit where the protocols say, without a base class. This file is checked and never run."""

from collections.abc import Callable, Mapping
from typing import assert_type

from text2expert import (
    LLM,
    Answer,
    Chunk,
    Completion,
    Examiner,
    ExamQuestion,
    ExamResult,
    Job,
    Pipeline,
    Price,
    Provider,
    ProviderUnavailable,
    QAPair,
    Request,
    Run,
    Runner,
    SupportsTeach,
    SupportsVerify,
    Teacher,
    Trainer,
    Usage,
    Verdict,
)
from text2expert.examiner import Contestant, Retriever
from text2expert.records import Quote


class Shouting:
    endpoint = "https://models.example"
    dialect = "shouting/1"

    async def complete(self, request: Request) -> Completion:
        if not request.prompt:
            raise ProviderUnavailable("nothing to say yet", retry_after=1.0)
        usage = Usage(input_tokens=10, output_tokens=5)
        return Completion(text=request.prompt.upper(), usage=usage, finish="stop")


class Deadlines:
    def __init__(self, llm: LLM) -> None:
        self.llm = llm

    async def ateach(self, passages: tuple[Chunk, ...], n: int) -> list[QAPair]:
        reply = await self.llm.complete("Which deadlines are there?")
        assert_type(reply.text, str)
        return [QAPair(qa_id="", question="Which?", answer=reply.text, sources=(passages[0].id,))][:n]


class Trusting:
    async def averify(self, pairs: tuple[QAPair, ...], passages: tuple[Chunk, ...]) -> list[Verdict]:
        return [
            Verdict(qa_id=pair.qa_id, grounded=bool(passages), no_hallucination=True, complete=True) for pair in pairs
        ]


class Slurm:
    host = "the cluster"

    async def run(self, job: Job) -> None:
        for stage in job.stages:
            assert_type(stage.argv, tuple[str, ...])

    async def quote(self, job: Job) -> Quote:
        return Quote(usd=1.0, seconds=60.0 * (1 + len(job.stages)))


class FirstPassage:
    def __init__(self, retriever: Retriever) -> None:
        self.retriever = retriever

    async def aanswer(self, question: ExamQuestion) -> Answer:
        found = self.retriever.find(question.question)
        return Answer(text=found[0].text if found else "I do not know", sources=tuple(each.id for each in found))


class Silent:
    async def aanswer(self, question: ExamQuestion) -> Answer:
        return Answer(text=f"I do not know {question.id}")


provider: Provider = Shouting()
llm = LLM("shouting-large", provider=provider, price=Price(input=0.1, output=0.4))
teacher: SupportsTeach = Deadlines(llm)
verifier: SupportsVerify = Trusting()
runner: Runner = Slurm()
contestants: Mapping[str, Contestant | Callable[[Retriever], Contestant]] = {
    "first passage": FirstPassage,  # made from the run's retriever
    "silent": Silent(),
}

pipeline = Pipeline(
    teacher=teacher,
    verifier=verifier,
    trainer=Trainer("some/model-7B", runner=runner),
    examiner=Examiner(contestants=contestants),
)
assert_type(Teacher(llm).llm, LLM)


def once_more(run: Run) -> None:
    assert_type(run.examine(contestants={"silent": Silent()}), ExamResult)
    assert_type(run.examine(contestants={"first passage": FirstPassage}), ExamResult)
