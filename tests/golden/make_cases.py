#!/usr/bin/env python3
"""Makes the small cases: options that the larger golden models do not have, without tokenizers.

    make_cases.py --out data [--only NAME ...]

Uses the drawing of weights, the greedy run and the trace of make_golden.py. Rope cases share one set of weights (stored with the
first); GGUF cases hold the weights of `wide` in ggml's types and are compared with transformers on the dequantised weights.
"""
import argparse, copy, json, shutil
from pathlib import Path

import gguf
import numpy as np
import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM

import make_golden as golden

SEED = 2024
VOCAB = 192
PROMPTS = (20, 70)
GREEDY_STEPS = 24

LLAMA = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": VOCAB, "hidden_act": "silu", "rms_norm_eps": 1e-5,
         "bos_token_id": 1, "eos_token_id": 2, "tie_word_embeddings": True, "num_hidden_layers": 2, "max_position_embeddings": 256}
ROPE = {**LLAMA, "hidden_size": 48, "intermediate_size": 96, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16,
        "rope_theta": 10000.0}
TIED = {"embed": 0.2, "other": 1.2, "final_norm": 4.0}
WIDE = {**LLAMA, "hidden_size": 64, "intermediate_size": 256, "num_attention_heads": 8, "num_key_value_heads": 2, "head_dim": 32,
        "rope_theta": 500000.0, "rope_scaling": {"rope_type": "llama3", "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                                                 "original_max_position_embeddings": 64}}


def rope_case(name, exercises, change, **more):
    config = {**ROPE, **change}
    return {"name": f"rope-{name}", "weights_from": "rope-default", "dtype": "f16", "gains": TIED, "exercises": exercises,
            "config": {k: v for k, v in config.items() if v is not ...}, "mistakes": {"rope scaling ignored": {"rope_scaling": None, "rope_parameters": None}}, **more}


CASES = [
    {"name": "rope-default", "dtype": "f16", "gains": TIED, "exercises": "f16, plain rope", "config": ROPE},
    rope_case("linear", "linear scaling, old name `type`", {"rope_scaling": {"type": "linear", "factor": 3.0}}),
    rope_case("dynamic", "dynamic scaling: prompt 1 is longer than the model was trained for",
              {"max_position_embeddings": 32, "rope_scaling": {"rope_type": "dynamic", "factor": 2.0}}, by_length=True),
    rope_case("llama3", "llama3 scaling, names of transformers 5", {
        "rope_theta": ..., "rope_parameters": {"rope_theta": 20000.0, "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
                                               "high_freq_factor": 4.0, "original_max_position_embeddings": 32}}),
    rope_case("yarn", "yarn, attention factor of its own formula",
              {"rope_scaling": {"rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 32}}),
    rope_case("yarn-mscale", "yarn with mscale, betas, no truncation, factor from the lengths",
              {"rope_scaling": {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64, "beta_fast": 16, "beta_slow": 2,
                                "mscale": 1.4, "mscale_all_dim": 0.7, "truncate": False}}),
    rope_case("longrope", "longrope: prompt 0 takes the short factors, prompt 1 the long ones",
              {"original_max_position_embeddings": 32,
               "rope_scaling": {"rope_type": "longrope", "short_factor": [1.0, 1.1, 1.2, 1.3, 1.5, 1.8, 2.0, 2.5],
                                "long_factor": [1.0, 1.3, 1.9, 2.8, 4.1, 6.0, 8.0, 8.5]}}, by_length=True),
    {"name": "mistral", "dtype": "f32", "exercises": "sliding window of 16 keys, untied, heads of 24 with hidden 48 and 4 heads",
     "mistakes": {"window ignored": {"sliding_window": None}, "window one too wide": {"sliding_window": 17}},
     "config": {**LLAMA, "architectures": ["MistralForCausalLM"], "model_type": "mistral", "hidden_size": 48, "intermediate_size": 80,
                "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 24, "rope_theta": 10000.0, "sliding_window": 16,
                "tie_word_embeddings": False}},
    {"name": "bias", "dtype": "f32", "shards": "60KB", "exercises": "biases of attention and MLP, untied, heads of 12 with hidden 40, sharded",
     "zeroed": {"attention biases ignored": r"self_attn.*bias", "MLP biases ignored": r"mlp.*bias"},
     "config": {**LLAMA, "hidden_size": 40, "intermediate_size": 72, "num_attention_heads": 4, "num_key_value_heads": 4, "head_dim": 12,
                "attention_bias": True, "mlp_bias": True, "tie_word_embeddings": False,
                "rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"}}},
    {"name": "wide", "dtype": "f16", "shards": "150KB", "gains": TIED, "config": WIDE,
     "exercises": "f16 in shards; 8 heads of 32: splits over 8 ranks in every format"},
]

G = gguf.GGMLQuantizationType
# name -> type of (embedding, matrices of layer 0, matrices of layer 1)
GGUF_CASES = {"gguf-f16": (G.F16, G.F16, G.F16), "gguf-mixed": (G.F32, G.BF16, G.F32), "gguf-q8_0": (G.Q8_0, G.Q8_0, G.Q8_0),
              "gguf-q4_0": (G.Q4_0, G.Q4_0, G.Q4_0), "gguf-q4_1": (G.Q8_0, G.Q4_1, G.Q4_1)}
GGUF_NAMES = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
              "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
              "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}


def new_model(config_file, dtype):
    return AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(config_file.parent), dtype=dtype, attn_implementation="eager")


def draw(model, entry):
    named = {"name": entry.get("weights_from", entry["name"]), "gains": entry.get("gains", {}), "tokenizer": {"vocab_size": VOCAB}}
    golden.draw_weights(model, SEED, named)
    model.tie_weights()


def prompt_ids(length):
    return torch.randint(3, VOCAB, (length,), generator=golden.generator(SEED, "cases", length)).tolist()


@torch.no_grad()
def write_reference(folder, fresh, facts):
    """`fresh()` gives the model anew, so that lengths that a rope variant remembers do not reach the next prompt."""
    arrays, prompts = {}, []
    for k, length in enumerate(PROMPTS):
        ids = prompt_ids(length)
        logits = golden.logits_of(fresh(), ids)
        arrays[f"prompt{k}.logits"] = logits.numpy()
        steps = []
        if not facts.get("by_length"):
            new, all_logits = golden.greedy(fresh(), ids, GREEDY_STEPS)
            steps = [{"id": s["id"], "lead": s["lead"]} for s in golden.steps_of(new, all_logits[length - 1:])]
        prompts.append({"ids": ids, "greedy": steps})
    arrays.update({"trace." + n: a for n, a in golden.layer_trace(fresh(), prompts[0]["ids"]).items()})
    golden.write_arrays(folder, arrays)
    facts = {"name": folder.name, **facts, "versions": {"torch": torch.__version__, "transformers": transformers.__version__}, "prompts": prompts}
    (folder / "reference.json").write_text(json.dumps(facts) + "\n")
    return arrays


def check_mistakes(entry, folder, state, reference):
    """A deliberate mistake must move the logits, or the case is blind to it."""
    wrongs = [(label, change, None) for label, change in entry.get("mistakes", {}).items()] + [(label, {}, p) for label, p in entry.get("zeroed", {}).items()]
    moved = {}
    for label, change, pattern in wrongs:
        config = {**json.loads((folder / "model" / "config.json").read_text()), **change}
        cls = AutoConfig.for_model(config["model_type"]).__class__
        model = AutoModelForCausalLM.from_config(cls(**config), dtype=torch.float32, attn_implementation="eager")
        model.load_state_dict(state)
        for name, tensor in model.named_parameters():
            if pattern and golden.re.search(pattern, name):
                tensor.data.zero_()
        moved[label] = max(float((golden.logits_of(model.eval(), prompt_ids(n)) - torch.from_numpy(reference[f"prompt{k}.logits"])).abs().max())
                           for k, n in enumerate(PROMPTS))
        assert moved[label] > 0.1, f"{folder.name}: blind to '{label}' ({moved[label]})"
    return moved


def make_case(out, entry):
    folder = out / f"{entry['name']}-{entry['dtype']}"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "model").mkdir(parents=True)
    config_file = folder / "model" / "config.json"
    name = "dtype" if "rope_parameters" in entry["config"] else "torch_dtype"
    config_text = json.dumps({**entry["config"], name: str(golden.DTYPES[entry["dtype"]]).removeprefix("torch.")}, indent=2) + "\n"
    config_file.write_text(config_text)
    model = new_model(config_file, torch.float32)
    draw(model, entry)
    model = model.to(golden.DTYPES[entry["dtype"]])
    if "weights_from" not in entry:
        model.save_pretrained(folder / "model", max_shard_size=entry.get("shards", "50GB"))
        (folder / "model" / "generation_config.json").unlink(missing_ok=True)
    config_file.write_text(config_text)
    state = {n: t.float() for n, t in model.state_dict().items()}

    def fresh():
        again = new_model(config_file, torch.float32)
        again.load_state_dict(state)
        return again.eval()
    facts = {"exercises": entry["exercises"]}
    if "weights_from" in entry:
        facts["weights_from"] = f"{entry['weights_from']}-{entry['dtype']}"
    if entry.get("by_length"):
        facts["by_length"] = True
    reference = write_reference(folder, fresh, facts)
    print(folder.name, {k: round(v, 2) for k, v in check_mistakes(entry, folder, state, reference).items()}, flush=True)
    return state, config_file


def permuted(rows, heads):
    """Row 2i of a head = its row i, row 2i + 1 = its row i + head_dim / 2: what the converter does to q and k of arch llama."""
    return rows.reshape(heads, 2, rows.shape[0] // heads // 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def make_gguf(out, name, types, state, config_file):
    folder = out / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    config, dequantised = json.loads(config_file.read_text()), {}
    writer = gguf.GGUFWriter(folder / "model.gguf", "llama")
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(config["head_dim"])
    writer.add_value_length(config["head_dim"])
    writer.add_rope_dimension_count(config["head_dim"])
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(VOCAB)
    half = config["head_dim"] // 2
    scaled = AutoConfig.from_pretrained(config_file.parent)
    plain = 1.0 / (config["rope_theta"] ** (np.arange(half) * 2.0 / config["head_dim"]))
    factors = plain / transformers.modeling_rope_utils.ROPE_INIT_FUNCTIONS["llama3"](scaled, "cpu")[0].double().numpy()
    writer.add_tensor("rope_freqs.weight", factors.astype(np.float32))
    for full, tensor in state.items():
        if full == "lm_head.weight":
            continue
        parts = full.removesuffix(".weight").split(".")
        layer = int(parts[2]) if parts[1] == "layers" else None
        key = ".".join(parts[3:] if layer is not None else parts)
        theirs = (f"blk.{layer}." if layer is not None else "") + GGUF_NAMES[key] + ".weight"
        values = tensor.numpy()
        kind = G.F32 if values.ndim == 1 else types[0] if layer is None else types[1 + layer]
        packed = gguf.quants.quantize(values, kind)
        dequantised[full] = torch.from_numpy(gguf.quants.dequantize(packed, kind).astype(np.float32).copy())
        heads = {"self_attn.q_proj": config["num_attention_heads"], "self_attn.k_proj": config["num_key_value_heads"]}.get(key)
        if heads:
            packed = permuted(packed, heads)
        writer.add_tensor(theirs, np.ascontiguousarray(packed), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    dequantised["lm_head.weight"] = dequantised["model.embed_tokens.weight"]

    def fresh():
        model = new_model(config_file, torch.float32)
        model.load_state_dict(dequantised)
        return model.eval()
    write_reference(folder, fresh, {"gguf": "model.gguf", "quantizes": types[1] in (G.Q8_0, G.Q4_0, G.Q4_1),
                                    "exercises": "types of embedding, layer 0, layer 1: " + ", ".join(t.name for t in types)
                                    + "; permuted q and k, rope_freqs.weight"})
    print(name, flush=True)


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--out", type=Path, required=True)
    args.add_argument("--only", nargs="*")
    args = args.parse_args()
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(1)
    for entry in CASES:
        if args.only and entry["name"] not in args.only:
            continue
        state, config_file = make_case(args.out, entry)
        if entry["name"] == "wide":
            for name, types in GGUF_CASES.items():
                make_gguf(args.out, name, types, state, config_file)


if __name__ == "__main__":
    main()
