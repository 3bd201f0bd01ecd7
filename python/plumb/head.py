"""The head: log-probabilities of given tokens, and losses made of them, from hidden states and the
output matrix, without a matrix of logits."""

import ctypes
from contextlib import nullcontext
from dataclasses import dataclass

import torch

from . import _library
from ._arrays import (
    device_for, empty, fill, host_ints, indices, same_device, scratch, struct, torch_tensor,
)

OUTPUTS = ("lse", "entropy", "log_sum_sq", "mean_logit", "argmax")


@dataclass
class Head:
    """What logits are: cap(logit_scale * (x W^T + bias)) / temperature over a valid vocabulary; and
    the dtype of the products."""

    temperature: float = 1.0
    softcap: float | None = None
    logit_scale: float = 1.0
    valid_vocab: int | None = None
    dtype: torch.dtype = torch.float32


@dataclass
class Operands:
    """x (N, H), w (V, H) and bias (V) as the caller has them, targets, and the head's options."""

    x: torch.Tensor
    w: torch.Tensor
    bias: torch.Tensor | None
    row: torch.Tensor
    target: torch.Tensor
    head: Head


def floating(op, name, x):
    x = torch_tensor(x, name)
    if x.dtype not in (torch.float32, torch.bfloat16):
        raise TypeError(f"{op}: {name} is {x.dtype}; the head takes float32 and bfloat16")
    return x.contiguous()


def compute_dtype(op, x, w):
    """Of the products: what autocast asks for, else the operands' own."""
    kind = x.device.type
    if torch.is_autocast_enabled(kind):
        dtype = torch.get_autocast_dtype(kind)
        if dtype not in (torch.float32, torch.bfloat16):
            raise TypeError(f"{op}: autocast asks for {dtype}; the head takes float32 and bfloat16")
        return dtype
    if x.dtype != w.dtype:
        raise TypeError(f"{op}: hidden is {x.dtype}, weight {w.dtype}")
    return x.dtype


def operands(op, hidden, weight, bias, target, *, rows=None, ignore_index=-100, **options):
    """Checks all that goes into a head against each other."""
    where = same_device(op, hidden=hidden, weight=weight, bias=bias, target=target)
    x, w = floating(op, "hidden", hidden), floating(op, "weight", weight)
    if w.dim() != 2 or x.dim() < 2 or x.shape[-1] != w.shape[1]:
        raise ValueError(
            f"{op}: hidden of shape {tuple(x.shape)} and weight of {tuple(w.shape)} do not multiply"
        )
    if bias is not None:
        bias = floating(op, "bias", bias)
        if bias.shape != w.shape[:1]:
            raise ValueError(f"{op}: bias has shape {tuple(bias.shape)}, weight {tuple(w.shape)}")
    head = Head(**options, dtype=compute_dtype(op, x, w))
    x = x.view(-1, x.shape[-1])
    t = indices(op, "target", target, where)
    if ignore_index != -1:
        t = torch.where(t == ignore_index, -1, t)
    if rows is not None:
        row = indices(op, "rows", rows, where, t.numel())
    elif t.numel() == x.shape[0]:
        row = torch.arange(t.numel(), dtype=torch.int32, device=where)
    else:
        raise ValueError(
            f"{op}: target has {t.numel()} elements, hidden {x.shape[0]} rows (rows= maps them)"
        )
    return Operands(x, w, bias, row, t, head)


class Call:
    """One call of an op with an output matrix: the struct, what it points to, and where gradients of
    `given`, (x, w, bias) as the caller has them, go."""

    def __init__(self, op, given, args, kept):
        self.op, self.given, self.args, self.kept = op, given, args, [*kept]
        self.where = given[0].device
        self.device = device_for(self.where)

    def add(self, **fields):
        self.kept += fields.values()
        fill(self.args, **fields)

    def want_gradients(self, needs):
        """Parameters' gradients are added up in float32."""
        x, w, bias = self.given
        f32 = {"dtype": torch.float32, "device": self.where}
        self.dx = (torch.empty_like if self.args.M else torch.zeros_like)(x) if needs[0] else None
        self.dw = torch.zeros(w.shape, **f32) if needs[1] else None
        self.dbias = torch.zeros(bias.shape, **f32) if bias is not None and needs[2] else None
        self.add(dx=self.dx, dw=self.dw, dbias=self.dbias)

    def gradients(self):
        """In the dtypes of what they are gradients of."""
        made, self.dx, self.dw, self.dbias = (self.dx, self.dw, self.dbias), None, None, None
        self.kept = []
        return tuple(g if g is None else g.to(t.dtype) for g, t in zip(made, self.given))

    def run(self, entry):
        work = scratch(self.op, self.device, self.args, self.where)
        _library.call(entry, self.device, self.args)
        del work


