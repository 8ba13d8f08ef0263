"""Fine-tuning with LoRA, beside TRL's SFTTrainer: the speed, the memory and the loss of the same rows in one run.

    python -m venv .venv-train-bench
    .venv-train-bench/bin/pip install -r benchmarks/requirements-training.txt
    .venv-train-bench/bin/python benchmarks/training.py            # about 10 minutes on a CPU; tables in Markdown
    .venv-train-bench/bin/python benchmarks/training.py --check    # exit status 1 where a bar is missed
    .venv-train-bench/bin/python benchmarks/training.py --dry      # what a GPU would run, on a tiny model and the CPU

Every contestant trains the same rows (a question and an answer, about 110 tokens) from the same random weights, with the
same adapter, learning rate, rows in a step and precision, in a process of its own; they take turns. Two epochs are
trained and the second one is measured, so that loading, compiling and the first allocations do not count; what they
take is shown as "to start". Only tokens of the rows count: padding is nobody's merit. On a CPU the measure is tokens per
CPU second of the process, its children and its one torch thread, and the models are tiny; on a CUDA device it is tokens
per second, and the model has the shape of Mistral-7B with random weights, because speed does not depend on them; QLoRA has
to do with what a card of 12 GB has.

    SFTTrainer          as it comes, told nothing but the above
    SFTTrainer packed   packing=True, in rows of its default of 1,024 tokens
    SFTTrainer tuned    nothing calculated twice, and sorted by length (CPU) or packed (CUDA): what one who knows it does
    text2expert         recipes/lora.py with a job.json, as Trainer runs it

Lengths are even between 18 and 58 tokens for questions, and between 28 and 108 for answers. Real data has a longer
tail, by which batches that are neither sorted nor packed would be padded more.

Before the turns each contestant reports the loss of its first step over the same fourteen rows. They must agree, and
every contestant must train the same number of tokens: nobody is fast by doing something else.
"""

import argparse
import dataclasses
import datetime as dt
import importlib.metadata
import json
import os
import platform
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

BEGAN = time.perf_counter()
HERE = Path(__file__).resolve().parent
RECIPES = HERE.parent / "text2expert" / "recipes"

PREPARATION = "preparation"
STOCK, PACKED, TUNED, OURS = "SFTTrainer", "SFTTrainer packed", "SFTTrainer tuned", "text2expert"
ROWS_A_STEP = 16
MEAN_ROW = 110
PACKED_ROW = 1024
"""SFTConfig's max_length."""
LEARNING_RATE = 3e-4
FEW = 14
"""Rows of which the first losses are compared: few enough for two packed rows, which are then one step."""
LOSS_TOLERANCE = {"fp32": 1e-3, "bf16": 2e-2, "nf4": 2e-2}
"""Relative; bf16 has eight bits of mantissa, and each contestant adds up in another order."""
CPU_BAR, CUDA_BAR = 2.0, 1.8
QLORA_GB = 11.5
"""Of a card of 12 GB the driver takes the rest."""

DENSE_BF16_TFLOPS = {
    "B200": 2250,
    "H200": 989,
    "H100 PCIe": 756,
    "H100 NVL": 835,
    "H100": 989,
    "A100": 312,
    "L40S": 362,
    "L40": 181,
    "L4": 121,
    "A40": 150,
    "A10": 125,
    "RTX A6000": 155,
    "RTX 6000 Ada": 364,
    "RTX 5090": 209,
    "RTX 4090": 165,
    "RTX 3090": 71,
}
"""What the makers' data sheets say of dense bf16 with fp32 sums; the first name that the card's name holds counts."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shape:
    """A Llama: the widths of Mistral-7B, or of a model that a CPU trains in seconds."""

    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    vocabulary: int
    r: int

    def config(self) -> Any:
        """The configuration for transformers; the special tokens are those of the toy's tokenizer."""
        from transformers import LlamaConfig

        return LlamaConfig(
            hidden_size=self.hidden,
            intermediate_size=self.intermediate,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            num_key_value_heads=self.kv_heads,
            vocab_size=self.vocabulary,
            max_position_embeddings=4096,
            bos_token_id=None,
            eos_token_id=3,
            pad_token_id=0,
        )

    def flops(self, tokens: int, trained: int) -> float:
        """Floating point operations that a step needs: forward and backward through frozen weights, 4 for each weight.

        The head is needed for trained tokens alone. Adapters, attention scores and whatever is calculated twice are
        left out, as are padding tokens: this is the numerator of "model FLOPs utilisation".
        """
        narrow = self.hidden * self.kv_heads // self.heads
        layer = 2 * self.hidden * (self.hidden + narrow) + 3 * self.hidden * self.intermediate
        return 4.0 * (self.layers * layer * tokens + self.vocabulary * self.hidden * trained)


