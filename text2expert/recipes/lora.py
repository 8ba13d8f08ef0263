"""Train a LoRA adapter: job.json + golden_dataset.jsonl -> expert/ ; done.json last.

    python lora.py stages/train/job.json
    accelerate launch --multi_gpu --num_processes 4 lora.py stages/train/job.json       one process a GPU

Any causal language model of the Hugging Face hub, or a folder in its form, is a base. Of a question, the loss is
taken on its answer alone; of a text, on all of it. A run that was killed goes on from its last checkpoint and ends with
the weights it would have had: batches, noise and learning rate are functions of the seed and the step, and a checkpoint
holds all the rest. Nothing is pickled.
"""

import json
import math
import os
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from attention import packs
from batches import Batch, Loader
from checkpoints import LOG, Evaluation, State, Trained, checkpoint, last, resume
from loading import (
    add_lora,
    autocast,
    base_path,
    calculate_activations_twice,
    fit_to_train,
    load_base,
    weights_sha256,
    window_of,
)
from loss import Scorer
from memory import Room, free_bytes, peak_gb
from peft import PeftModel
from plot import loss_svg
from ranks import Ranks
from rows import STREAMS, Row, Streams, read_streams, show_examples
from settings import Settings
from stage import Stage, choose_threads, read_jsonl, write_json
from transformers import AutoTokenizer, PreTrainedTokenizerBase


@dataclass(frozen=True, kw_only=True)
class Training:
    """What the loop works with."""

    stage: Stage
    settings: Settings
    precision: str
    revision: str | None
    """Of the base; the commit, where it is known."""
    ranks: Ranks
    trained: Trained
    scorer: Scorer
    loader: Loader
    room: Room
    log: Path


def main(job: str) -> None:
    """Train the adapter that *job* describes."""
    ranks = Ranks()
    if not ranks.first:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # the first one speaks for all
    stage = Stage(job)
    settings = as_begun(stage, Settings(**stage.settings))
    tokenizer = AutoTokenizer.from_pretrained(
        base_path(settings.base), revision=settings.revision, trust_remote_code=False
    )
    if not tokenizer.chat_template:
        tokenizer.chat_template = settings.default_chat_template
    streams = read_streams(settings, tokenizer, window_of(settings.base, settings.revision), say=stage.say)
    show_examples(streams, tokenizer, say=stage.say)

    fit = fit_to_train(settings, ranks.device, ranks.smallest(free_bytes(ranks.device)), stage.say)
    base = load_base(settings.base, settings.revision, fit.precision, ranks.device)
    revision = getattr(base.config, "_commit_hash", None) or settings.revision
    model = add_lora(base, settings, revision)
    trained, scorer = Trained(model, settings), Scorer(model)
    ranks.share(list(trained.weights.values()))
    with autocast(fit.precision, ranks.device):
        packed = packs(scorer, some_of(streams), ranks.device, settings.packing)
    packed = bool(ranks.smallest(packed))  # cards of different kinds could disagree
    loader = Loader(streams, tokenizer, settings, ranks.device, packed=packed, rank=ranks.rank, world=ranks.count)

    start = resume(stage, trained)
    room = Room(
        micro_batch_tokens=start.micro_batch_tokens if start else fit.micro_batch_tokens,
        activation_checkpointing=start.activation_checkpointing if start else fit.activation_checkpointing,
        switch_on=lambda: calculate_activations_twice(base),
        say=stage.say,
    )
    training = Training(
        stage=stage,
        settings=settings,
        precision=fit.precision,
        revision=revision,
        ranks=ranks,
        trained=trained,
        scorer=scorer,
        loader=loader,
        room=room,
        log=stage.folder / LOG,
    )
    if start:
        torch.set_num_threads(start.threads)  # the order of a sum depends on it, and so does its last digit
    else:
        start = begin(training)
    print(f"{streams.counted()}, {trained.size:,} weights trained on {ranks.count} x {ranks.device}", flush=True)
    end = train(training, start)
    if trained.best:
        trained.load(trained.best)
    if ranks.first:
        facts = facts_of(training, end)
        save(model, tokenizer, settings, facts, training.log)
        stage.finish(**facts)
        for folder in stage.folder.glob("checkpoint-*"):
            shutil.rmtree(folder)
    ranks.close()


def as_begun(stage: Stage, settings: Settings) -> Settings:
    """*settings* with the very base that this job began with, where it goes on: what was open then is open no more."""
    found = last(stage)
    if found is None:
        return settings
    _, state = found
    return Settings(**{**asdict(settings), "precision": state.precision, "revision": state.revision})


