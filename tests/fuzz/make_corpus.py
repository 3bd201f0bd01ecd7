#!/usr/bin/env python3
"""Writes tests/fuzz/corpus/<target>/: inputs with enough structure that a fuzzer gets deep into a
loader. Everything is made here, from nothing; files called finding-* are kept as they are, they
were found by the fuzzer.

    python3 tests/fuzz/make_corpus.py
"""
import base64
import json
import os
import struct
import zlib

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus")
CUT = b"\xff"


def put(target, name, data):
    folder = os.path.join(ROOT, target)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name), "wb") as f:
        f.write(data if isinstance(data, bytes) else data.encode())


def text(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


# safetensors

def safetensors(tensors, metadata=None):
    table, at, data = {}, 0, b""
    if metadata:
        table["__metadata__"] = metadata
    for name, dtype, shape, content in tensors:
        table[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(content)]}
        at += len(content)
        data += content
    head = text(table).encode()
    head += b" " * (-len(head) % 8)
    return struct.pack("<Q", len(head)) + head + data


def make_safetensors():
    put("safetensors", "floats", safetensors(
        [("a", "F32", [2, 2], struct.pack("<4f", 1, -2, 0.5, 3e38)),
         ("b", "BF16", [3], b"\x80\x3f\x00\x40\x00\x00"),
         ("c", "F16", [1, 2], b"\x00\x3c\x00\x7c"),
         ("d", "F64", [], struct.pack("<d", 2.5))], {"format": "pt"}))
    put("safetensors", "others", safetensors(
        [("i", "I64", [1], bytes(8)), ("u", "U8", [3], b"abc"), ("e", "F32", [0], b""),
         ("f", "F8_E4M3", [2], b"\x38\x40"), ("g", "F8_E5M2", [2], b"\x3c\x40")]))
    put("safetensors", "empty", safetensors([]))
    put("safetensors", "index", text({
        "metadata": {"total_size": 10},
        "weight_map": {"a": "model-1.safetensors", "b": "model-1.safetensors"}}))


# GGUF

U32, F32, BOOL, STRING, ARRAY, U64 = 4, 6, 7, 8, 9, 10


def gguf_text(s):
    s = s.encode()
    return struct.pack("<Q", len(s)) + s


def gguf_value(kind, v):
    if kind == STRING:
        return gguf_text(v)
    return struct.pack({0: "<B", 1: "<b", 2: "<H", 3: "<h", U32: "<I", 5: "<i", F32: "<f",
                        BOOL: "<?", U64: "<Q", 11: "<q", 12: "<d"}[kind], v)


def gguf(keys, tensors, alignment=32):
    out = b""
    for key, kind, v in keys:
        out += gguf_text(key)
        if isinstance(v, list):
            out += struct.pack("<IIQ", ARRAY, kind, len(v))
            out += b"".join(gguf_value(kind, e) for e in v)
        else:
            out += struct.pack("<I", kind) + gguf_value(kind, v)
    table, data = b"", b""
    for name, shape, kind, content in tensors:
        table += gguf_text(name) + struct.pack("<I", len(shape))
        table += b"".join(struct.pack("<Q", n) for n in shape)
        table += struct.pack("<IQ", kind, len(data))
        data += content + bytes(-len(content) % alignment)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(keys)) + out + table
    return head + bytes(-len(head) % alignment) + data


BLOCK = {2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 10: (256, 84),
         11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210)}


def numbers(n):
    return struct.pack("<%df" % n, *[(i % 17 - 8) / 8 for i in range(n)])


def model_keys():
    return [("general.architecture", STRING, "llama"), ("general.alignment", U32, 32),
            ("llama.block_count", U32, 1), ("llama.context_length", U32, 16),
            ("llama.embedding_length", U32, 4), ("llama.feed_forward_length", U32, 6),
            ("llama.attention.head_count", U32, 2), ("llama.attention.head_count_kv", U32, 1),
            ("llama.attention.layer_norm_rms_epsilon", F32, 1e-5),
            ("llama.rope.dimension_count", U32, 2)]


