"""Checkpoints of model, optimizer, and schedule; samples of several kinds in one data set, with a collate function."""

import os
import tempfile

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset


class Readings(Dataset):
    def __init__(self, count=24):
        rng = np.random.default_rng(3)
        self.series = [rng.standard_normal(n).astype(np.float32) for n in rng.integers(2, 7, count)]

    def __len__(self):
        return len(self.series)

    def __getitem__(self, i):
        series = torch.from_numpy(self.series[i])
        return {"series": series, "label": int(series.sum() > 0), "name": f"reading {i}"}


def collated(samples):
    series = pad_sequence([sample["series"] for sample in samples], batch_first=True)
    lengths = torch.tensor([len(sample["series"]) for sample in samples])
    labels = torch.tensor([sample["label"] for sample in samples])
    return series, lengths, labels, [sample["name"] for sample in samples]


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        rng = np.random.default_rng(4)
        self.first, self.second = nn.Linear(2, 6), nn.Linear(6, 2)
        with torch.no_grad():
            for p in self.parameters():
                p.copy_(torch.tensor(rng.standard_normal(tuple(p.shape)) * 0.5))

    def forward(self, series, lengths):
        mask = torch.arange(series.size(1))[None, :] < lengths[:, None]
        mean = (series * mask).sum(1) / mask.sum(1)
        largest = series.masked_fill(~mask, -1e9).max(dim=1).values
        return self.second(F.relu(self.first(torch.stack([mean, largest], dim=1))))


def made():
    model = Model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.9)
    return model, optimizer, torch.optim.lr_scheduler.StepLR(optimizer, 3)


def epoch(model, optimizer, schedule):
    losses = []
    for series, lengths, labels, names in DataLoader(Readings(), batch_size=5, collate_fn=collated):
        assert len(names) == len(labels)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(series, lengths), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    schedule.step()
    return losses


def main():
    parts = made()
    losses = [loss for _ in range(4) for loss in epoch(*parts)]
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "checkpoint.pt")
        names = ("model", "optimizer", "schedule")
        torch.save({**{n: part.state_dict() for n, part in zip(names, parts)}, "epoch": 4, "best": min(losses)}, path)
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    again = made()
    for name, part in zip(names, again):
        part.load_state_dict(checkpoint[name])
    assert checkpoint["epoch"] == again[2].last_epoch == 4
    expected, found = epoch(*parts), epoch(*again)
    assert np.allclose(expected, found, rtol=1e-6)
    return [*losses, *found, *again[2].get_last_lr()]
