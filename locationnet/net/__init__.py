"""Addresses that strangers chose, and what is behind them: checked, fetched within limits."""
