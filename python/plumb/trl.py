"""The head under TRL: `import plumb.trl`, before or after trl is imported, is all that is needed.

TRL 1.16 scores tokens in SFT, DPO, KTO, GRPO, RLOO and others through one autograd function of
trl/kernels/chunked_logprob.py, and distils through one of chunked_divergence.py; their places are
taken by ours, for float32 and bfloat16 on CPU and CUDA. Elsewhere TRL's own go on to be used.
uninstall() puts them back.
"""

import sys

import torch
import trl.kernels
import trl.kernels.chunked_divergence as their_divergence
import trl.kernels.chunked_logprob as theirs
import trl.trainer.utils as utils

from .divergence import DivergenceFunction
from .head import Head, LogprobFunction

_original = theirs.ChunkedLogProbFunction
_original_divergence = their_divergence.ChunkedDivergenceFunction
_TYPES = (torch.float32, torch.bfloat16)
# TRL's names of the outputs, and ours of what they are made of
_NAMES = {
    "entropy": "entropy", "log_sum_sq_probs": "log_sum_sq", "mean_logits": "mean_logit",
    "is_top1": "argmax",
}


def _compute_dtype(hidden):
    kind = hidden.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else hidden.dtype


def _takes(hidden, weight, bias):
    tensors = [t for t in (hidden, weight, bias) if t is not None]
    return (
        hidden.device.type in ("cpu", "cuda")
        and all(t.dtype in _TYPES and t.device == hidden.device for t in tensors)
        and _compute_dtype(hidden) in _TYPES
    )


class ChunkedLogProbFunction:
    """apply() with the arguments and the results of TRL's function; chunk_size is ours to choose."""

    @staticmethod
    def apply(
        hidden, weight, bias, targets, temperature, chunk_size, final_logit_softcapping=None,
        logit_scale=1.0, outputs=theirs.OPTIONAL_OUTPUTS,
    ):
        if not _takes(hidden, weight, bias):
            return _original.apply(
                hidden, weight, bias, targets, temperature, chunk_size, final_logit_softcapping,
                logit_scale, outputs)
        head = Head(temperature, final_logit_softcapping, logit_scale, None, _compute_dtype(hidden))
        target = targets.to(torch.int32).contiguous()
        row = torch.arange(target.numel(), dtype=torch.int32, device=target.device)
        made = LogprobFunction.apply(
            hidden.contiguous(), weight.contiguous(), bias, row, target, head,
            tuple(_NAMES[name] for name in outputs if name in _NAMES), utils.maybe_gather_lm_head_ctx)
        logp, _lse, entropy, squares, mean, argmax = made
        return (
            logp, entropy, squares, None if mean is None else mean.detach(),
            None if argmax is None else argmax == target,
        )


class ChunkedDivergenceFunction:
    """apply() with the arguments and the results of TRL's function: divergences, and the student's
    entropies without a gradient."""

    @staticmethod
    def apply(
        hidden, weight, bias, teacher_hidden, teacher_weight, teacher_bias, beta, temperature=1.0,
        logit_scale=1.0, softcap=None, teacher_logit_scale=1.0, teacher_softcap=None,
    ):
        if not _takes(hidden, weight, bias) or not _takes(teacher_hidden, teacher_weight, teacher_bias):
            return _original_divergence.apply(
                hidden, weight, bias, teacher_hidden, teacher_weight, teacher_bias, beta, temperature,
                logit_scale, softcap, teacher_logit_scale, teacher_softcap)
        options = {
            "divergence": "jsd",  # which at 0 and 1 is the forward and the reverse divergence
            "policy": {
                "logit_scale": logit_scale, "softcap": softcap, "dtype": _compute_dtype(hidden),
            },
            "teacher": {
                "logit_scale": teacher_logit_scale, "softcap": teacher_softcap,
                "dtype": _compute_dtype(teacher_hidden),
            },
            "numbers": {
                "beta": float(beta), "alpha": 1.0, "temperature": float(temperature), "divisor": 1.0,
            },
        }
        gather = utils.maybe_gather_lm_head_ctx
        with gather(weight, bias), gather(teacher_weight, teacher_bias):
            divergence = DivergenceFunction.apply(
                hidden.contiguous(), weight.contiguous(), bias, teacher_hidden.detach().contiguous(),
                teacher_weight.detach().contiguous(), teacher_bias, None, options, gather)
            with torch.no_grad():
                none = torch.zeros(hidden.shape[0], dtype=torch.int32, device=hidden.device)
                row = torch.arange(hidden.shape[0], dtype=torch.int32, device=hidden.device)
                head = Head(temperature, softcap, logit_scale, None, _compute_dtype(hidden))
                entropy = LogprobFunction.apply(
                    hidden.contiguous(), weight.contiguous(), bias, row, none, head, ("entropy",))[2]
        return divergence, entropy


def _set(function, divergence):
    theirs.ChunkedLogProbFunction = function
    trl.kernels.ChunkedLogProbFunction = function
    utils._ChunkedLogProbFunction = function
    their_divergence.ChunkedDivergenceFunction = divergence
    trainer = sys.modules.get("trl.trainer.distillation_trainer")
    if trainer:
        trainer.ChunkedDivergenceFunction = divergence


def install():
    _set(ChunkedLogProbFunction, ChunkedDivergenceFunction)


def uninstall():
    _set(_original, _original_divergence)


install()
