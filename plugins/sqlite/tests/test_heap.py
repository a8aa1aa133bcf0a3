"""What is freed goes back to the system."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

FREEING = textwrap.dedent(
    """
    from sfm_sqlite.heap import trim_heap

    def resident():
        with open("/proc/self/statm") as status:
            return int(status.read().split()[1])

    kept = [bytearray(100_000) for _ in range(2000)]
    del kept[:-1]
    before = resident()
    trim_heap()
    print(before - resident())
    """
)


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc keeps what is freed")
def test_trimming_gives_memory_back() -> None:
    """Pages below the last piece in use, which freeing alone leaves to the process."""
    command = ["env", "MALLOC_MMAP_THRESHOLD_=1000000", "MALLOC_ARENA_MAX=1", sys.executable, "-c", FREEING]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) > 10_000
