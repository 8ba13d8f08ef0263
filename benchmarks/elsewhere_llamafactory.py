"""Read exports with LLaMA-Factory's own code: run by benchmarks/elsewhere.py with the interpreter that has it.

    python elsewhere_llamafactory.py TASKS.json

Prints, after whatever LLaMA-Factory prints, one line of JSON: what it read.
"""

import contextlib
import dataclasses
import json
import sys
from pathlib import Path

import yaml
from jinja2 import TemplateError
from llamafactory.data import get_dataset, get_template_and_fix_tokenizer
from llamafactory.hparams import DataArguments, get_train_args
from llamafactory.hparams.parser import _TRAIN_ARGS
from llamafactory.hparams.training_args import RayArguments
from llamafactory.model import load_tokenizer
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast


def flags() -> list[str]:
    """All that a configuration may say."""
    return sorted({each.name for cls in [*_TRAIN_ARGS, RayArguments] for each in dataclasses.fields(cls) if each.init})


def arguments(folder: str, name: str) -> tuple:
    """A configuration through its parser, which refuses what it does not know; as on a GPU, which is not here."""
    values = yaml.safe_load(Path(folder, name).read_text("utf-8"))
    return get_train_args({**values, "use_cpu": True})


def rows(folder: str, name: str) -> list[list[str]]:
    """Every row of a configuration's dataset: what is given and what is trained, as its own code cuts them."""
    with contextlib.chdir(folder):
        model, data, training, finetuning, _ = arguments(".", name)
        module = load_tokenizer(model)
        tokenizer = module["tokenizer"]
        template = get_template_and_fix_tokenizer(tokenizer, data)
        dataset = get_dataset(template, model, data, training, stage=finetuning.stage, **module)["train_dataset"]
        found = []
        for row in dataset:
            labels = row.get("labels", row["input_ids"])
            start = next(place for place, label in enumerate(labels) if label != -100)
            found.append([tokenizer.decode(row["input_ids"][:start]), tokenizer.decode(row["input_ids"][start:])])
        return found


def read_as(folder: str, entry: dict, base: str) -> int:
    """How many rows of a file it reads that is named in a dataset_info.json of one's own."""
    info, config = Path(folder, "dataset_info.json"), Path(folder, "read.yaml")
    info.write_text(json.dumps({"data": entry}))
    values = {
        "model_name_or_path": base,
        "stage": "sft",
        "do_train": True,
        "finetuning_type": "lora",
        "dataset_dir": ".",
    }
    config.write_text(yaml.safe_dump({**values, "dataset": "data", "output_dir": "out", "template": "default"}))
    return len(rows(folder, "read.yaml"))


def prompts(task: dict) -> list[str]:
    """A prompt as the template of the base writes it, and as LLaMA-Factory does; a letter is a token here."""
    letters = Tokenizer(
        models.BPE(vocab={c: n for n, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}, merges=[])
    )
    letters.pre_tokenizer, letters.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=letters, bos_token=task["bos"], eos_token=task["eos"], pad_token=task["eos"],
        extra_special_tokens=task["tokens"],
    )  # fmt: skip
    tokenizer.chat_template = Path(task["chat_template"]).read_text("utf-8")
    turns = [{"role": "user", "content": task["question"]}]
    if task["system"]:
        turns = [{"role": "system", "content": task["system"]}, *turns]
    how = {"tokenize": False, "add_generation_prompt": True, "enable_thinking": False}
    try:
        own = tokenizer.apply_chat_template(turns, **how)
    except TemplateError:  # it knows no system prompt; as recipes/chat.py does then
        own = tokenizer.apply_chat_template(
            [{"role": "user", "content": f"{task['system']}\n\n{task['question']}"}], **how
        )
    own = tokenizer.decode(tokenizer(own, add_special_tokens=False)["input_ids"])
    template = get_template_and_fix_tokenizer(tokenizer, DataArguments(template=task["template"], **task["options"]))
    messages = [{"role": "user", "content": task["question"]}, {"role": "assistant", "content": "Yes."}]
    asked, _ = template.encode_multiturn(tokenizer, messages, task["preamble"] + task["system"])[0]
    return [own, tokenizer.decode(asked)]


def main(path: str) -> None:
    """Do the tasks and print what came of them."""
    tasks = json.loads(Path(path).read_text("utf-8"))
    for folder, name in tasks["configurations"]:
        with contextlib.chdir(folder):
            arguments(".", name)
    done = {
        "flags": flags(),
        "rows": [rows(folder, name) for folder, name in tasks["rows"]],
        "read": [read_as(*each, tasks["base"]) for each in tasks["read"]],
        "prompts": [prompts(each) for each in tasks["prompts"]],
    }
    print(json.dumps(done))


if __name__ == "__main__":
    main(sys.argv[1])
