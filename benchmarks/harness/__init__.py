"""The harness that runs models on tasks: tasks, models, runs in any place, results that can be resumed."""
