"""The page on the exam: its contestant of one's own runs as it stands, against a server of OpenAI's protocol."""

import ast
import asyncio
import hashlib
import re
import shlex
import shutil
import threading
from pathlib import Path

import pytest
from aiohttp import web

from text2expert import documents
from text2expert.chunker import Chunker
from text2expert.examiner import GivenAnswer, Retriever, load_exam
from text2expert.examiner.contestants import holds
from text2expert.ledger import Ledger
from text2expert.records import ExamQuestion, read_jsonl

PAGE = Path(__file__).parent.parent / "docs" / "exam.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
SIZE = 256


def _vector(text):
    """A bag of words, each at the place that its digest names."""
    vector = [0.0] * SIZE
    for word in re.findall(r"\w+", text.casefold()):
        vector[int(hashlib.sha256(word.encode()).hexdigest(), 16) % SIZE] += 1.0
    return vector


async def _embeddings(request):
    body = await request.json()
    assert "my-embedder" == body["model"]
    data = [
        {"object": "embedding", "index": place, "embedding": _vector(text)} for place, text in enumerate(body["input"])
    ]
    return web.json_response({"object": "list", "data": data, "model": body["model"]})


async def _completions(request):
    """A reader that takes the first passage for the answer."""
    body = await request.json()
    prompt = body["messages"][-1]["content"]
    first = re.search(r"<passage (\w{16})>\n(.*?)\n</passage \1>", prompt, re.DOTALL)
    text = first[2] if first else "I do not know."
    message = {"role": "assistant", "content": text}
    usage = {"prompt_tokens": len(prompt) // 4, "completion_tokens": len(text) // 4, "total_tokens": 0}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return web.json_response(
        {"id": "x", "object": "chat.completion", "model": body["model"], "choices": [choice], "usage": usage}
    )


@pytest.fixture(scope="module")
def server():
    """The address of a server with embeddings and a model, on this machine."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def start():
        app = web.Application()
        app.add_routes([web.post("/v1/embeddings", _embeddings), web.post("/v1/chat/completions", _completions)])
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return runner, site._server.sockets[0].getsockname()[1]

    runner, port = asyncio.run_coroutine_threadsafe(start(), loop).result(30)
    yield f"http://127.0.0.1:{port}/v1"
    asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(30)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(30)
    loop.close()


def test_a_contestant_takes_less_than_forty_lines():
    (contestant,) = [node for node in ast.parse(BLOCKS[0]).body if isinstance(node, ast.ClassDef)]
    assert contestant.end_lineno - contestant.lineno + 1 < 40


def test_it_reads_the_passages_whose_words_are_most_like_the_question(server, tmp_path):
    names: dict[str, object] = {}
    exec(compile(BLOCKS[0].replace("http://localhost:8000/v1", server), "exam.md", "exec"), names)
    chunks = Chunker(size=120, overlap=0).split(
        "The pump stops when the oil pressure falls below 2 bar, and the mate starts it again when the oil is changed.\n\n"
        "Visitors sign the book at the gate of the yard, where they are met by the warden who has the key of the crane.\n\n"
        "Cranes stay in their cradles in a mean wind of 25 knots; the limit for the tall one is a mean wind of 20 knots."
    )
    assert 3 == len(chunks)
    question = ExamQuestion(id="q", row="held_out", question="Where do visitors sign?", answer="at the gate")
    dense = names["DenseRAG"](Retriever(chunks), names["reader"], "my-embedder", k=2)
    with Ledger(tmp_path):
        answer = asyncio.run(dense.aanswer(question))
    assert chunks[1].text == answer.text
    assert chunks[1].id == answer.sources[0]
    assert 2 == len(answer.sources)


def test_the_page_runs_block_after_block(finished, server, tmp_path, monkeypatch, capsys):
    """On a finished run: the dense RAG joins the exam, and the expert's answers are checked."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(finished.folder, "expert_model_handbook")
    names: dict[str, object] = {}
    for block in BLOCKS:
        exec(compile(block.replace("http://localhost:8000/v1", server), "exam.md", "exec"), names)
    run = names["run"]
    assert "dense RAG" in run.exam.contestants
    given = [
        each for each in read_jsonl(run.folder / "exam_answers.jsonl", GivenAnswer) if each.contestant == "dense RAG"
    ]
    assert len(given) == len((run.folder / "exam.jsonl").read_text("utf-8").splitlines())
    assert all(each.passages and each.tokens_in and each.tokens_out for each in given)
    assert any(each.seconds for each in given)
    assert "surer when right" in capsys.readouterr().out


def test_the_figures_of_the_search_are_those_that_are_measured():
    """Of ``benchmarks/retrieval.py``, whose index and questions a test of the search holds above the bar."""
    samples = Path(documents.__file__).parent / "samples"
    exam = [question for question in load_exam(samples / "exam.jsonl") if question.kind == "single"]
    found = {1: 0, 3: 0, 5: 0}
    for name in {question.document for question in exam}:
        retriever = Retriever(Chunker().split(documents.read(samples / f"{name}.txt")[0]), 5)
        for question in exam:
            if question.document == name:
                held = [any(holds(c, span) for span in question.evidence) for c in retriever.find(question.question)]
                for k in found:
                    found[k] += any(held[:k])
    one, three, five = (f"{100 * count / len(exam):.0f}" for count in found.values())
    text = " ".join(PAGE.read_text("utf-8").split())
    assert f"first for {one} %, among the first three for {three} % and among the first five for {five} %" in text


def test_its_hand_written_exam_is_read(tmp_path):
    (lines,) = re.findall(r"```json\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    (tmp_path / "mine.jsonl").write_text(lines, encoding="utf-8")
    first, second, third = load_exam(tmp_path / "mine.jsonl")
    assert ("every 6 weeks", ("every six weeks",)) == (first.answer, first.aliases)
    assert (80.0, "°C", "pumps") == (second.value, second.unit, second.document)
    assert third.answer is None


def test_its_commands_have_the_options_and_prices_that_they_name():
    """Each is taken by the command, and asks for no price where it gives none."""
    from text2expert.exam_commands import _llms, exam

    (block,) = re.findall(r"```bash\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    for line in block.splitlines():
        words = shlex.split(line)
        assert ["text2expert", "exam"] == words[:2]
        given = exam.make_context("exam", words[2:], resilient_parsing=False).params
        models = [*given["models"], *given["readers"], *filter(None, [given["judge"]])]
        _llms(models, given["prices"], ())
    assert {name for command in re.findall(r"`(--[\w-]+)", PAGE.read_text("utf-8")) for name in [command]} <= {
        name for option in exam.params for name in option.opts
    }
