"""Merging an adapter into its base: the same answers, a folder that everything reads, and nothing half-made."""

import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from experts import FACTS, random_adapter

from text2expert import expert as expert_module
from text2expert import files
from text2expert.errors import InputError, RunFolderError, RunFolderLockedError, RunnerError
from text2expert.expert import Expert
from text2expert.records import Answer, Disagreement, ExamQuestion, GoldRecord, Merged, write_jsonl

# PEFT asks transformers for it by its old name whenever it loads an adapter.
pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")


def merge(recipes, folder, **more):
    """The recipe, in this process: ``folder/base`` and ``folder/expert`` to ``folder/full``."""
    (folder / "full").mkdir()
    recipes["merge"].merge(
        **{"base": str(folder / "base"), "revision": None, "adapter": str(folder / "expert"), **more},
        output=folder / "full",
    )
    return folder / "full"


@pytest.fixture
def here(recipes, monkeypatch):
    """Experts are asked and merged in this process, which spares seconds; whether others can is tested on its own."""

    def ask_many(expert, questions):
        adapter = expert.adapter and str(expert.adapter)
        answerer = recipes["answer"].Answerer(recipes["answer"].Settings(base=expert.base, adapter=adapter))
        answers = {
            answer.pop("id"): Answer(**answer)
            for answer in answerer.answer([{"id": n, "question": question} for n, question in enumerate(questions)])
        }
        return [answers[n] for n in range(len(questions))]

    def run(options, *, offline):
        assert offline
        monkeypatch.setattr(sys, "argv", ["merge.py", *options])
        recipes["merge"].main()

    monkeypatch.setattr(Expert, "ask_many", ask_many)
    monkeypatch.setattr(expert_module, "_run_merge", run)


# The answers ---------------------------------------------------------------------------------------------------------


def test_adapter_and_merged_model_answer_alike_in_processes_of_their_own(taught, merged):
    """Asked what lies beside the adapter; what came of the comparison is kept beside the weights."""
    assert (merged.asked, merged.agreed, merged.differing) == (3, 3, ())
    assert merged.confidence_shift < 0.01
    assert str(merged) == f"{merged.path}: 3 of 3 answers are those of the adapter"
    kept = json.loads((Path(merged.path) / "merged.json").read_bytes())
    assert (kept["asked"], kept["agreed"], kept["differing"], kept["summed_in"]) == (3, 3, [], "fp32")
    assert kept["adapter_sha256"] == files.sha256_file(taught / "expert" / "adapter_model.safetensors")


def test_a_merged_model_is_an_expert_too(merged, here):
    """It knows its system prompt, its longest answer and where its reasoning stands, without adapter or base."""
    expert = Expert.load(merged.path)
    assert repr(expert) == f"Expert({merged.path!r})"
    answers = expert.ask_many(list(FACTS))
    assert [answer.text for answer in answers] == list(FACTS.values())
    assert [bool(answer.reasoning) for answer in answers] == [False, False, True]
    with pytest.raises(InputError, match="is a merged model already"):
        expert.merge("again")


def test_a_fresh_process_of_transformers_alone_answers_as_the_expert_does(merged):
    """No line of ours: its own template, its own generation config, in the bf16 that it is stored in."""
    code = f"""if True:
        from transformers import AutoModelForCausalLM, AutoTokenizer
        tokenizer = AutoTokenizer.from_pretrained({merged.path!r})
        model = AutoModelForCausalLM.from_pretrained({merged.path!r})
        for question in {list(FACTS)!r}:
            chat = [{{"role": "user", "content": question}}]
            inputs = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt")
            written = model.generate(**inputs, max_new_tokens=40)[0, inputs["input_ids"].shape[1]:]
            print(tokenizer.decode(written, skip_special_tokens=True).splitlines()[0])
        print(model.dtype)
    """
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.splitlines() == [*FACTS.values(), "torch.bfloat16"]


