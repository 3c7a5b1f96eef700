"""Import OpenCV, or say what to install; nothing else imports it."""

import os

from vidsme_jax.errors import InputError

# A clip that cannot be read becomes a row with a status, so FFmpeg need not print faults.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")

try:
    import cv2
except (ImportError, AttributeError) as error:  # AttributeError: built for NumPy 1
    remedy = "reinstall it: pip install --force-reinstall opencv-python"
    if ".so" in str(error):  # most often libGL.so.1 on a machine without a screen
        remedy = (
            "install the system library (Debian: apt-get install libgl1 libglib2.0-0), or"
            " replace the package: pip uninstall opencv-python && pip install"
            " opencv-python-headless"
        )
    elif "numpy" in str(error).lower() or "_ARRAY_API" in str(error):
        remedy = "it was built for another NumPy: pip install 'opencv-python>=4.10.0.84'"
    raise InputError(f"OpenCV cannot be imported ({error}); {remedy}") from error

# Clips are decoded in parallel, with one thread per clip. Results do not depend on it.
cv2.setNumThreads(1)

__all__ = ["cv2"]
