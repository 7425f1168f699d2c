"""Prompts as the model reads them: the template, behind worked examples where there are any."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from grpo.errors import UserError
from grpo.hashing import in_holdout, unit
from grpo.recipe import Data
from grpo.rows import Item
from grpo.templates import TEMPLATES, PromptText, Tokenizer, get_template
from grpo.types import Prompt


def choose_shots(items: Sequence[Item], data: Data, more: int = 0) -> tuple[Item, ...]:
    """Worked examples, `data.shots` or `more`: rows that are not held out, one a key, in an order by hash.

    Raises:
        UserError: the template takes none, or there are fewer rows with a gold.
    """
    check_shots(data)
    wanted = max(data.shots, more)
    able = {item.key: item for item in items if item.answer and not in_holdout(item.key, data.holdout)}
    if len(able) < wanted:
        raise UserError(
            f"{wanted} worked examples, but {len(able)} rows have a gold and are not held out",
            "data.shots",
            "Take fewer, or give more rows",
        )
    return tuple(able[key] for key in sorted(able, key=lambda key: unit("shot", key))[:wanted])


def check_shots(data: Data, where: str = "data.shots") -> None:
    """Raises UserError for worked examples in a template that takes none."""
    if data.shots and get_template(data.template).shot is None:
        takers = [name for name, template in TEMPLATES.items() if template.shot]
        what = f"template {data.template} takes no worked examples"
        raise UserError(what, where, f"Use {', '.join(takers)}, or 0")


def render_anew(
    prompts: Sequence[Prompt], data: Data, tokenizer: Tokenizer, pool: Sequence[Item]
) -> list[Prompt]:
    """Prompts as another data section asks them, with the first `data.shots` examples of `pool`."""
    special = get_template(data.template).special_tokens
    shots = pool[: data.shots]
    texts = [render(prompt.prompt, data, tokenizer, shots) for prompt in prompts]
    tokens = tokenizer(texts, add_special_tokens=special)["input_ids"] if texts else []
    return [
        replace(prompt, text=text, token_ids=tuple(ids))
        for prompt, text, ids in zip(prompts, texts, tokens, strict=True)
    ]


def render(prompt: PromptText, data: Data, tokenizer: Tokenizer | None, shots: Sequence[Item]) -> str:
    """A prompt as the model reads it, behind the worked examples."""
    template = get_template(data.template)
    text = template.render(prompt, data.system, tokenizer)
    if template.shot is None:
        return text
    examples = [(template.render(item.prompt, data.system, tokenizer), item.answer or "") for item in shots]
    return "".join(template.shot(*example) for example in examples) + text
