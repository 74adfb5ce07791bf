"""Matrix factorization: two embeddings, einsum, gather, sampled negatives, dampened SGD, and exported weights."""

import os
import tempfile

import numpy as np
import torch
from torch import nn


class Factors(nn.Module):
    def __init__(self, users, items, width):
        super().__init__()
        self.user = nn.Embedding(users, width)
        self.item = nn.Embedding(items, width)
        self.bias = nn.ParameterList([nn.Parameter(torch.zeros(items)), nn.Parameter(torch.zeros(users))])
        self.temperature = nn.Parameter(torch.tensor(1.0))

    def forward(self, u, i):
        scores = torch.einsum("bd,bkd->bk", self.user(u), self.item(i))
        return (scores + self.bias[0][i] + self.bias[1][u].unsqueeze(1)) / self.temperature.clamp(min=0.1)


def fill(model, seed=0, scale=0.1):
    """Start from the same numbers in both frameworks."""
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.from_numpy(np.asarray(rng.standard_normal(tuple(p.shape)) * scale, dtype="float32")))


def main():
    rng = np.random.default_rng(0)
    model = Factors(20, 30, 6)
    fill(model, scale=0.5)
    optimizer = torch.optim.SGD(
        [
            {"params": [model.user.weight, model.item.weight], "weight_decay": 1e-3},
            {"params": [*model.bias, model.temperature], "lr": 0.05},
        ],
        lr=0.5,
        momentum=0.5,
        dampening=0.1,
    )
    losses = []
    for _ in range(20):
        u = torch.as_tensor(rng.integers(0, 20, 16))
        i = torch.as_tensor(rng.integers(0, 30, (16, 5)))
        logits = model(u, i)
        best = torch.argsort(logits, dim=1, descending=True)[:, :1]
        hard = logits.gather(1, best).squeeze(1)
        target = torch.zeros_like(logits)
        target[:, 0] = 1
        loss = nn.functional.binary_cross_entropy_with_logits(logits, target, pos_weight=torch.tensor([2.0]))
        loss = loss + 0.1 * torch.logsumexp(logits, dim=1).mean() + 0.01 * hard.std()
        for group in optimizer.param_groups:
            for p in group["params"]:
                p.grad = None
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "factors.pt")
        torch.save({"model": model.state_dict(), "step": 20}, path)
        checkpoint = torch.load(path)
    again = Factors(20, 30, 6)
    again.load_state_dict(checkpoint["model"])
    assert checkpoint["step"] == 20
    assert torch.equal(again(u, i), model(u, i))
    return losses
