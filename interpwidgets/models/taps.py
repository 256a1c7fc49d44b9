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

    with Tap(model, ("resid_post", 0), stop=True) as tap:         # no more of the model than that needs
        model(**inputs)

    with Tap(model, "resid_post", device="cpu") as tap:           # while it generates: every position of the text
        model.generate(**inputs, max_new_tokens=20)

    with Tap(t5, "pattern", part="cross") as tap:                 # one part of a model that is made of several
        t5.generate(**inputs)

The sites of one block, in the order of the computation::

    resid_pre ─┬─> norm ─> q, k, v ─> pattern ─> z ─> W_O ─> attn_out ─(+)─> resid_mid ─┬─ ...
               └────────────────────────────────────────────────────────┘               │
                                                                                        │
    ... ─┬─> norm ─> W_in ─> mlp_pre ─> activation ─> mlp_post ─> W_out ─> mlp_out ─(+)─> resid_post
         └───────────────────────────────────────────────────────────────────────────┘

    resid_pre, attn_out, resid_mid, mlp_out, resid_post   [batch, position, d_model]
    q, z                                                  [batch, query, head, d_head]
    k, v                                                  [batch, key, kv_head, d_head]   fewer if queries are grouped
    pattern                                               [batch, head, query, key]       rows sum to one (*)
    mlp_pre, mlp_post                                     [batch, position, d_mlp]
    result                                                [batch, query, head, d_model]   what each head writes: z W_O

And the two ends of a model, which have no layer: ``tap["logits"]``::

    tokens ──> embed ──> block ──> ... ──> block ──> norm ──> final_norm ──> W_U ──> logits

    embed                what the stream begins with, positions and the like included   [batch, position, d_model]
    final_norm           what leaves the last norm                                      [batch, position, d_model]
    logits               what the model returns                                         [batch, position, vocabulary]

q and k are what the scores are made of, so after the rotation where a family rotates them (RoPE) and after the norms
that some put on them. Where the MLP is gated (Llama, Gemma) mlp_pre is the gate before its activation, and mlp_post is
the activated gate times the other branch. In BERT's kind a norm follows each sum, so resid_mid = norm(resid_pre +
attn_out); these have no final_norm. In Gemma 2 and OLMo 2 a norm stands behind each half, so attn_out is what leaves
that norm, and ``result`` what the heads write before it. Where attention and MLP read the same stream (GPT-J, GPT-NeoX,
Falcon, Phi) there is no resid_mid. ViT reads patches, and its logits are [batch, label]. (*) In GPT-OSS rows sum to
less: attention sinks take the rest.

Other families have other sites, and docs/families.md says which: Mixtral, GPT-OSS and Switch have ``router`` and
``routing`` where others have mlp_pre and mlp_post (`interpwidgets.models.tap_experts`), and Mamba has conv, gate,
delta, B, C, state and y in place of attention (`interpwidgets.models.tap_states`). T5, Switch and BART have three
parts, "encoder", "decoder" and "cross", and CLIP has two, "text" and "vision". The part "cross" stands between the two
halves of each block of the decoder: its resid_pre is the decoder's resid_mid, and its resid_post is what the MLP reads:

    decoder   resid_pre ── attention ──(+)── resid_mid                                  MLP ──(+)── resid_post
    cross                                    resid_pre ── attention ──(+)── resid_post

The model stays the library's own: a way into its attention (`interpwidgets.models.tap_attention`) and a few hooks, put
in place when the tap opens and taken out when it closes, whatever happens in between. Attention runs as the model
itself would run it, unless a pattern is asked for: then the family's own plain ("eager") attention runs. Models with
quantised weights, or spread over devices, are not tested.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from difflib import get_close_matches
from inspect import signature
from operator import index
from typing import Any

import torch
from torch import Tensor, nn

from interpwidgets._errors import Told
from interpwidgets.models.anatomy import UnknownModelError, anatomy
from interpwidgets.models.families import ATTENTION_SITES, EXPERT_SITES, ORDER, SITES, STATE_SITES, Family, leaves
from interpwidgets.models.tap_attention import LISTENERS, Settled, through
from interpwidgets.models.tap_experts import experts, routers
from interpwidgets.models.tap_forward import Stop, Stopped, around
from interpwidgets.models.tap_places import listen, listen_to_heads
from interpwidgets.models.tap_states import projections, states
from interpwidgets.models.tap_steps import Kept

