"""Liger's chunked losses by their call shapes: same names, same arguments, same results.

    from plumb.liger import LigerFusedLinearDPOLoss

`compiled` and `chunk_size` are taken and have no meaning here. What ours cannot do raises
NotImplementedError. Cosine similarity is not offered.
"""

import torch

from .divergence import fused_linear_divergence
from .fused import (
    fused_linear_policy_loss, fused_linear_preference_loss, fused_linear_unpaired_loss,
)
from .head import fused_linear_cross_entropy, fused_linear_logprob
from .packed import unpaired_loss


def _pairs(target, ignore_index):
    """(rows, targets, offset, lengths) of (2B, T), the chosen half first: packed pair by pair."""
    S, T = target.shape
    if S % 2:
        raise ValueError(f"target has {S} rows, which are no pairs")
    order = torch.arange(S, device=target.device).view(2, -1).t().reshape(-1)
    mask = (target != ignore_index)[order]
    lengths = mask.sum(1)
    rows = (order[:, None] * T + torch.arange(T, device=target.device))[mask]
    return rows, target[order][mask], [0, *lengths.cumsum(0).tolist()], lengths


def _logits_sum(x, weight, bias):
    """The sum of all logits of rows x: a sum of rows times a sum of columns."""
    with torch.no_grad():
        rows = x.reshape(-1, x.shape[-1]).sum(0, dtype=torch.float32)
        total = rows @ weight.sum(0, dtype=torch.float32)
        if bias is not None:
            total = total + bias.sum(dtype=torch.float32) * (x.numel() // x.shape[-1])
        return total


def _nll(rows, target, offset, lengths, nll_target, ignore_index, alpha):
    """The likelihood of the chosen sides as weights of log-probs: of those that pairs are made of, or
    with nll_target of further ones behind them. (rows, target, weights)"""
    M, where = offset[-1], target.device
    if nll_target is None:
        chosen = torch.arange(len(offset) - 1, device=where) % 2 == 0
        of_chosen = torch.repeat_interleave(chosen, lengths, output_size=M)
        return rows, target, of_chosen * (-alpha / of_chosen.sum().clamp(min=1))
    half = nll_target[: nll_target.shape[0] // 2]
    mask = (half != ignore_index).view(-1)
    places = torch.arange(mask.numel(), device=where)[mask]
    weights = torch.zeros(M + places.numel(), device=where)
    weights[M:] = -alpha / max(1, places.numel())
    return torch.cat([rows, places]), torch.cat([target, half.reshape(-1)[mask]]), weights


class _Preference(torch.nn.Module):
    """What the pairwise ones share. `means`: log-probs and rewards are means over tokens."""

    means = False

    def _options(self):
        """What plumb's preference_loss takes."""
        raise NotImplementedError

    def _loss(self, x, weight, target, bias, reference=(None, None, None), nll_target=None):
        rows, packed, offset, lengths = _pairs(target, self.ignore_index)
        options, extra = self._options(), None
        if self.means and not options.pop("of_means", False):
            per_token = (1.0 / lengths.clamp(min=1)).float()
            options["token_weight"] = torch.repeat_interleave(
                per_token, lengths, output_size=offset[-1])
        ref_x, ref_w, ref_b = reference
        if ref_x is not None:
            with torch.no_grad():
                options["ref_logp"] = fused_linear_logprob(
                    ref_x.reshape(-1, ref_x.shape[-1]), ref_w, packed, ref_b, rows=rows)
        if self.compute_nll_loss:
            rows, packed, extra = _nll(
                rows, packed, offset, lengths, nll_target, self.ignore_index, 1.0)
        alpha = getattr(self, "alpha", 1.0)
        made = fused_linear_preference_loss(
            x.reshape(-1, x.shape[-1]), weight, packed, offset, bias, rows=rows, return_outputs=True,
            linear=None if extra is None else alpha * extra, **options)
        return self._results(made, x, weight, bias, lengths, "token_weight" in options)

    def _results(self, made, x, weight, bias, lengths, weighted):
        B, half = made.losses.numel(), x.shape[0] // 2
        logps, rewards = made.logps.view(B, 2), made.rewards.view(B, 2)
        if self.means and not weighted:  # the formula took means itself, of the sums given here
            counts = lengths.view(B, 2)
            logps, rewards = logps / counts, rewards / counts
        places = half * x.shape[1] * weight.shape[0]
        logits = [_logits_sum(part, weight, bias) / places for part in (x[:half], x[half:])]
        alpha = getattr(self, "alpha", 1.0)
        nll = torch.zeros((), device=x.device)
        if made.linear is not None and alpha:
            nll = made.linear / alpha
        return made.loss, (
            logps[:, 0], logps[:, 1], *logits, nll, rewards[:, 0], rewards[:, 1])


class LigerFusedLinearDPOLoss(_Preference):
    _types = (
        "sigmoid", "hinge", "exo_pair", "nca_pair", "robust", "bco_pair", "sppo_hard", "apo_zero",
        "apo_down", "discopop",
    )

    def __init__(
        self, ignore_index=-100, beta=0.1, alpha=1.0, compute_nll_loss=False, compiled=True,
        use_ref_model=True, average_log_prob=False, chunk_size=1, loss_type="sigmoid",
        label_smoothing=0.0, discopop_tau=0.05,
    ):
        super().__init__()
        if loss_type not in self._types:
            raise ValueError(f"loss_type {loss_type!r} is none of {', '.join(self._types)}")
        self.ignore_index, self.beta, self.alpha = ignore_index, beta, alpha
        self.compute_nll_loss, self.use_ref_model = compute_nll_loss, use_ref_model
        self.means, self.loss_type = average_log_prob, loss_type
        self.label_smoothing, self.discopop_tau = label_smoothing, discopop_tau

    def _options(self):
        smoothed = self.loss_type in ("robust", "exo_pair")  # the others have none
        return {
            "loss_type": self.loss_type, "beta": self.beta, "discopop_tau": self.discopop_tau,
            "label_smoothing": self.label_smoothing if smoothed else 0.0,
        }

    def forward(
        self, lin_weight, _input, target, bias=None, ref_input=None, ref_weight=None, ref_bias=None,
    ):
        reference = (ref_input, ref_weight, ref_bias) if self.use_ref_model else (None, None, None)
        return self._loss(_input, lin_weight, target, bias, reference)


class LigerFusedLinearCPOLoss(_Preference):
    def __init__(
        self, ignore_index=-100, beta=0.1, alpha=1.0, label_smoothing=0.0, compute_nll_loss=True,
        compiled=True, average_log_prob=False, chunk_size=1,
    ):
        super().__init__()
        self.ignore_index, self.beta, self.alpha = ignore_index, beta, alpha
        self.label_smoothing, self.compute_nll_loss = label_smoothing, compute_nll_loss
        self.means = average_log_prob

    def _options(self):
        return {"loss_type": "sigmoid", "beta": self.beta, "label_smoothing": self.label_smoothing}

    def forward(self, lin_weight, _input, target, bias=None):
        return self._loss(_input, lin_weight, target, bias)


class LigerFusedLinearSimPOLoss(_Preference):
    means = True

    def __init__(
        self, ignore_index=-100, beta=0.1, alpha=1.0, label_smoothing=0.0, compute_nll_loss=True,
        compiled=True, gamma=0.5, chunk_size=1,
    ):
        super().__init__()
        self.ignore_index, self.beta, self.alpha, self.gamma = ignore_index, beta, alpha, gamma
        self.label_smoothing, self.compute_nll_loss = label_smoothing, compute_nll_loss

    def _options(self):
        return {
            "loss_type": "simpo", "beta": self.beta, "gamma": self.gamma, "of_means": True,
            "label_smoothing": self.label_smoothing,
        }

    def forward(self, lin_weight, _input, target, bias=None):
        return self._loss(_input, lin_weight, target, bias)


class LigerFusedLinearORPOLoss(_Preference):
    means = True

    def __init__(
        self, ignore_index=-100, beta=0.1, compute_nll_loss=True, compiled=True, chunk_size=1,
    ):
        super().__init__()
        self.ignore_index, self.beta, self.compute_nll_loss = ignore_index, beta, compute_nll_loss

    def _options(self):
        return {"loss_type": "orpo", "beta": self.beta, "of_means": True}

    def _results(self, made, x, weight, bias, lengths, weighted):
        loss, outputs = super()._results(made, x, weight, bias, lengths, weighted)
        chosen, rejected = outputs[0], outputs[1]
        odds = [p - torch.log1p(-torch.exp(p)) for p in (chosen, rejected)]
        log_odds = odds[0] - odds[1]
        ratio = torch.nn.functional.logsigmoid(log_odds)
        return loss, (*outputs, ratio.mean(), log_odds.mean())

    def forward(self, lin_weight, _input, target, bias=None, nll_target=None):
        return self._loss(_input, lin_weight, target, bias, nll_target=nll_target)


class LigerFusedLinearKTOLoss(torch.nn.Module):
    def __init__(
        self, ignore_index=-100, beta=0.1, compiled=True, use_ref_model=False,
        average_log_prob=False, chunk_size=1,
    ):
        super().__init__()
        self.ignore_index, self.beta, self.use_ref_model = ignore_index, beta, use_ref_model
        self.average_log_prob = average_log_prob

    def forward(
        self, _input, lin_weight, target, bias=None, preference_labels=None, ref_input=None,
        ref_weight=None, ref_bias=None, kl=None,
    ):
        B, T, H = _input.shape
        x, mask = _input.reshape(-1, H), target != self.ignore_index
        lengths = mask.sum(1)
        head = {"rows": torch.arange(B * T, device=x.device)[mask.view(-1)]}
        packed, offset = target[mask], [0, *lengths.cumsum(0).tolist()]
        ref_sum = torch.zeros(B, device=x.device)
        if self.use_ref_model:
            with torch.no_grad():
                logp = fused_linear_logprob(ref_input.reshape(-1, H), ref_weight, packed, ref_bias, **head)
                ref_sum = self._rows(logp, lengths)
        # KL of one for all, or of each row, is taken from the log-ratio as the reference is
        offered = ref_sum if kl is None else ref_sum + kl.detach().float().view(-1)
        label = preference_labels.to(torch.int32)
        options = {"loss_type": "kto", "beta": self.beta, "ref_sum": offered, "return_outputs": True}
        if self.average_log_prob:
            logp = fused_linear_logprob(x, lin_weight, packed, bias, **head)
            made = unpaired_loss(self._rows(logp, lengths), range(B + 1), label, **options)
        else:
            made = fused_linear_unpaired_loss(x, lin_weight, packed, offset, label, bias, **head, **options)
        rewards = self.beta * (made.logps - ref_sum)
        return made.loss, self._sums(made.logps, rewards, _input, lin_weight, bias, label.bool())

    def _rows(self, logp, lengths):
        of = torch.arange(lengths.numel(), device=logp.device)
        sums = torch.zeros(lengths.numel(), device=logp.device).index_add(
            0, torch.repeat_interleave(of, lengths, output_size=logp.numel()), logp)
        return sums / lengths if self.average_log_prob else sums

    @staticmethod
    def _sums(logps, rewards, x, weight, bias, label):
        logits = [_logits_sum(x[which], weight, bias) for which in (label, ~label)]
        return (
            logps[label].sum(), logps[~label].sum(), *logits, rewards[label].sum(),
            rewards[~label].sum())


class LigerFusedLinearJSDLoss(torch.nn.Module):
    def __init__(
        self, weight_hard_loss=0.5, weight_soft_loss=0.5, beta=0.5, ignore_index=-100,
        temperature=1.0, compiled=True, chunk_size=1024, return_soft_hard_loss=False,
    ):
        super().__init__()
        self.weight_hard_loss, self.weight_soft_loss = weight_hard_loss, weight_soft_loss
        self.beta, self.ignore_index, self.temperature = beta, ignore_index, temperature
        self.return_soft_hard_loss = return_soft_hard_loss

    def forward(
        self, student_input, student_weight, teacher_input, teacher_weight, true_labels,
        student_bias=None, teacher_bias=None,
    ):
        if teacher_weight.shape[0] != student_weight.shape[0]:
            raise NotImplementedError("vocabularies of student and teacher differ")
        soft = fused_linear_divergence(
            student_input, student_weight, teacher_input, teacher_weight, student_bias, teacher_bias,
            divergence="jsd", beta=self.beta, temperature=self.temperature,
            mask=true_labels != self.ignore_index)
        hard = torch.zeros((), device=student_input.device)
        if self.weight_hard_loss or self.return_soft_hard_loss:
            hard = fused_linear_cross_entropy(
                student_input, student_weight, true_labels, student_bias,
                ignore_index=self.ignore_index)
        loss = self.weight_hard_loss * hard + self.weight_soft_loss * soft
        return (loss, soft, hard) if self.return_soft_hard_loss else loss


class LigerFusedLinearGRPOLoss(torch.nn.Module):
    """luspo's penalty counts masked tokens nowhere, as in TRL 1.16."""

    def __init__(
        self, beta=0.04, compiled=True, use_ref_model=True, chunk_size=1, epsilon_low=0.2,
        epsilon_high=0.2, loss_type="dapo", max_completion_length=None,
        importance_sampling_level="token", sapo_temperature_pos=1.0, sapo_temperature_neg=1.05,
        temperature=1.0, delta=None, use_bias_correction_kl=False, vespo_k_pos=2.0,
        vespo_lambda_pos=3.0, vespo_k_neg=3.0, vespo_lambda_neg=2.0,
    ):
        super().__init__()
        by_row = importance_sampling_level == "sequence"
        if by_row and loss_type in ("cispo", "sapo", "vespo"):
            raise ValueError(f"loss_type {loss_type!r} has no importance_sampling_level 'sequence'")
        if loss_type == "luspo" and not by_row:
            raise NotImplementedError("luspo needs importance_sampling_level 'sequence'")
        if delta is not None and delta < 1 + epsilon_high:
            raise NotImplementedError(f"delta {delta} below 1 + epsilon_high")
        if loss_type == "dr_grpo" and max_completion_length is None:
            raise ValueError("loss_type 'dr_grpo' needs max_completion_length")
        self.beta, self.use_ref_model, self.temperature = beta, use_ref_model, temperature
        self.loss_type, self.by_row = loss_type, by_row
        self.options = {
            "loss_type": loss_type, "epsilon": epsilon_low, "epsilon_high": epsilon_high,
            "delta": delta, "max_completion_length": max_completion_length,
            "level": "sequence" if by_row else None,
            "kl_estimator": "k3_importance_weighted" if use_bias_correction_kl else "k3",
        }
        if loss_type == "sapo":
            self.options |= {"tau_positive": sapo_temperature_pos, "tau_negative": sapo_temperature_neg}
        if loss_type == "vespo":
            self.options |= {
                "k_positive": vespo_k_pos, "lambda_positive": vespo_lambda_pos,
                "k_negative": vespo_k_neg, "lambda_negative": vespo_lambda_neg,
            }

    def _divisor(self, mask, num_items_in_batch):
        """Of the types that divide by the tokens of all processes and steps."""
        if self.loss_type not in ("dapo", "cispo", "vespo"):
            return None
        world = torch.distributed
        many = world.is_available() and world.is_initialized()
        tokens = mask.sum().float() if num_items_in_batch is None else torch.as_tensor(
            num_items_in_batch, dtype=torch.float32, device=mask.device)
        if many and num_items_in_batch is None:
            world.all_reduce(tokens)
        return max(1.0, tokens.item() / (world.get_world_size() if many else 1))

    def _sampler_ratio(self, ratio, mask):
        """Per token; vespo multiplies them up, so that a ratio of a row goes to one token."""
        if ratio is None:
            return None
        if ratio.dim() == 1 or ratio.shape[1] == 1:
            ratio = ratio.view(-1, 1).float()
            if self.loss_type == "vespo":
                return torch.cat([ratio, ratio.new_ones(mask.shape[0], mask.shape[1] - 1)], 1)
            return ratio.expand(mask.shape)
        return ratio

    def forward(
        self, _input, lin_weight, selected_token_ids, attention_mask, advantages, bias=None,
        ref_per_token_logps=None, old_per_token_logps=None, ref_input=None, ref_weight=None,
        ref_bias=None, vllm_is_ratio=None, num_items_in_batch=None,
    ):
        B, T, H = _input.shape
        mask = attention_mask.bool()
        target = torch.where(mask, selected_token_ids, -100).view(-1)
        ref_logp = ref_per_token_logps
        if self.use_ref_model and ref_logp is None and ref_input is not None and self.beta:
            with torch.no_grad():
                ref_logp = fused_linear_logprob(
                    ref_input.reshape(-1, H), ref_weight, target, ref_bias,
                    temperature=self.temperature)
        if not self.use_ref_model:
            ref_logp = None
        made = fused_linear_policy_loss(
            _input.reshape(-1, H), lin_weight, target, old_per_token_logps, advantages,
            range(0, B * T + 1, T), bias, temperature=self.temperature, ref_logp=ref_logp,
            beta=0.0 if ref_logp is None else self.beta, return_outputs=True,
            sampler_ratio=self._sampler_ratio(vllm_is_ratio, mask),
            divisor=self._divisor(mask, num_items_in_batch), **self.options)
        return made.loss, self._metrics(made.stats, mask, ref_logp is not None)

    def _metrics(self, stats, mask, penalised):
        """The mean KL where there is a penalty, and the share of tokens that were clipped."""
        lengths = mask.sum(1)
        tokens = lengths.sum().clamp(min=1)
        clipped = stats[:, 1] + stats[:, 2]
        if self.by_row:
            clipped = clipped * lengths
        metrics = (clipped.sum() / tokens,)
        if self.beta == 0:
            return metrics
        kl = stats[:, 6].sum() / tokens if penalised else torch.zeros((), device=mask.device)
        return (kl, *metrics)
