"""The engine a recipe names."""

import pytest

from grpo.recipe import RolloutSection
from grpo.rollout import start
from grpo.rollout.hf import HfEngine
from grpo.rollout.vllm import VllmEngine
from grpo.rollout.wire import Load


@pytest.mark.parametrize(
    ("name", "kind"), [("hf", HfEngine), pytest.param("vllm", VllmEngine, marks=pytest.mark.engine)]
)
def test_the_table(name, kind, checkpoint, requests, tmp_path, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")  # vLLM's log-probs would want one
    section = RolloutSection(engine=name, context=24)
    with start.start_engine(
        section,
        checkpoint=checkpoint("untied"),
        dtype="float32",
        version=7,
        log_file=tmp_path / "engine.log",
        scratch=tmp_path,
        seed=0,
        device="cpu",
        load=Load(4, 2, 16),
    ) as engine:
        assert isinstance(engine, kind)
        assert engine.version == 7
        (rollout,) = engine.generate(requests(1, 1, max_tokens=50, temperature=0.0))
        assert len(rollout.prompt_ids + rollout.token_ids) == 24  # the recipe's context, not the model's 256
