"""What a run works on, in its folder: source texts, golden dataset, exam; made by the run, edited, or brought along."""

import asyncio
import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from text2expert import documents, files
from text2expert._progress import say
from text2expert.examination import fitting
from text2expert.receipt import Made
from text2expert.records import Document, ExamQuestion, GoldRecord, digest, to_line, write_jsonl
from text2expert.runfolder import CHUNKS, GOLD, PAIRS, REJECTED, REWRITES, SOURCE, VERDICTS, RunFolder

if TYPE_CHECKING:
    from text2expert.golden import Dataset, Gold


async def keep_sources(inputs: list[Document], folder: RunFolder) -> None:
    """The source texts as they were read: what every offset of the run refers to, whatever becomes of the files."""
    files.make_folder(folder / SOURCE)
    wanted = {f"{document.id}.txt": document for document in inputs}
    for stale in (folder / SOURCE).iterdir():
        if stale.name not in wanted:
            stale.unlink()
    for name, document in wanted.items():
        if folder.sha256(f"{SOURCE}/{name}") != document.text_sha256:
            with files.atomic(folder / SOURCE / name) as file:
                for block in documents.blocks(document):
                    file.write(block)
                    await asyncio.sleep(0)


def texts_of(sources: Iterable[Path]) -> dict[str, str]:
    """The source texts by document id."""
    return {path.stem: path.read_text("utf-8") for path in sources}


def write_gold(gold: "Gold", folder: RunFolder, origin: str) -> None:
    """Write the dataset, unless somebody edited it by hand since it was made from just this."""
    lines = "".join(to_line(record) + "\n" for record in gold.records)
    sha256 = hashlib.sha256(lines.encode()).hexdigest()
    if folder.sha256(GOLD) != sha256:
        if folder.edited(GOLD) and folder.made_from(GOLD) == origin:
            say(f"{folder / GOLD} was edited by hand: training on it as it is")
            return
        if folder.edited(GOLD):
            kept = _free_name(folder / "golden_dataset.edited.jsonl")
            (folder / GOLD).replace(kept)
            say(f"{folder / GOLD} was edited by hand and is made anew, since text or settings changed; yours is {kept}")
        folder.expect(GOLD, sha256)  # killed from here on, what is written is not taken for an edit
        files.write_text(folder / GOLD, lines)
    write_jsonl(folder / REJECTED, gold.rejected)
    folder.record(GOLD, origin)


def conflicts_of(gold: "Gold") -> list[str]:
    """What a reader must know of documents that contradict each other."""
    return [
        f"{n:,} pairs are left out because {one} and {other} answer the same questions differently: {REJECTED} has them. "
        "Correct one of the texts, or leave it out."
        for (one, other), n in gold.conflicts.items()
    ]


def by_hand(gold: "Gold", records: Sequence[GoldRecord]) -> dict[str, int]:
    """How many pairs were added to and removed from the dataset by hand; nothing where none were."""
    ours, theirs = Counter(map(to_line, gold.records)), Counter(map(to_line, records))
    counts = {"added_by_hand": (theirs - ours).total(), "removed_by_hand": (ours - theirs).total()}
    return counts if any(counts.values()) else {}


def _free_name(path: Path) -> Path:
    number, free = 1, path
    while free.exists():
        number += 1
        free = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return free


def dataset_name(gold: Path) -> str:
    """A name for what is trained on *gold*: a dataset in its run folder is called as the folder is."""
    folder = gold if gold.is_dir() else gold.parent
    if gold.is_dir() or gold.name == GOLD:
        return f"{folder.resolve().name.removeprefix('expert_model_')}_again"
    return gold.stem


async def adopt(
    dataset: "Dataset", gold: str | Path | None, folder: RunFolder, own_questions: list[ExamQuestion]
) -> Made:
    """Put a golden dataset that is there already, and what lies beside it, into the run folder."""
    from text2expert import examiner

    files.make_folder(folder / SOURCE)
    texts = {path.name: path.read_text("utf-8") for path in dataset.sources} or _own_texts(dataset.records)
    for stale in (folder / SOURCE).iterdir():
        if stale.name not in texts:
            stale.unlink()
    for name, text in texts.items():
        files.write_text(folder / SOURCE / name, text)
    beside = {CHUNKS: dataset.chunks, REWRITES: _rewrites(dataset)}
    for name in (PAIRS, VERDICTS, REJECTED, CHUNKS, REWRITES):
        if (own := beside.get(name)) is not None:
            files.write_text(folder / name, own.read_text("utf-8"))
        else:
            (folder / name).unlink(missing_ok=True)
    sources = tuple(folder / SOURCE / name for name in texts)
    ids = {path.stem for path in dataset.sources} | {record.document for record in dataset.records}
    mine, left_out = fitting(own_questions, ids)
    write_jsonl(folder / GOLD, dataset.records)
    folder.record(GOLD, digest("adopted", folder.sha256(GOLD) or ""))
    for note in dataset.notes:
        say(note)
    return Made(
        documents=(),
        records=list(dataset.records),
        exam=list(dataset.exam),
        own=mine,
        counts={"gold": len(dataset.records)},
        dataset={"path": str(gold), "sha256": folder.sha256(GOLD)},
        share_taught=examiner.share_taught(texts_of(sources), dataset.records) if dataset.sources else None,
        sources=sources,
        notes=(*dataset.notes, *left_out),
    )


def _rewrites(dataset: "Dataset") -> Path | None:
    """The restated passages of the run that the dataset lies in; None where there are none."""
    if dataset.chunks is None or dataset.chunks.name != CHUNKS:
        return None
    path = dataset.chunks.with_name(REWRITES)
    return path if path.is_file() else None


def _own_texts(records: Iterable[GoldRecord]) -> dict[str, str]:
    """What a bare dataset quotes of its sources: the toy base is made from it."""
    quotes = dict.fromkeys(span.text for record in records for span in record.evidence)
    return {"quotes.txt": "\n\n".join(quotes) + "\n"} if quotes else {}
