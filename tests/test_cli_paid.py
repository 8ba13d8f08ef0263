"""The command line with a teacher and a verifier that are paid for, at servers on this machine: money, keys, interrupts."""

import contextlib
import functools
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from chat_server import Break, ChatServer
from click.testing import CliRunner
from messages_server import KEY
from paid import TEACHER_KEY, servers, spent
from scripted_models import teach

from text2expert.cli import main
from text2expert.providers import batches
from text2expert.records import GoldRecord, QAPair, Verdict, read_jsonl

SAMPLE = Path("text2expert/samples/vessel_mooring_sop.txt").resolve()
KEYS = {"MY_TEACHER_KEY": TEACHER_KEY, "MY_VERIFIER_KEY": KEY}
CLOUD = ("--preset", "cloud")


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder but for a part of the sample, with keys in variables of one's own."""
    (tmp_path / "mooring.txt").write_text(SAMPLE.read_text("utf-8")[:3000], "utf-8")
    monkeypatch.chdir(tmp_path)
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    return tmp_path


@pytest.fixture
def both():
    with servers() as pair:
        yield pair


def at(chat, messages):
    """The options that lead to these servers."""
    teacher = ("--teacher-url", chat.url, "--teacher-key-env", "MY_TEACHER_KEY")
    return (*CLOUD, *teacher, "--verifier-url", messages.url, "--verifier-key-env", "MY_VERIFIER_KEY")


def call(command, *options, code=0):
    more = ("--no-fine-tune",) if command == "run" else ()
    result = CliRunner().invoke(main, [command, "--input", "mooring.txt", *more, *options])
    assert result.exit_code == code, result.output
    assert_no_key_in(result.output)
    return result


def flat(shown):
    """Without line breaks: a plan is as wide as the terminal."""
    return " ".join(shown.split())


def refused(command, *options):
    """What a call says that ends in an error: one line, and nothing is written."""
    said = call(command, *options, code=1).stderr
    assert said.startswith("text2expert: ")
    assert len(said.splitlines()) == 1
    assert [path.name for path in Path().iterdir()] == ["mooring.txt"]
    return said


def process(*options, stdin=subprocess.DEVNULL):
    command = [sys.executable, "-m", "text2expert", *options]
    return subprocess.Popen(
        command, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONPATH": str(SAMPLE.parents[2])},
    )  # fmt: skip


def receipt(folder="expert_model_mooring"):
    return json.loads((Path(folder) / "run.json").read_text("utf-8"))


def assert_no_key_in(text):
    assert not [name for name, key in KEYS.items() if key in text]


def assert_no_key_below(folder):
    for path in Path(folder).rglob("*"):
        if path.is_file():
            assert not [name for name, key in KEYS.items() if key.encode() in path.read_bytes()], path


# What the commands do


def test_a_plan_needs_no_key_sends_nothing_and_writes_nothing(here):
    shown = flat(call("plan", *CLOUD, "--teacher-budget", "0.01").output)
    assert "api.deepseek.com, api.anthropic.com" in shown
    assert "its budget of $0.01 reaches" in shown
    assert [path.name for path in here.iterdir()] == ["mooring.txt"]


def test_a_preview_is_shown_and_not_paid_for_again(here, both):
    chat, messages = both
    shown = call("preview", *at(*both), "-n", "2").output
    assert 2 == sum(line.startswith("== ") for line in shown.splitlines())
    assert "approved" in flat(shown)
    assert "by the replies so far" in flat(shown)
    assert chat.received
    assert messages.bodies
    call("run", *at(*both))
    assert len({each.digest for each in chat.received}) == len(chat.received)
    assert len({json.dumps(body) for body in messages.bodies}) == len(messages.bodies)


