"""The joined objective against the papers' equations in float64, and the things it must not depend on."""

from dataclasses import replace

import pytest
import torch

from grpo.attention import packed_forward
from grpo.logprobs import tiled_logprobs
from grpo.losses.objective import objective
from grpo.packing import pack
from grpo.tally import Tally
from grpo.types import Totals

MAX_TOKENS = 12
OPTIONS = {
    "minibatches": 1,
    "token_budget": 10_000,
    "max_tokens": MAX_TOKENS,
    "skip_zero_advantage": False,
    "mask_truncated": False,
}
PRESET_NAMES = ["grpo", "dr_grpo", "dapo", "rloo"]
TOTALS = Totals(sequences=2, tokens=3, max_tokens=MAX_TOKENS)


def paper_loss(name, sequences, coef, cap, entropy_coef):
    """Loss of a batch from the equations, a completion and a token at a time.

    Args:
        name: preset; `sequences`: dicts of logp, old, ref, behaviour, entropy [tokens] and the advantage A.
    """
    high = {"dapo": 0.28}.get(name, 0.2)
    total = sum(len(s["logp"]) for s in sequences)
    loss = torch.zeros((), dtype=torch.float64)
    for s in sequences:
        of_completion = torch.zeros((), dtype=torch.float64)
        for t in range(len(s["logp"])):
            w = torch.exp(s["logp"][t] - s["old"][t])
            clipped = torch.clamp(w, 1 - 0.2, 1 + high)
            gain = torch.min(w * s["A"], clipped * s["A"])
            rho = torch.exp(s["old"][t] - s["behaviour"][t]).detach().clamp(max=cap)
            r = torch.exp(s["ref"][t] - s["logp"][t])
            of_completion = of_completion + rho * gain - coef * (r - torch.log(r) - 1)
            of_completion = of_completion + entropy_coef * s["entropy"][t]
        if name == "grpo":
            loss = loss - of_completion / len(s["logp"]) / len(sequences)
        elif name == "dapo":
            loss = loss - of_completion / total
        else:
            loss = loss - of_completion / (len(sequences) * MAX_TOKENS)
    return loss


def random_inputs(chunk, seed=0):
    """Log-probs [T] of a chunk: policy, old, reference, and the policy's entropies."""
    generator = torch.Generator().manual_seed(seed)
    old = chunk.behaviour + 0.5 * torch.randn(len(chunk.behaviour), generator=generator)
    logp = (old + 0.3 * torch.randn(len(old), generator=generator)).requires_grad_()
    ref = logp.detach() + 0.5 * torch.randn(len(old), generator=generator)
    return logp, old, ref, torch.rand(len(old), generator=generator).requires_grad_()


@pytest.mark.parametrize("entropy_coef", [0.0, 0.02])
@pytest.mark.parametrize("coef", [0.0, 0.3])
@pytest.mark.parametrize("name", PRESET_NAMES)
def test_loss_and_gradient_are_the_papers(name, coef, entropy_coef, groups, preset):
    (batch,) = pack(groups, **OPTIONS)
    (chunk,) = batch.chunks
    logp, old, ref, entropy = random_inputs(chunk)
    algorithm = preset(name, entropy_coef, kl={"coef": coef}, correction={"cap": 1.5})
    loss = objective(
        logp, ref if coef else None, entropy, replace(chunk, old=old), batch.totals, algorithm, Tally()
    )
    loss.backward()

    values = {"logp": logp, "old": old, "ref": ref, "behaviour": chunk.behaviour, "entropy": entropy}
    exact = {key: value.detach().double().requires_grad_() for key, value in values.items()}
    sequences = []
    for s in range(len(chunk.completion_lengths)):
        own = chunk.sequence == s
        advantage = float(chunk.advantages[own][0])
        sequences.append({key: value[own] for key, value in exact.items()} | {"A": advantage})
    expected = paper_loss(name, sequences, coef, 1.5, entropy_coef)
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), abs=1e-6)
    assert torch.allclose(logp.grad.double(), exact["logp"].grad, atol=1e-7, rtol=1e-5)
    if entropy_coef:
        assert torch.allclose(entropy.grad.double(), exact["entropy"].grad, atol=1e-7)


def model_loss(model, groups, algorithm, **options):
    """Loss and gradient of all parameters through model, packing and objective; the tally too."""
    model.zero_grad()
    tally, loss = Tally(), 0.0
    (batch,) = pack(groups, **{**OPTIONS, **options})
    for chunk in batch.chunks:
        logp, entropy = tiled_logprobs(
            packed_forward(model, chunk),
            model.lm_head.weight,
            chunk.token_ids[chunk.predicted],
            temperature=0.8,
            entropy_grad=True,
        )
        ref = logp.detach() - 0.1
        share = objective(logp, ref, entropy, chunk, batch.totals, algorithm, tally)
        share.backward()
        loss += share.item()
    gradient = torch.cat([p.grad.flatten() for p in model.parameters()])
    return loss, gradient, tally.values()