def model_tensors(vocab):
    shapes = [("token_embd", [4, vocab]), ("output_norm", [4]), ("blk.0.attn_norm", [4]),
              ("blk.0.attn_q", [4, 4]), ("blk.0.attn_k", [4, 2]), ("blk.0.attn_v", [4, 2]),
              ("blk.0.attn_output", [4, 4]), ("blk.0.ffn_norm", [4]), ("blk.0.ffn_gate", [4, 6]),
              ("blk.0.ffn_up", [4, 6]), ("blk.0.ffn_down", [6, 4])]
    out = []
    for name, shape in shapes:
        n = 1
        for s in shape:
            n *= s
        out.append((name + ".weight", shape, 0, numbers(n)))
    return out


def family(arch, keys, shapes):
    """A model of width 4, one layer, two heads; shapes: names and sizes, the contiguous one first."""
    whole = [("block_count", 1), ("context_length", 8), ("embedding_length", 4),
             ("feed_forward_length", 6), ("attention.head_count", 2)]
    keys = [("general.architecture", STRING, arch)] + [
        (arch + "." + k, U32 if isinstance(v, int) else F32, v) for k, v in whole + keys]
    tensors = [(name, size, 0, numbers(size[0] * (size[1] if len(size) > 1 else 1)))
               for name, size in shapes]
    return gguf(keys, tensors)


def with_biases(shapes):
    out = []
    for name, size in shapes:
        out += [(name + ".weight", size), (name + ".bias", [size[-1]])]
    return out


def make_families():
    norms = with_biases([("output_norm", [4]), ("blk.0.attn_norm", [4]), ("blk.0.ffn_norm", [4])])
    linear = with_biases([("blk.0.attn_qkv", [4, 12]), ("blk.0.attn_output", [4, 4]),
                          ("blk.0.ffn_up", [4, 6]), ("blk.0.ffn_down", [6, 4])])
    embed = [("token_embd.weight", [4, 3])]
    eps = [("attention.layer_norm_epsilon", 1e-5)]
    put("gguf", "model_gpt2", family("gpt2", eps, embed + [("position_embd.weight", [4, 8])] + norms + linear))
    put("gguf", "model_gptneox", family("gptneox", eps + [("rope.dimension_count", 2), ("use_parallel_residual", 1)],
                                        embed + [("output.weight", [4, 3])] + norms + linear))
    modern = [(n, s) for n, s, _, _ in model_tensors(3)]
    rms = [("attention.layer_norm_rms_epsilon", 1e-5), ("attention.head_count_kv", 1),
           ("attention.key_length", 2), ("attention.value_length", 2)]
    heads = [("blk.0.attn_q_norm.weight", [2]), ("blk.0.attn_k_norm.weight", [2])]
    put("gguf", "model_qwen3", family("qwen3", rms + [("rope.freq_base", 1e6)], modern + heads))
    put("gguf", "model_gemma", family("gemma", rms, modern))
    put("gguf", "model_llama3", family("llama", rms + [("attention.sliding_window", 4)],
                                       modern + [("rope_freqs.weight", [1])]))


def make_llama2c():
    sizes = 4 * 5 + 4 + 16 + 8 + 8 + 16 + 4 + 12 + 12 + 12 + 4 + 12
    head = struct.pack("<7i", 4, 3, 1, 2, 1, 5, 6)
    put("llama2c", "tied", head + numbers(sizes))
    put("llama2c", "own_head", struct.pack("<7i", 4, 3, 1, 2, 1, -5, 6) + numbers(sizes + 20))
    pieces = [b"<unk>", b"<s>", b"</s>", b"<0x41>", b" a", b"b", b" ab"]
    put("llama2c", "tokenizer", struct.pack("<i", 6) + b"".join(
        struct.pack("<fi", -float(i), len(p)) + p for i, p in enumerate(pieces)))


def byte_letters():
    kept = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    out, more = {}, 256
    for b in range(256):
        out[b] = chr(b) if b in kept else chr(more)
        more += b not in kept
    return out


