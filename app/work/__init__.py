"""The job engine: long operations of journaled steps that survive the death of any process."""
