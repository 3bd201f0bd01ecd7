"""Losses on log-probs of packed tokens: what one call of the library does, and its place in autograd.

Tokens of all completions lie one after the other; `offset` says where each begins and where the last
ends. pack() makes that of padded arrays.
"""

import bisect
import ctypes
from collections import namedtuple
from dataclasses import dataclass, field

import torch

from . import _library
from ._arrays import Runs, device_for, empty, fill, floats, indices, same_device, scratch, struct


@dataclass
class Family:
    """Of which shape a contract's arrays are: values an item (a pair, a completion, a list), of each
    token, or one for all."""

    name: str
    each: int  # runs of `offset` an item
    items: dict
    tokens: tuple
    whole: tuple = ()
    outputs: dict = field(default_factory=dict)  # values an item
    ints: tuple = ()


PAIRWISE = Family(
    "pairwise", 2,
    items={
        "margin": 1, "weight": 1, "aot": 1, "ref_sum": 2, "target": 2, "kl": 2, "aot_unpaired": 2,
        "anchor_sum": 2, "dkl": 2, "losses": 1, "logps": 2, "rewards": 2,
    },
    tokens=("logp", "ref_logp", "token_weight", "dlogp"),
    outputs={"losses": 1, "logps": 2, "rewards": 2},
)
UNPAIRED = Family(
    "unpaired", 1,
    items={
        "label": 1, "ref_sum": 1, "target": 1, "value": 1, "weight": 1, "dvalue": 1, "losses": 1,
        "logps": 1, "rewards": 1,
    },
    tokens=("logp", "ref_logp", "dlogp"), whole=("kl", "shift"),
    outputs={"losses": 1, "logps": 1, "rewards": 1}, ints=("label",),
)
POLICY = Family(
    "policy", 1,
    items={"advantage": 1, "row_weight": 1, "losses": 1, "bonus": 1, "stats": 8},
    tokens=(
        "target", "logp", "old_logp", "ref_logp", "token_advantage", "sampler_ratio", "weight", "mark",
        "entropy", "entropy_weight", "dlogp", "dentropy",
    ),
    whole=("entropy_count",), outputs={"losses": 1, "bonus": 1, "stats": 8}, ints=("target",),
)
POLICY_STATS = ("tokens", "low", "high", "capped", "ratio", "log_ratio", "kl", "entropy")


class Loss:
    """One call of a family on packed log-probs: the struct, and the tensors that it points to."""

    def __init__(self, family, op, logp, runs, numbers, arrays, gradients, without=()):
        self.family, self.op, self.runs, self.where = family, op, runs, logp.device
        self.device, self.count = device_for(logp.device), runs.count // family.each
        if runs.count % family.each:
            raise ValueError(f"{op}: offset has {runs.count} runs, not {family.each} an item")
        self.tensors = {"logp": logp}
        for name, x in arrays.items():
            if x is not None:
                self.tensors[name] = self._array(name, x)
        for name, each in family.outputs.items():
            if name not in without:
                self.tensors[name] = empty(self.where, self.count * each)
        for name in gradients:
            self.tensors[name] = empty(self.where, self.tensors["logp"].numel())
        self.args = struct(family.name, B=self.count, offset=runs.there, **numbers)
        fill(self.args, **self.tensors)

    def _array(self, name, x):
        f, tokens = self.family, self.runs.host[-1]
        if name in f.items:
            count = self.count * f.items[name]
        elif name in f.tokens:
            count = tokens
        elif name in f.whole:
            count = 1
        else:
            raise TypeError(f"{self.op}: there is no input {name!r}")
        if name in f.ints:
            return indices(self.op, name, x, self.where, count)
        x = floats(self.op, name, x, count)
        same_device(self.op, logp=self.tensors["logp"], **{name: x})
        return x

    def call(self, args=None):
        _library.call(self.family.name, self.device, args or self.args)

    def part(self, first, count):
        """The items whose tokens are [first, first + count), for one call."""
        each, host = self.family.each, self.runs.host
        starts = host[::each]
        a, b = bisect.bisect_left(starts, first), bisect.bisect_right(starts, first + count) - 1
        if starts[a] != first or starts[b] != first + count:
            raise ValueError(f"{self.op}: tokens [{first}, {first + count}) are no whole items")
        part = type(self.args).from_buffer_copy(self.args)
        part.B, part.offset = b - a, self.args.offset + 4 * each * a
        for name, of_item in self.family.items.items():
            t = self.tensors.get(name)
            if t is None:
                continue
            at = t.data_ptr() + a * of_item * t.element_size()
            if part.kinds[name] == "t":
                getattr(part, name).data = at
            else:
                setattr(part, name, at)
        return part

    def groups(self):
        """Where a head may cut: between items."""
        return self.runs.host[:: self.family.each]