def make_gguf():
    pieces = ["<unk>", "<s>", "</s>", "\u2581", "a", "b", "ab", "\u2581a", "<0x41>", "H", "e"]
    llama = [("tokenizer.ggml.model", STRING, "llama"),
             ("tokenizer.ggml.tokens", STRING, pieces),
             ("tokenizer.ggml.scores", F32, [-float(i) for i in range(len(pieces))]),
             ("tokenizer.ggml.token_type", 5, [2, 3, 3, 1, 1, 1, 1, 1, 6, 1, 1]),
             ("tokenizer.ggml.bos_token_id", U32, 1), ("tokenizer.ggml.eos_token_id", U32, 2),
             ("tokenizer.ggml.unknown_token_id", U32, 0),
             ("tokenizer.ggml.add_bos_token", BOOL, True),
             ("tokenizer.chat_template", STRING, "{% for m in messages %}{{ m.content }}{% endfor %}")]
    put("gguf", "llama", gguf(model_keys() + llama, model_tensors(len(pieces))))
    letters = byte_letters()
    bpe = sorted(letters.values()) + ["he", "ll", "hell"]
    gpt2 = [("tokenizer.ggml.model", STRING, "gpt2"), ("tokenizer.ggml.pre", STRING, "gpt-2"),
            ("tokenizer.ggml.tokens", STRING, bpe),
            ("tokenizer.ggml.merges", STRING, ["h e", "l l", "he ll"]),
            ("tokenizer.ggml.eos_token_id", U32, 3)]
    put("gguf", "gpt2", gguf(gpt2, []))
    kinds = [("q%d" % k, [per], k, bytes(range(256))[:size] + bytes(max(0, size - 256)))
             for k, (per, size) in BLOCK.items()]
    put("gguf", "quantised", gguf([], kinds[:5] + [("h", [3], 1, bytes(6)), ("bf", [3], 30, bytes(6))]))
    put("gguf", "quantised_k", gguf([], kinds))
    put("gguf", "types", gguf(
        [("a.u8", 0, 200), ("a.i8", 1, -3), ("a.u16", 2, 60000), ("a.i16", 3, -5), ("a.u64", U64, 7),
         ("a.i64", 11, -7), ("a.f64", 12, 0.5), ("a.list", 2, [1, 2, 3]), ("a.flags", BOOL, [True]),
         ("a.reals", F32, [0.5, 1.5]), ("a.none", STRING, [])], []))
    scaled = model_keys() + [("llama.rope.scaling.type", STRING, "linear"),
                             ("llama.rope.scaling.factor", F32, 2.0),
                             ("llama.expert_count", U32, 0), ("llama.unknown", U32, 1),
                             ("tokenizer.ggml.eos_token_id", U32, 2),
                             ("tokenizer.ggml.eot_token_id", U32, 1)]
    put("gguf", "empty", b"")
    put("gguf", "scaled", gguf(scaled, model_tensors(3)))


# tokenizer.json

def added(content, id, **flags):
    return dict({"id": id, "content": content, "single_word": False, "lstrip": False,
                 "rstrip": False, "normalized": False, "special": True}, **flags)


def charsmap():
    """A trie of one node that leads nowhere, and two replacements."""
    units = [1 << 10] + [0] * 3
    blob = struct.pack("<4I", *units)
    return struct.pack("<I", len(blob)) + blob + b"fi\0x\0"


