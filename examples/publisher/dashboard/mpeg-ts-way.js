import { channelLoader } from './channel-loader.js';
import { mediaProblem, playerProblem } from './player-problems.js';

let reading;

/** mpegts.js, which is read only when it is needed. It is no module: it leaves itself in the window. */
function mpegtsJs() {
  reading ??= new Promise((resolve, reject) => {
    const script = document.createElement('script');
    script.src = '/assets/mpegts.js';
    script.onload = () => {
      window.mpegts.LoggingControl.enableAll = false; // what goes wrong is shown on the page
      resolve(window.mpegts);
    };
    script.onerror = () => {
      reading = undefined;
      reject(new Error('mpegts.js could not be read from the publisher'));
    };
    document.head.append(script);
  });
  return reading;
}

/** MPEG-TS over one connection, taken apart by mpegts.js. */
export function openMpegTs({ url }, video, on) {
  let engine;
  let isOver = false;
  return {
    async load() {
      try {
        const mpegts = await mpegtsJs();
        if (isOver) return;
        engine = engineOf(mpegts, url, on);
        engine.attachMediaElement(video);
        engine.load();
        on.ready();
      } catch (error) {
        on.failed(playerProblem(error));
      }
    },
    destroy() {
      isOver = true;
      engine?.destroy();
    },
  };
}

function engineOf(mpegts, url, on) {
  const engine = mpegts.createPlayer(
    { type: 'mpegts', isLive: true, url },
    {
      // Each loader class belongs to one opening, so that a byte still in flight can't start the next one's clock.
      customLoader: channelLoader(mpegts, () => on.firstByte()),
      enableWorker: false,
      enableStashBuffer: false,
      lazyLoad: false,
      liveBufferLatencyChasing: true,
      autoCleanupSourceBuffer: true,
      autoCleanupMaxBackwardDuration: 30,
      autoCleanupMinBackwardDuration: 10,
    },
  );
  engine.on(mpegts.Events.ERROR, (type, _detail, info) => on.failed(info?.problem ?? mediaProblem(info?.msg ?? type)));
  engine.on(mpegts.Events.LOADING_COMPLETE, () =>
    on.failed({
      title: 'The stream ended',
      detail: 'The publisher closed it. The last error of the channel may say why.',
    }),
  );
  return engine;
}
