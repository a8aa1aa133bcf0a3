"""Makes every session alike: packages are imported before pytest takes the folders of the same names for namespace packages,
and interrupts are heard.
"""

from __future__ import annotations

import signal
from contextlib import suppress
from importlib import import_module

for package in ("sfm_app", "sfm_core"):
    # A session that tests one distribution alone may not have the other.
    with suppress(ModuleNotFoundError):
        import_module(package)

# A job in the background of a shell has interrupts ignored, and its children inherit that: tests that interrupt a program
# would wait for ever.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
