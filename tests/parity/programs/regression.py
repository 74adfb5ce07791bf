"""Linear regression by hand, and with a module: gradients, in-place updates, and plain tensors."""

import numpy as np
import torch


def main():
    rng = np.random.default_rng(0)
    x = torch.tensor(rng.standard_normal((64, 3)), dtype=torch.float32)
    y = x @ torch.tensor([[1.5], [-2.0], [0.5]]) + 0.3
    w = torch.zeros(3, 1, requires_grad=True)
    b = torch.zeros((1,), requires_grad=True)
    velocity = [torch.zeros_like(w), torch.zeros_like(b)]
    losses = []
    for _ in range(20):
        loss = ((x @ w + b - y) ** 2).mean() + 1e-3 * w.norm()
        loss.backward()
        with torch.no_grad():
            for p, v in zip([w, b], velocity):
                v *= 0.5
                v += p.grad
                p -= 0.05 * v
                p.grad.zero_()
        losses.append(loss.item())
    assert f"{loss:.3f}" == f"{losses[-1]:.3f}"
    assert w.grad is not None
    assert float(w.grad.abs().max()) == 0
    return losses
