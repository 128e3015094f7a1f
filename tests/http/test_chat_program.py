"""`phalanx chat` against the running daemon."""

import os
import pathlib
import pty
import select
import signal
import subprocess
import time

import pytest


@pytest.fixture
def program():
    path = pathlib.Path(os.environ["PHX_DAEMON"]).parent / "phalanx"
    if not path.exists():
        pytest.skip("phalanx is not beside the daemon")
    return str(path)


def run(program, *arguments, **options):
    return subprocess.run([program, "chat", *arguments], capture_output=True, text=True, timeout=60, **options)


QUESTION = "What is the capital of France?"


@pytest.fixture
def expected(client, model):
    messages = [{"role": "user", "content": QUESTION}]
    reply = client.chat.completions.create(model=model, messages=messages, temperature=0, max_tokens=30)
    return reply.choices[0].message.content


def test_one_question(daemon, program, expected):
    done = run(program, "--url", daemon.url, "--temperature", "0", "--max-tokens", "30", QUESTION)
    assert done.returncode == 0, done.stderr
    assert done.stdout == expected + "\n"


def test_question_from_a_pipe(daemon, program, expected):
    done = run(program, "--url", daemon.url, "--temperature", "0", "--max-tokens", "30", input=QUESTION + "\n")
    assert done.returncode == 0, done.stderr
    assert done.stdout == expected + "\n"


def test_conversation_in_a_terminal(daemon, program, expected):
    """On a terminal: the answer, the commands, Ctrl-C stops an answer, Ctrl-D ends."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [program, "chat", "--url", daemon.url, "--temperature", "0", "--max-tokens", "500"],
        stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
    )
    os.close(slave)
    seen = ""

    def read_until(text, seconds=30):
        nonlocal seen
        end = time.monotonic() + seconds
        while text not in seen and time.monotonic() < end:
            if select.select([master], [], [], 0.1)[0]:
                seen += os.read(master, 4096).decode(errors="replace")
        assert text in seen, seen
        seen = seen.split(text, 1)[1]

    try:
        read_until("> ")
        os.write(master, b"/reset\n")
        read_until("> ")
        os.write(master, (QUESTION + "\n").encode())
        read_until(expected.split("\n")[0][:40])
        process.send_signal(signal.SIGINT)
        read_until("> ")
        os.write(master, b"/nonsense\n")
        read_until("/exit")
        read_until("> ")
        os.write(master, b"\x04")
        assert process.wait(10) == 0
    finally:
        process.kill()
        os.close(master)


def test_errors(daemon, program):
    done = run(program, "--url", "http://127.0.0.1:1", "hello")
    assert done.returncode == 2
    assert "127.0.0.1:1" in done.stderr
    done = run(program, "--url", daemon.url, "--model", "other", "hello")
    assert done.returncode == 2
    assert "other" in done.stderr
    done = run(program, "--url", "https://x", "hello")
    assert done.returncode == 2
