"""What the tests share: comparison of values and gradients with a plain torch formula."""

import unittest

import torch


def error(got, wanted):
    """The largest difference as a share of the largest value."""
    if got.shape != wanted.shape:
        raise AssertionError(f"shape {tuple(got.shape)}, not {tuple(wanted.shape)}")
    if not got.numel():
        return 0.0
    scale = wanted.double().abs().max().clamp(min=1e-6)
    return float((got.double() - wanted.double()).abs().max() / scale)


class Case(unittest.TestCase):
    def close(self, got, wanted, bound=2e-5, what=""):
        self.assertLessEqual(error(got.detach(), wanted.detach()), bound, what)

    def same_gradients(self, ours, plain, inputs, bound=2e-5, what=""):
        """ours(*inputs) and plain(*inputs) are scalars with the same value and gradients."""
        made = []
        for f in (ours, plain):
            leaves = [t.detach().clone().requires_grad_() for t in inputs]
            value = f(*leaves)
            (1.5 * value).backward()
            made.append((value, [t.grad for t in leaves]))
        (value, grads), (wanted, wanted_grads) = made
        self.close(value, wanted, bound, what + " value")
        for i, (g, w) in enumerate(zip(grads, wanted_grads)):
            self.close(g, torch.zeros_like(inputs[i]) if w is None else w, bound, f"{what} gradient {i}")
        return value


def head_case(seed=0, N=37, H=24, V=131, ignored=5):
    """(hidden, weight, bias, target): logits with a standard deviation of about 2."""
    g = torch.Generator().manual_seed(seed)
    hidden = torch.randn(N, H, generator=g)
    weight = torch.randn(V, H, generator=g) * 2 / H**0.5
    bias = torch.randn(V, generator=g)
    target = torch.randint(0, V, (N,), generator=g)
    target[torch.randperm(N, generator=g)[:ignored]] = -100
    return hidden, weight, bias, target


def plain_logits(hidden, weight, bias=None, temperature=1.0, softcap=None, logit_scale=1.0):
    z = logit_scale * (hidden.float() @ weight.float().T + (0 if bias is None else bias.float()))
    if softcap:
        z = softcap * torch.tanh(z / softcap)
    return z / temperature


def plain_logp(z, target):
    logp = z.log_softmax(-1).gather(-1, target.clamp(min=0)[..., None])[..., 0]
    return torch.where(target >= 0, logp, 0.0)