@pytest.mark.parametrize("name", PRESET_NAMES)
def test_packed_equals_unpacked(name, groups, preset, tiny_llama):
    algorithm = preset(name, entropy=0.01, kl={"coef": 0.1})
    loss, gradient, _ = model_loss(tiny_llama, groups, algorithm)

    tiny_llama.zero_grad()
    tiny_llama.set_attn_implementation("eager")
    rollouts = [(r, a) for g in groups for r, a in zip(g.rollouts, g.advantages, strict=True)]
    sequences = []
    for r, advantage in rollouts:
        n = len(r.token_ids)
        logits = tiny_llama(torch.tensor([r.prompt_ids + r.token_ids])).logits[0, -n - 1 : -1]
        table = (logits / 0.8).log_softmax(-1)
        logp = table.gather(1, torch.tensor(r.token_ids)[:, None])[:, 0]
        fixed = logp.detach()
        sequences.append(
            {
                "logp": logp,
                "old": fixed,
                "ref": fixed - 0.1,
                "behaviour": torch.tensor(r.logprobs),
                "entropy": -(table.exp() * table).sum(-1),
                "A": advantage,
            }
        )
    expected = paper_loss(name, sequences, 0.1, 2.0, 0.01)
    expected.backward()
    one_by_one = torch.cat([p.grad.flatten() for p in tiny_llama.parameters()])
    assert loss == pytest.approx(expected.item(), abs=1e-5)
    assert torch.allclose(gradient, one_by_one, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", PRESET_NAMES)
def test_the_token_budget_changes_nothing(name, groups, preset, tiny_llama):
    algorithm = preset(name, kl={"coef": 0.1})
    loss, gradient, metrics = model_loss(tiny_llama, groups, algorithm)
    for budget in (1, 17, 40):
        other, moved, others = model_loss(tiny_llama, groups, algorithm, token_budget=budget)
        assert other == pytest.approx(loss, abs=1e-6)
        assert torch.allclose(moved, gradient, atol=1e-6)
        assert others == pytest.approx(metrics, abs=1e-5)


@pytest.mark.parametrize("name", PRESET_NAMES)
def test_skipping_zero_advantages_changes_nothing(name, groups, preset, tiny_llama):
    some = [replace(g, advantages=(0.0, *g.advantages[1:3], 0.0)) for g in groups]
    algorithm = preset(name)
    loss, gradient, _ = (full := model_loss(tiny_llama, some, algorithm))
    other, moved, _ = (fewer := model_loss(tiny_llama, some, algorithm, skip_zero_advantage=True))
    assert fewer[2]["loss"] == pytest.approx(full[2]["loss"], abs=1e-6)
    assert other == pytest.approx(loss, abs=1e-6)
    assert torch.allclose(moved, gradient, atol=1e-6)


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("name", PRESET_NAMES)
def test_a_step_moves_a_completion_the_way_its_advantage_says(name, sign, groups, preset, tiny_llama):
    rollout = groups[0].rollouts[0]
    rollout = replace(rollout, logprobs=(-20.0,) * len(rollout.logprobs))  # every weight is the cap
    (batch,) = pack([replace(groups[0], rollouts=(rollout,), advantages=(sign,))], **OPTIONS)
    (chunk,) = batch.chunks

    def logprobs():
        hidden = packed_forward(tiny_llama, chunk)
        targets = chunk.token_ids[chunk.predicted]
        return tiled_logprobs(hidden, tiny_llama.lm_head.weight, targets, temperature=1.0)[0]

    before = logprobs()
    objective(before, None, torch.zeros_like(before), chunk, batch.totals, preset(name), Tally()).backward()
    with torch.no_grad():
        for p in tiny_llama.parameters():
            p -= 1e-4 * p.grad
        change = (logprobs() - before).sum()
    assert sign * change > 1e-5


def test_metrics(chunk_of, preset):
    chunk = chunk_of([2, 1], [1.0, -1.0])
    old = torch.tensor([-1.0, -1.5, -1.0])
    logp = torch.tensor([-0.5, -1.5, -3.0])
    ref = logp - torch.tensor([0.0, 0.5, 0.0])
    entropy = torch.tensor([1.0, 2.0, 6.0])
    tally = Tally()
    loss = objective(logp, ref, entropy, replace(chunk, old=old), TOTALS, preset("dapo"), tally)
    found = tally.values()
    step = torch.tensor(-0.5)  # old - behaviour of the second token
    expected = {
        "policy/entropy": 3.0,
        "policy/kl": float(step.exp() - step - 1) / 3,
        "policy/clip_ratio_low": 1 / 3,
        "policy/clip_ratio_high": 1 / 3,
        "policy/ratio_max": float(torch.tensor(0.5).exp()),
        "mismatch/kl": float(step.exp() - step - 1) / 3,
        "mismatch/max": 0.5,
        "mismatch/weight_mean": float(2 + step.exp()) / 3,
        "loss": loss.item(),
    }
    assert found == pytest.approx(expected, abs=1e-6)


def test_without_reference_there_is_no_kl_metric(chunk_of, preset):
    tally, logp = Tally(), torch.tensor([-1.0])
    objective(logp, None, torch.zeros(1), chunk_of([1], [1.0]), TOTALS, preset("grpo"), tally)
    assert "policy/kl" not in tally.values()


def test_on_policy_the_ratio_is_one_and_nothing_is_clipped(groups, preset, tiny_llama):
    _, _, found = model_loss(tiny_llama, groups, preset("grpo"))
    assert found["policy/ratio_max"] == 1.0
    assert found["policy/clip_ratio_low"] == found["policy/clip_ratio_high"] == 0.0


def test_the_correction_leaves_kl_and_entropy_alone(chunk_of, preset):
    chunk = chunk_of([1], [0.0], behaviour=torch.tensor([-5.0]))
    logp, ref, entropy = torch.tensor([-1.0]), torch.tensor([-2.0]), torch.tensor([0.7])
    algorithm = preset("dapo", entropy=0.1, kl={"coef": 1.0})
    loss = objective(logp, ref, entropy, chunk, replace(TOTALS, tokens=1), algorithm, Tally())
    assert loss.item() == pytest.approx(float(torch.tensor(-1.0).exp()) - 0.1 * 0.7)
