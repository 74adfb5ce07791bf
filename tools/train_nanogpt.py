"""Train the model of the suite tinygpt in PyTorch, to set the gate of its case nanogpt_cpu.

    python tools/train_nanogpt.py [SEED ...]

It uses the initial weights, batches, optimizer, schedule, and validation windows of the suite's workload.py. Its
figures differ from the suite's own only by rounding. Needs torch (dependency group `versus`).
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from tito.bench.suites import find_suite
from tito.bench.workload import load_workload
from tito.project import find_project
from tito.versus.nanogpt import NanoGPT, parameter_groups


def train(work: Any, corpus: Any, parameters: dict[str, Any], seed: int) -> tuple[float, float]:
    """Return the final validation loss and the seconds of training."""
    ours = work.build(parameters, seed)
    _, schedule = work.optimizer_and_schedule(ours, parameters)
    model = NanoGPT(**{name: parameters[name] for name in ("vocab_size", "block_size", "n_layer", "n_head", "n_embd")})
    state = {name: torch.from_numpy(value.data.copy()) for name, value in ours.state_dict().items()}
    model.load_state_dict(state, strict=False)  # lm_head.weight is tied
    optimizer = torch.optim.AdamW(parameter_groups(model, 0.1), lr=parameters["learning_rate"], betas=(0.9, 0.99))
    batches = work.training_windows(corpus, parameters, seed)
    began = time.perf_counter()
    for step in range(parameters["iterations"]):
        if step % len(batches) == 0:
            epoch = batches.batches(step // len(batches))
        inputs, targets = (torch.from_numpy(array.copy()) for array in next(epoch))
        for group in optimizer.param_groups:
            group["lr"] = parameters["learning_rate"] * schedule.factor(step)
        loss = cross_entropy(model(inputs).flatten(0, 1), targets.flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return judged_loss(work, corpus, model, parameters), time.perf_counter() - began


@torch.no_grad()
def judged_loss(work: Any, corpus: Any, model: NanoGPT, parameters: dict[str, Any]) -> float:
    """Return the mean loss over the validation windows of the suite."""
    windows = work.FixedWindows(corpus.validation, parameters["block_size"], work.JUDGED_WINDOWS)
    total, count = 0.0, 0
    for inputs, targets in windows.batches():
        logits = model(torch.from_numpy(inputs.copy())).flatten(0, 1)
        total += cross_entropy(logits, torch.from_numpy(targets.copy()).flatten(), reduction="sum").item()
        count += targets.size
    return total / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("seeds", nargs="*", type=int, help="the suite's own, if none is given")
    parser.add_argument("--iterations", type=int, help="fewer than the suite's")
    arguments = parser.parse_args()
    loaded = find_suite(find_project().suites, "tinygpt")
    case = loaded.suite.case("nanogpt_cpu")
    parameters = case.parameters | ({"iterations": arguments.iterations} if arguments.iterations else {})
    work = load_workload(loaded.folder / "workload.py")
    corpus = work.load(parameters)
    losses = []
    for seed in arguments.seeds or case.seeds:
        loss, seconds = train(work, corpus, parameters, seed)
        losses.append(loss)
        sys.stdout.write(f"PyTorch {torch.__version__}, seed {seed}: val_loss {loss:.4f}, {seconds:.1f} s\n")
    sys.stdout.write(f"mean {np.mean(losses):.4f}, highest {max(losses):.4f}\n")


if __name__ == "__main__":
    main()
