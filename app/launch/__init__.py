"""Checkpoints become machines: the drivers of the targets, and the proof that what was launched has booted.

Everything here is told in values what to do and answers in values. It keeps no table: what a driver must know
again lies in files beside the machine, so that another process finds it, and each call may be repeated.
"""
