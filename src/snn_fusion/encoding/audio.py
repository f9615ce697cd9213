"""Microphone to spikes: a causal cochleagram, coded by level and by change; of a whole recording, or as it comes."""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt
from numba import njit

from snn_fusion.config import EncodingParams
from snn_fusion.data.recording import Audio
from snn_fusion.errors import BadInput

SILENCE = 1e-12  # power that is added before the logarithm: -120 dB of full scale


def channels(params: EncodingParams) -> int:
    """(code, band): one level code a threshold, then rising and falling."""
    return (len(params.audio.thresholds_db) + 2) * params.audio.bands


class Stream:
    """A sound as it comes in.

    Level codes: the band's power in the step, relative to the running peak level, is above the threshold (a
    thermometer). Change codes: the band rose or fell by `delta_db` since its last such spike. Steps that the sound
    does not fill are silent. Causal: a step depends on the samples up to its end. Raises BadInput for a `rate` (Hz)
    that cannot carry the highest band.
    """

    def __init__(self, rate: int, params: EncodingParams) -> None:
        self.params, code = params, params.audio
        if rate < 2 * code.high_hz:
            problem = f"sample rate {rate} Hz cannot carry encoding.audio.high_hz = {code.high_hz} Hz"
            raise BadInput("audio", problem, f"lower high_hz to {rate / 2:g} Hz or less")
        self.step = params.step_ms * rate / 1000  # samples; not a whole number at 11,025 Hz
        self.done = self.taken = 0  # steps given out; samples that were in them
        self._waiting = np.zeros(0, np.float32)
        self._bank = _filters(code.bands, code.low_hz, code.high_hz, rate)
        self._stage = np.zeros((4, 2, code.bands))  # real and imaginary part of each filter stage's output
        self._level = code.level_floor_db
        self._reference = np.full(code.bands, np.nan)

    def push(self, samples: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
        """The steps that end with these samples: (k, channels) of spikes. Samples after the last step are left out."""
        code, power = self.params.audio, self.relative_power(samples)
        levels = power[:, None, :] > np.asarray(code.thresholds_db)[:, None]
        changes = _changes(np.maximum(power, code.thresholds_db[0]), code.delta_db, self._reference)
        return np.concatenate([levels, changes], axis=1).reshape(len(power), channels(self.params))

    def relative_power(self, samples: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Power of each band in the steps that end with these samples, dB below the running peak: (k, bands)."""
        code = self.params.audio
        waiting = np.concatenate([self._waiting, samples])
        over = min(int((self.taken + len(waiting)) / self.step + 1e-9), self.params.steps)
        ends = np.round(np.arange(self.done + 1, over + 1) * self.step).astype(np.int64) - self.taken
        power = 10 * np.log10(_band_power(waiting, ends, *self._bank, self._stage) + SILENCE)
        last = int(ends[-1]) if len(ends) else 0
        self.done, self.taken = over, self.taken + last
        self._waiting = waiting[last:] if over < self.params.steps else waiting[:0]
        decay = code.level_decay_db_s * self.params.step_ms / 1000
        peak = _running_peak(power.max(axis=1, initial=-120.0), self._level, decay, code.level_floor_db)
        if len(peak):
            self._level = float(peak[-1])
        relative: npt.NDArray[np.float64] = power - peak[:, None]
        return relative

    def close(self) -> npt.NDArray[np.bool_]:
        """The sound is over: the steps that are left, silent."""
        left, self.done = self.params.steps - self.done, self.params.steps
        return np.zeros((left, channels(self.params)), bool)


def stream(signal: Audio, params: EncodingParams) -> Stream:
    """A stream for sounds like this one."""
    return Stream(signal.rate, params)


def cochleagram(signal: Audio, params: EncodingParams) -> npt.NDArray[np.float64]:
    """Power of each band in each whole step, dB relative to the running peak level: (steps, bands)."""
    return stream(signal, params).relative_power(signal.samples)


def centre_frequencies(bands: int, low_hz: float, high_hz: float) -> npt.NDArray[np.float64]:
    """Hz, evenly spaced on the ERB-rate scale (Glasberg and Moore 1990)."""
    low, high = (21.4 * np.log10(4.37e-3 * f + 1) for f in (low_hz, high_hz))
    centres: npt.NDArray[np.float64] = (10 ** (np.linspace(low, high, bands) / 21.4) - 1) / 4.37e-3
    return centres


@functools.lru_cache(maxsize=16)
def _filters(
    bands: int, low_hz: float, high_hz: float, rate: int
) -> tuple[npt.NDArray[np.complex128], npt.NDArray[np.float64]]:
    """Complex poles and gains of fourth-order gammatone filters (Patterson et al. 1992; Hohmann 2002)."""
    centres = centre_frequencies(bands, low_hz, high_hz)
    bandwidth = 1.019 * 24.7 * (4.37e-3 * centres + 1)
    radius = np.exp(-2 * np.pi * bandwidth / rate)
    return radius * np.exp(2j * np.pi * centres / rate), (1 - radius) ** 4 * np.sqrt(2)


# error_model: no check for division by zero in the inner loops, so that they run on several bands at once.
@njit(cache=True, nogil=True, error_model="numpy")
def _band_power(samples, ends, poles, gains, stage):  # type: ignore[no-untyped-def]
    """Mean power of each band between consecutive `ends` (sample counts): (len(ends), bands). `stage` is carried on."""
    out = np.zeros((len(ends), len(poles)))
    real, imag = poles.real.copy(), poles.imag.copy()
    # Four one-pole stages make a gammatone of order 4.
    start = 0
    for step in range(len(ends)):
        for n in range(start, ends[step]):
            sample = np.float64(samples[n])
            for band in range(len(poles)):
                re, im = gains[band] * sample, 0.0
                for k in range(4):
                    a, b = stage[k, 0, band], stage[k, 1, band]
                    re += real[band] * a - imag[band] * b
                    im += real[band] * b + imag[band] * a
                    stage[k, 0, band], stage[k, 1, band] = re, im
                out[step, band] += re * re + im * im
        out[step] /= ends[step] - start
        start = ends[step]
    return out


@njit(cache=True)  # not nogil: to have the lock back would take longer
def _running_peak(loudest, level, decay, floor):  # type: ignore[no-untyped-def]
    """The level that automatic gain control follows: up at once, down by `decay` dB a step, never below `floor`."""
    out = np.empty_like(loudest)
    for step in range(len(loudest)):
        level = max(level - decay, loudest[step], floor)
        out[step] = level
    return out


@njit(cache=True)
def _changes(power, delta, references):  # type: ignore[no-untyped-def]
    """Send-on-delta: (steps, 2, bands), rising and falling. `references` (bands,) are carried on; NaN: none yet."""
    out = np.zeros((power.shape[0], 2, power.shape[1]), np.bool_)
    for band in range(power.shape[1]):
        reference = references[band]
        for step in range(power.shape[0]):
            if np.isnan(reference):
                reference = power[step, band]
            elif power[step, band] >= reference + delta:
                out[step, 0, band], reference = True, power[step, band]
            elif power[step, band] <= reference - delta:
                out[step, 1, band], reference = True, power[step, band]
        references[band] = reference
    return out
