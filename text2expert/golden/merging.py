"""Several golden datasets become one, with its exam, chunks and source texts."""

import shutil
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import attrs

from text2expert import files
from text2expert.errors import InputError, NothingTaughtError
from text2expert.golden.dataset import Beside, Dataset, load, locate, open_dataset, texts_in
from text2expert.golden.facts import repetitions, with_facts
from text2expert.golden.split import Names, reseat
from text2expert.records import Chunk, ExamQuestion, GoldRecord, Span, read_jsonl, wording, write_jsonl


@attrs.frozen(kw_only=True)
class Merged:
    """What `merge` wrote, and what it left out."""

    path: Path
    records: int
    questions: int
    documents: int
    duplicates: int
    contradictory: int
    notes: tuple[str, ...]

    def __str__(self) -> str:
        lines = [
            f"{self.path}: {self.records:,} training pairs from {self.documents:,} documents, exam: {self.questions:,} questions",
            f"left out: {self.duplicates:,} duplicates, {self.contradictory:,} contradictory",
            *self.notes,
            f"next: text2expert run --gold {self.path}",
        ]
        return "\n".join(lines)


def merge(sources: Sequence[Path | str], out: Path | str, *, seed: int = 0) -> Merged:
    """Join golden datasets: run folders, their ``golden_dataset.jsonl``, or any file that `load` reads.

    Writes *out* and beside it, as far as the sources have them, ``<stem>.exam.jsonl``, ``<stem>.chunks.jsonl`` and the
    source texts ``<stem>.sources/<document>.txt``. Ids are prefixed with the document's id; documents of one id are told
    apart (``handbook``, ``handbook-2``) unless their text is the same. Duplicates and contradictions across the sources
    are removed, and no question of the joint exam that is asked as unseen is trained on.

    Args:
        sources: Run folders and files, at least one.
        out: The file to write; never one of the sources, nor inside one. What an earlier merge wrote there is replaced;
            anything else is left alone. When something fails, all is as it was.
        seed: Splits the exam of sources that have none.

    Raises:
        InputError: There is no source, one cannot be read, or *out* would overwrite one or a file that no merge wrote.
        NothingTaughtError: Nothing is left to train on.
        RunFolderError: A folder holds no golden dataset, or *out* cannot be written.
        RecordError: As `load`.
    """
    out = Path(out)
    if not sources:
        raise InputError("nothing to merge: give at least one run folder or golden dataset")
    if files.kind_of(out) == "folder":
        msg = f"{out} is a folder: name the file to write, for example {out / 'combined.jsonl'}"
        raise InputError(msg)
    beside = Beside.named(out)
    for source in map(Path, sources):
        _keep_apart(source, beside, out)
    earlier = _documents_of_earlier(out, beside)
    joint = _Joint()
    for source in map(Path, sources):
        joint.add(open_dataset(source, seed=seed))
    records = with_facts(joint.records)
    repeated = list(repetitions(records))
    dropped = {each.record.qa_id for each in repeated}
    records = [record for record in records if record.qa_id not in dropped]
    if not records:
        msg = f"nothing is left to train on: all {len(dropped):,} records of the sources contradict one another"
        raise NothingTaughtError(msg)
    first: dict[str, ExamQuestion] = {}
    for each in joint.exam:
        first.setdefault(wording(each.question), each)
    exam = reseat(first.values(), records)
    with files.together(out) as changes:
        _write_sources(changes, beside.sources, joint.texts, earlier)
        with changes.writing(beside.chunks) as path:
            count = write_jsonl(path, joint.chunks())
        if not count:
            changes.remove(beside.chunks)
        with changes.writing(beside.exam) as path:
            write_jsonl(path, exam)
        with changes.writing(out) as path:
            write_jsonl(path, records)
    causes = Counter(each.cause for each in repeated)
    notes = list(joint.notes)
    if lost := len(joint.exam) - len(exam):
        notes.append(f"{lost:,} exam questions were asked twice or are not fair beside the other datasets: left out")
    return Merged(
        path=out,
        records=len(records),
        questions=len(exam),
        documents=len(joint.documents),
        duplicates=causes["duplicate"],
        contradictory=causes["contradictory"],
        notes=tuple(notes),
    )


def _keep_apart(source: Path, outputs: Beside, out: Path) -> None:
    """Refuse to write over what is read."""
    own = Beside.of(locate(source))
    read = {path.resolve() for path in (source, own.exam, own.chunks, own.sources)}
    for output in (out, outputs.exam, outputs.chunks, outputs.sources):
        place = output.resolve()
        if read & {place, *place.parents}:
            msg = f"writing {output} would overwrite what is merged from {source}: choose another name for the result"
            raise InputError(msg)


