// One source, many viewers: it is opened for the first, and closed after the last.
import { FanoutHub, ManagedChild } from 'holdfast';

let openings = 0;

const hub = new FanoutHub({
  name: 'counter',
  source: ({ signal }) => {
    openings += 1;
    const counting = 'i=0; while [ $i -lt 20 ]; do i=$((i + 1)); echo "line $i"; sleep 0.02; done';
    return ManagedChild.spawn('sh', ['-c', counting], { signal, graceMs: 100 });
  },
});

async function watch(): Promise<string> {
  let seen = '';
  for await (const slice of hub.subscribe()) seen += slice.toString();
  return seen;
}

const [one, two, three] = await Promise.all([watch(), watch(), watch()]);

// prints: three viewers, 1 opening
console.log(`three viewers, ${openings} opening`);
// prints: all saw the same: true, up to line 20
console.log(`all saw the same: ${one === two && two === three}, up to ${one.trimEnd().split('\n').at(-1)}`);

// A viewer that leaves early is no concern of the others; after the last one the child is gone.
for await (const slice of hub.subscribe()) {
  // prints: the next viewer gets a fresh source: line 1
  console.log(`the next viewer gets a fresh source: ${slice.toString().split('\n')[0]}`);
  break;
}
await hub.close();
// prints: openings: 2, state: closed
console.log(`openings: ${openings}, state: ${hub.state}`);
