"""Golden datasets for other tools: rows, configurations and what is left out."""

import inspect
import json
import re
from pathlib import Path

import attrs
import pytest
import yaml
from click.testing import CliRunner
from deck import gold
from hypothesis import given, settings
from hypothesis import strategies as st

from text2expert import cli, exports
from text2expert.errors import InputError, RunFolderError
from text2expert.exports.templates import CONTROL
from text2expert.records import GoldRecord, write_jsonl
from text2expert.trainer.profiles import ALONE

FLAGS = {
    line
    for line in (Path(__file__).parent / "data" / "llamafactory_flags.txt").read_text("utf-8").splitlines()
    if not line.startswith("#")
}

QWEN = "Qwen/Qwen2.5-7B-Instruct"

PUMP = GoldRecord(
    instruction="How often is the pump checked?",
    output="The mate checks the pump every 2 hours.",
    short_answer="Every 2 hours",
    reasoning="Section 3 says so.",
)
VALVE = GoldRecord(instruction="What does the label say?", input="Label: 40 psi", output="40 psi")


def lines(path):
    return [json.loads(line) for line in path.read_text("utf-8").split("\n") if line]


def config(path):
    return yaml.safe_load(path.read_text("utf-8"))


def pad(records, count):
    more = [GoldRecord(instruction=f"Question {n}?", output=f"Answer {n}.") for n in range(count - len(records))]
    return [*records, *more]


# -- rows -----------------------------------------------------------------------------------------------------------------


def test_llamafactory_rows_are_alpaca_with_a_system_prompt(tmp_path):
    exports.write([PUMP, VALVE], tmp_path, base=QWEN, system="Be exact.")
    assert lines(tmp_path / "train.jsonl") == [
        {
            "instruction": "How often is the pump checked?",
            "input": "",
            "output": "Every 2 hours. The mate checks the pump every 2 hours.",
            "system": "Be exact.",
        },
        {
            "instruction": "What does the label say?",
            "input": "Label: 40 psi",
            "output": "40 psi",
            "system": "Be exact.",
        },
    ]


def test_every_column_of_the_data_is_listed_for_llamafactory(tmp_path):
    """A column that dataset_info.json does not name does not exist for it."""
    exports.write([PUMP, VALVE], tmp_path, base=QWEN, system="Be exact.")
    info = json.loads((tmp_path / "dataset_info.json").read_text())["text2expert"]
    assert info["file_name"] == "train.jsonl"
    assert info["columns"] == {"prompt": "instruction", "query": "input", "response": "output", "system": "system"}
    assert set(info["columns"].values()) == set(lines(tmp_path / "train.jsonl")[0])


def test_trl_rows_are_a_conversational_prompt_and_its_completion(tmp_path):
    exports.write([PUMP, VALVE], tmp_path, "trl", system="Be exact.", short_answer="none")
    assert lines(tmp_path / "trl.jsonl") == [
        {
            "prompt": [{"role": "system", "content": "Be exact."}, {"role": "user", "content": PUMP.instruction}],
            "completion": [{"role": "assistant", "content": PUMP.output}],
        },
        {
            "prompt": [
                {"role": "system", "content": "Be exact."},
                {"role": "user", "content": "What does the label say?\nLabel: 40 psi"},
            ],
            "completion": [{"role": "assistant", "content": "40 psi"}],
        },
    ]


def test_openai_rows_are_chat_messages(tmp_path):
    exports.write(pad([VALVE], 10), tmp_path, "openai")
    rows = lines(tmp_path / "openai.jsonl")
    assert len(rows) == 10
    assert rows[0] == {
        "messages": [
            {"role": "user", "content": "What does the label say?\nLabel: 40 psi"},
            {"role": "assistant", "content": "40 psi"},
        ]
    }


def test_openai_takes_ten_rows_or_more(tmp_path):
    with pytest.raises(InputError, match=r"takes 10 examples or more, and there are 9"):
        exports.write(pad([], 9), tmp_path / "out", "openai")
    assert not (tmp_path / "out").exists()