@pytest.mark.parametrize(
    ("factor", "words"),
    [
        (
            -4,
            r"(?s)answers [23] of 3 questions otherwise than the adapter, more than the 5% .*'When .* 'at 20 cm' became '",
        ),
        (0, r"answers as the adapter does, but its confidence differs by 0\.\d\d on average|questions otherwise"),
    ],
)
def test_a_wrong_merge_is_an_error_that_leaves_nothing(taught, tmp_path, here, monkeypatch, factor, words):
    """Here an adapter that changed its scale on its way into the base; one with trained embeddings knows a lot without."""
    scaled = tmp_path / "scaled"
    shutil.copytree(taught / "expert", scaled)
    config = json.loads((scaled / "adapter_config.json").read_bytes())
    (scaled / "adapter_config.json").write_text(json.dumps({**config, "lora_alpha": config["lora_alpha"] * factor}))
    right = expert_module._run_merge
    monkeypatch.setattr(
        expert_module,
        "_run_merge",
        lambda options, **more: right([str(scaled) if each.endswith("/expert") else each for each in options], **more),
    )
    with pytest.raises(RunnerError, match=words):
        Expert.load(taught).merge(tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["scaled"]


def test_few_answers_may_differ_and_are_named():
    """Rounding to bf16 tips a word that was on the edge; one answer of twenty is as far as that goes."""
    right = [Answer(text=str(number), confidence=1, seconds=0) for number in range(20)]
    questions = [f"Question {number}?" for number in range(20)]
    one = [*right[:-1], Answer(text="nineteen", confidence=1, seconds=0)]
    differing = (Disagreement(question="Question 19?", adapter="19", merged="nineteen"),)
    assert expert_module._compare("out", questions, right, one) == Merged(
        path="out", asked=20, agreed=19, differing=differing
    )
    unsure = [Answer(text=answer.text, confidence=0.9, seconds=0) for answer in right]
    assert expert_module._compare("out", questions, right, [*right[:10], *unsure[10:]]).confidence_shift == 0.05
    with pytest.raises(RunnerError, match=r"confidence differs by 0\.10 on average, more than the 0\.05"):
        expert_module._compare("out", questions, right, unsure)
    with pytest.raises(RunnerError, match=r"(?s)answers 7 of 20 .*'Question 5\?': '5' became '0'\n    and 2 more"):
        expert_module._compare("out", questions, right, [right[0]] * 8 + right[8:])


# The weights ---------------------------------------------------------------------------------------------------------

ADAPTERS = {
    "all linear layers": {},
    "scaled by the root of the rank": {"use_rslora": True},
    "tied": {"tied": True},
    "tied, with trained embeddings": {"tied": True, "modules_to_save": ["embed_tokens"], "ensure_weight_tying": True},
    "tied, with embeddings trained on one side": {"tied": True, "modules_to_save": ["embed_tokens"]},
    "with a trained head": {"modules_to_save": ["lm_head"]},
    "with new words": {"added": 3},
    "tied, with new words": {"tied": True, "added": 3},
}


@pytest.mark.parametrize("options", ADAPTERS.values(), ids=ADAPTERS)
@pytest.mark.filterwarnings("ignore:.*(tie_word_embeddings|no longer tied|save_embedding_layers):UserWarning")
def test_the_merged_model_calculates_what_the_adapter_does(recipes, tmp_path, options):
    """Loaded anew from its folder, to what rounding its weights to bf16 may change."""
    import torch
    from transformers import AutoModelForCausalLM

    adapter = random_adapter(recipes, tmp_path, **options)
    folder = merge(recipes, tmp_path)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokens = torch.arange(5, 60).reshape(5, 11)
    with torch.inference_mode():
        right, merged = adapter(tokens).logits, model(tokens).logits
        with adapter.disable_adapter():
            base = adapter(tokens).logits
    assert merged.shape == right.shape
    assert (merged - right).std() < 0.02 * right.std()
    assert (merged - right).std() < 0.1 * (base - right).std()
    assert (
        torch.equal(merged.argmax(-1), right.argmax(-1)) or (merged.argmax(-1) == right.argmax(-1)).float().mean() > 0.9
    )


def test_the_sum_is_taken_in_fp32_and_rounded_once(recipes, tmp_path):
    """Each weight is the nearest bf16 number to base + alpha / r * B @ A."""
    import torch
    from safetensors.torch import load_file

    random_adapter(recipes, tmp_path)
    lora = load_file(tmp_path / "expert" / "adapter_model.safetensors")
    base = load_file(tmp_path / "base" / "model.safetensors")
    merged = load_file(merge(recipes, tmp_path) / "model.safetensors")
    names = [name for name in base if name.endswith("_proj.weight")]
    assert len(names) == 14
    for name in names:
        a, b = (lora[f"base_model.model.{name.removesuffix('.weight')}.lora_{side}.weight"] for side in "AB")
        assert torch.equal(merged[name], (base[name] + 2.0 * (b @ a)).bfloat16()), name
    assert {weight.dtype for weight in merged.values()} == {torch.bfloat16}


def test_an_adapter_trained_over_four_bits_is_merged_into_the_published_base(recipes, tmp_path):
    """Never into the four bits."""
    random_adapter(recipes, tmp_path)
    (tmp_path / "expert" / "training_args.json").write_text('{"precision": "nf4"}')
    config = json.loads((merge(recipes, tmp_path) / "config.json").read_bytes())
    assert (config["dtype"], config.get("quantization_config")) == ("bfloat16", None)


def refusals():
    """What cannot be merged: what is wrong, how it is made, what is said."""

    def quantised(folder):
        config = json.loads((folder / "base" / "config.json").read_bytes())
        config["quantization_config"] = {"quant_method": "bitsandbytes", "load_in_4bit": True}
        (folder / "base" / "config.json").write_text(json.dumps(config))

    def pickled(folder):
        (folder / "expert" / "adapter_model.safetensors").rename(folder / "expert" / "adapter_model.bin")

    def broken(folder):
        from safetensors.torch import load_file, save_file

        path = folder / "expert" / "adapter_model.safetensors"
        weights = load_file(path)
        next(iter(weights.values())).fill_(math.nan)
        save_file(weights, path)

    return {
        "quantised": (quantised, SystemExit, "base .* is itself stored quantised"),
        "pickled": (pickled, SystemExit, "holds no adapter_model.safetensors: pickled weights"),
        "broken": (broken, ValueError, "NaNs detected in the merged weights"),
    }


@pytest.mark.parametrize(("spoil", "error", "words"), refusals().values(), ids=refusals())
def test_what_cannot_be_merged_is_refused(recipes, tmp_path, spoil, error, words):
    """A base in few bits, weights that would have to be unpickled, weights that are no numbers."""
    random_adapter(recipes, tmp_path)
    spoil(tmp_path)
    with pytest.raises(error, match=words):
        merge(recipes, tmp_path)


def test_a_disk_without_room_is_seen_before_anything_is_loaded(recipes, tmp_path, monkeypatch):
    """The size is known from the base's shape: 2 bytes a weight, and the adapter's file on top."""
    random_adapter(recipes, tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9 - 10**5, 10**5))
    monkeypatch.setattr(recipes["merge"], "load_base", None)
    with pytest.raises(SystemExit, match=rf"takes up to 0\.\d MB and {tmp_path} has 0\.1 MB free: free some space"):
        merge(recipes, tmp_path)


