"""A run's exam in a terminal and a notebook: the table, the verdict, and the commands that show and ask."""

import re
import shutil
import textwrap
import types

import attrs
import pytest
from chat_server import ChatServer
from click.testing import CliRunner

from text2expert import Chunker, Run, exam_commands
from text2expert.cli import main
from text2expert.errors import InputError
from text2expert.examiner import summary, table, verdict
from text2expert.examiner.results import (
    NO_PRICE,
    ContestantCost,
    Dropped,
    Economics,
    ExamResult,
    ExamScore,
    JudgeReport,
    Probe,
    Recommendation,
)
from text2expert.records import ROW_TITLES, Answer, Document, write_jsonl
from text2expert.support import Passages


@pytest.fixture
def run(finished, tmp_path):
    """A finished run that a test may change."""
    shutil.copytree(finished.folder, tmp_path / "run")
    return Run.load(tmp_path / "run")


def crowded():
    names = ("base", "expert", "base + RAG", "base + right passage", "expert + RAG", "lookup", "RAG, no model")
    scores = [ExamScore(row=row, contestant=name, right=71, n=100) for name in names for row in ROW_TITLES]
    return ExamResult(
        exam_sha256="", contestants=names, scores=tuple(scores), share_taught=0.5,
        dropped=(Dropped(reason="jaccard", n=3), Dropped(reason="same_text", n=1)),
        economics=Economics(
            costs=(
                ContestantCost(
                    contestant="expert", seconds_p50=0.4, seconds_p95=1.25, tokens_in=31, tokens_out=9, usd_per_1000=0.05
                ),
                ContestantCost(contestant="base + right passage", seconds_p50=1.4, usd_per_1000=0.21),
            ),
            making_usd=2.5, against="base + RAG", break_even=15_625.2,
        ),
        judge=JudgeReport(
            model="claude", judged=700, agree=690, judge_right_only=7, judge_wrong_only=3,
            probes=(Probe(name="gold", passed=12, asked=12), Probe(name="one_digit", passed=11, asked=12)),
        ),
        recommendation=Recommendation(
            use="expert", headline="Use the expert.", because=tuple(f"Because {n}." for n in range(5)), next=("Go on.",)
        ),
    )  # fmt: skip


def test_seven_contestants_fit_into_a_hundred_columns():
    shown = table(crowded())
    assert max(len(line) for line in shown.splitlines()) <= 100
    head = " ".join(shown.split("---")[0].split())
    assert all(word in head for word in ("base", "expert", "RAG", "lookup", "passage"))
    (row,) = [line for line in shown.splitlines() if line.startswith("facts never asked")]
    # Newcombe's method 3, as above: 71 of 100 is 61.5 to 79.0.
    assert row.split()[3:] == ["71", "±10"] * 7 + ["100"]
    assert "4 questions (3 for nearly the same words, 1 for the same words)" in " ".join(shown.split())


def test_the_verdict_is_a_few_lines():
    shown = verdict(crowded())
    assert shown.startswith("Verdict: Use the expert.\n- Because 0.")
    assert "- and 3 more in report.html" in shown
    assert max(len(line) for line in shown.splitlines()) <= 100
    said = " ".join(shown.split())
    assert "expert 0.40 1.25 31 9 0.0500" in said
    assert "Making the expert cost $2.50. Against base + RAG it has paid for itself after 15,626 questions." in said
    assert "agrees with the grades on 690 of 700 answers" in said
    assert "right answers 12 of 12, changed digits 11 of 12" in said


def test_a_long_verdict_is_cut_in_a_terminal():
    """Two reasons and two steps, of two lines each; the report has all."""
    long = tuple(f"{n} " + "word " * 80 for n in range(4))
    said = Recommendation(use="rag", headline="Use RAG.", because=long, next=long)
    lines = verdict(
        ExamResult(exam_sha256="", contestants=(), scores=(), share_taught=None, recommendation=said)
    ).split("\n")
    assert max(map(len, lines)) <= 100
    points = ["- 0", "  w", "- 1", "  w", "- a"]
    assert ["Ver", *points, "Wha", *points] == [line[:3] for line in lines]
    assert lines[2].endswith("word …")


