"""The page side of the logit lens: the grid, the paths of tokens, long texts, odd tokens, a dead kernel."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import traitlets as t

from interpwidgets.widgets import _base

AXE = Path(__file__).parents[2] / "frontend" / "node_modules" / "axe-core" / "axe.min.js"
SENTENCE = ["The", " capital", " of", " France", " is", " Paris", ".", " The", " capital", " of", " Italy", " is"]
VOCAB = [*dict.fromkeys(SENTENCE), " Rome", " the", " a", " not", " was", "\n", " city", " Lyon"]
HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "</script>",
    "\n",
    "\t",
    "👩\u200d👧",
    "مرحبا",
    "",
    "\u202egnp",
    "\u200b",
    "<!--",
    "x" * 10_000,
    "&amp;",
]


def half(values: np.ndarray) -> dict[str, Any]:
    return _base.to_wire(values.astype(np.float16))


def codes(values: np.ndarray) -> dict[str, Any]:
    return {"data": values.astype("<u2").tobytes(), "dtype": "u2", "shape": list(values.shape)}


class Lens(_base.InterpWidget):
    """The state that the page reads, made by hand."""

    _kind = t.Unicode("logit_lens").tag(sync=True)
    tokens = t.List().tag(sync=True)
    _rows = t.List().tag(sync=True)
    _meta = t.Dict().tag(sync=True)
    _vocab = t.List().tag(sync=True)
    _planes = t.List().tag(sync=True)
    _followed = t.List().tag(sync=True)
    row = t.Int(0).tag(sync=True)
    position = t.Int(0).tag(sync=True)
    locked = t.Bool(False).tag(sync=True)
    measure = t.Unicode("probability").tag(sync=True)
    lens = t.Unicode("logit").tag(sync=True)
    compare = t.Unicode("").tag(sync=True)
    source = t.Unicode("residual").tag(sync=True)
    target = t.Unicode("").tag(sync=True)
    pinned = t.List().tag(sync=True)
    prompt = t.Unicode("").tag(sync=True)
    theme = t.Unicode("auto").tag(sync=True)
    title = t.Unicode("Logit lens").tag(sync=True)
    caption = t.Unicode("").tag(sync=True)
    _has_model = t.Bool(False).tag(sync=True)
    _status = t.Dict({"state": "ready", "text": "", "progress": None}).tag(sync=True)
    _error = t.Dict(default_value=None, allow_none=True).tag(sync=True)
    _notice = t.Dict(default_value=None, allow_none=True).tag(sync=True)

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.heard: list[dict[str, Any]] = []

    def _on_message(self, content: dict[str, Any], buffers: list[bytes]) -> None:
        self.heard.append(content)


def plane(
    probs: np.ndarray, ids: np.ndarray, *, lens: str = "logit", source: str = "residual", nats: bool = True
) -> dict[str, Any]:
    """Top tokens of every cell, ``[row, position, k]``, as they cross to the page."""
    entropy = -(probs * np.log(probs)).sum(-1) + 3 * (1 - probs.sum(-1))
    kl = np.linspace(4, 0, len(probs))[:, None] * np.ones(probs.shape[1])
    known = {"entropy": half(entropy), "kl": half(kl)} if nats else {"entropy": None, "kl": None}
    return {"lens": lens, "source": source, "ids": codes(ids), "probs": half(probs), **known, "ready": True}


def drawn(rows: int, tokens: int, k: int = 5, seed: int = 0, vocab: int = len(VOCAB)) -> tuple[np.ndarray, np.ndarray]:
    """Top tokens that grow surer from layer to layer, and change now and then."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(1, tokens, vocab)) + rng.normal(size=(rows, tokens, vocab)).cumsum(0) / 2
    scores = scores * np.linspace(0.8, 1.6, rows)[:, None, None]
    weights = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    ids = np.argsort(-weights, -1)[..., :k]
    return np.take_along_axis(weights, ids, -1), ids


def made(tokens: list[str] = SENTENCE, rows: int = 13, seed: int = 0, **kwargs: Any) -> Lens:
    vocab = kwargs.pop("vocab", VOCAB)
    probs, ids = drawn(rows, len(tokens), min(5, len(vocab)), seed, len(vocab))
    meta = {"model": "storylm", "layers": rows - 1, "tokens": len(tokens), "k": probs.shape[-1], "has_entropy": True}
    state = {
        "tokens": tokens,
        "_rows": ["emb", *(str(i) for i in range(rows - 1))] if rows > 1 else ["0"],
        "_meta": {**meta, "has_kl": True},
        "_vocab": vocab,
        "_planes": [plane(probs, ids)],
        "position": len(tokens) - 1,
        "row": rows // 2,
    }
    return Lens(**{**state, **kwargs})


def followed(token: str, prob: np.ndarray, rank: np.ndarray, lens: str = "logit") -> dict[str, Any]:
    tracks = {"prob": _base.to_wire(prob.astype(np.float32)), "rank": _base.to_wire(rank.astype(np.float32))}
    return {"token": token, "code": 0, "planes": [{"lens": lens, "source": "residual", **tracks}]}


PATHS = {
    " Rome": [0.00, 0.00, 0.00, 0.00, 0.01, 0.02, 0.05, 0.14, 0.31, 0.52, 0.68, 0.79, 0.83],
    " the": [0.01, 0.02, 0.04, 0.09, 0.16, 0.24, 0.29, 0.22, 0.13, 0.07, 0.04, 0.02, 0.01],
    " Paris": [0.00, 0.00, 0.00, 0.01, 0.02, 0.05, 0.09, 0.17, 0.19, 0.14, 0.08, 0.04, 0.03],
}


def capital(**kwargs: Any) -> Lens:
    """The sentence of the picture: at its end Rome rises, the and Paris come and go."""
    probs, ids = drawn(13, 12)
    facts, state = dict(PATHS), []
    for row in range(13):
        last = sorted(((p[row], VOCAB.index(token)) for token, p in facts.items()), reverse=True)
        others = [i for i in ids[row, 11] if i not in [code for _, code in last]][:2]
        probs[row, 11] = [*(max(p, 2e-3) for p, _ in last), 1e-3, 5e-4]
        ids[row, 11] = [*(code for _, code in last), *others]
    for token, values in facts.items():
        prob, rank = np.full((13, 12), 1e-4), np.full((13, 12), 800.0)
        prob[:, 11] = values
        rank[:, 11] = [VOCAB_RANK(values[row], row, facts) for row in range(13)]
        state.append(followed(token, prob, rank))
    return made(
        **{
            "_planes": [plane(probs, ids)],
            "_followed": state,
            "target": " Rome",
            "pinned": [" the", " Paris"],
            "row": 8,
            "prompt": "".join(SENTENCE),
            "_has_model": True,
            **kwargs,
        }
    )


def VOCAB_RANK(value: float, row: int, facts: dict[str, list[float]]) -> float:
    return float(sum(other[row] > value for other in facts.values())) if value > 0.01 else 10 ** (3.5 - 0.3 * row)
