"""Train with LLaMA-Factory: its own command on an export of ours, and what comes out as an expert; done.json last.

    python llamafactory.py stages/train/job.json

LLaMA-Factory lives in an environment of its own, since its versions clash with ours, and is known by its command alone:
``llamafactory-cli train CONFIG`` in the folder of the export. Killed, it goes on from its last checkpoint.

It writes prompts with a template of its own, and an expert is asked with its tokenizer's. Its log shows one row as it
trains it; where that is not what we would ask with, the expert gets a chat template that writes what was trained.
"""

import contextlib
import json
import math
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from chat import completion_of, prompt_of
from loading import base_path, weights_sha256
from memory import fit, needs_of
from plot import loss_svg
from rows import encode
from safetensors import SafetensorError, safe_open
from stage import Stage, read_jsonl, write_json
from transformers import AutoConfig, AutoTokenizer, PretrainedConfig, PreTrainedTokenizerBase

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"

_EXAMPLE = re.compile(r"input_ids:\n\[(?P<ids>[\d, ]+)\]\n.*?label_ids:\n\[(?P<labels>[-\d, ]+)\]", re.DOTALL)
"""The row that it shows before it trains."""

_SHOWN = 2_000_000
"""Characters of its log in which that row is looked for."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What job.json says."""

    cli: str
    """Path or name of llamafactory-cli."""
    dataset_dir: str
    """The export: its data, dataset_info.json and configuration."""
    config: str
    """Name of the configuration in it."""
    rows: str
    """Name of the data in it: JSONL of {"instruction", "input", "output", "system"}."""
    base: str
    revision: str | None = None
    output: str = "expert"
    precision: str = "auto"
    """As in lora.py; "auto" is chosen here, where the card is."""
    r: int = 64
    system: str = ""
    reasoning: str = "none"
    """As it was written into the data; whoever asks the expert takes its answers apart by it."""
    short_answer: str = "none"
    default_chat_template: str = ""
    """For a base whose tokenizer has none, if LLaMA-Factory gives it none either."""
    inputs: dict[str, str] = field(default_factory=dict)
    """Digests of what this stage reads: a change of them is a change of the job."""


def main(job: str) -> None:
    """Train the adapter that *job* describes."""
    stage = Stage(job)
    settings = Settings(**stage.settings)
    cli = find(settings.cli)
    folder = Path(settings.dataset_dir).resolve()
    base = AutoConfig.from_pretrained(base_path(settings.base), revision=settings.revision, trust_remote_code=False)
    configuration = adjusted((folder / settings.config).read_text(encoding="utf-8"), choose_precision(settings, base))
    gpus, shares = spread(read_values(configuration), torch.cuda.device_count())
    configuration = adjusted(configuration, shares)
    path = folder / "run.yaml"
    path.write_text(configuration, encoding="utf-8")
    values = read_values(configuration)
    made = folder / values["output_dir"]
    keep_or_clear(made, stage.job_sha256)

    rows = read_jsonl(str(folder / settings.rows))
    watch = Watch(stage, made / "trainer_log.jsonl", Shown(load_tokenizer(None, settings), rows))
    began = time.monotonic()
    run(cli, path, environment_of(cli, settings.base, gpus), watch)
    seconds = round(time.monotonic() - began, 3)

    check_adapter(made)
    tokenizer = load_tokenizer(made, settings)
    agree(tokenizer, watch.shown, settings)
    completions = [
        encode(tokenizer, [completion_of(tokenizer, question_of(row), row["output"], settings.system)])[0]
        for row in rows
    ]
    log = training_log(made / "trainer_log.jsonl")
    facts = {
        "backend": "llamafactory",
        "configuration": values,
        "precision": "nf4" if "quantization_bit" in values else "bf16" if values["bf16"] else "fp32",
        "revision": getattr(base, "_commit_hash", None) or settings.revision,
        "rows": len(rows),
        "steps": log[-1]["step"] if log else None,
        "loss": log[-1]["loss"] if log else None,
        "training_seconds": seconds,
        "stop_token_id": completions[0][-1],
        "max_new_tokens": 16 + 2 * max(map(len, completions)),
        "versions": versions(cli),
    }
    if os.path.isdir(settings.base):
        facts["base_sha256"] = weights_sha256(Path(settings.base))
    save(made, tokenizer, base, settings, facts, log)
    stage.finish(**facts)
    shutil.rmtree(made)


# -- the command ----------------------------------------------------------------------------------------------------------


