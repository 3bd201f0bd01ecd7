"""Losses straight from hidden states and the output matrix: log-probs, loss and gradients in one pass
of the head, three matrix products where every item fits a chunk of it."""

from collections import namedtuple

import torch

from ._arrays import Runs, empty, floats
from .head import FusedLoss, fused_linear_logprob, operands, run_fused
from .packed import pairwise_loss, unpaired_loss_of
from .policy import PolicyOutput, policy_loss_of, policy_result

_HEAD = ("rows", "temperature", "softcap", "logit_scale", "valid_vocab", "ignore_index")


class _Items(FusedLoss):
    """A family's losses as an epilogue. `linear` (M) times the log-probs is added to them; targets
    behind the last item have that alone."""

    def __init__(self, loss, result, linear=None):
        self.loss, self.finish, self.linear = loss, result, linear
        self.items, M = loss.runs.host[-1], loss.tensors["logp"].numel()
        self.group = loss.groups() + ([M] if M > self.items else [])
        names = ("logp", "dlogp", "entropy", "dentropy")
        self.tensors = {k: v for k, v in loss.tensors.items() if k in names}

    def run(self, first, count, training):
        of_items = min(first + count, self.items) - first
        if of_items > 0:
            self.loss.call(self.loss.part(first, of_items))
        if not training or self.linear is None:
            return
        if of_items > 0:
            self.tensors["dlogp"][first : first + of_items] += self.linear[first : first + of_items]
        if of_items < count:
            beyond = slice(max(first, self.items), first + count)
            self.tensors["dlogp"][beyond] = self.linear[beyond]

    def result(self):
        value, *others = self.finish(self.loss)
        if self.linear is None:
            return (value, *others)
        linear = (self.linear * self.tensors["logp"]).sum()
        return (value + linear, *others, linear)


FusedOutput = namedtuple("FusedOutput", "loss losses logps rewards linear", defaults=(None,))


def _split(options):
    return {k: options.pop(k) for k in _HEAD if k in options}


def _reference(hidden, weight, target, bias, head):
    """Log-probs of the reference model, a forward without gradients."""
    with torch.no_grad():
        return fused_linear_logprob(hidden, weight, target, bias, **head).view(-1)


def _training(o):
    return torch.is_grad_enabled() and any(
        t is not None and t.requires_grad for t in (o.x, o.w, o.bias))


