"""What `geo3d predict` must know of the models of a task."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geo3d.zoo.weights import WeightsInfo


@dataclass(frozen=True)
class Kind:
    """The models of a task on the command line.

    Attributes:
        models: what they are called, such as "classifiers".
        about: what they take and what they write, for the help.
        add_options: adds the options that these models have beside those of all, given the description of the weights; without it
            (for the help of all models, and to find the files among the options) the same options, whatever their defaults.
        outputs: the files that a run writes beside that of `--json`, which are checked before the network is loaded.
        run: predicts for `arguments.files`, prints and writes; gives the results as JSON holds them.
    """

    models: str
    about: str
    add_options: Callable[[argparse._ActionsContainer, WeightsInfo | None], None]
    outputs: Callable[[argparse.Namespace], list[Path]]
    run: Callable[[Any, argparse.Namespace], list[dict[str, Any]]]