def pack(values, mask):
    """(the values of (S, T) where mask is set, row by row; offset): padded arrays as packed ones."""
    mask = mask.bool()
    return values[mask], [0, *mask.sum(1).cumsum(0).tolist()]


def _numbers(name, options):
    """What of `options` are numbers of a struct, what its arrays."""
    kinds = _library.structs["plumb_" + name].kinds
    numbers, arrays = {}, {}
    for key, value in options.items():
        if key not in kinds:
            raise TypeError(f"{name}: there is no option {key!r}")
        if value is not None:
            (arrays if kinds[key] in "tp" else numbers)[key] = value
    return numbers, arrays


def pairwise_terms(loss_type, loss_weights):
    """The terms of a pairwise loss as an array of the host, which the caller keeps."""
    of = [loss_type] if isinstance(loss_type, str) else list(loss_type)
    weights = [1.0] * len(of) if loss_weights is None else [float(w) for w in loss_weights]
    if len(weights) != len(of):
        raise ValueError(f"preference_loss: {len(of)} loss types, {len(weights)} weights")
    term = _library.structs["plumb_pairwise_term"]
    return (term * len(of))(*(term(_library.find("pairwise", t), w) for t, w in zip(of, weights)))


def pairwise_loss(op, logp, offset, divisor, training, *, loss_type, loss_weights, f_divergence, **options):
    terms = pairwise_terms(loss_type, loss_weights)
    numbers, arrays = _numbers("pairwise", options)
    numbers |= {
        "terms": ctypes.addressof(terms), "term_count": len(terms), "divisor": float(divisor),
        "f_divergence": _library.constants["PLUMB_F_" + f_divergence.upper()],
    }
    loss = Loss(
        PAIRWISE, op, logp, offset, numbers, arrays, ("dlogp",) if training else ())
    loss.terms = terms
    return loss


def unpaired_loss_of(op, logp, offset, divisor, training, *, loss_type, **options):
    numbers, arrays = _numbers("unpaired", options)
    numbers |= {"loss": _library.find("unpaired", loss_type), "divisor": float(divisor)}
    return Loss(UNPAIRED, op, logp, offset, numbers, arrays, ("dlogp",) if training else ())


class _RowLosses(torch.autograd.Function):
    """apply(logp, make, training) gives the losses of the items and the family's other outputs;
    make(logp) is the Loss, with divisor 1."""

    @staticmethod
    def forward(ctx, logp, make, training):
        loss = make(floats("loss", "logp", logp))
        loss.call()
        ctx.loss, ctx.like = loss, logp
        made = [loss.tensors[name] for name in loss.family.outputs]
        ctx.mark_non_differentiable(*made[1:])
        return tuple(made)

    @staticmethod
    def backward(ctx, upstream, *_):
        loss = ctx.loss
        grad = loss.tensors["dlogp"] * loss.runs.spread(upstream, loss.family.each)
        return grad.view(ctx.like.shape).to(ctx.like.dtype), None, None


def _reduce(op, losses, reduction, divisor):
    if reduction == "none":
        return losses
    if reduction == "sum":
        return losses.sum()
    if reduction != "mean":
        raise ValueError(f"{op}: reduction {reduction!r} is none of mean, sum, none")
    return losses.sum() / (max(1, losses.numel()) if divisor is None else divisor)


PreferenceOutput = namedtuple("PreferenceOutput", "loss losses logps rewards")


def _rows(op, logp, offset, make, reduction, divisor, return_outputs, kind):
    training = torch.is_grad_enabled() and logp.requires_grad
    runs = Runs(op, "offset", offset, logp.device, logp.numel())
    losses, *others = _RowLosses.apply(logp, lambda x: make(x, runs, training), training)
    loss = _reduce(op, losses, reduction, divisor)
    return kind(loss, losses.detach(), *others) if return_outputs else loss


