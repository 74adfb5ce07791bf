"""Transfer learning: a trained body is loaded, frozen, and gets a new head; later its last layer is trained, too."""

import copy

import numpy as np
import torch
import torch.nn as nn
import torch.optim as optim
from torch.optim import lr_scheduler


class Body(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.MaxPool2d(2),
            nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(inplace=True),
        )  # fmt: skip
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(16, classes)

    def forward(self, x):
        x = self.features(x)
        x = self.avgpool(x)
        x = torch.flatten(x, 1)
        return self.fc(x)


def fill(model, seed=0, scale=0.1):
    """Start from the same numbers in both frameworks."""
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.from_numpy(np.asarray(rng.standard_normal(tuple(p.shape)) * scale, dtype="float32")))


def main():
    rng = np.random.default_rng(0)
    trained = Body(10)
    fill(trained, scale=0.3)
    model = Body(4)
    state = {k: v for k, v in trained.state_dict().items() if not k.startswith("fc.")}
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert sorted(missing) == ["fc.bias", "fc.weight"]
    assert unexpected == []
    for param in model.parameters():
        param.requires_grad = False
    model.fc = nn.Linear(model.fc.in_features, 4)
    fill(model.fc, 3)
    seen = []
    handle = model.avgpool.register_forward_hook(lambda module, inputs, output: seen.append(output.shape))
    optimizer = optim.SGD(filter(lambda p: p.requires_grad, model.parameters()), lr=0.05, momentum=0.9)
    scheduler = lr_scheduler.ExponentialLR(optimizer, gamma=0.9)
    criterion = nn.CrossEntropyLoss(label_smoothing=0.1, weight=torch.tensor([1.0, 2.0, 1.0, 0.5]))
    losses, best = [], None
    for step in range(20):
        if step == 10:
            model.features[4].requires_grad_(True)
            optimizer.add_param_group({"params": model.features[4].parameters(), "lr": 0.01})
            scheduler = lr_scheduler.CosineAnnealingLR(optimizer, T_max=10)
        images = torch.from_numpy(rng.random((12, 3, 8, 8), dtype=np.float32))
        labels = torch.from_numpy(rng.integers(0, 4, 12))
        optimizer.zero_grad()
        with torch.set_grad_enabled(True):
            outputs = model(images)
            _, preds = torch.max(outputs, 1)
            loss = criterion(outputs, labels)
            loss.backward()
            optimizer.step()
        scheduler.step()
        losses.append(loss.item())
        losses.append(torch.sum(preds == labels.data).item() / 12)
        if best is None:
            best = copy.deepcopy(model.state_dict())
    handle.remove()
    assert len(seen) == 20
    assert tuple(seen[0]) == (12, 16, 1, 1)
    assert model.features[0].weight.grad is None
    model.load_state_dict(best)
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return [*losses, float(trainable), float(next(model.parameters()).sum())]
