import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import sparticuz from '@sparticuz/chromium';
import { type Browser, chromium, type Page } from 'playwright-core';

/** A real Chromium with H.264 and AAC, from npm alone. */
export interface TestBrowser extends AsyncDisposable {
  /** Opens a page of its own profile that remembers what goes wrong in it. */
  open(url: string, view?: View): Promise<WatchedPage>;
}

export interface View {
  readonly width?: number;
  readonly height?: number;
  readonly colorScheme?: 'light' | 'dark';
  /** Runs before the page is loaded: to route requests, to take over its clock. */
  readonly prepare?: (page: Page) => Promise<unknown>;
}

export interface WatchedPage {
  readonly page: Page;
  /** Console errors and warnings, exceptions, requests that failed or went elsewhere. */
  readonly problems: readonly string[];
  close(): Promise<void>;
}

export async function launchBrowser(): Promise<TestBrowser> {
  const directory = await unpacked();
  const browser = await chromium.launch({
    executablePath: join(directory, 'chromium'),
    headless: true,
    args: ['--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking', '--disable-sync'],
    env: {
      ...process.env,
      FONTCONFIG_FILE: join(directory, 'fonts.conf'),
      LD_LIBRARY_PATH: join(directory, 'al2023', 'lib'),
    },
    // The tests close it; handlers of signals would stay in the test's process.
    handleSIGINT: false,
    handleSIGTERM: false,
    handleSIGHUP: false,
  });
  return {
    open: (url, view) => openPage(browser, url, view),
    [Symbol.asyncDispose]: () => browser.close(),
  };
}

const packages = new URL('../../node_modules/', import.meta.url);

/** Once for all tests, as it takes many seconds of a processor; whoever is first has it for the others. */
async function unpacked(): Promise<string> {
  const { version } = JSON.parse(readFileSync(new URL('@sparticuz/chromium/package.json', packages), 'utf8'));
  const cache = new URL('.cache/holdfast-chromium/', packages).pathname;
  const directory = join(cache, version);
  if (existsSync(directory)) return directory;
  mkdirSync(cache, { recursive: true });
  const making = mkdtempSync(join(cache, 'unpacking-'));
  try {
    await unpackInto(making);
    writeFileSync(join(making, 'fonts.conf'), fontsIn(directory));
    renameSync(making, directory);
  } catch (error) {
    if (!existsSync(directory)) throw error;
  } finally {
    rmSync(making, { recursive: true, force: true });
  }
  return directory;
}

/**
 * The package unpacks into the temporary directory, and the libraries that a bare machine lacks (NSS) only where it takes
 * the machine for AWS Lambda; it asks the environment for both when called.
 */
async function unpackInto(directory: string): Promise<void> {
  const { TMPDIR, AWS_LAMBDA_JS_RUNTIME } = process.env;
  Object.assign(process.env, { TMPDIR: directory, AWS_LAMBDA_JS_RUNTIME: 'nodejs22.x' });
  try {
    await sparticuz.executablePath();
  } finally {
    restore('TMPDIR', TMPDIR);
    restore('AWS_LAMBDA_JS_RUNTIME', AWS_LAMBDA_JS_RUNTIME);
  }
}

/** The package's own configuration looks only in /tmp/fonts. */
function fontsIn(directory: string): string {
  const places = `<dir>${join(directory, 'fonts')}</dir><cachedir>${join(directory, 'fonts-cache')}</cachedir>`;
  return `<?xml version="1.0"?><fontconfig>${places}</fontconfig>`;
}

function restore(name: string, value: string | undefined): void {
  if (value === undefined) delete process.env[name];
  else process.env[name] = value;
}

async function openPage(browser: Browser, url: string, view: View = {}): Promise<WatchedPage> {
  const { width = 1280, height = 800, colorScheme = 'light', prepare } = view;
  const context = await browser.newContext({ viewport: { width, height }, colorScheme, locale: 'en-GB' });
  const page = await context.newPage();
  const problems: string[] = [];
  page.on('pageerror', (error) => problems.push(`exception: ${error.message}`));
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) problems.push(`console ${message.type()}: ${message.text()}`);
  });
  page.on('request', (request) => {
    const { protocol, origin } = new URL(request.url());
    if (protocol.startsWith('http') && origin !== new URL(url).origin) problems.push(`elsewhere: ${request.url()}`);
  });
  page.on('requestfailed', (request) => {
    const reason = request.failure()?.errorText;
    // Whoever stops watching, or leaves the page, ends a request that would never end by itself.
    if (reason !== 'net::ERR_ABORTED') problems.push(`${reason}: ${request.url()}`);
  });
  await prepare?.(page);
  await page.goto(url, { waitUntil: 'load' });
  return { page, problems, close: () => context.close() };
}
