"""Exercises about looking inside and training: 01.14, 01.15 and 01.17."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from interpwidgets.course.exercise import Arguments, Case, Exercise, Mistake, Property
from interpwidgets.exercises.ch01.inputs import Make, machine, on, some_tokens
from interpwidgets.exercises.ch01.stage import (
    AFTER_A_STOP,
    LEFT,
    WHOLE,
    Bigram,
    Edit,
    OnlyTheLastPlace,
    Shifted,
    ToZero,
    changed,
    recorded,
    trained,
    unhooked,
)
from interpwidgets.methods.hooks import record, run_edited
from interpwidgets.methods.training import training_step

# -- what a run leaves behind ----------------------------------------------------------------------------------------


def _none_left(arguments: Arguments, result: Any) -> str | None:
    if result[LEFT]:
        return (
            f"After the run, hooks still hang on the model: {result[LEFT]}. `register_forward_hook` returns a handle; "
            "call its remove()."
        )
    if result[AFTER_A_STOP]:
        return "If the model stops half way, your hooks stay on it. What stands under `finally:` runs in any case."
    return None


def _whole(arguments: Arguments, result: Any) -> str | None:
    if result[WHOLE]:
        return None
    return "What you return has no `.logits`. Return what `model(tokens)` returned, the whole object."


NONE_LEFT = Property("no hook is left behind", _none_left)
WHOLE_OBJECT = Property("the whole output of the model comes back", _whole)

# -- 01.14 record ----------------------------------------------------------------------------------------------------


def _record_with_partial(model: Any, tokens: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
    from contextlib import ExitStack

    kept: dict[str, Tensor] = {}
    with ExitStack() as stack:
        for name in names:

            def keep(module: Any, inputs: Any, output: Any, name: str = name) -> None:
                kept[name] = output if isinstance(output, Tensor) else output[0]

            stack.enter_context(model.get_submodule(name).register_forward_hook(keep))
        model(tokens)
    return kept


def _record_by_module(model: Any, tokens: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
    kept: dict[Any, Any] = {}
    handles = []
    try:
        for module in model.modules():
            handles.append(module.register_forward_hook(lambda m, _, out: kept.update({m: out})))
        with torch.no_grad():
            model(tokens)
    finally:
        for handle in handles:
            handle.remove()
    found = {name: kept[model.get_submodule(name)] for name in names}
    return {name: out[0] if isinstance(out, tuple) else out for name, out in found.items()}


def _record_one_by_one(model: Any, tokens: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
    """A run for each name: slow, and right."""
    kept = {}
    for name in names:
        kept.update(record(model, tokens, [name]))
    return {name: value.double().to(value.dtype) for name, value in kept.items()}


def _late(model: Any, tokens: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
    """Every hook looks up the name when it runs, and by then it is the last."""
    kept = {name: tokens.new_zeros(0).float() for name in names}
    last = record(model, tokens, names)
    order = [name for name, _ in model.named_modules() if name in names]
    kept[names[-1]] = last[order[-1]]
    return {names[-1]: kept[names[-1]]}


def _leaves(model: Any, tokens: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
    kept: dict[str, Tensor] = {}
    for name in names:

        def keep(module: Any, inputs: Any, output: Any, name: str = name) -> None:
            kept[name] = output[0] if isinstance(output, tuple) else output

        model.get_submodule(name).register_forward_hook(keep)
    model(tokens)
    return kept


def _not_finally(model: Any, tokens: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
    kept = _leaves(model, tokens, names)
    unhooked(model)
    return kept


def _inputs_of(model: Any, tokens: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
    kept: dict[str, Tensor] = {}
    handles: list[Any] = []
    try:
        for name in names:

            def keep(module: Any, inputs: Any, output: Any, name: str = name) -> None:
                kept[name] = inputs[0]

            handles.append(model.get_submodule(name).register_forward_hook(keep))
        model(tokens)
    finally:
        for handle in handles:
            handle.remove()
    return kept


def _record_case(names: Sequence[str], batch: int = 2, n: int = 4, dtype: torch.dtype = torch.float32) -> Make:
    def make(seed: int, device: torch.device) -> Arguments:
        return machine(seed, device, dtype), *on(device, some_tokens(seed, batch, n, 11)), list(names)

    return make


RECORD = Exercise(
    id="01.14",
    title="Listen in",
    points=2,
    minutes=15,
    lines=(6, 12),
    reference=record,
    drive=recorded,
    cases=[
        Case("one module: mlp", _record_case(["mlp"], 1, 3)),
        Case("two modules: mlp and embed", _record_case(["mlp", "embed"])),
        Case("a module that returns a tuple: mixer", _record_case(["embed", "mixer"], 3, 5)),
        Case("modules inside modules", _record_case(["mixer.out", "mlp.1", "unembed"])),
        Case("nothing to keep", _record_case([])),
        Case("float64", _record_case(["mixer", "mlp.0"], dtype=torch.float64)),
    ],
    mistakes=[
        Mistake(
            "the hooks stay",
            _leaves,
            "Your hooks hang on the model after the run, and the next run calls them again.",
            "Next: what does `register_forward_hook` return, and what can it do?",
        ),
        Mistake(
            "the hooks stay if the model stops",
            _not_finally,
            "You remove your hooks after the run. If the run raises, that line is never reached.",
            "Next: what do `try` and `finally` promise?",
        ),
        Mistake(
            "all under the last name",
            _late,
            "All your hooks write under the same name, the last one. A function defined in a loop looks up the "
            "loop's variable when it "
            "*runs*.",
            "Next: give each hook its own name, as a default argument or through a function that makes the hook.",
        ),
        Mistake(
            "inputs, not outputs",
            _inputs_of,
            "You keep what goes into a module. What it returns is the last argument of the hook.",
            "Next: a hook is called with three arguments. Which is which?",
        ),
    ],
    hints=[
        "Hang a function on each module, run the model once, take the functions off again.",
        "`model.get_submodule(name).register_forward_hook(hook)` calls `hook(module, inputs, output)` after each run "
        "of the module and "
        "returns a handle with `.remove()`. A function that makes the hook, `def keeper(name): ...`, gives each hook "
        "its own name.",
        "kept, handles = empty dict, empty list\ntry:\n    for each name: hang a hook that writes kept[name], keep "
        "its handle\n"
        "    run the model on tokens\nfinally:\n    remove every handle\nreturn kept",
    ],
    first_step="Hang one hook on one module and let it print the shape of its output.",
    properties=[NONE_LEFT],
    accepted=[_record_with_partial, _record_by_module, _record_one_by_one],
)

# -- 01.15 run_edited ------------------------------------------------------------------------------------------------


def _edit_with_context(model: Any, tokens: Tensor, name: str, edit: Edit) -> Any:
    def hook(module: Any, inputs: Any, output: Any) -> Any:
        return edit(output) if isinstance(output, Tensor) else (edit(output[0]), *output[1:])

    with dict(model.named_modules())[name].register_forward_hook(hook):
        return model(tokens)


def _edit_by_wrapping(model: Any, tokens: Tensor, name: str, edit: Edit) -> Any:
    """Puts another forward in place of the module's own, without any hook."""
    module = model.get_submodule(name)
    own = module.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        out = own(*args, **kwargs)
        return (edit(out[0]), *out[1:]) if isinstance(out, tuple) else edit(out)

    module.forward = forward
    try:
        return model(tokens)
    finally:
        del module.forward