def test_alpaca_is_one_json_array_and_says_that_a_system_prompt_has_no_place(tmp_path):
    made = exports.write([VALVE], tmp_path, "alpaca", system="Be exact.")
    assert json.loads((tmp_path / "alpaca.json").read_text()) == [
        {"instruction": "What does the label say?", "input": "Label: 40 psi", "output": "40 psi"}
    ]
    assert made.notes == ("alpaca has no place for a system prompt: it is left out",)


@pytest.mark.parametrize("reasoning", ["none", "before", "after"])
@pytest.mark.parametrize("short_answer", ["none", "first", "last"])
def test_reasoning_and_short_answer_stand_where_our_own_training_puts_them(recipes, tmp_path, reasoning, short_answer):
    """The same words from the same place: recipes/target.py, which rows.py trains."""
    exports.write([PUMP], tmp_path, "alpaca", reasoning=reasoning, short_answer=short_answer)
    written = json.loads((tmp_path / "alpaca.json").read_text())[0]["output"]
    assert written == recipes["target"].target_of(attrs.asdict(PUMP), reasoning, short_answer)
    assert ("Section 3" in written) == (reasoning != "none")


def test_the_text_is_a_file_of_its_own(tmp_path):
    """It is never mixed into the questions: LLaMA-Factory has a pretraining run of its own for it."""
    texts = ["The pump.\nIt runs.", " ", "The valve."]
    made = exports.write([PUMP], tmp_path, base=QWEN, texts=texts)
    assert lines(tmp_path / "text.jsonl") == [{"text": "The pump.\nIt runs."}, {"text": "The valve."}]
    assert "cannot mix" in str(made)
    info = json.loads((tmp_path / "dataset_info.json").read_text())
    assert info["text2expert_text"] == {"file_name": "text.jsonl", "columns": {"prompt": "text"}}
    pretraining, questions = config(tmp_path / "text.yaml"), config(tmp_path / "train.yaml")
    assert (pretraining["stage"], pretraining["dataset"]) == ("pt", "text2expert_text")
    assert (questions["stage"], questions["dataset"]) == ("sft", "text2expert")
    # Packed, what does not fill a row would be dropped.
    assert pretraining["packing"] is False


@pytest.mark.parametrize("form", ["trl", "openai", "alpaca"])
def test_the_text_goes_with_every_form(tmp_path, form):
    exports.write(pad([], 10), tmp_path, form, texts=["The valve."])
    assert lines(tmp_path / "text.jsonl") == [{"text": "The valve."}]


@settings(max_examples=40)
@given(st.text(), st.text(), st.sampled_from(["trl", "openai", "alpaca", "llamafactory"]))
def test_any_text_comes_back_as_it_was(tmp_path_factory, question, answer, form):
    """Line separators, quotes, emoji: one row in, one row out; what no other tool could read is left out and counted."""
    folder = tmp_path_factory.mktemp("out")
    record = GoldRecord(instruction=f"{question}?", output=answer)
    made = exports.write(pad([record], 11), folder, form, base=QWEN, short_answer="none")
    readable = bool(answer.strip()) and not CONTROL.search(f"{question}? {answer}")
    assert made.rows == (11 if readable else 10)
    path = made.files[0] if form != "llamafactory" else folder / "train.jsonl"
    rows = json.loads(path.read_text("utf-8")) if form == "alpaca" else lines(path)
    if readable:
        first = json.dumps(rows[0], ensure_ascii=False)
        assert json.dumps(f"{question}?", ensure_ascii=False) in first
        assert json.dumps(answer.strip(), ensure_ascii=False) in first


@pytest.mark.parametrize(
    "token", ["<|im_end|>", "</s>", "[/INST]", "<|eot_id|>", "<end_of_turn>", "</think>", "<｜User｜>"]
)
def test_text_that_other_tools_would_obey_is_left_out_and_counted(tmp_path, token):
    """A document cannot end its own question: elsewhere, nobody knows that it was text."""
    bad = GoldRecord(instruction="What is shown?", output=f"It says {token} and goes on.")
    made = exports.write([VALVE, bad], tmp_path, base=QWEN, texts=[f"a {token} b", "clean"])
    assert made.rows == 1
    assert "left out: 1 rows whose text holds control tokens" in str(made)
    assert lines(tmp_path / "text.jsonl") == [{"text": "clean"}]


