"""What a plan of a training says: the base's size without loading it, memory, time, and whether it could teach anything."""

import json
import struct

import attrs
import pytest
from deck import gold
from hypothesis import given
from hypothesis import strategies as st

from text2expert.errors import InputError, NoGPUError, RunnerError, StarvedRunError
from text2expert.records import GoldRecord, Quote, write_jsonl
from text2expert.runners import gpus
from text2expert.runners.local import Local
from text2expert.trainer import CLOUD_BASE, Trainer, bases, estimates

LLAMA_2_7B = {
    "hidden_size": 4096, "num_hidden_layers": 32, "intermediate_size": 11008, "vocab_size": 32000,
    "num_attention_heads": 32, "num_key_value_heads": 32,
}  # fmt: skip
QWEN_2_5_7B = {
    "hidden_size": 3584, "num_hidden_layers": 28, "intermediate_size": 18944, "vocab_size": 152064,
    "num_attention_heads": 28, "num_key_value_heads": 4,
}  # fmt: skip


class Paid:
    """A runner that costs money and, asked to run, says that it was."""

    async def quote(self, job):
        return Quote(usd=1.0, seconds=60.0)

    async def run(self, job):
        raise RunnerError("it was started")


def many(facts, wordings=4):
    """So many facts, each in so many wordings."""
    return [
        GoldRecord(
            instruction=f"Wording {w}: what is the limit of valve {n}?", output=f"{n} bar", item=str(n), fact=str(n)
        )
        for n in range(facts)
        for w in range(wordings)
    ]


def folder_of(path, config, **more):
    path.mkdir()
    (path / "config.json").write_text(json.dumps(config))
    for name, value in more.items():
        (path / name.replace("__", ".")).write_text(json.dumps(value))
    return str(path)


# The size of a base


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("mistralai/Mistral-7B-v0.1", 7e9),
        ("meta-llama/Llama-2-7b-hf", 7e9),
        ("meta-llama/Llama-3.1-8B-Instruct", 8e9),
        ("Qwen/Qwen2.5-0.5B-Instruct", 0.5e9),
        ("Qwen/Qwen3-30B-A3B", 30e9),
        ("HuggingFaceTB/SmolLM2-135M", 135e6),
        ("microsoft/phi-4", None),
        ("openai-community/gpt2", None),
        ("some/model-v2.5", None),
        ("some/7Bananas", None),
    ],
)
def test_a_name_says_how_large_a_base_is(name, parameters):
    """As publishers write it; a version or a word is no size."""
    assert Trainer(name).parameters == parameters


def test_a_mixture_counts_all_of_its_experts():
    """All of them lie in the memory, however few are used for a token: Mixtral has 46.7 billion."""
    assert Trainer("mistralai/Mixtral-8x7B-v0.1").parameters == pytest.approx(46.7e9, rel=0.01)


@pytest.mark.parametrize(
    ("config", "published"),
    [
        (LLAMA_2_7B, 6.738e9),
        (QWEN_2_5_7B, 7.616e9),
        ({**QWEN_2_5_7B, "hidden_size": 896, "num_hidden_layers": 24, "intermediate_size": 4864, "vocab_size": 151936,
          "num_attention_heads": 14, "num_key_value_heads": 2, "tie_word_embeddings": True}, 0.494e9),
        ({"text_config": LLAMA_2_7B}, 6.738e9),
    ],
)  # fmt: skip
def test_a_shape_says_how_large_a_base_is(tmp_path, config, published):
    """Within a per mille of what publishers say."""
    assert Trainer(folder_of(tmp_path / "base", config)).parameters == pytest.approx(published, rel=1e-3)


def test_weights_are_counted_where_they_lie(tmp_path):
    """Their headers are exact, whatever the architecture."""
    base = folder_of(tmp_path / "base-7B", {"model_type": "unheard-of"})
    for part, shape in (("a", [20, 30]), ("b", [5])):
        header = json.dumps(
            {"x": {"dtype": "BF16", "shape": shape, "data_offsets": [0, 0]}, "__metadata__": {"a": "b"}}
        )
        (tmp_path / "base-7B" / f"{part}.safetensors").write_bytes(struct.pack("<Q", len(header)) + header.encode())
    assert Trainer(base).parameters == 605


@pytest.mark.parametrize(
    ("index", "parameters"),
    [
        ({"metadata": {"total_size": 14_483_464_192}, "weight_map": {"x": "gone.safetensors"}}, 7_241_732_096),
        ({"metadata": {"total_size": 10, "total_parameters": 7}, "weight_map": {}}, 7),
        ({"metadata": []}, 7e9),
    ],
)
def test_an_index_of_shards_stands_for_them(tmp_path, index, parameters):
    """As weights of 16 bits where it counts bytes alone; a damaged one leaves the name."""
    base = folder_of(tmp_path / "base-7B", {}, model__safetensors__index__json=index)
    assert Trainer(base).parameters == parameters


def test_damaged_weights_leave_the_shape(tmp_path):
    """A plan needs no sound weights."""
    base = folder_of(tmp_path / "base", LLAMA_2_7B)
    (tmp_path / "base" / "model.safetensors").write_bytes(b"\xff" * 100)
    assert Trainer(base).parameters == pytest.approx(6.738e9, rel=1e-3)


