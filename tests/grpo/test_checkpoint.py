"""Checkpoints are whole or they do not count; prune keeps the newest."""

import shutil

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from grpo.checkpoint import good_checkpoints, is_good, load_state, prune, save_checkpoint


@pytest.fixture
def policy(policy_of, recipe_of):
    return policy_of(recipe_of())[0]


@pytest.fixture
def saved(policy, tmp_path):
    """saved(2, 4, …): checkpoints of these versions in the folder it returns."""

    def save(*versions: int):
        for policy.version in versions:
            save_checkpoint(tmp_path, policy, {"tokens": 10 * policy.version})
        return tmp_path

    return save


def names(root):
    return [path.name for path in good_checkpoints(root)]


def train_a_little(policy):
    for parameter in policy.model.parameters():
        parameter.grad = torch.ones_like(parameter)
    policy.step(0)


def test_a_checkpoint_brings_back_weights_optimiser_and_state(policy, tmp_path, policy_of, recipe_of):
    train_a_little(policy)
    policy.version = 7
    folder = save_checkpoint(tmp_path, policy, {"tokens": 5, "prompts": {"epoch": 1, "deferred": [3]}})
    state = load_state(folder)
    assert (state["version"], state["tokens"], state["prompts"]["deferred"]) == (7, 5, [3])
    other, _ = policy_of(recipe_of(), str(folder))
    other.restore(state)
    assert other.version == 7
    for one in (policy, other):
        train_a_little(one)  # momentum and second moments count here
    ours, theirs = policy.model.state_dict(), other.model.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_transformers_loads_it_as_it_is(saved):
    folder = saved(1) / "step-1"
    assert AutoModelForCausalLM.from_pretrained(folder).dtype == torch.float32
    assert AutoTokenizer.from_pretrained(folder).decode([4, 5]) == "</think><answer>"


def test_versions_sort_as_numbers(saved):
    assert names(saved(2, 10, 9)) == ["step-2", "step-9", "step-10"]


@pytest.mark.parametrize("damaged", ["model.safetensors", "trainer.pt", "config.json"])
@pytest.mark.parametrize("how", ["truncated", "missing"])
def test_a_damaged_newest_leaves_the_older_one(saved, damaged, how):
    root = saved(2, 4)
    file = root / "step-4" / damaged
    if how == "truncated":
        file.write_bytes(file.read_bytes()[:-1])
    else:
        file.unlink()
    assert names(root) == ["step-2"]


@pytest.mark.parametrize("seal", [None, "", '{"config.json": 7'])
def test_without_a_whole_seal_it_is_not_good(saved, seal):
    path = saved(3) / "step-3" / "complete.json"
    path.unlink() if seal is None else path.write_text(seal)
    assert not is_good(path.parent)


def test_a_save_that_fails_leaves_nothing_that_counts_and_the_old_one_whole(saved, policy, monkeypatch):
    root = saved(2)

    def full(*args, **kwargs):
        raise OSError("No space left on device")

    policy.version = 4
    monkeypatch.setattr("grpo.checkpoint.torch.save", full)
    with pytest.raises(OSError, match="No space"):
        save_checkpoint(root, policy, {})
    assert (root / "step-4.partial" / "model.safetensors").exists()  # it was under way
    policy.version = 2
    with pytest.raises(OSError, match="No space"):
        save_checkpoint(root, policy, {})
    assert names(root) == ["step-2"]
    monkeypatch.undo()
    policy.version = 4
    save_checkpoint(root, policy, {})
    assert names(root) == ["step-2", "step-4"]
    assert not (root / "step-4.partial").exists()


def test_a_partial_folder_never_counts_however_whole(saved):
    root = saved(2)
    shutil.copytree(root / "step-2", root / "step-9.partial")
    assert names(root) == ["step-2"]


def test_prune_keeps_the_newest_good_ones(saved):
    root = saved(2, 4, 6, 10)
    (root / "step-10" / "config.json").unlink()
    prune(root, 2)
    assert names(root) == ["step-4", "step-6"]  # a damaged one is not one of the two
    prune(root, 5)
    assert names(root) == ["step-4", "step-6"]
