#!/usr/bin/env python3
"""Writes reference.json: texts and chats as Hugging Face's libraries encode and render them.

Usage: make_text_reference.py SmolLM2-135M-Instruct.Q4_1.gguf

The tokenizers are built here in Python, independently of the code under test: SmolLM2's from the vocabulary of the
GGUF file; the tiny test model's from its tokenizer.json; a byte-level vocabulary trained without any pre-tokenizer,
so that its merges cross every boundary that a pre-tokenizer must draw, once per pre-tokenizer; and a SentencePiece
vocabulary, encoded by SentencePiece itself.
"""

import io
import json
import random
import sys
from pathlib import Path

import gguf
import sentencepiece
import transformers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

HERE = Path(__file__).parent
REPOSITORY = HERE.parent.parent.parent


def strings():
    rng = random.Random(1)
    fixed = [
        "", " ", "  ", "\n", "\r\n", "\t", "a", "Hello", " Hello", "Hello ", "Hello, world!", "\0", "a\0b\0\0c",
        "line one\r\nline two\r\n\r\nline four\n\n\n", "   leading and trailing   ", "tabs\tand\t\ttabs\t",
        "\u00a0no-break\u00a0space\u2003em\u3000ideographic\u200bzero-width", "\ufeffBOM", "a\u2028b\u2029c\x85d\x0bd\x0ce",
        "I'm you're he'll we've they'd it's don't I'M YOU'RE HE'LL \u2019s \u017f'\u017f",
        "1 12 123 1234 12345 123456 1234567890 3.14159 1e-9 0x7fff \u0661\u0662\u0663 \u2167\u00bd\u00b2\u2460",
        "def f(x):\n    if x > 0:\n        return f(x - 1)  # recursive\n    return {'a': [1, 2, 3]}\n",
        "for (int i = 0; i < n; ++i) { sum += a[i] * b[i]; }\t// dot product\n#include <vector>\n",
        "<div class=\"x\">&amp; &lt;b&gt; <!-- comment --></div>", "SELECT * FROM t WHERE a='b' -- c;",
        "https://example.com/path?query=1&other=%20#fragment user@example.com /usr/bin/env C:\\Windows\\x",
        "{\"key\": [1, 2.5, null, true], \"nested\": {\"a\\n\": \"\\u00e9\"}}",
        "na\u00efve caf\u00e9 e\u0301 \u212b \u00c5 A\u030a \ufb01 \u1e9b\u0323 \u03a9 \u2126", "\u00df\u1e9e \u0130\u0131 \u01c5",
        "\u4f60\u597d\uff0c\u4e16\u754c\uff01\u4eca\u5929\u5929\u6c14\u5f88\u597d\u3002", "\u3053\u3093\u306b\u3061\u306f\u4e16\u754c \u30ab\u30bf\u30ab\u30ca \uff76\uff85 \u3000\u300c\u5f15\u7528\u300d",
        "\uc548\ub155\ud558\uc138\uc694 \uc138\uacc4", "\u1112\u1161\u11ab\u1100\u1173\u11af", "\u041f\u0440\u0438\u0432\u0435\u0442, \u043c\u0438\u0440! \u0397 \u03ba\u03b1\u03bb\u03b7\u03bc\u03ad\u03c1\u03b1",
        "\u0645\u0631\u062d\u0628\u0627 \u0628\u0627\u0644\u0639\u0627\u0644\u0645", "\u05e9\u05c1\u05b8\u05dc\u05d5\u05b9\u05dd \u05e2\u05d5\u05dc\u05dd", "\u0928\u092e\u0938\u094d\u0924\u0947 \u0926\u0941\u0928\u093f\u092f\u093e", "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35\u0e0a\u0e32\u0e27\u0e42\u0e25\u0e01", "\u10d2\u10d0\u10db\u10d0\u10e0\u10ef\u10dd\u10d1\u10d0 \u1c92\u1c90",
        "\U0001f600\U0001f44d\U0001f3fd\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466\U0001f1e9\U0001f1ea\u2764\ufe0f1\ufe0f\u20e3", "\U0001f600" * 12,
        "\U00010400\U00010428 \U0001d400\U0001d538 \U000118a0 \U0001e900", "\ue000\uf8ff\U0010fffd\U000f0000 \ufffd\ufffe\uffff",
        "<|im_start|>user\nhi<|im_end|>\n", "<|im_end|><|im_end|> <|im_end|>x<|im_end|>", "<|im_start|", "|im_end|>", "<<|im_end|>>",
        "<|endoftext|> and <|begin_of_text|> and <|eot_id|> <|start_header_id|>system<|end_header_id|>", "<repo_name>a<file_sep>b<empty_output>",
        "<s>text</s><unk><0x0A>", "[INST] hi [/INST]", "\u2581under\u2581score \u0120GPT \u010a", "\"quoted\" \u201cquoted\u201d \u2018single\u2019 \u00ab\u00e9\u00bb -- \u2013 \u2014 \u2026",
        "a" * 300, " " * 200, "\n" * 100, "ab" * 150, "-" * 128, "0" * 65, "=+" * 40 + "\n" + "#" * 7, "\u00e9" * 90, "word " * 50, "\u4e00" * 80,
        "CamelCaseWords andsnake_case_words and-kebab-case ALLCAPS mIxEd", "x\n \n  \n   y\n\t\n", "end with spaces  \n  ", "!?!?...!!! ;;; ::: ,,,",
        "\u20ac100 \u00a35 \u00a5\u4e07 $3.50 50% \u2030 x\u00b2+y\u00b3\u2260z \u2211\u222b\u221a\u221e \u2190\u2191\u2192\u2193 \u2588\u2591\u2592", "H\u2082O CO\u2082 10\u207b\u00b3", "\u200d\u200c\u200e\u200f\u202a\u202e\u2066",
    ]
    ranges = [(0x20, 0x7f), (0x20, 0x7f), (0x00, 0x100), (0xa0, 0x250), (0x370, 0x530), (0x590, 0x700), (0x900, 0xe80),
              (0x1e00, 0x2070), (0x2070, 0x2c00), (0x3000, 0x3400), (0x4e00, 0x9fff), (0xac00, 0xd7a3), (0xfb00, 0x10000),
              (0x10000, 0x10fff), (0x1d400, 0x1d800), (0x1f300, 0x1fa00), (0xe0000, 0xe0100)]
    made = []
    for low, high in ranges:
        for _ in range(4):
            made.append("".join(chr(rng.randrange(low, high)) for _ in range(rng.randrange(5, 40))))
    words = " ".join(fixed).split(" ")
    gaps = [" ", " ", " ", "  ", "\n", "", ", ", "\t", " \n", "1", "'s "]
    for _ in range(60):
        made.append("".join(rng.choice(words)[:20] + rng.choice(gaps) for _ in range(rng.randrange(3, 14))))
    for _ in range(30):
        made.append("".join(rng.choice(" \n\t\r\u00a0\u3000ab1.") for _ in range(rng.randrange(2, 30))))
    return fixed + made


