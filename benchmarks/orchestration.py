"""Two thousand requests to a model: wall time, CPU and what gets through, beside a bare loop and the tools of the field.

    python -m venv .venv-bench
    .venv-bench/bin/pip install -r benchmarks/requirements-orchestration.txt .
    .venv-bench/bin/python benchmarks/orchestration.py               # about 8 minutes; tables in Markdown
    .venv-bench/bin/python benchmarks/orchestration.py --tools "aiohttp loop" text2expert
    .venv-bench/bin/python benchmarks/orchestration.py --check       # exit status 1 where a bar of ours is missed

The server (chat_load_server.py) is a process of its own on loopback and answers after 300 ms. Every figure comes from a fresh
client process. CPU is user and system time of the client and its children, per 1,000 requests, after that of a run of 20
requests is taken off, so that imports do not count. The bare loop and text2expert are measured in turn, five times; the
figure is the median, and the ratios are medians of the ratios of neighbours. Faults are the same for every client: 10 %
status 429 with Retry-After: 1, 5 % status 500, 2 % connections reset and 2 % replies cut in the middle of their JSON.

text2expert writes its ledger to the disk, with a price, so that every request is held and settled. The bare loop does
the least that a person would write: it parses replies, and under faults it asks again, up to seven times. All others
run as they come, told only to allow as many requests at a time.
"""

import argparse
import asyncio
import importlib.metadata
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
REQUESTS, LATENCY_S = 2000, 0.3
FEW = 20
"""Requests of the run that shows what starting costs."""
FAULTS = {"429": 0.10, "500": 0.05, "reset": 0.02, "truncated": 0.02}
ROUNDS = 5
TIME_LIMIT_S = 300
WALL_BAR, CPU_BAR = 1.2, 2.5
ITEMS = 5
PASSAGE = (
    "The procedure says which valve is closed first, who signs for it, and what is read from the gauge afterwards. " * 8
)

TOOLS = {
    "aiohttp loop": "aiohttp",
    "text2expert": "text2expert",
    "openai SDK": "openai",
    "litellm": "litellm",
    "curator": "bespokelabs-curator",
    "distilabel": "distilabel",
}


def prompt(n: int) -> str:
    return f"Write five questions with answers, as a JSON list, about this passage.\n\n{PASSAGE}\n\nitem-{n:06d}"


def usable(text: str) -> bool:
    try:
        items = json.loads(text)
    except ValueError:
        return False
    return isinstance(items, list) and len(items) == ITEMS


# The clients. Each takes the server's URL, a number of requests and how many may be under way, and returns how many
# were answered by a usable text.


async def pooled(ask: Callable[[int], Awaitable[bool]], n: int, concurrency: int) -> int:
    work, delivered = iter(range(n)), 0

    async def worker() -> None:
        nonlocal delivered
        for each in work:
            try:
                answered = await ask(each)
            except Exception as error:  # noqa: BLE001 - what a tool gives up on is what is counted
                print(type(error).__name__, str(error)[:200], file=sys.stderr)
            else:
                delivered += answered

    await asyncio.gather(*(worker() for _ in range(min(concurrency, n))))
    return delivered


def aiohttp_loop(url: str, n: int, concurrency: int) -> int:
    import aiohttp

    async def main() -> int:
        connector = aiohttp.TCPConnector(limit=concurrency)
        async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=60)) as session:

            async def once(body: dict[str, Any]) -> tuple[bool, float | None]:
                headers = {"Authorization": "Bearer none"}
                async with session.post(f"{url}/chat/completions", json=body, headers=headers) as response:
                    if response.status != 200:
                        asked = response.headers.get("Retry-After")
                        return False, float(asked) if asked else None
                    reply = json.loads(await response.read())
                    return usable(reply["choices"][0]["message"]["content"]), 0.0

            async def ask(number: int) -> bool:
                body = {"model": "load", "messages": [{"role": "user", "content": prompt(number)}], "max_tokens": 1024}
                for attempt in range(7):
                    try:
                        answered, wait = await once(body)
                    except (aiohttp.ClientError, TimeoutError):
                        answered, wait = False, None
                    if answered:
                        return True
                    await asyncio.sleep(0.25 * 2**attempt * (1 + random.random()) if wait is None else wait)
                return False

            return await pooled(ask, n, concurrency)

    return asyncio.run(main())


