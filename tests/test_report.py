"""The report of a run: what is on the page, that it is all there, and that it stays text."""

import base64
import hashlib
import html
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path

import attrs
import pages
import pytest
import reports
from hypothesis import given
from hypothesis import strategies as st
from pumps import PUMPS, gold_only

import text2expert
from text2expert import report
from text2expert.errors import InputError, MissingExtraError, RecordError, RunFolderError
from text2expert.examiner.recommendation import recommend
from text2expert.examiner.results import ExamScore, GivenAnswer, Recommendation
from text2expert.examiner.statistics import Places, is_unseen
from text2expert.records import (
    ROW_TITLES,
    UNSEEN_ROWS,
    Chunk,
    ExamQuestion,
    GoldRecord,
    QAPair,
    Span,
    read_jsonl,
    to_dict,
    write_jsonl,
)
from text2expert.report import coverage, figures, findings, markup, passages, scores

ORDER = ("expert", "base + RAG", "expert + RAG", "base", "base + right passage", "lookup")
"""Of the contestants on a page: those first that decide."""


@pytest.fixture(scope="module")
def taught_only(tmp_path_factory):
    """A run without training."""
    folder = tmp_path_factory.mktemp("taught_only")
    source = folder / "pumps.txt"
    source.write_text(PUMPS, encoding="utf-8")
    return gold_only(source, folder / "run").folder


@pytest.fixture(scope="module")
def whole(taught_only, tmp_path_factory):
    """A run with all that a report can have."""
    folder = shutil.copytree(taught_only, tmp_path_factory.mktemp("whole") / "run")
    reports.examined(folder)
    return folder


@pytest.fixture(scope="module")
def page(whole):
    """Its page, as a tree."""
    return pages.read(report.write(whole).read_text("utf-8"))


@pytest.fixture
def drawn_run(whole, tmp_path):
    """A copy of it, to change."""
    return shutil.copytree(whole, tmp_path / "run")


@pytest.fixture
def run(drawn_run, monkeypatch):
    """A copy of it, whose page has no plots: most tests are quicker so."""
    monkeypatch.setattr(figures, "_figure", lambda name, *_: markup.tag("figure", id=f"plot-{name}"))
    return drawn_run


def written(folder):
    return pages.read(report.write(folder).read_text("utf-8"))


def result_of(folder):
    return findings.read(folder).result


def rewrite(folder, **changes):
    """The exam's result with other fields."""
    result = attrs.evolve(result_of(folder), **changes)
    (folder / "exam_result.json").write_text(json.dumps(to_dict(result)), encoding="utf-8")


def table(page, caption):
    (found,) = [each for each in page.all("table") if each.one("caption").text == caption]
    return found


def plain(text):
    return text.replace("\u00a0", " ")


# -- what is on it ---------------------------------------------------------------------------------------------------


def test_the_verdict_comes_first_in_large_plain_words(page):
    first = next(node for node in page if node.tag in ("h1", "h2", "h3", "table", "figure"))
    assert "h1" == first.tag
    assert "Use both." == first.text
    assert "The expert answers from memory almost as well" in page.one("p", "lede").text


@pytest.mark.parametrize(
    ("headline", "title", "lede"),
    [
        ("Use RAG: it is right on 80 %.", "Use RAG.", "It is right on 80 %."),
        ("This proves the pipeline; here RAG won: 1 %, 2 %.", "This proves the pipeline.", "Here RAG won: 1 %, 2 %."),
        ("One plain sentence.", "Use retrieval (RAG).", "One plain sentence."),
        ("It ends in a colon:", "Use retrieval (RAG).", "It ends in a colon:"),
        (f"{'long ' * 30}: then this", "Use retrieval (RAG).", f"{'long ' * 30}: then this"),
    ],
)
def test_a_headline_is_split_at_its_colon(run, headline, title, lede):
    rewrite(run, recommendation=Recommendation(use="rag", headline=headline))
    page = written(run)
    assert (title, lede) == (page.one("h1").text, plain(page.one("p", "lede").text))


