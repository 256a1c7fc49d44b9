"""Errors whose sentence says it all: a notebook shows it below the reader's own lines, without ours.

    class LoadError(Told, ValueError): ...

Outside notebooks nothing changes: a full traceback, as Python prints it.
"""

import os
import traceback
from pathlib import Path

_OURS = f"{Path(__file__).resolve().parent}{os.sep}"  # a learner's interpwidgets-course beside it is not ours


class Told(Exception):
    """Mix in before the built-in error that it also is."""

    def _render_traceback_(self) -> list[str]:
        """What IPython prints instead of the whole way: each line of the reader's code on it, then the sentence."""
        theirs = [
            frame
            for frame in traceback.extract_tb(self.__traceback__)
            if not frame.filename.startswith((_OURS, "<frozen")) and "site-packages" not in frame.filename
        ]
        lines = [f"line {frame.lineno}: {frame.line}" for frame in theirs if frame.line]
        return [*lines, f"{type(self).__name__}: {self}"]