def test_nothing_is_known_of_an_empty_shape(tmp_path):
    """And nothing is claimed."""
    plan = Trainer(folder_of(tmp_path / "base", {})).plan(gold())
    assert (plan.parameters, plan.memory_gb, plan.seconds, plan.minutes) == (None, {}, None, None)


# Memory and time


@pytest.mark.parametrize(("precision", "published"), [("nf4", 7.4), ("bf16", 16.2)])
def test_memory_agrees_with_what_was_published(precision, published):
    """Llama-3.1-8B at rank 8 in torchtune's README, in GiB and without the driver's share: within a tenth."""
    gb = estimates.memory_gb(8.03e9, 8, precision) - 0.8
    assert gb * 1e9 / 2**30 == pytest.approx(published, rel=0.1)


@given(st.floats(1e6, 1e12), st.floats(1.01, 10), st.integers(1, 512))
def test_memory_grows_with_the_base_and_the_rank(parameters, factor, r):
    """And 4 bits take less than 16, always."""
    for precision in ("nf4", "bf16"):
        less = estimates.memory_gb(parameters, r, precision)
        assert less < estimates.memory_gb(parameters * factor, r, precision)
        assert less < estimates.memory_gb(parameters, r + 1, precision)
    nf4, bf16, fp32 = (estimates.memory_gb(parameters, r, name) for name in ("nf4", "bf16", "fp32"))
    assert nf4 < bf16 < fp32


def test_a_7b_base_is_trained_in_4_bits_within_12_gb():
    """At the default rank."""
    plan = Trainer(CLOUD_BASE).plan(many(300))
    assert plan.memory_gb["nf4"] < 12 < plan.memory_gb["bf16"] < 24
    assert plan.minutes == plan.seconds / 60


def test_a_plan_of_a_real_base_says_what_it_takes(tmp_path):
    """Memory for both precisions; minutes, and that they are not ours."""
    shown = str(Trainer(CLOUD_BASE).plan(many(300)))
    assert "exposures a fact, about" in shown
    assert "min on an RTX 4090, by published speeds; a card of 11 GB quantised (nf4) or 19 GB in bf16" in shown


def test_twice_the_epochs_take_twice_the_tokens():
    """And the time grows by what the card needs for them."""
    one, two = (Trainer("some/model-8B", epochs=n, replay=False).plan(many(500)) for n in (4, 8))
    assert two.tokens == 2 * one.tokens
    assert two.seconds - one.seconds == pytest.approx(one.tokens / 2413, rel=0.01)


@pytest.mark.parametrize(
    ("settings", "known"),
    [
        ({"model": "some/model-70B"}, False),
        ({"model": "some/model-135M"}, False),
        ({"model": "some/model-7B", "precision": "fp32"}, False),
        ({"model": "some/model-14B", "precision": "bf16"}, False),
        ({"model": "some/model-14B"}, True),
    ],
)
def test_no_time_is_promised_that_nobody_published(settings, known):
    """For what does not fit the card of the anchor, or is too small to scale it."""
    assert (Trainer(**settings).plan(many(100)).seconds is not None) == known


def test_what_is_mixed_in_counts():
    """Text and replay are rows and tokens beside the dataset's."""
    bare = Trainer("some/model-7B", text_share=0, replay=False).estimate(records=1000, characters=10**5, facts=250)
    mixed = Trainer("some/model-7B").estimate(records=1000, characters=10**5, facts=250)
    assert mixed.tokens == pytest.approx(bare.tokens / 0.55, rel=1e-3)
    assert mixed.steps > bare.steps
    assert mixed.exposures_per_fact == bare.exposures_per_fact == 16
    assert (bare.shares, mixed.shares) == ({}, {"text": 0.2, "replay": 0.25})
    assert "(20 % text, 25 % replay)" in str(mixed)


def test_a_job_says_what_its_machine_needs(tmp_path):
    """For whoever rents one: 4 bits where nothing else is asked for."""
    write_jsonl(tmp_path / "golden_dataset.jsonl", many(100))
    needs = [
        Trainer("some/model-7B", precision=precision).job(tmp_path / precision, tmp_path / "golden_dataset.jsonl").needs
        for precision in ("auto", "bf16", "fp32")
    ]
    assert [round(each.vram_gb) for each in needs] == [10, 19, 35]
    assert {each.disk_gb for each in needs} == {28.0}
    assert needs[0].tokens > 10_000


# Starved


@pytest.mark.parametrize(
    ("settings", "facts", "wordings", "coverage", "reasons"),
    [
        ({}, 100, 4, 0.5, []),
        ({}, 100, 4, None, []),
        ({}, 10, 4, 0.5, ["40 training pairs"]),
        ({"epochs": 2}, 200, 1, 0.5, ["asked 2.0 times"]),
        ({"max_steps": 3}, 100, 4, 0.5, ["asked 0."]),
        ({}, 100, 4, 0.1, ["10 % of the text"]),
        ({"epochs": 1}, 10, 1, 0.0, ["10 training pairs", "asked 1.0 times", "0 % of the text"]),
    ],
)
def test_a_training_that_teaches_nothing_says_why(settings, facts, wordings, coverage, reasons):
    """Pairs, exposures and coverage have a floor each."""
    trainer = Trainer("some/model-7B", validation=0, replay=False, **settings)
    starved = trainer.plan(many(facts, wordings), coverage=coverage).starved
    assert len(starved) == len(reasons)
    assert all(reason in said for reason, said in zip(reasons, starved, strict=True))