MISTRAL_7B = Shape(hidden=4096, intermediate=14336, layers=32, heads=32, kv_heads=8, vocabulary=32000, r=64)
TINY = Shape(hidden=128, intermediate=384, layers=2, heads=4, kv_heads=4, vocabulary=2048, r=16)
WIDE = Shape(hidden=256, intermediate=768, layers=4, heads=4, kv_heads=4, vocabulary=32000, r=16)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Workload:
    """What all contestants train."""

    title: str
    shape: Shape
    rows: int
    precision: str
    device: str
    folder: str = ""
    """Where `prepare` has put base/, rows.jsonl and few.jsonl."""
    gold: str = "rows.jsonl"
    epochs: int = 2
    rows_a_step: int = ROWS_A_STEP
    memory_gb: float | None = None
    """What a contestant may take of a GPU; all there is where it is None."""
    packing: bool | None = None
    """Of text2expert, which decides by the device where it is None."""


CPU_WORKLOADS = [
    Workload(title="2 layers of 128, vocabulary 2,048", shape=TINY, rows=256, precision="fp32", device="cpu"),
    Workload(title="4 layers of 256, vocabulary 32,000", shape=WIDE, rows=96, precision="fp32", device="cpu"),
]
CUDA_WORKLOADS = [
    Workload(title="Mistral-7B's shape, bf16 LoRA r=64", shape=MISTRAL_7B, rows=1000, precision="bf16", device="cuda"),
    Workload(
        title="Mistral-7B's shape, QLoRA (nf4) r=64 on a card of 12 GB",
        shape=MISTRAL_7B,
        rows=1000,
        precision="nf4",
        device="cuda",
        memory_gb=QLORA_GB,
    ),
]
DRY_WORKLOADS = [
    dataclasses.replace(each, title=f"dry: {each.precision}", shape=TINY, rows=48, device="cpu", packing=True)
    for each in CUDA_WORKLOADS
]


# The material: a base with random weights, and rows.


