"""The harness that runs models on tasks: tasks, models, runs in any place, results that a killed run goes on with."""
