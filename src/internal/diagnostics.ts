import { type Channel, channel } from 'node:diagnostics_channel';

/** Publishes on `holdfast:<primitive>:<event>`; costs a look-up where nobody listens. */
export type Publish = (event: string, payload: object) => void;

/** Every event of the class is also published on `node:diagnostics_channel`, whose channels are named here. */
export function diagnosticsOf(primitive: string): Publish {
  const channels = new Map<string, Channel>();
  return (event, payload) => {
    const target = channels.get(event) ?? channel(`holdfast:${primitive}:${event}`);
    channels.set(event, target);
    if (target.hasSubscribers) target.publish(payload);
  };
}
