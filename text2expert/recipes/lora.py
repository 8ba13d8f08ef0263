"""Train a LoRA adapter: job.json + golden_dataset.jsonl -> expert/ ; done.json last.

    python lora.py stages/train/job.json

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
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from batches import IGNORED, Loader
from checkpoints import State, Trained, checkpoint, checkpoints, resume
from loading import add_lora, base_path, load_base, weights_sha256
from peft import PeftModel
from rows import read_rows, show_example
from settings import Settings
from stage import Stage, choose_threads, write_json
from torch.nn import functional
from transformers import AutoTokenizer, PreTrainedTokenizerBase


def main(job: str) -> None:
    """Train the adapter that *job* describes."""
    stage = Stage(job)
    settings = Settings(**stage.settings)
    on_gpu = torch.cuda.is_available()
    bf16 = on_gpu and torch.cuda.is_bf16_supported()
    accelerator = Accelerator(cpu=not on_gpu, mixed_precision="bf16" if bf16 else "no")
    tokenizer = AutoTokenizer.from_pretrained(base_path(settings), revision=settings.revision, trust_remote_code=False)
    if not tokenizer.chat_template:
        tokenizer.chat_template = settings.default_chat_template
    rows = read_rows(settings, tokenizer)
    show_example(rows[0], tokenizer)
    base = load_base(settings, accelerator)
    revision = getattr(base.config, "_commit_hash", None) or settings.revision
    model = accelerator.prepare(add_lora(base, settings, revision))
    trained = Trained(model, settings)
    loader = Loader(rows, tokenizer, settings, accelerator.device)

    log = stage.folder / "training_log.jsonl"
    start = resume(stage, trained, log)
    if start:
        torch.set_num_threads(start.threads)  # the order of a sum depends on it, and so does its last digit
    else:
        threads = choose_threads(lambda: loss_of(model, next(loader.micro_batches(0))).backward())
        trained.optimizer.zero_grad()
        start = State(step=0, seconds=0.0, threads=threads)
    print(f"{len(rows)} rows, {trained.size:,} weights trained on {accelerator.device}", flush=True)
    end = train(stage, settings, accelerator, trained, loader, log, start)

    facts = {
        "base": settings.base,
        "revision": revision,
        "rows": len(rows),
        "steps": end.step,
        "loss": end.loss,
        "training_seconds": end.seconds,
        "threads": end.threads,
        "device": str(accelerator.device),
        "trained_weights": trained.size,
        "stop_token_id": rows[0].completion[-1],
        "max_new_tokens": 16 + 2 * max(len(row.completion) for row in rows),
        "versions": {name: version(name) for name in ("torch", "transformers", "peft", "accelerate")},
    }
    if os.path.isdir(settings.base):
        facts["base_sha256"] = weights_sha256(Path(settings.base))
    save(accelerator.unwrap_model(model), tokenizer, settings, facts, log)
    stage.finish(**facts)
    for folder in checkpoints(stage):
        shutil.rmtree(folder)


def train(
    stage: Stage,
    settings: Settings,
    accelerator: Accelerator,
    trained: Trained,
    loader: Loader,
    log: Path,
    state: State,
) -> State:
    """The training loop, from *state* to the end."""
    steps = min(math.ceil(settings.epochs * loader.per_epoch), settings.max_steps or sys.maxsize)
    model, optimizer = trained.model.train(), trained.optimizer
    began, saved = time.monotonic() - state.seconds, time.monotonic()
    with open(log, "a", encoding="utf-8") as lines:
        for step in range(state.step, steps):
            stepped = time.monotonic()
            rate = optimizer.param_groups[0]["lr"] = learning_rate(step, steps, settings)
            loss, tokens = 0.0, 0
            for batch in loader.micro_batches(step):
                part = loss_of(model, batch)
                accelerator.backward(part)
                loss += part.item()
                tokens += int(batch["attention_mask"].sum())
            if not math.isfinite(loss):
                sys.exit(
                    f"the loss is {loss} at step {step + 1}: choose a learning_rate below {settings.learning_rate}"
                )
            accelerator.clip_grad_norm_(trained.weights.values(), settings.max_grad_norm)
            optimizer.step()
            optimizer.zero_grad()

            now = time.monotonic()
            state = State(step=step + 1, seconds=round(now - began, 3), threads=state.threads, loss=loss)
            line = {
                "step": step + 1,
                "epoch": round((step + 1) / loader.per_epoch, 4),
                "loss": loss,
                "learning_rate": rate,
                "tokens": tokens,
                "tokens_per_second": round(tokens / (now - stepped), 1),
                "seconds": state.seconds,
            }
            lines.write(json.dumps(line) + "\n")
            lines.flush()
            stage.progress(step + 1, steps, loss=round(loss, 4))
            if now - saved >= settings.checkpoint_seconds and step + 1 < steps:
                checkpoint(stage, trained, state)
                saved = time.monotonic()
    return state


def loss_of(model: torch.nn.Module, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Cross entropy of the answers, summed and divided by the trained tokens of the whole step."""
    labels, mask = batch["labels"], batch["attention_mask"]
    keep = labels.shape[1] + 1
    logits = model(
        input_ids=batch["input_ids"],
        attention_mask=mask,
        position_ids=(mask.cumsum(1) - 1).clamp(min=0),
        logits_to_keep=keep,
        use_cache=False,
    ).logits[:, -keep:-1]
    total = functional.cross_entropy(
        logits.float().flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="sum"
    )
    return total / batch["trained"]


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
    for path in unfinished.iterdir():
        path.chmod(0o644)  # safetensors are written for their owner alone; the folder decides who may look in
    shutil.rmtree(output, ignore_errors=True)
    unfinished.rename(output)


if __name__ == "__main__":
    main(sys.argv[1])
