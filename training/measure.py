"""Measure the networks that ship with pycrcnn, and write what model cards say of them.

    python training/measure.py                     # all of them
    python training/measure.py fashion-5layer      # one
    python training/measure.py --write-only        # the page anew, from what was measured before

Every test image goes through each network encrypted in the batched layout, a thousand in the packed one, and a thousand
through the exact simulator of the per-value one; one image at a time is timed in the packed one. Each figure is a
bench's, and its command stands beside it on the page. The machine should have nothing else to do.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import shlex
from pathlib import Path
from typing import Any

from pycrcnn import bench, models
from pycrcnn.bench import agreement, latency
from pycrcnn.bench.measuring import short_name
from pycrcnn.models import cards

PAGE = Path(__file__).resolve().parents[1] / "docs" / "models.md"

#: Layouts, and how many test images go through each.
IMAGES = {"batched": 10_000, "packed": 1_000, "per-value": 1_000}

MEASURES = (*IMAGES, "latency")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [name for name in models.names() if not name.endswith("-plain")]
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(names)}; default: all")
    parser.add_argument("--bench", choices=MEASURES, help="run this one only; default: all")
    parser.add_argument("--write-only", action="store_true", help="measure nothing, write the page")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(names):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    measured = json.loads(cards.MEASURED.read_text()) if cards.MEASURED.exists() else {}
    for name in [] if arguments.write_only else arguments.names or names:
        entry = measured.get(name, {})
        if entry.get("sha256") != cards.digest(name):
            entry = {"sha256": cards.digest(name)}
        for measure in [arguments.bench] if arguments.bench else MEASURES:
            entry[measure] = _measured(name, measure)
        measured[name] = entry | {"date": datetime.date.today().isoformat()}
        cards.MEASURED.write_text(json.dumps(measured, indent=1, sort_keys=True) + "\n")
        print(f"{name}: done", flush=True)
    PAGE.write_text(cards.page())


def _command(name: str, measure: str) -> str:
    if measure == "latency":
        return f"pycrcnn bench latency --network {short_name(name)} --threads 1"
    options = f"--layout {measure} --images {IMAGES[measure]} --threads 2"
    return f"pycrcnn bench agreement --network {short_name(name)} {options}"


def _measured(name: str, measure: str) -> dict[str, Any]:
    """What a bench says, its command, and what the machine did before."""
    command, load = _command(name, measure), os.getloadavg()[0]
    parser = argparse.ArgumentParser()
    bench.add_arguments(parser)
    bench_of = latency.measure if measure == "latency" else agreement.measure
    result = bench_of(parser.parse_args(shlex.split(command)[2:]))
    return {**(result[0] if isinstance(result, list) else result), "command": command, "load": load}


if __name__ == "__main__":
    main()
