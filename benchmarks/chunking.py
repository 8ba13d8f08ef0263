"""Chunkers side by side: CPU seconds, memory and where they cut, at 800 characters with an overlap of 100.

    python -m venv .venv-bench
    .venv-bench/bin/pip install -r benchmarks/requirements-chunking.txt .
    .venv-bench/bin/python benchmarks/chunking.py                  # about 10 minutes; a table in Markdown
    .venv-bench/bin/python benchmarks/chunking.py --text FILE      # on a text of your own
    .venv-bench/bin/python benchmarks/chunking.py --against semchunk   # how many times as fast, the two in turn
    .venv-bench/bin/python benchmarks/chunking.py --stream 1000    # a file of 1000 MB through Chunker.stream
    .venv-bench/bin/python benchmarks/chunking.py --shapes         # whether cost is linear in texts of one thing only

Every figure but those of --against and --shapes comes from a fresh process: the median of five runs in CPU seconds, one
run for 50 MB. A tool that takes longer than TIME_LIMIT for one figure is stopped. The text is made here, from the three
samples of the package and prose, lists and tables drawn from their words; 50 MB are 5 MB ten times over.
"MB" are 10**6 bytes of UTF-8. What a tool returns is asked for with offsets where it has them; text2expert's time
includes headings, contexts, keys and records. FastChunker knows no overlap and counts bytes.
"""

import argparse
import functools
import importlib.metadata
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
SAMPLES = ROOT / "text2expert" / "samples"
SIZE, OVERLAP = 800, 100
DOCUMENT = 100_000
TOO_SLOW = 3.0
"""Seconds for 5 MB beyond which a tool is not given 50 MB."""
TIME_LIMIT = 60
"""Seconds of wall time that a process may take for one figure."""

SHAPES = (
    "a",
    "word ",
    "A sentence of some words here. ",
    "ab\n",
    "\n\n",
    "  ",
    "- x:\n",
    "a  b\n",
    "1. A b\n",
    "文",
    "e\u0301",
)

TOOLS = {
    "text2expert": "text2expert",
    "chonkie FastChunker": "chonkie",
    "langchain with start_index": "langchain-text-splitters",
    "semchunk": "semchunk",
    "semantic-text-splitter": "semantic-text-splitter",
}


class Piece(NamedTuple):
    """A chunk of any tool, with what `chunk_quality` looks at."""

    start: int
    end: int
    text: str
    document: str = ""
    headings: tuple[str, ...] = ()


def make(tool: str) -> Callable[[str], list[Any]]:
    """A function from a text to the tool's chunks, as it returns them."""
    if tool == "text2expert":
        from text2expert.chunker import Chunker

        return Chunker(SIZE, OVERLAP).split
    if tool == "chonkie FastChunker":
        from chonkie import FastChunker

        return FastChunker(chunk_size=SIZE).chunk
    if tool == "langchain with start_index":
        from langchain_text_splitters import RecursiveCharacterTextSplitter

        splitter = RecursiveCharacterTextSplitter(chunk_size=SIZE, chunk_overlap=OVERLAP, add_start_index=True)
        return lambda text: splitter.create_documents([text])
    if tool == "semchunk":
        import semchunk

        chunker = semchunk.chunkerify(len, SIZE, memoize=False)
        return lambda text: list(zip(*chunker(text, offsets=True, overlap=OVERLAP), strict=True))
    if tool == "semantic-text-splitter":
        from semantic_text_splitter import TextSplitter

        return TextSplitter(SIZE, overlap=OVERLAP).chunk_indices
    raise SystemExit(f"no such tool: {tool!r}; there are {', '.join(TOOLS)}")


def as_pieces(tool: str, chunks: list[Any]) -> list[Piece]:
    """The tool's chunks in one form."""
    if tool == "text2expert":
        return [Piece(c.start, c.end, c.text, c.document, c.headings) for c in chunks]
    if tool == "chonkie FastChunker":
        return [Piece(c.start_index, c.end_index, c.text) for c in chunks]
    if tool == "langchain with start_index":
        starts = [(c.metadata["start_index"], c.page_content) for c in chunks]
        return [Piece(start, start + len(text), text) for start, text in starts]
    if tool == "semchunk":
        return [Piece(start, end, text) for text, (start, end) in chunks]
    return [Piece(start, start + len(text), text) for start, text in chunks]


