"""How byte-level models split a text before their merges: one list of patterns for each ``pre``.

The patterns are those of the models' own ``tokenizer.json``; llama.cpp has the same, adapted to
its engine (``llm_tokenizer_bpe`` in ``llama-vocab.cpp``). Each splits what those before it left.
"""

from collections.abc import Mapping
from dataclasses import dataclass

_CONTRACTIONS = r"'s|'t|'re|'ve|'m|'ll|'d"
_ANY_CASE = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
_BLANKS = r"\s*[\r\n]+|\s+(?!\S)|\s+"
_GPT2 = rf"{_CONTRACTIONS}| ?\p{{L}}+| ?\p{{N}}+| ?[^\s\p{{L}}\p{{N}}]+|\s+(?!\S)|\s+"
_LLAMA3 = (
    rf"{_ANY_CASE}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}"
    rf"| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|{_BLANKS}"
)
_QWEN2 = _LLAMA3.replace("{1,3}", "")
_QWEN35 = (
    rf"{_ANY_CASE}|[^\r\n\p{{L}}\p{{N}}]?[\p{{L}}\p{{M}}]+|\p{{N}}"
    rf"| ?[^\s\p{{L}}\p{{M}}\p{{N}}]+[\r\n]*|{_BLANKS}"
)
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_BEFORE, _SYMBOLS = r"[^\r\n\p{L}\p{N}]?", r" ?[^\s\p{L}\p{N}]+[\r\n/]*"
_TEKKEN = rf"{_BEFORE}{_UPPER}*{_LOWER}+|{_BEFORE}{_UPPER}+{_LOWER}*|\p{{N}}|{_SYMBOLS}|{_BLANKS}"
_GPT4O = (
    rf"{_BEFORE}{_UPPER}*{_LOWER}+{_ANY_CASE}?|{_BEFORE}{_UPPER}+{_LOWER}*{_ANY_CASE}?"
    rf"|\p{{N}}{{1,3}}|{_SYMBOLS}|{_BLANKS}"
)
_PUNCTUATION = r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~]"
_DEEPSEEK3 = (
    r"\p{N}{1,3}",
    "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
    (
        rf"{_PUNCTUATION}[A-Za-z]+|[^\r\n\p{{L}}\p{{P}}\p{{S}}]?[\p{{L}}\p{{M}}]+"
        rf"| ?[\p{{P}}\p{{S}}]+[\r\n]*|{_BLANKS}"
    ),
)


@dataclass(frozen=True, slots=True)
class Split:
    """Patterns (Oniguruma), and whether a whole piece that is a token is taken as it is."""

    patterns: tuple[str, ...]
    whole: bool = False


SPLITS: Mapping[str, Split] = {
    name: split
    for split, names in (
        (Split((_GPT2,)), "gpt-2 phi-2 mpt olmo jais exaone4 trillion granite-docling mellum"),
        (
            Split((r"\p{N}", _GPT2)),
            "smollm starcoder refact command-r codeshell exaone minerva-7b mellum2",
        ),
        (
            Split((_LLAMA3,), whole=True),
            "llama-bpe llama3 llama-v3 falcon3 falcon-h1 pixtral lfm2 glm4",
        ),
        (Split((_LLAMA3,)), "dbrx smaug-bpe chatglm-bpe"),
        (Split((_QWEN2,)), "qwen2 deepseek-r1-qwen stablelm2 megrez hunyuan grok-2 solar-open"),
        (Split((_QWEN35,)), "qwen35"),
        (Split((_TEKKEN,), whole=True), "tekken"),
        (Split((_GPT4O,)), "gpt-4o llama4 minimax-m2"),
        (Split(_DEEPSEEK3), "deepseek-v3 hunyuan-dense joyai-llm"),
    )
    for name in names.split()
}
"""By ``tokenizer.ggml.pre``."""
