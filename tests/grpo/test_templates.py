"""Prompt templates: exact texts, message lists, stop strings, answer forms."""

from functools import partial

import pytest

from grpo.errors import UserError
from grpo.templates import TEMPLATES, flatten, get_template
from rewards import registry

QUESTION = "What is 2 + 3?"
CONVERSATION = [
    {"role": "user", "content": "Hi."},
    {"role": "assistant", "content": "Hello."},
    {"role": "user", "content": QUESTION},
]
R1_ZERO = (
    "A conversation between User and Assistant. The user asks a question, and the Assistant solves it. "
    "The assistant first thinks about the reasoning process in the mind and then provides the user with the "
    "answer. The reasoning process and answer are enclosed within <think> </think> and <answer> </answer> "
    "tags, respectively, i.e., <think> reasoning process here </think> <answer> answer here </answer>. "
    "User: {prompt}. Assistant:"
)


def test_r1_zero_is_the_papers_text():
    template = get_template("r1_zero")
    assert template.render(QUESTION, None, None) == R1_ZERO.replace("{prompt}", QUESTION)
    assert template.stop == ("</answer>",)


def test_r1_zero_holds_a_conversation_between_its_own_names():
    inside = "Hi.\nAssistant: Hello.\nUser: What is 2 + 3?"
    assert get_template("r1_zero").render(CONVERSATION, None, None) == R1_ZERO.replace("{prompt}", inside)


def test_raw_and_boxed():
    assert get_template("raw").render(QUESTION, None, None) == QUESTION
    assert get_template("raw").stop == ()
    assert get_template("boxed").render(QUESTION, None, None) == (
        QUESTION + "\nPlease reason step by step, and put your final answer within \\boxed{}."
    )


def test_one_message_is_its_content():
    assert flatten([{"role": "user", "content": QUESTION}]) == QUESTION


def test_qa_opens_the_line_of_the_answer_and_writes_examples_the_same_way():
    qa = get_template("qa")
    assert qa.render(QUESTION, None, None) == f"Question: {QUESTION}\nAnswer:"
    assert qa.shot(qa.render("1+1=", None, None), "2") == "Question: 1+1=\nAnswer: 2\n\n"
    assert qa.stop == ("\n",)


@pytest.fixture(scope="module")
def chat_tokenizer():
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"?": 0}, unk_token="?")))
    tokenizer.chat_template = (
        "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}"
        "{% if add_generation_prompt %}[assistant]{% endif %}"
    )
    return tokenizer


def test_chat_uses_the_tokenizers_template_and_opens_the_answer(chat_tokenizer):
    chat = get_template("chat")
    assert chat.render(QUESTION, None, chat_tokenizer) == f"[user]{QUESTION}[assistant]"
    assert chat.render(CONVERSATION, "Be brief.", chat_tokenizer) == (
        f"[system]Be brief.[user]Hi.[assistant]Hello.[user]{QUESTION}[assistant]"
    )
    assert len(CONVERSATION) == 3  # the row's own list is left alone
    assert not chat.special_tokens  # the text holds them already


def test_chat_without_a_chat_template_is_refused():
    with pytest.raises(UserError, match="no chat template"):
        get_template("chat").render(QUESTION, None, None)


def test_a_wrong_name_gives_the_nearest():
    with pytest.raises(UserError, match=r"no template 'r1zero'. Did you mean r1_zero\?"):
        get_template("r1zero")


@pytest.mark.parametrize("name", TEMPLATES)
def test_every_template_says_what_it_is_and_its_answer_form_is_accepted(name):
    template = get_template(name)
    assert template.about
    completion, extract = template.answer_form("42"), "text" if name == "qa" else "final"
    accuracy = partial(registry.get("accuracy"), prompts=["q"], completions=[completion], extract=extract)
    assert accuracy(answer=["42"]) == [1.0]
    assert accuracy(answer=["41"]) == [0.0]


def test_answer_forms_with_tags_are_well_formed():
    completion = get_template("r1_zero").answer_form("42")
    assert registry.get("format")(prompts=["q"], completions=[completion]) == [1.0]
