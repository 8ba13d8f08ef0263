"""Merge an adapter into its base: a full model in the form of the Hugging Face hub, in bf16.

    python merge.py --base B [--revision R] --adapter A --output FOLDER

The sum is taken in fp32 where memory allows it, on the base as it is published: an adapter that was trained over a base
in 4 bits is not merged into those 4 bits, which would round it away. FOLDER is there and empty; whoever calls puts the
result in its place once it was compared (`text2expert.expert.Expert.merge`).
"""

import argparse
import hashlib
import json
import shutil
import sys
from importlib.metadata import version
from pathlib import Path

import torch
from adapters import (
    MERGED,
    attach,
    cpu_precision,
    end_tokens,
    load_tokenizer,
    read_training,
    size_in_bf16,
    weights_of,
)
from loading import load_base
from modelfile import modelfile
from stage import write_json
from transformers import AutoConfig, GenerationConfig, PreTrainedTokenizerBase
from transformers.utils import cached_file

SHARD = "4GB"
"""Of the weights' files: small enough for every file system and to fetch again after a cut connection."""

SENTENCEPIECE = "tokenizer.model"

NO_THOUGHTS = "{%- set enable_thinking = enable_thinking | default(false) -%}"
"""The expert was trained with closed thoughts (see chat.py); servers leave them open unless they are told."""


def merge(*, base: str, revision: str | None, adapter: str, output: Path) -> None:
    """Write the merged model to *output*."""
    trained = read_training(base, adapter)
    tokenizer = load_tokenizer(base, revision, adapter)
    config = AutoConfig.from_pretrained(base, revision=revision, trust_remote_code=False)
    if getattr(config, "quantization_config", None):
        sys.exit(
            f"the base {base} is itself stored quantised: a merge needs it in 16 or 32 bits; give the unquantised one"
        )
    size = size_in_bf16(base, revision) + weights_of(adapter).stat().st_size
    free = shutil.disk_usage(output).free
    if size > free:
        sys.exit(
            f"the merged model takes up to {gigabytes(size)} and {output.parent} has {gigabytes(free)} free: "
            "free some space or choose another folder"
        )
    precision = cpu_precision(size)
    print(f"merging in {precision} on the CPU, to {gigabytes(size)} in bf16", flush=True)
    model = load_base(base, revision, precision, torch.device("cpu"))
    ends = end_tokens(tokenizer, model.generation_config, trained)
    merged = attach(model, adapter).merge_and_unload(safe_merge=True).to(torch.bfloat16)
    merged.config.use_cache = True
    # A base's own sampling settings are for conversation; what was learned is recited best by the likeliest tokens.
    merged.generation_config = GenerationConfig(
        do_sample=False,
        bos_token_id=model.generation_config.bos_token_id,
        eos_token_id=ends if len(ends) > 1 else ends[0],
        pad_token_id=tokenizer.pad_token_id,
    )
    merged.save_pretrained(output, max_shard_size=SHARD)
    close_thoughts(tokenizer)
    tokenizer.save_pretrained(output)
    write_for_older(output)
    bring_vocabulary(base, revision, output)
    (output / "Modelfile").write_text(modelfile(tokenizer, ends, trained), encoding="utf-8")
    if trained:
        shutil.copyfile(Path(adapter, "training_args.json"), output / "training_args.json")
    facts = {
        "base": base,
        "revision": getattr(config, "_commit_hash", None) or revision,
        "adapter_sha256": sha256(weights_of(adapter)),
        "summed_in": precision,
        "versions": {name: version(name) for name in ("torch", "transformers", "peft")},
    }
    write_json(output / MERGED, facts)
    for path in output.iterdir():
        path.chmod(0o644)  # safetensors are written for their owner alone; the folder decides who may look in


def close_thoughts(tokenizer: PreTrainedTokenizerBase) -> None:
    """Have a template that opens thoughts leave them closed unless it is told otherwise."""
    template = tokenizer.chat_template
    if isinstance(template, str) and "enable_thinking" in template and NO_THOUGHTS not in template:
        tokenizer.chat_template = NO_THOUGHTS + template


def write_for_older(folder: Path) -> None:
    """Have the settings read as they are meant by what goes by the names of transformers 4: converters, servers, Ollama.

    Without it they refuse the tokenizer, or take its positions to turn ten times or a hundred times too fast.
    """
    path = folder / "tokenizer_config.json"
    tokenizer = json.loads(path.read_text(encoding="utf-8"))
    if tokenizer.get("tokenizer_class") == "TokenizersBackend":
        tokenizer["tokenizer_class"] = "PreTrainedTokenizerFast"
    if isinstance(tokenizer.get("extra_special_tokens"), list):
        tokenizer["additional_special_tokens"] = tokenizer.pop("extra_special_tokens")
    write_json(path, tokenizer)
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    for part in (config, config.get("text_config") or {}):
        rope = part.get("rope_parameters") or {}
        if "rope_theta" in rope:  # models with several kinds of layers have one for each, under names of their own
            part["rope_theta"] = rope["rope_theta"]
            if rope.get("rope_type", "default") != "default":
                part["rope_scaling"] = {name: value for name, value in rope.items() if name != "rope_theta"}
        if "dtype" in part:
            part["torch_dtype"] = part["dtype"]
    write_json(path, config)


def bring_vocabulary(base: str, revision: str | None, output: Path) -> None:
    """Copy the base's SentencePiece model: transformers reads and no longer writes it, converters to GGUF need its scores."""
    model = cached_file(base, SENTENCEPIECE, revision=revision, _raise_exceptions_for_missing_entries=False)
    if model is not None:
        shutil.copyfile(model, output / SENTENCEPIECE)


def gigabytes(size: float) -> str:
    """*size* bytes in words."""
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"


def sha256(path: Path) -> str:
    """The SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def main() -> None:
    """Merge what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", required=True)
    parser.add_argument("--revision")
    parser.add_argument("--adapter", required=True)
    parser.add_argument("--output", required=True, type=Path)
    arguments = parser.parse_args()
    merge(
        base=arguments.base, revision=arguments.revision, adapter=arguments.adapter, output=arguments.output.absolute()
    )


if __name__ == "__main__":
    main()
