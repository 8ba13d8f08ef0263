"""Training with LLaMA-Factory's command: a stand-in that really trains, and commands that fail in every way."""

import contextlib
import json
import os
import re
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from deck import gold
from tiny import llama, tokenizer_of

from text2expert import exports
from text2expert.expert import Expert
from text2expert.records import write_jsonl
from text2expert.runners.local import Local
from text2expert.trainer import Trainer

STANDIN = Path(__file__).parent / "llamafactory_standin.py"

# PEFT reads an attribute of transformers that was renamed.
pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")


def command(path, script):
    path.parent.mkdir(exist_ok=True)
    path.write_text(script)
    path.chmod(0o755)
    return str(path)


@pytest.fixture(scope="module")
def base(recipes, tmp_path_factory):
    """A tiny base that knows nothing, in a folder."""
    folder = tmp_path_factory.mktemp("bases") / "base"
    tokenizer = tokenizer_of(recipes)
    llama(tokenizer).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def standin(tmp_path_factory):
    """The stand-in as a command."""
    return command(
        tmp_path_factory.mktemp("bin") / "llamafactory-cli", f'#!/bin/sh\nexec {sys.executable} {STANDIN} "$@"\n'
    )


@pytest.fixture(scope="module")
def trained(base, standin, tmp_path_factory):
    """A run folder as `Trainer.train` leaves it, of a base that was trained with the stand-in."""
    folder = tmp_path_factory.mktemp("llamafactory") / "run"
    folder.mkdir()
    write_jsonl(folder / "golden_dataset.jsonl", gold())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DEEPSEEK_API_KEY", "sk-of-a-teacher")
        patch.setenv("HF_TOKEN", "hf-of-a-hub")
        # As the real one does: what lies beside its command is what its own environment has.
        patch.setenv("PATH", "/usr/bin:/bin")
        trainer = Trainer(
            base, backend="llamafactory", llamafactory=standin, epochs=200, max_steps=60, learning_rate=2e-2, r=8, alpha=8,
            system="Answer from the deck.", runner=Local(threads=1),
        )  # fmt: skip
        adapter = trainer.train(folder / "golden_dataset.jsonl")
    return folder, adapter


def job(folder, base, cli, **more):
    """A job folder for the recipe alone; the current one when it is run."""
    folder.mkdir(exist_ok=True)
    (folder / "stages" / "train").mkdir(parents=True, exist_ok=True)
    settings = exports.stage_settings(gold()[:6], folder, command=str(cli), base=str(base), **more)
    (folder / "stages" / "train" / "job.json").write_text(json.dumps(settings))
    return "stages/train/job.json"


def leaves(made, log="", code=0):
    """A command that leaves what a real training has left, says *log* and ends."""
    copy = f"cp -r {made} output\n" if made else "mkdir -p output\n"
    return f"#!/bin/sh\n{copy}cat <<'END'\n{log}\nEND\nexit {code}\n"


