"""What trains elsewhere, read and trained by those who train it: LLaMA-Factory and TRL, each in an environment of its own.

    python benchmarks/elsewhere.py [--llamafactory VENV] [--trl VENV]

The environments are made where they do not exist, with plain pip and the requirement files beside this script. Then, on a
tiny base and on the CPU:

- LLaMA-Factory's parser takes every configuration that an export writes, for each template and precision;
- its templates write, token by token, what the bases' own chat templates write (those that TRL ships);
- its loader and TRL's cut every row of an export as our own training does: the same prompt, the same trained text;
- `llamafactory-cli train train.yaml`, `text.yaml` before it, and `trl sft --config trl.yaml` train what was exported;
- `Trainer(backend="llamafactory")` makes an expert that answers, and `text2expert run --gold` the same.

Ends with an error at the first thing that does not hold.
"""

import argparse
import functools
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from deck import exam, gold, text

from text2expert import Trainer, exports
from text2expert.expert import Expert
from text2expert.exports.templates import template_of
from text2expert.records import write_jsonl

say = functools.partial(print, flush=True)

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.append(str(ROOT / "text2expert" / "recipes"))  # behind the libraries: one recipe is called as a package is

CHATML = ["<|im_start|>", "<|im_end|>", "<|endoftext|>", "<think>", "</think>"]
LLAMA = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
GEMMA = ["<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>"]
PHI = ["<|user|>", "<|assistant|>", "<|system|>", "<|end|>", "<|endoftext|>", "<s>"]

CHAT_TEMPLATES = (
    ("qwen2_5", "Qwen/Qwen2.5-7B-Instruct", CHATML, None, "<|im_end|>"),
    ("qwen3", "Qwen/Qwen3-8B", CHATML, None, "<|im_end|>"),
    ("qwen3_instruct_2507", "Qwen/Qwen3-4B-Instruct-2507", CHATML, None, "<|im_end|>"),
    ("qwen3_5_nothink", "Qwen/Qwen3.5-9B", CHATML, None, "<|im_end|>"),
    ("llama3", "meta-llama/Meta-Llama-3-8B-Instruct", LLAMA, "<|begin_of_text|>", "<|eot_id|>"),
    ("llama3_1", "meta-llama/Llama-3.1-8B-Instruct", LLAMA, "<|begin_of_text|>", "<|eot_id|>"),
    ("gemma", "google/gemma-7b-it", GEMMA, "<bos>", "<eos>"),
    ("gemma3", "google/gemma-3-4b-it", GEMMA, "<bos>", "<eos>"),
    ("phi3", "microsoft/Phi-3-mini-4k-instruct", PHI, "<s>", "<|endoftext|>"),
    ("phi3_5", "microsoft/Phi-3.5-mini-instruct", PHI, "<s>", "<|endoftext|>"),
)
"""Of TRL's collection of real chat templates: file, a base that has it, its control tokens, beginning and end.

Llama 3.2's is left out: it writes today's date into every prompt, so that no file can say what it will write.
"""

CONFIGURED = (
    "Qwen/Qwen2.5-7B-Instruct", "Qwen/Qwen2-7B", "Qwen/Qwen3-8B", "Qwen/Qwen3-4B-Instruct-2507", "Qwen/Qwen3.5-9B",
    "meta-llama/Llama-2-7b-hf", "meta-llama/Llama-3.1-8B-Instruct", "mistralai/Mistral-7B-v0.1",
    "mistralai/Ministral-8B-Instruct-2410", "mistralai/Mistral-Small-24B-Instruct-2501", "google/gemma-7b-it",
    "google/gemma-2-9b-it", "google/gemma-3-4b-it", "microsoft/Phi-3.5-mini-instruct", "microsoft/phi-4",
    "microsoft/Phi-4-mini-instruct", "HuggingFaceTB/SmolLM2-1.7B-Instruct",
)  # fmt: skip

