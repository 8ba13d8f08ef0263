"""Train a LoRA adapter: job.json + golden_dataset.jsonl -> expert/ ; done.json last.

    python lora.py stages/train/job.json

Any causal language model of the Hugging Face hub, or a folder in its form, is a base. The loss is taken on the answers
alone. A run that was killed goes on from its last checkpoint and ends with the weights it would have had: batches,
noise and learning rate are functions of the seed and the step, and a checkpoint holds all the rest. Nothing is pickled.
"""

import hashlib
import json
import math
import os
import random
import shutil
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from chat import completion_of, prompt_of
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from stage import Stage, choose_threads, read_jsonl, write_json
from torch.nn import functional
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

LARGE = 1_000_000_000
"""Bytes of weights beyond which a base is not hashed: every loading of its expert would take seconds longer."""

IGNORED = -100
"""The label of a token that is not trained on, as in torch's cross entropy."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What job.json says."""

    base: str
    """A model id of the Hugging Face hub or a folder."""
    revision: str | None = None
    gold: str
    output: str = "expert"
    system: str = ""
    default_chat_template: str
    """For a base whose tokenizer has none."""
    epochs: float
    max_steps: int | None = None
    batch_size: int
    """Rows in an optimizer step."""
    micro_batch_tokens: int = 8192
    """Padded tokens that go through the model at once; a larger batch is cut, to the same gradient."""
    max_length: int = 2048
    """Tokens of a row; longer ones are left out and counted, because a cut answer would teach a wrong one."""
    learning_rate: float
    min_learning_rate: float = 0.1
    """Where the cosine ends, as a share of the learning rate."""
    warmup: float = 0.03
    """Share of the steps in which the learning rate rises."""
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    r: int
    alpha: int
    train_embeddings: bool = False
    question_noise: float = 0.0
    """Share of the questions, drawn anew in every epoch, of which words are dropped or swapped."""
    seed: int = 0
    checkpoint_seconds: float = 60.0
    inputs: dict[str, str] = field(default_factory=dict)
    """Digests of what this stage reads: a change of them is a change of the job."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A training example: what is given and what is to be answered, as text, and the answer as tokens."""

    item: str
    """Equal for the wordings of one question."""
    question: str
    prompt: str
    completion: list[int]
    length: int
    """Tokens of prompt and completion."""


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


@dataclass(frozen=True, kw_only=True)
class State:
    """Where a run stands, beside its weights and the optimizer's."""

    step: int
    seconds: float
    threads: int
    loss: float = 0.0


class Trained:
    """The weights that are trained, by name, and their optimizer."""

    def __init__(self, model: torch.nn.Module, settings: Settings) -> None:
        self.model = model
        self.weights = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
        self.size = sum(weight.numel() for weight in self.weights.values())
        self.optimizer = torch.optim.AdamW(
            self.weights.values(),
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
            fused=True,
        )


