"""A window that shows one picture after the other, by tkinter, which comes with Python."""

from __future__ import annotations

import numpy as np


class Window:
    """A window.

    Raises:
        ValueError: no screen, or a Python without tkinter.
    """

    def __init__(self, title: str):
        try:
            import tkinter

            self._root = tkinter.Tk()
        except ImportError:
            raise ValueError("this Python has no tkinter to open a window with; use --web or --save out.mp4") from None
        except tkinter.TclError as error:
            raise ValueError(f"cannot open a window ({error}); use --web or --save out.mp4") from None
        self._root.title(title)
        self._label = tkinter.Label(self._root)
        self._label.pack()
        self._open = True
        self._root.protocol("WM_DELETE_WINDOW", self.close)
        self._root.bind("<Escape>", lambda _: self.close())
        self._root.bind("q", lambda _: self.close())

    def show(self, picture: np.ndarray) -> bool:
        """Show a picture [H, W, 3] uint8; False once the window was closed."""
        from PIL import Image, ImageTk

        if self._open:
            self._image = ImageTk.PhotoImage(Image.fromarray(picture), master=self._root)  # tkinter keeps no reference
            self._label.configure(image=self._image)
            self._root.update()
        return self._open

    def close(self) -> None:
        """Close it."""
        if self._open:
            self._open = False
            self._root.destroy()
