"""Measure how well numbers separate two classes, and how sure that is; arrays only."""