@pytest.mark.parametrize("text", ["a < b > c", "[INSTALL] it", "|x|", "<b>bold</b>", "5 <|> 3", "<section>"])
def test_text_that_only_looks_odd_stays(tmp_path, text):
    assert exports.write([GoldRecord(instruction="What?", output=text)], tmp_path, base=QWEN).rows == 1


def test_half_a_surrogate_pair_is_left_out(tmp_path):
    made = exports.write([VALVE, GoldRecord(instruction="What?", output="\ud800")], tmp_path, base=QWEN)
    assert made.rows == 1


def test_rows_without_an_answer_are_left_out_and_counted(tmp_path):
    made = exports.write([VALVE, GoldRecord(instruction="What?", output=" ")], tmp_path, base=QWEN)
    assert made.rows == 1
    assert "left out: 1 rows without a question or an answer" in made.notes


def test_nothing_to_train_on_is_an_error(tmp_path):
    with pytest.raises(InputError, match="none of the 1 records has a question and an answer"):
        exports.write([GoldRecord(instruction="What?", output=" ")], tmp_path, base=QWEN)


# -- where it comes from and where it goes --------------------------------------------------------------------------------


def test_a_file_and_a_run_folder_are_read(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    write_jsonl(run / "golden_dataset.jsonl", gold())
    for number, source in enumerate((run, run / "golden_dataset.jsonl", str(run))):
        assert exports.write(source, tmp_path / str(number), base=QWEN).rows == len(gold())


def test_a_folder_without_a_dataset_is_named(tmp_path):
    with pytest.raises(RunFolderError, match=r"holds no golden_dataset.jsonl"):
        exports.write(tmp_path, tmp_path / "out", base=QWEN)


def test_forms_share_a_folder(tmp_path):
    """No file of one is a file of another but the text, which is the same."""
    made = [set(exports.write(gold(), tmp_path, form, base=QWEN).files) for form in exports.FORMATS]
    assert len(set.union(*made)) == sum(map(len, made))
    assert all(path.is_file() for path in set.union(*made))


def test_the_same_inputs_give_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        exports.write(gold(), tmp_path / name, base=QWEN, texts=["The valve."])
    one, two = ({p.name: p.read_bytes() for p in (tmp_path / name).iterdir()} for name in ("one", "two"))
    assert one == two


def test_a_folder_of_ours_is_private(tmp_path):
    exports.write(gold(), tmp_path / "out", base=QWEN)
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o700


def test_the_page_s_example_runs_as_it_stands(tmp_path, monkeypatch, capsys):
    """And every form that its table names exists."""
    page = (Path(__file__).parent.parent / "docs" / "training_elsewhere.md").read_text("utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    write_jsonl("golden.jsonl", gold())
    exec(compile(block, "training_elsewhere.md", "exec"), {})
    assert "24 rows for llamafactory" in capsys.readouterr().out
    assert (*exports.FORMATS, "model") == tuple(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE))


# -- configurations -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["auto", "nf4", "bf16", "fp32"])
def test_every_line_of_a_configuration_is_a_flag_that_exists(tmp_path, precision):
    """LLaMA-Factory refuses a configuration with a key that it does not know."""
    training = exports.Training(precision=precision, max_steps=5)
    for base in (QWEN, "Qwen/Qwen2-7B", "Qwen/Qwen3-8B", "meta-llama/Llama-2-7b-hf"):
        exports.write([PUMP], tmp_path, base=base, revision="main", texts=["x"], training=training)
        for name in ("train.yaml", "text.yaml"):
            assert set(config(tmp_path / name)) - FLAGS == set()


def test_the_defaults_are_those_of_the_trainer():
    """One number each: what trains elsewhere by default is what `Trainer(backend="llamafactory")` trains."""
    training = exports.Training()
    for name in ("epochs", "learning_rate", "batch_size", "r", "alpha"):
        assert getattr(ALONE, name) == getattr(training, name)
    arguments = inspect.signature(exports.write).parameters
    assert (ALONE.reasoning, ALONE.short_answer) == (arguments["reasoning"].default, arguments["short_answer"].default)


def test_a_configuration_says_what_the_trainer_would_do(tmp_path):
    training = exports.Training(epochs=3, learning_rate=1e-5, batch_size=6, r=8, alpha=4, seed=7, precision="bf16")
    exports.write(pad([], 100), tmp_path, base=QWEN, revision="abc", training=training)
    values = config(tmp_path / "train.yaml")
    expected = {
        "model_name_or_path": QWEN,
        "model_revision": "abc",
        "trust_remote_code": False,
        "template": "qwen",
        "lora_rank": 8,
        "lora_alpha": 4,
        "lora_dropout": 0.0,
        "lora_target": "all",
        "num_train_epochs": 3.0,
        "learning_rate": 1e-5,
        "per_device_train_batch_size": 3,
        "gradient_accumulation_steps": 2,
        "warmup_steps": 2,  # 3 % of 51
        "lr_scheduler_kwargs": {"min_lr_rate": 0.1},
        "bf16": True,
        "packing": False,
        "seed": 7,
        "output_dir": "output",
        "dataset_dir": ".",
    }
    assert expected == {name: values[name] for name in expected}
    assert type(values["learning_rate"]) is float
    assert "quantization_bit" not in values


def test_four_bits_are_nf4_twice_quantised(tmp_path):
    exports.write([PUMP], tmp_path, base=QWEN)
    values = config(tmp_path / "train.yaml")
    names = ("quantization_bit", "quantization_method", "quantization_type", "double_quantization", "bf16")
    assert [values[name] for name in names] == [4, "bnb", "nf4", True, True]
    exports.write([PUMP], tmp_path, "trl", base=QWEN)
    values = config(tmp_path / "trl.yaml")
    names = ("load_in_4bit", "bnb_4bit_quant_type", "use_bnb_nested_quant", "dtype")
    assert [values[name] for name in names] == [True, "nf4", True, "bfloat16"]


@pytest.mark.parametrize(
    ("batch_size", "micro", "accumulated"), [(16, 4, 4), (6, 3, 2), (7, 1, 7), (1, 1, 1), (2, 2, 1)]
)
def test_a_batch_is_cut_into_what_a_card_holds(tmp_path, batch_size, micro, accumulated):
    exports.write([PUMP], tmp_path, base=QWEN, training=exports.Training(batch_size=batch_size))
    values = config(tmp_path / "train.yaml")
    sizes = values["per_device_train_batch_size"], values["gradient_accumulation_steps"]
    assert sizes == (micro, accumulated)


def test_no_answer_is_cut(tmp_path):
    """LLaMA-Factory cuts what is longer than cutoff_len without a word."""
    exports.write([GoldRecord(instruction="Why?", output="because " * 2000)], tmp_path, base=QWEN)
    assert config(tmp_path / "train.yaml")["cutoff_len"] > len("because " * 2000)


def test_max_steps_ends_a_run_and_never_prolongs_it(tmp_path):
    for most, expected in ((3, 3), (1000, 28)):
        exports.write(pad([], 100), tmp_path, base=QWEN, training=exports.Training(max_steps=most))
        assert config(tmp_path / "train.yaml")["max_steps"] == expected


def test_trl_without_a_base_is_data_alone(tmp_path):
    made = exports.write([PUMP], tmp_path, "trl")
    assert [path.name for path in made.files] == ["trl.jsonl"]


# -- templates ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("base", "template"),
    [
        ("Qwen/Qwen2.5-7B-Instruct", "qwen"),
        ("Qwen/Qwen2.5-7B", "qwen"),
        ("Qwen/Qwen3-8B", "qwen3"),
        ("Qwen/Qwen3-4B-Instruct-2507", "qwen3_nothink"),
        ("mistralai/Mistral-7B-v0.1", "mistral"),
        ("mistralai/Mistral-7B-Instruct-v0.3", "mistral"),
        ("meta-llama/Llama-2-7b-hf", "llama2"),
        ("meta-llama/Meta-Llama-3-8B-Instruct", "llama3"),
        ("meta-llama/Llama-3.1-8B-Instruct", "llama3"),
        ("meta-llama/Llama-3.2-1B", "llama3"),
        ("google/gemma-2-9b-it", "gemma2"),
        ("google/gemma-3-4b-it", "gemma3"),
        ("microsoft/phi-4", "phi4"),
        ("microsoft/Phi-3.5-mini-instruct", "phi"),
        ("HuggingFaceTB/SmolLM2-1.7B-Instruct", "smollm2"),
        ("/models/Mistral-7B-Instruct-v0.3/", "mistral"),
    ],
)
def test_the_template_is_chosen_by_the_base(base, template):
    assert exports.template_of(base).name == template


