# What a failed job said reaches the user, whatever flags were typed: with `--quiet rules` Snakemake does not even name
# the rule, on the screen or in its own log.
import logging

from snakemake.logging import logger
from snakemake_interface_logger_plugins.common import LogEvent


class FailedJobs(logging.Handler):
    """Writes which rule failed, and how its logs end, to standard error."""

    LINES = 15

    def emit(self, record):
        if getattr(record, "event", None) != LogEvent.JOB_ERROR:
            return
        print(f"\nRule {record.rule_name} failed.", file=sys.stderr)
        # On SLURM the scheduler's log comes second: it tells of memory and time that ran out.
        for path in map(Path, record.log):
            text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
            ending = [f"    {line}" for line in text.splitlines()[-self.LINES :]]
            print(f"{path} ends:" if ending else f"{path} is empty", *ending, sep="\n", file=sys.stderr)
            if not re.search(r"^Traceback |\berror: ", text, re.MULTILINE):
                print(
                    "No error stands there: the job was killed, or could not start. Run again; where memory ran out, "
                    "with fewer --cores or more mem_mb.",
                    file=sys.stderr,
                )
        print(file=sys.stderr, flush=True)


# A workflow may take this one as a module several times.
if "dynalign" not in [handler.name for handler in logger.handlers]:
    (failed_jobs := FailedJobs()).set_name("dynalign")
    logger.addHandler(failed_jobs)
