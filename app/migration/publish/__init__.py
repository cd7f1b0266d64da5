"""Publishing: a checkpoint becomes files that other platforms import."""