@pytest.mark.parametrize("base", ["Qwen/Qwen3-4B-Thinking-2507", "Qwen/Qwen2.5-VL-7B-Instruct", "some/model-7b"])
def test_a_base_that_is_not_known_has_its_choices_named(tmp_path, base):
    with pytest.raises(InputError, match=rf"{base}.*template= \(--template\), such as .*qwen.*mistral.*default.*'own'"):
        exports.write([PUMP], tmp_path, base=base)


def test_the_user_s_choice_comes_first(tmp_path):
    exports.write([PUMP], tmp_path, base="some/model-7b", template="chatml")
    assert config(tmp_path / "train.yaml")["template"] == "chatml"
    exports.write([PUMP], tmp_path, base=QWEN, template="own")
    assert "template" not in config(tmp_path / "train.yaml")


def test_a_base_that_could_think_aloud_is_trained_without():
    assert exports.template_of("Qwen/Qwen3-8B").options == {"enable_thinking": False}


def test_what_the_base_s_own_template_adds_to_every_system_prompt_is_in_the_rows(tmp_path):
    """Llama 3.1 writes two dates there, and LLaMA-Factory does not."""
    exports.write([PUMP], tmp_path, base="meta-llama/Llama-3.1-8B-Instruct", system="Be exact.")
    dates = "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n"
    assert lines(tmp_path / "train.jsonl")[0]["system"] == f"{dates}Be exact."