def test_a_real_process_teaches_judges_and_says_no_key(here, both):
    chat, messages = both
    child = process("run", "--input", "mooring.txt", *at(*both), "--budget", "2", "--no-fine-tune")
    output, errors = child.communicate(timeout=120)
    assert child.returncode == 0, errors
    assert_no_key_in(output + errors)
    assert_no_key_below(here)
    assert {f"Bearer {TEACHER_KEY}"} == {each.headers["Authorization"] for each in chat.received}
    assert receipt()["costs"]["teacher"]["replies"] == len(chat.bill)
    assert receipt()["costs"]["verifier"]["replies"] == len(messages.bill)
    assert {"model"} == {
        each.status for each in read_jsonl(Path("expert_model_mooring/golden_dataset.jsonl"), GoldRecord)
    }


def test_every_setting_reaches_its_step(here, both):
    options = ["--budget", "2", "--teacher-budget", "1.5", "--verifier-budget", "0.75", "--sample", "0.5"]
    call("run", *at(*both), *options, "--questions-per-chunk", "3", "--seed", "7", "--out", "elsewhere")
    settings = receipt("elsewhere")["settings"]
    assert (2, 3, 7) == (settings["budget"], settings["questions_per_chunk"], settings["seed"])
    assert (1.5, "deepseek/deepseek-flash") == (settings["teacher"]["budget"], settings["teacher"]["llm"]["name"])
    verifier = settings["verifier"]
    assert (0.75, 0.5, 7) == (verifier["budget"], verifier["sample"], verifier["seed"])
    assert "anthropic/claude-sonnet-5-5" == verifier["llm"]["name"]
    assert "Write 3 question" in both[0].received[0].body["messages"][-1]["content"]


def test_a_budget_ends_the_teaching_and_not_the_run(here, both):
    call("run", *at(*both), "--teacher-budget", "0.014")
    assert 0 < spent("expert_model_mooring")["teacher"].total <= 0.014
    assert receipt()["teaching"]["lessons"]["beyond_budget"] > 0


def test_unjudged_pairs_are_taken_where_that_is_wanted(here, both):
    call("run", *at(*both), "--sample", "0.5", "--include-unverified")
    gold = read_jsonl(Path("expert_model_mooring/golden_dataset.jsonl"), GoldRecord)
    assert {"model", "unverified"} == {record.status for record in gold}


@pytest.mark.parametrize(("verifier", "status"), [("none", "unverified"), ("offline", "evidence")])
def test_a_server_of_ones_own_needs_no_key_and_no_paid_verifier(here, verifier, status):
    with ChatServer(teach, models={"my-model"}, flavour="openai") as chat:
        call("run", "--teacher", f"{chat.url}/v1#my-model", "--verifier", verifier)
        assert chat.bill
    gold = list(read_jsonl(Path("expert_model_mooring/golden_dataset.jsonl"), GoldRecord))
    assert {status} == {record.status for record in gold}
    verdicts = list(read_jsonl(Path("expert_model_mooring/verdicts.jsonl"), Verdict))
    assert (verifier == "offline") == bool(verdicts)
    assert "0" == receipt()["cost_usd"]


def test_a_model_of_ones_own_and_its_address_may_be_two_options(here):
    with ChatServer(teach, models={"my-model"}, flavour="openai") as chat:
        call("run", "--teacher", "my-model", "--teacher-url", f"{chat.url}/v1")
        assert chat.bill
    assert {"my-model"} == {
        pair.model for pair in read_jsonl(Path("expert_model_mooring/generated_qa_pairs.jsonl"), QAPair)
    }


def test_a_price_that_is_not_known_can_be_given(here):
    with ChatServer(teach, models={"my-model"}, flavour="openai") as chat:
        server = ("--teacher", "my-model", "--teacher-url", f"{chat.url}/v1")
        assert "cost $0.00 " in flat(call("plan", *server).output)
        assert "cost $0.00 " not in flat(call("plan", *server, "--teacher-price", "3, 15").output)
        call("run", *server, "--teacher-price", "3, 15", "--teacher-budget", "5")
        tokens = [billed.usage for billed in chat.bill]
    dollars = sum(3 * each["prompt_tokens"] + 15 * each["completion_tokens"] for each in tokens) / 1e6
    assert dollars == pytest.approx(float(receipt()["cost_usd"]))


