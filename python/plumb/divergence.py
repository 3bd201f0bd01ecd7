"""Divergence of a policy from a teacher over the whole vocabulary, from the hidden states and output
matrices of both, without logits in memory: distillation."""

from contextlib import nullcontext

import torch

from . import _library
from ._arrays import empty, fill, floats, same_device, struct
from .head import Call, compute_dtype, floating, hand_over, in_dtype


def _side(args, x, w, bias, options):
    fill(args, H=x.shape[1], x=x, w=w, bias=bias, logit_scale=float(options.get("logit_scale", 1.0)),
         softcap=float(options.get("softcap") or 0))


def _call(given, teacher, row, weight, o):
    """o: divergence, numbers of the struct, and per side its options and dtype."""
    ours = in_dtype(*given, o["policy"]["dtype"])
    theirs = in_dtype(*teacher, o["teacher"]["dtype"])
    M = given[0].shape[0] if row is None else row.numel()
    losses = empty(given[0].device, M)
    args = struct(
        "distill", divergence=_library.find("distill", o["divergence"]), N=given[0].shape[0],
        V=given[1].shape[0], M=M, row=row, weight=weight, losses=losses, **o["numbers"])
    _side(args.policy, *ours, o["policy"])
    _side(args.teacher, *theirs, o["teacher"])
    return Call("distill", given, args, (*ours, *theirs, row, weight)), losses


class DivergenceFunction(torch.autograd.Function):
    """apply(x, w, bias, teacher's x, w, bias, row, options, around): one divergence a row; the
    backward, which makes the logits again, begins with the context around(w, bias)."""

    @staticmethod
    def forward(ctx, x, w, bias, tx, tw, tbias, row, options, around=None):
        call, losses = _call((x, w, bias), (tx, tw, tbias), row, None, options)
        call.run("distill")
        ctx.save_for_backward(x, w, bias, tx, tw, tbias, row)
        ctx.options, ctx.around = options, around
        return losses

    @staticmethod
    def backward(ctx, upstream):
        x, w, bias, tx, tw, tbias, row = ctx.saved_tensors
        around = ctx.around or (lambda *_: nullcontext())
        with around(w, bias), around(tw, tbias):
            weight = upstream.float().contiguous()
            call, _ = _call((x, w, bias), (tx, tw, tbias), row, weight, ctx.options)
            call.want_gradients(ctx.needs_input_grad)
            call.run("distill")
        return (*call.gradients(), *(None,) * 6)


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, w, bias, tx, tw, tbias, row, options, training):
        call, losses = _call((x, w, bias), (tx, tw, tbias), row, None, options)
        if training:
            call.want_gradients(ctx.needs_input_grad)
        call.run("distill")
        ctx.grads = call.gradients() if training else None
        return losses.sum() / options["numbers"]["divisor"]

    @staticmethod
    def backward(ctx, upstream):
        return (*hand_over(ctx, upstream), *(None,) * 6)


def _operands(op, hidden, weight, bias, kind):
    x, w = floating(op, kind + "hidden", hidden), floating(op, kind + "weight", weight)
    if w.dim() != 2 or x.shape[-1] != w.shape[1]:
        raise ValueError(
            f"{op}: {kind}hidden of shape {tuple(x.shape)} and {kind}weight of {tuple(w.shape)} do not "
            "multiply")
    bias = None if bias is None else floating(op, kind + "bias", bias)
    return x.view(-1, x.shape[-1]), w, bias


def fused_linear_divergence(
    hidden, weight, teacher_hidden, teacher_weight, bias=None, teacher_bias=None, *, divergence="jsd",
    beta=0.5, alpha=1.0, temperature=1.0, softcap=None, logit_scale=1.0, teacher_softcap=None,
    teacher_logit_scale=1.0, valid_vocab=None, mask=None, reduction="mean", divisor=None,
):
    """Divergence between softmax(hidden @ weight.T + bias) and the teacher's, row by row.

    divergence: a name of `plumb.losses("distill")`: forward_kl (teacher || policy), reverse_kl, jsd
    (beta: the teacher's share of the mixture), alpha. mask, in the shape of the rows: which count.
    reduction "mean" is over those, or over `divisor`; "mean" and "sum" make gradients along with the
    forward, "none" gives a value a row (0 where masked) and makes the logits again in the backward.
    The teacher gets no gradient; its width and dtype may be others.
    """
    op = "fused_linear_divergence"
    x, w, b = _operands(op, hidden, weight, bias, "")
    with torch.no_grad():
        tx, tw, tb = _operands(op, teacher_hidden, teacher_weight, teacher_bias, "teacher_")
    where = same_device(
        op, hidden=x, weight=w, bias=b, teacher_hidden=tx, teacher_weight=tw, teacher_bias=tb)
    if x.shape[0] != tx.shape[0] or w.shape[0] != tw.shape[0]:
        raise ValueError(
            f"{op}: {x.shape[0]} rows and {w.shape[0]} words, the teacher has {tx.shape[0]} and "
            f"{tw.shape[0]}")
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"{op}: reduction {reduction!r} is none of mean, sum, none")
    row = None
    if mask is not None:
        kept = floats(op, "mask", mask.float(), x.shape[0]) != 0
        row = kept.nonzero().view(-1).to(torch.int32)
    count = x.shape[0] if row is None else row.numel()
    options = {
        "divergence": divergence,
        "policy": {"logit_scale": logit_scale, "softcap": softcap, "dtype": compute_dtype(op, x, w)},
        "teacher": {
            "logit_scale": teacher_logit_scale, "softcap": teacher_softcap,
            "dtype": compute_dtype(op, tx, tw),
        },
        "numbers": {
            "beta": float(beta), "alpha": float(alpha), "temperature": float(temperature),
            "valid_vocab": int(valid_vocab or 0), "divisor": 1.0,
        },
    }
    if reduction == "none":
        losses = DivergenceFunction.apply(x, w, b, tx, tw, tb, row, options)
        if row is not None:
            losses = torch.zeros(x.shape[0], device=where).index_put((row.long(),), losses)
        return losses.view(hidden.shape[:-1])
    if reduction == "mean":
        options["numbers"]["divisor"] = float(max(1, count) if divisor is None else divisor)
    training = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (x, w, b))
    return _Fused.apply(x, w, b, tx, tw, tb, row, options, training)
