import { problemOf } from './channel-loader.js';
import { mediaProblem } from './mpeg-ts-way.js';

/** HLS by hls.js, which is read only when it is needed. */
export function openHls({ url }, video, on) {
  let hls;
  let isOver = false;
  return {
    async load() {
      // Asked first, as hls.js would tell of a refusal by its number alone.
      const problem = await refusalOf(url);
      if (isOver) return;
      if (problem) {
        on.failed(problem);
        return;
      }
      const { default: Hls } = await import('/assets/hls.js');
      if (isOver) return;
      hls = new Hls({ enableWorker: false, liveSyncDurationCount: 2, maxBufferLength: 20, backBufferLength: 20 });
      hls.on(Hls.Events.MANIFEST_PARSED, () => video.play().catch(() => {}));
      hls.on(Hls.Events.FRAG_LOADED, () => on.firstByte());
      hls.on(Hls.Events.ERROR, (_event, { fatal, type, details }) => {
        if (!fatal) return;
        const lost = { title: 'The connection was lost', detail: `HLS: ${details}` };
        on.failed(type === Hls.ErrorTypes.NETWORK_ERROR ? lost : mediaProblem(details));
      });
      hls.loadSource(url);
      hls.attachMedia(video);
    },
    destroy() {
      isOver = true;
      hls?.destroy();
    },
  };
}

/** HLS by the browser itself, where it knows it and has no Media Source Extensions. */
export function openNative({ url }, video, on) {
  const controller = new AbortController();
  const { signal } = controller;
  return {
    load() {
      video.addEventListener('loadeddata', () => on.firstByte(), { signal });
      video.addEventListener('error', () => on.failed(mediaProblem(video.error?.message || 'HLS')), { signal });
      video.src = url;
    },
    destroy() {
      controller.abort();
      video.removeAttribute('src');
      video.load();
    },
  };
}

async function refusalOf(url) {
  try {
    const response = await fetch(url, { method: 'HEAD', cache: 'no-store' });
    return response.ok ? undefined : await problemOf(response);
  } catch (error) {
    return { title: 'The connection was lost', detail: error.message };
  }
}
