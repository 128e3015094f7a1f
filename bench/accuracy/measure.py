#!/usr/bin/env python3
"""How far the served model's log-probabilities are from float arithmetic on the same (dequantised) weights.

    measure.py --model FILE.gguf --url http://127.0.0.1:1025/v1 [--llama PROGRAM] [--texts DIR] [--threads N]

Three engines see the same token ids of every text:
  reference   transformers, float32, on the weights that the `gguf` package dequantises
  phalanx     a running server (POST /v1/completions with echo and logprobs)
  llama.cpp   bench/accuracy/llama_logprobs.cpp (optional)
Prints mean and median |difference| of the log-probability of each next token against the reference, and the share of
positions where the difference is below 0.01. Needs torch, transformers, gguf, numpy (see README.md).
"""
import argparse
import json
import subprocess
import sys
import urllib.request
from pathlib import Path

import numpy as np


def reference_logprobs(model_path, texts):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder, name = str(Path(model_path).parent), Path(model_path).name
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name)
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.float32).eval()
    ids, logprobs = [], []
    for text in texts:
        tokens = tokenizer(text, add_special_tokens=False)["input_ids"]
        with torch.no_grad():
            logits = model(torch.tensor([tokens])).logits[0].double()
        lp = torch.log_softmax(logits, -1)
        ids.append(tokens)
        logprobs.append(np.array([lp[i, tokens[i + 1]].item() for i in range(len(tokens) - 1)]))
    return ids, logprobs


def phalanx_logprobs(url, ids):
    with urllib.request.urlopen(url + "/models") as reply:
        name = json.load(reply)["data"][0]["id"]
    result = []
    for tokens in ids:
        body = {"model": name, "prompt": tokens, "max_tokens": 0, "echo": True, "logprobs": 0, "temperature": 0}
        request = urllib.request.Request(url + "/completions", json.dumps(body).encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(request) as reply:
            values = json.load(reply)["choices"][0]["logprobs"]["token_logprobs"]
        result.append(np.array(values[1:], dtype=np.float64))
    return result


def llama_logprobs(program, model_path, threads, ids):
    lines = "\n".join(" ".join(map(str, tokens)) for tokens in ids) + "\n"
    out = subprocess.run([program, model_path, str(threads)], input=lines, capture_output=True, text=True, check=True).stdout
    return [np.array([float(x) for x in line.split()]) for line in out.strip().split("\n")]


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--model", required=True)
    args.add_argument("--url", required=True)
    args.add_argument("--llama", help="the built llama_logprobs")
    args.add_argument("--texts", type=Path, default=Path(__file__).with_name("texts"))
    args.add_argument("--threads", type=int, default=2)
    args = args.parse_args()

    files = sorted(args.texts.glob("*.txt"))
    ids, reference = reference_logprobs(args.model, [f.read_text() for f in files])
    engines = {"phalanx": phalanx_logprobs(args.url, ids)}
    if args.llama:
        engines["llama.cpp"] = llama_logprobs(args.llama, args.model, args.threads, ids)

    print(f"| text | tokens | mean logprob | " + " | ".join(f"{e} mean abs / median abs / below 0.01" for e in engines) + " |")
    print("|" + "---|" * (3 + len(engines)))

    def row(name, ref, theirs):
        cells = []
        for values in theirs:
            d = np.abs(values - ref)
            cells.append(f"{d.mean():.5f} / {np.median(d):.5f} / {(d < 0.01).mean():.0%}")
        print(f"| {name} | {len(ref) + 1} | {ref.mean():.4f} | " + " | ".join(cells) + " |")

    for i, f in enumerate(files):
        if any(len(e[i]) != len(reference[i]) for e in engines.values()):
            sys.exit(f"{f.name}: an engine returned another number of log-probabilities")
        row(f.stem, reference[i], [e[i] for e in engines.values()])
    row("all", np.concatenate(reference), [np.concatenate(e) for e in engines.values()])


if __name__ == "__main__":
    main()