def _edit_on_a_copy(model: Any, tokens: Tensor, name: str, edit: Edit) -> Any:
    return _edit_with_context(deepcopy(model), tokens, name, edit)


def _without_remove(model: Any, tokens: Tensor, name: str, edit: Edit) -> Any:
    def hook(module: Any, inputs: Any, output: Any) -> Any:
        return (edit(output[0]), *output[1:]) if isinstance(output, tuple) else edit(output)

    model.get_submodule(name).register_forward_hook(hook)
    return model(tokens)


def _remove_too_late(model: Any, tokens: Tensor, name: str, edit: Edit) -> Any:
    out = _without_remove(model, tokens, name, edit)
    unhooked(model)
    return out


def _edit_inputs(model: Any, tokens: Tensor, name: str, edit: Edit) -> Any:
    def hook(module: Any, inputs: Any) -> Any:
        return (edit(inputs[0]) if inputs[0].is_floating_point() else inputs[0], *inputs[1:])

    with model.get_submodule(name).register_forward_pre_hook(hook):
        return model(tokens)


def _edit_all(model: Any, tokens: Tensor, name: str, edit: Edit) -> Any:
    def hook(module: Any, inputs: Any, output: Any) -> Any:
        return (edit(output[0]), *output[1:]) if isinstance(output, tuple) else edit(output)

    handles = [getattr(model, each).register_forward_hook(hook) for each in ("embed", "mixer", "mlp")]
    try:
        return model(tokens)
    finally:
        for handle in handles:
            handle.remove()


def _cut(model: Any, tokens: Tensor, name: str, edit: Edit, wrap: Callable[[Tensor], Any]) -> Any:
    """Edits the first part of a tuple and drops the others."""

    def hook(module: Any, inputs: Any, output: Any) -> Any:
        return wrap(edit(output[0])) if isinstance(output, tuple) else edit(output)

    with model.get_submodule(name).register_forward_hook(hook):
        return model(tokens)


