"""What tests of the tools around share: nothing is sent anywhere."""

import os

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # read when MLflow is imported