def prepare(workload: Workload) -> dict[str, Any]:
    """Write base/ with its tokenizer, rows.jsonl, and the fourteen of them that are few.jsonl; return what they are."""
    sys.path.insert(0, str(RECIPES))
    import torch
    from scratch import CHAT_TEMPLATE, make_tokenizer
    from transformers import AutoModelForCausalLM

    folder, draw = Path(workload.folder), random.Random(0)
    syllables = [a + b for a in "bdfgklmnprstvz" for b in "aeiou"]
    words = ["".join(draw.choices(syllables, k=draw.randint(1, 4))) for _ in range(1500)]
    tokenizer = make_tokenizer([" ".join(draw.choices(words, k=50_000))], min(2048, workload.shape.vocabulary))
    assert tokenizer.chat_template == CHAT_TEMPLATE
    lengths = dict(zip(words, map(len, tokenizer([f" {word}" for word in words])["input_ids"]), strict=True))

    def text(tokens: int) -> str:
        chosen = list[str]()
        while tokens > 0:
            chosen.append(draw.choice(words))
            tokens -= lengths[chosen[-1]]
        return " ".join(chosen)

    rows = [
        {"instruction": f"{text(draw.randint(16, 56))}?", "input": "", "output": f"{text(draw.randint(26, 106))}."}
        for _ in range(workload.rows)
    ]
    for name, chosen in (("rows.jsonl", rows), ("few.jsonl", rows[:FEW])):
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in chosen), encoding="utf-8")

    torch.manual_seed(0)
    dtype = torch.float32 if workload.precision == "fp32" else torch.bfloat16
    with torch.device(workload.device):
        model = AutoModelForCausalLM.from_config(workload.shape.config(), dtype=dtype)
    model.save_pretrained(folder / "base")
    tokenizer.save_pretrained(folder / "base")
    asked, answered = (
        sum(map(len, tokenizer([row[part] for row in rows])["input_ids"])) for part in ("instruction", "output")
    )
    return {
        "name": torch.cuda.get_device_name() if workload.device == "cuda" else workload.device,
        "weights": model.num_parameters(),
        "tokens": asked + answered + 3 * len(rows),  # the template's marks
        "trained": answered + len(rows),
    }


# The contestants. Each trains a workload and returns what it says about it; `Clock.epoch` is called after each epoch.


