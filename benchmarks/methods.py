"""What the methods cost beside TransformerLens and nnsight: a cached forward, the logit lens, four patching sweeps.

    python benchmarks/methods.py                                   # GPT-2 small's shape, random weights: half an hour
    python benchmarks/methods.py --only sweeps --sites resid_pre --repeat 1
    python benchmarks/methods.py --model SmolLM2-135M-Instruct.Q4_1.gguf --only forward lens memory
    python benchmarks/methods.py --device cuda

The peers are asked as their users ask them, on copies of one model, and left out where they are not installed:

    forward   a run that keeps what enters a block and what its two halves and itself add up to, in every layer:
              `Tap`, `run_with_cache`, `trace`; the base is the run that keeps nothing
    lens      all layers, all positions: `logit_lens` of each library, for nnsight the loop over layers with softmax,
              top 5 and entropy. Ours gives ranks and KL besides. The base is norm and unembedding alone, layer by
              layer, nothing kept
    sweeps    `patch_sweep`, `patching.get_act_patch_*`, and for nnsight one trace for each patch; the base is one run
              for each patch by `Tap`, whose logits are those of the last token alone, as in ours
    memory    the peak of one call above what was there before it, each in a process of its own

The ways of one row take turns in one process. Figures are CPU seconds with one thread (on a GPU seconds until it is
done), the median of the runs, and ratios are those of medians; ``apart`` is the largest difference between two results.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel

from interpwidgets import Tap, load
from interpwidgets.methods.lens import logit_lens, readout
from interpwidgets.methods.metrics import logit_difference
from interpwidgets.methods.patching import patch_sweep
from interpwidgets.models.anatomy import anatomy

Way = Callable[[], Tensor]

PARTS = ("forward", "lens", "sweeps", "memory")
SITES = ("resid_pre", "attn_out", "mlp_out", "z")
RIGHT, WRONG = 5, 9
METRIC = partial(logit_difference, right=RIGHT, wrong=WRONG)


class Subject:
    """One model, and the copies of it that the peers wrap."""

    def __init__(self, name: str, device: str) -> None:
        torch.manual_seed(0)
        self.model: Any = GPT2LMHeadModel(GPT2Config()) if name == "gpt2" else load(name)
        self.model.eval().requires_grad_(False).to(device)
        self.device = device
        self.parts = anatomy(self.model)

    def tokens(self, n_texts: int, n_positions: int) -> Tensor:
        ids = torch.randint(100, 5000, (n_texts, n_positions), generator=torch.Generator().manual_seed(1))
        return ids.to(self.device)

    def bridge(self) -> Any:
        """TransformerLens' wrapper. It takes the model apart, hence the copy, and wants a folder with a tokenizer."""
        from transformer_lens.model_bridge import TransformerBridge
        from transformers import AutoTokenizer

        with tempfile.TemporaryDirectory() as folder:
            self.model.config.save_pretrained(folder)
            load("demo").tokenizer.save_pretrained(folder)
            return TransformerBridge.boot_transformers(
                folder,
                hf_model=deepcopy(self.model),
                tokenizer=AutoTokenizer.from_pretrained(folder),
                device=self.device,
                dtype=torch.float32,
            )

    def traced(self) -> Any:
        """nnsight's wrapper."""
        import nnsight

        return nnsight.TransformersModel(deepcopy(self.model), task="text-generation", tokenizer=load("demo").tokenizer)


# -- forward: keep four sites in every layer ---------------------------------------------------------------------------

KEPT = ("resid_pre", "attn_out", "mlp_out", "resid_post")
HOOKS = tuple(f"hook_{site}" for site in KEPT)


def forwards(subject: Subject, tokens: Tensor) -> dict[str, Way]:
    model = subject.model

    def ours() -> Tensor:
        with Tap(model, KEPT) as tap:
            model(tokens, use_cache=False)
        return tap["resid_post", -1]

    ways: dict[str, Way] = {"base": lambda: model(tokens, use_cache=False).logits, "ours": ours}
    if find_spec("transformer_lens"):
        bridge = subject.bridge()

        def lens() -> Tensor:
            _, cache = bridge.run_with_cache(tokens, names_filter=lambda name: name.endswith(HOOKS))
            return cache["resid_post", subject.parts.n_layers - 1]

        ways["TransformerLens"] = lens
    if find_spec("nnsight"):
        ways["nnsight"] = partial(traced_forward, subject.traced(), tokens)
    return ways


def traced_forward(model: Any, tokens: Tensor) -> Tensor:
    kept = []
    blocks, attention, _ = inside(model)
    with model.trace(tokens, use_cache=False):
        for block in blocks:
            kept.append(block.input.save())
            kept.append(attention(block).output[0].save())
            kept.append(block.mlp.output.save())
            kept.append(block.output.save())
    return kept[-1]


