"""The line of progress that tells why the first call takes long."""

from __future__ import annotations

import functools
import sys

LINE = "compiling for this machine, the first time only; this may take a minute"


@functools.cache  # one listener for the process
def announce_compilation() -> None:
    """From now on say so, once, when a function of geo3d is compiled: where none was kept by an earlier call."""
    from numba.core import event

    class Announcer(event.Listener):
        told = False

        def on_start(self, event: event.Event) -> None:
            dispatcher = (event.data or {}).get("dispatcher")
            name = str(getattr(getattr(dispatcher, "py_func", None), "__module__", ""))
            if not self.told and name.split(".")[0] == "geo3d":
                self.told = True
                print(LINE, file=sys.stderr, flush=True)

        def on_end(self, event: event.Event) -> None:
            pass

    event.register("numba:compile", Announcer())
