"""The wheel and the sdist, built and used as a stranger would: `make wheel`.

Both are built into dist/, from where they can be uploaded. What is checked:

- the wheel that is built from the sdist is, byte for byte, the one that is built from this tree;
- the sdist has every file that git has, the wheel every file of the package and nothing else;
- the metadata is valid, and the version is the one that the package says;
- in a fresh environment, with the core dependencies alone and from another folder, every public name can be imported, the
  command line speaks, and a sample is planned, chunked, taught and judged; what needs torch says how to get it;
- a type checker sees the installed package's types as the tests of tests/typing want them.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

from packaging.metadata import Metadata

ROOT = Path(__file__).resolve().parent.parent
SAMPLE = "vessel_mooring_sop.txt"
MISSING = 'pip install "text2expert[train]"'
"""What is said where torch is needed and is not there."""
USE = """
import importlib.resources, sys
import text2expert
from text2expert import *
from text2expert import Chunker, EvidenceVerifier, RuleTeacher

assert text2expert.__file__.startswith(sys.prefix), text2expert.__file__
package = importlib.resources.files("text2expert")
assert package.joinpath("py.typed").is_file()
text = package.joinpath("samples", sys.argv[1]).read_text("utf-8")
chunks = Chunker().split(text)
assert all(text[chunk.start : chunk.end] == chunk.text for chunk in chunks)
pairs = RuleTeacher().teach(chunks[:8])
verdicts = EvidenceVerifier().verify(pairs, chunks)
print(len(chunks), len(pairs), sum(verdict.approved for verdict in verdicts))
"""


def built(out: Path) -> tuple[Path, Path]:
    """The sdist and the wheel made of it in *out*, after a look that the tree itself gives the same wheel."""
    shutil.rmtree(out, ignore_errors=True)
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir"]
    _run([*build, str(out), str(ROOT)])
    (wheel,), (sdist,) = out.glob("*.whl"), out.glob("*.tar.gz")
    with tempfile.TemporaryDirectory() as folder:
        _run([*build, folder, "--wheel", str(ROOT)])
        direct = Path(folder) / wheel.name
        _want(direct.read_bytes() == wheel.read_bytes(), f"the tree gives another {wheel.name} than {sdist.name} does")
    return sdist, wheel


def check_contents(sdist: Path, wheel: Path) -> None:
    """Every file where it belongs."""
    tracked = set(_run(["git", "-C", str(ROOT), "ls-files"]).split())
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    package = {name for name in tracked if name.startswith("text2expert/")}
    _want(names == package, f"the wheel and text2expert/ differ in {sorted(names ^ package)}")
    with tarfile.open(sdist) as archive:
        files = {name.partition("/")[2] for name in archive.getnames()}
    _want(tracked <= files, f"the sdist lacks {sorted(tracked - files)}")
    _want(files - tracked == {"PKG-INFO"}, f"the sdist has {sorted(files - tracked)}, which git has not")


def check_metadata(wheel: Path) -> None:
    """Valid, with the package's own version."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (each for each in archive.namelist() if each.endswith(".dist-info/METADATA"))
        metadata = Metadata.from_email(archive.read(name), validate=True)
    said = re.search(r'^__version__ = "(.+)"$', (ROOT / "text2expert" / "__init__.py").read_text("utf-8"), re.MULTILINE)
    assert said is not None
    _want(str(metadata.version) == said[1], f"version {metadata.version} in pyproject.toml, {said[1]} in the package")
    _want(metadata.description == (ROOT / "README.md").read_text("utf-8"), "the README is not the description")


def check_use(wheel: Path, folder: Path) -> str:
    """What a stranger does first, in a fresh environment in *folder*; what was made there, in words."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not re.search(r"API_KEY|TOKEN$|SECRET|PYTHON|VIRTUAL_ENV|MYPYPATH", name)
    }
    _run([sys.executable, "-m", "venv", str(folder / "venv")], cwd=folder, env=environment)
    python, command = (str(folder / "venv" / "bin" / name) for name in ("python", "text2expert"))
    quietly = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    constraints = str(ROOT / "constraints.txt")
    _run([python, *quietly, "-c", constraints, str(wheel)], cwd=folder, env=environment)
    made = _run([python, "-c", USE, SAMPLE], cwd=folder, env=environment).split()

    text = (ROOT / "text2expert" / "samples" / SAMPLE).read_text("utf-8")
    (folder / "mine.txt").write_text(text[:6_000], encoding="utf-8")
    for arguments in (["--help"], ["--version"], ["doctor"], ["plan", "--input", "mine.txt"]):
        _want(_run([command, *arguments], cwd=folder, env=environment) != "", f"{arguments} says nothing")
    _run([command, "run", "--input", "mine.txt", "--no-fine-tune", "--yes"], cwd=folder, env=environment)
    receipt = json.loads((folder / "expert_model_mine" / "run.json").read_bytes())
    _want(receipt["counts"]["gold"] > 0, "nothing was taught")
    training = [command, "run", "--input", "mine.txt", "--yes"]
    shown = subprocess.run(training, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    _want(shown.returncode != 0 and MISSING in shown.stderr, f"without torch: {shown.stderr}")

    typing = folder / "typing"
    shutil.copytree(ROOT / "tests" / "typing", typing)
    settings = json.loads((typing / "pyrightconfig.json").read_text("utf-8"))
    del settings["extraPaths"]  # the tree; here the installed package is meant
    (typing / "pyrightconfig.json").write_text(json.dumps(settings), encoding="utf-8")
    _run([sys.executable, "-m", "pyright", "-p", str(typing), "--pythonpath", python], cwd=folder, env=environment)
    return "{} chunks, {} pairs, {} approved in a fresh environment without torch".format(*made)


def _run(command: list[str], **more) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, **more)
    _want(done.returncode == 0, f"{' '.join(command)[:300]}\n{done.stdout}{done.stderr}")
    return done.stdout


def _want(kept: bool, otherwise: str) -> None:
    if not kept:
        sys.exit(f"make wheel: {otherwise}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="where wheel and sdist go")
    sdist, wheel = built(parser.parse_args().out)
    check_contents(sdist, wheel)
    check_metadata(wheel)
    with tempfile.TemporaryDirectory() as folder:
        said = check_use(wheel, Path(folder))
    for path in (sdist, wheel):
        sys.stdout.write(f"{path} ({path.stat().st_size:,} bytes)\n")
    sys.stdout.write(f"{said}\n")


if __name__ == "__main__":
    main()
