"""Losses on packed log-probs against plain formulas, and those inside the head against those outside."""

import unittest

import torch
import torch.nn.functional as F
from checks import Case, plain_logits, plain_logp

import plumb
from plumb import _library, packed

OFFSET = [0, 3, 7, 8, 12, 17, 19, 24, 30]  # 4 pairs


def token_case(seed=0, scale=1.0):
    g = torch.Generator().manual_seed(seed)
    M = OFFSET[-1]
    return [-scale * torch.rand(M, generator=g) - 0.1 for _ in range(3)]


def sums(x, offset=OFFSET):
    return torch.stack([x[a:b].sum() for a, b in zip(offset, offset[1:])])


def lengths(offset=OFFSET):
    return torch.tensor([float(b - a) for a, b in zip(offset, offset[1:])])


class Pairwise(Case):
    beta = 0.7

    def formulas(self, logp, ref):
        a, n = sums(logp) - sums(ref), lengths()
        w, l = a[0::2], a[1::2]
        z, logs = self.beta * (w - l), F.logsigmoid
        normed = w / n[0::2] - l / n[1::2]
        policy = sums(logp) / n
        odds = policy - torch.log1p(-policy.exp())
        return {
            "sigmoid": -logs(z), "hinge": F.relu(1 - z), "ipo": (normed - 1 / (2 * self.beta)) ** 2,
            "sigmoid_norm": -logs(self.beta * normed), "nca_pair": -logs(self.beta * w)
            - 0.5 * logs(-self.beta * w) - 0.5 * logs(-self.beta * l),
            "bco_pair": -logs(self.beta * w) - logs(-self.beta * l),
            "sppo_hard": (w - 0.5 / self.beta) ** 2 + (l + 0.5 / self.beta) ** 2,
            "apo_zero": 1 - (self.beta * w).sigmoid() + (self.beta * l).sigmoid(),
            "apo_down": (self.beta * w).sigmoid() + 1 - z.sigmoid(),
            "orpo": -self.beta * logs(odds[0::2] - odds[1::2]),
            "simpo": -logs(self.beta * (policy[0::2] - policy[1::2])),
        }

    def test_values_and_gradients(self):
        logp, ref, _ = token_case()
        for name in self.formulas(logp, ref):
            for reduction in ("mean", "sum", "none"):
                pull = torch.tensor([1.0, -2.0, 0.5, 3.0]) if reduction == "none" else 1.0

                def ours(x):
                    made = plumb.preference_loss(
                        x, OFFSET, ref_logp=ref, loss_type=name, beta=self.beta, reduction=reduction)
                    return (made * pull).sum()

                def plain(x):
                    losses = self.formulas(x, ref)[name]
                    return (losses.mean() if reduction == "mean" else losses * pull).sum()

                self.same_gradients(ours, plain, (logp,), what=f"{name} {reduction}")

    def test_several_terms_and_a_reference_by_sequence(self):
        logp, ref, _ = token_case(1)
        options = {"loss_type": ["sigmoid", "hinge"], "loss_weights": [0.3, 2.0], "beta": self.beta}
        of = self.formulas

        def plain(x):
            made = of(x, ref)
            return (0.3 * made["sigmoid"] + 2.0 * made["hinge"]).mean()

        self.same_gradients(
            lambda x: plumb.preference_loss(x, OFFSET, ref_sum=sums(ref), **options), plain, (logp,))

    def test_outputs(self):
        logp, ref, _ = token_case(2)
        made = plumb.preference_loss(logp, OFFSET, ref_logp=ref, beta=0.1, return_outputs=True)
        self.close(made.logps, sums(logp))
        self.close(made.rewards, 0.1 * (sums(logp) - sums(ref)))
        self.close(made.loss, made.losses.mean())

    def test_unpaired(self):
        logp, ref, _ = token_case(3)
        label = torch.tensor([1, 0, 0, 1, 1, 0, 1, 0])

        def plain(x):
            r = 0.5 * (sums(x) - sums(ref) - 0.2)
            return torch.where(label == 1, 1.5 * (1 - r.sigmoid()), 0.7 * (1 - (-r).sigmoid())).mean()

        self.same_gradients(
            lambda x: plumb.unpaired_loss(
                x, OFFSET, label, beta=0.5, ref_logp=ref, kl=0.2, desirable_weight=1.5,
                undesirable_weight=0.7), plain, (logp,))

    def test_misuse_names_the_argument(self):
        logp, ref, _ = token_case()
        f = plumb.preference_loss
        with self.assertRaisesRegex(ValueError, "no loss 'dpo'; there are sigmoid"):
            f(logp, OFFSET, loss_type="dpo")
        with self.assertRaisesRegex(ValueError, "offset ends at 30, there are 29"):
            f(logp[:29], OFFSET)
        with self.assertRaisesRegex(ValueError, "offset has 7 runs"):
            f(logp[:24], OFFSET[:8])
        with self.assertRaisesRegex(ValueError, "ref_logp has 29 elements, not 30"):
            f(logp, OFFSET, ref_logp=ref[:29])
        with self.assertRaisesRegex(ValueError, "beta=-1"):
            f(logp, OFFSET, beta=-1.0)
        with self.assertRaisesRegex(TypeError, "no option 'gama'"):
            f(logp, OFFSET, gama=1.0)
        with self.assertRaisesRegex(ValueError, "ref_logp is on meta, logp on cpu"):
            f(logp, OFFSET, ref_logp=ref.to("meta"))
        with self.assertRaisesRegex(ValueError, "offset is not in order"):
            f(logp, [0, 5, 4, 30])