_to_zero, _shifted, _only_the_last_place = ToZero(), Shifted(), OnlyTheLastPlace()


def _edit_case(name: str, edit: Edit, batch: int = 2, n: int = 4, dtype: torch.dtype = torch.float32) -> Make:
    def make(seed: int, device: torch.device) -> Arguments:
        return machine(seed, device, dtype), *on(device, some_tokens(seed, batch, n, 11)), name, edit

    return make


RUN_EDITED = Exercise(
    id="01.15",
    title="Change what flows",
    points=2,
    minutes=12,
    lines=(5, 10),
    reference=run_edited,
    drive=changed,
    cases=[
        Case("the mlp writes nothing", _edit_case("mlp", _to_zero, 1, 3)),
        Case("embed, doubled and shifted", _edit_case("embed", _shifted)),
        Case("a module that returns a tuple: mixer", _edit_case("mixer", _shifted, 3, 5)),
        Case("a module inside a module, at the last position", _edit_case("mlp.0", _only_the_last_place)),
        Case("unembed", _edit_case("unembed", _shifted, 2, 3)),
        Case("float64", _edit_case("mixer", _only_the_last_place, dtype=torch.float64)),
    ],
    mistakes=[
        Mistake(
            "the hook returns nothing",
            lambda model, tokens, name, edit: model(tokens),
            "Your edit has no effect. A hook changes what goes on only by returning it.",
            "Next: what does the last line of your hook say?",
        ),
        Mistake(
            "the hook stays",
            _without_remove,
            "Your hook hangs on the model after the run. Every later run is edited too.",
            "Next: what does `register_forward_hook` return, and what can it do?",
        ),
        Mistake(
            "the hook stays if the model stops",
            _remove_too_late,
            "You remove your hook after the run. If the run raises, that line is never reached.",
            "Next: what do `try` and `finally` promise?",
        ),
        Mistake(
            "the input is edited",
            _edit_inputs,
            "You edit what goes into the module. The edit belongs to what it returns.",
            "Next: which kind of hook runs before a module, and which after?",
        ),
        Mistake(
            "the edit is done everywhere",
            _edit_all,
            "You edit several modules. Only the one called `name` is to change.",
            "Next: on which module do you hang your hook?",
        ),
        Mistake(
            "the rest of the tuple is lost",
            lambda model, tokens, name, edit: _cut(model, tokens, name, edit, lambda first: first),
            "Where a module returns a tuple, your hook hands on its first part alone. Whoever takes the others finds "
            "nothing.",
            "Next: `mixer` returns three tensors. How many does your hook return?",
        ),
        Mistake(
            "the edit is made twice",
            lambda model, tokens, name, edit: _edit_with_context(model, tokens, name, lambda x: edit(edit(x))),
            "Your edit is applied twice.",
            "Next: do two hooks hang on the module, or is edit called twice in one?",
        ),
        Mistake(
            "the logits alone",
            lambda model, tokens, name, edit: run_edited(model, tokens, name, edit).logits,
            "You return the logits alone. Asked is what `model(tokens)` returns, the whole object: the caller takes "
            "`.logits` from it.",
            "Next: what stands behind `model(tokens)` in your last line?",
        ),
    ],
    hints=[
        "A hook that returns something replaces what the module returned.",
        "Two kinds of output: a tensor, then return edit(output); or a tuple, then edit its first part and hand on "
        "the rest as it is.",
        "hook = if output is a tuple: (edit of its first part, the rest); else edit of output\nhang the hook on the "
        "module\n"
        "try: return what the model returns\nfinally: remove the hook",
    ],
    first_step="Write a hook that returns edit(output), and hang it on the module.",
    properties=[WHOLE_OBJECT, NONE_LEFT],
    accepted=[_edit_with_context, _edit_by_wrapping, _edit_on_a_copy],
)

# -- 01.17 training_step ---------------------------------------------------------------------------------------------


def _train_with_gather(model: Any, tokens: Tensor, optimizer: Any) -> Tensor:
    optimizer.zero_grad(set_to_none=True)
    log_probs = model(tokens).logits.log_softmax(-1)[:, :-1]
    loss: Tensor = -log_probs.gather(-1, tokens[:, 1:, None]).mean()
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return loss


def _train_with_loops(model: Any, tokens: Tensor, optimizer: Any) -> Tensor:
    logits, losses = model(tokens).logits, []
    for text in range(tokens.shape[0]):
        for place in range(tokens.shape[1] - 1):
            losses.append(F.cross_entropy(logits[text, place], tokens[text, place + 1]))
    loss = torch.stack(losses).mean()
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    optimizer.zero_grad()
    return loss.detach()


