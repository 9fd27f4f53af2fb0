"""Snakemake that looks after its jobs every second; the executor waits longer each time that none has ended."""

import asyncio
import sys

from snakemake.cli import main

sleep = asyncio.sleep
asyncio.sleep = lambda delay, *result: sleep(min(delay, 1), *result)
sys.exit(main())
