"""The model being trained: names of what it exports, its steps, its precision, what it refuses."""

import pytest
import torch
import transformers
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from grpo.errors import RunError, UserError
from grpo.model import load_model
from grpo.packing import sequences_chunk
from grpo.policy import lr_at
from grpo.recipe import Train

SIZES = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 64,
    "initializer_range": 0.2,
    "pad_token_id": 0,
    "eos_token_id": 1,
    "bos_token_id": None,
}
CONFIGS = {
    "tied": lambda: transformers.LlamaConfig(**SIZES, tie_word_embeddings=True),
    "untied": lambda: transformers.LlamaConfig(**SIZES, tie_word_embeddings=False),
    "biases": lambda: transformers.Qwen2Config(**SIZES, tie_word_embeddings=True),
    "experts": lambda: transformers.Qwen2MoeConfig(
        **SIZES,
        num_experts=4,
        num_experts_per_tok=2,
        moe_intermediate_size=16,
        shared_expert_intermediate_size=16,
        tie_word_embeddings=False,
    ),
    "mixtral": lambda: transformers.MixtralConfig(
        **SIZES, num_local_experts=4, num_experts_per_tok=2, tie_word_embeddings=False
    ),
}


def saved(config, folder) -> str:
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config, dtype=torch.float32).save_pretrained(folder)
    return str(folder)


@pytest.fixture
def checkpoint(tmp_path):
    return lambda kind: saved(CONFIGS[kind](), tmp_path / kind)


@pytest.fixture
def policy(policy_of, recipe_of):
    return policy_of(recipe_of())[0]


@pytest.mark.parametrize("kind", CONFIGS)
def test_weights_go_out_under_the_names_and_values_of_the_checkpoint(kind, checkpoint, policy_of, recipe_of):
    folder = checkpoint(kind)
    policy, _ = policy_of(recipe_of(), folder)
    files, ours = load_file(f"{folder}/model.safetensors"), dict(policy.weights())
    assert set(ours) == set(files)
    assert all(torch.equal(ours[name], files[name]) for name in files)
    if kind in ("experts", "mixtral"):
        assert sum(".experts.3." in name for name in ours) == 6  # by expert: 3 matrices in 2 layers
    assert ("lm_head.weight" in ours) == (kind not in ("tied", "biases"))


def test_weights_go_out_in_the_engines_type_and_masters_stay_float32(checkpoint, policy_of, recipe_of):
    policy, _ = policy_of(recipe_of("model.dtype=bfloat16"), checkpoint("untied"))
    assert {tensor.dtype for _, tensor in policy.weights()} == {torch.bfloat16}
    assert {tensor.dtype for _, tensor in policy.named_masters()} == {torch.float32}
    masters = dict(policy.named_masters())
    assert all(torch.equal(tensor, masters[name].bfloat16()) for name, tensor in policy.weights())


def test_a_saved_policy_is_the_same_model(policy, tmp_path):
    policy.save(tmp_path / "out")
    files = load_file(tmp_path / "out" / "model.safetensors")
    assert all(torch.equal(tensor, files[name]) for name, tensor in policy.weights())
    assert len(files) == len(dict(policy.weights()))


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", [0.25, 0.5, 0.75, 1.0, 1.0, 1.0, 1.0, 1.0]),
        ("linear", [0.25, 0.5, 0.75, 1.0, 1.0, 0.75, 0.5, 0.25]),
        ("cosine", [0.25, 0.5, 0.75, 1.0, 1.0, 0.5 + 0.5**1.5, 0.5, 0.5 - 0.5**1.5]),
    ],
)
def test_learning_rates_by_hand(schedule, expected):
    train = Train(steps=8, warmup_steps=4, schedule=schedule, lr=1e-3)
    assert [lr_at(step, train) / 1e-3 for step in range(8)] == pytest.approx(expected)
    assert lr_at(0, Train(steps=1, schedule=schedule, lr=1e-3)) == 1e-3


def fill_gradients(policy, value):
    for parameter in policy.model.parameters():
        parameter.grad = torch.full_like(parameter, value)