def make_tokenizer_json():
    letters = byte_letters()
    vocab = {c: i for i, c in enumerate(sorted(letters[b] for b in range(32, 127)))}
    for piece in ["he", "ll", "hell", "hello", "\u0120w", "\u0120wo"]:
        vocab[piece] = len(vocab)
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True,
                  "use_regex": True}
    gpt = {"version": "1.0", "truncation": None, "padding": None,
           "added_tokens": [added("<|end|>", len(vocab))], "normalizer": {"type": "NFC"},
           "pre_tokenizer": byte_level, "post_processor": byte_level, "decoder": byte_level,
           "model": {"type": "BPE", "dropout": None, "unk_token": None,
                     "continuing_subword_prefix": None, "end_of_word_suffix": None,
                     "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                     "vocab": vocab,
                     "merges": ["h e", "l l", "he ll", ["hell", "o"], "\u0120 w", "\u0120w o"]}}
    config = {"bos_token": "<|end|>", "eos_token": {"content": "<|end|>", "lstrip": False},
              "added_tokens_decoder": {str(len(vocab)): added("<|end|>", len(vocab))},
              "additional_special_tokens": ["<|x|>"]}
    sample = "Hello hello  world's <|end|> caf\u00e9\n12345"
    put("tokenizer_json", "bpe", text(gpt).encode() + CUT + text(config).encode() + CUT +
        sample.encode())

    few = {c: i for i, c in enumerate(["<unk>", "<s>", "</s>", "\u2581", "a", "b", "ab", "\u2581a",
                                       "<0x0A>", "<0xC3>", "<0xA9>", "H", "e", "l", "o"])}
    llama = {"version": "1.0",
             "added_tokens": [added("<s>", 1), added("</s>", 2), added("<unk>", 0),
                              added("word", 15, special=False, normalized=True, single_word=True,
                                    lstrip=True, rstrip=True)],
             "normalizer": {"type": "Sequence", "normalizers": [
                 {"type": "Prepend", "prepend": "\u2581"},
                 {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}]},
             "pre_tokenizer": None,
             "post_processor": {"type": "TemplateProcessing",
                                "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}},
                                           {"Sequence": {"id": "A", "type_id": 0}},
                                           {"SpecialToken": {"id": "</s>", "type_id": 0}}],
                                "pair": [{"Sequence": {"id": "A", "type_id": 0}},
                                         {"Sequence": {"id": "B", "type_id": 1}}],
                                "special_tokens": {
                                    "<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]},
                                    "</s>": {"id": "</s>", "ids": [2], "tokens": ["</s>"]}}},
             "decoder": {"type": "Sequence", "decoders": [
                 {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "},
                 {"type": "ByteFallback"}, {"type": "Fuse"},
                 {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
             "model": {"type": "BPE", "unk_token": "<unk>", "fuse_unk": True,
                       "byte_fallback": True, "vocab": few,
                       "merges": ["a b", "\u2581 a"]}}
    put("tokenizer_json", "llama", text(llama).encode() + CUT + b"{}" + CUT +
        "a ab word caf\u00e9\n</s>".encode())

    unigram = {"version": "1.0", "added_tokens": [added("<pad>", 0), added("<extra>", 9)],
               "normalizer": {"type": "Sequence", "normalizers": [
                   {"type": "Precompiled",
                    "precompiled_charsmap": base64.b64encode(charsmap()).decode()},
                   {"type": "NFKC"}, {"type": "Lowercase"},
                   {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}]},
               "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
                   {"type": "WhitespaceSplit"},
                   {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always",
                    "split": True}]},
               "post_processor": None,
               "decoder": {"type": "Metaspace", "replacement": "\u2581",
                           "prepend_scheme": "always", "split": True},
               "model": {"type": "Unigram", "unk_id": 2, "byte_fallback": False,
                         "vocab": [["<pad>", 0.0], ["</s>", 0.0], ["<unk>", 0.0],
                                   ["\u2581", -2.0], ["hello", -3.5], ["h", -5.0], ["e", -5.1],
                                   ["\u2581hello", -4.0], ["lo", -4.5]]}}
    put("tokenizer_json", "unigram", text(unigram).encode() + CUT + CUT +
        "Hello  helo \ufb01 <extra>".encode())

    bert = {"version": "1.0", "added_tokens": [added("[UNK]", 0), added("[CLS]", 1),
                                               added("[SEP]", 2)],
            "normalizer": {"type": "BertNormalizer", "clean_text": True,
                           "handle_chinese_chars": True, "strip_accents": None,
                           "lowercase": True},
            "pre_tokenizer": {"type": "BertPreTokenizer"},
            "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 2], "cls": ["[CLS]", 1]},
            "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
            "model": {"type": "WordPiece", "unk_token": "[UNK]",
                      "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
                      "vocab": {"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "hello": 3, "##s": 4, "h": 5,
                                "##e": 6, "cafe": 7, "!": 8, ",": 9}}}
    put("tokenizer_json", "wordpiece", text(bert).encode() + CUT + CUT +
        "Hellos, caf\u00e9 \u4f60 he!".encode())

    split = dict(gpt, added_tokens=[], normalizer={"type": "Sequence", "normalizers": [
        {"type": "Strip", "strip_left": True, "strip_right": True}, {"type": "NFKD"},
        {"type": "StripAccents"}]},
        pre_tokenizer={"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": "\\p{N}{1,3}|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\s+(?!\\S)|\\s+"},
             "behavior": "Isolated", "invert": False},
            {"type": "Split", "pattern": {"String": "l"}, "behavior": "MergedWithPrevious",
             "invert": True},
            {"type": "Digits", "individual_digits": True},
            {"type": "Punctuation", "behavior": "Contiguous"},
            {"type": "ByteLevel", "add_prefix_space": True, "use_regex": False}]},
        post_processor={"type": "Sequence", "processors": [
            {"type": "RobertaProcessing", "sep": ["h", 40], "cls": ["e", 41], "trim_offsets": True,
             "add_prefix_space": True}]},
        decoder={"type": "Sequence", "decoders": [{"type": "ByteLevel"}, {"type": "CTC",
                 "pad_token": "<pad>", "word_delimiter_token": "|", "cleanup": True},
                                                  {"type": "BPEDecoder", "suffix": "</w>"}]})
    put("tokenizer_json", "steps", text(split).encode() + CUT + CUT +
        "  Hello, 12345 world\u0301s!  \n".encode())


