"""A plan by the replies so far, beside what the run then takes."""

from pathlib import Path

import pytest
from paid import pipeline, servers

from text2expert import Ledger

SAMPLE = Path("text2expert/samples/vessel_mooring_sop.txt")


@pytest.mark.parametrize("rewrites", [0, 1])
def test_a_preview_foretells_the_tokens_that_a_run_sends(tmp_path, rewrites):
    """Restatements too, although a preview makes none: their prompts are shorter than those of lessons."""
    source = tmp_path / "mooring.txt"
    source.write_text(SAMPLE.read_text("utf-8")[:9000], "utf-8")
    with servers() as (chat, messages):
        steps = pipeline(chat, messages, teacher={"rewrites": rewrites})
        preview = steps.preview(source, n=3, out=tmp_path / "run")
        steps.run(source, out=tmp_path / "run", fine_tune=False)
        with Ledger(tmp_path / "run") as ledger:
            used = ledger.usage("teacher")
        planned = preview.plan.steps[0].estimate
        assert planned.calls == pytest.approx(used.calls, rel=0.1)
        assert planned.input_tokens == pytest.approx(used.calls * used.input_tokens, rel=0.1)
        again = steps.plan(source, out=tmp_path / "run").steps[0].estimate
        assert again.input_tokens == pytest.approx(used.calls * used.input_tokens, rel=0.1)
