"""Compiles what is written in C, where there is a compiler. The product works without it, only slower."""

import os
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from packaging.tags import platform_tags

SOURCE = "app/store/outboard.c"
LIBRARY = "app/store/liboutboard.so"
FLAGS = ("-std=gnu11", "-O3", "-Wall", "-Wno-psabi", "-shared", "-fPIC")


class CompileHook(BuildHookInterface[Any]):
    """Runs before a wheel or an editable installation is made. $CC names another compiler than `cc`."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        """Compile the library; a wheel with it is for this kind of machine alone."""
        fault = self._compile(shlex.split(os.environ.get("CC", "cc")))
        if fault:
            self.app.display_warning(f"goes without {LIBRARY}: {fault}")
            return
        build_data["artifacts"].append(LIBRARY)
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{next(platform_tags())}"

    def _compile(self, compiler: list[str]) -> str:
        """Write the library aside and move it there, since it may be in use; what went wrong, in words."""
        if shutil.which(compiler[0]) is None:
            return f"there is no C compiler {compiler[0]}"
        library = Path(self.root, LIBRARY)
        made = library.with_suffix(f".{os.getpid()}")
        command = [*compiler, *FLAGS, "-o", str(made), str(Path(self.root, SOURCE))]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            return f"{compiler[0]} ended with {done.returncode}: {done.stderr}"
        made.replace(library)
        return ""
