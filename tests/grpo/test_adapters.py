"""LoRA and DoRA: what is trained, what is exported, the base as reference, what is saved, what is refused."""

import json

import pytest
import torch
import transformers
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from grpo.adapters import Adapter, in_float32, merged_weight, resolve_targets
from grpo.checkpoint import load_state, save_checkpoint
from grpo.errors import UserError
from grpo.model import check_logits, load_model
from grpo.packing import sequences_chunk
from grpo.policy import Reference, load_policy, make_accelerator
from grpo.recipe import Adapter as Spec
from grpo.recipe import Model
from grpo.rollout.sync import group_of

SEQUENCES = [[5, 6, 7, 8, 9, 10, 11], [9, 8, 7]]
EXPERTS = {
    "vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
    "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 64,
    "num_local_experts": 4, "num_experts_per_tok": 2, "tie_word_embeddings": False,
    "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": None,
}  # fmt: skip


@pytest.fixture
def adapted(recipe_of, base, tokenizer):
    """adapted("{kind: dora}", …): policy and reference of the tiny base with that adapter."""

    def make(spec="{}", *overrides, checkpoint=None):
        recipe = recipe_of(f"model.adapter={spec}", *overrides)
        return load_policy(recipe, checkpoint or base, base, tokenizer)

    return make


def stir(policy, size=0.1):
    """Moves every trained tensor away from where it started."""
    with torch.no_grad():
        for index, (_, tensor) in enumerate(policy.named_masters()):
            noise = torch.randn(tensor.shape, generator=torch.Generator().manual_seed(index))
            tensor += size * noise


