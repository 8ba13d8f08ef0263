"""The door: what can be imported, and what importing costs."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import text2expert

HEAVY = (
    "asyncssh",
    "requests",
    "torch",
    "transformers",
    "peft",
    "accelerate",
    "bitsandbytes",
    "aiohttp",
    "vastai",
    "pandas",
    "numpy",
    "tiktoken",
)
STEPS = (
    "text2expert.offline",
    "text2expert.evidence",
    "text2expert.golden",
    "text2expert.chunker",
    "text2expert.examiner",
)


@pytest.mark.parametrize("name", text2expert.__all__)
def test_every_public_name_is_there(name):
    assert getattr(text2expert, name).__name__ == name


def test_the_type_checker_sees_the_same_names_as_the_run_time():
    """``TYPE_CHECKING`` imports and the table of homes must not drift apart."""
    tree = ast.parse(Path(text2expert.__file__).read_text("utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    imported = {alias.name for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert imported == set(text2expert.__all__)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="Pipelin"):
        text2expert.Pipelin  # noqa: B018 - the access is what is tested


def test_importing_the_pipeline_loads_nothing_heavy():
    """Promise 11: neither torch nor any of its company, nor a network library."""
    code = (
        f"import sys\nfrom text2expert import Pipeline\nPipeline()\nprint([m for m in {HEAVY!r} if m in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert shown.stdout.strip() == "[]"


def test_a_runner_loads_nothing_heavy_before_it_runs():
    """A laptop that trains elsewhere waits for no SDK to name where."""
    code = (
        "import sys\nfrom text2expert import SSH, Local, Trainer, Vast\n"
        "for runner in (Local(), SSH('me@box'), Vast()):\n    Trainer('some/model-7B', runner=runner)\n"
        f"print([m for m in {HEAVY!r} if m in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert shown.stdout.strip() == "[]"


def test_importing_the_pipeline_loads_no_step():
    """Their hundreds of regular expressions cost half a second; they are loaded when they are first needed."""
    code = f"import sys\nfrom text2expert import Pipeline\nprint([m for m in {STEPS!r} if m in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert shown.stdout.strip() == "[]"


def test_the_command_line_loads_nothing_heavy_for_its_help():
    code = f"import sys\nimport text2expert.cli\nprint([m for m in {HEAVY!r} if m in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert shown.stdout.strip() == "[]"
