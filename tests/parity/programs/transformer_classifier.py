"""A transformer encoder that classifies sequences of different lengths: positions as a buffer, padding masks."""

import math

import numpy as np
import torch
from torch import nn
from torch.nn import TransformerEncoder, TransformerEncoderLayer


class PositionalEncoding(nn.Module):
    def __init__(self, d_model, max_len=32):
        super().__init__()
        position = torch.arange(max_len).unsqueeze(1)
        div_term = torch.exp(torch.arange(0, d_model, 2) * (-math.log(10000.0) / d_model))
        pe = torch.zeros(max_len, 1, d_model)
        pe[:, 0, 0::2] = torch.sin(position * div_term)
        pe[:, 0, 1::2] = torch.cos(position * div_term)
        self.register_buffer("pe", pe)

    def forward(self, x):
        return x + self.pe[: x.size(0)]


class Classifier(nn.Module):
    def __init__(self, ntoken, d_model, nhead, d_hid, nlayers, norm_first):
        super().__init__()
        self.pos_encoder = PositionalEncoding(d_model)
        layer = TransformerEncoderLayer(d_model, nhead, d_hid, dropout=0.0, activation="gelu", norm_first=norm_first)
        self.transformer_encoder = TransformerEncoder(layer, nlayers, enable_nested_tensor=False)
        self.embedding = nn.Embedding(ntoken, d_model, padding_idx=0)
        self.d_model = d_model
        self.head = nn.Linear(d_model, 3)

    def forward(self, src, mask=None):
        padding = src == 0
        x = self.embedding(src.t()) * math.sqrt(self.d_model)
        x = self.pos_encoder(x)
        x = self.transformer_encoder(x, mask=mask, src_key_padding_mask=padding)
        kept = (~padding).t().unsqueeze(-1).float()
        return self.head((x * kept).sum(0) / kept.sum(0))


def fill(model, seed=0, scale=0.1):
    """Start from the same numbers in both frameworks."""
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.from_numpy(np.asarray(rng.standard_normal(tuple(p.shape)) * scale, dtype="float32")))


def train(norm_first):
    rng = np.random.default_rng(0)
    model = Classifier(12, 16, 4, 24, 2, norm_first)
    fill(model)
    with torch.no_grad():
        model.embedding.weight[0] = 0
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    warmup = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / 10))
    criterion = nn.CrossEntropyLoss()
    mask = nn.Transformer.generate_square_subsequent_mask(9)
    losses = []
    for _ in range(20):
        tokens = rng.integers(1, 12, (6, 9))
        for row, length in zip(tokens, rng.integers(3, 10, 6)):
            row[length:] = 0
        labels = torch.from_numpy(tokens.sum(1) % 3)
        optimizer.zero_grad()
        loss = criterion(model(torch.from_numpy(tokens), mask), labels)
        loss.backward()
        optimizer.step()
        warmup.step()
        losses.append(loss.item())
    assert float(model.embedding.weight[0].abs().sum()) == 0
    return losses


def main():
    return train(False) + train(True)
