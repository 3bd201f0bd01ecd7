"""All of it on a GPU, where there is one, and on the executor of CUDA kernels, where that is built:
what comes out is what the CPU gives."""

import ctypes
import os
import unittest

import torch
from checks import Case, head_case
from test_losses import OFFSET, token_case

import plumb
from plumb import _arrays, _library


def calls():
    """name -> (function of tensors, the tensors): scalars with gradients for the float ones."""
    hidden, weight, bias, target = head_case(N=30)
    logp, old, ref = token_case()
    label = torch.tensor([1, 0, 0, 1, 1, 0, 1, 0])
    advantage = torch.linspace(-1, 1, 8)
    lists, ranks = [0, 3, 7, 8], torch.tensor([2.0, 0.0, 1.0, 0.5, 3.0, -1.0, 2.0, 1.0])

    def head(x, w, b, t):
        a, h, m = plumb.fused_linear_logprob(x, w, t, b, softcap=5.0, outputs=("entropy", "mean_logit"))
        return a.sum() + 0.1 * h.square().sum() + m.sum()

    return {
        "head": (head, (hidden, weight, bias, target)),
        "cross entropy": (
            lambda x, w, b, t: plumb.fused_linear_cross_entropy(x, w, t, b, label_smoothing=0.1),
            (hidden, weight, bias, target)),
        "pairs": (lambda x, r: plumb.preference_loss(x, OFFSET, ref_logp=r, loss_type="ipo"), (logp, ref)),
        "single": (lambda x, l: plumb.unpaired_loss(x, OFFSET, l, kl=0.1), (logp, label)),
        "lists": (
            lambda x, r, y: plumb.listwise_loss(lists, y, logp=x, offset=OFFSET, ref_logp=r),
            (logp, ref, ranks)),
        "policy": (
            lambda x, o, r, a: plumb.policy_loss(x, o, a, OFFSET, ref_logp=r, beta=0.1),
            (logp, old, ref, advantage)),
        "divergence": (
            lambda x, w, b, t: plumb.fused_linear_divergence(
                x, w, hidden.to(x.device), 0.5 * weight.to(x.device), b),
            (hidden, weight, bias, target)),
        "kl": (lambda x, r: plumb.kl(x, r).sum(), (logp, ref)),
        "gae": (lambda r, v: plumb.gae(r, v, OFFSET)[0].square().sum() + 0 * r.sum(), (logp, ref)),
        "pairs in the head": (
            lambda x, w, b, t, r: plumb.fused_linear_preference_loss(x, w, t, OFFSET, b, ref_logp=r),
            (hidden, weight, bias, target, ref)),
        "policy in the head": (
            lambda x, w, b, t, o, a: plumb.fused_linear_policy_loss(
                x, w, t, o, a, OFFSET, b, entropy_coef=0.01),
            (hidden, weight, bias, target, old, advantage)),
    }


class Devices(Case):
    def run_call(self, function, tensors, where):
        leaves = [t.to(where).clone() for t in tensors]
        leaves = [t.requires_grad_() if t.is_floating_point() else t for t in leaves]
        value = function(*leaves)
        value.backward()
        grads = [t.grad for t in leaves if t.is_floating_point()]
        return [value, *(g for g in grads if g is not None)]

    def same_as_cpu(self, run):
        for name, (function, tensors) in calls().items():
            wanted = self.run_call(function, tensors, "cpu")
            made = run(function, tensors)
            self.assertEqual(len(made), len(wanted), name)
            for i, (a, b) in enumerate(zip(made, wanted)):
                self.close(a.cpu(), b, 5e-5, f"{name} {i}")

    @unittest.skipUnless(torch.cuda.is_available(), "no GPU")
    def test_a_gpu_gives_what_the_cpu_does(self):
        self.same_as_cpu(lambda f, t: self.run_call(f, t, "cuda"))
        side = torch.cuda.Stream()
        with torch.cuda.stream(side):
            self.same_as_cpu(lambda f, t: self.run_call(f, t, "cuda"))

    def test_the_executor_gives_what_the_cpu_does(self):
        os.environ["PLUMB_SIM_MANAGED"] = "1"  # tensors of the host serve as its own
        dev = ctypes.c_void_p()
        try:
            _library.check(_library.lib.plumb_device_new(b"cuda-sim", ctypes.byref(dev)))
        except plumb.NotSupported as fault:
            self.skipTest(str(fault))

        def run(function, tensors):
            _arrays.forced = dev.value
            try:
                return self.run_call(function, tensors, "cpu")
            finally:
                _arrays.forced = None

        self.same_as_cpu(run)
        _library.lib.plumb_device_delete(dev)


if __name__ == "__main__":
    unittest.main()
