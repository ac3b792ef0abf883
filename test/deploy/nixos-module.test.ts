import { readFileSync } from 'node:fs';
import { afterAll, describe, expect, test } from 'vitest';
import { temporaryDirectory } from '../support/temporary.ts';
import { nixInstantiate } from './nix.ts';
import { complaints, serviceSettings, systemdProgram, systemRoot } from './systemd.ts';

const folder = new URL('../../examples/deploy/', import.meta.url).pathname;
const module = `${folder}nixos-module.nix`;
const nix = await nixInstantiate();
const analyze = await systemdProgram('systemd-analyze');
const directory = temporaryDirectory(afterAll);

type Value = string | number | boolean;

/** What the module adds to `systemd.services`. */
interface Service {
  readonly description: string;
  readonly wants: readonly string[];
  readonly after: readonly string[];
  readonly wantedBy?: readonly string[];
  readonly startAt?: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  readonly serviceConfig: Readonly<Record<string, Value | readonly Value[]>>;
}

interface Configuration {
  readonly assertions: readonly { readonly assertion: boolean; readonly message: string }[];
  readonly systemd: { readonly services: Readonly<Record<string, Service>>; readonly tmpfiles: { rules: string[] } };
  readonly users: { readonly users: object; readonly groups: object };
  readonly networking?: { readonly firewall: { readonly allowedTCPPorts?: readonly number[] } };
}

/** The configuration that the module makes of `services.holdfast`. */
async function evaluate(settings: object): Promise<Configuration> {
  const evaluator = new URL('evaluate-module.nix', import.meta.url).pathname;
  const text = JSON.stringify({ package: '/nix/store/holdfast', ...settings });
  const args = ['--arg', 'module', module, '--argstr', 'settings', text];
  return JSON.parse((await nix?.(directory, ['--eval', '--strict', '--json', ...args, evaluator])) as string);
}

async function serviceOf(command: object): Promise<Service> {
  const { systemd } = await evaluate({
    commands: { studio: { source: '/dev/video0', command: ['true'], ...command } },
  });
  return systemd.services['holdfast-run-studio'] as Service;
}

/** As NixOS writes it: a list is a setting given several times. */
function unitText(service: Service): string {
  const lines = (settings: Service['serviceConfig']) =>
    Object.entries(settings).flatMap(([name, value]) => [value].flat().map((each) => `${name}=${each}`));
  const environment = Object.entries(service.environment).map(([name, value]) => `"${name}=${value}"`);
  const { description, wants, after } = service;
  return [
    '[Unit]',
    ...lines({ Description: description, Wants: wants, After: after }),
    '[Service]',
    ...lines({ Environment: environment, ...service.serviceConfig }),
    '',
  ].join('\n');
}

