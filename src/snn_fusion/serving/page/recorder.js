// In the audio thread: hands on what the microphone gives, the mean of its channels.

class Recorder extends AudioWorkletProcessor {
  process([channels]) {
    if (channels.length) {
      const mean = channels[0].map((_, i) => channels.reduce((sum, one) => sum + one[i], 0) / channels.length);
      this.port.postMessage(mean, [mean.buffer]);
    }
    return true;
  }
}

registerProcessor("recorder", Recorder);
