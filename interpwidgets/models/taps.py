"""Read, edit and patch what flows through a Hugging Face transformer.

One idea: a *tap* sits on a named point of the computation, a *site*, in one layer or in all. While the tap is open,
it keeps what flows by, and may put something else in its place::

    from interpwidgets import Tap, load

    model = load("demo")
    inputs = model.tokenizer("The cat sat. The cat", return_tensors="pt")

    with Tap(model, ["pattern", ("resid_post", 1)]) as tap:       # read
        model(**inputs)
    tap["pattern", 0]                                             # [batch, head, query, key] of layer 0
    tap["pattern"]                                                # all layers: [layer, batch, head, query, key]

    def without_head_2(z):                                        # edit
        z[:, :, 2] = 0
        return z

    with Tap(model, edits={("z", 0): without_head_2}):
        model(**inputs)

    with Tap(model, edits={("resid_post", 1): tap["resid_post", 1]}):   # patch: put a kept tensor in
        model(**inputs)

The sites of one block, in the order of the computation::

    resid_pre ─┬─> norm ─> q, k, v ─> pattern ─> z ─> W_O ─> attn_out ─(+)─> resid_mid ─┬─ ...
               └────────────────────────────────────────────────────────┘               │
                                                                                        │
    ... ─┬─> norm ─> W_in ─> mlp_pre ─> activation ─> mlp_post ─> W_out ─> mlp_out ─(+)─> resid_post
         └───────────────────────────────────────────────────────────────────────────┘

    resid_pre, attn_out, resid_mid, mlp_out, resid_post   [batch, position, d_model]
    q, z                                                  [batch, query, head, d_head]
    k, v                                                  [batch, key, kv_head, d_head]   fewer if queries are grouped
    pattern                                               [batch, head, query, key]       rows sum to one
    mlp_pre, mlp_post                                     [batch, position, d_mlp]

q and k are what the scores are made of, so after the rotation where a family rotates them (RoPE). Where the MLP is
gated (Llama, Gemma) mlp_pre is the gate before its activation, and mlp_post is the activated gate times the other
branch. In BERT a norm follows each sum, so resid_mid = norm(resid_pre + attn_out).

The model stays the library's own: one function in its attention registry and a few hooks, put in place when the tap
opens and taken out when it closes, whatever happens in between. Attention runs as the model itself would run it, unless
a pattern is asked for: then the family's own plain ("eager") attention runs.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from difflib import get_close_matches
from threading import Lock
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from interpwidgets._errors import Told
from interpwidgets.models.anatomy import anatomy, eager_attention_of
from interpwidgets.models.families import Place

SITES = (
    "resid_pre", "q", "k", "v", "pattern", "z", "attn_out", "resid_mid", "mlp_pre", "mlp_post", "mlp_out", "resid_post",
)  # fmt: skip
ATTENTION_SITES = frozenset({"q", "k", "v", "pattern", "z"})

Where = str | tuple[str, int]
Edit = Callable[[Tensor], Tensor] | Tensor


class TapError(Told, ValueError):
    """A site, layer or edit that cannot be; the message says what was expected and what came."""


class Tap:
    """A context manager that keeps, edits or replaces the tensors at named sites of ``model``.

    Arguments:
        model: a Hugging Face transformer of a family in `interpwidgets.models.families`.
        save: the sites to keep: ``"pattern"`` (every layer), ``("resid_post", 3)`` (one layer; -1 is the last), or a
            list of these. Kept tensors are those of the last run, after edits, and still carry gradients: run the model
            under `torch.no_grad()` if you only look.
        edits: ``{site or (site, layer): edit}``. An edit is a function that gets its own copy of the tensor, may write
            into it, and returns the one to go on with; or simply a tensor of the same shape, to patch it in.

    ``tap[site, layer]`` is one kept tensor, ``tap[site]`` all kept layers of a site stacked in front.

    Taps may be nested: at one site the outer tap acts first. A tap sees the runs of the thread (or async task) that
    opened it and no others. Raises `TapError` for a site, layer or edit that cannot be and
    `interpwidgets.models.anatomy.UnknownModelError` for a model whose insides are unknown.
    """

    def __init__(
        self, model: nn.Module, save: Where | Iterable[Where] = (), edits: Mapping[Where, Edit] | None = None
    ) -> None:
        self.anatomy = anatomy(model)
        self._save = {spot for where in _each(save) for spot in self._spots(where)}
        self._edits = {spot: edit for where, edit in _pairs(edits) for spot in self._spots(where)}
        self._saved: dict[tuple[str, int], Tensor] = {}
        self._layer_of = {module: layer for layer, module in enumerate(self.anatomy.attentions)}
        self._cleanup: ExitStack | None = None

    def __getitem__(self, where: Where) -> Tensor:
        kept = [self._kept(site, layer) for site, layer in self._wanted(where)]
        return torch.stack(kept) if isinstance(where, str) else kept[0]

    def __enter__(self) -> "Tap":
        if self._cleanup is not None:
            raise TapError("this tap is open already; make a second Tap to nest them.")
        self._saved.clear()
        spots = self._save | set(self._edits)
        with ExitStack() as cleanup:
            if any(site in ATTENTION_SITES for site, _ in spots):
                cleanup.enter_context(_attention_through_taps(self._configs()))
            for site, layer in spots:
                if site not in ATTENTION_SITES:
                    cleanup.callback(self._hook(site, layer).remove)
            _OPEN.set((*_OPEN.get(), self))
            cleanup.callback(lambda: _OPEN.set(tuple(tap for tap in _OPEN.get() if tap is not self)))
            self._cleanup = cleanup.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        cleanup, self._cleanup = self._cleanup, None
        if cleanup is not None:
            cleanup.close()

    # -- which sites

    def _spots(self, where: Where) -> list[tuple[str, int]]:
        """``where`` spelled out as (site, layer) pairs, checked against this model."""
        site, layer = where if isinstance(where, tuple) and len(where) == 2 else (where, None)
        self._check_site(site)
        assert isinstance(site, str)
        n_layers = self.anatomy.n_layers
        if layer is None:
            return [(site, each) for each in range(n_layers)]
        if not isinstance(layer, int) or not -n_layers <= layer < n_layers:
            raise TapError(f"this model has {n_layers} layers, 0 to {n_layers - 1}; there is no layer {layer!r}.")
        return [(site, layer % n_layers)]

    def _check_site(self, site: object) -> None:
        if site not in SITES:
            near = get_close_matches(str(site), SITES, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"sites are {', '.join(SITES)}."
            raise TapError(f"there is no site {site!r}; {hint}")
        if site not in ATTENTION_SITES and site not in self.anatomy.family.sites:
            name = type(self.anatomy.model).__name__
            raise TapError(f"{name} has no site {site!r}; it has {', '.join(self._sites())}.")

    def _sites(self) -> list[str]:
        return [site for site in SITES if site in ATTENTION_SITES or site in self.anatomy.family.sites]

    def _wanted(self, where: Where) -> list[tuple[str, int]]:
        spots = [spot for spot in self._spots(where) if spot in self._save]
        if not spots:
            raise TapError(f"this tap does not keep {where!r}; name it when you open one: Tap(model, [{where!r}]).")
        return spots

    def _kept(self, site: str, layer: int) -> Tensor:
        if (site, layer) not in self._saved:
            raise TapError("nothing has flowed by yet; run the model inside the `with` block of this tap.")
        return self._saved[site, layer]

    # -- what happens at a site

    def _flow(self, site: str, layer: int, value: Tensor) -> Tensor:
        """Hand ``value`` through this tap: edit it, keep it. The very same tensor comes back if it is not edited."""
        edit = self._edits.get((site, layer))
        if edit is not None:
            value = self._edited(edit, site, layer, value)
        if (site, layer) in self._save:
            self._saved[site, layer] = value
        return value

    def _edited(self, edit: Edit, site: str, layer: int, value: Tensor) -> Tensor:
        new = edit if isinstance(edit, Tensor) else edit(value.clone())
        if not isinstance(new, Tensor):
            came = "nothing: does it end with `return`?" if new is None else f"{type(new).__name__}."
            raise TapError(f"the edit of {site!r} in layer {layer} has to return a tensor; it returned {came}")
        if new.shape != value.shape:
            raise TapError(
                f"the edit of {site!r} in layer {layer} has to give a tensor of shape {list(value.shape)}; "
                f"its shape is {list(new.shape)}."
            )
        return new.to(value)

    def _hook(self, site: str, layer: int) -> Any:
        place = self.anatomy.family.sites[site]
        module = self.anatomy.blocks[layer].get_submodule(place.path)

        def flow(value: Tensor) -> Tensor:
            return self._flow(site, layer, value) if self in _OPEN.get() else value

        return _hook_branching(module, flow) if place.branches else _hook_at(module, place, flow)

    # -- attention

    def _configs(self) -> list[Any]:
        """The configurations that the attention modules consult for the function to call: usually just one."""
        return list({id(module.config): module.config for module in self.anatomy.attentions}.values())

    def _wants_pattern(self, config: object) -> bool:
        ours = any(config is each for each in self._configs())
        return ours and any(site == "pattern" for site, _ in (*self._save, *self._edits))


_OPEN: ContextVar[tuple[Tap, ...]] = ContextVar("open taps", default=())


def _each(save: Where | Iterable[Where]) -> list[Where]:
    if isinstance(save, str):
        return [save]
    if isinstance(save, tuple) and len(save) == 2 and isinstance(save[1], int):
        return [(str(save[0]), save[1])]
    return list(save)


def _pairs(edits: Mapping[Where, Edit] | None) -> Iterable[tuple[Where, Edit]]:
    if edits is not None and not isinstance(edits, Mapping):
        raise TapError("say where to edit: Tap(model, edits={site: edit}) or {(site, layer): edit}.")
    for where, edit in (edits or {}).items():
        if not isinstance(edit, Tensor) and not callable(edit):
            raise TapError(
                f"the edit of {where!r} has to be a function or a tensor; it is a value of type {type(edit).__name__}."
            )
        yield where, edit


# -- hooks: what enters or leaves a submodule


def _hook_at(module: nn.Module, place: Place, flow: Callable[[Tensor], Tensor]) -> Any:
    """Replace what enters or leaves ``module`` with what ``flow`` makes of it; other arguments and results pass."""

    def entering(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if args:
            return (flow(args[0]), *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": flow(kwargs["hidden_states"])}

    def leaving(_: nn.Module, args: tuple[Any, ...], out: Any) -> Any:
        return flow(out) if isinstance(out, Tensor) else (flow(out[0]), *out[1:])

    if place.end == "input":
        return module.register_forward_pre_hook(entering, with_kwargs=True)
    return module.register_forward_hook(leaving)


def _hook_branching(module: nn.Module, flow: Callable[[Tensor], Tensor]) -> Any:
    """As above for a tensor that also runs past ``module``: what is to go on is written into the tensor itself."""

    def entering(_: nn.Module, args: tuple[Any, ...]) -> None:
        copy = args[0].clone()  # what is kept must not change when another tap writes
        new = flow(copy)
        if new is not copy or copy.requires_grad:  # with gradients, so that they flow through what is kept
            args[0].copy_(new)

    return module.register_forward_pre_hook(entering)


# -- attention: one function in the library's own registry, and one for its masks, under the same name

_NAME = "interpwidgets_tapped"
_BEFORE: dict[int, tuple[Any, Any, int]] = {}  # id(config): config, its own implementation, number of open taps
_LOCK = Lock()


@contextmanager
def _attention_through_taps(configs: list[Any]) -> Iterator[None]:
    """While at least one tap is open, attention of the models with these configurations comes by `_attention`."""
    for config in configs:
        with _LOCK:
            _, own, count = _BEFORE.get(id(config), (config, config._attn_implementation, 0))
            _BEFORE[id(config)] = (config, own, count + 1)
            config._attn_implementation = _NAME
    try:
        yield
    finally:
        for config in configs:
            with _LOCK:
                _, own, count = _BEFORE.pop(id(config))
                if count > 1:
                    _BEFORE[id(config)] = (config, own, count - 1)
                else:
                    config._attn_implementation = own


def _implementation(config: Any) -> Any:
    """Which attention is to run: the plain one where a pattern is asked for, else the model's own choice."""
    if any(tap._wants_pattern(config) for tap in _OPEN.get()):
        return "eager"
    _, own, _ = _BEFORE.get(id(config), (config, config._attn_implementation, 0))  # another thread may just have closed
    return own


