"""Machines of EC2 that train."""