def test_all_reasons_and_steps_are_there_and_passages_are_linked(run):
    because = tuple(f"Reason {n}: 7 % of chunk_00000{n}." for n in range(1, 8))
    advice = Recommendation(
        use="rag", headline="Use RAG: so.", because=because, next=("Look at chunk_000002 and chunk_999999.",)
    )
    rewrite(run, recommendation=advice)
    header = written(run).one("header")
    listed = [item.text for item in header.all("li")]
    assert [*(f"Reason {n}: 7\u00a0% of passage {n}." for n in range(1, 4))] == listed[:3]
    assert "4 more reasons" == header.one("summary").text
    assert "Look at passage 2 and chunk_999999." == listed[-1]
    assert {"#p1", "#p2", "#p3"} <= {link.attributes["href"] for link in header.all("a")}


def test_headings_go_down_one_level_at_a_time(page):
    levels = [int(node.tag[1]) for node in page if re.fullmatch("h[1-6]", node.tag)]
    assert 1 == levels[0]
    assert 1 == levels.count(1)
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


def test_the_table_has_every_score_with_its_interval(page, whole):
    result = result_of(whole)
    shown = table(page, "Right answers by kind of question, with 95 % intervals")
    assert [row for row in ROW_TITLES if result.score(row, "expert")] == [
        next(row for row, title in ROW_TITLES.items() if title == cells[0]) for cells in shown.rows
    ]
    for cells in shown.rows:
        row = next(row for row, title in ROW_TITLES.items() if title == cells[0])
        for name, cell in zip(result.contestants, cells[1:], strict=False):
            score = result.score(row, name)
            low, high = score.interval
            assert f"{100 * low:.0f}–{100 * high:.0f} %" in plain(cell)
            assert plain(cell).startswith(findings.percent(score.share).replace("\u00a0", " "))


def test_unseen_answers_are_counted_from_the_answers(page, whole):
    exam = {question.id: question for question in read_jsonl(whole / "exam.jsonl", ExamQuestion)}
    answers = list(read_jsonl(whole / "exam_answers.jsonl", GivenAnswer))
    shown = {cells[0]: cells[2] for cells in table(page, "Right answers to unseen questions").rows}
    for name in reports.SKILL:
        mine = [each.grade == "right" for each in answers if each.contestant == name and is_unseen(exam[each.question])]
        assert f"{sum(mine)} of {len(mine)}" == shown[name]


def test_those_who_decide_come_first_in_every_table_and_plot(page):
    """On a phone the first columns are all that is seen at once."""
    for caption in ("Right answers to unseen questions", "An answer, asked alone; tokens are means"):
        assert list(ORDER) == [cells[0] for cells in table(page, caption).rows]
    head = table(page, "Right answers by kind of question, with 95 % intervals").one("thead").all("th")
    assert ["", *ORDER, "Questions"] == [cell.text for cell in head]
    compared = table(page, "Paired comparisons on all unseen questions")
    assert [f"expert against {name}" for name in ORDER[1:]] == [cells[0] for cells in compared.rows]
    assert ["Difference, points", "p"] == [cell.text for cell in compared.one("thead").all("th")[1:3]]
    labels = [each.text for each in page.one("figure", id="plot-accuracy").all("svg")[0].all("text")]
    assert list(ORDER) == [each for each in labels if each in ORDER]


@pytest.mark.parametrize(
    ("name", "model", "host"),
    [
        (
            "http://user:pw@gpu-7.example.org:8000/v1#Qwen/Qwen2.5-7B + RAG",
            "Qwen/Qwen2.5-7B + RAG",
            "gpu-7.example.org:8000",
        ),
        ("https://[::1]:80/v1#m", "m", "[::1]:80"),
        ("http://[broken/v1#m", "http://[broken/v1#m", ""),
        ("ftp://host/v1#m", "ftp://host/v1#m", ""),
        ("deepseek/deepseek-flash", "deepseek/deepseek-flash", ""),
    ],
)
def test_a_model_at_an_address_is_called_by_its_own_name(name, model, host):
    shown = pages.read(scores.named(name))
    assert model + host == shown.text
    assert not host or name == shown.one("span", "at").attributes["title"]