SYSTEM = "Answer from the deck's manual."

TRAINING = exports.Training(precision="fp32", epochs=60, learning_rate=5e-3, batch_size=8, r=16, alpha=16)


def environment(venv: Path, requirements: str) -> Path:
    """The interpreter of an environment, which is made where it is not there or was made of something else."""
    python, wanted = venv / "bin" / "python", (HERE / requirements).read_text("utf-8")
    made = venv / ".made-of"
    if not made.is_file() or made.read_text("utf-8") != wanted:
        say(f"making {venv} of {requirements} ...")
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "-r", HERE / requirements], check=True)
        without_cuda(python)
        made.write_text(wanted, "utf-8")
    return python


def without_cuda(python: Path) -> None:
    """Make torchvision and torchaudio importable beside a torch for the CPU.

    The registry has them for CUDA alone, whose libraries are then missing. Text needs neither; LLaMA-Factory imports
    the one where it is there, and the other always.
    """
    found = [name for name in ("torchvision", "torchaudio") if run([python, "-c", f"import {name}"], check=False)[0]]
    if "torchvision" in found:
        run([python, "-m", "pip", "uninstall", "--quiet", "--yes", "torchvision"])
    if "torchaudio" in found:
        site = run([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"])[1].strip()
        for library in Path(site, "torchaudio", "lib").glob("*.so"):
            library.unlink()
        run([python, "-c", "import torchaudio"], check=Path(site, "torchaudio").is_dir())


def run(command: list, *, cwd: Path | None = None, check: bool = True) -> tuple[int, str]:
    """Exit code and standard output of *command*; with *check*, an error that shows its last words."""
    done = subprocess.run(list(map(str, command)), cwd=cwd, capture_output=True, encoding="utf-8", check=False)
    if check and done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))} failed:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
    return done.returncode, done.stdout


def versions(python: Path, *names: str) -> str:
    """Of the packages of an environment."""
    code = f"import importlib.metadata as m; print(', '.join(n + ' ' + m.version(n) for n in {names!r}))"
    return run([python, "-c", code])[1].strip()


def make_base(folder: Path) -> None:
    """A tiny base with random weights, which knows nothing."""
    from scratch import make_tokenizer
    from tiny import llama

    tokenizer = make_tokenizer([text(), SYSTEM], 512)
    llama(tokenizer).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def as_we_train(base: Path) -> list[list[str]]:
    """Every row as our own training cuts it."""
    from chat import completion_of, prompt_of
    from rows import encode
    from target import target_of
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base)
    found = []
    for record in gold():
        target = target_of({"output": record.output}, "none", "first")
        parts = (
            prompt_of(tokenizer, record.instruction, SYSTEM),
            completion_of(tokenizer, record.instruction, target, SYSTEM),
        )
        found.append([tokenizer.decode(encode(tokenizer, [part])[0]) for part in parts])
    return found


def same(what: str, ours: list[list[str]], theirs: list[list[str]]) -> None:
    """Say that every row is cut alike; a line break after the end of an answer is the template's."""
    stripped = [[[part.rstrip("\n") for part in row] for row in rows] for rows in (ours, theirs)]
    if stripped[0] != stripped[1]:
        pairs = zip(*stripped, strict=False)
        odd = next(((a, b) for a, b in pairs if a != b), (len(ours), len(theirs)))
        sys.exit(f"{what}: not what our own training cuts:\n{odd[0]}\n{odd[1]}")
    say(f"{what}: {len(theirs)} of {len(ours)} rows, prompt and trained text as in our own training")