def find(cli: str) -> str:
    """The command by its whole path."""
    path = shutil.which(cli)
    if path is None:
        sys.exit(
            f"there is no command {cli!r}: install LLaMA-Factory in an environment of its own (python -m venv lf && "
            "lf/bin/pip install llamafactory bitsandbytes) and give the path of its llamafactory-cli (llamafactory=, "
            "--llamafactory)"
        )
    return os.path.abspath(path)


def environment_of(cli: str, base: str, gpus: int = 1) -> dict[str, str]:
    """What it gets of ours, which the runner has freed of keys; and on how many GPUs it is to train."""
    environment = {**os.environ, "NPROC_PER_NODE": str(gpus)}
    if os.path.isdir(base):  # nothing to fetch, and nothing to ask
        environment["HF_HUB_OFFLINE"] = "1"
        for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
            environment.pop(name, None)
    # On several GPUs it starts torchrun by that name, which must be the one of its own environment.
    environment["PATH"] = os.pathsep.join([os.path.dirname(cli), environment.get("PATH", os.defpath)])
    return environment


class Watch:
    """What it says and logs while it trains, handed on."""

    def __init__(self, stage: Stage, log: Path, shown: "Shown") -> None:
        self.stage = stage
        self.log = log
        self.shown = shown
        self._read = 0

    def line(self, line: str) -> None:
        """A line of its words, for our log."""
        print(line, end="", flush=True)
        self.shown.line(line)
        self.progress()

    def progress(self) -> None:
        """What it has logged of its steps since the last time, for the bar."""
        with contextlib.suppress(FileNotFoundError), open(self.log, "rb") as file:
            file.seek(self._read)
            for line in file:
                if not line.endswith(b"\n"):  # still being written
                    return
                self._read += len(line)
                if (step := step_of(line.decode())) is not None:
                    self.stage.progress(step["current_steps"], step["total_steps"], loss=round(step["loss"], 4))


def run(cli: str, configuration: Path, environment: dict[str, str], watch: Watch) -> None:
    """Run it to its end, unless it is seen to train something else than it should."""
    command = [cli, "train", configuration.name]
    print(f"{' '.join(command)}    (in {configuration.parent})", flush=True)
    try:
        process = subprocess.Popen(  # noqa: S603 - the command that the user names
            command, cwd=configuration.parent, env=environment,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            encoding="utf-8", errors="replace",
        )  # fmt: skip
    except OSError as error:
        sys.exit(f"{cli} cannot be run: {error.strerror}; give the path of LLaMA-Factory's llamafactory-cli")
    with process:
        assert process.stdout is not None
        for line in process.stdout:
            watch.line(line)
            if watch.shown.problem:  # before an hour of training, not after it
                process.kill()
                sys.exit(watch.shown.problem)
    watch.progress()
    if (code := process.returncode) != 0:
        how = f"with exit code {code}" if code > 0 else f"by signal {-code}"
        sys.exit(f"llamafactory-cli ended {how}; why stands above, in its own words")


def step_of(line: str) -> dict[str, Any] | None:
    """A line of its trainer_log.jsonl that tells of a step; None for others, and for what a kill has cut short."""
    try:
        value: dict[str, Any] = json.loads(line)
    except ValueError:
        return None
    return value if "loss" in value else None


def training_log(log: Path) -> list[dict[str, Any]]:
    """Its log in our own words; a step that was done again after a kill counts once."""
    lines = log.read_text(encoding="utf-8").splitlines() if log.is_file() else []
    steps = {
        step["current_steps"]: {
            "step": step["current_steps"],
            "epoch": step["epoch"],
            "loss": step["loss"],
            "learning_rate": step["lr"],
        }
        for step in map(step_of, lines)
        if step is not None
    }
    return [steps[number] for number in sorted(steps)]


def keep_or_clear(made: Path, job_sha256: str) -> None:
    """Leave what an earlier try at this very job has left to go on from; anything else would be taken for that."""
    owner = made.with_name(f"{made.name}.job")
    mine = owner.is_file() and owner.read_text(encoding="utf-8") == job_sha256
    if not mine or not any(made.glob("checkpoint-*")):
        shutil.rmtree(made, ignore_errors=True)
    owner.write_text(job_sha256, encoding="utf-8")


def versions(cli: str) -> dict[str, str]:
    """Of the libraries that trained, where the command lies beside its interpreter."""
    python = Path(cli).resolve().with_name("python")
    names = ("llamafactory", "torch", "transformers", "peft")
    code = f"import importlib.metadata as m, json; print(json.dumps({{n: m.version(n) for n in {names!r}}}))"
    try:
        told = subprocess.run([python, "-c", code], capture_output=True, check=True, timeout=60).stdout  # noqa: S603 - ours
        return dict(json.loads(told))
    except (OSError, subprocess.SubprocessError, ValueError):
        return {}


