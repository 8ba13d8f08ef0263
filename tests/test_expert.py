"""Expert: load, ask, close; a model behind a child process."""

import asyncio
import gc
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from batched import until
from experts import FACTS, REASONED, REASONING

from text2expert.errors import InputError, MissingExtraError, RunFolderError, RunnerError
from text2expert.expert import Expert
from text2expert.records import Answer, GoldRecord
from text2expert.runners import local
from text2expert.trainer import Trainer


@pytest.fixture(scope="module")
def folder(taught):
    """A run folder with an expert of three facts."""
    return taught


@pytest.fixture(scope="module")
def expert(folder):
    """The expert with a child process that has answered once."""
    with Expert.load(folder) as expert:
        expert.ask("Are you there?")
        yield expert


def test_it_answers_what_it_was_taught(expert):
    """One question, one answer; the text is the answer's string."""
    answer = expert.ask("Who opens the gate?")
    assert (answer.text, str(answer)) == ("the mate", "the mate")
    assert 0.5 < answer.confidence <= 1
    assert answer.seconds > 0


def test_the_reasoning_that_it_was_taught_stands_apart_from_the_answer(expert):
    """Only where there was one to teach."""
    answers = expert.ask_many(list(FACTS))
    assert [answer.reasoning for answer in answers] == [REASONING * (question == REASONED) for question in FACTS]


def test_many_questions_are_answered_in_their_order(expert):
    """Duplicates and surrounding space included; none is an empty list."""
    questions = [*FACTS, *FACTS, " Who opens the gate?\n"]
    assert [answer.text for answer in expert.ask_many(questions)] == [*FACTS.values(), *FACTS.values(), "the mate"]
    assert expert.ask_many([]) == []


def test_it_answers_inside_a_running_loop(expert):
    """The async form, several at once, on a loop that did not start the child; and the blocking one as in Jupyter."""

    async def main():
        several = asyncio.gather(*map(expert.aask, FACTS))
        many = await expert.aask_many(list(FACTS))
        return [answer.text for answer in [*await several, *many, expert.ask("What is the limit?")]]

    assert asyncio.run(main()) == [*FACTS.values(), *FACTS.values(), "25 knots"]


def test_a_cancelled_question_does_not_disturb_the_next(expert):
    """Its answer comes and nobody waits for it."""

    async def main():
        task = asyncio.create_task(expert.aask("Who opens the gate?"))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return await expert.aask("What is the limit?")

    assert asyncio.run(main()).text == "25 knots"


def test_the_next_question_needs_no_loading(expert):
    """Well under a second, where loading takes several."""
    times = []
    for _ in range(3):
        start = time.perf_counter()
        expert.ask("When does the pump stop?")
        times.append(time.perf_counter() - start)
    assert min(times) < 0.5


@pytest.mark.parametrize("question", ["", "  \n", None, 3])
def test_an_empty_question_is_refused(expert, question):
    """Whatever is no question is not sent; a string is not a list of questions either."""
    with pytest.raises(InputError, match="a question must be a text that is not empty"):
        expert.ask(question)
    with pytest.raises(InputError, match="for a single one there is ask"):
        expert.ask_many("Who?")


def test_questions_in_any_script_arrive(expert):
    """Line breaks, quotes and emoji travel as JSON."""
    assert isinstance(expert.ask('Wer öffnet\n"das Tor" 🚪\u2028?'), Answer)


def test_a_moved_run_folder_answers_as_before(folder, tmp_path):
    """The recorded base is gone; the one beside the expert is found, from the expert's own folder too."""
    moved = tmp_path / "a new place"
    shutil.copytree(folder, moved)
    config = moved / "expert" / "adapter_config.json"
    values = json.loads(config.read_bytes())
    config.write_text(json.dumps({**values, "base_model_name_or_path": str(tmp_path / "gone")}))
    expert = Expert.load(moved / "expert")
    assert expert.base == str(moved / "base")
    with expert:
        assert [answer.text for answer in expert.ask_many(list(FACTS))] == list(FACTS.values())


@pytest.fixture(scope="module")
def another(folder):
    """A run on other texts, and so with another base."""
    gold = [GoldRecord(instruction=f"{question} Now?", output="no", item=question) for question in FACTS]
    Trainer(max_steps=2, runner=local.Local(threads=1)).train(gold, folder=folder.parent / "another")
    return folder.parent / "another"


def place(folder, target, *, base):
    """A copy of a run folder, made as if it had been trained with its base in *base*."""
    shutil.copytree(folder, target)
    config = target / "expert" / "adapter_config.json"
    config.write_text(json.dumps({**json.loads(config.read_bytes()), "base_model_name_or_path": str(base)}))
    return target


def test_a_moved_expert_does_not_take_the_base_of_the_run_in_its_old_place(folder, another, tmp_path):
    """A run is moved away and the next one trained where it was; each answers with its own base."""
    moved = place(folder, tmp_path / "v1", base=another / "base")
    expert = Expert.load(moved)
    assert expert.base == str(moved / "base")
    shutil.rmtree(moved / "base")
    with pytest.raises(RunFolderError, match=f"was trained on another base than the one in {another}/base "):
        Expert.load(moved)


def test_a_base_that_was_replaced_is_refused(folder, another, tmp_path):
    """Not answered with: the original in the recorded place is used while it is there."""
    copy = place(folder, tmp_path / "run", base=folder / "base")
    shutil.copytree(another / "base", copy / "base", dirs_exist_ok=True)
    assert Expert.load(copy).base == str(folder / "base")
    copy = place(copy, tmp_path / "v1", base=copy / "base")
    with pytest.raises(RunFolderError, match=f"in {copy}/base or {tmp_path}/run/base .* or train again"):
        Expert.load(copy)


