"""Horizon's settings for a taprouter."""
