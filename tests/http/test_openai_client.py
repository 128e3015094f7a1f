"""What an OpenAI client can ask of the server."""

import concurrent.futures
import math
import time

import httpx
import openai
import pytest

from daemon import wait_until

QUESTION = [{"role": "user", "content": "What is the capital of France? Answer in one sentence."}]


def chat(client, model, **options):
    return client.chat.completions.create(model=model, messages=options.pop("messages", QUESTION), **options)


def complete(client, model, prompt="The capital of France is", **options):
    return client.completions.create(model=model, prompt=prompt, **options)


def text_of(stream):
    return "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)


def test_chat_answers(client, model):
    reply = chat(client, model, temperature=0, max_tokens=40)
    assert reply.object == "chat.completion"
    assert reply.id.startswith("chatcmpl-")
    assert reply.model == model
    assert abs(reply.created - time.time()) < 60
    choice = reply.choices[0]
    assert choice.message.role == "assistant"
    assert "Paris" in choice.message.content
    assert choice.finish_reason in ("stop", "length")
    assert choice.logprobs is None
    usage = reply.usage
    assert usage.prompt_tokens > 10
    assert 0 < usage.completion_tokens <= 40
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens


def test_chat_stream_equals_the_whole(client, model):
    whole = chat(client, model, temperature=0, max_tokens=60)
    chunks = list(
        chat(client, model, temperature=0, max_tokens=60, stream=True, stream_options={"include_usage": True})
    )
    assert chunks[0].choices[0].delta.role == "assistant"
    assert text_of(chunks) == whole.choices[0].message.content
    assert len(chunks) > 5
    assert len({chunk.id for chunk in chunks}) == 1
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == whole.choices[0].finish_reason
    assert chunks[-1].choices == []
    assert chunks[-1].usage == whole.usage
    assert all(chunk.usage is None for chunk in chunks[:-1])


def test_chat_stream_without_usage(client, model):
    chunks = list(chat(client, model, max_tokens=5, stream=True))
    assert all(chunk.usage is None for chunk in chunks)
    assert all(len(chunk.choices) == 1 for chunk in chunks)


def test_conversations_and_text_parts(client, model):
    def prompt(*messages):
        reply = chat(client, model, messages=list(messages), max_tokens=1, extra_body={"return_token_ids": True})
        return reply.prompt_token_ids

    system = {"role": "system", "content": "You are terse."}
    hello = {"role": "user", "content": "My name is Ada."}
    answer = {"role": "assistant", "content": "Nice to meet you, Ada!"}
    whole = {"role": "user", "content": "What is my name?"}
    parts = {"role": "user", "content": [{"type": "text", "text": "What is "}, {"type": "text", "text": "my name?"}]}
    assert prompt(system, hello, answer, parts) == prompt(system, hello, answer, whole)
    assert len(prompt(system, hello, answer, whole)) > len(prompt(system, whole)) > 10
    assert prompt(system, hello) != prompt(hello)


def test_greedy_is_the_default_and_the_same_every_time(client, model):
    texts = {chat(client, model, max_tokens=20, **more).choices[0].message.content for more in ({}, {}, {"temperature": 0})}
    assert len(texts) == 1


def test_max_tokens(client, model):
    for option in ("max_tokens", "max_completion_tokens"):
        reply = chat(client, model, **{option: 3})
        assert reply.usage.completion_tokens == 3
        assert reply.choices[0].finish_reason == "length"


