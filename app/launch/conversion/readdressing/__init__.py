"""Other addresses for network cards, in the files of whatever configures them in the guest.

A module for each kind of configuration: `rewritten` gives the card other addresses where the guest has it,
`created` makes it known where the guest has it nowhere. Pure functions of the files' contents.
"""
