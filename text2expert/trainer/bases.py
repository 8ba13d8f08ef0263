"""What can be known of a base without loading it: how many parameters it has, from its files or else from its name."""

import json
import math
import os
import re
from pathlib import Path
from typing import Any

from text2expert import files
from text2expert.errors import InputError
from text2expert.records import digest

_HEADER_LIMIT = 100_000_000
"""Bytes; no header of weights is longer (the format's own limit)."""

_IN_NAME = re.compile(
    r"(?:(?<=[-_/ .])|^)(?:(?P<experts>\d+)x)?(?P<number>\d+(?:\.\d+)?)(?P<unit>[bBmM])(?![A-Za-z0-9])"
)
"""As in Mistral-7B-v0.1, SmolLM2-135M, Mixtral-8x7B; not the A3B of Qwen3-30B-A3B, which is a part of its 30B."""

_SHARED = 0.17
"""Share of a mixture's dense part that its experts have in common: 8x7B are 46.7 billion parameters, not 56."""


def check(model: str, revision: str | None) -> None:
    """Say now what would keep *model* from being loaded.

    Raises:
        InputError: It is a folder that does not exist or holds no model, or a folder with a revision.
    """
    looks_like_path = model.startswith(("/", "./", "../", "~"))
    if looks_like_path and not os.path.isdir(model):
        raise InputError(f"model {model!r} is not a folder: check the path, or give the name of a Hugging Face model")
    if os.path.isdir(model) and not os.path.isfile(os.path.join(model, "config.json")):
        raise InputError(f"model {model!r} is a folder without a config.json: it must hold a Hugging Face model")
    if os.path.isdir(model) and revision is not None:
        raise InputError(f"revision={revision!r} is of a model of the hub, and {model!r} is a folder: leave it out")


def parameters(model: str) -> float | None:
    """How many parameters *model* has: as its files say where it is a folder, else as its name does; None: unknown.

    Nothing is fetched.
    """
    if os.path.isdir(model):
        folder = Path(model)
        return _in_weights(folder) or _in_index(folder) or _in_config(_json(folder / "config.json")) or _in_name(model)
    return _in_name(model)


def size_gb(model: str) -> float | None:
    """Gigabytes (10**9 bytes) of its files: of a folder those that go along with a job, else weights of 16 bits; None: unknown."""
    if os.path.isdir(model):
        return sum(path.stat().st_size for path in files_of(Path(model))) / 1e9
    count = parameters(model)
    return None if count is None else 2 * count / 1e9


def files_of(folder: Path) -> list[Path]:
    """What belongs to the model in *folder*: not what lies deeper, nor what is hidden, as a clone's history."""
    return [path for path in sorted(folder.iterdir()) if path.is_file() and not path.name.startswith(".")]


def key(folder: Path) -> str:
    """Tells one model folder from another: names and sizes of its files, and the contents of the small ones.

    Hashing gigabytes of weights would take longer than noticing a change of them is worth.
    """
    parts = []
    for path in sorted(path for path in folder.iterdir() if path.is_file()):
        size = path.stat().st_size
        parts += [path.name, str(size), files.sha256_file(path) if size < 1_000_000 else ""]
    return digest(*parts)


def _in_weights(folder: Path) -> float | None:
    """Counted in the headers of all its safetensors; None where one is missing, damaged or packs several to a number."""
    total = 0
    for path in folder.glob("*.safetensors"):
        try:
            with open(path, "rb") as file:
                length = int.from_bytes(file.read(8), "little")
                header = json.loads(file.read(length)) if length < _HEADER_LIMIT else {}
            tensors = [each for name, each in header.items() if name != "__metadata__"]
            if any(each["dtype"] in ("U8", "I8", "I32") for each in tensors):
                return None
            total += sum(math.prod(each["shape"]) for each in tensors)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
    return float(total) if total and not _missing(folder) else None


def _missing(folder: Path) -> bool:
    shards = set(_json(folder / "model.safetensors.index.json").get("weight_map", {}).values())
    return any(not (folder / str(shard)).is_file() for shard in shards)


def _in_index(folder: Path) -> float | None:
    """As the index of its shards says; where that gives bytes alone, as weights of 16 bits, the usual ones."""
    metadata = _json(folder / "model.safetensors.index.json").get("metadata", {})
    if not isinstance(metadata, dict):
        return None
    for name, bytes_each in (("total_parameters", 1), ("total_size", 2)):
        value = metadata.get(name)
        if isinstance(value, int | float) and value > 0:
            return value / bytes_each
    return None


def _in_config(config: dict[str, Any]) -> float | None:
    """The count of a decoder with gated feed-forward layers (Llama, Mistral, Qwen and their like) of this shape."""
    config = config.get("text_config", config)
    names = ("hidden_size", "num_hidden_layers", "intermediate_size", "vocab_size", "num_attention_heads")
    try:
        hidden, layers, intermediate, vocabulary, heads = (int(config[name]) for name in names)
        head = int(config.get("head_dim") or hidden // heads)
        shared = int(config.get("num_key_value_heads") or heads)
        experts = int(config.get("num_local_experts") or config.get("num_experts") or 1)
    except (KeyError, TypeError, ValueError, ZeroDivisionError, AttributeError):
        return None
    attention = 2 * hidden * head * heads + 2 * hidden * head * shared
    feed_forward = experts * 3 * hidden * int(config.get("moe_intermediate_size") or intermediate)
    embeddings = vocabulary * hidden * (1 if config.get("tie_word_embeddings") else 2)
    return float(layers * (attention + feed_forward + 2 * hidden) + embeddings + hidden)


def _in_name(model: str) -> float | None:
    found = list(_IN_NAME.finditer(os.path.basename(model.rstrip("/"))))
    if not found:
        return None
    count = float(found[0]["number"]) * (1e9 if found[0]["unit"] in "bB" else 1e6)
    experts = int(found[0]["experts"] or 1)
    return count * experts * (1 - _SHARED) if experts > 1 else count


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
