"""Liger's chunked losses against ours by the same call: results and gradients."""

import unittest

import torch
from checks import Case

import plumb.liger as ours

try:
    import liger_kernel.chunked_loss as theirs
except ImportError:
    theirs = None

B, T, H, V = 3, 9, 16, 53


def tensors(seed=0):
    g = torch.Generator().manual_seed(seed)
    x, reference = torch.randn(2 * B, T, H, generator=g), torch.randn(2 * B, T, H, generator=g)
    w, ref_w = torch.randn(V, H, generator=g) * 0.3, torch.randn(V, H, generator=g) * 0.3
    target = torch.randint(0, V, (2 * B, T), generator=g)
    for i in range(2 * B):
        target[i, : i % 4] = -100
    target[1, 6:] = -100
    return x, w, torch.randn(V, generator=g) * 0.1, target, reference, ref_w


@unittest.skipUnless(theirs, "liger_kernel is not installed")
class Liger(Case):
    def setUp(self):
        self.x, self.w, self.b, self.target, self.ref_x, self.ref_w = tensors()
        self.reference = {"ref_input": self.ref_x, "ref_weight": self.ref_w}

    def run_loss(self, module, name, options, order, extra):
        leaves = [t.detach().clone().requires_grad_() for t in (self.x, self.w, self.b)]
        loss = getattr(module, name)(compiled=False, **options)
        made = loss(*order(*leaves), **extra)
        value, others = made if isinstance(made, tuple) else (made, ())
        (2.0 * value).backward()
        return [value, *others], [t.grad for t in leaves]

    def alike(self, name, options, order, extra={}):
        made, grads = self.run_loss(ours, name, options, order, extra)
        wanted, wanted_grads = self.run_loss(theirs, name, options, order, extra)
        self.assertEqual(len(made), len(wanted))
        for i, (a, b) in enumerate(zip(made, wanted)):
            self.close(torch.as_tensor(a), torch.as_tensor(b), what=f"{name} {options} result {i}")
        for i, (a, b) in enumerate(zip(grads, wanted_grads)):
            self.close(a, b, what=f"{name} {options} gradient {i}")

    def pair(self, x, w, b):
        return w, x, self.target, b

    def test_dpo(self):
        for loss_type in ours.LigerFusedLinearDPOLoss._types:
            options = {"loss_type": loss_type, "label_smoothing": 0.1}
            self.alike("LigerFusedLinearDPOLoss", options, self.pair, self.reference)
        for options in ({"compute_nll_loss": True, "alpha": 0.7}, {"average_log_prob": True}):
            self.alike("LigerFusedLinearDPOLoss", options, self.pair, self.reference)
        self.alike("LigerFusedLinearDPOLoss", {"use_ref_model": False}, self.pair)
        with self.assertRaisesRegex(ValueError, "'ipo' is none of"):
            ours.LigerFusedLinearDPOLoss(loss_type="ipo")

    def test_cpo_and_simpo(self):
        for options in (
            {"alpha": 0.5, "label_smoothing": 0.1}, {"average_log_prob": True, "compute_nll_loss": False},
        ):
            self.alike("LigerFusedLinearCPOLoss", options, self.pair)
        options = {"gamma": 0.3, "label_smoothing": 0.2, "beta": 2.0}
        self.alike("LigerFusedLinearSimPOLoss", options, self.pair)

    def test_orpo(self):
        self.alike("LigerFusedLinearORPOLoss", {}, self.pair)
        whole = torch.where(self.target == -100, 7, self.target)
        self.alike("LigerFusedLinearORPOLoss", {"beta": 0.3}, self.pair, {"nll_target": whole})

    def test_kto(self):
        label = torch.tensor([1, 0, 1, 1, 0, 0]).bool()

        def order(x, w, b):
            return x, w, self.target, b, label

        with_kl = {**self.reference, "kl": torch.tensor([0.2])}
        self.alike("LigerFusedLinearKTOLoss", {"use_ref_model": True}, order, with_kl)
        self.alike("LigerFusedLinearKTOLoss", {}, order, {"kl": torch.tensor([0.4])})
        options = {"average_log_prob": True, "use_ref_model": True}
        self.alike("LigerFusedLinearKTOLoss", options, order, self.reference)

    def test_jsd(self):
        teacher = torch.randn(2 * B * T, 12, generator=torch.Generator().manual_seed(4))
        teacher_w = torch.randn(V, 12, generator=torch.Generator().manual_seed(5))

        def order(x, w, b):
            return x.reshape(-1, H), w, teacher, teacher_w, self.target.view(-1), b

        for beta in (0.0, 0.3, 1.0):
            options = {"beta": beta, "weight_hard_loss": 0.3, "weight_soft_loss": 0.6}
            self.alike("LigerFusedLinearJSDLoss", options, order)
        self.alike("LigerFusedLinearJSDLoss", {"temperature": 2.0, "weight_hard_loss": 0.0}, order)
        made = ours.LigerFusedLinearJSDLoss(return_soft_hard_loss=True)(*order(self.x, self.w, self.b))
        wanted = theirs.LigerFusedLinearJSDLoss(return_soft_hard_loss=True, compiled=False)(
            *order(self.x, self.w, self.b))
        for a, b in zip(made, wanted):
            self.close(a, b)

    def test_grpo(self):
        g = torch.Generator().manual_seed(2)
        ids, mask = self.target.clamp(min=3), (self.target != -100).float()
        logp = (self.x @ self.w.T + self.b).log_softmax(-1).gather(2, ids[..., None])[..., 0]
        old, ref = (logp + 0.3 * torch.randn(logp.shape, generator=g) for _ in range(2))
        advantage = torch.randn(2 * B, generator=g)
        given = {"ref_per_token_logps": ref, "old_per_token_logps": old}

        def order(x, w, b):
            return x, w, ids, mask, advantage, b

        name = "LigerFusedLinearGRPOLoss"
        for loss_type in ("grpo", "bnpo", "dr_grpo", "dapo", "cispo", "sapo", "vespo"):
            high = 5.0 if loss_type == "cispo" else 0.28
            options = {"loss_type": loss_type, "max_completion_length": 20, "epsilon_high": high}
            self.alike(name, options, order, given)
        for loss_type in ("grpo", "luspo", "dapo"):
            beta = 0.0 if loss_type == "luspo" else 0.04
            options = {"loss_type": loss_type, "importance_sampling_level": "sequence", "beta": beta}
            self.alike(name, options, order, given)
        options = {"loss_type": "grpo", "temperature": 0.8, "delta": 4.0, "use_bias_correction_kl": True}
        self.alike(name, options, order, given)
        for loss_type, shape in (("dapo", T), ("vespo", T), ("vespo", 1)):
            ratio = torch.rand(2 * B, shape, generator=g) + 0.5
            extra = {**given, "vllm_is_ratio": ratio, "num_items_in_batch": 77}
            self.alike(name, {"loss_type": loss_type}, order, extra)
        self.alike(name, {}, order, self.reference)
        options = {"use_ref_model": False, "beta": 0.0}
        self.alike(name, options, order, {"old_per_token_logps": old})


if __name__ == "__main__":
    unittest.main()