def masters(policy):
    return {name: tensor.detach().clone() for name, tensor in policy.named_masters()}


def test_a_step_clips_and_uses_the_rate_of_its_step(policy_of, recipe_of):
    policy, _ = policy_of(recipe_of("train.warmup_steps=4", "train.max_grad_norm=0.5", "train.lr=0.01"))
    before = masters(policy)
    fill_gradients(policy, 2.0)
    count = sum(tensor.numel() for tensor in before.values())
    found = policy.step(1)
    assert found == {"grad_norm": pytest.approx(2.0 * count**0.5, rel=1e-4), "lr": 0.005}
    moved = torch.cat([(masters(policy)[name] - before[name]).flatten() for name in before])
    assert moved.tolist() == pytest.approx([-0.005] * count, rel=1e-3)  # Adam's first step: lr, by sign
    assert all(parameter.grad is None for parameter in policy.model.parameters())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_gradient_that_is_not_finite_stops_the_run_and_changes_nothing(policy, value):
    before = masters(policy)
    fill_gradients(policy, 1.0)
    next(policy.model.parameters()).grad[0, 0] = value
    with pytest.raises(RunError, match="step 3: the gradient is not finite"):
        policy.step(3)
    assert all(torch.equal(tensor, before[name]) for name, tensor in policy.named_masters())


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_masters_move_at_a_small_rate_in_either_precision(policy_of, recipe_of, dtype):
    policy, _ = policy_of(recipe_of(f"model.dtype={dtype}", "train.lr=1e-6"))
    before = masters(policy)
    chunk = sequences_chunk([[5, 6, 7, 8, 9, 10], [9, 8, 7, 6]])
    policy.backward(-policy.logprobs(chunk)[0].mean())
    policy.step(0)
    moved = {
        name: float((tensor != before[name]).float().mean())
        for name, tensor in policy.named_masters()
        if "embed" not in name  # rows of unseen tokens rest, but for the tied head
    }
    assert min(moved.values()) > 0.9
    rounded = [
        float((t.bfloat16() != before[n].bfloat16()).float().mean()) for n, t in policy.named_masters()
    ]
    assert max(rounded) < 0.1  # bfloat16 masters would have lost the step


def test_dropout_is_off_so_that_the_ratio_is_one(checkpoint, tmp_path):
    config = transformers.GPTNeoXConfig(
        vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=1, num_attention_heads=2,
        hidden_dropout=0.5, attention_dropout=0.5, max_position_embeddings=64,
    )  # fmt: skip
    model = load_model(saved(config, tmp_path / "neox"), torch.float32)
    dropouts = [module for module in model.modules() if isinstance(module, torch.nn.Dropout)]
    assert dropouts
    assert all(module.p == 0.0 for module in dropouts)


