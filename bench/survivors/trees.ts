/** A tree of processes that owners are given; it ends by itself, lest a peer leaves it for ever. */
export interface Tree {
  /** A shell program; each process of note says a line on its stdout when it is where it wants to be. */
  readonly script: string;
  readonly lines: number;
}

export const trees: Readonly<Record<string, Tree>> = {
  plain: { script: 'echo $$; exec sleep 30', lines: 1 },
  'ignores TERM': { script: `trap '' TERM; echo $$; exec sleep 30`, lines: 1 },
  'grandchild under sh': { script: 'sh -c "echo \\$\\$; exec sleep 30" & echo $$; wait', lines: 2 },
  'grandchild in its own session': { script: 'setsid sh -c "echo \\$\\$; exec sleep 30" & echo $$; wait', lines: 2 },
  'double-forked daemon': {
    script: `setsid sh -c 'sh -c "echo \\$\\$; exec sleep 30" &'; echo $$; exec sleep 30`,
    lines: 2,
  },
  // Every 5 ms a successor; 3,000 of them take 20 s at least.
  'continuous forker': {
    script: `
      hop() { [ "$1" -gt 0 ] || exit; sleep 0.005; hop $(($1 - 1)) & }
      echo $$; (echo hops; hop 3000) & exec sleep 30`,
    lines: 2,
  },
};