class Listwise(Case):
    lists = [0, 3, 7, 8]
    label = torch.tensor([2.0, 0.0, 1.0, 0.5, 3.0, -1.0, 2.0, 1.0])

    def mle(self, score):
        total = 0
        for a, b in zip(self.lists, self.lists[1:]):
            s = score[a:b][self.label[a:b].argsort(descending=True, stable=True)]
            total = total + sum(s[i:].logsumexp(0) - s[i] for i in range(b - a))
        return total / 3

    def net(self, score):
        parts = zip(self.lists, self.lists[1:])
        return -sum(
            (self.label[a:b].softmax(0) * score[a:b].log_softmax(0)).sum() for a, b in parts) / 3

    def test_given_scores(self):
        score = torch.randn(8, generator=torch.Generator().manual_seed(0))
        for name, plain in (("list_mle", self.mle), ("list_net", self.net)):
            self.same_gradients(
                lambda s: plumb.listwise_loss(self.lists, self.label, score=s, loss_type=name), plain,
                (score,), what=name)

    def test_scores_from_log_probs(self):
        logp, ref, _ = token_case()

        def plain(x):
            return self.mle(0.5 * (sums(x) - sums(ref)) / lengths())

        self.same_gradients(
            lambda x: plumb.listwise_loss(
                self.lists, self.label, logp=x, offset=OFFSET, ref_logp=ref, beta=0.5,
                length_penalty=1.0), plain, (logp,))

    def test_outputs_and_a_mask(self):
        score = torch.tensor([3.0, 1.0, 2.0, 0.0, 1.0, 2.0, 3.0, 0.0])
        made = plumb.listwise_loss(self.lists, self.label, score=score, return_outputs=True)
        self.assertEqual(made.pairs.tolist(), [3.0, 6.0, 0.0])
        self.assertEqual(made.correct.tolist(), [3.0, 3.0, 0.0])
        mask = torch.tensor([1, 1, 0, 1, 1, 1, 1, 1])
        masked = plumb.listwise_loss(self.lists, self.label, score=score, mask=mask, return_outputs=True)
        self.assertEqual(masked.pairs.tolist(), [1.0, 6.0, 0.0])