def test_a_sum_of_nothing_is_not_shown_as_a_fact_where_time_has_no_price():
    note = f"Making the expert is counted as what was paid, $0.00: there is {NO_PRICE}."
    money = Economics(making_usd=0.0, notes=(note,))
    shown = verdict(ExamResult(exam_sha256="", contestants=(), scores=(), share_taught=None, economics=money))
    assert note == " ".join(shown.split())


def test_a_notebook_shows_table_verdict_and_costs_and_trusts_no_text():
    """Whoever was not asked a row has an empty cell, so that none slips under another name."""
    result = attrs.evolve(
        crowded(), notes=("<script>",),
        scores=tuple(each for each in crowded().scores if (each.row, each.contestant) != ("general", "base + RAG")),
        recommendation=Recommendation(use="rag", headline="<i>No</i>", because=("<b>",)),
    )  # fmt: skip
    html = result._repr_html_()
    general = html.split(">general knowledge</th>")[1].split("</tr>")[0]
    assert general.count("<td") == 8
    assert general.split(">–</td>")[0].count("71\u00a0%") == 2
    assert "&lt;i&gt;No&lt;/i&gt;" in html
    assert "0.2100" in html
    assert not {tag for tag in ("<i>", "<b><", "<script>") if tag in html}


def call(*arguments, code=0, **more):
    result = CliRunner().invoke(main, [str(each) for each in arguments], **more)
    assert result.exit_code == code, result.output
    return result


def test_the_commands_show_a_run(run):
    shown = call("exam", run.folder).output
    assert "held-out wordings" in shown
    assert "Verdict: " in shown
    assert str(run.folder / "report.html") in shown
    (run.folder / "report.html").unlink()
    assert call("report", run.folder).output.strip() == str(run.folder / "report.html")
    assert (run.folder / "report.html").is_file()


def test_exam_takes_ones_own_questions(run, tmp_path):
    (tmp_path / "mine.jsonl").write_text('{"question": "How hot may oil become?", "answer": "80 °C"}\n')
    assert "hand-written exam" in call("exam", run.folder, "--exam", tmp_path / "mine.jsonl").output
    said = call("exam", run.folder, "--judge", "openai/no-such-model", code=1).stderr
    assert said.startswith("text2expert: ")


def answering(body, _nth):
    """Models of a server: one answers, one judges, one judges badly."""
    asked = body["messages"][-1]["content"]
    if "answer_to_grade" not in asked:
        return "80 °C"
    return "Nice." if body["model"] == "chatty" else '{"reason": "as I like", "grade": "CORRECT"}'


@pytest.fixture
def server():
    with ChatServer(answering, models={"small", "judge", "chatty"}, flavour="openai") as server:
        yield server


def test_models_of_a_server_answer_and_judge_under_short_names(run, server):
    """What stands before the # is the same for all of them, and too long for a column."""
    small = f"{server.url}#small"
    models = ("--contestant", small, "--rag", small, "--judge", f"{server.url}#judge")
    shown = call("exam", run.folder, *models, "--price", f"{small}=1000,1000").output
    assert max(map(len, shown.split("s p50")[0].splitlines())) <= 100
    grid = shown.split("---")[0].split("\n\n")[1]
    assert " small" in grid
    assert "http" not in grid
    assert "#judge, agrees with the grades on" in shown
    found = Run.load(run.folder).exam
    costs = {cost.contestant: cost.usd_per_1000 for cost in found.economics.costs}
    assert 10 < costs[small] < costs[f"{small} + RAG"]
    assert found.judge.usd == 0  # the price was the other model's
    # Nothing that is stored is asked again; the judge of before is still told of.
    asked = len(server.received)
    assert "#judge, agrees with the grades on" in call("exam", run.folder, "--contestant", small).output
    assert asked == len(server.received)