def test_a_model_may_judge_what_the_rules_asked(here, both):
    chat, messages = both
    verifier = ("--verifier", "anthropic/claude-haiku-5-5", "--verifier-url", messages.url)
    call("run", *verifier, "--verifier-key-env", "MY_VERIFIER_KEY")
    assert not chat.received
    assert {"claude-haiku-5-5"} == {body["model"] for body in messages.bodies}


def test_batches_are_for_the_models_that_have_them(here, both, monkeypatch):
    """The verifier's calls go in batches, DeepSeek's one by one."""
    monkeypatch.setattr(batches, "Pace", functools.partial(batches.Pace, quiet_s=0.1, poll_s=0.05, find_s=1.0))
    chat, messages = both
    call("run", *at(*both), "--batch")
    assert chat.bill
    assert messages.batches
    assert messages.bill
    assert all("custom_id" in billed for billed in messages.bill)


def test_a_preview_does_not_wait_for_a_batch_and_plans_with_them(here, both):
    _, messages = both
    single = call("preview", *at(*both), "-n", "1").output
    batched = call("preview", *at(*both), "-n", "1", "--batch").output
    assert not messages.batches
    assert len({json.dumps(body) for body in messages.bodies}) == len(messages.bodies)

    def dollars(shown):
        (low,) = re.findall(r"calls of anthropic/\S+ [^$]* out: \$([\d.]+\d)", flat(shown))
        return float(low)

    assert dollars(batched) == pytest.approx(dollars(single) / 2, abs=0.011)
    assert dollars(batched) < dollars(single)


# What is refused, before anything is sent or written


@pytest.mark.parametrize("command", ["preview", "run"])
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (CLOUD, ["teacher", "DEEPSEEK_API_KEY", "--teacher-key-env"]),
        (("--teacher", "anthropic/claude-haiku-5-5"), ["teacher", "ANTHROPIC_API_KEY"]),
        (("--verifier", "openai/some", "--verifier-price", "1,2"), ["verifier", "OPENAI_API_KEY", "--verifier-key-env"]),
        ((*CLOUD, "--teacher-url", "https://models.example/v1"), ["models.example", "command line: --teacher-key-env"]),
        ((*CLOUD, "--teacher-key-env", "NOT_SET"), ["--teacher-key-env", "NOT_SET is not set; export it"]),
    ],
)  # fmt: skip
def test_a_missing_key_names_its_variable(here, command, options, expected):
    said = refused(command, *options)
    assert [word for word in expected if word not in said] == []


def test_a_second_key_is_missed_before_the_first_is_used(here, both, monkeypatch):
    chat, _ = both
    said = refused("run", *CLOUD, "--teacher-url", chat.url, "--teacher-key-env", "MY_TEACHER_KEY")
    assert "verifier: no key for api.anthropic.com: set ANTHROPIC_API_KEY" in said
    assert not chat.received


def test_a_key_of_the_environment_goes_to_its_provider_alone(here, both, monkeypatch):
    """A server on this machine may need none, and is not told one."""
    chat, _ = both
    monkeypatch.setenv("DEEPSEEK_API_KEY", TEACHER_KEY)
    call("run", *CLOUD, "--teacher-url", chat.url, "--verifier", "offline", code=1)
    assert chat.received
    assert not [each for each in chat.received if "Authorization" in each.headers]


def test_what_is_finished_needs_no_key_any_more(here, both, monkeypatch):
    call("run", *at(*both), "--out", "run")
    before = [len(server) for server in (both[0].received, both[1].seen)]
    for name in KEYS:
        monkeypatch.setenv(name, "sk-another-one")
    call("run", *at(*both), "--out", "run")
    assert before == [len(server) for server in (both[0].received, both[1].seen)]


@pytest.mark.parametrize("command", ["plan", "preview", "run"])
@pytest.mark.parametrize(
    ("option", "name", "successor"),
    [
        ("--teacher", "deepseek/deepseek-reasoner", "deepseek-flash"),
        ("--verifier", "anthropic/claude-3-5-sonnet-20241022", "claude-sonnet-5-5"),
    ],
)
def test_a_retired_name_names_its_successor(here, command, option, name, successor):
    said = refused(command, option, name)
    assert "was retired" in said
    assert successor in said.split("was retired")[1]