class Policy(Case):
    def plain(self, name, logp, old, advantage, ref=None, beta=0.0):
        ratio = (logp - old).exp()
        n = torch.cat([torch.full((int(k),), i) for i, k in enumerate(lengths())])
        A = advantage[n]
        term = -torch.min(ratio * A, ratio.clamp(0.8, 1.2) * A)
        if name == "cispo":
            term = -ratio.clamp(max=0.2).detach() * A * logp
        if ref is not None:
            d = logp - ref
            term = term + beta * ((-d).exp() + d - 1)
        if name == "grpo":
            return (sums(term) / lengths()).mean()
        return sums(term).sum() / (8 * 50 if name == "dr_grpo" else OFFSET[-1])

    def test_loss_types(self):
        logp, old, ref = token_case(0, 0.5)
        advantage = torch.randn(8, generator=torch.Generator().manual_seed(5))
        for name in ("grpo", "bnpo", "dr_grpo", "dapo", "cispo"):
            self.same_gradients(
                lambda x: plumb.policy_loss(
                    x, old, advantage, OFFSET, loss_type=name, ref_logp=ref, beta=0.1,
                    max_completion_length=50),
                lambda x: self.plain(name, x, old, advantage, ref, 0.1), (logp,), what=name)

    def test_entropy_has_a_gradient_and_skipped_tokens_count_nowhere(self):
        logp, old, entropy = token_case(1)
        advantage = torch.randn(8, generator=torch.Generator().manual_seed(6))
        target = torch.arange(30) % 5 - 1
        kept = target >= 0

        def plain(x, h):
            ratio = (x - old).exp()
            n = torch.cat([torch.full((int(k),), i) for i, k in enumerate(lengths())])
            A = advantage[n]
            term = -torch.min(ratio * A, ratio.clamp(0.8, 1.2) * A)
            return term[kept].mean() - 0.05 * h[kept].mean()

        self.same_gradients(
            lambda x, h: plumb.policy_loss(
                x, old, advantage, OFFSET, loss_type="bnpo", entropy=h, entropy_coef=0.05,
                target=target), plain, (logp, entropy))

    def test_estimators_of_the_divergence(self):
        logp, ref, _ = token_case(2)
        plain = {
            "k1": lambda d: d, "k2": lambda d: d * d / 2, "k3": lambda d: (-d).exp() + d - 1,
            "abs": lambda d: d.abs(),
        }
        for name, f in plain.items():
            self.same_gradients(
                lambda x: plumb.kl(x, ref, name).square().sum(),
                lambda x: f(x - ref).square().sum(), (logp,), what=name)

    def test_advantages(self):
        reward, value, _ = token_case(4)
        advantage, returns = plumb.gae(reward, value, OFFSET, gamma=0.9, lam=0.8)
        for a, b in zip(OFFSET, OFFSET[1:]):
            carry = following = 0.0
            for t in range(b - 1, a - 1, -1):
                delta = reward[t] + 0.9 * following - value[t]
                carry = delta + 0.9 * 0.8 * carry
                following = value[t]
                self.assertAlmostEqual(float(carry), float(advantage[t]), places=5)
        self.close(returns, advantage + value)