def test_stop_strings_end_and_never_leak(client, model):
    full = chat(client, model, temperature=0, max_tokens=40).choices[0].message.content
    stop = full[len(full) // 2 : len(full) // 2 + 4]
    expected = full[: full.index(stop)]
    reply = chat(client, model, temperature=0, max_tokens=40, stop=[stop, "never to be said"])
    assert reply.choices[0].message.content == expected
    assert reply.choices[0].finish_reason == "stop"
    assert reply.choices[0].stop_reason == stop
    assert text_of(chat(client, model, temperature=0, max_tokens=40, stop=stop, stream=True)) == expected
    included = chat(
        client, model, temperature=0, max_tokens=40, stop=stop, extra_body={"include_stop_str_in_output": True}
    )
    assert included.choices[0].message.content == expected + stop


def test_stop_token_ids(client, model):
    ids = complete(client, model, temperature=0, max_tokens=10, extra_body={"return_token_ids": True}).choices[0].token_ids
    reply = complete(
        client,
        model,
        temperature=0,
        max_tokens=10,
        extra_body={"stop_token_ids": [ids[4]], "return_token_ids": True},
    ).choices[0]
    end = ids.index(ids[4]) + 1
    assert reply.token_ids == ids[:end]
    assert reply.finish_reason == "stop"
    assert reply.stop_reason == ids[4]


def test_ignore_eos_goes_on(client, model):
    reply = chat(client, model, temperature=0, max_tokens=120, extra_body={"ignore_eos": True})
    assert reply.usage.completion_tokens == 120
    assert reply.choices[0].finish_reason == "length"


def test_several_choices(client, model):
    reply = chat(client, model, n=4, temperature=1.2, seed=11, max_tokens=20)
    assert [choice.index for choice in reply.choices] == [0, 1, 2, 3]
    texts = [choice.message.content for choice in reply.choices]
    assert len(set(texts)) > 1
    streamed = [""] * 4
    for chunk in chat(client, model, n=4, temperature=1.2, seed=11, max_tokens=20, stream=True):
        for choice in chunk.choices:
            streamed[choice.index] += choice.delta.content or ""
    assert streamed == texts


def test_seeds_decide(client, model):
    def say(seed):
        return chat(client, model, temperature=1.3, seed=seed, max_tokens=24).choices[0].message.content

    assert say(1) == say(1)
    assert len({say(seed) for seed in (1, 2, 3, 4)}) > 1
    unseeded = {chat(client, model, temperature=1.5, max_tokens=24).choices[0].message.content for _ in range(4)}
    assert len(unseeded) > 1


def test_sampling_parameters_are_taken(client, model):
    greedy = chat(client, model, temperature=0, max_tokens=16).choices[0].message.content
    assert chat(client, model, temperature=2, max_tokens=16, extra_body={"top_k": 1}).choices[0].message.content == greedy
    assert chat(client, model, temperature=2, top_p=1e-6, max_tokens=16).choices[0].message.content == greedy
    assert chat(client, model, temperature=2, max_tokens=16, extra_body={"min_p": 1.0}).choices[0].message.content == greedy
    for more in (
        {"presence_penalty": 2, "frequency_penalty": 2},
        {"extra_body": {"repetition_penalty": 1.5}},
    ):
        reply = complete(client, model, prompt="na na na na na na", temperature=0, max_tokens=16, **more)
        assert reply.choices[0].text != complete(
            client, model, prompt="na na na na na na", temperature=0, max_tokens=16
        ).choices[0].text


def test_chat_logprobs(client, model):
    reply = chat(client, model, temperature=0, max_tokens=8, logprobs=True, top_logprobs=3)
    content = reply.choices[0].logprobs.content
    assert len(content) == reply.usage.completion_tokens
    for item in content:
        assert item.logprob <= 0
        assert len(item.top_logprobs) == 3
        assert item.top_logprobs[0].token == item.token
        assert math.isclose(item.top_logprobs[0].logprob, item.logprob, abs_tol=1e-5)
        assert [top.logprob for top in item.top_logprobs] == sorted((top.logprob for top in item.top_logprobs), reverse=True)
        assert sum(math.exp(top.logprob) for top in item.top_logprobs) <= 1 + 1e-4
    assert bytes(b for item in content for b in item.bytes).decode().startswith(reply.choices[0].message.content)
    streamed = [
        item
        for chunk in chat(client, model, temperature=0, max_tokens=8, logprobs=True, top_logprobs=3, stream=True)
        if chunk.choices and chunk.choices[0].logprobs
        for item in chunk.choices[0].logprobs.content
    ]
    assert streamed == content


def test_completion_answers(client, model):
    reply = complete(client, model, temperature=0, max_tokens=8)
    assert reply.object == "text_completion"
    assert reply.id.startswith("cmpl-")
    assert "Paris" in reply.choices[0].text
    chunks = list(complete(client, model, temperature=0, max_tokens=8, stream=True))
    assert "".join(chunk.choices[0].text for chunk in chunks) == reply.choices[0].text
    assert chunks[-1].choices[0].finish_reason == "length"


def test_completion_prompts_of_every_form(client, model):
    extra = {"return_token_ids": True}
    text = complete(client, model, temperature=0, max_tokens=6, extra_body=extra).choices[0]
    ids = text.prompt_token_ids
    assert complete(client, model, prompt=ids, temperature=0, max_tokens=6).choices[0].text == text.text
    several = complete(client, model, prompt=["The capital of France is", "Two plus two is"], temperature=0, max_tokens=6)
    assert [choice.index for choice in several.choices] == [0, 1]
    assert several.choices[0].text == text.text
    lists = complete(client, model, prompt=[ids, ids[:3]], n=2, temperature=1, seed=3, max_tokens=6)
    assert [choice.index for choice in lists.choices] == [0, 1, 2, 3]
    assert lists.usage.prompt_tokens == len(ids) + 3


def test_completion_logprobs_and_echo(client, model):
    prompt = "The capital of France is"
    reply = complete(client, model, prompt=prompt, temperature=0, max_tokens=4, logprobs=2, echo=True)
    choice = reply.choices[0]
    assert choice.text.startswith(prompt)
    lists = choice.logprobs
    count = reply.usage.total_tokens
    assert len(lists.tokens) == len(lists.token_logprobs) == len(lists.top_logprobs) == len(lists.text_offset) == count
    assert lists.token_logprobs[0] is None and lists.top_logprobs[0] is None
    assert all(value <= 0 for value in lists.token_logprobs[1:])
    assert "".join(lists.tokens).startswith(prompt)
    for token, offset in zip(lists.tokens, lists.text_offset):
        assert choice.text[offset : offset + len(token)] == token or offset + len(token) > len(choice.text)
    scored = complete(client, model, prompt=prompt, max_tokens=0, logprobs=2, echo=True)
    assert scored.choices[0].text == prompt
    assert scored.choices[0].logprobs.token_logprobs == lists.token_logprobs[: reply.usage.prompt_tokens]
    assert scored.usage.completion_tokens == 0
    plain = complete(client, model, prompt=prompt, temperature=0, max_tokens=4, echo=True)
    assert plain.choices[0].text == choice.text


def test_token_ids(client, model):
    whole = chat(client, model, temperature=0, max_tokens=10, extra_body={"return_token_ids": True})
    assert len(whole.prompt_token_ids) == whole.usage.prompt_tokens
    assert len(whole.choices[0].token_ids) == whole.usage.completion_tokens
    chunks = list(chat(client, model, temperature=0, max_tokens=10, stream=True, extra_body={"return_token_ids": True}))
    assert chunks[0].prompt_token_ids == whole.prompt_token_ids
    streamed = [id for chunk in chunks for id in (getattr(chunk.choices[0], "token_ids", None) or [])]
    assert streamed == whole.choices[0].token_ids


def test_long_prompt_beside_a_stream(client, model):
    """A prompt of many chunks does not change what another request says."""
    alone = chat(client, model, temperature=0, max_tokens=30).choices[0].message.content
    long_prompt = "The quick brown fox jumps over the lazy dog. " * 180
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        longs = [pool.submit(complete, client, model, prompt=long_prompt, temperature=0, max_tokens=4) for _ in range(2)]
        beside = [pool.submit(chat, client, model, temperature=0, max_tokens=30) for _ in range(2)]
        assert {reply.result().choices[0].message.content for reply in beside} == {alone}
        assert len({reply.result().choices[0].text for reply in longs}) == 1


def test_many_concurrent_streams(client, model):
    questions = [f"Count from {i} to {i + 5}." for i in range(24)]

    def ask(question, stream):
        messages = [{"role": "user", "content": question}]
        if stream:
            return text_of(chat(client, model, messages=messages, temperature=0, max_tokens=24, stream=True))
        return chat(client, model, messages=messages, temperature=0, max_tokens=24).choices[0].message.content

    alone = {question: ask(question, False) for question in questions[:4]}
    with concurrent.futures.ThreadPoolExecutor(24) as pool:
        crowd = dict(zip(questions, pool.map(lambda question: ask(question, True), questions)))
    for question, answer in alone.items():
        assert crowd[question] == answer


def test_pinned_rank(client, daemon, model):
    before = daemon.metrics()
    name = f'dp_rank_generation_tokens_total{{model_name="{model}",dp_rank="1"}}'
    chat(client, model, max_tokens=7, temperature=0, extra_headers={"X-Data-Parallel-Rank": "1"}, extra_body={"ignore_eos": True})
    assert wait_until(lambda: daemon.metrics()[name] >= before[name] + 7)
    for bad in ("2", "-1", "one"):
        with pytest.raises(openai.BadRequestError) as error:
            chat(client, model, max_tokens=2, extra_headers={"X-Data-Parallel-Rank": bad})
        assert error.value.param == "X-Data-Parallel-Rank"


def test_request_id_comes_back(client, model):
    raw = client.chat.completions.with_raw_response.create(
        model=model, messages=QUESTION, max_tokens=1, extra_headers={"X-Request-Id": "my-id-7"}
    )
    assert raw.headers["x-request-id"] == "my-id-7"


@pytest.mark.parametrize(
    "options, param",
    [
        ({"temperature": -1}, "temperature"),
        ({"top_p": 2}, "top_p"),
        ({"n": 0}, "n"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"presence_penalty": 5}, "presence_penalty"),
        ({"top_logprobs": 50, "logprobs": True}, "top_logprobs"),
        ({"stop": [""]}, "stop"),
        ({"seed": -4}, "seed"),
        ({"logit_bias": {"1": 5}}, "logit_bias"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]}, "messages[0].content"),
        ({"extra_body": {"top_k": "many"}}, "top_k"),
    ],
)
def test_bad_parameters_are_named(client, model, options, param):
    with pytest.raises(openai.BadRequestError) as error:
        chat(client, model, **options)
    assert error.value.status_code == 400
    assert error.value.param == param
    assert error.value.type == "invalid_request_error"
    assert error.value.body["message"]


