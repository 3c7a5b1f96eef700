"""Arrays in, arrays out: how well numbers separate two classes, and how sure that is."""