class Inside(Case):
    """The loss as an epilogue of the head is the loss of the head's log-probs."""

    def case(self, N=30, H=20, V=90):
        g = torch.Generator().manual_seed(9)
        x, w = torch.randn(N, H, generator=g), torch.randn(V, H, generator=g) * 0.4
        return x, w, torch.randint(0, V, (N,), generator=g), torch.randn(V, H, generator=g) * 0.4

    def test_pairs_with_a_reference_and_a_likelihood(self):
        x, w, target, ref_w = self.case()
        with torch.no_grad():
            ref = plain_logp(plain_logits(x, ref_w), target)
        linear = torch.where(torch.arange(30) % 3 == 0, -0.1, 0.0)

        def plain(h, weight):
            logp = plain_logp(plain_logits(h, weight), target)
            a = sums(logp) - sums(ref)
            return -F.logsigmoid(0.3 * (a[0::2] - a[1::2])).mean() + (linear * logp).sum()

        self.same_gradients(
            lambda h, weight: plumb.fused_linear_preference_loss(
                h, weight, target, OFFSET, ref_hidden=x, ref_weight=ref_w, beta=0.3, linear=linear),
            plain, (x, w))

    def test_a_range_of_many_pairs_is_cut_into_chunks(self):
        g = torch.Generator().manual_seed(1)
        pairs, T, H, V = 60, 40, 8, 3000
        x, w = torch.randn(2 * pairs * T, H, generator=g), torch.randn(V, H, generator=g)
        target = torch.randint(0, V, (2 * pairs * T,), generator=g)
        offset = list(range(0, 2 * pairs * T + 1, T))

        def plain(h, weight):
            s = plain_logp(plain_logits(h, weight), target).view(-1, T).sum(1)
            return -F.logsigmoid(0.1 * (s[0::2] - s[1::2])).mean()

        self.same_gradients(
            lambda h, weight: plumb.fused_linear_preference_loss(h, weight, target, offset), plain, (x, w),
            bound=1e-4)

    def test_single_completions_and_policies(self):
        x, w, target, _ = self.case()
        label = torch.tensor([1, 0, 0, 1, 1, 0, 1, 0])
        old = plain_logp(plain_logits(x, w), target) + 0.1
        advantage = torch.randn(8, generator=torch.Generator().manual_seed(2))
        inside = (
            lambda h, weight: plumb.fused_linear_unpaired_loss(h, weight, target, OFFSET, label, kl=0.1),
            lambda h, weight: plumb.fused_linear_policy_loss(
                h, weight, target, old, advantage, OFFSET, entropy_coef=0.01),
        )

        def by_token(h, weight):
            return plumb.unpaired_loss(
                plumb.fused_linear_logprob(h, weight, target), OFFSET, label, kl=0.1)

        def by_policy(h, weight):
            logp, entropy = plumb.fused_linear_logprob(h, weight, target, outputs=("entropy",))
            return plumb.policy_loss(logp, old, advantage, OFFSET, entropy=entropy, entropy_coef=0.01)

        for ours, other in zip(inside, (by_token, by_policy)):
            self.same_gradients(ours, other, (x, w))

    def test_a_fault_in_the_epilogue_comes_back(self):
        x, w, target, _ = self.case()
        with self.assertRaisesRegex(ValueError, "beta=-1"):
            plumb.fused_linear_preference_loss(x.requires_grad_(), w, target, OFFSET, beta=-1.0)


class Contracts(Case):
    def test_every_array_of_a_contract_has_a_known_shape(self):
        for family in (packed.PAIRWISE, packed.UNPAIRED, packed.POLICY):
            kinds = _library.structs["plumb_" + family.name].kinds
            arrays = {name for name, kind in kinds.items() if kind in "tp"} - {"offset", "terms"}
            self.assertEqual(arrays, {*family.items, *family.tokens, *family.whole}, family.name)
        self.assertEqual(len(packed.POLICY_STATS), _library.constants["PLUMB_POLICY_STATS"])
        for i, name in enumerate(packed.POLICY_STATS):
            self.assertEqual(_library.constants["PLUMB_STAT_" + name.upper()], i)

    def test_padded_arrays_become_packed(self):
        values, mask = torch.arange(6.0).view(2, 3), torch.tensor([[1, 1, 0], [0, 1, 1]])
        flat, offset = plumb.pack(values, mask)
        self.assertEqual((flat.tolist(), offset), ([0, 1, 4, 5], [0, 2, 4]))

    def test_arrays_of_others_come_by_dlpack(self):
        class Other:
            def __init__(self, t):
                self.t = t

            def __dlpack__(self, **options):
                return self.t.__dlpack__(**options)

            def __dlpack_device__(self):
                return self.t.__dlpack_device__()

        logp, ref, _ = token_case()
        made = plumb.preference_loss(logp, OFFSET, ref_logp=Other(ref))
        self.assertEqual(made, plumb.preference_loss(logp, OFFSET, ref_logp=ref))


if __name__ == "__main__":
    unittest.main()
