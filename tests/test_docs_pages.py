"""Every page of the documentation and the README: what they show runs, and what they name is there."""

import ast
import asyncio
import importlib
import inspect
import itertools
import json
import re
import shlex
import threading
import tomllib
from datetime import UTC, datetime
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from unittest.mock import create_autospec

import click
import pytest

import text2expert
from text2expert import (
    LLM,
    AnswerLost,
    AuthenticationFailed,
    Expert,
    OutOfBalance,
    Price,
    ProviderError,
    ProviderUnavailable,
    Request,
    Usage,
    prices,
)
from text2expert.cli import main
from text2expert.testing import ScriptedProvider

DOCS = Path(__file__).parent.parent / "docs"

PAGES = sorted(page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md") if "_build" not in page.parts)
PAGES += [f"../{page}" for page in ("README.md", "CONTRIBUTING.md") if (DOCS.parent / page).exists()]

READ = {
    "../README.md",
    "exam.md",
    "guide.md",
    "how_it_works.md",
    "index.md",
    "quickstart_keys.md",
    "quickstart_offline.md",
    "renting.md",
    "runners.md",
    "serving.md",
    "steps/exam.md",
    "steps/training.md",
    "training.md",
    "training_elsewhere.md",
    "when_not.md",
}
"""Pages whose code trains or asks a model that is paid: its names and arguments are looked up, and it is not run here. Some of
it runs in a test of its own."""


def text_of(page):
    """What is written on *page*."""
    return (DOCS / page).read_text("utf-8")


def blocks(page, language="python"):
    """The code on *page*, block after block."""
    return re.findall(rf"^```{language}\n(.*?)^```", text_of(page), re.DOTALL | re.MULTILINE)


def in_lines(page):
    """What *page* says, without its fenced code."""
    return re.sub(r"^```.*?^```", "", text_of(page), flags=re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", [page for page in PAGES if page not in READ])
def test_what_a_page_shows_runs_block_after_block(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in blocks(page):
        exec(compile(block, page, "exec"), names)


@pytest.mark.parametrize("page", [page for page in PAGES if page in READ])
def test_what_a_page_calls_is_there_and_takes_what_it_is_given(page):
    known: dict[str, object] = {}
    for block in blocks(page):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == "text2expert":
                known |= {name.asname or name.name: _imported(node.module, name.name) for name in node.names}
            elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                known[node.targets[0].id] = _meant(node.value, known)
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.Call) and (called := _meant(node.func, known)) is not None:
                keywords = {keyword.arg: None for keyword in node.keywords if keyword.arg is not None}
                inspect.signature(called).bind(*(None for _ in node.args), **keywords)


def _imported(module, name):
    """What ``from module import name`` gives."""
    try:
        return getattr(importlib.import_module(module), name)
    except AttributeError:
        return importlib.import_module(f"{module}.{name}")


def _meant(node, known):
    """What an expression of names, dots and calls of classes stands for, as far as *known* has it."""
    if isinstance(node, ast.Name):
        return known.get(node.id)
    if isinstance(node, ast.Attribute) and (owner := _meant(node.value, known)) is not None:
        return getattr(owner, node.attr)
    if isinstance(node, ast.Call) and isinstance(made := _meant(node.func, known), type):
        return create_autospec(made, instance=True)
    return None


def commands():
    """Every command line of ours that a page shows, in a block or in a line, with its page."""
    found = []
    for page in PAGES:
        shown = [line for block in blocks(page, "bash") for line in block.replace("\\\n", " ").splitlines()]
        shown += re.findall(r"`(text2expert [a-z][^`]*)`", in_lines(page).replace("\n", " "))
        shown += re.findall(r"^    (text2expert [a-z].*)$", in_lines(page), re.MULTILINE)
        for line in (line for line in shown if re.search(r"(?:^|[;|&]\s*)text2expert ", line)):
            lexer = shlex.shlex(line, posix=True, punctuation_chars=";|&")
            lexer.whitespace_split = True
            for ends, part in itertools.groupby(lexer, lambda word: not set(word) - set(";|&")):
                words = list(part)
                if not ends and words[0] == "text2expert":
                    found.append(pytest.param(words[1:], id=f"{page}: {' '.join(words)[:80]}"))
    return found


@pytest.mark.parametrize("words", commands())
def test_every_command_and_flag_is_there(words):
    command = main
    while isinstance(command, click.Group) and words:
        command, words = command.commands[words[0]], words[1:]
    if words and "..." not in words:
        command.make_context(command.name, [*words])


def test_every_link_of_a_page_leads_to_a_page_and_a_heading():
    broken = []
    for page in PAGES:
        for target in re.findall(r"\]\(([^)\s]+)\)", in_lines(page)):
            if "://" in target:
                continue
            path, _, anchor = target.partition("#")
            led = (DOCS / page).parent / path if path else DOCS / page
            if not led.exists() or (anchor and anchor not in anchors(led)):
                broken.append((page, target))
    assert broken == []


def anchors(page):
    """The headings of the file *page* as links name them."""
    titles = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", [page for page in PAGES if page.startswith("writing/")])
def test_what_is_written_of_ones_own_takes_less_than_forty_lines(page):
    """The first block of a page, imports aside, is the whole example."""
    classes = [node for node in ast.parse(blocks(page)[0]).body if isinstance(node, ast.ClassDef)]
    assert len(classes) == 1
    assert classes[0].end_lineno - classes[0].lineno + 1 < 40


# -- a provider ------------------------------------------------------------------------------------------------------


class _Service(BaseHTTPRequestHandler):
    """models.example, as far as there is such a thing: it answers as the model's name says."""

    asked: ClassVar[list[dict]] = []

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append({**body, "path": self.path, "key": self.headers["X-Key"]})
        said = json.dumps({"text": "In May.", "tokens": {"in": 7, "out": 3}, "cut": body["model"] == "cut"}).encode()
        status = int(body["model"]) if body["model"].isdigit() else 200
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(said) + (body["model"] == "short")))
        self.send_header("Retry-After", "3")
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *_):
        pass


