#!/usr/bin/env node
import { complaintAboutNode } from './node-version.ts';

// The program itself is loaded only then: an older Node would fail somewhere in it.
const complaint = complaintAboutNode(process.versions.node);
if (complaint === undefined) await (await import('./program.ts')).run(process.argv.slice(2));
else {
  process.stderr.write(`holdfast-publisher: ${complaint}\n`);
  process.exitCode = 1;
}
