"""Defaults of vLLM's arguments and what a recipe may not change. No engine is started."""

import importlib.util

import pytest
import transformers

from grpo.errors import UserError
from grpo.recipe import RolloutSection
from grpo.rollout import vllm_args
from grpo.rollout.vllm_args import (
    CACHE_BYTES,
    LORA_RANKS,
    OURS,
    SPACE,
    argument_names,
    argument_problems,
    cache_bytes,
    cache_space,
    check_start,
    engine_arguments,
    start_error,
    token_bytes,
)
from grpo.rollout.wire import Load, Lora

pytest.importorskip("vllm")


STEP = Load(completions=512, group=1, tokens=64)


def arguments(checkpoint, *, context=128, on_cpu=True, load=STEP, lora=None, **overrides):
    return engine_arguments(
        checkpoint("untied"),
        dtype="float32",
        context=context,
        seed=3,
        on_cpu=on_cpu,
        load=load,
        overrides=overrides,
        lora=lora,
    )


def test_defaults_on_cpu(checkpoint, monkeypatch):
    monkeypatch.delenv(SPACE, raising=False)
    found = arguments(checkpoint)
    # a prompt of 64 tokens takes two blocks of 32, its completion two and one that the prompt began
    assert found["kv_cache_memory_bytes"] == 512 * 5 * 32 * token_bytes(
        transformers.AutoConfig.from_pretrained(checkpoint("untied")), 4
    )
    wanted = {
        "dtype": "float32",
        "seed": 3,
        "max_model_len": 128,
        "block_size": 32,
        "enforce_eager": True,
        "enable_chunked_prefill": False,
        "max_num_seqs": 512,
        "max_num_batched_tokens": 4096,
        "logprobs_mode": "processed_logprobs",
        "generation_config": "vllm",
        "enable_prefix_caching": True,
    }
    assert wanted.items() <= found.items()


@pytest.mark.parametrize(("completions", "sequences"), [(8, 64), (256, 256), (4096, 512)])
def test_the_cache_is_for_the_completions_of_a_step(checkpoint, completions, sequences, monkeypatch):
    monkeypatch.delenv(SPACE, raising=False)
    found = arguments(checkpoint, load=STEP._replace(completions=completions))
    most = arguments(checkpoint)
    assert (found["max_num_seqs"], most["max_num_seqs"]) == (sequences, 512)
    assert found["kv_cache_memory_bytes"] * 512 == most["kv_cache_memory_bytes"] * sequences


def test_a_prompt_is_in_the_cache_once_for_its_group(checkpoint, monkeypatch):
    monkeypatch.delenv(SPACE, raising=False)
    token = token_bytes(transformers.AutoConfig.from_pretrained(checkpoint("untied")), 4)
    found = arguments(checkpoint, load=Load(completions=256, group=8, tokens=8))
    prompt, own = 4, 2  # blocks: 120 tokens before the completion; 8 tokens behind what the prompt began
    assert found["kv_cache_memory_bytes"] == (32 * prompt + 256 * own) * 32 * token


@pytest.mark.parametrize(("rank", "room"), [(1, 1), (4, 8), (16, 16), (100, 128), (512, 512)])
def test_room_for_an_adapter(checkpoint, rank, room):
    lora = Lora(rank, alpha=32, targets=("q_proj", "o_proj"))
    found = arguments(checkpoint, lora=lora)
    assert (found["enable_lora"], found["max_loras"], found["max_lora_rank"]) == (True, 1, room)
    assert found["lora_target_modules"] == ["q_proj", "o_proj"]
    assert not any("lora" in name for name in arguments(checkpoint))


def test_the_ranks_are_vllms():
    from typing import get_args

    from vllm.config.lora import MaxLoRARanks

    assert get_args(MaxLoRARanks) == LORA_RANKS


def test_a_model_that_takes_no_adapter_is_a_line():
    error = start_error(ValueError("GPT2LMHeadModel does not support LoRA yet."), {}, on_cpu=True)
    assert str(error) == "model.adapter.sync: GPT2LMHeadModel does not support LoRA yet. Write merged"