describe.skipIf(!nix)('the NixOS module', () => {
  test('is a Nix expression, and what is none would be noticed', async () => {
    expect(await nix?.(directory, ['--parse', module])).toContain('escapeSystemdExecArgs');
    await expect(
      nix?.(directory, ['--parse', '--expr', '{ config, lib, ... }: { options = ']) as Promise<string>,
    ).rejects.toThrow('syntax error');
  });

  test('wraps each command in the lock of its source', async () => {
    const source = 'http://192.168.1.20:5004/auto/v5.1';
    const { systemd, assertions } = await evaluate({
      commands: {
        news: { source, command: ['/bin/ffmpeg', '-i', source, 'news.ts'], startAt: ['*-*-* 19:59:00'], grace: 20 },
        studio: { source: '/dev/video0', command: ['/bin/capture'] },
      },
    });
    expect(assertions.filter(({ assertion }) => !assertion)).toEqual([]);
    const { 'holdfast-run-news': news, 'holdfast-run-studio': studio, ...others } = systemd.services;
    expect(others).toEqual({});
    expect(news?.serviceConfig).toMatchObject({
      ExecStart: `"/nix/store/holdfast/bin/holdfast" "run" "--source" "${source}" "--grace" "20s" "--on-busy" "skip" "--" "/bin/ffmpeg" "-i" "${source}" "news.ts"`,
      TimeoutStopSec: '22s',
      Restart: 'no',
    });
    expect(news).toMatchObject({ startAt: ['*-*-* 19:59:00'] });
    expect(news).not.toHaveProperty('wantedBy');
    expect(studio?.serviceConfig).toMatchObject({
      ExecStart:
        '"/nix/store/holdfast/bin/holdfast" "run" "--source" "/dev/video0" "--grace" "8s" "--on-busy" "fail" "--" "/bin/capture"',
      TimeoutStopSec: '10s',
      Restart: 'always',
    });
    expect(studio?.wantedBy).toEqual(['multi-user.target']);
  });

  test('passes arguments literally, whatever systemd or a shell would make of them', async () => {
    const { serviceConfig } = await serviceOf({ command: ['/bin/capture', 'a b', '%H $HOME', `'"\\`, ';'] });
    const [, args] = String(serviceConfig.ExecStart).split(' "--" ');
    expect(args).toBe(String.raw`"/bin/capture" "a b" "%%H $$HOME" "'\"\\" ";"`);
  });

  test('has the settings of the units beside it', async () => {
    const { systemd } = await evaluate({
      commands: { studio: { source: '/dev/video0', command: ['true'] } },
      publisher: { enable: true, settings: { device: ['192.168.1.20'] } },
    });
    const pairs = [
      ['holdfast-archive@.service', 'holdfast-run-studio', ['EnvironmentFile', 'SyslogIdentifier']],
      ['holdfast-publisher.service', 'holdfast-publisher', ['SyslogIdentifier', 'ExecReload']],
    ] as const;
    for (const [file, name, without] of pairs) {
      const unit = serviceSettings(readFileSync(`${folder}${file}`, 'utf8'));
      const service = serviceSettings(unitText(systemd.services[name] as Service));
      const own = ['ExecStart', 'Environment', 'StateDirectory', 'WorkingDirectory', ...without];
      const alike = (settings: typeof unit) =>
        Object.fromEntries(
          Object.entries(settings)
            .filter(([key]) => !own.includes(key))
            .map(([key, values]) => [key, plain(values)]),
        );
      expect(alike(service)).toEqual(alike(unit));
    }
  });

  test.skipIf(!analyze)('makes units that systemd has nothing to say against', async () => {
    const { systemd } = await evaluate({
      commands: {
        studio: { source: '/dev/video0', command: ['/bin/capture', '%H $HOME', `'"\\`], devices: ['/dev/video0'] },
        news: { source: 'hdhomerun:1234ABC2/v5.1', command: ['true'], user: 'joe', writablePaths: ['/srv/archive'] },
      },
      publisher: { enable: true },
    });
    systemRoot(directory, analyze as NonNullable<typeof analyze>, [
      '/nix/store/holdfast/bin/holdfast',
      '/nix/store/holdfast/bin/holdfast-publisher',
      '/nix/store/coreutils/bin/kill',
    ]);
    const said = Object.entries(systemd.services).map(([name, service]) =>
      complaints(analyze as NonNullable<typeof analyze>, directory, `${name}.service`, unitText(service)),
    );
    expect(await Promise.all(said)).toEqual(['', '', '']);
  });

  test('shares the locks with the commands of other users, whose directory it leaves alone', async () => {
    const { serviceConfig } = await serviceOf({ user: 'joe', writablePaths: ['/srv/archive'] });
    expect(serviceConfig).toMatchObject({
      User: 'joe',
      Group: 'holdfast',
      ReadWritePaths: ['/run/holdfast', '/srv/archive'],
    });
    expect(serviceConfig).not.toHaveProperty('RuntimeDirectory');
    const { systemd, users } = await evaluate({ commands: { studio: { source: '/dev/video0', command: ['true'] } } });
    const rules = readFileSync(`${folder}holdfast.tmpfiles.conf`, 'utf8').match(/^d .*$/gm);
    expect(systemd.tmpfiles.rules).toEqual(rules?.map((rule) => rule.replaceAll(/ +/g, ' ')));
    expect(users).toEqual({ users: { holdfast: { isSystemUser: true, group: 'holdfast' } }, groups: { holdfast: {} } });
  });

  test('hands the tokens to the publisher by systemd, never by its command line', async () => {
    const tokens = { operatorTokenFile: '/run/secrets/operator', publishTokenFile: '/run/secrets/publish' };
    const { systemd } = await evaluate({ publisher: { enable: true, ...tokens } });
    const { serviceConfig } = systemd.services['holdfast-publisher'] as Service;
    expect(serviceConfig).toMatchObject({
      LoadCredential: ['operator-token:/run/secrets/operator', 'publish-token:/run/secrets/publish'],
      ExecReload: '/nix/store/coreutils/bin/kill -HUP $MAINPID',
      StateDirectory: 'holdfast-publisher',
    });
    expect(serviceConfig.ExecStart).not.toContain('secrets');
  });

  test('runs the publisher with its configuration', async () => {
    const publisher = { enable: true, settings: { port: 9090 }, openFirewall: true };
    const { systemd, networking } = await evaluate({ publisher });
    expect(networking?.firewall.allowedTCPPorts).toEqual([9090]);
    const { environment, serviceConfig } = systemd.services['holdfast-publisher'] as Service;
    expect(environment.FFMPEG_PATH).toBe('/nix/store/ffmpeg/bin/ffmpeg');
    expect(serviceConfig.ExecStart).toContain('{\\"port\\":9090}');
    const own = await evaluate({ publisher: { enable: true, configFile: '/etc/holdfast/publisher.json' } });
    expect(own.systemd.services['holdfast-publisher']?.serviceConfig.ExecStart).toBe(
      '"/nix/store/holdfast/bin/holdfast-publisher" "--config" "/etc/holdfast/publisher.json" "--log" "json"',
    );
    expect(own.networking?.firewall).toEqual({});
  });

  test('changes nothing where neither commands nor the publisher are wanted', async () => {
    expect(await evaluate({})).toEqual({});
  });

  test.each([
    ['a command that is one text', { command: 'capture --all' }, 'command is not a list'],
    ['an empty command', { command: [] }, 'command is empty'],
    ['an empty source', { source: '' }, 'source is empty'],
    ['a grace with a unit', { grace: '8s' }, 'grace is not an integer'],
    ['another way to be busy', { onBusy: 'retry' }, 'onBusy is not one of'],
    ['an option that does not exist', { gracee: 8 }, 'there is no option'],
  ])('refuses %s', async (_, command, why) => {
    await expect(serviceOf(command)).rejects.toThrow(why);
  });

  test('refuses a name that no unit can have', async () => {
    const { assertions } = await evaluate({ commands: { 'a b': { source: '/dev/video0', command: ['true'] } } });
    expect(assertions).toMatchObject([{ assertion: false, message: expect.stringContaining('a b') }]);
  });
});

/** `true` and `yes` are the same to systemd, and so are a list and several settings of some names. */
function plain(values: readonly string[]): string {
  return values
    .join(' ')
    .replace(/^(yes|true)$/, 'yes')
    .replace(/^(no|false)$/, 'no');
}
