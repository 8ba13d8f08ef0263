"""What the rule-based teacher makes of a document: the share of its sentences and bullets that is taught, and at what cost.

    python benchmarks/yield_offline.py [file ...]

Without files, the three sample documents. Seconds are CPU seconds of teaching and verifying on one core.
"""

import sys
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from sentence_units import taught  # noqa: E402 - the folder of the splitter goes on the path first

from text2expert.chunker import Chunker  # noqa: E402 - the folder of the splitter goes on the path first
from text2expert.offline import EvidenceVerifier, RuleTeacher  # noqa: E402 - the folder of the splitter goes on the path first


def main(paths):
    print("| document | units | taught | items | pairs | per item | rejected | kB | CPU s | kB per CPU s |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    kinds = {}
    for path in paths:
        text = path.read_text(encoding="utf-8")
        chunks = list(Chunker().split(text))
        start = time.process_time()
        pairs = RuleTeacher().teach(chunks)
        taught_s = time.process_time() - start
        verdicts = EvidenceVerifier().verify(pairs, chunks)
        seconds = time.process_time() - start
        good = [pair for pair, verdict in zip(pairs, verdicts, strict=True) if verdict.approved]
        done, total = taught(text, [[(span.start, span.end) for span in pair.evidence] for pair in good])
        items = len({pair.item for pair in good})
        kinds[path.name] = Counter(kind for kind, _ in {(pair.kind.split(":")[0], pair.item) for pair in good})
        kilobytes = len(text.encode()) / 1000
        print(
            f"| {path.name} | {total} | {done} ({done / max(total, 1):.1%}) | {items} | {len(good)} | {len(good) / max(items, 1):.1f} | "
            f"{len(pairs) - len(good)} | {kilobytes:.1f} | {taught_s:.2f} + {seconds - taught_s:.2f} | {kilobytes / seconds:.0f} |"
        )
    for name, counter in kinds.items():
        print(f"\n{name}: " + ", ".join(f"{kind} {count}" for kind, count in counter.most_common()))


if __name__ == "__main__":
    main([Path(name) for name in sys.argv[1:]] or sorted((ROOT / "text2expert" / "samples").glob("*.txt")))
