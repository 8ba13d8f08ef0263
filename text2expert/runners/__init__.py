"""Where training runs: the one method that a runner has."""

from typing import Protocol

from text2expert.records import Job


class Runner(Protocol):
    """Runs the stages of a job, one after another, on some machine.

    What a runner may have besides:

    - ``check()`` raises what is missing here, before anything is paid for.
    - ``async quote(job) -> Quote``: it costs money. Plans show what it says (the job that they ask for has needs and no
      stages), and too little data does not start it.
    - ``async afford(quote)`` raises where it cannot be paid for. It is asked before teaching is paid for; *quote* is None
      where there is none.
    - ``budget``: US dollars that it may cost in one run folder.
    - ``host``: what plans call the machine that will see the data; without it they say that they do not know.
    """

    async def run(self, job: Job) -> None:
        """Run *job*: on return every stage's ``done.json`` and outputs are in ``job.folder`` on this machine.

        A stage whose ``stages/<name>/done.json`` was made from the very ``job.json`` that lies beside it is done
        and is not run again.

        Raises:
            RunnerError: A stage failed; the message ends with the last lines of its log.
        """
        ...
