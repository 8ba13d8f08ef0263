"""What a training reads beside the golden dataset: the text itself, wordings for validation, replay, refusals.

Each is a JSONL file in ``stages/inputs``, made of what lies in a run folder or of what the user names, so that the job can
be carried to another machine.
"""

import json
import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path

from text2expert import files
from text2expert.errors import InputError, RecordError
from text2expert.records import Chunk, GoldRecord, digest, read_json_lines, read_jsonl
from text2expert.trainer.profiles import LEAST_VALIDATION

CHUNKS = "chunks.jsonl"
REWRITES = "rewrites.jsonl"

ROOM = 3
"""Wordings that an item has in training before one of them is kept for validation."""


def beside(gold: Path) -> list[Path]:
    """The text that lies beside a golden dataset in its run folder; nothing where there is none."""
    return [path for name in (CHUNKS, REWRITES) if (path := gold.parent / name).is_file()]


def expand(texts: Iterable[Path], *, whole: bool = False) -> list[Path]:
    """*texts* with what a run folder among them holds in its place: its passages and rewrites, or the *whole* text.

    Raises:
        InputError: A folder holds no text of a run.
    """
    found = []
    for path in texts:
        if not path.is_dir():
            found.append(path)
        elif not (inside := _inside(path, whole=whole)):
            raise InputError(f"{path} holds no text: give text files, a {CHUNKS} or a run folder")
        else:
            found += inside
    return found


def _inside(folder: Path, *, whole: bool) -> list[Path]:
    passages, texts = beside(folder / CHUNKS), sorted((folder / "source").glob("*.txt"))
    return texts or passages if whole else passages or texts


def text_rows(texts: Sequence[Path]) -> list[str]:
    """The rows of the text stream: each passage under its headings, then each of its rewrites; no row twice.

    Args:
        texts: chunks.jsonl and rewrites.jsonl of runs, JSONL files of {"text"}, or UTF-8 texts, which are cut as in a run.

    Raises:
        InputError: A file cannot be read, or is not UTF-8.
        RecordError: A line of a JSONL file holds no text.
    """
    headings: dict[str, str] = {}
    rows: dict[str, None] = {}
    # Passages first: rewrites of a passage that is there stand under its headings too.
    for path in sorted(texts, key=lambda path: path.name == REWRITES):
        for row in _rows(path, headings):
            if row.strip():
                # Half a surrogate pair, which a broken reply may hold, is no text for any tokenizer.
                rows.setdefault(row.encode("utf-8", "replace").decode("utf-8"))
    return list(rows)


def _rows(path: Path, headings: dict[str, str]) -> Iterator[str]:
    if path.suffix != ".jsonl":
        from text2expert.chunker import Chunker  # noqa: PLC0415 - importing the pipeline is quick

        text = read_text(path)
        for chunk in Chunker().split(text) if text.strip() else ():
            yield _under(chunk.context, chunk.text)
    elif path.name == CHUNKS:
        chunks = list(read_jsonl(path, Chunk))
        several = len({chunk.document for chunk in chunks}) > 1
        for chunk in chunks:
            context = _of_document(chunk) if several else chunk.context
            headings[chunk.key] = context
            yield _under(context, chunk.text)
    else:
        for number, row in read_json_lines(path):
            if not isinstance(row.get("text"), str):
                raise RecordError(f'{path}, line {number}: no "text" to train on; mend or delete that line')
            key = row.get("key")
            yield _under(headings.get(key, "") if isinstance(key, str) else "", row["text"])


def _of_document(chunk: Chunk) -> str:
    """The headings of *chunk* under its document: "1. PURPOSE" is a heading of many."""
    return " > ".join(part for part in (chunk.document.replace("_", " "), chunk.context) if part)


def _under(context: str, text: str) -> str:
    """*text* under its headings, unless it begins with them."""
    return text if not context.strip() or text.lstrip().startswith(context) else f"{context}\n\n{text}"


def read_text(path: Path) -> str:
    """A UTF-8 text.

    Raises:
        InputError: It cannot be read, or is in another encoding.
    """
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is not UTF-8 (byte {error.start}): read it with text2expert.documents and write its text as UTF-8"
        ) from error
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; check the path") from error


def check_replay(path: Path) -> None:
    """Look whether *path* can be replayed, while that costs nothing.

    Raises:
        InputError: It cannot be read, or holds no row.
        RecordError: A line is damaged or has another form.
    """
    number = 0
    for number, row in read_json_lines(path):
        turns = row.get("messages")
        if isinstance(turns, list):
            fits = all(isinstance(turn, dict) and turn.keys() >= {"role", "content"} for turn in turns)
        elif "text" in row:
            fits = isinstance(row["text"], str)
        else:
            fits = all(isinstance(row.get(name), str) for name in ("instruction", "output"))
        if not fits:
            raise RecordError(
                f"{path}, line {number}: it has {', '.join(row) or 'nothing'}; a row to replay is "
                '{"instruction", "output"} or {"text"}, all of them texts, or {"messages"} of role and content: mend or '
                "delete that line"
            )
    if not number:
        raise InputError(f"{path} holds no row to replay: give another file, or replay=False")


def validation_of(
    records: Sequence[GoldRecord], asked: Collection[str], *, most: int, seed: int
) -> tuple[GoldRecord, ...]:
    """One wording each of at most *most* items, to be asked during training and not trained; empty where too few can be.

    Only items that have at least three wordings in training give one, none that another item has too, and none of the
    exam's.

    Args:
        records: The training set.
        asked: The exam's questions.
        most: At most so many; 0 for none.
        seed: Of the draw, which is by content: order and neighbours change nothing.
    """
    taken = {_words(question) for question in asked}
    owners: dict[str, set[str]] = defaultdict(set)
    items: dict[str, dict[str, GoldRecord]] = defaultdict(dict)
    for record in records:
        if record.item and record.output.strip():
            words = _words(_question(record))
            owners[words].add(record.item)
            items[record.item].setdefault(words, record)

    def order(content: str) -> str:
        return digest(str(seed), "validation", content)

    chosen: list[GoldRecord] = []
    for item in sorted(items, key=order):
        free = [words for words in items[item] if len(owners[words]) == 1 and words not in taken]
        if len(chosen) < most and len(items[item]) >= ROOM and free:
            chosen.append(items[item][min(free, key=order)])
    return tuple(chosen) if len(chosen) >= LEAST_VALIDATION else ()


def _question(record: GoldRecord) -> str:
    """As the recipe reads it."""
    return "\n".join(part for part in (record.instruction, record.input) if part)


def _words(question: str) -> str:
    """As the recipe compares questions: coarser than `records.wording`, so that nothing else is left out with one."""
    return " ".join(re.findall(r"\w+", unicodedata.normalize("NFKC", question).casefold()))


def write_rows(path: Path, rows: Iterable[str]) -> None:
    """Write a text stream: {"text"} a line."""
    files.write_text(path, "".join(json.dumps({"text": row}, ensure_ascii=False) + "\n" for row in rows))