def train(
    stage: Stage,
    settings: Settings,
    accelerator: Accelerator,
    trained: Trained,
    loader: "Loader",
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


def base_path(settings: Settings) -> str:
    """The base for ``from_pretrained``; a folder as an absolute path, which PEFT records and others can follow."""
    return os.path.abspath(settings.base) if os.path.isdir(settings.base) else settings.base


def weights_sha256(base: Path) -> str | None:
    """The SHA-256 of a base's weights, by which an expert knows its base again; None when hashing them takes long."""
    weights = base / "model.safetensors"
    if not weights.is_file() or weights.stat().st_size > LARGE:
        return None
    with open(weights, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load_base(settings: Settings, accelerator: Accelerator) -> PreTrainedModel:
    """The frozen model under the adapter: bf16 on a GPU that has it, else fp32 (bf16 is slower on a CPU)."""
    on_gpu = accelerator.device.type == "cuda"
    return AutoModelForCausalLM.from_pretrained(
        base_path(settings),
        revision=settings.revision,
        trust_remote_code=False,
        dtype=torch.bfloat16 if accelerator.mixed_precision == "bf16" else torch.float32,
        device_map={"": accelerator.device} if on_gpu else None,
    )


def add_lora(base: PreTrainedModel, settings: Settings, revision: str | None) -> PeftModel:
    """Adapters on every linear layer but the head."""
    torch.manual_seed(settings.seed)
    base.config.use_cache = False
    saved = None
    if settings.train_embeddings:
        embeddings = base.get_input_embeddings()
        saved = [name.rpartition(".")[2] for name, module in base.named_modules() if module is embeddings]
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=settings.r,
        lora_alpha=settings.alpha,
        target_modules="all-linear",
        modules_to_save=saved,
        ensure_weight_tying=bool(saved),
        revision=revision,
    )
    return get_peft_model(base, config)


def read_rows(settings: Settings, tokenizer: PreTrainedTokenizerBase) -> list[Row]:
    """The golden dataset as rows; what is too long or has no answer is left out and counted."""
    rows, empty, long = [], 0, 0
    limit = min(settings.max_length, tokenizer.model_max_length)
    for number, record in enumerate(read_jsonl(settings.gold)):
        question = "\n".join(part for part in (record["instruction"], record.get("input", "")) if part)
        answer = record["output"].strip()
        prompt = prompt_of(tokenizer, question, settings.system)
        completion = encode(tokenizer, [completion_of(tokenizer, question, answer, settings.system)])[0]
        length = len(encode(tokenizer, [prompt])[0]) + len(completion)
        if not answer:
            empty += 1
        elif length > limit:
            long += 1
        else:
            item = record.get("item") or str(number)
            rows.append(Row(item=item, question=question, prompt=prompt, completion=completion, length=length))
    if empty or long:
        print(f"left out: {empty} rows without an answer, {long} longer than {limit} tokens")
    if not rows:
        sys.exit(
            f"{settings.gold}: no row has a token to train on ({empty} without an answer, {long} longer than {limit} tokens)"
        )
    return rows


def show_example(row: Row, tokenizer: PreTrainedTokenizerBase) -> None:
    """Print a row as the model sees it, so that anyone can check what is trained."""
    print(f"an example; the loss is taken on the {len(row.completion)} tokens between the marks:")
    print(f"{row.prompt}>>>{tokenizer.decode(row.completion)}<<<", flush=True)


class Loader:
    """Batches as a function of the seed and the step alone, so that a run can go on anywhere."""

    def __init__(
        self, rows: list[Row], tokenizer: PreTrainedTokenizerBase, settings: Settings, device: torch.device
    ) -> None:
        self.rows = rows
        self.tokenizer = tokenizer
        self.settings = settings
        self.device = device
        self.per_epoch = math.ceil(len(rows) / settings.batch_size)
        self.pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
        self.epoch, self.batches = -1, list[list[int]]()

    def micro_batches(self, step: int) -> Iterator[dict[str, torch.Tensor]]:
        """The rows of a step in pieces that fit, each with the number of trained tokens in the whole step."""
        epoch, index = divmod(step, self.per_epoch)
        if epoch != self.epoch:
            self.epoch, self.batches = epoch, epoch_batches(self.rows, epoch, self.settings)
        chosen = self.batches[index]
        prompts = encode(self.tokenizer, [self.prompt(row, epoch) for row in chosen])
        pairs = sorted(
            zip(prompts, (self.rows[row].completion for row in chosen), strict=True),
            key=lambda pair: -len(pair[0]) - len(pair[1]),
        )
        trained = sum(len(completion) for _, completion in pairs)
        while pairs:
            width = len(pairs[0][0]) + len(pairs[0][1])
            fitting = max(1, self.settings.micro_batch_tokens // width)
            yield self.tensors(pairs[:fitting], trained)
            pairs = pairs[fitting:]

    def prompt(self, row: int, epoch: int) -> str:
        """The prompt of a row, in some epochs with noise on the words of its question."""
        question, prompt = self.rows[row].question, self.rows[row].prompt
        draw = random.Random(f"{self.settings.seed} {epoch} {row}")
        if draw.random() >= self.settings.question_noise:
            return prompt
        return prompt.replace(question, with_noise(question, draw))

    def tensors(self, pairs: list[tuple[list[int], list[int]]], trained: int) -> dict[str, torch.Tensor]:
        """Rows padded on the left, so that the answers are the last columns and only these need logits."""
        width = max(len(prompt) + len(completion) for prompt, completion in pairs)
        answer = max(len(completion) for _, completion in pairs)
        tokens, mask, labels = [], [], []
        for prompt, completion in pairs:
            empty = width - len(prompt) - len(completion)
            tokens.append([self.pad] * empty + prompt + completion)
            mask.append([0] * empty + [1] * (width - empty))
            labels.append([IGNORED] * (answer - len(completion)) + completion)
        batch = {"input_ids": tokens, "attention_mask": mask, "labels": labels, "trained": [trained]}
        return {name: torch.tensor(value, device=self.device) for name, value in batch.items()}


def epoch_batches(rows: list[Row], epoch: int, settings: Settings) -> list[list[int]]:
    """Row numbers in batches of similar length, every row once; wordings of one item far apart where it can be.

    The rows go in rounds: the first wording of every item, then the second ones. A round is shuffled, and each stretch
    of fifty batches of it is sorted by length.
    """
    draw = random.Random(f"{settings.seed} {epoch}")
    shuffled = draw.sample(range(len(rows)), len(rows))
    rounds: dict[int, list[int]] = defaultdict(list)
    seen: dict[str, int] = defaultdict(int)
    for row in shuffled:
        rounds[seen[rows[row].item]].append(row)
        seen[rows[row].item] += 1
    stretch = 50 * settings.batch_size
    ordered = [
        row
        for members in rounds.values()
        for start in range(0, len(members), stretch)
        for row in sorted(members[start : start + stretch], key=lambda row: rows[row].length)
    ]
    batches = [ordered[start : start + settings.batch_size] for start in range(0, len(ordered), settings.batch_size)]
    draw.shuffle(batches)
    return batches


def with_noise(question: str, draw: random.Random) -> str:
    """*question* as a hasty reader might write it: some words missing, two neighbours swapped.

    Words with digits or capitals and words in quotation marks stay: names and numbers tell questions apart that are
    otherwise alike, and without them the answer would be a guess.
    """
    words = question.split()
    kept, quoted = [], False
    for word in words:
        opens = sum(word.count(mark) for mark in '"“”')
        telling = quoted or opens or any(letter.isdigit() or letter.isupper() for letter in word)
        quoted ^= opens % 2 == 1
        if telling or draw.random() > 0.2:
            kept.append(word)
    kept = kept or words
    if len(kept) > 1:
        place = draw.randrange(len(kept) - 1)
        kept[place : place + 2] = reversed(kept[place : place + 2])
    return " ".join(kept)


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


def checkpoint(stage: Stage, trained: Trained, state: State) -> None:
    """Write all that the next steps depend on; the folder appears whole, and then the older one goes."""
    older = checkpoints(stage)
    folder = stage.folder / f"checkpoint-{state.step:08d}"
    unfinished = folder.with_suffix(".tmp")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    weights = {name: weight.detach().contiguous() for name, weight in trained.weights.items()}
    moments = {
        f"{moment} {name}": value
        for name, weight in trained.weights.items()
        for moment, value in trained.optimizer.state[weight].items()
    }
    save_file(weights, unfinished / "weights.safetensors")
    save_file(moments, unfinished / "optimizer.safetensors")
    write_json(unfinished / "state.json", {"job_sha256": stage.job_sha256, **asdict(state)})
    unfinished.rename(folder)
    for old in older:
        shutil.rmtree(old)


def checkpoints(stage: Stage) -> list[Path]:
    """Finished checkpoints, the oldest first."""
    return sorted(path for path in stage.folder.glob("checkpoint-*") if path.suffix != ".tmp")


def resume(stage: Stage, trained: Trained, log: Path) -> State | None:
    """Go back to the last checkpoint of this very job; None, and an empty log, when there is none."""
    for folder in reversed(checkpoints(stage)):
        values = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        if values.pop("job_sha256") != stage.job_sha256:
            continue
        state = State(**values)
        weights = load_file(folder / "weights.safetensors")
        with torch.no_grad():
            for name, weight in trained.weights.items():
                weight.copy_(weights[name])
        for key, value in load_file(folder / "optimizer.safetensors").items():
            moment, name = key.split(" ", 1)
            weight = trained.weights[name]
            trained.optimizer.state[weight][moment] = value.to(weight.device)
        with open(log, encoding="utf-8", newline="\n") as file:
            lines = [line.rstrip() for line in file if is_before(line, state.step)]
        log.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        print(f"going on after step {state.step}")
        return state
    log.write_text("", encoding="utf-8")
    return None


def is_before(line: str, step: int) -> bool:
    """Whether a line of the log, perhaps cut short by a kill, belongs to the first *step* steps."""
    try:
        return bool(json.loads(line)["step"] <= step)
    except ValueError:
        return False


def encode(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> list[list[int]]:
    """Token ids of *texts*; the template has written all special tokens."""
    ids: list[list[int]] = tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]
    return ids


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
