"""The rule-based teacher and the mechanical verifier."""

from pathlib import Path

from text2expert.chunker import Chunker
from text2expert.offline import RuleTeacher

SAMPLES = Path(__file__).parent.parent / "text2expert" / "samples"


def test_evidence_offsets_quote_the_document():
    """Every span's offsets give its own text in the source."""
    source = (SAMPLES / "vessel_mooring_sop.txt").read_text(encoding="utf-8")
    pairs = RuleTeacher().teach(Chunker().split(source))
    assert len(pairs) > 100
    assert all(source[span.start : span.end] == span.text for pair in pairs for span in pair.evidence)
