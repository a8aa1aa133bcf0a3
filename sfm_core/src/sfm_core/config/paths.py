"""Where data lives unless a setting says otherwise, and how its folder is made."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from sfm_core.errors import ConfigError

__all__ = ["default_data_dir", "prepare_data_dir"]

_NAME = "somafractalmemory"


def default_data_dir() -> Path:
    """Return the folder of this system in the user's data directory; it need not exist.

    Raises:
        ConfigError: the user has no home directory.
    """
    try:
        home = Path.home()
    except RuntimeError as error:
        raise ConfigError("SFM_DATA_DIR: not set, and this user has no home directory") from error
    if sys.platform == "darwin":
        return home / "Library" / "Application Support" / _NAME
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local") / _NAME
    # The XDG base directory specification: a relative path there is to be ignored.
    base = Path(os.environ.get("XDG_DATA_HOME") or "")
    return (base if base.is_absolute() else home / ".local" / "share") / _NAME


def prepare_data_dir(folder: Path) -> Path:
    """Make `folder`, for this user alone, where it does not exist, and return its absolute path.

    Raises:
        ConfigError: it is no folder, or cannot be made or written to.
    """
    folder = folder.expanduser().absolute()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"SFM_DATA_DIR: {folder} cannot be made a folder ({error.strerror})") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigError(f"SFM_DATA_DIR: {folder} cannot be written to by this user")
    return folder