def test_page_plot_notebook_and_verdict_count_the_same_questions(run):
    """A hand-written exam asks for what the document does not say, too: that is no unseen question of it anywhere."""
    exam = list(read_jsonl(run / "exam.jsonl", ExamQuestion))
    own = [attrs.evolve(each, row="hand_written", id=f"own_{each.id}") for each in exam[:8] + exam[-6:]]
    result = reports.examined(run, exam=[*exam, *own])
    chunks, answers = (
        list(read_jsonl(run / "chunks.jsonl", Chunk)),
        list(read_jsonl(run / "exam_answers.jsonl", GivenAnswer)),
    )
    said = recommend(result, exam=[*exam, *own], answers=answers, chunks=chunks).because[0]
    drawn = {
        label.get_text(): line.get_xdata()[0]
        for label, line in zip(result.plot().axes[0].get_yticklabels(), result.plot().axes[0].lines[1::2], strict=True)
    }
    notebook = result._repr_html_()
    shown = {cells[0]: cells[2] for cells in table(written(run), "Right answers to unseen questions").rows}
    for name in reports.SKILL:
        mine = [
            each.grade == "right"
            for each in answers
            if each.contestant == name
            and any(each.question == other.id and is_unseen(other) for other in [*exam, *own])
        ]
        assert f"{sum(mine)} of {len(mine)}" == shown[name]
        assert 100 * sum(mine) / len(mine) == drawn[name]
        assert f'title="{sum(mine)} of {len(mine)}"' in notebook
        if name == "expert":
            assert f"of {len(mine)} questions" in said
        paired = [each.n for each in result.comparisons if (each.row, each.one, each.other) == ("all", "expert", name)]
        assert set(paired) <= {len(mine)}
    assert sum(each.n for each in result.scores if each.contestant == "expert" and each.row in UNSEEN_ROWS) > len(mine)


def test_every_question_is_there_with_every_answer_and_its_grade(page, whole):
    exam = list(read_jsonl(whole / "exam.jsonl", ExamQuestion))
    shown = page.all("details", "question")
    assert sorted(each.question for each in exam) == sorted(each.one("summary").children[0].text for each in shown)
    answers = {(each.question, each.contestant): each for each in read_jsonl(whole / "exam_answers.jsonl", GivenAnswer)}
    for number, question in enumerate(exam, 1):
        node = page.one("details", id=f"q{number}")
        given = node.one("dl", "answers")
        assert list(ORDER) == [name.children[1].text for name in given.all("dt")]
        for name, answer in zip(given.all("dt"), given.all("dd"), strict=True):
            expected = answers[question.id, name.children[1].text]
            assert expected.grade == name.one("i").attributes["class"]
            assert answer.text.startswith(expected.text)
            assert (expected.judged != expected.grade) == bool(name.all("small", "differs"))


def test_the_evidence_of_every_question_is_marked_in_its_passage(page, whole):
    chunks = {chunk.text for chunk in read_jsonl(whole / "chunks.jsonl", Chunk)}
    for number, question in enumerate(read_jsonl(whole / "exam.jsonl", ExamQuestion), 1):
        sources = page.one("details", id=f"q{number}").all("figure", "source")
        assert all(source.one("div", "text").text in chunks for source in sources)
        marked = "".join(mark.text for source in sources for mark in source.all("mark"))
        assert all(span.text in marked for span in question.evidence)
        assert bool(sources) == bool(question.evidence)


def test_what_can_be_filtered_by_is_what_was_graded(page, whole):
    letters = {"right": "r", "wrong": "w", "refused": "u"}
    answers = {(each.question, each.contestant): each for each in read_jsonl(whole / "exam_answers.jsonl", GivenAnswer)}
    differing = 0
    for number, question in enumerate(read_jsonl(whole / "exam.jsonl", ExamQuestion), 1):
        attributes = page.one("details", id=f"q{number}").attributes
        mine = [answers[question.id, name] for name in ORDER]
        assert "".join(letters[each.grade] for each in mine) == attributes["data-g"]
        differs = "".join("d" if each.judged != each.grade else "-" for each in mine)
        assert (differs if "d" in differs else None) == attributes.get("data-d")
        differing += "d" in differs
    assert differing


