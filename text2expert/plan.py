"""Plan: what a run would do, take and cost, before it does it."""

import html

import attrs

from text2expert.records import Document
from text2expert.trainer import TrainingPlan


@attrs.frozen(kw_only=True)
class Plan:
    """What a run would do, before it does it."""

    documents: tuple[Document, ...]
    n_chars: int
    chunks: int
    pairs: int
    """Training pairs; counted where the whole text was taught for the plan, else scaled up from a sample."""
    estimated: bool
    training: TrainingPlan | None
    usd: float
    seconds: float
    """As far as it is known: 0 for the training of a base whose hardware decides."""
    hosts: tuple[str, ...]
    """Who will see the text; empty: it stays on this machine."""
    folder: str

    def __str__(self) -> str:
        about = "about " if self.estimated else ""
        known = self.training is None or self.training.seconds is not None
        rows = [
            ("text", f"{self.n_chars:,} characters in {len(self.documents):,} document(s)"),
            ("chunks", f"{self.chunks:,}"),
            ("training pairs", f"{about}{self.pairs:,}"),
            ("training", str(self.training) if self.training else "unknown before the pairs are there"),
            ("cost", f"${self.usd:.2f}"),
            ("time", f"about {duration(self.seconds)}" if known else "depends on your hardware"),
            ("your text goes to", ", ".join(self.hosts) or "nobody: it stays on this machine"),
            ("run folder", self.folder),
        ]
        width = max(len(name) for name, _ in rows)
        return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"


def duration(seconds: float) -> str:
    """*seconds* as a person says it: "40 s", "3 min 20 s", "2 h 5 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole % 60 else f"{whole // 60} min"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
