"""From the files of a checkpoint to parameters: configs, rules, weights."""