def test_money_and_time_are_there_with_what_was_measured_and_assumed(page):
    section = page.one("section", id="money")
    assert "cost $23.45" in section.text
    assert "after 88,500 questions" in section.text
    costs = {cells[0]: cells[1:] for cells in table(section, "An answer, asked alone; tokens are means").rows}
    assert ["0.9", "$0.31", "1.4", "1,800", "30"] == costs["base + RAG"]
    totals = {cells[0]: cells[1:] for cells in table(section, "US dollars in all").rows}
    assert ["$23.50", "$23.90", "$27.95", "$68.45"] == totals["expert"]  # its making and 4.5 cents per 1,000
    assert ["$0.31", "$3.10", "$31.00", "$310"] == totals["base + RAG"]
    assert "seconds of answers asked one at a time" in section.text
    assert "the price of an RTX 4090, $0.35 an hour" in section.text


def test_costs_add_up_to_the_last_digit(page):
    *scopes, whole = table(page, "Costs in US dollars").rows
    paid = [Decimal(cells[1].removeprefix("$").replace(",", "")) for cells in scopes]
    assert "all" == whole[0]
    assert Decimal(reports.PAID["cost_usd"]) == sum(paid) == Decimal(whole[1].removeprefix("$"))


def test_what_was_paid_for_no_step_is_a_line_of_its_own(run):
    receipt = json.loads((run / "run.json").read_bytes())
    (run / "run.json").write_text(json.dumps({**receipt, "cost_usd": "25"}))
    rows = {cells[0]: cells[1] for cells in table(written(run), "Costs in US dollars").rows}
    assert "$1.5488" == rows["other"]


def test_counts_add_up_and_where_they_do_not_the_page_says_so(run, page):
    counts = json.loads((run / "run.json").read_bytes())["counts"]
    assert f"{counts['parsed']} pairs were written = {counts['duplicates']} duplicates" in page.text
    assert not page.all("p", "warning")
    receipt = json.loads((run / "run.json").read_bytes())
    receipt["counts"]["gold"] += 1
    (run / "run.json").write_text(json.dumps(receipt))
    assert "do not add up" in written(run).one("p", "warning").text


def test_no_path_of_this_machine_is_on_the_page(whole, page):
    """A page is sent to others, and a home folder has a name in it."""
    source = Path(json.loads((whole / "run.json").read_bytes())["documents"][0]["path"])
    assert source.is_absolute()
    shown = (whole / "report.html").read_text("utf-8")
    assert str(source.parent) not in shown
    assert str(whole) not in shown
    assert sys.executable not in shown


def test_the_judge_is_shown_with_its_probes_and_its_disagreements(page):
    rows = table(page, "Answers whose grade is known, put to the judge").rows
    assert [["the right answer", "30 of 30"], ["the right answer with one digit changed", "27 of 30"]] == [
        cells[:2] for cells in rows
    ]
    assert "takes 3 for right that are graded wrong" in page.text


@pytest.mark.parametrize(
    ("share", "shown"), [(0, "0 %"), (0.001, "< 1 %"), (0.994, "99 %"), (0.996, "> 99 %"), (1, "100 %")]
)
def test_all_and_nothing_are_not_said_of_nearly(share, shown):
    assert shown == plain(findings.percent(share))


# -- the map ---------------------------------------------------------------------------------------------------------


def chunk(number, text="x" * 100, start=None):
    start = 100 * number if start is None else start
    return Chunk(
        id=f"c{number}",
        key=f"k{number}",
        document="d",
        text=text,
        start=start,
        end=start + len(text),
        char_count=len(text),
    )


def span(start, end):
    return Span(document="d", start=start, end=end, text="x" * (end - start))


def question(name, *spans, row="held_out"):
    return ExamQuestion(id=name, row=row, question=f"{name}?", answer="yes", evidence=spans)


def gold(*spans, status="model", qa_id=""):
    return GoldRecord(instruction="q", output="a", evidence=spans, status=status, qa_id=qa_id)


def test_a_passage_is_what_became_of_it():
    """Seven passages, one of each fate; the last is taught by a record that has no evidence."""
    answers = {
        name: {"expert": GivenAnswer(question=name, contestant="expert", text="", grade=grade)}
        for name, grade in {"right": "right", "half": "right", "wrong": "wrong", "taught": "wrong"}.items()
    }
    found = findings.Findings(
        name="run",
        receipt={},
        chunks=tuple(map(chunk, range(7))),
        sources={"pair": ("c4",), "other": ("c6",)},
        gold=(gold(span(0, 50)), gold(span(110, 150)), gold(span(210, 250)), gold(span(310, 350), status="unverified"), gold(qa_id="other")),
        exam=(
            question("right", span(10, 20)), question("half", span(110, 120)), question("wrong", span(120, 130)),
            question("taught", span(210, 220), row="taught"), question("unanswered", span(215, 225)),
        ),
        answers=answers,
    )  # fmt: skip
    fates = coverage.fates(found, passages.Passages(found.chunks))
    assert ["passed", "failed", "verified", "taught", "dropped", "unasked", "verified"] == [
        fates[f"c{number}"].state for number in range(7)
    ]
    assert ({"half", "wrong"}, {"half"}) == fates["c1"].exam