def text2expert(url: str, n: int, concurrency: int) -> int:
    sys.path.insert(0, str(HERE.parent))
    from text2expert.ledger import Ledger
    from text2expert.llm import LLM, samples
    from text2expert.prices import Price

    llm = LLM(f"{url}#load", concurrency=concurrency, max_tokens=1024, price=Price(input=1, output=2))

    async def ask(number: int) -> bool:
        replies = await samples(llm, prompt(number), usable=lambda reply: usable(reply.text), tries=5)
        return usable(replies[-1].text)

    with tempfile.TemporaryDirectory() as folder, Ledger(folder) as ledger:
        delivered = asyncio.run(pooled(ask, n, concurrency))
        spent = ledger.spent()
        print(f"booked {spent.calls}", file=sys.stderr)
    return delivered


def openai_sdk(url: str, n: int, concurrency: int) -> int:
    from openai import AsyncOpenAI

    async def main() -> int:
        client = AsyncOpenAI(base_url=url, api_key="none")

        async def ask(number: int) -> bool:
            reply = await client.chat.completions.create(
                model="load", messages=[{"role": "user", "content": prompt(number)}], max_tokens=1024
            )
            return usable(reply.choices[0].message.content or "")

        return await pooled(ask, n, concurrency)

    return asyncio.run(main())


def litellm(url: str, n: int, concurrency: int) -> int:
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    import litellm as tool

    tool.suppress_debug_info = True
    tool.telemetry = False

    async def ask(number: int) -> bool:
        reply = await tool.acompletion(
            model="openai/load",
            api_base=url,
            api_key="none",
            messages=[{"role": "user", "content": prompt(number)}],
            max_tokens=1024,
        )
        return usable(reply.choices[0].message.content or "")

    return asyncio.run(pooled(ask, n, concurrency))


def curator(url: str, n: int, concurrency: int) -> int:
    folder = tempfile.mkdtemp()
    os.environ.update(
        TELEMETRY_ENABLED="false",
        CURATOR_CACHE_DIR=folder,
        CURATOR_DISABLE_RICH_DISPLAY="1",
        CURATOR_VIEWER="0",
        LITELLM_LOCAL_MODEL_COST_MAP="True",
        OPENAI_API_KEY="none",
        HF_HUB_OFFLINE="1",
        TIKTOKEN_CACHE_DIR=_tokenizers(),
    )
    from bespokelabs import curator as tool

    class Asked(tool.LLM):  # type: ignore[misc]
        def prompt(self, row: dict[str, Any]) -> str:
            return str(row["text"])

        def parse(self, row: dict[str, Any], response: str) -> list[dict[str, Any]]:
            return [{"number": row["number"], "usable": usable(response)}]

    asked = Asked(
        model_name="gpt-4o-mini",
        backend="openai",
        backend_params={
            "base_url": url,
            "max_requests_per_minute": 10**7,
            "max_tokens_per_minute": 10**10,
            "max_concurrent_requests": concurrency,
            "require_all_responses": False,
        },
    )
    rows = asked([{"number": each, "text": prompt(each)} for each in range(n)])
    return sum(getattr(rows, "dataset", rows)["usable"])


def _tokenizers() -> str:
    """The folder with the vocabulary that curator would fetch over the network; litellm ships it."""
    import litellm as tool

    return str(Path(tool.__file__).parent / "litellm_core_utils" / "tokenizers")


def distilabel(url: str, n: int, concurrency: int) -> int:
    os.environ.update(HF_HUB_OFFLINE="1", DISTILABEL_LOG_LEVEL="WARNING")
    from distilabel.models import OpenAILLM
    from distilabel.pipeline import Pipeline
    from distilabel.steps import LoadDataFromDicts
    from distilabel.steps.tasks import TextGeneration

    with tempfile.TemporaryDirectory() as folder:
        with Pipeline(name="load", cache_dir=folder) as pipeline:
            data = [{"instruction": prompt(each)} for each in range(n)]
            load = LoadDataFromDicts(data=data, batch_size=concurrency)
            model = OpenAILLM(model="load", base_url=url, api_key="none")
            load >> TextGeneration(llm=model, input_batch_size=concurrency)
        rows = pipeline.run(use_cache=False)["default"]["train"]
        return sum(usable(text or "") for text in rows["generation"])


