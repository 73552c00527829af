"""LoRA adapters (Hu et al. 2021, arXiv:2106.09685) of a small transformer that is frozen: the adapters alone travel.

The transformer stands in for one that was trained before; `model()` would load that one, from the task's image or as the file of
task.initialModel. Sites classify sequences of tokens: does one token come more often than another? Everything is made on the spot.
"""

import torch
from torch import nn

from fedtrainer import Data, Site, Task

TOKENS, LENGTH, WIDTH, LAYERS = 32, 16, 128, 2
TRAIN, TEST = 256, 128


class LoRA(nn.Module):
    """A frozen linear layer and its correction of a low rank: x W + x A B * scale. B is zero at first.

    A lower rank has the first columns of A and the first rows of B. The scale is that of every rank: alpha / rank would make the same
    numbers another correction at another site.
    """

    def __init__(self, frozen: nn.Linear, rank: int, scale: float = 2.0) -> None:
        super().__init__()
        self.frozen, self.scale = frozen.requires_grad_(False), scale
        self.lora_A = nn.Parameter(torch.randn(frozen.in_features, rank) / frozen.in_features**0.5)
        self.lora_B = nn.Parameter(torch.zeros(rank, frozen.out_features))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """The layer's output, corrected."""
        return self.frozen(inputs) + inputs @ self.lora_A @ self.lora_B * self.scale


class Block(nn.Module):
    """Attention of four heads, then a network per position; adapters on query and value."""

    def __init__(self, rank: int) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.query, self.value = LoRA(self.query, rank), LoRA(self.value, rank)
        self.before, self.between = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.wide = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Both parts, each added to what came in."""
        found = self.before(x)
        parts = (part(found).unflatten(2, (4, -1)).transpose(1, 2) for part in (self.query, self.key, self.value))
        seen = nn.functional.scaled_dot_product_attention(*parts).transpose(1, 2).flatten(2)
        x = x + self.out(seen)
        return x + self.wide(self.between(x))


class Classifier(nn.Module):
    """The transformer, frozen but for its adapters, and a new head."""

    def __init__(self, rank: int) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(TOKENS, WIDTH), nn.Parameter(torch.randn(LENGTH, WIDTH) * 0.02)
        self.blocks = nn.Sequential(*(Block(rank) for _ in range(LAYERS)))
        self.norm, self.classifier = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 2)
        for name, parameter in self.named_parameters():
            parameter.requires_grad_("lora_" in name or name.startswith("classifier"))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Scores of the two classes."""
        return self.classifier(self.norm(self.blocks(self.tokens(tokens) + self.places)).mean(dim=1))


class Adapters(Task):
    """Which of two tokens comes more often: each site draws tokens by habits of its own."""

    def __init__(self, rank: int = 4) -> None:
        self.rank = rank

    def model(self, width: float = 1.0) -> nn.Module:
        """What does not train does not travel. A site whose modelWidth is 0.5 has adapters of half the rank."""
        return Classifier(max(1, round(self.rank * width)))

    def data(self, site: Site) -> Data:
        """Drawn from the site's seed."""
        generator = torch.Generator().manual_seed(site.seed % 2**31)
        habits = torch.rand(TOKENS, generator=generator) + 0.1
        habits[:2] = 3.0
        count = TRAIN + TEST
        tokens = torch.multinomial(habits.expand(count, -1), LENGTH, replacement=True, generator=generator)
        targets = ((tokens == 0).sum(dim=1) > (tokens == 1).sum(dim=1)).long()
        return Data((tokens[:TRAIN], targets[:TRAIN]), (tokens[TRAIN:], targets[TRAIN:]))


def task(rank: int = 4) -> Task:
    """Called with task.args."""
    return Adapters(rank)
