"""Hugging Face tokenizers on one thread, measured as bench/bench_tokenizer.c measures Plumb:
python tokenize.py TOKENIZER FILE.jsonl[.gz] COLUMN [passes]. TOKENIZER is a tokenizer.json(.gz) or
a folder with one, or with GPT-2's encoder.json and vocab.bpe."""
import gzip
import json
import os
import sys
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"
from tokenizers import Tokenizer  # noqa: E402
from tokenizers.implementations import ByteLevelBPETokenizer  # noqa: E402


def read(path):
    with (gzip.open if path.endswith(".gz") else open)(path, "rb") as f:
        return f.read().decode()


def load(path):
    if not os.path.isdir(path):
        return Tokenizer.from_str(read(path))
    for name in ("tokenizer.json", "tokenizer.json.gz"):
        if os.path.exists(os.path.join(path, name)):
            return Tokenizer.from_str(read(os.path.join(path, name)))
    files = [os.path.join(path, name) for name in ("encoder.json", "vocab.bpe")]
    return ByteLevelBPETokenizer(*files)._tokenizer


def encode(tokenizer, texts):
    """The fastest call there is: without offsets. Seconds of processor time, and ids."""
    start = time.process_time()
    encodings = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
    took = time.process_time() - start
    return took, sum(len(e.ids) for e in encodings)


def main():
    path, rows, column = sys.argv[1:4]
    passes = int(sys.argv[4]) if len(sys.argv) > 4 else 9
    tokenizer = load(path)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    texts = [json.loads(line)[column] for line in read(rows).splitlines()]
    size = sum(len(t.encode()) for t in texts) * 1e-6
    first, ids = encode(tokenizer, texts)
    best = min([first] + [encode(tokenizer, texts)[0] for _ in range(passes - 1)])
    print(f"tokenizers: {size:.2f} MB, {ids} ids; first pass {size / first:.1f} MB/s, "
          f"best of {passes} {size / best:.1f} MB/s")


main()
