"""What all commands share: one-line errors, options, versions, threads, processes, timing."""
