"""One DPO step of TRL, timed, to stand beside `plumb dpo` (docs/benchmarks.md). Not part of the build.

usage: peer_trl.py MODEL_DIR ROWS.jsonl [--bf16-weights] [--autocast] [--checkpointing] [--steps N]
Prints seconds a step (the first is left out), tokens as the data has them, and the peak memory.
"""
import argparse, json, resource, time

import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import DPOConfig, DPOTrainer

p = argparse.ArgumentParser()
p.add_argument("model")
p.add_argument("rows")
p.add_argument("--bf16-weights", action="store_true")
p.add_argument("--autocast", action="store_true")
p.add_argument("--checkpointing", action="store_true")
p.add_argument("--steps", type=int, default=3)
a = p.parse_args()

dtype = torch.bfloat16 if a.bf16_weights else torch.float32
model = AutoModelForCausalLM.from_pretrained(a.model, dtype=dtype)
reference = AutoModelForCausalLM.from_pretrained(a.model, dtype=dtype)
tokenizer = AutoTokenizer.from_pretrained(a.model)
rows = [json.loads(line) for line in open(a.rows)]
seconds = []


class Clock(TrainerCallback):
    def on_step_begin(self, *_, **__):
        self.start = time.monotonic()

    def on_step_end(self, *_, **__):
        seconds.append(time.monotonic() - self.start)


config = DPOConfig(
    output_dir="/tmp/peer_trl", per_device_train_batch_size=4, max_steps=a.steps, logging_steps=1,
    max_length=1024, bf16=a.autocast, gradient_checkpointing=a.checkpointing, use_cpu=True,
    train_sampling_strategy="sequential", save_strategy="no", report_to=[], disable_tqdm=True)
trainer = DPOTrainer(model=model, ref_model=reference, args=config, train_dataset=Dataset.from_list(rows),
                     processing_class=tokenizer, callbacks=[Clock()])
trainer.train()
tokens = [h["num_tokens"] for h in trainer.state.log_history if "num_tokens" in h]
print(json.dumps({
    "seconds": [round(s, 2) for s in seconds],
    "num_tokens": tokens,
    "tokens_per_second": round((tokens[-1] - tokens[0]) / sum(seconds[1:]), 1),
    "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    "losses": [h["loss"] for h in trainer.state.log_history if "loss" in h]}))
