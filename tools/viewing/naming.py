"""Names of samples that tell them apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from geo3d.tools.viewing.samples import Samples


def distinct_names(paths: Sequence[Path]) -> tuple[str, ...]:
    """The name of each file, with as many of its folders as tell it from the others of that name."""
    names = [path.name for path in paths]
    for depth in range(2, 1 + max((len(path.parts) for path in paths), default=0)):
        counts = Counter(names)
        names = ["/".join(path.parts[-depth:]) if counts[name] > 1 else name for name, path in zip(names, paths, strict=True)]
    return numbered(names)


def with_distinct_names(parts: Sequence[Samples], paths: Sequence[Path]) -> list[Samples]:
    """Samples of several paths; those whose names occur in another path's too have their path's name before them."""
    counts = Counter(name for part in parts for name in set(part.names))
    places = distinct_names([path.resolve() for path in paths])
    result = []
    for part, place in zip(parts, places, strict=True):
        clash = any(counts[name] > 1 for name in part.names)
        single = len(part) == 1 and part.names[0] == place.rsplit("/", 1)[-1]
        names = tuple(place if single else f"{place}/{name}" for name in part.names) if clash else part.names
        result.append(replace(part, names=names))
    return result


def numbered(names: Sequence[str]) -> tuple[str, ...]:
    """The names, with a number behind from the second of a kind on."""
    seen: Counter[str] = Counter()
    result = []
    for name in names:
        seen[name] += 1
        result.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return tuple(result)