def model_folder(path, template):
    path.mkdir()
    (path / "config.json").write_text("{}")
    if template:
        (path / "chat_template.jinja").write_text(template)
    return path


def test_a_folder_is_asked_for_its_template(tmp_path):
    plain = model_folder(tmp_path / "plain", "")
    odd = model_folder(tmp_path / "odd", "{{ messages }}")
    llama = model_folder(tmp_path / "mine", "<|start_header_id|>{{ messages }}")
    assert exports.template_of(str(plain)).name == "default"
    assert exports.template_of(str(odd)) is None  # read by LLaMA-Factory from the tokenizer
    assert exports.template_of(str(llama)).name == "llama3"


def test_an_older_tokenizer_keeps_its_template_in_its_configuration(tmp_path):
    folder = model_folder(tmp_path / "older", "")
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": "<|im_start|>{{ messages }}"}))
    assert exports.template_of(str(folder)).name == "qwen3_nothink"


def test_a_folder_is_named_by_its_whole_path(tmp_path, monkeypatch):
    """Whoever trains does so in another folder."""
    monkeypatch.chdir(tmp_path)
    model_folder(tmp_path / "base", "")
    exports.write([PUMP], tmp_path / "out", base="base")
    assert config(tmp_path / "out" / "train.yaml")["model_name_or_path"] == str(tmp_path / "base")


