"""The budgets of the design, measured: ``python -m bench`` prints one table, asserts nothing."""
