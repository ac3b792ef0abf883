import { leads, type Packet, type Program, ProgramTables } from '../../mpeg-ts/index.ts';

/** More than any map table has. */
const MAX_MAP_PACKETS = 8;

/** The programs of a stream, with the packets of their map tables, to be sent again. */
export class ProgramView {
  readonly #tables = new ProgramTables();
  /** By PID: of a table that is not whole yet, and of the last whole one. */
  readonly #begun = new Map<number, Buffer[]>();
  readonly #whole = new Map<number, readonly Buffer[]>();

  has(pid: number): boolean {
    return this.#tables.has(pid);
  }

  /** Reads a packet of a table, which begins at `at`. */
  read(packet: Packet, bytes: Buffer): void {
    const { pid, isStart } = packet;
    const before = this.#programsAt(pid);
    const begun = isStart ? [] : (this.#begun.get(pid) ?? []);
    if (begun.length < MAX_MAP_PACKETS) begun.push(bytes);
    this.#begun.set(pid, begun);
    this.#tables.read(packet, 0);
    if (this.#programsAt(pid).some((program) => !before.includes(program))) this.#whole.set(pid, begun);
  }

  mapOf({ mapPid }: Program): readonly Buffer[] {
    return this.#whole.get(mapPid) ?? [];
  }

  /** As it is now; undefined if it is gone. */
  program(number: number): Program | undefined {
    return this.#tables.programs.find((program) => program.number === number);
  }

  /** The program that players show by this stream: one with pictures by those, one without by its sound. */
  programLedBy(pid: number): Program | undefined {
    const { programs } = this.#tables;
    return programs.find(({ streams }) => {
      const stream = streams.get(pid);
      return stream && leads(stream, programs);
    });
  }

  #programsAt(pid: number): readonly Program[] {
    return this.#tables.programs.filter(({ mapPid }) => mapPid === pid);
  }
}

/** Whether a decoder could go on from one to the other. */
export function isSameProgram(a: Program, b: Program): boolean {
  return a === b || signatureOf(a) === signatureOf(b);
}

function signatureOf({ number, mapPid, clockPid, streams }: Program): string {
  return JSON.stringify([
    number,
    mapPid,
    clockPid,
    ...Array.from(streams, ([pid, { type, codec }]) => [pid, type, codec]),
  ]);
}