CLIENTS: dict[str, Callable[[str, int, int], int]] = {
    "aiohttp loop": aiohttp_loop,
    "text2expert": text2expert,
    "openai SDK": openai_sdk,
    "litellm": litellm,
    "curator": curator,
    "distilabel": distilabel,
}


# The measuring.


class Server:
    """The server's process, and what it has to say."""

    def __init__(self) -> None:
        command = [sys.executable, str(HERE / "chat_load_server.py")]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.base = f"http://127.0.0.1:{self.process.stdout.readline().split()[-1]}"

    def ask(self, path: str, body: object | None = None) -> dict[str, Any]:
        """Its answer to a GET, or a POST where there is a *body*."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base + path, data)
        with urllib.request.urlopen(request, timeout=30) as response:
            return dict(json.load(response))


def measure(server: Server, tool: str, n: int, concurrency: int, faults: dict[str, float]) -> dict[str, Any]:
    """Run *tool* once: its own report, the operating system's, and the server's."""
    server.ask("/reset", {"latency_s": LATENCY_S, "faults": faults, "retry_after_s": 1})
    command = [sys.executable, __file__, "--client", tool, "--url", f"{server.base}/v1"]
    command += ["--requests", str(n), "--concurrency", str(concurrency)]
    env = dict(os.environ, NO_PROXY="127.0.0.1", PYTHONWARNINGS="ignore", HF_HUB_DISABLE_TELEMETRY="1")
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = subprocess.Popen(command, stdout=out, stderr=err, env=env, start_new_session=True)
        deadline, status = time.monotonic() + TIME_LIMIT_S, 0
        while True:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                break
            if time.monotonic() > deadline:
                os.killpg(process.pid, 9)
                _, status, usage = os.wait4(process.pid, 0)
                break
            time.sleep(0.02)
        process.returncode = status
        out.seek(0)
        err.seek(0)
        lines, noise = out.read().splitlines(), err.read()
    reports = [json.loads(line[7:]) for line in lines if line.startswith("REPORT ")]
    booked = [int(line.split()[1]) for line in noise.splitlines() if line.startswith("booked ")]
    return {
        "delivered": reports[-1]["delivered"] if reports else None,
        "run_s": reports[-1]["run_s"] if reports else None,
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "rss_mb": usage.ru_maxrss / 1024,
        "booked": booked[-1] if booked else None,
        "said": noise[-600:],
        **server.ask("/counts"),
    }


def clean(server: Server, tool: str, concurrency: int) -> dict[str, Any]:
    """A run without faults, with the CPU time per 1,000 requests beyond that of starting."""
    started = measure(server, tool, FEW, FEW, {})
    row = measure(server, tool, REQUESTS, concurrency, {})
    row["cpu_per_1000"] = (row["cpu_s"] - started["cpu_s"]) / (REQUESTS - FEW) * 1000
    row["start_cpu_s"] = started["cpu_s"]
    return row


def median(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The row of medians."""
    numbers = [name for name, value in rows[0].items() if isinstance(value, int | float)]
    return {**rows[0], **{name: statistics.median(row[name] for row in rows) for name in numbers}}