def fused_linear_preference_loss(
    hidden, weight, target, offset, bias=None, *, ref_hidden=None, ref_weight=None, ref_bias=None,
    ref_logp=None, ref_sum=None, loss_type="sigmoid", loss_weights=None, beta=0.1, label_smoothing=0.0,
    f_divergence="reverse_kl", divisor=None, return_outputs=False, linear=None, **options,
):
    """preference_loss of the log-probs of target under hidden @ weight.T + bias, without them having to
    be kept: see preference_loss for offset, loss_type and `options`, fused_linear_logprob for hidden,
    weight, target and its options. Give ref_hidden and ref_weight to have the reference's log-probs
    made as well (one more product). linear: weights of all log-probs in a further, linear term of the
    loss, such as a likelihood; then targets may follow behind the last pair. A mean over `divisor`
    pairs, by default all. With return_outputs: FusedOutput, PreferenceOutput and the linear term."""
    op = "fused_linear_preference_loss"
    head = _split(options)
    o = operands(op, hidden, weight, bias, target, **head)
    runs = Runs(op, "offset", offset, o.x.device, o.target.numel() if linear is None else None)
    if ref_hidden is not None:
        ref_logp = _reference(ref_hidden, ref_weight, target, ref_bias, head)[: runs.host[-1]]
    count = max(1, runs.count // 2) if divisor is None else divisor
    loss = pairwise_loss(
        op, empty(o.x.device, o.target.numel()), runs, count, _training(o), loss_type=loss_type,
        loss_weights=loss_weights, beta=beta, label_smoothing=label_smoothing, ref_logp=ref_logp,
        ref_sum=ref_sum, f_divergence=f_divergence, **options)
    return _finish(op, o, loss, count, linear, return_outputs)


def _finish(op, o, loss, count, linear, return_outputs):
    def result(made):
        t = made.tensors
        return t["losses"].sum() / count, t["losses"], t["logps"], t["rewards"]

    if loss.runs.host[-1] > o.target.numel():
        raise ValueError(f"{op}: offset ends at {loss.runs.host[-1]}, target has {o.target.numel()}")
    if linear is not None:
        linear = floats(op, "linear", linear, o.target.numel())
    made = FusedOutput(*run_fused(o, _Items(loss, result, linear)))
    return made if return_outputs else made.loss


def fused_linear_unpaired_loss(
    hidden, weight, target, offset, label=None, bias=None, *, ref_hidden=None, ref_weight=None,
    ref_bias=None, ref_logp=None, ref_sum=None, loss_type="kto", beta=0.1, desirable_weight=1.0,
    undesirable_weight=1.0, kl=None, divisor=None, return_outputs=False, linear=None, **options,
):
    """unpaired_loss of the log-probs of target; arguments as there and as above."""
    op = "fused_linear_unpaired_loss"
    head = _split(options)
    o = operands(op, hidden, weight, bias, target, **head)
    runs = Runs(op, "offset", offset, o.x.device, o.target.numel())
    if ref_hidden is not None:
        ref_logp = _reference(ref_hidden, ref_weight, target, ref_bias, head)
    if isinstance(kl, (int, float)):
        kl = torch.tensor([float(kl)], device=o.x.device)
    count = max(1, runs.count) if divisor is None else divisor
    loss = unpaired_loss_of(
        op, empty(o.x.device, o.target.numel()), runs, count, _training(o), loss_type=loss_type,
        label=label, beta=beta, desirable_weight=desirable_weight, kl=kl,
        undesirable_weight=undesirable_weight, ref_logp=ref_logp, ref_sum=ref_sum, **options)
    return _finish(op, o, loss, count, linear, return_outputs)


def fused_linear_policy_loss(
    hidden, weight, target, old_logp, advantage, offset, bias=None, *, ref_hidden=None,
    ref_weight=None, ref_bias=None, ref_logp=None, loss_type="grpo", epsilon=0.2, epsilon_high=None,
    delta=None, level=None, beta=0.0, kl_estimator="k3", entropy_coef=0.0, step_tokens=None,
    max_completion_length=None, divisor=None, return_outputs=False, **options,
):
    """policy_loss of the log-probs (and with entropy_coef the entropies) of target; arguments as there
    and as above. Targets that are ignored count nowhere."""
    op = "fused_linear_policy_loss"
    head = _split(options)
    o = operands(op, hidden, weight, bias, target, **head)
    M, where = o.target.numel(), o.x.device
    runs = Runs(op, "offset", offset, where, M)
    if ref_hidden is not None:
        ref_logp = _reference(ref_hidden, ref_weight, target, ref_bias, head)
    options["advantage" if advantage.numel() == runs.count else "token_advantage"] = advantage
    entropy = empty(where, M) if entropy_coef else None
    gradients = () if not _training(o) else ("dlogp",) if entropy is None else ("dlogp", "dentropy")
    loss = policy_loss_of(
        op, empty(where, M), runs, entropy, gradients, loss_type=loss_type, epsilon=epsilon,
        epsilon_high=epsilon_high, delta=delta, level=level, beta=beta, kl_estimator=kl_estimator,
        entropy_coef=entropy_coef, step_tokens=step_tokens, divisor=divisor, old_logp=old_logp,
        max_completion_length=max_completion_length, ref_logp=ref_logp, target=o.target, **options)
    made = PolicyOutput(*run_fused(o, _Items(loss, policy_result)))
    return made if return_outputs else made.loss