class Clock:
    """Wall and CPU seconds since the process began, at the end of each epoch."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.epochs = [{"wall": 0.0, "cpu": 0.0}]

    def epoch(self) -> None:
        """An epoch has ended."""
        if self.device == "cuda":
            import torch

            torch.cuda.synchronize()
        usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        cpu = sum(each.ru_utime + each.ru_stime for each in usage)
        self.epochs.append({"wall": time.perf_counter() - BEGAN, "cpu": cpu})


def sft_trainer(contestant: str, workload: Workload, clock: Clock) -> dict[str, Any]:
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoTokenizer, BitsAndBytesConfig, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    on_gpu = workload.device == "cuda"
    options: dict[str, Any] = {}
    if contestant == PACKED or (contestant == TUNED and on_gpu):
        options["packing"] = True
        options["per_device_train_batch_size"] = max(1, round(workload.rows_a_step * MEAN_ROW / PACKED_ROW))
    else:
        options["per_device_train_batch_size"] = workload.rows_a_step
    if contestant == TUNED:
        options["gradient_checkpointing"] = False
        if not on_gpu:
            options["train_sampling_strategy"] = "group_by_length"

    class Epochs(TrainerCallback):  # type: ignore[misc]
        def on_epoch_end(self, *_: Any, **__: Any) -> None:
            clock.epoch()

    base = str(Path(workload.folder) / "base")
    rows = [
        {
            "prompt": [{"role": "user", "content": row["instruction"]}],
            "completion": [{"role": "assistant", "content": row["output"]}],
        }
        for row in _rows(workload)
    ]
    with tempfile.TemporaryDirectory() as output:
        trainer = SFTTrainer(
            model=base,
            processing_class=AutoTokenizer.from_pretrained(base),
            args=SFTConfig(
                output_dir=output,
                num_train_epochs=workload.epochs,
                learning_rate=LEARNING_RATE,
                bf16=workload.precision != "fp32",
                use_cpu=not on_gpu,
                logging_first_step=True,
                report_to="none",
                model_init_kwargs={"dtype": "float32" if workload.precision == "fp32" else "bfloat16"},
                **options,
            ),
            train_dataset=Dataset.from_list(rows),
            peft_config=LoraConfig(
                task_type="CAUSAL_LM", r=workload.shape.r, lora_alpha=workload.shape.r, target_modules="all-linear"
            ),
            quantization_config=BitsAndBytesConfig(
                load_in_4bit=True,
                bnb_4bit_quant_type="nf4",
                bnb_4bit_use_double_quant=True,
                bnb_4bit_compute_dtype=torch.bfloat16,
            )
            if workload.precision == "nf4"
            else None,
            callbacks=[Epochs()],
        )
        trainer.train()
    losses = [line["loss"] for line in trainer.state.log_history if "loss" in line]
    return {
        "tokens": sum(map(len, trainer.train_dataset["input_ids"])),
        "first_loss": losses[0],
        "last_loss": losses[-1],
    }


def text2expert(_: str, workload: Workload, clock: Clock) -> dict[str, Any]:
    sys.path.insert(0, str(RECIPES))
    import lora
    import stage

    job = {
        "base": str(Path(workload.folder) / "base"),
        "gold": str(Path(workload.folder) / workload.gold),
        "default_chat_template": "",
        "precision": workload.precision,
        "packing": workload.packing,
        "epochs": workload.epochs,
        "batch_size": workload.rows_a_step,
        "learning_rate": LEARNING_RATE,
        "r": workload.shape.r,
        "alpha": workload.shape.r,
    }
    if workload.memory_gb:  # it asks what is free before it loads anything
        limit, free = workload.memory_gb * 1e9, lora.free_bytes
        lora.free_bytes = lambda device: min(limit, free(device))
    progress = stage.Stage.progress

    def marked(self: Any, done: int, total: int, **more: float) -> None:
        progress(self, done, total, **more)
        if done * workload.epochs % total == 0:
            clock.epoch()

    stage.Stage.progress = marked
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        path = Path("stages/train/job.json")
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(job), encoding="utf-8")
        lora.main(str(path))
        log = [json.loads(line) for line in Path("expert/training_log.jsonl").read_text("utf-8").splitlines()]
        os.chdir(HERE)
    epoch = log[-(len(log) // workload.epochs) :]
    last = epoch[-10:]  # SFTTrainer logs the mean of ten steps
    return {
        "tokens": sum(line["tokens"] for line in epoch),
        "first_loss": log[0]["loss"],
        "last_loss": sum(line["loss"] for line in last) / len(last),
    }


CONTESTANTS: dict[str, Callable[[str, Workload, Clock], dict[str, Any]]] = {
    STOCK: sft_trainer,
    PACKED: sft_trainer,
    TUNED: sft_trainer,
    OURS: text2expert,
}


def _rows(workload: Workload) -> list[dict[str, str]]:
    return [json.loads(line) for line in (Path(workload.folder) / workload.gold).read_text("utf-8").splitlines()]


def client(contestant: str, workload: Workload) -> dict[str, Any]:
    """Train in this process and measure it."""
    clock = Clock(workload.device)
    if workload.memory_gb and workload.device == "cuda":
        import torch

        card = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, workload.memory_gb * 1e9 / card))
    report = CONTESTANTS[contestant](contestant, workload, clock)
    if workload.device == "cuda":
        import torch

        report["gpu_gb"] = torch.cuda.max_memory_reserved() / 1e9
    before, last = clock.epochs[-2:]
    for name in ("wall", "cpu"):
        report[f"{name}_s"] = last[name] - before[name]
        report[f"start_{name}_s"] = before[name] - report[f"{name}_s"] * (workload.epochs - 1)
        report[f"end_{name}_s"] = last[name]
    return report


# The measuring.


def measure(task: str, workload: Workload) -> dict[str, Any]:
    """Run a contestant, or the preparation, in a process of its own: its report and the operating system's.

    What fails reports why, as "failed".
    """
    command = [sys.executable, __file__, "--client", task, "--workload", json.dumps(dataclasses.asdict(workload))]
    env = dict(os.environ, HF_HUB_OFFLINE="1", PYTHONWARNINGS="ignore", HF_HOME=str(Path(workload.folder) / "cache"))
    if workload.device == "cpu":
        env["OMP_NUM_THREADS"] = "1"
    began = time.monotonic()
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = subprocess.Popen(command, stdout=out, stderr=err, env=env, cwd=workload.folder)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = status
        out.seek(0)
        err.seek(0)
        reports = [json.loads(line[7:]) for line in out if line.startswith("REPORT ")]
        if not reports:
            noise = err.read()
            print(f"{task} failed on {workload.title}:\n{noise[-3000:]}", file=sys.stderr)
            return {"failed": noise.strip().rpartition("\n")[2][:120]}
    return {**reports[-1], "rss_gb": usage.ru_maxrss * 1024 / 1e9, "whole_s": time.monotonic() - began}


def compare(workload: Workload, contestants: list[str], rounds: int, bar: float | None) -> list[str]:
    """Print a workload's table and return what was missed: the *bar* of text2expert, or what all must have in common."""
    with tempfile.TemporaryDirectory() as folder:
        workload = dataclasses.replace(workload, folder=folder)
        facts = measure(PREPARATION, workload)
        if "failed" in facts:
            sys.exit(1)
        few = dataclasses.replace(workload, gold="few.jsonl", epochs=1, rows_a_step=FEW)
        firsts = {each: measure(each, few) for each in contestants}
        turns = [
            {each: measure(each, workload) for each in contestants if "failed" not in firsts[each]}
            for _ in range(rounds)
        ]
    runs = {each: [firsts[each], *(turn[each] for turn in turns if each in turn)] for each in contestants}
    failed = {each: run["failed"] for each in contestants for run in runs[each] if "failed" in run}
    rows = {each: _median(runs[each][1:]) for each in contestants if each not in failed}
    on_gpu = workload.device == "cuda"
    seconds, memory = ("wall_s", "gpu_gb") if on_gpu else ("cpu_s", "rss_gb")
    print(
        f"\n### {workload.title}\n\n{workload.rows} rows, {facts['tokens']:,} tokens of which {facts['trained']:,} trained,"
        f" {ROWS_A_STEP} rows a step, {workload.precision}, {facts['weights'] / 1e6:,.1f} million weights\n"
    )
    unit = "second" if on_gpu else "CPU second"
    print(f"| | tokens per {unit} | times {STOCK} |{' MFU |' if on_gpu else ''} peak GB | {unit}s to start ", end="")
    print("| first loss | last loss |")
    print(f"|---|---|---|{'---|' if on_gpu else ''}---|---|---|---|")
    missed = [f"{each} failed: {why}" for each, why in failed.items() if each in (STOCK, OURS)]
    for each in contestants:
        if each in failed:
            print(f"| {each} | failed: {failed[each]} |")
            continue
        row, beside = rows[each], STOCK if STOCK in rows else each
        ratio = statistics.median(turn[beside][seconds] / turn[each][seconds] for turn in turns)
        mfu = f" {_mfu(workload, facts, row['wall_s'])} |" if on_gpu else ""
        print(
            f"| {each} | {facts['tokens'] / row[seconds]:,.0f} | {ratio:.2f} |{mfu} {row[memory]:.2f} |"
            f" {row[f'start_{seconds}']:.1f} | {firsts[each]['first_loss']:.4f} | {row['last_loss']:.3f} |"
        )
        first, expected = firsts[each]["first_loss"], firsts[beside]["first_loss"]
        if abs(first - expected) > LOSS_TOLERANCE[workload.precision] * expected:
            missed.append(f"{each}: the first loss is {first:.4f} where {STOCK}'s is {expected:.4f}")
        if row["tokens"] != facts["tokens"]:
            missed.append(f"{each}: trained {row['tokens']:,.0f} tokens of {facts['tokens']:,}")
        if each == OURS and beside == STOCK and bar and ratio < bar:
            missed.append(f"{ratio:.2f} times as fast as {STOCK}, not {bar}")
    if on_gpu and OURS in rows:
        trained, whole = (rows[OURS][name] / 60 for name in ("end_wall_s", "whole_s"))
        print(
            f"\n{workload.rows:,} pairs in {workload.epochs} epochs: {trained:.1f} minutes, {whole:.1f} with all that is written."
        )
    return [f"{workload.title}: {miss}" for miss in missed]


