import { channelLoader } from './channel-loader.js';

const { mpegts } = window;
if (mpegts) mpegts.LoggingControl.enableAll = false; // what goes wrong is shown on the page

/** MPEG-TS over one connection, taken apart by mpegts.js. */
export function openMpegTs({ url }, video, on) {
  const engine = mpegts.createPlayer(
    { type: 'mpegts', isLive: true, url },
    {
      // Each loader class belongs to one opening, so that a byte still in flight can't start the next one's clock.
      customLoader: channelLoader(() => on.firstByte()),
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
  return {
    load() {
      engine.attachMediaElement(video);
      engine.load();
    },
    destroy: () => engine.destroy(),
  };
}

export const mediaProblem = (detail) => ({
  title: 'This browser cannot decode the stream',
  detail: `${detail}. VLC and ffplay may play it.`,
  isOfMedia: true,
});
