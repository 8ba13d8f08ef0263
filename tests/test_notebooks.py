"""The notebooks: the first one runs as it stands; the others say nothing that the library does not have (`make notebooks` runs them)."""

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


def _code(path):
    """The notebook's code, as one module; what is IPython's own becomes a comment."""
    cells = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    return re.sub(r"^(%|!)", r"# \1", "\n\n".join(cells), flags=re.MULTILINE)


@pytest.fixture(scope="module")
def runner():
    """notebooks/run.py, as a module."""
    spec = importlib.util.spec_from_file_location("run_notebooks", FOLDER / "run.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_there_are_five_in_their_order():
    assert ["01", "02", "03", "04", "05"] == [path.name[:2] for path in NOTEBOOKS]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_without_outputs_and_changes_no_more_than_its_author_did(path):
    """Ids are of the cells' order, nothing says who ran it where, and it is written as Jupyter writes it."""
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert {"outputs": [], "execution_count": None} in [
        {k: cell[k] for k in ("outputs", "execution_count")} for cell in code
    ]
    assert [] == [cell.id for cell in code if cell.outputs or cell.execution_count is not None]
    assert [f"{path.name[:2]}-{number:02}" for number in range(1, len(notebook.cells) + 1)] == [
        c.id for c in notebook.cells
    ]
    assert {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    } == notebook.metadata
    assert [] == [cell.id for cell in notebook.cells if cell.metadata]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_leads_only_to_notebooks_that_are_there(path):
    text = "\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "markdown")
    linked = re.findall(r"\]\(([^)]+)\)", text)
    assert [] == [each for each in linked if not (FOLDER / each).is_file()]


def test_what_the_notebooks_call_is_there_and_takes_what_they_give(tmp_path):
    """By a type checker, which needs no training: names, arguments, attributes that may be None."""
    for path in NOTEBOOKS:
        (tmp_path / f"notebook_{path.stem}.py").write_text(_code(path), encoding="utf-8")
    settings = {
        "include": [str(tmp_path)],
        "extraPaths": [str(ROOT), str(ROOT / "tests")],
        "typeCheckingMode": "basic",
        "reportAttributeAccessIssue": "error",
        "reportOptionalMemberAccess": "none",
    }
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings), encoding="utf-8")
    command = [sys.executable, "-m", "pyright", "-p", str(tmp_path), "--pythonpath", sys.executable, "--outputjson"]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    said = json.loads(shown.stdout)
    assert len(NOTEBOOKS) == said["summary"]["filesAnalyzed"]
    assert [] == [
        f"{Path(each['file']).name}:{each['range']['start']['line'] + 1}: {each['message']}"
        for each in said["generalDiagnostics"]
        if each["severity"] == "error"
    ]


def test_the_first_notebook_runs_from_a_clean_kernel(runner, tmp_path):
    """It trains, and shows the plan, the dataset, answers, the exam's table and a plot."""
    notebook = runner.execute(NOTEBOOKS[0], tmp_path)
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert [] == [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]
    shown = json.dumps(outputs)
    for word in ("training pairs", "instruction", "confidence", "taught wordings", "image/svg+xml", "report.html"):
        assert word in shown
    assert (tmp_path / "notebook_runs" / "mooring" / "run.json").is_file()


def test_a_notebook_is_run_without_keys(runner, monkeypatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-never")
    assert "ANTHROPIC_API_KEY" not in runner.environment()
    assert runner.environment()["HF_HUB_OFFLINE"] == "1"


def test_what_was_never_run_is_shown_as_it_is(runner, monkeypatch, tmp_path):
    """So that the docs have every page without training anything; what was run stays."""
    (tmp_path / NOTEBOOKS[0].name).write_text("{}", encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["run.py", "--as-they-are", "--out", str(tmp_path)])
    runner.main()
    assert [path.name for path in NOTEBOOKS] == sorted(path.name for path in tmp_path.iterdir())
    assert (tmp_path / NOTEBOOKS[0].name).read_text("utf-8") == "{}"
    assert NOTEBOOKS[1].read_bytes() == (tmp_path / NOTEBOOKS[1].name).read_bytes()
