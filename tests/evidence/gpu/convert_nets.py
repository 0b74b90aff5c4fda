"""The networks of the step `convert`, random weights: what `factory:` names in the specs there."""

import torch
import torchvision
from torch import nn


def resnet18():
    return torchvision.models.resnet18(weights=None)


def resnet50():
    return torchvision.models.resnet50(weights=None)


def mobilenet_v3():
    return torchvision.models.mobilenet_v3_large(weights=None)


def vit_b_16():
    net = torchvision.models.vit_b_16(weights=None)
    # torchvision starts with a head of zeros: whatever came before it, the result would be 0.
    nn.init.normal_(net.heads.head.weight, std=0.02)
    return net


class Layer(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.inner, self.outer = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(self, x, bias):
        batch, length, width = x.shape
        query, key, value = (
            part(x).reshape(batch, length, self.heads, -1).transpose(1, 2)
            for part in (self.query, self.key, self.value)
        )
        scores = query @ key.transpose(-1, -2) * (width // self.heads) ** -0.5 + bias
        seen = (scores.softmax(-1) @ value).transpose(1, 2).reshape(batch, length, width)
        x = self.first(x + self.out(seen))
        return self.second(x + self.outer(nn.functional.gelu(self.inner(x))))


class Encoder(nn.Module):
    """As BERT: words and places, layers of attention under a mask, a pooled first word."""

    def __init__(self, words, width, heads, layers, longest):
        super().__init__()
        self.words, self.places = nn.Embedding(words, width), nn.Embedding(longest, width)
        self.norm = nn.LayerNorm(width)
        self.layers = nn.ModuleList(Layer(width, heads) for _ in range(layers))
        self.pooler = nn.Linear(width, width)

    def forward(self, tokens, mask):
        places = torch.arange(tokens.shape[1], device=tokens.device)
        x = self.norm(self.words(tokens) + self.places(places))
        bias = (1 - mask[:, None, None, :].to(x.dtype)) * -10000.0
        for layer in self.layers:
            x = layer(x, bias)
        return x, torch.tanh(self.pooler(x[:, 0]))


def encoder():
    return Encoder(words=8192, width=384, heads=12, layers=6, longest=128)