def test_the_models_own_context(checkpoint):
    found = arguments(checkpoint, context=None)
    assert "max_model_len" not in found
    assert found["max_num_batched_tokens"] == 4096


def test_a_long_prompt_fits_one_step(checkpoint):
    assert arguments(checkpoint, context=9000)["max_num_batched_tokens"] == 9000


def test_the_recipe_goes_before_the_defaults(checkpoint):
    found = arguments(checkpoint, block_size=64, kv_cache_memory_bytes=1 << 20, enforce_eager=False)
    assert (found["block_size"], found["kv_cache_memory_bytes"], found["enforce_eager"]) == (
        64,
        1 << 20,
        False,
    )


def test_vllms_own_cache_variable_is_left_alone(checkpoint, monkeypatch):
    monkeypatch.setenv(SPACE, "1")
    assert "kv_cache_memory_bytes" not in arguments(checkpoint)


def test_defaults_on_gpu_leave_room_for_the_trainer(checkpoint):
    found = arguments(checkpoint, on_cpu=False)
    assert found["gpu_memory_utilization"] == 0.45
    assert (
        not {"block_size", "enforce_eager", "kv_cache_memory_bytes", "enable_chunked_prefill"} & found.keys()
    )
    assert arguments(checkpoint, on_cpu=False, gpu_memory_utilization=0.6)["gpu_memory_utilization"] == 0.6


def test_placement_on_gpu(checkpoint):
    """An engine alone on its GPU takes most of it; one that is to sleep says so to vLLM."""
    given = {"dtype": "float32", "context": 64, "seed": 0, "on_cpu": False, "load": STEP, "overrides": {}}
    alone = engine_arguments(checkpoint("untied"), **given, alone=True)
    assert alone["gpu_memory_utilization"] == 0.9
    assert alone["enable_sleep_mode"] is False
    assert engine_arguments(checkpoint("untied"), **given, sleep=True)["enable_sleep_mode"] is True


@pytest.mark.parametrize("name", OURS)
def test_what_the_contract_needs_cannot_be_set(name, checkpoint):
    with pytest.raises(UserError, match=f"engine_args.{name}: {name} cannot be set here"):
        arguments(checkpoint, **{name: "x"})


def test_an_unknown_argument_names_the_nearest(checkpoint):
    with pytest.raises(UserError, match=r"vLLM has no argument max_num_seq\. Did you mean max_num_seqs\?"):
        arguments(checkpoint, max_num_seq=3)


def test_the_names_are_vllms_own():
    from dataclasses import fields

    from vllm.engine.arg_utils import EngineArgs

    assert argument_names() == [field.name for field in fields(EngineArgs)]


