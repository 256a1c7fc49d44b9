"""What the README shows runs as it stands there."""

import os
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
STORIES = Path(os.environ.get("INTERPWIDGETS_STORIES260K", ROOT.parent / "shared/models/stories260K"))

pytestmark = pytest.mark.skipif(not (ROOT / "README.md").exists(), reason="only in a clone")


def example(heading: str) -> str:
    """The Python that stands below a heading."""
    section = (ROOT / "README.md").read_text(encoding="utf-8").split(f"## {heading}\n")[1].split("\n## ")[0]
    return "\n".join(re.findall(r"```python\n(.*?)```", section, re.DOTALL))


@pytest.mark.parametrize("model", ["demo", STORIES], ids=["demo", "stories260K"])
def test_the_example_with_your_own_model(model: Any) -> None:
    if model == STORIES and not STORIES.exists():
        pytest.skip("stories260K is not beside the clone")
    code = example("With your own model")
    assert '"gpt2"' in code
    names: dict[str, Any] = {}
    exec(code.replace('"gpt2"', repr(str(model))), names)
    assert names["heads"].prompt.startswith("When Mary and John")
    assert names["heads"].selected.shape == (len(names["heads"].tokens),) * 2


def test_the_example_with_arrays_from_transformerlens() -> None:
    """With a stand-in that answers as TransformerLens 4.3 does: one [batch, head, query, key] per layer."""
    pattern = np.tril(np.ones((1, 3, 4, 4))) / np.arange(1, 5)[:, None]
    model = SimpleNamespace(
        cfg=SimpleNamespace(n_layers=2),
        run_with_cache=lambda text: (None, {("pattern", layer): pattern for layer in range(2)}),
        to_str_tokens=lambda text: ["<s>", "Once", "upon", "a"],
    )
    code = example("With your own arrays")
    names: dict[str, Any] = {"model": model, "text": "Once upon a"}
    exec(code.replace("AttentionHeads(model", "shown = AttentionHeads(model"), names)
    assert repr(names["shown"]).startswith("AttentionHeads(2 layers × 3 heads, 4 tokens")
