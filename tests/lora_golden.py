"""Short runs of TRL's trainers with PEFT's LoRA, for tests/lora_golden_test.c to be held against.

    pip install torch==2.15.* transformers==5.23.* trl==1.16.* peft==0.21.*
    python tests/lora_golden.py build/plumb MODELS tests/data/lora.json

MODELS is a folder with stories260K/hf in it. Each run is done in float32 and in float64 (all casts
to float32 lifted). Rows are token ids; what the adapters start with is drawn by plumb itself, in a
run with learning rate 0, so that both sides start alike.
"""
import json
import math
import os
import random
import subprocess
import sys
import tempfile

import torch
from datasets import Dataset
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedTokenizerFast
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer
import peft
import transformers
import trl

MASK = (1 << 64) - 1


def splitmix(state):
    z = (state + 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


# The tiny model of tests/tiny_run.h, and a smaller GPT-2 with the same weights by number.
TINY = {
    "llama": {"model_type": "llama", "vocab_size": 24, "hidden_size": 8, "intermediate_size": 12,
              "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1,
              "max_position_embeddings": 32},
}


def tiny_model(folder):
    """Weights as tests/tiny_run.h draws them: by the tensor's place in plumb's list."""
    order = ["model.embed_tokens", "model.layers.0.self_attn.q_proj",
             "model.layers.0.self_attn.k_proj", "model.layers.0.self_attn.v_proj",
             "model.layers.0.self_attn.o_proj", "model.layers.0.mlp.gate_proj",
             "model.layers.0.mlp.up_proj", "model.layers.0.mlp.down_proj",
             "model.layers.0.input_layernorm", "model.layers.0.post_attention_layernorm",
             "model.norm", "lm_head"]
    shapes = [(24, 8), (8, 8), (4, 8), (4, 8), (8, 8), (12, 8), (12, 8), (8, 12), (8,), (8,), (8,),
              (24, 8)]
    tensors = {}
    for i, (name, shape) in enumerate(zip(order, shapes)):
        n = math.prod(shape)
        values = [1.0 if len(shape) == 1 else (splitmix(i * 1000003 + k) >> 11) * 2.0**-53 - 0.5
                  for k in range(n)]
        tensors[name + ".weight"] = torch.tensor(values).float().reshape(shape)
    os.makedirs(folder)
    save_file(tensors, folder + "/model.safetensors", {"format": "pt"})
    with open(folder + "/config.json", "w") as f:
        json.dump(TINY["llama"], f)


def rows_of(trainer, vocab, count, longest, seed):
    r = random.Random(seed)
    ids = lambda least, most: [r.randrange(3, vocab) for _ in range(r.randint(least, most))]
    if trainer == "sft":
        return [{"input_ids": ids(4, longest)} for _ in range(count)]
    rows = []
    for _ in range(count):
        rows.append({"prompt_ids": ids(1, longest // 2), "chosen_ids": ids(1, longest // 2),
                     "rejected_ids": ids(1, longest // 2)})
    return rows


def start_adapters(plumb, model, run, rows, folder):
    data = folder + ".jsonl"
    with open(data, "w") as f:
        f.writelines(json.dumps(r) + "\n" for r in rows)
    subprocess.run([plumb, run["trainer"], "--model_name_or_path", model, "--dataset_name", data,
                    "--output_dir", folder, "--overwrite_output_dir", "--use_peft", "--bf16",
                    "false", "--quiet"] + [str(x) for x in run["options"]]
                   + ["--max_steps", "1", "--learning_rate", "0"], check=True)
    return load_file(folder + "/adapter_model.safetensors")


class Lifted:
    """float32 means float64 inside: in casts, and where tensors are made."""

    PLACES = [(torch.Tensor, "to"), (torch.nn.functional, "softmax"), (torch, "zeros"),
              (torch, "full"), (torch, "empty"), (torch, "tensor")]

    def __enter__(self):
        def lift(x):
            return torch.float64 if x is torch.float32 else x

        def lifted(f):
            return lambda *a, **k: f(*map(lift, a), **{n: lift(v) for n, v in k.items()})

        self.kept = [(o, n, getattr(o, n)) for o, n in self.PLACES + [(torch.Tensor, "float")]]
        for o, n in self.PLACES:
            setattr(o, n, lifted(getattr(o, n)))
        torch.Tensor.float = lambda t, *a, **k: t.to(torch.float64)
        torch.set_default_dtype(torch.float64)

    def __exit__(self, *_):
        for o, n, f in self.kept:
            setattr(o, n, f)
        torch.set_default_dtype(torch.float32)


def load(model, dtype):
    m = AutoModelForCausalLM.from_pretrained(model, dtype=dtype, attn_implementation="eager")
    if dtype is torch.float64:  # the rotation's frequencies are computed in float32 else
        rotary = m.model.rotary_emb
        dim = m.config.hidden_size // m.config.num_attention_heads
        theta = getattr(m.config, "rope_theta", None) or m.config.rope_parameters["rope_theta"]
        exact = 1.0 / theta ** (torch.arange(0, dim, 2, dtype=torch.int64).double() / dim)
        assert torch.allclose(exact.float(), rotary.inv_freq.float(), rtol=1e-6)
        rotary.inv_freq = exact
    return m


def tokenizer(vocab):
    t = Tokenizer(models.WordLevel({str(i): i for i in range(vocab)}, unk_token="0"))
    return PreTrainedTokenizerFast(tokenizer_object=t, pad_token="0", eos_token="2", bos_token="1")


def train(model, run, rows, start, dtype, folder):
    m = load(model, dtype)
    o = dict(zip(run["options"][::2], run["options"][1::2]))
    targets = o["--lora_target_modules"]
    config = LoraConfig(task_type="CAUSAL_LM", r=o["--lora_r"], lora_alpha=o["--lora_alpha"],
                        lora_dropout=0.0, use_rslora=o.get("--use_rslora") == "true",
                        target_modules=targets if targets == "all-linear" else targets.split(","))
    common = dict(output_dir=folder, per_device_train_batch_size=o["--per_device_train_batch_size"],
                  learning_rate=o["--learning_rate"], max_steps=o["--max_steps"], logging_steps=1,
                  save_strategy="no", report_to="none", use_cpu=True, bf16=False, fp16=False,
                  gradient_checkpointing=False, disable_tqdm=True,
                  lr_scheduler_type=o["--lr_scheduler_type"], optim="adamw_torch",
                  weight_decay=o["--weight_decay"], train_sampling_strategy="sequential",
                  max_length=32)
    is_dpo = run["trainer"] == "dpo"
    kind, args = (DPOTrainer, DPOConfig(beta=o["--beta"], **common)) if is_dpo else (
        SFTTrainer, SFTConfig(**common))

    class AsIs(kind):
        def _prepare_dataset(self, dataset, *_, **__):
            return dataset

    t = AsIs(model=m, args=args, train_dataset=Dataset.from_list(rows), peft_config=config,
             processing_class=tokenizer(m.config.vocab_size))
    named = {n.replace(".default", ""): p for n, p in t.model.named_parameters() if p.requires_grad}
    assert sorted(named) == sorted(start), (sorted(named)[:3], sorted(start)[:3])
    with torch.no_grad():
        for n, p in named.items():
            p.copy_(start[n].to(p.dtype))
    for p in t.model.parameters():
        p.data = p.data.to(dtype)
    t.train()
    wanted = ["loss", "grad_norm", "learning_rate", "rewards/chosen", "rewards/rejected",
              "rewards/margins", "logps/chosen", "logps/rejected", "mean_token_accuracy"]
    steps = [{k: float(h[k]) for k in wanted if k in h} for h in t.state.log_history if "loss" in h]
    norms = {n: float(p.detach().double().norm()) for n, p in sorted(named.items())}
    first = {n: [float(x) for x in p.detach().double().flatten()[:4]] for n, p in
             sorted(named.items())[:4]}
    return {"steps": steps, "final_l2": norms, "final_first": first}


RUNS = [
    {"name": "tiny, sft, all-linear", "model": "tiny", "trainer": "sft", "rows": (12, 14, 1),
     "options": {"--lora_target_modules": "all-linear", "--lora_r": 3, "--lora_alpha": 6,
                 "--learning_rate": 0.01, "--weight_decay": 0.1}},
    {"name": "tiny, dpo, q and v", "model": "tiny", "trainer": "dpo", "rows": (12, 14, 2),
     "options": {"--lora_target_modules": "q_proj,v_proj", "--lora_r": 4, "--lora_alpha": 8,
                 "--learning_rate": 0.01, "--weight_decay": 0, "--beta": 0.5}},
    {"name": "stories260K, sft, q and v, rsLoRA", "model": "stories260K", "trainer": "sft",
     "rows": (24, 24, 3),
     "options": {"--lora_target_modules": "q_proj,v_proj", "--lora_r": 8, "--lora_alpha": 16,
                 "--use_rslora": "true", "--learning_rate": 1e-3, "--weight_decay": 0}},
    {"name": "stories260K, dpo, all-linear", "model": "stories260K", "trainer": "dpo",
     "rows": (24, 24, 4),
     "options": {"--lora_target_modules": "all-linear", "--lora_r": 16, "--lora_alpha": 32,
                 "--learning_rate": 5e-4, "--weight_decay": 0, "--beta": 0.1}},
]


def main():
    plumb, shared, out = sys.argv[1:]
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    work = tempfile.mkdtemp()
    tiny_model(work + "/tiny")
    folders = {"tiny": work + "/tiny", "stories260K": shared + "/stories260K/hf"}
    result = {"versions": {"torch": torch.__version__, "transformers": transformers.__version__,
                           "trl": trl.__version__, "peft": peft.__version__}, "runs": []}
    for run in RUNS:
        model = folders[run["model"]]
        vocab = json.load(open(model + "/config.json"))["vocab_size"]
        count, longest, seed = run["rows"]
        rows = rows_of(run["trainer"], vocab, count, longest, seed)
        options = {**run["options"], "--per_device_train_batch_size": 3, "--lr_scheduler_type": "linear"}
        r = {"name": run["name"], "model": run["model"], "trainer": run["trainer"],
             "options": [x for pair in options.items() for x in pair]}
        start = start_adapters(plumb, model, r, rows, work + "/start")
        r["options"] += ["--max_steps", 8]
        r["f32"] = train(model, r, rows, start, torch.float32, work + "/f32")
        with Lifted():
            r["f64"] = train(model, r, rows, start, torch.float64, work + "/f64")
        r["rows"] = rows
        result["runs"].append(r)
    with open(out, "w") as f:
        json.dump(result, f, separators=(",", ":"))
        f.write("\n")


main()
