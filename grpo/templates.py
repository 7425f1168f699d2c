"""Prompt templates by name: how a row's prompt becomes the text that the model goes on from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from grpo.errors import UserError
from grpo.nearest import suggest
from grpo.types import Message

PromptText = str | list[Message]


class Tokenizer(Protocol):
    """What data and templates need of a transformers tokenizer."""

    def __call__(self, text: list[str], *, add_special_tokens: bool) -> Any:
        """Tokenises; `["input_ids"]` of the answer is a list of lists."""
        ...

    def apply_chat_template(
        self, conversation: list[Message], *, tokenize: bool, add_generation_prompt: bool
    ) -> Any:
        """The conversation as text."""
        ...


Render = Callable[[PromptText, str | None, Tokenizer | None], str]


@dataclass(frozen=True)
class Template:
    """A template. `render(prompt, system, tokenizer)` gives the text."""

    name: str
    about: str  # first line of its docstring
    render: Render
    stop: tuple[str, ...]  # strings that end a completion
    answer_form: Callable[[str], str]  # gold -> a well-formed completion that holds it
    has_system: bool  # a system prompt may be given
    special_tokens: bool  # the tokenizer adds its own (BOS); False where the text already holds them
    shot: (
        Callable[[str, str], str] | None
    )  # text and gold -> a worked example, in front of prompts; None: none


TEMPLATES: dict[str, Template] = {}


def get_template(name: str) -> Template:
    """The template of that name.

    Raises:
        UserError: there is none; the line says the nearest.
    """
    if name not in TEMPLATES:
        raise UserError(f"no template {name!r}", "data.template", suggest(name, TEMPLATES, "Templates"))
    return TEMPLATES[name]


def template(
    name: str,
    *,
    stop: Sequence[str] = (),
    answer_form: Callable[[str], str],
    has_system: bool = False,
    special_tokens: bool = True,
    shot: Callable[[str, str], str] | None = None,
) -> Callable[[Render], Render]:
    """Registers the decorated function as the template `name`."""

    def add(render: Render) -> Render:
        about = (render.__doc__ or "").strip().splitlines()[0]
        TEMPLATES[name] = Template(
            name, about, render, tuple(stop), answer_form, has_system, special_tokens, shot
        )
        return render

    return add


def in_tags(gold: str) -> str:
    """R1-Zero's form of a completion: `<think></think><answer>gold</answer>`."""
    return f"<think></think><answer>{gold}</answer>"


def in_box(gold: str) -> str:
    """`\\boxed{gold}`."""
    return f"\\boxed{{{gold}}}"


def flatten(prompt: PromptText) -> str:
    """A message list as plain text: the content alone where there is one, else `User: … Assistant: …`."""
    if isinstance(prompt, str):
        return prompt
    if len(prompt) == 1:
        return prompt[0]["content"]
    return "\n".join(f"{message['role'].capitalize()}: {message['content']}" for message in prompt)


@template("raw", answer_form=in_tags)
def raw(prompt: PromptText, system: str | None, tokenizer: Tokenizer | None) -> str:
    """The prompt as it is."""
    return flatten(prompt)


@template("qa", stop=("\n",), answer_form=" {}".format, shot="{} {}\n\n".format)
def qa(prompt: PromptText, system: str | None, tokenizer: Tokenizer | None) -> str:
    """`Question: … Answer:`, answered on that line: for base models, behind `data.shots` worked examples."""
    return f"Question: {flatten(prompt)}\nAnswer:"


@template("r1_zero", stop=("</answer>",), answer_form=in_tags)
def r1_zero(prompt: PromptText, system: str | None, tokenizer: Tokenizer | None) -> str:
    """DeepSeek-R1-Zero's template, word for word (arXiv 2501.12948, Table 1)."""
    return (
        "A conversation between User and Assistant. The user asks a question, and the Assistant solves it. "
        "The assistant first thinks about the reasoning process in the mind and then provides the user with "
        "the answer. The reasoning process and answer are enclosed within <think> </think> and <answer> "
        "</answer> tags, respectively, i.e., <think> reasoning process here </think> <answer> answer here "
        f"</answer>. User: {flatten(prompt).removeprefix('User: ')}. Assistant:"
    )


@template("boxed", answer_form=in_box)
def boxed(prompt: PromptText, system: str | None, tokenizer: Tokenizer | None) -> str:
    """The question and R1's evaluation suffix, as plain text (Nature 645:633, Extended Data Table 1)."""
    return f"{flatten(prompt)}\nPlease reason step by step, and put your final answer within \\boxed{{}}."


@template("chat", answer_form=in_box, has_system=True, special_tokens=False)
def chat(prompt: PromptText, system: str | None, tokenizer: Tokenizer | None) -> str:
    """The tokenizer's own chat template, opened for the assistant's turn (transformers)."""
    if tokenizer is None or not getattr(tokenizer, "chat_template", None):
        raise UserError(
            "the model's tokenizer has no chat template",
            "data.template",
            "Use raw, r1_zero or boxed with a base model",
        )
    messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)
    if system is not None:
        messages.insert(0, {"role": "system", "content": system})
    return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))