ENDS = ("embed", "final_norm", "logits")  # sites that have no layer
_ORDER = ("embed", *ORDER[:6], "result", *ORDER[6:], "final_norm", "logits")
_INSIDE = ((ATTENTION_SITES, through), (frozenset(EXPERT_SITES), experts), (frozenset(STATE_SITES), states))

Where = str | tuple[str, int]
Spot = tuple[str, int | None]
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
            into it, and returns the one to go on with; or simply a tensor of the same shape, to patch it in. An edit of
            the logits changes what the model returns, not a loss that the model has computed from them.
        device: where kept tensors go, such as ``"cpu"``; they stay where they are unless told otherwise.
        stop: end each run of ``model`` as soon as this tap, and every other one that is open on the model, has what it
            asked for. What the model then returns has nothing in it, so this is not for `generate`.
        part: which part of a model is meant that is made of several. For two of them, open two taps.

    ``tap[site, layer]`` is one kept tensor, ``tap[site]`` all kept layers of a site stacked in front.

    A run that goes on with the cache of the one before, as the steps of ``model.generate`` do, is joined to it: sites
    hold every position that the model has seen, and a pattern every query, with zeros for the keys that came later.
    It has to be that very cache: a run with a copy of it, or with the cache of another text, starts anew. Positions
    that the cache is cropped of, such as guesses of assisted generation that were not taken, are forgotten here too.
    What is kept is then what one run over the whole text would give, but for logits, of which a model makes only those
    that it needs. Edits are made step by step. With beams, rows are those of each step, not of the texts that win.

    With gradient checkpointing, run ``backward`` inside the ``with``: it computes layers once more, and once the tap is
    closed, without the edits. ``output_hidden_states`` and ``output_attentions`` are the library's own records, which
    may be made before an edit.

    Taps may be nested: at one site the outer tap acts first. A tap sees the runs of the thread (or async task) that
    opened it and no others. Raises `TapError` for a site, layer or edit that cannot be and
    `interpwidgets.models.anatomy.UnknownModelError` for a model whose insides are unknown.
    """

    def __init__(
        self,
        model: nn.Module,
        save: Where | Iterable[Where] = (),
        edits: Mapping[Where, Edit] | None = None,
        *,
        device: str | torch.device | None = None,
        stop: bool = False,
        part: str | None = None,
    ) -> None:
        self.anatomy = anatomy(model, part)
        self._save = {spot for where in _each(save) for spot in self._spots(where)}
        self._edits = {spot: edit for where, edit in _pairs(edits) for spot in self._spots(where)}
        self._sites = {site for site, _ in (*self._save, *self._edits)}
        if stop and not self._save:
            raise TapError("stop=True ends a run once everything to keep is there, but nothing is to be kept.")
        self._device, self._stop = _checked_device(device), stop
        self._kept: dict[Spot, Kept] = {}
        self._missing: set[Spot] = set()  # what this run still has to bring
        self._span = (0, 0)  # which positions this run brings
        self._goes_on = False  # with the cache of the run before
        self._cache: Any = None  # of the run before, while this tap is open
        self._cached: int | None = None  # positions that it held after that run, where it counts them
        attentions = {module: layer for layer, module in enumerate(self.anatomy.attentions)}
        self.layer_of = attentions | routers(self.anatomy) | projections(self.anatomy)
        self._cleanup: ExitStack | None = None

    def __getitem__(self, where: Where) -> Tensor:
        found = [self._found(spot) for spot in self._wanted(where)]
        return torch.stack(found) if isinstance(where, str) and where not in ENDS else found[0]

    def __enter__(self) -> "Tap":
        if self._cleanup is not None:
            raise TapError("this tap is open already; make a second Tap to nest them.")
        self._kept.clear()
        spots = sorted(self._save | set(self._edits), key=lambda spot: _ORDER.index(spot[0]))
        self._missing, self._span, self._goes_on = set(spots), (0, 0), False
        self._cache = self._cached = None
        with ExitStack() as cleanup:
            for sites, shown in _INSIDE:
                if any(site in sites for site, _ in spots):
                    cleanup.enter_context(shown(self.anatomy))
            if spots:
                cleanup.enter_context(around(self.anatomy.model, _run))
                if self.anatomy.part is not None:
                    cleanup.enter_context(around(self.anatomy.root, _run_of_a_part))
            for spot in spots:
                for handle in self._hooks(*spot):
                    cleanup.callback(handle.remove)
            LISTENERS.set((*LISTENERS.get(), self))
            cleanup.callback(lambda: LISTENERS.set(tuple(each for each in LISTENERS.get() if each is not self)))
            self._cleanup = cleanup.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        cleanup, self._cleanup = self._cleanup, None
        self._forget_what_the_cache_forgot()
        self._cache = None
        if cleanup is not None:
            cleanup.close()

    # -- which sites

    @property
    def wants_pattern(self) -> bool:
        """Whether some layer has to run its plain attention, which shows the pattern."""
        return self.wants("pattern")

    def wants(self, site: str) -> bool:
        """Whether this site is to be shown, in some layer."""
        return site in self._sites

    def _spots(self, where: Where) -> list[Spot]:
        """``where`` spelled out as (site, layer) pairs, checked against this model."""
        site, layer = where if isinstance(where, tuple) and len(where) == 2 else (where, None)
        self._check_site(site)
        assert isinstance(site, str)
        n_layers = self.anatomy.n_layers
        if site in ENDS and layer is not None:
            raise TapError(f"{site!r} has no layers: write {site!r} alone.")
        if site in ENDS:
            return [(site, None)]
        there = [each for each in range(n_layers) if self.anatomy.has(site, each)]
        if layer is None:
            return [(site, each) for each in there]
        try:
            layer = index(layer)
        except TypeError:
            raise TapError(
                f"there is no layer {layer!r}: a layer is an integer from 0 to {n_layers - 1}; for several, name "
                f"each of them: [({site!r}, 0), ({site!r}, 1)]."
            ) from None
        if not -n_layers <= layer < n_layers:
            raise TapError(f"this model has {n_layers} layers, 0 to {n_layers - 1}; there is no layer {layer!r}.")
        if layer % n_layers not in there:
            raise TapError(f"layer {layer} has no {site!r}; layers that have it are {', '.join(map(str, there))}.")
        return [(site, layer % n_layers)]

    def _check_site(self, site: object) -> None:
        known = (*SITES, *(each for each in _ORDER if each not in SITES))
        if site not in known:
            near = get_close_matches(str(site), known, n=1)
            if str(site).removeprefix("-").isdigit():
                raise TapError(f"there is no site {site!r}; a layer is an integer, as in ('resid_post', {site}).")
            hint = f"did you mean {near[0]!r}?" if near else f"sites are {', '.join(known)}."
            raise TapError(f"there is no site {site!r}; {hint}")
        if site not in self.anatomy.sites:
            name, there = type(self.anatomy.model).__name__, ", ".join(self.anatomy.sites)
            if site in ATTENTION_SITES and not self.anatomy.attentions:
                kind = self.anatomy.model.config.model_type
                raise UnknownModelError(f"{name} ({kind}) has no attention heads to look at; its sites are {there}.")
            name = f"the part {self.anatomy.part!r} of {name}" if self.anatomy.part else name
            why = _why_there_is_no(str(site), self.anatomy.family)
            raise TapError(f"{name} has no site {site!r}{why}; it has {there}.")

    def _wanted(self, where: Where) -> list[Spot]:
        spots = [spot for spot in self._spots(where) if spot in self._save]
        if not spots:
            raise TapError(f"this tap does not keep {where!r}; name it when you open one: Tap(model, [{where!r}]).")
        return spots

    def _found(self, spot: Spot) -> Tensor:
        self._forget_what_the_cache_forgot()
        if spot not in self._kept:
            raise TapError(
                "nothing has flowed by yet; run the model inside the `with` block of this tap, in the same thread."
            )
        return self._kept[spot].joined()

    # -- what happens at a site

    def flow(self, site: str, layer: int | None, value: Tensor, settled: Settled | None = None) -> Tensor:
        """Hand ``value`` through this tap: edit it, keep it. The very same tensor comes back if it is not edited."""
        spot = (site, layer)
        edit = self._edits.get(spot)
        if edit is not None:
            new = self._edited(edit, spot, value)
            value = new if settled is None else settled(value, new)
        if spot in self._save:
            self._keep(spot, value)
        self._missing.discard(spot)
        if not self._missing and _all_have_what_they_need(self.anatomy.model):
            raise Stop
        return value

    def _keep(self, spot: Spot, value: Tensor) -> None:
        if not self._goes_on or spot not in self._kept:
            self._kept[spot] = Kept(spot[0], grows=not self.anatomy.family.cross)
        self._kept[spot].add(value if self._device is None else value.to(self._device), *self._span)

    def _edited(self, edit: Edit, spot: Spot, value: Tensor) -> Tensor:
        new = edit if isinstance(edit, Tensor) else edit(value.clone())
        site, layer = spot
        there = f"{site!r}" if layer is None else f"{site!r} in layer {layer}"
        if not isinstance(new, Tensor):
            came = "nothing: does it end with `return`?" if new is None else f"{type(new).__name__}."
            raise TapError(f"the edit of {there} has to return a tensor; it returned {came}")
        if new.shape != value.shape:
            raise TapError(
                f"the edit of {there} has to give a tensor of shape {list(value.shape)}; "
                f"its shape is {list(new.shape)}."
            )
        return new.to(value)

    def _hooks(self, site: str, layer: int | None) -> list[Any]:
        """The hooks at modules that show this site; attention and the logits are shown otherwise."""
        parts = self.anatomy

        def flow(value: Tensor) -> Tensor:
            return self.flow(site, layer, value)

        def listens() -> bool:
            return self in LISTENERS.get()

        if site == "embed":
            return listen(parts.blocks[0], parts.family.sites["resid_pre"], flow, listens)
        if site == "final_norm":
            module = parts.final_norm_module()
            assert module is not None
            return listen(module, leaves(), flow, listens)
        if layer is None or any(site in sites for sites, _ in _INSIDE):
            return []
        if site == "result":
            return self._result_hooks(layer)
        return listen(parts.blocks[layer], parts.family.sites[site], flow, listens)

    def _result_hooks(self, layer: int) -> list[Any]:
        """What heads write is made where a tap asks for it, so the first of those that are open shows it to all."""
        spot: Spot = ("result", layer)

        def asking() -> list[Tap]:
            return [tap for tap in _open_on(self.anatomy.model) if spot in tap._save or spot in tap._edits]

        def flow(heads: Tensor) -> Tensor:
            for tap in asking():
                heads = tap.flow("result", layer, heads)
            return heads

        return listen_to_heads(self.anatomy, layer, flow, lambda: asking()[:1] == [self])

    # -- what happens in a run

    def expect_all(self) -> None:
        """A run is about to bring what is asked for."""
        self._missing = self._save | set(self._edits)

    def begin(self, past: int | None, n_positions: int | None, cache: Any) -> None:
        """``n_positions`` are about to come, with ``past`` ones in the cache (None: it does not count them)."""
        self._forget_what_the_cache_forgot()
        past = self._span[1] if past is None else past
        same = cache is not None and cache is self._cache
        self._goes_on = same and 0 < past == self._span[1] and n_positions is not None
        self._span, self._cache, self._cached = (past, past + (n_positions or 0)), cache, None
        if not self._goes_on:
            self._kept.clear()

    def ran(self, out: Any) -> None:
        """What was begun has returned ``out``: the cache that it hands back may be what the next run goes on with."""
        found = _cache_in(out)
        self._cache = self._cache if found is None else found
        self._cached = _length(self._cache)

    def over(self) -> None:
        """The run is over; what a part of the model brings outside of one stands alone."""
        self._goes_on = False

    def _forget_what_the_cache_forgot(self) -> None:
        """Guessed tokens that were not taken are cut off the cache again once a run is over; so are they here."""
        start, stop = self._span
        length = _length(self._cache)
        if length is None or self._cached != stop or not 0 < length < stop:
            return
        for spot, kept in list(self._kept.items()):
            kept.cut(length)
            if not kept.runs:
                del self._kept[spot]
        self._span, self._cached = (min(start, length), length), length

    def end(self, out: Any) -> Any:
        """What the model is to return in place of ``out``."""
        spot: Spot = ("logits", None)
        if spot not in self._save and spot not in self._edits:
            return out
        if not isinstance(getattr(out, "logits", None), Tensor):
            name = type(self.anatomy.model).__name__
            raise TapError(f"{name} returned no logits by that name; run it with return_dict=True and its head.")
        new = self.flow("logits", None, out.logits)
        if new is not out.logits:
            out.logits = new
        return out


def _run(model: nn.Module, own: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A run of ``model``, with those told who listen."""
    taps = _open_on(model)
    if not taps:
        return own(*args, **kwargs)
    for tap in taps:
        tap.expect_all()
        if tap.anatomy.part is None:
            tap.begin(*_positions(args, kwargs))
    try:
        out = own(*args, **kwargs)
        for tap in taps:
            if tap.anatomy.part is None:
                tap.ran(out)
            out = tap.end(out)
    except Stop:
        return Stopped()
    finally:
        for tap in taps:
            tap.over()
    return out


