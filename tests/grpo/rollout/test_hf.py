"""The reference engine by itself: sampling, ends, errors. Its agreement with vLLM is in test_vllm.py."""

from collections import Counter

import pytest
import torch

from grpo.errors import EngineError
from grpo.rollout.hf import HfEngine, _sample
from grpo.types import Sampling


@pytest.fixture(scope="module")
def engine(checkpoint):
    return HfEngine(checkpoint("tied"), dtype="float32", context=32, version=4)


def test_seeds_give_their_completions(engine, requests):
    first, again = (list(engine.generate(requests(2, 2))) for _ in range(2))
    assert [r.token_ids for r in first] == [r.token_ids for r in again]
    assert len({r.token_ids for r in first}) == 4
    assert all(version == 4 for r in first for version in r.versions)


def test_logprobs_are_those_of_the_whole_sequence(engine, requests):
    for rollout in engine.generate(requests(2, 1)):
        (whole,) = engine.logprobs([rollout.prompt_ids + rollout.token_ids])
        assert rollout.logprobs == pytest.approx(whole[len(rollout.prompt_ids) - 1 :], abs=1e-4)


def test_the_context_ends_a_completion(engine, requests):
    (rollout,) = engine.generate(requests(1, 1, max_tokens=500, temperature=0.0))
    assert len(rollout.token_ids) == 23  # 32 less a prompt of 9
    assert rollout.finish_reason == "length"
    (full,) = engine.generate(requests(1, 1, length=32))
    assert (full.finish_reason, full.error) == ("error", "the prompt of 32 tokens fills the context")


def test_sampling_follows_the_distribution():
    logits = torch.tensor([2.0, 1.0, 0.0, -1.0])
    generator = torch.Generator().manual_seed(0)
    drawn = [_sample(logits, Sampling(temperature=0.5), generator) for _ in range(4000)]
    probs = (logits / 0.5).softmax(-1)
    counts = Counter(token for token, _ in drawn)
    for token, prob in enumerate(probs.tolist()):
        assert counts[token] / 4000 == pytest.approx(prob, abs=0.03)
    assert all(logprob == pytest.approx(float(probs[token].log()), abs=1e-5) for token, logprob in drawn)


def test_top_p_cuts_the_tail_and_renormalises():
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05]).log()
    generator = torch.Generator().manual_seed(0)
    drawn = dict(_sample(logits, Sampling(top_p=0.7), generator) for _ in range(300))
    assert {token: round(2.718281828**logprob, 4) for token, logprob in drawn.items()} == {0: 0.625, 1: 0.375}


def test_an_unknown_tensor_is_refused(engine):
    with pytest.raises(EngineError, match=r"the model has no tensor model\.other"):
        engine.update_weights([("model.other.weight", torch.zeros(1))], 5)
    assert engine.version == 4