def test_a_model_that_gives_nothing_is_loud_and_the_rest_is_kept(run, server):
    result = call("exam", run.folder, "--contestant", f"{server.url}#gone", "--judge", f"{server.url}#chatty", code=1)
    said = result.stderr
    assert "#gone failed at 10 questions and is left out" in said
    assert "#chatty did not judge (" in said
    assert f"text2expert: {server.url}#gone, the judge {server.url}#chatty gave nothing (see above)" in said
    assert "Verdict: " in result.stdout
    assert "0 of 0" not in result.stdout
    assert len(server.received) < 60
    assert Run.load(run.folder).exam.judge is None


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ([], "on the command line: --price [MODEL=]IN,OUT"),
        (["--price", "1"], "--price '1': give two prices"),
        (["--price", "a,b"], "--price 'a,b': price 'a'"),
        (["--price", "other=1,2"], "--price other=1,2: no such model is named; named are http://gpu.example/v1#big"),
        (["--judge", "http://localhost:1/v1#x", "--price", "1,2"], "--price 1,2: say of which model"),
        (["--price", "0,0"], "on the command line: --key-env [MODEL=]VARIABLE"),
        (["--price", "0,0", "--key-env", "sk-123=="], "--key-env: no such model is named"),
        (["--price", "0,0", "--key-env", "NO_SUCH_KEY"], "--key-env: the environment variable NO_SUCH_KEY is not set"),
    ],
)
def test_price_and_key_of_a_model_are_asked_for_by_the_commands_own_flags(run, given, reason):
    said = call("exam", run.folder, "--contestant", "http://gpu.example/v1#big", *given, code=1).stderr
    assert reason in said
    assert "--teacher" not in said
    assert "sk-123" not in said


@pytest.mark.parametrize("hour", ["-1", "nan", "inf", "1e300"])
def test_what_an_hour_cannot_cost_is_told_with_its_flag(run, hour):
    said = call("exam", run.folder, "--usd-per-hour", hour, code=1).stderr
    assert f"usd_per_hour={float(hour)!r}: must be US dollars an hour from 0 to 10,000" in said
    assert "on the command line: --usd-per-hour USD" in said


def test_the_hour_of_a_processor_prices_everybody_who_answered_on_it(run):
    shown = call("exam", run.folder, "--usd-per-hour", "0.4").output
    costs = {each.contestant: each.usd_per_1000 for each in Run.load(run.folder).exam.economics.costs}
    assert None not in costs.values()
    assert "not measured" not in shown
    assert "The expert never pays for itself against" in shown or "it has paid for itself after" in shown
    # The price is remembered.
    assert "$ per 1,000" in call("exam", run.folder, "--updates-per-year", "1").output
    assert None not in {each.usd_per_1000 for each in Run.load(run.folder).exam.economics.costs}


def test_a_run_that_was_moved_names_its_files_where_they_are(run, tmp_path):
    moved = tmp_path / "moved to here"
    shutil.move(run.folder, moved)
    shown = str(Run.load(moved))
    assert f"Every question, answer and plot: {moved / 'report.html'}" in shown
    assert f"Next: text2expert ask '{moved}'" in shown
    assert str(run.folder) not in shown


def test_the_verdict_is_first_and_last():
    shown = summary(crowded(), 80).splitlines()
    assert shown[0] == "Verdict: Use the expert."
    assert shown[-1] == "In short: Use the expert."
    assert max(map(len, shown)) <= 80
    assert [line for line in shown if line.startswith("taught wordings")][1].endswith(
        "100"
    )  # what does not fit goes below


def test_a_result_prints_itself_as_a_table():
    shown = str(crowded())
    assert repr(crowded()) == shown
    assert shown.startswith("Use the expert.\n")
    assert "taught wordings" in shown
    assert len(shown) < 2500


