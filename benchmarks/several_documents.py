"""Five documents, one expert: what it would cost, planned; and an expert of the three sample documents, made and examined.

    python benchmarks/several_documents.py --plan                     # seconds; sends nothing
    python benchmarks/several_documents.py --out expert_model_several # about ten minutes on two cores

Needs no key, no network and no GPU. What it prints is in docs/several_documents.md.
"""

import argparse
import os
import time
from collections import Counter
from importlib import resources
from pathlib import Path

from text2expert import Document, Pipeline, Run
from text2expert.golden import load
from text2expert.plan import Plan

SAMPLES = ("respiratory_protocol", "vessel_mooring_sop", "records_retention_policy")

GUIDE_CHUNKS = 400
"""Of each document, by the guide: 400 chunks of 800 characters, five questions each."""


def documents() -> list[Document]:
    """The sample documents."""
    folder = resources.files("text2expert.samples")
    return [Document.from_text(folder.joinpath(f"{name}.txt").read_text("utf-8"), id=name) for name in SAMPLES]


def of_the_guide() -> list[Document]:
    """Five documents of the size that the guide speaks of: the samples, one after another until there are 400 chunks."""
    chunker = Pipeline().chunker
    texts = [document.text or "" for document in documents()]
    found = []
    for number, name in enumerate(("medical_a", "medical_b", "legal_a", "legal_b", "technical_a")):
        whole = "".join(texts[(number + place) % len(texts)] + "\n\n" for place in range(24))
        end = chunker.split(Document.from_text(whole, id=name))[GUIDE_CHUNKS - 1].end
        found.append(Document.from_text(whole[:end], id=name))
    return found


def planned() -> Plan:
    """What five of them would take, taught by DeepSeek and judged by Claude."""
    return Pipeline.cloud().plan(of_the_guide(), out="expert_model_mega")


def made(out: str) -> Run:
    """An expert of the sample documents."""
    return Pipeline().run(documents(), out=out)


def by_document(run: Run) -> str:
    """The table that the page shows: the pairs of each document, and how its unseen questions were answered."""
    pairs = Counter(record.document for record in load(Path(run.folder) / "golden_dataset.jsonl"))
    groups = {(group.name, group.contestant): group for group in run.exam.groups if group.by == "document"}
    lines = [
        "| document | pairs | unseen questions | base | expert | RAG, no model |",
        "|---|---|---|---|---|---|",
    ]
    for name in sorted(pairs):
        cells = [groups[name, who] for who in ("base", "expert", "RAG, no model")]
        shares = " | ".join(f"{100 * each.right / each.n:.0f} %" for each in cells)
        lines.append(f"| {name} | {pairs[name]:,} | {cells[1].n} | {shares} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plan", action="store_true", help="only plan the five documents")
    parser.add_argument("--out", default="expert_model_several", help="run folder of the sample documents")
    arguments = parser.parse_args()
    if arguments.plan:
        print(planned())
        return
    started, processor = time.monotonic(), os.times()
    run = made(arguments.out)
    now = os.times()
    spent = sum(now[:4]) - sum(processor[:4])
    print(by_document(run))
    print(f"{time.monotonic() - started:,.0f} s, {spent:,.0f} processor seconds, ${run.receipt['cost_usd']}")


if __name__ == "__main__":
    main()
