"""What came of an exam."""

import html

import attrs

from text2expert.records import ROW_TITLES, ExamRowName, wilson


@attrs.frozen(kw_only=True)
class ExamScore:
    """How many of the ``n`` questions of a row a contestant answered right."""

    row: ExamRowName
    contestant: str
    right: int
    n: int

    @property
    def share(self) -> float:
        """Of right answers, 0 to 1."""
        return self.right / self.n

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of `share`."""
        return wilson(self.right, self.n)


@attrs.frozen(kw_only=True)
class ExamResult:
    """The exam table: every contestant on every row, and the share of the document that was taught (0 to 1)."""

    exam_sha256: str
    contestants: tuple[str, ...]
    scores: tuple[ExamScore, ...]
    share_taught: float | None
    """None where the text is not there to measure it by."""
    notes: tuple[str, ...] = ()
    """What a reader must know to judge the numbers."""

    def score(self, row: ExamRowName, contestant: str) -> ExamScore | None:
        """A cell of the table; None where the exam has no such question."""
        return next((each for each in self.scores if (each.row, each.contestant) == (row, contestant)), None)

    def _repr_html_(self) -> str:
        """The table in a notebook; intervals show on hover."""
        lines = [
            "<table><tr><th></th>",
            *(f"<th>{html.escape(name)}</th>" for name in self.contestants),
            "<th>n</th></tr>",
        ]
        for row, title in ROW_TITLES.items():
            cells = [score for name in self.contestants if (score := self.score(row, name))]
            if not cells:
                continue
            lines.append(f"<tr><td>{title}</td>")
            for score in cells:
                low, high = score.interval
                hover = f"{score.right} of {score.n}; 95 % interval {100 * low:.0f} to {100 * high:.0f} %"
                lines.append(f'<td title="{hover}">{100 * score.share:.0f} %</td>')
            lines.append(f"<td>{cells[0].n}</td></tr>")
        lines.append("</table>")
        lines += [f"<p>{html.escape(note)}</p>" for note in self.notes]
        return "".join(lines)
