"""The error of wrong settings, apart from what reads them: that takes a tenth of a second to load."""


class SettingsError(Exception):
    """Settings that cannot be used. One line: the key, its source, what is wrong, what to do."""