def state(policy):
    return {name: tensor.detach().clone() for name, tensor in policy.model.state_dict().items()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def train_a_little(policy):
    policy.backward(-policy.logprobs(sequences_chunk(SEQUENCES))[0].mean())
    policy.step(0)


def plain_logprobs(model):
    """Of SEQUENCES by transformers' own forward; model: anything that gives logits."""
    found = []
    for sequence in SEQUENCES:
        ids = torch.tensor([sequence])
        with torch.no_grad():
            logprobs = model(input_ids=ids).logits[0, :-1].float().log_softmax(-1)
        found.append(logprobs.gather(1, ids[0, 1:, None])[:, 0])
    return torch.cat(found)


def ours(policy):
    return torch.tensor([one for row in policy.sequence_logprobs(SEQUENCES) for one in row])


@pytest.mark.parametrize("kind", ["lora", "dora"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_only_the_adapter_is_trained_in_float32_on_a_base_in_the_compute_type(adapted, kind, dtype, base):
    policy, _ = adapted(f"{{kind: {kind}, rank: 4}}", f"model.dtype={dtype}")
    before = state(policy)
    train_a_little(policy)
    train_a_little(policy)
    after = state(policy)
    trained = {name for name, _ in policy.named_masters()}
    assert trained == {name for name in before if ".lora_" in name}
    assert {before[name].dtype for name in trained} == {torch.float32}
    assert {before[name].dtype for name in before.keys() - trained} == {getattr(torch, dtype)}
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == trained
    groups = {group_of(name).split(".self_attn.q_proj.")[1] for name in trained if "q_proj" in name}
    assert groups == {"lora_AB.default.weight"} | (
        {"lora_magnitude_vector.default.weight"} if kind == "dora" else set()
    )
    assert sum(len(group["params"]) for group in policy.optimizer.param_groups) == len(trained)


@pytest.mark.parametrize("kind", ["lora", "dora"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_it_starts_as_its_base(adapted, kind, dtype):
    policy, reference = adapted(f"{{kind: {kind}}}", f"model.dtype={dtype}", "algorithm.kl.coef=0.1")
    chunk = sequences_chunk(SEQUENCES)
    assert torch.allclose(policy.logprobs(chunk)[0], reference.logprobs(chunk), atol=1e-6)


@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_merged_weights_do_what_base_and_adapter_do(adapted, kind, base):
    policy, _ = adapted(f"{{kind: {kind}, rank: 4, alpha: 6}}")
    stir(policy)
    before = state(policy)
    weights = dict(policy.weights())
    assert same(state(policy), before)  # nothing was merged in place
    assert not any(layer._caches for layer in policy.adapter.layers.values())
    files = load_file(f"{base}/model.safetensors")
    assert weights.keys() == files.keys()
    moved = {name for name in files if not torch.equal(weights[name], files[name])}
    assert moved == {name for name in files if name.endswith("_proj.weight")}
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    far = (plain_logprobs(model) - ours(policy)).abs().max()
    model.load_state_dict(weights, strict=False)  # but for the tied head
    assert far > 0.1
    assert (plain_logprobs(model) - ours(policy)).abs().max() < 1e-5


def test_merged_weights_by_hand(adapted):
    policy, _ = adapted("{kind: lora, rank: 4, alpha: 6}")
    other, _ = adapted("{kind: dora, rank: 4, alpha: 6}")
    for one, is_dora in ((policy, False), (other, True)):
        stir(one)
        layer = one.adapter.layers["model.layers.0.self_attn.q_proj"]
        whole = layer.base_layer.weight + 6 / 4 * (
            layer.lora_B["default"].weight @ layer.lora_A["default"].weight
        )
        if is_dora:
            lengths = layer.lora_magnitude_vector["default"].weight
            whole = lengths[:, None] * whole / whole.norm(dim=1, keepdim=True)
        assert torch.allclose(merged_weight(layer), whole, atol=1e-6)


def test_of_full_rank_it_can_be_any_update(adapted, base):
    """The difference of two weights, factored by hand into A and B, makes the merged model the second one."""
    policy, _ = adapted("{rank: 128, alpha: 128}")  # at least as large as any side of a matrix here
    wanted = {}
    for index, (name, layer) in enumerate(policy.adapter.layers.items()):
        out, inside = layer.base_layer.weight.shape
        assert min(out, inside) <= 128
        update = 0.1 * torch.randn(out, inside, generator=torch.Generator().manual_seed(index))
        a, b = layer.lora_A["default"].weight.data.zero_(), layer.lora_B["default"].weight.data.zero_()
        if inside <= 128:
            a[:inside], b[:, :inside] = torch.eye(inside), update
        else:
            a[:out], b[:, :out] = update, torch.eye(out)
        wanted[f"{name}.weight"] = layer.base_layer.weight + update
    full = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    full.load_state_dict(wanted, strict=False)
    assert (plain_logprobs(full) - ours(policy)).abs().max() < 1e-5
    merged = dict(policy.weights())
    assert all(torch.allclose(merged[name], wanted[name], atol=1e-6) for name in wanted)


def test_a_bfloat16_base_is_summed_in_float32_and_rounded_once(adapted):
    policy, _ = adapted("{rank: 4}", "model.dtype=bfloat16")
    stir(policy)
    for name, layer in policy.adapter.layers.items():
        whole = layer.base_layer.weight.float() + layer.get_delta_weight("default")
        assert torch.equal(dict(policy.weights())[f"{name}.weight"], whole.bfloat16())


def test_the_adapter_alone_goes_out_under_pefts_names(adapted, tmp_path):
    policy, _ = adapted("{rank: 4, sync: adapter}", "rollout.engine=vllm")
    stir(policy)
    policy.save(tmp_path)
    files = load_file(tmp_path / "adapter_model.safetensors")
    assert same(dict(policy.weights()), files)
    assert "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight" in files
    assert (policy.adapter.lora.rank, policy.adapter.lora.alpha) == (4, 32)
    assert policy.adapter.lora.targets == (
        "down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj",
    )  # fmt: skip
    assert adapted("{}")[0].adapter.lora is None


def test_experts_go_out_by_expert_and_stay_as_they_are(tmp_path, recipe_of, policy_of):
    torch.manual_seed(0)
    config = transformers.MixtralConfig(**EXPERTS)
    AutoModelForCausalLM.from_config(config, dtype=torch.float32).save_pretrained(tmp_path / "moe")
    policy, _ = policy_of(recipe_of("model.adapter={rank: 4}"), str(tmp_path / "moe"))
    stir(policy)
    files, weights = load_file(tmp_path / "moe" / "model.safetensors"), dict(policy.weights())
    assert weights.keys() == files.keys()
    moved = {name for name in files if not torch.equal(weights[name], files[name])}
    assert moved == {name for name in files if "self_attn" in name}  # experts are no linear layers here


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_reference_is_the_base_exactly_and_leaves_the_policy_as_it_was(adapted, dtype, base):
    policy, reference = adapted("{rank: 4}", f"model.dtype={dtype}", "algorithm.kl.coef=0.1")
    copy = load_model(base, getattr(torch, dtype))  # as full fine-tuning has it
    frozen = Reference(copy, make_accelerator(Model(dtype=dtype, device="cpu")), 1.0)
    chunk = sequences_chunk(SEQUENCES)
    start = reference.logprobs(chunk)
    assert torch.equal(start, frozen.logprobs(chunk))
    stir(policy)
    before, moved = state(policy), policy.logprobs(chunk)[0]
    gradient = [parameter.requires_grad for parameter in policy.model.parameters()]
    found = reference.logprobs(chunk)
    assert torch.equal(found, start)
    assert not found.requires_grad
    assert (moved - found).abs().max() > 0.01
    assert same(state(policy), before)
    assert [parameter.requires_grad for parameter in policy.model.parameters()] == gradient
    assert torch.equal(policy.logprobs(chunk)[0], moved)


def test_the_reference_between_forward_and_backward_changes_no_gradient(adapted):
    gradients = []
    for asked in (False, True):
        policy, reference = adapted("{rank: 4}", "algorithm.kl.coef=0.1")
        stir(policy)
        chunk = sequences_chunk(SEQUENCES)
        logp, _ = policy.logprobs(chunk)
        if asked:
            reference.logprobs(chunk)
        policy.backward(-logp.mean())
        gradients.append([tensor.grad.clone() for _, tensor in policy.named_masters()])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_gradient_checkpointing_gives_the_same_gradient(adapted, kind):
    gradients = []
    for on in ("false", "true"):
        policy, _ = adapted(f"{{kind: {kind}, rank: 4}}", f"train.gradient_checkpointing={on}")
        stir(policy)
        assert policy.model.is_gradient_checkpointing == (on == "true")
        policy.backward(-policy.logprobs(sequences_chunk(SEQUENCES))[0].mean())
        gradients.append([tensor.grad.clone() for _, tensor in policy.named_masters()])
    assert all(torch.allclose(a, b, atol=1e-7) for a, b in zip(*gradients, strict=True))
    assert min(float(gradient.abs().max()) for gradient in gradients[0]) > 0


def test_the_seed_is_the_recipes_and_nothing_else_random_moves(adapted):
    torch.manual_seed(1)
    one, next_one = adapted("{}")[0], torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(1), next_one)
    two, three = adapted("{}")[0], adapted("{}", "output.seed=7")[0]
    first = "model.layers.0.self_attn.q_proj.lora_A.default.weight"
    assert torch.equal(state(one)[first], state(two)[first])
    assert not torch.equal(state(one)[first], state(three)[first])


def test_the_check_of_log_probs_sees_the_adapter_and_leaves_it(adapted, base, monkeypatch):
    """An adapter on the output head, which our log-probs read past, is what the check has to stop."""
    monkeypatch.setattr("grpo.adapters.resolve_targets", lambda model, targets: ["lm_head"])
    monkeypatch.setattr("grpo.adapters.head_name", lambda model: "")
    with pytest.raises(UserError, match="itself gives other log-probs than we do"):
        adapted("{}")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_check_leaves_the_weights_bit_for_bit(adapted, dtype):
    policy, _ = adapted("{rank: 4}", f"model.dtype={dtype}")
    stir(policy)
    before, hooks = state(policy), [len(module._forward_hooks) for module in policy.model.modules()]
    with policy.adapter.checkable():
        assert not same(state(policy), before)
        check_logits(policy.model, policy.device)
    assert same(state(policy), before)
    assert [len(module._forward_hooks) for module in policy.model.modules()] == hooks


def test_in_float32_is_the_model_of_widened_weights(base):
    narrow = load_model(base, torch.bfloat16).requires_grad_(False)
    wide = load_model(base, torch.bfloat16).requires_grad_(False).float()
    for model in (narrow, wide):
        model.set_attn_implementation("eager")
    with in_float32(narrow):
        assert torch.equal(plain_logprobs(narrow), plain_logprobs(wide))
    assert {parameter.dtype for parameter in narrow.parameters()} == {torch.bfloat16}
    assert not torch.equal(plain_logprobs(narrow), plain_logprobs(wide))


def test_a_checkpoint_is_pefts_and_brings_back_everything_bit_for_bit(adapted, base, tmp_path):
    policy, _ = adapted("{kind: dora, rank: 4}")
    train_a_little(policy)
    policy.version = 7
    folder = save_checkpoint(tmp_path, policy, {"tokens": 5})
    assert {path.name for path in folder.iterdir()} == {
        "adapter_config.json", "adapter_model.safetensors", "tokenizer.json", "tokenizer_config.json",
        "trainer.pt", "complete.json",
    }  # fmt: skip
    config = json.loads((folder / "adapter_config.json").read_text())
    assert (config["base_model_name_or_path"], config["use_dora"], config["r"]) == (base, True, 4)
    loaded = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), folder
    )
    assert (plain_logprobs(loaded) - ours(policy)).abs().max() < 1e-5
    other, reference = adapted("{kind: dora, rank: 4}", "algorithm.kl.coef=0.1", checkpoint=str(folder))
    other.restore(load_state(folder))
    assert other.version == 7
    for one in (policy, other):
        train_a_little(one)  # momentum and second moments count here
    assert same(state(policy), state(other))
    plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    found = reference.logprobs(sequences_chunk(SEQUENCES))
    assert (found - plain_logprobs(plain)).abs().max() < 1e-5  # still the base


def test_another_adapters_checkpoint_is_refused(adapted, tmp_path):
    adapted("{targets: [q_proj]}")[0].save(tmp_path)
    policy, _ = adapted("{targets: [v_proj]}")
    with pytest.raises(UserError, match="holds another adapter"):
        policy.adapter.load(tmp_path)


@pytest.mark.parametrize(
    ("targets", "adapted_layers"),
    [
        ("[q_proj, v_proj]", {"q_proj", "v_proj"}),
        ("down_proj", {"down_proj"}),
        ("[self_attn.k_proj]", {"k_proj"}),
        ("all-linear", {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}),
    ],
)
def test_targets(adapted, targets, adapted_layers):
    policy, _ = adapted(f"{{targets: {targets}}}")
    assert {name.rpartition(".")[2] for name in policy.adapter.layers} == adapted_layers


@pytest.mark.parametrize(
    ("targets", "says"),
    [
        (["q_proj", "query"], "'query' matches no linear layer"),
        (["lm_head"], "'lm_head' is the output head, which stays as it is"),
        (["embed_tokens"], "'embed_tokens' matches no linear layer"),
        (["all-linear", "q_proj"], "'all-linear' matches no linear layer"),
    ],
)
def test_targets_that_match_nothing_are_told_with_those_that_exist(base, targets, says):
    model = load_model(base, torch.float32)
    with pytest.raises(UserError) as error:
        resolve_targets(model, targets)
    assert str(error.value) == (
        f"model.adapter.targets: {says}. "
        "Write all-linear, or some of down_proj, gate_proj, k_proj, o_proj, q_proj, up_proj, v_proj"
    )
    assert error.value.exit_code == 2


def test_alpha_over_rank_scales(base):
    for rank, alpha in ((4, 8), (8, 8)):
        adapter = Adapter(load_model(base, torch.float32), Spec(rank=rank, alpha=alpha), seed=0)
        assert {layer.scaling["default"] for layer in adapter.layers.values()} == {alpha / rank}