def clean_table(server: Server, tools: list[str], concurrency: int) -> list[str]:
    """Print the table of clean runs and return the bars that were missed."""
    print(f"\n### {REQUESTS:,} requests of {LATENCY_S * 1000:.0f} ms, {concurrency:,} at a time\n")
    print("| client | delivered | wall s | CPU s per 1,000 | CPU s to start | peak MB | most under way |")
    print("|---|---|---|---|---|---|---|")
    pair = [tool for tool in ("aiohttp loop", "text2expert") if tool in tools]
    rounds = [{tool: clean(server, tool, concurrency) for tool in pair} for _ in range(ROUNDS)] if pair else []
    for tool in tools:
        row = median([each[tool] for each in rounds]) if tool in pair else clean(server, tool, concurrency)
        if row["delivered"] is None:
            print(f"| {tool} | failed | | | | | |\n\n{row['said']}\n", flush=True)
            continue
        print(
            f"| {tool} | {row['delivered']:,.0f} | {row['run_s']:.2f} | {row['cpu_per_1000']:.2f} | {row['start_cpu_s']:.2f} |"
            f" {row['rss_mb']:.0f} | {row['most_under_way']:,.0f} |",
            flush=True,
        )
    if len(pair) < 2:
        return []
    wall, cpu = (
        statistics.median(each["text2expert"][name] / each["aiohttp loop"][name] for each in rounds)
        for name in ("run_s", "cpu_per_1000")
    )
    print(f"\ntext2expert takes {wall:.2f} times the bare loop's wall time and {cpu:.2f} times its CPU.")
    missed = [f"{concurrency} at a time: not all delivered"] * (
        min(each["text2expert"]["delivered"] for each in rounds) < REQUESTS
    )
    if concurrency == 200:
        missed += [f"wall time {wall:.2f} times the bare loop's, not {WALL_BAR}"] * (wall > WALL_BAR)
        missed += [f"CPU {cpu:.2f} times the bare loop's, not {CPU_BAR}"] * (cpu > CPU_BAR)
    return missed


def faults_table(server: Server, tools: list[str]) -> list[str]:
    """Print the table of runs with faults and return the bars that were missed."""
    told = ", ".join(f"{share:.0%} {kind}" for kind, share in FAULTS.items())
    print(f"\n### {REQUESTS:,} requests, 200 at a time, {told}\n")
    print("| client | delivered | requests | billed | billed beyond one each | wall s | CPU s |")
    print("|---|---|---|---|---|---|---|")
    missed = []
    for tool in tools:
        row = measure(server, tool, REQUESTS, 200, FAULTS)
        if row["delivered"] is None:
            print(f"| {tool} | failed | {row['requests']:,} | {row['billed']:,} | | | |\n\n{row['said']}\n", flush=True)
            continue
        print(
            f"| {tool} | {row['delivered']:,} | {row['requests']:,} | {row['billed']:,} | {row['billed'] - row['items']:,} |"
            f" {row['run_s']:.1f} | {row['cpu_s']:.2f} |",
            flush=True,
        )
        if tool == "text2expert":
            print(
                f"\nIts ledger has booked {row['booked']:,} requests; the server would have billed {row['billed']:,}.\n"
            )
            missed += [f"under faults {row['delivered']} delivered"] * (row["delivered"] < REQUESTS)
            missed += [f"{row['booked']} booked, {row['billed']} billed"] * (row["booked"] != row["billed"])
    return missed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tools", nargs="+", choices=list(TOOLS), default=list(TOOLS))
    parser.add_argument("--concurrency", nargs="+", type=int, default=[200, 1000])
    parser.add_argument("--check", action="store_true", help="exit with 1 where a bar is missed")
    parser.add_argument("--client", choices=list(TOOLS), help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    parser.add_argument("--requests", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.client:
        began = time.monotonic()
        delivered = CLIENTS[args.client](args.url, args.requests, args.concurrency[0])
        print("REPORT " + json.dumps({"delivered": int(delivered), "run_s": time.monotonic() - began}), flush=True)
        return 0
    print(
        f"Python {platform.python_version()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start;",
        end=" ",
    )
    print(", ".join(f"{TOOLS[tool]} {_version(TOOLS[tool])}" for tool in args.tools))
    server = Server()
    try:
        missed = [miss for concurrency in args.concurrency for miss in clean_table(server, args.tools, concurrency)]
        missed += faults_table(server, args.tools)
    finally:
        server.process.terminate()
        server.process.wait()
    print(f"\nLoad {os.getloadavg()[0]:.1f} at the end.")
    for miss in missed:
        print("missed:", miss)
    return 1 if missed and args.check else 0


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "(from this folder)" if package == "text2expert" else "(not installed)"


if __name__ == "__main__":
    sys.exit(main())
