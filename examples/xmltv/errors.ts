import { HoldfastError } from 'holdfast';

/** A document that is no XMLTV, or larger than it may be. Nothing of it is to be used. */
export class XmltvError extends HoldfastError {
  readonly code = 'XMLTV_UNREADABLE';
  /** Where in the document, from 1. */
  readonly line: number;

  constructor(line: number, why: string, cause?: unknown) {
    super(`line ${line}: ${why}`, { cause });
    this.line = line;
  }
}