def test_a_passage_of_which_nothing_is_taught_is_failed_too_and_the_map_says_why():
    found = findings.Findings(
        name="run", receipt={}, chunks=tuple(map(chunk, range(2))), gold=(gold(span(0, 50)),),
        exam=(question("a", span(10, 20)), question("b", span(110, 120), row="hand_written")),
        answers={each: {"expert": GivenAnswer(question=each, contestant="expert", text="", grade="wrong")} for each in "ab"},
    )  # fmt: skip
    listed = passages.Passages(found.chunks)
    fates = coverage.fates(found, listed)
    assert ["failed", "failed"] == [each.state for each in fates.values()]
    legend = pages.read(coverage.coverage(found, fates, listed, {})).one("ul", "legend").text
    assert (
        "failed 2the expert got half of the unseen questions about it wrong, or more; of 1 of them nothing is taught"
        in legend
    )


def test_verdict_and_map_fail_the_same_passages(run):
    """One number on one page, and the same passages in the next steps as in the map."""
    exam = list(read_jsonl(run / "exam.jsonl", ExamQuestion))
    result = reports.examined(run, exam=exam, skill={**reports.SKILL, "expert": 0.3})
    page = written(run)
    answers = list(read_jsonl(run / "exam_answers.jsonl", GivenAnswer))
    chunks = list(read_jsonl(run / "chunks.jsonl", Chunk))
    advice = recommend(result, exam=exam, answers=answers, chunks=chunks)
    failed = {chunks[int(cell.attributes["href"][2:]) - 1].id for cell in page.one("div", "map").all("a", "failed")}
    assert len(failed) > 1
    assert failed == set(advice.failed) == set(result.recommendation.failed)
    assert any(each.startswith(f"Look at the {len(failed)} passages") for each in advice.next)
    assert (
        f"{len(failed)} passages still failed (half of the unseen questions about them wrong, or more)"
        in page.one("header").text
    )
    (legend,) = [item for item in page.one("ul", "legend").all("li") if item.all("i", "failed")]
    assert legend.one("strong").text == str(len(failed))


def test_the_map_has_a_cell_for_each_passage_and_counts_them(page, whole):
    chunks = list(read_jsonl(whole / "chunks.jsonl", Chunk))
    cells = page.one("div", "map").all("a", "cell")
    assert [f"#p{number}" for number in range(1, len(chunks) + 1)] == [cell.attributes["href"] for cell in cells]
    assert len(chunks) == sum(int(item.one("strong").text) for item in page.one("ul", "legend").all("li"))
    for number, each in enumerate(chunks, 1):
        assert each.text == page.one("details", "passage", id=f"p{number}").one("div", "text").text


def test_a_question_about_two_passages_is_one_of_its_section(page, whole):
    exam = list(read_jsonl(whole / "exam.jsonl", ExamQuestion))
    places = Places(read_jsonl(whole / "chunks.jsonl", Chunk))
    for section in page.one("div", "map").all("section"):
        name, counts = section.one("h3").children
        mine = [each for each in exam if is_unseen(each) and name.text in map(places.section, places.chunks(each))]
        assert ("right" in counts.text) == bool(mine)
        if mine:
            assert f" of {len(mine)} answers right" in counts.text


def test_pairs_count_where_they_were_written(whole):
    pairs = list(read_jsonl(whole / "generated_qa_pairs.jsonl", QAPair))
    assert {pair.qa_id: pair.sources for pair in pairs} == findings.read(whole).sources


def test_every_link_leads_somewhere(page):
    anchors = {node.attributes["id"] for node in page if "id" in node.attributes}
    targets = {node.attributes["href"] for node in page.all("a")} | {
        node.attributes["href"] for node in page.all("use")
    }
    assert targets == {f"#{anchor}" for anchor in anchors if f"#{anchor}" in targets}
    assert len(anchors) == sum("id" in node.attributes for node in page)


