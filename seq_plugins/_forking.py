"""What has to be done after a fork: the threads of PyTorch do not survive one."""

import os

_process = os.getpid()


def use_one_thread_after_fork() -> None:
    """Let PyTorch compute with one thread where this process was forked after the package had been imported.

    OpenMP's threads are not copied by a fork, and a process that asks for the help of those that its parent had waits
    forever: a web server that loads a model before it forks its workers, for example. More threads may be set later.
    """
    global _process
    if os.getpid() == _process:
        return
    import torch

    torch.set_num_threads(1)
    _process = os.getpid()
