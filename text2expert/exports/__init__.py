"""A golden dataset in the forms that other tools train from, unmodified.

    llamafactory   train.jsonl, dataset_info.json and train.yaml: ``llamafactory-cli train train.yaml`` in that folder
    trl            trl.jsonl (conversational prompt and completion) and, with a base, trl.yaml: ``trl sft --config trl.yaml``
    openai         openai.jsonl: chat messages, as OpenAI, Together, Fireworks and Mistral take them
    alpaca         alpaca.json: instruction, input, output

What is trained of a record, and where its reasoning and its short answer stand, is what our own training writes:
recipes/target.py. The text itself, where it is given, is a file of its own (text.jsonl), for pretraining.
"""

import json
import math
import os
import re
import runpy
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import attrs

from text2expert import files
from text2expert._arguments import whole
from text2expert.errors import InputError
from text2expert.exports.templates import CONTROL, OWN, template_of
from text2expert.golden import load
from text2expert.golden.dataset import locate
from text2expert.records import GoldRecord, to_dict
from text2expert.runners.local import RECIPES

__all__ = ["FORMATS", "OWN", "Exported", "Format", "Training", "stage_settings", "template_of", "write"]

Format = Literal["llamafactory", "trl", "openai", "alpaca"]
FORMATS: tuple[str, ...] = get_args(Format)

LEAST_OPENAI = 10
"""Examples that OpenAI's fine-tuning takes at least."""

NAME = "text2expert"
"""The dataset's in dataset_info.json; the text's is that with ``_text``."""

_LEAST_CUTOFF = 2048
"""Tokens, LLaMA-Factory's own default; rows that could be longer raise it, because it would cut their answers."""

_SURROGATE = re.compile("[\ud800-\udfff]")

_TEMPLATE_TOKENS = 256
"""What a template adds to a row at most."""


