#!/usr/bin/env python3
"""Start-up time and memory of the daemon for several numbers of data-parallel ranks.

    startup.py --daemon build/latest/mindie-service/bin/mindieservice_daemon --model FILE [--dp 1,2,4,8] [--rounds 3]

Per dp: seconds from exec to "Daemon start success!" and to the first streamed token (files warm: one unmeasured start comes
first), and the PSS of the whole process set after one short answer (weights that ranks share count once).
"""
import argparse
import json
import os
import signal
import statistics
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path


def config(model, dp, port):
    return {
        "ServerConfig": {"httpsEnabled": False, "port": port, "managementPort": port + 1, "metricsPort": port + 2},
        "BackendConfig": {
            "npuDeviceIds": [list(range(dp))],
            "ModelDeployConfig": {"maxSeqLen": 2048, "maxInputTokenLen": 1024, "ModelConfig": [
                {"modelName": "m", "modelWeightPath": model, "worldSize": dp, "dp": dp, "tp": 1}]},
            "ScheduleConfig": {},
        },
    }


def processes(pid):
    children = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True).stdout.split()
    return [pid] + [int(c) for c in children]


def pss_mib(pid):
    total = 0
    for p in processes(pid):
        for line in Path(f"/proc/{p}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return total / 1024


def one_start(daemon, path, port):
    start = time.monotonic()
    server = subprocess.Popen([daemon, "--config-file", str(path)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        for line in server.stdout:
            if "Daemon start success!" in line:
                break
        else:
            raise SystemExit(f"the daemon ended with {server.wait()}")
        ready = time.monotonic() - start
        body = {"model": "m", "stream": True, "max_tokens": 8, "messages": [{"role": "user", "content": "Hello!"}]}
        request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/chat/completions", json.dumps(body).encode())
        first = None
        with urllib.request.urlopen(request) as reply:
            for event in reply:
                if first is None and b'"content":"' in event and b'"content":""' not in event:
                    first = time.monotonic() - start
        return ready, first, pss_mib(server.pid)
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait()


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--daemon", required=True)
    args.add_argument("--model", required=True)
    args.add_argument("--dp", default="1,2,4,8")
    args.add_argument("--rounds", type=int, default=3)
    args.add_argument("--port", type=int, default=18200)
    args = args.parse_args()
    print("| dp | start to ready, s | start to first token, s | PSS, MiB |")
    print("|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for dp in map(int, args.dp.split(",")):
            path = Path(folder) / f"dp{dp}.json"
            path.write_text(json.dumps(config(os.path.abspath(args.model), dp, args.port)))
            path.chmod(0o640)
            rounds = [one_start(args.daemon, path, args.port) for _ in range(args.rounds + 1)][1:]
            cells = []
            for values, digits in zip(zip(*rounds), (2, 2, 0)):
                cells.append(f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})")
            print(f"| {dp} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
