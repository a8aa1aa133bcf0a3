"""A server of one's own: its folder, its port, its processes, and what may be done to them."""

from __future__ import annotations

import contextlib
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from sfm_core.testing.servers import watch

__all__ = ["Folder", "Server", "free_port"]

# Below the ports that outgoing connections take, so that a stopped server finds its own free again.
PORTS = range(20_000, 32_000)
START = 90.0
STOP = 30.0
PAUSE = 0.02
OTHER = "nobody"


def free_port() -> int:
    """Return a port of 127.0.0.1 on which nothing listens and which no outgoing connection takes."""
    for port in random.sample(PORTS, 200):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port
    raise RuntimeError(f"no free port between {PORTS.start} and {PORTS.stop}")


def _open_to_all(folder: Path) -> bool:
    """Tell whether every user may walk into a folder."""
    return all(place.stat().st_mode & 0o001 for place in (folder, *folder.parents))


def reachable(folder: Path) -> bool:
    """Tell whether the user a server runs as may walk into a folder."""
    return os.geteuid() != 0 or _open_to_all(folder.resolve())


def _base() -> str:
    places = (tempfile.gettempdir(), "/tmp", "/var/tmp")
    return next(place for place in places if reachable(Path(place)))


class Folder:
    """The folder of one server, with a watcher that ends the server's processes when this program ends, however it does.

    A folder that was given is kept; one made here is removed.
    """

    def __init__(self, name: str, given: Path | None = None) -> None:
        if given is not None:
            given.mkdir(parents=True, exist_ok=True)
        made = given or Path(tempfile.mkdtemp(prefix=f"sfm-{name}-", dir=_base()))
        self.path = made.resolve()
        self.given = given is not None
        self.path.chmod(0o711)
        self._watcher = subprocess.Popen(
            [sys.executable, "-I", watch.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            cwd="/",
            # An interrupt of the terminal's group must not take the watcher with it.
            start_new_session=True,
        )
        assert self._watcher.stdin is not None
        self._input = self._watcher.stdin
        self._input.write(f"{self.path}\n{watch.KEEP if self.given else 'remove'}\n".encode())
        self._input.flush()

    def close(self) -> None:
        """End the processes and, unless the folder was given, remove it; a second call has no effect."""
        with contextlib.suppress(OSError):
            self._input.close()
        self._watcher.wait()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to every process of the folder."""
        if not watch.signalled(str(self.path), number, seconds=STOP):
            raise RuntimeError(f"{self.path}: some process did not take {number.name}")


class Server(ABC):
    """A server process with its children. All methods block; from a test's event loop call them in a thread."""

    title: str
    """What messages call it."""
    gentle: signal.Signals = signal.SIGTERM
    """The signal that asks it to stop."""
    drops_root: bool = False
    """Whether it refuses to run as root, so that root starts it as another user."""

    def __init__(self, *, folder: Path | None = None, port: int | None = None) -> None:
        self.port = port or free_port()
        self.home = Folder(self.title.lower(), folder)
        self.folder = self.home.path
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def prepare(self) -> None:
        """Make the folder ready for the first start; called before every start."""

    @abstractmethod
    def command(self) -> Sequence[str]:
        """Return the command line that runs the server in the foreground."""

    @abstractmethod
    def ready(self) -> bool:
        """Tell whether the server answers."""

    def environment(self) -> dict[str, str]:
        """Return the environment of its processes: nothing of the caller's that could change what a server does."""
        kept = {name: os.environ[name] for name in ("PATH", "TZ") if name in os.environ}
        return {**kept, "HOME": str(self.folder), "LC_ALL": "C"}

    @property
    def pid(self) -> int:
        """The process id of the server while it runs."""
        if self._process is None:
            raise RuntimeError(f"{self.title} is not running")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process was started here and has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> str:
        """What the server printed."""
        file = self.folder / "log"
        return file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""

    def start(self, *, wait: bool = True) -> None:
        """Start on the same folder and port as before, and wait until it answers.

        Raises:
            RuntimeError: it runs already, ended at once or does not answer; the message ends with its last output.
        """
        if self.running:
            raise RuntimeError(f"{self.title} runs already")
        if self.other_user() is not None and not reachable(self.folder):
            raise RuntimeError(f"{self.title} does not run as root, and {OTHER} may not walk to {self.folder}")
        self.prepare()
        with (self.folder / "log").open("ab") as log:
            self._process = self.spawn(self.command(), log.fileno())
        if wait:
            self.wait_ready()

    def spawn(self, command: Sequence[str], output: int) -> subprocess.Popen[bytes]:
        """Run a program of the server in its folder, in a process group of its own, as the user it runs as."""
        other = self.other_user()
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            user=other.pw_uid if other is not None else None,
            group=other.pw_gid if other is not None else None,
            extra_groups=[] if other is not None else None,
        )

    def other_user(self) -> pwd.struct_passwd | None:
        """Return the user that the server runs as where that is not the one of this process."""
        return pwd.getpwnam(OTHER) if self.drops_root and os.geteuid() == 0 else None

    def give(self, path: Path) -> None:
        """Make a file or folder belong to the user that the server runs as."""
        other = self.other_user()
        if other is not None:
            shutil.chown(path, other.pw_uid, other.pw_gid)

    def run(self, *command: str) -> str:
        """Run a program of the server to its end and return what it printed.

        Raises:
            RuntimeError: it failed; the message ends with its output.
        """
        path = self.folder / "output"
        with path.open("wb") as output:
            code = self.spawn(command, output.fileno()).wait()
        printed = path.read_text(encoding="utf-8", errors="replace")
        if code != 0:
            raise RuntimeError(f"{self.title}: {Path(command[0]).name} failed with {code}: {printed[-2000:]}")
        return printed

    def wait_ready(self, seconds: float = START) -> None:
        """Wait until the server answers.

        Raises:
            RuntimeError: it ended or does not answer; the message ends with its last output.
        """
        ends = time.monotonic() + seconds
        while not self.ready():
            if not self.running:
                raise RuntimeError(f"{self.title} ended at its start: {self.log[-2000:]}")
            if time.monotonic() > ends:
                raise RuntimeError(f"{self.title} does not answer after {seconds:g} s: {self.log[-2000:]}")
            time.sleep(PAUSE)

    def stop(self) -> None:
        """Ask the server to stop and wait for it; one that takes too long, or is frozen, is killed."""
        if self._process is not None and self.running:
            self._process.send_signal(self.gentle)
            self.home.signal(signal.SIGCONT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP)
        self.kill()

    def kill(self) -> None:
        """End every process of the server with SIGKILL."""
        self.home.signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Stop every process of the server with SIGSTOP: connections stay open and nothing answers."""
        self.home.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen server go on."""
        self.home.signal(signal.SIGCONT)

    def restart(self) -> None:
        """Stop and start again on the same folder and port."""
        self.stop()
        self.start()

    def close(self) -> None:
        """Stop for good and remove the folder, unless it was given."""
        self.stop()
        self.home.close()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
