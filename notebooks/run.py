"""Run the notebooks from a clean kernel, as anyone would who has no key and no network: `make notebooks`.

python notebooks/run.py              all of them, in one folder, one after another
python notebooks/run.py 01 05        these
python notebooks/run.py --as-they-are    none: what was never run is copied without outputs, so that the docs have every page

The notebooks in this folder have no outputs; what came of running them goes to docs/notebooks, where the docs take it from. There
also lies seconds.json, what each took.
"""

import argparse
import json
import os
import re
import resource
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
SHOWN = ROOT / "docs" / "notebooks"
NOTEBOOKS = sorted(HERE.glob("[0-9]*.ipynb"))


def execute(path: Path, folder: Path) -> nbformat.NotebookNode:
    """The notebook at *path* with its outputs, having run in *folder*.

    Raises:
        nbclient.exceptions.CellExecutionError: A cell failed.
    """
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=900,
        kernel_name="python3",
        coalesce_streams=True,
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute(env=environment())
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # when each was run
    return notebook


def environment() -> dict[str, str]:
    """This process's, without keys, for this tree's package, with a hub that is never asked."""
    kept = {name: value for name, value in os.environ.items() if not re.search(r"API_KEY|TOKEN$|SECRET", name)}
    return kept | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "PYTHONWARNINGS": "ignore::DeprecationWarning"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("numbers", nargs="*", help="01, 02, ...; all without any")
    parser.add_argument("--as-they-are", action="store_true", help="run none; copy those that were never run")
    parser.add_argument("--out", type=Path, default=SHOWN)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    if arguments.as_they_are:
        for path in NOTEBOOKS:
            if not (arguments.out / path.name).exists():
                (arguments.out / path.name).write_bytes(path.read_bytes())
        return
    chosen = [path for path in NOTEBOOKS if not arguments.numbers or path.name[:2] in arguments.numbers]
    if unknown := set(arguments.numbers) - {path.name[:2] for path in chosen}:
        parser.error(f"no notebook {', '.join(sorted(unknown))}: there are {', '.join(p.name for p in NOTEBOOKS)}")
    measured = arguments.out / "seconds.json"
    took = json.loads(measured.read_bytes()) if measured.exists() else {}
    (ROOT / "build").mkdir(exist_ok=True)
    # Inside the tree: notebooks that need its tests look for them above the folder that they run in.
    with tempfile.TemporaryDirectory(dir=ROOT / "build") as folder:
        for path in chosen:
            began, used = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
            notebook = execute(path, Path(folder))
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            cpu = after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime
            took[path.name] = {"seconds": round(time.monotonic() - began, 1), "cpu_seconds": round(cpu, 1)}
            nbformat.write(notebook, arguments.out / path.name)
            sys.stdout.write(f"{path.name}: {took[path.name]['seconds']} s, {took[path.name]['cpu_seconds']} CPU s\n")
            measured.write_text(json.dumps(took, indent=1, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