def byte_level(model, steps, added, normalizer=None):
    tokenizer = Tokenizer(model)
    if normalizer:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_tokens([AddedToken(text, special=special, normalized=False) for text, special in added])
    return tokenizer


def split(regex):
    return pre_tokenizers.Split(Regex(regex), "isolated", False)


def smollm2(path):
    fields = gguf.GGUFReader(path).fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    types = fields["tokenizer.ggml.token_type"].contents()
    merges = [tuple(line.split(" ")) for line in fields["tokenizer.ggml.merges"].contents()]
    model = models.BPE({token: i for i, token in enumerate(tokens)}, merges)
    steps = [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    added = [(token, kind == 3) for token, kind in zip(tokens, types) if kind in (3, 4)]
    return byte_level(model, steps, added), fields["tokenizer.chat_template"].contents()


def encodings(tokenizer, texts):
    """Ids with control tokens read as such; with all text as text, where that differs; texts of the latter, where
    the vocabulary lacks a byte."""
    special = [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]
    tokenizer.encode_special_tokens = True
    plain = [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]
    tokenizer.encode_special_tokens = False
    decoded = [tokenizer.decode(ids, skip_special_tokens=False) for ids in plain]
    return {
        "special": special,
        "plain": {i: p for i, (s, p) in enumerate(zip(special, plain)) if s != p},
        "decoded": {i: d for i, (t, d) in enumerate(zip(texts, decoded)) if t != d},
    }


W = r"\s*[\r\n]+|\s+(?!\S)|\s+"
CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
DEEPSEEK_V3 = (r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
               r"| ?[\p{P}\p{S}]+[\r\n]*|" + W)
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
TEKKEN = (rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*|\p{{N}}"
          r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|" + W)


def pre_tokenizer_steps(cased):
    llama = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|" + W
    bytes_only = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    gpt2 = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    return {
        "gpt-2": [gpt2],
        "smollm": [pre_tokenizers.Digits(individual_digits=True), gpt2],
        "llama-bpe": [split(llama), bytes_only],
        "qwen2": [split(llama.replace("{1,3}", "")), bytes_only],
        "tekken": [split(TEKKEN), bytes_only],
        "deepseek-llm": [split("[\r\n]"), split(r"\s?[" + cased + "]+"),
                         split("\\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+"), split(r"\s+$"),
                         split("[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"), split(r"\p{N}+"), bytes_only],
        "deepseek-v3": [split(r"\p{N}{1,3}"), split("[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"), split(DEEPSEEK_V3),
                        bytes_only],
    }


def cased_letters(repository):
    """DeepSeek's list of letters: the same data as in the code under test, read from there."""
    source = (repository / "rust/text/src/pre_tokenizers.rs").read_text()
    block = source.split("const DEEPSEEK_CASED", 1)[1].split(");", 1)[0]
    lines = [line.strip()[2:-2] for line in block.splitlines() if line.strip().startswith('r"')]
    text = "".join(lines[1:])
    while "\\u{" in text:
        before, rest = text.split("\\u{", 1)
        number, after = rest.split("}", 1)
        text = before + chr(int(number, 16)) + after
    return text


def crossing_vocabulary(texts):
    """A byte-level vocabulary whose merges cross spaces, digits, letters and line ends alike."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    trainer = trainers.BpeTrainer(vocab_size=1500, max_token_length=8, show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(texts * 3, trainer)
    data = json.loads(tokenizer.to_str())["model"]
    tokens = sorted(data["vocab"], key=data["vocab"].get)
    return tokens, [tuple(merge) for merge in data["merges"]]


def sentence_piece(texts):
    output = io.BytesIO()
    lines = [line for text in texts for line in text.splitlines() if all(" " <= c < "\u0600" for c in line)]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines * 2), model_writer=output, vocab_size=1200, model_type="bpe", byte_fallback=True,
        normalization_rule_name="identity", remove_extra_whitespaces=False, character_coverage=0.98,
        user_defined_symbols=["<tool>"], control_symbols=["<|end|>"], minloglevel=2)
    model = sentencepiece.SentencePieceProcessor(model_proto=output.getvalue())
    size = model.get_piece_size()

    def kind(i):
        if model.is_unknown(i):
            return 2
        if model.is_control(i):
            return 3
        if model.is_byte(i):
            return 6
        return 4 if model.id_to_piece(i) == "<tool>" else 1

    return {
        "tokens": [model.id_to_piece(i) for i in range(size)],
        "scores": [model.get_score(i) for i in range(size)],
        "types": [kind(i) for i in range(size)],
        "ids": [model.encode(text) for text in texts],
        "texts": [model.decode(model.encode(text)) for text in texts],
    }


QWEN = """{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0]['role'] == 'system' %}
        {{- messages[0]['content'] }}
    {%- else %}
        {{- 'You are a helpful assistant.' }}
    {%- endif %}
    {{- "\\n\\n# Tools\\n\\nYou may call one or more functions.\\n\\n<tools>" }}
    {%- for tool in tools %}
        {{- "\\n" }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- "\\n</tools><|im_end|>\\n" }}
{%- else %}
    {%- if messages[0]['role'] == 'system' %}
        {{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}
    {%- else %}
        {{- '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}
    {%- endif %}
{%- endif %}
{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) or (message.role == "assistant" and not message.tool_calls) %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {{- '<|im_start|>' + message.role }}
        {%- if message.content %}
            {{- '\\n' + message.content }}
        {%- endif %}
        {%- for tool_call in message.tool_calls %}
            {%- if tool_call.function is defined %}
                {%- set tool_call = tool_call.function %}
            {%- endif %}
            {{- '\\n<tool_call>\\n{"name": "' }}
            {{- tool_call.name }}
            {{- '", "arguments": ' }}
            {{- tool_call.arguments | tojson }}
            {{- '}\\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == "tool" %}
        {%- if (loop.index0 == 0) or (messages[loop.index0 - 1].role != "tool") %}
            {{- '<|im_start|>user' }}
        {%- endif %}
        {{- '\\n<tool_response>\\n' }}
        {{- message.content }}
        {{- '\\n</tool_response>' }}
        {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}
            {{- '<|im_end|>\\n' }}
        {%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}
"""

LLAMA = """{{- bos_token }}
{%- if not date_string is defined %}
    {%- set date_string = "26 Jul 2024" %}
{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\nCutting Knowledge Date: December 2023\\nToday Date: " + date_string + "\\n\\n" }}
{{- system_message }}
{%- if tools is not none %}
    {%- for t in tools %}
{{- t | tojson(indent=4) }}
{{- "\\n\\n" }}
    {%- endfor %}
{%- endif %}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' }}
    {%- elif 'tool_calls' in message %}
        {%- if not message.tool_calls|length == 1 %}
            {{- raise_exception("This model only supports single tool-calls at once!") }}
        {%- endif %}
        {%- set tool_call = message.tool_calls[0].function %}
        {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n{"name": "' + tool_call.name + '", "parameters": ' }}
        {{- tool_call.arguments | tojson }}
        {{- "}<|eot_id|>" }}
    {%- else %}
        {{- "<|start_header_id|>ipython<|end_header_id|>\\n\\n" }}
        {%- if message.content is mapping or message.content is iterable and message.content is not string %}
            {{- message.content | tojson }}
        {%- else %}
            {{- message.content }}
        {%- endif %}
        {{- "<|eot_id|>" }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""

FEATURES = """{% set ns = namespace(found=false, n=0) %}
{% for m in messages %}
  {% if m.role == 'system' %}{% continue %}{% endif %}
  {% generation %}
  {% set ns.n = ns.n + 1 %}
  {{ loop.index }}:{{ m['role'] | upper }}:{{ m.content.strip().split(' ') | join('|') }}
  {% endgeneration %}
  {%- if m.content.startswith('stop') %}{% set ns.found = true %}{% break %}{% endif %}
{% endfor %}
{# a comment #}
{{ ns.n }} {{ ns.found }} {{ none }} {{ [1, 2.5, 'x', true, none] }} {{ {'a': 1, 'b': [1.0]} }}
{{ messages | map(attribute='role') | list }} {{ messages | selectattr('role', 'equalto', 'user') | list | length }}
{{ messages[-1].content[:3] }} {{ messages[::-1][0].role }} {{ 'abc'[1] }} {{ (7 // 2) ~ 7 % 4 ~ 2 ** 5 ~ 7 / 2 }}
{{ x | tojson }} {{ x | tojson(indent=2) }} {{ x | tojson(sort_keys=true) }} {{ x | tojson(separators=(',', ':')) }}
{{ x.items() | list | length }} {{ x.get('missing', 'default') }} {{ 'k' in x }} {{ x.missing is defined }} {{ x['f'] }}
{% macro show(value, times=2) %}[{{ value * times }}]{% endmacro %}{{ show('ab') }}{{ show('c', times=3) }}
{% if messages is iterable and messages is not string and x is mapping %}ok{% else %}bad{% endif %}
{{ 'a-b_c'.replace('-', '+').title() }} {{ '  pad '.lstrip() }}|{{ 'xxaxx'.strip('x') }} {{ 'Aé'.lower() }} {{ "%s" | format('f') }}
{{ undefined_name }}{{ undefined_name | default('d') }} {{ 3 | string + 'x' }} {{ '12' | int + 1 }} {{ range(3) | list }}
{{ documents is none }} {{ tools is none }} {{ 'a' if false else 'b' }}{{ '' if true }} {{ messages | first == messages[0] }}
"""

TOOLS = [
    {"type": "function", "function": {"name": "get_weather", "description": "The weather <now> & \"here\" in \u00e9",
     "parameters": {"type": "object", "properties": {"zone": {"type": "string", "enum": ["a", "b"]},
                                                     "days": {"type": "integer", "minimum": 1, "default": 1.5}},
                    "required": ["zone"]}}},
    {"type": "function", "function": {"name": "none", "parameters": {}}},
]


def chats(tokenizer, smollm2_template):
    simple = [{"role": "user", "content": "Hello! What is 2+2?"}]
    system = [{"role": "system", "content": " Be brief.\n"}] + simple
    turns = system + [{"role": "assistant", "content": "4"}, {"role": "user", "content": "stop \u00e9\U0001f600 <b> 'x' \"y\"  "}]
    calls = turns + [
        {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": {
            "name": "get_weather", "arguments": {"zone": "\u00e9 <>", "days": 2, "t": 1e-5, "big": 1e16, "none": None, "l": [True, 0.1]}}}]},
        {"role": "tool", "content": "{\"t\": 20}"}, {"role": "user", "content": "Thanks"}]
    two_calls = simple + [{"role": "assistant", "content": "", "tool_calls": [
        {"function": {"name": "a", "arguments": {}}}, {"function": {"name": "b", "arguments": {}}}]}]
    templates = {"smollm2": smollm2_template, "qwen": QWEN, "llama": LLAMA, "features": FEATURES}
    x = {"x": {"k": [1, 2], "f": 0.5, "b": "<\u00e9>\u2028\x7f\x01", "a": {}, "l": []}}
    cases = []
    for name in ["smollm2", "qwen", "llama"]:
        for messages in [simple, system, turns] + ([calls] if name != "smollm2" else []):
            for tools in [None, TOOLS]:
                cases.append((name, messages, tools, {}, True))
        cases.append((name, turns, None, {"date_string": "1 Jan 2025", "enable_thinking": False}, False))
    cases += [("qwen", simple, None, {"enable_thinking": False}, True), ("llama", two_calls, None, {}, True),
              ("features", turns, None, x, False), ("features", system, TOOLS, x, True)]
    wrapped = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<|im_start|>", eos_token="<|im_end|>", unk_token="<|endoftext|>",
        pad_token="<|im_end|>")
    result = []
    for name, messages, tools, kwargs, prompt in cases:
        case = {"template": name, "messages": messages, "tools": tools, "kwargs": kwargs, "add_generation_prompt": prompt}
        arguments = dict(chat_template=templates[name], tools=tools, add_generation_prompt=prompt, **kwargs)
        try:
            case["text"] = wrapped.apply_chat_template(messages, tokenize=False, **arguments)
            case["ids"] = wrapped.apply_chat_template(messages, tokenize=True, return_dict=False, **arguments)
        except Exception as error:
            case["error"] = str(error)
        result.append(case)
    del templates["smollm2"]
    return {"templates": templates, "cases": result}


def main():
    texts = strings()
    smol, smollm2_template = smollm2(sys.argv[1])
    golden = Tokenizer.from_file(str(REPOSITORY / "tests/golden/data/llama-f32/model/tokenizer.json"))
    tokens, merges = crossing_vocabulary(texts)
    control = ["<|im_start|>", "<|im_end|>"]
    pre = {}
    short = [i for i, text in enumerate(texts) if len(text) < 120]
    for name, steps in pre_tokenizer_steps(cased_letters(REPOSITORY)).items():
        ignore_merges = name in ("llama-bpe", "tekken")
        model = models.BPE({token: i for i, token in enumerate(tokens)}, merges, ignore_merges=ignore_merges)
        tokenizer = byte_level(model, steps, [(text, True) for text in control],
                               normalizers.NFC() if name == "qwen2" else None)
        pre[name] = [tokenizer.encode(texts[i], add_special_tokens=False).ids for i in short]
    reference = {
        "strings": texts,
        "smollm2": encodings(smol, texts),
        "llama-f32": encodings(golden, texts),
        "crossing": {"tokens": tokens, "merges": [" ".join(merge) for merge in merges], "control": control,
                     "strings": short, "ids": pre},
        "sentencepiece": sentence_piece(texts),
        "chats": chats(smol, smollm2_template),
    }
    with open(HERE / "reference.json", "w") as out:
        json.dump(reference, out, separators=(",", ":"), ensure_ascii=True)
        out.write("\n")


if __name__ == "__main__":
    main()