def inside(model: Any) -> tuple[Any, Callable[[Any], Any], Callable[[Any], Any]]:
    """The blocks in nnsight's wrapper, attention in a block, and what joins its heads."""
    if hasattr(model, "transformer"):
        return model.transformer.h, lambda block: block.attn, lambda block: block.attn.c_proj
    return model.model.layers, lambda block: block.self_attn, lambda block: block.self_attn.o_proj


# -- lens --------------------------------------------------------------------------------------------------------------


def lenses(subject: Subject, tokens: Tensor) -> dict[str, Way]:
    model, to_logits = subject.model, readout(subject.model)

    def bare() -> Tensor:
        with Tap(model, "resid_post") as tap:
            model.base_model(tokens, use_cache=False)
        for layer in range(subject.parts.n_layers):
            logits = to_logits(tap["resid_post", layer])
        return logits

    ways: dict[str, Way] = {"base": bare, "ours": lambda: logit_lens(model, tokens).entropy[:, 0]}
    if find_spec("transformer_lens"):
        from transformer_lens.tools.analysis.logit_lens import logit_lens as theirs

        bridge = subject.bridge()
        ways["TransformerLens"] = lambda: theirs(bridge, tokens, positions=None).readout.entropy
    if find_spec("nnsight"):
        ways["nnsight"] = partial(traced_lens, subject.traced(), tokens)
    return ways


def traced_lens(model: Any, tokens: Tensor) -> Tensor:
    blocks, *_ = inside(model)
    norm = model.transformer.ln_f if hasattr(model, "transformer") else model.model.norm
    kept = []
    with model.trace(tokens, use_cache=False):
        for block in blocks:
            kept.append(model.lm_head(norm(block.output)).log_softmax(-1).save())
    logprobs = torch.cat(kept)  # [layer, position, vocabulary]
    logprobs.topk(5)
    return -(logprobs.exp() * logprobs).sum(-1)


# -- sweeps ------------------------------------------------------------------------------------------------------------


def sweeps(subject: Subject, tokens: Tensor, site: str, max_batch: int) -> dict[str, Way]:
    clean, corrupt = tokens[:1], tokens[1:]
    ours = partial(patch_sweep, subject.model, clean, corrupt, METRIC, site, max_batch=max_batch, progress=False)
    ways: dict[str, Way] = {"base": partial(one_by_one, subject, clean, corrupt, site), "ours": ours}
    if find_spec("transformer_lens"):
        from transformer_lens import patching

        bridge = subject.bridge()
        name = {"z": "attn_head_out_all_pos"}.get(site, site)
        sweep = getattr(patching, f"get_act_patch_{name}")

        def theirs() -> Tensor:
            _, cache = bridge.run_with_cache(clean)
            found: Tensor = sweep(bridge, corrupt, cache, lambda logits: METRIC(logits[:, -1])[0])
            return found

        ways["TransformerLens"] = theirs
    if find_spec("nnsight"):
        ways["nnsight"] = partial(traced_sweep, subject, subject.traced(), clean, corrupt, site)
    return ways


def one_by_one(subject: Subject, clean: Tensor, corrupt: Tensor, site: str) -> Tensor:
    """The same sweep as one run for each patch."""
    model, n_layers = subject.model, subject.parts.n_layers
    n_places = subject.parts.n_heads if site == "z" else clean.shape[1]
    scores = torch.empty(n_layers, n_places)
    with Tap(model, site) as there:
        model(clean, use_cache=False, logits_to_keep=1)
    for layer in range(n_layers):
        for place in range(n_places):
            where = (slice(None), slice(None), place) if site == "z" else (slice(None), place)
            with Tap(model, edits={(site, layer): partial(put, there[site, layer], where)}):
                logits = model(corrupt, use_cache=False, logits_to_keep=1).logits
            scores[layer, place] = METRIC(logits[:, -1])[0]
    return scores


def put(new: Tensor, where: tuple[Any, ...], old: Tensor) -> Tensor:
    old[where] = new[where]
    return old


def traced_sweep(subject: Subject, model: Any, clean: Tensor, corrupt: Tensor, site: str) -> Tensor:
    blocks, attention, projection = inside(model)
    d_head, n_heads = subject.parts.d_head, subject.parts.n_heads
    kept = []
    with model.trace(clean, use_cache=False):
        for block in blocks:
            if site == "resid_pre":
                kept.append(block.input.save())
            elif site == "attn_out":
                kept.append(attention(block).output[0].save())
            elif site == "mlp_out":
                kept.append(block.mlp.output.save())
            else:
                kept.append(projection(block).input.save())
    n_places = n_heads if site == "z" else clean.shape[1]
    scores = torch.empty(len(kept), n_places)
    for layer, new in enumerate(kept):
        block = blocks[layer]
        for place in range(n_places):
            head = slice(place * d_head, (place + 1) * d_head)
            with model.trace(corrupt, use_cache=False):
                if site == "resid_pre":
                    block.input[:, place] = new[:, place]
                elif site == "attn_out":
                    attention(block).output[0][:, place] = new[:, place]
                elif site == "mlp_out":
                    block.mlp.output[:, place] = new[:, place]
                else:
                    projection(block).input[:, :, head] = new[:, :, head]
                logits = model.lm_head.output[:, -1].save()
            scores[layer, place] = METRIC(logits)[0]
    return scores