@pytest.mark.parametrize("command", ["plan", "preview", "run"])
@pytest.mark.parametrize("option", ["--budget", "--teacher-budget", "--verifier-budget", "--sample"])
@pytest.mark.parametrize("value", ["nan", "-0.5", "inf"])
def test_a_number_that_is_none_is_refused_by_name(here, command, option, value):
    said = refused(command, *CLOUD, option, value)
    assert f"{option} {value}" in said


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--teacher-url", "http://localhost:1/v1"), "--teacher-url is for a teacher that is a model"),
        (("--teacher-key-env", "MY_TEACHER_KEY"), "--teacher-key-env is for a teacher"),
        (("--teacher-budget", "1"), "--teacher-budget is for a teacher"),
        ((*CLOUD, "--teacher", "offline", "--teacher-budget", "1"), "here it is 'offline'"),
        (("--verifier-url", "http://localhost:1/v1"), "--verifier-url is for a verifier that is a model"),
        (("--verifier-key-env", "MY_VERIFIER_KEY"), "--verifier-key-env is for a verifier"),
        (("--verifier-budget", "1"), "--verifier-budget is for a verifier"),
        (("--sample", "0.5"), "--sample is for a verifier"),
        ((*CLOUD, "--verifier", "none", "--sample", "0.5"), "here it is 'none'"),
        (("--batch",), "--batch is for Anthropic's models"),
        ((*CLOUD, "--verifier", "deepseek/deepseek-flash", "--batch"), "the verifier deepseek/deepseek-flash"),
        (("--teacher", "none"), "--teacher none"),
        (("--teacher", ""), "name a model"),
        (("--teacher", "claude-haiku-5-5"), "did you mean 'anthropic/claude-haiku-5-5'?"),
        (("--teacher", "my-model", "--teacher-url", "https://models.example/v1"), "command line: --teacher-price"),
        (("--teacher", "openai/some", "--teacher-price", "1"), "--teacher-price '1': give two prices"),
        (("--teacher", "openai/some", "--teacher-price", "1,nan"), "price 'nan'"),
        (("--teacher-price", "1,2"), "--teacher-price is for a teacher"),
        ((*CLOUD, "--teacher-url", "models.example"), "base_url is not the address of a server"),
    ],
)  # fmt: skip
def test_a_flag_that_means_nothing_here_is_refused(here, options, expected):
    assert expected in refused("run", *options)


@pytest.mark.parametrize(
    "options", [CLOUD, ("--teacher-budget", "1"), ("--budget", "1"), ("--chunk-size", "800"), ("--batch",)]
)
def test_a_golden_dataset_is_trained_on_without_teaching(here, options):
    result = CliRunner().invoke(main, ["run", "--gold", "gold.jsonl", *options])
    assert 1 == result.exit_code
    assert f"leave out {options[0]}, or --gold" in result.stderr


# Keys


@pytest.mark.parametrize("option", ["--teacher-key-env", "--verifier-key-env"])
@pytest.mark.parametrize("key", [TEACHER_KEY, KEY, "0123456789abcdef"])
def test_a_key_given_for_the_name_of_a_variable_is_not_shown(here, option, key):
    said = refused("run", *CLOUD, option, key)
    assert option in said
    assert key not in said


@pytest.mark.parametrize(
    "address", [f"https://me:{TEACHER_KEY}@models.example", f"https://models.example?key={TEACHER_KEY}"]
)
def test_a_key_in_an_address_is_refused_and_not_shown(here, address):
    refused("run", *CLOUD, "--teacher-url", address)
    refused("run", "--teacher", f"{address}#my-model")


