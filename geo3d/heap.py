"""Keeping freed memory, so that large tensors do not cost a page fault for every 4 KiB again and again.

glibc gives blocks above 32 MiB at most back to the system as soon as they are freed, and half of a training step on the CPU can go into
getting them anew. A process that calls `keep_heap` reuses them; its peak of memory grows, by a third in a detector's training.
"""

from __future__ import annotations

import ctypes
import os
import sys

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of glibc's malloc.h


def keep_heap() -> bool:
    """Let this process keep the memory it frees; to be called once, before the first large tensor.

    The commands `geo3d train`, `test`, `predict` and `demo` call it. The environment variable GEO3D_KEEP_HEAP=0 switches it off.

    Returns:
        Whether it took effect: False where the C library is not glibc, and where it is switched off.
    """
    if not sys.platform.startswith("linux") or os.environ.get("GEO3D_KEEP_HEAP", "1") == "0":
        return False
    try:
        library = ctypes.CDLL("libc.so.6")
        library.gnu_get_libc_version  # noqa: B018  # other C libraries have no such function
        return bool(library.mallopt(M_MMAP_MAX, 0)) and bool(library.mallopt(M_TRIM_THRESHOLD, 2**31 - 1))
    except (OSError, AttributeError):
        return False