def _run_of_a_part(part: nn.Module, own: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A run of one part of a model, such as its encoder: positions are counted there."""
    taps = [each for each in LISTENERS.get() if isinstance(each, Tap) and each.anatomy.root is part]
    for tap in taps:
        tap.begin(*_positions(args, kwargs))
    out = own(*args, **kwargs)
    for tap in taps:
        tap.ran(out)
    return out


def _cache_in(out: Any) -> Any:
    """The cache that a run hands back, if it does."""
    for name in ("past_key_values", "cache_params"):
        found = getattr(out, name, None)
        if found is not None:
            return found
    return next((each for each in out if hasattr(each, "get_seq_length")), None) if isinstance(out, tuple) else None


def _length(cache: Any) -> int | None:
    """How many positions a cache holds; None where it does not count them."""
    try:
        return int(cache.get_seq_length()) if hasattr(cache, "get_seq_length") else None
    except ValueError:  # one of states alone
        return None


def _positions(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[int | None, int | None, Any]:
    """How many positions a model has in its cache, how many it is given, None for what is not said; and the cache."""
    embedded = kwargs.get("inputs_embeds")
    tokens = kwargs.get("input_ids", args[0] if args else None) if embedded is None else embedded
    cache: Any = kwargs.get("past_key_values")
    past: int | None = _length(cache) or 0
    state: Any = kwargs.get("cache_params")  # Mamba's, which does not count
    if state is not None:
        first = kwargs.get("cache_position")  # older releases of transformers say by this where they are
        goes_on = (
            state.has_previous_state() if hasattr(state, "has_previous_state") else first is not None and first[0] > 0
        )
        past = None if goes_on else 0
    return past, tokens.shape[1] if isinstance(tokens, Tensor) else None, cache if state is None else state


def _why_there_is_no(site: str, row: Family) -> str:
    if site == "resid_mid" and row.parallel:
        return " (its attention and its MLP read the same resid_pre)"
    if site in ("mlp_pre", "mlp_post") and row.router:
        return " (its neurons are in experts, which see only what is sent to them)"
    if site in (*EXPERT_SITES, *STATE_SITES, "mixer_out"):
        return " (it has no experts)" if site in EXPERT_SITES else " (it has no state space)"
    return " (it is the attention of a decoder to what its encoder read)" if row.cross else ""


def _open_on(model: nn.Module) -> list[Tap]:
    return [each for each in LISTENERS.get() if isinstance(each, Tap) and each.anatomy.model is model]


def _all_have_what_they_need(model: nn.Module) -> bool:
    """Whether a run may end here: somebody said so, and nobody waits for anything."""
    taps = _open_on(model)
    return any(tap._stop for tap in taps) and not any(tap._missing for tap in taps)


def _each(save: Where | Iterable[Where]) -> list[Where]:
    if isinstance(save, str):
        return [save]
    if isinstance(save, tuple) and len(save) == 2 and not isinstance(save[1], str | tuple):
        return [(save[0], save[1])]
    if not isinstance(save, Iterable):
        raise TapError(
            f"sites to keep are a name, a pair (name, layer) or a list of these; {save!r} is none. Leave it away to "
            "keep nothing."
        )
    return list(save)


def _checked_device(device: str | torch.device | None) -> torch.device | None:
    try:
        return None if device is None else torch.device(device)
    except RuntimeError:
        raise TapError(f"{device!r} is no device; say where kept tensors go, such as 'cpu' or 'cuda:0'.") from None


def _check_takes_a_tensor(where: Where, edit: Any) -> None:
    try:
        takes = signature(edit)
    except (TypeError, ValueError):  # some built-in functions do not say
        return
    try:
        takes.bind(None)
    except TypeError:
        raise TapError(
            f"the edit of {where!r} has to take one tensor and return the one to go on with; it takes {takes}, and no "
            "hook point comes with the tensor here."
        ) from None


def _pairs(edits: Mapping[Where, Edit] | None) -> Iterable[tuple[Where, Edit]]:
    if edits is not None and not isinstance(edits, Mapping):
        raise TapError("say where to edit: Tap(model, edits={site: edit}) or {(site, layer): edit}.")
    for where, edit in (edits or {}).items():
        if not isinstance(edit, Tensor) and not callable(edit):
            raise TapError(
                f"the edit of {where!r} has to be a function or a tensor; it is a value of type {type(edit).__name__}."
            )
        if not isinstance(edit, Tensor):
            _check_takes_a_tensor(where, edit)
        yield where, edit
