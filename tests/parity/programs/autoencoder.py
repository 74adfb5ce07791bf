"""A convolutional and a 1-D autoencoder: Conv1d, BatchNorm1d, transposed convolutions, gradients inside the graph."""

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F


class ConvAutoencoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv1d(1, 4, 5, stride=2, padding=2, bias=False), nn.BatchNorm1d(4), nn.LeakyReLU(0.1),
            nn.Conv1d(4, 8, 3, padding="same"), nn.Softplus(), nn.MaxPool1d(2),
        )  # fmt: skip
        self.bottleneck = nn.Sequential(
            nn.Flatten(), nn.Linear(32, 6, bias=False), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 32)
        )
        self.decoder = nn.Sequential(
            nn.Unflatten(1, (8, 4)), nn.ConvTranspose1d(8, 4, 4, stride=2, padding=1), nn.ELU(),
            nn.Upsample(scale_factor=2), nn.Conv1d(4, 1, 1), nn.Identity(),
        )  # fmt: skip
        self.register_buffer("steps", torch.zeros(1), persistent=False)

    def forward(self, x):
        self.steps += 1
        z = self.bottleneck[:4](self.encoder(x))
        return self.decoder(self.bottleneck[4](z)), z


def fill(model, seed=0, scale=0.1):
    """Start from the same numbers in both frameworks."""
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.from_numpy(np.asarray(rng.standard_normal(tuple(p.shape)) * scale, dtype="float32")))


def main():
    rng = np.random.default_rng(0)
    model = ConvAutoencoder()
    fill(model, scale=0.3)
    assert "steps" not in model.state_dict()
    optimizer = torch.optim.Adamax(model.parameters(), lr=0.01)
    losses = []
    for _ in range(20):
        x = torch.from_numpy(rng.standard_normal((6, 1, 16)).astype(np.float32))
        optimizer.zero_grad()
        y, z = model(x)
        z.retain_grad()
        (sensitivity,) = torch.autograd.grad(y.sum(), z, retain_graph=True)
        loss = F.huber_loss(y, x) + 0.01 * F.l1_loss(z, torch.zeros_like(z))
        loss.backward()
        assert z.grad.shape == z.shape
        optimizer.step()
        losses += [loss.item(), sensitivity.abs().mean().item(), z.grad.abs().sum().item()]
    assert int(model.steps) == 20
    model.double()
    return [*losses, model.eval()(x.double())[0].std().item()]
