"""From the state of a time step and the known future to the forecast of the next steps."""

from collections.abc import Sequence

import torch
from torch import nn

# B: batch, L': time steps, D: features of a state, H: steps forecast, F: features known in advance,
# C: target components, N: likelihood parameters


class Dense(nn.Linear):
    """Keras' ``Dense``: a linear layer whose kernel starts Glorot uniform and whose bias starts at zero."""

    def reset_parameters(self) -> None:
        """Draw new initial weights."""
        nn.init.xavier_uniform_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)


class HorizonHead(nn.Module):
    """Forecast of the next `H` steps from a state and the covariates of those steps.

    Without hidden layers the forecast is linear in both. With hidden layers, state and known future meet in them,
    so that the forecast can depend on their combination.

    Parameters
    ----------
    state_dim
        Number of features of a state, `D`.
    future_dim
        Number of features known in advance for each step forecast, `F`; may be zero.
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
