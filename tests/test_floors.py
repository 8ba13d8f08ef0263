"""What import-linter does not see: recipes are scripts for another machine, samples are data."""

import ast
import sys
from pathlib import Path

import pytest

import text2expert

PACKAGE = Path(text2expert.__file__).parent
RECIPES = sorted((PACKAGE / "recipes").glob("*.py"))
ALLOWED = {"torch", "transformers", "peft", "accelerate", "bitsandbytes", "safetensors", "tokenizers", "jinja2"}
ALLOWED |= {"numpy", "psutil"}  # accelerate's own requirements


def _imported(path):
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").split(".")[0]


def test_there_are_recipes():
    assert {"answer.py", "lora.py", "scratch.py"} <= {path.name for path in RECIPES}


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.name)
def test_a_recipe_imports_nothing_of_ours(recipe):
    """Only each other, the standard library and what the train extra brings: all that a rented machine has."""
    siblings = {path.stem for path in RECIPES}
    assert set(_imported(recipe)) - ALLOWED - siblings - set(sys.stdlib_module_names) == set()


def test_nobody_imports_a_recipe():
    siblings = {path.stem for path in RECIPES}
    importers = [path.name for path in PACKAGE.rglob("*.py") if path not in RECIPES and siblings & set(_imported(path))]
    assert importers == []


def test_samples_are_data():
    assert sorted(path.suffix for path in (PACKAGE / "samples").iterdir()) == [
        ".jsonl",
        ".jsonl",
        ".txt",
        ".txt",
        ".txt",
    ]
