"""The page on serving: its blocks run as they stand, on a tiny expert."""

import inspect
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from experts import FACTS
from serve import serving_model

from text2expert import Ledger
from text2expert.expert import Expert

PAGE = (Path(__file__).parent.parent / "docs" / "serving.md").read_text("utf-8")
QUESTION = "Who opens the gate?"


def block(language, containing):
    """The page's one block of *language* with these words."""
    (found,) = [text for text in re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL) if containing in text]
    return found


@pytest.fixture(scope="module")
def folder(taught, merged, tmp_path_factory):
    """A working directory with the run folder and the full model under the page's names."""
    folder = tmp_path_factory.mktemp("serving")
    (folder / "expert_model_handbook").symlink_to(taught)
    (folder / "handbook_expert").symlink_to(merged.path)
    return folder


@pytest.fixture(scope="module")
def server(folder):
    """`transformers serve` as the page starts it, at another port."""
    command = shlex.split(block("bash", "transformers serve"))
    assert command == ["transformers", "serve", "handbook_expert", "--port", "8000"]
    with serving_model("handbook_expert", folder, dtype="auto") as served:
        yield served


def here(text, server):
    """*text* with the address of the server that runs."""
    return text.replace("http://localhost:8000/v1", server.url)


def test_the_adapter_answers_without_us(folder):
    """In a process that knows transformers and PEFT alone."""
    code = block("python", "PeftModel")
    assert "text2expert" not in code
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    shown = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, check=True
    )
    assert shown.stdout == f"{FACTS[QUESTION]}\n"


def test_the_merge_is_called_as_the_page_calls_it(folder, merged, monkeypatch, capsys):
    """What it makes is what the other tests serve."""
    signature = inspect.signature(Expert.merge)
    calls = []

    def merge(*given):
        calls.append(signature.bind(*given).arguments["out"])
        return merged

    monkeypatch.setattr(Expert, "merge", merge)
    monkeypatch.chdir(folder)
    exec(compile(block("python", ".merge("), "serving.md", "exec"), {})
    assert calls == ["handbook_expert"]
    assert re.fullmatch(r".*: \d+ of \d+ answers are those of the adapter\n", capsys.readouterr().out)


def test_curl_asks_the_server(server):
    """The page's command in a shell; the answer is the expert's, whole and ended."""
    command = here(block("bash", "curl"), server)
    reply = json.loads(subprocess.run(command, shell=True, capture_output=True, check=True).stdout)
    (choice,) = reply["choices"]
    assert (choice["message"]["content"], choice["finish_reason"]) == (FACTS[QUESTION], "stop")


def test_the_openai_client_asks_the_server(server, capsys):
    """A client that has nothing of ours."""
    exec(compile(here(block("python", "from openai"), server), "serving.md", "exec"), {})
    assert capsys.readouterr().out == f"{FACTS[QUESTION]}\n"


def test_our_own_client_asks_the_server(server, tmp_path, monkeypatch, capsys):
    """As a teacher or verifier would; its reply is kept in a ledger and costs nothing."""
    monkeypatch.chdir(tmp_path)
    with Ledger(tmp_path) as ledger:
        exec(compile(here(block("python", "LLM("), server), "serving.md", "exec"), {})
        spent = ledger.spent()
    assert capsys.readouterr().out == f"{FACTS[QUESTION]}\n"
    assert (spent.replies, spent.settled) == (1, 0)


def test_what_the_page_says_of_the_numbers_is_what_the_code_does():
    """Questions, tolerances, the rank that vLLM must be told."""
    from text2expert import expert
    from text2expert.trainer import profiles

    assert f"up to {expert.QUESTIONS} questions" in PAGE
    assert f"more than {100 * expert.MAY_DIFFER:.0f} % of the answers" in PAGE
    assert f"by more than {expert.MAY_SHIFT} on average" in PAGE
    assert f"--max-lora-rank {profiles.REAL.r} " in PAGE


def test_the_modelfile_is_pointed_to_a_gguf_file_as_the_page_does_it(folder):
    """Only its first line changes."""
    (line,) = [line for line in block("bash", "sed ").splitlines() if line.startswith("sed ")]
    shown = subprocess.run(
        line.partition(" > ")[0], shell=True, cwd=folder, capture_output=True, text=True, check=True
    ).stdout
    before = (folder / "handbook_expert" / "Modelfile").read_text("utf-8")
    assert before.startswith("FROM .\nTEMPLATE ")
    assert shown == before.replace("FROM .\n", "FROM ./handbook-q8.gguf\n", 1)
