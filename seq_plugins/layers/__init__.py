"""Reusable PyTorch layers: time is the second dimension, features are the last, and the equations are Keras'."""

from seq_plugins.layers.convolution import (
    AveragePooling1D,
    Conv1D,
    DownSampling,
    GlobalMaxPooling1D,
    MaxPooling1D,
    PoolingName,
    down_sampled_step_ends,
)
from seq_plugins.layers.dilated_convolution import DilatedConvolutions
from seq_plugins.layers.dropout import VariationalDropout
from seq_plugins.layers.head import Dense, HorizonHead, SegmentHead
from seq_plugins.layers.recurrent import GRU, LSTM, CellName, RecurrentLayer, RecurrentStack, SimpleRNN

__all__ = [
    "GRU",
    "LSTM",
    "AveragePooling1D",
    "CellName",
    "Conv1D",
    "Dense",
    "DilatedConvolutions",
    "DownSampling",
    "GlobalMaxPooling1D",
    "HorizonHead",
    "MaxPooling1D",
    "PoolingName",
    "RecurrentLayer",
    "RecurrentStack",
    "SegmentHead",
    "SimpleRNN",
    "VariationalDropout",
    "down_sampled_step_ends",
]