# -- wrong input ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"format": "axolotl"}, r"format='axolotl': must be 'llamafactory' or 'trl' or 'openai' or 'alpaca'"),
        ({"base": None}, r"needs the model to train.*--base"),
        ({"base": ""}, r"base='': must be the name of a Hugging Face model"),
        ({"base": "./nowhere"}, r"base='./nowhere' is not a folder"),
        ({"reasoning": "inside"}, r"reasoning='inside': must be 'none' or 'before' or 'after'"),
        ({"short_answer": "middle"}, r"short_answer='middle': must be"),
        ({"system": 5}, r"system=5: must be a text"),
    ],
)
def test_wrong_arguments_are_named(tmp_path, arguments, message):
    given = {"base": QWEN, **arguments}
    with pytest.raises(InputError, match=message):
        exports.write([PUMP], tmp_path / "out", given.pop("format", "llamafactory"), **given)


@pytest.mark.parametrize(
    ("name", "value"),
    [("epochs", 0), ("epochs", float("nan")), ("learning_rate", -1), ("batch_size", 0), ("max_steps", 0), ("r", 1.5),
     ("alpha", 0), ("seed", -1), ("precision", "fp8")],
)  # fmt: skip
def test_wrong_settings_are_named(name, value):
    with pytest.raises(InputError, match=f"{name}="):
        exports.Training(**{name: value})


# -- the command ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def run_folder(tmp_path):
    folder = tmp_path / "expert_model_deck"
    folder.mkdir()
    write_jsonl(folder / "golden_dataset.jsonl", [PUMP, VALVE])
    (folder / "rewrites.jsonl").write_text(json.dumps({"text": "The pump is checked."}) + "\n")
    return folder


def command(*arguments):
    return CliRunner().invoke(cli.main, ["export", *map(str, arguments)])


def test_the_command_writes_the_run_s_dataset_and_text(run_folder, tmp_path):
    result = command(run_folder, "--to", "llamafactory", "--out", tmp_path / "out", "--system", "Be exact.")
    assert result.exit_code == 0, result.output
    assert "2 rows for llamafactory" in result.output
    assert "llamafactory-cli train train.yaml" in result.output
    assert lines(tmp_path / "out" / "text.jsonl") == [{"text": "The pump is checked."}]
    assert config(tmp_path / "out" / "train.yaml")["model_name_or_path"] == QWEN
    assert lines(tmp_path / "out" / "train.jsonl")[0]["system"] == "Be exact."


def test_the_command_s_flags_reach_the_configuration(run_folder, tmp_path):
    flags = ["--base", "mistralai/Mistral-7B-v0.1", "--revision", "main", "--epochs", "2", "--learning-rate", "0.0001"]
    flags += ["--batch-size", "8", "--max-steps", "1000", "--seed", "3", "--precision", "bf16", "--reasoning", "after"]
    result = command(run_folder, "--to", "llamafactory", "--out", tmp_path / "out", "--short-answer", "none", *flags)
    assert result.exit_code == 0, result.output
    values = config(tmp_path / "out" / "train.yaml")
    names = ("model_revision", "template", "num_train_epochs", "learning_rate", "max_steps", "seed", "bf16")
    assert [values[name] for name in names] == ["main", "mistral", 2.0, 0.0001, 2, 3, True]
    assert lines(tmp_path / "out" / "train.jsonl")[0]["output"] == f"{PUMP.output}\n\nReasoning: {PUMP.reasoning}"


def test_the_command_says_what_is_wrong_in_one_line(tmp_path):
    result = command(tmp_path, "--to", "trl", "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert result.output.startswith("text2expert: ")
    assert result.output.count("\n") == 1


def test_the_command_merges_an_expert(tmp_path, monkeypatch):
    """--to model is `Expert.merge`."""
    from text2expert.expert import Expert

    made = []
    monkeypatch.setattr(Expert, "load", classmethod(lambda cls, folder: Expert(folder, "base")))
    monkeypatch.setattr(Expert, "merge", lambda self, out: made.append((self.adapter, out)) or "merged")
    result = command(tmp_path, "--to", "model", "--out", tmp_path / "full")
    assert (result.output, made) == ("merged\n", [(tmp_path, tmp_path / "full")])
    result = command(tmp_path, "--to", "model", "--out", tmp_path / "full", "--max-steps", "3")
    assert "leave out --max-steps" in result.output
