"""The base checkpoint: what it is made of, when it is made, what loads it."""

import io
import itertools
import json

import pytest
import torch
from rich.console import Console
from transformers import AutoModelForCausalLM, AutoTokenizer

from grpo.corpus import CORPORA, TAGS, Example
from grpo.errors import UserError
from grpo.recipe import Pretrain
from grpo.recipe_file import load_recipe
from grpo.stages import pretrain as stage
from grpo.stages.pretrain import END, build_decoder, build_tokenizer, cache_folder, example_loss, pretrain
from grpo.view import PlainView

OPTIONS = {"digits": 3}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GRPO_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def told():
    """A view, and what it was told."""
    stream = io.StringIO()
    return PlainView(Console(file=stream)), stream.getvalue


def examples(count):
    spec = Pretrain(worked=0.5, untagged=0.3, slips=0.1)
    return list(itertools.islice(CORPORA["addition"].examples(spec, OPTIONS, lambda key: False), count))


def test_the_tokenizer_gives_every_text_back(tokenizer):
    for example in examples(500):
        text = example.prompt + example.completion
        ids = tokenizer(text)["input_ids"]
        assert tokenizer.decode(ids) == text
        assert tokenizer.unk_token_id not in ids
        assert len(ids) == len(text) - sum(text.count(tag) * (len(tag) - 1) for tag in TAGS)
    assert tokenizer.decode(tokenizer("<think></think>")["input_ids"], skip_special_tokens=True) == (
        "<think></think>"  # tags are no special tokens: rewards would not see them
    )
    assert tokenizer("1?")["input_ids"][1] == tokenizer.unk_token_id


def test_the_second_call_returns_what_the_first_made(recipe_of, told):
    view, lines = told
    recipe = recipe_of()
    folder = pretrain(recipe, view)
    assert folder == cache_folder(recipe)
    assert "pre-training the base: 3 steps" in lines()
    weights = (folder / "model.safetensors").stat()
    assert pretrain(recipe, view) == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == weights.st_mtime_ns
    assert lines().endswith(f"base checkpoint from {folder}\n")
    pretrain(recipe, view, overwrite=True)
    assert (folder / "model.safetensors").stat().st_ino != weights.st_ino
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]  # nothing partial is left


def test_the_cache_key_follows_recipe_data_and_code(recipe_of, monkeypatch):
    def key(*overrides):
        return cache_folder(recipe_of(*overrides)).name

    first = key()
    assert first == key() == key("train.lr=0.5", "output.seed=3", "rollout.group_size=4")
    others = [
        key("pretrain.steps=4"),
        key("pretrain.seed=1"),
        key("data.holdout=0.3"),
        key("data.options.digits=3"),
    ]
    monkeypatch.setattr(
        stage.inspect, "getsource", lambda module, real=stage.inspect.getsource: real(module) + "# changed"
    )
    others.append(key())
    assert len({first, *others}) == 6


def test_a_training_that_fails_leaves_no_checkpoint(recipe_of, told, monkeypatch):
    def fail(*args):
        raise RuntimeError("stop")

    monkeypatch.setattr(stage, "example_loss", fail)
    with pytest.raises(RuntimeError, match="stop"):
        pretrain(recipe_of(), told[0])
    assert not cache_folder(recipe_of()).exists()