# -- its configuration ----------------------------------------------------------------------------------------------------


def choose_precision(settings: Settings, base: PretrainedConfig) -> dict[str, Any]:
    """What the configuration has to say otherwise on this machine; None takes a key out."""
    bare = dict.fromkeys(("quantization_bit", "quantization_method", "quantization_type", "double_quantization"))
    changes: dict[str, Any] = {"disable_tqdm": True}  # a log has lines
    on_gpu = torch.cuda.is_available()
    if not on_gpu:
        changes["use_cpu"] = True  # without which transformers refuses bf16 there
    if settings.precision != "auto":
        return changes
    if not on_gpu:
        print("no CUDA GPU here: trained in fp32 on the CPU")
        return {**changes, **bare, "bf16": False}
    free = free_vram()
    chosen = fit(
        needs_of(base, settings.r), free, precisions=("bf16", "nf4"), micro_batch_tokens=8192,
        activation_checkpointing=True,  # as it does by itself
    )  # fmt: skip
    print(f"the base is held in {chosen.precision}: {free / 1e9:.1f} GB of the card are free")
    return {**changes, **bare} if chosen.precision == "bf16" else changes


def spread(values: dict[str, Any], gpus: int) -> tuple[int, dict[str, Any]]:
    """How many of *gpus* share the rows of a step evenly, and what the configuration has to say for it.

    By itself it takes every GPU that it sees, each with as many rows as one alone: steps as many times larger and fewer.
    """
    names = ("per_device_train_batch_size", "gradient_accumulation_steps")
    rows = math.prod(values[name] for name in names)
    used = next(count for count in range(max(1, gpus), 0, -1) if rows % count == 0)
    if used == 1:
        return 1, {}
    micro = next(size for size in (4, 3, 2, 1) if rows // used % size == 0)
    print(f"{used} GPUs take {rows // used} of the {rows} rows of a step each")
    return used, dict(zip(names, (micro, rows // used // micro), strict=True))


def free_vram() -> float:
    """Free memory of the card, without opening it, which would take some of it; 0 where it cannot be asked."""
    command = ["nvidia-smi", "--query-gpu=memory.free", "--format=csv,noheader,nounits"]
    try:
        told = subprocess.run(command, capture_output=True, check=True, timeout=60, encoding="utf-8").stdout  # noqa: S603 - ours
        return min(float(line) for line in told.split()) * 2**20
    except (OSError, subprocess.SubprocessError, ValueError):
        return 0.0


def adjusted(configuration: str, changes: dict[str, Any]) -> str:
    """The configuration with some values changed; its lines are "key: JSON"."""
    lines = [line for line in configuration.splitlines() if line.partition(":")[0] not in changes]
    lines += [f"{key}: {json.dumps(value)}" for key, value in changes.items() if value is not None]
    return "\n".join([*lines, ""])


def read_values(configuration: str) -> dict[str, Any]:
    """The values of such a configuration."""
    pairs = (line.partition(": ") for line in configuration.splitlines() if line and not line.startswith("#"))
    return {key: json.loads(value) for key, _, value in pairs}


# -- what comes out -------------------------------------------------------------------------------------------------------


def check_adapter(made: Path) -> None:
    """That it wrote an adapter that can be loaded."""
    if (made / "adapter_model.bin").is_file() and not (made / WEIGHTS).is_file():
        sys.exit(
            f"llamafactory-cli wrote pickled weights, which are not loaded: update it, so that it writes {WEIGHTS}"
        )
    missing = [name for name in (WEIGHTS, CONFIG) if not (made / name).is_file()]
    if missing:
        sys.exit(
            f"llamafactory-cli ended without an error and without an adapter: no {' and no '.join(missing)} in {made}"
        )
    try:
        with safe_open(made / WEIGHTS, "pt") as file:
            tensors = list(file.keys())
    except SafetensorError as error:
        sys.exit(f"the adapter of llamafactory-cli, {made / WEIGHTS}, is damaged: {error}")
    if not tensors:
        sys.exit(f"the adapter of llamafactory-cli, {made / WEIGHTS}, is empty")


def load_tokenizer(made: Path | None, settings: Settings) -> PreTrainedTokenizerBase:
    """The tokenizer that it saved with the adapter, else the base's."""
    saved = made is not None and (made / "tokenizer_config.json").is_file()
    tokenizer = AutoTokenizer.from_pretrained(
        made if saved else base_path(settings.base),
        revision=None if saved else settings.revision,
        trust_remote_code=False,
    )
    if not tokenizer.chat_template:
        tokenizer.chat_template = settings.default_chat_template
    return tokenizer


def question_of(row: dict[str, Any]) -> str:
    """As rows.py and LLaMA-Factory write it."""
    return "\n".join(part for part in (row["instruction"], row.get("input", "")) if part)


class Shown:
    """The row that its log shows before it trains: what it gives and what it trains, and the row of ours that it is."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, rows: list[dict[str, Any]]) -> None:
        self.tokenizer = tokenizer
        self.rows = rows
        self.given = self.trained = ""
        self.row: dict[str, Any] | None = None
        self.problem = ""
        """Why the row cannot be one of ours."""
        self._words, self._size = list[str](), 0

    def line(self, line: str) -> None:
        """Look whether the row is complete with *line*."""
        if self.given or self._size > _SHOWN:
            return
        self._words.append(line)
        self._size += len(line)
        found = _EXAMPLE.search("".join(self._words)) if line.startswith("labels:") else None
        if found is None:
            return
        ids, labels = (json.loads(f"[{found[name]}]") for name in ("ids", "labels"))
        start = next((place for place, label in enumerate(labels) if label >= 0), len(ids))
        self.given, self.trained = self.tokenizer.decode(ids[:start]), self.tokenizer.decode(ids[start:])
        fits = (row for row in self.rows if question_of(row) in self.given and row["output"] in self.trained)
        # The longest, since a question may be the end of another.
        self.row = max(fits, key=lambda row: len(question_of(row)), default=None)
        if self.row is None:
            self.problem = (
                f"LLaMA-Factory was stopped before it trained: it would give {self.given!r} and train {self.trained!r}, "
                "and no question and answer of the dataset are in that; name another template (template=, --template)"
            )


def agree(tokenizer: PreTrainedTokenizerBase, shown: Shown, settings: Settings) -> None:
    """Give the tokenizer a chat template that writes what was trained, if its own does not."""
    if shown.row is None:
        print("its log shows no row: whether the expert is asked as it was trained was not checked")
        return
    question = question_of(shown.row)
    ours = prompt_of(tokenizer, question, settings.system)
    if shown.given == tokenizer.decode(encode(tokenizer, [ours])[0]):
        print("the expert is asked with the very prompt that was trained")
        return
    before, _, between = shown.given.partition(question)
    lead, _, end = shown.trained.partition(shown.row["output"])
    tokenizer.chat_template = template_around(before, between, lead, end)
    print(
        f"LLaMA-Factory wrote another prompt than the base's own chat template; the expert's writes what was trained:\n"
        f"{shown.given!r}\nnot\n{ours!r}"
    )


def template_around(before: str, between: str, lead: str, end: str) -> str:
    """A chat template for one question and its answer. It knows the system prompt that was trained, and no other.

    Args:
        before: What stands before the question.
        between: What stands between it and what is trained.
        lead: The beginning of what is trained, before the answer: to a tokenizer, a space belongs to the word after it.
        end: What stands after the answer.
    """
    before, between, lead, end = (json.dumps(text) for text in (before, between, lead, end))
    return (
        "{% for message in messages %}"
        f"{{% if message['role'] == 'user' %}}{{{{ {before} + message['content'] + {between} }}}}"
        f"{{% elif message['role'] == 'assistant' %}}{{{{ {lead} + message['content'] + {end} }}}}{{% endif %}}"
        "{% endfor %}"
    )


def save(
    made: Path,
    tokenizer: PreTrainedTokenizerBase,
    base: PretrainedConfig,
    settings: Settings,
    facts: dict[str, Any],
    log: list[dict[str, Any]],
) -> None:
    """Write the expert's folder beside its place and move it there whole."""
    output = Path(settings.output)
    unfinished = output.with_name(f".{output.name}.tmp")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o700)
    shutil.copyfile(made / WEIGHTS, unfinished / WEIGHTS)
    adapter = json.loads((made / CONFIG).read_text(encoding="utf-8"))
    adapter |= {"base_model_name_or_path": base_path(settings.base), "revision": facts["revision"]}
    write_json(unfinished / CONFIG, adapter)
    tokenizer.save_pretrained(unfinished)
    write_json(unfinished / "training_args.json", {**asdict(settings), **facts})
    write_json(unfinished / "model_config.json", base.to_dict())
    lines = "".join(json.dumps(line) + "\n" for line in log)
    (unfinished / "training_log.jsonl").write_text(lines, encoding="utf-8")
    (unfinished / "loss.svg").write_text(loss_svg(log), encoding="utf-8")
    for path in unfinished.iterdir():
        path.chmod(0o644)  # the folder decides who may look in
    shutil.rmtree(output, ignore_errors=True)
    unfinished.rename(output)


if __name__ == "__main__":
    main(sys.argv[1])
