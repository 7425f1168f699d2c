"""Where an engine is and when it sleeps: the real protocol, with an engine that computes on the CPU."""

from pathlib import Path

import pytest

from grpo.errors import EngineError, UserError
from grpo.parallel.engines import SharedEngine
from grpo.parallel.ranks import Ranks
from grpo.rollout.vllm import VllmEngine
from grpo.rollout.wire import Load

pytestmark = pytest.mark.engine


@pytest.fixture
def start(checkpoint, tmp_path):
    """start(sleep=True): an engine of a tiny model."""
    engines = []

    def make(**placement):
        engines.append(
            VllmEngine(
                checkpoint("untied"),
                dtype="float32",
                context=64,
                version=0,
                seed=0,
                log_file=tmp_path / "engine.log",
                scratch=tmp_path,
                load=Load(2, 2, 32),
                engine_args={"kv_cache_memory_bytes": 1 << 24},
                **placement,
            )
        )
        return engines[-1]

    yield make
    for engine in engines:
        engine.close()


def test_the_cpu_build_refuses_to_sleep_in_one_line(start):
    with pytest.raises(UserError, match=r"rollout\.sleep: vLLM's CPU build cannot sleep\. Leave it out$"):
        start(sleep=True)


def test_an_engine_with_a_device_sees_that_gpu_and_sleeps_around_an_update(start, requests, monkeypatch):
    """vLLM's CPU worker keeps its memory, but its scheduler does stop, and say so, as it would on a GPU."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    engine = start(device="cuda:1")
    assert b"CUDA_VISIBLE_DEVICES=6\0" in Path(f"/proc/{engine.pid}/environ").read_bytes()

    said, send = [], engine._child.send
    monkeypatch.setattr(engine._child, "send", lambda message: (said.append(message[:2]), send(message)))
    with engine.resting():  # not started to sleep
        assert said == []
    engine._sleeps = True
    asked = requests(2, 1, temperature=0.0)
    before = [rollout.token_ids for rollout in engine.generate(asked)]
    said.clear()
    with engine.resting():
        assert said == [("sleep", True)]
        said.append("update")
    assert said == [("sleep", True), "update", ("sleep", False)]
    assert sorted(before) == sorted(rollout.token_ids for rollout in engine.generate(asked))

    with SharedEngine(Ranks(0, 2, 1), engine, 0).resting():
        assert said[-1] == ("sleep", True)
    with SharedEngine(Ranks(1, 2, 1), None, 0).resting():
        assert said[-1] == ("sleep", False)

    engine.submit(asked)
    with pytest.raises(EngineError, match="still being drawn"), engine.resting():
        pass


def test_an_engine_that_does_not_do_as_told_stops_the_run(start, monkeypatch):
    engine = start()
    engine._sleeps = True
    send = engine._child.send
    monkeypatch.setattr(engine._child, "send", lambda message: send(("sleep", False)))
    with pytest.raises(EngineError, match="would not sleep"), engine.resting():
        pass
