"""The vLLM engine against the reference, on real engines of tiny models."""

import os
import signal

import pytest
import torch
from transformers import AutoConfig

from grpo.errors import EngineError, UserError
from grpo.rollout.hf import HfEngine
from grpo.rollout.vllm import VllmEngine
from grpo.rollout.vllm_args import sequence_bytes, token_bytes
from grpo.rollout.vllm_child import drawn
from grpo.rollout.wire import Drawn, Load

pytestmark = pytest.mark.engine


def by_request(rollouts):
    return {(rollout.prompt_id, rollout.sample): rollout for rollout in rollouts}


def assert_same_greedy(engine, reference, requests):
    asked = requests(6, 1, temperature=0.0)
    ours, theirs = by_request(engine.generate(asked)), by_request(reference.generate(asked))
    assert ours.keys() == theirs.keys()
    for key, rollout in ours.items():
        other = theirs[key]
        assert rollout.token_ids == other.token_ids
        assert rollout.text == other.text
        assert (rollout.finish_reason, rollout.stop_reason) == (other.finish_reason, other.stop_reason)
        assert rollout.logprobs == pytest.approx(other.logprobs, abs=1e-4)


@pytest.mark.parametrize("kind", ["untied", "tied", "qwen2"])
def test_same_greedy_tokens_and_logprobs_as_transformers(
    kind, request, start_vllm, checkpoint, requests, probes
):
    engine = start_vllm(checkpoint(kind)) if kind == "qwen2" else request.getfixturevalue(kind)
    reference = HfEngine(checkpoint(kind), dtype="float32", context=128, version=0)
    assert_same_greedy(engine, reference, requests)
    for ours, theirs in zip(engine.logprobs(probes), reference.logprobs(probes), strict=True):
        assert len(ours) == 19
        assert ours == pytest.approx(theirs, abs=1e-4)

    before = {name: tensor.clone() for name, tensor in reference._model.named_parameters()}
    torch.manual_seed(3)
    changed = {name: tensor + 0.1 * torch.randn_like(tensor) for name, tensor in before.items()}
    assert engine.update_weights(changed.items(), 5) == reference.update_weights(changed.items(), 5)
    assert engine.version == reference.version == 5
    assert_same_greedy(engine, reference, requests)
    engine.update_weights(before.items(), 0)


def test_behaviour_logprobs_are_of_the_tempered_distribution(untied, requests):
    reference = HfEngine(untied.checkpoint, dtype="float32", context=128, version=0)
    for rollout in untied.generate(requests(3, 2, temperature=0.5)):
        ids = torch.tensor([rollout.prompt_ids + rollout.token_ids])
        logits = reference._model(ids).logits[0, len(rollout.prompt_ids) - 1 : -1]
        logprobs = (logits / 0.5).log_softmax(-1).gather(1, torch.tensor([rollout.token_ids]).T)[:, 0]
        assert rollout.logprobs == pytest.approx(logprobs.tolist(), abs=1e-4)


def test_rollouts_are_whole(untied, requests):
    asked = requests(4, 4)
    rollouts = list(untied.generate(asked))
    assert len(rollouts) == 16
    assert by_request(rollouts).keys() == {(r.prompt_id, r.sample) for r in asked}
    for rollout in rollouts:
        count = len(rollout.token_ids)
        assert rollout.sampled == (True,) * count
        assert rollout.versions == (0,) * count
        assert len(rollout.logprobs) == count
        assert rollout.error is None
        if rollout.finish_reason == "length":
            assert (count, rollout.stop_reason) == (24, None)
        else:
            assert (rollout.finish_reason, rollout.stop_reason, rollout.token_ids[-1]) == ("stop", 1, 1)


def test_a_seed_gives_its_completion_whatever_else_is_drawn(untied, requests):
    few, many = by_request(untied.generate(requests(2, 4))), by_request(untied.generate(requests(6, 4)))
    assert all(many[key].token_ids == rollout.token_ids for key, rollout in few.items())
    assert len({rollout.token_ids for rollout in many.values()}) == len(many)
    other = by_request(untied.generate(requests(2, 4, step=1)))
    assert all(other[key].token_ids != rollout.token_ids for key, rollout in few.items())


def test_more_prompt_tokens_than_a_step_takes(untied, requests):
    # vLLM's CPU build dies here with seeds and chunked prefill: 50 prompts of 100 tokens, 4096 a step.
    assert len(list(untied.generate(requests(50, 1, length=100)))) == 50


def test_a_cache_too_small_for_all_only_makes_them_wait(untied, start_vllm, checkpoint, requests):
    config = AutoConfig.from_pretrained(checkpoint("untied"))
    room = {"kv_cache_memory_bytes": 2 * sequence_bytes(token_bytes(config, 4), 128)}
    short, asked = start_vllm(checkpoint("untied"), **room), requests(8, 4, length=40, max_tokens=80)
    ours, ample = by_request(short.generate(asked)), by_request(untied.generate(asked))
    assert ours.keys() == ample.keys()
    for key, rollout in ours.items():
        assert rollout.token_ids == ample[key].token_ids
        assert rollout.logprobs == pytest.approx(ample[key].logprobs, abs=1e-4)


def test_requests_may_follow_while_rollouts_are_read(untied, requests):
    untied.submit(requests(2, 2, max_tokens=4))
    rollouts = untied.finished()
    first = next(rollouts)
    untied.submit(requests(2, 2, step=1, max_tokens=4))
    assert len([first, *rollouts]) == 8


