"""Gradients of members that are trained as one, clipped as if each were trained alone."""

from collections.abc import Iterable

import torch

_TOO_SMALL_TO_MATTER = 1e-6  # as in ``torch.nn.utils.clip_grad_norm_``


def clip_norms_of_members(weights: Iterable[torch.Tensor], most: float) -> None:
    """Scale the gradients of each member, in place, so that their norm is at most `most`.

    Parameters
    ----------
    weights
        Weights `(K, ...)`; those without a gradient are passed over.
    most
        Largest norm.
    """
    gradients = [weight.grad for weight in weights if weight.grad is not None]
    if not gradients:
        return
    norms = torch.stack([torch.linalg.vector_norm(gradient.flatten(1), dim=1) for gradient in gradients])
    factors = (most / (torch.linalg.vector_norm(norms, dim=0) + _TOO_SMALL_TO_MATTER)).clamp(max=1.0)  # -> (K,)
    for gradient in gradients:
        gradient.mul_(factors.view(-1, *[1] * (gradient.ndim - 1)))
