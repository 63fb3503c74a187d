"""Chat templates: what they make of messages, that nobody gets out of one, or a token into one."""

from functools import cache
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.workunits.models import ggufs
from tests.workunits.models.cards import card_of
from workunits.errors import LimitError, MalformedError, RefusedError
from workunits.models.card import ModelCard, chat_ids, text_ids
from workunits.models.gguf import Kind
from workunits.models.template import (
    MAX_MESSAGES,
    MAX_RENDERED,
    MAX_TEMPLATE,
    Message,
    check_template,
    render,
)

HI = (Message("user", "hello"),)
REFUSED = (MalformedError, LimitError)

LLAMA3 = (
    "{% set loop_messages = messages %}{% for message in loop_messages %}"
    "{% set content = '<|im_start|>' + message['role'] + '\n\n'+ message['content'] | trim + "
    "'<|im_end|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}"
    "{{ content }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n\n' }}{% endif %}"
)
MISTRAL = (
    "{%- for message in messages %}\n"
    "    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}\n"
    "        {{- raise_exception('roles must alternate') }}\n"
    "    {%- endif %}\n"
    "    {{- '[INST] ' ~ message.content ~ ' [/INST]' }}\n"
    "{%- endfor %}\n"
)


@cache
def tiny() -> ModelCard:
    return card_of()


def text_of(card: ModelCard, ids: tuple[int, ...]) -> str:
    """Ids as text, control tokens with their names."""
    names = [card.vocabulary.tokens[at] if at in card.vocabulary.control else "" for at in ids]
    return "".join(name or card.tokenizer.text([at]) for name, at in zip(names, ids, strict=True))


def test_a_template_makes_text_of_messages() -> None:
    text = render(ggufs.TEMPLATE, [Message("system", "a"), Message("user", "b")])
    assert text == (
        "<|im_start|>system\na<|im_end|>\n<|im_start|>user\nb<|im_end|>\n<|im_start|>assistant\n"
    )
    assert render(ggufs.TEMPLATE, HI, generation=False).endswith("hello<|im_end|>\n")


def test_templates_of_well_known_models_work() -> None:
    tokens = {"bos_token": "<s>", "eos_token": "</s>"}
    assert render(LLAMA3, [Message("user", " a ")], tokens=tokens) == (
        "<s><|im_start|>user\n\na<|im_end|><|im_start|>assistant\n\n"
    )
    assert render(MISTRAL, HI) == "[INST] hello [/INST]"
    with pytest.raises(RefusedError, match="alternate"):
        render(MISTRAL, [Message("assistant", "a")])


def test_blocks_leave_no_lines_and_the_special_tags_are_known() -> None:
    source = (
        "{% for message in messages %}\n    {% if message.role == 'user' %}\n"
        "{% generation %}{{ message.content }}{% endgeneration %}\n    {% break %}\n"
        "    {% endif %}\n"
        "{% endfor %}\n{{ strftime_now is defined }} {{ messages | tojson }}"
    )
    assert render(source, HI) == 'helloFalse [{"content": "hello", "role": "user"}]'


def test_a_conversation_becomes_ids_with_the_control_tokens_of_the_template() -> None:
    ids = chat_ids(tiny(), list(HI))
    assert text_of(tiny(), ids) == "<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n"
    assert [at for at in ids if at in tiny().vocabulary.control] == [1, 2, 1]


def test_the_first_token_of_a_text_is_there_once() -> None:
    card = card_of({"tokenizer.ggml.add_bos_token": (Kind.BOOL, True)})
    bos = card.vocabulary.bos
    assert text_ids(card, "hello")[0] == bos
    ids = chat_ids(card, list(HI))
    assert ids[0] == bos and ids[1] != bos


def test_a_model_without_a_template_cannot_chat() -> None:
    card = card_of({"tokenizer.chat_template": None})
    with pytest.raises(RefusedError, match="no chat template"):
        chat_ids(card, list(HI))


_HOSTILE = st.lists(
    st.one_of(
        st.sampled_from([*ggufs.SPECIAL, "<|im_", "end|>", "<|", "|>", "<", ">", " ", "\n", "_"]),
        st.text(max_size=4),
    ),
    max_size=5,
).map("".join)

BARE = "{% for message in messages %}{{ message.content }}{% endfor %}"
TRIMMED = "{% for message in messages %}{{ message['content'] | trim }}{% endfor %}<|im_end|>"
OPENED = "<|im_start|>{% for message in messages %}<|{{ message.content }}|>{% endfor %}"


@pytest.mark.parametrize(("template", "own"), [(BARE, 0), (TRIMMED, 1), (OPENED, 1)])
@given(contents=st.lists(_HOSTILE, min_size=1, max_size=4))
def test_no_message_makes_a_control_token_alone_or_with_what_stands_beside_it(
    template: str, own: int, contents: list[str]
) -> None:
    card = tiny()
    text = render(template, [Message("user", each) for each in contents], guard=card.guard)
    ids = card.guard.encode(text)
    assert sum(at in card.vocabulary.control for at in ids) == own


@given(contents=st.lists(_HOSTILE, min_size=1, max_size=4))
def test_what_messages_say_is_all_there(contents: list[str]) -> None:
    card = tiny()
    text = render(BARE, [Message("user", each) for each in contents], guard=card.guard)
    assert card.tokenizer.text(card.guard.encode(text)) == "".join(contents)


