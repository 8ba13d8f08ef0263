"""Draw pairs of the rule-based teacher to be judged by reading: the procedure behind tests/data/judged_pairs.jsonl.

    python tests/judged_sample.py SEED > drawn.jsonl

50 approved pairs of each sample document, drawn by the digest of seed and question, so that nobody chooses. A judge then
sets ``right`` and ``why`` of each line, reading the pair against its document. A pair is right only if

- the question can be answered without the document at hand (closed-book), reads as a question of a competent speaker and
  has one answer in the document;
- the answer is true, complete, and keeps its conditions;
- the evidence says it.
"""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT)]

from text2expert.chunker import Chunker  # noqa: E402 - the folder goes on the path first
from text2expert.offline import EvidenceVerifier, RuleTeacher  # noqa: E402 - as above
from text2expert.records import digest  # noqa: E402 - as above

PER_DOCUMENT = 50


def drawn(path: Path, seed: str) -> list[dict]:
    """The sample of one document, in the order of the draw, unjudged."""
    chunks = list(Chunker().split(path.read_text(encoding="utf-8")))
    pairs = RuleTeacher().teach(chunks)
    verdicts = EvidenceVerifier().verify(pairs, chunks)
    good = [pair for pair, verdict in zip(pairs, verdicts, strict=True) if verdict.approved]
    good.sort(key=lambda pair: digest("judged", seed, path.name, pair.question, pair.short_answer))
    return [
        {
            "document": path.name,
            "question": pair.question,
            "answer": pair.answer,
            "short_answer": pair.short_answer,
            "kind": pair.kind,
            "evidence": [{"start": span.start, "end": span.end, "text": span.text} for span in pair.evidence],
            "right": None,
            "why": "",
        }
        for pair in good[:PER_DOCUMENT]
    ]


if __name__ == "__main__":
    for name in ("respiratory_protocol.txt", "vessel_mooring_sop.txt", "records_retention_policy.txt"):
        rows = drawn(ROOT / "text2expert" / "samples" / name, sys.argv[1])
        sys.stdout.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
