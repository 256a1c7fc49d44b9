"""The page side of the induction detector: scores, arrows, the stripe, heads that are off, training, odd hosts."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from interpwidgets import InductionHeads, load
from interpwidgets.widgets import _base

AXE = Path(__file__).parents[2] / "frontend" / "node_modules" / "axe-core" / "axe.min.js"
WORDS = [" river", " seven", " glass", " under", " Tom", " blue", " key", " ran", " soft", " map", " egg", " hill"]
TEXT = ["<s>", *WORDS, *WORDS]
INDUCTORS = {(5, 1): 0.95, (5, 5): 0.96, (6, 9): 0.98, (7, 2): 0.97, (7, 10): 0.97, (5, 8): 0.88}
WRITERS = {(2, 3): 0.92, (5, 3): 0.9, (4, 11): 0.95}
PAIRS = {((2, 3), (5, 1)): 0.38, ((2, 3), (5, 5)): 0.62, ((5, 3), (7, 2)): 0.3, ((4, 11), (5, 8)): 0.7,
         ((4, 11), (6, 9)): 0.48, ((4, 11), (7, 10)): 0.28}  # fmt: skip


def attention(n: int, layers: int = 12, heads: int = 12, seed: int = 0) -> np.ndarray:
    """Causal patterns that look mostly at the first token, [layer, head, query, key]."""
    raw = np.random.default_rng(seed).gamma(0.3, size=(layers, heads, n, n)).astype(np.float32)
    raw[..., 0] += 3
    raw *= np.tri(n, dtype=np.float32)
    return raw / raw.sum(-1, keepdims=True)


def drawn_by_hand(**options: Any) -> InductionHeads:
    """Twelve layers of twelve heads, with six induction heads and the three that they are built on."""
    patterns = attention(25)
    for (layer, head), score in INDUCTORS.items():
        for query in range(13, 25):
            patterns[layer, head, query, : query + 1] *= 1 - score
            patterns[layer, head, query, query - 11] += score
    for (layer, head), score in WRITERS.items():
        for query in range(1, 25):
            patterns[layer, head, query, : query + 1] *= 1 - score
            patterns[layer, head, query, query - 1] += score
    composition = np.zeros((12, 12, 12, 12), np.float32)
    for (first, second), score in PAIRS.items():
        composition[(*first, *second)] = score
    loss = 7.6 + np.random.default_rng(5).normal(size=24) * 0.9
    loss[12:] = 7.4, *(0.2 + 3 * np.exp(-0.9 * np.arange(1, 12)))
    options = {"composition": composition, "loss": loss, "layer": 5, "head": 1, "threshold": 0.6, **options}
    return InductionHeads(TEXT, patterns, **options)


@pytest.fixture(scope="module")
def attn2l() -> Any:
    return load("attn2l")


def test_pictures(bridge, attn2l, shot):
    bridge.page.set_viewport_size({"width": 900, "height": 1000})
    w = drawn_by_hand()
    figure = bridge.show(w)
    shot(figure, "induction_light")
    w.theme = "dark"
    bridge.page.add_style_tag(content="body{background:#111}")
    bridge.pump()
    shot(figure, "induction_dark")
    w.theme = "light"
    bridge.page.add_style_tag(content="body{background:#fff}")
    bridge.page.set_viewport_size({"width": 428, "height": 1400})
    bridge.pump()
    shot(figure, "induction_narrow")
    bridge.page.set_viewport_size({"width": 740, "height": 1000})
    bridge.pump()
    shot(figure, "induction_middle")
    figure.evaluate("el => el.remove()")
    bridge.page.set_viewport_size({"width": 900, "height": 1000})
    v = InductionHeads.from_model(attn2l)
    figure = bridge.show(v)
    v.off = [(1, 0)]
    bridge.pump()
    shot(figure, "attn2l")
    v.over_training()
    bridge.pump()
    shot(figure, "attn2l_training")
