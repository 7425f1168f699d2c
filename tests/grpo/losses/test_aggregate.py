import torch

from grpo.losses.aggregate import constant, sequence_mean, token_mean
from grpo.types import Totals

TOTALS = Totals(sequences=5, tokens=20, max_tokens=8)  # more than the chunk holds: others were skipped


def test_sequence_mean_gives_each_sequence_one_share(chunk_of):
    weight = sequence_mean(chunk_of([2, 4], [1.0, 1.0]), TOTALS)
    assert torch.allclose(weight, torch.tensor([0.1, 0.1, 0.05, 0.05, 0.05, 0.05]))
    assert weight.dtype == torch.float32


def test_token_mean_gives_each_token_one_share(chunk_of):
    assert token_mean(chunk_of([2, 1], [1.0, 1.0]), TOTALS).tolist() == torch.full((3,), 1 / 20).tolist()


def test_constant_does_not_know_lengths(chunk_of):
    assert constant(chunk_of([2, 1], [1.0, 1.0]), TOTALS).tolist() == torch.full((3,), 1 / 40).tolist()
