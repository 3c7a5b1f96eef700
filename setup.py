"""Build without what an earlier build left: a module that was moved stays away."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build import build


class FreshBuild(build):
    """Empty the build folder before it is filled."""

    def run(self) -> None:
        """Build, as setuptools does."""
        for folder in (self.build_lib, self.build_purelib):
            if folder and Path(folder).is_dir():
                shutil.rmtree(folder)
        super().run()


setup(cmdclass={"build": FreshBuild})
