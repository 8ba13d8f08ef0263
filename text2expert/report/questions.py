"""Every question of the exam with all answers to it, their grades, and where the source has it."""

from collections.abc import Mapping, Sequence

from text2expert.examiner.results import GivenAnswer
from text2expert.records import ROW_TITLES, ExamQuestion
from text2expert.report.findings import Findings
from text2expert.report.markup import Child, Html, joined, said, tag
from text2expert.report.passages import Passages, marked, title
from text2expert.report.scores import named, seconds

SIGNS = {"right": "✓", "wrong": "✕", "refused": "?"}
WORDS = {"right": "right", "wrong": "wrong", "refused": "says it does not know"}


def questions(found: Findings, passages: Passages) -> Html:
    """The questions, row by row, after a form that a script uses to choose among them."""
    rows = {row: [question for question in found.exam if question.row == row] for row in ROW_TITLES}
    asked = found.contestants if found.answers else ()
    numbers = {question.id: number for number, question in enumerate(found.exam, 1)}
    return joined(
        tag(
            "p",
            "Open a question for its answers and for the passage that has it. ",
            [
                "Signs: ",
                *(joined(_mark(grade), f" {WORDS[grade]}, ") for grade in ("right", "wrong")),
                joined(_mark("refused"), f" {WORDS['refused']}"),
                "; in this order: ",
                *(joined(", " if place else None, named(name)) for place, name in enumerate(asked)),
                ".",
            ]
            if asked
            else None,
        ),
        _form([row for row, mine in rows.items() if mine], asked) if asked else None,
        *(
            tag(
                "section",
                tag("h3", ROW_TITLES[row], tag("small", f"{len(mine):,} questions")),
                tag(
                    "div",
                    *(_question(question, numbers[question.id], found, passages, asked) for question in mine),
                    class_="list",
                ),
                class_="row",
                data_row=row,
            )
            for row, mine in rows.items()
            if mine
        ),
    )


def _form(rows: Sequence[str], asked: Sequence[str]) -> Html:
    """Hidden until a script is there to act on it."""
    return tag(
        "form",
        tag("label", "Questions", _select("row", {"": "all", **{row: ROW_TITLES[row] for row in ROW_TITLES if row in rows}})),
        tag("label", "Answers of", _select("who", {str(place): name for place, name in enumerate(asked)})),
        tag("label", "that are", _select("grade", {"": "any", "r": "right", "w": "wrong", "u": "“I do not know”", "d": "judged otherwise"})),
        tag("label", "with the words", tag("input", type="search", name="words", autocomplete="off")),
        tag("output", aria_live="polite"),
        id="choose",
        hidden=True,
    )  # fmt: skip


def _select(name: str, options: Mapping[str, str]) -> Html:
    return tag("select", *(tag("option", shown, value=value) for value, shown in options.items()), name=name)


def _question(question: ExamQuestion, number: int, found: Findings, passages: Passages, asked: Sequence[str]) -> Html:
    given = found.answers.get(question.id, {})
    answers = [given.get(name) for name in asked]
    grades = "".join(
        "-" if each is None else {"right": "r", "wrong": "w", "refused": "u"}[each.grade] for each in answers
    )
    differs = "".join("d" if each is not None and each.judged not in (None, each.grade) else "-" for each in answers)
    marks = [_mark(each.grade if each else None, name) for each, name in zip(answers, asked, strict=True)]
    return tag(
        "details",
        tag("summary", said(question.question), tag("span", *marks, class_="marks") if marks else None),
        _expected(question),
        _answers([each for each in answers if each], passages) if given else None,
        _source(question, passages),
        class_="question",
        id=f"q{number}",
        data_g=grades or None,
        data_d=differs if "d" in differs else None,
    )


def _mark(grade: str | None, who: str | None = None) -> Html:
    if grade is None:
        return tag("i", "·", class_="none", role="img", title=f"{who}: not asked")
    return tag("i", SIGNS[grade], class_=grade, role="img", title=f"{who}: {WORDS[grade]}" if who else WORDS[grade])


def _expected(question: ExamQuestion) -> Html:
    if question.answer is None:
        return tag("p", tag("b", "Expected: "), "to say that the document does not tell.", class_="expected")
    aliases = [alias for alias in question.aliases if alias != question.answer]
    return tag(
        "p",
        tag("b", "Expected: "),
        said(question.answer),
        [
            tag("br"),
            tag(
                "small", "or: ", *(joined("; " if place else None, said(alias)) for place, alias in enumerate(aliases))
            ),
        ]
        if aliases
        else None,
        class_="expected",
    )


def _answers(answers: Sequence[GivenAnswer], passages: Passages) -> Html:
    """As a list: on a phone, long answers read badly in a table."""
    return tag(
        "dl", *([tag("dt", *_of(each)), tag("dd", *_answer(each, passages))] for each in answers), class_="answers"
    )


def _of(answer: GivenAnswer) -> list[Child]:
    return [
        _mark(answer.grade),
        named(answer.contestant),
        tag("small", WORDS[answer.grade]),
        tag("small", f"judge: {WORDS[answer.judged]}", class_="differs")
        if answer.judged not in (None, answer.grade) and answer.judged
        else None,
    ]


def _answer(answer: GivenAnswer, passages: Passages) -> list[Child]:
    notes = []
    if answer.confidence is not None:
        notes.append(f"confidence {answer.confidence:.2f}")
    if answer.seconds is not None:
        notes.append(f"{seconds(answer.seconds)} s")
    if answer.tokens_in is not None and answer.tokens_out is not None:
        notes.append(f"{answer.tokens_in:,} tokens in, {answer.tokens_out:,} out")
    if shown := [str(number) for each in answer.passages if (number := passages.number(each))]:
        notes.append(f"was shown passage{'s' if len(shown) > 1 else ''} {', '.join(shown)}")
    return [
        said(answer.text) if answer.text.strip() else tag("em", "(no answer)"),
        tag("small", "; ".join(notes)) if notes else None,
    ]


def _source(question: ExamQuestion, passages: Passages) -> Html:
    shown = passages.showing(question.evidence)
    if shown:
        return joined(
            *(
                tag("figure", tag("figcaption", title(chunk, passages.number(chunk.id))), marked(chunk, question.evidence), class_="source")
                for chunk in shown
            )
        )  # fmt: skip
    return joined(
        *(tag("figure", said(span.text, "div", class_="text"), class_="source") for span in question.evidence)
    )