def in_dtype(x, w, bias, dtype):
    """What products read."""
    if bias is not None and bias.dtype != torch.float32:
        bias = bias.to(dtype)
    return x.to(dtype), w.to(dtype), bias


def _call(x, w, bias, row, target, head):
    given, (x, w, bias) = (x, w, bias), in_dtype(x, w, bias, head.dtype)
    args = struct(
        "logprob", N=x.shape[0], H=x.shape[1], V=w.shape[0], M=target.numel(), x=x, w=w, bias=bias,
        row=row, target=target, temperature=float(head.temperature),
        logit_scale=float(head.logit_scale), softcap=float(head.softcap or 0),
        valid_vocab=int(head.valid_vocab or 0))
    return Call("logprob", given, args, (x, w, bias, row, target))


class LogprobFunction(torch.autograd.Function):
    """apply(x, w, bias, row, target, head, outputs, around) gives logp and OUTPUTS, None where not
    asked for. around(w, bias) is a context that the backward enters before it reads them."""

    @staticmethod
    def forward(ctx, x, w, bias, row, target, head, outputs, around=None):
        ctx.set_materialize_grads(False)
        call = _call(x, w, bias, row, target, head)
        M = target.numel()
        made = {"logp": empty(x.device, M), "lse": empty(x.device, M)}
        for name in outputs:
            made[name] = empty(x.device, M, torch.int32 if name == "argmax" else torch.float32)
        call.add(**made)
        call.run("logprob_fwd")
        ctx.save_for_backward(x, w, bias, row, target, made["lse"], made.get("entropy"))
        ctx.head, ctx.around = head, around
        ctx.mark_non_differentiable(*(made[n] for n in ("log_sum_sq", "argmax") if n in outputs))
        return (made["logp"], *(made[name] if name in outputs else None for name in OUTPUTS))

    @staticmethod
    def backward(ctx, dlogp, dlse, dentropy, _squares, dmean, _argmax):
        x, w, bias, row, target, lse, entropy = ctx.saved_tensors
        upstream = {"dlogp": dlogp, "dlse": dlse, "dentropy": dentropy, "dmean": dmean}
        upstream = {k: v.float().contiguous() for k, v in upstream.items() if v is not None}
        with ctx.around(w, bias) if ctx.around else nullcontext():
            call = _call(x, w, bias, row, target, ctx.head)
            call.want_gradients(ctx.needs_input_grad)
            call.add(lse=lse, entropy=entropy, **upstream)
            call.run("logprob_bwd")
        return (*call.gradients(), None, None, None, None, None)


def fused_linear_logprob(
    hidden, weight, target, bias=None, *, rows=None, temperature=1.0, softcap=None, logit_scale=1.0,
    valid_vocab=None, ignore_index=-100, outputs=(),
):
    """log p(target) under logits = hidden @ weight.T + bias, in the shape of target; with `outputs`
    (of OUTPUTS) a tuple that has those behind it.

    hidden (..., H) and weight (V, H) are float32 or bfloat16; statistics are float32. target[i] is of
    row i of hidden, or of rows[i]: one row may have several targets. Where target is ignore_index, all
    outputs are 0 (argmax -1). lse, entropy and mean_logit have gradients, log_sum_sq (ln sum p^2) and
    argmax none. The backward makes the logits again: four matrix products in all.
    """
    op = "fused_linear_logprob"
    unknown = [name for name in outputs if name not in OUTPUTS]
    if unknown:
        raise ValueError(f"{op}: there is no output {unknown[0]!r}; there are {', '.join(OUTPUTS)}")
    o = operands(
        op, hidden, weight, bias, target, rows=rows, ignore_index=ignore_index,
        temperature=temperature, softcap=softcap, logit_scale=logit_scale, valid_vocab=valid_vocab)
    made = LogprobFunction.apply(o.x, o.w, o.bias, o.row, o.target, o.head, tuple(outputs))
    named = dict(zip(("logp", *OUTPUTS), made))
    shaped = tuple(named[name].view(target.shape) for name in ("logp", *outputs))
    return shaped if outputs else shaped[0]


class FusedLoss:
    """A loss that runs inside the head: called with the log-probs of a range of targets, it leaves
    their gradients, so that the logits need not be made twice.

    group: where ranges may be cut, integers of the host; tensors: fields of the head that the loss
    reads and writes (logp, dlogp, lse, ...); run(first, count, training) does a range; result() is
    the loss, a scalar, and what else goes to the caller, without gradients.
    """

    group = None
    tensors = {}

    def run(self, first, count, training):
        raise NotImplementedError

    def result(self):
        raise NotImplementedError