def _documents_of_earlier(out: Path, beside: Beside) -> frozenset[str]:
    """The documents of an earlier merge into *out*, whose files may be replaced; anything else there is refused."""
    if files.kind_of(out) == "file" and Beside.of(out) != beside:
        msg = f"{out} is the dataset of a run: choose another name for the result"
        raise InputError(msg)
    documents: set[str] = set()
    readers: list[tuple[Path, Callable[[Path], Iterable[GoldRecord | ExamQuestion | Chunk]]]] = [
        (out, load),
        (beside.exam, partial(read_jsonl, cls=ExamQuestion)),
        (beside.chunks, partial(read_jsonl, cls=Chunk)),
    ]
    for path, read in readers:
        if files.kind_of(path) == "nothing":
            continue
        try:
            documents |= {each.document for each in read(path)}
        except InputError as error:
            msg = f"{path} is not what a merge wrote, so it is not overwritten: choose another name or delete it ({error})"
            raise InputError(msg) from error
    return frozenset(documents)


class _Joint:
    """Datasets put together under ids that are unique."""

    def __init__(self) -> None:
        self.records: list[GoldRecord] = []
        self.exam: list[ExamQuestion] = []
        self.documents: set[str] = set()
        self.texts: dict[str, Path] = {}
        """Document -> its source text."""
        self.notes: list[str] = []
        self._by_text: dict[str, str] = {}
        """SHA-256 of a source text -> its document: the same text in two runs is one document."""
        self._chunks: list[tuple[Path, dict[str, str]]] = []
        self._document_names = Names()
        self._ids = Names()
        self._exam_ids = Names()

    def add(self, dataset: Dataset) -> None:
        texts = {path.stem: path for path in dataset.sources}
        mentioned = {record.document for record in dataset.records} | {each.document for each in dataset.exam}
        renamed, fresh = {"": ""}, {}
        for document in sorted((mentioned | set(texts)) - {""}):
            sha256 = _sha256(texts[document]) if document in texts else ""
            if sha256 not in self._by_text:
                renamed[document] = fresh[document] = self._document_names.unique(document)
                if sha256:
                    self._by_text[sha256] = renamed[document]
                    self.texts[renamed[document]] = texts[document]
            else:
                renamed[document] = self._by_text[sha256]
        self.documents |= set(renamed.values()) - {""}
        self.notes += dataset.notes
        if dataset.chunks is not None:
            # A document that an earlier dataset brought has its chunks already.
            self._chunks.append((dataset.chunks, fresh))
        ids = {}
        for record in dataset.records:
            ids[record.qa_id] = self._ids.unique(_prefixed(record.qa_id, record.document, renamed))
            self.records.append(
                attrs.evolve(
                    record,
                    qa_id=ids[record.qa_id],
                    document=renamed[record.document],
                    evidence=_moved(record.evidence, renamed),
                )
            )
        for each in dataset.exam:
            new_id = ids.get(each.id) or _prefixed(each.id, each.document, renamed)
            self.exam.append(
                attrs.evolve(
                    each,
                    id=self._exam_ids.unique(new_id),
                    document=renamed[each.document],
                    evidence=_moved(each.evidence, renamed),
                )
            )

    def chunks(self) -> Iterator[Chunk]:
        ids = Names()
        for path, fresh in self._chunks:
            for chunk in read_jsonl(path, Chunk):
                if chunk.document in fresh:
                    new_id = ids.unique(_prefixed(chunk.id, chunk.document, fresh))
                    yield attrs.evolve(chunk, id=new_id, document=fresh[chunk.document])


def _prefixed(own_id: str, document: str, renamed: Mapping[str, str]) -> str:
    """``handbook:chunk_000001_qa_0``; what a merged dataset brings has its prefix already."""
    return f"{renamed[document]}:{own_id.removeprefix(f'{document}:')}" if document else own_id


def _moved(evidence: tuple[Span, ...], renamed: Mapping[str, str]) -> tuple[Span, ...]:
    return tuple(attrs.evolve(span, document=renamed.get(span.document, span.document)) for span in evidence)


def _write_sources(changes: files.Together, folder: Path, texts: Mapping[str, Path], earlier: Collection[str]) -> None:
    """Copy source texts to *folder*; those of the documents of an *earlier* merge go, any other file stays."""
    if files.kind_of(folder) == "file":
        msg = f"{folder} is a file, but the source texts go to a folder of this name: choose another name or delete it"
        raise InputError(msg)
    for path in texts_in(folder):
        if path.stem in earlier:
            if path.stem not in texts:
                changes.remove(path)
        elif path.stem in texts and _sha256(path) != _sha256(texts[path.stem]):
            msg = f"{path} is not what a merge wrote, so it is not overwritten: choose another name or delete it"
            raise InputError(msg)
    for document, text in texts.items():
        with (
            open(text, encoding="utf-8", newline="") as source,
            changes.writing(folder / f"{document}.txt") as path,
            files.atomic(path) as copy,
        ):
            try:
                shutil.copyfileobj(source, copy)
            except UnicodeDecodeError as error:
                msg = f"{text} is not UTF-8 text ({error}): save it as UTF-8"
                raise InputError(msg) from error


def _sha256(text: Path) -> str:
    try:
        return files.sha256_file(text)
    except OSError as error:
        raise files.cannot_read(text, error) from error
