import { plural, timeOf } from './format.js';
import { element, fromTemplate, place, setAttribute, setShown, setText } from './page.js';

const deviceViews = new Map();

export function showTuners(devices) {
  for (const device of devices) {
    if (!deviceViews.has(device.id)) deviceViews.set(device.id, fromTemplate('device-template'));
    showDevice(deviceViews.get(device.id), device);
  }
  place(
    element('devices'),
    devices.map((device) => deviceViews.get(device.id).root),
  );
  setAttribute(element('devices'), 'aria-busy', 'false');
  const tuners = devices.flatMap((device) => device.tuners);
  const used = tuners.filter((tuner) => tuner.inUse).length;
  setText(element('total-tuners'), tuners.length > 0 ? `${used} of ${tuners.length}` : '–');
  showTunersNote(
    devices.length === 0 ? 'No tuner is configured: channels come straight from their sources.' : undefined,
  );
}

export function showTunersNote(text) {
  setShown(element('tuners-note'), text !== undefined);
  setText(element('tuners-note'), text ?? '');
}

function showDevice(parts, device) {
  const channels = Array.isArray(device.channels) ? device.channels.length : device.channels;
  const facts = [device.url];
  if (typeof channels === 'number') facts.push(plural(channels, 'channel'));
  if (device.refreshedAt) facts.push(`lineup read ${timeOf(device.refreshedAt)}`);
  setAttribute(parts.root, 'data-state', device.reachable ? 'live' : 'unavailable');
  setText(parts.id, device.id);
  setText(parts['state-text'], device.reachable ? 'Reachable' : 'Not reachable');
  setAttribute(parts['state-icon'], 'href', device.reachable ? '#state-live' : '#state-unavailable');
  setText(parts.facts, facts.join(' · '));
  const error = device.lastError?.title ? `${device.lastError.title}: ${device.lastError.detail}` : device.lastError;
  setShown(parts.error, Boolean(error));
  setText(parts.error, error ?? '');

  while (parts.tuners.children.length > device.tuners.length) parts.tuners.lastElementChild.remove();
  device.tuners.forEach((tuner, index) => {
    const row = parts.tuners.children[index] ?? parts.tuners.appendChild(tunerRow());
    const [name, use, target] = row.children;
    const channel = [tuner.channelNumber, tuner.channelName].filter(Boolean).join(' ') || 'In use';
    row.classList.toggle('in-use', tuner.inUse);
    setText(name, tuner.resource);
    setText(use, tuner.inUse ? channel : 'Free');
    setText(target, tuner.inUse && tuner.targetIp ? `to ${tuner.targetIp}` : '');
  });
}

function tunerRow() {
  const row = document.createElement('li');
  for (const name of ['tuner-name', 'tuner-use', 'tuner-target']) {
    row.appendChild(document.createElement('span')).className = name;
  }
  return row;
}
