"""Reader of OFF files (Geomview's object file format) in text, with the colours and normals of COFF and NOFF."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from geo3d.data.files.raw import RawGeometry, as_uint8_colors, fan_triangles

HEAD = re.compile(r"\s*(ST)?(C)?(N)?OFF(?![A-Za-z])\s*")


def read_off(path: Path) -> RawGeometry:
    """Vertices, with colours and normals where they stand, and faces; the colours of faces are left.

    Raises:
        ValueError: no OFF file, or a truncated one.
    """
    content = path.read_bytes()
    if b"\0" in content[:1024]:
        raise _damaged(path, "binary data")
    lines = [line.partition("#")[0] for line in content.decode("latin-1").removeprefix("\xef\xbb\xbf").splitlines()]
    lines = [line for line in lines if line.strip()]
    head = HEAD.match(lines[0]) if lines else None
    if head is None:
        raise _damaged(path, "its first line is not OFF")
    lines[0] = lines[0][head.end() :]  # the counts may stand behind the word, even without a space
    lines = lines if lines[0] else lines[1:]
    try:
        num_vertices, num_faces = (int(word) for word in lines[0].split()[:2])
    except (ValueError, IndexError):
        raise _damaged(path, "no line with the numbers of vertices and faces") from None
    if min(num_vertices, num_faces) < 0 or num_vertices + num_faces > len(lines) - 1:
        raise _damaged(path, f"{num_vertices} vertices and {num_faces} faces in {len(lines) - 1} lines (truncated?)")
    try:
        vertices = np.loadtxt(lines[1 : 1 + num_vertices], ndmin=2) if num_vertices else np.empty((0, 3))
        faces = _triangles(lines[1 + num_vertices : 1 + num_vertices + num_faces])
    except ValueError as error:
        raise _damaged(path, str(error).splitlines()[0]) from None
    if vertices.shape[1] < 3:
        raise _damaged(path, f"{vertices.shape[1]} numbers a vertex")
    normals = vertices[:, 3:6] if head[3] else None
    rest = vertices[:, 6:10] if head[3] else vertices[:, 3:7]
    colored = rest.shape[1] in (3, 4) and (head[2] or not head[3])
    colors = as_uint8_colors(rest, path) if colored else None
    return RawGeometry(vertices[:, :3], normals, colors, faces=faces if len(faces) else None)


def _damaged(path: Path, reason: str) -> ValueError:
    return ValueError(f"{path}: expected the OFF format, got a file that does not parse ({reason})")


def _triangles(lines: list[str]) -> np.ndarray:
    """[F, 3] of lines that hold a count, so many corners, and perhaps a colour."""
    if not lines:
        return np.empty((0, 3), np.int64)
    counts, indices = [], []
    for line in lines:
        words = line.split()
        count = int(words[0])
        if not 0 <= count < len(words):
            raise ValueError(f"a face of {count} corners in {line[:40]!r} (truncated?)")
        counts.append(count)
        indices += words[1 : 1 + count]
    return fan_triangles(np.array(counts), np.array([int(word) for word in indices]))
