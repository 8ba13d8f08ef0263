"""What came of a run as one HTML page that a person can judge: the verdict, the scores, the costs, every answer.

The page is one file that needs no network, reads on a phone, in light and dark, and on paper. Plots need the ``report``
extra; without it the page says so where they would stand.
"""

from pathlib import Path

from text2expert import files
from text2expert._progress import say
from text2expert.report.findings import read
from text2expert.report.page import page
from text2expert.runfolder import REPORT

__all__ = ["attempt", "write"]


def write(folder: Path | str) -> Path:
    """Write ``report.html`` into the run folder *folder*; the path to it.

    It reads what lies there (the same files give the same page) and leaves out what does not.

    Raises:
        RunFolderError: It is not a run folder, a JSON file in it is damaged, or the page cannot be written.
        RecordError: A line of a JSONL file in it is damaged; the message names file and line.
    """
    path = Path(folder) / REPORT
    files.write_text(path, page(read(folder)))
    return path


def attempt(folder: Path | str) -> Path | None:
    """`write` at the end of work that is done, and perhaps was paid for: what fails is said, and fails nothing else."""
    try:
        return write(folder)
    except Exception as error:  # noqa: BLE001 - whatever it is, the run is none the worse for it
        say(
            f"{REPORT} was not written ({type(error).__name__}: {error}); all else is there, `text2expert report {folder}` tries again"
        )
        return None
