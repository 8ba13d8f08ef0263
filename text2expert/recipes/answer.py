"""Answer questions with a base, with or without an adapter.

    python answer.py stages/after/job.json              prompts.jsonl -> answers.jsonl ; done.json last
    python answer.py --serve --base B [--adapter A]     questions on standard input, answers on standard output

Both ways a question is a line {"id", "question"} and its answer a line {"id", "text", "reasoning", "confidence",
"seconds", "tokens_in", "tokens_out"}. Decoding is greedy. Confidence is the geometric mean of the probabilities of the
tokens written. A question that leaves no room for its answer in the model's window is not cut: when serving, its line is
{"id", "error"}; in a job, its answer is empty, with "error".

Questions go through the model side by side, and "seconds" is each one's share of that time. What somebody waits who asks a
single question is measured apart, in a job that says so: some questions of each "contestant" (their lines may name one)
are asked once more, one by one, and their answers get "seconds_alone".
"""

import argparse
import gc
import json
import os
import queue
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, TextIO

import torch
from accelerate.utils.memory import clear_device_cache
from adapters import attach, cpu_precision, end_tokens, load_tokenizer, read_training, revision_of, size_in_bf16
from chat import prompt_of
from loading import autocast, load_base, precision_to_ask
from memory import free_bytes, is_out_of_memory
from stage import Stage, choose_threads, read_jsonl
from target import split_answer
from transformers import GenerationConfig, LogitsProcessor


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What job.json or the command line says."""

    base: str
    revision: str | None = None
    adapter: str | None = None
    prompts: str = ""
    answers: str = ""
    system: str = ""
    default_chat_template: str = ""
    """For a base whose tokenizer has none."""
    max_new_tokens: int = 256
    batch_size: int = 32
    alone: int = 0
    """So many questions of each contestant are asked once more, one by one, to see how long an answer takes."""
    precision: Literal["auto", "bf16", "fp32", "nf4"] = "auto"
    """What the base's weights are held in. "auto": on a GPU bf16 where the model fits into its free memory, else nf4; on
    the CPU fp32."""
    quantisation: bool = True
    """Whether "auto" may choose nf4; else it goes to the CPU, where that is needed to be exact."""
    inputs: dict[str, str] = field(default_factory=dict)
    """Digests of what this stage reads: a change of them is a change of the job."""


class Answerer:
    """A model that is loaded once and asked many times."""

    def __init__(self, settings: Settings) -> None:
        trained = read_training(settings.base, settings.adapter)
        self.system = trained.get("system", settings.system)
        self.reasoning = trained.get("reasoning", "none")
        self.batch_size = settings.batch_size
        self.max_new_tokens = trained.get("max_new_tokens", settings.max_new_tokens)
        revision = revision_of(settings.adapter) or settings.revision
        self.tokenizer = load_tokenizer(settings.base, revision, settings.adapter, settings.default_chat_template)
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.precision = precision_to_ask(settings.base, revision, settings.precision, device, free_bytes(device))
        if self.precision == "nf4" and not settings.quantisation:
            device = torch.device("cpu")
            self.precision = cpu_precision(size_in_bf16(settings.base, revision))
            print(f"not quantised, it does not fit on the GPU: in {self.precision} on the CPU", flush=True)
        model = load_base(settings.base, revision, self.precision, device)
        self.window = getattr(model.config.get_text_config(), "max_position_embeddings", sys.maxsize)
        self.kept = min(self.max_new_tokens, self.window // 2)  # of a small window, half is the question's
        # A base's own sampling settings would come back for every value that is not set here.
        model.generation_config = GenerationConfig(
            do_sample=False,
            eos_token_id=end_tokens(self.tokenizer, model.generation_config, trained),
            pad_token_id=self.tokenizer.pad_token_id,
        )
        if settings.adapter:
            model = attach(model, settings.adapter)
        self.model = model.eval()
        with torch.inference_mode(), autocast(self.precision, model.device):
            tokens = torch.full((16, 32), self.tokenizer.pad_token_id, device=model.device)
            choose_threads(lambda: self.model(input_ids=tokens))

    def answer(self, questions: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Answers to *questions*, those of similar length together and therefore in another order.

        A question that is too long gets an "error" instead.
        """
        prompts = [(prompt_of(self.tokenizer, str(q["question"]), self.system), q["id"]) for q in questions]
        fitting = []
        for prompt, question in zip(prompts, questions, strict=True):
            size = len(self.tokenizer(prompt[0], add_special_tokens=False, verbose=False)["input_ids"])
            if size <= self.window - self.kept:
                fitting.append(prompt)
            else:
                yield {"id": question["id"], "error": self.too_long(str(question["question"]), size)}
        prompts = sorted(fitting, key=lambda prompt: -len(prompt[0]))
        while prompts:
            answers = self.attempt(prompts[: self.batch_size])
            yield from answers
            prompts = prompts[len(answers) :]

    def attempt(self, prompts: list[tuple[str, Any]]) -> list[dict[str, Any]]:
        """Answers to the first of *prompts*: to all of them, or to as many as memory has room for at once."""
        while True:
            try:
                return self.batch(prompts)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error) or len(prompts) == 1:
                    raise
            # Only here, where the exception no longer holds the frames, is their memory free.
            gc.collect()
            clear_device_cache()
            self.batch_size = len(prompts) // 2
            print(f"out of memory with {len(prompts)} questions at once; going on with {self.batch_size}", flush=True)
            prompts = prompts[: self.batch_size]

    def batch(self, prompts: list[tuple[str, Any]]) -> list[dict[str, Any]]:
        """Answers to prompts that go through the model side by side."""
        started = time.perf_counter()
        inputs = self.tokenizer(
            [prompt for prompt, _ in prompts], add_special_tokens=False, padding=True, return_tensors="pt"
        ).to(self.model.device)
        inputs.pop("token_type_ids", None)
        limit = min(self.max_new_tokens, self.window - inputs["input_ids"].shape[1])
        watch = Probabilities()
        with torch.inference_mode(), autocast(self.precision, self.model.device):
            written = self.model.generate(**inputs, max_new_tokens=limit, logits_processor=[watch])[
                :, inputs["input_ids"].shape[1] :
            ]
        ended = torch.isin(written, torch.tensor(self.ends(), device=written.device)).long()
        counted = (ended.cumsum(1) - ended) == 0  # up to the token that ends the answer, this one included
        log_probabilities = torch.stack(watch.log_probabilities, 1)
        means = (log_probabilities * counted).sum(1) / counted.sum(1)
        seconds = round((time.perf_counter() - started) / len(prompts), 4)
        texts = self.tokenizer.batch_decode(
            written * counted + self.tokenizer.pad_token_id * ~counted, skip_special_tokens=True
        )
        split = [split_answer(text.strip(), self.reasoning) for text in texts]
        read, wrote = inputs["attention_mask"].sum(1).tolist(), counted.sum(1).tolist()
        return [
            {
                "id": id_,
                "text": text,
                "reasoning": reasoning,
                "confidence": round(mean.exp().item(), 4),
                "seconds": seconds,
                "tokens_in": tokens_in,
                "tokens_out": tokens_out,
            }
            for (_, id_), (text, reasoning), mean, tokens_in, tokens_out in zip(
                prompts, split, means, read, wrote, strict=True
            )
        ]

    def time_alone(self, questions: list[dict[str, Any]]) -> Iterator[tuple[Any, float]]:
        """The id of each of *questions* and the seconds from question to answer, each alone in the model.

        The first of them is asked once before, so that nobody's time includes what only a first question waits for.
        """
        for number, question in enumerate([*questions[:1], *questions]):
            started = time.perf_counter()
            self.batch([(prompt_of(self.tokenizer, str(question["question"]), self.system), question["id"])])
            if number:
                yield question["id"], round(time.perf_counter() - started, 5)

    def too_long(self, question: str, size: int) -> str:
        """What is wrong with a question of *size* tokens, template included."""
        return (
            f"the question {question!r:.60} is too long: it takes {size} tokens, and the model has room for "
            f"{self.window - self.kept} (its window of {self.window} less {self.kept} kept for the answer); shorten it"
        )

    def ends(self) -> list[int]:
        """Ids of the tokens that end an answer."""
        ids: list[int] = self.model.generation_config.eos_token_id
        return ids