REFUSED = {
    "logits scaled": lambda: transformers.CohereConfig(**SIZES, logit_scale=0.9),
    "logits capped": lambda: transformers.Gemma2Config(
        **SIZES, head_dim=16, final_logit_softcapping=2.0, attn_logit_softcapping=None
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_model_that_changes_its_logits_is_refused(kind, dtype, tmp_path, policy_of, recipe_of):
    folder = saved(REFUSED[kind](), tmp_path / "model")
    with pytest.raises(UserError, match=r"model.path: \w+ itself gives other log-probs than we do") as error:
        policy_of(recipe_of(f"model.dtype={dtype}"), folder)
    assert error.value.exit_code == 2


def test_the_same_models_without_the_change_are_taken(tmp_path, policy_of, recipe_of):
    plain = transformers.CohereConfig(**SIZES, logit_scale=1.0)
    policy_of(recipe_of(), saved(plain, tmp_path / "cohere"))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_check_logits_leaves_the_packed_attention_in_place(policy_of, recipe_of, dtype):
    policy, _ = policy_of(recipe_of(f"model.dtype={dtype}"))
    assert policy.model.config._attn_implementation == "grpo_packed"
    apart = policy.sequence_logprobs([[5, 6, 7], [9, 8, 7, 6]])
    assert [len(row) for row in apart] == [2, 3]
    alone = policy.sequence_logprobs([[9, 8, 7, 6]])[0]
    assert apart[1] == pytest.approx(alone, abs=1e-6 if dtype == "float32" else 0.05)


def test_there_is_a_reference_only_for_a_kl_and_it_starts_as_the_policy(policy_of, recipe_of):
    assert policy_of(recipe_of())[1] is None
    policy, reference = policy_of(recipe_of("algorithm.kl.coef=0.1", "rollout.temperature=0.7"))
    chunk = sequences_chunk([[5, 6, 7, 8], [9, 8, 7]])
    first = reference.logprobs(chunk)
    assert torch.equal(first, policy.logprobs(chunk)[0].detach())
    assert not first.requires_grad
    fill_gradients(policy, 1.0)
    policy.step(0)
    assert torch.equal(reference.logprobs(chunk), first)  # frozen
    assert not torch.allclose(policy.logprobs(chunk)[0], first)


def test_the_kl_pulls_back(policy_of, recipe_of):
    from grpo.losses.kl import k3

    policy, reference = policy_of(recipe_of("algorithm.kl.coef=1.0", "train.lr=0.003"))
    chunk = sequences_chunk([[5, 6, 7, 8, 9, 10, 11, 12]])
    with torch.no_grad():
        for index, (_, tensor) in enumerate(policy.named_masters()):
            noise = torch.randn(tensor.shape, generator=torch.Generator().manual_seed(index))
            tensor += 0.1 * noise
    away = []
    for _ in range(30):
        logp, ref = policy.logprobs(chunk)[0], reference.logprobs(chunk)
        away.append(float((logp - ref).abs().mean().detach()))
        policy.backward(k3(logp, ref, coef=1.0).mean())
        policy.step(0)
    assert away[-1] < 0.5 * away[0]


@pytest.mark.parametrize("broken", ["no folder", "no weights", "no config", "cut weights"])
def test_a_checkpoint_that_is_not_there_is_the_users_mistake(broken, base, tmp_path):
    import shutil

    folder = tmp_path / "copy"
    if broken != "no folder":
        shutil.copytree(base, folder)
        weights = folder / "model.safetensors"
        if broken == "cut weights":
            weights.write_bytes(weights.read_bytes()[:-9])
        else:
            {"no weights": weights, "no config": folder / "config.json"}[broken].unlink()
    with pytest.raises(UserError, match=r"^model.path: no checkpoint could be loaded from") as error:
        load_model(folder, torch.float32)
    assert "\n" not in str(error.value)


def test_log_probs_are_taken_at_the_temperature(policy_of, recipe_of):
    warm, _ = policy_of(recipe_of("rollout.temperature=2.0"))
    chunk = sequences_chunk([[5, 6, 7, 8]])
    with torch.no_grad():
        logits = AutoModelForCausalLM.from_pretrained(warm.model.name_or_path)(
            torch.tensor([[5, 6, 7, 8]])
        ).logits
    expected = (logits[0, :-1] / 2).log_softmax(-1).gather(1, torch.tensor([[6], [7], [8]]))[:, 0]
    assert torch.allclose(warm.logprobs(chunk)[0], expected, atol=1e-5)
    at_one = logits[0, :-1].log_softmax(-1).gather(1, torch.tensor([[6], [7], [8]]))[:, 0]
    assert warm.sequence_logprobs([[5, 6, 7, 8]])[0] == pytest.approx(at_one.tolist(), abs=1e-5)


def test_gradient_checkpointing_gives_the_same_gradient(policy_of, recipe_of):
    chunk, gradients = sequences_chunk([[5, 6, 7, 8], [9, 8, 7]]), []
    for on in ("false", "true"):
        policy, _ = policy_of(recipe_of(f"train.gradient_checkpointing={on}"))
        assert policy.model.is_gradient_checkpointing == (on == "true")
        policy.backward(-policy.logprobs(chunk)[0].mean())
        gradients.append([p.grad.clone() for p in policy.model.parameters()])
    assert all(torch.allclose(a, b, atol=1e-7) for a, b in zip(*gradients, strict=True))