def test_of_a_long_document_the_failed_and_the_unasked_are_listed(monkeypatch):
    monkeypatch.setattr(coverage, "MOST_TEXT", 200)
    answer = GivenAnswer(question="q", contestant="expert", text="", grade="wrong")
    found = findings.Findings(
        name="run", receipt={}, chunks=tuple(map(chunk, range(5))), gold=tuple(gold(span(s, s + 50)) for s in (0, 100, 200, 300)),
        exam=(question("q", span(210, 220)),), answers={"q": {"expert": answer}},
    )  # fmt: skip
    fates = coverage.fates(found, passages.Passages(found.chunks))
    assert ["c2", "c4"] == [each.id for each in coverage.shelf(found, fates)]


places = st.lists(st.tuples(st.integers(0, 300), st.integers(1, 80)), min_size=1, max_size=12)


@given(places, st.tuples(st.integers(0, 320), st.integers(1, 60)))
def test_passages_are_found_as_by_looking_at_each(where, at):
    chunks = [chunk(number, "x" * size, start) for number, (start, size) in enumerate(where)]
    sought = span(at[0], sum(at))
    found = passages.Passages(chunks)

    def shared(each):
        return min(each.end, sought.end) - max(each.start, sought.start)

    assert {each.id for each in chunks if shared(each) > 0} == {each.id for each in found.touching(sought)}
    assert {each.id for each in chunks if shared(each) >= at[1] / 2} == {each.id for each in found.holding(sought)}
    shown = found.showing([sought])
    if any(shared(each) == at[1] for each in chunks):
        assert [at[1]] == [shared(each) for each in shown]
    else:
        assert found.touching(sought) == sorted(shown, key=lambda each: (each.start, each.end))


@given(st.lists(st.tuples(st.integers(0, 120), st.integers(0, 60)), max_size=8))
def test_marking_changes_no_letter_of_a_passage(where):
    """Whatever the spans: they may overlap, reach over the ends, or miss the passage."""
    letters = "".join(chr(0x4E00 + number) for number in range(100))
    each = chunk(0, letters, 20)
    spans = [span(start, start + size) for start, size in where]
    node = pages.read(passages.marked(each, spans)).one("div", "text")
    assert letters == node.text
    covered = {at for each in spans for at in range(each.start, each.end)}
    assert "".join(letter for at, letter in enumerate(letters, 20) if at in covered) == "".join(
        mark.text for mark in node.all("mark")
    )


# -- text stays text -------------------------------------------------------------------------------------------------


@given(st.text())
def test_text_comes_back_as_it_was(value):
    """Also through an attribute; but for what no page may hold, which is shown by its number."""
    shown = markup.text(value)
    assert not re.search("[<>\"']", shown)
    assert re.sub("\r\n?", "\n", value) == re.sub(
        r"\[U\+([0-9A-F]{4})\]", lambda match: chr(int(match[1], 16)), re.sub("\r\n?", "\n", html.unescape(shown))
    ) or "[U+" in value  # fmt: skip
    shown.encode()


@pytest.mark.parametrize(
    ("letter", "shown"), [("\u202e", "[U+202E]"), ("\x00", "[U+0000]"), ("\ud800", "[U+D800]"), ("\n", "\n")]
)
def test_what_deceives_the_eye_is_shown_by_its_number(letter, shown):
    assert f"a{shown}b" == markup.text(f"a{letter}b")


def test_hostile_texts_make_no_element_and_no_attribute(run):
    """Every text that comes from without, everywhere it is shown."""
    clean = written(run)
    reports.poison(run)
    poisoned = written(run)

    def makes(page):
        return {(node.tag, name) for node in page for name in ("", *node.attributes)}

    assert makes(poisoned) - makes(clean) == {("h1", "class")}  # a long headline is set smaller
    assert 1 == len(poisoned.all("script")) == len(poisoned.all("style"))
    assert {"#", "d"} >= {node.attributes["href"][0] for node in poisoned if "href" in node.attributes}
    assert f"{reports.HOSTILE[1]}." == poisoned.one("h1").text
    assert f"{reports.HOSTILE[0]}: text2expert report" == poisoned.one("title").text
    for hostile in reports.HOSTILE:
        assert markup.text(hostile) in report.write(run).read_text("utf-8")