def read_by_llamafactory(python: Path, trl: Path, base: Path, folder: Path) -> None:
    """Its parser, its templates and its loaders."""
    configurations = []
    for name in CONFIGURED:
        for precision in ("nf4", "bf16", "fp32"):
            out = folder / f"{name.replace('/', '_')}-{precision}"
            training = exports.Training(precision=precision, max_steps=3)
            exports.write(gold(), out, base=name, revision="main", texts=[text()], training=training)
            configurations += [(out, "train.yaml"), (out, "text.yaml")]
    exported = folder / "exported"
    exports.write(gold(), exported, base=base, system=SYSTEM, texts=text().splitlines(), training=TRAINING)
    more = folder / "more"
    exports.write(gold(), more, "openai")
    exports.write(gold(), more, "alpaca")
    tags = {
        "role_tag": "role",
        "content_tag": "content",
        "user_tag": "user",
        "assistant_tag": "assistant",
        "system_tag": "system",
    }
    openai = {"file_name": "openai.jsonl", "formatting": "openai", "columns": {"messages": "messages"}, "tags": tags}
    question = gold()[0].instruction
    templates = [
        {
            "chat_template": str(Path(run([trl, "-c", "import trl; print(trl.__path__[0])"])[1].strip().splitlines()[-1], "chat_templates", f"{file}.jinja")),
            "tokens": tokens, "bos": bos, "eos": eos, "question": question, "system": system,
            "template": found.name, "options": dict(found.options), "preamble": found.preamble,
        }
        for file, name, tokens, bos, eos in CHAT_TEMPLATES
        for found in [template_of(name)]
        for system in ("", SYSTEM)
    ]  # fmt: skip
    tasks = {
        "base": str(base),
        "configurations": [(str(out), name) for out, name in configurations],
        "rows": [(str(exported), "train.yaml"), (str(exported), "text.yaml")],
        "read": [(str(more), openai), (str(more), {"file_name": "alpaca.json"})],
        "prompts": templates,
    }
    (folder / "tasks.json").write_text(json.dumps(tasks))
    printed = run([python, HERE / "elsewhere_llamafactory.py", folder / "tasks.json"])[1]
    done = json.loads(printed.strip().splitlines()[-1])
    say(f"LLaMA-Factory's parser takes all of {len(configurations)} configurations of {len(CONFIGURED)} bases")
    listed = (ROOT / "tests" / "data" / "llamafactory_flags.txt").read_text("utf-8").splitlines()[1:]
    if listed != done["flags"]:
        sys.exit(f"tests/data/llamafactory_flags.txt is of another release; its flags now:\n{' '.join(done['flags'])}")
    for task, (own, written) in zip(templates, done["prompts"], strict=True):
        if own != written:
            sys.exit(f"{task['chat_template']}: {task['template']!r} writes\n{written!r}\nnot\n{own!r}")
    say(
        f"its templates write what {len(CHAT_TEMPLATES)} chat templates of real bases do, with a system prompt and without"
    )
    same("LLaMA-Factory's loader, train.yaml", as_we_train(base), done["rows"][0])
    passages = [["", line] for line in text().splitlines()]
    same("LLaMA-Factory's loader, text.yaml", passages, [[a, b.removesuffix("<|end|>")] for a, b in done["rows"][1]])
    if done["read"] != [len(gold())] * 2:
        sys.exit(f"openai.jsonl and alpaca.json: {done['read']} of {len(gold())} rows")
    say(f"openai.jsonl and alpaca.json, read by LLaMA-Factory: {len(gold())} rows each")


def read_by_trl(python: Path, base: Path, folder: Path) -> None:
    """Its loader, as SFTTrainer prepares rows."""
    exports.write(gold(), folder, "trl", base=base, system=SYSTEM, texts=text().splitlines(), training=TRAINING)
    exports.write(gold(), folder, "openai", system=SYSTEM)
    paths = [folder / name for name in ("trl.jsonl", "openai.jsonl", "text.jsonl")]
    completions, messages, passages = json.loads(
        run([python, HERE / "elsewhere_trl.py", base, *paths])[1].splitlines()[-1]
    )
    ours = as_we_train(base)
    same("TRL's SFTTrainer, trl.jsonl", ours, completions)
    same("TRL's SFTTrainer, openai.jsonl (all of a chat is trained)", [["", "".join(row)] for row in ours], messages)
    same("TRL's SFTTrainer, text.jsonl", [["", f"{line}<|end|>"] for line in text().splitlines()], passages)