def test_a_key_that_is_not_accepted_is_not_shown(here, both, monkeypatch):
    """Though the server repeats it. The run says so, and what to do, at once."""
    monkeypatch.setenv("MY_TEACHER_KEY", KEY)
    said = call("run", *at(*both), code=1).stderr
    assert "did not accept the key" in said
    assert "--teacher-key-env" in said
    assert_no_key_below(here)
    child = process("run", "--input", "mooring.txt", *at(*both), "--no-fine-tune")
    output, errors = child.communicate(timeout=120)
    assert 1 == child.returncode
    assert_no_key_in(output + errors)


# On a terminal


def on_a_terminal(answer, *options):
    """Exit code and output of a run whose standard input is a terminal, where *answer* is typed."""
    mine, its = pty.openpty()
    try:
        child = process("run", "--input", "mooring.txt", "--no-fine-tune", *options, stdin=its)
        os.write(mine, answer)
        output, errors = child.communicate(timeout=120)
    finally:
        os.close(mine)
        os.close(its)
    return child.returncode, flat(output + errors)


def test_it_asks_before_it_spends(here, both):
    chat, messages = both
    code, said = on_a_terminal(b"n\n", *at(*both), "--budget", "0.5")
    assert 1 == code
    assert "deepseek/deepseek-flash" in said
    assert "training pairs" in said
    assert "Start, for at most $0." in said
    assert not chat.received
    assert not messages.seen
    assert ["mooring.txt"] == [path.name for path in here.iterdir()]
    code, said = on_a_terminal(b"y\n", *at(*both), "--budget", "0.5")
    assert 0 == code, said
    assert chat.bill


def test_it_does_not_ask_where_yes_was_said(here, both):
    code, said = on_a_terminal(b"", *at(*both), "--yes")
    assert 0 == code, said
    assert "Start" not in said
    assert both[0].bill


def test_it_does_not_ask_where_nothing_is_paid(here):
    code, said = on_a_terminal(b"")
    assert 0 == code, said
    assert "Start" not in said


# Stopped


def test_stopped_by_ctrl_c_the_same_command_goes_on(here):
    """What was answered is not asked again; what was under way is booked as perhaps billed."""
    stuck = True

    def slowly(body, nth):
        return Break("hang") if stuck and len(chat.received) > 3 else teach(body)

    with contextlib.ExitStack() as stack:
        chat, messages = stack.enter_context(servers(slowly))
        options = ("--input", "mooring.txt", *at(chat, messages), "--no-fine-tune")
        child = process("run", *options)
        until = time.monotonic() + 60
        while len(chat.received) < 6 or not messages.bill:
            assert child.poll() is None, child.communicate()
            assert time.monotonic() < until
            time.sleep(0.02)
        child.send_signal(signal.SIGINT)
        _, errors = child.communicate(timeout=60)
        assert 130 == child.returncode
        assert "stopped; the same command again goes on" in errors
        assert "Traceback" not in errors
        stopped, sent = spent("expert_model_mooring")["teacher"], len(chat.received)
        assert 0 < stopped.replies <= 3
        assert stopped.calls >= sent
        assert stopped.lost > 0
        assert not Path("expert_model_mooring/run.json").exists()
        stuck = False
        call("run", *options[2:-1])
        assert receipt()["costs"]["teacher"]["replies"] == len({each.digest for each in chat.received})
        again = len(chat.received) - len({each.digest for each in chat.received})
        assert sent - stopped.replies == again


# Help


@pytest.mark.parametrize("command", ["plan", "preview", "run"])
def test_the_help_page_has_headings_and_fits_100_columns(command):
    shown = CliRunner().invoke(main, [command, "--help"], terminal_width=100).output
    headings = [line for line in shown.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert [
        "Text:", "Teaching and verifying:", "Money:", "Servers and keys of your own:", "Training:", "Exam:",
        "Options:",
    ] == headings  # fmt: skip
    assert max(map(len, shown.splitlines())) <= 100
    money = shown.split("Money:")[1].split("\n\n")[0]
    assert ["--budget", "--teacher-budget", "--verifier-budget", "--batch"] == [
        word for word in money.split() if word.startswith("--")
    ]