def _one_of(name: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise InputError(f"{name}={value!r:.80}: must be {' or '.join(map(repr, allowed))}")


def _positive(_: object, attribute: Any, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise InputError(f"{attribute.name}={value!r:.80}: must be a finite number above 0")


@attrs.frozen(kw_only=True)
class Training:
    """How to train, for the formats that come with a configuration; the defaults are those of `Trainer`."""

    precision: Literal["auto", "bf16", "fp32", "nf4"] = attrs.field(default="auto")
    """"auto" writes nf4, which fits wherever the others do."""
    epochs: float = attrs.field(default=4, validator=_positive)
    learning_rate: float = attrs.field(default=3e-4, validator=_positive)
    batch_size: int = attrs.field(default=16, validator=whole(1))
    max_steps: int | None = attrs.field(default=None, validator=attrs.validators.optional(whole(1)))
    r: int = attrs.field(default=64, validator=whole(1))
    alpha: int = attrs.field(default=64, validator=whole(1))
    seed: int = attrs.field(default=0, validator=whole(0))

    @precision.validator
    def _known(self, _: "attrs.Attribute[str]", value: object) -> None:
        _one_of("precision", value, ("auto", "bf16", "fp32", "nf4"))


@attrs.frozen(kw_only=True)
class Exported:
    """What `write` wrote."""

    format: str
    files: tuple[Path, ...]
    rows: int
    notes: tuple[str, ...]
    """What a reader should know: rows left out, what to run."""

    def __str__(self) -> str:
        named = ", ".join(path.name for path in self.files)
        return "\n".join([f"{self.rows:,} rows for {self.format}: {named} in {self.files[0].parent}", *self.notes])


def write(
    gold: Sequence[GoldRecord] | Path | str,
    out: Path | str,
    format: Format = "llamafactory",  # noqa: A002 - what it is called everywhere
    *,
    base: str | os.PathLike[str] | None = None,
    revision: str | None = None,
    template: str | None = None,
    system: str = "",
    reasoning: Literal["none", "before", "after"] = "none",
    short_answer: Literal["none", "first", "last"] = "first",
    texts: Iterable[str] = (),
    training: Training | None = None,
) -> Exported:
    """Write *gold* into the folder *out* in the form of another tool; all files of it, or none.

    Args:
        gold: Records, a golden dataset or a run folder.
        out: Made where it does not exist; files of an earlier export are replaced.
        format: See the module.
        base: The model to train, for llamafactory (which needs it) and trl.
        revision: Of the base, on the hub.
        template: LLaMA-Factory's name for the base's chat template, or ``"own"``; None: by the base (`template_of`).
        system: A system prompt in every row.
        reasoning: Where the reasoning stands, as in `Trainer`.
        short_answer: Where the short answer stands, as in `Trainer`.
        texts: Passages to train on as they are, in a file of their own.
        training: What goes into the configuration; None: the defaults of `Trainer`.

    Raises:
        InputError: The dataset or an argument cannot be used.
        RunFolderError: *out* cannot be written.
    """
    _one_of("format", format, FORMATS)
    _check(base, reasoning=reasoning, short_answer=short_answer, system=system)
    if format == "llamafactory" and base is None:
        raise InputError(
            "an export for LLaMA-Factory needs the model to train: base='Qwen/Qwen2.5-7B-Instruct' (--base)"
        )
    records = load(locate(Path(gold))) if isinstance(gold, str | os.PathLike) else list(gold)
    # Recipes are run, not imported; this one defines two functions and needs the standard library alone.
    target_of = runpy.run_path(str(RECIPES / "target.py"))["target_of"]
    rows = [(record, target_of(to_dict(record), reasoning, short_answer)) for record in records]
    kept, notes = _usable(rows)
    passages = [text for text in texts if text.strip() and _is_plain(text)]
    made = _Export(
        rows=kept,
        base=None if base is None else _base(base),
        revision=revision,
        template=template,
        system=system,
        texts=passages,
        training=training or Training(),
    )
    contents, more = _WRITERS[format](made)
    out = Path(out)
    files.make_folder(out)
    with files.together(out / next(iter(contents))) as changes:
        for name, content in contents.items():
            with changes.writing(out / name) as path:
                files.write_text(path, content)
    return Exported(format=format, files=tuple(out / name for name in contents), rows=len(kept), notes=(*notes, *more))


STAGE = "stages/train/llamafactory"
"""Where a job has its export for LLaMA-Factory."""


def stage_settings(
    gold: Sequence[GoldRecord],
    folder: Path,
    *,
    command: str,
    base: str,
    revision: str | None = None,
    system: str = "",
    reasoning: Literal["none", "before", "after"] = "none",
    short_answer: Literal["none", "first", "last"] = "first",
    default_chat_template: str = "",
    training: Training | None = None,
) -> dict[str, Any]:
    """The settings of recipes/llamafactory.py for a job in *folder*, into which its export is written.

    Args:
        gold: What to train on.
        folder: The job's.
        command: Path or name of llamafactory-cli.
        base: As in `write`. A base of the hub of which nothing is known is trained with its own template.
        revision: As in `write`.
        system: As in `write`.
        reasoning: As in `write`.
        short_answer: As in `write`.
        default_chat_template: For a base whose tokenizer has none.
        training: As in `write`.

    Raises:
        InputError: As `write`.
        RunFolderError: As `write`.
    """
    training = training or Training()
    if os.sep in command and os.path.exists(command):
        command = os.path.abspath(command)  # the recipe runs in the job's folder
    try:
        template = None if template_of(base) else OWN
    except InputError:
        template = OWN
    made = write(
        gold, folder / STAGE, "llamafactory", base=base, revision=revision, template=template, system=system,
        reasoning=reasoning, short_answer=short_answer, training=training,
    )  # fmt: skip
    return {
        "cli": command,
        "dataset_dir": STAGE,
        "config": "train.yaml",
        "rows": "train.jsonl",
        "base": _base(base),
        "revision": revision,
        "output": "expert",
        "precision": training.precision,
        "r": training.r,
        "system": system,
        "reasoning": reasoning,
        "short_answer": short_answer,
        "default_chat_template": default_chat_template,
        "inputs": {f"{STAGE}/{path.name}": files.sha256_file(path) for path in made.files},
    }


@attrs.frozen(kw_only=True)
class _Export:
    """What the writers write from."""

    rows: Sequence[tuple[GoldRecord, str]]
    base: str | None
    revision: str | None
    template: str | None
    system: str
    texts: Sequence[str]
    training: Training


def _check(base: object, *, reasoning: object, short_answer: object, system: object) -> None:
    _one_of("reasoning", reasoning, ("none", "before", "after"))
    _one_of("short_answer", short_answer, ("none", "first", "last"))
    if not isinstance(system, str):
        raise InputError(f"system={system!r:.80}: must be a text")
    if base is not None and (not isinstance(base, str | os.PathLike) or not os.fspath(base)):
        raise InputError(f"base={base!r:.80}: must be the name of a Hugging Face model, or a folder")


def _base(base: str | os.PathLike[str]) -> str:
    """The base for whoever trains in another folder: a folder by its whole path."""
    name = os.fspath(base)
    if os.path.isdir(name):
        return os.path.abspath(name)
    if name.startswith(("/", "./", "../", "~")):
        raise InputError(f"base={name!r} is not a folder: check the path, or give the name of a Hugging Face model")
    return name


def _usable(rows: Sequence[tuple[GoldRecord, str]]) -> tuple[list[tuple[GoldRecord, str]], list[str]]:
    """The rows that can be trained elsewhere, and what to say of the others."""
    full = [(record, target) for record, target in rows if target and _question(record).strip()]
    kept = [(record, target) for record, target in full if _is_plain(f"{_question(record)} {target}")]
    if not kept:
        raise InputError(f"none of the {len(rows)} records has a question and an answer: there is nothing to train on")
    notes = []
    if empty := len(rows) - len(full):
        notes.append(f"left out: {empty:,} rows without a question or an answer")
    if odd := len(full) - len(kept):
        notes.append(
            f"left out: {odd:,} rows whose text holds control tokens of chat models, such as <|im_end|>, which other tools "
            "would obey, or half a surrogate pair, which UTF-8 cannot write"
        )
    return kept, notes


def _is_plain(text: str) -> bool:
    return not CONTROL.search(text) and not _SURROGATE.search(text)


def _question(record: GoldRecord) -> str:
    """As our own training and LLaMA-Factory both write it."""
    return "\n".join(part for part in (record.instruction, record.input) if part)


# -- the formats ----------------------------------------------------------------------------------------------------------


def _llamafactory(export: _Export) -> tuple[dict[str, str], list[str]]:
    assert export.base is not None
    template = template_of(export.base, export.template)
    system = export.system if template is None else f"{template.preamble}{export.system}"
    rows = [
        {"instruction": record.instruction, "input": record.input, "output": target, "system": system}
        for record, target in export.rows
    ]
    # A column that is not listed does not exist for it.
    columns = {"prompt": "instruction", "query": "input", "response": "output", "system": "system"}
    datasets: dict[str, Any] = {NAME: {"file_name": "train.jsonl", "formatting": "alpaca", "columns": columns}}
    common = _common_lines(export)
    # Without a name, it reads the base's own; a base that can think aloud is asked without.
    options = {"enable_thinking": False} if template is None else {"template": template.name, **template.options}
    lines: _Lines = [
        "llamafactory-cli train train.yaml      in this folder; LLaMA-Factory 0.9.4 or newer, with bitsandbytes for 4 bits",
        *common,
        ("stage", "sft"),
        ("dataset_dir", "."),
        ("dataset", NAME),
        *options.items(),
        "No answer is cut at this length.",
        ("cutoff_len", _cutoff("".join(row.values()) for row in rows)),
        "Packing is faster (with neat_packing: true), but puts wordings of one fact side by side, which teaches less.",
        ("packing", False),
        *_schedule(export, len(rows)),
        ("output_dir", "output"),
    ]
    contents = {"train.yaml": _yaml(lines), "train.jsonl": _jsonl(rows)}
    notes = [f"run: llamafactory-cli train train.yaml    (in that folder; template {options.get('template', OWN)!r})"]
    if export.texts:
        contents["text.jsonl"] = _jsonl({"text": text} for text in export.texts)
        datasets[f"{NAME}_text"] = {"file_name": "text.jsonl", "columns": {"prompt": "text"}}
        contents["text.yaml"] = _yaml(
            [
                "llamafactory-cli train text.yaml       in this folder: the text itself, before its questions.",
                "LLaMA-Factory cannot mix the two in one run. To go on from here, give train.yaml the line",
                "adapter_name_or_path: output_text      and a lower learning_rate, so that little of it is lost.",
                *common,
                ("stage", "pt"),
                ("dataset_dir", "."),
                ("dataset", f"{NAME}_text"),
                ("cutoff_len", _cutoff(export.texts)),
                "Packed, what does not fill a row of that length would be dropped.",
                ("packing", False),
                *_schedule(export, len(export.texts)),
                ("output_dir", "output_text"),
            ]
        )
        notes.append(
            f"the text ({len(export.texts):,} passages) is a dataset of its own with text.yaml: LLaMA-Factory cannot mix "
            "pretraining and questions in one run"
        )
    contents["dataset_info.json"] = json.dumps(datasets, indent=2) + "\n"
    return contents, notes


def _trl(export: _Export) -> tuple[dict[str, str], list[str]]:
    rows = (
        {"prompt": _turns(export.system, record), "completion": [{"role": "assistant", "content": target}]}
        for record, target in export.rows
    )
    contents, notes = {"trl.jsonl": _jsonl(rows)}, list[str]()
    if export.base is not None:
        settings = export.training
        contents["trl.yaml"] = _yaml(
            [
                "trl sft --config trl.yaml      in this folder; TRL 1.0 or newer",
                ("model_name_or_path", export.base),
                *([] if export.revision is None else [("model_revision", export.revision)]),
                ("dtype", "float32" if settings.precision == "fp32" else "bfloat16"),
                *(_nf4("load_in_4bit") if settings.precision in ("auto", "nf4") else []),
                ("use_peft", True),
                ("lora_r", settings.r),
                ("lora_alpha", settings.alpha),
                ("lora_dropout", 0.0),
                ("lora_target_modules", "all-linear"),
                ("datasets", [{"path": "json", "data_files": "trl.jsonl"}]),
                "The loss is taken on the completions alone, as by default for this form.",
                ("completion_only_loss", True),
                ("max_length", None),
                ("packing", False),
                *_schedule(export, len(export.rows)),
                ("output_dir", "output"),
            ]
        )
        notes.append("run: trl sft --config trl.yaml    (in that folder)")
    return _with_text(export, contents, notes)


def _openai(export: _Export) -> tuple[dict[str, str], list[str]]:
    if len(export.rows) < LEAST_OPENAI:
        raise InputError(
            f"OpenAI's fine-tuning takes {LEAST_OPENAI} examples or more, and there are {len(export.rows)}: teach more of "
            "the text, or take another format"
        )
    rows = (
        {"messages": [*_turns(export.system, record), {"role": "assistant", "content": target}]}
        for record, target in export.rows
    )
    return _with_text(export, {"openai.jsonl": _jsonl(rows)}, [])


def _alpaca(export: _Export) -> tuple[dict[str, str], list[str]]:
    notes = []
    if export.system:
        notes.append("alpaca has no place for a system prompt: it is left out")
    rows = [
        {"instruction": record.instruction, "input": record.input, "output": target} for record, target in export.rows
    ]
    return _with_text(export, {"alpaca.json": json.dumps(rows, ensure_ascii=False, indent=2) + "\n"}, notes)


_WRITERS: Mapping[str, Callable[[_Export], tuple[dict[str, str], list[str]]]] = {
    "llamafactory": _llamafactory,
    "trl": _trl,
    "openai": _openai,
    "alpaca": _alpaca,
}


def _with_text(export: _Export, contents: dict[str, str], notes: list[str]) -> tuple[dict[str, str], list[str]]:
    if export.texts:
        contents["text.jsonl"] = _jsonl({"text": text} for text in export.texts)
        notes.append(f"the text ({len(export.texts):,} passages) is in text.jsonl, for pretraining")
    return contents, notes


def _turns(system: str, record: GoldRecord) -> list[dict[str, str]]:
    first = [{"role": "system", "content": system}] if system else []
    return [*first, {"role": "user", "content": _question(record)}]


# -- configurations -------------------------------------------------------------------------------------------------------

_Lines = list[str | tuple[str, Any]]
"""Comments, and keys with their values."""


def _common_lines(export: _Export) -> _Lines:
    """LLaMA-Factory's names for the model and the adapter."""
    settings = export.training
    lines: _Lines = [("model_name_or_path", export.base)]
    if export.revision is not None:
        lines.append(("model_revision", export.revision))
    lines.append(("trust_remote_code", False))
    if settings.precision in ("auto", "nf4"):
        lines += [
            "QLoRA, which fits wherever bf16 does; faster without these lines, where the memory is there for it.",
            ("quantization_bit", 4),
            ("quantization_method", "bnb"),
            ("quantization_type", "nf4"),
            ("double_quantization", True),
        ]
    return [
        *lines,
        ("do_train", True),
        ("finetuning_type", "lora"),
        ("lora_target", "all"),
        ("lora_rank", settings.r),
        ("lora_alpha", settings.alpha),
        ("lora_dropout", 0.0),
    ]


def _cutoff(texts: Iterable[str]) -> int:
    """A length at which none of *texts* is cut, since a token has a byte or more."""
    return max(_LEAST_CUTOFF, _TEMPLATE_TOKENS + max(len(text.encode()) for text in texts))


def _nf4(switch: str) -> _Lines:
    return [
        "QLoRA, which fits wherever bf16 does; faster without these lines, where the memory is there for it.",
        (switch, True),
        ("bnb_4bit_quant_type", "nf4"),
        ("use_bnb_nested_quant", True),
    ]


def _schedule(export: _Export, rows: int) -> _Lines:
    """What transformers' Trainer, under LLaMA-Factory and TRL alike, calls the settings of recipes/lora.py."""
    settings = export.training
    micro = next(size for size in (4, 3, 2, 1) if settings.batch_size % size == 0)
    steps = math.ceil(settings.epochs * math.ceil(rows / settings.batch_size))
    steps = min(steps, settings.max_steps or steps)
    return [
        f"{settings.batch_size} rows in a step: on several GPUs, divide the accumulation by their number.",
        ("per_device_train_batch_size", micro),
        ("gradient_accumulation_steps", settings.batch_size // micro),
        ("num_train_epochs", float(settings.epochs)),
        *([] if settings.max_steps is None else [("max_steps", steps)]),
        ("learning_rate", settings.learning_rate),
        ("lr_scheduler_type", "cosine_with_min_lr"),
        ("lr_scheduler_kwargs", {"min_lr_rate": 0.1}),
        ("warmup_steps", max(1, round(0.03 * steps))),
        ("weight_decay", 0.0),
        ("max_grad_norm", 1.0),
        ("bf16", settings.precision != "fp32"),
        ("seed", settings.seed),
        ("logging_steps", 1),
        ("save_strategy", "steps"),
        ("save_steps", max(1, math.ceil(steps / 10))),
        ("save_total_limit", 1),
        ("report_to", "none"),
    ]


def _yaml(lines: Iterable[str | tuple[str, Any]]) -> str:
    """Each value as JSON, which is YAML too."""
    return "".join(f"# {line}\n" if isinstance(line, str) else f"{line[0]}: {_value(line[1])}\n" for line in lines)


def _value(value: Any) -> str:
    if isinstance(value, float):  # YAML 1.1, which most tools read, takes 1e-05 for a text
        text = repr(value)
        return text.replace("e", ".0e") if "e" in text and "." not in text else text
    return json.dumps(value, ensure_ascii=False)


def _jsonl(rows: Iterable[Mapping[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