def measure(tool: str, path: Path, runs: int, document: int) -> dict[str, Any]:
    """One tool on one text, in this process."""
    text = path.read_text(encoding="utf-8")
    megabytes = path.stat().st_size / 1e6
    texts = [text[place : place + document] for place in range(0, len(text), document)] if document else [text]
    split = make(tool)
    split(text[:20_000])  # imports and caches are not what is measured
    before = peak_memory()
    costs = []
    for _ in range(runs):
        begin = time.process_time()
        chunks = [split(part) for part in texts]
        costs.append(time.process_time() - begin)
    found: dict[str, Any] = {
        "mb_per_cpu_s": megabytes / statistics.median(costs),
        "cpu_s": statistics.median(costs),
        "memory_mb": peak_memory(),
        "memory_before_mb": before,
    }
    if not document and runs > 1:
        found |= quality(text, as_pieces(tool, chunks[0]))
    return found


def quality(text: str, pieces: list[Piece]) -> dict[str, Any]:
    """Where the cuts lie."""
    sys.path.insert(0, str(ROOT / "tests"))
    import chunk_quality

    pieces = [piece for piece in pieces if text[piece.start : piece.end] == piece.text]
    figures = chunk_quality.measure([(text, pieces)])._asdict()
    return figures | {"left_out": len(chunk_quality.left_out(text, pieces)) / len("".join(text.split()))}


def peak_memory() -> float:
    """The most this process has had in memory, in MB. (What getrusage says may be the parent's.)"""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def stream(path: Path) -> dict[str, Any]:
    """`Chunker.stream` on a file, in this process."""
    from text2expert.chunker import Chunker

    begin = time.process_time()
    count = sum(1 for _ in Chunker(SIZE, OVERLAP).stream(path))
    cost = time.process_time() - begin
    megabytes = path.stat().st_size / 1e6
    return {
        "mb": megabytes,
        "cpu_s": cost,
        "mb_per_cpu_s": megabytes / cost,
        "memory_mb": peak_memory(),
        "chunks": count,
    }


def against(other: str, content: str, runs: int) -> None:
    """Print how many times as fast text2expert is as *other*.

    The two take turns on each text, in one process: what else a machine does meanwhile then slows both alike, which
    figures measured a minute apart do not promise. A text's cost is the median of *runs*.
    """
    tools = {tool: make(tool) for tool in ("text2expert", other)}
    huge = "\n\n".join([content] * 10)
    pieces = [content[place : place + DOCUMENT] for place in range(0, len(content), DOCUMENT)]
    print(f"{time.strftime('%Y-%m-%d')}, Python {platform.python_version()}, {cpu()}, load {os.getloadavg()[0]:.1f}\n")
    print(f"| text | text2expert, MB per CPU s | {other} {version(TOOLS[other])} | times as fast |\n|---|---|---|---|")
    for split in tools.values():
        split(content[:20_000])  # imports and caches are not what is measured
    for name, texts in ((f"documents of {DOCUMENT:,} characters", pieces), ("one", [content]), ("one", [huge])):
        costs = dict.fromkeys(tools, 0.0)
        for text in texts:
            turns = [[cpu_seconds(split, text) for split in tools.values()] for _ in range(runs)]
            for tool, taken in zip(tools, zip(*turns, strict=True), strict=True):
                costs[tool] += statistics.median(taken)
        megabytes = sum(len(text.encode()) for text in texts) / 1e6
        ours, theirs = costs.values()
        cells = (
            f"{megabytes:.0f} MB as {name}",
            *(f"{megabytes / cost:.1f}" for cost in (ours, theirs)),
            f"{theirs / ours:.2f}",
        )
        print(f"| {' | '.join(cells)} |", flush=True)


def cpu_seconds(split: Callable[[str], list[Any]], text: str) -> float:
    begin = time.process_time()
    split(text)
    return time.process_time() - begin