def test_without_vllm_no_name_is_unknown(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert list(argument_problems({"max_num_seq": 3})) == []
    assert [name for name, *_ in argument_problems({"max_num_seq": 3, "dtype": "half"})] == ["dtype"]


def test_chunked_prefill_is_refused_on_cpu_only(checkpoint):
    with pytest.raises(UserError, match="seeded request"):
        arguments(checkpoint, enable_chunked_prefill=True)
    assert arguments(checkpoint, on_cpu=False, enable_chunked_prefill=True)["enable_chunked_prefill"]


def test_token_bytes_by_hand():
    llama = transformers.LlamaConfig(
        hidden_size=576, num_hidden_layers=30, num_attention_heads=9, num_key_value_heads=3
    )
    assert token_bytes(llama, 2) == 2 * 30 * 3 * 64 * 2
    latent = transformers.DeepseekV3Config(num_hidden_layers=4, kv_lora_rank=512, qk_rope_head_dim=64)
    assert token_bytes(latent, 4) == 4 * 576 * 4


def test_cache_bytes_by_hand():
    short, long = Load(10, 5, 40), Load(512, 8, 2048)
    # two prompts of 56 tokens in two blocks each, ten completions in two blocks and one that the prompt began
    blocks = 2 * 2 + 10 * 3
    assert cache_bytes(token=1000, longest=96, load=short, sequences=10, free=1 << 30) == blocks * 32 * 1000
    assert cache_bytes(token=100_000, longest=4096, load=long, sequences=512, free=1 << 40) == CACHE_BYTES
    assert cache_bytes(token=100_000, longest=4096, load=long, sequences=512, free=1 << 30) == 1 << 29
    least = (8192 + 64) << 20
    assert cache_bytes(token=1 << 20, longest=8192, load=long, sequences=4, free=1 << 40) == least
    with pytest.raises(
        UserError, match=r"a sequence of 4096 tokens takes 4\.1 GiB, half of the free memory is 2\.0 GiB"
    ):
        cache_bytes(token=1 << 20, longest=4096, load=short, sequences=4, free=1 << 32)


TOO_LITTLE = (
    "To serve at least one request with the model's max seq len (128), (0.0 GiB KV cache is needed, which is "
    "larger than the available KV cache memory (0.0 GiB). Based on the available memory, the estimated "
    "maximum model length is 9. Try increasing `gpu_memory_utilization` or decreasing `max_model_len`."
)


def test_no_room_says_what_is_needed_and_what_there_is_in_our_words(checkpoint, monkeypatch):
    monkeypatch.setattr(vllm_args, "free_memory", lambda: 3 << 30)
    monkeypatch.delenv(SPACE, raising=False)
    given = arguments(checkpoint, kv_cache_memory_bytes=4096)
    room = start_error(ValueError(TOO_LITTLE), given, on_cpu=True)
    assert str(room) == (
        "rollout: no room for the KV cache: a sequence of 128 tokens takes 96.0 KiB, the cache is given "
        "4.0 KiB, 3.0 GiB are free. Lower rollout.context or rollout.max_tokens, or set "
        f"rollout.engine_args.kv_cache_memory_bytes or {SPACE} (whole GiB)"
    )
    monkeypatch.setenv(SPACE, "7")
    assert "the cache is given 7.0 GiB" in str(start_error(ValueError(TOO_LITTLE), given, on_cpu=True))


def test_no_room_on_a_gpu_keeps_vllms_figures_and_not_its_advice():
    room = str(start_error(ValueError(TOO_LITTLE), {}, on_cpu=False))
    assert "larger than the available KV cache memory (0.0 GiB). Lower rollout.context" in room
    assert room.endswith("or set rollout.engine_args.gpu_memory_utilization")
    assert "Try" not in room


@pytest.mark.parametrize("value", ["0", "-1", "0.5", "4 GiB"])
def test_a_cache_of_no_size_is_told_before_anything_loads(value, monkeypatch):
    monkeypatch.setenv(SPACE, value)
    with pytest.raises(UserError, match=f"^{SPACE}: '{value}' is no size of a cache. Set it to whole GiB"):
        check_start(RolloutSection(engine="vllm"))
    check_start(RolloutSection(engine="hf"))


def test_a_cache_of_some_size_in_bytes(monkeypatch):
    monkeypatch.setenv(SPACE, "3")
    assert cache_space() == 3 << 30
    monkeypatch.setenv(SPACE, "")
    assert cache_space() is None


def test_vllms_words_that_name_the_users_part():
    room = start_error(
        ValueError("No available memory for the cache blocks. Try increasing …"), {}, on_cpu=False
    )
    assert room is not None
    assert room.what == "no room for the KV cache: No available memory for the cache blocks"
    long = start_error(
        ValueError("User-specified max_model_len (512) is greater than the derived\n max_model_len"),
        {},
        on_cpu=True,
    )
    assert long is not None
    assert long.where == "rollout.context"
    assert start_error(ValueError("something else"), {}, on_cpu=True) is None


def test_a_value_that_vllm_refuses_is_one_line_with_its_key():
    from vllm.config import SchedulerConfig

    with pytest.raises(ValueError, match="max_num_seqs") as caught:
        SchedulerConfig(max_num_seqs=0, max_model_len=128, is_encoder_decoder=False)
    refused = start_error(caught.value, {"max_num_seqs": 0}, on_cpu=True)
    assert str(refused) == (
        "rollout.engine_args.max_num_seqs: is 0. Input should be greater than or equal to 1"
    )
    assert start_error(caught.value, {}, on_cpu=True) is None