def _attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **kwargs: Any
) -> tuple[Tensor, Tensor | None]:
    """Attention as the library calls it, q, k, v: [batch, head, position, d_head], with the open taps listening."""
    taps = [(tap, tap._layer_of[module]) for tap in _OPEN.get() if module in tap._layer_of]

    def flow(site: str, tensor: Tensor) -> Tensor:
        for tap, layer in taps:
            tensor = tap._flow(site, layer, tensor)
        return tensor

    q, k, v = (flow(s, x.transpose(1, 2)).transpose(1, 2) for s, x in (("q", query), ("k", key), ("v", value)))
    implementation = _implementation(module.config)
    attend = ALL_ATTENTION_FUNCTIONS.get_interface(implementation, eager_attention_of(module))
    z, pattern = attend(module, q, k, v, attention_mask, **kwargs)
    if implementation == "eager":
        edited = flow("pattern", pattern)
        if edited is not pattern:
            per_head = v.repeat_interleave(edited.shape[1] // v.shape[1], dim=1)
            z = (edited @ per_head).transpose(1, 2)
    return flow("z", z), pattern


def _mask(*args: Any, config: Any, **kwargs: Any) -> Any:
    """The mask that goes with the attention that is to run."""
    make = ALL_MASK_ATTENTION_FUNCTIONS.get(_implementation(config))
    return make(*args, config=config, **kwargs) if make else None


AttentionInterface.register(_NAME, _attention)
AttentionMaskInterface.register(_NAME, _mask)
