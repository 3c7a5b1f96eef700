"""From score tables to one result: metrics, controls, verdicts, blind baselines."""
