"""Plumb's losses for PyTorch: fused with the output matrix, on CPU and CUDA tensors.

Needs libplumb (`make install`); PLUMB_LIBRARY names the file where the linker does not find it.
plumb.trl puts the head under TRL, plumb.liger has the call shapes of Liger's chunked losses.
"""

from ._library import ArgumentError, Error, NotSupported, OutOfMemory, version
from ._library import names as losses
from .divergence import fused_linear_divergence
from .fused import (
    fused_linear_policy_loss, fused_linear_preference_loss, fused_linear_unpaired_loss,
)
from .head import fused_linear_cross_entropy, fused_linear_logprob
from .packed import gae, kl, listwise_loss, pack, preference_loss, unpaired_loss
from .policy import policy_loss, policy_types

__version__ = "0.1.0"
__all__ = [
    "ArgumentError", "Error", "NotSupported", "OutOfMemory", "fused_linear_cross_entropy",
    "fused_linear_divergence", "fused_linear_logprob", "fused_linear_policy_loss", "fused_linear_preference_loss",
    "fused_linear_unpaired_loss", "gae", "kl", "listwise_loss", "losses", "pack", "policy_loss",
    "policy_types", "preference_loss", "unpaired_loss", "version",
]