def test_the_policy_lets_only_this_style_and_this_script_act(page):
    policy = page.one("meta", **{"http-equiv": "Content-Security-Policy"}).attributes["content"]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    for name in ("style", "script"):
        digest = base64.b64encode(hashlib.sha256(page.one(name).text.encode()).digest()).decode()
        assert f"'sha256-{digest}'" == rules[f"{name}-src"]
    assert "'none'" == rules["default-src"]
    assert {"style-src", "script-src", "default-src", "img-src", "base-uri", "form-action"} == set(rules)
    assert not [node for node in page if "style" in node.attributes]


# -- what there is ---------------------------------------------------------------------------------------------------


def test_the_same_files_give_the_same_page(whole, drawn_run):
    """Byte for byte, in another process with other hashes."""
    here = report.write(whole).read_bytes()
    code = f"from text2expert import report; report.write({str(drawn_run)!r})"
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONHASHSEED": "7"})
    assert here == (drawn_run / "report.html").read_bytes()


def test_a_run_without_training_says_what_it_has(taught_only):
    page = written(taught_only)
    assert "Taught, not trained yet." == page.one("h1").text
    assert {"coverage", "questions", "receipt", "passages"} == {
        node.attributes["id"] for node in page.one("main").children
    }
    assert not page.all("form")


@pytest.mark.parametrize(
    ("missing", "gone"),
    [
        ("run.json", {"receipt"}),
        ("exam.jsonl", {"questions"}),
        ("exam_answers.jsonl", set()),
        ("chunks.jsonl", {"coverage", "passages"}),
        ("generated_qa_pairs.jsonl", set()),
        ("verdicts.jsonl", set()),
        ("golden_dataset.jsonl", set()),
        ("expert/training_log.jsonl", {"training"}),
        ("exam_result.json", {"scores", "money", "training"}),
    ],
)
def test_what_is_missing_is_left_out(run, page, missing, gone):
    (run / missing).unlink()
    left = {node.attributes["id"] for node in page.one("main").children} - gone
    assert left == {node.attributes["id"] for node in written(run).one("main").children}


def test_an_exam_of_an_older_version_is_shown(run):
    """Without answers, economics and verdict."""
    old = reports.without_extra(result_of(run))
    (run / "exam_result.json").write_text(json.dumps({name: value for name, value in to_dict(old).items() if value}))
    (run / "exam_answers.jsonl").unlink()
    page = written(run)
    assert "no verdict was drawn" in page.one("h1").text
    assert "answers themselves were not kept" in page.text
    asked = old.score("held_out", "expert")
    assert (
        f"{asked.right + old.score('new_template', 'expert').right} of"
        in table(page, "Right answers to unseen questions").text
    )


def test_an_exam_that_was_changed_afterwards_is_noticed(run):
    exam = list(read_jsonl(run / "exam.jsonl", ExamQuestion))
    write_jsonl(run / "exam.jsonl", exam[1:])
    assert "exam.jsonl was changed after the exam" in written(run).text


def test_the_exam_of_an_earlier_expert_is_not_shown(run):
    receipt = json.loads((run / "run.json").read_bytes())
    (run / "run.json").write_text(json.dumps({**receipt, "trained": False}))
    page = written(run)
    assert not page.all(id="scores")
    assert "of an earlier expert" in page.text


