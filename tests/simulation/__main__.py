"""Replay seeds: `python -m tests.simulation SEED [SEED ...] [--trace]`."""

from __future__ import annotations

import argparse
import logging
import sys

from tests.simulation.run import simulate


def main() -> int:
    """Live through each seed, tell what became of it, and return 1 when a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("seeds", metavar="SEED", type=int, nargs="+")
    parser.add_argument("--trace", action="store_true", help="print what happened, line by line")
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    broken = 0
    for seed in arguments.seeds:
        outcome = simulate(seed)
        if arguments.trace:
            print("\n".join(outcome.trace))
        print(f"seed {seed}: {outcome.violation or 'every promise was kept'}")
        broken += outcome.violation is not None
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
