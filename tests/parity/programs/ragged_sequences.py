"""Sequences of different lengths: a Dataset, collate_fn, samplers, random_split, a GRU, and several heads."""

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import BatchSampler, DataLoader, Dataset, SequentialSampler, Subset, random_split


class Words(Dataset):
    def __init__(self, count):
        rng = np.random.default_rng(5)
        self.items = [torch.from_numpy(rng.integers(1, 9, rng.integers(2, 7))) for _ in range(count)]

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        word = self.items[i]
        return {"word": word, "length": len(word), "sum": float(word.sum())}


def collate(samples):
    lengths = torch.tensor([s["length"] for s in samples])
    padded = torch.zeros(len(samples), int(lengths.max()), dtype=torch.long)
    for row, s in enumerate(samples):
        padded[row, : s["length"]] = s["word"]
    return padded, lengths, torch.tensor([s["sum"] for s in samples])


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(9, 6, padding_idx=0)
        self.rnn = nn.GRU(6, 10, num_layers=2, batch_first=True, bidirectional=True)
        self.heads = nn.ModuleDict({"length": nn.Linear(20, 7), "sum": nn.Linear(20, 1)})
        self.extra = nn.ModuleList([nn.Sequential(nn.Linear(20, 20), nn.LayerNorm(20), nn.ELU()) for _ in range(2)])
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, tokens, lengths):
        mask = torch.arange(tokens.shape[1])[None, :] < lengths[:, None]
        y, _ = self.rnn(self.embed(tokens))
        y = y.masked_fill(~mask.unsqueeze(-1), 0.0).sum(1) / lengths.unsqueeze(1)
        for layer in self.extra:
            y = y + self.scale * layer(y)
        return {name: head(y) for name, head in self.heads.items()}


def fill(model, seed=0, scale=0.1):
    """Start from the same numbers in both frameworks."""
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.from_numpy(np.asarray(rng.standard_normal(tuple(p.shape)) * scale, dtype="float32")))


def main():
    data = Words(66)
    part, rest = random_split(data, [60, 6], generator=torch.Generator().manual_seed(0))
    assert sorted(part.indices + rest.indices) == list(range(66))
    train = Subset(data, range(60))
    batches = BatchSampler(SequentialSampler(train), batch_size=8, drop_last=True)
    loader = DataLoader(train, batch_sampler=batches, collate_fn=collate)
    model = Model()
    fill(model, scale=0.3)
    optimizer = torch.optim.Adagrad(model.parameters(), lr=0.05)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones=[2], gamma=0.5)
    classes, distance = nn.CrossEntropyLoss(), nn.SmoothL1Loss()
    losses = []
    for _ in range(3):
        for tokens, lengths, sums in loader:
            optimizer.zero_grad()
            out = model(tokens, lengths)
            loss = classes(out["length"], lengths) + 0.1 * distance(out["sum"].squeeze(-1), sums)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        scheduler.step()
    return losses
