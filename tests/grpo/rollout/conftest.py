"""Tiny checkpoints, the engines that hold them, and a policy made of one."""

import contextlib
import os
from pathlib import Path

import pytest
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from grpo.rollout.engine import sample_seed
from grpo.rollout.vllm import VllmEngine
from grpo.rollout.wire import Load
from grpo.types import Request, Sampling

VOCABULARY = ["<pad>", "<eos>", *(chr(code) for code in range(32, 127))]
SIZES = {
    "vocab_size": len(VOCABULARY),
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,  # of 32: vLLM has no smaller head on CPU
    "num_key_value_heads": 1,
    "max_position_embeddings": 256,
    "initializer_range": 0.15,  # far from uniform, so that greedy choices are clear
    "eos_token_id": 1,
    "pad_token_id": 0,
    "bos_token_id": None,
}
CONFIGS = {
    "untied": lambda: transformers.LlamaConfig(**SIZES, tie_word_embeddings=False),
    "tied": lambda: transformers.LlamaConfig(**SIZES, tie_word_embeddings=True),
    "qwen2": lambda: transformers.Qwen2Config(**SIZES, tie_word_embeddings=True),
    "experts": lambda: transformers.Qwen2MoeConfig(
        **SIZES,
        num_experts=4,
        num_experts_per_tok=2,
        moe_intermediate_size=64,
        shared_expert_intermediate_size=64,
        tie_word_embeddings=False,
    ),
}


def save_tokenizer(folder):
    tokenizer = Tokenizer(
        models.WordLevel({token: i for i, token in enumerate(VOCABULARY)}, unk_token="<pad>")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.decoder = decoders.Fuse()
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<eos>", pad_token="<pad>"
    )
    fast.save_pretrained(folder)


class TinyPolicy:
    """A transformers model as `grpo.rollout.sync.SyncedPolicy`; masters are its own parameters."""

    def __init__(self, checkpoint, dtype="float32", masters="float32"):
        self.dtype = getattr(torch, dtype)
        self.model = transformers.AutoModelForCausalLM.from_pretrained(
            checkpoint, dtype=getattr(torch, masters)
        )
        self.version = 0

    def weights(self):
        state = dict(self.model.named_parameters())  # a tied head is named once, as the embedding
        state = transformers.core_model_loading.revert_weight_conversion(self.model, state)
        for name, tensor in state.items():
            yield name, tensor.detach().to(self.dtype)

    def named_masters(self):
        return self.model.named_parameters()

    @torch.no_grad()
    def sequence_logprobs(self, sequences):
        found = []
        for sequence in sequences:
            ids = torch.tensor([sequence])
            with torch.autocast("cpu", self.dtype, enabled=self.dtype != torch.float32):
                logprobs = self.model(ids).logits[0, :-1].float().log_softmax(-1)
            found.append(logprobs.gather(1, ids[0, 1:, None])[:, 0].tolist())
        return found

    def step(self, lr):
        """One AdamW step on a random loss."""
        optimizer = torch.optim.AdamW(self.model.parameters(), lr=lr, weight_decay=0.0)
        ids = torch.randint(
            2, len(VOCABULARY), (4, 24), generator=torch.Generator().manual_seed(self.version)
        )
        self.model(ids, labels=ids).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        self.version += 1


@pytest.fixture(autouse=True)
def one_thread():
    """Models this small gain nothing from threads, and two engines' threads would wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """checkpoint(kind): folder of a tiny random model, float32."""
    made = {}

    def make(kind):
        if kind not in made:
            folder = tmp_path_factory.mktemp(kind)
            torch.manual_seed(0)
            model = transformers.AutoModelForCausalLM.from_config(CONFIGS[kind](), dtype=torch.float32)
            for name, parameter in model.named_parameters():
                if parameter.dim() == 1:  # norms and biases start constant, which would hide a mix-up
                    torch.nn.init.normal_(parameter, 1.0 if "norm" in name else 0.0, 0.1)
            model.save_pretrained(folder)
            save_tokenizer(folder)
            made[kind] = str(folder)
        return made[kind]

    return make


@pytest.fixture(scope="session")
def start_vllm(tmp_path_factory):
    """start_vllm(checkpoint, …): an engine whose worker can be told to fail."""
    faults = Path(__file__).parent
    assert (faults / "rollout_faults.py").exists()
    engines = []

    class FaultyEngine(VllmEngine):
        worker = "rollout_faults.FaultyTaker"

    def start(checkpoint, dtype="float32", context=128, lora=None, **engine_args):
        folder = tmp_path_factory.mktemp("engine")
        fault_file = folder / "fault"
        fault_file.write_text("")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("ROLLOUT_FAULT", str(fault_file))
            patch.setenv("PYTHONPATH", str(faults), prepend=os.pathsep)
            engine = FaultyEngine(
                checkpoint,
                dtype=dtype,
                context=context,
                version=0,
                seed=0,
                log_file=folder / "engine.log",
                scratch=folder,
                load=Load(32, 1, 128),
                engine_args={"max_num_seqs": 32, **engine_args},
                lora=lora,
            )
        engine.fault_file, engine.checkpoint = fault_file, checkpoint
        engines.append(engine)
        return engine

    yield start
    for engine in engines:
        engine.close()


@pytest.fixture(scope="session")
def untied(start_vllm, checkpoint):
    return start_vllm(checkpoint("untied"))


@pytest.fixture(scope="session")
def tied(start_vllm, checkpoint):
    return start_vllm(checkpoint("tied"))


@pytest.fixture
def planted():
    """with planted(engine, fault): the next weight updates go wrong; afterwards the engine is whole again."""

    @contextlib.contextmanager
    def plant(engine, fault):
        engine.fault_file.write_text(fault)
        try:
            yield
        finally:
            engine.fault_file.write_text("")
            heal(engine)

    return plant


@pytest.fixture
def policy_of():
    """policy_of(engine): a policy with the engine's first weights, which the engine is given again."""

    def make(engine, dtype="float32", masters="float32"):
        policy = TinyPolicy(engine.checkpoint, dtype, masters)
        heal(engine, policy)
        return policy

    return make


def heal(engine, policy=None):
    engine._fault = None
    dtype = str(next((policy or TinyPolicy(engine.checkpoint)).weights())[1].dtype).removeprefix("torch.")
    engine.update_weights((policy or TinyPolicy(engine.checkpoint, dtype)).weights(), 0)


@pytest.fixture
def requests():
    """requests(prompts, samples, …): that many requests, seeds as in a run."""

    def make(prompts, samples, length=9, step=0, **sampling):
        return [
            Request(
                prompt_id=f"p{p}",
                sample=s,
                prompt_ids=tuple(2 + (7 * p + 3 * i) % 90 for i in range(length)),
                sampling=Sampling(**{"max_tokens": 24, **sampling}),
                seed=sample_seed(0, step, f"p{p}", s),
            )
            for p in range(prompts)
            for s in range(samples)
        ]

    return make


@pytest.fixture
def probes():
    generator = torch.Generator().manual_seed(1)
    return [torch.randint(2, len(VOCABULARY), (20,), generator=generator).tolist() for _ in range(4)]
