"""The documentation as a whole: every page is found, drawings and reference are of what there is, first steps work."""

import importlib.util
import re
import tomllib
import xml.etree.ElementTree as ET
from fnmatch import fnmatch
from pathlib import Path
from unittest.mock import create_autospec

import pytest

import text2expert
from text2expert import Answer, Expert, Run, golden

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
FIRST = ("README.md", "docs/index.md", "docs/quickstart_offline.md", "docs/quickstart_keys.md")
"""What a newcomer copies from."""


def pages():
    """Every page, as toctrees name it."""
    found = (page.relative_to(DOCS) for kind in ("*.md", "*.ipynb") for page in DOCS.rglob(kind))
    return {page.with_suffix("").as_posix() for page in found if page.parts[0] != "_build"}


def toctree(page):
    """What the toctrees of *page* name, patterns spelled out."""
    text = (DOCS / f"{page}.md").read_text("utf-8") if (DOCS / f"{page}.md").exists() else ""
    named = []
    for block in re.findall(r"^```{toctree}\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        for line in filter(None, (line.strip() for line in block.splitlines())):
            if not line.startswith(":"):
                entry = re.sub(r".*<(.+)>", r"\1", line)
                entry = (Path(page).parent / entry).as_posix()
                named += sorted(each for each in pages() if fnmatch(each, entry)) if "*" in entry else [entry]
    return named


def test_every_page_is_reached_from_the_index():
    reached, todo = set(), ["index"]
    while todo:
        page = todo.pop()
        if page not in reached:
            reached.add(page)
            todo += toctree(page)
    assert pages() == reached


def test_no_page_is_in_two_places_of_the_contents():
    named = [entry for page in pages() for entry in toctree(page)]
    assert sorted(set(named)) == sorted(named)


def test_the_reference_has_every_public_name_once():
    listed = []
    for page in (DOCS / "api").glob("*.md"):
        for block in re.findall(
            r"currentmodule:: text2expert\n(.*?)^```", page.read_text("utf-8"), re.DOTALL | re.MULTILINE
        ):
            listed += re.findall(r"^\.\. auto(?:class|exception):: (\w+)$", block, re.MULTILINE)
    assert sorted(text2expert.__all__) == sorted(listed)


@pytest.fixture(scope="module")
def floors():
    """``docs/floors.py``."""
    spec = importlib.util.spec_from_file_location("floors", DOCS / "floors.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_floors_are_drawn_as_the_contract_has_them(floors, tmp_path):
    """Every module of the package, from the top down, in both drawings."""
    (contract,) = (
        each["layers"]
        for each in PYPROJECT["tool"]["importlinter"]["contracts"]
        if each.get("containers") == ["text2expert"]
    )
    expected = re.findall(r"\w+", " ".join(contract))
    floors.draw(ROOT / "pyproject.toml", tmp_path)
    for name in ("floors.svg", "floors_tall.svg"):
        texts = ET.parse(tmp_path / name).iter("{http://www.w3.org/2000/svg}text")
        drawn = " ".join(each.text for each in texts if each.get("class") == "module")
        assert [*expected, "recipes", "samples"] == re.findall(r"\w+", drawn)


def test_a_storey_that_is_gone_is_said(floors):
    with pytest.raises(ValueError, match=r"no floor of pyproject\.toml has 'runfolder' any more: mend STOREYS"):
        floors.storeys([[module] for module in floors.STOREYS if module != "runfolder"])


@pytest.mark.parametrize("name", ["data_path.svg", "data_path_tall.svg"])
def test_a_drawing_names_the_steps_and_keeps_to_the_colours_of_its_page(name):
    text = (DOCS / "_static" / name).read_text("utf-8")
    drawing = ET.fromstring(text)
    steps = [each.text for each in drawing.iter("{http://www.w3.org/2000/svg}text") if "step" in each.get("class", "")]
    assert sorted(steps) == ["Chunker", "Examiner", "Teacher", "Trainer", "Verifier"]
    assert all(hasattr(text2expert, step) for step in steps)
    assert not re.search(r'(?:fill|stroke)="#', text)


@pytest.mark.parametrize("page", FIRST)
def test_what_a_newcomer_copies_is_there(page):
    """Targets of make, extras of the package, the pinned torch, and the files that are named."""
    text = (ROOT / page).read_text("utf-8")
    makefile = (ROOT / "Makefile").read_text("utf-8")
    code = "\n".join([*re.findall(r"`([^`]+)`", text), *re.findall(r"^(?:    )?\S.*$", text, re.MULTILINE)])
    for target in re.findall(r"\bmake ([a-z]+)\b(?=`|\s{2,}|$)", code, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"make {target}"
    for extras in re.findall(r'"\.\[([\w,]+)\]"', text):
        assert set(extras.split(",")) <= set(PYPROJECT["project"]["optional-dependencies"])
    for pin in re.findall(r'"(torch==[\w.]+)"', text):
        assert pin in (ROOT / "constraints.txt").read_text("utf-8").splitlines()


def test_the_tree_of_the_readme_has_every_module():
    """A line for each, or a place on one."""
    tree = (ROOT / "README.md").read_text("utf-8").split("## The tree")[1]
    package = ROOT / "text2expert"
    modules = [each.name for each in package.glob("*.py") if each.name != "__main__.py"]
    packages = [f"{each.parent.name}/" for each in package.glob("*/__init__.py")]
    named = re.findall(r"(?:^ {6}|  )(\w+(?:\.py|/))", tree, re.MULTILINE)
    assert [] == sorted({*modules, *packages, "recipes/", "samples/"} - set(named))
    assert all((package / each).exists() or (ROOT / each).exists() for each in named)


def test_the_offline_quickstart_runs_block_after_block(tmp_path, monkeypatch, capsys):
    """As it stands, but for the training: the run stops before it, and the expert says what it is told."""
    monkeypatch.chdir(tmp_path)
    expert = create_autospec(Expert, instance=True)
    expert.ask.return_value = Answer(text="Every 12 months.", confidence=0.9, supported=True)
    monkeypatch.setattr(Run, "expert", expert)
    text = (DOCS / "quickstart_offline.md").read_text("utf-8")
    trained = 'pipeline.run("vessel_mooring_sop.txt")'
    assert 1 == text.count(trained)
    text = text.replace(trained, 'pipeline.run("vessel_mooring_sop.txt", fine_tune=False)')
    names: dict[str, object] = {}
    for block in re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        exec(compile(block, "quickstart_offline.md", "exec"), names)
    said = capsys.readouterr().out
    assert "nobody: it stays on this machine" in said
    assert "Every 12 months. 0.9 True" in said
    assert names["again"].receipt["counts"]["gold"] == len(names["again"].gold)
    assert (tmp_path / "expert_model_vessel_mooring_sop" / "report.html").is_file()
    (asked,) = expert.ask.call_args.args
    assert "every 12 months" in next(
        record.output
        for record in golden.load(names["run"].folder / "golden_dataset.jsonl")
        if asked == record.instruction
    )