@pytest.mark.parametrize(
    ("row", "contestant", "reason"),
    [
        ("taugt", "base", "row='taugt': this exam has no such row; it has 'taught', 'held_out'"),
        ("taught", "expart", "contestant='expart': this exam has no such contestant; it has 'base', 'expert'"),
    ],
)
def test_a_cell_that_cannot_be_is_named(row, contestant, reason):
    with pytest.raises(InputError, match=reason):
        crowded().score(row, contestant)
    assert crowded().score("taught", "base").right == 71


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        (["http://a/v1#m", "https://a/v1#x + RAG", "mine"], ["m", "x + RAG", "mine"]),
        (["http://a/v1#m", "http://b/v1#m"], ["http://a/v1#m", "http://b/v1#m"]),
        (["m", "http://b/v1#m"], ["m", "http://b/v1#m"]),
        (["http://b/v1#expert", "http://b/v1#lookup"], ["http://b/v1#expert", "http://b/v1#lookup"]),
        (["a\x1b[2J" + "b" * 99, "b" * 99], ["a[U+001B][2J" + "b" * 12 + "…" + "b" * 11, "b" * 24 + "…" + "b" * 11]),
        (["http://b/v1#", "http://b/v1# + RAG", "C#"], ["http://b/v1#", "http://b/v1# + RAG", "C#"]),
    ],
)
def test_names_in_a_table_are_short_and_different(names, shown):
    result = ExamResult(exam_sha256="", contestants=tuple(names), scores=(), share_taught=None)
    assert result.short_names == dict(zip(names, shown, strict=True))


def test_ask_says_how_sure_it_is_and_keeps_the_answer_apart(finished):
    result = call("ask", finished.folder, "How often are the bearings greased?")
    assert len(result.stdout.splitlines()) == 1
    assert re.match(r"  \(confidence 0\.\d\d; ", result.stderr)
    assert "% sure" not in result.stderr
    withheld = call("ask", finished.folder, "--min-confidence", "1", input="How often are the bearings greased?\n")
    assert result.stdout != withheld.stdout
    assert "withheld: " in withheld.stderr


def test_an_answer_is_shown_with_the_sentences_that_hold_it_up_and_verbose_with_whole_passages(tmp_path, capsys):
    text = "The winch is oiled on Mondays by the mate.\n\nThe pump stops when the water falls to 20 cm. It starts again at 45 cm."
    chunks = Chunker(size=400, overlap=0).split(Document.from_text(text, id="yard"))
    write_jsonl(tmp_path / "chunks.jsonl", chunks)
    found = Passages(tmp_path / "chunks.jsonl").support("When does the pump stop?", "at 20 cm")
    answer = Answer(
        text="at 20 cm", confidence=0.834, seconds=0.5, as_sure=(14, 20),
        sources=found.sources, supported=found.supported, evidence=found.evidence,
    )  # fmt: skip
    expert = types.SimpleNamespace(passages=lambda _: chunks)
    exam_commands.say(expert, answer, whole=False)
    out, err = capsys.readouterr()
    assert "at 20 cm\n" == out
    assert err.splitlines() == [
        "  (confidence 0.83; of the exam's answers about as sure, 14 of 20 were right; 0.50 s)",
        "  chunk_000001, yard:",
        "    The pump stops when the water falls to 20 cm.",
    ]
    exam_commands.say(expert, answer, whole=True)
    assert textwrap.indent(text, "    ") in capsys.readouterr().err


def test_the_flags_name_an_exams_models(pumps):
    shown = " ".join(call("plan", pumps, "--judge", "anthropic/claude-haiku-5-5").output.split())
    assert "judge" in shown
    assert "api.anthropic.com" in shown
    cloud = ("plan", pumps, "--preset", "cloud", "--base", "none")
    assert "exam writer" in call(*cloud).output
    assert "exam writer" not in call(*cloud, "--exam-writer", "none").output
    assert "--judge: " in call("plan", pumps, "--judge", "nobody/knows-it", code=1).stderr


def test_price_and_key_of_a_runs_judge_have_flags_of_their_own(pumps, tmp_path):
    plan = ("plan", pumps, "--judge", "http://gpu.example/v1#big")
    said = call(*plan, code=1).stderr
    assert said.endswith("; on the command line: --judge-price\n")
    assert "gpu.example" in call(*plan, "--judge-price", "1,2").output
    run = ("run", *plan[1:], "--judge-price", "1,2", "--out", tmp_path / "run")
    assert call(*run, code=1).stderr.endswith("; on the command line: --judge-key-env\n")
    said = call("plan", pumps, "--exam-writer-price", "1,2", code=1).stderr
    assert "--exam-writer-price is for a model that --exam-writer names" in said