def test_a_stop_string_ends_the_text_and_stays_in_it(untied, requests):
    free = next(untied.generate(requests(1, 1, temperature=0.0)))
    stop = free.text[3:5]
    rollout = next(untied.generate(requests(1, 1, temperature=0.0, stop=(stop, "\x00"))))
    assert rollout.text == free.text[: free.text.index(stop) + 2]
    assert (rollout.finish_reason, rollout.stop_reason) == ("stop", stop)
    assert rollout.token_ids == free.token_ids[: len(rollout.token_ids)]
    reference = HfEngine(untied.checkpoint, dtype="float32", context=128, version=0)
    same = next(reference.generate(requests(1, 1, temperature=0.0, stop=(stop, "\x00"))))
    assert (same.text, same.token_ids, same.stop_reason) == (rollout.text, rollout.token_ids, stop)


def test_a_request_that_does_not_fit_comes_back_as_an_error(untied, requests):
    asked = requests(1, 1, length=200) + requests(1, 1, step=1)
    rollouts = list(untied.generate(asked))
    failed = [rollout for rollout in rollouts if rollout.finish_reason == "error"]
    assert len(rollouts) == 2
    assert len(failed) == 1
    assert "128" in failed[0].error
    assert failed[0].token_ids == ()


def test_a_failed_update_leaves_an_engine_that_refuses(untied, requests, planted, policy_of):
    policy = policy_of(untied)
    with planted(untied, "lose one tensor"):
        untied.update_weights(policy.weights(), 1)
        assert untied.version == 0
        with pytest.raises(EngineError, match="the update to version 1 did not succeed"):
            untied.submit(requests(1, 1))
    assert len(list(untied.generate(requests(1, 1)))) == 1


def test_an_engine_that_loses_a_completion_or_gives_it_twice_is_stopped(untied, requests):
    untied.submit(requests(1, 2))
    with pytest.raises(EngineError, match="2 completions never came back"):
        untied._take(("rollouts", [], untied._submitted, True))
    untied._take(("rollouts", [], untied._submitted - 1, True))  # said before the last request arrived
    assert len(list(untied.finished())) == 2
    twice = ("rollouts", [Drawn(0, (), (), "", "stop", None, None)], untied._submitted, True)
    with pytest.raises(EngineError, match="completion 0 came back twice or was never asked for"):
        untied._take(twice)


def test_what_vllm_aborts_is_no_completion():
    from vllm.logprobs import FlatLogprobs
    from vllm.outputs import CompletionOutput, RequestOutput

    def ended(finish_reason):
        logprobs = FlatLogprobs([0], [1], [7], [-0.5], [1], [None])
        completion = CompletionOutput(0, "x", [7], -0.5, logprobs, finish_reason=finish_reason)
        return drawn(RequestOutput("3", None, [1], None, [completion], finished=True))

    assert ended("stop") == Drawn(3, (7,), (-0.5,), "x", "stop", 7, None)
    assert ended("length") == Drawn(3, (7,), (-0.5,), "x", "length", None, None)
    assert ended("abort")[4:] == ("abort", None, "vLLM ended it: abort")
    assert ended("error")[4:] == ("error", None, "vLLM ended it: error")
    assert ended("repetition")[4:] == ("error", None, "vLLM ended it: repetition")


def test_no_update_while_completions_are_drawn(untied, requests):
    untied.submit(requests(1, 1))
    with pytest.raises(EngineError, match="1 completions are still being drawn"):
        untied.update_weights([], 1)
    assert len(list(untied.finished())) == 1


def test_an_update_that_fails_inside_ends_the_engine(start_vllm, checkpoint, requests):
    engine = start_vllm(checkpoint("untied"))
    engine.fault_file.write_text("fail")
    with pytest.raises(EngineError, match="RuntimeError: the planted failure"):
        engine.update_weights([("model.norm.weight", torch.ones(64))], 1)
    with pytest.raises(EngineError, match="cannot be used"):
        engine.submit(requests(1, 1))


def test_a_hung_engine_is_ended(start_vllm, checkpoint, probes, monkeypatch):
    engine = start_vllm(checkpoint("untied"))
    monkeypatch.setattr("grpo.rollout.vllm.ANSWER_SECONDS", 1.0)
    os.kill(engine.pid, signal.SIGSTOP)
    with pytest.raises(EngineError, match="no answer in 1 s; the engine was ended"):
        engine.logprobs(probes)


def test_a_killed_engine_is_reported(start_vllm, checkpoint, requests):
    engine = start_vllm(checkpoint("untied"))
    engine.submit(requests(32, 1, max_tokens=100))
    os.kill(engine.pid, signal.SIGKILL)
    with pytest.raises(EngineError, match="killed by SIGKILL, out of memory perhaps"):
        list(engine.finished())


def test_no_room_for_the_cache_is_the_users_to_mend(checkpoint, tmp_path):
    with pytest.raises(UserError, match=r"no room for the KV cache.*VLLM_CPU_KVCACHE_SPACE") as raised:
        VllmEngine(
            checkpoint("untied"),
            dtype="float32",
            context=128,
            version=0,
            seed=0,
            log_file=tmp_path / "engine.log",
            scratch=tmp_path,
            load=Load(1, 1, 32),
            engine_args={"kv_cache_memory_bytes": 4096},
        )
    assert raised.value.exit_code == 2
