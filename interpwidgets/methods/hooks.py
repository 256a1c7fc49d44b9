"""Reading and editing a model with torch's own hooks: what a tap does, in a dozen lines.

    from interpwidgets.methods.hooks import record, run_edited

    kept = record(model, tokens, ["transformer.h.0.attn", "transformer.ln_f"])
    out = run_edited(model, tokens, "transformer.h.3.mlp", torch.zeros_like)      # the last MLP writes nothing

A name is one of ``model.named_modules()``. Of a module that returns a tuple the first part counts. `interpwidgets.Tap`
knows more: places inside a module, and the same names in every family.

Source: the forward hooks of torch; the shape of `record` and `run_edited` follows ``TraceDict`` and ``edit_output`` of
baukit (Bau 2022) and ``run_with_cache`` of TransformerLens (Nanda and Bloom 2022).
"""

from collections.abc import Callable, Sequence
from typing import Any

from jaxtyping import Int
from torch import Tensor


def record(model: Any, tokens: Int[Tensor, "batch position"], names: Sequence[str]) -> dict[str, Tensor]:
    """What the modules called ``names`` returned in one run of ``model`` on ``tokens``.

    All hooks are gone afterwards, also if the model stops. Raises `KeyError` for a name that the model does not have.
    """
    modules = dict(model.named_modules())
    kept: dict[str, Tensor] = {}
    handles: list[Any] = []

    def keeper(name: str) -> Callable[..., None]:
        def keep(module: Any, inputs: Any, output: Any) -> None:
            kept[name] = output[0] if isinstance(output, tuple) else output

        return keep

    try:
        for name in names:
            handles.append(modules[name].register_forward_hook(keeper(name)))
        model(tokens)
    finally:
        for handle in handles:
            handle.remove()
    return kept


def run_edited(model: Any, tokens: Int[Tensor, "batch position"], name: str, edit: Callable[[Tensor], Tensor]) -> Any:
    """What ``model`` returns if ``edit(output)`` goes on in place of what the module ``name`` returned.

    The hook is gone afterwards, also if the model or the edit stops.
    """

    def change(module: Any, inputs: Any, output: Any) -> Any:
        if isinstance(output, tuple):
            return (edit(output[0]), *output[1:])
        return edit(output)

    handle = model.get_submodule(name).register_forward_hook(change)
    try:
        return model(tokens)
    finally:
        handle.remove()