def _mfu(workload: Workload, facts: dict[str, Any], seconds: float) -> str:
    """The share of the card's peak that went into what had to be calculated."""
    peak = next((tera * 1e12 for name, tera in DENSE_BF16_TFLOPS.items() if name in facts["name"]), None)
    flops = workload.shape.flops(facts["tokens"], facts["trained"])
    return f"{flops / seconds / peak:.1%}" if peak else f"peak of {facts['name']} unknown"


def _median(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The row of medians."""
    return {name: statistics.median(row[name] for row in rows) for name in rows[0]}


def show_full_size() -> None:
    """What can be told of the large model without a GPU: it is built without memory and adapted."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(MISTRAL_7B.config(), dtype=torch.bfloat16)
        weights = model.num_parameters()
        adapted = get_peft_model(
            model,
            LoraConfig(task_type="CAUSAL_LM", r=MISTRAL_7B.r, lora_alpha=MISTRAL_7B.r, target_modules="all-linear"),
        )
    trained, _ = adapted.get_nb_trainable_parameters()
    print(
        f"\nMistral-7B's shape: {weights:,} weights, {trained:,} in an adapter of r={MISTRAL_7B.r};"
        f" {MISTRAL_7B.flops(1, 0) / 1e9:.1f} GFLOP a token, {MISTRAL_7B.flops(1, 1) / 1e9:.1f} a trained one"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--contestants", nargs="+", choices=list(CONTESTANTS), default=list(CONTESTANTS))
    parser.add_argument("--rounds", type=int, default=3, help="turns of each contestant; medians are shown")
    parser.add_argument("--device", choices=["cpu", "cuda"], help="the CUDA device where there is one")
    parser.add_argument("--check", action="store_true", help="exit with 1 where a bar is missed")
    parser.add_argument(
        "--dry", action="store_true", help="the work of a GPU on the CPU and a tiny model, without bars"
    )
    parser.add_argument("--client", help=argparse.SUPPRESS)
    parser.add_argument("--workload", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.client:
        values = json.loads(args.workload)
        workload = Workload(**{**values, "shape": Shape(**values["shape"])})
        report = prepare(workload) if args.client == PREPARATION else client(args.client, workload)
        print("REPORT " + json.dumps(report), flush=True)
        return 0
    device = args.device or ("cuda" if _has_cuda() else "cpu")
    workloads = DRY_WORKLOADS if args.dry else CUDA_WORKLOADS if device == "cuda" else CPU_WORKLOADS
    packages = ("torch", "transformers", "peft", "trl", "bitsandbytes")
    print(
        f"{dt.datetime.now(dt.UTC):%Y-%m-%d %H:%M} UTC, {_processor()}, {os.cpu_count()} cores,"
        f" load {os.getloadavg()[0]:.1f} at the start; Python {platform.python_version()},"
        f" {', '.join(f'{name} {importlib.metadata.version(name)}' for name in packages)}; medians of {args.rounds}",
        flush=True,
    )
    if args.dry:
        show_full_size()
    bar = None if args.dry else CUDA_BAR if device == "cuda" else CPU_BAR
    missed = [miss for workload in workloads for miss in compare(workload, args.contestants, args.rounds, bar)]
    print(f"\nLoad {os.getloadavg()[0]:.1f} at the end.")
    for miss in missed:
        print("missed:", miss)
    return 1 if missed and args.check else 0


def _has_cuda() -> bool:
    """Whether there is a CUDA device; asked in another process, because torch would keep memory in this one."""
    command = [sys.executable, "-c", "import torch; raise SystemExit(not torch.cuda.is_available())"]
    return subprocess.run(command, check=False).returncode == 0


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


if __name__ == "__main__":
    sys.exit(main())
