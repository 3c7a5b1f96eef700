"""Turn score tables into a result: metrics, controls, verdicts, blind baselines."""
