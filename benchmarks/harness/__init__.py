"""The harness that runs models on tasks: tasks, models, execution engines, and results that can be resumed."""
