import { RestartRefusedError } from 'holdfast';
import { DIRECTORY_TTL_MS } from '../directory/directory.ts';
import { type Failure, failureOf } from '../failure.ts';

/** Why a channel could not be read, until it is. */
export class LastFailure {
  #said: (Failure & { readonly at: Date }) | undefined;

  get said(): (Failure & { readonly at: Date }) | undefined {
    return this.#said;
  }

  /** Only another viewer can find out that it is well again; it is believed for as long as the directory believes anything. */
  get isBelieved(): boolean {
    const { status, at = 0 } = this.#said ?? {};
    return (status === 502 || status === 504) && Date.now() - Number(at) < DIRECTORY_TTL_MS;
  }

  note(error: unknown): Failure {
    const failure = failureOf(error);
    // That it is not tried tells nothing new of why it failed.
    if (!(error instanceof RestartRefusedError && this.#said)) this.#said = { ...failure, at: new Date() };
    return failure;
  }

  forget(): void {
    this.#said = undefined;
  }

  /** What a viewer is told who is refused for it. */
  explain(refusal: RestartRefusedError): Failure {
    const failure = failureOf(refusal);
    return this.#said ? { ...failure, detail: `${failure.detail}; it failed with: ${this.#said.detail}` } : failure;
  }
}