def train(what: str, command: list, folder: Path, output: str) -> None:
    """Train by *command* and see that the loss fell and an adapter came out."""
    started = time.monotonic()
    run(command, cwd=folder)
    state = json.loads(next((folder / output).glob("checkpoint-*/trainer_state.json")).read_text("utf-8"))
    losses = [line["loss"] for line in state["log_history"] if "loss" in line]
    if not (folder / output / "adapter_model.safetensors").is_file() or not losses[-1] < losses[0] / 2:
        sys.exit(f"{what}: no adapter, or a loss that did not fall: {losses}")
    say(f"{what}: {len(losses)} steps, loss {losses[0]:.2f} -> {losses[-1]:.3f}, {time.monotonic() - started:.0f} s")


def expert(base: Path, command: Path, folder: Path) -> None:
    """Our own trainer with LLaMA-Factory behind it."""
    trainer = Trainer(
        base, backend="llamafactory", llamafactory=command, epochs=60, learning_rate=5e-3, batch_size=8, r=16, alpha=16,
        system=SYSTEM,
    )  # fmt: skip
    trainer.train(gold(), folder=folder / "trained", exam=exam())
    log = (folder / "trained" / "stages" / "train" / "log.txt").read_text("utf-8")
    with Expert.load(folder / "trained") as asked:
        answers = asked.ask_many([record.instruction for record in gold()])
    right = sum(answer.text == record.output for answer, record in zip(answers, gold(), strict=True))
    if right < 0.9 * len(answers) or "with the very prompt that was trained" not in log:
        sys.exit(f"the expert that LLaMA-Factory trained: {right} of {len(answers)} right")
    say(
        f'Trainer(backend="llamafactory"): {right} of {len(answers)} answers right, asked with the prompt that was trained'
    )
    write_jsonl(folder / "mine.jsonl", gold())
    words = ["run", "--gold", "mine.jsonl", "--base", base, "--max-steps", "2", "--out", "run"]
    run(
        [sys.executable, "-m", "text2expert", *words, "--backend", "llamafactory", "--llamafactory", command],
        cwd=folder,
    )
    made = json.loads((folder / "run" / "expert" / "training_args.json").read_text("utf-8"))
    say(f"text2expert run --gold --backend llamafactory: {made['steps']} steps by {made['versions']}")


def main() -> None:
    """Everything, in the order of what takes long."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--llamafactory", type=Path, default=Path(f"{sys.prefix}-llamafactory"), metavar="VENV")
    parser.add_argument("--trl", type=Path, default=Path(f"{sys.prefix}-trl"), metavar="VENV")
    arguments = parser.parse_args()
    os.environ |= {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    factory = environment(arguments.llamafactory.absolute(), "requirements-llamafactory.txt")
    trl = environment(arguments.trl.absolute(), "requirements-training.txt")
    say(versions(factory, "llamafactory", "transformers", "peft", "trl", "torch"))
    say(versions(trl, "trl", "transformers", "peft", "torch"))
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        base = folder / "base"
        make_base(base)
        read_by_llamafactory(factory, trl, base, folder)
        read_by_trl(trl, base, folder / "trl")
        command = factory.with_name("llamafactory-cli")
        exported = folder / "exported"
        train("llamafactory-cli train train.yaml", [command, "train", "train.yaml"], exported, "output")
        train("llamafactory-cli train text.yaml", [command, "train", "text.yaml"], exported, "output_text")
        train(
            "trl sft --config trl.yaml", [trl.with_name("trl"), "sft", "--config", "trl.yaml"], folder / "trl", "output"
        )
        expert(base, command, folder)


if __name__ == "__main__":
    main()
