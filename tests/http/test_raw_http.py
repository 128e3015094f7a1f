"""What no client library would send: nothing of it ends the daemon or disturbs another request."""

import json
import random
import socket
import threading

import openai
import pytest

from daemon import wait_until


def exchange(daemon, data, half_close=False, seconds=10):
    with socket.create_connection(("127.0.0.1", daemon.port), timeout=seconds) as connection:
        try:
            connection.sendall(data)
        except OSError:
            pass
        if half_close:
            try:
                connection.shutdown(socket.SHUT_WR)
            except OSError:
                pass
        reply = b""
        try:
            while piece := connection.recv(65536):
                reply += piece
        except OSError:
            pass
        return reply


def post(path, body, headers=""):
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
    return head.encode() + body


def status_of(reply):
    return int(reply.split(b" ", 2)[1]) if reply.startswith(b"HTTP/1.1 ") else 0


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"text"',
        b"{'model': 1}",
        b'{"model": "\xff\xfe"}',
        b'{"model": "\\ud800"}',
        b'{"model": 1e999}',
        b"[" * 200000,
        b'{"a":' * 50 + b"1" + b"}" * 50,
        b"{" + b",".join(b'"k%d":1' % i for i in range(5000)) + b"}",
        b"\x00" * 100,
        b'{"model":"smollm2","messages":[{"role":"user","content":"x"}],"max_tokens":NaN}',
    ],
)
def test_bodies_that_are_no_request(daemon, body):
    for path in ("/v1/chat/completions", "/v1/completions"):
        reply = exchange(daemon, post(path, body))
        assert status_of(reply) == 400, reply[:200]
        error = json.loads(reply.split(b"\r\n\r\n", 1)[1])["error"]
        assert set(error) == {"message", "type", "param", "code"}


def test_unknown_path_and_wrong_method(daemon):
    reply = exchange(daemon, b"GET /v1/nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert status_of(reply) == 404
    assert b'"error"' in reply
    reply = exchange(daemon, b"GET /v1/chat/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert status_of(reply) == 405
    assert b"Allow: POST" in reply


def test_too_large_body(daemon):
    reply = exchange(daemon, post("/v1/completions", b" " * (5 << 20)))
    assert status_of(reply) == 413
    assert b"Maximum allowed size is 4MB" in reply


def test_too_long_headers(daemon):
    reply = exchange(daemon, b"GET /v1/models HTTP/1.1\r\nHost: x\r\nX-A: " + b"a" * 100000 + b"\r\n\r\n")
    assert status_of(reply) == 431


def test_garbage(daemon):
    generator = random.Random(5)
    for i in range(40):
        data = generator.randbytes(300)
        if i % 2:
            data = b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 200\r\n\r\n" + data
        reply = exchange(daemon, data, half_close=True)
        assert not reply or 400 <= status_of(reply) < 500, reply[:100]


def test_half_requests_and_idle_connections(daemon, client, model):
    open_sockets = []
    for data in (b"", b"POST", b"POST /v1/completions HTTP/1.1\r\nContent-Length: 100\r\n\r\n{") * 30:
        connection = socket.create_connection(("127.0.0.1", daemon.port))
        connection.sendall(data)
        open_sockets.append(connection)
    assert client.completions.create(model=model, prompt="x", max_tokens=2).usage.completion_tokens == 2
    for connection in open_sockets:
        connection.close()


def test_pipelined_requests(daemon, model):
    body = json.dumps({"model": model, "prompt": "a", "max_tokens": 2}).encode()
    one = f"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    reply = exchange(daemon, one * 3 + b"GET /v1/models HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert reply.count(b"HTTP/1.1 200 OK") == 4


def test_client_that_does_not_read(daemon, client, model):
    """Its stream is bounded and ends; others go on."""
    body = json.dumps(
        {"model": model, "prompt": "a", "max_tokens": 1000, "ignore_eos": True, "stream": True, "n": 8, "temperature": 1}
    ).encode()
    with socket.create_connection(("127.0.0.1", daemon.port)) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        connection.sendall(post("/v1/completions", body))
        assert client.completions.create(model=model, prompt="x", max_tokens=2).usage.completion_tokens == 2
    assert wait_until(daemon.idle, 5)


def test_storm_of_disconnects(daemon, client, model):
    body = json.dumps({"model": model, "prompt": "storm", "max_tokens": 500, "ignore_eos": True, "stream": True}).encode()

    def hit():
        with socket.create_connection(("127.0.0.1", daemon.port)) as connection:
            connection.sendall(post("/v1/completions", body))
            connection.recv(200)

    expected = client.completions.create(model=model, prompt="One two three", temperature=0, max_tokens=20).choices[0].text
    threads = [threading.Thread(target=hit) for _ in range(40)]
    for thread in threads:
        thread.start()
    reply = client.completions.create(model=model, prompt="One two three", temperature=0, max_tokens=20)
    for thread in threads:
        thread.join()
    assert reply.choices[0].text == expected
    assert wait_until(daemon.idle, 5)


def test_broken_request_beside_a_good_one(daemon, client, model):
    stream = client.completions.create(model=model, prompt="Tell me", temperature=0, max_tokens=40, stream=True)
    pieces = []
    for i, chunk in enumerate(stream):
        pieces.append(chunk.choices[0].text)
        if i % 8 == 0:
            exchange(daemon, post("/v1/completions", b"{broken"))
            with pytest.raises(openai.BadRequestError):
                client.completions.create(model=model, prompt=[10**6], max_tokens=1)
    assert "".join(pieces) == client.completions.create(
        model=model, prompt="Tell me", temperature=0, max_tokens=40
    ).choices[0].text
