"""Read exports with TRL's SFTTrainer: run by benchmarks/elsewhere.py with the interpreter that has it.

    python elsewhere_trl.py BASE FILE...

Prints one line of JSON: for each file, every row as what is given and what is trained, as TRL cuts them.
"""

import json
import sys
import tempfile

from datasets import load_dataset
from transformers import AutoTokenizer
from trl import SFTConfig, SFTTrainer


def rows(base: str, path: str) -> list[list[str]]:
    """Every row of a file, prepared for training."""
    with tempfile.TemporaryDirectory() as out:
        config = SFTConfig(output_dir=out, use_cpu=True, bf16=False, max_length=None, report_to="none")
        data = load_dataset("json", data_files=path, split="train", cache_dir=out)
        tokenizer = AutoTokenizer.from_pretrained(base)
        found = []
        for row in SFTTrainer(base, args=config, train_dataset=data, processing_class=tokenizer).train_dataset:
            start = next(place for place, label in enumerate(row["labels"]) if label != -100)
            found.append([tokenizer.decode(row["input_ids"][:start]), tokenizer.decode(row["input_ids"][start:])])
        return found


if __name__ == "__main__":
    print(json.dumps([rows(sys.argv[1], path) for path in sys.argv[2:]]))