def test_without_matplotlib_the_page_says_what_to_install(drawn_run, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib" or name == "text2expert.plots"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.delattr(text2expert, "plots", raising=False)
    page = written(drawn_run)
    assert not page.all("svg")
    assert 4 == page.text.count('pip install "text2expert[report]"')
    with pytest.raises(MissingExtraError, match=r"text2expert\[report\]"):
        from text2expert import plots  # noqa: F401


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(RunFolderError, match="not a run folder"):
        report.write(tmp_path)
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize("content", ["{", "[1]", '{"contestants": 3}'])
def test_a_damaged_result_is_named(run, content):
    (run / "exam_result.json").write_text(content)
    with pytest.raises(RunFolderError, match=r"exam_result\.json.*again"):
        report.write(run)


@pytest.mark.parametrize(("right", "n"), [(0, 0), (5, 1), (-1, 3)])
def test_a_score_that_no_exam_can_give_is_named(run, right, n):
    result = json.loads((run / "exam_result.json").read_bytes())
    result["scores"][0].update(right=right, n=n)
    (run / "exam_result.json").write_text(json.dumps(result))
    with pytest.raises(RunFolderError, match=r"exam_result\.json.*ExamResult\.scores\[0\].*again"):
        report.write(run)
    with pytest.raises(InputError, match=rf"{right} right of {n} \(base, held_out\)"):
        ExamScore(row="held_out", contestant="base", right=right, n=n)


@pytest.mark.parametrize("documents", [5, "pumps", {"id": "pumps"}, [7], None])
def test_documents_in_another_form_are_passed_over(run, documents):
    receipt = json.loads((run / "run.json").read_bytes())
    (run / "run.json").write_text(json.dumps({**receipt, "documents": documents}))
    assert f"{run.name}: text2expert report" == written(run).one("title").text


def test_an_exam_of_nobody_is_a_page_too(run):
    rewrite(run, contestants=())
    assert "Use both." == written(run).one("h1").text


def test_a_log_of_a_training_that_diverged_is_named(run):
    with open(run / "expert" / "training_log.jsonl", "a") as file:
        file.write('{"step": 201, "loss": NaN}\n')
    with pytest.raises(RecordError, match=r"training_log\.jsonl, line 201: .*NaN"):
        report.write(run)


def test_a_plot_that_fails_is_named_and_the_page_is_whole(drawn_run, monkeypatch):
    from text2expert import plots

    def fail(*_, **__):
        raise OverflowError("too wide a scale")

    monkeypatch.setattr(plots, "loss", fail)
    page = written(drawn_run)
    assert "Not drawn: loss of each training step" in page.text
    assert "OverflowError: too wide a scale" in page.text
    assert not page.all(id="plot-loss")
    assert page.all(id="plot-accuracy")


def test_a_report_at_the_end_of_a_run_fails_nothing_else(run, capsys):
    assert report.attempt(run) == run / "report.html"
    (run / "exam_result.json").write_text("{")
    assert report.attempt(run) is None
    said = " ".join(capsys.readouterr().err.split())
    assert "report.html was not written (RunFolderError: " in said
    assert f"`text2expert report {run}` tries again" in said


def test_a_damaged_line_is_named(run):
    with open(run / "exam_answers.jsonl", "a") as file:
        file.write('{"question": 1}\n')
    with pytest.raises(RecordError, match=r"exam_answers\.jsonl, line \d+"):
        report.write(run)


def test_hundreds_of_questions_stay_small(run):
    """900 questions to 8 contestants: under 5 MB and under 6 s of a processor."""
    exam = list(read_jsonl(run / "exam.jsonl", ExamQuestion))
    many = [attrs.evolve(exam[n % len(exam)], id=f"q{n}") for n in range(900)]
    reports.examined(run, exam=many, skill={**reports.SKILL, "another": 0.5, "one more": 0.5})
    started = time.process_time()
    size = report.write(run).stat().st_size
    assert time.process_time() - started < 6
    assert size < 5_000_000


def test_colours_can_be_read():
    """WCAG 2.2 AA: 4.5 to 1 for text, in light and dark."""
    css = Path(report.__file__).with_name("page.css").read_text("utf-8")
    light, dark = (
        dict(re.findall(r"--([\w-]+): (#\w+)", block))
        for block in re.findall(r":root \{(.*?)\n\s*\}", css, re.DOTALL)[:2]
    )
    pairs = [(ink, paper) for ink in ("ink", "muted", "link", "good", "bad") for paper in ("paper", "soft")]
    pairs += [("ink", "mark"), ("ink", "taught"), ("on-strong", "passed"), ("on-strong", "failed")]
    assert set(light) == set(dark)
    for colours in (light, dark):
        low = {pair: ratio for pair in pairs if (ratio := contrast(*(colours[each] for each in pair))) < 4.5}
        assert {} == low
        assert {} == {
            name: colours[name]
            for name in colours
            if re.fullmatch(r"s\d", name) and contrast(colours[name], colours["paper"]) < 4.5
        }


def contrast(one, other):
    darker, lighter = sorted(map(luminance, (one, other)))
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour):
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
