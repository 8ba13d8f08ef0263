"""What the documentation shows runs as it stands."""

import re
from pathlib import Path

from text2expert import LLM, Price
from text2expert.testing import ScriptedProvider

DOCS = Path(__file__).parent.parent / "docs"


def test_the_page_on_own_steps_runs_block_after_block(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / "own_steps.md").read_text("utf-8"), re.DOTALL)
    assert len(blocks) == 3
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "own_steps.md", "exec"), names)
    assert names["run"].receipt["requests"] == 2


def test_the_entry_point_that_the_page_shows_is_found_by_name(tmp_path, monkeypatch):
    (tmp_path / "shouting-1.dist-info").mkdir()
    (tmp_path / "shouting-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: shouting\nVersion: 1\n")
    shown = re.search(
        r"```toml\n\[project\.entry-points\.\"(.+?)\"\]\n(\w+) = \"(.+?)\"", (DOCS / "own_steps.md").read_text("utf-8")
    )
    assert shown is not None
    group, name, target = shown.groups()
    (tmp_path / "shouting-1.dist-info" / "entry_points.txt").write_text(f"[{group}]\n{name} = {target}\n")
    module, function = target.split(":")
    (tmp_path / f"{module}.py").write_text(
        "from text2expert.testing import ScriptedProvider\n"
        f"def {function}(base_url, api_key):\n    return ScriptedProvider([str((base_url, api_key))])\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    llm = LLM(f"{name}/large", base_url="https://models.example", api_key="k", price=Price(input=1, output=1))
    assert isinstance(llm._provider, ScriptedProvider)
