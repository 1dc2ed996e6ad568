"""What all commands share: errors told in a line, options, versions, threads, processes, timing."""
