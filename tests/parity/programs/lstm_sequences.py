"""Predicting sine waves with two LSTM cells, and an nn.LSTM in both directions on top of the same data."""

import numpy as np
import torch
import torch.nn as nn


class Sequence(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm1 = nn.LSTMCell(1, 11)
        self.lstm2 = nn.LSTMCell(11, 11)
        self.linear = nn.Linear(11, 1)
        self.lstm = nn.LSTM(1, 6, num_layers=2, batch_first=True, bidirectional=True)
        self.gate = nn.GRU(12, 1, batch_first=True)

    def forward(self, input, future=0):
        outputs = []
        h_t = torch.zeros(input.size(0), 11, dtype=torch.float32)
        c_t = torch.zeros(input.size(0), 11)
        h_t2, c_t2 = torch.zeros_like(h_t), torch.zeros_like(c_t)
        for input_t in input.split(1, dim=1):
            h_t, c_t = self.lstm1(input_t, (h_t, c_t))
            h_t2, c_t2 = self.lstm2(h_t, (h_t2, c_t2))
            output = self.linear(h_t2)
            outputs += [output]
        for _ in range(future):
            h_t, c_t = self.lstm1(output, (h_t, c_t))
            h_t2, c_t2 = self.lstm2(h_t, (h_t2, c_t2))
            output = self.linear(h_t2)
            outputs += [output]
        both, (h_n, c_n) = self.lstm(input.unsqueeze(-1))
        extra, _ = self.gate(both)
        return torch.cat(outputs, dim=1), extra.squeeze(2) + h_n.mean() * c_n.sum() * 0.01


def fill(model, seed=0, scale=0.1):
    """Start from the same numbers in both frameworks."""
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.from_numpy(np.asarray(rng.standard_normal(tuple(p.shape)) * scale, dtype="float32")))


def main():
    rng = np.random.default_rng(0)
    start = rng.integers(-40, 40, (8, 1))
    data = torch.from_numpy(np.sin((np.arange(13)[None] + start) / 4.0).astype("float32"))
    input, target = data[:, :-1], data[:, 1:]
    seq = Sequence()
    fill(seq, scale=0.3)
    criterion = nn.MSELoss()
    optimizer = torch.optim.RMSprop(seq.parameters(), lr=0.01, momentum=0.5)
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        out, extra = seq(input)
        loss = criterion(out, target) + criterion(extra, target)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(seq.parameters(), 0.5)
        optimizer.step()
        losses.append(loss.item())
    with torch.no_grad():
        pred, _ = seq(input, future=5)
        losses.append(float(pred[:, -5:].abs().mean()))
    return losses