def begin(training: Training) -> State:
    """The state before the first step; the number of threads is measured."""

    def a_micro_batch() -> None:
        for batch in islice(micro_batches(training, 0), 1):
            with autocast(training.precision, training.ranks.device):
                loss = training.scorer.loss(batch)
            loss.backward()

    room = training.room
    threads = choose_threads(lambda: room.attempt(a_micro_batch))
    training.trained.optimizer.zero_grad()
    return State(
        step=0,
        seconds=0.0,
        threads=threads,
        micro_batch_tokens=room.micro_batch_tokens,
        activation_checkpointing=room.activation_checkpointing,
        precision=training.precision,
        revision=training.revision,
    )


def train(training: Training, state: State) -> State:
    """The training loop, from *state* to the end."""
    stage, settings, loader, room = training.stage, training.settings, training.loader, training.room
    optimizer = training.trained.optimizer
    weights = list(training.trained.weights.values())
    steps = min(math.ceil(settings.epochs * loader.per_epoch), settings.max_steps or sys.maxsize)
    began, saved = time.monotonic() - state.seconds, time.monotonic()
    with open(training.log if stage.writes else os.devnull, "a", encoding="utf-8") as lines:
        for step in range(state.step, steps):
            if state.stopped_early:
                break
            stepped = time.monotonic()
            rate = optimizer.param_groups[0]["lr"] = learning_rate(step, steps, settings)
            loss, tokens = training.ranks.add_up(*room.attempt(partial(gradients, training, step)))
            if not math.isfinite(loss):
                sys.exit(
                    f"the loss is {loss} at step {step + 1}: choose a learning_rate below {settings.learning_rate}"
                )
            training.ranks.add_gradients(weights)
            torch.nn.utils.clip_grad_norm_(weights, settings.max_grad_norm)
            optimizer.step()
            optimizer.zero_grad()

            now = time.monotonic()
            line = {
                "step": step + 1,
                "epoch": round((step + 1) / loader.per_epoch, 4),
                "loss": loss,
                "learning_rate": rate,
                "tokens": int(tokens),
                "tokens_per_second": round(tokens / (now - stepped), 1),
                "seconds": round(now - began, 3),
            }
            state = replace(
                state,
                step=step + 1,
                seconds=line["seconds"],
                tokens=state.tokens + int(tokens),
                loss=loss,
                micro_batch_tokens=room.micro_batch_tokens,
                activation_checkpointing=room.activation_checkpointing,
            )
            if loader.streams.validation and is_due(step + 1, steps, settings):
                evaluation = evaluate(training, step + 1)
                state = judged(state, evaluation, training)
                line |= {"validation": evaluation.share, "validation_loss": evaluation.loss}
            lines.write(json.dumps(line) + "\n")
            lines.flush()
            tell(training, state, state.step if state.stopped_early else steps)
            if now - saved >= settings.checkpoint_seconds and step + 1 < steps and stage.writes:
                checkpoint(stage, training.trained, state)
                saved = time.monotonic()
    return state


def gradients(training: Training, step: int) -> tuple[float, int]:
    """Add the gradients of this process's rows of a step to the weights; the rows' share of its loss, and their tokens."""
    training.trained.model.train()
    training.trained.optimizer.zero_grad()  # where memory ran out halfway, some gradients are there
    # For bases with dropout.
    torch.manual_seed(training.settings.seed + step * training.ranks.count + training.ranks.rank)
    loss, tokens = 0.0, 0
    for batch in micro_batches(training, step):
        with autocast(training.precision, training.ranks.device):
            part = training.scorer.loss(batch)
        part.backward()
        loss += part.item()
        tokens += batch.tokens
    return loss, tokens


def micro_batches(training: Training, step: int | None) -> Iterator[Batch]:
    """This process's rows of a step, or of validation, in pieces that fit."""
    loader, room = training.loader, training.room
    loader.micro_batch_tokens = room.micro_batch_tokens
    for batch in loader.validation() if step is None else loader.micro_batches(step):
        room.largest = max(room.largest, batch.inputs["input_ids"].numel())
        yield batch


def some_of(streams: Streams) -> list[Row]:
    """A few rows of a training, among them the longest."""
    rows = [row for stream in STREAMS for row in streams.of(stream)]
    return [rows[0], max(rows, key=lambda row: row.length), rows[-1]]


def is_due(step: int, steps: int, settings: Settings) -> bool:
    """Whether validation is asked after *step*: at equal distances, the last time at the end."""
    return any(step == math.ceil(steps * n / settings.evaluations) for n in range(1, settings.evaluations + 1))


def evaluate(training: Training, step: int) -> Evaluation:
    """Ask validation: how many answers greedy decoding would write exactly, and how likely all are."""
    right, rows, loss, tokens = training.ranks.add_up(*training.room.attempt(partial(asked, training)))
    return Evaluation(step=step, share=round(right / rows, 4), loss=loss / tokens)


