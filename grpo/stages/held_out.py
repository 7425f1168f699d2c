"""What the trainer is handed to evaluate with: the live engine, no second copy of the model."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from grpo.errors import UserError
from grpo.protocols import OWN, data_of, name_of, set_name, temperature_of
from grpo.shots import check_shots, render_anew
from grpo.templates import Tokenizer, get_template

if TYPE_CHECKING:
    from eval.run import Evaluation
    from grpo.data import DataSplits
    from grpo.recipe import Recipe
    from grpo.rollout.engine import RolloutEngine
    from grpo.run import Evaluate, Part
    from grpo.scoring import Scorer
    from grpo.types import Prompt, Sampling

PARTS = {"select": "held-out", "report": OWN}  # names of the halves in metrics and files


@dataclasses.dataclass(frozen=True)
class Asked:
    """Prompts, and how they are asked."""

    name: str
    prompts: Sequence[Prompt]
    sampling: Sampling
    samples: int


def protocol_prompts(
    recipe: Recipe, splits: DataSplits, tokenizer: Tokenizer, context: int
) -> list[list[Prompt]]:
    """The reported prompts as each of `eval.protocols` asks them.

    Args:
        context: longest sequence, tokens.

    Raises:
        UserError: a protocol makes some prompt too long: it would be measured on fewer questions.
    """
    asked = []
    for number, protocol in enumerate(recipe.eval.protocols):
        data = data_of(protocol, recipe.data)
        check_shots(data, f"eval.protocols.{number}")
        longest = context - (protocol.max_tokens or recipe.rollout.max_tokens)
        prompts = render_anew(splits.report[: recipe.eval.prompts], data, tokenizer, splits.shot_pool)
        tokens = max((len(prompt.token_ids) for prompt in prompts), default=0)
        if tokens > longest:
            raise UserError(
                f"a prompt of {tokens} tokens, but completions leave {longest} of the context",
                f"eval.protocols.{number}",
                "Take fewer shots, or raise rollout.context",
            )
        asked.append(prompts)
    return asked


def make_evaluate(
    recipe: Recipe,
    scorer: Scorer,
    splits: DataSplits,
    sets: dict[str, list[Prompt]],
    protocols: Sequence[Sequence[Prompt]],
    sampling: Sampling,
) -> Evaluate:
    """Draws, scores and summarises the prompts of a part under the engine's current weights."""
    from eval.run import evaluate

    spec = recipe.eval
    drawn = dataclasses.replace(sampling, temperature=spec.temperature)

    def asked(part: Part) -> list[Asked]:
        if part == "protocols":
            return [_under(recipe, number, prompts, drawn) for number, prompts in enumerate(protocols)]
        named = sets if part == "sets" else {PARTS[part]: getattr(splits, part)}
        return [Asked(name, prompts, drawn, spec.samples) for name, prompts in named.items() if prompts]

    def evaluate_part(engine: RolloutEngine, part: Part) -> list[Evaluation]:
        return [
            evaluate(
                engine,
                scorer,
                one.prompts[: spec.prompts],
                one.sampling,
                one.samples,
                seed=recipe.output.seed,
                name=one.name,
            )
            for one in asked(part)
        ]

    return evaluate_part


def _under(recipe: Recipe, number: int, prompts: Sequence[Prompt], drawn: Sampling) -> Asked:
    """The prompts of one protocol. Greedy draws one completion: more would be the same."""
    protocol = recipe.eval.protocols[number]
    temperature = temperature_of(protocol, recipe.eval)
    stop = drawn.stop
    if protocol.template is not None and recipe.rollout.stop is None:
        stop = get_template(protocol.template).stop
    length = protocol.max_tokens or drawn.max_tokens
    return Asked(
        set_name(name_of(protocol, recipe.data, recipe.eval)),
        prompts,
        dataclasses.replace(drawn, temperature=temperature, stop=stop, max_tokens=length),
        recipe.eval.samples if temperature else 1,
    )
