"""The users' guide's job at the prices of today: 400 passages, 2,000 questions, half of them verified.

    python benchmarks/reference_job.py

Both steps run against servers on this machine that speak the providers' protocols and answer at the length that real
models are reported to (about 3,000 tokens for a teacher's call of five questions with its thinking, 60 to 120 for a
verdict). The job is the guide's: one call for each passage, neither restatements nor calls over several passages, which are
shown in a third run with all defaults. Printed are the plan before it, the ledger after it, and what the same job costs with the cheap verifier in
batches. Prices are those of the hour: DeepSeek's peak hours double the teacher's.
"""

import json
import random
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from chat_server import Answer, ChatServer
from messages_server import KEY, MessagesServer
from paid import TEACHER_KEY
from scripted_models import fences, judge, prompt_of

from text2expert import LLM, Chunker, Document, Pipeline, Teacher, Verifier

PASSAGES = 400
QUESTIONS = 5
GUIDE_USD = 15.0


def text() -> str:
    """A manual of 400 short sections, each of which fills one passage with facts of its own."""
    draw = random.Random(0)
    parts = []
    for number in range(1, PASSAGES + 1):
        name = f"{draw.choice(('north', 'south', 'upper', 'lower', 'inner'))} {draw.choice(('pump', 'valve', 'crane', 'boiler', 'winch'))} {number}"
        facts = [
            f"The {name} is checked every {draw.randint(2, 90)} hours, and its log {number}-{fact} is kept for {draw.randint(1, 9)} years by the {draw.choice(('mate', 'engineer', 'bosun'))} on watch unless the harbour master decides otherwise."
            for fact in range(4)
        ]
        parts.append(f"{number}. {name.upper()}\n\n" + "\n".join(facts))
    return "\n\n".join(parts) + "\n"


def teach(body: dict, _: int) -> Answer:
    """Five questions about the passage, in four wordings, with thinking of realistic length."""
    passages = fences(prompt_of(body), "passage")
    if "restatement" in prompt_of(body):
        words = passages[0].split()
        return Answer(
            json.dumps({"rewrites": [{"text": " ".join(words[len(words) // 2 :] + words[: len(words) // 2])}]}),
            reasoning="So. " * 500,
        )
    if len(passages) > 1:
        return Answer(json.dumps({"items": []}), reasoning="So. " * 1500)
    lines = [line for line in passages[0].splitlines() if line.startswith("The ")]
    items = []
    for number in range(QUESTIONS):
        line = lines[number % len(lines)]
        subject = line[4 : line.index(" is checked")]
        asked = ("is it checked", "is its log kept")[number // len(lines)]
        items.append(
            {
                "evidence": [line],
                "question": f"How often or how long {asked} at the {subject}, entry {number}?",
                "reasoning": f"The section on the {subject} says so in its line on entry {number}. " * 2,
                "answer": line,
                "short_answer": "",
                "difficulty": "medium",
                "wordings": [
                    f"{start} the {subject}, entry {number}: how often or how long {asked}?"
                    for start in ("Of", "About", "For")
                ],
            }
        )
    return Answer(json.dumps({"items": items}), reasoning="The passage says it plainly. " * 300)


def run(verifier: str, folder: Path, *, batch: bool, **settings: float) -> None:
    """One job, printed: plan, ledger, difference."""
    with ChatServer(teach, keys={TEACHER_KEY}) as chat, MessagesServer(judge, batch_s=1.0) as messages:
        pipeline = Pipeline(
            chunker=Chunker(size=800, overlap=100),
            teacher=Teacher(
                LLM("deepseek/deepseek-flash", base_url=chat.url, api_key=TEACHER_KEY, concurrency=32), **settings
            ),
            verifier=Verifier(
                LLM(f"anthropic/{verifier}", base_url=messages.url, api_key=KEY, concurrency=32, batch=batch),
                sample=0.5,
            ),
        )
        source = Document.from_text(text(), id="manual")
        plan = pipeline.plan(source, out=folder)
        done = pipeline.run(source, out=folder, fine_tune=False).receipt
    cost = float(done["cost_usd"])
    print(
        f"\n{verifier}{', in batches' if batch else ''}{'' if settings else ', all defaults'}: {done['counts']['items']:,} questions in {done['counts']['parsed']:,} wordings from {plan.chunks:,} passages"
    )
    for step, part in done["costs"].items():
        print(f"  {step:<9} ${float(part['settled_usd']):.3f} for {part['replies']:,} replies")
    within = "within" if plan.usd_low <= cost <= plan.usd_high else "OUTSIDE"
    print(
        f"  in all    ${cost:.3f}, {within} the plan of ${plan.usd_low:.2f} to ${plan.usd_high:.2f}; the guide said ${GUIDE_USD:.0f}"
    )


def main() -> None:
    now = datetime.now(UTC)
    print(f"{now:%Y-%m-%d %H:%M} UTC")
    with tempfile.TemporaryDirectory() as folder:
        guide = {"rewrites": 0, "cross_section": 0.0}
        run("claude-sonnet-5-5", Path(folder) / "sonnet", batch=False, **guide)
        run("claude-haiku-5-5", Path(folder) / "haiku", batch=True, **guide)
        run("claude-sonnet-5-5", Path(folder) / "defaults", batch=False)


if __name__ == "__main__":
    main()