def asked(training: Training) -> tuple[int, int, float, int]:
    """Right answers, answers, summed loss and tokens of this process's validation rows."""
    training.trained.model.eval()
    right, rows, loss, tokens = 0, 0, 0.0, 0
    for batch in micro_batches(training, None):
        with autocast(training.precision, training.ranks.device):
            exact, summed = training.scorer.asked(batch)
        right += exact
        rows += batch.rows
        loss += summed
        tokens += len(batch.labels)
    return right, rows, loss, tokens


def judged(state: State, evaluation: Evaluation, training: Training) -> State:
    """*state* after an evaluation: the best weights are kept, and too many without gain end the training."""
    if evaluation.beats(state.best):
        training.trained.keep_best()
        return replace(state, share=evaluation.share, best=evaluation, without_gain=0)
    without_gain = state.without_gain + 1
    patience = training.settings.patience
    stops = bool(patience) and without_gain >= patience
    if stops:
        training.stage.say(f"no gain in {without_gain} evaluations: training ends after step {state.step}")
    return replace(state, share=evaluation.share, without_gain=without_gain, stopped_early=stops)


def tell(training: Training, state: State, steps: int) -> None:
    """Write how far the training is, for the bar of whoever waits."""
    more = {} if state.best is None else {"validation": state.share}
    training.stage.progress(
        state.step,
        steps,
        loss=round(state.loss, 4),
        tokens_per_second=round(state.tokens / state.seconds, 1),
        seconds_left=round((steps - state.step) * state.seconds / state.step, 1),
        memory_gb=peak_gb(training.ranks.device),
        **more,
    )


def learning_rate(step: int, steps: int, settings: Settings) -> float:
    """Linear warm-up, then a cosine down to its floor."""
    warmup = max(1, round(settings.warmup * steps))
    if step < warmup:
        return settings.learning_rate * (step + 1) / warmup
    share = (step - warmup) / max(1, steps - warmup)
    floor = settings.min_learning_rate
    return settings.learning_rate * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * share)))


def facts_of(training: Training, end: State) -> dict[str, Any]:
    """What is known of the expert only now, beside its settings; where a setting was left open, what it came to."""
    settings, loader, streams = training.settings, training.loader, training.loader.streams
    names = ["torch", "transformers", "peft", "accelerate", *(["bitsandbytes"] if training.precision == "nf4" else [])]
    facts = {
        "base": settings.base,
        "revision": training.revision,
        "precision": training.precision,
        "packing": loader.packed,
        "rows": len(streams.gold),
        "streams": streams.counts(),
        "shares": loader.epochs.reached(end.step),
        "documents": loader.epochs.documents(end.step),
        "steps": end.step,
        "stopped_early": end.stopped_early,
        "tokens": end.tokens,
        "loss": end.loss,
        "best": asdict(end.best) if end.best else None,
        "training_seconds": end.seconds,
        "micro_batch_tokens": end.micro_batch_tokens,
        "activation_checkpointing": end.activation_checkpointing,
        "memory_gb": peak_gb(training.ranks.device),
        "processes": training.ranks.count,
        "threads": end.threads,
        "device": str(training.ranks.device),
        "trained_weights": training.trained.size,
        "stop_token_id": streams.gold[0].completion[-1],
        "max_new_tokens": 16 + 2 * max(len(row.completion) for row in (*streams.gold, *streams.refusal)),
        "versions": {name: version(name) for name in names},
    }
    if os.path.isdir(settings.base):
        facts["base_sha256"] = weights_sha256(Path(settings.base))
    return facts


def save(
    model: PeftModel, tokenizer: PreTrainedTokenizerBase, settings: Settings, facts: dict[str, Any], log: Path
) -> None:
    """Write the expert's folder beside its place and move it there whole."""
    output = Path(settings.output)
    unfinished = output.with_name(f".{output.name}.tmp")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o700)  # private, also in a run folder that was there before and is open to others
    model.save_pretrained(unfinished, save_embedding_layers=False)
    (unfinished / "README.md").unlink(missing_ok=True)  # PEFT's card is a form with nothing filled in
    tokenizer.save_pretrained(unfinished)
    write_json(unfinished / "training_args.json", {**asdict(settings), **facts})
    write_json(unfinished / "model_config.json", model.get_base_model().config.to_dict())
    shutil.copyfile(log, unfinished / LOG)
    (unfinished / "loss.svg").write_text(loss_svg(read_jsonl(str(log))), encoding="utf-8")
    for path in unfinished.iterdir():
        path.chmod(0o644)  # safetensors are written for their owner alone; the folder decides who may look in
    shutil.rmtree(output, ignore_errors=True)
    unfinished.rename(output)


if __name__ == "__main__":
    main(sys.argv[1])