def shapes() -> None:
    """Print what a text of *n* characters and one of 10 *n* cost, for texts that are made of one thing over and over."""
    from text2expert.chunker import Chunker

    def cost(unit: str, length: int) -> float:
        text = f"x{unit * (length // len(unit))}x"
        begin = time.process_time()
        Chunker(SIZE, OVERLAP).split(text)
        return time.process_time() - begin

    print("| text of | CPU ms for 100,000 characters | for 1,000,000 | ratio |\n|---|---|---|---|")
    for unit in SHAPES:
        small, large = (min(cost(unit, length) for _ in range(3)) for length in (100_000, 1_000_000))
        print(f"| `{unit!r}` | {small * 1000:.1f} | {large * 1000:.1f} | {large / small:.1f} |", flush=True)


# The text.


def corpus(size: int) -> str:
    """*size* bytes of text: the samples, then made-up documents of the same kinds, no two alike."""
    samples = [path.read_text(encoding="utf-8") for path in sorted(SAMPLES.glob("*.txt"))]
    draw = random.Random(20)
    words = sorted({word for sample in samples for word in sample.split() if word.isalpha() and word.islower()})
    parts, length, number = samples, sum(map(len, samples)), 0
    while length < size:
        number += 1
        parts.append(made_up(draw, words, number))
        length += len(parts[-1].encode())
    return "\n\n".join(parts).encode()[:size].decode(errors="ignore")


def made_up(draw: random.Random, words: list[str], number: int) -> str:
    """A document of twenty sections; one in two has hard line breaks."""
    wrap = draw.random() < 0.5
    blocks = [f"HANDBOOK NUMBER {number}\n\n"]
    for section in range(1, 21):
        blocks.append(f"SECTION {section}. {' '.join(draw.choices(words, k=3)).upper()}\n")
        for part in range(1, draw.randint(3, 8)):
            blocks.append(f"{section}.{part} {' '.join(draw.choices(words, k=draw.randint(1, 4))).capitalize()}\n")
            for _ in range(draw.randint(1, 3)):
                kind = draw.random()
                if kind < 0.7:
                    blocks.append(paragraph(draw, words, wrap) + "\n")
                elif kind < 0.9:
                    lead = " ".join(draw.choices(words, k=draw.randint(2, 9))).capitalize()
                    items = [sentence(draw, words) for _ in range(draw.randint(3, 8))]
                    blocks.append(f"{lead}:\n" + "".join(f"- {item}\n" for item in items))
                else:
                    rows = [draw.choices(words, k=3) for _ in range(draw.randint(4, 12))]
                    blocks.append("\n".join("    " + "".join(f"{cell:<20}" for cell in row) for row in rows) + "\n")
    return "\n".join(blocks)


def sentence(draw: random.Random, words: list[str]) -> str:
    body = draw.choices(words, k=draw.randint(5, 24))
    if draw.random() < 0.3:
        body.insert(draw.randrange(1, len(body)), f"{draw.randint(1, 900)}{draw.choice(['', '%', '.5', ' mL', ' °C'])}")
    return " ".join(body).capitalize() + draw.choice("....?;")


def paragraph(draw: random.Random, words: list[str], wrap: bool) -> str:
    text = " ".join(sentence(draw, words) for _ in range(draw.randint(2, 8)))
    if not wrap:
        return text
    lines, line = [], ""
    for word in text.split():
        if len(line) + len(word) > 78:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}" if line else word
    return "\n".join([*lines, line])


# The table.


def fresh(*arguments: object, limit: float | None = TIME_LIMIT) -> dict[str, Any]:
    """The answer of this script, run again in a process of its own; an error after *limit* seconds."""
    command = [sys.executable, __file__, *map(str, arguments)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=limit)
    except subprocess.TimeoutExpired:
        return {"error": f"over {limit} s"}
    if done.returncode:
        return {"error": done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"exit {done.returncode}"}
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "(not installed)" if package != "text2expert" else "(this checkout)"


