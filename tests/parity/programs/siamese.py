"""A siamese network: shared convolutions, a contrastive, a triplet, and a binary loss."""

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import optim
from torch.utils.data import DataLoader, Dataset


class Pairs(Dataset):
    def __init__(self, rng):
        self.images = rng.random((60, 1, 12, 12), dtype=np.float32)
        self.labels = rng.integers(0, 3, 60)

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        other = (index * 7 + 3) % len(self)
        same = float(self.labels[index] == self.labels[other])
        far = (index * 11 + 1) % len(self)
        return (
            torch.from_numpy(self.images[index]),
            torch.from_numpy(self.images[other]),
            torch.from_numpy(self.images[far]),
            torch.tensor(same),
        )


class SiameseNetwork(nn.Module):
    def __init__(self):
        super().__init__()
        self.cnn = nn.Sequential(
            nn.Conv2d(1, 4, kernel_size=3, padding="same"),
            nn.ReLU(inplace=True),
            nn.BatchNorm2d(4),
            nn.MaxPool2d(2, stride=2),
            nn.Conv2d(4, 8, 3),
            nn.ReLU(inplace=True),
        )
        self.fc = nn.Sequential(nn.Linear(8 * 4 * 4, 16), nn.Sigmoid(), nn.Linear(16, 5))
        self.out = nn.Linear(5, 1)

    def forward_once(self, x):
        output = self.cnn(x)
        output = output.view(output.size()[0], -1)
        return self.fc(output)

    def forward(self, *inputs):
        return [self.forward_once(x) for x in inputs]


class ContrastiveLoss(nn.Module):
    def __init__(self, margin=2.0):
        super().__init__()
        self.margin = margin

    def forward(self, output1, output2, label):
        distance = F.pairwise_distance(output1, output2, keepdim=True)
        label = label.view(-1, 1)
        return torch.mean(
            label * torch.pow(distance, 2) + (1 - label) * torch.pow(torch.clamp(self.margin - distance, min=0.0), 2)
        )


def fill(model, seed=0, scale=0.1):
    """Start from the same numbers in both frameworks."""
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.from_numpy(np.asarray(rng.standard_normal(tuple(p.shape)) * scale, dtype="float32")))


def main():
    rng = np.random.default_rng(0)
    loader = DataLoader(Pairs(rng), batch_size=15, shuffle=False, num_workers=0, drop_last=True)
    net = SiameseNetwork()
    fill(net, scale=0.2)
    contrastive, triplet, binary = ContrastiveLoss(), nn.TripletMarginLoss(margin=1.0), nn.BCEWithLogitsLoss()
    optimizer = optim.Adam(net.parameters(), lr=0.0005, weight_decay=1e-4)
    losses = []
    for _ in range(5):
        for one, two, three, label in loader:
            optimizer.zero_grad()
            a, b, c = net(one, two, three)
            score = net.out(torch.abs(a - b)).squeeze(1)
            loss = contrastive(a, b, label) + triplet(a, b, c) + binary(score, label)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    net.eval()
    with torch.no_grad():
        a, b = net(one, two)
        losses += F.cosine_similarity(a, b).tolist()
    return losses
