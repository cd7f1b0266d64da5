"""The hold: a cutover keeps the source's services stopped, and gives them back."""
