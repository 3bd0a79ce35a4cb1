"""Signals: convolutions, trends, and spectra of segments."""

from .filtering import convolve as convolve
from .filtering import convolve2d as convolve2d
from .filtering import correlate as correlate
from .filtering import correlate2d as correlate2d
from .filtering import detrend as detrend
from .filtering import fftconvolve as fftconvolve
from .spectra import csd as csd
from .spectra import istft as istft
from .spectra import stft as stft
from .spectra import welch as welch

__all__ = ["convolve", "convolve2d", "correlate", "correlate2d", "csd", "detrend", "fftconvolve", "istft", "stft", "welch"]
