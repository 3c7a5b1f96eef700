"""From a directory of files to parameters: configs, rules, weights."""