class Probabilities(LogitsProcessor):  # type: ignore[misc]
    """Notes the log probability of the token that greedy decoding is about to choose; keeps one number a row and step."""

    def __init__(self) -> None:
        self.log_probabilities: list[torch.Tensor] = []

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Note it and leave *scores* as they are."""
        del input_ids
        self.log_probabilities.append(scores.float().log_softmax(-1).amax(-1))
        return scores


def run(job: str) -> None:
    """Answer the prompts of *job*."""
    stage = Stage(job)
    settings = Settings(**stage.settings)
    questions = read_jsonl(settings.prompts)
    timed = spread(questions, settings.alone)
    answerer = Answerer(settings)
    answers: dict[Any, dict[str, Any]] = {}
    for answer in answerer.answer(questions):
        if "error" in answer:
            print(answer["error"], flush=True)
            answer = {**answer, "text": "", "confidence": 0.0, "seconds": 0.0}  # noqa: PLW2901
        answers[answer["id"]] = answer
        stage.progress(len(answers), len(questions) + len(timed))
    answered = [question for question in timed if "error" not in answers[question["id"]]]
    for done, (id_, seconds) in enumerate(answerer.time_alone(answered), 1):
        answers[id_]["seconds_alone"] = seconds
        stage.progress(len(answers) + done, len(questions) + len(timed))
    with open(settings.answers, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(answers[question["id"]], ensure_ascii=False) + "\n" for question in questions)
    stage.finish(answers=len(answers))


def spread(questions: list[dict[str, Any]], most: int) -> list[dict[str, Any]]:
    """At most so many questions of each contestant, evenly spread over those that it is asked."""
    if not most:
        return []
    by_contestant: dict[Any, list[dict[str, Any]]] = {}
    for question in questions:
        by_contestant.setdefault(question.get("contestant"), []).append(question)
    return [question for asked in by_contestant.values() for question in asked[:: -(-len(asked) // most)]]


def serve(settings: Settings) -> None:
    """Answer until standard input is closed and all that came through it is answered."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints must not come between the answers
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    threading.Thread(target=read_lines, args=(sys.stdin, lines), daemon=True).start()
    answerer = Answerer(settings)
    print(json.dumps({"ready": True}), file=answers, flush=True)
    open_ = True
    while open_:
        waiting = [lines.get()]
        while not lines.empty():
            waiting.append(lines.get())
        open_ = waiting[-1] is not None
        for answer in answerer.answer([json.loads(line) for line in waiting if line]):
            print(json.dumps(answer, ensure_ascii=False), file=answers, flush=True)


def read_lines(source: TextIO, lines: "queue.SimpleQueue[str | None]") -> None:
    """Pass lines on as they come, and None when the source is closed."""
    for line in source:
        if line.strip():
            lines.put(line)
    lines.put(None)


def main() -> None:
    """Run a job or serve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("job", nargs="?")
    parser.add_argument("--serve", action="store_true")
    parser.add_argument("--base")
    parser.add_argument("--revision")
    parser.add_argument("--adapter")
    parser.add_argument("--no-quantisation", action="store_true")
    arguments = parser.parse_args()
    if arguments.serve and arguments.base:
        serve(
            Settings(
                base=arguments.base,
                revision=arguments.revision,
                adapter=arguments.adapter,
                quantisation=not arguments.no_quantisation,
            )
        )
    elif arguments.job:
        run(arguments.job)
    else:
        parser.error("give a job.json, or --serve with --base")


if __name__ == "__main__":
    main()
