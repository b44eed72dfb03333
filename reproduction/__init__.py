"""The paper's experiments on any exam table: what to run, running it, and its tables and figure."""
