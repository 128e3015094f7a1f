"""A daemon under test: configuration, start, stop, and what it left behind."""

import copy
import json
import os
import pathlib
import signal
import socket
import subprocess
import threading
import time
import urllib.request

MODEL_NAME = "smollm2"

CONFIG = {
    "Version": "1.0.0",
    "ServerConfig": {
        "ipAddress": "127.0.0.1",
        "managementIpAddress": "127.0.0.1",
        "allowAllZeroIpListening": False,
        "maxLinkNum": 300,
        "httpsEnabled": False,
        "inferMode": "standard",
        "openAiSupport": "vllm",
        "tokenTimeout": 600,
        "e2eTimeout": 600,
        "maxRequestLength": 4,
    },
    "BackendConfig": {
        "backendName": "mindieservice_llm_engine",
        "modelInstanceNumber": 1,
        "npuDeviceIds": [[0, 1]],
        "multiNodesInferEnabled": False,
        "interNodeTLSEnabled": False,
        "ModelDeployConfig": {
            "maxSeqLen": 2560,
            "maxInputTokenLen": 2048,
            "truncation": 0,
            "ModelConfig": [
                {
                    "modelInstanceType": "Standard",
                    "modelName": MODEL_NAME,
                    "worldSize": 2,
                    "cpuMemSize": 0,
                    "npuMemSize": 1,
                    "backendType": "atb",
                    "trustRemoteCode": False,
                    "tp": 1,
                    "dp": 2,
                }
            ],
        },
        "ScheduleConfig": {
            "templateType": "Standard",
            "templateName": "Standard_LLM",
            "cacheBlockSize": 16,
            "maxPrefillBatchSize": 50,
            "maxPrefillTokens": 4096,
            "maxBatchSize": 64,
            "maxIterTimes": 1024,
            "maxPreemptCount": 0,
        },
    },
}


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def children_of(pid):
    """All descendants, by their ids."""
    parents = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            stat = pathlib.Path("/proc", entry, "stat").read_text()
        except OSError:
            continue
        parents[int(entry)] = int(stat.rsplit(")", 1)[1].split()[1])
    found, frontier = [], [pid]
    while frontier:
        frontier = [child for child, parent in parents.items() if parent in frontier]
        found += frontier
    return found


def is_running(pid):
    try:
        stat = pathlib.Path("/proc", str(pid), "stat").read_text()
    except OSError:
        return False
    return stat.rsplit(")", 1)[1].split()[0] not in "ZX"


def wait_until(condition, seconds=10.0, period=0.02):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(period)
    return condition()


class Daemon:
    """One daemon process on ports of its own. `start` returns when it says that it serves."""

    def __init__(self, folder, model, program, change=None):
        self.folder = pathlib.Path(folder)
        self.program = program
        self.port, self.management_port, self.metrics_port = free_ports(3)
        config = copy.deepcopy(CONFIG)
        config["ServerConfig"].update(
            port=self.port, managementPort=self.management_port, metricsPort=self.metrics_port
        )
        config["BackendConfig"]["ModelDeployConfig"]["ModelConfig"][0]["modelWeightPath"] = str(model)
        if change:
            change(config)
        self.config_path = self.folder / "config.json"
        self.config_path.write_text(json.dumps(config, indent=2))
        self.config_path.chmod(0o640)
        self.process = None
        self.lines = []
        self.children = []

    def launch(self):
        self.stderr_path = self.folder / "stderr.txt"
        self.process = subprocess.Popen(
            [self.program, "--config-file", str(self.config_path)],
            stdout=subprocess.PIPE,
            stderr=open(self.stderr_path, "w"),
            stdin=subprocess.DEVNULL,
            text=True,
        )
        self.started = threading.Event()
        threading.Thread(target=self._read, daemon=True).start()
        return self

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            if "Daemon start success!" in line:
                self.started.set()

    def start(self, seconds=60):
        self.launch()
        assert wait_until(lambda: self.started.is_set() or self.process.poll() is not None, seconds), self.stderr()
        assert self.started.is_set(), f"ended with {self.process.returncode}: {self.stderr()}"
        self.children = children_of(self.process.pid)
        return self

    def stderr(self):
        return self.stderr_path.read_text()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    @property
    def management_url(self):
        return f"http://127.0.0.1:{self.management_port}"

    def metrics(self):
        """Name with labels -> value."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=10) as reply:
            text = reply.read().decode()
        values = {}
        for line in text.splitlines():
            if line and not line.startswith("#"):
                name, value = line.rsplit(" ", 1)
                values[name] = float(value)
        return values

    def metric(self, name):
        return self.metrics()[f'{name}{{model_name="{MODEL_NAME}"}}']

    def idle(self):
        return self.metric("num_requests_running") == 0 and self.metric("num_requests_waiting") == 0

    def stop(self, sig=signal.SIGTERM, seconds=45):
        if self.process.poll() is None:
            self.process.send_signal(sig)
        return self.process.wait(seconds)

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)