def preference_loss(
    logp, offset, *, loss_type="sigmoid", loss_weights=None, beta=0.1, label_smoothing=0.0,
    ref_logp=None, ref_sum=None, f_divergence="reverse_kl", reduction="mean", divisor=None,
    return_outputs=False, **inputs,
):
    """Pairwise preference losses, DPO's and its relatives'.

    logp (M): per token; run 2i of offset (2B + 1) is the chosen side of pair i, 2i + 1 its rejected
    one. loss_type: a name of `plumb.losses("pairwise")`, or several with loss_weights. The reference
    comes per token (ref_logp) or per sequence (ref_sum, (2B)); without it, it is 0. `inputs` are
    further fields of struct plumb_pairwise: margin (B), target (2B), weight (B), token_weight (M),
    gamma, alpha, discopop_tau, chosen_tokens, ... reduction "mean" divides by B or by `divisor`.
    With return_outputs: PreferenceOutput of the loss, losses (B), logps and rewards (2B).
    """
    op = "preference_loss"

    def make(x, runs, training):
        return pairwise_loss(
            op, x, runs, 1.0, training, loss_type=loss_type, loss_weights=loss_weights, beta=beta,
            label_smoothing=label_smoothing, ref_logp=ref_logp, ref_sum=ref_sum,
            f_divergence=f_divergence, **inputs)

    return _rows(op, logp, offset, make, reduction, divisor, return_outputs, PreferenceOutput)


def unpaired_loss(
    logp, offset, label=None, *, loss_type="kto", beta=0.1, desirable_weight=1.0,
    undesirable_weight=1.0, ref_logp=None, ref_sum=None, kl=None, reduction="mean", divisor=None,
    return_outputs=False, **inputs,
):
    """Losses of single completions with a label (B): KTO and others of `plumb.losses("unpaired")`.
    kl: KTO's reference point, a number or a tensor of one element. The rest as preference_loss."""
    op = "unpaired_loss"
    if isinstance(kl, (int, float)):
        kl = torch.tensor([float(kl)], device=logp.device)

    def make(x, runs, training):
        return unpaired_loss_of(
            op, x, runs, 1.0, training, loss_type=loss_type, label=label, beta=beta, kl=kl,
            desirable_weight=desirable_weight, undesirable_weight=undesirable_weight,
            ref_logp=ref_logp, ref_sum=ref_sum, **inputs)

    return _rows(op, logp, offset, make, reduction, divisor, return_outputs, PreferenceOutput)


class _Listwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, made):
        args, tensors, lists, runs = made(floats("listwise_loss", "scores", x))
        device = device_for(x.device)
        work = scratch("listwise", device, args, x.device)
        _library.call("listwise", device, args)
        del work
        grad = tensors.get("dlogp", tensors.get("dscore"))
        ctx.grad, ctx.lists, ctx.runs, ctx.like = grad, lists, runs, x
        others = [tensors[name] for name in ("pairs", "correct", "top")]
        ctx.mark_non_differentiable(*others)
        return (tensors["losses"], *others)

    @staticmethod
    def backward(ctx, upstream, *_):
        of_candidate = ctx.lists.spread(upstream)
        spread = ctx.runs.spread(of_candidate) if ctx.runs else of_candidate
        return (ctx.grad * spread).view(ctx.like.shape).to(ctx.like.dtype), None


ListwiseOutput = namedtuple("ListwiseOutput", "loss losses pairs correct top")


def _listwise_struct(op, x, lists, runs, loss_type, label, mask, options, training):
    where, C = x.device, lists.host[-1]
    numbers, arrays = _numbers("listwise", options)
    tensors = {"label": floats(op, "label", label, C), "mask": indices(op, "mask", mask, where, C)}
    sizes = {"ref_sum": C, "weight": lists.count, "ref_logp": x.numel()}
    for name, value in arrays.items():
        tensors[name] = floats(op, name, value, sizes[name])
    for name in ("losses", "pairs", "correct", "top"):
        tensors[name] = empty(where, lists.count)
    if training:
        tensors["dscore"] = empty(where, C)
    if runs:
        tensors |= {"logp": x, "scores": empty(where, C), "logps": empty(where, C)}
        if training:
            tensors["dlogp"] = empty(where, x.numel())
        numbers["offset"] = runs.there.data_ptr()
    else:
        tensors["score"] = x
    same_device(op, **{"logp" if runs else "score": x}, **{k: v for k, v in tensors.items() if v is not x})
    args = struct(
        "listwise", loss=_library.find("listwise", loss_type), L=lists.count, C=C, list=lists.there,
        divisor=1.0, **numbers)
    return fill(args, **tensors), tensors


