"""One training iteration of nanoGPT's CPU configuration, with its AdamW and gradient clipping."""

from __future__ import annotations

from typing import Any

import numpy as np

from tito.versus.bounds import Cost
from tito.versus.contender import Contender

TITLE = "GPT, 4 layers, 4 heads, 128 wide"
BARS = {"pytorch": {"training iteration, batch 12 x 64": 1.5}}

SIZES: dict[str, Any] = {"vocab_size": 68, "block_size": 64, "n_layer": 4, "n_head": 4, "n_embd": 128}
BATCH = 12
# Numbers in the products of a token: 12 C^2 in each block, and the table of the tokens; attention is not counted
NUMBERS = 12 * SIZES["n_layer"] * SIZES["n_embd"] ** 2 + SIZES["vocab_size"] * SIZES["n_embd"]
COSTS = {"training iteration, batch 12 x 64": Cost(6.0 * NUMBERS * BATCH * SIZES["block_size"], 4 * NUMBERS)}
LEARNING_RATE, BETAS, WEIGHT_DECAY, CLIP = 1e-3, (0.9, 0.99), 0.1, 1.0


def weights() -> dict[str, np.ndarray]:
    """Return fresh weights by name, drawn from nanoGPT's distributions."""
    rng = np.random.default_rng(0)
    wide, layers = SIZES["n_embd"], SIZES["n_layer"]
    shapes = {
        "transformer.wte.weight": (SIZES["vocab_size"], wide),
        "transformer.wpe.weight": (SIZES["block_size"], wide),
    }
    for i in range(layers):
        shapes |= {
            f"transformer.h.{i}.attn.c_attn.weight": (3 * wide, wide),
            f"transformer.h.{i}.attn.c_proj.weight": (wide, wide),
            f"transformer.h.{i}.mlp.c_fc.weight": (4 * wide, wide),
            f"transformer.h.{i}.mlp.c_proj.weight": (wide, 4 * wide),
        }
    state = {}
    for name, shape in shapes.items():
        sd = 0.02 / (2 * layers) ** 0.5 if name.endswith("c_proj.weight") else 0.02
        state[name] = (sd * rng.standard_normal(shape)).astype(np.float32)
    norms = [f"transformer.h.{i}.ln_{j}.weight" for i in range(layers) for j in (1, 2)]
    return state | {name: np.ones(wide, np.float32) for name in [*norms, "transformer.ln_f.weight"]}


def _data() -> tuple[np.ndarray, np.ndarray]:
    tokens = np.random.default_rng(1).integers(0, SIZES["vocab_size"], (BATCH, SIZES["block_size"] + 1))
    return tokens[:, :-1], tokens[:, 1:]


def tinytorch() -> Contender:
    import tinytorch as tt
    from tinytorch.transformers import GPT, next_token_loss

    model = GPT(**SIZES)
    model.load_state_dict(weights())
    parameters = model.parameters()
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": WEIGHT_DECAY},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer = tt.AdamW(groups, lr=LEARNING_RATE, betas=BETAS)
    tokens, targets = _data()

    def step() -> float:
        loss = next_token_loss(model(tokens), targets)
        loss.backward()
        tt.clip_grad_norm_(parameters, CLIP)
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    def check() -> np.ndarray:
        with tt.no_grad():
            logits = model(tokens).data[0].ravel()
        return np.append(logits, [step() for _ in range(5)])

    return Contender({"training iteration, batch 12 x 64": step}, check)


def pytorch() -> Contender:
    return _pytorch(compiled=False)


def pytorch_compiled() -> Contender:
    return _pytorch(compiled=True)


def _pytorch(compiled: bool) -> Contender:
    import torch

    from tito.versus.nanogpt import NanoGPT, parameter_groups

    model = NanoGPT(**SIZES)
    model.load_state_dict({name: torch.from_numpy(array) for name, array in weights().items()}, strict=False)
    parameters = list(model.parameters())
    optimizer = torch.optim.AdamW(parameter_groups(model, WEIGHT_DECAY), lr=LEARNING_RATE, betas=BETAS)
    run = torch.compile(model) if compiled else model
    tokens, targets = (torch.from_numpy(array.copy()) for array in _data())

    def step() -> float:
        logits = run(tokens)
        loss = torch.nn.functional.cross_entropy(logits.view(-1, SIZES["vocab_size"]), targets.view(-1))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, CLIP)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.item()

    def check() -> np.ndarray:
        with torch.no_grad():
            logits = run(tokens)[0].flatten().numpy()
        return np.append(logits, [step() for _ in range(5)])

    return Contender({"training iteration, batch 12 x 64": step}, check)