def test_unknown_model(client):
    with pytest.raises(openai.NotFoundError) as error:
        chat(client, "gpt-17")
    assert error.value.code == "model_not_found"
    assert "gpt-17" in str(error.value)
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gpt-17")


def test_too_long_prompt(client, model):
    with pytest.raises(openai.BadRequestError) as error:
        complete(client, model, prompt="word " * 4000)
    assert error.value.param == "prompt"
    assert error.value.code == "context_length_exceeded"


def test_models(client, model):
    listed = list(client.models.list())
    assert [entry.id for entry in listed] == [model]
    assert listed[0].object == "model"
    assert abs(listed[0].created - time.time()) < 3600
    assert client.models.retrieve(model).id == model


def test_health(daemon):
    for path in ("/health", "/v2/health/live", "/v2/health/ready"):
        reply = httpx.get(daemon.management_url + path)
        assert reply.status_code == 200
        assert reply.text == ""


def test_metrics(client, daemon, model):
    before = daemon.metrics()
    usage = chat(client, model, max_tokens=9, temperature=0, extra_body={"ignore_eos": True}).usage
    assert wait_until(daemon.idle)
    after = daemon.metrics()

    def gain(name, labels=""):
        key = f'{name}{{model_name="{model}"{labels}}}'
        return after[key] - before[key]

    assert gain("request_received_total") == 1
    assert gain("request_success_total") == 1
    assert gain("prompt_tokens_total") == usage.prompt_tokens
    assert gain("generation_tokens_total") == 9
    assert sum(gain("dp_rank_generation_tokens_total", f',dp_rank="{rank}"') for rank in (0, 1)) == 9
    assert gain("time_to_first_token_seconds_count") == 1
    assert gain("time_per_output_token_seconds_count") == 8
    assert gain("e2e_request_latency_seconds_count") == 1
    assert gain("request_prompt_tokens_sum") == usage.prompt_tokens
    assert gain("request_generation_tokens_sum") == 9
    assert after[f'npu_cache_usage_perc{{model_name="{model}"}}'] == 0


def test_client_that_hangs_up_frees_its_request(client, daemon, model):
    stream = chat(client, model, max_tokens=1000, stream=True, extra_body={"ignore_eos": True})
    for _, chunk in zip(range(4), stream):
        assert chunk.choices
    assert daemon.metric("num_requests_running") == 1
    stream.close()
    assert wait_until(daemon.idle, 2)
    assert wait_until(lambda: daemon.metric("npu_cache_usage_perc") == 0, 2)


def test_client_that_times_out_frees_its_request(client, daemon, model):
    with pytest.raises(openai.APITimeoutError):
        chat(client, model, max_tokens=1000, extra_body={"ignore_eos": True}, timeout=0.5)
    assert wait_until(daemon.idle, 2)


def test_async_client(daemon, model):
    import asyncio

    async def ask():
        async with openai.AsyncOpenAI(base_url=daemon.url + "/v1", api_key="none", max_retries=0) as client:
            streams = [
                await client.chat.completions.create(model=model, messages=QUESTION, temperature=0, max_tokens=16, stream=True)
                for _ in range(8)
            ]

            async def read(stream):
                return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

            return await asyncio.gather(*(read(stream) for stream in streams))

    assert len(set(asyncio.run(ask()))) == 1
