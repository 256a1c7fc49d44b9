"""Attention patterns in CircuitsVis, made safe: it is imported only when somebody asks for it."""

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

_VISIBLE = str.maketrans({" ": "␣", "\n": "⏎", "\r": "␍", "\t": "⇥"})


def circuitsvis_html(tokens: Sequence[str], pattern: NDArray[Any]) -> Any:
    """``circuitsvis.attention.attention_patterns`` of ``pattern`` [head, query, key], as HTML that needs no network.

    CircuitsVis puts tokens into the page as HTML and inside a script: escaped, they are neither. Its own display asks a
    public host whether there is a network and then loads its code from a CDN; its local source needs neither. Values
    are rounded to five decimals. Raises ImportError where the package is missing.
    """
    try:
        from circuitsvis.attention import attention_patterns
    except ImportError as error:
        raise ImportError("to_circuitsvis() needs the package circuitsvis: pip install circuitsvis") from error
    from IPython.display import HTML

    escaped = [escape(token.translate(_VISIBLE) or "∅") for token in tokens]
    rendered = attention_patterns(escaped, np.round(pattern.astype(np.float64), 5))
    return HTML(rendered.local_src)  # type: ignore[no-untyped-call]
