"""`python -m benchmarks`: speed of the embedded memory as ratios to plain SQLite and NumPy in the same run."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from benchmarks.speed.measure import run
from benchmarks.speed.processes import cold_start, footprint, fsyncs, imports


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--sizes", default="1000,10000", help="numbers of memories, commas between (100000 takes minutes)"
    )
    parser.add_argument("--namespaces", type=int, default=10)
    parser.add_argument("--folder", type=Path, help="where files go; a RAM disk leaves the disk out of the figures")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        _processes(folder)
        for size in map(int, options.sizes.split(",")):
            below = folder / str(size)
            below.mkdir()
            print(f"\n{size:,} memories, {options.namespaces} namespaces   ours us   floor us   ratio")
            for row in run(below, size, options.namespaces):
                print(f"{row.what:40s} {row.ours_us:10.1f} {row.floor_us:10.1f} {row.ratio:7.2f}", flush=True)
            for what, figure in footprint(below / "vectors", options.namespaces).items():
                print(f"{what:40s} {'unknown' if figure is None else f'{figure:10.3f}'}")


def _processes(folder: Path) -> None:
    ours, floor = cold_start(folder)
    print(f"cold start to first recalled memory: {ours:.3f} s, floor {floor:.3f} s, ratio {ours / floor:.2f}")
    seconds, modules = imports()
    print(f"import sfm_core: {seconds:.3f} s, {modules} modules in all")
    for how in ("alone", "together"):
        each = fsyncs(folder, how)
        print(f"fsyncs per store, {how}: {'unknown (strace is not installed)' if each is None else f'{each:.3f}'}")


if __name__ == "__main__":
    main()
