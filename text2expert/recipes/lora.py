"""Train a LoRA adapter: job.json + golden_dataset.jsonl -> expert/ ; done.json last.

    python lora.py stages/train/job.json
    accelerate launch --multi_gpu --num_processes 4 lora.py stages/train/job.json       one process a GPU

Any causal language model of the Hugging Face hub, or a folder in its form, is a base. The loss is taken on the answers
alone. A run that was killed goes on from its last checkpoint and ends with the weights it would have had: batches,
noise and learning rate are functions of the seed and the step, and a checkpoint holds all the rest. Nothing is pickled.
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
from pathlib import Path
from typing import Any

import torch
from batches import IGNORED, Loader
from checkpoints import Evaluation, State, Trained, checkpoint, checkpoints, resume
from loading import (
    add_lora,
    autocast,
    base_path,
    calculate_activations_twice,
    fit_to_train,
    load_base,
    weights_sha256,
)
from memory import Room, free_bytes, peak_gb
from peft import PeftModel
from plot import loss_svg
from ranks import Ranks
from rows import read_rows, show_example
from settings import Settings
from stage import Stage, choose_threads, read_jsonl, write_json
from torch.nn import functional
from transformers import AutoTokenizer, PreTrainedTokenizerBase


@dataclass(frozen=True, kw_only=True)
class Training:
    """What the loop works with."""

    stage: Stage
    settings: Settings
    precision: str
    ranks: Ranks
    trained: Trained
    loader: Loader
    room: Room
    log: Path


def main(job: str) -> None:
    """Train the adapter that *job* describes."""
    ranks = Ranks()
    if not ranks.first:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # the first one speaks for all
    stage = Stage(job)
    settings = Settings(**stage.settings)
    tokenizer = AutoTokenizer.from_pretrained(
        base_path(settings.base), revision=settings.revision, trust_remote_code=False
    )
    if not tokenizer.chat_template:
        tokenizer.chat_template = settings.default_chat_template
    rows = read_rows(settings, tokenizer)
    show_example(rows[0], tokenizer)
    fit = fit_to_train(settings, ranks.device, ranks.smallest(free_bytes(ranks.device)))
    base = load_base(settings.base, settings.revision, fit.precision, ranks.device)
    revision = getattr(base.config, "_commit_hash", None) or settings.revision
    model = add_lora(base, settings, revision)
    trained = Trained(model, settings)
    ranks.share(list(trained.weights.values()))
    loader = Loader(rows, tokenizer, settings, ranks.device)
    log = stage.folder / "training_log.jsonl"
    start = resume(stage, trained, log)
    room = Room(
        micro_batch_tokens=start.micro_batch_tokens if start else fit.micro_batch_tokens,
        activation_checkpointing=start.activation_checkpointing if start else fit.activation_checkpointing,
        switch_on=lambda: calculate_activations_twice(base),
    )
    training = Training(
        stage=stage,
        settings=settings,
        precision=fit.precision,
        ranks=ranks,
        trained=trained,
        loader=loader,
        room=room,
        log=log,
    )
    if start:
        torch.set_num_threads(start.threads)  # the order of a sum depends on it, and so does its last digit
    else:
        threads = choose_threads(lambda: room.attempt(partial(a_micro_batch, training)))
        trained.optimizer.zero_grad()
        start = State(
            step=0,
            seconds=0.0,
            threads=threads,
            micro_batch_tokens=room.micro_batch_tokens,
            activation_checkpointing=room.activation_checkpointing,
        )
    print(f"{len(rows)} rows, {trained.size:,} weights trained on {ranks.count} x {ranks.device}", flush=True)
    end = train(training, start)
    if trained.best:
        trained.load(trained.best)
    if stage.writes:
        facts = {
            "base": settings.base,
            "revision": revision,
            "precision": fit.precision,
            "rows": len(rows),
            "steps": end.step,
            "stopped_early": end.stopped_early,
            "tokens": end.tokens,
            "loss": end.loss,
            "best": asdict(end.best) if end.best else None,
            "training_seconds": end.seconds,
            "micro_batch_tokens": end.micro_batch_tokens,
            "activation_checkpointing": end.activation_checkpointing,
            "memory_gb": peak_gb(ranks.device),
            "processes": ranks.count,
            "threads": end.threads,
            "device": str(ranks.device),
            "trained_weights": trained.size,
            "stop_token_id": rows[0].completion[-1],
            "max_new_tokens": 16 + 2 * max(len(row.completion) for row in rows),
            "versions": {name: version(name) for name in ("torch", "transformers", "peft", "accelerate")},
        }
        if fit.precision == "nf4":
            facts["versions"]["bitsandbytes"] = version("bitsandbytes")
        if os.path.isdir(settings.base):
            facts["base_sha256"] = weights_sha256(Path(settings.base))
        save(model, tokenizer, settings, facts, log)
        stage.finish(**facts)
        for folder in checkpoints(stage):
            shutil.rmtree(folder)
    ranks.close()


def train(training: Training, state: State) -> State:
    """The training loop, from *state* to the end."""
    stage, settings, loader, room = training.stage, training.settings, training.loader, training.room
    optimizer = training.trained.optimizer
    training.trained.model.train()
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
            if is_due(step + 1, steps, settings):
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
    training.trained.optimizer.zero_grad()  # where memory ran out halfway, some are there
    torch.manual_seed(
        training.settings.seed + step * training.ranks.count + training.ranks.rank
    )  # for bases with dropout
    loss, tokens = 0.0, 0
    for batch in micro_batches(training, step):
        with autocast(training.precision, training.ranks.device):
            part = loss_of(training.trained.model, batch)
        part.backward()
        loss += part.item()
        tokens += int(batch["attention_mask"].sum())
    return loss, tokens


def micro_batches(training: Training, step: int | None) -> Iterator[dict[str, torch.Tensor]]:
    """The rows of a step, or of validation, in pieces that fit."""
    loader, room = training.loader, training.room
    loader.settings = replace(training.settings, micro_batch_tokens=room.micro_batch_tokens)
    for batch in loader.validation() if step is None else loader.micro_batches(step):
        room.largest = max(room.largest, batch["input_ids"].numel())
        yield batch


def a_micro_batch(training: Training) -> None:
    """What most of a training's time goes into, once, for measuring."""
    with autocast(training.precision, training.ranks.device):
        loss = loss_of(training.trained.model, next(micro_batches(training, 0)))
    loss.backward()


