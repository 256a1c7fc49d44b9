"""What a patching sweep costs: the growing batch of `patch_sweep` against one run for each patch by `Tap`.

    python benchmarks/patching.py                          # all four sweeps, three times each
    python benchmarks/patching.py --repeat 1 --sites resid_pre --max-batch 16 64 192

A random model of the shape of GPT-2 small (12 layers, 12 heads, d_model 768, vocabulary 50257), 16 tokens, one thread.
Both ways compute the logits of the last token alone, keep no cache of keys and values, and take turns. Figures are CPU
seconds, the least of the runs, and their ratio; ``difference`` is the largest between the two results.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel

from interpwidgets import Tap
from interpwidgets.methods.metrics import logit_difference
from interpwidgets.methods.patching import patch_sweep

SITES = ("resid_pre", "attn_out", "mlp_out", "z")
METRIC = partial(logit_difference, right=5, wrong=9)


def one_by_one(model: Any, clean: Tensor, corrupt: Tensor, site: str) -> Tensor:
    """The same sweep as one run for each patch."""
    n_layers, n_places = model.config.n_layer, model.config.n_head if site == "z" else clean.shape[1]
    scores = torch.empty(n_layers, n_places)
    with torch.no_grad():
        with Tap(model, site) as there:
            model(clean, use_cache=False, logits_to_keep=1)
        for layer in range(n_layers):
            for place in range(n_places):
                where = (slice(None), slice(None), place) if site == "z" else (slice(None), place)
                with Tap(model, edits={(site, layer): partial(_put, there[site, layer], where)}):
                    logits = model(corrupt, use_cache=False, logits_to_keep=1).logits
                scores[layer, place] = METRIC(logits[:, -1])[0]
    return scores


def _put(new: Tensor, where: tuple[Any, ...], old: Tensor) -> Tensor:
    old[where] = new[where]
    return old


def timed(sweep: Callable[[], Tensor]) -> tuple[float, Tensor]:
    begin = time.process_time()
    result = sweep()
    return time.process_time() - begin, result


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--sites", nargs="+", choices=SITES, default=SITES)
    options.add_argument("--repeat", type=int, default=3)
    options.add_argument("--tokens", type=int, default=16)
    options.add_argument("--max-batch", type=int, nargs="+", default=[64])
    chosen = options.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config()).eval()
    clean, corrupt = torch.randint(0, model.config.vocab_size, (2, 1, chosen.tokens))
    print(f"{'sweep':<12}{'max_batch':>10}{'one by one':>12}{'patch_sweep':>13}{'ratio':>8}{'difference':>12}")
    for site in chosen.sites:
        sweeps: dict[int, Callable[[], Tensor]] = {0: partial(one_by_one, model, clean, corrupt, site)}
        for size in chosen.max_batch:
            sweeps[size] = partial(patch_sweep, model, clean, corrupt, METRIC, site, max_batch=size, progress=False)
        runs = [{size: timed(sweep) for size, sweep in sweeps.items()} for _ in range(chosen.repeat)]
        best = {size: min(run[size][0] for run in runs) for size in sweeps}
        for size in chosen.max_batch:
            apart = (runs[0][size][1] - runs[0][0][1]).abs().max().item()
            ratio = best[0] / best[size]
            print(f"{site:<12}{size:>10}{best[0]:>11.2f}s{best[size]:>12.2f}s{ratio:>8.2f}{apart:>12.1e}", flush=True)


if __name__ == "__main__":
    main()
