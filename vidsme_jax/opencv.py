"""The only import of OpenCV, with its usual failure explained."""

import os

from vidsme_jax.errors import InputError

# A clip that cannot be read becomes a row with a status; FFmpeg need not shout as well.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")

try:
    import cv2
except ImportError as error:  # most often libGL.so.1 on a machine without a screen
    raise InputError(
        f"OpenCV cannot be imported ({error}). Install the system library "
        "(Debian: apt-get install libgl1), or replace the package: pip uninstall "
        "opencv-python && pip install opencv-python-headless"
    ) from error

# Clips are decoded in parallel: one thread each. Results do not depend on it.
cv2.setNumThreads(1)

__all__ = ["cv2"]