@pytest.fixture
def service():
    """Its address on this machine."""
    _Service.asked.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Service)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def provider(service):
    """The page's provider, with *service* for its host."""
    names: dict[str, object] = {}
    exec(compile(blocks("writing/provider.md")[0], "provider.md", "exec"), names)
    return names["Example"]("my-key", service)


def _request(model, **more):
    return Request(endpoint="", dialect="", model=model, prompt="When?", max_tokens=50, **more)


def test_the_provider_sends_what_it_is_given_and_brings_what_comes_back(provider):
    completion = asyncio.run(provider.complete(_request("large", system="Be brief.", extras={"mood": "calm"})))
    assert ("In May.", "stop", 7, 3) == (
        completion.text, completion.finish, completion.usage.input_tokens, completion.usage.output_tokens,
    )  # fmt: skip
    assert [
        {
            "path": "/answer",
            "key": "my-key",
            "model": "large",
            "rules": "Be brief.",
            "question": "When?",
            "limit": 50,
            "mood": "calm",
        }
    ] == _Service.asked
    assert "length" == asyncio.run(provider.complete(_request("cut"))).finish


@pytest.mark.parametrize(
    ("model", "error"),
    [
        ("401", AuthenticationFailed),
        ("402", OutOfBalance),
        ("404", ProviderError),
        ("307", ProviderError),
        ("429", ProviderUnavailable),
        ("503", ProviderUnavailable),
        ("short", AnswerLost),
    ],
)
def test_the_provider_says_how_a_request_ended(provider, model, error):
    with pytest.raises(error) as raised:
        asyncio.run(provider.complete(_request(model)))
    assert error is raised.type
    if error is ProviderUnavailable:
        assert (3.0, model == "429") == (raised.value.retry_after, raised.value.overloaded)


def test_a_provider_that_is_not_there_is_asked_again(provider):
    provider.endpoint = "http://127.0.0.1:9"
    with pytest.raises(ProviderUnavailable, match="cannot be reached"):
        asyncio.run(provider.complete(_request("large")))