# SentencePiece's tokenizer.model

def varint(n):
    out = b""
    while n >= 128:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def field(number, content):
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    if isinstance(content, float):
        return varint(number << 3 | 5) + struct.pack("<f", content)
    return varint(number << 3 | 2) + varint(len(content)) + content


def sentencepiece(pieces, kind, normalizer=b"", **trainer):
    out = b""
    for piece, score, type in pieces:
        out += field(1, field(1, piece.encode()) + field(2, score) +
                     (field(3, type) if type != 1 else b""))
    t = field(3, kind) + b"".join(field(int(k[1:]), v) for k, v in trainer.items())
    return out + field(2, t) + field(3, normalizer)


def make_tokenizer_model():
    pieces = [("<unk>", 0.0, 2), ("<s>", 0.0, 3), ("</s>", 0.0, 3), ("\u2581", -2.0, 1),
              ("H", -5.0, 1), ("e", -5.0, 1), ("l", -5.0, 1), ("o", -5.0, 1),
              ("\u2581Hello", -4.0, 1), ("lo", -4.5, 1), ("<user>", 0.0, 4), ("fi", -6.0, 1),
              ("<0xC3>", 0.0, 6), ("<0xA9>", 0.0, 6), ("gone", -3.0, 5)]
    rules = field(1, b"nmt_nfkc") + field(2, charsmap()) + field(3, 1) + field(4, 1)
    put("tokenizer_model", "unigram", sentencepiece(pieces, 1, rules))
    put("tokenizer_model", "bytes", sentencepiece(pieces, 1, field(3, 0) + field(4, 0), _35=1,
                                                  _40=0, _41=1, _42=2))
    put("tokenizer_model", "bpe", sentencepiece(pieces, 2, rules, _35=1, _40=0, _41=1, _42=2))


# datasets

def rows(use, options, *values):
    return use + options + "".join(text(v) + "\n" for v in values)


def make_dataset():
    def talk(*turns):
        return [{"role": r, "content": c} for r, c in turns]
    ask = ("user", "Hi")
    yes, no = ("assistant", "yes"), ("assistant", "no ab")
    put("dataset", "text", rows("1", "0", {"text": "hello"}, {"text": "abab</s>"}))
    put("dataset", "completion", rows("1", "8", {"prompt": "a", "completion": "b"},
                                      {"prompt": "hello there", "completion": "ab"}))
    put("dataset", "messages", rows("1", "0", {"messages": talk(ask, yes)},
                                    {"messages": talk(("system", "S"), ask, yes, ask, no)}))
    put("dataset", "pairs", rows("2", "0", {"prompt": "p", "chosen": "c", "rejected": "r",
                                            "margin": 0.5},
                                 {"prompt": "a", "chosen": "b", "rejected": "ab", "margin": 1}))
    put("dataset", "pairs_talk", rows("2", "0", {"chosen": talk(ask, yes),
                                                 "rejected": talk(ask, no)}))
    put("dataset", "pairs_prompt_talk", rows("3", "0", {
        "prompt": talk(ask), "chosen": talk(yes), "rejected": talk(no),
        "tools": [{"type": "function", "function": {"name": "f"}}],
        "chat_template_kwargs": {"extra": "x"}}))
    put("dataset", "pairs_ids", rows("2", "0", {
        "prompt_ids": [1, 5], "chosen_ids": [6, 2], "rejected_ids": [7],
        "ref_chosen_logps": -1.5, "ref_rejected_logps": -2}))
    put("dataset", "unpaired", rows("4", "0", {"prompt": "p", "completion": "c", "label": True},
                                    {"prompt": "q", "completion": "d", "label": 0}))
    put("dataset", "unpaired_pairs", rows("4", "C", {"prompt": "p", "chosen": "c",
                                                     "rejected": "r"}))
    put("dataset", "unpaired_ids", rows("4", "0", {
        "prompt_ids": [1], "completion_ids": [5, 6], "label": False, "kl_completion_ids": [9],
        "ref_logps": -3.25}))
    put("dataset", "prompts", rows("5", "0", {"prompt": "p"}, {"prompt": "q"}))
    put("dataset", "prompts_talk", rows("5", "0", {"prompt": talk(ask)},
                                        {"prompt": talk(ask, yes)}))
    put("dataset", "triples", rows("6", "0", {"prompt": "p", "chosen": "c", "rejected": "r",
                                              "reference": "g"}))
    put("dataset", "lists", rows("7", "0", {"prompt": "p", "completions": ["a", "b", "ab"],
                                            "scores": [1, 0.5, -2]}))
    put("dataset", "lists_talk", rows("7", "0", {
        "prompt": talk(ask), "completions": [talk(yes), talk(no)], "scores": [1, 2]}))
    put("dataset", "lists_ids", rows("7", "5", {"prompt_ids": [4], "completions_ids": [[5], [6, 7]],
                                                "scores": [0, 1]}))
    put("dataset", "masked", rows("1", "0", {"input_ids": [1, 5, 6, 2],
                                             "completion_mask": [0, 0, 1, 1]}))
    put("dataset", "labels", rows("1", "0", {"input_ids": [1, 5, 6], "labels": [-100, 5, 6]}))
    put("dataset", "array", "20[" + ",\n ".join(
        text({"chosen": "a%d" % i, "rejected": "b\u00e9"}) for i in range(3)) + "]\n")
    put("dataset", "bad_rows", "1a{\"text\":\"a\"}\n{\"text\":5}\nnot json\n\n{\"text\":\"b\"}")
    packed = zlib.compressobj(9, zlib.DEFLATED, 31)
    put("dataset", "gzip", b"10" + packed.compress(b'{"text":"hello"}\n' * 4) + packed.flush())
    put("dataset", "zstd", b"10" + zstd_raw(b'{"text":"hello"}\n' * 4))