def row(tool: str, small: Path, large: Path, runs: int) -> str:
    """One tool's line of the table."""
    parts = fresh("--one", tool, small, "--runs", runs, "--document", DOCUMENT)
    whole = fresh("--one", tool, small, "--runs", runs)
    name = f"{tool} {version(TOOLS[tool])}"
    if "error" in parts or "error" in whole:
        cells = [name, *(answer.get("error") or f"{answer['mb_per_cpu_s']:.1f}" for answer in (parts, whole)), *"-" * 8]
        return f"| {' | '.join(cells)} |"
    if whole["cpu_s"] > TOO_SLOW:
        big, memory = f"not run ({whole['cpu_s']:.1f} s for the small one)", f"{whole['memory_mb']:.0f} / -"
    else:
        answer = fresh("--one", tool, large, "--runs", 1)
        big = answer.get("error") or f"{answer['mb_per_cpu_s']:.1f}"
        memory = f"{whole['memory_mb']:.0f} / " + (f"{answer['memory_mb']:.0f}" if "memory_mb" in answer else "-")
    cells = [
        name,
        f"{parts['mb_per_cpu_s']:.1f}",
        f"{whole['mb_per_cpu_s']:.1f}",
        big,
        memory,
        f"{whole['chunks']}, {whole['mean_length']:.0f}",
        f"{whole['line_or_better']:.1%}",
        f"{whole['sentence_or_better']:.1%}",
        f"{whole['overlapping']:.1%}",
        f"{whole['median_overlap']:.0f}",
        f"{whole['left_out']:.2%}",
    ]
    return f"| {' | '.join(cells)} |"


def table(tools: Iterable[str], text: Path | None, runs: int) -> None:
    print(f"{time.strftime('%Y-%m-%d')}, Python {platform.python_version()}, {cpu()}, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as folder:
        small, large = Path(folder, "small.txt"), Path(folder, "large.txt")
        content = text.read_text(encoding="utf-8") if text else corpus(5_000_000)
        small.write_text(content, encoding="utf-8")
        large.write_text("\n\n".join([content] * 10), encoding="utf-8")
        size = small.stat().st_size / 1e6
        print(
            f"\n| tool | MB per CPU s: {size:.1f} MB as documents of {DOCUMENT:,} characters | {size:.1f} MB in one "
            f"| {10 * size:.0f} MB in one | peak MB of memory | chunks, mean length | both ends: line or better "
            "| sentence or better | joints overlapping 40 or more | median overlap | left out |"
        )
        print("|---" * 11 + "|")
        for tool in tools:
            print(row(tool, small, large, runs), flush=True)


@functools.cache
def cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown processor"
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown processor")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", type=Path, help="a UTF-8 text to use instead of the one made here")
    parser.add_argument("--tools", default=",".join(TOOLS), help="which, with commas between (default: all)")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument(
        "--against", choices=[tool for tool in TOOLS if tool != "text2expert"], help="one tool only, in turn"
    )
    parser.add_argument("--stream", type=int, metavar="MB", help="stream a file of so many megabytes instead")
    parser.add_argument(
        "--shapes", action="store_true", help="print the cost of texts of one thing, and of ten times that"
    )
    parser.add_argument("--one", nargs=2, metavar=("TOOL", "FILE"), help=argparse.SUPPRESS)
    parser.add_argument("--document", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--stream-one", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one[0], Path(options.one[1]), options.runs, options.document)))
    elif options.stream_one:
        print(json.dumps(stream(options.stream_one)))
    elif options.against:
        content = options.text.read_text(encoding="utf-8") if options.text else corpus(5_000_000)
        against(options.against, content, options.runs)
    elif options.shapes:
        shapes()
    elif options.stream:
        content = options.text.read_text(encoding="utf-8") if options.text else corpus(5_000_000)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "huge.txt")
            with path.open("w", encoding="utf-8") as file:
                while file.tell() < options.stream * 1_000_000:
                    file.write(content + "\n\n")
            print(json.dumps(fresh("--stream-one", path, limit=None)))
    else:
        table(options.tools.split(","), options.text, options.runs)


if __name__ == "__main__":
    main()
