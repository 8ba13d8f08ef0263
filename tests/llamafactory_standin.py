"""A program that speaks as llamafactory-cli does and really trains: for tests without LLaMA-Factory, which clashes.

    python llamafactory_standin.py train CONFIG.yaml

It reads its data by dataset_info.json, refuses keys that LLaMA-Factory 0.9.5 does not know, writes prompts with the
tokenizer's template, shows the first row as LLaMA-Factory does, and leaves what that leaves in its output folder.
"""

import json
import os
import sys
from pathlib import Path

import yaml

IGNORED = -100


def main(command, name):
    assert command == "train"
    values = yaml.safe_load(Path(name).read_text("utf-8"))
    flags = (Path(__file__).parent / "data" / "llamafactory_flags.txt").read_text("utf-8").splitlines()
    if unknown := set(values) - set(flags):
        sys.exit(f"ValueError: Some keys are not used by the HfArgumentParser: {sorted(unknown)}")
    Path(values["output_dir"]).mkdir()
    say(f"environment: {json.dumps(dict(os.environ))}")
    train(values, rows_of(values))


def say(words):
    sys.stdout.write(f"{words}\n")
    sys.stdout.flush()


def rows_of(values):
    folder = Path(values["dataset_dir"])
    info = json.loads((folder / "dataset_info.json").read_text("utf-8"))[values["dataset"]]
    columns = info["columns"]
    for line in (folder / info["file_name"]).read_text("utf-8").splitlines():
        row = json.loads(line)
        parts = (row[columns["prompt"]], row[columns["query"]])
        yield "\n".join(part for part in parts if part), row[columns["response"]], row[columns["system"]]


def train(values, rows):
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.manual_seed(values["seed"])
    torch.set_num_threads(1)
    base, out = values["model_name_or_path"], Path(values["output_dir"])
    tokenizer = AutoTokenizer.from_pretrained(base)
    encoded = [encode(tokenizer, *row) for row in rows]
    ids, labels = encoded[0]
    say(f"training example:\ninput_ids:\n{ids}\ninputs:\n{tokenizer.decode(ids)}")
    say(f"label_ids:\n{labels}\nlabels:\n{tokenizer.decode([label for label in labels if label >= 0])}")
    model = AutoModelForCausalLM.from_pretrained(base)
    lora = LoraConfig(
        task_type="CAUSAL_LM", r=values["lora_rank"], lora_alpha=values["lora_alpha"], target_modules="all-linear"
    )
    model = get_peft_model(model, lora)
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=values["learning_rate"])
    width = max(len(ids) for ids, _ in encoded)
    padded = [(ids + [0] * (width - len(ids)), labels + [IGNORED] * (width - len(ids))) for ids, labels in encoded]
    mask = torch.tensor([[1] * len(ids) + [0] * (width - len(ids)) for ids, _ in encoded])
    inputs, targets = (torch.tensor(each) for each in zip(*padded, strict=True))
    steps = values["max_steps"]
    for step in range(1, steps + 1):
        loss = model(input_ids=inputs, attention_mask=mask, labels=targets).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        line = {"current_steps": step, "total_steps": steps, "loss": loss.item(), "lr": 1e-3, "epoch": float(step)}
        with open(out / "trainer_log.jsonl", "a") as log:
            log.write(json.dumps(line) + "\n")
        say(line)
    with open(out / "trainer_log.jsonl", "a") as log:  # without a loss, as LLaMA-Factory ends its own
        log.write(json.dumps({"current_steps": steps, "total_steps": steps, "epoch": float(steps)}) + "\n")
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)


def encode(tokenizer, question, answer, system):
    turns = ([{"role": "system", "content": system}] if system else []) + [{"role": "user", "content": question}]
    prompt = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    asked = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    said = tokenizer(answer + tokenizer.eos_token, add_special_tokens=False)["input_ids"]
    return asked + said, [IGNORED] * len(asked) + said


if __name__ == "__main__":
    main(*sys.argv[1:])