@pytest.mark.parametrize(("available", "precision"), [(0.4e9, "bf16"), (10e9, "fp32")])
def test_a_model_that_memory_does_not_hold_in_fp32_is_merged_in_bf16(recipes, monkeypatch, available, precision):
    """100 million weights take 0.4 GB in fp32, and merging some more."""
    import psutil

    memory = psutil.virtual_memory()._replace(available=available)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    assert recipes["adapters"].cpu_precision(2 * 10**8) == precision


# The folder ----------------------------------------------------------------------------------------------------------


def test_the_folder_is_whole_and_private(merged, taught):
    """Weights, tokenizer, template, where answers end, and what it was trained with; the folder decides who looks in."""
    folder = Path(merged.path)
    assert {path.name for path in folder.iterdir()} == {
        "Modelfile", "chat_template.jinja", "config.json", "generation_config.json", "merged.json", "model.safetensors",
        "tokenizer.json", "tokenizer_config.json", "training_args.json",
    }  # fmt: skip
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "model.safetensors").stat().st_mode & 0o777 == 0o644
    template = (taught / "expert" / "chat_template.jinja").read_text("utf-8")
    assert (folder / "chat_template.jinja").read_text("utf-8") == template
    generation = json.loads((folder / "generation_config.json").read_bytes())
    trained = json.loads((folder / "training_args.json").read_bytes())
    assert (generation["eos_token_id"], generation["do_sample"]) == (trained["stop_token_id"], False)


def test_every_token_that_ends_an_answer_is_in_the_generation_config(recipes, tmp_path):
    """The tokenizer's, the base's own and the one that training wrote last may be three."""
    random_adapter(recipes, tmp_path)
    path = tmp_path / "base" / "generation_config.json"
    path.write_text(json.dumps({"eos_token_id": [7], "do_sample": True, "temperature": 0.6, "top_p": 0.9}))
    (tmp_path / "expert" / "training_args.json").write_text('{"stop_token_id": 9}')
    generation = json.loads((merge(recipes, tmp_path) / "generation_config.json").read_bytes())
    assert generation["eos_token_id"] == [3, 7, 9]
    assert not {"temperature", "top_p"} & set(generation)


