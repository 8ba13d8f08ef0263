"""What this machine has and what is missing for what: ``text2expert doctor``. Names of keys, never their values."""

import os
import platform
import shutil
import subprocess
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import text2expert
from text2expert.chunker import Chunker

EXTRAS = {
    "train": ("torch", "transformers", "peft", "accelerate", "bitsandbytes", "safetensors"),
    "vast": ("vastai-sdk", "asyncssh"),
    "report": ("matplotlib", "scipy", "statsmodels"),
    "documents": ("pdfplumber", "mammoth", "markdownify", "beautifulsoup4", "lxml"),
}
"""Distributions of each extra of pyproject.toml."""

PURPOSES = {
    "train": "training and asking an expert on this machine",
    "vast": "renting a GPU from Vast.ai, and training on a machine of yours over SSH",
    "report": "the plots of a report and in notebooks",
    "documents": "PDF, DOCX and HTML as input",
}

KEYS = {
    "DEEPSEEK_API_KEY": "models deepseek/..., such as the teacher of --preset cloud; goes to api.deepseek.com alone",
    "ANTHROPIC_API_KEY": "models anthropic/..., such as its verifier; goes to api.anthropic.com alone",
    "OPENAI_API_KEY": "models openai/...; goes to api.openai.com alone",
    "VAST_API_KEY": "renting: --runner vast, and --preset cloud without a GPU; goes to console.vast.ai alone",
    "HF_TOKEN": "gated bases of the Hugging Face hub; goes to huggingface.co alone, unless a runner is told send_hub_token=True",
}


def report() -> str:
    """The whole finding, for a terminal."""
    lines = [f"text2expert {text2expert.__version__} on Python {platform.python_version()}, {platform.platform()}", ""]
    lines += ["packages", *_packages(), "", "keys (environment variables; values are never shown)", *_keys(), ""]
    lines += ["machine", *_machine()]
    return "\n".join(lines)


def _packages() -> Iterator[str]:
    try:
        requirements = metadata.requires("text2expert") or []
    except metadata.PackageNotFoundError:  # run from a checkout
        yield f"  {'core':<10} text2expert itself is not installed: pip install -e . in the checkout"
    else:
        core = sorted(each.split(";")[0].split(">")[0].strip() for each in requirements if "extra ==" not in each)
        yield f"  {'core':<10} {_versions(tuple(core))[0]}"
    for extra, distributions in EXTRAS.items():
        found, missing = _versions(distributions)
        yield f"  {extra:<10} {found or 'nothing installed'}"
        if missing:
            yield f'  {"":<10} missing for {PURPOSES[extra]}: {missing}; pip install "text2expert[{extra}]"'


def _versions(distributions: tuple[str, ...]) -> tuple[str, str]:
    found, missing = [], []
    for name in distributions:
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            missing.append(name)
    return ", ".join(found), ", ".join(missing)


def _keys() -> Iterator[str]:
    for name, purpose in KEYS.items():
        yield f"  {name:<18} {'set' if os.environ.get(name) else 'not set':<8} {purpose}"
    if not os.environ.get("VAST_API_KEY") and (stored := _stored_vast_key()):
        yield f"  {'':<27} --runner vast takes the one that Vast's own command line stored ({stored})"
    yield f"  {'any other server':<27} needs --teacher-key-env or --verifier-key-env, LLM(api_key=...); on this machine none"
    if os.environ.get("HF_ENDPOINT"):
        yield f"  {'HF_ENDPOINT':<18} {'set':<8} another hub gets no HF_TOKEN: `hf auth login` stores a token for it"


def _stored_vast_key() -> str:
    """Where Vast's own command line keeps a key, in the order in which its SDK looks; empty where it keeps none."""
    configuration = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    places = (configuration / "vastai" / "vast_api_key", Path.home() / ".vast_api_key")
    return next((str(place) for place in places if place.is_file()), "")


def _machine() -> Iterator[str]:
    yield f"  tokens      measured by {Chunker(unit='tokens').estimator}, where sizes are in tokens"
    yield f"  processors  {len(os.sched_getaffinity(0))} usable"
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    yield f"  memory      {memory / 1e9:.0f} GB"
    yield f"  disk here   {shutil.disk_usage('.').free / 1e9:.0f} GB free"
    gpus = _gpus()
    yield from (f"  GPU         {gpu}" for gpu in gpus)
    if not gpus:
        yield "  GPU         none found: the embedded toy trains on the processor; a 7B base needs a CUDA GPU, here, elsewhere (--runner ssh:user@host) or rented (--runner vast)"


def _gpus() -> list[str]:
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    query = [program, "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        shown = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True)  # noqa: S603 - found by which
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in shown.stdout.splitlines() if line.strip()]
