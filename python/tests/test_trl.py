"""The head under TRL: its function's values and gradients, and a training run with and without."""

import copy
import os
import tempfile
import unittest

import torch
from checks import Case, head_case

try:
    import trl
except ImportError:
    trl = None

if trl:
    import plumb.trl as ours
    from trl.kernels import chunked_logprob as theirs


@unittest.skipUnless(trl, "trl is not installed")
class Function(Case):
    def run_function(self, function, tensors, options, pull):
        hidden, weight, bias, target = tensors
        leaves = [t.detach().clone().requires_grad_() for t in (hidden, weight, bias)]
        made = function.apply(*leaves, target, *options)
        score = (pull[0] * made[0]).sum()
        if made[1] is not None:
            score = score + (pull[1] * made[1]).sum()
        score.backward()
        return made, [t.grad for t in leaves]

    def test_values_and_gradients_are_trls(self):
        tensors = head_case(N=300, V=1000, ignored=0)
        pull = torch.randn(2, 300, generator=torch.Generator().manual_seed(1))
        for options in (
            (1.0, 256, None, 1.0, theirs.OPTIONAL_OUTPUTS), (0.7, 128, 3.0, 0.5, theirs.OPTIONAL_OUTPUTS),
            (1.3, 1000, None, 1.0, ("entropy",)), (1.0, 256, None, 1.0, ()),
        ):
            made, grads = self.run_function(ours.ChunkedLogProbFunction, tensors, options, pull)
            wanted, wanted_grads = self.run_function(ours._original, tensors, options, pull)
            for i, (a, b) in enumerate(zip(made, wanted)):
                self.assertEqual(a is None, b is None, (options, i))
                if a is not None:
                    self.close(a.float(), b.float(), what=f"{options} output {i}")
            for i, (a, b) in enumerate(zip(grads, wanted_grads)):
                self.close(a, b, 5e-5, f"{options} gradient {i}")

    def test_divergences_are_trls(self):
        g = torch.Generator().manual_seed(7)
        hidden, weight, bias, _ = head_case(N=200, V=700)
        teacher, teacher_w = torch.randn(200, 40, generator=g), torch.randn(700, 40, generator=g) / 3
        pull = torch.randn(200, generator=g)
        for beta, *options in (
            (0.0, 1.0), (1.0, 0.7), (0.5, 1.0), (0.3, 1.5, 0.5, 4.0, 2.0, 3.0),
        ):
            made = []
            for function in (ours.ChunkedDivergenceFunction, ours._original_divergence):
                leaves = [t.clone().requires_grad_() for t in (hidden, weight, bias)]
                values, entropy = function.apply(*leaves, teacher, teacher_w, None, beta, *options)
                (pull * values).sum().backward()
                made.append([values, entropy, *(t.grad for t in leaves)])
            for i, (a, b) in enumerate(zip(*made)):
                self.close(a, b, 1e-4, f"beta {beta} {options} {i}")

    def test_dtypes(self):
        hidden, weight, bias, target = head_case(N=300, V=1000, ignored=0)
        pull = torch.ones(2, 300)
        options = (1.0, 256, None, 1.0, ("entropy", "is_top1"))
        narrow = (hidden.bfloat16(), weight.bfloat16(), bias.bfloat16(), target)
        made, grads = self.run_function(ours.ChunkedLogProbFunction, narrow, options, pull)
        wanted, wanted_grads = self.run_function(ours._original, narrow, options, pull)
        exact, exact_grads = self.run_function(
            ours._original, (*(t.float() for t in narrow[:3]), target), options, pull)
        for a, b, c in zip([*made[:2], *grads], [*wanted[:2], *wanted_grads], [*exact[:2], *exact_grads]):
            self.assertEqual(a.dtype, b.dtype)
            # TRL rounds logits to bfloat16; ours stay float32
            off = [(t - c).detach().abs().mean() / c.detach().abs().mean() for t in (a, b)]
            self.assertLessEqual(float(off[0]), 1.05 * float(off[1]) + 1e-6)
        with torch.autocast("cpu", torch.bfloat16):
            made, grads = self.run_function(
                ours.ChunkedLogProbFunction, (hidden, weight, bias, target), options, pull)
        self.assertEqual([g.dtype for g in grads], [torch.float32] * 3)
        half = (hidden.half(), weight.half(), bias.half(), target)
        made, _ = self.run_function(ours.ChunkedLogProbFunction, half, options, pull)  # theirs
        self.assertTrue(torch.isfinite(made[0]).all())


def train(folder):
    """Three steps of DPO on a model of two layers: the losses, and a weight afterwards."""
    from datasets import Dataset
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
    from trl import DPOConfig, DPOTrainer

    words = {w: i for i, w in enumerate(["<pad>", "</s>", *"abcdefghijklmnopqrstuvwxyz"])}
    of_words = Tokenizer(models.WordLevel(words, unk_token="<pad>"))
    of_words.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=of_words, pad_token="<pad>", eos_token="</s>")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(words), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4, max_position_embeddings=64, pad_token_id=0, eos_token_id=1)
    rows = [
        {"prompt": "a b c", "chosen": f" {c} e f" + " g" * n, "rejected": f" h {c}" + " i" * (4 - n)}
        for n, c in enumerate("klmn")
    ] * 3
    arguments = DPOConfig(
        output_dir=folder, per_device_train_batch_size=4, max_steps=3, logging_steps=1, use_cpu=True,
        learning_rate=1e-3, save_strategy="no", report_to=[], disable_tqdm=True, bf16=False,
        gradient_checkpointing=False, seed=1)
    model = LlamaForCausalLM(config)
    trainer = DPOTrainer(
        model=model, ref_model=copy.deepcopy(model), args=arguments, train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer)
    trainer.train()
    losses = [line["loss"] for line in trainer.state.log_history if "loss" in line]
    return losses, trainer.model.lm_head.weight.detach().clone()


@unittest.skipUnless(trl, "trl is not installed")
class Training(Case):
    def test_a_run_of_dpo_is_the_same_with_one_import_line(self):
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
        with tempfile.TemporaryDirectory() as folder:
            ours.uninstall()
            losses, weight = train(folder)
            calls = []
            apply = ours.LogprobFunction.apply
            try:
                ours.install()
                ours.LogprobFunction.apply = lambda *a: calls.append(1) or apply(*a)
                with_ours, its_weight = train(folder)
            finally:
                ours.LogprobFunction.apply = apply
        self.assertGreaterEqual(len(calls), 6)  # policy and reference, three steps
        self.assertEqual(len(losses), 3)
        for a, b in zip(losses, with_ours):
            self.assertAlmostEqual(a, b, places=5)
        self.close(its_weight, weight, 1e-4)


if __name__ == "__main__":
    unittest.main()
