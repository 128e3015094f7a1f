"""Start and end: exit codes, drain, and nothing left behind."""

import os
import signal
import socket
import threading
import time

import httpx
import openai
import pytest

from daemon import children_of, is_running, wait_until


def connect(daemon):
    return openai.OpenAI(base_url=daemon.url + "/v1", api_key="none", max_retries=0, timeout=60)


def shared_memory():
    return set(os.listdir("/dev/shm"))


def assert_nothing_left(daemon, before):
    assert wait_until(lambda: not any(is_running(pid) for pid in daemon.children), 5)
    assert shared_memory() <= before
    for port in (daemon.port, daemon.management_port, daemon.metrics_port):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
def test_idle_daemon_ends_with_0(make_daemon, sig):
    before = shared_memory()
    daemon = make_daemon().start()
    assert len(daemon.children) >= 2
    assert connect(daemon).completions.create(model="smollm2", prompt="a", max_tokens=2).usage.completion_tokens == 2
    start = time.monotonic()
    assert daemon.stop(sig) == 0, daemon.stderr()
    assert time.monotonic() - start < 5
    assert_nothing_left(daemon, before)


def test_running_requests_finish_and_new_ones_are_refused(make_daemon):
    before = shared_memory()
    daemon = make_daemon().start()
    client = connect(daemon)
    stream = client.completions.create(
        model="smollm2", prompt="Go", max_tokens=400, stream=True, temperature=0, extra_body={"ignore_eos": True},
        stream_options={"include_usage": True},
    )
    chunks = [next(stream)]
    exit_code = []
    stopper = threading.Thread(target=lambda: exit_code.append(daemon.stop()))
    stopper.start()

    def refused():
        try:
            reply = httpx.get(daemon.management_url + "/v2/health/ready")
        except httpx.TransportError:
            return True
        return reply.status_code == 503

    assert wait_until(refused, 5)
    if daemon.process.poll() is None:
        with pytest.raises((openai.InternalServerError, openai.APIConnectionError)) as error:
            client.completions.create(model="smollm2", prompt="late", max_tokens=2)
        if isinstance(error.value, openai.InternalServerError):
            assert error.value.status_code == 503
            assert error.value.response.headers["retry-after"]
    chunks += list(stream)
    assert chunks[-1].usage.completion_tokens == 400
    stopper.join(60)
    assert exit_code == [0], daemon.stderr()
    assert_nothing_left(daemon, before)


def test_workers_end_with_a_killed_daemon(make_daemon):
    before = shared_memory()
    daemon = make_daemon().start()
    daemon.process.kill()
    daemon.process.wait(10)
    assert_nothing_left(daemon, before)


def test_killed_worker_ends_the_daemon_with_2_and_answers_its_requests(make_daemon):
    before = shared_memory()
    daemon = make_daemon().start()
    client = connect(daemon)
    stream = client.completions.create(
        model="smollm2", prompt="Go", max_tokens=1000, stream=True, extra_body={"ignore_eos": True},
        extra_headers={"X-Data-Parallel-Rank": "1"},
    )
    next(stream)
    workers = [pid for pid in children_of(daemon.process.pid) if is_running(pid)]
    os.kill(workers[-1], signal.SIGKILL)
    os.kill(workers[0], signal.SIGKILL)
    with pytest.raises(openai.OpenAIError):
        for _ in stream:
            pass
    assert daemon.process.wait(40) == 2, daemon.stderr()
    assert "rank" in daemon.stderr()
    assert_nothing_left(daemon, before)


def test_occupied_port_is_named(make_daemon):
    daemon = make_daemon()
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", daemon.port))
        holder.listen()
        daemon.launch()
        assert daemon.process.wait(30) != 0
    assert str(daemon.port) in daemon.stderr()
    assert "occupied" in daemon.stderr()
    assert not daemon.started.is_set()


def test_planes_on_one_port(make_daemon):
    def change(config):
        server = config["ServerConfig"]
        server["managementPort"] = server["metricsPort"] = server["port"]

    daemon = make_daemon(change).start()
    for path in ("/v1/models", "/v2/health/ready", "/metrics"):
        assert httpx.get(daemon.url + path).status_code == 200
    assert daemon.stop() == 0


def test_full_queue_is_503(make_daemon):
    def change(config):
        config["ServerConfig"]["maxLinkNum"] = 1

    daemon = make_daemon(change).start()
    client = connect(daemon)

    def fill():
        client.completions.create(model="smollm2", prompt="a", max_tokens=300, extra_body={"ignore_eos": True})

    threads = [threading.Thread(target=fill) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert wait_until(lambda: daemon.metric("num_requests_running") + daemon.metric("num_requests_waiting") == 3, 5)
    with pytest.raises(openai.InternalServerError) as error:
        client.completions.create(model="smollm2", prompt="a", max_tokens=1)
    assert error.value.status_code == 503
    assert error.value.code == "queue_full"
    assert error.value.response.headers["retry-after"]
    for thread in threads:
        thread.join(60)
    assert daemon.stop() == 0


def test_bad_configuration_ends_with_1(make_daemon):
    def change(config):
        config["ServerConfig"]["port"] = 80
        config["BackendConfig"]["ModelDeployConfig"]["ModelConfig"][0]["worldSize"] = 3

    daemon = make_daemon(change).launch()
    assert daemon.process.wait(30) == 1
    assert wait_until(lambda: "port" in daemon.stderr() + "\n".join(daemon.lines), 2)
