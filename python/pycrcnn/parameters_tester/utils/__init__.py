"""Measures of the parameter tester."""
