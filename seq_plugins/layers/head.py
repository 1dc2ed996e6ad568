"""From the state of a time step and the known future to the forecast of the next steps."""

from collections.abc import Sequence

import torch
from torch import nn

from seq_plugins.layers.members import for_each_sample, linear

# B: batch, L': time steps, D: features of a state, H: steps forecast, F: features known in advance,
# C: target components, N: likelihood parameters, S: steps of a segment


class Dense(nn.Linear):
    """Keras' ``Dense``: a linear layer whose kernel starts Glorot uniform and whose bias starts at zero."""

    takes_members = True

    def reset_parameters(self) -> None:
        """Draw new initial weights."""
        nn.init.xavier_uniform_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Return the outputs of `input`, whose features are the last dimension."""
        return linear(input, self.weight, self.bias)


class HorizonHead(nn.Module):
    """Forecast of the next `H` steps from a state and the covariates of those steps.

    Without hidden layers, the forecast is linear in both. With hidden layers, state and future covariates can
    interact.

    Parameters
    ----------
    state_dim
        Number of features of a state, `D`.
    future_dim
        Number of features known in advance for each step of the horizon, `F`; may be zero.
    output_shape
        Shape of one forecast, `(H, C, N)`.
    hidden_fc_sizes
        Sizes of the hidden layers.
    activation
        Name of the ``torch.nn`` activation function after each hidden layer.
    """

    def __init__(
        self,
        state_dim: int,
        future_dim: int,
        output_shape: tuple[int, int, int],
        hidden_fc_sizes: Sequence[int] = (),
        activation: str = "ReLU",
    ) -> None:
        super().__init__()
        horizon, components, parameters = output_shape
        self.output_shape = output_shape
        layers: list[nn.Module] = []
        input_dim = state_dim + horizon * future_dim
        for size in hidden_fc_sizes:
            layers += [Dense(input_dim, size), getattr(nn, activation)()]
            input_dim = size
        layers.append(Dense(input_dim, horizon * components * parameters))
        self.layers = nn.Sequential(*layers)

    def forward(self, states: torch.Tensor, future: torch.Tensor | None = None) -> torch.Tensor:
        """Return the forecasts `(B, L', H, C, N)` of `states` `(B, L', D)` with `future` `(B, L', H, F)`."""
        if future is not None:
            states = torch.cat([states, future.flatten(start_dim=2)], dim=-1)  # -> (B, L', D + H * F)
        forecasts: torch.Tensor = self.layers(states)  # -> (B, L', H * C * N)
        return forecasts.view(*states.shape[:-1], *self.output_shape)


class SegmentHead(nn.Module):
    """Forecast of the next `H` steps, a segment at a time: all segments share their weights.

    Learned features tell the head which segment to forecast. It has fewer weights than :class:`HorizonHead`, each
    trained on more examples, and can be better on long horizons (S. Lin et al., "SegRNN:
    Segment Recurrent Neural Network for Long-Term Time Series Forecasting", 2023, https://arxiv.org/abs/2308.11200).

    Parameters
    ----------
    segment_length
        Number of steps of a segment; it must divide `H`.
    state_dim, future_dim, output_shape, hidden_fc_sizes, activation
        As in :class:`HorizonHead`. Hidden layers are required: without them, the state would change all segments
        alike.
    """

    takes_members = True

    n_features = 16
    """Number of features that tell the segment."""

    def __init__(
        self,
        segment_length: int,
        state_dim: int,
        future_dim: int,
        output_shape: tuple[int, int, int],
        hidden_fc_sizes: Sequence[int],
        activation: str = "ReLU",
    ) -> None:
        super().__init__()
        horizon, components, parameters = output_shape
        self.output_shape = output_shape
        self.segment_length = segment_length
        self.segments = nn.Parameter(torch.empty(horizon // segment_length, self.n_features))
        nn.init.normal_(self.segments, std=0.3)
        segment_shape = (segment_length, components, parameters)
        self.head = HorizonHead(state_dim + self.n_features, future_dim, segment_shape, hidden_fc_sizes, activation)

    def forward(self, states: torch.Tensor, future: torch.Tensor | None = None) -> torch.Tensor:
        """Return the forecasts `(B, L', H, C, N)` of `states` `(B, L', D)` with `future` `(B, L', H, F)`."""
        n_segments = self.segments.shape[-2]
        by_segment = states.unsqueeze(2).expand(-1, -1, n_segments, -1)  # -> (B, L', H / S, D)
        segments: torch.Tensor = self.segments
        if segments.ndim == 3:
            segments = for_each_sample(segments, states.shape[0]).unsqueeze(1)
        names = segments.expand(*states.shape[:2], -1, -1)
        known = torch.cat([by_segment, names], dim=-1).flatten(1, 2)  # -> (B, L' * H / S, D + n_features)
        if future is not None:
            future = future.unflatten(2, (n_segments, self.segment_length)).flatten(1, 2)
        forecasts: torch.Tensor = self.head(known, future)  # -> (B, L' * H / S, S, C, N)
        return forecasts.reshape(*states.shape[:2], *self.output_shape)


def check_segment_length(
    segment_length: int | None, output_chunk_length: int, hidden_fc_sizes: Sequence[int] | None
) -> None:
    """Check that segments fill the horizon, and that there are layers that tell them apart.

    Parameters
    ----------
    segment_length
        Number of steps of a segment, or ``None``.
    output_chunk_length
        Number of steps forecast.
    hidden_fc_sizes
        Sizes of the hidden layers, or ``None``.

    Raises
    ------
    ValueError
        If they do not, or there are none.
    """
    if segment_length is None:
        return
    if output_chunk_length % segment_length:
        fitting = [length for length in range(1, output_chunk_length + 1) if output_chunk_length % length == 0]
        nearest = min(fitting, key=lambda length: abs(length - segment_length))
        raise ValueError(
            f"Expected `segment_length` to divide output_chunk_length={output_chunk_length}, got {segment_length}. "
            f"The nearest that does is {nearest}."
        )
    if not hidden_fc_sizes:
        raise ValueError(
            f"Expected `hidden_fc_sizes` to hold a layer with segment_length={segment_length}, got {hidden_fc_sizes!r}:"
            " without one, the state would change all segments of a forecast alike. Give it, such as [64], or leave "
            "`segment_length` out."
        )
