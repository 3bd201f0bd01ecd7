"""One system's DPO loss from hidden states and output matrix, forward and backward, timed in a process
of its own. Not part of the build; bench/peers/run.py calls it.

usage: dpo_head.py PEER N H V DTYPE REFERENCE REPEATS THREADS
  PEER       plumb, plumb_trl (TRL's calls on our head), torch, torch_fused (torch's own fused
             cross-entropy), trl, liger, liger_compiled
  REFERENCE  0: its log-probs are given; 1: made from its hidden states and matrix
Prints JSON: seconds of each repeat, the loss, the largest memory beyond inputs and gradients, once
with gradients made by the step and once with gradients that were there before it and are added to.
"""

import json
import sys
import time

import torch
import torch.nn.functional as F

TOKENS = 64  # of a completion


class Case:
    """The same tensors for every peer: (2B, T, H), the chosen half first, all tokens counted."""

    def __init__(self, N, H, V, dtype, reference):
        g = torch.Generator().manual_seed(0)
        self.B, self.V, self.reference = N // (2 * TOKENS), V, reference

        def normal(*shape, size=1.0):
            return (torch.randn(*shape, generator=g) * size).to(dtype)

        self.x = normal(2 * self.B, TOKENS, H).requires_grad_()
        self.w = normal(V, H, size=3 / H**0.5).requires_grad_()
        self.target = torch.randint(0, V, (2 * self.B, TOKENS), generator=g)
        self.ref_x, self.ref_w, self.ref_logp = None, None, None
        if reference:
            self.ref_x, self.ref_w = normal(2 * self.B, TOKENS, H), normal(V, H, size=3 / H**0.5)
        else:
            self.ref_logp = -12 + torch.randn(2 * self.B, TOKENS, generator=g)

    def dpo(self, logp, ref_logp):
        """From per-token log-probs, as TRL has it."""
        ratio = (logp - ref_logp).sum(-1)
        return -F.logsigmoid(0.1 * (ratio[: self.B] - ratio[self.B :])).mean()

    def by_log_probs(self, of):
        """of(x, w): log-probs; the reference's without a gradient."""
        ref = self.ref_logp
        if self.reference:
            with torch.no_grad():
                ref = of(self.ref_x, self.ref_w)
        return self.dpo(of(self.x, self.w), ref)


def plain(c):
    def of(x, w):
        logits = (x @ w.T).float()
        return logits.log_softmax(-1).gather(-1, c.target[..., None])[..., 0]

    return lambda: c.by_log_probs(of)


def torch_fused(c):
    def of(x, w):
        flat = c.target.view(-1)
        loss = F.linear_cross_entropy(x.view(-1, x.shape[-1]), w, flat, reduction="none")
        return -loss.view(c.target.shape).float()

    return lambda: c.by_log_probs(of)


def trl(c, import_ours=False):
    if import_ours:
        import plumb.trl  # noqa: F401
    import trl.trainer.utils as utils

    def of(x, w):
        logp = utils._ChunkedLogProbFunction.apply(
            x.view(-1, x.shape[-1]), w, None, c.target.view(-1), 1.0, utils._CHUNKED_LOGPROB_CHUNK_SIZE,
            None, 1.0, ())[0]
        return logp.view(c.target.shape)

    return lambda: c.by_log_probs(of)


def liger(c, compiled):
    from liger_kernel.chunked_loss import LigerFusedLinearDPOLoss

    if not c.reference:
        return None  # it makes the reference's log-probs itself
    loss = LigerFusedLinearDPOLoss(compiled=compiled, use_ref_model=True)
    return lambda: loss(c.w, c.x, c.target, ref_input=c.ref_x, ref_weight=c.ref_w)[0]


def plumb(c):
    import plumb

    order = torch.arange(2 * c.B).view(2, -1).t().reshape(-1)
    rows = (order[:, None] * TOKENS + torch.arange(TOKENS)).view(-1)
    target, offset = c.target.view(-1)[rows], range(0, 2 * c.B * TOKENS + 1, TOKENS)
    given = {"rows": rows, "beta": 0.1}
    if c.reference:
        given |= {"ref_hidden": c.ref_x, "ref_weight": c.ref_w}
    else:
        given["ref_logp"] = c.ref_logp.view(-1)[rows]
    return lambda: plumb.fused_linear_preference_loss(c.x, c.w, target, offset, **given)


PEERS = {
    "plumb": plumb, "plumb_trl": lambda c: trl(c, True), "torch": plain, "torch_fused": torch_fused,
    "trl": trl, "liger": lambda c: liger(c, False), "liger_compiled": lambda c: liger(c, True),
}


def status(name):
    for line in open("/proc/self/status"):
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    raise KeyError(name)


def step(loss):
    value = loss()
    value.backward()
    return value.item()


def growth(loss):
    """(loss, how far the process grows during a step beyond what it had before)."""
    before = status("VmRSS")
    open("/proc/self/clear_refs", "w").write("5")  # the peak starts here
    value = step(loss)
    return value, status("VmHWM") - before


def main():
    peer, N, H, V, dtype, reference, repeats, threads = sys.argv[1:]
    torch.set_num_threads(int(threads))
    dtype = getattr(torch, dtype)
    if peer == "torch_fused" and not hasattr(F, "linear_cross_entropy"):
        print(json.dumps({"skipped": "this torch has no linear_cross_entropy"}))
        return
    small = Case(4 * TOKENS, 64, 512, dtype, reference == "1")
    made = PEERS[peer](small)
    if made is None:
        print(json.dumps({"skipped": "no such call"}))
        return
    step(made)  # libraries and threads are there
    c = Case(int(N), int(H), int(V), dtype, reference == "1")
    loss = PEERS[peer](c)
    value, grown = growth(loss)
    extra = grown - sum(t.grad.numel() * t.grad.element_size() for t in (c.x, c.w))
    _, adding = growth(loss)
    seconds = []
    for _ in range(int(repeats)):
        c.x.grad = c.w.grad = None
        start = time.perf_counter()
        loss().backward()
        seconds.append(time.perf_counter() - start)
    print(json.dumps({"seconds": seconds, "loss": value, "extra": extra,
                      "adding": adding}))


main()
