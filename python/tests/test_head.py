"""The head against logits in memory: values and gradients."""

import unittest

import torch
import torch.nn.functional as F
from checks import Case, head_case, plain_logits, plain_logp

import plumb

OPTIONS = [
    {}, {"temperature": 0.7}, {"softcap": 3.0}, {"logit_scale": 0.5}, {"temperature": 1.3, "softcap": 2.0},
]
OUTPUTS = ("lse", "entropy", "mean_logit", "log_sum_sq", "argmax")


class Head(Case):
    def test_log_probs_and_statistics_with_gradients(self):
        hidden, weight, bias, target = head_case()
        kept = (target >= 0).float()
        pull = torch.randn(4, target.numel(), generator=torch.Generator().manual_seed(3))

        def plain(options, x, w, b):
            z = plain_logits(x, w, b, **options)
            logs = z.log_softmax(-1)
            entropy = -(logs.exp() * logs).sum(-1)
            made = (plain_logp(z, target), z.logsumexp(-1) * kept, entropy * kept, z.mean(-1) * kept)
            return sum((p * m).sum() for p, m in zip(pull, made))

        def ours(options, x, w, b):
            made = plumb.fused_linear_logprob(x, w, target, b, outputs=OUTPUTS[:3], **options)
            return sum((p * m).sum() for p, m in zip(pull, made))

        for options in OPTIONS:
            self.same_gradients(
                lambda *a: ours(options, *a), lambda *a: plain(options, *a), (hidden, weight, bias),
                what=str(options))

    def test_outputs_without_gradients(self):
        hidden, weight, bias, target = head_case()
        _, squares, argmax = plumb.fused_linear_logprob(
            hidden, weight, target, bias, outputs=("log_sum_sq", "argmax"))
        z = plain_logits(hidden, weight, bias)
        kept = target >= 0
        wanted = torch.where(kept, (2 * z.log_softmax(-1)).logsumexp(-1), 0.0)
        self.close(squares, wanted)
        self.assertTrue(torch.equal(argmax.long(), torch.where(kept, z.argmax(-1), -1)))

    def test_shapes_rows_and_a_smaller_vocabulary(self):
        hidden, weight, _, _ = head_case(N=24)
        target = torch.randint(0, 100, (4, 6))
        got = plumb.fused_linear_logprob(hidden.view(4, 6, -1), weight, target, valid_vocab=100)
        wanted = plain_logp(plain_logits(hidden, weight[:100]), target.view(-1))
        self.close(got, wanted.view(4, 6))
        rows = torch.tensor([5, 5, 0, 23, 7])
        target = torch.tensor([1, 2, 3, 4, -100])

        def ours(x, w):
            return plumb.fused_linear_logprob(x, w, target, rows=rows).square().sum()

        def plain(x, w):
            return plain_logp(plain_logits(x[rows], w), target).square().sum()

        self.same_gradients(ours, plain, (hidden, weight))

    def test_bfloat16_is_as_exact_as_its_operands(self):
        hidden, weight, bias, target = (t.bfloat16() if t.is_floating_point() else t for t in head_case(N=200))
        got = plumb.fused_linear_logprob(hidden, weight, target, bias)
        self.assertEqual(got.dtype, torch.float32)
        self.close(got, plain_logp(plain_logits(hidden, weight, bias), target))
        x, w = hidden.requires_grad_(), weight.requires_grad_()
        plumb.fused_linear_logprob(x, w, target).sum().backward()
        a, b = (t.detach().float().requires_grad_() for t in (x, w))
        plain_logp(plain_logits(a, b), target).sum().backward()
        self.assertEqual(x.grad.dtype, torch.bfloat16)
        self.close(x.grad, a.grad, 2e-2)
        self.close(w.grad, b.grad, 2e-2)

    def test_autocast_asks_for_the_dtype_and_gradients_stay_float32(self):
        hidden, weight, _, target = head_case(N=100)
        w = weight.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16):
            got = plumb.fused_linear_logprob(hidden, w, target)
        wanted = plumb.fused_linear_logprob(hidden.bfloat16(), weight.bfloat16(), target)
        self.assertTrue(torch.equal(got, wanted))
        got.sum().backward()
        self.assertEqual(w.grad.dtype, torch.float32)

    def test_cross_entropy_is_torchs(self):
        hidden, weight, bias, target = head_case()
        for reduction in ("mean", "sum", "none"):
            for smoothing in (0.0, 0.1):
                options = {"reduction": reduction, "label_smoothing": smoothing}
                self.same_gradients(
                    lambda x, w, b: plumb.fused_linear_cross_entropy(x, w, target, b, **options).sum(),
                    lambda x, w, b: F.cross_entropy(plain_logits(x, w, b), target, **options).sum(),
                    (hidden, weight, bias), what=str(options))

    def test_cross_entropy_with_z_loss(self):
        hidden, weight, _, target = head_case()
        kept = target >= 0

        def plain(x, w):
            z = plain_logits(x, w, softcap=4.0)
            lse = z.logsumexp(-1)[kept]
            return F.cross_entropy(z, target, reduction="sum") + 1e-2 * lse.square().sum()

        self.same_gradients(
            lambda x, w: plumb.fused_linear_cross_entropy(
                x, w, target, reduction="sum", lse_square_scale=1e-2, softcap=4.0),
            plain, (hidden, weight))

    def test_frozen_parts_get_no_gradient_and_nothing_to_do_is_fine(self):
        hidden, weight, _, target = head_case()
        x = hidden.clone().requires_grad_()
        plumb.fused_linear_cross_entropy(x, weight, target).backward()
        self.assertIsNotNone(x.grad)
        with torch.no_grad():
            self.assertFalse(plumb.fused_linear_cross_entropy(x, weight, target).requires_grad)
        none = torch.full_like(target, -100)
        x.grad = None
        loss = plumb.fused_linear_cross_entropy(x, weight, none)
        loss.backward()
        self.assertEqual((loss.item(), x.grad.abs().max().item()), (0.0, 0.0))
        empty = plumb.fused_linear_logprob(hidden[:0], weight, target[:0])
        self.assertEqual(empty.shape, (0,))

    def test_gradients_of_a_fused_loss_are_taken_once(self):
        hidden, weight, _, target = head_case()
        loss = plumb.fused_linear_cross_entropy(hidden.requires_grad_(), weight, target)
        loss.backward(retain_graph=True)
        with self.assertRaisesRegex(RuntimeError, "once"):
            loss.backward()

    def test_divergence_from_a_teacher(self):
        hidden, weight, bias, target = head_case()
        g = torch.Generator().manual_seed(8)
        teacher, teacher_w = torch.randn(37, 10, generator=g), torch.randn(131, 10, generator=g)
        mask = target >= 0
        q = plain_logits(teacher, teacher_w).log_softmax(-1)
        formulas = {
            "forward_kl": lambda p: (q.exp() * (q - p)).sum(-1),
            "reverse_kl": lambda p: (p.exp() * (p - q)).sum(-1),
        }
        for name, formula in formulas.items():
            for reduction in ("mean", "sum", "none"):

                def plain(x, w, b):
                    values = torch.where(mask, formula(plain_logits(x, w, b).log_softmax(-1)), 0.0)
                    if reduction == "none":
                        return values.square().sum()
                    return values.sum() / (mask.sum() if reduction == "mean" else 1)

                def ours(x, w, b):
                    made = plumb.fused_linear_divergence(
                        x, w, teacher, teacher_w, b, divergence=name, mask=mask, reduction=reduction)
                    return made.square().sum() if reduction == "none" else made

                self.same_gradients(ours, plain, (hidden, weight, bias), what=f"{name} {reduction}")
        with self.assertRaisesRegex(ValueError, "the teacher has 37 and 130"):
            plumb.fused_linear_divergence(hidden, weight, teacher, teacher_w[:130])

    def test_misuse_names_the_argument(self):
        hidden, weight, bias, target = head_case()
        f = plumb.fused_linear_logprob
        with self.assertRaisesRegex(ValueError, "do not multiply"):
            f(hidden[:, :5], weight, target)
        with self.assertRaisesRegex(ValueError, "bias has shape"):
            f(hidden, weight, target, bias[:3])
        with self.assertRaisesRegex(TypeError, "hidden is torch.float32, weight torch.bfloat16"):
            f(hidden, weight.bfloat16(), target)
        with self.assertRaisesRegex(TypeError, "hidden is torch.float16"):
            f(hidden.half(), weight.half(), target)
        with self.assertRaisesRegex(ValueError, "target has 3 elements"):
            f(hidden, weight, target[:3])
        with self.assertRaisesRegex(TypeError, "target is torch.float32"):
            f(hidden, weight, target.float())
        with self.assertRaisesRegex(ValueError, "no output 'entropi'"):
            f(hidden, weight, target, outputs=("entropi",))
        with self.assertRaisesRegex(ValueError, r"target\[2\]=131"):
            f(hidden, weight, torch.where(torch.arange(37) == 2, 131, 1))
        with self.assertRaisesRegex(ValueError, "temperature=0"):
            f(hidden, weight, target, temperature=0.0)
        with self.assertRaisesRegex(ValueError, "weight is on meta, hidden on cpu"):
            f(hidden, weight.to("meta"), target)


if __name__ == "__main__":
    unittest.main()