def test_the_same_seed_gives_the_same_base(recipe_of, told):
    recipe = recipe_of()
    models = [
        AutoModelForCausalLM.from_pretrained(pretrain(recipe, told[0], overwrite=True)) for _ in range(2)
    ]
    pairs = zip(models[0].parameters(), models[1].parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_the_checkpoint_loads_as_any_other_and_knows_its_end(recipe_of, told):
    folder = pretrain(recipe_of(), told[0])
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    assert model.config.vocab_size == len(tokenizer)
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id == tokenizer.encode(END)[0]
    drawn = model.generate(**tokenizer("1+2=", return_tensors="pt"), max_new_tokens=3, do_sample=False)
    assert drawn.shape[1] <= 7
    assert json.loads((folder / "config.json").read_text())["model_type"] == "llama"


def test_the_decoder_is_of_the_sizes_asked_for(tokenizer):
    spec = Pretrain(hidden_size=64, layers=3, heads=2, context=48, rope_theta=30.0)
    model = build_decoder(spec, tokenizer)
    config = model.config
    assert (config.hidden_size, config.num_hidden_layers, config.num_attention_heads) == (64, 3, 2)
    assert config.max_position_embeddings == 48
    slowest = model.model.rotary_emb.inv_freq[-1]  # Su et al. 2021, eq. 15: base^(-2 (d/2 - 1) / d), d = 32
    assert float(slowest) == pytest.approx(30 ** (-30 / 32))


def test_the_demos_base_is_as_large_as_it_says():
    recipe = load_recipe("demo")
    tokenizer = build_tokenizer(CORPORA[recipe.pretrain.corpus])
    model = build_decoder(recipe.pretrain, tokenizer)
    assert 0.5e6 < sum(parameter.numel() for parameter in model.parameters()) < 5e6
    stream = CORPORA[recipe.pretrain.corpus].examples(recipe.pretrain, recipe.data.options, lambda key: False)
    for example in itertools.islice(stream, 1000):
        prompt, completion = (
            len(tokenizer(text)["input_ids"]) for text in (example.prompt, example.completion)
        )
        assert completion + 1 <= recipe.rollout.max_tokens  # what it learned fits into what it may say
        assert prompt + completion + 1 <= recipe.pretrain.context


def test_the_loss_is_of_every_token_but_the_first(tokenizer):
    from grpo.model import TokenLogprobs

    model = build_decoder(Pretrain(hidden_size=32, layers=1, heads=2, context=64), tokenizer)
    pairs = [Example("12+3=", "<answer>15"), Example("1+2=", "3")]
    found = example_loss(TokenLogprobs(model), tokenizer, pairs).detach()
    model.set_attn_implementation("eager")
    losses = []
    for pair in pairs:
        ids = tokenizer(pair.prompt + pair.completion + END)["input_ids"]
        with torch.no_grad():
            logp = model(torch.tensor([ids])).logits[0].log_softmax(-1)
        losses += [-logp[i, token] for i, token in enumerate(ids[1:])]
        assert ids[-1] == tokenizer.eos_token_id
    assert found.item() == pytest.approx(float(torch.stack(losses).mean()), abs=1e-5)


def test_training_teaches(recipe_of, tokenizer):
    seen = []
    recipe = recipe_of("pretrain.steps=60", "pretrain.lr=0.01", "pretrain.batch_size=16")
    stage.train_decoder(
        recipe.pretrain,
        CORPORA["addition"],
        tokenizer,
        recipe.data.options,
        lambda key: False,
        lambda step, metrics: seen.append((step, metrics["loss"])),
    )
    assert [step for step, _ in seen] == list(range(1, 61))
    assert sum(loss for _, loss in seen[-10:]) < 0.75 * sum(loss for _, loss in seen[:10])


def test_recipes_without_a_base_to_make(recipe_of, told):
    recipe = recipe_of()
    changed = recipe.model_copy(update={"pretrain": recipe.pretrain.model_copy(update={"corpus": "adition"})})
    with pytest.raises(UserError, match=r"pretrain.corpus: there is no corpus 'adition'. Known: addition"):
        pretrain(changed, told[0])
    # held out by other keys than the corpus knows, rows would be seen in pre-training
    for change in ({"train": "gsm8k"}, {"split_key": "answer"}):
        leaking = recipe.model_copy(update={"data": recipe.data.model_copy(update=change)})
        with pytest.raises(UserError, match=r"^data: the corpus cannot leave out what is held out"):
            pretrain(leaking, told[0])
    with pytest.raises(UserError, match="the recipe has no pretrain section"):
        pretrain(recipe.model_copy(update={"pretrain": None}), told[0])
