import os
import pathlib
import sys

import openai
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from daemon import MODEL_NAME, Daemon, wait_until  # noqa: E402


def _setting(name):
    value = os.environ.get(name)
    if not value or not pathlib.Path(value).exists():
        pytest.fail(f"{name} must name an existing file: scripts/test sets it", pytrace=False)
    return value


@pytest.fixture
def make_daemon(tmp_path):
    """Daemons of one test; what is still running at its end is killed."""
    daemons = []

    def make(change=None):
        folder = tmp_path / str(len(daemons))
        folder.mkdir()
        daemon = Daemon(folder, _setting("PHX_TEST_MODEL"), _setting("PHX_DAEMON"), change)
        daemons.append(daemon)
        return daemon

    yield make
    for daemon in daemons:
        daemon.kill()


@pytest.fixture(scope="session")
def shared_daemon(tmp_path_factory):
    daemon = Daemon(tmp_path_factory.mktemp("daemon"), _setting("PHX_TEST_MODEL"), _setting("PHX_DAEMON"))
    try:
        daemon.start()
        yield daemon
        assert daemon.stop() == 0, daemon.stderr()
    finally:
        daemon.kill()


@pytest.fixture
def daemon(shared_daemon):
    """The daemon that most tests share. After each of them it must be alive and have nothing to do."""
    yield shared_daemon
    assert shared_daemon.process.poll() is None, shared_daemon.stderr()
    assert wait_until(shared_daemon.idle), shared_daemon.metrics()


@pytest.fixture
def client(daemon):
    with openai.OpenAI(base_url=daemon.url + "/v1", api_key="none", max_retries=0, timeout=120) as client:
        yield client


@pytest.fixture
def model():
    return MODEL_NAME