def _train_with_mT(model: Any, tokens: Tensor, optimizer: Any) -> Tensor:
    loss = F.cross_entropy(model(tokens[:, :-1]).logits.mT, tokens[:, 1:])
    model.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return loss.detach().clone()


def _step_on(loss: Tensor, optimizer: Any) -> Tensor:
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return loss.detach()


def _next_loss(model: Any, tokens: Tensor) -> Tensor:
    return F.cross_entropy(model(tokens).logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())


def _accumulates(model: Any, tokens: Tensor, optimizer: Any) -> Tensor:
    loss = _next_loss(model, tokens)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return loss.detach()


def _loss_after(model: Any, tokens: Tensor, optimizer: Any) -> Tensor:
    training_step(model, tokens, optimizer)
    return _next_loss(model, tokens).detach()


def _train_case(batch: int, n: int, vocab: int, lr: float, steps: int, dtype: torch.dtype = torch.float32) -> Make:
    def make(seed: int, device: torch.device) -> Arguments:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = Bigram(vocab).to(device, dtype)
        return model, *on(device, some_tokens(seed + 1, batch, n, vocab)), lr, steps

    return make


TRAINING_STEP = Exercise(
    id="01.17",
    title="One step downhill",
    points=2,
    minutes=12,
    lines=(4, 7),
    reference=training_step,
    drive=trained,
    cases=[
        Case("a table of 3 tokens, one step", _train_case(1, 3, 3, 0.5, 1)),
        Case("2 texts of 5 tokens, three steps", _train_case(2, 5, 4, 0.5, 3)),
        Case("5 texts of 3 tokens, four steps", _train_case(5, 3, 6, 1.0, 4)),
        Case("two tokens", _train_case(3, 2, 5, 0.3, 2)),
        Case("float64", _train_case(2, 4, 5, 0.5, 3, torch.float64)),
    ],
    mistakes=[
        Mistake(
            "gradients pile up",
            _accumulates,
            "Your second step still carries the gradients of the first: `backward` adds to what is there.",
            "Next: what does an optimizer's `zero_grad` do?",
        ),
        Mistake(
            "every token predicts itself",
            lambda model, tokens, optimizer: _step_on(
                F.cross_entropy(model(tokens).logits.flatten(0, 1), tokens.flatten()), optimizer
            ),
            "You compare the logits at each position with the token that stands there. It is the *next* token that "
            "they predict.",
            "Next: which position predicts token 1?",
        ),
        Mistake(
            "the step into the past",
            lambda model, tokens, optimizer: _step_on(
                F.cross_entropy(model(tokens).logits[:, 1:].flatten(0, 1), tokens[:, :-1].flatten()), optimizer
            ),
            "Your logits predict the token before. Take all logits but the last, and all tokens but the first.",
            "Next: which position predicts token 1?",
        ),
        Mistake(
            "added up, not averaged",
            lambda model, tokens, optimizer: _step_on(
                F.cross_entropy(model(tokens).logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten(), reduction="sum"),
                optimizer,
            ),
            "You add up the losses of all tokens. Then the step depends on how many there are.",
            "Next: what happens to your loss if the batch is twice as large?",
        ),
        Mistake(
            "nothing changes",
            lambda model, tokens, optimizer: _next_loss(model, tokens).detach(),
            "Your losses are right, but the weights stay as they were.",
            "Next: which call writes to the weights?",
        ),
        Mistake(
            "uphill",
            lambda model, tokens, optimizer: -_step_on(-_next_loss(model, tokens), optimizer),
            "Your loss grows from step to step: you go uphill.",
            "Next: which sign does the loss have when you call `backward`?",
        ),
        Mistake(
            "the loss after the step",
            _loss_after,
            "You return the loss after the change; asked is the one before, which you have already.",
            "Next: how often does the model run in one step?",
        ),
        Mistake(
            "a number, not a tensor",
            lambda model, tokens, optimizer: training_step(model, tokens, optimizer).item(),
            "You return a Python number. Asked is a tensor without axes: whoever wants the number calls `.item()`.",
            "Next: what does `detach()` do to the loss, and what does `item()` do?",
        ),
    ],
    hints=[
        "Five lines: run, compare with the next tokens, clear old gradients, new gradients, step.",
        "`F.cross_entropy(logits, targets)` takes [n, vocab] and [n]: flatten batch and position together. Logits "
        "lose their last "
        "position, tokens their first.",
        "logits = of the model on tokens\nloss = cross entropy of logits[:, :-1] with tokens[:, 1:], flattened\n"
        "optimizer: zero_grad\nloss: backward\noptimizer: step\nreturn the loss, detached",
    ],
    first_step="Work out the loss, with all logits but the last and all tokens but the first.",
    accepted=[_train_with_gather, _train_with_loops, _train_with_mT],
)
