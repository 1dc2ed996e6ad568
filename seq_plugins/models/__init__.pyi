from .conv1d_gru import Conv1DGRUModel as Conv1DGRUModel
from .deep_rnn import DeepRNNModel as DeepRNNModel
from .linear import LinearModel as LinearModel
from .seq2seq_rnn import Seq2SeqRNNModel as Seq2SeqRNNModel
from .simple_rnn import SimpleRNNModel as SimpleRNNModel