def test_the_entry_point_that_the_page_shows_is_found_by_name(tmp_path, monkeypatch):
    (tmp_path / "example-1.dist-info").mkdir()
    (tmp_path / "example-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: example\nVersion: 1\n")
    shown = re.search(r'\[project\.entry-points\."(.+?)"\]\n(\w+) = "(.+?)"', blocks("writing/provider.md", "toml")[0])
    group, name, target = shown.groups()
    (tmp_path / "example-1.dist-info" / "entry_points.txt").write_text(f"[{group}]\n{name} = {target}\n")
    module, function = target.split(":")
    (tmp_path / f"{module}.py").write_text(
        "from text2expert.testing import ScriptedProvider\n"
        f"def {function}(base_url, api_key):\n    return ScriptedProvider([str((base_url, api_key))])\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    llm = LLM(f"{name}/large", base_url="https://models.example", api_key="k", price=Price(input=1, output=1))
    assert isinstance(llm._provider, ScriptedProvider)


# -- promises --------------------------------------------------------------------------------------------------------


def test_every_promise_is_there_and_each_has_tests_that_exist():
    page = text_of("safety.md").split("## What is not promised")[0]
    sections = re.split(r"^## (\d+)\. ", page, flags=re.MULTILINE)[1:]
    assert [str(number) for number in range(1, 13)] == sections[::2]
    for number, section in zip(sections[::2], sections[1::2], strict=True):
        named = re.findall(r"`(test_\w+\.py)((?:::\w+)+)`", section)
        assert named, number
        for file, name in named:
            assert _is_test(DOCS.parent / "tests" / file, name.split("::")[1:]), (number, file, name)


def _is_test(path, names):
    """Whether there is a test of these *names* (its class, if any, first) in the file *path*."""
    body = ast.parse(path.read_text("utf-8")).body
    for name in names[:-1]:
        (body,) = [node.body for node in body if isinstance(node, ast.ClassDef) and node.name == name]
    there = {node.name for node in body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    there |= {
        node.targets[0].id for node in body if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    return names[-1].lower().startswith("test") and names[-1] in there


def test_no_code_of_a_model_is_trusted():
    """Every call of transformers that could run code of a model's own says that it must not."""
    said = []
    for path in sorted(Path(text2expert.__file__).parent.rglob("*.py")):
        source = path.read_text("utf-8")
        for node in ast.walk(ast.parse(source)) if ".from_" in source else ():
            if isinstance(node, ast.Call) and re.fullmatch(r"Auto\w+\.from_\w+", ast.unparse(node.func)):
                trusts = [ast.unparse(keyword.value) for keyword in node.keywords if keyword.arg == "trust_remote_code"]
                said.append((path.name, node.lineno, trusts))
    assert len(said) > 5
    assert [each for each in said if each[2] != ["False"]] == []


def test_the_base_that_an_adapter_names_is_said_before_it_is_fetched(tmp_path, capsys):
    (tmp_path / "adapter_config.json").write_text('{"base_model_name_or_path": "somebody/their-base"}')
    with Expert.load(tmp_path):
        assert "somebody/their-base, which is fetched from the Hugging Face hub" in capsys.readouterr().err


# -- dependencies and prices -------------------------------------------------------------------------------------------


def test_every_dependency_has_its_reason():
    project = tomllib.loads((DOCS.parent / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = [
        *project["dependencies"],
        *(each for extra in project["optional-dependencies"].values() for each in extra),
    ]
    names = {re.match(r"[\w-]+", each)[0] for each in wanted}
    page = text_of("dependencies.md").lower()
    assert [name for name in sorted(names) if not re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", page)] == []


def test_the_sums_of_the_guides_page_are_those_of_the_price_table():
    """A question to a cheap reader, and the month of a card that is rented."""
    off_peak = datetime(2026, 11, 24, 12, tzinfo=UTC)
    read = Usage(input_tokens=1_000, output_tokens=50)
    page = text_of("guide.md")
    for model, usd in (("deepseek-flash", "0.00018"), ("claude-haiku-5-5", "0.000125")):
        cost = prices.tariff(model, endpoint="https://models.example").cost(read, off_peak)
        assert Decimal(usd) == cost
        assert f"${usd} with {model}" in page
    assert (180, 125) == (round(0.00018 * 1e6), round(0.000125 * 1e6))
    assert "$180 or $125" in page
    assert f"costs ${0.31 * 720:.0f} to ${0.875 * 720:.0f}" in page