def listwise_loss(
    list_offset, label, *, score=None, logp=None, offset=None, loss_type="list_mle", mask=None,
    beta=1.0, label_temperature=1.0, reduction="mean", divisor=None, return_outputs=False, **inputs,
):
    """Losses on ranked lists: list l has the candidates [list_offset[l], list_offset[l + 1]), with a
    label each, larger = better. Their scores are given (score (C)), or come from log-probs (logp (M),
    offset (C + 1); ref_logp or ref_sum as in preference_loss; length_penalty 1 = means). mask (C): 0
    takes no part. loss_type: a name of `plumb.losses("listwise")`. `inputs` are further fields of
    struct plumb_listwise. With return_outputs: ListwiseOutput of the loss, losses, and per list the
    pairs of unequal labels, those that the scores order alike, and whether the best is on top."""
    op = "listwise_loss"
    if (score is None) == (logp is None):
        raise ValueError(f"{op}: either score or logp with offset")
    x = score if logp is None else logp
    training = torch.is_grad_enabled() and x.requires_grad
    C = list_offset[-1]
    lists = Runs(op, "list_offset", list_offset, x.device, x.numel() if logp is None else int(C))
    runs = None if logp is None else Runs(op, "offset", offset, x.device, x.numel())
    if runs and runs.count != lists.host[-1]:
        raise ValueError(f"{op}: offset has {runs.count} runs, list_offset {lists.host[-1]} candidates")
    options = {"beta": beta, "label_temperature": label_temperature, **inputs}

    def made(values):
        args, tensors = _listwise_struct(
            op, values, lists, runs, loss_type, label, mask, options, training)
        return args, tensors, lists, runs

    losses, *others = _Listwise.apply(x, made)
    loss = _reduce(op, losses, reduction, divisor)
    return ListwiseOutput(loss, losses.detach(), *others) if return_outputs else loss


class _Kl(torch.autograd.Function):
    @staticmethod
    def forward(ctx, logp, ref_logp, numbers, arrays):
        x = floats("kl", "logp", logp)
        tensors = {"logp": x, "ref_logp": floats("kl", "ref_logp", ref_logp, x.numel())}
        tensors |= {k: floats("kl", k, v, x.numel()) for k, v in arrays.items()}
        where = same_device("kl", **tensors)
        tensors |= {"kl": empty(where, x.numel()), "dlogp": empty(where, x.numel())}
        args = fill(struct("kl", M=x.numel(), divisor=1.0, **numbers), **tensors)
        _library.call("kl", device_for(where), args)
        ctx.dlogp, ctx.like = tensors["dlogp"], logp
        return tensors["kl"].view(logp.shape)

    @staticmethod
    def backward(ctx, upstream):
        grad = ctx.dlogp.view(ctx.like.shape) * upstream
        return grad.to(ctx.like.dtype), None, None, None


def kl(logp, ref_logp, estimator="k3", *, old_logp=None, weight=None, clamp=0.0):
    """Estimates of KL(policy || reference) on sampled tokens, one a token, with gradients for logp.
    estimator: a name of `plumb.losses("kl")`: k1, k2, k3, abs, ..."""
    numbers = {"estimator": _library.find("kl", estimator), "clamp": float(clamp)}
    arrays = {"old_logp": old_logp, "weight": weight}
    return _Kl.apply(logp, ref_logp, numbers, {k: v for k, v in arrays.items() if v is not None})


def gae(reward, value, offset, *, gamma=1.0, lam=0.95, counted=None, baseline=None):
    """(advantages, returns) per token of packed sequences, constants. value None = 0; counted (M): 0
    = a token that is no step of time; baseline (R): taken from a sequence's advantages."""
    op = "gae"
    r = floats(op, "reward", reward)
    runs = Runs(op, "offset", offset, r.device, r.numel())
    made = {"advantage": torch.zeros_like(r), "returns": torch.zeros_like(r)}
    tensors = {
        "reward": r, "value": floats(op, "value", value, r.numel()),
        "baseline": floats(op, "baseline", baseline, runs.count),
        "counted": indices(op, "counted", counted, r.device, r.numel()),
    }
    where = same_device(op, **tensors)
    args = struct("gae", R=runs.count, offset=runs.there, gamma=float(gamma), **{"lambda": float(lam)})
    fill(args, **tensors, **made)
    _library.call("gae", device_for(where), args)
    return made["advantage"].view(reward.shape), made["returns"].view(reward.shape)
