"""Calls of Snakemake without its start: a process that has imported it is forked for each.

``python tests/workflow/forks.py`` reads a call per line, in JSON, and answers each by its exit status.
"""

import json
import os
import signal
import sys

import snakemake.cli

# Imports the plugins too.
snakemake.cli.get_argument_parser()
for line in sys.stdin:
    call = json.loads(line)
    if not (child := os.fork()):
        os.environ.clear()
        os.environ.update(call["environment"])
        os.chdir(call["folder"])
        # As of `python -m`: the folder, then PYTHONPATH; the package itself is imported by the fork alone.
        sys.path[:1] = [call["folder"], *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
        sys.argv = ["snakemake", *call["arguments"]]
        for stream, path in enumerate([os.devnull, *call["outputs"]]):
            os.dup2(os.open(path, (os.O_WRONLY | os.O_CREAT) if stream else os.O_RDONLY), stream)
        signal.alarm(1200)
        snakemake.cli.main()
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