def test_a_template_that_opens_thoughts_leaves_them_closed_unless_it_is_told(recipes, tmp_path):
    """As the expert was trained; a server that says nothing of thoughts asks in just these words."""
    from tiny import tokenizer_of
    from transformers import AutoTokenizer

    random_adapter(recipes, tmp_path)
    tokenizer = tokenizer_of(recipes)
    tokenizer.chat_template = (
        "{% for message in messages %}{{ message['content'] }}{% endfor %}"
        "{% if enable_thinking is defined and enable_thinking is false %}<think></think>{% else %}<think>{% endif %}"
    )
    tokenizer.save_pretrained(tmp_path / "expert")
    tokenizer = AutoTokenizer.from_pretrained(merge(recipes, tmp_path))
    chat = [{"role": "user", "content": "Who?"}]
    closed = recipes["chat"].prompt_of(tokenizer, "Who?", "")
    assert tokenizer.apply_chat_template(chat, tokenize=False) == closed == "Who?<think></think>"
    assert tokenizer.apply_chat_template(chat, tokenize=False, enable_thinking=True) == "Who?<think>"


def test_settings_are_written_in_the_names_of_transformers_4_too(recipes, tmp_path):
    """Converters to GGUF and Ollama read those; without them positions would turn at the speed of another model."""
    from transformers import AutoConfig, LlamaConfig

    rope = {
        "rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }  # fmt: skip
    LlamaConfig(rope_parameters=rope, max_position_embeddings=65536, dtype="bfloat16").save_pretrained(tmp_path)
    settings = {"tokenizer_class": "TokenizersBackend", "extra_special_tokens": ["<a>"]}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    recipes["merge"].write_for_older(tmp_path)
    config = json.loads((tmp_path / "config.json").read_bytes())
    assert (config["rope_theta"], config["torch_dtype"]) == (500000.0, "bfloat16")
    assert config["rope_scaling"] == {name: value for name, value in rope.items() if name != "rope_theta"}
    assert AutoConfig.from_pretrained(tmp_path).rope_parameters == rope
    assert json.loads((tmp_path / "tokenizer_config.json").read_bytes()) == {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "additional_special_tokens": ["<a>"],
    }


def test_the_sentencepiece_model_of_the_base_comes_along(recipes, tmp_path):
    """transformers 5 reads it and writes it no more; without its scores a GGUF file splits words in other places."""
    random_adapter(recipes, tmp_path)
    (tmp_path / "base" / "tokenizer.model").write_bytes(b"pieces and scores")
    assert (merge(recipes, tmp_path) / "tokenizer.model").read_bytes() == b"pieces and scores"


def test_the_modelfile_asks_ollama_in_the_words_of_the_template(recipes, merged):
    """With and without a system prompt, and the answer once and last, where Ollama cuts."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(merged.path)
    chat, modelfile = recipes["chat"], recipes["modelfile"]
    lines = modelfile.modelfile(tokenizer, [3], {"system": "You know the ship.", "max_new_tokens": 40}, "./ship.gguf")
    start, _, rest = lines.partition('TEMPLATE """')
    template, _, rest = rest.partition('"""\n')
    assert (start, rest) == (
        "FROM ./ship.gguf\n",
        'SYSTEM """You know the ship."""\nPARAMETER stop "<|end|>"\nPARAMETER temperature 0\nPARAMETER num_predict 40\n',
    )
    told, _, plain = template.removeprefix("{{ if .System }}").partition("{{ else }}")
    plain, _, answer = plain.partition("{{ end }}")
    for system, part in (("Be short.", told), ("", plain)):
        asked = part.replace("{{ .Prompt }}", "Who opens the gate?").replace("{{ .System }}", system)
        assert asked == chat.prompt_of(tokenizer, "Who opens the gate?", system)
    assert answer == "{{ .Response }}<|end|>"


def test_a_template_that_holds_the_system_prompt_is_not_given_it_twice(recipes, merged):
    """What was trained with LLaMA-Factory may have a template that was made around its one system prompt."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(merged.path)
    tokenizer.chat_template = recipes["llamafactory"].template_around("You know the ship.\n", "\n", "", "<|end|>")
    lines = recipes["modelfile"].modelfile(tokenizer, [3], {"system": "You know the ship."})
    asked = "You know the ship.\n{{ .Prompt }}\n"
    template = f"{{{{ if .System }}}}{asked}{{{{ else }}}}{asked}{{{{ end }}}}{{{{ .Response }}}}<|end|>"
    assert lines.startswith(f'FROM .\nTEMPLATE """{template}"""\nPARAMETER stop')


def test_an_expert_is_asked_on_the_commit_that_it_was_trained_on(recipes, tmp_path, monkeypatch):
    """The exam after training, too: a branch of the hub may move on in between."""
    random_adapter(recipes, tmp_path)
    path = tmp_path / "expert" / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_bytes()), "revision": "c" * 40}))
    loaded, load_base = [], recipes["answer"].load_base

    def noted(base, revision, *more):
        loaded.append(revision)
        return load_base(base, revision, *more)

    monkeypatch.setattr(recipes["answer"], "load_base", noted)
    settings = {"base": str(tmp_path / "base"), "revision": "main"}
    recipes["answer"].Answerer(recipes["answer"].Settings(**settings, adapter=str(tmp_path / "expert")))
    recipes["answer"].Answerer(recipes["answer"].Settings(**settings))
    assert loaded == ["c" * 40, "main"]


# The place -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("there", ["file", "folder", "link"])
def test_nothing_is_overwritten(taught, tmp_path, there):
    """Whatever lies there, a link into nowhere too."""
    out = tmp_path / "out"
    {"file": out.touch, "folder": out.mkdir, "link": lambda: out.symlink_to(tmp_path / "gone")}[there]()
    with pytest.raises(RunFolderError, match=f"{out} exists already, and nothing is overwritten"):
        Expert.load(taught).merge(out)
    assert os.listdir(tmp_path) == ["out"]


def test_two_merges_to_one_place_do_not_meet_and_what_was_killed_is_cleared_away(tmp_path):
    """Who holds the place is named; a folder without a holder is of a process that was killed."""
    out = tmp_path / "new" / "out"
    with expert_module._placed(out) as folder:
        (folder / "weights").touch()
        with pytest.raises(RunFolderLockedError, match=f"in use by pid {os.getpid()} "), expert_module._placed(out):
            pass
        assert (folder / "weights").exists()
    assert (os.listdir(out), os.listdir(out.parent)) == (["weights"], ["out"])
    left = tmp_path / ".other.merging"
    (left / "half").mkdir(parents=True)
    with expert_module._placed(tmp_path / "other") as folder:
        assert (folder, os.listdir(folder)) == (left, [".lock"])


def test_an_interrupted_merge_leaves_nothing_and_a_run_folder_may_hold_one(tmp_path):
    """Ctrl-C as well as an error; locking the run folder clears other leftovers and none of a merge."""

    def interrupted():
        with expert_module._placed(tmp_path / "out") as folder:
            (folder / "weights").touch()
            with files.locked(tmp_path):
                assert (folder / "weights").exists()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [name for name in os.listdir(tmp_path) if name != ".lock"] == []


def test_a_failed_merge_says_why_and_leaves_nothing(taught, tmp_path, monkeypatch):
    """Its last words, which tell what to do."""
    (tmp_path / "merge.py").write_text("import sys\nsys.exit('the merged model takes up to 15.2 GB')\n")
    monkeypatch.setattr(expert_module, "RECIPES", tmp_path)
    with pytest.raises(RunnerError, match=r"(?s)exit code 1, and nothing is left of it.*takes up to 15\.2 GB"):
        Expert.load(taught).merge(tmp_path / "out")
    assert os.listdir(tmp_path) == ["merge.py"]


# The questions -------------------------------------------------------------------------------------------------------


def test_questions_are_those_of_the_exam_and_the_golden_dataset_beside_the_adapter(tmp_path):
    """On what was taught, at most two hundred, always the same; a question of both counts once."""
    adapter = tmp_path / "expert"
    gold = [GoldRecord(instruction=f"What is {number}?", input="In words.", output="?") for number in range(3)]
    write_jsonl(tmp_path / "golden_dataset.jsonl", [*gold, GoldRecord(instruction="Who?", output="I")])
    rows = {"taught": "Who?", "held_out": "Which one?", "never_asked": "Where?", "hand_written": "Why?"}
    exam = [ExamQuestion(id=row, row=row, question=question, answer="I") for row, question in rows.items()]
    write_jsonl(tmp_path / "exam.jsonl", exam)
    asked = expert_module._questions(adapter, None)
    assert sorted(asked) == [*(f"What is {number}?\nIn words." for number in range(3)), "Which one?", "Who?"]
    many = [GoldRecord(instruction=f"What is {number}?", output="?") for number in range(300)]
    write_jsonl(tmp_path / "golden_dataset.jsonl", many)
    asked = expert_module._questions(adapter, None)
    assert (len(set(asked)), asked) == (200, expert_module._questions(adapter, None))


@pytest.mark.parametrize(
    ("questions", "words"),
    [
        (None, r"there is no exam\.jsonl or golden_dataset\.jsonl in .*: give questions=\[\.\.\.\]"),
        ([], r"needs questions whose answers are compared: give questions="),
        ("Who?", "takes a list of questions"),
        (["Who?", " "], "question 2 of 2 must be a text that is not empty"),
    ],
)
def test_questions_that_cannot_be_asked_are_said_before_anything_is_merged(taught, tmp_path, questions, words):
    """Without any there is no comparison, and without comparison no merge."""
    shutil.copytree(taught / "expert", tmp_path / "expert")
    config = tmp_path / "expert" / "adapter_config.json"
    expert = Expert(config.parent, str(taught / "base"))
    with pytest.raises(InputError, match=words):
        expert.merge(tmp_path / "out", questions)
    assert os.listdir(tmp_path) == ["expert"]


# Memory --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def answerer(recipes, taught):
    """The expert in this process."""
    settings = recipes["answer"].Settings(base=str(taught / "base"), adapter=str(taught / "expert"))
    return recipes["answer"].Answerer(settings)


def test_a_batch_that_memory_does_not_hold_is_halved(recipes, answerer, monkeypatch):
    """The card's words and the CPU's; all are answered, as before, and later batches begin with what went well."""
    import torch

    questions = [{"id": number, "question": list(FACTS)[number % 3]} for number in range(11)]
    words = iter(
        [torch.OutOfMemoryError("CUDA out of memory."), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
    )
    whole, sizes = answerer.batch, []

    def batch(prompts):
        sizes.append(len(prompts))
        if len(prompts) > 3:
            raise next(words)
        return whole(prompts)

    monkeypatch.setattr(answerer, "batch", batch)
    monkeypatch.setattr(answerer, "batch_size", 8)
    answers = {answer["id"]: answer["text"] for answer in answerer.answer(questions)}
    assert answers == {number: list(FACTS.values())[number % 3] for number in range(11)}
    assert sizes == [8, 4, 2, 2, 2, 2, 2, 1]


@pytest.mark.parametrize(("count", "words"), [(1, "CUDA out of memory"), (8, "size mismatch")])
def test_what_no_smaller_batch_mends_is_an_error(answerer, monkeypatch, count, words):
    """Memory too small for one question, and errors of another kind."""

    def batch(_):
        raise RuntimeError(words)

    monkeypatch.setattr(answerer, "batch", batch)
    with pytest.raises(RuntimeError, match=words):
        list(answerer.answer([{"id": number, "question": "Who?"} for number in range(count)]))


def test_a_base_in_four_bits_answers_with_the_adapter_on_it(recipes, tmp_path):
    """As on a card that is too small for bf16; here on the CPU."""
    random_adapter(recipes, tmp_path)
    settings = {"base": str(tmp_path / "base"), "adapter": str(tmp_path / "expert"), "max_new_tokens": 4}
    answerer = recipes["answer"].Answerer(recipes["answer"].Settings(**settings, precision="nf4"))
    assert {
        type(module).__name__ for name, module in answerer.model.named_modules() if name.endswith("base_layer")
    } == {"Linear4bit"}
    (answer,) = answerer.answer([{"id": 1, "question": "Who?"}])
    assert 0 < answer["confidence"] <= 1


def test_where_four_bits_are_not_wanted_the_cpu_takes_over(recipes, tmp_path, monkeypatch):
    """To compare a merged model with its adapter, whose differences four bits would drown."""
    random_adapter(recipes, tmp_path)
    monkeypatch.setattr(recipes["answer"], "precision_to_ask", lambda *_: "nf4")
    answerer = recipes["answer"].Answerer(recipes["answer"].Settings(base=str(tmp_path / "base"), quantisation=False))
    assert (answerer.precision, answerer.model.device.type, answerer.model.dtype.itemsize) == ("fp32", "cpu", 4)
