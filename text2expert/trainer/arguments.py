"""What a trainer's arguments may be, and what those of other tools are called here."""

import difflib
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, get_args

from text2expert.errors import InputError

Precision = Literal["auto", "bf16", "fp32", "nf4"]
Reasoning = Literal["none", "before", "after"]
ShortAnswer = Literal["none", "first", "last"]
Backend = Literal["text2expert", "llamafactory"]

Replay = str | os.PathLike[str] | bool | None
"""What replay may be: "self", a path, False or None."""

NAMES_ELSEWHERE = {
    "num_epochs": "epochs",
    "num_train_epochs": "epochs",
    "n_epochs": "epochs",
    "model_name": "model",
    "model_name_or_path": "model",
    "model_id": "model",
    "base": "model",
    "base_model": "model",
    "model_revision": "revision",
    "lr": "learning_rate",
    "per_device_train_batch_size": "batch_size",
    "train_batch_size": "batch_size",
    "micro_batch_size": "batch_size",
    "num_steps": "max_steps",
    "lora_r": "r",
    "rank": "r",
    "lora_rank": "r",
    "lora_alpha": "alpha",
    "random_seed": "seed",
    "data_seed": "seed",
    "system_prompt": "system",
    "sample_packing": "packing",
    "neat_packing": "packing",
    "dtype": "precision",
    "torch_dtype": "precision",
    "general_data": "replay",
}
"""Arguments of other tools -> ours."""

ADVICE_ELSEWHERE = {
    **dict.fromkeys(("load_in_4bit", "quantization_bit", "qlora", "use_qlora", "quantization"),
                    "here it is precision='nf4'; by default that is chosen where the card's memory is short"),
    "load_in_8bit": "8 bits are not offered: precision='nf4' takes less, precision='bf16' is exact",
    **dict.fromkeys(("bf16", "fp16"), "here it is precision='bf16'; by default it is chosen from the card"),
    **dict.fromkeys(("gradient_checkpointing", "activation_checkpointing"),
                    "it switches itself on when memory runs out, and costs a third of the speed otherwise"),
    "gradient_accumulation_steps": "batch_size counts all rows of a step, and they are cut to what fits into memory",
    **dict.fromkeys(("max_seq_length", "max_length", "cutoff_len", "sequence_len", "context_length"),
                    "rows of up to 2,048 tokens are trained whole, longer ones are left out and counted"),
    **dict.fromkeys(("target_modules", "lora_target", "lora_target_modules"),
                    "the adapter is on all linear layers but the head, which teaches facts better than any part of them"),
    "lora_dropout": "there is none: what keeps the base's own knowledge is replay",
    **dict.fromkeys(("output_dir", "out", "output"), "say where with Trainer(...).train(gold, folder=...)"),
    **dict.fromkeys(("dataset", "dataset_path", "train_dataset", "gold", "data"), "give it to Trainer(...).train(gold)"),
    **dict.fromkeys(("gpu", "gpus", "num_gpus", "processes", "num_processes"),
                    "where and on how many GPUs is the runner's business: runner=Local(processes=2)"),
    "budget": "training on this machine costs nothing; Pipeline(budget=...) caps what teaching and verifying cost",
    "trust_remote_code": "it stays off: a base whose architecture is not in transformers cannot be trained here",
}  # fmt: skip
"""Arguments of other tools that are none here -> what to do instead."""


def refuse(unknown: Mapping[str, object], ours: tuple[str, ...]) -> None:
    """Say what an argument that does not exist is called here."""
    for name in unknown:
        if name in ADVICE_ELSEWHERE:
            raise TypeError(f"Trainer has no argument {name!r}: {ADVICE_ELSEWHERE[name]}")
        known = NAMES_ELSEWHERE.get(name)
        if known is None:
            close = difflib.get_close_matches(name, ours, n=1)
            known = close[0] if close else None
        advice = f"here it is called {known!r}" if known else f"it has {', '.join(ours)}"
        raise TypeError(f"Trainer has no argument {name!r}: {advice}")


def number(name: str, value: object) -> None:
    """A finite number above 0, or None."""
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise InputError(f"{name} must be a finite number above 0, got {value!r}")


def whole(name: str, value: object, *, smallest: int) -> None:
    """A whole number from *smallest*, or None."""
    if value is not None and (type(value) is not int or value < smallest):
        raise InputError(f"{name} must be a whole number from {smallest}, got {value!r}")


def flag(name: str, value: object, *, optional: bool = False) -> None:
    """True or False."""
    if not (isinstance(value, bool) or (optional and value is None)):
        raise InputError(f"{name} must be True or False{', or None to choose' if optional else ''}, got {value!r}")


def one_of(name: str, value: object, allowed: object, *, optional: bool = True) -> None:
    """One of the words of the Literal *allowed*, or None."""
    words = get_args(allowed)
    if not (value is None and optional) and (not isinstance(value, str) or value not in words):
        raise InputError(f"{name} must be {' or '.join(map(repr, words))}, got {value!r:.80}")


def share(name: str, value: object) -> None:
    """A share of the trained tokens, or None."""
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
        raise InputError(f"{name} must be a share of the trained tokens, from 0 and below 1, got {value!r}")


def text(name: str, value: object) -> None:
    """A text, which may be empty."""
    if not isinstance(value, str):
        raise InputError(f"{name} must be a text, got {value!r:.80}")


def path(name: str, value: object, *, others: str) -> str:
    """The path of a file that is there; *others* says what else the argument may be."""
    if isinstance(value, bool) or not isinstance(value, str | os.PathLike) or not os.fspath(value).strip():
        raise InputError(f"{name} must be the path of a JSONL file, {others}; got {value!r:.80}")
    place = Path(value)
    if not place.is_file():
        raise InputError(
            f"{name}={os.fspath(value)!r}: there is no such file; give {others}, or the path of a JSONL file"
        )
    return str(place)


def command(name: str, value: object) -> str:
    """The name of a command, or its path, which stages that run in another folder find too."""
    if isinstance(value, bool) or not isinstance(value, str | os.PathLike) or not os.fspath(value).strip():
        raise InputError(f"{name} must be the name or the path of a command, got {value!r:.80}")
    given = str(os.fspath(value))
    return os.path.abspath(os.path.expanduser(given)) if os.sep in given else given


def replay(value: Replay) -> str | bool | None:
    """The word "self", the path of a file that is there, False, or None."""
    if value is None or value is False or value == "self":
        return value
    if value is True:
        raise InputError(
            'replay=True: say what is replayed: "self" (what the base writes), or the path of a JSONL file'
        )
    return path("replay", value, others='"self" (what the base writes itself), False for none')


def refusals(value: object) -> float | str | None:
    """A share, the path of a file that is there, or None."""
    if value is None:
        return None
    if isinstance(value, str | os.PathLike):
        return path("refusals", value, others="a share such as 0.05, 0 for none")
    share("refusals", value)
    assert isinstance(value, int | float)
    return float(value)
