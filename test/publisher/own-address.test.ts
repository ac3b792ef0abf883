import type { IncomingMessage } from 'node:http';
import { hostname } from 'node:os';
import { expect, it } from 'vitest';
import { leadsHere } from '../../examples/publisher/http/host-guard.ts';

const request = { socket: { localPort: 8080 }, headers: { host: 'tv.lan:80' } } as unknown as IncomingMessage;
const leads = (url: string, baseUrl = 'https://tv.example') => leadsHere(url, request, baseUrl);

it.each([
  ['http://127.0.0.1:8080/channels/5.1.ts'],
  ['http://localhost:8080/x'],
  ['http://LOCALHOST.:8080/x'],
  ['http://me.localhost:8080/x'],
  ['http://127.9.9.9:8080/x'],
  ['http://[::1]:8080/x'],
  ['http://0.0.0.0:8080/x'],
  ['http://user:word@127.0.0.1:8080/x'],
  [`http://${hostname()}:8080/x`],
  ['https://tv.example/x'],
  ['https://TV.example:443/x'],
  ['http://tv.lan/x'],
])('%s leads to this publisher', (url) => {
  expect(leads(url)).toBe(true);
});

it.each([
  ['http://127.0.0.1:8081/x'],
  ['http://tv.example.evil/x'],
  ['https://tv.example.evil/x'],
  ['https://tv.example:8443/x'],
  ['http://10.255.255.1:8080/x'],
  ['http://tv.lan:8080/x'],
])('%s leads elsewhere', (url) => {
  expect(leads(url)).toBe(false);
});
