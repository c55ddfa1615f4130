"""Where compiled functions are kept when neither the package nor the user's cache folder can be written, as in many containers.

Numba keeps machine code beside the source or below HOME, and raises "no locator available" where it can do neither.
"""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from pathlib import Path


def use_writable_cache() -> None:
    """Name a temporary folder in NUMBA_CACHE_DIR if numba would find none; what the user has set there stays."""
    if os.environ.get("NUMBA_CACHE_DIR"):
        return
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    if _is_writable(Path(__file__).parent / "__pycache__") or _is_writable(Path(cache) / "numba"):
        return
    os.environ["NUMBA_CACHE_DIR"] = folder = str(private_folder(Path(tempfile.gettempdir())))
    if "numba" in sys.modules:  # it has read its settings already
        sys.modules["numba"].config.CACHE_DIR = folder


def private_folder(parent: Path) -> Path:
    """A folder of this user that outlives the process, or a fresh one where another user has taken the name: it will hold code."""
    user = os.getuid() if hasattr(os, "getuid") else 0
    folder = parent / f"geo3d-numba-{user}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if stat.S_ISDIR(found.st_mode) and found.st_uid in (user, 0) and not found.st_mode & 0o022:
        return folder
    return Path(tempfile.mkdtemp(prefix="geo3d-numba-", dir=parent))


def _is_writable(folder: Path) -> bool:
    """Whether files can be written into a folder, which is made if it is not there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False