def _run_with_gradients(call, loss):
    fault = []

    def ready(_, first, count):
        try:
            loss.run(first, count, True)
            return 0
        except BaseException as e:  # raised again below: no exception crosses C code
            fault.append(e)
            return _library.constants["PLUMB_EINVAL"]

    callback, group = _library.Epilogue(ready), host_ints(loss.group)
    call.args.group = ctypes.addressof(group)
    call.args.groups = len(loss.group) - 1
    call.args.epilogue = ctypes.cast(callback, ctypes.c_void_p)
    try:
        call.run("logprob_fused")
    except _library.Error:
        if fault:
            raise fault[0] from None
        raise


def hand_over(ctx, upstream):
    """Gradients made with the forward, times what comes from above: not copied on their way."""
    if ctx.grads is None:
        raise RuntimeError("plumb: the gradients of a fused loss can be taken once")
    grads, ctx.grads = ctx.grads, None
    if upstream.device.type != "cpu" or upstream.item() != 1:
        for g in grads:
            if g is not None:
                g.mul_(upstream)
    return grads


class _FusedFunction(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, w, bias, row, target, head, loss, training):
        call = _call(x, w, bias, row, target, head)
        if training:
            call.add(**loss.tensors)
            call.want_gradients(ctx.needs_input_grad)
            _run_with_gradients(call, loss)
            ctx.grads = call.gradients()
        else:
            call.add(**{k: v for k, v in loss.tensors.items() if not k.startswith("d")})
            call.run("logprob_fwd")
            if target.numel():
                loss.run(0, target.numel(), False)
        value, *others = loss.result()
        ctx.mark_non_differentiable(*(t for t in others if isinstance(t, torch.Tensor)))
        return (value, *others)

    @staticmethod
    def backward(ctx, upstream, *_):
        return (*hand_over(ctx, upstream), None, None, None, None, None)


def run_fused(o, loss):
    """The loss on a head's operands, with gradients where somebody wants them: (loss, others...)."""
    inputs = (o.x, o.w, o.bias)
    training = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in inputs)
    return _FusedFunction.apply(*inputs, o.row, o.target, o.head, loss, training)


class _CrossEntropy(FusedLoss):
    """Per token: -(1 - eps) logp - eps (mean logit - lse) + z lse^2; their sum times `scale`."""

    def __init__(self, target, eps, z, scale):
        M, where = target.numel(), target.device
        self.group = [*range(0, M, 64), M] if M else [0, 0]
        self.eps, self.z, self.scale = eps, z, scale
        self.tensors = {"logp": empty(where, M), "dlogp": (eps - 1) * scale.expand(M)}
        if eps or z:
            self.tensors |= {"lse": empty(where, M), "dlse": empty(where, M)}
        if eps:
            self.tensors |= {"mean_logit": empty(where, M), "dmean": -eps * scale.expand(M)}

    def run(self, first, count, training):
        t, part = self.tensors, slice(first, first + count)
        if training and "lse" in t:
            t["dlse"][part] = self.scale * (self.eps + 2 * self.z * t["lse"][part])

    def result(self):
        t = self.tensors
        loss = (self.eps - 1) * t["logp"]
        if self.eps:
            loss = loss - self.eps * (t["mean_logit"] - t["lse"])
        if self.z:
            loss = loss + self.z * t["lse"] ** 2
        return (loss.sum() * self.scale,)


def fused_linear_cross_entropy(
    hidden, weight, target, bias=None, *, ignore_index=-100, reduction="mean", label_smoothing=0.0,
    lse_square_scale=0.0, rows=None, temperature=1.0, softcap=None, logit_scale=1.0, valid_vocab=None,
):
    """Cross-entropy of hidden @ weight.T + bias; arguments as in torch.nn.functional.cross_entropy,
    lse_square_scale is that of the z-loss. For "mean" and "sum" gradients are made along with the
    forward, three matrix products in all; "none" gives a loss a target and takes four.
    """
    op = "fused_linear_cross_entropy"
    options = {
        "rows": rows, "temperature": temperature, "softcap": softcap, "logit_scale": logit_scale,
        "valid_vocab": valid_vocab, "ignore_index": ignore_index,
    }
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"{op}: reduction {reduction!r} is none of mean, sum, none")
    if reduction == "none":
        logp, lse, mean = fused_linear_logprob(
            hidden, weight, target, bias, outputs=("lse", "mean_logit"), **options)
        loss = -(1 - label_smoothing) * logp + lse_square_scale * lse**2
        return loss - label_smoothing * (mean - lse)
    o = operands(op, hidden, weight, bias, target, **options)
    scale = torch.ones((), device=o.x.device)
    if reduction == "mean":
        scale = scale / (o.target >= 0).sum().clamp(min=1)
    return run_fused(o, _CrossEntropy(o.target, label_smoothing, lse_square_scale, scale))[0]