def zstd_raw(data):
    """A frame of one raw block."""
    return (bytes.fromhex("28b52ffd") + b"\x20" + bytes([len(data)]) +
            struct.pack("<I", len(data) << 3 | 1)[:3] + data)


def make_csv():
    talk = '"[{""role"":""user"",""content"":""Hi""},{""role"":""assistant"",""content"":""yo""}]"'
    put("csv", "text", '10text\nhello\n"a ""quoted"", cell"\n"two\nlines"\n')
    put("csv", "pairs", "20prompt,chosen,rejected,margin\r\np,c,r,0.5\r\nq,\"d\",ab,-1e3\r\n")
    put("csv", "unpaired", "40prompt,completion,label\np,c,true\nq,d,0\n")
    put("csv", "ids", '20prompt_ids,chosen_ids,rejected_ids\n"[1,5]","[6]","[7,8]"\n')
    put("csv", "messages", "10messages\n" + talk + "\n")
    put("csv", "lists", '70prompt,completions,scores\np,"[""a"",""b""]","[1,2]"\n')
    put("csv", "empty_cells", '10"",""\n"b""\n')
    put("csv", "bad", "1atext,text2\na\nb,c,d\n\"open\n")
    packed = zlib.compressobj(9, zlib.DEFLATED, 31)
    put("csv", "gzip", b"10" + packed.compress(b"text\nhello\n") + packed.flush())


# chat templates

