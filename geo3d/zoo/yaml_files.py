"""YAML of people we do not know: its size is known before it is built."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

MAX_BYTES = 4_000_000
MAX_DEPTH = 60  # of a configuration's 10 or so
MAX_ALIASES = 500
MAX_NODES = 200_000  # with every alias written out


def read_yaml(path: str | Path) -> dict[Any, Any]:
    """The mapping in a YAML file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a file that is empty, no text, no mapping, or beyond the limits; the message names it.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no configuration {path}")
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{path}: expected a configuration of at most {MAX_BYTES:,} bytes, got {path.stat().st_size:,}")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: expected a configuration in YAML, got bytes that are no text ({error.reason})") from None
    check_yaml(text, str(path))
    try:
        content = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError as error:  # a tag that is not plain data
        raise ValueError(f"{path}: expected plain values in YAML, got {' '.join(str(error).split())[:200]}") from None
    if not isinstance(content, dict):
        found = "an empty file" if content is None else type(content).__name__
        raise ValueError(f"{path}: expected a configuration, keys with values in YAML, got {found}")
    return content


def check_yaml(text: str, source: str) -> None:
    """Check nesting and size of a YAML text, with aliases counted as often as they would be written out, without building any of it.

    Args:
        text: one document.
        source: names the text in errors.

    Raises:
        ValueError: text that is no YAML, is nested too deeply or within itself, or would grow beyond the limits.
    """
    sizes: dict[str, int] = {}  # nodes of each anchor, written out
    open_nodes: list[tuple[str | None, int]] = []  # anchor and nodes so far
    aliases = total = 0
    try:
        for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            size = 0
            if isinstance(event, yaml.CollectionStartEvent):
                if len(open_nodes) == MAX_DEPTH:
                    raise ValueError(f"{source}: expected at most {MAX_DEPTH} levels in YAML, got more")
                open_nodes.append((event.anchor, 1))
            elif isinstance(event, yaml.CollectionEndEvent):
                anchor, size = open_nodes.pop()
                if anchor is not None:
                    sizes[anchor] = size
            elif isinstance(event, yaml.ScalarEvent):
                size = 1
                if event.anchor is not None:
                    sizes[event.anchor] = 1
            elif isinstance(event, yaml.AliasEvent):
                aliases += 1
                if any(anchor == event.anchor for anchor, _ in open_nodes):
                    raise ValueError(f"{source}: *{event.anchor} stands within itself")
                size = sizes.get(event.anchor, 1)
            if open_nodes and size:
                open_nodes[-1] = (open_nodes[-1][0], open_nodes[-1][1] + size)
            total = max(total, size)
            if aliases > MAX_ALIASES or total > MAX_NODES:
                raise ValueError(
                    f"{source}: expected at most {MAX_ALIASES} aliases and {MAX_NODES:,} values with all of them written out, got more"
                )
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{source}: expected YAML, got {reason[:200]}") from None
