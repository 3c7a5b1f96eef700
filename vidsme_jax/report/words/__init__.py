"""Write the sentences of a report."""
