"""Training recipes: tied weights, warm-up, accumulated gradients, clipping by value, a schedule, and early stopping."""

import copy

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.optim.lr_scheduler import LambdaLR, StepLR


class Tagger(nn.Module):
    def __init__(self, words=12, width=8):
        super().__init__()
        self.embedding = nn.Embedding(words, width)
        self.mixers = nn.ModuleList([nn.Linear(width, width) for _ in range(2)])
        self.scales = nn.ParameterList([nn.Parameter(torch.ones(width)) for _ in range(2)])
        self.head = nn.Linear(width, words, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens):
        x = self.embedding(tokens)
        for mixer, scale in zip(self.mixers, self.scales):
            x = x + torch.tanh(mixer(x)) * scale
        return self.head(x)


def initialized(model):
    rng = np.random.default_rng(0)

    def start(module):
        if isinstance(module, (nn.Linear, nn.Embedding)):
            with torch.no_grad():
                module.weight.copy_(torch.tensor(rng.standard_normal(tuple(module.weight.shape)) * 0.3))
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)

    return model.apply(start)


def main():
    rng = np.random.default_rng(1)
    model = initialized(Tagger())
    assert model.head.weight is model.embedding.weight
    assert len(list(model.parameters())) == 7
    decay = [p for p in model.parameters() if p.dim() >= 2]
    rest = [p for p in model.parameters() if p.dim() < 2]
    optimizer = torch.optim.AdamW(
        [{"params": decay, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}], lr=0.02
    )
    warmup = LambdaLR(optimizer, lr_lambda=lambda step: min(1.0, (step + 1) / 5))
    model.mixers[0].weight.register_hook(lambda g: torch.clamp(g, -0.05, 0.05))
    tokens = torch.tensor(rng.integers(0, 12, (40, 4, 6)))
    losses, best, waited, state = [], float("inf"), 0, None
    for step in range(40):
        model.train()
        optimizer.zero_grad(set_to_none=True)
        total = 0.0
        for part in tokens[step].chunk(2):
            loss = F.cross_entropy(model(part).view(-1, 12), (part.view(-1) + 1) % 12, label_smoothing=0.05) / 2
            loss.backward()
            total += loss.item()
        nn.utils.clip_grad_value_(model.parameters(), clip_value=0.1)
        optimizer.step()
        warmup.step()
        losses.append(total)
        losses.append(warmup.get_last_lr()[0])
        if total < best - 1e-3:
            best, waited, state = total, 0, copy.deepcopy(model.state_dict())
        else:
            waited += 1
        if waited > 10:
            break
    assert "matched" in repr(model.load_state_dict(state))
    schedule = StepLR(torch.optim.SGD(model.parameters(), lr=0.1), step_size=2, gamma=0.5)
    for _ in range(3):
        schedule.optimizer.step()
        schedule.step()
    return [*losses, schedule.last_epoch, *schedule.base_lrs, *schedule.get_last_lr()]