TEMPLATES = {
    "chatml": "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + "
              "message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
              "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    "blocks": "{%- set ns = namespace(n=0, seen=[]) -%}\n{%- macro show(m, bold=false) -%}\n"
              "  {{- ('*' if bold else '') ~ m.content | trim -}}\n{%- endmacro -%}\n"
              "{%- for m in messages if m.role != 'system' -%}\n"
              "  {%- if loop.first %}{{ bos_token }}{% elif loop.index0 % 2 == 1 -%}|{%- else -%}+"
              "{%- endif -%}\n  {%- if m.role == 'assistant' -%}{%- generation -%}"
              "{{ show(m, bold=true) }}{{ eos_token }}{%- endgeneration -%}\n"
              "  {%- else -%}{{ show(m) }}{%- endif -%}\n"
              "  {%- set ns.n = ns.n + 1 -%}{%- if ns.n > 3 %}{% break %}{% endif -%}\n"
              "{%- else -%}nothing{%- endfor -%}{{ ns.n }}",
    "values": "{{ [1, 2.5, 'a', none, true, (1,)] }} {{ {'a': 1, 'b': [2]} | tojson(indent=2) }} "
              "{{ 7 // -2 }} {{ 2 ** 10 }} {{ -7 % 3 }} {{ 1e16 }} {{ 'abc'[::-1] }} {{ 'abc'[1:] }} "
              "{{ 'x' * 3 }} {{ [3, 1, 2] | sort | join(', ') }} {{ 'a' in 'abc' }} "
              "{{ {'k': 'v'}.items() | list }} {{ (1, 2) < (1, 3) }} {{ 1 if x is defined else 2 }}",
    "filters": "{{ ' Ab c ' | trim | upper | replace('B', 'x') | title }} "
               "{{ messages | map(attribute='role') | unique | list }} "
               "{{ messages | selectattr('role', 'equalto', 'user') | list | length }} "
               "{{ messages | groupby('role') | list | length }} {{ [1, 2, 3] | batch(2) | list }} "
               "{{ '%05.1f|%-4s|%x' % (2.25, 'ab', 255) }} {{ '{:>4}{0}{n:.2f}'.format(1, n=2) }} "
               "{{ 'a,b' | string | wordcount }} {{ 'long text here' | truncate(8) }} "
               "{{ 'a\nb' | indent(2, true) }} {{ '<&>' | escape }} {{ [0, 5] | sum }} "
               "{{ 'abc'.find('c') }} {{ ' a b'.split() }} {{ 'aXb'.partition('X') }} "
               "{{ 'Ab'.swapcase() }} {{ 'a-b'.rsplit('-', 1) }} {{ 3.14159 | round(2) }} "
               "{{ {'b': 1, 'a': 2} | dictsort }} {{ 'é' | urlencode }} {{ none | default('d', true) }}",
    "alone": "{{ messages | select | list | length }}{{ [0, 1] | reject | list }}",
    "tools": "{%- if tools %}{{- 'Tools: ' + (tools | tojson(indent=4)) }}{% endif %}"
             "{% for m in messages %}{% if m.tool_calls is defined %}{% for c in m.tool_calls %}"
             "{{ c.function.name }}({{ c.function.arguments | tojson }}){% endfor %}"
             "{% elif m.content is string %}{{ m.content }}{% elif m.content is iterable %}"
             "{% for p in m.content %}{{ p.text }}{% endfor %}{% endif %}{% endfor %}"
             "{{ strftime_now('%d %b %Y') }}",
    "faults": "{% if messages[0].role != 'user' %}{{ raise_exception('user first') }}{% endif %}"
              "{% filter upper %}a{% endfilter %}{% set x %}b{{ x }}{% endset %}{{ x }}"
              "{% with a = 1, b = 2 %}{{ a + b }}{% endwith %}{# note #}{% raw %}{{ no }}{% endraw %}"
              "{% call(u) m2() %}{{ u }}{% endcall %}{{ loop.cycle }}{{ cycler('a', 'b').next() }}"
              "{{ joiner('|')() }}{{ range(1, 9, 3) | list }}{{ dict(a=1) }}",
}


def make_jinja():
    data = {"messages": [{"role": "system", "content": "Be kind."},
                         {"role": "user", "content": " Hi \u00e9 "},
                         {"role": "assistant", "content": "Yo\n", "reasoning_content": "hm"},
                         {"role": "user", "content": [{"type": "text", "text": "part"}]},
                         {"role": "assistant", "content": "End",
                          "tool_calls": [{"function": {"name": "f", "arguments": {"x": [1, None]}}}]}],
            "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}],
            "add_generation_prompt": True, "bos_token": "<s>", "eos_token": "</s>", "x": 1}
    for name, template in TEMPLATES.items():
        put("jinja", name, template.encode() + CUT + text(data).encode())
        put("jinja", name + "_usual", template)


# configurations

