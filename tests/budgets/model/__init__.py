"""The model of the budget and the queue: what it does, by subject. See tests/budgets/test_model.py."""
