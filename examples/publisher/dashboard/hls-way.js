import { problemOf } from './channel-loader.js';
import { mediaProblem, playerProblem } from './player-problems.js';

/** HLS by hls.js, which is read only when it is needed. */
export function openHls({ url }, video, on) {
  let hls;
  let isOver = false;
  return {
    async load() {
      try {
        const { default: Hls } = await import('/assets/hls.js');
        if (!isOver) hls = engineOf(Hls, { url, video, on });
      } catch (error) {
        on.failed(playerProblem(error));
      }
    },
    destroy() {
      isOver = true;
      endSession(hls);
      hls?.destroy();
    },
  };
}

function engineOf(Hls, { url, video, on }) {
  const hls = new Hls({ enableWorker: false, liveSyncDurationCount: 2, maxBufferLength: 20, backBufferLength: 20 });
  hls.on(Hls.Events.MANIFEST_PARSED, () => on.ready());
  hls.on(Hls.Events.FRAG_LOADED, () => on.firstByte());
  hls.on(Hls.Events.ERROR, async (_event, error) => error.fatal && on.failed(await problemIn(error)));
  hls.loadSource(url);
  hls.attachMedia(video);
  return hls;
}

/** In the words of the publisher, if it refused; hls.js knows the number alone. */
async function problemIn({ type, details, networkDetails: request }) {
  if (type !== 'networkError') return mediaProblem(details);
  if (!(request?.status >= 400)) return { title: 'The connection was lost', detail: `HLS: ${details}` };
  const headers = { 'Retry-After': request.getResponseHeader('Retry-After') ?? '' };
  return problemOf(new Response(request.response, { status: request.status, headers }));
}

/** Says that nobody watches any more, which the publisher would notice only a while after the last request. */
function endSession(hls) {
  const [level] = hls?.levels ?? [];
  if (level) fetch(level.uri, { method: 'DELETE', keepalive: true }).catch(() => {});
}

/** HLS by the browser itself, where it knows it and has no Media Source Extensions. */
export function openNative({ url }, video, on) {
  const controller = new AbortController();
  const { signal } = controller;
  return {
    load() {
      video.addEventListener('loadeddata', () => on.firstByte(), { signal });
      const failed = async () => on.failed((await refusalOf(url)) ?? mediaProblem(video.error?.message || 'HLS'));
      video.addEventListener('error', failed, { signal });
      video.src = url;
      on.ready();
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
    const response = await fetch(url, { cache: 'no-store' });
    return response.ok ? undefined : await problemOf(response);
  } catch (error) {
    return { title: 'The connection was lost', detail: error.message };
  }
}