@pytest.mark.parametrize("role", ["im_start", "User", "<|im_end|>", ""])
def test_roles_are_those_that_templates_know(role: str) -> None:
    with pytest.raises(MalformedError, match="role"):
        render(BARE, [Message(role, "x")])


@pytest.mark.parametrize(
    "source",
    [
        "{{ messages.__class__ }}x{{ messages.__class__.__mro__ }}",
        "{{ ''.__class__.__base__.__subclasses__() }}",
        "{{ messages.append(1) }}",
        "{{ messages[0].update(role='x') }}",
        "{{ messages[0].pop('role') }}",
        "{{ namespace.__init__.__globals__ }}",
        "{{ render.__globals__ }}",
        "{{ cycler.__init__() }}",
        "{{ lipsum() }}",
        "{{ raise_exception.__globals__['re'] }}",
        "{{ '{0.__class__}'.format(messages) }}",
        "{{ '%s' % messages }}",
        "{{ '%1000000000d' | format(1) }}",
        "{{ 'a'.encode() }}",
        "{{ 'a'.center(10) }}",
        "{{ messages | map('attr', '__class__') | list }}",
        "{{ messages | attr('__class__') }}",
        "{{ messages | pprint }}",
        "{% include 'x' %}",
        "{% import 'x' as x %}",
        "{% extends 'x' %}",
        "{{ 9 ** 9 }}",
        "{{ 'a' * 9 }}",
        "{{ [1] * 9 }}",
        "{{ messages | tojson(indent=1000) }}",
        "{% for x in 5 %}{% endfor %}",
        "{{ unclosed",
        "{% if %}",
        "{{ " + "(" * 20_000 + ")" * 20_000 + " }}",
        "{% if 1 %}" * 3_000 + "{% endif %}" * 3_000,
        "{{ " + "9" * 5_000 + " }}",
    ],
)
def test_nothing_but_what_templates_need_is_there(source: str) -> None:
    with pytest.raises(REFUSED):
        render(source, HI)


GROW = "{% set ns = namespace(x='ab') %}{% for i in range(200) %}{% set ns.x STEP %}{% endfor %}"


@pytest.mark.parametrize(
    "source",
    [
        "{% for i in range(10000) %}{% for j in range(10000) %}{% endfor %}{% endfor %}",
        "{% macro f(n) %}{% if n %}{{ f(n-1) }}{{ f(n-1) }}{% endif %}{% endmacro %}{{ f(60) }}",
        "{% for i in range(100000000) %}{% endfor %}",
        GROW.replace("STEP", "= ns.x + ns.x"),
        GROW.replace("STEP", "= ns.x ~ ns.x"),
        GROW.replace("STEP", "= [ns.x, ns.x] | join"),
        GROW.replace("STEP", "= ns.x | replace('a', ns.x)"),
        GROW.replace("STEP", "= ns.x.replace('a', ns.x)"),
        GROW.replace("STEP", "= ns.x.join([ns.x, ns.x])"),
        GROW.replace("STEP", "%}{{ ns.x }}{{ ns.x }}{% endset"),
        GROW.replace("'ab'", "2").replace("STEP", "= ns.x * ns.x"),
        "{% for i in range(10000) %}" + "a" * 60_000 + "{% endfor %}",
        "{% set x %}{% for i in range(9999) %}" + "a" * 9_000 + "{% endfor %}{% endset %}",
        "{% for i in range(9999) %}{{ messages[0].content + '' }}{% endfor %}",
        "{% for i in range(9999) %}{% if messages[0].content[1:] == 'a' %}{% endif %}{% endfor %}",
    ],
)
def test_a_template_that_goes_on_for_ever_or_grows_ends_soon(source: str) -> None:
    began = process_time()
    with pytest.raises(LimitError):
        render(source, [Message("user", "a" * 400_000)])
    assert process_time() - began < 15


def test_limits_hold() -> None:
    with pytest.raises(LimitError):
        check_template("a" * (MAX_TEMPLATE + 1))
    with pytest.raises(LimitError):
        render(BARE, [Message("user", "a")] * (MAX_MESSAGES + 1))
    with pytest.raises(LimitError):
        render(BARE, [Message("user", "a" * (MAX_RENDERED + 1))])


def test_a_long_conversation_is_well_within_the_limits() -> None:
    messages = [
        Message("user" if at % 2 == 0 else "assistant", "some words " * 20) for at in range(2000)
    ]
    assert len(render(ggufs.TEMPLATE, messages)) > 400_000


@given(st.text(max_size=60))
def test_any_template_works_or_is_refused(source: str) -> None:
    try:
        render(source, HI)
    except (*REFUSED, RefusedError):
        return


@given(
    st.lists(
        st.sampled_from(
            ["{{", "}}", "{%", "%}", "for", "x", "in", "messages", "endfor", "if", "(", ")", "|",
             "'a'", "~", "+", "[", "]", ".", "set", "=", "1", " ", "\n", "loop", "trim", "macro"]
        ),
        max_size=14,
    ).map(" ".join)
)  # fmt: skip
def test_any_program_of_a_template_works_or_is_refused(source: str) -> None:
    try:
        render(source, HI)
    except (*REFUSED, RefusedError):
        return
