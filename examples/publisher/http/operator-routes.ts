import type { Channel } from '../channel/channel.ts';
import type { Channels } from '../channel/channels.ts';
import type { Logger } from '../log.ts';
import { sendJson, sendProblem } from './responses.ts';
import type { Exchange, Routes } from './router.ts';
import { sendRefusal, type TokenGate } from './token-gate.ts';

export interface OperatorDesk {
  readonly channels: Channels;
  readonly gate: TokenGate;
  readonly log: Logger;
}

/** What an operator may do: each needs the operator token. */
export function operatorRoutes({ channels, gate, log }: OperatorDesk): Routes {
  const act = (action: string, work: (channel: Channel) => void) => (exchange: Exchange) => {
    const channel = admitted(exchange, channels, gate);
    if (!channel) return;
    const { id } = channel.entry;
    log.warn({ channel: id }, `channel ${id}: ${action} by the operator, from ${exchange.client}`);
    work(channel);
    sendJson(exchange.response, { id, action }, 202);
  };
  return {
    'POST /api/channels/:id/restart': act('restart', (channel) =>
      channel.restart(new Error('the operator restarts it')),
    ),
    'POST /api/channels/:id/stop': act('stop', ({ entry }) => channels.renew(entry.id)),
  };
}

function admitted(exchange: Exchange, channels: Channels, gate: TokenGate): Channel | undefined {
  const { response, parameters } = exchange;
  const refusal = gate.refusal(exchange);
  if (refusal) {
    sendRefusal(response, refusal);
    return undefined;
  }
  const channel = channels.get(parameters.id ?? '');
  if (!channel) sendProblem(response, { status: 404, title: 'Unknown channel', detail: 'see /api/channels' });
  return channel;
}