# -- memory: one call in a process of its own --------------------------------------------------------------------------


def calls(subject: Subject) -> dict[str, Callable[[], object]]:
    """What is measured. A sweep's peak should follow max_batch, and not layers or positions."""
    found: dict[str, Callable[[], object]] = {
        f"logit_lens T={n}": lambda n=n: logit_lens(subject.model, subject.tokens(1, n))  # type: ignore[misc]
        for n in (128, 512)
    }
    for n, size in ((16, 16), (16, 64), (64, 16), (64, 64), (64, None)):

        def sweep(n: int = n, size: int | None = size) -> object:
            clean, corrupt = subject.tokens(2, n).split(1)
            return patch_sweep(subject.model, clean, corrupt, METRIC, max_batch=size, progress=False)

        found[f"patch_sweep T={n} max_batch={size}"] = sweep
    return found


def peak_of(name: str, call: str, device: str) -> float:
    """Megabytes above what was there before, asked of a fresh process."""
    command = [sys.executable, __file__, "--model", name, "--device", device, "--peak", call]
    return float(json.loads(subprocess.check_output(command, text=True).splitlines()[-1]))


def peak(subject: Subject, call: str) -> float:
    with torch.no_grad():
        subject.model(subject.tokens(1, 8))  # what is made once is there before
        if subject.device != "cpu":
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            calls(subject)[call]()
            return (torch.cuda.max_memory_allocated() - before) / 1e6
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        before = status("VmRSS")
        calls(subject)[call]()
        return (status("VmHWM") - before) / 1e3


def status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


# -- the table ---------------------------------------------------------------------------------------------------------


def seconds(way: Way, device: str) -> tuple[float, Tensor]:
    clock = time.process_time if device == "cpu" else time.perf_counter
    begin = clock()
    result = way()
    if device != "cpu":
        torch.cuda.synchronize()
    return clock() - begin, result


def compare(title: str, ways: dict[str, Way], device: str, repeat: int, same: bool = True) -> None:
    """Run the ways in turn and print a row for each."""
    with torch.no_grad():
        for way in ways.values() if repeat > 1 else []:
            way()
        runs = [{name: seconds(way, device) for name, way in ways.items()} for _ in range(repeat)]
    median = {name: statistics.median(run[name][0] for run in runs) for name in ways}
    ours = runs[0]["ours"][1].float().cpu()
    for name, took in median.items():
        result = runs[0][name][1].float().cpu()
        close = same and result.numel() == ours.numel()
        apart = f"{(result.reshape(ours.shape) - ours).abs().max():.1e}" if close else ""
        against = f"{took / median['ours']:.2f}"
        print(f"{title:<24}{name:<17}{took:>9.3f} s{against:>9} x ours  {apart:>8}", flush=True)


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="gpt2", help="gpt2 for its shape with random weights, else as for load()")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--sites", nargs="+", choices=SITES, default=SITES)
    parser.add_argument("--tokens", type=int, default=16, help="of the texts that are swept")
    parser.add_argument("--long", type=int, default=128, help="of the text for forward and lens")
    parser.add_argument("--max-batch", type=int, default=64)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    chosen = options()
    torch.set_num_threads(1)
    subject = Subject(chosen.model, chosen.device)
    if chosen.peak:
        print(json.dumps(peak(subject, chosen.peak)))
        return
    how = {"device": chosen.device, "repeat": chosen.repeat}
    text = subject.tokens(1, chosen.long)
    if "forward" in chosen.only:
        compare(f"forward T={chosen.long}", forwards(subject, text), **how, same=False)
    if "lens" in chosen.only:
        compare(f"lens T={chosen.long}", lenses(subject, text), **how)
    for site in chosen.sites if "sweeps" in chosen.only else []:
        ways = sweeps(subject, subject.tokens(2, chosen.tokens), site, chosen.max_batch)
        compare(f"sweep {site} T={chosen.tokens}", ways, **how)
    for call in calls(subject) if "memory" in chosen.only else []:
        print(f"{call:<41}{peak_of(chosen.model, call, chosen.device):>9.0f} MB", flush=True)


if __name__ == "__main__":
    main()