@pytest.mark.parametrize(
    ("model", "epochs", "noted"),
    [
        ("some/model-7B", 2, True),
        ("some/model", 2, True),
        ("some/model-7B", 4, False),
        ("some/model-7B", 1, False),
        (None, 2, False),
    ],
)
def test_few_exposures_are_noted(model, epochs, noted):
    """Where they are neither enough nor so few that the training is starved; the toy proves that all works."""
    plan = Trainer(model, epochs=epochs, validation=0).plan(many(100))
    assert [note for note in plan.notes if "times over the whole training" in note] == list(plan.notes)
    assert bool(plan.notes) == noted


def test_a_starved_training_does_not_start_where_it_costs_money(tmp_path):
    """Nothing was written, and the message says how to insist."""
    with pytest.raises(StarvedRunError, match=r"24 training pairs.*What is there is kept.*--train-anyway"):
        Trainer("some/model-7B", runner=Paid()).train(gold(), folder=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("settings", "records"), [({"train_anyway": True}, gold()), ({}, many(100))], ids=["insisting", "well fed"]
)
def test_it_starts_where_somebody_insists_or_nothing_is_wrong(tmp_path, settings, records):
    """As far as the runner."""
    with pytest.raises(RunnerError, match="it was started"):
        Trainer("some/model-7B", runner=Paid(), **settings).train(records, folder=tmp_path / "run")


async def _train(trainer, folder):
    await trainer.atrain(gold(), folder=folder)


def test_async_callers_are_stopped_too(tmp_path):
    """No way in leads around it."""
    from text2expert import _sync

    with pytest.raises(StarvedRunError):
        _sync.run(_train(Trainer("some/model-7B", runner=Paid()), tmp_path / "run"))


def test_a_free_machine_may_waste_its_time(tmp_path, capsys):
    """It is said, and goes on."""
    Trainer("some/model-135M").check_fed(gold())
    assert "This training will teach next to nothing: 24 training pairs" in capsys.readouterr().err
    Trainer().check_fed(gold())
    assert capsys.readouterr().err == ""


# No GPU


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(gpus, "_DEVICES", ())
    gpus.cuda.cache_clear()


@pytest.mark.parametrize("runner", [None, Local(processes=2)])
def test_a_large_base_without_a_gpu_is_refused(no_gpu, runner):
    """With its size and every way out."""
    with pytest.raises(NoGPUError) as caught:
        Trainer(CLOUD_BASE, runner=runner).check()
    said = str(caught.value)
    words = ("7.0 billion", "no CUDA GPU", "--no-fine-tune", "--gold", "--base none", "--train-anyway", CLOUD_BASE)
    assert [word for word in words if word not in said] == []


@pytest.mark.parametrize(
    "trainer",
    [
        Trainer(),
        Trainer("some/model-1B"),
        Trainer("some/model"),
        Trainer(CLOUD_BASE, train_anyway=True),
        Trainer(CLOUD_BASE, runner=Paid()),
    ],
    ids=["toy", "small", "of unknown size", "insisting", "elsewhere"],
)
def test_others_are_not(no_gpu, trainer):
    """A machine elsewhere has what it has."""
    trainer.check()
    assert trainer.problem() == ""


def test_a_gpu_is_found_through_torch(tmp_path, monkeypatch):
    """Where a driver is, torch is asked, in a process of its own; what it says counts."""
    device = tmp_path / "nvidiactl"
    device.touch()
    monkeypatch.setattr(gpus, "_DEVICES", (str(device),))
    for answer, found in (("True", True), ("False", False), ("", False)):
        python = tmp_path / f"python{answer}"
        python.write_text(f"#!/bin/sh\necho {answer}\n" if answer else "#!/bin/sh\nexit 1\n")
        python.chmod(0o755)
        assert gpus.cuda(str(python)) == found
        assert bool(Trainer(CLOUD_BASE, runner=Local(python=str(python))).problem()) != found
    assert gpus.cuda(str(tmp_path / "gone")) is False


def test_a_folder_has_no_revision(tmp_path):
    """What lies there is what is trained."""
    base = folder_of(tmp_path / "base", LLAMA_2_7B)
    with pytest.raises(InputError, match="revision='main' is of a model of the hub"):
        bases.check(base, "main")
    with pytest.raises(InputError, match="is of a model of the hub"):
        Trainer(base, revision="main").check()


def test_plans_are_values():
    """A note is put on a copy."""
    plan = Trainer().plan(gold())
    assert attrs.evolve(plan, notes=("Slow.",)).notes == ("Slow.",)
    assert plan.notes == ()