def loss_of(model: torch.nn.Module, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Cross entropy of the answers, summed and divided by the trained tokens of the whole step."""
    logits, labels = predicted(model, batch)
    total = functional.cross_entropy(
        logits.float().flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="sum"
    )
    return total / batch["trained"]


def predicted(model: torch.nn.Module, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """The logits of the last columns, and what should have been predicted there."""
    labels, mask = batch["labels"], batch["attention_mask"]
    keep = labels.shape[1] + 1
    logits = model(
        input_ids=batch["input_ids"],
        attention_mask=mask,
        position_ids=(mask.cumsum(1) - 1).clamp(min=0),
        logits_to_keep=keep,
        use_cache=False,
    ).logits[:, -keep:-1]
    return logits, labels


def is_due(step: int, steps: int, settings: Settings) -> bool:
    """Whether validation is asked after *step*: at equal distances, the last time at the end."""
    if settings.validation is None:
        return False
    return any(step == math.ceil(steps * n / settings.evaluations) for n in range(1, settings.evaluations + 1))


def evaluate(training: Training, step: int) -> Evaluation:
    """Ask validation: which answers would greedy decoding write exactly, and how likely are all."""
    right, answers, loss, tokens = training.ranks.add_up(*training.room.attempt(partial(asked, training)))
    return Evaluation(step=step, share=round(right / answers, 4), loss=loss / tokens)


def asked(training: Training) -> tuple[int, int, float, int]:
    """Right answers, answers, summed loss and tokens of the validation rows of this process.

    An answer is what greedy decoding would write when each of its tokens is the likeliest one after those before it.
    """
    model = training.trained.model.eval()
    right, answers, loss, tokens = 0, 0, 0.0, 0
    for batch in micro_batches(training, None):
        with torch.no_grad(), autocast(training.precision, training.ranks.device):
            logits, labels = predicted(model, batch)
        hits = (logits.argmax(-1) == labels) | (labels == IGNORED)
        right += int(hits.all(1).sum())
        answers += len(labels)
        loss += functional.cross_entropy(
            logits.float().flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="sum"
        ).item()
        tokens += int((labels != IGNORED).sum())
    model.train()
    return right, answers, loss, tokens


def judged(state: State, evaluation: Evaluation, training: Training) -> State:
    """*state* after an evaluation: the best weights are kept, and too many without gain end the training."""
    if evaluation.beats(state.best):
        training.trained.keep_best()
        return replace(state, share=evaluation.share, best=evaluation, without_gain=0)
    without_gain = state.without_gain + 1
    patience = training.settings.patience
    stops = bool(patience) and without_gain >= patience
    if stops:
        print(f"no gain in {without_gain} evaluations: training ends after step {state.step}", flush=True)
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
    shutil.copyfile(log, unfinished / "training_log.jsonl")
    (unfinished / "loss.svg").write_text(loss_svg(read_jsonl(str(log))), encoding="utf-8")
    for path in unfinished.iterdir():
        path.chmod(0o644)  # safetensors are written for their owner alone; the folder decides who may look in
    shutil.rmtree(output, ignore_errors=True)
    unfinished.rename(output)


if __name__ == "__main__":
    main(sys.argv[1])
