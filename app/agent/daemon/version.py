"""What this agent calls itself."""

from typing import Final

VERSION: Final = "0.1.0"
