"""Policy losses on sampled tokens, PPO's and GRPO's kin, by the names of TRL's loss types."""

import ctypes
from collections import namedtuple

import torch

from . import _library
from ._arrays import Runs, fill, floats, struct
from .packed import POLICY, POLICY_STATS, Loss, _numbers

PolicyOutput = namedtuple("PolicyOutput", "loss losses bonus stats")
_LEVELS = {"token": "TOKEN", "sequence": "MEAN", "sequence_sum": "SUM", "sequence_token": "MEAN_TOKEN"}


def _counts(op, runs, target, step_tokens, max_completion_length):
    """What divisors are made of; tokens that `target` leaves out do not count."""
    lengths = torch.tensor([b - a for a, b in zip(runs.host, runs.host[1:])])
    if target is not None:
        kept = torch.cat([torch.zeros(1, dtype=torch.long), (target.cpu().view(-1) >= 0).cumsum(0)])
        ends = torch.tensor(runs.host)
        lengths = kept[ends[1:]] - kept[ends[:-1]]
    tokens = int(lengths.sum())
    return struct(
        "policy_counts", rows=runs.count, rows_with_tokens=int((lengths > 0).sum()), tokens=tokens,
        step_tokens=tokens if step_tokens is None else int(step_tokens),
        max_completion_length=int(max_completion_length or 0))


def _preset(op, loss_type, counts, epsilon, epsilon_high, delta, args):
    preset = _library.lib.plumb_policy_preset
    preset.argtypes = [ctypes.c_char_p, ctypes.c_void_p, *[ctypes.c_double] * 3, ctypes.c_void_p]
    high = epsilon if epsilon_high is None else epsilon_high
    _library.check(preset(
        loss_type.encode(), ctypes.addressof(counts), epsilon, high, delta or 0, ctypes.addressof(args)))


def policy_types():
    """The values of loss_type."""
    function, names = _library.lib.plumb_policy_preset_name, []
    function.restype = ctypes.c_char_p
    while function(len(names)):
        names.append(function(len(names)).decode())
    return names


def policy_loss_of(
    op, logp, runs, entropy, gradients, *, loss_type, epsilon, epsilon_high, delta, level, beta,
    kl_estimator, entropy_coef, step_tokens, max_completion_length, divisor, **options,
):
    numbers, arrays = _numbers("policy", options)
    counts = _counts(op, runs, arrays.get("target"), step_tokens, max_completion_length)
    if entropy is not None:
        arrays["entropy"] = entropy
    without = ("bonus",) if entropy is None else ()
    loss = Loss(POLICY, op, logp, runs, {}, arrays, gradients, without)
    _preset(op, loss_type, counts, epsilon, epsilon_high, delta, loss.args)
    if level is not None:
        if level not in _LEVELS:
            raise ValueError(f"{op}: level {level!r} is none of {', '.join(_LEVELS)}")
        numbers["level"] = _library.constants["PLUMB_LEVEL_" + _LEVELS[level]]
    if divisor is not None:
        numbers["divisor"] = float(divisor)
    fill(
        loss.args, beta=float(beta), estimator=_library.find("kl", kl_estimator),
        entropy_coef=float(entropy_coef), entropy_divisor=float(counts.tokens), **numbers)
    return loss


def policy_result(loss):
    """The scalar, and what else a caller may want."""
    t, a = loss.tensors, loss.args
    total = t["losses"].sum() / a.divisor if a.divisor else t["losses"].sum() * 0
    if a.entropy_coef and a.entropy_divisor:
        total = total - a.entropy_coef * t["bonus"].sum() / a.entropy_divisor
    stats = t["stats"].view(loss.count, len(POLICY_STATS))
    return total, t["losses"], t.get("bonus"), stats


class _Policy(torch.autograd.Function):
    @staticmethod
    def forward(ctx, logp, entropy, make):
        loss = make(floats("policy_loss", "logp", logp), entropy)
        loss.call()
        ctx.loss, ctx.like = loss, (logp, entropy)
        made = policy_result(loss)
        ctx.mark_non_differentiable(*(t for t in made[1:] if t is not None))
        return made

    @staticmethod
    def backward(ctx, upstream, *_):
        grads = []
        for name, like in zip(("dlogp", "dentropy"), ctx.like):
            g = ctx.loss.tensors.get(name)
            grads.append(None if g is None else (g * upstream).view(like.shape).to(like.dtype))
        return (*grads, None)


def policy_loss(
    logp, old_logp, advantage, offset, *, loss_type="grpo", epsilon=0.2, epsilon_high=None, delta=None,
    level=None, ref_logp=None, beta=0.0, kl_estimator="k3", entropy=None, entropy_coef=0.0,
    step_tokens=None, max_completion_length=None, divisor=None, return_outputs=False, **inputs,
):
    """Policy losses: loss_type is a name of policy_types(), with TRL's meaning.

    logp, old_logp, ref_logp (M): per token under the policy, under the one that sampled (None: logp
    itself), under the reference (read when beta, the weight of the penalty, is not 0). advantage: (B)
    of completions or (M) of tokens. level: of the ratio, "token", "sequence" (its mean), "sequence_sum",
    "sequence_token"; None = the type's own. entropy (M) takes part with entropy_coef. step_tokens: the
    counted tokens of the optimiser step, where the type divides by them; divisor overrides it all.
    `inputs`: further fields of struct plumb_policy: target (M; -1 counts nowhere), sampler_ratio (M),
    weight (M), row_weight (B), tau_positive, log_ratio_clamp, ...
    With return_outputs: PolicyOutput of the loss, losses (B), bonus (B; of entropy), stats (B,
    POLICY_STATS).
    """
    op = "policy_loss"
    runs = Runs(op, "offset", offset, logp.device, logp.numel())
    by_row = advantage.numel() == runs.count
    inputs["advantage" if by_row else "token_advantage"] = advantage
    gradients = ["dlogp"] if entropy is None else ["dlogp", "dentropy"]

    def make(x, h):
        return policy_loss_of(
            op, x, runs, h, gradients, loss_type=loss_type, epsilon=epsilon, epsilon_high=epsilon_high,
            delta=delta, level=level, old_logp=old_logp, ref_logp=ref_logp, beta=beta,
            kl_estimator=kl_estimator, entropy_coef=entropy_coef, step_tokens=step_tokens,
            max_completion_length=max_completion_length, divisor=divisor, **inputs)

    made = PolicyOutput(*_Policy.apply(logp, entropy, make))
    return made if return_outputs else made.loss