@pytest.fixture(scope="module")
def made(trained, tmp_path_factory):
    """What LLaMA-Factory leaves in its output folder."""
    folder = tmp_path_factory.mktemp("made") / "output"
    folder.mkdir()
    expert = trained[0] / "expert"
    for name in ("adapter_model.safetensors", "adapter_config.json", "tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((expert / name).read_bytes())
    (folder / "chat_template.jinja").write_bytes((expert / "chat_template.jinja").read_bytes())
    (folder / "trainer_log.jsonl").write_text(
        json.dumps({"current_steps": 1, "total_steps": 2, "loss": 2.0, "lr": 1e-3, "epoch": 0.5}) + "\n"
        + json.dumps({"current_steps": 2, "total_steps": 2, "loss": 1.0, "lr": 1e-4, "epoch": 1.0}) + "\n"
        + '{"current_steps": 2, "tot'
    )  # fmt: skip
    return folder


# -- the whole way --------------------------------------------------------------------------------------------------------


def test_the_expert_answers_what_was_trained(trained):
    """Through the child process that asks any expert: prompt, stop token and limit are those of the training."""
    folder, _ = trained
    records = gold()[:6]
    with Expert.load(folder) as expert:
        answers = [answer.text for answer in expert.ask_many([record.instruction for record in records])]
    assert answers == [record.output for record in records]


def test_the_expert_folder_is_like_any_other(trained, base):
    folder, adapter = trained
    names = {path.name for path in (folder / "expert").iterdir()}
    assert names == {
        "adapter_model.safetensors", "adapter_config.json", "tokenizer.json", "tokenizer_config.json",
        "chat_template.jinja", "training_args.json", "model_config.json", "training_log.jsonl", "loss.svg",
    }  # fmt: skip
    assert {stat.S_IMODE(path.stat().st_mode) for path in (folder / "expert").iterdir()} == {0o644}
    assert stat.S_IMODE((folder / "expert").stat().st_mode) == 0o700
    config = json.loads((folder / "expert" / "adapter_config.json").read_bytes())
    assert config["base_model_name_or_path"] == str(base)
    assert (adapter.path, adapter.base_model) == (str(folder / "expert"), str(base))


def test_training_args_say_how_it_was_trained(trained, base):
    args = json.loads((trained[0] / "expert" / "training_args.json").read_bytes())
    expected = {
        "backend": "llamafactory",
        "base": str(base),
        "revision": None,
        "precision": "fp32",  # no GPU here
        "system": "Answer from the deck.",
        "reasoning": "none",
        "rows": len(gold()),
        "steps": 60,
    }
    assert expected == {name: args[name] for name in expected}
    assert args["configuration"]["lora_rank"] == 8
    assert args["loss"] < 0.1
    assert args["max_new_tokens"] > 16
    assert args["base_sha256"]


def test_progress_and_log_are_ours(trained):
    """The bar follows it, and its words are in the stage's log."""
    folder, _ = trained
    progress = [json.loads(line) for line in (folder / "stages/train/progress.jsonl").read_text().splitlines()]
    assert [(line["done"], line["total"]) for line in progress] == [(step, 60) for step in range(1, 61)]
    log = [json.loads(line) for line in (folder / "expert/training_log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in log] == list(range(1, 61))
    assert "training example:" in (folder / "stages/train/log.txt").read_text()
    assert "with the very prompt that was trained" in (folder / "stages/train/log.txt").read_text()


def test_what_it_leaves_behind_is_taken_away(trained):
    """The weights are in expert/, once."""
    assert {path.name for path in (trained[0] / "stages/train/llamafactory").iterdir()} == {
        "train.yaml", "train.jsonl", "dataset_info.json", "run.yaml", "output.job",
    }  # fmt: skip


def test_the_same_job_again_runs_nothing(trained, base, standin):
    folder, adapter = trained
    before = (folder / "stages/train/done.json").stat().st_mtime_ns
    trainer = Trainer(
        base, backend="llamafactory", llamafactory=standin, epochs=200, max_steps=60, learning_rate=2e-2, r=8, alpha=8,
        system="Answer from the deck.", runner=Local(threads=1),
    )  # fmt: skip
    assert trainer.train(folder / "golden_dataset.jsonl") == adapter
    assert (folder / "stages/train/done.json").stat().st_mtime_ns == before


# -- what reaches it ------------------------------------------------------------------------------------------------------


def test_no_key_reaches_it(trained):
    """The runner's child environment has none; of a base in a folder, the hub's token is none of its business either."""
    log = (trained[0] / "stages/train/log.txt").read_text()
    environment = json.loads(re.search(r"^environment: (.*)$", log, re.MULTILINE)[1])
    assert environment["HF_HUB_OFFLINE"] == "1"
    assert {"DEEPSEEK_API_KEY", "HF_TOKEN"} & set(environment) == set()
    assert "sk-of-a-teacher" not in log


def test_its_own_environment_comes_first(recipes, monkeypatch):
    """It starts torchrun by name, which must not be that of another torch."""
    monkeypatch.setenv("PATH", "/usr/bin")
    assert (
        recipes["llamafactory"].environment_of("/opt/lf/bin/llamafactory-cli", "a/b")["PATH"] == "/opt/lf/bin:/usr/bin"
    )


def test_a_base_of_the_hub_keeps_the_token_that_may_fetch_it(recipes, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf-of-a-hub")
    assert recipes["llamafactory"].environment_of("/opt/lf", "a/b")["HF_TOKEN"] == "hf-of-a-hub"


def test_a_relative_command_is_found_from_the_job_s_folder(base, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command(tmp_path / "lf" / "llamafactory-cli", "#!/bin/sh\n")
    path = job(tmp_path / "run", base, "lf/llamafactory-cli")
    assert json.loads((tmp_path / "run" / path).read_text())["cli"] == str(tmp_path / "lf" / "llamafactory-cli")


def test_a_base_of_the_hub_that_is_not_known_is_trained_with_its_own_template(tmp_path):
    """There is no argument of the trainer for it, and the recipe sees what was trained."""
    settings = exports.stage_settings(gold(), tmp_path, command="llamafactory-cli", base="some/model-7b")
    assert settings["base"] == "some/model-7b"
    assert "\ntemplate:" not in (tmp_path / settings["dataset_dir"] / settings["config"]).read_text()


# -- prompts --------------------------------------------------------------------------------------------------------------


def shown(tokenizer, prompt, answer, end="<|end|>"):
    """A row as LLaMA-Factory's log shows it."""
    asked = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    said = tokenizer(answer + end, add_special_tokens=False)["input_ids"]
    ids, labels = asked + said, [-100] * len(asked) + said
    return f"training example:\ninput_ids:\n{ids}\ninputs:\n{prompt}{answer}\nlabel_ids:\n{labels}\nlabels:\n{answer}"


@pytest.mark.parametrize("lead", ["", " "])
def test_an_expert_is_asked_as_it_was_trained(recipes, base, made, tmp_path, capsys, lead):
    """Where LLaMA-Factory's template writes something else than the base's, the expert gets one that writes that."""
    tokenizer, record = tokenizer_of(recipes), gold()[0]
    prompt = f"<|user|>System: Be exact.\nHuman: {record.instruction}\nAssistant:"
    cli = command(tmp_path / "cli", leaves(made, shown(tokenizer, prompt, lead + record.output)))
    path = job(tmp_path / "run", base, cli, system="Be exact.")
    with contextlib.chdir(tmp_path / "run"):
        recipes["llamafactory"].main(path)
    from transformers import AutoTokenizer

    expert = AutoTokenizer.from_pretrained(tmp_path / "run" / "expert")
    chat = recipes["chat"]
    assert chat.prompt_of(expert, record.instruction, "Be exact.") == prompt
    assert chat.completion_of(expert, record.instruction, "yes", "Be exact.") == f"{lead}yes<|end|>"
    assert "wrote another prompt than the base's own chat template" in capsys.readouterr().out


def test_a_training_of_something_else_is_stopped_before_it_begins(recipes, base, tmp_path):
    """Nobody could ask such an expert; the command would go on for an hour."""
    tokenizer, record = tokenizer_of(recipes), gold()[0]
    script = leaves(None, shown(tokenizer, "<|user|>How?", record.output)).replace("exit 0", "exec sleep 60")
    started = time.monotonic()
    said = failing(recipes, base, tmp_path, script)
    assert "was stopped before it trained: it would give '<|user|>How?'" in said
    assert time.monotonic() - started < 30


def test_a_log_without_a_row_is_said(recipes, base, made, tmp_path, capsys):
    path = job(tmp_path / "run", base, command(tmp_path / "cli", leaves(made)))
    with contextlib.chdir(tmp_path / "run"):
        recipes["llamafactory"].main(path)
    assert "was not checked" in capsys.readouterr().out
    log = [json.loads(line) for line in (tmp_path / "run/expert/training_log.jsonl").read_text().splitlines()]
    assert log == [
        {"step": 1, "epoch": 0.5, "loss": 2.0, "learning_rate": 1e-3},
        {"step": 2, "epoch": 1.0, "loss": 1.0, "learning_rate": 1e-4},
    ]


# -- what can go wrong ----------------------------------------------------------------------------------------------------


def failing(recipes, base, tmp_path, script):
    """What the recipe says of a command, and that there is neither expert nor done.json."""
    path = job(tmp_path / "run", base, command(tmp_path / "cli", script))
    with contextlib.chdir(tmp_path / "run"), pytest.raises(SystemExit) as caught:
        recipes["llamafactory"].main(path)
    assert not (tmp_path / "run" / "expert").exists()
    assert not (tmp_path / "run" / "stages" / "train" / "done.json").exists()
    return str(caught.value)


def test_a_command_that_is_not_there_is_named(recipes, base, tmp_path):
    path = job(tmp_path / "run", base, tmp_path / "nowhere" / "llamafactory-cli")
    with contextlib.chdir(tmp_path / "run"), pytest.raises(SystemExit) as caught:
        recipes["llamafactory"].main(path)
    assert re.search(r"there is no command '.*nowhere/llamafactory-cli'.*pip install llamafactory", str(caught.value))


def test_a_command_that_fails_leaves_no_expert(recipes, base, tmp_path, capsys):
    said = failing(recipes, base, tmp_path, "#!/bin/sh\necho RuntimeError: no such thing >&2\nexit 3\n")
    assert said == "llamafactory-cli ended with exit code 3; why stands above, in its own words"
    assert "RuntimeError: no such thing" in capsys.readouterr().out


def test_a_command_that_is_killed_is_said(recipes, base, tmp_path):
    said = failing(recipes, base, tmp_path, "#!/bin/sh\nkill -9 $$\n")
    assert said.startswith("llamafactory-cli ended by signal 9")


def test_a_command_that_cannot_be_run_is_named(recipes, base, tmp_path):
    said = failing(recipes, base, tmp_path, "#!/nowhere/python\n")
    assert re.search(r"cannot be run: .*; give the path of LLaMA-Factory's", said)


def test_no_adapter_is_no_expert(recipes, base, tmp_path):
    said = failing(recipes, base, tmp_path, leaves(None))
    assert "without an error and without an adapter: no adapter_model.safetensors and no adapter_config.json" in said


def test_pickled_weights_are_not_loaded(recipes, base, tmp_path):
    said = failing(recipes, base, tmp_path, "#!/bin/sh\nmkdir output\ntouch output/adapter_model.bin\n")
    assert "pickled weights, which are not loaded" in said


def test_damaged_weights_are_named(recipes, base, made, tmp_path):
    said = failing(
        recipes,
        base,
        tmp_path,
        f"{leaves(made)[:-7]}head -c 100 {made}/adapter_model.safetensors > output/adapter_model.safetensors\n",
    )
    assert re.search(r"adapter_model.safetensors, is damaged", said)


def test_the_standin_refuses_keys_that_do_not_exist(base, standin, tmp_path):
    """As LLaMA-Factory does; else the tests here would prove nothing of our configuration."""
    job(tmp_path, base, standin)
    folder = tmp_path / exports.STAGE
    (folder / "train.yaml").write_text((folder / "train.yaml").read_text() + "num_epochs: 2\n")
    ended = subprocess.run([standin, "train", "train.yaml"], cwd=folder, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "not used by the HfArgumentParser: ['num_epochs']" in ended.stderr


# -- again after a kill ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("owner", "checkpoint", "kept"),
    [("this", True, True), ("this", False, False), ("other", True, False), (None, True, False)],
)
def test_only_the_checkpoint_of_this_very_job_is_gone_on_from(recipes, tmp_path, owner, checkpoint, kept):
    """LLaMA-Factory takes any checkpoint that it finds for its own, and refuses a folder with weights and without one."""
    output = tmp_path / "output"
    (output / "checkpoint-5" if checkpoint else output).mkdir(parents=True)
    if owner:
        (tmp_path / "output.job").write_text(owner)
    recipes["llamafactory"].keep_or_clear(output, "this")
    assert output.exists() == kept
    assert (tmp_path / "output.job").read_text() == "this"


# -- its configuration on this machine ------------------------------------------------------------------------------------


def changes(recipes, monkeypatch, base, precision, *, cuda, free_gb=0.0):
    from transformers import AutoConfig

    recipe = recipes["llamafactory"]
    monkeypatch.setattr(recipe.torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(recipe, "free_vram", lambda: free_gb * 1e9)
    settings = recipe.Settings(cli="x", dataset_dir="x", config="x", rows="x", base=str(base), precision=precision, r=8)
    return recipe.choose_precision(settings, AutoConfig.from_pretrained(base))


def test_without_a_gpu_it_trains_in_fp32(recipes, base, monkeypatch):
    found = changes(recipes, monkeypatch, base, "auto", cuda=False)
    assert (found["use_cpu"], found["bf16"], found["quantization_bit"]) == (True, False, None)


def test_on_a_card_it_takes_bf16_where_that_fits_and_four_bits_where_not(recipes, base, monkeypatch):
    roomy = changes(recipes, monkeypatch, base, "auto", cuda=True, free_gb=24)
    assert roomy["quantization_bit"] is None
    assert "bf16" not in roomy
    assert "quantization_bit" not in changes(recipes, monkeypatch, base, "auto", cuda=True, free_gb=0)


def test_a_precision_that_was_named_stays(recipes, base, monkeypatch):
    assert changes(recipes, monkeypatch, base, "nf4", cuda=True) == {"disable_tqdm": True}


@pytest.mark.parametrize(
    ("rows", "gpus", "used", "micro", "accumulated"),
    [(16, 0, 1, 4, 4), (16, 1, 1, 4, 4), (16, 2, 2, 4, 2), (16, 3, 2, 4, 2), (16, 8, 8, 2, 1), (15, 4, 3, 1, 5)],
)
def test_several_gpus_share_a_step(recipes, rows, gpus, used, micro, accumulated):
    """It would start on each with all of its rows: the same number of them is trained in a step on any machine."""
    before = next(size for size in (4, 3, 2, 1) if rows % size == 0)
    values = {"per_device_train_batch_size": before, "gradient_accumulation_steps": rows // before}
    got, changes = recipes["llamafactory"].spread(values, gpus)
    values |= changes
    assert got == used
    assert values["per_device_train_batch_size"] * values["gradient_accumulation_steps"] * used == rows
    assert (values["per_device_train_batch_size"], values["gradient_accumulation_steps"]) == (micro, accumulated)
    assert recipes["llamafactory"].environment_of("/opt/lf", "a/b", got)["NPROC_PER_NODE"] == str(used)


def test_a_changed_configuration_is_still_one(recipes):
    recipe = recipes["llamafactory"]
    text = '# why\na: 1\nbase: "x: y"\nc: true\n'
    assert recipe.read_values(recipe.adjusted(text, {"a": None, "c": False, "d": {"e": 1}})) == {
        "base": "x: y", "c": False, "d": {"e": 1},
    }  # fmt: skip


def test_free_memory_that_cannot_be_asked_is_none(recipes, monkeypatch):
    monkeypatch.setenv("PATH", os.devnull)
    assert recipes["llamafactory"].free_vram() == 0.0


def test_free_memory_is_that_of_the_fullest_card(recipes, tmp_path, monkeypatch):
    command(tmp_path / "nvidia-smi", "#!/bin/sh\necho 24000\necho 20000\n")
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    assert recipes["llamafactory"].free_vram() == 20000 * 2**20