def test_a_question_that_utf8_cannot_write_is_named_and_disturbs_no_other(expert):
    """Bytes of another encoding become lone surrogates in a command's arguments."""
    process = expert._child._process
    waiting = expert._send(["Who opens the gate?"])
    with pytest.raises(
        InputError, match=r"question 2 of 2 is not a text that UTF-8 can write: character 3 of 'Ge\\udcfc"
    ):
        expert.ask_many(["What is the limit?", os.fsdecode(b"Ge\xfcbt?")])
    assert [future.result().text for future in waiting] == ["the mate"]
    assert expert._child._process is process


def test_a_question_longer_than_the_window_is_refused_and_the_others_are_answered(expert):
    """Cut, it would be answered as another question; the toy reads 2048 tokens."""
    long, short = expert._send(["Who opens " + "the gate " * 2000 + "?", "Who opens the gate?"])
    with pytest.raises(
        InputError, match=r"the question 'Who opens the gate .* is too long: it takes \d{4,} tokens.*2048"
    ):
        long.result()
    assert short.result().text == "the mate"


def test_closing_ends_the_child_and_a_question_starts_another(folder):
    """`close` may be called at any time, and twice."""
    expert = Expert.load(folder)
    expert.close()
    assert expert.ask("What is the limit?").text == "25 knots"
    process = expert._child._process
    expert.close()
    expert.close()
    assert process.returncode is not None


def children(pid):
    out = subprocess.run(
        ["ps", "-ww", "-o", "pid=,args=", "--ppid", str(pid)], capture_output=True, text=True, check=True
    ).stdout
    return [int(line.split()[0]) for line in out.splitlines() if "answer.py" in line]


def test_a_forgotten_expert_ends_its_child(folder):
    """No process is left behind by whoever does not close."""
    expert = Expert.load(folder)
    expert._send(["Who opens the gate?"])
    process = expert._child._process
    del expert
    gc.collect()
    assert process.poll() is not None


def test_the_child_ends_with_its_parent(folder):
    """Also when the parent is killed before the model is loaded."""
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(f"""
            import time
            from text2expert.expert import Expert
            expert = Expert.load({str(folder)!r})
            expert._send(["Who opens the gate?"])
            print("sent", flush=True)
            time.sleep(60)
        """)],
        stdout=subprocess.PIPE, cwd=Path(__file__).parent.parent,
    )  # fmt: skip
    with parent:
        assert parent.stdout.readline() == b"sent\n"
        (child,) = children(parent.pid)
        parent.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 60
    while os.path.exists(f"/proc/{child}") and "Z" not in Path(f"/proc/{child}/stat").read_text().split()[2]:
        assert time.monotonic() < deadline, "the child outlives its parent"
        time.sleep(0.1)


def test_a_model_that_cannot_be_loaded_is_an_error_with_its_reason(folder, tmp_path):
    """The question fails with the last words of the process, and the next one tries again."""
    broken = tmp_path / "broken"
    shutil.copytree(folder, broken)
    (broken / "expert" / "adapter_model.safetensors").write_bytes(b"not weights")
    with Expert.load(broken / "expert") as expert, pytest.raises(RunnerError, match=r"(?s)exit code 1.*Safetensor"):
        expert.ask("Who opens the gate?")


@pytest.mark.parametrize("base", ["folder", "hub"])
def test_an_expert_whose_base_lies_here_asks_no_hub_and_holds_no_token(tmp_path, monkeypatch, base):
    """One with a base of the hub gets the hub's token, and no other key."""
    monkeypatch.setattr(Expert, "_command", lambda _: [sys.executable, "-c", "import sys; sys.stdin.read()"])
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("HF_TOKEN", "hf_of_a_person")
    monkeypatch.setenv("DEEPSEEK_API_KEY", "sk-of-a-person")
    with Expert(tmp_path, str(tmp_path) if base == "folder" else "someone/a-base") as expert:
        expert._send(["Who opens the gate?"])
        # For a moment after a program has taken a process over, the kernel shows no environment at all.
        environ = Path(f"/proc/{expert._child._process.pid}/environ")
        until(environ.read_text, "the environment is there")
        environment = environ.read_text().split("\0")
    here = {"HF_TOKEN=hf_of_a_person", "HF_HUB_OFFLINE=1", "DEEPSEEK_API_KEY=sk-of-a-person"} & set(environment)
    assert here == {"HF_HUB_OFFLINE=1" if base == "folder" else "HF_TOKEN=hf_of_a_person"}


@pytest.mark.parametrize(
    ("name", "said"),
    [("empty", "holds no expert: give a run folder"), ("missing", "does not exist; give the folder")],
)
def test_a_folder_without_an_expert_is_refused(tmp_path, name, said):
    """The message names the folder and what it should be."""
    if name == "empty":
        (tmp_path / name).mkdir()
    with pytest.raises(RunFolderError, match=f"{name} {said}"):
        Expert.load(tmp_path / name)


def test_an_expert_without_its_base_says_where_it_was_sought(folder, tmp_path):
    """An adapter alone answers nothing."""
    shutil.copytree(folder / "expert", tmp_path / "expert")
    config = tmp_path / "expert" / "adapter_config.json"
    values = json.loads(config.read_bytes())
    config.write_text(json.dumps({**values, "base_model_name_or_path": "/gone/base"}))
    with pytest.raises(RunFolderError, match=f"it was /gone/base, and there is none in {tmp_path}/base either"):
        Expert.load(tmp_path)


def test_a_missing_extra_is_said_on_loading(folder, monkeypatch):
    """Not only with the first question."""
    monkeypatch.setattr(local.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r'pip install "text2expert\[train\]"'):
        Expert.load(folder)