def make_config_yaml():
    put("config_yaml", "dpo", "0# a run\nmodel_name_or_path: /m\ntrain_file: rows.jsonl\n"
        "loss_type: [sigmoid, sft]\nloss_weights: [1.0, 0.5]\nbeta: 0.1\nlearning_rate: 1e-6\n"
        "max_length: 512\nbf16: false\nlr_scheduler_type: cosine\n"
        "lr_scheduler_kwargs:\n  num_cycles: 0.5\nlogging_steps: 1\nseed: 42\n")
    put("config_yaml", "cpo", "1beta: 0.1\nloss_type: simpo\ncpo_alpha: 0\nsimpo_gamma: 0.5\n")
    put("config_yaml", "tpo", "2tpo_alpha: 1.0\nbeta: 0.01\ntruncation_mode: keep_start\n")
    put("config_yaml", "kto", "3desirable_weight: 1.0\nundesirable_weight: 1.33\nloss_type: kto\n")
    put("config_yaml", "flow", "0{beta: 0.2, 'loss_type': \"ipo\", seed: ~, report_to: [none], "
        "lr_scheduler_kwargs: {a: [1, {b: true}], c: null}}\n")
    put("config_yaml", "anchors", "0lr_scheduler_kwargs: &a\n  x: 1\nmodel_init_kwargs: *a\n"
        "output_dir: >\n  folded\n  text\n")


def make_config_json():
    base = {"vocab_size": 11, "hidden_size": 8, "intermediate_size": 6, "num_hidden_layers": 2,
            "num_attention_heads": 2, "max_position_embeddings": 16}
    llama = dict(base, architectures=["LlamaForCausalLM"], model_type="llama",
                 num_key_value_heads=1, rms_norm_eps=1e-5, rope_theta=1e4, hidden_act="silu",
                 bos_token_id=1, eos_token_id=[2, 3], tie_word_embeddings=True, dtype="bfloat16",
                 rope_scaling={"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
                               "high_freq_factor": 4.0, "original_max_position_embeddings": 8})
    generation = {"eos_token_id": [2, 5], "pad_token_id": 0, "temperature": 0.6}
    put("config_json", "llama", text(llama).encode() + CUT + text(generation).encode())
    put("config_json", "qwen2", text(dict(base, model_type="qwen2", num_key_value_heads=2,
                                          use_sliding_window=False, sliding_window=8,
                                          max_window_layers=2, attention_dropout=0.0)))
    put("config_json", "qwen3", text(dict(base, model_type="qwen3", num_key_value_heads=1,
                                          head_dim=6, layer_types=["full_attention"] * 2)))
    put("config_json", "gpt2", text({"model_type": "gpt2", "vocab_size": 11, "n_embd": 8,
                                     "n_layer": 2, "n_head": 2, "n_positions": 16,
                                     "resid_pdrop": 0.1, "activation_function": "gelu_new"}))
    put("config_json", "gpt_neox", text(dict(base, model_type="gpt_neox", rotary_pct=0.5,
                                             use_parallel_residual=True)))
    put("config_json", "gemma", text(dict(base, model_type="gemma", num_key_value_heads=1,
                                          head_dim=4, hidden_activation="gelu_pytorch_tanh")))
    put("config_json", "mistral", text(dict(base, model_type="mistral", num_key_value_heads=1,
                                            sliding_window=4, num_labels=1,
                                            architectures=["MistralForSequenceClassification"])))


def make_checkpoint():
    state = b'{"epoch":1}'
    a = struct.pack("<4f", 1, 2, 3, 4)
    index = {"format": "plumb-checkpoint/1", "step": 3, "files": [
        {"file": "a.bin", "dtype": "float32", "bytes": len(a), "crc32": zlib.crc32(a)},
        {"file": "state.json", "bytes": len(state), "crc32": zlib.crc32(state)}]}
    put("checkpoint", "good", text(index).encode() + CUT + state + CUT + a)
    index["files"][0]["crc32"] += 1
    put("checkpoint", "damaged", text(index).encode() + CUT + state + CUT + a)


def make_json():
    put("json", "values", text({"a": [1, -2.5, 1e-3, 1e308, "\u00e9\U0001f600", None, True, {}],
                                "b": {"c": [[[]]], "d": "\"\\/\b\f\n\r\t"}, "": 0}))
    put("json", "escapes", '["\\u00e9\\ud83d\\ude00\\"\\\\\\/\\b", 0.0, -0, 1E+2]')
    put("json", "bom", b"\xef\xbb\xbf{ \"k\" : [ ] }\n")


if __name__ == "__main__":
    for make in [make_safetensors, make_gguf, make_families, make_llama2c, make_tokenizer_json, make_tokenizer_model,
                 make_dataset, make_csv, make_jinja, make_config_yaml, make_config_json, make_checkpoint,
                 make_json]:
        make()
