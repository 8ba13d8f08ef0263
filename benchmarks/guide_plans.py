"""What the plan says of the sizes that the users' guide names; nothing is sent, nothing is taught.

    python benchmarks/guide_plans.py

The guide's job is 400 passages with five questions each, half of them verified, one teacher's call a passage; five documents are
five of it. Its text is that of ``benchmarks/reference_job.py``; the five are those of ``benchmarks/several_documents.py``. Training is planned for an RTX 4090 at published speeds, and
renting it is not in these dollars.
"""

import os
import tempfile
from pathlib import Path

import reference_job
import several_documents

from text2expert import Pipeline, Teacher, Trainer, Verifier


def main() -> None:
    """Print a row for each size and setting."""
    os.chdir(tempfile.mkdtemp())
    text = reference_job.text()
    one = Path("one.txt")
    one.write_text(text)
    five = several_documents.of_the_guide()
    large = Path("five_megabytes.txt")
    large.write_text("\n\n".join(text.replace("pump", f"pump{number}") for number in range(20)))
    trainer = Trainer("mistralai/Mistral-7B-v0.1", train_anyway=True)
    as_guide = Pipeline(teacher=Teacher(cross_section=0, rewrites=0), verifier=Verifier(sample=0.5), trainer=trainer)
    default = Pipeline.cloud(trainer=trainer)
    for name, pipeline, source in (
        ("the guide's job, as it has it", as_guide, one),
        ("the guide's job, our defaults", default, one),
        ("five documents, as the guide has it", as_guide, five),
        ("five documents, our defaults", default, five),
        ("5 MB, our defaults", default, large),
    ):
        plan = pipeline.plan(source)
        low = sum(float(step.estimate.usd_low) for step in plan.steps)
        high = sum(float(step.estimate.usd_high) for step in plan.steps)
        print(
            f"{name}: {plan.n_chars / 1e6:.2f} MB, {plan.chunks:,} chunks, {plan.items:,} questions, ${low:.2f} to "
            f"${high:.2f}, asking {max(step.estimate.seconds for step in plan.steps) / 60:.0f} min, training "
            f"{(plan.training.seconds or 0) / 60:.0f} min"
        )


if __name__ == "__main__":
    main()
