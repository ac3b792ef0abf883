const REASONS = {
  404: 'There is no such channel',
  409: 'Another process holds this source',
  429: 'Too many viewers',
  502: 'The source failed',
  503: 'No tuner is free',
  504: 'The source did not start in time',
};

/** The server's own words for a refusal (RFC 9457), or the best that its status code allows. */
export async function problemOf(response) {
  const problem = await response.json().catch(() => ({}));
  return {
    title: problem.title ?? REASONS[response.status] ?? `The publisher refused: ${response.status}`,
    detail: problem.detail ?? `HTTP ${response.status} ${response.statusText}`,
    retryAfter: Number(response.headers.get('Retry-After')) || undefined,
  };
}

/**
 * Unlike mpegts.js's own loader, it keeps the body of a refusal, and abort() ends the connection at once: theirs waits in
 * Chromium for the next chunk, which never comes from a stalled source, so the tuner would stay taken.
 */
export const channelLoader = (mpegts, onFirstByte) =>
  class extends mpegts.BaseLoader {
    #controller = new AbortController();

    constructor() {
      super('channel-loader');
      this._needStash = true;
    }

    async open(dataSource, range) {
      const { signal } = this.#controller;
      this._status = mpegts.LoaderStatus.kConnecting;
      try {
        const response = await fetch(dataSource.url, { signal, cache: 'no-store' });
        if (!response.ok) {
          const problem = await problemOf(response);
          if (!signal.aborted) this.#fail('HTTP_STATUS_CODE_INVALID', response.status, problem);
          return;
        }
        this._status = mpegts.LoaderStatus.kBuffering;
        let received = 0;
        for (const reader = response.body.getReader(); ; ) {
          const { done, value } = await reader.read();
          if (signal.aborted) return;
          if (done) break;
          if (received === 0) onFirstByte();
          const start = range.from + received;
          received += value.byteLength;
          const whole = value.byteLength === value.buffer.byteLength;
          this.onDataArrival?.(whole ? value.buffer : value.slice().buffer, start, received);
        }
        this._status = mpegts.LoaderStatus.kComplete;
        this.onComplete?.(range.from, range.from + received - 1);
      } catch (error) {
        if (!signal.aborted) this.#fail('EXCEPTION', -1, { title: 'The connection was lost', detail: error.message });
      }
    }

    abort() {
      this._status = mpegts.LoaderStatus.kComplete;
      this.#controller.abort();
    }

    destroy() {
      this.abort();
      super.destroy();
    }

    #fail(kind, code, problem) {
      this._status = mpegts.LoaderStatus.kError;
      this.onError?.(mpegts.LoaderErrors[kind], { code, msg: problem.title, problem });
    }
  };
